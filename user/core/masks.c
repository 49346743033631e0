// SPDX-License-Identifier: MIT
#include "core/masks.h"

#include <stdbool.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/mountapi.h"

/*
 * All of it is read-only anyway: so are /proc/bus, fs, irq, sys and sysrq-trigger. What every kernel has comes last: see
 * masks_put().
 */
static const struct {
	bool sys, folder;
	const char *path;
} masked[] = {
	{false, true, "acpi"},	       {false, true, "asound"},
	{false, false, "keys"},	       {false, false, "latency_stats"},
	{false, false, "sched_debug"}, {false, true, "scsi"},
	{false, false, "timer_list"},  {false, false, "timer_stats"},
	{false, false, "kcore"},       {true, true, "devices/virtual/powercap"},
	{false, false, "interrupts"},  {true, true, "firmware"},
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
 * A clone that finds no place is for the next of its kind: to be let go it would have to be dissolved by itself, for which the kernel
 * waits until all CPUs have noticed (namespace_unlock()). Nothing in the two file systems leads elsewhere: they are new, and the
 * kernel's.
 */
static int cover(int source, int *clone, int fs, const char *path)
{
	if (*clone < 0)
		*clone = open_tree(source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (*clone < 0)
		return -errno;
	if (move_mount(*clone, "", fs, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return errno == ENOENT ? 0 : -errno;
	*clone = fd_close(*clone);
	return 0;
}

int masks_put(const struct masks *masks, int proc, int sys)
{
	cleanup_fd int file = -1, folder = -1;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(masked) && r == 0; i++)
		r = cover(masked[i].folder ? masks->folder : masks->file,
			  masked[i].folder ? &folder : &file, masked[i].sys ? sys : proc,
			  masked[i].path);
	return r;
}
