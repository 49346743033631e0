// SPDX-License-Identifier: MIT
#include "core/oci.h"

#include <limits.h>
#include <string.h>

#include "common/fd.h"

#define OCI	    "application/vnd.oci.image."
#define DOCKER	    "application/vnd.docker."
#define NESTING_MAX 3

#define GIVE_NAME "load it with a name, such as NAME:latest"

enum media { MEDIA_UNKNOWN, MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_CONFIG, MEDIA_LAYER };

static const struct {
	const char *type;
	enum media media;
} media_types[] = {
	{OCI "index.v1+json", MEDIA_INDEX},
	{DOCKER "distribution.manifest.list.v2+json", MEDIA_INDEX},
	{OCI "manifest.v1+json", MEDIA_MANIFEST},
	{DOCKER "distribution.manifest.v2+json", MEDIA_MANIFEST},
	{OCI "config.v1+json", MEDIA_CONFIG},
	{DOCKER "container.image.v1+json", MEDIA_CONFIG},
	{OCI "layer.v1.tar", MEDIA_LAYER},
	{OCI "layer.v1.tar+gzip", MEDIA_LAYER},
	{OCI "layer.v1.tar+zstd", MEDIA_LAYER},
	{DOCKER "image.rootfs.diff.tar", MEDIA_LAYER},
	{DOCKER "image.rootfs.diff.tar.gzip", MEDIA_LAYER},
	{DOCKER "image.rootfs.diff.tar.zstd", MEDIA_LAYER},
};

static const char *machine_arch(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#elif defined(__riscv) && __riscv_xlen == 64
	return "riscv64";
#elif defined(__s390x__)
	return "s390x";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
	return "ppc64le";
#else
#error "which GOARCH is this machine?"
#endif
}

static void image_release(struct oci_image *image)
{
	free(image->name);
	free(image->layers);
	json_object_put(image->config);
}

void oci_images_release(struct oci_images *images)
{
	for (size_t i = 0; i < images->n; i++)
		image_release(&images->v[i]);
	free(images->v);
}

/* ---- documents ---- */

static enum media media_of(const char *type)
{
	for (size_t i = 0; type && i < ARRAY_SIZE(media_types); i++)
		if (!strcmp(type, media_types[i].type))
			return media_types[i].media;
	return MEDIA_UNKNOWN;
}

static int parse_descriptor(struct json_object *obj, const char *what, struct descriptor *ret,
			    struct error *err)
{
	const char *digest = json_get_str(obj, "digest");
	int64_t size = json_get_int(obj, "size", -1);

	if (!digest_valid(digest))
		return image_invalid(err, "the digest of a %s is missing, malformed or not SHA-256",
				     what);
	if (size <= 0)
		return image_invalid(err, "the size of %s %s is missing or not positive", what,
				     digest);
	strcpy(ret->digest, digest);
	ret->size = size;
	return 0;
}

static int expect_media(struct json_object *obj, enum media media, const char *what,
			struct error *err)
{
	const char *type = json_get_str(obj, "mediaType");

	if (media_of(type) == media)
		return 0;
	return image_invalid(err, "the media type of a %s is \"%.100s\", which is unknown", what,
			     type ? type : "");
}

/*
 * The document that a descriptor of the given media type leads to. A document that could be taken
 * for an index as well as for a manifest means different things to different readers
 * (CVE-2021-41190).
 */
static int read_document(int layout, struct json_object *descriptor, const char *what,
			 struct json_object **ret, struct error *err)
{
	const char *claimed = json_get_str(descriptor, "mediaType"), *own;
	cleanup_json struct json_object *doc = NULL;
	struct descriptor desc;
	int r = parse_descriptor(descriptor, what, &desc, err);

	if (r == 0)
		r = blob_json(layout, &desc, what, &doc, err);
	if (r < 0)
		return r;
	if (json_get_int(doc, "schemaVersion", 0) != 2)
		return image_invalid(err, "the schemaVersion of the %s is not 2", what);
	own = json_get_str(doc, "mediaType");
	if (own && strcmp(own, claimed))
		return image_invalid(err, "the %s says that it is something else: \"%.100s\"", what,
				     own);
	if (json_object_object_get_ex(doc, "manifests", NULL) &&
	    json_object_object_get_ex(doc, "layers", NULL))
		return image_invalid(err, "the %s is both an index and a manifest", what);
	*ret = TAKE_PTR(doc);
	return 0;
}

/* A file at the top of the layout, which no digest vouches for. */
static int read_file(int layout, const char *name, struct json_object **ret, struct error *err)
{
	cleanup_free char *text = NULL;
	struct error why = {};
	size_t len;
	int r = fd_read_file(layout, name, BLOB_JSON_MAX, &text, &len);

	if (r == -ENOENT)
		return image_invalid(
			err,
			"this is no OCI layout, and no archive of `docker save`: it has neither "
			"\"%s\" nor \"manifest.json\"",
			name);
	if (r == -EFBIG)
		return image_invalid(err, "\"%s\" is longer than %d MiB", name,
				     BLOB_JSON_MAX >> 20);
	if (r == -EINVAL || r == -ELOOP || r == -ENXIO)
		return image_invalid(err, "\"%s\" is not a regular file of the layout", name);
	if (r < 0)
		return error_sys(err, -r, "cannot read \"%s\"", name);
	if (json_parse_hostile(text, len, name, ret, &why) < 0)
		return image_invalid(err, "%s", why.msg);
	return 0;
}

/* ---- configuration ---- */

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/*
 * Copy a string of at most `max` bytes, or `otherwise` (which may be NULL) when it is absent or
 * null.
 */
static int copy_text(struct json_object *from, const char *key, size_t max, const char *otherwise,
		     struct json_object *to, const char *as, struct error *err)
{
	const char *s = json_get_str(from, key);
	struct json_object *v = NULL;

	if (!s && json_object_is_type(from, json_type_object))
		json_object_object_get_ex(from, key, &v);
	if (v)
		return image_invalid(err, "%s in the config is not a string", key);
	if (s && (strlen(s) > max || has_control(s)))
		return image_invalid(err, "%s in the config is too long or not printable", key);
	json_put_str(to, as, s ? s : otherwise);
	return 0;
}

static int copy_strings(struct json_object *from, const char *key, struct json_object *to,
			const char *as, struct error *err)
{
	cleanup_strv char **v = NULL;
	int r = json_get_strv(from, key, IMAGE_STRINGS_MAX, &v);

	if (r == -ENOMEM)
		return error_set(err, ENOMEM, "cannot read the config: out of memory");
	if (r < 0)
		return image_invalid(err, "%s in the config is not a list of up to %d strings", key,
				     IMAGE_STRINGS_MAX);
	for (char **s = v; *s; s++)
		if (strlen(*s) > IMAGE_STRING_MAX)
			return image_invalid(err,
					     "%s in the config has more than %d bytes in one "
					     "string",
					     key, IMAGE_STRING_MAX);
	json_put_strv(to, as, v);
	return 0;
}

static int check_env(struct json_object *config, struct error *err)
{
	struct json_object *env = json_get(config, "env", json_type_array);

	for (size_t i = 0; i < json_object_array_length(env); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(env, i));
		const char *eq = strchr(s, '=');

		if (!eq || eq == s)
			return image_invalid(err,
					     "Env in the config has \"%.64s\", which is not "
					     "KEY=VALUE",
					     s);
	}
	return 0;
}

static int check_workdir(struct json_object *config, struct error *err)
{
	const char *dir = json_get_str(config, "workdir");

	if (!*dir)
		json_put_str(config, "workdir", "/");
	else if (*dir != '/')
		return image_invalid(err, "WorkingDir in the config is not absolute: \"%.64s\"",
				     dir);
	return 0;
}

/* Names and values may be any text: what an image says of itself, read by whoever knows the names. */
static int copy_labels(struct json_object *from, struct json_object *to, struct error *err)
{
	struct json_object *given = NULL, *labels = json_object_new_object();

	json_put_obj(to, "labels", labels);
	if (from)
		json_object_object_get_ex(from, "Labels", &given);
	if (!given)
		return 0;
	if (!json_object_is_type(given, json_type_object) ||
	    json_object_object_length(given) > IMAGE_LABELS_MAX)
		return image_invalid(err,
				     "Labels in the config is not an object of up to %d members",
				     IMAGE_LABELS_MAX);
	json_object_object_foreach (given, key, value) {
		const char *text = json_get_str(given, key);

		if (!text)
			return image_invalid(err, "label \"%.64s\" in the config is not a string",
					     key);
		if (strlen(key) > IMAGE_LABEL_NAME_MAX ||
		    json_object_get_string_len(value) > IMAGE_STRING_MAX)
			return image_invalid(
				err,
				"label \"%.64s\" in the config is longer than %d (name) "
				"or %d bytes (value)",
				key, IMAGE_LABEL_NAME_MAX, IMAGE_STRING_MAX);
		json_put_str(labels, key, text);
	}
	return 0;
}

static int copy_config(struct json_object *doc, struct json_object *to, struct error *err)
{
	struct json_object *from = NULL;
	int r = copy_text(doc, "created", 64, NULL, to, "created", err);

	json_object_object_get_ex(doc, "config", &from);
	if (from && !json_object_is_type(from, json_type_object))
		return image_invalid(err, "config in the config is not an object");
	if (r == 0)
		r = copy_strings(from, "Entrypoint", to, "entrypoint", err);
	if (r == 0)
		r = copy_strings(from, "Cmd", to, "cmd", err);
	if (r == 0)
		r = copy_strings(from, "Env", to, "env", err);
	if (r == 0)
		r = copy_text(from, "WorkingDir", PATH_MAX - 1, "", to, "workdir", err);
	if (r == 0)
		r = copy_text(from, "User", IMAGE_USER_MAX, "", to, "user", err);
	if (r == 0)
		r = copy_labels(from, to, err);
	if (r == 0)
		r = check_env(to, err);
	return r < 0 ? r : check_workdir(to, err);
}

/* The variant that every machine of the architecture can run; others may want what this CPU has not. */
static const char *machine_variant(void)
{
	return !strcmp(machine_arch(), "arm64") ? "v8" : "v1";
}

/* Absent parts are taken for ours. */
static bool is_our_platform(struct json_object *platform)
{
	const char *os = json_get_str(platform, "os");
	const char *arch = json_get_str(platform, "architecture");
	const char *variant = json_get_str(platform, "variant");

	return (!os || !strcmp(os, "linux")) && (!arch || !strcmp(arch, machine_arch())) &&
	       (!variant || !*variant || !strcmp(variant, machine_variant()));
}

static int read_diff_ids(struct oci_image *image, struct json_object *doc, struct error *err)
{
	struct json_object *rootfs = json_get(doc, "rootfs", json_type_object);
	cleanup_strv char **ids = NULL;
	const char *type = json_get_str(rootfs, "type");

	if (!type || strcmp(type, "layers"))
		return image_invalid(err, "the config's rootfs is missing or not made of layers");
	if (json_get_strv(rootfs, "diff_ids", IMAGE_LAYERS_MAX, &ids) < 0 ||
	    strv_len(ids) != image->n_layers)
		return image_invalid(err,
				     "the config's diff_ids do not match the manifest's %zu layers",
				     image->n_layers);
	for (size_t i = 0; i < image->n_layers; i++) {
		if (!digest_valid(ids[i]))
			return image_invalid(err, "diff ID \"%.80s\" in the config is malformed",
					     ids[i]);
		strcpy(image->layers[i].diff_id, ids[i]);
	}
	return 0;
}

static int read_config(int layout, struct oci_image *image, struct json_object *manifest,
		       struct error *err)
{
	struct json_object *obj = json_get(manifest, "config", json_type_object);
	cleanup_json struct json_object *doc = NULL;
	struct descriptor desc;
	int r = expect_media(obj, MEDIA_CONFIG, "config", err);

	if (r == 0)
		r = parse_descriptor(obj, "config", &desc, err);
	if (r == 0)
		r = blob_json(layout, &desc, "config", &doc, err);
	if (r < 0)
		return r;
	if (!is_our_platform(doc))
		return image_invalid(
			err, "it is for %.32s/%.32s%s%.32s, and this machine is linux/%s",
			json_get_str(doc, "os") ?: "?", json_get_str(doc, "architecture") ?: "?",
			json_get_str(doc, "variant") ? "/" : "", json_get_str(doc, "variant") ?: "",
			machine_arch());
	r = read_diff_ids(image, doc, err);
	return r < 0 ? r : copy_config(doc, image->config, err);
}

/* ---- manifests and indexes ---- */

static int read_layers(struct oci_image *image, struct json_object *manifest, struct error *err)
{
	struct json_object *layers = json_get(manifest, "layers", json_type_array);
	size_t n = layers ? json_object_array_length(layers) : 0;

	if (n == 0 || n > IMAGE_LAYERS_MAX)
		return image_invalid(err, "the manifest has %zu layers, where 1 to %d are allowed",
				     n, IMAGE_LAYERS_MAX);
	image->layers = calloc(n, sizeof(*image->layers));
	if (!image->layers)
		return error_set(err, ENOMEM, "cannot read the manifest: out of memory");
	image->n_layers = n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *obj = json_object_array_get_idx(layers, i);
		int r = expect_media(obj, MEDIA_LAYER, "layer", err);

		if (r == 0)
			r = parse_descriptor(obj, "layer", &image->layers[i].blob, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_manifest(int layout, struct json_object *descriptor, struct oci_image *image,
			 struct error *err)
{
	cleanup_json struct json_object *manifest = NULL;
	int r = read_document(layout, descriptor, "manifest", &manifest, err);

	if (r < 0)
		return r;
	strcpy(image->digest, json_get_str(descriptor, "digest"));
	r = read_layers(image, manifest, err);
	if (r == 0)
		r = read_config(layout, image, manifest, err);
	return r < 0 ? error_prefix(err, "image %.19s", image->digest) : 0;
}

/* Add an image to the list first, so that it is released whatever happens. */
static int add_image(int layout, struct json_object *descriptor, const char *name,
		     struct oci_images *images, struct error *err)
{
	struct oci_image *image;

	if (images->n == IMAGE_INDEX_MAX)
		return image_invalid(err, "there are more than %d images in it", IMAGE_INDEX_MAX);
	image = reallocarray(images->v, images->n + 1, sizeof(*image));
	if (!image)
		return error_set(err, ENOMEM, "cannot read the index: out of memory");
	images->v = image;
	image += images->n++;
	*image = (struct oci_image){.config = json_object_new_object()};
	if (name && !(image->name = strdup(name)))
		return error_set(err, ENOMEM, "cannot read the index: out of memory");
	return read_manifest(layout, descriptor, image, err);
}

static const char *annotated_name(struct json_object *descriptor)
{
	struct json_object *notes = json_get(descriptor, "annotations", json_type_object);
	const char *name = json_get_str(notes, "io.containerd.image.name");

	return name ? name : json_get_str(notes, "org.opencontainers.image.ref.name");
}

static int index_entries(struct json_object *index, struct json_object **ret, struct error *err)
{
	struct json_object *entries = json_get(index, "manifests", json_type_array);
	size_t n = entries ? json_object_array_length(entries) : 0;

	if (n == 0 || n > IMAGE_INDEX_MAX)
		return image_invalid(err, "an index has %zu entries, where 1 to %d are allowed", n,
				     IMAGE_INDEX_MAX);
	*ret = entries;
	return 0;
}

/*
 * The first entry of a nested index that is for this machine: they are the same image for many
 * machines.
 */
static int pick_entry(struct json_object *index, struct json_object **ret, struct error *err)
{
	struct json_object *entries;
	int r = index_entries(index, &entries, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_object_array_length(entries); i++) {
		struct json_object *e = json_object_array_get_idx(entries, i);

		if (is_our_platform(json_get(e, "platform", json_type_object))) {
			*ret = e;
			return 0;
		}
	}
	return image_invalid(err, "it has no image for this machine, which is linux/%s",
			     machine_arch());
}

/* Go down nested indexes to the manifest for this machine, and add it. */
static int add_entry(int layout, struct json_object *entry, struct oci_images *images,
		     struct error *err)
{
	cleanup_json struct json_object *at = json_object_get(entry);
	const char *name = annotated_name(entry);

	for (int depth = 0; media_of(json_get_str(at, "mediaType")) == MEDIA_INDEX; depth++) {
		cleanup_json struct json_object *index = NULL;
		struct json_object *next = NULL;
		int r;

		if (depth == NESTING_MAX)
			return image_invalid(err, "its indexes are nested more than %d deep",
					     NESTING_MAX);
		r = read_document(layout, at, "index", &index, err);
		if (r == 0)
			r = pick_entry(index, &next, err);
		if (r < 0)
			return r;
		json_object_put(at);
		at = json_object_get(next);
		name = name ? name : annotated_name(at);
	}
	if (media_of(json_get_str(at, "mediaType")) != MEDIA_MANIFEST)
		return expect_media(at, MEDIA_MANIFEST, "manifest", err);
	return add_image(layout, at, name, images, err);
}

static int check_version(int layout, struct error *err)
{
	cleanup_json struct json_object *version = NULL;
	const char *text;
	int r = read_file(layout, "oci-layout", &version, err);

	if (r < 0)
		return r;
	text = json_get_str(version, "imageLayoutVersion");
	if (!text || strcmp(text, "1.0.0"))
		return image_invalid(err, "the layout's version is \"%.32s\", and 1.0.0 is known",
				     text ? text : "");
	return 0;
}

int oci_read(int layout, struct oci_images *images, struct error *err)
{
	cleanup_json struct json_object *index = NULL;
	struct json_object *entries;
	int r = check_version(layout, err);

	if (r == 0)
		r = read_file(layout, "index.json", &index, err);
	if (r == 0)
		r = index_entries(index, &entries, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_object_array_length(entries); i++) {
		struct json_object *e = json_object_array_get_idx(entries, i);

		if (!is_our_platform(json_get(e, "platform", json_type_object)))
			continue;
		r = add_entry(layout, e, images, err);
		if (r < 0)
			return r;
	}
	if (images->n == 0)
		return image_invalid(err, "it has no image for this machine, which is linux/%s",
				     machine_arch());
	return 0;
}

/* ---- names ---- */

/*
 * "latest", or an optional "v", digits, and then nothing or a separator: what skopeo puts for
 * oci:FOLDER:TAG.
 */
static bool is_mere_tag(const char *word)
{
	const char *p = word + (*word == 'v');
	size_t digits = strspn(p, "0123456789");

	return !strcmp(word, "latest") || (digits && (!p[digits] || strchr("._-", p[digits])));
}

int oci_image_reference(const struct oci_image *image, char ret[REFERENCE_SIZE], struct error *err)
{
	struct reference ref;
	int r;

	if (!image->name)
		return image_invalid(err, "the layout gives image %.19s no name: " GIVE_NAME,
				     image->digest);
	if (is_mere_tag(image->name))
		return image_invalid(err,
				     "the layout calls image %.19s \"%.32s\", which is a tag and "
				     "no name: " GIVE_NAME,
				     image->digest, image->name);
	r = reference_parse(image->name, &ref, NULL);
	if (r < 0 || !ref.name[0])
		return image_invalid(err,
				     "the layout calls image %.19s \"%.128s\", which is no "
				     "image reference: " GIVE_NAME,
				     image->digest, image->name);
	reference_format(&ref, ret);
	return 0;
}
