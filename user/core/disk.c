// SPDX-License-Identifier: MIT
#include "core/disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/mountapi.h"

#define SPARED		    16	  /* one in so many of the disk's blocks is left to others */
#define FORMAT_MS	    30000 /* takes 10 on a disk that works */
#define LOOP_TRIES	    64	  /* others may take the device that was free */
#define IOC_SHUTDOWN	    _IOR('X', 125, uint32_t) /* fs/ext4/ext4.h; EXT4_IOC_SHUTDOWN */
#define SHUTDOWN_NOLOGFLUSH 2
#define MIB(bytes)	    ((unsigned long long)(bytes) >> 20)
#define FORMAT_FD	    3
#define FORMAT_PATH	    "/proc/self/fd/3"

/* O_EXCL: nor can it be given a name later. */
static int make_file(int dir, uint64_t size, struct error *err)
{
	cleanup_fd int fd = -1;
	struct statvfs fs;
	uint64_t room, spared;

	if (fstatvfs(dir, &fs) < 0)
		return error_sys(err, errno, "cannot look at the state folder's disk");
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	spared = (uint64_t)fs.f_blocks * fs.f_frsize / SPARED;
	if (room < size + spared)
		return error_set(
			err, ENOSPC,
			"no room for a layer of %llu MiB on disk: %llu MiB are free below the state "
			"folder, of which %llu are spared; give a smaller --cow-size",
			MIB(size), MIB(room), MIB(spared));
	fd = openat(dir, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, (off_t)size) < 0)
		return error_sys(
			err, errno,
			"cannot reserve %llu MiB on disk for the layer (the state folder's file "
			"system must know O_TMPFILE and fallocate)",
			MIB(size));
	return TAKE_FD(fd);
}

/* No journal, since nothing is to be recovered; and nothing of it is held back for root, as whom overlayfs writes. */
static int spawn(int file, pid_t *ret)
{
	static const char *const paths[] = {"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4",
					    "/usr/bin/mkfs.ext4"};
	static char *const argv[] = {"mkfs.ext4",
				     "-q",
				     "-F",
				     "-b",
				     "4096",
				     "-m",
				     "0",
				     "-O",
				     "^has_journal,^resize_inode",
				     "-E",
				     "lazy_itable_init=1,nodiscard",
				     FORMAT_PATH,
				     NULL};
	static char *const env[] = {"LC_ALL=C", NULL};
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, file, FORMAT_FD);
	if (r == 0)
		r = ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(paths) && r == ENOENT; i++)
		r = posix_spawn(ret, paths[i], &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* What it has to say is in recapd's log. */
static int format(int file, struct error *err)
{
	cleanup_fd int pidfd = -1;
	struct pollfd end;
	int status;
	pid_t pid;
	int r = spawn(file, &pid);

	if (r == -ENOENT)
		return error_set(err, ENOENT,
				 "a layer on disk needs mkfs.ext4; install e2fsprogs, or use "
				 "--cow tmpfs");
	if (r < 0)
		return error_sys(err, -r, "cannot start mkfs.ext4");
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	end = (struct pollfd){.fd = pidfd, .events = POLLIN};
	/* Our child, which is not reaped yet: its PID is its own. */
	if (pidfd < 0 || poll(&end, 1, FORMAT_MS) <= 0)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0)
		return error_sys(err, errno, "cannot wait for mkfs.ext4");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, EIO,
				 "mkfs.ext4 failed or took too long (wait status %#x); recapd's "
				 "log has what it said",
				 status);
	return 0;
}

static int open_control(struct error *err)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return error_set(err, ENODEV,
				 "a layer on disk needs loop devices, which this kernel does not "
				 "have (yet): `modprobe loop`, or use --cow tmpfs");
	return error_sys(err, errno, "cannot open /dev/loop-control");
}

/* A device with the file behind it, for as long as anything has that open. `path`: its name, until then. */
static int loop_attach(int file, char *path, size_t size, struct error *err)
{
	const struct loop_config config = {
		.fd = (uint32_t)file,
		.info = {.lo_flags = LO_FLAGS_AUTOCLEAR},
	};
	cleanup_fd int control = open_control(err);

	if (control < 0)
		return control;
	for (int i = 0; i < LOOP_TRIES; i++) {
		cleanup_fd int device = -1;
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		if (n < 0)
			return error_sys(err, errno, "there is no free loop device");
		snprintf(path, size, "/dev/loop%d", n);
		device = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (device < 0)
			return error_sys(err, errno, "cannot open %s", path);
		if (ioctl(device, LOOP_CONFIGURE, &config) == 0)
			return TAKE_FD(device);
		if (errno != EBUSY)
			return error_sys(err, errno, "cannot set up %s", path);
	}
	return error_set(err, EBUSY, "others take each loop device that is free");
}

/*
 * Barriers would have every sync, such as the one at an overlay's end, wait for the disk, for data that nobody will read again.
 * noinit_itable: no thread of the kernel's is to write to tables that may never be needed.
 */
int disk_new(int dir, uint64_t size, struct error *err)
{
	char path[32];
	const char *const opts[][2] = {
		{"source", path}, {"nobarrier", NULL}, {"noinit_itable", NULL}, {NULL, NULL}};
	cleanup_fd int device = -1, file = -1;
	int r;

	if (size < DISK_MIN)
		return error_named(
			err, EINVAL, "InvalidArgument",
			"a layer on disk has %llu MiB at least; give a larger --cow-size, "
			"or use --cow tmpfs",
			MIB(DISK_MIN));
	file = make_file(dir, size, err);
	if (file < 0)
		return file;
	r = format(file, err);
	if (r < 0)
		return r;
	device = loop_attach(file, path, sizeof(path), err);
	if (device < 0)
		return device;
	r = mount_new("ext4", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return r < 0 ? error_sys(err, -r, "cannot mount the layer's ext4") : r;
}

/* Where it fails, unmounting takes longer. */
void disk_discard(const char *path)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	uint32_t how = SHUTDOWN_NOLOGFLUSH;

	if (fd >= 0 && ioctl(fd, IOC_SHUTDOWN, &how) < 0)
		log_debug("a layer on disk is written back before it goes: %s", strerror(errno));
}
