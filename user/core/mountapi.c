// SPDX-License-Identifier: MIT
#include "core/mountapi.h"

#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

int mount_context(const char *type, const char *const opts[][2])
{
	cleanup_fd int fs = fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	/* What /proc/self/mountinfo shows in place of a device, where there is none. */
	if ((!(*opts)[0] || strcmp((*opts)[0], "source")) &&
	    fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
		return -errno;
	for (; (*opts)[0]; opts++) {
		const char *key = (*opts)[0], *value = (*opts)[1];
		int r = value ? fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0)
			      : fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);

		if (r < 0)
			return -errno;
	}
	return TAKE_FD(fs);
}

int mount_create(int context)
{
	return fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int mount_new(const char *type, const char *const opts[][2], unsigned int attr)
{
	cleanup_fd int fs = mount_context(type, opts);
	int fd, r = fs < 0 ? fs : mount_create(fs);

	if (r < 0)
		return r;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? -errno : fd;
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

int mount_take_root(int new_root, const char *anchor)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (move_mount(new_root, "", AT_FDCWD, anchor, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return mount_pivot(new_root);
}

int mount_pivot(int new_root)
{
	/* pivot_root(2): "." twice stacks the old root on the new one, from where it is taken off. */
	if (fchdir(new_root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}
