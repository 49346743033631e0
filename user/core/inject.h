/* SPDX-License-Identifier: MIT */
/*
 * What happens between a starter (core/injector.h) and the tool: one fork that is born in the target's PID namespace, in the
 * capsule's cgroup and with the capsule's tag. The child (our *init*) builds the capsule's view, starts the tool with vfork(2),
 * gives up everything and stays as the tree's subreaper until the last process of it has gone.
 *
 *   recapd ── message ──> starter ── clone ──> init ── vfork ──> tool (exec)
 *
 * Init is a fork and executes nothing: it is not dumpable, so the target can open nothing below its /proc/PID (ptrace(2),
 * PTRACE_MODE_*), and recapd's binary is never a file that it could write to (CVE-2019-5736).
 */
#ifndef RECAP_INJECT_H
#define RECAP_INJECT_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

#include "core/cgroup.h"
#include "core/masks.h"
#include "core/residue_files.h"
#include "core/sandbox.h"
#include "core/target.h"

enum target_root { TARGET_ROOT_RO, TARGET_ROOT_RW, TARGET_ROOT_NONE };

/* Descriptors of a plan, by their place. */
enum inject_fd {
	INJECT_FD_NS,					   /* of the target, by enum target_ns */
	INJECT_FD_TARGET = INJECT_FD_NS + TARGET_NS_COUNT, /* its root folder */
	INJECT_FD_OVERLAY,   /* detached mount; none where the starter has it already */
	INJECT_FD_CGROUP,    /* folder in the v2 tree; none where the starter is in it already */
	INJECT_FD_CGROUP_V1, /* cgroup.procs */
	INJECT_FD_STDIO = INJECT_FD_CGROUP_V1 + CGROUP_V1_MAX, /* none: /dev/null */
	INJECT_FD_LOG_PIPE =
		INJECT_FD_STDIO + 3, /* detached: init copies what comes out of this pipe, */
	INJECT_FD_LOG,		     /* to this file; both none: the client's own streams */
	INJECT_FD_WATCH,	     /* of what is written below /target; none: nothing */
	INJECT_FD_COUNT,
};

/* All that the child needs, settled before the fork: it decides nothing. */
struct inject_plan {
	struct sandbox sandbox;
	const struct sock_fprog *seccomp; /* in recapd's only a SANDBOX_PROFILE; NULL: none */
	unsigned int joined;		  /* mask of 1 << enum target_ns */
	enum target_root target_root;
	unsigned int nofile_soft, nofile_hard; /* open files of a process (RLIMIT_NOFILE) */
	bool terminal;		  /* stdio is a pty that becomes the controlling terminal */
	int fds[INJECT_FD_COUNT]; /* borrowed; -1: none */
	char *const *argv;
	char *const *env;
	const char *workdir;
	const char *user; /* as in the image; see userdb.h */
};

/* What a starter has made ready before it knows of any target. */
struct inject_seat {
	cpu_set_t cpus; /* where the starter may run; empty: not known */
	bool usual;	/* it is bounded, for usual sandboxes only */
	int mnt_ns;	/* its own mount namespace: the stage's few mounts, and */
	int root;	/* the capsule's root on top of them; -1: not yet */
	char *stack;	/* the end of init's; NULL: init will have a copy of the starter's */
	struct masks masks;
};

/*
 * Written by the children, read by recapd: memory that they share. `code` is 0 unless the starter is of no use, the tool could not be
 * started, or init could not be sealed.
 */
struct inject_report {
	struct error error;
	unsigned int sealed;   /* futex(2): init has given up everything */
	unsigned int released; /* futex(2), written by recapd: the tool may be executed */
	unsigned int uid, gid;
	pid_t starter; /* written by the kernel as it is forked */
	struct files_watch watch;
};

/*
 * For a child that works for others: not to be spared when memory runs out, where the service manager has the kernel spare recapd.
 * What it forks inherits that.
 */
int inject_forgo_oom_favour(void) must_check;

/*
 * Tell where the process's arguments are (main()'s argv): a child overwrites them, since the target can read them as its
 * /proc/PID/cmdline.
 */
void inject_set_arguments(char **argv);

/* In place of recapd's name and arguments, for ps(1) and for the target. */
void inject_take_name(const char *name);

/*
 * Away from everything of the host: a mount namespace of our own in place of it, with `overlay` (-1: later) as its root. `stage` is
 * the mount namespace to begin in (core/cow.h). `usual`: for a sandbox_is_usual() one. `cpus`: where it
 * may run, when recapd has not tied it to one yet.
 */
int inject_sit(int stage, int overlay, bool usual, const cpu_set_t *cpus, struct inject_seat *ret,
	       struct error *err) must_check;

/*
 * Fork and inject, as a sibling of the caller: the child is the caller's parent's. Returns its PID, with a pidfd in *ret_pidfd, or
 * -errno; how it fares is in `report` once the tool has been executed or the child has gone. The caller is in the target's namespaces
 * then, and of no other use: it may end, but until then what it has given here is to stay as it is, since the child shares its
 * memory.
 */
int inject_fork(const struct inject_plan *plan, const struct inject_seat *seat,
		struct inject_report *report, int *ret_pidfd) must_check;

/* Until then the child makes all ready, and executes nothing. */
void inject_release(struct inject_report *report);

#endif
