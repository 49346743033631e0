// SPDX-License-Identifier: MIT
#include "core/layout.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/docker.h"
#include "core/image.h"
#include "core/tar.h"

#define MEMBERS_MAX 100000 /* entries of an archive */
#define PIECE	    (256 << 10)

struct file_source {
	int fd;
	off_t offset; /* of our own: the client may move the descriptor's */
	struct progress *progress;
	char piece[PIECE];
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
	progress_add(source->progress, n);
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

/* What may be of an archive of `docker save`. */
static int extract_docker(struct tar *tar, struct archive_entry *e, int tmp, const char *path,
			  struct docker_members *docker, uint64_t *left, struct error *err)
{
	const char *hard = archive_entry_hardlink(e);
	char file[32];
	int r;

	if (hard || archive_entry_filetype(e) == AE_IFLNK)
		return docker_add_link(docker, path, hard ? hard : archive_entry_symlink(e), hard,
				       err);
	if (archive_entry_filetype(e) == AE_IFDIR)
		return 0;
	if (archive_entry_filetype(e) != AE_IFREG)
		return image_invalid(err, "\"%s\" in the archive is not a regular file", path);
	r = docker_add_file(docker, path, file, err);
	return r < 0 ? r : extract_file(tar, e, tmp, file, left, err);
}

static int extract_member(struct tar *tar, struct archive_entry *e, int tmp,
			  struct docker_members *docker, uint64_t *left, struct error *err)
{
	bool link = archive_entry_hardlink(e) != NULL;
	char path[PATH_MAX];
	int r = tar_path(archive_entry_pathname(e), path, err);

	if (r < 0)
		return r;
	if (is_member_folder(path) && (link || archive_entry_filetype(e) != AE_IFDIR))
		return image_invalid(err, "\"%s\" in the archive is not a folder", path);
	if (!is_member(path))
		return docker_is_member(path) ? extract_docker(tar, e, tmp, path, docker, left, err)
					      : 0;
	if (link || archive_entry_filetype(e) != AE_IFREG)
		return image_invalid(err, "\"%s\" in the archive is not a regular file", path);
	return extract_file(tar, e, tmp, path, left, err);
}

static int extract_members(struct tar *tar, int tmp, struct docker_members *docker,
			   struct error *err)
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
		r = extract_member(tar, e, tmp, docker, &left, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int extract_archive(int fd, int tmp, struct progress *progress,
			   struct docker_members *docker, struct error *err)
{
	cleanup_free struct file_source *file = calloc(1, sizeof(*file));
	struct tar_source source = {.read = file_read, .ctx = file};
	cleanup_tar struct tar *tar = NULL;
	uint64_t left = IMAGE_BYTES_MAX;
	int r;

	if (!file)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	file->fd = fd;
	file->progress = progress;
	r = tar_open(&source, &left, &tar, err);
	return r < 0 ? r : extract_members(tar, tmp, docker, err);
}

/* An archive with an index.json is a layout, whatever else is in it: new docker writes both. */
static int unpack_archive(int fd, int tmp, struct progress *progress, struct error *err)
{
	cleanup_docker_members struct docker_members docker = {};
	int r = extract_archive(fd, tmp, progress, &docker, err);

	if (r < 0 || faccessat(tmp, "index.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	    !docker_is_archive(&docker))
		return r;
	/* Without its index, nothing says that this is one. */
	if (unlinkat(tmp, "oci-layout", 0) < 0 && errno != ENOENT)
		return error_sys(err, errno, "cannot remove a file of the archive");
	return docker_convert(&docker, tmp, err);
}

int layout_open(int fd, int tmp, struct progress *progress, int *ret_layout, struct error *err)
{
	cleanup_fd int layout = -1;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read what was given as an image");
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return image_invalid(err, "an image is loaded from a folder, a file or a pipe");
	if (S_ISREG(st.st_mode)) {
		progress_begin(progress, "reading", st.st_size);
		r = unpack_archive(fd, tmp, progress, err);
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

/* ---- streams ---- */

/* Whoever gave us the descriptor may have made it non-blocking. */
static ssize_t read_some(int fd, char *buf, size_t size)
{
	for (;;) {
		ssize_t n = read(fd, buf, size);

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
}

static int copy_stream(int from, int to, struct progress *progress, struct error *err)
{
	cleanup_free char *piece = malloc(PIECE);
	uint64_t left = IMAGE_BYTES_MAX;
	ssize_t n;

	if (!piece)
		return error_set(err, ENOMEM, "cannot read the archive: out of memory");
	while ((n = read_some(from, piece, PIECE)) > 0) {
		int r;

		if ((uint64_t)n > left)
			return image_invalid(err, "the archive is longer than %llu GiB",
					     IMAGE_BYTES_MAX >> 30);
		left -= n;
		r = fd_write_all(to, piece, n);
		if (r < 0)
			return error_sys(err, -r, "cannot keep the archive that is coming in");
		progress_add(progress, n);
	}
	return n < 0 ? error_sys(err, (int)-n, "cannot read the archive") : 0;
}

int layout_spool(int fd, int dir, struct progress *progress, int *ret_fd, struct error *err)
{
	cleanup_fd int file = -1;
	struct stat st;
	int r;

	*ret_fd = -1;
	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read what was given as an image");
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return 0;
	file = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0)
		return error_sys(err, errno, "cannot keep the archive that is coming in");
	progress_begin(progress, "receiving", 0);
	r = copy_stream(fd, file, progress, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(file);
	return 0;
}

/* ---- writing ---- */

int layout_write_json(int dir, const char *path, struct json_object *doc, struct error *err)
{
	const char *text = json_object_to_json_string_ext(
		doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	cleanup_fd int fd =
		openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0)
		r = text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;
	return r < 0 ? error_sys(err, -r, "cannot write \"%s\" of the layout", path) : 0;
}

int layout_write(int dir, struct json_object *index, struct error *err)
{
	cleanup_json struct json_object *version = json_object_new_object();
	int r;

	json_put_str(version, "imageLayoutVersion", "1.0.0");
	r = layout_write_json(dir, "oci-layout", version, err);
	return r < 0 ? r : layout_write_json(dir, "index.json", index, err);
}
