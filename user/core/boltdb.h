/* SPDX-License-Identifier: MIT */
/*
 * Reading a bbolt database (https://github.com/etcd-io/bbolt) that another process may be writing
 * to.
 *
 * bbolt is copy-on-write: a commit writes new pages, then one of two meta pages that points to
 * them. What a meta page leads to stays as it is until the commit after the next one starts, so a
 * walk counts only when the newest transaction is the same before and after; otherwise it is done
 * again. No lock is taken: the writer holds its own for as long as it lives. Nothing in the file is
 * trusted.
 */
#ifndef RECAP_BOLTDB_H
#define RECAP_BOLTDB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"

struct boltdb;

/* One pair of a bucket: both are NUL-terminated copies, with their true lengths beside them. */
struct boltdb_item {
	char *key, *value;
	size_t key_len, value_len;
};

struct boltdb_items {
	size_t n;
	bool more; /* the bucket holds more than what was asked for */
	struct boltdb_item item[];
};

/* Open the database file at `path`. -EBADMSG when it is none. */
int boltdb_open(const char *path, struct boltdb **ret) must_check;
void boltdb_close(struct boltdb *db);

/*
 * The value at `path`: names of nested buckets, then the key, then NULL. *ret is a NUL-terminated
 * copy to free(); *ret_len (may be NULL) its length. -ENOENT: no such bucket or key; -EFBIG: longer
 * than `max`; -EBADMSG: the file is damaged; -EAGAIN: it changed under every attempt.
 */
int boltdb_get(struct boltdb *db, const char *const *path, size_t max, char **ret,
	       size_t *ret_len) must_check;

/*
 * The keys and values of the bucket at `path`, in key order, but for the buckets in it: at most
 * `max_items`, and `max_bytes` of keys and values; a pair that does not fit any more is left out
 * and `more` says so. The caller frees *ret with boltdb_items_free(). Errors as above.
 */
int boltdb_list(struct boltdb *db, const char *const *path, size_t max_items, size_t max_bytes,
		struct boltdb_items **ret) must_check;
void boltdb_items_free(struct boltdb_items *items);

static inline void boltdb_closep(struct boltdb **db)
{
	boltdb_close(*db);
}
static inline void boltdb_items_freep(struct boltdb_items **items)
{
	boltdb_items_free(*items);
}
#define cleanup_boltdb	     cleanup(boltdb_closep)
#define cleanup_boltdb_items cleanup(boltdb_items_freep)

#endif
