/* SPDX-License-Identifier: MIT */
/*
 * Reading a hostile tar stream: plain, gzip or zstd, told apart by its first bytes. What comes out
 * is counted and hashed before the tar reader sees it, and the memory that metadata can take is
 * bounded. A bomb, a few bytes that become gigabytes of zeros, is refused long before the limit on
 * the length: honest files are rarely packed better than 1:20.
 */
#ifndef RECAP_TAR_H
#define RECAP_TAR_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include <archive_entry.h>

#include "core/digest.h"

#define TAR_HEADER_MAX \
	(4 << 20)	   /* stream bytes before an entry's data: names, xattrs, sparse maps */
#define TAR_DEPTH_MAX  128 /* components of a path */
#define TAR_RATIO_MAX  200 /* uncompressed bytes for each compressed one, ... */
#define TAR_RATIO_FREE (256 << 20) /* ... from this many uncompressed bytes on */

struct tar;

/* Where the bytes come from. */
struct tar_source {
	/*
	 * One more piece: its length, with *ret_buf pointing to it until the next call; 0 at the
	 * end; -errno with `err` filled.
	 */
	ssize_t (*read)(void *ctx, const void **ret_buf, struct error *err);
	void *ctx;
};

/*
 * *left is how many uncompressed bytes may be read, and is counted down. It and `source->ctx` must
 * outlive the reader.
 */
int tar_open(const struct tar_source *source, uint64_t *left, struct tar **ret,
	     struct error *err) must_check;
void tar_close(struct tar *tar);
static inline void tar_closep(struct tar **tar)
{
	tar_close(*tar);
}
#define cleanup_tar cleanup(tar_closep)

/*
 * The next entry, leaving out what was not read of the one before. 1: there is one, *ret is valid
 * until the next call; 0: the archive has ended.
 */
int tar_next(struct tar *tar, struct archive_entry **ret, struct error *err) must_check;

/*
 * Write the current entry's data to `fd`, an empty file, holes left out, and give it the entry's
 * length, which may be at most `max`. *ret_size is that length.
 */
int tar_extract(struct tar *tar, struct archive_entry *entry, int fd, uint64_t max,
		uint64_t *ret_size, struct error *err) must_check;

/* Read to the end of the stream, whatever follows the archive, and give the digest of all of it. */
int tar_finish(struct tar *tar, char ret_digest[DIGEST_SIZE], struct error *err) must_check;

/*
 * A path without leading "/" and without empty or "." components; empty when it means the archive's
 * root. Refused: ".." anywhere, more than TAR_DEPTH_MAX components, and what is too long for the
 * kernel.
 */
int tar_path(const char *raw, char ret[PATH_MAX], struct error *err) must_check;

#endif
