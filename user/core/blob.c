// SPDX-License-Identifier: MIT
#include "core/blob.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/image.h"

#define BLOB_PIECE (256 << 10)

struct blob {
	struct descriptor desc;
	struct digest *digest;
	struct progress *progress;
	uint64_t got;
	int fd;
	char piece[BLOB_PIECE];
};

int blob_open_file(int layout, const char *path)
{
	/* O_NONBLOCK: a FIFO in the file's place must not hang us. */
	cleanup_fd int fd = fd_open_beneath(layout, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static int open_failed(const char *digest, int code, struct error *err)
{
	switch (code) {
	case ENOENT:
		return image_invalid(err, "blob %s is missing from the layout", digest);
	case ELOOP:
	case ENOTDIR:
	case EINVAL:
	case EXDEV:
	case ENXIO:
		return image_invalid(err, "blob %s is not a regular file of the layout", digest);
	default:
		return error_sys(err, code, "cannot open blob %s", digest);
	}
}

static int open_checked(int layout, const struct descriptor *desc, int *ret_fd, struct error *err)
{
	char path[sizeof("blobs/sha256/") + DIGEST_SIZE];
	cleanup_fd int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(desc->digest));
	fd = blob_open_file(layout, path);
	if (fd < 0)
		return open_failed(desc->digest, -fd, err);
	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read blob %s", desc->digest);
	if ((uint64_t)st.st_size != desc->size)
		return image_invalid(err, "blob %s has %lld bytes where %llu are announced",
				     desc->digest, (long long)st.st_size,
				     (unsigned long long)desc->size);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int blob_open(int layout, const struct descriptor *desc, struct blob **ret, struct error *err)
{
	cleanup_blob struct blob *blob = calloc(1, sizeof(*blob));
	int r;

	if (!blob)
		return error_set(err, ENOMEM, "cannot read blob %s: out of memory", desc->digest);
	blob->desc = *desc;
	blob->fd = -1;
	r = digest_new(&blob->digest, err);
	if (r == 0)
		r = open_checked(layout, desc, &blob->fd, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(blob);
	return 0;
}

void blob_close(struct blob *blob)
{
	if (!blob)
		return;
	fd_close(blob->fd);
	digest_free(blob->digest);
	free(blob);
}

void blob_show_progress(struct blob *blob, struct progress *progress)
{
	blob->progress = progress;
}

ssize_t blob_read(void *ctx, const void **ret_buf, struct error *err)
{
	struct blob *blob = ctx;
	ssize_t n;

	do
		n = read(blob->fd, blob->piece, sizeof(blob->piece));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_sys(err, errno, "cannot read blob %s", blob->desc.digest);
	blob->got += n;
	/* It may grow while we read: whoever gave us the folder can still write to it. */
	if (blob->got > blob->desc.size)
		return image_invalid(err, "blob %s is longer than announced", blob->desc.digest);
	digest_update(blob->digest, blob->piece, n);
	progress_add(blob->progress, n);
	*ret_buf = blob->piece;
	return n;
}

int blob_verify(struct blob *blob, struct error *err)
{
	char digest[DIGEST_SIZE];
	const void *buf;
	ssize_t n;

	while ((n = blob_read(blob, &buf, err)) > 0)
		;
	if (n < 0)
		return (int)n;
	digest_final(blob->digest, digest);
	if (blob->got != blob->desc.size || strcmp(digest, blob->desc.digest))
		return image_invalid(err, "blob %s is damaged: its digest is %s", blob->desc.digest,
				     digest);
	return 0;
}

static int read_whole(struct blob *blob, char *text, struct error *err)
{
	const void *buf;
	ssize_t n;

	for (; (n = blob_read(blob, &buf, err)) > 0; text += n)
		memcpy(text, buf, n);
	return (int)n;
}

int blob_json(int layout, const struct descriptor *desc, const char *what, struct json_object **ret,
	      struct error *err)
{
	cleanup_blob struct blob *blob = NULL;
	cleanup_free char *text = NULL;
	struct error why = {};
	int r;

	if (desc->size > BLOB_JSON_MAX)
		return image_invalid(err, "the %s has %llu bytes, more than the %d MiB allowed",
				     what, (unsigned long long)desc->size, BLOB_JSON_MAX >> 20);
	r = blob_open(layout, desc, &blob, err);
	if (r < 0)
		return r;
	text = malloc(desc->size + 1);
	if (!text)
		return error_set(err, ENOMEM, "cannot read the %s: out of memory", what);
	r = read_whole(blob, text, err);
	if (r == 0)
		r = blob_verify(blob, err);
	if (r < 0)
		return r;
	if (json_parse_hostile(text, desc->size, what, ret, &why) < 0)
		return image_invalid(err, "%s", why.msg);
	return 0;
}
