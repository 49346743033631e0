/* SPDX-License-Identifier: MIT */
/*
 * JSON values in a form that needs no parser: each is a byte that says what it is, and then
 *   n t f   null, true, false: nothing
 *   i d     8 bytes: int64_t, double
 *   s       length, and that many bytes
 *   a       number of elements, and these
 *   o       number of members, each a length, that many bytes of name, and a value
 * with lengths and numbers of 4 bytes, in the machine's own order: it never leaves the machine.
 */
#ifndef RECAP_FLAT_H
#define RECAP_FLAT_H

#include <json-c/json.h>
#include <stddef.h>

#include "common/error.h"

#define FLAT_DEPTH 32

/* Append the value to *buf, of *len bytes in *size, which grows. -ENOMEM. */
int flat_write(struct json_object *value, char **buf, size_t *len, size_t *size) must_check;

/*
 * The value that is exactly those bytes; it is the caller's. What anybody may have written: lengths, kinds, depth and names are checked.
 * -EPROTO, -ENOMEM.
 */
int flat_read(const char *buf, size_t len, struct json_object **ret) must_check;

#endif
