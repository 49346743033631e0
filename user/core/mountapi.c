// SPDX-License-Identifier: MIT
#include "core/mountapi.h"

#include <linux/openat2.h>
#include <sys/syscall.h>

/* A file system context with its options set and its superblock made. */
static int superblock(const char *type, const char *const opts[][2])
{
	cleanup_fd int fs = fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	/* What /proc/self/mountinfo shows in place of a device. */
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
		return -errno;
	for (; (*opts)[0]; opts++) {
		const char *key = (*opts)[0], *value = (*opts)[1];
		int r = value ? fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0)
			      : fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);

		if (r < 0)
			return -errno;
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return TAKE_FD(fs);
}

int mount_new(const char *type, const char *const opts[][2], unsigned int attr)
{
	cleanup_fd int fs = superblock(type, opts);
	int fd;

	if (fs < 0)
		return fs;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? -errno : fd;
}

int mount_try(const char *type, const char *const opts[][2])
{
	int fs = superblock(type, opts);

	if (fs < 0)
		return fs;
	close(fs);
	return 0;
}

int mount_put(int fd, int dirfd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	cleanup_fd int at = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	if (at < 0)
		return -errno;
	if (move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}
