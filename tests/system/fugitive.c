// SPDX-License-Identifier: MIT
/*
 * A capsule that tries to stay behind: `fugitive NAME` does so in the way of that name, and then ends as if nothing were left.
 * Whatever it could not even try is one line on standard error and exit status 1. It says first which devices its layer is
 * ("layer DEV DEV"), for tests/system/look.c.
 *
 * `fugitive list` prints the table that tests/system/fugitive.bash goes by, a line for each way: its name, what must become of it
 * ("gone", or the kind of the holder that a quarantine must name), the tool's exit status, and the options that attach needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "message.h"

#define check(call)                     \
	({                              \
		long r_ = (long)(call); \
		if (r_ == -1)           \
			die(#call);     \
		r_;                     \
	})

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "fugitive: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* ---- what most of them need ---------------------------------------------------------------------- */

/* Nothing but SIGKILL and SIGSTOP gets through. */
static void ignore_all(void)
{
	for (int sig = 1; sig < 65; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33)
			signal(sig, SIG_IGN);
}

static __attribute__((noreturn)) void stay(void)
{
	ignore_all();
	for (;;)
		pause();
}

/* Out of the tool's session and group, no child of the tool, and no stream of it. */
static pid_t go_under(void)
{
	pid_t pid = check(fork());

	if (pid)
		return pid;
	setsid();
	if (check(fork()))
		_exit(0);
	close_range(0, 1, 0);
	return 0;
}

/* The process that stays is to have come so far before the tool ends. */
static void started(int *pipe_of_two)
{
	check(pipe(pipe_of_two));
}

static void say_started(int *pipe_of_two)
{
	check(write(pipe_of_two[1], "x", 1));
}

static void wait_started(int *pipe_of_two)
{
	char c;

	close(pipe_of_two[1]);
	if (read(pipe_of_two[0], &c, 1) != 1)
		die("who is to stay did not get so far");
}

/* Run `fn` in a daemon that must reach say_started() (which it is given), and end. */
static int leave_behind(void (*fn)(int *up))
{
	int up[2];

	started(up);
	if (go_under() == 0) {
		fn(up);
		stay();
	}
	wait_started(up);
	return 0;
}

static int open_layer_file(void)
{
	return check(open("/data", O_RDONLY | O_CLOEXEC));
}

/* An order to the accomplice in the target, with a descriptor. */
static int tell(const char *order, int fd)
{
	struct sockaddr_un sa;
	socklen_t len = message_address(&sa);
	int conn = check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)), got;
	char reply[64];

	check(connect(conn, (struct sockaddr *)&sa, len));
	check(message_send(conn, order, fd));
	if (!strcmp(order, "flight"))
		return 0;
	check(message_receive(conn, reply, &got));
	if (strcmp(reply, "ok"))
		fprintf(stderr, "fugitive: the accomplice says %s\n", reply);
	return strcmp(reply, "ok") ? 1 : 0;
}

/* ---- processes ----------------------------------------------------------------------------------- */

static void f_daemon(int *up)
{
	ignore_all();
	say_started(up);
}

static int do_daemon(void)
{
	return leave_behind(f_daemon);
}

/* Never there when one looks: each forks the next and ends. */
static void f_chain(int *up)
{
	ignore_all();
	say_started(up);
	for (;;) {
		pid_t pid = fork();

		if (pid > 0)
			_exit(0);
	}
}

static int do_chain(void)
{
	return leave_behind(f_chain);
}

/* A fork bomb at the limit of its cgroup, which fills up again what the kill takes away. */
static void f_bomb(int *up)
{
	ignore_all();
	for (int i = 0; i < 100; i++)
		if (fork() == 0)
			break;
	(void)!write(up[1], "x", 1);
	for (;;)
		if (fork() < 0)
			sched_yield();
}

static int do_bomb(void)
{
	return leave_behind(f_bomb);
}

static void grow_two_heads(int sig)
{
	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			return;
}

static void f_hydra(int *up)
{
	signal(SIGTERM, grow_two_heads);
	say_started(up);
	for (;;)
		pause();
}

static int do_hydra(void)
{
	return leave_behind(f_hydra);
}

static long raw_clone(unsigned long flags)
{
	return syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

/* A brother of the tool, and a child of RECap's init. */
static int do_clone_parent(void)
{
	if (check(raw_clone(CLONE_PARENT | SIGCHLD)) == 0)
		stay();
	return 0;
}

/* Parents asleep in the kernel until a child executes something, which the last one does not. */
static int do_vfork(void)
{
	int up[2];

	started(up);
	ignore_all();
	if (check(fork()) == 0) {
		for (int i = 0; i < 8; i++)
			if (check(raw_clone(CLONE_VFORK | SIGCHLD)))
				stay();
		say_started(up);
		stay();
	}
	wait_started(up);
	return 0;
}

static void *thread_stays(void *arg)
{
	usleep(20000);
	say_started(arg);
	stay();
}

static void f_leader_gone(int *up)
{
	pthread_t thread;

	ignore_all();
	if (pthread_create(&thread, NULL, thread_stays, up))
		die("pthread_create");
	syscall(SYS_exit, 0);
}

static int do_leader_gone(void)
{
	return leave_behind(f_leader_gone);
}

/* The thread takes the place of its leader, which has gone. */
static void *thread_executes(void *arg)
{
	usleep(20000);
	execl("/proc/self/exe", "fugitive", "stay", NULL);
	die("exec");
}

static void f_thread_exec(int *up)
{
	pthread_t thread;

	ignore_all();
	if (pthread_create(&thread, NULL, thread_executes, NULL))
		die("pthread_create");
	say_started(up);
	syscall(SYS_exit, 0);
}

static int do_thread_exec(void)
{
	return leave_behind(f_thread_exec);
}

static int do_stay(void)
{
	stay();
}

/* Another program all the time: `exec-again` executes itself. */
static int do_exec_again(void)
{
	ignore_all();
	execl("/proc/self/exe", "fugitive", "exec-again", NULL);
	die("exec");
}

static void f_exec_loop(int *up)
{
	say_started(up);
	do_exec_again();
}

static int do_exec_loop(void)
{
	return leave_behind(f_exec_loop);
}

static void f_stopped(int *up)
{
	if (check(fork()) == 0)
		raise(SIGSTOP);
	say_started(up);
	raise(SIGSTOP);
}

static int do_stopped(void)
{
	return leave_behind(f_stopped);
}

static void f_zombies(int *up)
{
	for (int i = 0; i < 500; i++)
		if (check(fork()) == 0)
			_exit(0);
	say_started(up);
}

static int do_zombies(void)
{
	return leave_behind(f_zombies);
}

static void f_unreaped(int *up)
{
	signal(SIGCHLD, SIG_IGN);
	f_zombies(up);
}

static int do_sigchld_ignored(void)
{
	return leave_behind(f_unreaped);
}

/* Its orphans come to it and not to RECap's init. */
static void f_subreaper(int *up)
{
	check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	for (int i = 0; i < 20; i++)
		if (go_under() == 0)
			stay();
	say_started(up);
}

static int do_subreaper(void)
{
	return leave_behind(f_subreaper);
}

/* The end of each is what starts the next. */
static void f_pdeathsig(int *up)
{
	sigset_t set;
	int sig;

	ignore_all();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check(sigprocmask(SIG_BLOCK, &set, NULL));
	signal(SIGUSR1, SIG_DFL);
	for (int i = 0; i < 5; i++)
		if (check(fork()) == 0)
			check(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	say_started(up);
	while (sigwait(&set, &sig) == 0) {
		if (fork() > 0)
			_exit(0);
		prctl(PR_SET_PDEATHSIG, SIGUSR1);
	}
}

static int do_pdeathsig(void)
{
	return leave_behind(f_pdeathsig);
}

static void f_setuid(int *up)
{
	check(setgid(12345));
	check(setuid(12345));
	say_started(up);
}

static int do_setuid(void)
{
	return leave_behind(f_setuid);
}

static int stay_on_stack(void *arg)
{
	stay();
}

/* Processes of their own, with one memory, table of descriptors and working folder. */
static int do_shared_memory(void)
{
	static char stack[4][16384] __attribute__((aligned(16)));

	for (int i = 0; i < 4; i++)
		check(clone(stay_on_stack, stack[i] + sizeof(stack[i]),
			    CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
	return 0;
}

static void f_timers(int *up)
{
	struct itimerval often = {{0, 2000}, {0, 2000}};

	ignore_all();
	signal(SIGALRM, grow_two_heads);
	check(setitimer(ITIMER_REAL, &often, NULL));
	say_started(up);
	for (;;)
		pause();
}

static int do_timers(void)
{
	return leave_behind(f_timers);
}

static void spin_in(int policy, int priority, int *up)
{
	struct sched_param param = {.sched_priority = priority};

	check(sched_setscheduler(0, policy, &param));
	for (int i = 0; i < 8; i++)
		if (check(fork()) == 0)
			break;
	(void)!write(up[1], "x", 1);
	for (;;)
		;
}

/* Killed, it would have to run to end, and there is always somebody before it. */
static void f_idle(int *up)
{
	ignore_all();
	check(nice(19));
	spin_in(SCHED_IDLE, 0, up);
}

static int do_idle(void)
{
	return leave_behind(f_idle);
}

/* Everybody else would have to run to end it. */
static void f_realtime(int *up)
{
	ignore_all();
	spin_in(SCHED_FIFO, 99, up);
}

static int do_realtime(void)
{
	return leave_behind(f_realtime);
}

/* Our init goes first, and the target's PID 1 inherits us. */
static int do_kill_init(void)
{
	for (int i = 0; i < 5; i++)
		if (check(fork()) == 0)
			stay();
	check(kill(getppid(), SIGKILL));
	stay();
}

static int do_stop_init(void)
{
	check(kill(getppid(), SIGSTOP));
	return do_daemon();
}

/* PIDs are used again while recapd signals by them: a storm of short lives, left behind, beside the target's own. */
static void f_pid_reuse(int *up)
{
	ignore_all();
	say_started(up);
	for (;;) {
		if (vfork() == 0)
			_exit(0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static __attribute__((noinline)) pid_t brief_child(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	check(waitpid(pid, NULL, 0));
	return pid;
}

/* Until the PIDs have come round twice, or for five seconds where there are too many. */
static int do_pid_reuse(void)
{
	struct timespec begin, now;

	if (tell("bystander", -1))
		return 1;
	check(clock_gettime(CLOCK_MONOTONIC, &begin));
	now = begin;
	for (pid_t pid, last = 0, rounds = 0; rounds < 2 && now.tv_sec < begin.tv_sec + 5;
	     last = pid) {
		pid = brief_child();
		rounds += pid < last;
		check(clock_gettime(CLOCK_MONOTONIC, &now));
	}
	return leave_behind(f_pid_reuse);
}

/* ---- files and sockets that nobody else has ------------------------------------------------------ */

static int copy_self(int to)
{
	int from = check(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		check(write(to, buf, n));
	close(from);
	return to;
}

/* A program without a file. */
static void f_memfd(int *up)
{
	char *argv[] = {"fugitive", "stay", NULL};
	int fd = copy_self(check(memfd_create("fugitive", MFD_CLOEXEC)));

	say_started(up);
	fexecve(fd, argv, environ);
	die("fexecve");
}

static int do_memfd(void)
{
	return leave_behind(f_memfd);
}

/* Program, working folder and open files, all of them deleted. */
static void f_deleted(int *up)
{
	int fd = check(open("/gone", O_RDWR | O_CREAT | O_CLOEXEC, 0600));

	check(ftruncate(fd, 1 << 20));
	if (mmap(NULL, 1 << 20, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		die("mmap");
	check(mkdir("/folder", 0700));
	check(chdir("/folder"));
	check(unlink("/gone"));
	check(rmdir("/folder"));
	check(unlink("/fugitive"));
	say_started(up);
}

static int do_deleted(void)
{
	return leave_behind(f_deleted);
}

static void f_locks(int *up)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = check(open("/locked", O_RDWR | O_CREAT, 0600));
	int leased = check(open("/leased", O_RDWR | O_CREAT, 0600));

	check(flock(fd, LOCK_EX));
	check(fcntl(fd, F_OFD_SETLK, &lock));
	/* overlayfs may not know leases. */
	if (fcntl(leased, F_SETLEASE, F_WRLCK) && errno != EINVAL)
		die("F_SETLEASE");
	say_started(up);
}

static int do_locks(void)
{
	return leave_behind(f_locks);
}

static int listen_in_layer(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/socket"};
	int fd = check(socket(AF_UNIX, SOCK_STREAM, 0));

	check(bind(fd, (struct sockaddr *)&sa, sizeof(sa)));
	check(listen(fd, 16));
	return fd;
}

static int connect_in_layer(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/socket"};
	int fd = check(socket(AF_UNIX, SOCK_STREAM, 0));

	check(connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
	return fd;
}

static void f_sockets(int *up)
{
	int fd = listen_in_layer();

	for (int i = 0; i < 8; i++)
		connect_in_layer();
	check(accept(fd, NULL, NULL));
	say_started(up);
}

static int do_sockets(void)
{
	return leave_behind(f_sockets);
}

/* Two sockets, each in flight to the other with a file of the layer: only the kernel's garbage collector ends that. */
static int do_scm_cycle(void)
{
	int pair[2], file = open_layer_file();

	check(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	for (int i = 0; i < 2; i++) {
		check(message_send(pair[i], "x", pair[i]));
		check(message_send(pair[i], "x", pair[!i]));
		check(message_send(pair[i], "x", file));
	}
	return 0;
}

/* These look at a file without holding it: the target keeps them, and the layer is free all the same. */
static int do_epoll_passed(void)
{
	int epoll = check(epoll_create1(0)), fifo;
	struct epoll_event ev = {.events = EPOLLIN};

	check(mkfifo("/fifo", 0600));
	fifo = check(open("/fifo", O_RDWR));
	check(epoll_ctl(epoll, EPOLL_CTL_ADD, fifo, &ev));
	return tell("any", epoll);
}

static int do_inotify_passed(void)
{
	int fd = check(inotify_init());

	check(inotify_add_watch(fd, "/data", IN_ALL_EVENTS));
	check(inotify_add_watch(fd, "/", IN_ALL_EVENTS));
	return tell("any", fd);
}

/* ---- threads of the kernel's --------------------------------------------------------------------- */

struct ring {
	int fd;
	unsigned int *tail, *array;
	struct io_uring_sqe *sqes;
};

static void ring_make(struct ring *r)
{
	struct io_uring_params p = {0};
	char *sq;

	r->fd = check(syscall(SYS_io_uring_setup, 16, &p));
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED,
		  r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE, MAP_SHARED,
		       r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || r->sqes == MAP_FAILED)
		die("mmap");
	r->tail = (unsigned int *)(sq + p.sq_off.tail);
	r->array = (unsigned int *)(sq + p.sq_off.array);
}

/* Eight reads that never end, each by a worker of the kernel's. */
static void f_uring(int *up)
{
	static char buf[8];
	struct ring r;
	int p[2];

	ignore_all();
	ring_make(&r);
	check(pipe(p));
	for (unsigned int i = 0; i < 8; i++) {
		r.sqes[i] = (struct io_uring_sqe){.opcode = IORING_OP_READ,
						  .flags = IOSQE_ASYNC,
						  .fd = p[0],
						  .addr = (uintptr_t)&buf[i],
						  .len = 1};
		r.array[i] = i;
	}
	__atomic_store_n(r.tail, 8, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, r.fd, 8, 0, 0, NULL, 0));
	usleep(20000);
	say_started(up);
}

static int do_uring(void)
{
	return leave_behind(f_uring);
}

static void *touch(void *page)
{
	return (void *)(uintptr_t) * (volatile char *)page;
}

/* A page that its owner never delivers. */
static void f_userfault(int *up)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = check(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	ignore_all();
	check(ioctl(fd, UFFDIO_API, &api));
	reg.range = (struct uffdio_range){(uintptr_t)page, 4096};
	check(ioctl(fd, UFFDIO_REGISTER, &reg));
	if (pthread_create(&thread, NULL, touch, page))
		die("pthread_create");
	usleep(20000);
	say_started(up);
	touch(page);
}

static int do_userfault(void)
{
	return leave_behind(f_userfault);
}

/* ---- namespaces and mounts ----------------------------------------------------------------------- */

/* As the init of a PID namespace, out of reach of all signals from within. */
static void f_pid_ns(int *up)
{
	check(unshare(CLONE_NEWPID));
	if (check(fork()) == 0) {
		ignore_all();
		for (int i = 0; i < 10; i++)
			if (check(fork()) == 0)
				stay();
		say_started(up);
	}
}

static int do_pid_ns(void)
{
	return leave_behind(f_pid_ns);
}

static void f_user_ns(int *up)
{
	check(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS));
	if (check(fork()) == 0) {
		ignore_all();
		say_started(up);
	}
}

static int do_user_ns(void)
{
	return leave_behind(f_user_ns);
}

/* A program in mounts of its own, which elsewhere makes a container, with the layer mounted once more. */
static void f_mnt_ns(int *up)
{
	check(unshare(CLONE_NEWNS));
	check(mount("none", "/tmp", "tmpfs", 0, NULL));
	check(mkdir("/tmp/again", 0700));
	check(mount("/", "/tmp/again", NULL, MS_BIND, NULL));
	check(chroot("/tmp/again"));
	say_started(up);
	execl("/fugitive", "fugitive", "stay", NULL);
	die("exec");
}

static int do_mnt_ns(void)
{
	return leave_behind(f_mnt_ns);
}

static int open_ns(const char *pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, name);
	return check(open(path, O_RDONLY | O_CLOEXEC));
}

/* There and back, and it stays where it does not belong: in the target's mounts. */
static void f_setns(int *up)
{
	int own = open_ns("self", "mnt"), target = open_ns("1", "mnt"), pid = open_ns("1", "pid");

	for (int i = 0; i < 100; i++) {
		check(setns(target, CLONE_NEWNS));
		check(setns(pid, CLONE_NEWPID));
		check(setns(own, CLONE_NEWNS));
	}
	check(setns(target, CLONE_NEWNS));
	if (check(fork()) == 0)
		say_started(up);
}

static int do_setns(void)
{
	return leave_behind(f_setns);
}

/* The cgroup's kill does not reach it any more. */
static void f_cgroup(int *up)
{
	char buf[512] = "";
	int fd;

	check(mount("none", "/tmp", "cgroup2", 0, NULL));
	fd = check(open("/tmp/cgroup.procs", O_WRONLY | O_CLOEXEC));
	check(write(fd, "0", 1));
	fd = check(open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC));
	check(read(fd, buf, sizeof(buf) - 1));
	if (!strstr(buf, "0::/\n"))
		die(buf);
	say_started(up);
}

static int do_cgroup(void)
{
	return leave_behind(f_cgroup);
}

static long bpf_call(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* A pinned map, the folder of its pin with the target. */
static int do_bpf(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .max_entries = 1};
	int map;

	attr.key_size = attr.value_size = 4;
	map = check(bpf_call(BPF_MAP_CREATE, &attr));
	check(mount("bpf", "/tmp", "bpf", 0, NULL));
	attr = (union bpf_attr){.pathname = (uintptr_t) "/tmp/pin", .bpf_fd = map};
	check(bpf_call(BPF_OBJ_PIN, &attr));
	return tell("any", check(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

/* ---- ptrace -------------------------------------------------------------------------------------- */

static void seize(pid_t pid)
{
	check(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK));
}

/* A chain: one traces us, and we another, each to its exit, and nobody listens. (Those of a ring could never end.) */
static void f_traced(int *up)
{
	pid_t pid = getpid(), child;
	int seized[2];

	ignore_all();
	started(seized);
	child = check(fork());
	if (!child)
		stay();
	if (check(fork()) == 0) {
		wait_started(seized);
		seize(pid);
		say_started(up);
		stay();
	}
	seize(child);
	check(ptrace(PTRACE_INTERRUPT, child, NULL, NULL));
	say_started(seized);
}

static int do_traced(void)
{
	return leave_behind(f_traced);
}

/* RECap's own init, stopped at its exit. The tracer is in the tree that it is to see out. */
static int do_trace_init(void)
{
	seize(getppid());
	return do_daemon();
}

/* A process of the target's, which must live on and run when we have gone. */
static int do_trace_target(void)
{
	int up[2];

	if (tell("any", -1))
		return 1;
	started(up);
	if (go_under() == 0) {
		/* PID 1's child that was started last is the holder. */
		pid_t pid = 0;
		FILE *f = fopen("/proc/1/task/1/children", "re");

		while (f && fscanf(f, "%d", &pid) == 1)
			;
		seize(pid);
		check(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
		check(waitpid(pid, NULL, __WALL));
		say_started(up);
		stay();
	}
	wait_started(up);
	return 0;
}

/* ---- left with the target ------------------------------------------------------------------------ */

static int do_pass_file(void)
{
	return tell("file", open_layer_file());
}

static int do_pass_deleted(void)
{
	int fd = open_layer_file();

	check(unlink("/data"));
	return tell("file", fd);
}

static int do_pass_mapping(void)
{
	return tell("mapping", open_layer_file());
}

static int open_root(int flags)
{
	return check(open("/", O_DIRECTORY | O_CLOEXEC | flags));
}

static int do_pass_cwd(void)
{
	return tell("cwd", open_root(O_RDONLY));
}

static int do_pass_root(void)
{
	return tell("root", open_root(O_PATH));
}

static int do_pass_flight(void)
{
	return tell("flight", open_layer_file());
}

static int do_pass_thread(void)
{
	return tell("thread", open_layer_file());
}

static int do_exe_taken(void)
{
	return tell("exe", -1);
}

static int do_mnt_ns_taken(void)
{
	return tell("mnt-ns", -1);
}

static int do_stolen(void)
{
	check(dup2(open_layer_file(), 9));
	return tell("stolen", -1);
}

/* A socket with a name in the layer keeps the folder that the name is in. */
static int do_pass_socket(void)
{
	return tell("any", listen_in_layer());
}

/* So does a connection that was made by that name. */
static int do_pass_connection(void)
{
	int fd = listen_in_layer();

	connect_in_layer();
	return tell("any", check(accept(fd, NULL, NULL)));
}

/* The ring has the file, and only the ring has been taken. */
static int do_ring_taken(void)
{
	int fd = open_layer_file();
	struct ring r;

	ring_make(&r);
	check(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, &fd, 1));
	close(fd);
	check(dup2(r.fd, 9));
	return tell("stolen", -1);
}

static int clone_tree(void)
{
	return check(syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC));
}

static int do_pass_tree(void)
{
	return tell("any", clone_tree());
}

static int do_bind_mount(void)
{
	return tell("mount", clone_tree());
}

/* Another overlay, whose lower layer is ours. */
static int do_nested_overlay(void)
{
	check(mkdir("/low1", 0700));
	check(mkdir("/low2", 0700));
	check(mount("o", "/tmp", "overlay", 0, "lowerdir=/low1:/low2"));
	return tell("any", check(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

static int do_stopped_at_exit(void)
{
	return tell("at-exit", -1);
}

static int do_zombie(void)
{
	return tell("zombie", -1);
}

/* Waits for an answer that never comes, out of reach of SIGKILL. */
static void f_fuse(int *up)
{
	struct stat st;

	ignore_all();
	say_started(up);
	stat("/target/fuse/file", &st);
}

static int do_fuse(void)
{
	int r = leave_behind(f_fuse);

	usleep(300000);
	return r;
}

/* The first process of a nested namespace, in which the target has one, too. */
static void f_pid_ns_shared(int *up)
{
	check(unshare(CLONE_NEWPID));
	if (check(fork()) == 0) {
		stay();
	}
	if (tell("pid-ns", check(open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC))))
		die("no accomplice");
	say_started(up);
}

static int do_pid_ns_shared(void)
{
	return leave_behind(f_pid_ns_shared);
}

/* ---- the table ----------------------------------------------------------------------------------- */

#define ADMIN "--cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add SYS_CHROOT"
#define TRACE "--cap-add SYS_PTRACE"
#define OPEN  "--seccomp unconfined"

static const struct way {
	const char *name;
	int (*run)(void);
	const char *fate;    /* "gone", or the kind of its holder; NULL: not a way of its own */
	int status;	     /* of the tool */
	const char *options; /* of attach */
} ways[] = {
	{"daemon", do_daemon, "gone", 0, ""},
	{"chain", do_chain, "gone", 0, ""},
	{"bomb", do_bomb, "gone", 0, "--pids 300"},
	{"hydra", do_hydra, "gone", 0, "--pids 300"},
	{"clone-parent", do_clone_parent, "gone", 0, ""},
	{"vfork", do_vfork, "gone", 0, ""},
	{"leader-gone", do_leader_gone, "gone", 0, ""},
	{"thread-exec", do_thread_exec, "gone", 0, ""},
	{"exec-loop", do_exec_loop, "gone", 0, ""},
	{"stopped", do_stopped, "gone", 0, ""},
	{"zombies", do_zombies, "gone", 0, ""},
	{"sigchld-ignored", do_sigchld_ignored, "gone", 0, ""},
	{"subreaper", do_subreaper, "gone", 0, ""},
	{"pdeathsig", do_pdeathsig, "gone", 0, ""},
	{"setuid", do_setuid, "gone", 0, ""},
	{"shared-memory", do_shared_memory, "gone", 0, ""},
	{"timers", do_timers, "gone", 0, "--pids 300"},
	{"idle", do_idle, "gone", 0, ""},
	{"realtime", do_realtime, "gone", 0, "--cap-add SYS_NICE"},
	{"kill-init", do_kill_init, "gone", 137, ""},
	{"stop-init", do_stop_init, "gone", 0, ""},
	{"pid-reuse", do_pid_reuse, "gone", 0, ""},
	{"memfd", do_memfd, "gone", 0, ""},
	{"deleted", do_deleted, "gone", 0, ""},
	{"locks", do_locks, "gone", 0, ""},
	{"sockets", do_sockets, "gone", 0, ""},
	{"scm-cycle", do_scm_cycle, "gone", 0, ""},
	{"epoll-passed", do_epoll_passed, "gone", 0, ""},
	{"inotify-passed", do_inotify_passed, "gone", 0, ""},
	{"uring", do_uring, "gone", 0, OPEN},
	{"userfault", do_userfault, "gone", 0, OPEN},
	{"pid-ns", do_pid_ns, "gone", 0, ADMIN},
	{"user-ns", do_user_ns, "gone", 0, OPEN},
	{"mnt-ns", do_mnt_ns, "gone", 0, ADMIN},
	{"setns", do_setns, "gone", 0, ADMIN " " OPEN},
	{"cgroup", do_cgroup, "gone", 0, ADMIN},
	{"bpf", do_bpf, "gone", 0, ADMIN " " OPEN},
	{"traced", do_traced, "gone", 0, TRACE},
	{"trace-init", do_trace_init, "gone", 0, TRACE},
	{"trace-target", do_trace_target, "gone", 0, ADMIN},
	{"pass-file", do_pass_file, "fd", 0, ""},
	{"pass-deleted", do_pass_deleted, "fd", 0, ""},
	{"pass-mapping", do_pass_mapping, "mapping", 0, ""},
	{"pass-cwd", do_pass_cwd, "cwd", 0, ""},
	{"pass-root", do_pass_root, "root", 0, ""},
	{"pass-flight", do_pass_flight, "unnamed", 0, ""},
	{"pass-thread", do_pass_thread, "fd", 0, ""},
	{"pass-socket", do_pass_socket, "fd", 0, ""},
	{"pass-connection", do_pass_connection, "fd", 0, ""},
	{"exe-taken", do_exe_taken, "fd", 0, ""},
	{"mnt-ns-taken", do_mnt_ns_taken, "namespace", 0, ""},
	{"stolen", do_stolen, "fd", 0, ""},
	{"ring-taken", do_ring_taken, "unnamed", 0, OPEN},
	{"pass-tree", do_pass_tree, "fd", 0, ADMIN},
	{"bind-mount", do_bind_mount, "mount", 0, ADMIN},
	{"nested-overlay", do_nested_overlay, "unnamed", 0, ADMIN},
	{"stopped-at-exit", do_stopped_at_exit, "task", 0, "--timeout 1"},
	{"fuse", do_fuse, "task", 0, ""},
	{"zombie", do_zombie, "task", 0, ""},
	{"pid-ns-shared", do_pid_ns_shared, "task", 0, ADMIN},
	{"stay", do_stay, NULL, 0, NULL},
	{"exec-again", do_exec_again, NULL, 0, NULL},
};

static int list(void)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (ways[i].fate)
			printf("%s %s %d %s\n", ways[i].name, ways[i].fate, ways[i].status,
			       ways[i].options);
	return 0;
}

static void describe_layer(void)
{
	int fd = check(open("/data", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
	struct stat root, file;

	check(write(fd, LAYER_TEXT, sizeof(LAYER_TEXT) - 1));
	check(fstat(fd, &file));
	check(stat("/", &root));
	close(fd);
	printf("layer %lu %lu\n", (unsigned long)root.st_dev, (unsigned long)file.st_dev);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "list"))
		return list();
	for (size_t i = 0; argc == 2 && i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(argv[1], ways[i].name))
			continue;
		if (ways[i].fate)
			describe_layer();
		return ways[i].run();
	}
	fprintf(stderr, "usage: fugitive NAME | list\n");
	return 2;
}
