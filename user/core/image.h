/* SPDX-License-Identifier: MIT */
/*
 * The image store: OCI images unpacked into layers that images share.
 *
 * On disk, under the store's folder:
 *   layers/<16 hex>/         one unpacked layer each, named by the start of its diff ID
 *   images/<64 hex>.json     one image each, named by its manifest digest
 *   refs.json                reference ("tcpdump:4.99") -> manifest digest
 *   tmp/                     work in progress; emptied when the store is opened
 *   lock                     flock(2)ed by whoever changes the store
 * A layer enters layers/ by rename(2) once it is complete and on disk, an image enters images/ after
 * all of its layers, and a reference points to an image last: a crash leaves the store as it was.
 */
#ifndef RECAP_IMAGE_H
#define RECAP_IMAGE_H

#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

#define IMAGE_LAYERS_MAX 127 /* as Docker */
#define IMAGE_LAYER_NAME 17  /* 16 hex digits and NUL */

struct image_store;

/* What attach needs of an image. */
struct image {
	char *ref;    /* normalised: name and tag */
	char *digest; /* "sha256:" and 64 hex digits: the manifest's */
	size_t n_layers;
	char (*layers)
		[IMAGE_LAYER_NAME]; /* names under layers/, top-most first, as overlayfs wants them */
	char **entrypoint;	    /* the four vectors are never NULL */
	char **cmd;
	char **env;
	char *workdir; /* absolute; "/" when the image names none */
	char *user;    /* "", "uid", "name", "uid:gid" or "name:group" as in the OCI config */
};

void image_free(struct image *image);
static inline void image_freep(struct image **image)
{
	image_free(*image);
}
#define cleanup_image cleanup(image_freep)

/*
 * Open the store at `path` (absolute), creating it when absent, and remove what an interrupted
 * load left. Only one process may have a store open for that clean-up; workers that it forks share it.
 */
int image_store_open(const char *path, struct image_store **ret, struct error *err) must_check;
void image_store_close(struct image_store *store);

/* The folder whose children are the layers, as an O_PATH descriptor that belongs to the store. */
int image_store_layers_fd(const struct image_store *store);

/*
 * Find an image by reference ("tcpdump" means "tcpdump:latest"), by manifest digest
 * ("sha256:…") or by "name@sha256:…". Fails with the error name ImageNotFound.
 * On the attach path: at most one small file is read when nothing changed since the last call.
 */
int image_find(struct image_store *store, const char *ref, struct image **ret,
	       struct error *err) must_check;

/*
 * Load the OCI layout behind `fd`: a folder, or a tar archive (plain, gzip or zstd). All images that
 * its index names are loaded; `ref`, when not NULL, names the single one instead of its annotation
 * (org.opencontainers.image.ref.name). Everything that is read is hostile: digests and sizes are verified,
 * no path or link leaves the layer's folder, device nodes and set-id bits are dropped, sizes and
 * counts have limits. All or nothing. Returns a JSON array of {ref, digest, layers, bytes, shared_layers}.
 * Blocking, seconds to minutes: recapd runs it in a worker process.
 */
int image_load(struct image_store *store, int fd, const char *ref, struct json_object **ret,
	       struct error *err) must_check;

/* A JSON array of {ref, digest, created, layers, bytes, shared_bytes}, sorted by ref. */
int image_list(struct image_store *store, struct json_object **ret, struct error *err) must_check;

/*
 * Remove a reference, and the image with its layers once nothing else needs them. Refused (error name
 * ImageInUse) when the digest is among `in_use` (NULL-terminated) and this was its last reference.
 */
int image_remove(struct image_store *store, const char *ref, char *const *in_use,
		 struct error *err) must_check;

#endif
