/* SPDX-License-Identifier: MIT */
/*
 * A process that sees nothing but what it is given: what touches an image's content runs in one. Its own mount, PID, IPC, UTS
 * and (unless asked otherwise) network namespace, a root of read-only mounts, the user "nobody" with CAP_DAC_READ_SEARCH as
 * the only capability, since an image's files are of any owner and mode.
 */
#ifndef RECAP_JAIL_H
#define RECAP_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define JAIL_MOUNTS_MAX 96

/* A folder or file of the host, read-only, at a path of the jail. A link at `from` is made again when `link` is set. */
struct jail_mount {
	const char *from, *at;
	bool link, optional;
};

struct jail {
	struct jail_mount mounts[JAIL_MOUNTS_MAX];
	size_t n;
	const char *
		anchor; /* any folder of the host: the jail's root is put there in its own namespace */
	int tmp;	/* a detached mount for /tmp, which is used up, or -1 */
	bool network;  /* the host's */
	bool programs; /* runs other programs: /proc, /dev/null, and no seccomp filter of ours */
	int64_t timeout_s;
	size_t max_out; /* bytes of its output */
};

struct jail_result {
	char *out; /* what it wrote to its standard output, NUL-terminated; free() it */
	size_t len;
	char err[256]; /* how its standard error began */
	int status;    /* exit status, or 128 and the signal's number */
};

/* -EINVAL: too many mounts. The strings are borrowed. */
int jail_add(struct jail *j, const char *from, const char *at, bool link, bool optional) must_check;

/*
 * Run fn(arg, out) in a jail; it writes to `out` and returns the exit status. -ETIME when it took too long, -EFBIG when it
 * wrote too much, other errors when the jail could not be built: it is dead then, with all that it started.
 */
int jail_run(const struct jail *j, int (*fn)(void *arg, int out), void *arg,
	     struct jail_result *ret, struct error *err) must_check;

#endif
