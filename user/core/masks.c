// SPDX-License-Identifier: MIT
#include "core/masks.h"

#include <linux/openat2.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/mountapi.h"

/* All of it is read-only anyway: so are /proc/bus, fs, irq, sys and sysrq-trigger. */
static const struct {
	bool sys, folder;
	const char *path;
} masked[] = {
	{false, true, "acpi"},	       {false, true, "asound"},
	{false, false, "interrupts"},  {false, false, "kcore"},
	{false, false, "keys"},	       {false, false, "latency_stats"},
	{false, false, "sched_debug"}, {false, true, "scsi"},
	{false, false, "timer_list"},  {false, false, "timer_stats"},
	{true, true, "firmware"},      {true, true, "devices/virtual/powercap"},
};

/* That it is what we made, and nothing else: the mount is the stage's own file system, and the file or folder is empty. */
static int open_source(int stage, const char *name, bool folder)
{
	cleanup_fd int fd = openat(stage, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat top, st;

	if (fd < 0 || fstat(stage, &top) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != top.st_dev || st.st_uid ||
	    (folder ? !S_ISDIR(st.st_mode) || st.st_nlink != 2
		    : !S_ISREG(st.st_mode) || st.st_size))
		return -ESTALE;
	return TAKE_FD(fd);
}

int masks_find(struct masks *ret)
{
	cleanup_fd int stage = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	ret->file = open_source(stage, MASK_FILE, false);
	if (ret->file < 0)
		return ret->file;
	ret->folder = open_source(stage, MASK_FOLDER, true);
	return ret->folder < 0 ? ret->folder : 0;
}

/*
 * Cloned one by one where it is wanted: a clone made ahead that finds no place would have to be dissolved by itself, for which the
 * kernel waits until all CPUs have noticed (namespace_unlock()).
 */
static int cover(int source, int at)
{
	cleanup_fd int fd =
		open_tree(source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0 ||
	    move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

int masks_put(const struct masks *masks, int proc, int sys)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	for (size_t i = 0; i < ARRAY_SIZE(masked); i++) {
		cleanup_fd int at = syscall(SYS_openat2, masked[i].sys ? sys : proc, masked[i].path,
					    &how, sizeof(how));
		int r = at < 0 ? -errno : cover(masked[i].folder ? masks->folder : masks->file, at);

		if (r < 0 && !(at < 0 && r == -ENOENT))
			return r;
	}
	return 0;
}
