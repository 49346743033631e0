// SPDX-License-Identifier: MIT
#include "core/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/sandbox.h"

#define DIR_NAME "keepers"
#define NAME	 "recap-keeper"
#define NOEXEC	 0x0008U /* MFD_NOEXEC_SEAL, since 6.3 */

/* Descriptors of the keeper, at places that the next recapd knows. */
enum { KEEPS_SLOTS = 3, KEEPS_LOCK, KEEPS_SIGNALS, KEEPS_GUARDIAN, KEEPS_COUNT };

struct keeper {
	struct keeper *next; /* while old ones are looked for */
	unsigned int refs;
	int pidfd;
	pid_t child; /* our own; 0: of a recapd that died */
	int dir;
	char name[20]; /* of its file in `dir` */
	int slots_fd;
	struct slot *slots;
	struct workshop *workshop;
};

struct slot *slots_new(int *ret_fd)
{
	cleanup_fd int fd = memfd_create("recap-slots", MFD_CLOEXEC | NOEXEC);
	struct slot *slots;

	/* Before 6.3 there is no such flag. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("recap-slots", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)SLOTS * SLOT_BYTES) < 0)
		return MAP_FAILED;
	slots = mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (slots != MAP_FAILED)
		*ret_fd = TAKE_FD(fd);
	return slots;
}

/* ---- in the keeper ----------------------------------------------------------------------------- */

static int seal(void)
{
	/* restart_syscall: what poll(2) becomes when somebody stops it for a while, as a frozen machine does. */
	static const int calls[] = {SCMP_SYS(poll),	    SCMP_SYS(ppoll),
				    SCMP_SYS(read),	    SCMP_SYS(pidfd_open),
				    SCMP_SYS(dup3),	    SCMP_SYS(close),
				    SCMP_SYS(exit_group),   SCMP_SYS(exit),
				    SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall)};
	const struct sandbox all = {.caps = ~0ull};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? sandbox_drop_all(&all) : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	/* What it took to make the filter stays: to give memory back is not among the calls. */
	return r < 0 ? r : seccomp_load(ctx);
}

/* Another recapd has come, or the end. Whoever may send root signals could also kill us. */
static void take_signal(void)
{
	struct signalfd_siginfo info;
	int guardian;

	if (read(KEEPS_SIGNALS, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTERM)
		_exit(0);
	if (info.ssi_signo != SIGUSR1)
		return;
	guardian = syscall(SYS_pidfd_open, info.ssi_pid, 0);
	if (guardian >= 0)
		dup3(guardian, KEEPS_GUARDIAN, O_CLOEXEC);
	if (guardian > KEEPS_GUARDIAN)
		close(guardian);
}

static __attribute__((noreturn)) void keep(void)
{
	struct pollfd p[] = {{KEEPS_SIGNALS, POLLIN, 0}, {KEEPS_GUARDIAN, POLLIN, 0}};
	bool alone = false;

	for (;;) {
		int n = poll(p, alone ? 1 : 2, alone ? KEEPER_PATIENCE_S * 1000 : -1);

		if (n == 0)
			_exit(0);
		if (n > 0 && !alone)
			alone = p[1].revents;
		if (n > 0 && p[0].revents) {
			take_signal();
			alone = false;
		}
	}
}

/* The order of descriptors is ours: each is moved out of the way of the others first. */
static bool arrange(int fds[KEEPS_COUNT])
{
	for (int i = KEEPS_SLOTS; i < KEEPS_COUNT; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, KEEPS_COUNT);
		if (fds[i] < 0)
			return false;
	}
	for (int i = KEEPS_SLOTS; i < KEEPS_COUNT; i++)
		if (dup3(fds[i], i, O_CLOEXEC) < 0)
			return false;
	return close_range(KEEPS_COUNT, ~0u, 0) == 0;
}

static __attribute__((noreturn)) void keeper_main(const struct workshop *w, int slots, int top,
						  int lock, int guardian)
{
	int fds[KEEPS_COUNT] = {
		[KEEPS_SLOTS] = slots, [KEEPS_LOCK] = lock, [KEEPS_GUARDIAN] = guardian};
	char text[32];
	sigset_t mask;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), len;

	for (int fd = 0; fd < KEEPS_SLOTS; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			_exit(1);
	inject_take_name(NAME);
	sigfillset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	fds[KEEPS_SIGNALS] = signalfd(-1, &mask, SFD_CLOEXEC);
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	/* Where it may not (recapd's view of the tree is not the whole), it stays, and lives as long as its service is let live. */
	if (top >= 0)
		(void)!fd_write_knob(top, "cgroup.procs", "0");
	/* Nothing of the terminal, the service manager or the host's mounts. */
	if (fds[KEEPS_SIGNALS] < 0 || setsid() < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    workshop_enter_for_good(w) < 0 || !arrange(fds) ||
	    write(KEEPS_LOCK, text, len) != len || seal() < 0)
		_exit(1);
	keep();
}

/* ---- recapd's own ------------------------------------------------------------------------------ */

/* The file is locked for as long as the keeper lives, and has its PID once it is of use. */
static int sign_in(struct keeper *k, int state_dir, struct error *err)
{
	uint64_t name;
	int fd;

	if ((mkdirat(state_dir, DIR_NAME, 0700) < 0 && errno != EEXIST) ||
	    (k->dir = openat(state_dir, DIR_NAME,
			     O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0 ||
	    getrandom(&name, sizeof(name), 0) != sizeof(name))
		return error_sys(err, errno, "cannot open the folder %s", DIR_NAME);
	snprintf(k->name, sizeof(k->name), "%016llx", (unsigned long long)name);
	fd = openat(k->dir, k->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		error_sys(err, errno, "cannot make the keeper's file");
		fd_close(fd);
		return -err->code;
	}
	return fd;
}

static void keeper_free(struct keeper *k)
{
	if (k->slots)
		munmap(k->slots, (size_t)SLOTS * SLOT_BYTES);
	workshop_close(k->workshop);
	fd_close(k->slots_fd);
	fd_close(k->pidfd);
	fd_close(k->dir);
	free(k);
}

int keeper_start(int state_dir, const struct workshop *w, int slots, int top, struct keeper **ret,
		 struct error *err)
{
	struct keeper *k = calloc(1, sizeof(*k));
	cleanup_fd int lock = -1, guardian = syscall(SYS_pidfd_open, getpid(), 0);

	if (!k)
		return error_set(err, ENOMEM, "out of memory");
	k->dir = k->pidfd = k->slots_fd = -1;
	*ret = k;
	if (guardian < 0)
		return error_sys(err, errno, "pidfd_open");
	lock = sign_in(k, state_dir, err);
	if (lock < 0)
		return lock;
	k->child = fork();
	if (k->child == 0)
		keeper_main(w, slots, top, lock, guardian);
	if (k->child < 0)
		return error_sys(err, errno, "cannot fork the keeper");
	k->pidfd = syscall(SYS_pidfd_open, k->child, 0);
	return k->pidfd < 0 ? error_sys(err, errno, "pidfd_open") : 0;
}

static void end(struct keeper *k)
{
	struct pollfd p = {.fd = k->pidfd, .events = POLLIN};
	bool sent =
		k->pidfd >= 0 &&
		(syscall(SYS_pidfd_send_signal, k->pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH);

	if (sent)
		poll(&p, 1, 1000);
	/* Where there was no descriptor for it: a child of ours, so its PID is its own until we wait. */
	if (k->child > 0 && !sent)
		kill(k->child, SIGKILL);
	if (k->child > 0)
		waitpid(k->child, NULL, 0);
	/* An old one that cannot be ended stays signed in: the next recapd finds it by its file, and ends it. */
	if (k->name[0] && (sent || k->child > 0))
		unlinkat(k->dir, k->name, 0);
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	end(k);
	keeper_free(k);
}

/* ---- those of a recapd that died --------------------------------------------------------------- */

#define SIGN_IN_TRIES 100
#define SIGN_IN_US    10000

/* Its PID, once it is there; -ESRCH when it has ended, as its lock says. */
static pid_t read_pid(int fd)
{
	char text[16] = {};

	for (int i = 0; i < SIGN_IN_TRIES; i++) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return -ESRCH;
		if (n > 0 && text[n - 1] == '\n')
			return atoi(text);
		usleep(SIGN_IN_US);
	}
	return -ETIMEDOUT;
}

static int proc_open(pid_t pid, const char *what, int flags)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return open(path, flags | O_CLOEXEC);
}

/* Its slots; none where they are not as ours. */
static int open_slots(struct keeper *k, pid_t pid)
{
	cleanup_fd int fd = proc_open(pid, "fd/3", O_RDWR);
	struct stat st;
	void *map;

	_Static_assert(KEEPS_SLOTS == 3, "as the path says");
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != (off_t)SLOTS * SLOT_BYTES)
		return 0;
	map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	k->slots = map;
	k->slots_fd = TAKE_FD(fd);
	return 0;
}

static int open_workshop(struct keeper *k, pid_t pid)
{
	int fd = proc_open(pid, "ns/mnt", O_RDONLY);

	if (fd < 0)
		return -errno;
	k->workshop = workshop_adopt(fd);
	return k->workshop ? 0 : -ENOMEM;
}

/* What it keeps. It lived all the time (or -ESRCH): so these were its. */
static int open_kept(struct keeper *k, pid_t pid)
{
	int r = open_slots(k, pid);

	if (r == 0)
		r = open_workshop(k, pid);
	if (syscall(SYS_pidfd_send_signal, k->pidfd, 0, NULL, 0) < 0)
		return -errno;
	return r;
}

/* The process that holds the file's lock, and what it keeps. -ESRCH: it has ended. */
static int take_old(struct keeper *k, int fd, pid_t pid)
{
	k->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (k->pidfd < 0)
		return -errno;
	/* Locked still: so that was it. */
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return -ESRCH;
	if (syscall(SYS_pidfd_send_signal, k->pidfd, SIGUSR1, NULL, 0) < 0)
		return -errno;
	return open_kept(k, pid);
}

static struct keeper *new_old(int dir, const char *name)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->refs = 1;
	k->slots_fd = k->pidfd = -1;
	k->dir = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	snprintf(k->name, sizeof(k->name), "%.16s", name);
	if (k->dir >= 0)
		return k;
	keeper_free(k);
	return NULL;
}

/* None in *ret where it has ended, or does not say which process it is. */
static int open_old(int dir, const char *name, struct keeper **ret)
{
	cleanup_fd int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct keeper *k;
	pid_t pid;
	int r;

	if (fd < 0)
		return -errno;
	pid = read_pid(fd);
	if (pid == -ESRCH)
		unlinkat(dir, name, 0);
	if (pid == -ETIMEDOUT)
		log_warn("a keeper of an earlier recapd does not say which process it is");
	if (pid <= 0)
		return 0;
	k = new_old(dir, name);
	if (!k)
		return -errno;
	r = take_old(k, fd, pid);
	if (r == 0)
		*ret = k;
	else
		keeper_free(k);
	return r == -ESRCH ? 0 : r;
}

static int list_old(const struct keeper *own, struct keeper **list)
{
	int fd = openat(own->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	cleanup_dir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	r = d ? 0 : -errno;
	while (r == 0 && (e = readdir(d))) {
		struct keeper *k = NULL;

		if (strlen(e->d_name) != 16 || !strcmp(e->d_name, own->name))
			continue;
		r = open_old(fd, e->d_name, &k);
		if (!k)
			continue;
		k->next = *list;
		*list = k;
	}
	if (fd >= 0 && !d)
		close(fd);
	return r;
}

int keeper_each_old(const struct keeper *own, void (*fn)(struct keeper *k, void *arg), void *arg)
{
	struct keeper *list = NULL, *k;
	int r = list_old(own, &list);

	/* All of them or none: those that are let go of wait for another recapd. */
	while ((k = list)) {
		list = k->next;
		if (r == 0) {
			fn(k, arg);
			keeper_unref(k);
		} else {
			keeper_free(k);
		}
	}
	return r;
}

struct slot *keeper_slot(struct keeper *k, size_t i)
{
	off_t at = (off_t)(i * sizeof(struct slot) + offsetof(struct slot, note.id));
	uint64_t id = 0;

	/* Read from the file: to look at the mapping would fill its holes with memory. */
	return k->slots && pread(k->slots_fd, &id, sizeof(id), at) == sizeof(id) && id
		       ? &k->slots[i]
		       : NULL;
}

struct workshop *keeper_workshop(struct keeper *k)
{
	return k->workshop;
}

struct keeper *keeper_ref(struct keeper *k)
{
	k->refs++;
	return k;
}

void keeper_unref(struct keeper *k)
{
	if (!k || --k->refs)
		return;
	end(k);
	keeper_free(k);
}
