/* SPDX-License-Identifier: MIT */
/*
 * One error, carried from where it happens to where it is shown. The text says what failed, why,
 * and where it helps what to do; it never ends in a newline or a full stop.
 */
#ifndef RECAP_ERROR_H
#define RECAP_ERROR_H

#include "common/cleanup.h"

struct error {
	int code; /* a positive errno value; 0: no error */
	char name
		[40]; /* Varlink error name without the interface, e.g. "TargetNotFound"; may be empty */
	char msg[424];
};

/*
 * Fill `err` (which may be NULL) and return -code, so that a failing function can end in
 * `return error_set(err, EINVAL, ...)`. `code` is a positive errno value and is not printed.
 */
int error_set(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* As error_set(), and append ": " and strerror(code). For failed system calls. */
int error_sys(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* As error_set(), and give the error the name by which clients of the socket know it. */
int error_named(struct error *err, int code, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), cold));

/* Put "text: " before the message that is there. Returns -err->code. */
int error_prefix(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), cold));

#endif
