// SPDX-License-Identifier: MIT
#include "core/inject.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "core/cow.h"
#include "core/mountapi.h"
#include "core/userdb.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STARTER_NAME "recap-starter"
#define INIT_NAME    "recap-init"
#define STACK_SIZE   (256 << 10)
#define STACK_USED   (32 << 10) /* by an ordinary init: made ahead */
#define STACK_ARGS \
	8192 /* execvp(3) has a list of them on the stack, where a script names no interpreter */
#define LOG_MAX	 (16 << 20) /* bytes kept of a detached capsule's output */
#define LOG_FULL "\n[recap: output limit reached, the rest is dropped]\n"

/* recapd's own arguments, which every child of it inherits: one string behind the other (execve(2)). */
static struct {
	char *text;
	size_t size;
} arguments;

void inject_set_arguments(char **argv)
{
	arguments.text = argv[0];
	arguments.size = 0;
	for (; *argv && *argv == arguments.text + arguments.size; argv++)
		arguments.size += strlen(*argv) + 1;
}

/* State of the child: what it opens on its way. */
struct child {
	const struct inject_plan *plan;
	const struct inject_seat *seat;
	struct error *err;
	struct inject_report *report;
	int target_tree; /* detached clone of the target's mounts */
	int root;	 /* the capsule's root folder */
	pid_t init, tool;
	struct user_ids user;
};

/*
 * From the starter to the tool's exec there is one thread of work in three processes, each waiting for the last. Left alone, the
 * scheduler puts every one on another CPU, which has to be woken first, or is busy. So the starter, which recapd keeps off its own
 * CPU, ties itself to the one that it is woken on, and init and the tool inherit that; each is let go of as soon as it is not the one
 * that all wait for. Meanwhile recapd is at its own work.
 */
/* Only ever costs time when it fails: nothing depends on it. */
static void leave_cpu(pid_t pid, const cpu_set_t *before)
{
	if (CPU_COUNT(before))
		sched_setaffinity(pid, sizeof(*before), before);
}

static int fd_of(const struct child *c, int which)
{
	return c->plan->fds[which];
}

/* ---- before there is a target ------------------------------------------------------------------ */

/*
 * The overlay goes on top of the stage's "/", which is then out of sight and out of reach: a lookup of "/" ends at the top-most
 * mount, and there is no way down. pivot_root(2) would leave the stage to be unmounted, for which the kernel waits until all
 * CPUs have noticed (namespace_unlock()).
 */
static int mount_root(int overlay, int *ret_root, struct error *err)
{
	cleanup_fd int stage = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (stage < 0 || dev < 0)
		return error_sys(err, errno, "cannot open the stage");
	if (move_mount(overlay, "", stage, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return error_sys(err, errno, "cannot mount the capsule's root");
	r = mount_put(dev, overlay, "dev");
	if (r < 0)
		return error_sys(err, -r, "cannot mount /dev");
	*ret_root = overlay;
	return 0;
}

void inject_take_name(const char *name)
{
	prctl(PR_SET_NAME, name);
	if (!arguments.size)
		return;
	/* In one go, from the left: the target, which looks on, never finds anything else there than one of our names. */
	strncpy(arguments.text, name, arguments.size - 1);
}

int inject_forgo_oom_favour(void)
{
	static const char path[] = "/proc/self/oom_score_adj";
	char now[16];
	int r = fd_read_small(AT_FDCWD, path, now, sizeof(now));

	return r < 0 || now[0] != '-' ? r : fd_write_knob(AT_FDCWD, path, "0");
}

static int leave_session(struct error *err)
{
	/* No controlling terminal, no signals meant for recapd's group. */
	if (setsid() < 0)
		return error_sys(err, errno, "setsid");
	inject_take_name(STARTER_NAME);
	/* Nothing below our /proc/PID may be opened by the target, nor may it trace us. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(err, errno, "PR_SET_DUMPABLE");
	return 0;
}

/* A copy of the stage's few mounts, not of the host's many. */
static int leave_mounts(int stage, int *ret_own, struct error *err)
{
	cleanup_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0)
		return error_sys(err, errno, "cannot open /proc");
	if (setns(stage, CLONE_NEWNS) < 0)
		return error_sys(err, errno, "cannot enter the stage");
	if (unshare(CLONE_NEWNS) < 0)
		return error_sys(err, errno, "cannot unshare the mount namespace");
	*ret_own = openat(proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return *ret_own < 0 ? error_sys(err, errno, "cannot open the mount namespace") : 0;
}

/* Init's, which shares all memory with the starter. NULL: then it will have a copy. */
static char *make_stack(void)
{
#ifdef __SANITIZE_ADDRESS__
	/* It keeps book of the memory that it knows for stacks. */
	return NULL;
#else
	size_t page = sysconf(_SC_PAGESIZE);
	char *low = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (low == MAP_FAILED || mprotect(low, page, PROT_NONE) < 0)
		return NULL;
	/* Where this fails, it is made when it is used. */
	(void)madvise(low + STACK_SIZE - STACK_USED, STACK_USED, MADV_POPULATE_WRITE);
	return low + STACK_SIZE;
#endif
}

int inject_sit(int stage, int overlay, bool usual, const cpu_set_t *cpus, struct inject_seat *ret,
	       struct error *err)
{
	int r = leave_session(err);

	*ret = (struct inject_seat){
		.usual = usual, .cpus = *cpus, .mnt_ns = -1, .root = -1, .stack = make_stack()};
	if (r == 0 && usual && (r = sandbox_bound_usual()) < 0)
		error_sys(err, -r, "cannot bound the capabilities");
	if (r == 0)
		r = leave_mounts(stage, &ret->mnt_ns, err);
	if (r == 0 && (r = masks_find(&ret->masks)) < 0)
		error_sys(err, -r, "cannot make what covers parts of /proc");
	return r < 0 || overlay < 0 ? r : mount_root(overlay, &ret->root, err);
}

/* ---- the steps, in order ----------------------------------------------------------------------- */

/* v1 groups have no CLONE_INTO_CGROUP. "0" is the writer. */
static int step_cgroups(struct child *c)
{
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		if (fd_of(c, INJECT_FD_CGROUP_V1 + i) >= 0 &&
		    write(fd_of(c, INJECT_FD_CGROUP_V1 + i), "0", 1) < 0)
			return error_sys(c->err, errno, "cannot enter the cgroup with the limits");
	return 0;
}

/*
 * A copy of the target's mounts, for /target. open_tree(2) copies only mounts of the caller's own namespace, so
 * we go there; nothing is looked up by path in it, since its root and its links are the target's.
 */
static int step_clone_target(struct child *c)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
		.propagation = MS_PRIVATE,
	};

	if (c->plan->target_root == TARGET_ROOT_NONE)
		return 0;
	if (fd_of(c, INJECT_FD_NS + TARGET_NS_MNT) >= 0 &&
	    setns(fd_of(c, INJECT_FD_NS + TARGET_NS_MNT), CLONE_NEWNS) < 0)
		return error_sys(c->err, errno, "cannot enter the target's mount namespace");
	c->target_tree =
		open_tree(fd_of(c, INJECT_FD_TARGET), "",
			  AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (c->target_tree < 0)
		return error_sys(c->err, errno, "cannot copy the target's mounts");
	if (c->plan->target_root == TARGET_ROOT_RO)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (mount_setattr(c->target_tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) <
	    0)
		return error_sys(c->err, errno, "cannot restrict the copy of the target's mounts");
	if (setns(c->seat->mnt_ns, CLONE_NEWNS) < 0)
		return error_sys(c->err, errno, "cannot return from the target's mount namespace");
	return 0;
}

/* Whether the capsule is to be in the target's namespace of that kind (which may be recapd's own: --pid=host). */
static bool joins(const struct inject_plan *plan, enum target_ns ns)
{
	return plan->joined & (1u << ns);
}

/* What is not joined is new and empty: the host's is never a capsule's. */
static int step_join(struct child *c)
{
	static const struct {
		enum target_ns ns;
		int type;
	} kinds[] = {{TARGET_NS_CGROUP, CLONE_NEWCGROUP},
		     {TARGET_NS_IPC, CLONE_NEWIPC},
		     {TARGET_NS_UTS, CLONE_NEWUTS}};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int fd = fd_of(c, INJECT_FD_NS + kinds[i].ns);

		if (fd >= 0 && setns(fd, kinds[i].type) < 0)
			return error_sys(c->err, errno, "cannot join the target's namespaces");
		if (!joins(c->plan, kinds[i].ns) && unshare(kinds[i].type) < 0)
			return error_sys(c->err, errno, "cannot make namespaces for the capsule");
	}
	return 0;
}

/* Put a detached mount on a folder of the capsule's root; the image cannot lead it elsewhere (mount_put()). */
static int put(struct child *c, int fd, const char *where)
{
	int r = fd < 0 ? fd : mount_put(fd, c->root, where);

	return r < 0 ? error_sys(c->err, -r, "cannot mount /%s", where) : 0;
}

static int step_root(struct child *c)
{
	c->root = c->seat->root;
	if (c->root < 0 && mount_root(fd_of(c, INJECT_FD_OVERLAY), &c->root, c->err) < 0)
		return -c->err->code;
	return c->target_tree < 0 ? 0 : put(c, c->target_tree, "target");
}

/* Kernel file systems, read-only: the target's processes and devices are to be seen, not set. */
static int step_kernel_fs(struct child *c)
{
	static const char *const no_opts[][2] = {{NULL, NULL}};
	const unsigned int attr =
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	cleanup_fd int proc = mount_new("proc", no_opts, attr);
	cleanup_fd int sys = mount_new("sysfs", no_opts, attr);
	int r = put(c, proc, "proc");

	if (r == 0)
		r = put(c, sys, "sys");
	if (r == 0 && (r = masks_put(&c->seat->masks, proc, sys)) < 0)
		error_sys(c->err, -r, "cannot cover parts of /proc and /sys");
	return r;
}

static int step_enter(struct child *c)
{
	if (fchdir(c->root) < 0 || chroot(".") < 0)
		return error_sys(c->err, errno, "cannot make the capsule's root its root");
	return 0;
}

static int step_watch(struct child *c)
{
	if (fd_of(c, INJECT_FD_WATCH) >= 0)
		residue_files_watch(fd_of(c, INJECT_FD_WATCH), &c->report->watch);
	return 0;
}

static int step_user(struct child *c)
{
	int r = userdb_resolve(c->root, c->plan->user, &c->user, c->err);

	c->report->uid = c->user.uid;
	c->report->gid = c->user.gid;
	return r;
}

/* For the tool. Init executes nothing, and takes the rest off itself later. */
static int step_bound(struct child *c)
{
	int r = sandbox_bound(&c->plan->sandbox, c->user.uid, c->seat->usual);

	return r < 0 ? error_sys(c->err, -r, "cannot bound the capabilities") : 0;
}

static int step_reaper(struct child *c)
{
	/*
	 * Orphans of the tree come to us and not to the target's init. Ignoring SIGCHLD has the kernel reap them by itself (wait(2)):
	 * the tool's status is what the exit tracepoint saw.
	 */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return error_sys(c->err, errno, "PR_SET_CHILD_SUBREAPER");
	signal(SIGCHLD, SIG_IGN);
	return 0;
}

/* ---- the tool ---------------------------------------------------------------------------------- */

static int tool_stdio(const struct child *c)
{
	/* The capsule's own, read-only as a file: the host's could be given other permissions. */
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < 3; i++)
		if (dup2(fd_of(c, INJECT_FD_STDIO + i) < 0 ? null : fd_of(c, INJECT_FD_STDIO + i),
			 i) < 0)
			return error_sys(c->err, errno, "cannot pass the streams");
	if (setsid() < 0)
		return error_sys(c->err, errno, "setsid");
	if (c->plan->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		return error_sys(c->err, errno, "cannot take the terminal");
	/* Nothing else of ours reaches the tool, not even for the moment before exec. */
	if (close_range(3, ~0u, 0) < 0)
		return error_sys(c->err, errno, "close_range");
	return 0;
}

static int tool_signals(const struct child *c)
{
	sigset_t none;

	/* The injector has seen to the others. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return error_sys(c->err, errno, "sigprocmask");
	return 0;
}

static int tool_limits(const struct child *c)
{
	/* Not 0, which a core_pattern with a pipe does not mind, but 1, which it takes for "never" (core(5)). */
	struct rlimit none = {1, 1};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return error_sys(c->err, errno, "setrlimit");
	umask(022);
	return 0;
}

/* The target's user namespace, if it has one: with all capabilities in it, which the next step takes. */
static int tool_user_ns(const struct child *c, int user_ns)
{
	int r;

	if (user_ns < 0)
		return 0;
	if (setns(user_ns, CLONE_NEWUSER) < 0)
		return error_sys(c->err, errno, "cannot join the target's user namespace");
	r = sandbox_bound(&c->plan->sandbox, c->user.uid, false);
	return r < 0 ? error_sys(c->err, -r, "cannot bound the capabilities") : 0;
}

static int tool_confine(const struct child *c)
{
	const struct rlimit files = {c->plan->nofile_soft, c->plan->nofile_hard};
	const int stdio[3] = {0, 1, 2};
	int r;

	/* Before the credentials: opening "/" and the passed files needs no more than we are about to lose. */
	if (c->plan->sandbox.landlock) {
		r = sandbox_landlock(stdio);
		if (r < 0)
			return error_sys(c->err, -r, "cannot confine file access");
	}
	r = sandbox_credentials(&c->plan->sandbox, c->user.uid, c->user.gid, c->user.groups,
				c->user.n_groups);
	/* capset(2): only what is permitted to recapd itself. */
	if (r == -EPERM && c->plan->sandbox.added)
		return error_set(
			c->err, EPERM,
			"recapd cannot give a capability that it does not hold itself; its unit "
			"or container may have taken it from it");
	if (r < 0)
		return error_sys(c->err, -r, "cannot become user %u:%u", c->user.uid, c->user.gid);
	/* The change of user put suid_dumpable(5) in place of what we set. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return error_sys(c->err, errno, "prctl");
	/* It may have been killed before it was to take us along. */
	if (getppid() != c->init)
		return error_set(c->err, ECANCELED,
				 "its init was ended before the tool could start");
	/* We have opened our last; a limit lower than what is open closes nothing. */
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return error_sys(c->err, errno, "cannot limit the open files");
	if (chdir(c->plan->workdir) < 0)
		return error_named(c->err, errno, "CommandNotExecutable",
				   "cannot change to %s in the capsule: %s", c->plan->workdir,
				   strerror(errno));
	return 0;
}

static bool may_trace(const struct sandbox *s)
{
	return s->caps & 1ull << CAP_SYS_PTRACE;
}

/* Should init die before, so does the tool (PR_SET_PDEATHSIG). */
static void wait_for(const unsigned int *word)
{
	while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void wake(unsigned int *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void inject_release(struct inject_report *report)
{
	wake(&report->released);
}

static void tool_exec(const struct child *c, char *const *env)
{
	const char *name = c->plan->argv[0];
	int r;

	leave_cpu(0, &c->seat->cpus);
	wait_for(&c->report->released);
	if (may_trace(&c->plan->sandbox))
		wait_for(&c->report->sealed);
	/* Last, since a profile need not let us do anything but this. */
	r = sandbox_seccomp(c->plan->seccomp);
	if (r < 0) {
		error_sys(c->err, -r, "cannot install the seccomp filter");
		return;
	}
	environ = (char **)env;
	execvp(name, c->plan->argv);
	if (errno == ENOENT)
		error_named(c->err, ENOENT, "CommandNotFound",
			    "%s is not in the image, or its interpreter is not", name);
	else
		error_named(c->err, errno, "CommandNotExecutable", "cannot execute %s: %s", name,
			    strerror(errno));
}

static __attribute__((noreturn)) void tool_run(const struct child *c, char *const *env)
{
	/* close_range() takes what the plan names: keep what comes after it. */
	int user_ns = fd_of(c, INJECT_FD_NS + TARGET_NS_USER);

	/* The exec will wake init, and what that does then is not for the tool to wait for. */
	leave_cpu(c->init, &c->seat->cpus);
	if (tool_limits(c) == 0 && tool_signals(c) == 0 && tool_user_ns(c, user_ns) == 0 &&
	    tool_stdio(c) == 0 && tool_confine(c) == 0)
		tool_exec(c, env);
	_exit(127);
}

/* ---- init -------------------------------------------------------------------------------------- */

static bool env_has(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, n) && (*env)[n] == '=')
			return true;
	return false;
}

/* The image's and the caller's environment, and what any tool expects where they are silent. */
static char **make_env(const struct child *c)
{
	static char home[300];
	char **env = calloc(strv_len(c->plan->env) + 4, sizeof(*env));
	size_t n = 0;

	if (!env)
		return NULL;
	for (; c->plan->env[n]; n++)
		env[n] = c->plan->env[n];
	if (!env_has(c->plan->env, "PATH"))
		env[n++] = DEFAULT_PATH;
	if (c->plan->terminal && !env_has(c->plan->env, "TERM"))
		env[n++] = "TERM=xterm";
	if (!env_has(c->plan->env, "HOME")) {
		snprintf(home, sizeof(home), "HOME=%s", c->user.home);
		env[n++] = home;
	}
	return env;
}

/* Copy a detached tool's output to its log, up to the limit; then go on reading, so that the tool is not held up. */
static void pump_log(int from, int log)
{
	size_t room = LOG_MAX;
	bool keep = true;
	char buf[16384];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		if (keep && (size_t)n > room) {
			keep = false;
			if (fd_write_all(log, buf, room) == 0)
				(void)!fd_write_all(log, LOG_FULL, strlen(LOG_FULL));
		} else if (keep) {
			room -= n;
			keep = fd_write_all(log, buf, n) ==
			       0; /* a full disk ends the log, not the tool */
		}
	}
}

/*
 * Is there still somebody to wait for? SIGCHLD is ignored, so the kernel reaps by itself, and this looks only. Also where the tool
 * could not be started: vfork(2) lets us go on before its process has quite gone, and it would be the target's to reap.
 */
static bool has_children(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* Until no child is left, and that is the tree: SIGCHLD is ignored, so this only returns then. */
static void wait_for_tree(void)
{
	while (waitid(P_ALL, 0, NULL, WEXITED | __WALL) == 0 || errno == EINTR)
		;
}

/*
 * The kernel reaps by itself, so that the PID may be another's by now: only a child of ours is meant. False when it lives, and is
 * another user's, over whom we have no power any more.
 */
static bool kill_tool(pid_t pid)
{
	cleanup_fd int pidfd = syscall(SYS_pidfd_open, pid, 0);
	siginfo_t info;

	if (pidfd < 0)
		return errno == ESRCH;
	return waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 ||
	       syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

/*
 * An init with power is not to stand by while the tool runs. recapd is told why, ends what the tool leaves, and does not have to wait
 * long; to end before all of it has would leave zombies to the target's PID 1.
 */
static __attribute__((noreturn)) void not_sealed(const struct child *c, int code)
{
	if (!c->err->code)
		error_sys(c->err, code, "init cannot give up its power");
	/* Where we cannot, our end is its own, too (PR_SET_PDEATHSIG). */
	if (c->tool <= 0 || kill_tool(c->tool))
		wait_for_tree();
	_exit(1);
}

/* Only the two descriptors of the log stay open, as 0 and 1, and no power over anything. */
static void seal(const struct child *c)
{
	int pipe = fd_of(c, INJECT_FD_LOG_PIPE), log = fd_of(c, INJECT_FD_LOG), r;

	if (log >= 0 && (dup2(pipe, 0) < 0 || dup2(log, 1) < 0))
		not_sealed(c, errno);
	close_range(log >= 0 ? 2 : 0, ~0u, 0);
	/* Where tool and tree have ended already, there is no time left to protect: looked for twice, since sealing takes longer. */
	if (log < 0 && !has_children())
		return;
	r = sandbox_drop_all(&c->plan->sandbox);
	if (r < 0)
		not_sealed(c, -r);
	if (log < 0 && !has_children())
		return;
	r = sandbox_seal_init();
	if (r < 0)
		not_sealed(c, -r);
	wake(&c->report->sealed);
}

static __attribute__((noreturn)) void init_run(struct child *c)
{
	seal(c);
	if (fd_of(c, INJECT_FD_LOG) >= 0)
		pump_log(0, 1);
	wait_for_tree();
	_exit(c->err->code ? 1 : 0);
}

typedef int (*step_fn)(struct child *c);

/* The checklist. Each needs those before it; see the comment at each. The starter has left the host behind already. */
static const step_fn steps[] = {
	step_cgroups,	   /* limits hold before anything is allocated for the target */
	step_clone_target, /* needs the target's mount namespace, for one call */
	step_join,	   /* kernel file systems show the namespaces of who mounts them */
	step_root,	   /* overlay, /dev, /target */
	step_kernel_fs, /* /proc of the PID namespace that the clone put us in, /sys of the joined network */
	step_enter,  /* from here on every path is the capsule's */
	step_watch,  /* needs /proc, and /target where it stays */
	step_user,   /* names in the image's own databases */
	step_bound,  /* while we stand in for the tool: init need not do it again */
	step_reaper, /* before there is anybody to reap */
};

static __attribute__((noreturn)) int child_main(void *arg)
{
	struct child *c = arg;
	char **env;
	pid_t pid;

	inject_take_name(INIT_NAME);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i](c) < 0)
			_exit(1);
	env = make_env(c);
	c->init = getpid();
	/*
	 * vfork(2): the tool runs on our memory until its exec, and we stand still, which spares copying page tables a
	 * second time. A tool that may trace could take us over between its exec and our seal, so that one waits for it.
	 */
	pid = !env ? -1 : may_trace(&c->plan->sandbox) ? fork() : vfork();
	if (pid == 0)
		tool_run(c, env);
	if (pid < 0)
		error_sys(c->err, errno, "cannot start the tool");
	c->tool = pid;
	init_run(c);
}

/* ---- the fork ---------------------------------------------------------------------------------- */

/*
 * Is init to share the starter's memory? Not with a tool that may trace, whom init's giving up everything would not stop from getting
 * at the starter through it; nor where limits of v1 groups, which init enters by itself, are to hold for all that it allocates.
 */
static bool shares_memory(const struct inject_plan *plan, const struct inject_seat *seat)
{
	if (!seat->stack || plan->fds[INJECT_FD_CGROUP] >= 0 || may_trace(&plan->sandbox) ||
	    strv_len(plan->argv) > STACK_ARGS)
		return false;
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		if (plan->fds[INJECT_FD_CGROUP_V1 + i] >= 0)
			return false;
	return true;
}

/*
 * The child is born where its /proc/PID shows nothing of the host: on the stage, and in the target's network, or one of its own.
 * The PID namespace is that "for children". CLONE_PARENT: recapd waits for it. CLONE_VM: to copy the page tables, to fill the copy page
 * by page, and to take it apart in the end would be a tenth of an attach. The starter touches nothing any more but its own stack
 * and, should recapd have died meanwhile, errno. Only clone3(2) gets into a cgroup, and glibc has none that brings a stack.
 */
static pid_t fork_init(struct child *c, uint64_t flags, int *ret_pidfd)
{
	int cgroup = c->plan->fds[INJECT_FD_CGROUP];
	struct clone_args args = {
		.flags = flags | (cgroup < 0 ? 0 : CLONE_INTO_CGROUP),
		.pidfd = (uintptr_t)ret_pidfd,
		.cgroup = cgroup < 0 ? 0 : cgroup,
	};
	pid_t pid;

	if (shares_memory(c->plan, c->seat))
		return clone(child_main, c->seat->stack, (int)flags | CLONE_VM, c, ret_pidfd);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child_main(c);
	return pid;
}

int inject_fork(const struct inject_plan *plan, const struct inject_seat *seat,
		struct inject_report *report, int *ret_pidfd)
{
	const enum target_ns before[] = {TARGET_NS_PID, TARGET_NS_NET};
	const int types[] = {CLONE_NEWPID, CLONE_NEWNET};
	/* Not on our stack: we go on before the child is done with it. */
	static struct child child;
	pid_t pid;

	child = (struct child){.plan = plan,
			       .seat = seat,
			       .report = report,
			       .err = &report->error,
			       .target_tree = -1,
			       .root = -1};
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		int ns = plan->fds[INJECT_FD_NS + before[i]];

		if (ns >= 0 && setns(ns, types[i]) < 0)
			return -errno;
	}
	if (!joins(plan, TARGET_NS_NET) && unshare(CLONE_NEWNET) < 0)
		return -errno;
	pid = fork_init(&child,
			CLONE_PARENT | CLONE_PIDFD |
				(joins(plan, TARGET_NS_PID) ? 0 : CLONE_NEWPID),
			ret_pidfd);
	return pid < 0 ? -errno : pid;
}
