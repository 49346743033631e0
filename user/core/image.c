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
	json_object_put(image->labels);
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

/* The record's own object: it outlives the record, and nobody changes either. */
static struct json_object *share_labels(struct json_object *record)
{
	struct json_object *labels = json_get(record, "labels", json_type_object);

	return labels ? json_object_get(labels) : json_object_new_object();
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
	image->labels = share_labels(record);
	return image->ref && image->digest && image->workdir && image->user && image->labels
		       ? 0
		       : -ENOMEM;
}

static int not_found(const char *ref, struct error *err)
{
	return error_named(
		err, ENOENT, "ImageNotFound",
		"no image \"%.128s\" in the store: bring it with `recapctl image load` or `pull`, or "
		"pick one of `recapctl image list`",
		ref);
}

/*
 * The row that `text` names. A name may be short for one under localhost/, where podman and buildah put what was built on this
 * machine, or for one of Docker's registry, as in docker's own commands.
 */
static const struct refs_row *find_name(const struct refs *refs, const char *text,
					const struct reference *wanted)
{
	static const char *const homes[] = {"localhost/", "docker.io/library/", "docker.io/"};
	const struct refs_row *row = refs_find(refs, wanted);

	for (size_t i = 0; !row && wanted->name[0] && i < ARRAY_SIZE(homes); i++) {
		struct reference full;
		char name[512];

		if (!strchr(wanted->name, '/') != (i < 2) ||
		    snprintf(name, sizeof(name), "%s%s", homes[i], text) >= (int)sizeof(name) ||
		    reference_parse(name, &full, NULL) < 0)
			continue;
		row = refs_find(refs, &full);
	}
	return row;
}

/* The hex digits, when `text` may be the start of a digest. */
static const char *as_prefix(const char *text)
{
	const char *hex = strncmp(text, "sha256:", 7) ? text : text + 7;
	size_t len = strlen(hex);

	return len >= IMAGE_PREFIX_MIN && len <= 64 && strspn(hex, "0123456789abcdef") == len
		       ? hex
		       : NULL;
}

static int find_prefix(const struct refs *refs, const char *text, const char *hex,
		       const struct refs_row **ret, struct error *err)
{
	*ret = NULL;
	for (size_t i = 0; i < refs->n; i++) {
		const struct refs_row *row = &refs->v[i];

		if (strncmp(digest_hex(row->digest), hex, strlen(hex)))
			continue;
		if (*ret && strcmp((*ret)->digest, row->digest))
			return error_named(err, EINVAL, "InvalidArgument",
					   "several images have digests that start with \"%s\": "
					   "write more of it",
					   text);
		if (!*ret)
			*ret = row;
	}
	return 0;
}

/*
 * The row that `text` means, and the reference that means the same without being short for it. *ret_row is valid until the
 * table changes.
 */
static int resolve(struct image_store *store, const char *text, const struct refs_row **ret_row,
		   struct reference *ret, struct error *err)
{
	const char *hex = as_prefix(text);
	const struct refs_row *row;
	struct reference wanted;
	int r = reference_parse(text, &wanted, hex ? NULL : err);

	if (r < 0 && !hex)
		return r;
	row = r == 0 ? find_name(&store->refs, text, &wanted) : NULL;
	/* What is a name and the start of another image's digest means neither: an archive chooses its own name. */
	if (row && hex) {
		const struct refs_row *other = NULL;

		r = find_prefix(&store->refs, text, hex, &other, err);
		if (r < 0)
			return r;
		if (other && strcmp(other->digest, row->digest))
			return error_named(
				err, ENOTUNIQ, "InvalidArgument",
				"\"%.128s\" is an image's name, and the start of another's digest: give more of it",
				text);
	}
	if (row && wanted.name[0] && reference_parse(row->ref, ret, err) < 0)
		return -EINVAL;
	if (row && !wanted.name[0])
		*ret = wanted;
	if (!row && hex) {
		r = find_prefix(&store->refs, text, hex, &row, err);
		if (r < 0)
			return r;
		*ret = (struct reference){};
		if (row)
			strcpy(ret->digest, row->digest);
	}
	if (!row)
		return not_found(text, err);
	*ret_row = row;
	return 0;
}

int image_find(struct image_store *store, const char *ref, struct image **ret, struct error *err)
{
	cleanup_image struct image *image = NULL;
	const struct refs_row *row;
	struct reference wanted;
	struct json_object *record;
	int r = store_refresh(store, err);

	if (r == 0)
		r = resolve(store, ref, &row, &wanted, err);
	if (r == 0)
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

int image_names(struct image_store *store, const char *digest, char ***ret)
{
	cleanup_strv char **v = calloc(store->refs.n + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < store->refs.n; i++) {
		const struct refs_row *row = &store->refs.v[i];

		if (!row->ref || strcmp(row->digest, digest))
			continue;
		v[n] = strdup(row->ref);
		if (!v[n++])
			return -ENOMEM;
	}
	*ret = TAKE_PTR(v);
	return 0;
}

int image_list(struct image_store *store, struct json_object **ret, struct error *err)
{
	cleanup_json struct json_object *list = json_object_new_array();
	cleanup_json struct json_object *uses = NULL;
	int r = store_refresh(store, err);

	if (r == 0)
		r = store_layer_uses(store, &store->refs, &uses, err);
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

/* Make `refs` the store's table. What has lost its place in it is gone; its files take room until the next change, no more. */
static int commit(struct image_store *store, const struct refs *refs, struct error *err)
{
	struct error why = {};
	int r = refs_write(store->dir, refs, err);

	if (r == 0)
		r = store_refresh(store, err);
	if (r < 0)
		return r;
	if (store_sweep(store, &why) < 0)
		log_warn("ignoring what may be left over of removed images: %s", why.msg);
	return 0;
}

static int remove_locked(struct image_store *store, const char *text, char *const *in_use,
			 struct error *err)
{
	cleanup_refs struct refs refs = {};
	const struct refs_row *row;
	struct reference ref;
	int r = resolve(store, text, &row, &ref, err);

	if (r < 0)
		return r;
	if (refs_dup(&store->refs, &refs) < 0)
		return error_set(err, ENOMEM, "cannot remove the image: out of memory");
	r = drop_ref(&refs, &ref, in_use, err);
	return r < 0 ? r : commit(store, &refs, err);
}

int image_remove(struct image_store *store, const char *ref, char *const *in_use, struct error *err)
{
	cleanup_fd int lock = -1;
	int r = store_lock(store, false, &lock, err);

	return r < 0 ? r : remove_locked(store, ref, in_use, err);
}

/* ---- prune ---- */

/* All rows that stay. */
static int keep_rows(struct image_store *store, const struct image_prune *how, struct refs *refs)
{
	int r = refs_dup(&store->refs, refs);

	for (size_t i = refs->n; r == 0 && i-- > 0;) {
		const struct refs_row *row = &refs->v[i];

		if ((!row->ref || how->all) && !contains(how->in_use, row->digest))
			refs_drop(refs, i);
	}
	return r;
}

static int list_gone(struct image_store *store, const struct refs *kept, struct json_object *list,
		     struct error *err)
{
	cleanup_json struct json_object *uses = NULL;
	int r = store_layer_uses(store, &store->refs, &uses, err);

	for (size_t i = 0; r == 0 && i < store->refs.n; i++) {
		const struct refs_row *row = &store->refs.v[i];
		struct json_object *record;

		if (refs_has(kept, row->digest))
			continue;
		r = store_record(store, row->digest, &record, err);
		if (r == 0)
			json_object_array_add(list, store_describe(row->ref, record, uses));
	}
	return r;
}

/* Layers that only those images use which are not kept. */
static int count_freed(struct image_store *store, const struct refs *kept, struct json_object *ret,
		       struct error *err)
{
	cleanup_json struct json_object *uses = NULL;
	int64_t layers = 0, bytes = 0;
	int r = store_layer_uses(store, kept, &uses, err);

	for (size_t i = 0; r == 0 && i < store->refs.n; i++) {
		struct json_object *record, *list;

		r = store_record(store, store->refs.v[i].digest, &record, err);
		list = r == 0 ? json_get(record, "layers", json_type_array) : NULL;
		for (size_t j = 0; list && j < json_object_array_length(list); j++) {
			struct json_object *layer = json_object_array_get_idx(list, j);
			char name[IMAGE_LAYER_NAME];

			store_layer_name(json_get_str(layer, "diff_id"), name);
			if (json_object_object_get_ex(uses, name, NULL))
				continue;
			json_put_int(uses, name, 0); /* once each */
			layers++;
			bytes += json_get_int(layer, "bytes", 0);
		}
	}
	json_put_int(ret, "freed_layers", layers);
	json_put_int(ret, "freed_bytes", bytes);
	return r;
}

int image_prune(struct image_store *store, const struct image_prune *how, struct json_object **ret,
		struct error *err)
{
	cleanup_json struct json_object *result = json_object_new_object();
	struct json_object *list = json_object_new_array();
	cleanup_refs struct refs kept = {};
	cleanup_fd int lock = -1;
	int r;

	json_put_obj(result, "images", list);
	r = store_lock(store, false, &lock, err);
	if (r < 0)
		return r;
	if (keep_rows(store, how, &kept) < 0)
		return error_set(err, ENOMEM, "cannot prune the images: out of memory");
	r = list_gone(store, &kept, list, err);
	if (r == 0)
		r = count_freed(store, &kept, result, err);
	if (r == 0 && !how->dry_run)
		r = commit(store, &kept, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(result);
	return 0;
}

/* ---- inspect ---- */

static struct json_object *refs_of(const struct refs *refs, const char *digest)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < refs->n; i++)
		if (refs->v[i].ref && !strcmp(refs->v[i].digest, digest))
			json_object_array_add(list, json_object_new_string(refs->v[i].ref));
	return list;
}

static struct json_object *config_of(struct json_object *record)
{
	static const char *const members[] = {"entrypoint", "cmd",  "env",
					      "workdir",    "user", "labels"};
	struct json_object *config = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct json_object *value = NULL;

		if (json_object_object_get_ex(record, members[i], &value))
			json_put_obj(config, members[i], json_object_get(value));
		else
			json_put_obj(config, members[i], json_object_new_object());
	}
	return config;
}

static struct json_object *layers_of(struct json_object *record, struct json_object *uses)
{
	struct json_object *layers = json_get(record, "layers", json_type_array);
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		struct json_object *o = json_object_new_object();
		char name[IMAGE_LAYER_NAME], path[IMAGE_LAYER_NAME + 8];

		store_layer_name(json_get_str(layer, "diff_id"), name);
		snprintf(path, sizeof(path), "layers/%s", name);
		json_put_str(o, "diff_id", json_get_str(layer, "diff_id"));
		json_put_int(o, "bytes", json_get_int(layer, "bytes", 0));
		json_put_str(o, "path", path);
		json_put_int(o, "images", json_get_int(uses, name, 0));
		json_object_array_add(list, o);
	}
	return list;
}

int image_inspect(struct image_store *store, const char *ref, struct json_object **ret,
		  struct error *err)
{
	cleanup_json struct json_object *uses = NULL;
	struct json_object *record, *o;
	const struct refs_row *row;
	struct reference wanted;
	int r = store_refresh(store, err);

	if (r == 0)
		r = resolve(store, ref, &row, &wanted, err);
	if (r == 0)
		r = store_record(store, row->digest, &record, err);
	if (r == 0)
		r = store_layer_uses(store, &store->refs, &uses, err);
	if (r < 0)
		return r;
	o = store_describe(row->ref, record, uses);
	json_put_obj(o, "refs", refs_of(&store->refs, row->digest));
	json_put_obj(o, "config", config_of(record));
	json_put_obj(o, "layers", layers_of(record, uses));
	*ret = o;
	return 0;
}
