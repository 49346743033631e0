// SPDX-License-Identifier: MIT
#include "core/tar.h"

#include <string.h>

#include <archive.h>

#include "core/image.h"

/*
 * Two archive readers in a row. The outer one only undoes compression (libarchive's "raw" format),
 * the inner one only reads tar; between them all uncompressed bytes pass through inner_read().
 */
struct tar {
	struct tar_source source;
	struct archive *outer, *inner;
	struct digest *digest;
	uint64_t *left;	    /* uncompressed bytes that may still come */
	uint64_t in, out;   /* bytes from the source, and what became of them */
	uint64_t head_left; /* the same before the next entry's data, while in_head */
	bool in_head, in_entry;
	bool ended;	  /* the stream has no more */
	bool over;	  /* it ended right behind the last file, see copy_blocks() */
	struct error err; /* what a callback met: libarchive carries no more than a code */
};

static int tar_failed(struct tar *tar, struct archive *a, struct error *err)
{
	const char *why = archive_error_string(a);

	if (tar->err.code) {
		if (err)
			*err = tar->err;
		return -tar->err.code;
	}
	if (archive_errno(a) == ENOMEM)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	return image_invalid(err, "the archive is damaged or of another kind: %s",
			     why ? why : "unknown error");
}

static la_ssize_t outer_read(struct archive *a, void *ctx, const void **ret_buf)
{
	struct tar *tar = ctx;
	ssize_t n = tar->source.read(tar->source.ctx, ret_buf, &tar->err);

	if (n >= 0) {
		tar->in += n;
		return n;
	}
	archive_set_error(a, (int)-n, "%s", tar->err.msg);
	return ARCHIVE_FATAL;
}

static int charge(struct tar *tar, size_t len)
{
	if (len > *tar->left)
		return image_invalid(&tar->err, "more is in it than the %llu GiB that are allowed",
				     IMAGE_BYTES_MAX >> 30);
	*tar->left -= len;
	tar->out += len;
	if (tar->out > TAR_RATIO_FREE && tar->out / TAR_RATIO_MAX > tar->in)
		return image_invalid(
			&tar->err,
			"it unpacks to more than %d times its own size, as a bomb does: "
			"compress it less, or not at all",
			TAR_RATIO_MAX);
	if (!tar->in_head)
		return 0;
	if (len > tar->head_left)
		return image_invalid(&tar->err, "an entry has more than %d MiB of metadata",
				     TAR_HEADER_MAX >> 20);
	tar->head_left -= len;
	return 0;
}

/* The next piece of the uncompressed stream; 0 at its end. Fills tar->err when it fails. */
static ssize_t next_piece(struct tar *tar, const void **ret_buf)
{
	la_int64_t offset;
	size_t len = 0;
	int r;

	do
		r = archive_read_data_block(tar->outer, ret_buf, &len, &offset);
	while (r == ARCHIVE_OK && len == 0);
	if (r == ARCHIVE_EOF) {
		tar->ended = true;
		return 0;
	}
	if (r != ARCHIVE_OK)
		return tar_failed(tar, tar->outer, &tar->err);
	r = charge(tar, len);
	if (r < 0)
		return r;
	digest_update(tar->digest, *ret_buf, len);
	return (ssize_t)len;
}

static la_ssize_t inner_read(struct archive *a, void *ctx, const void **ret_buf)
{
	struct tar *tar = ctx;
	ssize_t n = next_piece(tar, ret_buf);

	if (n >= 0)
		return n;
	archive_set_error(a, (int)-n, "%s", tar->err.msg);
	return ARCHIVE_FATAL;
}

static int open_outer(struct tar *tar, struct error *err)
{
	struct archive_entry *entry;

	tar->outer = archive_read_new();
	if (!tar->outer)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	/*
	 * ARCHIVE_WARN would mean that libarchive was built without it and runs gzip(1) or zstd(1).
	 */
	if (archive_read_support_filter_gzip(tar->outer) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(tar->outer) != ARCHIVE_OK ||
	    archive_read_support_format_raw(tar->outer) != ARCHIVE_OK)
		return error_set(
			err, ENOTSUP,
			"this libarchive cannot read gzip or zstd: install a complete one");
	if (archive_read_open(tar->outer, tar, NULL, outer_read, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(tar->outer, &entry) != ARCHIVE_OK)
		return tar_failed(tar, tar->outer, err);
	/* The last filter counts the file itself. */
	if (archive_filter_count(tar->outer) > 2)
		return image_invalid(err, "it is compressed more than once");
	return 0;
}

static int open_inner(struct tar *tar, struct error *err)
{
	tar->inner = archive_read_new();
	if (!tar->inner || archive_read_support_format_tar(tar->inner) != ARCHIVE_OK)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	if (archive_read_open(tar->inner, tar, NULL, inner_read, NULL) != ARCHIVE_OK)
		return tar_failed(tar, tar->inner, err);
	return 0;
}

int tar_open(const struct tar_source *source, uint64_t *left, struct tar **ret, struct error *err)
{
	cleanup_tar struct tar *tar = calloc(1, sizeof(*tar));
	int r;

	if (!tar)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	tar->source = *source;
	tar->left = left;
	r = digest_new(&tar->digest, err);
	if (r == 0)
		r = open_outer(tar, err);
	if (r == 0)
		r = open_inner(tar, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(tar);
	return 0;
}

void tar_close(struct tar *tar)
{
	if (!tar)
		return;
	archive_read_free(tar->inner);
	archive_read_free(tar->outer);
	digest_free(tar->digest);
	free(tar);
}

int tar_next(struct tar *tar, struct archive_entry **ret, struct error *err)
{
	int r;

	if (tar->over)
		return 0;
	/* Not left to the reader of the next header: data is not to be counted as metadata. */
	if (tar->in_entry && archive_read_data_skip(tar->inner) < ARCHIVE_WARN)
		return tar_failed(tar, tar->inner, err);
	tar->in_entry = false;
	tar->in_head = true;
	tar->head_left = TAR_HEADER_MAX;
	r = archive_read_next_header(tar->inner, ret);
	tar->in_head = false;
	if (r == ARCHIVE_EOF)
		return 0;
	/* A warning is about a name that the C locale cannot show; the bytes are there. */
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return tar_failed(tar, tar->inner, err);
	tar->in_entry = true;
	return 1;
}

static int write_at(int fd, const char *buf, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		offset += n;
		len -= n;
	}
	return 0;
}

/*
 * Copy the blocks of the entry, whose length is `size`. Layers by `umoci insert` end with the last
 * file's last byte, without padding or end mark; Go's reader, and so all of the field, takes them.
 */
static int copy_blocks(struct tar *tar, int fd, uint64_t size, struct error *err)
{
	for (uint64_t done = 0;;) {
		const void *buf;
		la_int64_t offset;
		size_t len;
		int r = archive_read_data_block(tar->inner, &buf, &len, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && tar->ended && !tar->err.code && done == size) {
			tar->over = true;
			return 0;
		}
		if (r != ARCHIVE_OK)
			return tar_failed(tar, tar->inner, err);
		if (offset < 0 || (uint64_t)offset > size || len > size - (uint64_t)offset)
			return image_invalid(err, "a sparse file has data behind its end");
		r = write_at(fd, buf, len, offset);
		if (r < 0)
			return error_sys(err, -r, "cannot write an unpacked file");
		done = offset + len;
	}
}

int tar_extract(struct tar *tar, struct archive_entry *entry, int fd, uint64_t max,
		uint64_t *ret_size, struct error *err)
{
	la_int64_t size = archive_entry_size(entry);
	int r;

	if (size < 0 || (uint64_t)size > max)
		return image_invalid(err, "a file of %lld bytes is more than the limit leaves",
				     (long long)size);
	r = copy_blocks(tar, fd, size, err);
	if (r < 0)
		return r;
	if (ftruncate(fd, size) < 0)
		return error_sys(err, errno, "cannot write an unpacked file");
	*ret_size = size;
	return 0;
}

int tar_finish(struct tar *tar, char ret_digest[DIGEST_SIZE], struct error *err)
{
	const void *buf;
	ssize_t n;

	while ((n = next_piece(tar, &buf)) > 0)
		;
	if (n < 0)
		return tar_failed(tar, tar->outer, err);
	digest_final(tar->digest, ret_digest);
	return 0;
}

int tar_path(const char *raw, char ret[PATH_MAX], struct error *err)
{
	unsigned int depth = 0;
	size_t used = 0;

	if (!raw || !*raw)
		return image_invalid(err, "an entry has no name");
	if (strlen(raw) >= PATH_MAX)
		return image_invalid(err, "a path is longer than %d bytes", PATH_MAX - 1);
	for (size_t len; *raw; raw += len) {
		raw += strspn(raw, "/");
		len = strcspn(raw, "/");
		if (len == 0 || (len == 1 && raw[0] == '.'))
			continue;
		if (len == 2 && !strncmp(raw, "..", 2))
			return image_invalid(err, "a path contains \"..\"");
		if (len > NAME_MAX)
			return image_invalid(err, "a name is longer than %d bytes", NAME_MAX);
		if (++depth > TAR_DEPTH_MAX)
			return image_invalid(err, "a path is more than %d folders deep",
					     TAR_DEPTH_MAX);
		if (used)
			ret[used++] = '/';
		memcpy(ret + used, raw, len);
		used += len;
	}
	ret[used] = '\0';
	return 0;
}
