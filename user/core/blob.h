/* SPDX-License-Identifier: MIT */
/*
 * Blobs of an OCI layout: files named by what is in them, believed only once their digest was seen
 * to match.
 */
#ifndef RECAP_BLOB_H
#define RECAP_BLOB_H

#include "common/json.h"
#include "core/digest.h"
#include "core/progress.h"

#define BLOB_JSON_MAX (4 << 20) /* as the registries */

/* Size and digest that whoever names a blob claims for it. */
struct descriptor {
	char digest[DIGEST_SIZE];
	uint64_t size;
};

struct blob;

/*
 * Open the regular file `path` of a layout that someone else made. The descriptor, or -errno:
 * -EINVAL when it is no regular file, -ELOOP when a symbolic link is on the way.
 */
int blob_open_file(int layout, const char *path) must_check;

/*
 * Open the blob for reading. `layout` is the layout's folder. Refused when there is none, or when
 * its size is not what the descriptor says.
 */
int blob_open(int layout, const struct descriptor *desc, struct blob **ret,
	      struct error *err) must_check;
void blob_close(struct blob *blob);
static inline void blob_closep(struct blob **blob)
{
	blob_close(*blob);
}
#define cleanup_blob cleanup(blob_closep)

/* Tell of the bytes that are read from here on. `progress` may be NULL. */
void blob_show_progress(struct blob *blob, struct progress *progress);

/* The `read` of a struct tar_source; `ctx` is a blob. */
ssize_t blob_read(void *ctx, const void **ret_buf, struct error *err);

/* Read the rest, and compare length and digest of all that was read with the descriptor. */
int blob_verify(struct blob *blob, struct error *err) must_check;

/*
 * A JSON document, parsed from bytes that were verified. `what` names it in errors; the caller owns
 * *ret.
 */
int blob_json(int layout, const struct descriptor *desc, const char *what, struct json_object **ret,
	      struct error *err) must_check;

#endif
