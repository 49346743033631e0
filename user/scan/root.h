/* SPDX-License-Identifier: MIT */
/* Reading an image's files by the paths that its own programs would use: links stay within its root. */
#ifndef RECAP_ROOT_H
#define RECAP_ROOT_H

#include <stddef.h>

#include "common/cleanup.h"

/* Open what `path` leads to in the root. The descriptor or -errno; O_CLOEXEC and O_NONBLOCK are added. */
int root_open(int root, const char *path, int flags) must_check;

/* The whole of a regular file, as fd_read_file(). -EINVAL: it is something else. */
int root_read(int root, const char *path, size_t max, char **ret, size_t *ret_len) must_check;

#endif
