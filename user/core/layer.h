/* SPDX-License-Identifier: MIT */
/*
 * Unpacking one layer of an image, which is hostile, into a folder that overlayfs can use as it is.
 */
#ifndef RECAP_LAYER_H
#define RECAP_LAYER_H

#include <stdint.h>

#include "core/blob.h"

#define LAYER_ENTRIES_MAX 250000 /* of all layers that a load unpacks */
#define LAYER_COUNT_FROM  10000	 /* entries of one layer, from which on the rest is counted first */
#define LAYER_NAMES_MAX	  (64 << 20) /* bytes of folder names, kept until the end for their times */
#define LAYER_XATTRS_MAX \
	(64              \
	 << 10) /* bytes of an entry's extended attributes, some file systems having no limit of their own */
#define LAYER_DROPPED_MAX 100 /* dropped rights and devices that are listed; all are counted */

/* What may still be unpacked; layer_unpack() takes off what it used. */
struct layer_budget {
	uint64_t stream;	   /* bytes of the uncompressed archives */
	uint64_t files;		   /* bytes of the files' lengths, holes included */
	unsigned int entries;	   /* each may cost an inode, and time to make and to remove it */
	struct progress *progress; /* told of the blob's bytes; may be NULL */
};

/*
 * Unpack the layer `desc` of the layout into the empty folder `dirfd`, and verify the blob's digest
 * and size and the layer's diff ID. On failure the folder holds rubbish, and nothing outside was
 * touched.
 *
 * A folder that only shows in the paths of others gets mode 0755 and root as its owner, and overlayfs
 * shows that rather than what a lower layer has: layers are shared, so none can look at those below.
 * Whiteouts become those of overlayfs. Dropped: device nodes, FIFOs, sockets, set-id bits and all
 * extended attributes but user.*. Refused: "..", a path through something that is no folder, a hard
 * link to what is not a regular file of this layer, and the extended attributes that overlayfs
 * gives a meaning to.
 *
 * *ret_dropped, which the caller owns, is {total, list: [{path, what}]}: what the image declared and
 * does not get, for whoever judges it. `what` is setuid, setgid, capability or device.
 */
int layer_unpack(int layout, const struct descriptor *desc, const char *diff_id, int dirfd,
		 struct layer_budget *budget, uint64_t *ret_bytes, struct json_object **ret_dropped,
		 struct error *err) must_check;

#endif
