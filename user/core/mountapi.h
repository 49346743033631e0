/* SPDX-License-Identifier: MIT */
/*
 * The descriptor-based mount calls, which glibc 2.36 has but for a set-up in one call. See fsopen(2),
 * open_tree(2), mount_setattr(2).
 */
#ifndef RECAP_MOUNTAPI_H
#define RECAP_MOUNTAPI_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mount.h>

#include "common/cleanup.h"

/* Make a new file system of `type` with the options `opts` (pairs key, value; a NULL key ends them; a device comes first, as "source"). */
int mount_new(const char *type, const char *const opts[][2], unsigned int attr) must_check;

/* The two halves of mount_new(): a context with all options set, and its superblock, which closing the context lets go. */
int mount_context(const char *type, const char *const opts[][2]) must_check;
int mount_create(int context) must_check;

/* Put the detached mount `fd` on `path` under `dirfd`, which no link may lead away from. */
int mount_put(int fd, int dirfd, const char *path) must_check;

/*
 * Make `new_root`, a detached mount, the root of the current mount namespace and let go of all other mounts. `anchor` is any
 * folder, where it is for a moment.
 */
int mount_take_root(int new_root, const char *anchor) must_check;

/* The same for a mount that is attached already, where all mounts are private. */
int mount_pivot(int new_root) must_check;

#endif
