// SPDX-License-Identifier: MIT
#include "core/docker.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/blob.h"
#include "core/image.h"
#include "core/layout.h"
#include "core/tar.h"

#define MANIFEST  "manifest.json"
#define OCI	  "application/vnd.oci.image."
#define PATH_SIZE 256 /* of a member that matters, with its NUL */
#define LINKS_MAX 8   /* that lead to a file */
#define BLOBS	  "blobs/sha256/"

void docker_members_release(struct docker_members *members)
{
	json_object_put(members->at);
	*members = (struct docker_members){};
}

/* ---- what the archive holds ---- */

static bool ends_with(const char *path, const char *suffix)
{
	size_t len = strlen(path), n = strlen(suffix);

	return len > n && !strcmp(path + len - n, suffix);
}

bool docker_is_member(const char *path)
{
	return strlen(path) < PATH_SIZE && (ends_with(path, ".json") || ends_with(path, ".tar"));
}

bool docker_is_archive(const struct docker_members *members)
{
	return members->at && json_object_object_get_ex(members->at, MANIFEST, NULL);
}

static int add(struct docker_members *members, const char *path, struct json_object *value,
	       struct error *err)
{
	if (!members->at)
		members->at = json_object_new_object();
	if (json_object_object_get_ex(members->at, path, NULL)) {
		json_object_put(value);
		return image_invalid(err, "the archive holds \"%s\" twice", path);
	}
	json_put_obj(members->at, path, value);
	return 0;
}

static void file_name(int64_t number, char ret[32])
{
	snprintf(ret, 32, "member-%lld", (long long)number);
}

int docker_add_file(struct docker_members *members, const char *path, char ret[32],
		    struct error *err)
{
	file_name(members->n_files, ret);
	return add(members, path, json_object_new_int64(members->n_files++), err);
}

/* Where a symbolic link leads by its text. Refused when that is outside of the archive. */
static int join(const char *link, const char *target, char ret[PATH_MAX], struct error *err)
{
	const char *slash = strrchr(link, '/');
	size_t used = slash ? (size_t)(slash - link) : 0;

	memcpy(ret, link, used);
	for (size_t len; *target; target += len) {
		target += strspn(target, "/");
		len = strcspn(target, "/");
		if (len == 0 || (len == 1 && target[0] == '.'))
			continue;
		if (len == 2 && !strncmp(target, "..", 2)) {
			if (!used)
				return image_invalid(err, "link \"%s\" leads out of the archive",
						     link);
			while (used && ret[--used] != '/')
				;
			continue;
		}
		if (used)
			ret[used++] = '/';
		memcpy(ret + used, target, len);
		used += len;
	}
	ret[used] = '\0';
	return 0;
}

int docker_add_link(struct docker_members *members, const char *path, const char *target, bool hard,
		    struct error *err)
{
	char to[PATH_MAX];
	int r;

	if (!target || !*target || strlen(target) >= PATH_SIZE || (!hard && *target == '/'))
		return image_invalid(err, "link \"%s\" leads out of the archive", path);
	r = hard ? tar_path(target, to, err) : join(path, target, to, err);
	return r < 0 ? r : add(members, path, json_object_new_string(to), err);
}

/* The file of a member, as a name in the layout's folder. */
static int find_file(const struct docker_members *members, int dir, const char *raw, char ret[128],
		     struct error *err)
{
	char path[PATH_MAX];
	int r = tar_path(raw, path, err);

	for (int i = 0; r == 0 && i <= LINKS_MAX; i++) {
		struct json_object *value = NULL;

		if (!strncmp(path, BLOBS, strlen(BLOBS)) && strlen(path) < 128 &&
		    faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			strcpy(ret, path);
			return 0;
		}
		if (!json_object_object_get_ex(members->at, path, &value))
			return image_invalid(err, "\"%.128s\" is missing from the archive", path);
		if (json_object_is_type(value, json_type_int)) {
			file_name(json_object_get_int64(value), ret);
			return 0;
		}
		snprintf(path, sizeof(path), "%s", json_object_get_string(value));
	}
	return r < 0 ? r : image_invalid(err, "the links at \"%.128s\" lead nowhere", raw);
}

/* ---- the layout ---- */

static void text_digest(struct digest *digest, const char *text, size_t len, char ret[DIGEST_SIZE])
{
	digest_update(digest, text, len);
	digest_final(digest, ret);
}

static struct json_object *describe(const char *media, const char *digest, int64_t size)
{
	struct json_object *desc = json_object_new_object();

	json_put_str(desc, "mediaType", media);
	json_put_str(desc, "digest", digest);
	json_put_int(desc, "size", size);
	return desc;
}

/* Make the file a blob. It may be one already, or another image's. */
static int put_blob(int dir, const char *file, const char *digest, struct error *err)
{
	char path[128];

	snprintf(path, sizeof(path), BLOBS "%s", digest_hex(digest));
	if (linkat(dir, file, dir, path, 0) < 0 && errno != EEXIST)
		return error_sys(err, errno, "cannot make a blob of a file of the archive");
	return 0;
}

static int hash_file(int fd, char ret[DIGEST_SIZE], struct error *err)
{
	cleanup_digest struct digest *digest = NULL;
	static char piece[128 << 10];
	ssize_t n;
	int r = digest_new(&digest, err);

	if (r < 0)
		return r;
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		digest_update(digest, piece, n);
	if (n < 0)
		return error_sys(err, errno, "cannot read a file of the archive");
	digest_final(digest, ret);
	return 0;
}

static const char *layer_media(int fd)
{
	unsigned char magic[4] = {};

	if (pread(fd, magic, sizeof(magic), 0) < 0)
		return OCI "layer.v1.tar";
	if (magic[0] == 0x1f && magic[1] == 0x8b)
		return OCI "layer.v1.tar+gzip";
	if (!memcmp(magic, "\x28\xb5\x2f\xfd", 4))
		return OCI "layer.v1.tar+zstd";
	return OCI "layer.v1.tar";
}

/*
 * A plain layer's digest is its diff ID. It is believed here, since whoever reads the layout looks
 * whether it is true.
 */
static int convert_layer(const struct docker_members *members, int dir, const char *path,
			 const char *diff_id, struct json_object *layers, struct error *err)
{
	char file[128], digest[DIGEST_SIZE];
	cleanup_fd int fd = -1;
	const char *media;
	struct stat st;
	int r = find_file(members, dir, path, file, err);

	if (r < 0)
		return r;
	fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read a file of the archive");
	media = layer_media(fd);
	if (!ends_with(media, ".tar"))
		r = hash_file(fd, digest, err);
	else if (digest_valid(diff_id))
		strcpy(digest, diff_id);
	else
		r = image_invalid(err, "diff ID \"%.80s\" in the config is malformed", diff_id);
	if (r == 0)
		r = put_blob(dir, file, digest, err);
	if (r == 0)
		json_object_array_add(layers, describe(media, digest, st.st_size));
	return r;
}

/* A config's file is called by its digest; an archive where that is not so was tampered with. */
static int check_config_name(const char *path, const char *digest, struct error *err)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	if (strspn(base, "0123456789abcdef") == 64 && strncmp(base, digest_hex(digest), 64))
		return image_invalid(err, "config \"%.128s\" is damaged: its digest is %s", path,
				     digest);
	return 0;
}

static int convert_config(const struct docker_members *members, int dir, const char *path,
			  struct json_object *manifest, struct json_object **ret, struct error *err)
{
	cleanup_digest struct digest *hash = NULL;
	char file[128], digest[DIGEST_SIZE];
	cleanup_free char *text = NULL;
	struct error why = {};
	size_t len;
	int r = find_file(members, dir, path, file, err);

	if (r == 0)
		r = digest_new(&hash, err);
	if (r < 0)
		return r;
	r = fd_read_file(dir, file, BLOB_JSON_MAX, &text, &len);
	if (r == -EFBIG)
		return image_invalid(err, "the config is longer than %d MiB", BLOB_JSON_MAX >> 20);
	if (r < 0)
		return error_sys(err, -r, "cannot read a file of the archive");
	text_digest(hash, text, len, digest);
	r = check_config_name(path, digest, err);
	if (r < 0)
		return r;
	if (json_parse_hostile(text, len, "config", ret, &why) < 0)
		return image_invalid(err, "%s", why.msg);
	json_put_obj(manifest, "config", describe(OCI "config.v1+json", digest, (int64_t)len));
	return put_blob(dir, file, digest, err);
}

static int convert_layers(const struct docker_members *members, int dir, struct json_object *image,
			  struct json_object *config, struct json_object *manifest,
			  struct error *err)
{
	struct json_object *rootfs = json_get(config, "rootfs", json_type_object);
	struct json_object *layers = json_object_new_array();
	cleanup_strv char **paths = NULL, **ids = NULL;
	int r = 0;

	json_put_obj(manifest, "layers", layers);
	if (json_get_strv(image, "Layers", IMAGE_LAYERS_MAX, &paths) < 0)
		return image_invalid(err, "Layers is not a list of up to %d strings",
				     IMAGE_LAYERS_MAX);
	if (json_get_strv(rootfs, "diff_ids", IMAGE_LAYERS_MAX, &ids) < 0 ||
	    strv_len(ids) != strv_len(paths))
		return image_invalid(err, "the config's diff_ids do not match the %zu layers",
				     strv_len(paths));
	for (size_t i = 0; r == 0 && paths[i]; i++)
		r = convert_layer(members, dir, paths[i], ids[i], layers, err);
	return r;
}

static int write_manifest(int dir, struct json_object *manifest, struct json_object **ret_desc,
			  struct error *err)
{
	const char *text = json_object_to_json_string_ext(
		manifest, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	cleanup_digest struct digest *hash = NULL;
	char digest[DIGEST_SIZE], path[128];
	int r = digest_new(&hash, err);

	if (r == 0 && !text)
		r = error_set(err, ENOMEM, "cannot write the manifest: out of memory");
	if (r < 0)
		return r;
	text_digest(hash, text, strlen(text), digest);
	snprintf(path, sizeof(path), BLOBS "%s", digest_hex(digest));
	/* Two images may be the same. */
	if (faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		r = layout_write_json(dir, path, manifest, err);
	if (r == 0)
		*ret_desc = describe(OCI "manifest.v1+json", digest, (int64_t)strlen(text));
	return r;
}

/* ---- names ---- */

static int add_entry(struct json_object *entries, const char *digest, int64_t size,
		     const char *name, struct error *err)
{
	struct json_object *entry = describe(OCI "manifest.v1+json", digest, size), *notes;

	if (json_object_array_length(entries) == IMAGE_INDEX_MAX) {
		json_object_put(entry);
		return image_invalid(err, "there are more than %d images or names in it",
				     IMAGE_INDEX_MAX);
	}
	if (name) {
		notes = json_object_new_object();
		json_put_str(notes, "io.containerd.image.name", name);
		json_put_obj(entry, "annotations", notes);
	}
	json_object_array_add(entries, entry);
	return 0;
}

static int add_entries(struct json_object *entries, struct json_object *image,
		       struct json_object *desc, struct error *err)
{
	const char *digest = json_get_str(desc, "digest");
	int64_t size = json_get_int(desc, "size", 0);
	cleanup_strv char **tags = NULL;
	int r = 0;

	if (json_get_strv(image, "RepoTags", IMAGE_INDEX_MAX, &tags) < 0)
		return image_invalid(err, "RepoTags is not a list of up to %d strings",
				     IMAGE_INDEX_MAX);
	if (!tags[0])
		return add_entry(entries, digest, size, NULL, err);
	for (size_t i = 0; r == 0 && tags[i]; i++)
		r = add_entry(entries, digest, size, tags[i], err);
	return r;
}

/* ---- all of it ---- */

static int convert_image(const struct docker_members *members, int dir, struct json_object *image,
			 struct json_object *entries, struct error *err)
{
	cleanup_json struct json_object *manifest = json_object_new_object();
	cleanup_json struct json_object *config = NULL, *desc = NULL;
	const char *path = json_get_str(image, "Config");
	int r;

	if (!path)
		return image_invalid(err, MANIFEST " has an image without a Config");
	json_put_int(manifest, "schemaVersion", 2);
	json_put_str(manifest, "mediaType", OCI "manifest.v1+json");
	r = convert_config(members, dir, path, manifest, &config, err);
	if (r == 0)
		r = convert_layers(members, dir, image, config, manifest, err);
	if (r == 0)
		r = write_manifest(dir, manifest, &desc, err);
	if (r == 0)
		r = add_entries(entries, image, desc, err);
	return r < 0 ? error_prefix(err, "image \"%.64s\"", path) : 0;
}

static int read_manifest(const struct docker_members *members, int dir, struct json_object **ret,
			 struct error *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *text = NULL;
	struct error why = {};
	char file[128];
	size_t len;
	int r = find_file(members, dir, MANIFEST, file, err);

	if (r < 0)
		return r;
	r = fd_read_file(dir, file, BLOB_JSON_MAX, &text, &len);
	if (r == -EFBIG)
		return image_invalid(err, MANIFEST " is longer than %d MiB", BLOB_JSON_MAX >> 20);
	if (r < 0)
		return error_sys(err, -r, "cannot read a file of the archive");
	if (json_parse_hostile(text, len, MANIFEST, &doc, &why) < 0)
		return image_invalid(err, "%s", why.msg);
	if (!json_object_is_type(doc, json_type_array) || !json_object_array_length(doc) ||
	    json_object_array_length(doc) > IMAGE_INDEX_MAX)
		return image_invalid(err, MANIFEST " is not a list of 1 to %d images",
				     IMAGE_INDEX_MAX);
	*ret = TAKE_PTR(doc);
	return 0;
}

int docker_convert(const struct docker_members *members, int dir, struct error *err)
{
	cleanup_json struct json_object *doc = NULL, *index = json_object_new_object();
	struct json_object *entries = json_object_new_array();
	int r = read_manifest(members, dir, &doc, err);

	json_put_int(index, "schemaVersion", 2);
	json_put_obj(index, "manifests", entries);
	for (size_t i = 0; r == 0 && i < json_object_array_length(doc); i++)
		r = convert_image(members, dir, json_object_array_get_idx(doc, i), entries, err);
	return r < 0 ? r : layout_write(dir, index, err);
}
