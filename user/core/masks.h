/* SPDX-License-Identifier: MIT */
/*
 * What /proc and /sys tell of the machine rather than of the target is covered, as OCI runtimes do it. No path is looked up that
 * anybody else could have changed meanwhile (CVE-2025-31133, CVE-2025-52565): what covers is of the stage, where there is
 * nobody, and where it goes is looked up below the root of the procfs or sysfs mount that was just made, which nobody else has.
 */
#ifndef RECAP_MASKS_H
#define RECAP_MASKS_H

#include "common/cleanup.h"

#define MASK_FILE   "none"  /* on the stage: an empty file, */
#define MASK_FOLDER "empty" /* and an empty folder */

struct masks {
	int file, folder;
};

/* Find them, on the stage: before there is a target. 0 or -errno. */
int masks_find(struct masks *ret) must_check;

/* Put clones of them below the mounts `proc` and `sys`. What this kernel does not have needs no cover. 0 or -errno. */
int masks_put(const struct masks *masks, int proc, int sys) must_check;

#endif
