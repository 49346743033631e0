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

/* Make a new file system of `type` with the options `opts` (pairs key, value; a NULL key ends them). */
int mount_new(const char *type, const char *const opts[][2], unsigned int attr) must_check;

/* As mount_new() up to the superblock, which is let go at once: 0 or the error that mounting would meet. */
int mount_try(const char *type, const char *const opts[][2]) must_check;

/* Put the detached mount `fd` on `path` under `dirfd`, which no link may lead away from. */
int mount_put(int fd, int dirfd, const char *path) must_check;

#endif
