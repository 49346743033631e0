// SPDX-License-Identifier: MIT
/*
 * The capsule of the tests: one static program, the first argument says what it does. Whatever
 * fails is one line on standard error and exit status 1; the wrong arguments are exit status 2.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 65536

static int failed(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	return 1;
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 0) {
		fprintf(stderr, "probe: %s is not a number\n", text);
		exit(2);
	}
	return n;
}

/* The line that a test waits for before it goes on. */
static void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void sleep_all(unsigned int seconds)
{
	while (seconds)
		seconds = sleep(seconds);
}

static int do_exit(char **arg)
{
	return number(arg[0]);
}

static int do_signal(char **arg)
{
	sigset_t none;
	int sig = number(arg[0]);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(sig, SIG_DFL);
	raise(sig);
	return failed("still alive");
}

static int do_ids(char **arg)
{
	static const char *const wanted[] = {
		"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:"};
	FILE *f = fopen("/proc/self/status", "re");
	char line[1024];

	if (!f)
		return failed("/proc/self/status");
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				fputs(line, stdout);
	fclose(f);
	return 0;
}

static int do_env(char **arg)
{
	for (char **e = environ; *e; e++)
		puts(*e);
	return 0;
}

static int do_write(char **arg)
{
	const char *text = arg[1] ?: "recap";
	int fd = open(arg[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%s\n", text) < 0 || close(fd))
		return failed(arg[0]);
	return 0;
}

/* Writes until `bytes` are there or the layer is full, and says how far it came. */
static int do_fill(char **arg)
{
	static const char block[CHUNK];
	const char *path = arg[1] ?: "/fill";
	long bytes = number(arg[0]), done = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return failed(path);
	while (done < bytes) {
		ssize_t n = write(fd, block, bytes - done < CHUNK ? bytes - done : CHUNK);

		if (n < 0)
			break;
		done += n;
	}
	printf("%ld\n", done);
	return done < bytes ? failed(path) : 0;
}

static int do_spam(char **arg)
{
	long left = arg[0] ? number(arg[0]) : -1;
	char block[CHUNK];

	memset(block, 'x', sizeof(block));
	while (left) {
		ssize_t n = write(1, block, left > 0 && left < CHUNK ? left : CHUNK);

		if (n < 0)
			return failed("standard output");
		if (left > 0)
			left -= n;
	}
	return 0;
}

static int do_sleep(char **arg)
{
	say_ready();
	sleep_all(number(arg[0]));
	return 0;
}

static int do_ignore_term(char **arg)
{
	signal(SIGTERM, SIG_IGN);
	return do_sleep(arg);
}

/* What daemon(3) does, and once more: nothing but the kernel's tag links it to the capsule. */
static int do_daemon(char **arg)
{
	long seconds = number(arg[0]);
	pid_t pid = fork();

	if (pid < 0)
		return failed("fork");
	/* Who is between has ended by then: one is left, and no more. */
	if (pid)
		return waitpid(pid, NULL, 0) < 0 ? failed("waitpid") : 0;
	setsid();
	if (fork())
		_exit(0);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	sleep_all(seconds);
	_exit(0);
}

static int do_stubborn_daemon(char **arg)
{
	signal(SIGTERM, SIG_IGN);
	return do_daemon(arg);
}

/* Orphans that are gone at once: whoever they are left to has to reap them. */
static int do_orphans(char **arg)
{
	for (long n = number(arg[0]); n > 0; n--) {
		pid_t pid = fork();

		if (pid < 0)
			return failed("fork");
		if (!pid)
			_exit(fork() < 0);
	}
	return 0;
}

/* A program executed in a mount namespace of its own: elsewhere that makes a container. */
static int do_newns(char **arg)
{
	if (unshare(CLONE_NEWNS))
		return failed("unshare");
	execl("/proc/self/exe", "probe", "sleep", arg[0], NULL);
	return failed("exec");
}

/* Use memory, and say so once it is used. */
static int do_hog(char **arg)
{
	long bytes = number(arg[0]);
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return failed("mmap");
	memset(p, 1, bytes);
	say_ready();
	return 0;
}

/* As many children as there may be. */
static int bomb(long wanted, bool sleep_on)
{
	long n;

	for (n = 0; n < wanted; n++) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (!pid) {
			if (sleep_on)
				sleep(UINT_MAX);
			_exit(0);
		}
	}
	printf("%ld\n", n);
	return n < wanted ? failed("fork") : 0;
}

/* They are left behind. */
static int do_forkbomb(char **arg)
{
	return bomb(number(arg[0]), true);
}

/* They are dead, and nobody waits for them. */
static int do_deadbomb(char **arg)
{
	return bomb(number(arg[0]), false);
}

/* So many children, one after the other, once standard input has a line. */
static int do_forks(char **arg)
{
	long left = number(arg[0]);

	say_ready();
	getchar();
	while (left-- > 0) {
		pid_t pid = vfork();

		if (pid < 0)
			return failed("vfork");
		if (!pid)
			_exit(0);
		if (waitpid(pid, NULL, 0) != pid)
			return failed("waitpid");
	}
	puts("forked");
	fflush(stdout);
	getchar();
	return 0;
}

static void *exit_seven(void *arg)
{
	usleep(100000);
	exit(7);
}

static int do_threads_exit(char **arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, exit_seven, NULL))
		return failed("pthread_create");
	pthread_exit(NULL);
}

/* The kernel's own thread is the last to go. */
static int do_poller_exit(char **arg)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL};

	if (syscall(SYS_io_uring_setup, 1, &params) < 0)
		return failed("io_uring_setup");
	exit(7);
}

static int print_size(void)
{
	struct winsize ws;

	if (ioctl(0, TIOCGWINSZ, &ws))
		return failed("standard input");
	printf("%u %u\n", ws.ws_row, ws.ws_col);
	fflush(stdout);
	return 0;
}

static int do_winsize(char **arg)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (!print_size())
		if (sigwait(&set, &sig))
			return failed("sigwait");
	return 1;
}

static int do_tty(char **arg)
{
	int fd;

	if (!isatty(0))
		return failed("standard input");
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return failed("/dev/tty");
	if (tcgetsid(0) != getsid(0) || tcgetpgrp(fd) != getpgrp())
		return failed("not in the foreground of the controlling terminal");
	puts("tty");
	return 0;
}

static int connect_abstract(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(name) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(addr.sun_path + 1, name, strlen(name));
	return fd < 0 || connect(fd, (struct sockaddr *)&addr, len) ? -1 : fd;
}

/* One message with one descriptor, or none when `fd` is -1. */
static int send_fd(int conn, const char *text, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	return sendmsg(conn, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* ---- what the sandbox refuses ---- */

static long try_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_umount(void)
{
	return umount2("/proc", MNT_DETACH);
}

static long try_remount(void)
{
	return mount(NULL, "/target", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long try_unshare_mnt(void)
{
	return unshare(CLONE_NEWNS);
}

static long try_unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static long try_setns(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : setns(fd, 0);
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_SEIZE, 1, NULL, NULL);
}

static long try_bpf(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .max_entries = 1};

	attr.key_size = attr.value_size = 4;
	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long try_keyctl(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

static long try_open_by_handle(void)
{
	struct file_handle handle = {0};

	return open_by_handle_at(AT_FDCWD, &handle, O_RDONLY);
}

static long try_mknod(void)
{
	return mknod("/tmp/sda", S_IFBLK | 0600, makedev(8, 0));
}

static long try_chroot(void)
{
	return chroot("/tmp");
}

static long try_write_proc(void)
{
	return open("/proc/sys/kernel/hostname", O_WRONLY | O_CLOEXEC);
}

static long try_write_sys(void)
{
	return open("/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY | O_CLOEXEC);
}

static long try_target_root(void)
{
	return open("/proc/1/root/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static long try_write_target(void)
{
	return open("/target/probe-was-here", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long try_write_dev(void)
{
	return open("/dev/probe-was-here", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

/* Into the input queue of the terminal that the operator sits at. */
static long try_tiocsti(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static const struct attempt {
	const char *name;
	long (*run)(void);
} attempts[] = {
	{"mount", try_mount},
	{"umount", try_umount},
	{"remount", try_remount},
	{"unshare-mnt", try_unshare_mnt},
	{"unshare-user", try_unshare_user},
	{"setns", try_setns},
	{"ptrace", try_ptrace},
	{"bpf", try_bpf},
	{"keyctl", try_keyctl},
	{"open-by-handle", try_open_by_handle},
	{"mknod", try_mknod},
	{"chroot", try_chroot},
	{"write-proc", try_write_proc},
	{"write-sys", try_write_sys},
	{"target-root", try_target_root},
	{"write-target", try_write_target},
	{"write-dev", try_write_dev},
	{"tiocsti", try_tiocsti},
};

/* A line for each attempt: its name, and "ok" or the name of the error. All, or the one named. */
static int do_attempt(char **arg)
{
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		if (arg[0] && strcmp(arg[0], attempts[i].name))
			continue;
		errno = 0;
		printf("%s %s\n", attempts[i].name,
		       attempts[i].run() < 0 ? strerrorname_np(errno) : "ok");
	}
	return 0;
}

/* What the other side says; an answer other than "ok" is a failure. */
static int tell(const char *name, const char *order, int fd)
{
	char reply[64] = "";
	int conn = connect_abstract(name);

	if (conn < 0)
		return failed(name);
	if (send_fd(conn, order, fd))
		return failed("sendmsg");
	if (!strcmp(order, "flight"))
		return 0;
	if (recv(conn, reply, sizeof(reply) - 1, 0) < 0)
		return failed("recv");
	puts(reply);
	return strcmp(reply, "ok") ? 1 : 0;
}

static int do_tell(char **arg)
{
	return tell(arg[0], arg[1], -1);
}

static int do_passfd(char **arg)
{
	bool writes = arg[2] && arg[3] && !strcmp(arg[3], "written");
	int fd = open(arg[1], (writes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600);

	if (fd < 0 || (writes && write(fd, "x", 1) != 1))
		return failed(arg[1]);
	return tell(arg[0], arg[2] ?: "keep", fd);
}

/* ---- leave: what outlives a process in a namespace; with "undo" it is taken away again -------------------- */

static int leave_shm(bool undo)
{
	int id = shmget(0x5eca9, 4096, IPC_CREAT | IPC_EXCL | 0600);

	return id < 0 ? -1 : undo ? shmctl(id, IPC_RMID, NULL) : 0;
}

static int leave_sem(bool undo)
{
	int id = semget(0x5eca9, 3, IPC_CREAT | IPC_EXCL | 0600);

	return id < 0 ? -1 : undo ? semctl(id, 0, IPC_RMID) : 0;
}

static int leave_msg(bool undo)
{
	int id = msgget(0x5eca9, IPC_CREAT | IPC_EXCL | 0600);

	return id < 0 ? -1 : undo ? msgctl(id, IPC_RMID, NULL) : 0;
}

static int leave_mqueue(bool undo)
{
	mqd_t q = mq_open("/recap\t\342left", O_CREAT | O_EXCL | O_RDWR, 0600, NULL);

	return q < 0 ? -1 : undo ? mq_unlink("/recap\t\342left") : 0;
}

static int leave_hostname(bool undo)
{
	char before[65] = "";

	if (gethostname(before, sizeof(before) - 1) || sethostname("recap-was-here", 14))
		return -1;
	return undo ? sethostname(before, strlen(before)) : 0;
}

struct nft_message {
	struct nlmsghdr head;
	struct nfgenmsg gen;
	struct nlattr attr; /* of a table only */
	char name[8];
};

/* As nft(8) adds or deletes a table: three messages in one. */
static int nft_table(int sock, int type, int flags)
{
	struct nft_message m[3] = {};
	struct iovec iov[3];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
	const int types[] = {NFNL_MSG_BATCH_BEGIN, NFNL_SUBSYS_NFTABLES << 8 | type,
			     NFNL_MSG_BATCH_END};
	struct {
		struct nlmsghdr head;
		int error;
		char rest[256];
	} reply;

	for (int i = 0; i < 3; i++) {
		size_t len = i == 1 ? sizeof(m[i]) : offsetof(struct nft_message, attr);

		m[i].head = (struct nlmsghdr){len, types[i], NLM_F_REQUEST | (i == 1 ? flags : 0),
					      i, 0};
		m[i].gen.nfgen_family = i == 1 ? AF_INET : 0;
		m[i].gen.res_id = i == 1 ? 0 : htons(NFNL_SUBSYS_NFTABLES);
		iov[i] = (struct iovec){&m[i], len};
	}
	m[1].attr = (struct nlattr){sizeof(m[1].attr) + 6, NFTA_TABLE_NAME};
	strcpy(m[1].name, "recap");
	if (sendmsg(sock, &msg, 0) < 0 || recv(sock, &reply, sizeof(reply), 0) < 0)
		return -1;
	errno = -reply.error;
	return reply.error ? -1 : 0;
}

static int leave_nftables(bool undo)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (sock < 0 || nft_table(sock, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK))
		return -1;
	return undo ? nft_table(sock, NFT_MSG_DELTABLE, NLM_F_ACK) : 0;
}

static int do_leave(char **arg)
{
	static const struct {
		const char *name;
		int (*run)(bool undo);
	} kinds[] = {{"shm", leave_shm},	   {"sem", leave_sem},
		     {"msg", leave_msg},	   {"mqueue", leave_mqueue},
		     {"hostname", leave_hostname}, {"nftables", leave_nftables}};
	bool undo = arg[1] && !strcmp(arg[1], "undo");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(arg[0], kinds[i].name))
			return kinds[i].run(undo) ? failed(arg[0]) : 0;
	return 2;
}

/* Have an abstract socket of ours held by the application. "undo": let go of it, which is nothing. */
static int do_passsock(char **arg)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = strnlen(arg[1], sizeof(addr.sun_path) - 1);

	memcpy(addr.sun_path + 1, arg[1], len);
	if (fd < 0 || bind(fd, (void *)&addr, offsetof(struct sockaddr_un, sun_path) + 1 + len) < 0)
		return failed("bind");
	return arg[2] && !strcmp(arg[2], "undo") ? 0 : tell(arg[0], "keep", fd);
}

static const struct verb {
	const char *name;
	int n_args; /* at least */
	int (*run)(char **arg);
	const char *usage;
} verbs[] = {
	{"exit", 1, do_exit, "N"},
	{"signal", 1, do_signal, "N"},
	{"ids", 0, do_ids, ""},
	{"env", 0, do_env, ""},
	{"write", 1, do_write, "PATH [TEXT]"},
	{"fill", 1, do_fill, "BYTES [PATH]"},
	{"spam", 0, do_spam, "[BYTES]"},
	{"sleep", 1, do_sleep, "SECONDS"},
	{"ignore-term", 1, do_ignore_term, "SECONDS"},
	{"daemon", 1, do_daemon, "SECONDS"},
	{"stubborn-daemon", 1, do_stubborn_daemon, "SECONDS"},
	{"orphans", 1, do_orphans, "N"},
	{"newns", 1, do_newns, "SECONDS"},
	{"hog", 1, do_hog, "BYTES"},
	{"attempt", 0, do_attempt, "[NAME]"},
	{"forkbomb", 1, do_forkbomb, "N"},
	{"deadbomb", 1, do_deadbomb, "N"},
	{"forks", 1, do_forks, "N"},
	{"threads-exit", 0, do_threads_exit, ""},
	{"poller-exit", 0, do_poller_exit, ""},
	{"winsize", 0, do_winsize, ""},
	{"tty", 0, do_tty, ""},
	{"tell", 2, do_tell, "SOCKET ORDER"},
	{"leave", 1, do_leave, "shm|sem|msg|mqueue|hostname|nftables [undo]"},
	{"passsock", 2, do_passsock, "SOCKET NAME [undo]"},
	{"passfd", 2, do_passfd, "SOCKET PATH [keep|mmap|chdir|flight [written]]"},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name) && argc - 2 >= verbs[i].n_args)
			return verbs[i].run(argv + 2);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(stderr, "usage: probe %s %s\n", verbs[i].name, verbs[i].usage);
	return 2;
}
