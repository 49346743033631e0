// SPDX-License-Identifier: MIT
/*
 * image_load(): stage everything under tmp/, then publish it in the order that core/image.h
 * promises.
 */
#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/layer.h"
#include "core/layout.h"
#include "core/oci.h"
#include "core/store.h"

/* A layer that this load needs: in the store already, or unpacked under tmp/ by its later name. */
struct staged {
	char diff_id[DIGEST_SIZE];
	char name[IMAGE_LAYER_NAME];
	uint64_t bytes;
	struct json_object *dropped; /* see layer_unpack() */
	bool present;
};

struct load {
	struct image_store *store;
	int layout;
	struct oci_images images;
	char (*refs)[REFERENCE_SIZE]; /* one for each image */
	struct staged *staged;
	size_t n_staged;
	struct layer_budget budget;    /* of all that is unpacked, for whichever image */
	char (*verified)[DIGEST_SIZE]; /* blobs that were read, and were what they should be */
	size_t n_verified;
};

static void load_release(struct load *load)
{
	fd_close(load->layout);
	oci_images_release(&load->images);
	free(load->refs);
	for (size_t i = 0; i < load->n_staged; i++)
		json_object_put(load->staged[i].dropped);
	free(load->staged);
	free(load->verified);
}

/* ---- names ---- */

static int name_single(struct load *load, const char *text, struct error *err)
{
	struct reference ref;
	bool same = true;
	int r = reference_parse(text, &ref, err);

	if (r < 0)
		return r;
	if (ref.digest[0])
		return error_named(err, EINVAL, "InvalidArgument",
				   "\"%.128s\" has a digest: name the image NAME or NAME:TAG",
				   text);
	for (size_t i = 1; i < load->images.n; i++)
		same &= !strcmp(load->images.v[i].digest, load->images.v[0].digest);
	if (!same)
		return error_named(err, EINVAL, "InvalidArgument",
				   "the layout holds %zu images, which cannot all be called "
				   "\"%.128s\": load it without a name",
				   load->images.n, text);
	for (size_t i = 0; i < load->images.n; i++)
		reference_format(&ref, load->refs[i]);
	return 0;
}

static int name_image(struct load *load, size_t i, struct error *err)
{
	const struct oci_image *image = &load->images.v[i];
	int r = oci_image_reference(image, load->refs[i], err);

	if (r < 0)
		return r;
	for (size_t j = 0; j < i; j++)
		if (!strcmp(load->refs[i], load->refs[j]) &&
		    strcmp(image->digest, load->images.v[j].digest))
			return image_invalid(err, "the layout calls two images \"%.128s\"",
					     load->refs[i]);
	return 0;
}

static int name_images(struct load *load, const char *ref, struct error *err)
{
	int r = 0;

	load->refs = calloc(load->images.n, sizeof(*load->refs));
	if (!load->refs)
		return error_set(err, ENOMEM, "cannot load the image: out of memory");
	if (ref)
		return name_single(load, ref, err);
	for (size_t i = 0; r == 0 && i < load->images.n; i++)
		r = name_image(load, i, err);
	return r;
}

/* ---- staging ---- */

static int note_verified(struct load *load, const struct descriptor *desc, struct error *err)
{
	char(*more)[DIGEST_SIZE] =
		reallocarray(load->verified, load->n_verified + 1, sizeof(*more));

	if (!more)
		return error_set(err, ENOMEM, "cannot load the image: out of memory");
	load->verified = more;
	strcpy(more[load->n_verified++], desc->digest);
	return 0;
}

/*
 * Once in a load: many images may name the same layer many times, and an archive that does would
 * keep us hashing for days. Nothing that is verified here is used: what is used is in the store.
 */
static int verify_blob(struct load *load, const struct descriptor *desc, struct error *err)
{
	cleanup_blob struct blob *blob = NULL;
	int r;

	for (size_t i = 0; i < load->n_verified; i++)
		if (!strcmp(load->verified[i], desc->digest))
			return 0;
	r = blob_open(load->layout, desc, &blob, err);
	if (r == 0) {
		blob_show_progress(blob, &load->store->progress);
		r = blob_verify(blob, err);
	}
	return r < 0 ? r : note_verified(load, desc, err);
}

static int unpack(struct load *load, const struct oci_layer *layer, struct staged *s,
		  struct error *err)
{
	int r;
	cleanup_fd int fd = -1;

	if (mkdirat(load->store->tmp, s->name, 0755) < 0)
		return error_sys(err, errno, "cannot create a folder for a layer");
	fd = openat(load->store->tmp, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Whatever the umask, the root of a capsule can be entered by every user. */
	if (fd < 0 || fchmod(fd, 0755) < 0)
		return error_sys(err, errno, "cannot open the folder of a layer");
	r = layer_unpack(load->layout, &layer->blob, s->diff_id, fd, &load->budget, &s->bytes,
			 &s->dropped, err);
	return r < 0 ? r : note_verified(load, &layer->blob, err);
}

/* What layers/NAME.json says, when there is one. */
static int look_up_layer(struct load *load, struct staged *s, struct error *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *text = NULL;
	char name[IMAGE_LAYER_NAME + 5];
	const char *diff_id;
	size_t len;
	int r;

	snprintf(name, sizeof(name), "%s.json", s->name);
	r = fd_read_file(load->store->layers, name, STORE_LAYER_RECORD_MAX, &text, &len);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = json_parse(text, len, name, &doc, NULL);
	diff_id = json_get_str(doc, "diff_id");
	if (r < 0 || !digest_valid(diff_id) || json_get_int(doc, "bytes", -1) < 0)
		return error_set(
			err, EUCLEAN,
			"the store's record of layer %s is damaged: remove the images that "
			"use it, and load them again",
			s->name);
	s->present = true;
	s->bytes = json_get_int(doc, "bytes", 0);
	/* Else the layer of another image would be taken for this one's. */
	if (strcmp(diff_id, s->diff_id))
		return image_invalid(err, "diff ID %s collides with %s in the store", s->diff_id,
				     diff_id);
	return 0;
}

/* An image's layers together; what a load unpacks at all is in its budget. */
static int charge(const struct staged *s, uint64_t *left, struct error *err)
{
	if (s->bytes > *left)
		return image_invalid(err, "its layers unpack to more than %llu GiB",
				     IMAGE_BYTES_MAX >> 30);
	*left -= s->bytes;
	return 0;
}

static struct staged *find_staged(struct load *load, const char *name)
{
	for (size_t i = 0; i < load->n_staged; i++)
		if (!strcmp(load->staged[i].name, name))
			return &load->staged[i];
	return NULL;
}

/*
 * A layer that is there need not be unpacked, but this layout's copy of it must be sound all the
 * same.
 */
static int stage_again(struct load *load, const struct oci_layer *layer, const struct staged *s,
		       uint64_t *left, struct error *err)
{
	int r;

	if (strcmp(s->diff_id, layer->diff_id))
		return image_invalid(err, "diff IDs %s and %s collide", s->diff_id, layer->diff_id);
	r = charge(s, left, err);
	return r < 0 ? r : verify_blob(load, &layer->blob, err);
}

static int stage_layer(struct load *load, const struct oci_layer *layer, uint64_t *left,
		       struct error *err)
{
	struct staged *s, fresh = {};
	int r;

	strcpy(fresh.diff_id, layer->diff_id);
	store_layer_name(layer->diff_id, fresh.name);
	s = find_staged(load, fresh.name);
	if (s)
		return stage_again(load, layer, s, left, err);
	r = look_up_layer(load, &fresh, err);
	if (r == 0)
		r = fresh.present ? stage_again(load, layer, &fresh, left, err)
				  : unpack(load, layer, &fresh, err);
	if (r == 0 && !fresh.present)
		r = charge(&fresh, left, err);
	if (r < 0)
		return r;
	s = reallocarray(load->staged, load->n_staged + 1, sizeof(*s));
	if (!s) {
		json_object_put(fresh.dropped);
		return error_set(err, ENOMEM, "cannot load the image: out of memory");
	}
	load->staged = s;
	s[load->n_staged++] = fresh;
	return 0;
}

static int stage_image(struct load *load, const struct oci_image *image, struct error *err)
{
	uint64_t left = IMAGE_BYTES_MAX;
	int r = 0;

	for (size_t i = 0; r == 0 && i < image->n_layers; i++)
		r = stage_layer(load, &image->layers[i], &left, err);
	return r < 0 ? error_prefix(err, "image %.19s", image->digest) : 0;
}

static int open_layout(struct load *load, int fd, struct error *err)
{
	cleanup_fd int tmp = -1;

	if (mkdirat(load->store->tmp, "layout", 0700) < 0)
		return error_sys(err, errno, "cannot create a folder for the archive");
	tmp = openat(load->store->tmp, "layout", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tmp < 0)
		return error_sys(err, errno, "cannot open the folder for the archive");
	return layout_open(fd, tmp, &load->store->progress, &load->layout, err);
}

/* Of all blobs with layers, as often as they will be read. */
static uint64_t total_bytes(const struct oci_images *images)
{
	uint64_t total = 0;

	for (size_t i = 0; i < images->n; i++)
		for (size_t j = 0; j < images->v[i].n_layers; j++)
			total += images->v[i].layers[j].blob.size;
	return total;
}

static int stage(struct load *load, int fd, const char *ref, struct error *err)
{
	int r = open_layout(load, fd, err);

	if (r == 0)
		r = oci_read(load->layout, &load->images, err);
	if (r == 0)
		r = name_images(load, ref, err);
	progress_begin(&load->store->progress, "unpacking", total_bytes(&load->images));
	for (size_t i = 0; r == 0 && i < load->images.n; i++)
		r = stage_image(load, &load->images.v[i], err);
	return r;
}

/* ---- publishing ---- */

static int publish_layer(struct load *load, struct staged *s)
{
	cleanup_json struct json_object *doc = json_object_new_object();
	char name[IMAGE_LAYER_NAME + 5];
	const char *text;
	int r;

	json_put_str(doc, "diff_id", s->diff_id);
	json_put_int(doc, "bytes", (int64_t)s->bytes);
	json_put_obj(doc, "dropped", json_object_get(s->dropped));
	snprintf(name, sizeof(name), "%s.json", s->name);
	text = json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN);
	if (!text)
		return -ENOMEM;
	/* Without a record it is not a layer, but what remains of one. */
	r = fd_remove_tree(load->store->layers, s->name);
	if (r < 0)
		return r;
	if (renameat(load->store->tmp, s->name, load->store->layers, s->name) < 0)
		return -errno;
	return fd_replace_file(load->store->layers, name, text, strlen(text), 0600);
}

static int publish_layers(struct load *load, struct error *err)
{
	int r = 0;

	/* The layers' data before their names. */
	if (syncfs(load->store->dir) < 0)
		return error_sys(err, errno, "cannot write the image to disk");
	for (size_t i = 0; r == 0 && i < load->n_staged; i++)
		if (!load->staged[i].present)
			r = publish_layer(load, &load->staged[i]);
	return r < 0 ? error_sys(err, -r, "cannot put a layer into the store") : 0;
}

/* Each layer once, where it is seen: where it comes for the last time. */
static struct json_object *record_layers(struct load *load, const struct oci_image *image)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < image->n_layers; i++) {
		const char *id = image->layers[i].diff_id;
		struct json_object *layer;
		char name[IMAGE_LAYER_NAME];
		bool again = false;

		for (size_t j = i + 1; j < image->n_layers; j++)
			again |= !strcmp(id, image->layers[j].diff_id);
		if (again)
			continue;
		store_layer_name(id, name);
		layer = json_object_new_object();
		json_put_str(layer, "diff_id", id);
		json_put_int(layer, "bytes", (int64_t)find_staged(load, name)->bytes);
		json_object_array_add(list, layer);
	}
	return list;
}

static int publish_images(struct load *load, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < load->images.n; i++) {
		const struct oci_image *image = &load->images.v[i];

		json_put_str(image->config, "digest", image->digest);
		json_put_obj(image->config, "layers", record_layers(load, image));
		r = store_write_record(load->store, image->digest, image->config, err);
	}
	return r;
}

/* The one step that makes the images part of the store. */
static int commit(struct load *load, struct error *err)
{
	cleanup_refs struct refs refs = {};
	int r = refs_dup(&load->store->refs, &refs);

	for (size_t i = 0; r == 0 && i < load->images.n; i++)
		r = refs_set(&refs, load->refs[i], load->images.v[i].digest);
	if (r < 0)
		return error_set(err, ENOMEM, "cannot load the image: out of memory");
	r = refs_write(load->store->dir, &refs, err);
	return r < 0 ? r : store_refresh(load->store, err);
}

/* ---- the whole ---- */

static int64_t count_present(struct load *load, struct json_object *record)
{
	struct json_object *layers = json_get(record, "layers", json_type_array);
	int64_t n = 0;

	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		char name[IMAGE_LAYER_NAME];

		store_layer_name(json_get_str(layer, "diff_id"), name);
		n += find_staged(load, name)->present;
	}
	return n;
}

/* Whether an image before has the same name, and so is the same one. */
static bool is_repeated(struct load *load, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (!strcmp(load->refs[i], load->refs[at]))
			return true;
	return false;
}

/* The load is done: that another image's record is damaged must not make it look failed. */
static struct json_object *describe(struct load *load)
{
	struct json_object *list = json_object_new_array();
	cleanup_json struct json_object *uses = NULL;
	struct error why = {};

	if (store_layer_uses(load->store, &load->store->refs, &uses, &why) < 0)
		log_warn("ignoring what images share: %s", why.msg);
	for (size_t i = 0; i < load->images.n; i++) {
		struct json_object *record = load->images.v[i].config, *row;

		if (is_repeated(load, i))
			continue;
		row = store_describe(load->refs[i], record, uses);

		json_put_int(row, "shared_layers", count_present(load, record));
		json_object_array_add(list, row);
	}
	return list;
}

/* A damaged record is no reason not to load: that is how it is mended. */
static void sweep(struct image_store *store)
{
	struct error why = {};

	if (store_sweep(store, &why) < 0)
		log_warn("ignoring what may be left over in the image store: %s", why.msg);
}

static int load_locked(struct load *load, int fd, const char *ref, struct error *err)
{
	int r = stage(load, fd, ref, err);

	if (r == 0)
		r = publish_layers(load, err);
	if (r == 0)
		r = publish_images(load, err);
	return r < 0 ? r : commit(load, err);
}

int image_load(struct image_store *store, int fd, const char *ref, struct json_object **ret,
	       struct error *err)
{
	struct load load = {
		.store = store,
		.layout = -1,
		.budget = {.stream = IMAGE_BYTES_MAX,
			   .files = IMAGE_BYTES_MAX,
			   .entries = LAYER_ENTRIES_MAX,
			   .progress = &store->progress},
	};
	cleanup_fd int lock = -1, spooled = -1;
	struct error own = {};
	/* Before the lock: a slow sender holds up nobody else. */
	int r = layout_spool(fd, store->tmp, &store->progress, &spooled, &own);

	if (r == 0)
		r = store_lock(store, true, &lock, &own);
	if (r == 0) {
		sweep(store);
		r = load_locked(&load, spooled >= 0 ? spooled : fd, ref, &own);
		if (r == 0)
			*ret = describe(&load);
		load_release(&load);
		sweep(store);
	}
	if (r < 0 && err)
		*err = own;
	return r;
}
