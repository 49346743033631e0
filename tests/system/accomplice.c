// SPDX-License-Identifier: MIT
/*
 * The target that helps capsules to stay behind (tests/system/fugitive.c): PID 1 of a container. Each order that comes over the
 * abstract socket @recap-accomplice is taken by a child of its own, "holder", which gets hold of something of the capsule's layer
 * or of its tasks, answers "ok", and keeps it. `accomplice tell ORDER` sends one from the same network namespace:
 *
 *	release  every holder looks whether what it holds is still whole, and ends; "ok" when all found it so
 *	reap     what was left to PID 1 is waited for; else it stays a zombie in everybody's sight
 *
 * The other orders are those of the table at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"

#define HELD_MAX 64

static pid_t holders[HELD_MAX];
static int in_flight[HELD_MAX];
static unsigned int n_holders, n_in_flight;

static void die(const char *what)
{
	fprintf(stderr, "accomplice: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the holders --------------------------------------------------------------------------------- */

/* The connection of an order, who sent it, and what came with it. */
struct order {
	int conn, fd;
	pid_t sender;
};

/* Hold on until PID 1 says "release"; everything before this is behind the "ok". */
static void hold(const struct order *o)
{
	sigset_t set;
	int sig;

	send(o->conn, "ok", 2, MSG_NOSIGNAL);
	close(o->conn);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	while (sigwait(&set, &sig))
		;
}

static int is_whole(int fd)
{
	char text[sizeof(LAYER_TEXT)] = "";

	return pread(fd, text, sizeof(text) - 1, 0) == sizeof(text) - 1 &&
	       !strcmp(text, LAYER_TEXT);
}

static int hold_file(struct order *o)
{
	hold(o);
	return is_whole(o->fd) ? 0 : -EIO;
}

/* A descriptor that cannot be read: a folder, a socket, a namespace. That it was held is all. */
static int hold_any(struct order *o)
{
	hold(o);
	return 0;
}

static int hold_mapping(struct order *o)
{
	const char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, o->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	close(o->fd);
	hold(o);
	return memcmp(map, LAYER_TEXT, sizeof(LAYER_TEXT) - 1) ? -EIO : 0;
}

static int relative_is_whole(void)
{
	int fd = open("data", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && is_whole(fd) ? 0 : -EIO;
}

static int hold_cwd(struct order *o)
{
	if (fchdir(o->fd))
		return -errno;
	close(o->fd);
	hold(o);
	return relative_is_whole();
}

static int hold_root(struct order *o)
{
	if (fchdir(o->fd) || chroot("."))
		return -errno;
	close(o->fd);
	hold(o);
	return relative_is_whole();
}

/* A detached mount of the layer, moved to a folder of ours. */
static int hold_mount(struct order *o)
{
	mkdir("/held", 0755);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    syscall(SYS_move_mount, o->fd, "", AT_FDCWD, "/held", 4 /* MOVE_MOUNT_F_EMPTY_PATH */))
		return -errno;
	close(o->fd);
	hold(o);
	if (chdir("/held"))
		return -errno;
	return relative_is_whole();
}

static int hold_of_sender(struct order *o, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", o->sender, what);
	o->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (o->fd < 0)
		return -errno;
	hold(o);
	return 0;
}

static int hold_exe(struct order *o)
{
	return hold_of_sender(o, "exe");
}

static int hold_mnt_ns(struct order *o)
{
	return hold_of_sender(o, "ns/mnt");
}

/* Descriptor 9 of the sender, which it never sent. */
static int hold_stolen(struct order *o)
{
	int pidfd = syscall(SYS_pidfd_open, o->sender, 0);

	o->fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, 9, 0);
	if (o->fd < 0)
		return -errno;
	close(pidfd);
	hold(o);
	return 0;
}

/* A thread with a table of its own has the descriptor; the leader has gone. */
static void *thread_holds(void *arg)
{
	struct order *o = arg;
	int r;

	if (unshare(CLONE_FILES))
		_exit(1);
	r = hold_file(o);
	_exit(r ? 1 : 0);
}

static int hold_in_thread(struct order *o)
{
	static struct order copy;
	pthread_t thread;

	copy = *o;
	if (pthread_create(&thread, NULL, thread_holds, &copy))
		return -EAGAIN;
	usleep(50000); /* it has its own table by then; the leader's goes with the leader */
	pthread_exit(NULL);
}

/* The sender stops at its exit, and SIGKILL does not get it past that. */
static int hold_at_exit(struct order *o)
{
	int status;

	if (ptrace(PTRACE_SEIZE, o->sender, NULL, PTRACE_O_TRACEEXIT))
		return -errno;
	hold(o);
	/* Let go of it only where it is held. */
	if (waitpid(o->sender, &status, __WALL | WNOHANG) != o->sender || !WIFSTOPPED(status))
		return -ECHILD;
	return 0;
}

/* The sender's end is told to its tracer, which does not listen: it stays a zombie. */
static int hold_zombie(struct order *o)
{
	if (ptrace(PTRACE_SEIZE, o->sender, NULL, 0))
		return -errno;
	hold(o);
	return 0;
}

/*
 * The first process of the sender's nested PID namespace (`fd`) cannot go while another in there is not reaped
 * (zap_pid_ns_processes()), and that one is a child of ours.
 */
static int hold_pid_ns(struct order *o)
{
	pid_t pid;

	if (setns(o->fd, CLONE_NEWPID))
		return -errno;
	close(o->fd);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		for (;;)
			pause();
	hold(o);
	return waitpid(pid, NULL, 0) == pid ? 0 : -errno;
}

/* Who must come to no harm: processes that come and go so fast that their PIDs are used again. */
static int hold_bystander(struct order *o)
{
	struct timespec none = {0};
	int status;
	sigset_t set;

	send(o->conn, "ok", 2, MSG_NOSIGNAL);
	close(o->conn);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	while (sigtimedwait(&set, NULL, &none) < 0) {
		pid_t pid = fork();

		if (pid < 0)
			continue;
		if (!pid) {
			usleep(1000);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			return -EINTR;
	}
	return 0;
}

/* ---- a file server that never answers ------------------------------------------------------------ */

/* Everything up to the first question about a file is answered. */
static void fuse_begin(int fuse)
{
	static char buf[1 << 17];
	struct fuse_in_header *in = (void *)buf;

	for (;;) {
		struct {
			struct fuse_out_header head;
			struct fuse_init_out init;
		} out = {.head = {.len = sizeof(out)},
			 .init = {.major = 7, .minor = 31, .max_write = 4096}};

		if (read(fuse, buf, sizeof(buf)) < 0)
			return;
		if (in->opcode != FUSE_INIT)
			continue; /* who asked waits, out of reach of any signal, since we have read it */
		out.head.unique = in->unique;
		if (write(fuse, &out, sizeof(out)) < 0)
			return;
	}
}

static void *fuse_serve(void *arg)
{
	fuse_begin((int)(intptr_t)arg);
	return NULL;
}

/* In PID 1's own mounts, for the next capsule to see below /target. The server is this holder. */
static int hold_fuse(struct order *o)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	pthread_t thread;
	char opts[100];

	mkdir("/fuse", 0755);
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (fuse < 0 || mount("accomplice", "/fuse", "fuse", MS_NOSUID | MS_NODEV, opts))
		return -errno;
	if (pthread_create(&thread, NULL, fuse_serve, (void *)(intptr_t)fuse))
		return -EAGAIN;
	hold(o);
	return umount2("/fuse", MNT_DETACH) ? -errno : 0;
}

/* ---- PID 1 --------------------------------------------------------------------------------------- */

static const struct {
	const char *order;
	int (*hold)(struct order *o);
} orders[] = {
	{"file", hold_file},	   {"any", hold_any},
	{"mapping", hold_mapping}, {"cwd", hold_cwd},
	{"root", hold_root},	   {"mount", hold_mount},
	{"exe", hold_exe},	   {"mnt-ns", hold_mnt_ns},
	{"stolen", hold_stolen},   {"thread", hold_in_thread},
	{"at-exit", hold_at_exit}, {"zombie", hold_zombie},
	{"pid-ns", hold_pid_ns},   {"bystander", hold_bystander},
	{"fuse", hold_fuse},
};

static __attribute__((noreturn)) void be_holder(struct order *o, int (*fn)(struct order *))
{
	const char *name;
	int r;

	prctl(PR_SET_NAME, "holder");
	r = fn(o);
	name = r ? strerrorname_np(-r) : "ok";
	send(o->conn, name, strlen(name), MSG_NOSIGNAL);
	_exit(r ? 1 : 0);
}

static const char *start_holder(struct order *o, const char *text)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		pid_t pid;

		if (strcmp(orders[i].order, text))
			continue;
		pid = n_holders < HELD_MAX ? fork() : -1;
		if (!pid)
			be_holder(o, orders[i].hold);
		if (pid > 0)
			holders[n_holders++] = pid;
		return pid > 0 ? NULL : "EAGAIN";
	}
	return "no such order";
}

static const char *release(void)
{
	const char *reply = "ok";
	int status;

	while (n_in_flight)
		close(in_flight[--n_in_flight]);
	for (unsigned int i = 0; i < n_holders; i++) {
		kill(holders[i], SIGUSR1);
		if (waitpid(holders[i], &status, 0) != holders[i] || status)
			reply = "what was held is broken";
	}
	n_holders = 0;
	return reply;
}

static const char *reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return "ok";
}

static const char *obey(struct order *o, const char *text)
{
	if (!strcmp(text, "release"))
		return release();
	if (!strcmp(text, "reap"))
		return reap();
	return start_holder(o, text);
}

static void serve(int listener)
{
	struct order o = {.conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC), .fd = -1};
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	char text[64] = "";
	const char *reply;

	if (o.conn < 0)
		return;
	/* Peeking without room for control data reads the text and leaves the descriptor in flight. */
	if (recv(o.conn, text, 6, MSG_PEEK) == 6 && !strcmp(text, "flight")) {
		in_flight[n_in_flight++ % HELD_MAX] = o.conn;
		return;
	}
	getsockopt(o.conn, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	o.sender = peer.pid;
	if (message_receive(o.conn, text, &o.fd) == 0) {
		reply = obey(&o, text);
		if (reply)
			send(o.conn, reply, strlen(reply), MSG_NOSIGNAL);
	}
	close(o.conn);
	if (o.fd >= 0)
		close(o.fd);
}

static __attribute__((noreturn)) void serve_all(void)
{
	struct sockaddr_un sa;
	socklen_t len = message_address(&sa);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	sigset_t set;

	/* Holders inherit it, and wait for it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 64))
		die("cannot listen");
	for (;;)
		serve(fd);
}

static int tell(const char *order)
{
	struct sockaddr_un sa;
	socklen_t len = message_address(&sa);
	int conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd;
	char reply[64];

	if (conn < 0 || connect(conn, (struct sockaddr *)&sa, len) ||
	    message_send(conn, order, -1) || message_receive(conn, reply, &fd))
		die(order);
	puts(reply);
	return strcmp(reply, "ok") ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		serve_all();
	if (argc == 3 && !strcmp(argv[1], "tell"))
		return tell(argv[2]);
	fprintf(stderr, "usage: accomplice [tell ORDER]\n");
	return 2;
}
