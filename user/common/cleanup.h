/* SPDX-License-Identifier: MIT */
/*
 * Scope-bound ownership. A variable declared with one of these macros is released when it goes
 * out of scope; TAKE_FD() and TAKE_PTR() move the value out, so that the release does nothing.
 */
#ifndef RECAP_CLEANUP_H
#define RECAP_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define must_check   __attribute__((warn_unused_result))
#define cleanup(fn)  __attribute__((cleanup(fn)))
#define cleanup_free cleanup(cleanup_freep)
#define cleanup_fd   cleanup(cleanup_closep)
#define cleanup_file cleanup(cleanup_fclosep)
#define cleanup_dir  cleanup(cleanup_closedirp)

/* The value of `ptr`, which is NULL from here on: the caller owns it. */
#define TAKE_PTR(ptr)                              \
	({                                         \
		__typeof__(ptr) take_ptr_ = (ptr); \
		(ptr) = NULL;                      \
		take_ptr_;                         \
	})

/* The value of `fd`, which is -1 from here on: the caller owns it. */
#define TAKE_FD(fd)                  \
	({                           \
		int take_fd_ = (fd); \
		(fd) = -1;           \
		take_fd_;            \
	})

/* Close `fd` if it is one and return -1, so that `fd = fd_close(fd)` cannot close twice. Keeps errno. */
static inline int fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(int *fd)
{
	*fd = fd_close(*fd);
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
