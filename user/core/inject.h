/* SPDX-License-Identifier: MIT */
/*
 * From recapd into the target: one fork that is born in the target's PID namespace, in the capsule's cgroup and with
 * the capsule's tag. The child (our *init*) builds the capsule's view, starts the tool with vfork(2), gives up
 * everything and stays as the tree's subreaper until the last process of it has gone.
 *
 *   recapd ── clone3 ──> init ── vfork ──> tool (exec)
 *
 * Init stays a fork of recapd and executes nothing: it is not dumpable, so the target can open nothing below its
 * /proc/PID (ptrace(2), PTRACE_MODE_*), and recapd's binary is never a file that it could write to (CVE-2019-5736).
 */
#ifndef RECAP_INJECT_H
#define RECAP_INJECT_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/cgroup.h"
#include "core/sandbox.h"
#include "core/target.h"
#include "core/track.h"

enum target_root { TARGET_ROOT_RO, TARGET_ROOT_RW, TARGET_ROOT_NONE };

/* All that the child needs, settled before the fork: it decides nothing. Borrowed until inject_start() returns. */
struct inject_plan {
	uint64_t capsule;
	const struct target *target;
	const struct cgroup *cgroup;
	const struct sandbox *sandbox;
	int stage_ns;
	int overlay; /* detached mount */
	enum target_root target_root;
	int stdio[3];  /* -1: /dev/null */
	bool terminal; /* stdio is a pty that becomes the controlling terminal */
	int log_pipe; /* detached: init copies what comes out of this pipe, whose other end is in stdio, */
	int log; /* to this file; both -1: stdio is the client's own */
	char *const *argv;
	char *const *env;
	const char *workdir;
	const char *user; /* as in the image; see userdb.h */
};

/* Written by the child, read by recapd: a page that they share. `code` is 0 unless the tool could not be started. */
struct inject_report {
	struct error error;
	unsigned int sealed; /* futex(2): init has given up everything */
	unsigned int uid, gid;
};

struct inject_report *inject_report_new(void);
void inject_report_free(struct inject_report *report);

/*
 * Tell where the process's arguments are (main()'s argv): a child overwrites them, since the target can read them as its
 * /proc/PID/cmdline.
 */
void inject_set_arguments(char **argv);

/*
 * Fork and inject. On success the child's pidfd and PID are returned and belong to the caller, who waits for the child; how it fared
 * is in `report` once the tool has been executed or the child has gone.
 */
int inject_start(struct track *track, const struct inject_plan *plan, struct inject_report *report,
		 int *ret_pidfd, pid_t *ret_pid, struct error *err) must_check;

#endif
