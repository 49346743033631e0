// SPDX-License-Identifier: MIT
/*
 * Reading bbolt: what is there is found, a commit in between is noticed, damage ends in an error.
 */
#include <archive.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "core/boltdb.h"

#include "boltdb_builder.h"

#define PATH(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define MAX	  (1 << 20)

struct fixture {
	char dir[32], file[64];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/recap-bolt-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/db", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	rmdir(f->dir);
	free(f);
	return 0;
}

static struct boltdb *open_good(const char *path)
{
	struct boltdb *db = NULL;

	assert_int_equal(boltdb_open(path, &db), 0);
	return db;
}

static void expect(struct boltdb *db, const char *const *path, const char *want)
{
	cleanup_free char *got = NULL;
	size_t len;

	assert_int_equal(boltdb_get(db, path, MAX, &got, &len), 0);
	assert_int_equal(len, strlen(want));
	assert_string_equal(got, want);
}

static void expect_error(struct boltdb *db, const char *const *path, int want)
{
	char *got = NULL;

	assert_int_equal(boltdb_get(db, path, MAX, &got, NULL), want);
	assert_null(got);
}

/* What the tests of good and bent files share: pairs, a bucket of its own page, an inline one. */
static const struct bolt_node small[] = {{"app", "web"}, {"tier", "front"}};
static const struct bolt_node inner[] = {
	{"image", "nginx:1"},
	{"labels", .children = small, .n = 2, .small = true},
	{"nothing", ""},
};
static const struct bolt_node outer[] = {
	{"alpha", "1"},
	{"box", .children = inner, .n = 3},
	{"empty", .children = inner, .n = 0},
	{"zeta", "26"},
};

static void test_finds_values(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	char *got = NULL;

	bolt_save(&file, f->file);
	db = open_good(f->file);
	expect(db, PATH("alpha"), "1");
	expect(db, PATH("zeta"), "26");
	expect(db, PATH("box", "image"), "nginx:1");
	expect(db, PATH("box", "nothing"), "");
	expect(db, PATH("box", "labels", "tier"), "front");
	expect_error(db, PATH("absent"), -ENOENT);
	expect_error(db, PATH("alph"), -ENOENT);
	expect_error(db, PATH("alphabet"), -ENOENT);
	expect_error(db, PATH("box", "labels", "absent"), -ENOENT);
	expect_error(db, PATH("empty", "absent"), -ENOENT);
	expect_error(db, PATH("alpha", "below a value"), -ENOENT);
	expect_error(db, PATH("box"), -ENOENT);
	expect_error(db, PATH(), -ENOENT);
	assert_int_equal(boltdb_get(db, PATH("box", "image"), 6, &got, NULL), -EFBIG);
	assert_int_equal(boltdb_get(db, PATH("box", "image"), 7, &got, NULL), 0);
	free(got);
	free(file.data);
}

static void test_lists_pairs_but_not_buckets(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_boltdb_items struct boltdb_items *root = NULL, *labels = NULL, *empty = NULL;

	bolt_save(&file, f->file);
	db = open_good(f->file);
	assert_int_equal(boltdb_list(db, PATH(), 10, MAX, &root), 0);
	assert_int_equal(root->n, 2);
	assert_string_equal(root->item[1].key, "zeta");
	assert_string_equal(root->item[1].value, "26");
	assert_false(root->more);
	assert_int_equal(boltdb_list(db, PATH("box", "labels"), 10, MAX, &labels), 0);
	assert_int_equal(labels->n, 2);
	assert_string_equal(labels->item[0].key, "app");
	assert_string_equal(labels->item[0].value, "web");
	assert_int_equal(boltdb_list(db, PATH("empty"), 10, MAX, &empty), 0);
	assert_int_equal(empty->n, 0);
	free(file.data);
}

static void test_list_limits(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_boltdb_items struct boltdb_items *one = NULL, *bytes = NULL, *all = NULL;

	bolt_save(&file, f->file);
	db = open_good(f->file);
	assert_int_equal(boltdb_list(db, PATH("box", "labels"), 1, MAX, &one), 0);
	assert_int_equal(one->n, 1);
	assert_true(one->more);
	/* "app"+"web" fit in 6 bytes, "tier"+"front" do not. */
	assert_int_equal(boltdb_list(db, PATH("box", "labels"), 10, 6, &bytes), 0);
	assert_int_equal(bytes->n, 1);
	assert_true(bytes->more);
	assert_int_equal(boltdb_list(db, PATH("box", "labels"), 2, 15, &all), 0);
	assert_int_equal(all->n, 2);
	assert_false(all->more);
	free(file.data);
}

#define MANY 2000

/* Every second number, so that there are gaps to ask for. */
static struct bolt_node *many_nodes(void)
{
	struct bolt_node *nodes = calloc(MANY, sizeof(*nodes));

	assert_non_null(nodes);
	for (int i = 0; i < MANY; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%05d", 2 * i);
		nodes[i].key = strdup(key);
		nodes[i].value = nodes[i].key + 4;
	}
	return nodes;
}

static void many_free(struct bolt_node *nodes)
{
	for (int i = 0; i < MANY; i++)
		free((char *)nodes[i].key);
	free(nodes);
}

static void test_branches(void **state)
{
	struct fixture *f = *state;
	struct bolt_node *nodes = many_nodes();
	struct bolt_node root = {"many", .children = nodes, .n = MANY};
	struct bolt_file file = bolt_build(&root, 1, 5); /* five levels */
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_boltdb_items struct boltdb_items *items = NULL;

	bolt_save(&file, f->file);
	db = open_good(f->file);
	for (int i = 0; i < MANY; i++) {
		char gap[16];

		expect(db, PATH("many", nodes[i].key), nodes[i].value);
		snprintf(gap, sizeof(gap), "key-%05d", 2 * i + 1);
		expect_error(db, PATH("many", gap), -ENOENT);
	}
	expect_error(db, PATH("many", "a"), -ENOENT);
	expect_error(db, PATH("many", "z"), -ENOENT);
	assert_int_equal(boltdb_list(db, PATH("many"), MANY + 1, MAX, &items), 0);
	assert_int_equal(items->n, MANY);
	assert_false(items->more);
	for (int i = 0; i < MANY; i++)
		assert_string_equal(items->item[i].key, nodes[i].key);
	many_free(nodes);
	free(file.data);
}

static void test_values_longer_than_a_page(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *big = malloc(300001);
	struct bolt_node nodes[] = {{"a", "1"}, {"big", big}, {"c", "3"}};
	struct bolt_file file;
	cleanup_boltdb struct boltdb *db = NULL;

	memset(big, 'x', 300000);
	big[300000] = '\0';
	file = bolt_build(nodes, 3, 0);
	bolt_save(&file, f->file);
	db = open_good(f->file);
	expect(db, PATH("big"), big);
	expect(db, PATH("c"), "3");
	free(file.data);
}

/* A file that containerd 1.6 wrote: two namespaces with 3 and 30 containers. */
static void unpack_real(const char *path)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	FILE *out = fopen(path, "w");
	char buf[8192];
	ssize_t n;

	assert_non_null(out);
	archive_read_support_filter_gzip(a);
	archive_read_support_format_raw(a);
	assert_int_equal(
		archive_read_open_filename(a, "tests/unit/data/containerd-meta.db.gz", 8192), 0);
	assert_int_equal(archive_read_next_header(a, &entry), 0);
	while ((n = archive_read_data(a, buf, sizeof(buf))) > 0)
		assert_int_equal(fwrite(buf, 1, n, out), n);
	assert_int_equal(n, 0);
	archive_read_free(a);
	fclose(out);
}

static void test_real_file(void **state)
{
	struct fixture *f = *state;
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_boltdb_items struct boltdb_items *labels = NULL;

	unpack_real(f->file);
	db = open_good(f->file);
	expect(db, PATH("v1", "shop", "containers", "web-1", "image"), "rt.local/pause:1");
	expect(db, PATH("v1", "shop", "containers", "web-1", "labels", "note"), "two words");
	expect(db, PATH("v1", "shop", "containers", "db-1", "labels", "app"), "db");
	for (int i = 1; i <= 30; i++) {
		char id[16], number[16];

		snprintf(id, sizeof(id), "c-%d", i);
		snprintf(number, sizeof(number), "%d", i);
		expect(db, PATH("v1", "many", "containers", id, "labels", "n"), number);
	}
	expect_error(db, PATH("v1", "many", "containers", "c-31", "image"), -ENOENT);
	assert_int_equal(boltdb_list(db, PATH("v1", "shop", "containers", "web-1", "labels"), 10,
				     MAX, &labels),
			 0);
	assert_int_equal(labels->n, 4); /* three of ours, and containerd's stop signal */
	assert_string_equal(labels->item[0].key, "app");
}

static void test_newest_whole_meta_page_counts(void **state)
{
	struct fixture *f = *state;
	static const struct bolt_node old[] = {{"k", "old"}}, new[] = {{"k", "new"}};
	struct bolt_file file = bolt_build(old, 1, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	struct boltdb *none = NULL;
	uint64_t root = bolt_bucket(&file, new, 1);

	bolt_meta(&file, 0, root, 8);
	bolt_save(&file, f->file);
	db = open_good(f->file);
	expect(db, PATH("k"), "new");
	bolt_page(&file, 0)[40] ^= 1; /* as if half written: the checksum fails */
	bolt_save(&file, f->file);
	expect(db, PATH("k"), "old");
	bolt_page(&file, 1)[40] ^= 1;
	bolt_save(&file, f->file);
	expect_error(db, PATH("k"), -EBADMSG);
	assert_int_equal(boltdb_open(f->file, &none), -EBADMSG);
	free(file.data);
}

static void test_opens_only_databases(void **state)
{
	struct fixture *f = *state;
	struct boltdb *db = NULL;
	char link[80];
	FILE *file;

	assert_int_equal(boltdb_open(f->file, &db), -ENOENT);
	file = fopen(f->file, "w");
	assert_int_equal(boltdb_open(f->file, &db), -EBADMSG);
	for (int i = 0; i < 20000; i++)
		fputc('x', file);
	fclose(file);
	assert_int_equal(boltdb_open(f->file, &db), -EBADMSG);
	snprintf(link, sizeof(link), "%s/link", f->dir);
	assert_int_equal(symlink(f->file, link), 0);
	assert_int_equal(boltdb_open(link, &db), -ELOOP);
	unlink(link);
	unlink(f->file);
	assert_int_equal(mkfifo(f->file, 0600), 0);
	assert_int_equal(boltdb_open(f->file, &db), -EBADMSG);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/*
 * Build, let `bend` spoil the root's leaf (page 3: the inner bucket's comes first), expect an
 * error.
 */
typedef void (*bend_fn)(struct bolt_file *file, unsigned char *page);

static void expect_bent(const char *path, bend_fn bend, const char *const *key, int want)
{
	struct bolt_file file = bolt_build(outer, 4, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	struct boltdb_items *items = NULL;
	uint64_t root;
	int r;

	memcpy(&root, bolt_page(&file, 1) + 32, 8);
	bend(&file, bolt_page(&file, root));
	bolt_save(&file, path);
	db = open_good(path);
	expect_error(db, key, want);
	r = boltdb_list(db, PATH("box"), 10, MAX, &items);
	assert_true(r == 0 || r == want);
	boltdb_items_free(items);
	free(file.data);
}

/* Element `i` of a leaf: flags, position, key's and value's length. */
static unsigned char *element(unsigned char *page, unsigned int i)
{
	return page + 16 + 16 * i;
}

static void bend_position(struct bolt_file *file, unsigned char *page)
{
	bolt_put(element(page, 1) + 4, 0xffffffff, 4);
}

static void bend_position_into_header(struct bolt_file *file, unsigned char *page)
{
	bolt_put(element(page, 1) + 4, 0, 4);
}

static void bend_key_length(struct bolt_file *file, unsigned char *page)
{
	bolt_put(element(page, 1) + 8, 0xffffffff, 4);
}

static void bend_value_length(struct bolt_file *file, unsigned char *page)
{
	bolt_put(element(page, 1) + 12, 0xffffffff, 4);
}

static void bend_count(struct bolt_file *file, unsigned char *page)
{
	bolt_put(page + 10, 0xffff, 2);
}

static void bend_overflow(struct bolt_file *file, unsigned char *page)
{
	bolt_put(page + 12, 0xffffffff, 4);
}

static void bend_id(struct bolt_file *file, unsigned char *page)
{
	bolt_put(page, 99, 8);
}

static void bend_kind(struct bolt_file *file, unsigned char *page)
{
	bolt_put(page + 8, 0x10, 2);
}

static void bend_short_bucket(struct bolt_file *file, unsigned char *page)
{
	bolt_put(element(page, 1) + 12, 15, 4);
}

/* Where "box" says its root is. */
static unsigned char *box_root(unsigned char *page)
{
	unsigned char *e = element(page, 1);
	uint32_t pos, key;

	memcpy(&pos, e + 4, 4);
	memcpy(&key, e + 8, 4);
	return e + pos + key;
}

static void bend_root_is_meta(struct bolt_file *file, unsigned char *page)
{
	bolt_put(box_root(page), 1, 8);
}

static void bend_root_beyond_the_end(struct bolt_file *file, unsigned char *page)
{
	bolt_put(box_root(page), file->pages, 8);
}

static void bend_root_huge(struct bolt_file *file, unsigned char *page)
{
	bolt_put(box_root(page), UINT64_MAX, 8);
}

static void bend_root_inline(struct bolt_file *file, unsigned char *page)
{
	bolt_put(box_root(page), 0, 8); /* with no inline page behind it */
}

static void test_bent_elements(void **state)
{
	static const bend_fn bends[] = {
		bend_position,	   bend_position_into_header,
		bend_key_length,   bend_value_length,
		bend_count,	   bend_overflow,
		bend_id,	   bend_kind,
		bend_short_bucket, bend_root_is_meta,
		bend_root_huge,	   bend_root_beyond_the_end,
		bend_root_inline,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bends); i++)
		expect_bent(f->file, bends[i], PATH("box", "image"), -EBADMSG);
}

/* A branch whose only child is itself. */
static void test_branch_loop(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	const char *key = "a";
	uint64_t loop = file.pages;
	cleanup_boltdb struct boltdb *db = NULL;
	struct boltdb_items *items = NULL;

	assert_int_equal(bolt_branch(&file, &key, &loop, 1), loop);
	bolt_meta(&file, 0, loop, 9);
	bolt_save(&file, f->file);
	db = open_good(f->file);
	expect_error(db, PATH("alpha"), -EBADMSG);
	assert_int_equal(boltdb_list(db, PATH(), 10, MAX, &items), -EBADMSG);
	free(file.data);
}

/* 20 levels, each with 200 ways to the next: 200^20 paths to an empty leaf. */
static void test_branch_bomb(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	uint64_t ids[200], next = bolt_leaf(&file, NULL, 0);
	const char *keys[200];
	cleanup_boltdb struct boltdb *db = NULL;
	struct boltdb_items *items = NULL;
	time_t start = time(NULL);

	for (int level = 0; level < 20; level++) {
		for (int i = 0; i < 200; i++) {
			keys[i] = "k";
			ids[i] = next;
		}
		next = bolt_branch(&file, keys, ids, 200);
	}
	bolt_meta(&file, 0, next, 9);
	bolt_save(&file, f->file);
	db = open_good(f->file);
	assert_int_equal(boltdb_list(db, PATH(), 10, MAX, &items), -EBADMSG);
	expect_error(db, PATH("k"), -ENOENT);
	assert_true(time(NULL) - start < 10);
	free(file.data);
}

/* A bucket that contains itself: the path's length ends it. */
static void test_bucket_in_itself(void **state)
{
	struct fixture *f = *state;
	struct bolt_file file = bolt_build(outer, 4, 0);
	cleanup_boltdb struct boltdb *db = NULL;
	uint64_t root;

	memcpy(&root, bolt_page(&file, 1) + 32, 8);
	bolt_put(box_root(bolt_page(&file, root)), root, 8);
	bolt_save(&file, f->file);
	db = open_good(f->file);
	expect(db, PATH("box", "box", "box", "alpha"), "1");
	expect_error(db, PATH("box", "image"), -ENOENT);
	free(file.data);
}

/* Whatever is asked of a damaged file: an answer or one of the documented errors. */
static void ask_everything(struct boltdb *db)
{
	const char *const *const paths[] = {
		PATH("v1", "shop", "containers", "web-1", "image"),
		PATH("v1", "many", "containers", "c-17", "labels", "n"),
		PATH("v1", "shop", "containers", "web-1", "labels"),
		PATH("v1", "many", "containers", "c-17", "labels"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct boltdb_items *items = NULL;
		char *value = NULL;
		int r = boltdb_get(db, paths[i], MAX, &value, NULL);

		assert_true(r == 0 || r == -ENOENT || r == -EBADMSG || r == -EFBIG);
		assert_int_equal(!r, !!value);
		free(value);
		r = boltdb_list(db, paths[i], 100, MAX, &items);
		assert_true(r == 0 || r == -ENOENT || r == -EBADMSG);
		boltdb_items_free(items);
	}
}

static void test_truncated_anywhere(void **state)
{
	struct fixture *f = *state;
	struct boltdb *db;
	struct stat st;
	int damaged = 0;

	unpack_real(f->file);
	assert_int_equal(stat(f->file, &st), 0);
	db = open_good(f->file);
	for (off_t len = st.st_size; len > 0; len -= len > 8192 ? 1365 : 100) {
		char *value = NULL;

		assert_int_equal(truncate(f->file, len), 0);
		ask_everything(db);
		damaged += boltdb_get(db, PATH("v1", "shop", "containers", "web-1", "image"), MAX,
				      &value, NULL) == -EBADMSG;
		free(value);
	}
	assert_true(damaged > 100);
	boltdb_close(db);
	assert_int_equal(truncate(f->file, 0), 0);
	assert_int_equal(boltdb_open(f->file, &db), -EBADMSG);
}

static void test_random_damage(void **state)
{
	struct fixture *f = *state;
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_free unsigned char *good = NULL;
	struct stat st;
	int fd;

	unpack_real(f->file);
	assert_int_equal(stat(f->file, &st), 0);
	good = malloc(st.st_size);
	fd = open(f->file, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, good, st.st_size, 0), st.st_size);
	db = open_good(f->file);
	srandom(20);
	for (int round = 0; round < 4000; round++) {
		off_t at[16];

		for (int i = 0; i < 16; i++) {
			unsigned char byte = random();

			/* Half of them in page headers and elements, where they hurt. */
			at[i] = 8192 + random() % (st.st_size - 8192);
			if (i % 2)
				at[i] = at[i] / 4096 * 4096 + at[i] % 96;
			assert_int_equal(pwrite(fd, &byte, 1, at[i]), 1);
		}
		ask_everything(db);
		for (int i = 0; i < 16; i++)
			assert_int_equal(pwrite(fd, good + at[i], 1, at[i]), 1);
	}
	close(fd);
	expect(db, PATH("v1", "shop", "containers", "web-1", "image"), "rt.local/pause:1");
}

/* ---- a writer in between --------------------------------------------------------------------- */

struct writer {
	int fd;
	atomic_bool stop;
	atomic_uint commits;
};

#define PAIRS 40

/*
 * Commit number `tx`: every value says `tx`. Two sets of pages take turns, as soon as bbolt would
 * reuse them.
 */
static void commit(int fd, unsigned int tx)
{
	struct bolt_file f = {.per_page = 4};
	struct bolt_node nodes[PAIRS];
	char keys[PAIRS][16], value[16];
	size_t base = tx % 2 * 32 + 2;
	uint64_t root;

	snprintf(value, sizeof(value), "%u", tx);
	for (int i = 0; i < PAIRS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%03d", i);
		nodes[i] = (struct bolt_node){keys[i], value};
	}
	bolt_alloc(&f, base * BOLT_PAGE);
	root = bolt_bucket(&f, nodes, PAIRS);
	assert(f.pages <= base + 32);
	if (pwrite(fd, bolt_page(&f, base), (f.pages - base) * BOLT_PAGE, base * BOLT_PAGE) < 0)
		abort();
	f.pages = 66;
	f.data = realloc(f.data, f.pages * BOLT_PAGE);
	bolt_meta(&f, tx % 2, root, tx);
	if (pwrite(fd, bolt_page(&f, tx % 2), BOLT_PAGE, tx % 2 * BOLT_PAGE) < 0)
		abort();
	free(f.data);
}

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!w->stop) {
		commit(w->fd, ++w->commits);
		/*
		 * Let the reader in between: 16 attempts would not do against a writer that never
		 * rests.
		 */
		if (w->commits % 3 == 0)
			usleep(200);
	}
	return NULL;
}

static void test_a_commit_in_between_is_noticed(void **state)
{
	struct fixture *f = *state;
	cleanup_boltdb struct boltdb *db = NULL;
	struct writer w = {.fd = open(f->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
	unsigned int reads = 0;
	pthread_t thread;
	time_t end = time(NULL) + 2, patience = end + 60; /* under valgrind, on a busy machine */

	commit(w.fd, ++w.commits);
	commit(w.fd, ++w.commits);
	db = open_good(f->file);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	while (time(NULL) < (reads > 100 && w.commits > 100 ? end : patience)) {
		cleanup_boltdb_items struct boltdb_items *items = NULL;
		int r = boltdb_list(db, PATH(), PAIRS, MAX, &items);

		if (r == -EAGAIN)
			continue;
		assert_int_equal(r, 0);
		assert_int_equal(items->n, PAIRS);
		for (int i = 1; i < PAIRS; i++)
			assert_string_equal(items->item[i].value, items->item[0].value);
		reads++;
	}
	w.stop = true;
	pthread_join(thread, NULL);
	close(w.fd);
	assert_true(reads > 100 && w.commits > 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_finds_values),
		T(test_lists_pairs_but_not_buckets),
		T(test_list_limits),
		T(test_branches),
		T(test_values_longer_than_a_page),
		T(test_real_file),
		T(test_newest_whole_meta_page_counts),
		T(test_opens_only_databases),
		T(test_bent_elements),
		T(test_branch_loop),
		T(test_branch_bomb),
		T(test_bucket_in_itself),
		T(test_truncated_anywhere),
		T(test_random_damage),
		T(test_a_commit_in_between_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
