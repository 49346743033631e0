/* SPDX-License-Identifier: MIT */
/*
 * What the image store is on disk, for those who implement core/image.h. See there for its layout.
 */
#ifndef RECAP_STORE_H
#define RECAP_STORE_H

#include <sys/stat.h>

#include "core/image.h"
#include "core/progress.h"
#include "core/refs.h"

/* layers/NAME.json: at most LAYER_DROPPED_MAX paths, each with every byte escaped. */
#define STORE_LAYER_RECORD_MAX (4 << 20)

/*
 * Folders in tmp/ of this prefix belong to whoever has them locked, with flock(2): a sweep leaves
 * those alone, since they need no lock of the store's.
 */
#define STORE_FETCH_PREFIX "fetch-"

struct image_store {
	int dir, layers, images, tmp, verdicts, signatures;
	int layers_path; /* layers/ again, O_PATH: for others */
	struct refs refs;
	/*
	 * refs.json as it was when `refs` was read. It is kept open, so that its inode number
	 * cannot go to a later one: when the name leads to another inode, the file was replaced.
	 */
	int refs_fd;
	struct stat refs_stat;
	struct json_object *records; /* digest -> record, as far as they were asked for */
	struct progress progress;
};

/*
 * Bring `store->refs` up to date with what other processes did. One fstatat(2) when nothing
 * changed.
 */
int store_refresh(struct image_store *store, struct error *err) must_check;

/*
 * Lock the store for changes, waiting for others or (-EBUSY) not. Closing *ret_fd ends the lock,
 * and so does the process's death. `store->refs` is up to date on return.
 */
int store_lock(struct image_store *store, bool wait, int *ret_fd, struct error *err) must_check;

/* Remove all that refs.json, read anew, does not lead to. With the lock. */
int store_sweep(struct image_store *store, struct error *err) must_check;

/*
 * The record of an image, images/<hex>.json: {digest, created?, entrypoint, cmd, env, workdir,
 * user, labels?, layers: [{diff_id, bytes}, lowest first, each once]}; labels is absent in records
 * of earlier versions. Borrowed: until the next store_refresh().
 */
int store_record(struct image_store *store, const char *digest, struct json_object **ret,
		 struct error *err) must_check;
int store_write_record(struct image_store *store, const char *digest, struct json_object *record,
		       struct error *err) must_check;

/* How many images of a table use each layer: an object of layer name -> count that the caller owns. */
int store_layer_uses(struct image_store *store, const struct refs *refs, struct json_object **ret,
		     struct error *err) must_check;

/* The name of a layer under layers/. */
void store_layer_name(const char *diff_id, char ret[IMAGE_LAYER_NAME]);

/*
 * A row of image_list(): {ref, digest, created?, layers, bytes, shared_bytes}. The caller owns it.
 */
struct json_object *store_describe(const char *ref, struct json_object *record,
				   struct json_object *uses);

#endif
