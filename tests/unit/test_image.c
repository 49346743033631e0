// SPDX-License-Identifier: MIT
/* The image store as a whole: what it holds after loads, removals, crashes and races. */
#include "image_fixture.h"

#include <sys/file.h>
#include <sys/random.h>
#include <time.h>

static void add_layer(struct fixture *f, const char *name)
{
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, name, "content");
	layout_layer(&f->l, &t, GZIP);
}

/* An image of the layers "shared" and `own`, loaded. */
static void load_sharing(struct fixture *f, const char *ref, const char *own)
{
	new_layout(f);
	add_layer(f, "shared");
	add_layer(f, own);
	layout_image(&f->l, ref);
	expect_loaded(f, NULL);
}

static bool is_there(struct fixture *f, const char *ref)
{
	cleanup_image struct image *image = NULL;
	struct error err = {};
	int r = image_find(f->store, ref, &image, &err);

	if (r < 0)
		assert_string_equal(err.name, "ImageNotFound");
	return r == 0;
}

static void digest_of(struct fixture *f, const char *ref, char ret[DIGEST_SIZE])
{
	cleanup_image struct image *image = NULL;

	assert_int_equal(image_find(f->store, ref, &image, NULL), 0);
	strcpy(ret, image->digest);
}

static size_t count_layers(struct fixture *f)
{
	cleanup_free char *text = listing(f);
	size_t n = 0;

	for (char *p = text; (p = strstr(p, "./layers/")); p++)
		n += strcspn(p + 9, "./ ") == 16 && p[9 + 16] == ' ';
	return n;
}

/* The row of image_list(). Borrowed from `rows`. */
static struct json_object *row_of(struct json_object *rows, const char *ref)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!strcmp(json_get_str(row, "ref"), ref))
			return row;
	}
	fail_msg("no row \"%s\"", ref);
	return NULL;
}

static void test_empty_store(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_json struct json_object *rows = NULL;
	struct image_store *store;
	char path[128];

	snprintf(path, sizeof(path), "%s/a/new/store", f->path);
	assert_int_equal(image_store_open(path, &store, NULL), 0);
	assert_int_equal(image_list(store, &rows, NULL), 0);
	assert_int_equal(json_object_array_length(rows), 0);
	image_store_close(store);
	assert_int_equal(image_store_open("relative", &store, NULL), -EINVAL);
}

static void test_list_and_sharing(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_json struct json_object *rows = NULL, *loaded = NULL;
	struct json_object *row;

	load_sharing(f, "a:1", "a");
	new_layout(f);
	add_layer(f, "shared");
	add_layer(f, "b");
	layout_image(&f->l, "b:1");
	assert_int_equal(image_load(f->store, f->l.dir, NULL, &loaded, NULL), 0);
	row = row_of(loaded, "b:1");
	assert_int_equal(json_get_int(row, "layers", -1), 2);
	assert_int_equal(json_get_int(row, "bytes", -1), 14);
	assert_int_equal(json_get_int(row, "shared_layers", -1), 1);
	assert_int_equal(json_get_int(row, "shared_bytes", -1), 7);
	assert_int_equal(count_layers(f), 4); /* base, shared, a, b */

	assert_int_equal(image_list(f->store, &rows, NULL), 0);
	assert_int_equal(json_object_array_length(rows), 3);
	assert_string_equal(json_get_str(json_object_array_get_idx(rows, 0), "ref"), "a:1");
	assert_string_equal(json_get_str(json_object_array_get_idx(rows, 2), "ref"), "base:1");
	row = row_of(rows, "a:1");
	assert_int_equal(json_get_int(row, "shared_bytes", -1), 7);
	assert_string_equal(json_get_str(row, "created"), "2024-05-06T07:08:09Z");
	assert_int_equal(json_get_int(row_of(rows, "base:1"), "shared_bytes", -1), 0);
}

/* Removing an image takes its own layers only, and the last one leaves the store as it was. */
static void test_remove(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct error err = {};

	load_sharing(f, "a:1", "a");
	load_sharing(f, "b:1", "b");
	assert_int_equal(image_remove(f->store, "a:1", NULL, &err), 0);
	assert_false(is_there(f, "a:1"));
	assert_true(is_there(f, "b:1"));
	assert_int_equal(count_layers(f), 3); /* base, shared, b */
	assert_int_equal(image_remove(f->store, "a:1", NULL, &err), -ENOENT);
	assert_string_equal(err.name, "ImageNotFound");
	assert_int_equal(image_remove(f->store, "b:1", NULL, &err), 0);
	assert_unchanged(f);
	assert_int_equal(image_remove(f->store, "not a name", NULL, &err), -EINVAL);
}

static void test_remove_in_use(void **state)
{
	struct fixture *f = FIXTURE(state);
	char digest[DIGEST_SIZE];
	char *in_use[] = {"sha256:other", digest, NULL};
	struct error err = {};

	load_sharing(f, "a:1", "a");
	digest_of(f, "a:1", digest);
	free(f->before);
	f->before = listing(f);
	assert_int_equal(image_remove(f->store, "a:1", in_use, &err), -EBUSY);
	assert_string_equal(err.name, "ImageInUse");
	assert_int_equal(image_remove(f->store, digest, in_use, &err), -EBUSY);
	assert_unchanged(f);
	assert_true(is_there(f, "a:1"));
	/* One reference of two may go. */
	expect_loaded(f, "a:2");
	assert_int_equal(image_remove(f->store, "a:1", in_use, &err), 0);
	assert_true(is_there(f, "a:2"));
	/* Another image is none of its business. */
	assert_int_equal(image_remove(f->store, "base:1", in_use, &err), 0);
}

static void assert_names(struct fixture *f, const char *digest, const char *all)
{
	cleanup_strv char **names = NULL;
	char text[256] = "";

	assert_int_equal(image_names(f->store, digest, &names), 0);
	for (char **name = names; *name; name++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s,", *name);
	assert_string_equal(text, all);
}

static void test_two_references(void **state)
{
	struct fixture *f = FIXTURE(state);
	char digest[DIGEST_SIZE];
	char *in_use[] = {digest, NULL};
	struct error err = {};

	load_sharing(f, "a:1", "a");
	digest_of(f, "a:1", digest);
	expect_loaded(f, "other/name:2");
	assert_names(f, digest, "a:1,other/name:2,");
	assert_int_equal(image_remove(f->store, "a:1", in_use, &err), 0);
	assert_false(is_there(f, "a:1"));
	assert_true(is_there(f, "other/name:2"));
	assert_names(f, digest, "other/name:2,");
	expect_loaded(f, NULL);
	assert_int_equal(image_remove(f->store, digest, NULL, &err), 0);
	assert_unchanged(f);
}

static void test_moved_reference(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_json struct json_object *rows = NULL;
	cleanup_image struct image *image = NULL;
	char old[DIGEST_SIZE], new[DIGEST_SIZE], named[DIGEST_SIZE + 8];

	load_sharing(f, "a:1", "a");
	digest_of(f, "a:1", old);
	load_sharing(f, "a:1", "b");
	digest_of(f, "a:1", new);
	assert_string_not_equal(old, new);
	assert_int_equal(image_list(f->store, &rows, NULL), 0);
	assert_int_equal(json_object_array_length(rows), 3);
	assert_string_equal(json_get_str(row_of(rows, "<none>"), "digest"), old);
	assert_int_equal(image_find(f->store, old, &image, NULL), 0);
	assert_string_equal(image->ref, "<none>");
	/* The name means the new one, whatever digest it is asked for with. */
	snprintf(named, sizeof(named), "a@%s", new);
	assert_true(is_there(f, named));
	snprintf(named, sizeof(named), "a@%s", old);
	assert_false(is_there(f, named));

	reopen(f);
	assert_true(is_there(f, old));
	assert_int_equal(image_remove(f->store, old, NULL, NULL), 0);
	assert_int_equal(image_remove(f->store, "a:1", NULL, NULL), 0);
	assert_unchanged(f);
}

/* An untagged image that gets a name is not shown twice. */
static void test_tagged_again(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_json struct json_object *rows = NULL;

	load_sharing(f, "a:1", "a");
	load_sharing(f, "a:1", "b");
	load_sharing(f, "a:2", "a");
	assert_int_equal(image_list(f->store, &rows, NULL), 0);
	assert_int_equal(json_object_array_length(rows), 3);
	assert_non_null(row_of(rows, "a:2"));
}

/* The worker loads; the process that forked it sees that. */
static void test_load_in_a_worker(void **state)
{
	struct fixture *f = FIXTURE(state);
	int status;
	pid_t pid;

	assert_false(is_there(f, "a:1"));
	add_layer(f, "a");
	layout_image(&f->l, "a:1");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct error err;

		_exit(load_fd(f, f->l.dir, NULL, &err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(is_there(f, "a:1"));
	assert_int_equal(image_remove(f->store, "a:1", NULL, NULL), 0);
	assert_false(is_there(f, "a:1"));
}

static double monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* It is on the path of every attach. */
static void test_find_is_fast(void **state)
{
	struct fixture *f = FIXTURE(state);
	double start = monotonic_us();
	const int n = 2000;

	for (int i = 0; i < n; i++)
		assert_true(is_there(f, "base:1"));
	assert_true((monotonic_us() - start) / n < 100); /* about 5 without sanitizers */
}

static void test_locked_store(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_fd int lock = openat(f->dir, "store/lock", O_RDWR | O_CLOEXEC);
	struct error err = {};

	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(mkdirat(f->dir, "store/tmp/of-the-other", 0700), 0);
	assert_int_equal(image_remove(f->store, "base:1", NULL, &err), -EBUSY);
	reopen(f); /* does not wait, and leaves the other's work alone */
	assert_int_equal(faccessat(f->dir, "store/tmp/of-the-other", F_OK, 0), 0);
	assert_true(is_there(f, "base:1"));
	assert_int_equal(flock(lock, LOCK_UN), 0);
	reopen(f);
	assert_true(faccessat(f->dir, "store/tmp/of-the-other", F_OK, 0) < 0);
	assert_unchanged(f);
}

/* What a crash may leave at any of the steps. */
static void test_left_overs_are_swept(void **state)
{
	static const char *const names[] = {
		"store/tmp/0123456789abcdef", "store/layers/0123456789abcdef",
		"store/layers/.0123456789abcdef.json.new", "store/.refs.json.new"};
	struct fixture *f = FIXTURE(state);
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(mkdirat(f->dir, names[i], 0700), 0);
	write_file(f->dir, "store/layers/0123456789abcdef/file", "x", 1);
	write_file(f->dir, "store/layers/0123456789abcdef.json", "{}", 2);
	snprintf(path, sizeof(path), "store/images/%064d.json", 7);
	write_file(f->dir, path, "{}", 2);
	reopen(f);
	assert_unchanged(f);
}

/* A layer's folder without its record is unfinished, even when the name is right. */
static void test_unfinished_layer(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_image struct image *image = NULL;
	char path[128];

	load_sharing(f, "a:1", "a");
	assert_int_equal(image_find(f->store, "a:1", &image, NULL), 0);
	snprintf(path, sizeof(path), "store/layers/%s/a", image->layers[0]);
	assert_int_equal(unlinkat(f->dir, path, 0), 0);
	strcpy(path + strlen(path) - 2, ".json");
	assert_int_equal(unlinkat(f->dir, path, 0), 0);
	expect_loaded(f, NULL);
	snprintf(path, sizeof(path), "store/layers/%s/a", image->layers[0]);
	assert_int_equal(faccessat(f->dir, path, F_OK, 0), 0);
}

static void test_damaged_table(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct image_store *store = NULL;
	cleanup_free char *table = NULL;
	struct error err = {};
	size_t len;

	assert_int_equal(fd_read_file(f->dir, "store/refs.json", 4096, &table, &len), 0);
	write_file(f->dir, "store/refs.json", "{\"refs\":{}}", 11);
	assert_true(image_store_open(f->store_path, &store, &err) < 0);
	assert_non_null(strstr(err.msg, "is damaged"));
	assert_int_equal(unlinkat(f->dir, "store/refs.json", 0), 0);
	assert_true(image_store_open(f->store_path, &store, &err) < 0);
	assert_non_null(strstr(err.msg, "has images but no refs.json"));
	/* Nothing was swept away meanwhile. */
	write_file(f->dir, "store/refs.json", table, len);
	assert_int_equal(fchmodat(f->dir, "store/refs.json", 0600, 0), 0);
	assert_unchanged(f);
}

/* A damaged record makes one image unusable, is no reason to lose layers, and loading again mends it. */
static void test_damaged_record(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct image *image = NULL;
	struct error err = {};
	char digest[DIGEST_SIZE], path[128];

	load_sharing(f, "a:1", "a");
	free(f->before);
	f->before = listing(f);
	digest_of(f, "a:1", digest);
	snprintf(path, sizeof(path), "store/images/%s.json", digest_hex(digest));
	write_file(f->dir, path, "{}", 2);
	reopen(f);
	assert_true(is_there(f, "base:1"));
	assert_true(image_find(f->store, "a:1", &image, &err) < 0);
	assert_non_null(strstr(err.msg, "is damaged"));
	assert_int_equal(count_layers(f), 3);
	expect_loaded(f, NULL);
	assert_unchanged(f);
	assert_true(is_there(f, "a:1"));
}

/* ---- killed loads ---- */

/* A layer that takes a while. */
static void add_big_layer(struct fixture *f, unsigned int seed)
{
	cleanup_free char *text = malloc(65536);
	struct tarball t;
	char name[64];

	tarball_begin(&t, 8 << 20);
	for (unsigned int i = 0; i < 64; i++) {
		struct archive_entry *e;

		assert_int_equal(getrandom(text, 65536, 0), 65536);
		snprintf(name, sizeof(name), "dir%u/file%u", seed, i);
		e = tarball_entry(name, AE_IFREG, 0644);
		archive_entry_set_size(e, 65536);
		assert_int_equal(archive_write_header(t.a, e), ARCHIVE_OK);
		assert_int_equal(archive_write_data(t.a, text, 65536), 65536);
		archive_entry_free(e);
	}
	layout_layer(&f->l, &t, GZIP);
}

static pid_t start_load(struct fixture *f)
{
	pid_t pid = fork();
	struct error err;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(load_fd(f, f->l.dir, NULL, &err) < 0);
	return pid;
}

static void kill_after(pid_t pid, double us)
{
	struct timespec ts = {.tv_sec = (time_t)(us / 1e6),
			      .tv_nsec = (long)((us - 1e6 * (double)(long)(us / 1e6)) * 1e3)};
	int status;

	nanosleep(&ts, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_killed_loads(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_free char *after = NULL;
	double start, duration;
	int status, n_before = 0;
	pid_t pid;

	add_big_layer(f, 1);
	add_big_layer(f, 2);
	layout_image(&f->l, "big:1");
	start = monotonic_us();
	pid = start_load(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	duration = monotonic_us() - start;
	assert_int_equal(status, 0);
	after = listing(f);
	for (int i = 0; i < 24; i++) {
		cleanup_free char *now = NULL;
		bool done;

		if (is_there(f, "big:1"))
			assert_int_equal(image_remove(f->store, "big:1", NULL, NULL), 0);
		assert_unchanged(f);
		/* The steps of publishing are at the end. */
		kill_after(start_load(f), duration * (i < 8 ? i / 8.0 : 0.85 + 0.01 * (i - 8)));
		reopen(f);
		now = listing(f);
		done = is_there(f, "big:1");
		assert_string_equal(now, done ? after : f->before);
		n_before += !done;
	}
	assert_true(n_before > 0);
}

/* Without a new opening: the next load finds its way past what the killed one left. */
static void test_load_after_killed_load(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_free char *after = NULL, *now = NULL;

	add_big_layer(f, 1);
	layout_image(&f->l, "big:1");
	expect_loaded(f, NULL);
	after = listing(f);
	assert_int_equal(image_remove(f->store, "big:1", NULL, NULL), 0);
	for (int i = 0; i < 8; i++) {
		kill_after(start_load(f), 10000.0 * (1 + i));
		if (is_there(f, "big:1"))
			assert_int_equal(image_remove(f->store, "big:1", NULL, NULL), 0);
	}
	expect_loaded(f, NULL);
	now = listing(f);
	assert_string_equal(now, after);
}

static void expect_digest(struct fixture *f, const char *text, const char *digest)
{
	cleanup_image struct image *image = NULL;
	struct error err = {};

	if (image_find(f->store, text, &image, &err) < 0)
		fail_msg("image_find: %s", err.msg);
	assert_string_equal(image->digest, digest);
}

static void test_digest_prefix(void **state)
{
	struct fixture *f = FIXTURE(state);
	char digest[DIGEST_SIZE], text[DIGEST_SIZE];
	struct error err = {};

	load_sharing(f, "a:1", "a");
	digest_of(f, "a:1", digest);
	expect_digest(f, digest, digest);
	expect_digest(f, digest_hex(digest), digest);
	snprintf(text, sizeof(text), "%.12s", digest_hex(digest));
	expect_digest(f, text, digest);
	snprintf(text, sizeof(text), "%.19s", digest);
	expect_digest(f, text, digest);
	snprintf(text, sizeof(text), "%.11s", digest_hex(digest));
	assert_false(is_there(f, text));
	assert_false(is_there(f, "000000000000"));
	/* An image that calls itself by the start of another's digest is not taken for it, nor the other for it. */
	snprintf(text, sizeof(text), "%.12s", digest_hex(digest));
	load_sharing(f, text, "b");
	assert_int_equal(image_remove(f->store, text, NULL, &err), -ENOTUNIQ);
	assert_non_null(strstr(err.msg, "give more of it"));
	snprintf(text, sizeof(text), "%.12s:latest", digest_hex(digest));
	assert_int_equal(image_remove(f->store, text, NULL, &err), 0);
	assert_true(is_there(f, "a:1"));
	snprintf(text, sizeof(text), "%.12s", digest_hex(digest));
	assert_int_equal(image_remove(f->store, text, NULL, &err), 0);
	assert_false(is_there(f, "a:1"));
	assert_unchanged(f);
}

/* "tool" may stand for what podman, or docker's registry, calls by more words. */
static void test_short_names(void **state)
{
	struct fixture *f = FIXTURE(state);

	load_sharing(f, "docker.io/library/tool:1", "a");
	load_sharing(f, "docker.io/who/tool:2", "b");
	assert_true(is_there(f, "tool:1"));
	assert_false(is_there(f, "tool:2"));
	assert_true(is_there(f, "who/tool:2"));
	assert_false(is_there(f, "library/tool:3"));
	load_sharing(f, "localhost/tool:1", "c");
	assert_int_equal(image_remove(f->store, "tool:1", NULL, NULL), 0);
	assert_false(is_there(f, "localhost/tool:1"));
	assert_true(is_there(f, "docker.io/library/tool:1"));
}

static struct json_object *prune(struct fixture *f, bool all, bool dry_run, char *const *in_use)
{
	struct image_prune how = {.all = all, .dry_run = dry_run, .in_use = in_use};
	struct json_object *result = NULL;
	struct error err = {};

	if (image_prune(f->store, &how, &result, &err) < 0)
		fail_msg("image_prune: %s", err.msg);
	return result;
}

static void expect_pruned(struct json_object *result, size_t images, int layers, int bytes)
{
	assert_int_equal(json_object_array_length(json_get(result, "images", json_type_array)),
			 images);
	assert_int_equal(json_get_int(result, "freed_layers", -1), layers);
	assert_int_equal(json_get_int(result, "freed_bytes", -1), bytes);
	json_object_put(result);
}

static void test_prune(void **state)
{
	struct fixture *f = FIXTURE(state);
	char old[DIGEST_SIZE], base[DIGEST_SIZE];
	char *old_in_use[] = {old, NULL}, *base_in_use[] = {base, NULL};

	digest_of(f, "base:1", base);
	load_sharing(f, "a:1", "old");
	digest_of(f, "a:1", old);
	load_sharing(f, "a:1", "new"); /* leaves the old one untagged */
	assert_true(is_there(f, old));

	expect_pruned(prune(f, false, true, NULL), 1, 1, 7);
	assert_true(is_there(f, old));
	expect_pruned(prune(f, false, false, old_in_use), 0, 0, 0);
	assert_true(is_there(f, old));
	expect_pruned(prune(f, false, false, NULL), 1, 1, 7); /* "shared" is the new one's, too */
	assert_false(is_there(f, old));
	assert_true(is_there(f, "a:1"));
	expect_pruned(prune(f, false, false, NULL), 0, 0, 0);

	expect_pruned(prune(f, true, false, base_in_use), 1, 2, 14);
	assert_unchanged(f);
	expect_pruned(prune(f, true, false, NULL), 1, 1, 4);
	assert_int_equal(count_layers(f), 0);
}

static void test_prune_waits_for_no_load(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct image_prune how = {.all = true};
	struct json_object *result = NULL;
	cleanup_fd int dir = open(f->store_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int lock = openat(dir, "lock", O_RDWR | O_CLOEXEC);
	struct error err = {};

	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(image_prune(f->store, &how, &result, &err), -EBUSY);
	assert_unchanged(f);
}

static void test_inspect(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_json struct json_object *image = NULL;
	struct json_object *layers, *layer;
	char digest[DIGEST_SIZE], path[64];
	struct error err = {};

	load_sharing(f, "a:1", "a");
	expect_loaded(f, "b:2");
	load_sharing(f, "c:1", "c");
	digest_of(f, "a:1", digest);
	assert_int_equal(image_inspect(f->store, digest, &image, &err), 0);
	assert_string_equal(json_get_str(image, "digest"), digest);
	assert_string_equal(json_get_str(image, "ref"), "a:1");
	assert_int_equal(json_object_array_length(json_get(image, "refs", json_type_array)), 2);
	assert_int_equal(json_get_int(image, "bytes", -1), 14);
	assert_int_equal(json_get_int(image, "shared_bytes", -1), 7);
	assert_non_null(
		json_get(json_get(image, "config", json_type_object), "labels", json_type_object));
	layers = json_get(image, "layers", json_type_array);
	assert_int_equal(json_object_array_length(layers), 2);
	layer = json_object_array_get_idx(layers, 0);
	assert_int_equal(json_get_int(layer, "images", -1), 2);
	snprintf(path, sizeof(path), "%s/shared", json_get_str(layer, "path") + 7);
	assert_int_equal(faccessat(image_store_layers_fd(f->store), path, F_OK, 0), 0);
	assert_int_equal(image_inspect(f->store, "none", &image, &err), -ENOENT);
	assert_string_equal(err.name, "ImageNotFound");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_empty_store),
		STORE_TEST(test_list_and_sharing),
		STORE_TEST(test_remove),
		STORE_TEST(test_digest_prefix),
		STORE_TEST(test_short_names),
		STORE_TEST(test_prune),
		STORE_TEST(test_prune_waits_for_no_load),
		STORE_TEST(test_inspect),
		STORE_TEST(test_remove_in_use),
		STORE_TEST(test_two_references),
		STORE_TEST(test_moved_reference),
		STORE_TEST(test_tagged_again),
		STORE_TEST(test_load_in_a_worker),
		STORE_TEST(test_find_is_fast),
		STORE_TEST(test_locked_store),
		STORE_TEST(test_left_overs_are_swept),
		STORE_TEST(test_unfinished_layer),
		STORE_TEST(test_damaged_table),
		STORE_TEST(test_damaged_record),
		STORE_TEST(test_killed_loads),
		STORE_TEST(test_load_after_killed_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
