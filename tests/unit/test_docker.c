// SPDX-License-Identifier: MIT
/* Archives of `docker save` as the programs of the field write them, and as no honest program does; and streams. */
#include "image_fixture.h"

#include <pthread.h>

#define CONFIG_FMT \
	"{\"os\":\"linux\",\"config\":{\"Cmd\":[\"%s\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}"

/* Two layers and the config of an image of both. */
struct parts {
	struct tarball layers[2];
	char ids[2][DIGEST_SIZE];
	char config[1024], config_name[80];
};

static void make_layer(struct parts *p, int i, const char *name)
{
	tarball_begin(&p->layers[i], 1 << 20);
	tarball_file(&p->layers[i], name, "content");
	tarball_end(&p->layers[i]);
	text_digest(p->layers[i].buf, p->layers[i].used, p->ids[i]);
}

static void make_config(struct parts *p, const char *cmd)
{
	char digest[DIGEST_SIZE];

	snprintf(p->config, sizeof(p->config), CONFIG_FMT, cmd, p->ids[0], p->ids[1]);
	text_digest(p->config, strlen(p->config), digest);
	snprintf(p->config_name, sizeof(p->config_name), "%s.json", digest_hex(digest));
}

static void make_parts(struct parts *p)
{
	make_layer(p, 0, "one");
	make_layer(p, 1, "two");
	make_config(p, "sh");
}

static void free_parts(struct parts *p)
{
	free(p->layers[0].buf);
	free(p->layers[1].buf);
}

static void put_data(struct tarball *t, const char *path, const void *buf, size_t len)
{
	struct archive_entry *e = tarball_entry(path, AE_IFREG, 0644);

	archive_entry_set_size(e, (la_int64_t)len);
	assert_int_equal(archive_write_header(t->a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(t->a, buf, len), len);
	archive_entry_free(e);
}

static void put_layer(struct tarball *t, const char *path, const struct parts *p, int i)
{
	put_data(t, path, p->layers[i].buf, p->layers[i].used);
}

static void put_manifest(struct tarball *t, const char *config, const char *tags, const char *one,
			 const char *two)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "[{\"Config\":\"%s\",\"RepoTags\":%s,\"Layers\":[\"%s\",\"%s\"]}]", config, tags,
		 one, two);
	put_data(t, "manifest.json", text, strlen(text));
}

static int open_archive(struct fixture *f, struct tarball *t)
{
	int fd;

	tarball_end(t);
	write_file(f->dir, "archive", t->buf, t->used);
	free(t->buf);
	fd = openat(f->dir, "archive", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void expect_archive(struct fixture *f, struct tarball *t, const char *ref)
{
	cleanup_fd int fd = open_archive(f, t);
	struct error err;

	if (load_fd(f, fd, ref, &err) < 0)
		fail_msg("image_load: %s", err.msg);
}

static void refuse_archive(struct fixture *f, struct tarball *t, const char *needle)
{
	cleanup_fd int fd = open_archive(f, t);

	expect_refused_fd(f, fd, NULL, needle);
}

/* The image has both layers, in order, and nothing is left in tmp/. */
static void expect_whole(struct fixture *f, const char *ref, const struct parts *p)
{
	cleanup_image struct image *image = NULL;
	cleanup_free char *names = listing(f);
	struct error err = {};

	if (image_find(f->store, ref, &image, &err) < 0)
		fail_msg("image_find: %s", err.msg);
	assert_int_equal(image->n_layers, 2);
	assert_memory_equal(image->layers[0], digest_hex(p->ids[1]), 16);
	assert_memory_equal(image->layers[1], digest_hex(p->ids[0]), 16);
	assert_string_equal(image->cmd[0], "sh");
	assert_null(strstr(names, "./tmp/"));
}

/* Docker 20.10: folders of layers, where a layer that came before is a link, and the manifest at the end. */
static void test_docker_folders(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct parts p;
	struct tarball t;

	make_parts(&p);
	tarball_begin(&t, 1 << 20);
	tarball_dir(&t, "aaaa/");
	put_data(&t, "aaaa/VERSION", "1.0", 3);
	put_data(&t, "aaaa/json", "{}", 2);
	tarball_symlink(&t, "aaaa/layer.tar", "../cccc/layer.tar"); /* before its target */
	put_layer(&t, "cccc/layer.tar", &p, 0);
	put_layer(&t, "bbbb/layer.tar", &p, 1);
	tarball_symlink(&t, "dddd/layer.tar", "../bbbb/layer.tar");
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_manifest(&t, p.config_name, "[\"tool:1\",\"host.example:5000/tool:2\"]",
		     "aaaa/layer.tar", "dddd/layer.tar");
	put_data(&t, "repositories", "{}", 2);
	expect_archive(f, &t, NULL);
	expect_whole(f, "tool:1", &p);
	expect_whole(f, "host.example:5000/tool:2", &p);
	free_parts(&p);
}

/* podman and skopeo: layers by their digest, the manifest first. A name given fits all names of one image. */
static void test_podman_names(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct parts p;
	struct tarball t;

	make_parts(&p);
	tarball_begin(&t, 1 << 20);
	put_manifest(&t, p.config_name, "[\"a:1\",\"b:1\"]", "one.tar", "/./two.tar");
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_layer(&t, "one.tar", &p, 0);
	put_layer(&t, "two.tar", &p, 1);
	tarball_symlink(&t, "ffff/layer.tar", "../two.tar");
	expect_archive(f, &t, "mine:3");
	expect_whole(f, "mine:3", &p);
	free_parts(&p);
}

/* Docker 25 writes blobs; here without the index that it writes beside them. */
static void test_blobs_without_index(void **state)
{
	struct fixture *f = FIXTURE(state);
	char one[128], two[128];
	struct parts p;
	struct tarball t;

	make_parts(&p);
	blob_path(p.ids[0], one);
	blob_path(p.ids[1], two);
	tarball_begin(&t, 1 << 20);
	put_layer(&t, one, &p, 0);
	put_layer(&t, two, &p, 1);
	put_data(&t, "c.json", p.config, strlen(p.config));
	put_manifest(&t, "c.json", "[\"a:1\"]", one, two);
	expect_archive(f, &t, NULL);
	expect_whole(f, "a:1", &p);
	free_parts(&p);
}

static void test_compressed_layers(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct parts p;
	struct tarball t;

	make_parts(&p);
	tarball_compress(&p.layers[0], GZIP);
	tarball_compress(&p.layers[1], ZSTD);
	tarball_begin(&t, 1 << 20);
	put_layer(&t, "one.tar", &p, 0);
	put_layer(&t, "two.tar", &p, 1);
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_manifest(&t, p.config_name, "[\"a:1\"]", "one.tar", "two.tar");
	expect_archive(f, &t, NULL);
	expect_whole(f, "a:1", &p);
	free_parts(&p);
}

/* Several images in one archive; the digest depends on nothing but config and layers. */
static void test_digest_is_of_the_content(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_image struct image *a = NULL, *b = NULL, *c = NULL;
	char text[1024], want[DIGEST_SIZE], config[DIGEST_SIZE];
	struct parts p, q;
	struct tarball t;

	make_parts(&p);
	q = p;
	make_config(&q, "other");
	tarball_begin(&t, 1 << 20);
	put_layer(&t, "1.tar", &p, 0);
	put_layer(&t, "2.tar", &p, 1);
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_data(&t, q.config_name, q.config, strlen(q.config));
	snprintf(text, sizeof(text),
		 "[{\"Config\":\"%s\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"1.tar\",\"2.tar\"]},"
		 "{\"Config\":\"%s\",\"RepoTags\":[\"b:1\"],\"Layers\":[\"1.tar\",\"2.tar\"]}]",
		 p.config_name, q.config_name);
	put_data(&t, "manifest.json", text, strlen(text));
	expect_archive(f, &t, NULL);
	assert_int_equal(image_find(f->store, "a:1", &a, NULL), 0);
	assert_int_equal(image_find(f->store, "b:1", &b, NULL), 0);
	assert_string_not_equal(a->digest, b->digest);

	tarball_begin(&t, 1 << 20);
	put_manifest(&t, "z.json", "[\"c:1\"]", "x/layer.tar", "y/layer.tar");
	put_layer(&t, "y/layer.tar", &p, 1);
	put_layer(&t, "x/layer.tar", &p, 0);
	put_data(&t, "z.json", p.config, strlen(p.config));
	expect_archive(f, &t, NULL);
	assert_int_equal(image_find(f->store, "c:1", &c, NULL), 0);
	assert_string_equal(a->digest, c->digest);

	text_digest(p.config, strlen(p.config), config);
	snprintf(
		text, sizeof(text),
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"digest\":\"%s\",\"size\":%zu},\"layers\":["
		"{\"mediaType\":\"" PLAIN "\",\"digest\":\"%s\",\"size\":%zu},"
		"{\"mediaType\":\"" PLAIN "\",\"digest\":\"%s\",\"size\":%zu}]}",
		config, strlen(p.config), p.ids[0], p.layers[0].used, p.ids[1], p.layers[1].used);
	text_digest(text, strlen(text), want);
	assert_string_equal(a->digest, want);
	free_parts(&p);
}

static void test_hostile_links(void **state)
{
	static const struct {
		const char *target, *needle;
		bool hard;
	} cases[] = {
		{"/etc/passwd", "leads out of the archive"},
		{"../../two.tar", "leads out of the archive"},
		{"../x/../../two.tar", "leads out of the archive"},
		{"layer.tar", "lead nowhere"},
		{"../b/layer.tar", "lead nowhere"},
		{"../missing.tar", "\"missing.tar\" is missing"},
		{"../two.tar", "contains \"..\"", true},
	};
	struct fixture *f = FIXTURE(state);
	struct parts p;
	struct tarball t;

	make_parts(&p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tarball_begin(&t, 1 << 20);
		if (cases[i].hard)
			tarball_hardlink(&t, "a/layer.tar", cases[i].target);
		else
			tarball_symlink(&t, "a/layer.tar", cases[i].target);
		tarball_symlink(&t, "b/layer.tar", "../a/layer.tar");
		put_layer(&t, "two.tar", &p, 1);
		put_data(&t, p.config_name, p.config, strlen(p.config));
		put_manifest(&t, p.config_name, "[\"a:1\"]", "a/layer.tar", "two.tar");
		refuse_archive(f, &t, cases[i].needle);
	}
	free_parts(&p);
}

static void test_content_that_lies(void **state)
{
	struct fixture *f = FIXTURE(state);
	char name[80];
	struct parts p;
	struct tarball t;

	make_parts(&p);
	/* The other layer under this one's name. */
	tarball_begin(&t, 1 << 20);
	put_layer(&t, "one.tar", &p, 1);
	put_layer(&t, "two.tar", &p, 0);
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_manifest(&t, p.config_name, "[\"a:1\"]", "one.tar", "two.tar");
	refuse_archive(f, &t, "is damaged: its digest is");

	snprintf(name, sizeof(name), "%064d.json", 0);
	tarball_begin(&t, 1 << 20);
	put_data(&t, name, p.config, strlen(p.config));
	put_manifest(&t, name, "[\"a:1\"]", "one.tar", "two.tar");
	refuse_archive(f, &t, "is damaged: its digest is");

	tarball_begin(&t, 1 << 20);
	put_layer(&t, "one.tar", &p, 0);
	put_data(&t, "one.tar", "x", 1);
	refuse_archive(f, &t, "\"one.tar\" twice");

	tarball_begin(&t, 1 << 20);
	tarball_device(&t, "one.tar", AE_IFIFO, 0, 0);
	refuse_archive(f, &t, "not a regular file");
	free_parts(&p);
}

static void test_hostile_manifests(void **state)
{
	static const struct {
		const char *text, *needle;
	} cases[] = {
		{"", "manifest.json"},
		{"{}", "is not a list of 1 to 64 images"},
		{"[]", "is not a list of 1 to 64 images"},
		{"[1]", "without a Config"},
		{"[{\"Config\":\"../../etc/passwd\"}]", "contains \"..\""},
		{"[{\"Config\":\"none.json\"}]", "is missing from the archive"},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"a.tar\"]}]", "do not match the 1 layers"},
		{"[{\"Config\":\"c.json\",\"Layers\":7}]", "Layers is not a list"},
		{"[{\"Config\":\"c.json\",\"RepoTags\":[],\"Layers\":[]}]", "has 0 layers"},
		{"[{\"Config\":\"c.json\",\"RepoTags\":[7],\"Layers\":[]}]",
		 "RepoTags is not a list"},
	};
	struct fixture *f = FIXTURE(state);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tarball t;

		tarball_begin(&t, 1 << 20);
		put_data(&t, "c.json", "{}", 2);
		put_data(&t, "manifest.json", cases[i].text, strlen(cases[i].text));
		refuse_archive(f, &t, cases[i].needle);
	}
}

static void test_no_names(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct parts p;
	struct tarball t;

	make_parts(&p);
	for (int named = 0; named < 2; named++) {
		tarball_begin(&t, 1 << 20);
		put_layer(&t, "one.tar", &p, 0);
		put_layer(&t, "two.tar", &p, 1);
		put_data(&t, p.config_name, p.config, strlen(p.config));
		put_manifest(&t, p.config_name, "null", "one.tar", "two.tar");
		if (named)
			expect_archive(f, &t, "named:1");
		else
			refuse_archive(f, &t, "no name");
	}
	expect_whole(f, "named:1", &p);
	free_parts(&p);
}

/* ---- streams ---- */

struct feed {
	int from, to;
};

/* In small pieces, as a slow sender would. */
static void *feed(void *arg)
{
	struct feed *feed = arg;
	char piece[1000];
	ssize_t n;

	while ((n = read(feed->from, piece, sizeof(piece))) > 0)
		if (fd_write_all(feed->to, piece, n) < 0)
			break;
	close(feed->to);
	return NULL;
}

static void test_pipe(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct error err;
	struct parts p;
	struct tarball t;

	make_parts(&p);
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		cleanup_fd int fd = -1, in = -1;
		pthread_t thread;
		struct feed from;
		int pipes[2];

		tarball_begin(&t, 1 << 20);
		put_layer(&t, "one.tar", &p, 0);
		put_layer(&t, "two.tar", &p, 1);
		put_data(&t, p.config_name, p.config, strlen(p.config));
		put_manifest(&t, p.config_name, "[\"a:1\"]", "one.tar", "two.tar");
		fd = open_archive(f, &t);
		assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
		assert_int_equal(fcntl(pipes[0], F_SETFL, flags), 0);
		in = pipes[0];
		from = (struct feed){fd, pipes[1]};
		assert_int_equal(pthread_create(&thread, NULL, feed, &from), 0);
		if (load_fd(f, in, NULL, &err) < 0)
			fail_msg("image_load: %s", err.msg);
		assert_int_equal(pthread_join(thread, NULL), 0);
		expect_whole(f, "a:1", &p);
		assert_int_equal(image_remove(f->store, "a:1", NULL, NULL), 0);
		assert_unchanged(f);
	}
	free_parts(&p);
}

static void test_empty_pipe_and_devices(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_fd int null = open("/dev/zero", O_RDONLY | O_CLOEXEC), in = -1;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	in = pipes[0];
	close(pipes[1]);
	expect_refused_fd(f, in, NULL, "the archive is damaged");
	expect_refused_fd(f, null, NULL, "from a folder, a file or a pipe");
}

/* ---- progress ---- */

struct told {
	unsigned int n;
	bool reading;
};

static void note(void *arg, const char *step, uint64_t done, uint64_t total)
{
	struct told *told = arg;

	told->n++;
	told->reading |= !strcmp(step, "reading");
	assert_true(!total || done <= total);
}

static void test_progress(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct told told = {};
	struct parts p;
	struct tarball t;

	make_parts(&p);
	tarball_begin(&t, 1 << 20);
	put_layer(&t, "one.tar", &p, 0);
	put_layer(&t, "two.tar", &p, 1);
	put_data(&t, p.config_name, p.config, strlen(p.config));
	put_manifest(&t, p.config_name, "[\"a:1\"]", "one.tar", "two.tar");
	image_store_show_progress(f->store, note, &told);
	expect_archive(f, &t, NULL);
	/* The first at once; how many follow is a matter of time. */
	assert_true(told.n >= 1 && told.reading);
	free_parts(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_docker_folders),
		STORE_TEST(test_podman_names),
		STORE_TEST(test_blobs_without_index),
		STORE_TEST(test_compressed_layers),
		STORE_TEST(test_digest_is_of_the_content),
		STORE_TEST(test_hostile_links),
		STORE_TEST(test_content_that_lies),
		STORE_TEST(test_hostile_manifests),
		STORE_TEST(test_no_names),
		STORE_TEST(test_pipe),
		STORE_TEST(test_empty_pipe_and_devices),
		STORE_TEST(test_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
