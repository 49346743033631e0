/* SPDX-License-Identifier: MIT */
/* The store's table of references: which names point to which image, and which images have none. */
#ifndef RECAP_REFS_H
#define RECAP_REFS_H

#include "common/json.h"
#include "core/reference.h"

#define REFS_FILE      "refs.json"
#define REFS_BYTES_MAX (4 << 20)
#define REFS_UNTAGGED  "<none>" /* how an image without references is shown */

struct refs_row {
	char *ref; /* NAME:TAG, or NULL: the image is there, but nothing points to it */
	char digest[DIGEST_SIZE];
};

/* Sorted by reference, as shown. Zero it to start. */
struct refs {
	size_t n;
	struct refs_row *v;
};

void refs_release(struct refs *refs);
#define cleanup_refs cleanup(refs_release)

/* -ENOMEM. */
int refs_dup(const struct refs *refs, struct refs *ret) must_check;

/* Parse the file behind `fd`. */
int refs_read(int fd, struct refs *ret, struct error *err) must_check;

/* Replace the file in the store's folder: once this returns, the change is there for good. */
int refs_write(int dirfd, const struct refs *refs, struct error *err) must_check;

/* The first row that `ref` means, or NULL. */
const struct refs_row *refs_find(const struct refs *refs, const struct reference *ref);

/* Whether any row has the digest. */
bool refs_has(const struct refs *refs, const char *digest);

/*
 * Point `ref` to `digest`. An image that lost its last reference by that becomes untagged. -ENOMEM.
 */
int refs_set(struct refs *refs, const char *ref, const char *digest) must_check;

/* Take out the i-th row. */
void refs_drop(struct refs *refs, size_t i);

/* Take out all rows that `ref` means. */
void refs_remove(struct refs *refs, const struct reference *ref);

#endif
