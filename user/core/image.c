// SPDX-License-Identifier: MIT
#include "core/image.h"

#include <string.h>

#include "common/log.h"
#include "core/store.h"

void image_free(struct image *image)
{
	if (!image)
		return;
	free(image->ref);
	free(image->digest);
	free(image->layers);
	strv_free(image->entrypoint);
	strv_free(image->cmd);
	strv_free(image->env);
	free(image->workdir);
	free(image->user);
	free(image);
}

/* The record has the lowest layer first. */
static int fill_layers(struct image *image, struct json_object *record)
{
	struct json_object *layers = json_get(record, "layers", json_type_array);
	size_t n = json_object_array_length(layers);

	image->layers = calloc(n, sizeof(*image->layers));
	if (!image->layers)
		return -ENOMEM;
	image->n_layers = n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *layer = json_object_array_get_idx(layers, n - 1 - i);

		store_layer_name(json_get_str(layer, "diff_id"), image->layers[i]);
	}
	return 0;
}

static int fill_image(struct image *image, const char *ref, struct json_object *record)
{
	int r = fill_layers(image, record);

	if (r == 0)
		r = json_get_strv(record, "entrypoint", IMAGE_STRINGS_MAX, &image->entrypoint);
	if (r == 0)
		r = json_get_strv(record, "cmd", IMAGE_STRINGS_MAX, &image->cmd);
	if (r == 0)
		r = json_get_strv(record, "env", IMAGE_STRINGS_MAX, &image->env);
	if (r < 0)
		return r;
	image->ref = strdup(ref ? ref : REFS_UNTAGGED);
	image->digest = strdup(json_get_str(record, "digest"));
	image->workdir = strdup(json_get_str(record, "workdir"));
	image->user = strdup(json_get_str(record, "user"));
	return image->ref && image->digest && image->workdir && image->user ? 0 : -ENOMEM;
}

static int not_found(const char *ref, struct error *err)
{
	return error_named(
		err, ENOENT, "ImageNotFound",
		"no image \"%.128s\" in the store: load it with `recapctl image load`, or "
		"pick one of `recapctl image list`",
		ref);
}

/*
 * The row that `text` names. A name without a slash that is not there may be short for one under localhost/, where podman
 * and buildah put what was built on this machine.
 */
static const struct refs_row *find_row(struct image_store *store, const char *text,
				       const struct reference *wanted)
{
	const struct refs_row *row = refs_find(&store->refs, wanted);
	struct reference local;
	char full[512];

	if (row || strchr(text, '/') ||
	    snprintf(full, sizeof(full), "localhost/%s", text) >= (int)sizeof(full) ||
	    reference_parse(full, &local, NULL) < 0)
		return row;
	return refs_find(&store->refs, &local);
}

int image_find(struct image_store *store, const char *ref, struct image **ret, struct error *err)
{
	cleanup_image struct image *image = NULL;
	const struct refs_row *row;
	struct reference wanted;
	struct json_object *record;
	int r = reference_parse(ref, &wanted, err);

	if (r == 0)
		r = store_refresh(store, err);
	if (r < 0)
		return r;
	row = find_row(store, ref, &wanted);
	if (!row)
		return not_found(ref, err);
	r = store_record(store, row->digest, &record, err);
	if (r < 0)
		return r;
	image = calloc(1, sizeof(*image));
	r = image ? fill_image(image, row->ref, record) : -ENOMEM;
	if (r < 0)
		return error_sys(err, -r, "cannot read the record of image %.19s", row->digest);
	*ret = TAKE_PTR(image);
	return 0;
}

int image_list(struct image_store *store, struct json_object **ret, struct error *err)
{
	cleanup_json struct json_object *list = json_object_new_array();
	cleanup_json struct json_object *uses = NULL;
	int r = store_refresh(store, err);

	if (r == 0)
		r = store_layer_uses(store, &uses, err);
	for (size_t i = 0; r == 0 && i < store->refs.n; i++) {
		const struct refs_row *row = &store->refs.v[i];
		struct json_object *record;

		r = store_record(store, row->digest, &record, err);
		if (r == 0)
			json_object_array_add(list, store_describe(row->ref, record, uses));
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(list);
	return 0;
}

static bool contains(char *const *strv, const char *s)
{
	for (; strv && *strv; strv++)
		if (!strcmp(*strv, s))
			return true;
	return false;
}

/* Take `ref` out of the table, unless that would take the last reference from an image in use. */
static int drop_ref(struct refs *refs, const struct reference *ref, char *const *in_use,
		    struct error *err)
{
	char digest[DIGEST_SIZE];

	strcpy(digest, refs_find(refs, ref)->digest);
	refs_remove(refs, ref);
	if (refs_has(refs, digest) || !contains(in_use, digest))
		return 0;
	return error_named(err, EBUSY, "ImageInUse",
			   "image %.19s is in use by a capsule: wait for it, or stop it with "
			   "`recapctl stop`",
			   digest);
}

static int remove_locked(struct image_store *store, const char *text, const struct reference *ref,
			 char *const *in_use, struct error *err)
{
	cleanup_refs struct refs refs = {};
	struct error why = {};
	int r;

	if (!refs_find(&store->refs, ref))
		return not_found(text, err);
	if (refs_dup(&store->refs, &refs) < 0)
		return error_set(err, ENOMEM, "cannot remove the image: out of memory");
	r = drop_ref(&refs, ref, in_use, err);
	if (r == 0)
		r = refs_write(store->dir, &refs, err);
	if (r == 0)
		r = store_refresh(store, err);
	if (r < 0)
		return r;
	/* The image has gone; its files take room until the next change, no more. */
	if (store_sweep(store, &why) < 0)
		log_warn("ignoring what may be left over of image \"%s\": %s", text, why.msg);
	return 0;
}

int image_remove(struct image_store *store, const char *ref, char *const *in_use, struct error *err)
{
	cleanup_fd int lock = -1;
	struct reference parsed;
	int r = reference_parse(ref, &parsed, err);

	if (r == 0)
		r = store_lock(store, false, &lock, err);
	return r < 0 ? r : remove_locked(store, ref, &parsed, in_use, err);
}
