/* SPDX-License-Identifier: MIT */
#ifndef RECAP_COMMON_UTF8_H
#define RECAP_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The length of the sequence that the `n` bytes at `s` begin with (n > 0), and its code point; 0: they begin with none.
 * RFC 3629: no overlong forms, no surrogates, nothing above 0x10ffff.
 */
size_t utf8_decode(const char *s, size_t n, uint32_t *ret);

/* Nothing but such sequences? */
bool utf8_valid(const char *s, size_t n);

#endif
