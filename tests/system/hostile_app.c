// SPDX-License-Identifier: MIT
/*
 * A hostile application, for tests/system/74_attack_target.bats: what a container, sharing namespaces with a capsule, can do to what is
 * injected into it. All that it goes by is the name of our init and, until its exec, of the tool.
 *
 *	hostile idle			PID 1: does nothing but reap
 *	hostile die			PID 1: ends as soon as something is injected
 *	hostile [-d] ATTACK SECONDS	in a loop, on all that is injected meanwhile; then says what came of it
 *	hostile SETUP [ARG]		see setups[]
 *
 * An attack's last line is "saw N tries N hits N", and before it come the names of what hit. With -d it is made on a process of its
 * own that bears the same name: so the test shows that it can succeed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define INIT_NAME "recap-init"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- what is injected ---- */

static int is_named(int pid, const char *name)
{
	char path[40], comm[20] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, comm, sizeof(comm) - 1);
	close(fd);
	return n > 0 && !strncmp(comm, name, strlen(name)) && comm[strlen(name)] == '\n';
}

static long saw, tries, hits;

/* A try at what was injected; it counts only where that was not the tool after its exec, which has another name. */
static void score(int pid, const char *what, int succeeded)
{
	tries++;
	if (!succeeded || !is_named(pid, INIT_NAME))
		return;
	hits++;
	if (hits < 100)
		printf("hit %s\n", what);
}

/* ---- to get at its files, descriptors and memory ---- */

/*
 * Some ask who we are when they are opened, some when they are read; then nothing comes out of them but that we may not. Of a process that
 * is ending maps and smaps open, and are empty: its memory has gone.
 */
static int can_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), r;
	char byte;

	if (fd < 0)
		return 0;
	errno = 0;
	r = read(fd, &byte, 1) > 0 ||
	    (errno && errno != EACCES && errno != EPERM && errno != ESRCH);
	close(fd);
	return r;
}

static void try_path(int pid, const char *name)
{
	char path[64], link[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	score(pid, name, can_read(path) || readlink(path, link, sizeof(link)) >= 0);
}

/* Everybody may read it: it must not tell what recapd was started with. */
static void try_cmdline(int pid)
{
	char path[40], text[256] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		score(pid, "cmdline", strncmp(text, "recap-", 6) != 0);
	close(fd);
}

static void attack_files(int pid)
{
	static const char *const names[] = {
		"exe",	   "root",   "cwd",	    "mem",	  "maps", "smaps",  "environ",
		"auxv",	   "fd/0",   "fd/1",	    "fd/2",	  "fd/3", "fd/4",   "fd/5",
		"fd/6",	   "fd/7",   "fd/8",	    "fd/9",	  "io",	  "ns/mnt", "ns/pid",
		"pagemap", "fdinfo", "root/../etc", "personality"};
	char task[40];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		try_path(pid, names[i]);
	snprintf(task, sizeof(task), "task/%d/mem", pid);
	try_path(pid, task);
	try_cmdline(pid);
}

/* ---- to take it over ---- */

static void let_go(int pid)
{
	ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

static void try_ptrace(int pid)
{
	int r = ptrace(PTRACE_SEIZE, pid, NULL, NULL);

	score(pid, "seize", r == 0);
	if (r == 0)
		let_go(pid);
	r = ptrace(PTRACE_ATTACH, pid, NULL, NULL);
	score(pid, "attach", r == 0);
	if (r == 0) {
		waitpid(pid, NULL, __WALL);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
}

/* Of an address that lies in neither: EFAULT comes after the question whether it may. */
static void try_memory(int pid)
{
	char buf[8];
	struct iovec local = {buf, sizeof(buf)}, remote = {(void *)8, sizeof(buf)};

	score(pid, "vm-readv",
	      process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT);
	score(pid, "vm-writev",
	      process_vm_writev(pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT);
}

static void attack_trace(int pid)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_CPU_CLOCK,
				       .exclude_kernel = 1};
	int pidfd = syscall(SYS_pidfd_open, pid, 0), fd;
	void *head;
	size_t len;

	try_ptrace(pid);
	try_memory(pid);
	for (int i = 0; i < 8; i++) {
		fd = syscall(SYS_pidfd_getfd, pidfd, i, 0);
		score(pid, "pidfd-getfd", fd >= 0);
		close(fd);
	}
	score(pid, "kcmp", syscall(SYS_kcmp, pid, getpid(), KCMP_FS, 0, 0) >= 0);
	score(pid, "robust-list", syscall(SYS_get_robust_list, pid, &head, &len) == 0);
	fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	score(pid, "perf", fd >= 0);
	close(fd);
	close(pidfd);
}

/* In a process that ends at once: where it comes to the tool, after its exec, it is not to hold the capsule's root. */
static int can_join(int pidfd, int type)
{
	int status = 1;
	pid_t child = fork();

	if (child == 0)
		_exit(setns(pidfd, type) < 0);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* Into its namespaces, which hold the capsule's root. That takes CAP_SYS_ADMIN. */
static void attack_join(int pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	score(pid, "setns", can_join(pidfd, CLONE_NEWUTS));
	score(pid, "setns-mnt", can_join(pidfd, CLONE_NEWNS));
	close(pidfd);
}

/* As its parent would: whoever waits for it takes its end away from recapd. */
static void attack_wait(int pid)
{
	siginfo_t info = {0};
	int r = waitid(P_PID, pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL);

	score(pid, "wait", r == 0);
}

/* ---- to be in its way: root may do this to root, and it must be of no use ---- */

static void attack_kill(int pid)
{
	score(pid, "kill", kill(pid, SIGKILL) == 0);
}

static void attack_stop(int pid)
{
	score(pid, "stop", kill(pid, SIGSTOP) == 0);
}

static void attack_flood(int pid)
{
	for (int sig = 1; sig < 65; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sig != SIGCONT)
			score(pid, "signal", kill(pid, sig) == 0);
}

/* On and off: neither stops it for long. */
static void attack_jolt(int pid)
{
	score(pid, "jolt", kill(pid, SIGSTOP) == 0);
	kill(pid, SIGCONT);
}

static void attack_limits(int pid)
{
	const struct rlimit none = {0, 0};

	for (int what = 0; what < RLIM_NLIMITS; what++)
		score(pid, "prlimit", prlimit(pid, what, &none, NULL) == 0);
}

static void attack_slow(int pid)
{
	struct sched_param p = {0};
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	score(pid, "nice", setpriority(PRIO_PROCESS, pid, 19) == 0);
	score(pid, "idle", sched_setscheduler(pid, SCHED_IDLE, &p) == 0);
	score(pid, "affinity", sched_setaffinity(pid, sizeof(first), &first) == 0);
}

static void write_to(int pid, const char *name, const char *text)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	score(pid, name, fd >= 0 && write(fd, text, strlen(text)) > 0);
	close(fd);
}

/* First to go when memory is short, and as a core dump as large as can be. */
static void attack_files_of_root(int pid)
{
	write_to(pid, "oom_score_adj", "1000");
	write_to(pid, "coredump_filter", "0xff");
	write_to(pid, "clear_refs", "1");
}

/* Into a cgroup of which we know: the limits there are not the capsule's. */
static void attack_move(int pid)
{
	static const char *const folders[] = {"",      "/unified", "/memory",
					      "/pids", "/freezer", "/cpu"};
	char path[64], text[16];

	snprintf(text, sizeof(text), "%d", pid);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		int fd;

		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.procs", folders[i]);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		score(pid, "move", fd >= 0 && write(fd, text, strlen(text)) > 0);
		close(fd);
	}
}

static const struct attack {
	const char *name;
	void (*run)(int pid);
	int burners; /* processes that take the CPU meanwhile */
} attacks[] = {
	{"files", attack_files, 0},
	{"trace", attack_trace, 0},
	{"join", attack_join, 0},
	{"wait", attack_wait, 0},
	{"kill", attack_kill, 0},
	{"stop", attack_stop, 0},
	{"flood", attack_flood, 0},
	{"jolt", attack_jolt, 0},
	{"limits", attack_limits, 0},
	{"slow", attack_slow, 4},
	{"adjust", attack_files_of_root, 0},
	{"move", attack_move, 0},
};

/* ---- the loop ---- */

/* `only`: nobody but that one, 0: all. */
static void for_each(DIR *proc, const struct attack *a, int only)
{
	static int last;
	struct dirent *e;

	rewinddir(proc);
	while ((e = readdir(proc))) {
		int pid = atoi(e->d_name);

		if (pid <= 1 || (only && pid != only) || !is_named(pid, INIT_NAME))
			continue;
		if (pid != last)
			saw++;
		last = pid;
		a->run(pid);
	}
}

static void burn(int n, double until)
{
	while (n--)
		if (fork() == 0) {
			while (now() < until)
				;
			_exit(0);
		}
}

/* Something of one's own to attack, that looks the same. */
static pid_t decoy(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_NAME, INIT_NAME);
		for (;;)
			pause();
	}
	return pid;
}

static int attack(const struct attack *a, int on_decoy, double seconds)
{
	double until = now() + seconds;
	DIR *proc = opendir("/proc");
	pid_t own;

	if (!proc)
		die("/proc");
	burn(a->burners, until);
	own = on_decoy ? decoy() : 0;
	if (own < 0)
		die("fork");
	say_ready();
	while (now() < until)
		for_each(proc, a, own);
	if (own)
		kill(own, SIGKILL);
	printf("saw %ld tries %ld hits %ld\n", saw, tries, hits);
	return 0;
}

/* ---- set-ups ---- */

/* The tool's root, which is the capsule's layer: held for so many seconds. */
static int hold(const char *comm, const char *seconds)
{
	char path[40];
	int fd = -1;

	say_ready();
	while (fd < 0) {
		DIR *proc = opendir("/proc");
		struct dirent *e;

		while (fd < 0 && (e = readdir(proc))) {
			if (!is_named(atoi(e->d_name), comm))
				continue;
			snprintf(path, sizeof(path), "/proc/%d/root", atoi(e->d_name));
			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		}
		closedir(proc);
	}
	puts("held");
	fflush(stdout);
	sleep(atoi(seconds));
	return 0;
}

/* All PIDs that there are, for so many seconds. */
static int forks(const char *seconds, const char *unused)
{
	double until = now() + atof(seconds);
	long n = 0;

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (pid < 0)
			break;
		n++;
	}
	printf("%ld\n", n);
	say_ready();
	/* What becomes free is taken again. */
	while (now() < until) {
		pid_t pid = fork();

		if (pid == 0)
			for (;;)
				pause();
		usleep(1000);
	}
	kill(0, SIGKILL);
	return 0;
}

static int mounts(const char *n, const char *unused)
{
	for (long i = 0; i < atol(n); i++)
		if (mount("/etc", "/etc", NULL, MS_BIND, NULL) < 0)
			die("mount");
	return 0;
}

/* All that a runtime put there is covered, with links where there are folders. */
static int cover(const char *unused, const char *unused2)
{
	if (mount("none", "/proc", "tmpfs", 0, NULL) < 0 || mkdir("/proc/1", 0755) < 0 ||
	    symlink("/", "/proc/1/root") < 0 || symlink("/proc/1", "/proc/self") < 0)
		die("/proc");
	if (mount("none", "/dev", "tmpfs", 0, NULL) < 0 || symlink("/proc/1", "/dev/null") < 0)
		die("/dev");
	if (mount("none", "/sys", "tmpfs", 0, NULL) < 0 || symlink("/etc", "/sys/fs") < 0)
		die("/sys");
	return 0;
}

/* The root itself cannot be copied any more. */
static int unbindable(const char *unused, const char *unused2)
{
	if (mount(NULL, "/", NULL, MS_UNBINDABLE, NULL) < 0)
		die("mount");
	return 0;
}

/* A file system that never answers, and says so when it is there. */
static int fuse(const char *seconds, const char *unused)
{
	char opts[100];
	int fd;

	mkdir("/fuse", 0755);
	mknod("/fuse-device", S_IFCHR | 0600, makedev(10, 229));
	fd = open("/fuse-device", O_RDWR | O_CLOEXEC);
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || mount("none", "/fuse", "fuse", 0, opts) < 0)
		die("fuse");
	say_ready();
	sleep(atoi(seconds));
	return umount2("/fuse", MNT_DETACH);
}

/* Whoever opens a file of the root's file system is to wait for our permission, which we never give. */
static int permit(const char *seconds, const char *unused)
{
	int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);

	if (fd < 0 || fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
				    FAN_OPEN_PERM | FAN_ACCESS_PERM, AT_FDCWD, "/etc/app.conf") < 0)
		die("fanotify");
	say_ready();
	sleep(atoi(seconds));
	return 0;
}

/* Events without end, and as many names of sockets as there may be descriptors. */
static int storm(const char *seconds, const char *unused)
{
	static const char *const watched[] = {"/", "/proc", "/sys", "/dev", "/etc", "/proc/1"};
	double until = now() + atof(seconds);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), s;

	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		inotify_add_watch(in, watched[i], IN_ALL_EVENTS);
	for (int i = 0; i < 500; i++) {
		s = socket(AF_UNIX, SOCK_STREAM, 0);
		snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "recap%d", i);
		if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			listen(s, 1);
	}
	say_ready();
	while (now() < until) {
		close(open("/etc/storm", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		unlink("/etc/storm");
	}
	return 0;
}

/* PID 1 is the whole container. */
static int die_early(const char *unused, const char *unused2)
{
	for (;;) {
		DIR *proc = opendir("/proc");
		struct dirent *e;

		while ((e = readdir(proc)))
			if (atoi(e->d_name) > 1 && is_named(atoi(e->d_name), INIT_NAME))
				_exit(0);
		closedir(proc);
	}
}

static int idle(const char *unused, const char *unused2)
{
	signal(SIGCHLD, SIG_IGN);
	while (pause() < 0)
		;
	return 0;
}

/* Another process, with this PID. */
static int take_pid(const char *pid, const char *seconds)
{
	pid_t wanted = atoi(pid);
	struct clone_args {
		unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack,
			stack_size, tls, set_tid, set_tid_size;
	} args = {.exit_signal = SIGCHLD, .set_tid = (unsigned long)&wanted, .set_tid_size = 1};
	long child = syscall(SYS_clone3, &args, sizeof(args));

	if (child < 0)
		die("clone3");
	if (child == 0) {
		sleep(atoi(seconds));
		_exit(0);
	}
	say_ready();
	return waitpid(child, NULL, 0) == child ? 0 : 1;
}

static const struct setup {
	const char *name;
	int n_args;
	int (*run)(const char *arg, const char *arg2);
} setups[] = {
	{"idle", 0, idle},	   {"die", 0, die_early},	  {"hold", 2, hold},
	{"forks", 1, forks},	   {"mounts", 1, mounts},	  {"cover", 0, cover},
	{"fuse", 1, fuse},	   {"permit", 1, permit},	  {"storm", 1, storm},
	{"take-pid", 2, take_pid}, {"unbindable", 0, unbindable},
};

int main(int argc, char **argv)
{
	int on_decoy = argc > 1 && !strcmp(argv[1], "-d");

	argv += on_decoy;
	argc -= on_decoy;
	for (size_t i = 0; argc > 2 && i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (!strcmp(argv[1], attacks[i].name))
			return attack(&attacks[i], on_decoy, atof(argv[2]));
	for (size_t i = 0; argc > 1 && i < sizeof(setups) / sizeof(setups[0]); i++)
		if (!strcmp(argv[1], setups[i].name) && argc - 2 >= setups[i].n_args)
			return setups[i].run(argv[2], argc > 3 ? argv[3] : NULL);
	fputs("usage: hostile [-d] ATTACK SECONDS | hostile SETUP [ARG...]\n", stderr);
	return 2;
}
