/* SPDX-License-Identifier: MIT */
/* Building OCI layouts for the tests of the image store, honest ones and others. Asserts that it works. */
#ifndef RECAP_LAYOUT_BUILDER_H
#define RECAP_LAYOUT_BUILDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/json.h"
#include "core/digest.h"

#define GZIP  "application/vnd.oci.image.layer.v1.tar+gzip"
#define ZSTD  "application/vnd.oci.image.layer.v1.tar+zstd"
#define PLAIN "application/vnd.oci.image.layer.v1.tar"

/* A tar archive in memory. */
struct tarball {
	struct archive *a;
	char *buf;
	size_t used, size;
};

static inline void tarball_begin(struct tarball *t, size_t size)
{
	*t = (struct tarball){.a = archive_write_new(), .buf = malloc(size), .size = size};
	assert_non_null(t->buf);
	assert_int_equal(archive_write_set_format_pax_restricted(t->a), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter_none(t->a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(t->a, t->buf, size, &t->used), ARCHIVE_OK);
}

static inline struct archive_entry *tarball_entry(const char *path, mode_t type, mode_t mode)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, mode);
	archive_entry_set_uid(e, 12);
	archive_entry_set_gid(e, 34);
	archive_entry_set_mtime(e, 1000000000, 0);
	return e;
}

/* Write the entry and its text, if any, and free it. */
static inline void tarball_put(struct tarball *t, struct archive_entry *e, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len)
		archive_entry_set_size(e, (la_int64_t)len);
	assert_int_equal(archive_write_header(t->a, e), ARCHIVE_OK);
	if (len)
		assert_int_equal(archive_write_data(t->a, text, len), len);
	archive_entry_free(e);
}

static inline void tarball_file(struct tarball *t, const char *path, const char *text)
{
	struct archive_entry *e = tarball_entry(path, AE_IFREG, 0644);

	archive_entry_set_size(e, 0);
	tarball_put(t, e, text);
}

static inline void tarball_dir(struct tarball *t, const char *path)
{
	tarball_put(t, tarball_entry(path, AE_IFDIR, 0750), NULL);
}

static inline void tarball_symlink(struct tarball *t, const char *path, const char *target)
{
	struct archive_entry *e = tarball_entry(path, AE_IFLNK, 0777);

	archive_entry_set_symlink(e, target);
	tarball_put(t, e, NULL);
}

static inline void tarball_hardlink(struct tarball *t, const char *path, const char *target)
{
	struct archive_entry *e = tarball_entry(path, AE_IFREG, 0644);

	archive_entry_set_hardlink(e, target);
	tarball_put(t, e, NULL);
}

static inline void tarball_device(struct tarball *t, const char *path, mode_t type, int major,
				  int minor)
{
	struct archive_entry *e = tarball_entry(path, type, 0666);

	archive_entry_set_rdevmajor(e, major);
	archive_entry_set_rdevminor(e, minor);
	tarball_put(t, e, NULL);
}

static inline void tarball_xattr(struct tarball *t, const char *path, const char *name)
{
	struct archive_entry *e = tarball_entry(path, AE_IFDIR, 0755);

	archive_entry_xattr_add_entry(e, name, "y", 1);
	tarball_put(t, e, NULL);
}

static inline void tarball_end(struct tarball *t)
{
	assert_int_equal(archive_write_close(t->a), ARCHIVE_OK);
	archive_write_free(t->a);
	t->a = NULL;
}

/* Headers that libarchive would not write. */
static inline void raw_header(struct tarball *t, char type, const char *name, uint64_t size)
{
	char *h = t->buf + t->used;
	unsigned int sum = 0;

	memset(h, 0, 512);
	strcpy(h, name);
	strcpy(h + 100, "0000644");
	strcpy(h + 108, "0000000");
	strcpy(h + 116, "0000000");
	h[124] = (char)0x80; /* base 256: any size */
	for (int i = 0; i < 8; i++)
		h[135 - i] = (char)(size >> (8 * i));
	strcpy(h + 136, "00000000000");
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	t->used += 512;
}

static inline void raw_data(struct tarball *t, const char *data, size_t len)
{
	size_t padded = (len + 511) / 512 * 512;

	assert_true(t->used + padded <= t->size);
	memset(t->buf + t->used, 0, padded);
	memcpy(t->buf + t->used, data, len);
	t->used += padded;
}

static inline struct tarball raw_tarball(size_t size)
{
	struct tarball t = {.buf = calloc(1, size), .size = size};

	assert_non_null(t.buf);
	return t;
}

/* Compress what is in the buffer, once. */
static inline void tarball_compress(struct tarball *t, const char *media)
{
	struct tarball packed = {.buf = malloc(t->used + 65536), .size = t->used + 65536};
	struct archive_entry *e = tarball_entry("data", AE_IFREG, 0644);

	if (!strcmp(media, PLAIN)) {
		free(packed.buf);
		archive_entry_free(e);
		return;
	}
	packed.a = archive_write_new();
	assert_int_equal(archive_write_set_format_raw(packed.a), ARCHIVE_OK);
	if (!strcmp(media, ZSTD))
		assert_int_equal(archive_write_add_filter_zstd(packed.a), ARCHIVE_OK);
	else
		assert_int_equal(archive_write_add_filter_gzip(packed.a), ARCHIVE_OK);
	/* Else the digest would depend on the time of day. */
	if (strcmp(media, ZSTD))
		assert_int_equal(
			archive_write_set_filter_option(packed.a, "gzip", "timestamp", NULL),
			ARCHIVE_OK);
	assert_int_equal(archive_write_set_bytes_in_last_block(packed.a, 1), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(packed.a, packed.buf, packed.size, &packed.used),
			 ARCHIVE_OK);
	assert_int_equal(archive_write_header(packed.a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(packed.a, t->buf, t->used), t->used);
	archive_entry_free(e);
	tarball_end(&packed);
	free(t->buf);
	*t = packed;
}

/*
 * A layout in the making: layers go into the image at hand, which layout_image() ends and
 * layout_index() follows. Tests change the JSON in between.
 */
struct layout {
	int dir;
	struct json_object *manifest, *config, *index; /* the caller may change these */
	struct json_object *layers, *diff_ids;	       /* borrowed from the former two */
	struct json_object *manifests;		       /* borrowed from `index` */
};

static inline void text_digest(const void *buf, size_t len, char ret[DIGEST_SIZE])
{
	cleanup_digest struct digest *digest = NULL;

	assert_int_equal(digest_new(&digest, NULL), 0);
	digest_update(digest, buf, len);
	digest_final(digest, ret);
}

static inline void write_file(int dir, const char *path, const void *buf, size_t len)
{
	cleanup_fd int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, buf, len), 0);
}

static inline void blob_path(const char *digest, char ret[128])
{
	snprintf(ret, 128, "blobs/sha256/%.64s", digest_hex(digest));
}

/* Write a blob and give its descriptor. */
static inline struct json_object *layout_blob(struct layout *l, const char *media, const void *buf,
					      size_t len)
{
	struct json_object *desc = json_object_new_object();
	char digest[DIGEST_SIZE], path[128];

	text_digest(buf, len, digest);
	blob_path(digest, path);
	write_file(l->dir, path, buf, len);
	json_put_str(desc, "mediaType", media);
	json_put_str(desc, "digest", digest);
	json_put_int(desc, "size", (int64_t)len);
	return desc;
}

static inline struct json_object *layout_json(struct layout *l, const char *media,
					      struct json_object *doc)
{
	const char *text = json_object_to_json_string(doc);

	return layout_blob(l, media, text, strlen(text));
}

/* The parts of an image without layers. */
static inline void layout_new_image(struct layout *l)
{
	struct json_object *rootfs = json_object_new_object();

	l->manifest = json_object_new_object();
	l->config = json_object_new_object();
	l->layers = json_object_new_array();
	l->diff_ids = json_object_new_array();
	json_put_int(l->manifest, "schemaVersion", 2);
	json_put_obj(l->manifest, "layers", l->layers);
	json_put_str(rootfs, "type", "layers");
	json_put_obj(rootfs, "diff_ids", l->diff_ids);
	json_put_str(l->config, "os", "linux");
	json_put_str(l->config, "created", "2024-05-06T07:08:09Z");
	json_put_obj(l->config, "rootfs", rootfs);
}

static inline void layout_begin(struct layout *l, int parent, const char *name)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

	assert_int_equal(fd_remove_tree(parent, name), 0);
	assert_int_equal(mkdirat(parent, name, 0755), 0);
	l->dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(l->dir >= 0);
	assert_int_equal(mkdirat(l->dir, "blobs", 0755), 0);
	assert_int_equal(mkdirat(l->dir, "blobs/sha256", 0755), 0);
	write_file(l->dir, "oci-layout", version, strlen(version));
	l->index = json_object_new_object();
	l->manifests = json_object_new_array();
	json_put_int(l->index, "schemaVersion", 2);
	json_put_obj(l->index, "manifests", l->manifests);
	layout_new_image(l);
}

static inline void layout_end(struct layout *l)
{
	json_object_put(l->manifest);
	json_object_put(l->config);
	json_object_put(l->index);
	fd_close(l->dir);
}

/* End the tarball and add it as the next layer. */
static inline void layout_layer(struct layout *l, struct tarball *t, const char *media)
{
	char diff_id[DIGEST_SIZE];

	if (t->a)
		tarball_end(t);
	text_digest(t->buf, t->used, diff_id);
	json_object_array_add(l->diff_ids, json_object_new_string(diff_id));
	tarball_compress(t, media);
	json_object_array_add(l->layers, layout_blob(l, media, t->buf, t->used));
	free(t->buf);
}

/* Write config and manifest, give the manifest's descriptor, and begin the next image. */
static inline struct json_object *layout_manifest(struct layout *l)
{
	struct json_object *desc;

	json_put_obj(l->manifest, "config",
		     layout_json(l, "application/vnd.oci.image.config.v1+json", l->config));
	desc = layout_json(l, "application/vnd.oci.image.manifest.v1+json", l->manifest);
	json_object_put(l->manifest);
	json_object_put(l->config);
	layout_new_image(l);
	return desc;
}

static inline void annotate(struct json_object *desc, const char *key, const char *value)
{
	struct json_object *notes = json_get(desc, "annotations", json_type_object);

	if (!notes) {
		notes = json_object_new_object();
		json_put_obj(desc, "annotations", notes);
	}
	json_put_str(notes, key, value);
}

static inline void layout_write_index(struct layout *l)
{
	const char *text = json_object_to_json_string(l->index);

	write_file(l->dir, "index.json", text, strlen(text));
}

/* End the image, put it into the index under `name` (NULL: none), and write that. */
static inline void layout_image(struct layout *l, const char *name)
{
	struct json_object *desc = layout_manifest(l);

	if (name)
		annotate(desc, "org.opencontainers.image.ref.name", name);
	json_object_array_add(l->manifests, desc);
	layout_write_index(l);
}

#endif
