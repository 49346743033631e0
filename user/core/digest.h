/* SPDX-License-Identifier: MIT */
/* SHA-256 digests as OCI writes them: "sha256:" and 64 lower-case hexadecimal digits. */
#ifndef RECAP_DIGEST_H
#define RECAP_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/error.h"

#define DIGEST_SIZE 72 /* "sha256:", 64 digits and NUL */

/* A digest in the making. */
struct digest;

/* -ENOMEM when libcrypto has no memory or no SHA-256. */
int digest_new(struct digest **ret, struct error *err) must_check;
void digest_free(struct digest *digest);
static inline void digest_freep(struct digest **digest)
{
	digest_free(*digest);
}
#define cleanup_digest cleanup(digest_freep)

void digest_update(struct digest *digest, const void *buf, size_t len);

/* What was hashed so far, as text. The digest starts anew. */
void digest_final(struct digest *digest, char ret[DIGEST_SIZE]);

/* The 64 digits of a well-formed digest. */
static inline const char *digest_hex(const char *text)
{
	return text + 7;
}

/* Whether `text` is exactly one well-formed digest. NULL is none. Here, so that recapd does without libcrypto. */
static inline bool digest_valid(const char *text)
{
	return text && strlen(text) == DIGEST_SIZE - 1 && !strncmp(text, "sha256:", 7) &&
	       strspn(digest_hex(text), "0123456789abcdef") == 64;
}

#endif
