// SPDX-License-Identifier: MIT
#include "core/store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/blob.h"

#define STORE_SUMMARY_MAX 200 /* bytes */

void store_layer_name(const char *diff_id, char ret[IMAGE_LAYER_NAME])
{
	snprintf(ret, IMAGE_LAYER_NAME, "%.16s", digest_hex(diff_id));
}

/* ---- references ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int store_refresh(struct image_store *store, struct error *err)
{
	cleanup_fd int fd = -1;
	struct refs refs;
	struct stat st;
	int r;

	if (fstatat(store->dir, REFS_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, errno, "cannot read the image store's " REFS_FILE);
	if (store->refs_fd >= 0 && same_file(&st, &store->refs_stat))
		return 0;
	fd = openat(store->dir, REFS_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot read the image store's " REFS_FILE);
	r = refs_read(fd, &refs, err);
	if (r < 0)
		return r;
	refs_release(&store->refs);
	store->refs = refs;
	store->refs_stat = st;
	fd_close(store->refs_fd);
	store->refs_fd = TAKE_FD(fd);
	json_object_put(store->records);
	store->records = json_object_new_object();
	return 0;
}

int store_lock(struct image_store *store, bool wait, int *ret_fd, struct error *err)
{
	/*
	 * Opened anew each time: a lock belongs to the open file, which a forked worker would
	 * share.
	 */
	cleanup_fd int fd =
		openat(store->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return error_sys(err, errno, "cannot lock the image store");
	do
		r = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EWOULDBLOCK)
		return error_set(err, EBUSY,
				 "an image is being loaded or removed: try again later");
	if (r < 0)
		return error_sys(err, errno, "cannot lock the image store");
	r = store_refresh(store, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- records ---- */

static bool labels_are_sound(struct json_object *record)
{
	struct json_object *labels = NULL;

	if (!json_object_object_get_ex(record, "labels", &labels))
		return true; /* written by an earlier version */
	if (!json_object_is_type(labels, json_type_object))
		return false;
	json_object_object_foreach (labels, key, value) {
		if (!value || !json_get_str(labels, key))
			return false;
	}
	return true;
}

static bool record_is_sound(struct json_object *record, const char *digest)
{
	static const char *const lists[] = {"entrypoint", "cmd", "env"};
	struct json_object *layers = json_get(record, "layers", json_type_array);
	const char *own = json_get_str(record, "digest");

	if (!own || strcmp(own, digest) || !layers || json_object_array_length(layers) == 0)
		return false;
	if (!json_get_str(record, "workdir") || !json_get_str(record, "user"))
		return false;
	if (!labels_are_sound(record))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!json_get(record, lists[i], json_type_array))
			return false;
	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);

		if (!digest_valid(json_get_str(layer, "diff_id")) ||
		    json_get_int(layer, "bytes", -1) < 0)
			return false;
	}
	return true;
}

static int read_record(struct image_store *store, const char *digest, struct json_object **ret,
		       struct error *err)
{
	cleanup_json struct json_object *record = NULL;
	cleanup_free char *text = NULL;
	char name[DIGEST_SIZE];
	size_t len;
	int r;

	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	r = fd_read_file(store->images, name, 2 * BLOB_JSON_MAX, &text, &len);
	if (r < 0)
		return error_sys(
			err, -r,
			"cannot read the record of image %.19s (load it again, or remove it "
			"by its digest)",
			digest);
	if (json_parse(text, len, "image record", &record, NULL) < 0 ||
	    !record_is_sound(record, digest))
		return error_set(
			err, EUCLEAN,
			"the record of image %.19s is damaged: load it again, or remove it "
			"by its digest",
			digest);
	*ret = TAKE_PTR(record);
	return 0;
}

int store_record(struct image_store *store, const char *digest, struct json_object **ret,
		 struct error *err)
{
	struct json_object *record = json_get(store->records, digest, json_type_object);
	int r;

	if (!record) {
		r = read_record(store, digest, &record, err);
		if (r < 0)
			return r;
		json_put_obj(store->records, digest, record);
	}
	*ret = record;
	return 0;
}

int store_write_record(struct image_store *store, const char *digest, struct json_object *record,
		       struct error *err)
{
	const char *text = json_object_to_json_string_ext(
		record, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	char name[DIGEST_SIZE];
	int r;

	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	r = text ? fd_replace_file(store->images, name, text, strlen(text), 0600) : -ENOMEM;
	return r < 0 ? error_sys(err, -r, "cannot write the record of image %.19s", digest) : 0;
}

static void count_layers(struct json_object *uses, struct json_object *record)
{
	struct json_object *layers = json_get(record, "layers", json_type_array);
	char name[IMAGE_LAYER_NAME];

	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		store_layer_name(json_get_str(json_object_array_get_idx(layers, i), "diff_id"),
				 name);
		json_put_int(uses, name, json_get_int(uses, name, 0) + 1);
	}
}

int store_layer_uses(struct image_store *store, const struct refs *refs, struct json_object **ret,
		     struct error *err)
{
	cleanup_json struct json_object *uses = json_object_new_object();
	cleanup_json struct json_object *seen = json_object_new_object();

	for (size_t i = 0; i < refs->n; i++) {
		const char *digest = refs->v[i].digest;
		struct json_object *record;
		int r;

		if (json_get_bool(seen, digest))
			continue;
		json_put_bool(seen, digest, true);
		r = store_record(store, digest, &record, err);
		if (r < 0)
			return r;
		count_layers(uses, record);
	}
	*ret = TAKE_PTR(uses);
	return 0;
}

/* Its label for people; left out when it is no single line of text that a terminal can be shown. */
static void put_summary(struct json_object *row, struct json_object *record)
{
	const char *text =
		json_get_str(json_get(record, "labels", json_type_object), "io.recap.summary");

	if (!text || !*text || strlen(text) > STORE_SUMMARY_MAX)
		return;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return;
	json_put_str(row, "summary", text);
}

struct json_object *store_describe(const char *ref, struct json_object *record,
				   struct json_object *uses)
{
	struct json_object *row = json_object_new_object();
	struct json_object *layers = json_get(record, "layers", json_type_array);
	size_t n = json_object_array_length(layers);
	int64_t bytes = 0, shared = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		char name[IMAGE_LAYER_NAME];

		store_layer_name(json_get_str(layer, "diff_id"), name);
		bytes += json_get_int(layer, "bytes", 0);
		if (json_get_int(uses, name, 0) > 1)
			shared += json_get_int(layer, "bytes", 0);
	}
	json_put_str(row, "ref", ref ? ref : REFS_UNTAGGED);
	json_put_str(row, "digest", json_get_str(record, "digest"));
	json_put_str(row, "created", json_get_str(record, "created"));
	json_put_int(row, "layers", (int64_t)n);
	json_put_int(row, "bytes", bytes);
	json_put_int(row, "shared_bytes", shared);
	put_summary(row, record);
	return row;
}

/* ---- sweeping ---- */

static int open_listing(int dirfd, DIR **ret)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret = fd < 0 ? NULL : fdopendir(fd);
	if (*ret)
		return 0;
	fd = fd_close(fd);
	return -errno;
}

static int remove_child(int dirfd, const char *name)
{
	char record[NAME_MAX + 6];

	/* A layer's record first: a layer that has one is complete. */
	snprintf(record, sizeof(record), "%s.json", name);
	if (unlinkat(dirfd, record, 0) < 0 && errno != ENOENT && errno != ENAMETOOLONG)
		return -errno;
	return fd_remove_tree(dirfd, name);
}

static bool is_being_fetched(int dirfd, const char *name)
{
	cleanup_fd int fd = -1;

	if (strncmp(name, STORE_FETCH_PREFIX, strlen(STORE_FETCH_PREFIX)))
		return false;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/*
 * Remove all children of a folder whose names, up to the first ".", are not among the keys of
 * `keep`.
 */
static int sweep_folder(int dirfd, struct json_object *keep)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	int r = open_listing(dirfd, &dir);

	if (r < 0)
		return r;
	while ((errno = 0, e = readdir(dir))) {
		char stem[NAME_MAX + 1];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(stem, sizeof(stem), "%.*s", (int)strcspn(e->d_name, "."), e->d_name);
		if (json_object_object_get_ex(keep, stem, NULL) ||
		    is_being_fetched(dirfd, e->d_name))
			continue;
		r = remove_child(dirfd, e->d_name);
		if (r < 0)
			return r;
	}
	return -errno;
}

int store_sweep(struct image_store *store, struct error *err)
{
	cleanup_json struct json_object *none = json_object_new_object();
	cleanup_json struct json_object *images = json_object_new_object();
	cleanup_json struct json_object *layers = NULL;
	/* Never by a table that is out of date: it decides what is removed. */
	int r = store_refresh(store, err);

	if (r < 0)
		return r;
	r = sweep_folder(store->tmp, none);
	/* What fd_replace_file() had not yet renamed when it was killed. */
	if (r == 0)
		r = fd_remove_tree(store->dir, "." REFS_FILE ".new");
	for (size_t i = 0; i < store->refs.n; i++)
		json_put_bool(images, digest_hex(store->refs.v[i].digest), true);
	if (r == 0)
		r = sweep_folder(store->images, images);
	if (r == 0)
		r = sweep_folder(store->verdicts, images);
	if (r == 0)
		r = sweep_folder(store->signatures, images);
	if (r < 0)
		return error_sys(err, -r, "cannot clean the image store");
	/* Should a record be unreadable, then all layers stay: any of them may be that image's. */
	r = store_layer_uses(store, &store->refs, &layers, err);
	if (r < 0)
		return r;
	r = sweep_folder(store->layers, layers);
	return r < 0 ? error_sys(err, -r, "cannot clean the image store") : 0;
}

/* ---- opening ---- */

static int open_child(int dir, const char *name, int flags, int *ret_fd, struct error *err)
{
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return error_sys(err, errno, "cannot create \"%s\" in the image store", name);
	*ret_fd = openat(dir, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0)
		return error_sys(err, errno, "cannot open \"%s\" in the image store", name);
	return 0;
}

static int open_folders(struct image_store *store, const char *path, struct error *err)
{
	int r;

	if (path[0] != '/')
		return error_set(err, EINVAL, "the image store's path \"%s\" is not absolute",
				 path);
	r = fd_mkdir_parents(path, 0700);
	if (r < 0)
		return error_sys(err, -r, "cannot create the image store \"%s\"", path);
	store->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dir < 0)
		return error_sys(err, errno, "cannot open the image store \"%s\"", path);
	r = open_child(store->dir, "layers", O_RDONLY, &store->layers, err);
	if (r == 0)
		r = open_child(store->dir, "layers", O_PATH, &store->layers_path, err);
	if (r == 0)
		r = open_child(store->dir, "images", O_RDONLY, &store->images, err);
	if (r == 0)
		r = open_child(store->dir, "verdicts", O_RDONLY, &store->verdicts, err);
	if (r == 0)
		r = open_child(store->dir, "signatures", O_RDONLY, &store->signatures, err);
	return r < 0 ? r : open_child(store->dir, "tmp", O_RDONLY, &store->tmp, err);
}

static int is_empty(int dirfd)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	int r = open_listing(dirfd, &dir);

	if (r < 0)
		return r;
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			return 0;
	return 1;
}

/* A store that has lost its table must not be swept. */
static int ensure_refs(struct image_store *store, struct error *err)
{
	const struct refs none = {};

	if (faccessat(store->dir, REFS_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return error_sys(err, errno, "cannot read the image store's " REFS_FILE);
	if (is_empty(store->images) != 1)
		return error_set(err, EUCLEAN,
				 "the image store has images but no " REFS_FILE ": restore it, or "
				 "remove the store's folder and load the images again");
	return refs_write(store->dir, &none, err);
}

/* What an interrupted change left takes room, no more: it need not stand in the way. */
static int clean_up(struct image_store *store, struct error *err)
{
	cleanup_fd int lock = -1;
	struct error why = {};
	int r = store_lock(store, false, &lock, err);

	if (r == -EBUSY) {
		log_info(
			"not cleaning the image store: a load that began earlier is still running");
		return store_refresh(store, err);
	}
	if (r < 0)
		return r;
	if (store_sweep(store, &why) < 0)
		log_warn("ignoring what may be left over in the image store: %s", why.msg);
	return 0;
}

int image_store_open(const char *path, struct image_store **ret, struct error *err)
{
	struct image_store *store = malloc(sizeof(*store));
	int r;

	if (!store)
		return error_set(err, ENOMEM, "cannot open the image store: out of memory");
	*store = (struct image_store){.dir = -1,
				      .layers = -1,
				      .images = -1,
				      .tmp = -1,
				      .verdicts = -1,
				      .signatures = -1,
				      .layers_path = -1,
				      .refs_fd = -1};
	r = open_folders(store, path, err);
	if (r == 0)
		r = ensure_refs(store, err);
	if (r == 0)
		r = clean_up(store, err);
	if (r < 0) {
		image_store_close(store);
		return r;
	}
	*ret = store;
	return 0;
}

void image_store_close(struct image_store *store)
{
	struct error why = {};

	if (!store)
		return;
	/* A load that was killed has left what it had unpacked. */
	if (store->refs_fd >= 0 && clean_up(store, &why) < 0)
		log_warn("ignoring what may be left over in the image store: %s", why.msg);
	fd_close(store->dir);
	fd_close(store->layers);
	fd_close(store->layers_path);
	fd_close(store->images);
	fd_close(store->verdicts);
	fd_close(store->signatures);
	fd_close(store->tmp);
	fd_close(store->refs_fd);
	refs_release(&store->refs);
	json_object_put(store->records);
	free(store);
}

void image_store_show_progress(struct image_store *store, image_progress_fn tell, void *arg)
{
	store->progress = (struct progress){.tell = tell, .arg = arg};
}

int image_store_layers_fd(const struct image_store *store)
{
	return store->layers_path;
}

int image_store_verdicts_fd(const struct image_store *store)
{
	return store->verdicts;
}

int image_store_signatures_fd(const struct image_store *store)
{
	return store->signatures;
}
