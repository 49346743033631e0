// SPDX-License-Identifier: MIT
/*
 * Attacks out of a capsule, for tests/system/72_attack_capsule.bats: each is one thing that would be a step out of the sandbox, or
 * would use up what is not the capsule's.
 *
 *	attack [-i] [NAME...]	all of them, or those named
 *
 * A line for each: its name, and "ok" where it succeeded, or the error's name, or that of the signal that ended it. Each runs in a
 * process of its own; with -i, in a mount namespace of its own, too, so that where it succeeds it does not get into the others' way.
 * Nothing that succeeds changes the machine: what would is asked for in a form that the kernel refuses only after it has asked for the
 * privilege, and the test wants that other error then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acct.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* An attack succeeds with 0 or more, and fails with -1 and errno, as a system call. */
typedef long (*attack_fn)(void);

static long fail(int err)
{
	errno = err;
	return -1;
}

/* The result of a try that made this file. */
static long without(const char *path, long r)
{
	int err = errno;

	unlink(path);
	return r < 0 ? fail(err) : r;
}

/* ---- mounts ---- */

static long mount_tmpfs(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long mount_proc(void)
{
	return mount("none", "/tmp", "proc", 0, NULL);
}

static long mount_cgroup(void)
{
	return mount("none", "/tmp", "cgroup2", 0, NULL);
}

static long mount_bind(void)
{
	return mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL);
}

static long mount_shared(void)
{
	return mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL);
}

static long remount_proc(void)
{
	return mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long umount_proc(void)
{
	return umount2("/proc", MNT_DETACH);
}

static long fs_open(void)
{
	return fsopen("tmpfs", FSOPEN_CLOEXEC);
}

static long fs_pick(void)
{
	return fspick(AT_FDCWD, "/", FSPICK_CLOEXEC);
}

static long tree_clone(void)
{
	return open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

static long tree_move(void)
{
	int tree = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	/* Without a tree the answer of the filter counts. */
	return move_mount(tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH);
}

static long attr_writable(void)
{
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};

	return mount_setattr(AT_FDCWD, "/proc", AT_RECURSIVE, &attr, sizeof(attr));
}

static long pivot(void)
{
	return syscall(SYS_pivot_root, "/tmp", "/tmp");
}

static long chroot_tmp(void)
{
	return chroot("/tmp");
}

/* The classic: a root below, and then up from a folder that is above it. */
static long chroot_escape(void)
{
	int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (top < 0 || chroot("/tmp") < 0 || fchdir(top) < 0)
		return -1;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return -1;
	return chroot(".") < 0 ? -1 : access("/attack", F_OK);
}

/* ---- files and devices ---- */

static long node(const char *path, mode_t type, unsigned int major, unsigned int minor)
{
	unlink(path);
	return mknod(path, type | 0600, makedev(major, minor));
}

static long mknod_disk(void)
{
	return without("/tmp/recap-disk", node("/tmp/recap-disk", S_IFBLK, 8, 0));
}

/* The kernel's log: a device that does no harm. */
static long open_node(void)
{
	long r = node("/tmp/recap-kmsg", S_IFCHR, 1, 11);

	if (r == 0)
		r = open("/tmp/recap-kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return without("/tmp/recap-kmsg", r);
}

static long open_kmsg(void)
{
	return open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static long open_fuse(void)
{
	return open("/dev/fuse", O_RDWR | O_CLOEXEC);
}

static long chmod_null(void)
{
	return chmod("/dev/null", 0666);
}

static long handle_open(void)
{
	struct {
		struct file_handle head;
		char bytes[MAX_HANDLE_SZ];
	} h = {.head.handle_bytes = MAX_HANDLE_SZ};
	int top = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC), mount_id;

	if (top < 0 || name_to_handle_at(top, "", &h.head, &mount_id, AT_EMPTY_PATH) < 0)
		return -1;
	return open_by_handle_at(top, &h.head, O_RDONLY | O_CLOEXEC);
}

static long quota(void)
{
	return syscall(SYS_quotactl, QCMD(Q_SYNC, 0), NULL, 0, NULL);
}

static long swap_on(void)
{
	return swapon("/nowhere", 0);
}

static long account(void)
{
	return acct("/nowhere");
}

/* A copy of this program, for all to run, with set-user-ID root. */
static long copy_self(const char *to, mode_t mode)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	long n = 1;

	while (from >= 0 && fd >= 0 && n > 0)
		n = sendfile(fd, from, NULL, 1 << 20);
	return n == 0 && fchmod(fd, mode) == 0 ? fd : -1;
}

/* Was it of use? The copy answers by its exit status (main()). */
static long as_nobody(const char *program)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
			_exit(errno);
		execl(program, "attack", "-r", NULL);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : fail(EPERM);
}

static long setuid_program(void)
{
	int fd;
	long r;

	unlink("/tmp/recap-setuid");
	fd = copy_self("/tmp/recap-setuid", 04755);
	close(fd);
	r = fd < 0 ? -1 : as_nobody("/tmp/recap-setuid");
	return without("/tmp/recap-setuid", r);
}

/* All capabilities, effective: capabilities(7), VFS_CAP_REVISION_2. */
static long file_caps(void)
{
	const unsigned int caps[5] = {0x02000001, ~0u, 0, ~0u, 0};
	int fd;
	long r;

	unlink("/tmp/recap-caps");
	fd = copy_self("/tmp/recap-caps", 0755);
	r = fd < 0 ? -1 : fsetxattr(fd, "security.capability", caps, sizeof(caps), 0);
	return without("/tmp/recap-caps", r);
}

static long link_target(void)
{
	return without("/target/etc/recap-link",
		       link("/target/etc/app.conf", "/target/etc/recap-link"));
}

/* A name for a file of the target where it may be written to. */
static long link_out(void)
{
	return without("/tmp/recap-link", link("/target/etc/app.conf", "/tmp/recap-link"));
}

static long move_out(void)
{
	return rename("/target/etc/app.conf", "/target/etc/app.conf");
}

/* A read-only descriptor, opened again. */
static long reopen(void)
{
	char path[40];
	int fd = open("/target/etc/app.conf", O_PATH | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fd < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
}

static long write_target(void)
{
	return open("/target/etc/app.conf", O_WRONLY | O_CLOEXEC);
}

/* ---- /proc and /sys ---- */

static long open_write(const char *path)
{
	return open(path, O_WRONLY | O_CLOEXEC);
}

static long sysrq(void)
{
	return open_write("/proc/sysrq-trigger");
}

static long core_pattern(void)
{
	return open_write("/proc/sys/kernel/core_pattern");
}

static long modprobe_path(void)
{
	return open_write("/proc/sys/kernel/modprobe");
}

static long panic_on_oom(void)
{
	return open_write("/proc/sys/vm/panic_on_oom");
}

static long hostname_file(void)
{
	return open_write("/proc/sys/kernel/hostname");
}

static long pid_max(void)
{
	return open_write("/proc/sys/kernel/pid_max");
}

static long irq_affinity(void)
{
	return open_write("/proc/irq/default_smp_affinity");
}

static long sys_kernel(void)
{
	return open_write("/sys/kernel/mm/transparent_hugepage/enabled");
}

static long sys_module(void)
{
	return open_write("/sys/module/printk/parameters/time");
}

static long sys_uevent(void)
{
	return open_write("/sys/devices/virtual/mem/null/uevent");
}

static long oom_adjust(void)
{
	return open_write("/proc/self/oom_score_adj");
}

static long uid_map(void)
{
	return open_write("/proc/self/uid_map");
}

static long timer_slack(void)
{
	return open_write("/proc/1/timerslack_ns");
}

/* Of v2 or, beside v1, where that is. */
static const char *cgroup_folder(void)
{
	return access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified/recap-attack"
							   : "/sys/fs/cgroup/recap-attack";
}

static long cgroup_make(void)
{
	long r = mkdir(cgroup_folder(), 0755);

	rmdir(cgroup_folder());
	return r;
}

static long cgroup_move(void)
{
	int fd = open_write("/sys/fs/cgroup/unified/cgroup.procs");

	if (fd < 0 && errno == ENOENT)
		fd = open_write("/sys/fs/cgroup/cgroup.procs");
	return fd;
}

static long release_agent(void)
{
	return open_write("/sys/fs/cgroup/systemd/release_agent");
}

/* ---- other processes ---- */

static long pid1_open(const char *name, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/1/%s", name);
	return open(path, flags | O_CLOEXEC);
}

static long pid1_root(void)
{
	return pid1_open("root", O_RDONLY | O_DIRECTORY);
}

static long pid1_cwd(void)
{
	return pid1_open("cwd", O_RDONLY | O_DIRECTORY);
}

static long pid1_exe(void)
{
	return pid1_open("exe", O_RDONLY);
}

static long pid1_mem(void)
{
	return pid1_open("mem", O_RDONLY);
}

static long pid1_fd(void)
{
	char path[64];

	return readlink("/proc/1/fd/0", path, sizeof(path));
}

static long pid1_environ(void)
{
	return pid1_open("environ", O_RDONLY);
}

static long pid1_maps(void)
{
	return pid1_open("maps", O_RDONLY);
}

/* The capsule's init: the parent of the tool, which is our parent. */
static pid_t init_pid(void)
{
	static const char key[] = "\nPPid:";
	char path[32], text[1024], *p;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", getppid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	p = strstr(text, key);
	return p ? atoi(p + sizeof(key) - 1) : -1;
}

static long init_mem(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", init_pid());
	return open(path, O_RDONLY | O_CLOEXEC);
}

static long seize_init(void)
{
	return ptrace(PTRACE_SEIZE, init_pid(), NULL, NULL);
}

static long seize_pid1(void)
{
	return ptrace(PTRACE_SEIZE, 1, NULL, NULL);
}

static long vm_readv(void)
{
	char buf[8];
	struct iovec local = {buf, sizeof(buf)}, remote = {(void *)0x400000, sizeof(buf)};

	return process_vm_readv(1, &local, 1, &remote, 1, 0);
}

static long vm_writev(void)
{
	char buf[8];
	/* Nothing lies there: what succeeds says EFAULT. */
	struct iovec local = {buf, sizeof(buf)}, remote = {(void *)8, sizeof(buf)};

	return process_vm_writev(1, &local, 1, &remote, 1, 0);
}

static long steal_fd(void)
{
	return syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0);
}

static long compare(void)
{
	return syscall(SYS_kcmp, 1, getpid(), KCMP_FS, 0, 0);
}

static long limit_pid1(void)
{
	struct rlimit old;

	if (prlimit(1, RLIMIT_CPU, NULL, &old) < 0)
		return -1;
	return prlimit(1, RLIMIT_CPU, &old, NULL);
}

/* A tool of another capsule in the same container, by its name: that of the sleeper that the test has started. */
static pid_t other_capsule(void)
{
	DIR *proc = opendir("/proc");
	char path[300], comm[16];
	struct dirent *e;

	while (proc && (e = readdir(proc))) {
		int fd;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, comm, sizeof(comm));
		close(fd);
		if (n == 6 && !memcmp(comm, "sleep\n", 6))
			return atoi(e->d_name);
	}
	return -1;
}

static long other_open(const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/%s", other_capsule(), name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static long other_root(void)
{
	return other_open("root");
}

static long other_mem(void)
{
	return other_open("mem");
}

static long other_stdout(void)
{
	char path[40], target[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/1", other_capsule());
	return readlink(path, target, sizeof(target));
}

static long other_seize(void)
{
	return ptrace(PTRACE_SEIZE, other_capsule(), NULL, NULL);
}

/* ---- namespaces ---- */

static long join_file(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : setns(fd, 0);
}

static long join_pidfd(void)
{
	int fd = syscall(SYS_pidfd_open, 1, 0);

	return fd < 0 ? -1 : setns(fd, CLONE_NEWNS);
}

static long unshare_mnt(void)
{
	return unshare(CLONE_NEWNS);
}

static long unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static long unshare_net(void)
{
	return unshare(CLONE_NEWNET);
}

static long unshare_pid(void)
{
	return unshare(CLONE_NEWPID);
}

static long unshare_ipc(void)
{
	return unshare(CLONE_NEWIPC);
}

static long unshare_uts(void)
{
	return unshare(CLONE_NEWUTS);
}

static long unshare_cgroup(void)
{
	return unshare(CLONE_NEWCGROUP);
}

static long unshare_time(void)
{
	return unshare(CLONE_NEWTIME);
}

static long clone_with(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long clone_user(void)
{
	return clone_with(CLONE_NEWUSER);
}

static long clone_mnt(void)
{
	return clone_with(CLONE_NEWNS);
}

static long clone3_user(void)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

/* ---- parts of the kernel ---- */

static long keyring(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

static long key_add(void)
{
	return syscall(SYS_add_key, "user", "recap-attack", "x", 1, KEY_SPEC_PROCESS_KEYRING);
}

static long key_request(void)
{
	return syscall(SYS_request_key, "user", "recap-none", NULL, KEY_SPEC_PROCESS_KEYRING);
}

static long uring(void)
{
	char params[120] = {0};

	return syscall(SYS_io_uring_setup, 1, params);
}

static long bpf_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long perf(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_CPU_CLOCK};

	return syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static long fault_handler(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static long fan_init(void)
{
	return syscall(SYS_fanotify_init, 0x4 /* FAN_CLASS_CONTENT */, O_RDONLY);
}

static long kexec(void)
{
	return syscall(SYS_kexec_load, 0, ~0ul, NULL, 0);
}

static long module_init(void)
{
	return syscall(SYS_init_module, NULL, 0ul, "");
}

static long module_finit(void)
{
	return syscall(SYS_finit_module, -1, "", 0);
}

static long module_delete(void)
{
	return syscall(SYS_delete_module, "recap_none", O_NONBLOCK);
}

static long io_level(void)
{
	return syscall(SYS_iopl, 3);
}

static long io_ports(void)
{
	return syscall(SYS_ioperm, 0x80, 1, 1);
}

static long boot(void)
{
	return syscall(SYS_reboot, 0, 0, 0, NULL);
}

static long day(void)
{
	return syscall(SYS_settimeofday, NULL, NULL);
}

static long clock_change(void)
{
	struct timespec bad = {.tv_nsec = -1};

	return syscall(SYS_clock_settime, CLOCK_REALTIME, &bad);
}

static long host_name(void)
{
	return sethostname("recap-attack", 12);
}

static long domain_name(void)
{
	return setdomainname("recap-attack", 12);
}

static long kernel_log(void)
{
	char buf[64];

	return syscall(SYS_syslog, 3 /* SYSLOG_ACTION_READ_ALL */, buf, sizeof(buf));
}

static long exec_data(void)
{
	return syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
}

static long hangup(void)
{
	return vhangup();
}

/* A filter of one's own that allows all, and then what the first one refuses. */
static long filter_over(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {1, &allow};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return -1;
	return mount_tmpfs();
}

/* A listener answers in the kernel's place, for what the first filter lets through only. */
static long filter_notify(void)
{
	struct sock_filter notify[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, notify};
	struct seccomp_notif req = {0};
	struct seccomp_notif_resp resp = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			 &prog);
	pid_t pid = fd < 0 ? -1 : fork();

	if (pid == 0) {
		alarm(5);
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req) == 0) {
			resp.id = req.id;
			ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
		}
		_exit(0);
	}
	return pid < 0 ? -1 : mount_tmpfs();
}

/* getpid(2) by the number that 32-bit programs have for it. */
static long call_ia32(void)
{
#ifdef __x86_64__
	long r = 20;

	__asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
	return r < 0 ? fail(-r) : r;
#else
	return fail(ENOSYS);
#endif
}

static long call_x32(void)
{
	return syscall(0x40000000 | SYS_getpid);
}

/* ---- what is everybody's ---- */

static long nice_up(void)
{
	return setpriority(PRIO_PROCESS, 0, -5);
}

static long realtime(void)
{
	struct sched_param p = {.sched_priority = 1};

	return sched_setscheduler(0, SCHED_FIFO, &p);
}

static long io_realtime(void)
{
	return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		       IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 0));
}

static long limit_raise(int what)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0)
		return -1;
	l.rlim_max++;
	return setrlimit(what, &l);
}

static long files_raise(void)
{
	return limit_raise(RLIMIT_NOFILE);
}

static long core_raise(void)
{
	return limit_raise(RLIMIT_CORE);
}

static long files_lower(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return -1;
	l.rlim_cur = --l.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &l);
}

static long open_many(unsigned long wanted)
{
	for (unsigned long i = 0; i < wanted; i++)
		if (dup(1) < 0)
			return -1;
	return 0;
}

static long files_many(void)
{
	return open_many(1ul << 30);
}

static long files_few(void)
{
	return open_many(100);
}

static long make_many(const char *prefix, unsigned long wanted)
{
	char path[40];

	for (unsigned long i = 0; i < wanted; i++) {
		snprintf(path, sizeof(path), "/tmp/%s%lu", prefix, i);
		if (mknod(path, S_IFREG | 0600, 0) < 0)
			return -1;
	}
	return 0;
}

static long inodes_many(void)
{
	return make_many("many", 1ul << 30);
}

static long inodes_few(void)
{
	return make_many("few", 100);
}

static long type_in(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return ioctl(fd, TIOCSTI, "x");
}

static long paste_in(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return ioctl(fd, TIOCLINUX, "\3");
}

/* An abstract socket of the host's: another network namespace, another name space. The test listens there. */
static long abstract(void)
{
	static const char name[] = "recap-attack";
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path + 1, name, sizeof(name) - 1);
	return connect(fd, (struct sockaddr *)&addr,
		       offsetof(struct sockaddr_un, sun_path) + sizeof(name));
}

/* To the hypervisor, and by no namespace. */
static long vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* The kernel reads 32 bits of the family, where a filter may compare 64. */
static long vsock_wide(void)
{
	return syscall(SYS_socket, 1ul << 32 | AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ---- all of them ---- */

static const struct attack {
	const char *name;
	attack_fn run;
} attacks[] = {
	{"mount-tmpfs", mount_tmpfs},
	{"mount-proc", mount_proc},
	{"mount-cgroup", mount_cgroup},
	{"mount-bind", mount_bind},
	{"mount-shared", mount_shared},
	{"remount-proc", remount_proc},
	{"umount-proc", umount_proc},
	{"fsopen", fs_open},
	{"fspick", fs_pick},
	{"open-tree", tree_clone},
	{"move-mount", tree_move},
	{"mount-setattr", attr_writable},
	{"pivot-root", pivot},
	{"chroot", chroot_tmp},
	{"chroot-escape", chroot_escape},
	{"mknod-disk", mknod_disk},
	{"open-node", open_node},
	{"open-kmsg", open_kmsg},
	{"open-fuse", open_fuse},
	{"chmod-null", chmod_null},
	{"open-handle", handle_open},
	{"quotactl", quota},
	{"swapon", swap_on},
	{"acct", account},
	{"setuid-program", setuid_program},
	{"file-caps", file_caps},
	{"link-target", link_target},
	{"link-out", link_out},
	{"rename-target", move_out},
	{"reopen-target", reopen},
	{"write-target", write_target},
	{"sysrq-trigger", sysrq},
	{"core-pattern", core_pattern},
	{"modprobe-path", modprobe_path},
	{"panic-on-oom", panic_on_oom},
	{"hostname-file", hostname_file},
	{"pid-max", pid_max},
	{"irq-affinity", irq_affinity},
	{"sys-kernel", sys_kernel},
	{"sys-module", sys_module},
	{"sys-uevent", sys_uevent},
	{"oom-adjust", oom_adjust},
	{"uid-map", uid_map},
	{"timer-slack", timer_slack},
	{"cgroup-make", cgroup_make},
	{"cgroup-move", cgroup_move},
	{"release-agent", release_agent},
	{"pid1-root", pid1_root},
	{"pid1-cwd", pid1_cwd},
	{"pid1-exe", pid1_exe},
	{"pid1-mem", pid1_mem},
	{"pid1-fd", pid1_fd},
	{"pid1-environ", pid1_environ},
	{"pid1-maps", pid1_maps},
	{"init-mem", init_mem},
	{"ptrace-init", seize_init},
	{"ptrace-pid1", seize_pid1},
	{"vm-readv", vm_readv},
	{"vm-writev", vm_writev},
	{"pidfd-getfd", steal_fd},
	{"kcmp", compare},
	{"prlimit-pid1", limit_pid1},
	{"other-root", other_root},
	{"other-mem", other_mem},
	{"other-stdout", other_stdout},
	{"other-seize", other_seize},
	{"setns-file", join_file},
	{"setns-pidfd", join_pidfd},
	{"unshare-mnt", unshare_mnt},
	{"unshare-user", unshare_user},
	{"unshare-net", unshare_net},
	{"unshare-pid", unshare_pid},
	{"unshare-ipc", unshare_ipc},
	{"unshare-uts", unshare_uts},
	{"unshare-cgroup", unshare_cgroup},
	{"unshare-time", unshare_time},
	{"clone-user", clone_user},
	{"clone-mnt", clone_mnt},
	{"clone3-user", clone3_user},
	{"keyctl", keyring},
	{"add-key", key_add},
	{"request-key", key_request},
	{"io-uring", uring},
	{"bpf", bpf_map},
	{"perf", perf},
	{"userfaultfd", fault_handler},
	{"fanotify", fan_init},
	{"kexec", kexec},
	{"init-module", module_init},
	{"finit-module", module_finit},
	{"delete-module", module_delete},
	{"iopl", io_level},
	{"ioperm", io_ports},
	{"reboot", boot},
	{"settimeofday", day},
	{"clock-settime", clock_change},
	{"sethostname", host_name},
	{"setdomainname", domain_name},
	{"syslog", kernel_log},
	{"personality", exec_data},
	{"vhangup", hangup},
	{"filter-over", filter_over},
	{"filter-notify", filter_notify},
	{"call-ia32", call_ia32},
	{"call-x32", call_x32},
	{"nice", nice_up},
	{"realtime", realtime},
	{"io-realtime", io_realtime},
	{"files-raise", files_raise},
	{"core-raise", core_raise},
	{"files-lower", files_lower},
	{"files-many", files_many},
	{"files-few", files_few},
	{"inodes-few", inodes_few},
	{"inodes-many", inodes_many},
	{"type-in", type_in},
	{"paste-in", paste_in},
	{"abstract", abstract},
	{"vsock", vsock},
	{"vsock-wide", vsock_wide},
};

/* The exit status is the errno, 0 for a success. */
static _Noreturn void attack_main(const struct attack *a, int isolated)
{
	if (isolated &&
	    (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
		perror("attack: a mount namespace");
		_exit(255);
	}
	alarm(100); /* what fills something up takes its time on a slow machine */
	errno = 0;
	_exit(a->run() < 0 ? errno : 0);
}

static int attack(const struct attack *a, int isolated)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		attack_main(a, isolated);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == 255)) {
		perror("attack");
		return 1;
	}
	printf("%s %s%s\n", a->name, WIFSIGNALED(status) ? "SIG" : "",
	       WIFSIGNALED(status)   ? sigabbrev_np(WTERMSIG(status))
	       : WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status))
				     : "ok");
	return 0;
}

static int is_named(const char *name, char **names)
{
	for (char **n = names; *n; n++)
		if (!strcmp(*n, name))
			return 1;
	return !*names;
}

int main(int argc, char **argv)
{
	int isolated = argc > 1 && !strcmp(argv[1], "-i"), r = 0;

	/* For setuid_program(): have we come to be root? */
	if (argc > 1 && !strcmp(argv[1], "-r"))
		return geteuid() != 0;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (is_named(attacks[i].name, argv + 1 + isolated))
			r |= attack(&attacks[i], isolated);
	return r;
}
