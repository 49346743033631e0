/* SPDX-License-Identifier: MIT */
/* Reading and writing through descriptors, with a limit on whatever comes from outside. */
#ifndef RECAP_FD_H
#define RECAP_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cleanup.h"

/*
 * The whole of the regular file (or proc/sysfs file) `path` under `dirfd`, NUL-terminated, in *ret
 * (free() it) and its length in *ret_len (may be NULL). -EFBIG when it is longer than `max` bytes,
 * -ELOOP when the last component is a symbolic link.
 */
int fd_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len) must_check;

/* As fd_read_file(), into a buffer of the caller's; -EFBIG when it does not fit with its NUL. */
int fd_read_small(int dirfd, const char *path, char *buf, size_t size) must_check;

/*
 * Open `path` under `dirfd` without following a symbolic link at any component and without leaving the
 * folder: for trees that someone else made. O_CLOEXEC is added. The descriptor, or -errno.
 */
int fd_open_beneath(int dirfd, const char *path, int flags) must_check;

/* Write all of `len` bytes, over partial writes and EINTR. */
int fd_write_all(int fd, const void *buf, size_t len) must_check;

/* All of `len` bytes, and no less: -EPIPE where there are fewer. */
int fd_read_all(int fd, void *buf, size_t len) must_check;

#define FD_SEND_MAX 32

/*
 * One sendmsg(2) on a Unix socket, without SIGPIPE; up to FD_SEND_MAX descriptors go with the first byte. How much was sent, or
 * -errno.
 */
ssize_t fd_send(int sock, const void *buf, size_t len, const int *fds, unsigned int n_fds,
		int flags) must_check;

/* Write `text` to an existing file (a cgroup or proc knob) with one write(2). */
int fd_write_knob(int dirfd, const char *path, const char *text) must_check;

/*
 * Replace `name` under `dirfd` with `len` bytes: a temporary file beside it, fsync, rename, fsync of
 * the folder. Readers see the old or the new content and nothing between, a crash included.
 */
int fd_replace_file(int dirfd, const char *name, const void *buf, size_t len,
		    mode_t mode) must_check;

/* Remove `name` under `dirfd` and everything below it. Never follows a link or leaves a file system. */
int fd_remove_tree(int dirfd, const char *name) must_check;

/* mkdir -p for an absolute path of ours (every component is trusted). */
int fd_mkdir_parents(const char *path, mode_t mode) must_check;

/* CLOCK_BOOTTIME in nanoseconds: the clock of the BPF side's bpf_ktime_get_boot_ns(). */
uint64_t clock_boot_ns(void);

#endif
