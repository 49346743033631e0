/* SPDX-License-Identifier: MIT */
/* A store in a temporary folder that holds one image, and a layout in the making beside it. */
#ifndef RECAP_IMAGE_FIXTURE_H
#define RECAP_IMAGE_FIXTURE_H

#include "layout_builder.h"

#include <stdio.h>
#include <sys/wait.h>

#include "core/image.h"

struct fixture {
	char path[64], store_path[96];
	int dir;
	struct image_store *store;
	struct layout l;
	char *before; /* the store as setup() left it */
};

/* All names of the store with their types, modes, owners and lengths, in order. The caller frees it. */
static inline char *listing(struct fixture *f)
{
	char command[256], *text = NULL;
	size_t size = 0;
	FILE *p;

	snprintf(command, sizeof(command),
		 "cd %s && find . -mindepth 1 ! -type d -printf '%%p %%y %%m %%U %%s %%l\\n' -o "
		 "-mindepth 1 -printf '%%p %%y %%m %%U\\n' | LC_ALL=C sort && cat refs.json",
		 f->store_path);
	p = popen(command, "re");
	assert_non_null(p);
	assert_true(getdelim(&text, &size, '\0', p) > 0);
	assert_int_equal(pclose(p), 0);
	return text;
}

static inline int load_fd(struct fixture *f, int fd, const char *ref, struct error *err)
{
	cleanup_json struct json_object *rows = NULL;

	*err = (struct error){};
	return image_load(f->store, fd, ref, &rows, err);
}

static inline void expect_loaded(struct fixture *f, const char *ref)
{
	struct error err;
	int r = load_fd(f, f->l.dir, ref, &err);

	if (r < 0)
		fail_msg("image_load: %s", err.msg);
}

static inline void assert_unchanged(struct fixture *f)
{
	cleanup_free char *now = listing(f);

	assert_string_equal(now, f->before);
}

/* The layout is refused with a line that has `needle` in it, and the store is what it was. */
static inline void expect_refused_fd(struct fixture *f, int fd, const char *ref, const char *needle)
{
	struct error err;
	int r = load_fd(f, fd, ref, &err);

	if (r >= 0)
		fail_msg("loaded, where \"%s\" was expected", needle);
	if (!strstr(err.msg, needle))
		fail_msg("\"%s\" is not in \"%s\"", needle, err.msg);
	assert_string_equal(err.name, "ImageInvalid");
	assert_unchanged(f);
}

static inline void expect_refused(struct fixture *f, const char *needle)
{
	expect_refused_fd(f, f->l.dir, NULL, needle);
}

/* End the image at hand with one layer, and expect it to be refused. */
static inline void expect_layer_refused(struct fixture *f, struct tarball *t, const char *needle)
{
	layout_layer(&f->l, t, GZIP);
	layout_image(&f->l, "evil:1");
	expect_refused(f, needle);
}

static inline void new_layout(struct fixture *f)
{
	layout_end(&f->l);
	layout_begin(&f->l, f->dir, "layout");
}

static inline void reopen(struct fixture *f)
{
	struct error err = {};

	image_store_close(f->store);
	f->store = NULL;
	if (image_store_open(f->store_path, &f->store, &err) < 0)
		fail_msg("image_store_open: %s", err.msg);
}

/* Owners, whiteouts and trusted.* attributes need root. */
static inline bool not_root(void)
{
	if (geteuid() == 0)
		return false;
	if (getenv("RECAP_MUST_RUN"))
		fail_msg("the image store's tests need root");
	print_message("skipped: unpacking layers needs root\n");
	return true;
}

static inline int setup(void **state)
{
	struct fixture *f = NULL;
	struct tarball t;

	*state = NULL;
	if (not_root())
		return 0;
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	strcpy(f->path, "/tmp/recap-image-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(f->store_path, sizeof(f->store_path), "%s/store", f->path);
	assert_int_equal(image_store_open(f->store_path, &f->store, NULL), 0);
	layout_begin(&f->l, f->dir, "layout");
	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "etc/base", "base");
	layout_layer(&f->l, &t, GZIP);
	layout_image(&f->l, "base:1");
	expect_loaded(f, NULL);
	f->before = listing(f);
	new_layout(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (!f)
		return 0;
	layout_end(&f->l);
	image_store_close(f->store);
	fd_close(f->dir);
	assert_int_equal(fd_remove_tree(AT_FDCWD, f->path), 0);
	free(f->before);
	free(f);
	return 0;
}

/* At the start of each test: the fixture, or the end of the test where there is none. */
#define FIXTURE(state)                      \
	({                                  \
		if (!*(state))              \
			skip();             \
		(struct fixture *)*(state); \
	})

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
