/* SPDX-License-Identifier: MIT */
/*
 * The image store: OCI images unpacked into layers that images share.
 *
 * On disk, under the store's folder (mode 0700: layers hold files of any owner and mode):
 *   layers/<16 hex>/         one unpacked layer each, named by the start of its diff ID
 *   layers/<16 hex>.json     its whole diff ID, its size, and what was dropped when it was unpacked;
 *                            a layer without it is unfinished
 *   images/<64 hex>.json     one image each, named by its manifest digest; never changed
 *   verdicts/<64 hex>.json   what the last scan of an image found; signatures/ likewise (core/gate.h)
 *   refs.json                {"refs": {"tcpdump:4.99": digest, ...}, "untagged": [digest, ...]}
 *   tmp/                     work in progress
 *   lock                     flock(2)ed by whoever changes the store
 * An image is in the store when refs.json names it, and that file is replaced at once: it is the
 * one step that commits a load or a removal. Layers and images are on disk before it names them,
 * and are removed after it has ceased to. Whatever it does not lead to is left over from an
 * interrupted change and swept away before the next one, and when the store is opened.
 */
#ifndef RECAP_IMAGE_H
#define RECAP_IMAGE_H

#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

#define IMAGE_LAYERS_MAX     127	   /* as Docker */
#define IMAGE_LAYER_NAME     17		   /* 16 hex digits and NUL */
#define IMAGE_INDEX_MAX	     64		   /* images in one layout, and entries in one index */
#define IMAGE_BYTES_MAX	     (16ull << 30) /* of an archive, and of an image's unpacked layers */
#define IMAGE_STRINGS_MAX    1024	   /* entries of an image's Entrypoint, Cmd or Env */
#define IMAGE_STRING_MAX     32768	   /* bytes in one of them */
#define IMAGE_PREFIX_MIN     12 /* digits that may stand for a digest, as image_list() is shown */
#define IMAGE_USER_MAX	     256
#define IMAGE_LABELS_MAX     256
#define IMAGE_LABEL_NAME_MAX 256	  /* bytes; a value has IMAGE_STRING_MAX */
#define IMAGE_DIGEST_SIZE    (7 + 64 + 1) /* "sha256:", 64 hex digits and NUL */

/* Refuse what an image says or holds: EINVAL with the error name ImageInvalid. */
#define image_invalid(err, ...) error_named(err, EINVAL, "ImageInvalid", __VA_ARGS__)

struct image_store;

/* What attach needs of an image. */
struct image {
	char *ref;    /* normalised: name and tag; "<none>" when no reference points to it */
	char *digest; /* "sha256:" and 64 hex digits: the manifest's */
	size_t n_layers;
	/*
	 * Names under layers/, top-most first, as overlayfs wants them. Of a layer that the
	 * manifest names twice only the upper is here: overlayfs refuses a folder that comes twice,
	 * and the lower one could not be seen.
	 */
	char (*layers)[IMAGE_LAYER_NAME];
	char **entrypoint; /* the three vectors are never NULL */
	char **cmd;
	char **env;    /* KEY=VALUE each */
	char *workdir; /* absolute; "/" when the image names none */
	char *user;    /* "", "uid", "name", "uid:gid" or "name:group" as in the OCI config */
	struct json_object *labels; /* name -> text; never NULL */
};

void image_free(struct image *image);
static inline void image_freep(struct image **image)
{
	image_free(*image);
}
#define cleanup_image cleanup(image_freep)

/*
 * Open the store at `path` (absolute), creating it when absent, and remove what an interrupted
 * load left. When a load is still running, in a worker that outlived its recapd, nothing is
 * removed: the next load does it. Workers may be forked with the store open.
 */
int image_store_open(const char *path, struct image_store **ret, struct error *err) must_check;
void image_store_close(struct image_store *store);

/* The folders with verdicts and signatures, which belong to the store. */
int image_store_verdicts_fd(const struct image_store *store);
int image_store_signatures_fd(const struct image_store *store);

/*
 * Have image_load() tell, a few times a second, how many bytes of a step are done. `step` is
 * "receiving", "reading" or "unpacking"; total is 0 where nobody knows it.
 */
typedef void (*image_progress_fn)(void *arg, const char *step, uint64_t done, uint64_t total);
void image_store_show_progress(struct image_store *store, image_progress_fn tell, void *arg);

/* The folder whose children are the layers, as an O_PATH descriptor that belongs to the store. */
int image_store_layers_fd(const struct image_store *store);

/*
 * Find an image by reference ("tcpdump" means "tcpdump:latest"), by manifest digest
 * ("sha256:…") or by "name[:tag]@sha256:…", which must be that image's name. "tcpdump" finds
 * "localhost/tcpdump" or "docker.io/library/tcpdump" where there is no other, and "a/tcpdump"
 * "docker.io/a/tcpdump". Where there is no such name, IMAGE_PREFIX_MIN or more hex digits are the
 * start of a digest, with or without "sha256:". Fails with the error
 * name ImageNotFound, or InvalidArgument when `ref` is malformed or the start of several digests.
 * The caller owns *ret.
 * On the attach path: one fstatat(2) when no process changed the store since the last call, and one
 * small file more when this image was not asked for before.
 */
int image_find(struct image_store *store, const char *ref, struct image **ret,
	       struct error *err) must_check;

/* All names of the image with this digest, of the store as it was found last: a vector for strv_free(). */
int image_names(struct image_store *store, const char *digest, char ***ret) must_check;

/*
 * Load the OCI layout behind `fd`: a folder, or a file or pipe with a tar archive of one, or of
 * `docker save` (plain, gzip or zstd; see core/docker.h). What comes through a pipe is put on disk
 * first. All images for this machine that its index names are loaded. `ref`, when not NULL, names
 * the single one; else the annotations do: io.containerd.image.name, or
 * org.opencontainers.image.ref.name, where a word that is not a mere tag (such as "latest" or
 * "1.2") is a name. An image that loses its last reference stays, untagged. Everything that is read
 * is hostile: digests, diff IDs and sizes are verified, no path or link leaves the layer's folder,
 * device nodes, FIFOs, set-id bits and all extended attributes but user.* are dropped, sizes and
 * counts have limits. All or nothing; ImageInvalid when the layout is at fault. *ret is a JSON
 * array of {ref, digest, created, layers, bytes, shared_bytes} as from image_list(), with
 * shared_layers: how many of the layers were in the store before. The caller owns it. Blocking,
 * seconds to minutes, and as long as `fd` makes it wait: recapd runs it in a worker process, with a
 * time limit; killing that leaves the store as it was. One load at a time, others wait for it.
 */
int image_load(struct image_store *store, int fd, const char *ref, struct json_object **ret,
	       struct error *err) must_check;

/*
 * A JSON array of {ref, digest, created, layers, bytes, shared_bytes}, sorted by ref, which is
 * "<none>" for an untagged image. shared_bytes: of the layers that other images of the store use,
 * too. created is absent where the image does not tell.
 */
int image_list(struct image_store *store, struct json_object **ret, struct error *err) must_check;

/*
 * An object {ref, refs, digest, created, config: {entrypoint, cmd, env, workdir, user, labels},
 * layers: [{diff_id, bytes, path, images}, lowest first], bytes, shared_bytes}. ref: as image_find()
 * gives it; refs: all that point to the image. images: how many of the store's use the layer.
 */
int image_inspect(struct image_store *store, const char *ref, struct json_object **ret,
		  struct error *err) must_check;

/* What image_prune() is to do. */
struct image_prune {
	bool all;	     /* not only what has no reference */
	bool dry_run;	     /* only say what would go */
	char *const *in_use; /* digests that stay, NULL-terminated */
};

/*
 * Remove all untagged images, or all, but those in use; and whatever nothing leads to. *ret is
 * {images: [as of image_list(), what has gone], freed_layers, freed_bytes}. Fails with -EBUSY while a
 * load is running. As image_remove() otherwise.
 */
int image_prune(struct image_store *store, const struct image_prune *how, struct json_object **ret,
		struct error *err) must_check;

/*
 * Remove a reference, and the image with its layers once nothing else needs them. A digest alone
 * removes the image with all of its references. Refused (error name ImageInUse) when the digest is
 * among `in_use` (NULL-terminated) and this was its last reference; fails with ImageNotFound, and
 * with -EBUSY while a load is running. Blocking: the layers' files are unlinked. No attach of the
 * image may begin between the making of `in_use` and the return.
 */
int image_remove(struct image_store *store, const char *ref, char *const *in_use,
		 struct error *err) must_check;

#endif
