/* SPDX-License-Identifier: MIT */
/*
 * A throw-away file system on disk, for layers that are too large for memory: ext4 in a file on a loop device.
 *
 * The file never has a name (O_TMPFILE), and the loop device lets go of it by itself (LO_FLAGS_AUTOCLEAR). So the mount is all
 * that keeps it: whoever dies, and whenever, the kernel frees the room with the last user of the mount, and no more than for a
 * tmpfs is there anything to sweep. Its room is taken at once (fallocate(2)): it cannot fill the disk later, nor lack room then.
 */
#ifndef RECAP_DISK_H
#define RECAP_DISK_H

#include <stdint.h>

#include "common/error.h"

#define DISK_MIN (16ull << 20) /* bytes: below that, ext4's own structures take much of it */

/*
 * Make one of `size` bytes, ext4's own structures included (some 2 %), in the file system of the folder `dir`: a detached mount.
 * Takes about 10 ms. Refused where there are no loop devices, no mkfs.ext4, or where it would leave less than a sixteenth of
 * the disk free.
 */
int disk_new(int dir, uint64_t size, struct error *err) must_check;

/*
 * Before it is unmounted from `path` for good: forget what was not written back yet, which unmounting would wait for otherwise. Only
 * for one that nothing uses any more.
 */
void disk_discard(const char *path);

#endif
