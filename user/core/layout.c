// SPDX-License-Identifier: MIT
#include "core/layout.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/image.h"
#include "core/tar.h"

#define MEMBERS_MAX 100000 /* entries of an archive */

struct file_source {
	int fd;
	off_t offset; /* of our own: the client may move the descriptor's */
	char piece[256 << 10];
};

static ssize_t file_read(void *ctx, const void **ret_buf, struct error *err)
{
	struct file_source *source = ctx;
	ssize_t n;

	do
		n = pread(source->fd, source->piece, sizeof(source->piece), source->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_sys(err, errno, "cannot read the archive");
	source->offset += n;
	*ret_buf = source->piece;
	return n;
}

/* Whether a layout has a file of that name; what else an archive holds is none of our business. */
static bool is_member(const char *path)
{
	static const char blobs[] = "blobs/sha256/";
	char digest[DIGEST_SIZE];

	if (!strcmp(path, "oci-layout") || !strcmp(path, "index.json"))
		return true;
	if (strncmp(path, blobs, strlen(blobs)) || strlen(path) != strlen(blobs) + 64)
		return false;
	snprintf(digest, sizeof(digest), "sha256:%.64s", path + strlen(blobs));
	return digest_valid(digest);
}

/*
 * The folders that members are in: ours are made by us, but an archive that has links there wants
 * to do harm.
 */
static bool is_member_folder(const char *path)
{
	return !strcmp(path, "blobs") || !strcmp(path, "blobs/sha256");
}

static int extract_file(struct tar *tar, struct archive_entry *e, int tmp, const char *path,
			uint64_t *left, struct error *err)
{
	cleanup_fd int fd =
		openat(tmp, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	uint64_t size = 0;
	int r;

	if (fd < 0 && errno == EEXIST)
		return image_invalid(err, "the archive holds \"%s\" twice", path);
	if (fd < 0)
		return error_sys(err, errno, "cannot create \"%s\"", path);
	r = tar_extract(tar, e, fd, *left, &size, err);
	*left -= size;
	return r;
}

static int extract_member(struct tar *tar, struct archive_entry *e, int tmp, uint64_t *left,
			  struct error *err)
{
	bool link = archive_entry_hardlink(e) != NULL;
	char path[PATH_MAX];
	int r = tar_path(archive_entry_pathname(e), path, err);

	if (r < 0)
		return r;
	if (is_member_folder(path) && (link || archive_entry_filetype(e) != AE_IFDIR))
		return image_invalid(err, "\"%s\" in the archive is not a folder", path);
	if (!is_member(path))
		return 0;
	if (link || archive_entry_filetype(e) != AE_IFREG)
		return image_invalid(err, "\"%s\" in the archive is not a regular file", path);
	return extract_file(tar, e, tmp, path, left, err);
}

static int extract_members(struct tar *tar, int tmp, struct error *err)
{
	uint64_t left = IMAGE_BYTES_MAX;
	unsigned int n = 0;
	struct archive_entry *e;
	int r;

	if (mkdirat(tmp, "blobs", 0700) < 0 || mkdirat(tmp, "blobs/sha256", 0700) < 0)
		return error_sys(err, errno, "cannot create a folder for the archive's files");
	while ((r = tar_next(tar, &e, err)) > 0) {
		if (++n > MEMBERS_MAX)
			return image_invalid(err, "the archive has more than %d entries",
					     MEMBERS_MAX);
		r = extract_member(tar, e, tmp, &left, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int extract_archive(int fd, int tmp, struct error *err)
{
	cleanup_free struct file_source *file = calloc(1, sizeof(*file));
	struct tar_source source = {.read = file_read, .ctx = file};
	cleanup_tar struct tar *tar = NULL;
	uint64_t left = IMAGE_BYTES_MAX;
	int r;

	if (!file)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	file->fd = fd;
	r = tar_open(&source, &left, &tar, err);
	return r < 0 ? r : extract_members(tar, tmp, err);
}

int layout_open(int fd, int tmp, int *ret_layout, struct error *err)
{
	cleanup_fd int layout = -1;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read what was given as an image");
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return image_invalid(err,
				     "an image is loaded from a folder or a regular file: write "
				     "the archive to a file first");
	if (S_ISREG(st.st_mode)) {
		r = extract_archive(fd, tmp, err);
		if (r < 0)
			return r;
		fd = tmp;
	}
	layout = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (layout < 0)
		return error_sys(err, errno, "cannot read what was given as an image");
	*ret_layout = TAKE_FD(layout);
	return 0;
}
