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
#define INIT_NAME    "recap-init"
#define LOG_MAX	     (16 << 20) /* bytes kept of a detached capsule's output */
#define LOG_FULL     "\n[recap: output limit reached, the rest is dropped]\n"

struct inject_report *inject_report_new(void)
{
	void *p = mmap(NULL, sizeof(struct inject_report), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void inject_report_free(struct inject_report *report)
{
	if (report)
		munmap(report, sizeof(*report));
}

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
	struct error *err;
	struct inject_report *report;
	int target_tree; /* detached clone of the target's mounts */
	int root;	 /* the capsule's root folder */
	cpu_set_t cpus;	 /* where recapd may run, and the tool again */
	struct user_ids user;
};

/*
 * The way from recapd to the tool's exec is one thread of work in three processes, each waiting for the next. Left alone, the
 * scheduler puts every new one on another CPU, which has to be woken first, or is busy; so they stay on this one.
 */
static void stay_on_cpu(cpu_set_t *ret_before)
{
	cpu_set_t here;

	/* More CPUs than fit: then left alone. */
	if (sched_getaffinity(0, sizeof(*ret_before), ret_before) < 0) {
		CPU_ZERO(ret_before);
		return;
	}
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

/* Only ever costs time when it fails: nothing depends on it. */
static void leave_cpu(const cpu_set_t *before)
{
	if (CPU_COUNT(before))
		sched_setaffinity(0, sizeof(*before), before);
}

/* ---- the steps, in order ----------------------------------------------------------------------- */

static int step_session(struct child *c)
{
	/* Away from recapd's session: no controlling terminal, no signals meant for its group. */
	if (setsid() < 0)
		return error_sys(c->err, errno, "setsid");
	prctl(PR_SET_NAME, INIT_NAME);
	if (arguments.size) {
		memset(arguments.text, 0, arguments.size);
		strncpy(arguments.text, INIT_NAME, arguments.size - 1);
	}
	/* Nothing below our /proc/PID may be opened by the target, nor may it trace us. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(c->err, errno, "PR_SET_DUMPABLE");
	return 0;
}

/* v1 groups have no CLONE_INTO_CGROUP. "0" is the writer. */
static int step_cgroups(struct child *c)
{
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		if (c->plan->cgroup->v1[i] >= 0 && write(c->plan->cgroup->v1[i], "0", 1) < 0)
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
	if (c->plan->target->ns[TARGET_NS_MNT] >= 0 &&
	    setns(c->plan->target->ns[TARGET_NS_MNT], CLONE_NEWNS) < 0)
		return error_sys(c->err, errno, "cannot enter the target's mount namespace");
	c->target_tree =
		open_tree(c->plan->target->root, "",
			  AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (c->target_tree < 0)
		return error_sys(c->err, errno, "cannot copy the target's mounts");
	if (c->plan->target_root == TARGET_ROOT_RO)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (mount_setattr(c->target_tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) <
	    0)
		return error_sys(c->err, errno, "cannot restrict the copy of the target's mounts");
	return 0;
}

/* Our own mount namespace: a copy of the stage's few mounts, not of the host's many. */
static int step_own_mounts(struct child *c)
{
	if (setns(c->plan->stage_ns, CLONE_NEWNS) < 0)
		return error_sys(c->err, errno, "cannot enter the stage");
	if (unshare(CLONE_NEWNS) < 0)
		return error_sys(c->err, errno, "cannot unshare the mount namespace");
	return 0;
}

/* Whether the capsule is to be in the target's namespace of that kind (which may be recapd's own: --pid=host). */
static bool joins(const struct inject_plan *plan, enum target_ns ns)
{
	return plan->target->joined & (1u << ns);
}

/* What is not joined is new and empty: the host's is never a capsule's. */
static int step_join(struct child *c)
{
	static const struct {
		enum target_ns ns;
		int type;
	} kinds[] = {{TARGET_NS_CGROUP, CLONE_NEWCGROUP},
		     {TARGET_NS_IPC, CLONE_NEWIPC},
		     {TARGET_NS_UTS, CLONE_NEWUTS},
		     {TARGET_NS_NET, CLONE_NEWNET}};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int fd = c->plan->target->ns[kinds[i].ns];

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
	cleanup_fd int stage = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int dev = -1;
	int r;

	if (stage < 0)
		return error_sys(c->err, errno, "cannot open the stage");
	r = mount_put(c->plan->overlay, stage, STAGE_ROOT);
	if (r < 0)
		return error_sys(c->err, -r, "cannot mount the capsule's root");
	c->root = c->plan->overlay;
	dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = put(c, dev, "dev");
	if (r == 0 && c->target_tree >= 0)
		r = put(c, c->target_tree, "target");
	return r;
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

	return r < 0 ? r : put(c, sys, "sys");
}

static int step_pivot(struct child *c)
{
	/* pivot_root(2): "." twice, and then the old root, the empty stage, is off. */
	if (fchdir(c->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return error_sys(c->err, errno, "cannot make the capsule's root its root");
	return 0;
}

static int step_user(struct child *c)
{
	int r = userdb_resolve(c->root, c->plan->user, &c->user, c->err);

	c->report->uid = c->user.uid;
	c->report->gid = c->user.gid;
	return r;
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
		if (dup2(c->plan->stdio[i] < 0 ? null : c->plan->stdio[i], i) < 0)
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

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
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
	if (user_ns >= 0 && setns(user_ns, CLONE_NEWUSER) < 0)
		return error_sys(c->err, errno, "cannot join the target's user namespace");
	return 0;
}

static int tool_confine(const struct child *c)
{
	const int stdio[3] = {0, 1, 2};
	int r;

	/* Before the credentials: opening "/" and the passed files needs no more than we are about to lose. */
	if (c->plan->sandbox->landlock) {
		r = sandbox_landlock(stdio);
		if (r < 0)
			return error_sys(c->err, -r, "cannot confine file access");
	}
	r = sandbox_credentials(c->plan->sandbox, c->user.uid, c->user.gid, c->user.groups,
				c->user.n_groups);
	if (r < 0)
		return error_sys(c->err, -r, "cannot become user %u:%u", c->user.uid, c->user.gid);
	/* The change of user put suid_dumpable(5) in place of what we set. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return error_sys(c->err, errno, "prctl");
	if (chdir(c->plan->workdir) < 0)
		return error_named(c->err, errno, "CommandNotExecutable",
				   "cannot change to %s in the capsule: %s", c->plan->workdir,
				   strerror(errno));
	r = sandbox_seccomp(c->plan->sandbox);
	return r < 0 ? error_sys(c->err, -r, "cannot install the seccomp filter") : 0;
}

static bool may_trace(const struct sandbox *s)
{
	return s->caps & 1ull << CAP_SYS_PTRACE;
}

/* Should init die before, so does the tool (PR_SET_PDEATHSIG). */
static void wait_for_seal(const struct child *c)
{
	while (!__atomic_load_n(&c->report->sealed, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &c->report->sealed, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void tool_exec(const struct child *c, char *const *env)
{
	const char *name = c->plan->argv[0];

	leave_cpu(&c->cpus);
	if (may_trace(c->plan->sandbox))
		wait_for_seal(c);
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
	int user_ns = c->plan->target->ns[TARGET_NS_USER];

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

/* Only the two descriptors of the log stay open, as 0 and 1, and no power over anything. */
static void seal(const struct child *c)
{
	const struct inject_plan *plan = c->plan;

	leave_cpu(&c->cpus);
	if (plan->log >= 0 && (dup2(plan->log_pipe, 0) < 0 || dup2(plan->log, 1) < 0))
		_exit(1);
	close_range(plan->log >= 0 ? 2 : 0, ~0u, 0);
	if (sandbox_seal_init() < 0)
		_exit(1);
	__atomic_store_n(&c->report->sealed, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &c->report->sealed, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * Until no child is left, and that is the tree: SIGCHLD is ignored, so this only returns then. Also where the tool could not be
 * started: vfork(2) lets us go on before its process has quite gone, and it would be the target's to reap.
 */
static void wait_for_tree(void)
{
	while (waitid(P_ALL, 0, NULL, WEXITED | __WALL) == 0 || errno == EINTR)
		;
}

static __attribute__((noreturn)) void init_run(struct child *c)
{
	seal(c);
	if (c->plan->log >= 0)
		pump_log(0, 1);
	wait_for_tree();
	_exit(c->err->code ? 1 : 0);
}

typedef int (*step_fn)(struct child *c);

/* The checklist. Each needs those before it; see the comment at each. */
static const step_fn steps[] = {
	step_session,	   /* first of all: out of the target's reach */
	step_cgroups,	   /* limits hold before anything is allocated for the target */
	step_clone_target, /* needs the target's mount namespace, for one call */
	step_own_mounts,   /* out of it again, into one of our own */
	step_join,	   /* kernel file systems show the namespaces of who mounts them */
	step_root,	   /* overlay, /dev, /target */
	step_kernel_fs, /* /proc of the PID namespace that the clone put us in, /sys of the joined network */
	step_pivot,  /* from here on every path is the capsule's */
	step_user,   /* names in the image's own databases */
	step_reaper, /* before there is anybody to reap */
};

static __attribute__((noreturn)) void child_main(struct child *c)
{
	char **env;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i](c) < 0)
			_exit(1);
	env = make_env(c);
	/*
	 * vfork(2): the tool runs on our memory until its exec, and we stand still, which spares copying recapd's page tables a
	 * second time. A tool that may trace could take us over between its exec and our seal, so that one waits for it.
	 */
	pid = !env ? -1 : may_trace(c->plan->sandbox) ? fork() : vfork();
	if (pid == 0)
		tool_run(c, env);
	if (pid < 0)
		error_sys(c->err, errno, "cannot start the tool");
	init_run(c);
}

/* ---- recapd's side ----------------------------------------------------------------------------- */

/*
 * clone3(2) puts the child into the cgroup and into the PID namespace at birth. The namespace is that "for children" of
 * recapd, which is set for this one call only.
 */
static int clone_child(const struct inject_plan *plan, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | (plan->cgroup->v2 >= 0 ? CLONE_INTO_CGROUP : 0) |
			 (joins(plan, TARGET_NS_PID) ? 0 : CLONE_NEWPID),
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = plan->cgroup->v2 >= 0 ? plan->cgroup->v2 : 0,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : pid;
}

/* Or else abort: to go on in a namespace of the target's or the stage would be to act for it. */
static void enter_or_abort(int ns, int type)
{
	if (setns(ns, type) < 0)
		abort();
}

/*
 * The child is born where its /proc/PID shows nothing of the host: on the stage, and in the target's network. recapd goes there for
 * this one call, as it does for the PID namespace "for children".
 */
static int clone_in_namespaces(const struct inject_plan *plan, const int own[3], cpu_set_t *cpus,
			       int *pidfd)
{
	const int types[3] = {CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWNS};
	const int wanted[3] = {plan->target->ns[TARGET_NS_PID], plan->target->ns[TARGET_NS_NET],
			       plan->stage_ns};
	int r = 0, entered = 0;

	for (; entered < 3 && r == 0; entered++)
		if (wanted[entered] >= 0 && setns(wanted[entered], types[entered]) < 0)
			r = -errno;
	stay_on_cpu(cpus);
	if (r == 0)
		r = clone_child(plan, pidfd);
	if (r == 0)
		return 0;
	leave_cpu(cpus);
	while (entered-- > 0)
		if (wanted[entered] >= 0)
			enter_or_abort(own[entered], types[entered]);
	return r;
}

/* recapd's own namespaces, which never change: opened once and kept. */
static int open_own(int own[3])
{
	static const char *const paths[3] = {"/proc/self/ns/pid", "/proc/self/ns/net",
					     "/proc/self/ns/mnt"};
	static int kept[3] = {-1, -1, -1};

	for (int i = 0; i < 3; i++) {
		if (kept[i] < 0)
			kept[i] = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (kept[i] < 0)
			return -errno;
		own[i] = kept[i];
	}
	return 0;
}

int inject_start(struct track *track, const struct inject_plan *plan, struct inject_report *report,
		 int *ret_pidfd, pid_t *ret_pid, struct error *err)
{
	int own[3];
	struct child child = {.plan = plan,
			      .report = report,
			      .err = &report->error,
			      .target_tree = -1,
			      .root = -1};
	int pidfd = -1, r = open_own(own);

	if (r < 0)
		return error_sys(err, -r, "cannot open /proc/self/ns");
	r = track_tag_self(track, plan->capsule);
	if (r < 0)
		return error_sys(err, -r, "cannot tag the capsule's first process");
	r = clone_in_namespaces(plan, own, &child.cpus, &pidfd);
	if (r == 0)
		child_main(&child);
	if (track_tag_self(track, 0) < 0)
		abort();
	if (r < 0)
		return error_sys(err, -r, "cannot fork into the target's PID namespace");
	*ret_pidfd = pidfd;
	*ret_pid = r;
	return 0;
}
