// SPDX-License-Identifier: MIT
#include "scan/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <seccomp.h>

#include "common/data_limit.h"
#include "common/fd.h"
#include "core/mountapi.h"

#define NOBODY	     65534
#define SETUP_FAILED 113
#define TASKS_MAX    4096 /* of all that run as nobody */
#define SECOND	     1000000000ull

int jail_add(struct jail *j, const char *from, const char *at, bool link, bool optional)
{
	if (j->n == JAIL_MOUNTS_MAX)
		return -EINVAL;
	j->mounts[j->n++] = (struct jail_mount){from, at, link, optional};
	return 0;
}

/* ---- inside: the root -------------------------------------------------------------------------- */

static int make_parents(int root, const char *at)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s", at + 1);
	for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdirat(root, path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

static int make_link(int root, const struct jail_mount *m)
{
	char target[4096];
	ssize_t n = readlink(m->from, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, root, m->at + 1) < 0 ? -errno : 0;
}

/* Read-only whatever it is on the host, with all that is mounted below it. */
static int make_mount(int root, const struct jail_mount *m, bool folder)
{
	struct mount_attr attr = {.attr_set =
					  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	cleanup_fd int fd =
		open_tree(AT_FDCWD, m->from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	int at;

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	if (folder) {
		if (mkdirat(root, m->at + 1, 0755) < 0 && errno != EEXIST)
			return -errno;
	} else {
		at = openat(root, m->at + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (at < 0)
			return -errno;
		close(at);
	}
	return move_mount(fd, "", root, m->at + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int place(int root, const struct jail_mount *m)
{
	struct stat st;
	int r;

	if (fstatat(AT_FDCWD, m->from, &st, m->link ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return errno == ENOENT && m->optional ? 0 : -errno;
	r = make_parents(root, m->at);
	if (r < 0)
		return r;
	return S_ISLNK(st.st_mode) ? make_link(root, m) : make_mount(root, m, S_ISDIR(st.st_mode));
}

static int place_tmp(int root, int tmp)
{
	if (mkdirat(root, "tmp", 0755) < 0)
		return -errno;
	return move_mount(tmp, "", root, "tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int place_kernel_fs(int root)
{
	static const char *const none[][2] = {{NULL, NULL}};
	static const struct {
		const char *name;
		unsigned int minor;
	} nodes[] = {{"dev/null", 3}, {"dev/zero", 5}, {"dev/urandom", 9}, {"dev/random", 8}};
	cleanup_fd int proc =
		mount_new("proc", none, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);

	if (proc < 0)
		return proc;
	if (mkdirat(root, "proc", 0755) < 0 || mkdirat(root, "dev", 0755) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (mknodat(root, nodes[i].name, S_IFCHR | 0666, makedev(1, nodes[i].minor)) < 0)
			return -errno;
	return move_mount(proc, "", root, "proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int build_root(const struct jail *j, const char **ret_what)
{
	static const char *const opts[][2] = {
		{"size", "1m"}, {"mode", "0755"}, {"nr_inodes", "1024"}, {NULL, NULL}};
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	cleanup_fd int root = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID);
	int r = root < 0 ? root : 0;

	umask(0);
	*ret_what = "its root";
	/* Before anything is put into it: kernels up to 6.14 mount nothing on what is detached. */
	if (r == 0 && move_mount(root, "", AT_FDCWD, j->anchor, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	if (r == 0 && j->tmp >= 0)
		r = place_tmp(root, j->tmp);
	if (r == 0 && j->programs)
		r = place_kernel_fs(root);
	for (size_t i = 0; i < j->n && r == 0; i++) {
		*ret_what = j->mounts[i].from;
		r = place(root, &j->mounts[i]);
	}
	if (r < 0)
		return r;
	*ret_what = "its root";
	if (mount_setattr(root, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		r = -errno;
	return r < 0 ? r : mount_pivot(root);
}

/* ---- inside: rights ---------------------------------------------------------------------------- */

static int set_limits(const struct jail *j)
{
	const struct {
		int what;
		rlim_t max;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_NOFILE, 1024},
		{RLIMIT_DATA, DATA_LIMIT(j->programs ? 4ull << 30 : 1ull << 30)},
		{RLIMIT_FSIZE, j->programs ? RLIM_INFINITY : 0},
		{RLIMIT_NPROC, TASKS_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit l = {limits[i].max, limits[i].max};

		if (setrlimit(limits[i].what, &l) < 0)
			return -errno;
	}
	return 0;
}

static int keep_one_capability(bool ambient)
{
	static const cap_value_t keep[] = {CAP_DAC_READ_SEARCH};
	cap_t caps = cap_init();
	int r = caps ? 0 : -ENOMEM;

	for (int c = 0; r == 0 && prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (c != CAP_DAC_READ_SEARCH && prctl(PR_CAPBSET_DROP, c) < 0)
			r = -errno;
	if (r == 0 &&
	    (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 ||
	     setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
		r = -errno;
	if (r == 0 &&
	    (cap_set_flag(caps, CAP_PERMITTED, 1, keep, CAP_SET) < 0 ||
	     cap_set_flag(caps, CAP_EFFECTIVE, 1, keep, CAP_SET) < 0 ||
	     cap_set_flag(caps, CAP_INHERITABLE, 1, keep, CAP_SET) < 0 || cap_set_proc(caps) < 0))
		r = -errno;
	if (r == 0 && ambient &&
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) < 0)
		r = -errno;
	cap_free(caps);
	return r;
}

/* Reading, memory, and writing to what is open: nothing else. */
static int seal(void)
{
	static const int calls[] = {
		SCMP_SYS(read),		  SCMP_SYS(pread64),	SCMP_SYS(readv),
		SCMP_SYS(write),	  SCMP_SYS(writev),	SCMP_SYS(close),
		SCMP_SYS(openat),	  SCMP_SYS(openat2),	SCMP_SYS(fstat),
		SCMP_SYS(newfstatat),	  SCMP_SYS(statx),	SCMP_SYS(lseek),
		SCMP_SYS(getdents64),	  SCMP_SYS(fcntl),	SCMP_SYS(readlinkat),
		SCMP_SYS(mmap),		  SCMP_SYS(munmap),	SCMP_SYS(mremap),
		SCMP_SYS(mprotect),	  SCMP_SYS(madvise),	SCMP_SYS(brk),
		SCMP_SYS(futex),	  SCMP_SYS(getrandom),	SCMP_SYS(clock_gettime),
		SCMP_SYS(gettimeofday),	  SCMP_SYS(getpid),	SCMP_SYS(rt_sigreturn),
		SCMP_SYS(exit),		  SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
		SCMP_SYS(rt_sigprocmask), SCMP_SYS(gettid),	SCMP_SYS(tgkill),
		SCMP_SYS(geteuid),	  SCMP_SYS(getuid),
#ifdef __SANITIZE_ADDRESS__
		SCMP_SYS(sigaltstack), /* before what does not return */
#endif
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

/* Programs do as they like, but for files that no path leads to, which CAP_DAC_READ_SEARCH would open. */
static int seal_program(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(open_by_handle_at), 0)
		    : -ENOMEM;

	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static int confine(const struct jail *j, const char **ret_what)
{
	int r;

	*ret_what = "its limits";
	r = set_limits(j);
	if (r == 0) {
		*ret_what = "its capabilities";
		r = keep_one_capability(j->programs);
	}
	/* Cleared by the change of user. */
	if (r == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
		       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	if (r == 0) {
		*ret_what = "its system call filter";
		r = j->programs ? seal_program() : seal();
	}
	return r;
}

static __attribute__((noreturn)) void child(const struct jail *j, int (*fn)(void *, int), void *arg,
					    int out, int err)
{
	const char *what = "";
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), r;

	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(SETUP_FAILED);
	r = build_root(j, &what);
	/* Nothing of the host's stays open: from a folder of it, ".." would lead on. */
	if (r == 0 && close_range(3, ~0u, 0) < 0)
		r = -errno;
	if (r == 0)
		r = confine(j, &what);
	if (r < 0) {
		dprintf(2, "cannot set up %s: %s", what, strerror(-r));
		_exit(SETUP_FAILED);
	}
	_exit(fn(arg, 1));
}

/* ---- outside ----------------------------------------------------------------------------------- */

struct watch {
	struct jail_result *result;
	size_t size, max, err_len;
	uint64_t deadline;
};

static int read_out(struct watch *w, int fd)
{
	struct jail_result *res = w->result;
	ssize_t n;

	if (res->len + 1 >= w->size) {
		char *more;

		if (res->len >= w->max)
			return -EFBIG;
		w->size = w->size ? 2 * w->size : 64 << 10;
		more = realloc(res->out, w->size);
		if (!more)
			return -ENOMEM;
		res->out = more;
	}
	n = read(fd, res->out + res->len, w->size - res->len - 1);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	res->len += n;
	res->out[res->len] = '\0';
	return n > 0;
}

/* The start is kept, the rest is read and thrown away, so that its writer goes on. */
static int read_err(struct watch *w, int fd)
{
	struct jail_result *res = w->result;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t room = sizeof(res->err) - 1 - w->err_len;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if ((size_t)n < room)
		room = n;
	memcpy(res->err + w->err_len, buf, room);
	w->err_len += room;
	res->err[w->err_len] = '\0';
	return n > 0;
}

/* Until both pipes have ended. */
static int follow(struct watch *w, int out, int err)
{
	struct pollfd p[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
	int r = 1;

	while (r >= 0 && (p[0].fd >= 0 || p[1].fd >= 0)) {
		uint64_t now = clock_boot_ns();

		if (now >= w->deadline)
			return -ETIME;
		r = poll(p, 2, (int)((w->deadline - now) / 1000000) + 1);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0) {
			r = 0;
			continue;
		}
		if (p[0].revents && (r = read_out(w, out)) == 0)
			p[0].fd = -1;
		if (r >= 0 && p[1].revents && (r = read_err(w, err)) == 0)
			p[1].fd = -1;
	}
	return r < 0 ? r : 0;
}

/* PID 1 of its namespace: the kernel ends all others with it. */
static int reap(pid_t pid, int pidfd, uint64_t deadline, bool at_once, int *ret_status)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	uint64_t now = clock_boot_ns();
	int status, r = 0;

	if (at_once || now >= deadline || poll(&p, 1, (int)((deadline - now) / 1000000) + 1) <= 0) {
		kill(pid, SIGKILL);
		r = at_once ? 0 : -ETIME;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return r;
}

static pid_t spawn(const struct jail *j, int *ret_pidfd)
{
	unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
			      CLONE_PIDFD | SIGCHLD | (j->network ? 0 : CLONE_NEWNET);
	/* As fork(2), which cannot make namespaces. */
	long pid = syscall(SYS_clone, flags, NULL, ret_pidfd, NULL, 0);

	return pid < 0 ? -errno : (pid_t)pid;
}

static int explain(int r, const struct jail *j, const struct jail_result *res, struct error *err)
{
	if (r == -ETIME)
		return error_set(err, ETIME, "it took longer than %lld s", (long long)j->timeout_s);
	if (r == -EFBIG)
		return error_set(err, EFBIG, "its output is longer than %zu MiB", j->max_out >> 20);
	if (r < 0)
		return error_sys(err, -r, "cannot follow it");
	if (res->status == SETUP_FAILED)
		return error_set(err, EIO, "its jail could not be built: %.200s", res->err);
	return 0;
}

int jail_run(const struct jail *j, int (*fn)(void *arg, int out), void *arg,
	     struct jail_result *ret, struct error *err)
{
	struct jail_result res = {};
	struct watch w = {.result = &res,
			  .max = j->max_out,
			  .deadline = clock_boot_ns() + j->timeout_s * SECOND};
	int out[2], errs[2], pidfd = -1, r, late;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return error_sys(err, errno, "cannot make a pipe");
	if (pipe2(errs, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return error_sys(err, errno, "cannot make a pipe");
	}
	pid = spawn(j, &pidfd);
	if (pid == 0)
		child(j, fn, arg, out[1], errs[1]);
	close(out[1]);
	close(errs[1]);
	r = pid < 0 ? pid : follow(&w, out[0], errs[0]);
	if (pid > 0) {
		late = reap(pid, pidfd, w.deadline, r < 0, &res.status);
		r = r < 0 ? r : late;
	}
	close(out[0]);
	close(errs[0]);
	fd_close(pidfd);
	r = explain(r, j, &res, err);
	if (r == 0 && !res.out) {
		res.out = calloc(1, 1);
		r = res.out ? 0 : error_set(err, ENOMEM, "out of memory");
	}
	if (r < 0) {
		free(res.out);
		return r;
	}
	*ret = res;
	return 0;
}
