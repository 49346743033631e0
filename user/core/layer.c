// SPDX-License-Identifier: MIT
#include "core/layer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <archive.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/image.h"
#include "core/tar.h"

#define WHITEOUT	".wh."
#define WHITEOUT_META	".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

/* A folder's time is set last: what is unpacked into it changes it. */
struct folder_time {
	char *path;
	struct timespec mtime;
};

struct layer {
	struct tar *tar;
	int root;
	struct layer_budget *budget;
	uint64_t bytes;
	unsigned int entries, dropped;
	int layout; /* borrowed, as is `desc`: to read the layer a second time */
	const struct descriptor *desc;
	struct json_object *lost; /* what layer_unpack() reports as dropped */
	int64_t n_lost;
	/* The folder last used: most entries follow one of the same folder. */
	char parent[PATH_MAX];
	int parent_fd;
	struct folder_time *times;
	size_t n_times, times_size, names_len;
};

/* An entry's place: a name in a folder. The folder's descriptor belongs to the layer. */
struct place {
	char path[PATH_MAX]; /* of the folder; empty for the root */
	const char *name;
	int folder;
};

/* Kept for whoever judges the image: what is dropped can no longer be seen in the folder. */
static void note_lost(struct layer *l, const char *path, const char *what)
{
	struct json_object *o;

	if (++l->n_lost > LAYER_DROPPED_MAX)
		return;
	o = json_object_new_object();
	json_put_foreign(o, "path", path, PATH_MAX);
	json_put_str(o, "what", what);
	json_object_array_add(l->lost, o);
}

/* Set-id bits count on what can be executed or entered, capabilities wherever they are. */
static void note_rights(struct layer *l, const char *path, struct archive_entry *e)
{
	mode_t mode = archive_entry_perm(e);
	const char *name;
	const void *value;
	size_t size;

	if (archive_entry_filetype(e) == AE_IFREG && mode & S_ISUID)
		note_lost(l, path, "setuid");
	if (archive_entry_filetype(e) == AE_IFREG && mode & S_ISGID)
		note_lost(l, path, "setgid");
	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
		if (name && !strcmp(name, "security.capability"))
			note_lost(l, path, "capability");
}

static void layer_release(struct layer *l)
{
	json_object_put(l->lost);
	for (size_t i = 0; i < l->n_times; i++)
		free(l->times[i].path);
	free(l->times);
	tar_close(l->tar);
	if (l->parent_fd != l->root)
		fd_close(l->parent_fd);
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int set_opaque(int folder, struct error *err)
{
	if (fsetxattr(folder, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return error_sys(
			err, errno,
			"cannot mark a folder as opaque: the store needs a file system with "
			"trusted.* attributes");
	return 0;
}

static int open_folder(int parent, const char *name)
{
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_folder(int parent, const char *name, bool opaque, int *ret_fd, struct error *err)
{
	cleanup_fd int fd = -1;
	int r;

	if (mkdirat(parent, name, 0755) < 0)
		return error_sys(err, errno, "cannot create folder \"%.128s\"", name);
	fd = open_folder(parent, name);
	/* Whatever the umask: a folder that only shows in the paths of others is for every user. */
	if (fd < 0 || fchmod(fd, 0755) < 0)
		return error_sys(err, errno, "cannot open folder \"%.128s\"", name);
	r = opaque ? set_opaque(fd, err) : 0;
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * The folder `name` under `parent`, made when there is none. A whiteout in its place came from this
 * layer: what lies below is hidden, and then a folder comes, which is what "opaque" says. A link is
 * never followed: it may lead anywhere.
 */
static int enter_folder(int parent, const char *name, int *ret_fd, struct error *err)
{
	int fd = open_folder(parent, name);
	struct stat st;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	if (errno == ENOENT)
		return make_folder(parent, name, false, ret_fd, err);
	if (errno != ENOTDIR && errno != ELOOP)
		return error_sys(err, errno, "cannot open folder \"%.128s\"", name);
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, errno, "cannot open folder \"%.128s\"", name);
	if (!is_whiteout(&st))
		return image_invalid(err, "a path leads through \"%.128s\", which is %s", name,
				     S_ISLNK(st.st_mode) ? "a symbolic link" : "not a folder");
	if (unlinkat(parent, name, 0) < 0)
		return error_sys(err, errno, "cannot replace whiteout \"%.128s\"", name);
	return make_folder(parent, name, true, ret_fd, err);
}

/* Walk down from the root, one component after the other, each by its descriptor. */
static int enter_path(struct layer *l, const char *path, int *ret_fd, struct error *err)
{
	cleanup_fd int fd = fcntl(l->root, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return error_sys(err, errno, "cannot open the layer's folder");
	while (*path) {
		char name[NAME_MAX + 1];
		size_t len = strcspn(path, "/");
		int next = -1, r;

		memcpy(name, path, len);
		name[len] = '\0';
		if (!strncmp(name, WHITEOUT, strlen(WHITEOUT)))
			return image_invalid(err, "a path leads through whiteout \"%.128s\"", name);
		r = enter_folder(fd, name, &next, err);
		if (r < 0)
			return r;
		fd_close(fd);
		fd = next;
		path += len + (path[len] == '/');
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void forget_parent(struct layer *l)
{
	if (l->parent_fd != l->root)
		fd_close(l->parent_fd);
	l->parent_fd = l->root;
	l->parent[0] = '\0';
}

/*
 * Split `path` and open the folder it is in, making what is missing on the way. `path` is not the
 * root's.
 */
static int find_place(struct layer *l, const char *path, struct place *ret, struct error *err)
{
	char *slash;
	int fd = -1, r;

	strcpy(ret->path, path);
	slash = strrchr(ret->path, '/');
	ret->name = path;
	if (slash) {
		*slash = '\0';
		ret->name = path + (slash - ret->path) + 1;
	} else {
		ret->path[0] = '\0';
	}
	if (strcmp(l->parent, ret->path)) {
		r = enter_path(l, ret->path, &fd, err);
		if (r < 0)
			return r;
		forget_parent(l);
		strcpy(l->parent, ret->path);
		l->parent_fd = fd;
	}
	ret->folder = l->parent_fd;
	return 0;
}

/* An earlier entry of the same name gives way to the later one, as tar does it. */
static int clear_place(struct layer *l, const struct place *at, struct error *err)
{
	int r;

	if (unlinkat(at->folder, at->name, 0) == 0 || errno == ENOENT)
		return 0;
	r = fd_remove_tree(at->folder, at->name);
	if (r < 0)
		return error_sys(err, -r, "cannot replace \"%.128s\"", at->name);
	return 0;
}

static struct timespec entry_mtime(struct archive_entry *e)
{
	long nsec = archive_entry_mtime_nsec(e);

	return (struct timespec){
		.tv_sec = archive_entry_mtime(e),
		.tv_nsec = nsec >= 0 && nsec < 1000000000 ? nsec : 0,
	};
}

/* Without set-id bits: no program of a capsule may gain rights by being started. */
static mode_t entry_mode(struct archive_entry *e)
{
	return archive_entry_perm(e) & 01777;
}

static int entry_owner(struct archive_entry *e, uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	/* The last value of each means "leave it" to chown(2). */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return image_invalid(err, "an owner is out of range (%lld:%lld)", (long long)uid,
				     (long long)gid);
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

/*
 * Only user.* is kept: security.capability and the like would give rights. What overlayfs reads as
 * its own (whiteouts, redirects into other folders) is refused, since no honest layer has it.
 */
static int apply_xattrs(int fd, struct archive_entry *e, struct error *err)
{
	const char *name;
	const void *value;
	size_t size, left = LAYER_XATTRS_MAX;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
		if (!name)
			continue;
		if (size > left || strlen(name) > left - size)
			return image_invalid(err, "it has more than %d KiB of extended attributes",
					     LAYER_XATTRS_MAX >> 10);
		left -= size + strlen(name);
		if (!strncmp(name, "trusted.overlay.", 16) || !strncmp(name, "user.overlay.", 13))
			return image_invalid(err, "it forges overlayfs's attribute \"%.64s\"",
					     name);
		if (fd < 0 || strncmp(name, "user.", 5))
			continue;
		if (fsetxattr(fd, name, value, size, 0) < 0)
			return error_sys(err, errno, "cannot set extended attribute \"%.64s\"",
					 name);
	}
	return 0;
}

/* Owner before mode: chown(2) clears bits of it. */
static int apply_metadata(int fd, struct archive_entry *e, struct error *err)
{
	uid_t uid;
	gid_t gid;
	int r = entry_owner(e, &uid, &gid, err);

	if (r < 0)
		return r;
	if (fchown(fd, uid, gid) < 0)
		return error_sys(err, errno, "cannot set the owner %u:%u", uid, gid);
	if (fchmod(fd, entry_mode(e)) < 0)
		return error_sys(err, errno, "cannot set the mode");
	return apply_xattrs(fd, e, err);
}

static int unpack_file(struct layer *l, const struct place *at, struct archive_entry *e,
		       struct error *err)
{
	struct timespec times[2] = {entry_mtime(e), entry_mtime(e)};
	cleanup_fd int fd = -1;
	uint64_t size = 0;
	int r = clear_place(l, at, err);

	if (r < 0)
		return r;
	fd = openat(at->folder, at->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return error_sys(err, errno, "cannot create the file");
	r = tar_extract(l->tar, e, fd, l->budget->files, &size, err);
	if (r < 0)
		return r;
	l->budget->files -= size;
	l->bytes += size;
	r = apply_metadata(fd, e, err);
	if (r < 0)
		return r;
	return futimens(fd, times) < 0 ? error_sys(err, errno, "cannot set the time") : 0;
}

static int note_time(struct layer *l, const char *path, struct archive_entry *e, struct error *err)
{
	l->names_len += strlen(path) + 1;
	if (l->names_len > LAYER_NAMES_MAX)
		return image_invalid(err, "its folders have more than %d MiB of names",
				     LAYER_NAMES_MAX >> 20);
	if (l->n_times == l->times_size) {
		size_t size = l->times_size ? 2 * l->times_size : 256;
		struct folder_time *times = reallocarray(l->times, size, sizeof(*times));

		if (!times)
			return error_set(err, ENOMEM, "out of memory");
		l->times = times;
		l->times_size = size;
	}
	l->times[l->n_times].path = strdup(path);
	if (!l->times[l->n_times].path)
		return error_set(err, ENOMEM, "out of memory");
	l->times[l->n_times++].mtime = entry_mtime(e);
	return 0;
}

/*
 * A folder may come where a link or a file was: the later entry wins. Its path is noted by the
 * caller.
 */
static int unpack_folder(struct layer *l, const struct place *at, struct archive_entry *e,
			 struct error *err)
{
	cleanup_fd int fd = -1;
	struct stat st;
	int r = 0;

	if (fstatat(at->folder, at->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
	    !is_whiteout(&st))
		r = clear_place(l, at, err);
	if (r == 0)
		r = enter_folder(at->folder, at->name, &fd, err);
	return r < 0 ? r : apply_metadata(fd, e, err);
}

static int unpack_symlink(struct layer *l, const struct place *at, struct archive_entry *e,
			  struct error *err)
{
	struct timespec times[2] = {entry_mtime(e), entry_mtime(e)};
	const char *target = archive_entry_symlink(e);
	uid_t uid;
	gid_t gid;
	int r = entry_owner(e, &uid, &gid, err);

	if (r == 0)
		r = apply_xattrs(-1, e, err);
	if (r < 0)
		return r;
	if (!target || !*target || strlen(target) >= PATH_MAX)
		return image_invalid(err, "a symbolic link has no target or a too long one");
	r = clear_place(l, at, err);
	if (r < 0)
		return r;
	if (symlinkat(target, at->folder, at->name) < 0 ||
	    fchownat(at->folder, at->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(at->folder, at->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, errno, "cannot create the symbolic link");
	return 0;
}

/* The target of a hard link, as an O_PATH descriptor. Only what this layer holds already counts. */
static int open_link_target(struct layer *l, const char *raw, int *ret_fd, struct error *err)
{
	cleanup_fd int fd = -1;
	char path[PATH_MAX];
	struct stat st;
	int r = tar_path(raw, path, err);

	if (r < 0)
		return error_prefix(err, "a hard link's target");
	fd = fd_open_beneath(l->root, path, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return image_invalid(err,
				     "a hard link's target \"%.128s\" is not a regular file of "
				     "this layer",
				     path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Whether the place already holds the file behind `fd`. */
static bool is_there(const struct place *at, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(at->folder, at->name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_ino == b.st_ino;
}

static int unpack_hardlink(struct layer *l, const struct place *at, const char *target,
			   struct error *err)
{
	cleanup_fd int fd = -1;
	char self[32];
	int r = open_link_target(l, target, &fd, err);

	if (r < 0)
		return r;
	if (is_there(at, fd)) /* a link to itself: clearing the place would lose the file */
		return 0;
	r = clear_place(l, at, err);
	if (r < 0)
		return r;
	/* Through proc, as open(2) has it: the other way, AT_EMPTY_PATH, wants a capability. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, at->folder, at->name, AT_SYMLINK_FOLLOW) < 0)
		return error_sys(err, errno, "cannot create the hard link");
	return 0;
}

/* ".wh.NAME" hides NAME of the layers below; what this layer itself has under that name stays. */
static int unpack_whiteout(const struct place *at, struct error *err)
{
	const char *hidden = at->name + strlen(WHITEOUT);
	cleanup_fd int fd = -1;

	if (!*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
		return image_invalid(err, "a whiteout names nothing");
	if (mknodat(at->folder, hidden, S_IFCHR, makedev(0, 0)) == 0)
		return 0;
	if (errno != EEXIST)
		return error_sys(err, errno, "cannot create a whiteout");
	fd = open_folder(at->folder, hidden);
	if (fd >= 0)
		return set_opaque(fd, err);
	if (errno != ENOTDIR && errno != ELOOP)
		return error_sys(err, errno, "cannot create a whiteout");
	return 0;
}

static int unpack_whiteout_kind(struct layer *l, const struct place *at, struct archive_entry *e,
				struct error *err)
{
	if (archive_entry_hardlink(e) || archive_entry_filetype(e) != AE_IFREG)
		return image_invalid(err, "a whiteout is not a regular file");
	if (!strcmp(at->name, WHITEOUT_OPAQUE))
		return set_opaque(at->folder, err);
	if (strncmp(at->name, WHITEOUT_META, strlen(WHITEOUT_META)))
		return unpack_whiteout(at, err);
	l->dropped++; /* the rest of the prefix is bookkeeping of aufs */
	return 0;
}

/* The layer's own folder: what overlayfs shows as "/" when this layer is the top-most. */
static int unpack_root(struct layer *l, struct archive_entry *e, struct error *err)
{
	int r;

	if (archive_entry_hardlink(e) || archive_entry_filetype(e) != AE_IFDIR)
		return image_invalid(err, "its root is not a folder");
	r = apply_metadata(l->root, e, err);
	return r < 0 ? r : note_time(l, "", e, err);
}

static int unpack_kind(struct layer *l, const char *path, struct archive_entry *e,
		       struct error *err)
{
	struct place at;
	int r;

	if (!*path)
		return unpack_root(l, e, err);
	r = find_place(l, path, &at, err);
	if (r < 0)
		return r;
	if (!strncmp(at.name, WHITEOUT, strlen(WHITEOUT)))
		return unpack_whiteout_kind(l, &at, e, err);
	if (archive_entry_hardlink(e))
		return unpack_hardlink(l, &at, archive_entry_hardlink(e), err);
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		note_rights(l, path, e);
		return unpack_file(l, &at, e, err);
	case AE_IFDIR:
		r = unpack_folder(l, &at, e, err);
		return r < 0 ? r : note_time(l, path, e, err);
	case AE_IFLNK:
		return unpack_symlink(l, &at, e, err);
	case AE_IFCHR:
	case AE_IFBLK: /* also a forged whiteout, which is a device 0/0 */
		note_lost(l, path, "device");
		l->dropped++;
		return 0;
	default:
		l->dropped++;
		return 0;
	}
}

static int too_many(struct error *err)
{
	return image_invalid(err, "there are more than %d entries in what is loaded",
			     LAYER_ENTRIES_MAX);
}

/*
 * Reading a million entries takes seconds, making and removing as many files takes minutes: a layer
 * that turns out to have many is read to its end before more are made.
 */
static int count_entries(struct layer *l, struct error *err)
{
	uint64_t stream = IMAGE_BYTES_MAX;
	unsigned int n = 0, max = l->entries + l->budget->entries;
	cleanup_blob struct blob *blob = NULL;
	cleanup_tar struct tar *tar = NULL;
	struct tar_source source = {.read = blob_read};
	struct archive_entry *e;
	int r = blob_open(l->layout, l->desc, &blob, err);

	source.ctx = blob;
	if (r == 0)
		r = tar_open(&source, &stream, &tar, err);
	while (r == 0 && (r = tar_next(tar, &e, err)) > 0)
		r = ++n > max ? too_many(err) : 0;
	return r;
}

static int count_entry(struct layer *l, struct error *err)
{
	if (l->budget->entries == 0)
		return too_many(err);
	l->budget->entries--;
	return ++l->entries == LAYER_COUNT_FROM ? count_entries(l, err) : 0;
}

static int unpack_entry(struct layer *l, struct archive_entry *e, struct error *err)
{
	const char *raw = archive_entry_pathname(e);
	char path[PATH_MAX];
	int r;

	r = count_entry(l, err);
	if (r < 0)
		return r;
	r = tar_path(raw, path, err);
	if (r == 0)
		r = unpack_kind(l, path, e, err);
	return r < 0 ? error_prefix(err, "entry \"%.128s\"", raw ? raw : "") : 0;
}

/* In the order they came, so that the last entry of a folder wins. */
static int apply_times(struct layer *l, struct error *err)
{
	for (size_t i = 0; i < l->n_times; i++) {
		const struct folder_time *t = &l->times[i];
		struct timespec times[2] = {t->mtime, t->mtime};
		cleanup_fd int fd =
			fd_open_beneath(l->root, *t->path ? t->path : ".", O_RDONLY | O_DIRECTORY);

		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
			continue; /* a later entry took its place */
		if (fd < 0 || futimens(fd, times) < 0)
			return error_sys(err, fd < 0 ? -fd : errno, "cannot set a folder's time");
	}
	return 0;
}

static int unpack_entries(struct layer *l, struct error *err)
{
	struct archive_entry *e;
	int r;

	while ((r = tar_next(l->tar, &e, err)) > 0) {
		r = unpack_entry(l, e, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : apply_times(l, err);
}

/* To the last byte: what follows the archive counts for both digests. */
static int verify(struct layer *l, struct blob *blob, const char *diff_id, struct error *err)
{
	char digest[DIGEST_SIZE];
	int r = tar_finish(l->tar, digest, err);

	if (r == 0)
		r = blob_verify(blob, err);
	if (r < 0)
		return r;
	if (strcmp(digest, diff_id))
		return image_invalid(err, "its diff ID is %s where the config says %s", digest,
				     diff_id);
	return 0;
}

static int unpack_blob(struct layer *l, struct blob *blob, const char *diff_id, struct error *err)
{
	struct tar_source source = {.read = blob_read, .ctx = blob};
	int r;

	blob_show_progress(blob, l->budget->progress);
	r = tar_open(&source, &l->budget->stream, &l->tar, err);
	if (r == 0)
		r = unpack_entries(l, err);
	return r < 0 ? r : verify(l, blob, diff_id, err);
}

int layer_unpack(int layout, const struct descriptor *desc, const char *diff_id, int dirfd,
		 struct layer_budget *budget, uint64_t *ret_bytes, struct json_object **ret_dropped,
		 struct error *err)
{
	struct layer l = {
		.root = dirfd,
		.parent_fd = dirfd,
		.budget = budget,
		.layout = layout,
		.desc = desc,
		.lost = json_object_new_array(),
	};
	cleanup_blob struct blob *blob = NULL;
	int r = blob_open(layout, desc, &blob, err);

	if (r == 0)
		r = unpack_blob(&l, blob, diff_id, err);
	if (r == 0) {
		*ret_dropped = json_object_new_object();
		json_put_int(*ret_dropped, "total", l.n_lost);
		json_put_obj(*ret_dropped, "list", TAKE_PTR(l.lost));
	}
	layer_release(&l);
	if (r < 0)
		return error_prefix(err, "layer %.19s", desc->digest);
	if (l.dropped)
		log_info("layer %.19s: ignoring %u device nodes, FIFOs, sockets or aufs records: "
			 "capsules get a /dev of their own",
			 desc->digest, l.dropped);
	*ret_bytes = l.bytes;
	return 0;
}
