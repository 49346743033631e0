// SPDX-License-Identifier: MIT
/* Unpacking layers: what honest ones become, and that hostile ones leave no trace. */
#include "image_fixture.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "core/layer.h"
#include "core/tar.h"

/* Load the layout's one image, and give the path of its top-most layer under `path`. */
static void loaded_path(struct fixture *f, const char *ref, const char *path, char ret[PATH_MAX])
{
	cleanup_image struct image *image = NULL;
	struct error err = {};

	expect_loaded(f, NULL);
	if (image_find(f->store, ref, &image, &err) < 0)
		fail_msg("image_find: %s", err.msg);
	snprintf(ret, PATH_MAX, "%s/layers/%s/%s", f->store_path, image->layers[0], path);
}

static void load_layer(struct fixture *f, struct tarball *t, char ret_root[PATH_MAX])
{
	layout_layer(&f->l, t, GZIP);
	layout_image(&f->l, "good:1");
	loaded_path(f, "good:1", "", ret_root);
}

/* lstat of a path under the layer. */
static struct stat look(const char *root, const char *path)
{
	char full[2 * PATH_MAX];
	struct stat st = {};

	snprintf(full, sizeof(full), "%s%s", root, path);
	if (lstat(full, &st) < 0)
		assert_int_equal(errno, ENOENT);
	return st;
}

static bool is_opaque(const char *root, const char *path)
{
	char full[2 * PATH_MAX], value[4];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return lgetxattr(full, "trusted.overlay.opaque", value, sizeof(value)) == 1 &&
	       value[0] == 'y';
}

static bool is_whiteout(const char *root, const char *path)
{
	struct stat st = look(root, path);

	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

static void test_files_keep_what_they_may(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct archive_entry *e = tarball_entry("./bin/su", AE_IFREG, 06755);
	struct tarball t;
	char root[PATH_MAX];
	struct stat st;

	tarball_begin(&t, 1 << 20);
	tarball_dir(&t, "./");
	tarball_dir(&t, "/bin/");
	tarball_put(&t, e, "program");
	tarball_symlink(&t, "bin/sh", "/bin/su");
	tarball_hardlink(&t, "bin/again", "/bin/su");
	e = tarball_entry("tmp", AE_IFDIR, 03777);
	archive_entry_xattr_add_entry(e, "user.note", "y", 1);
	archive_entry_xattr_add_entry(e, "security.capability", "y", 1);
	archive_entry_xattr_add_entry(e, "trusted.other", "y", 1);
	tarball_put(&t, e, NULL);
	load_layer(f, &t, root);

	st = look(root, "bin/su");
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 34);
	assert_int_equal(st.st_size, 7);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(look(root, "bin/again").st_ino, st.st_ino);
	st = look(root, "bin/sh");
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_uid, 12);
	st = look(root, "bin");
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	assert_int_equal(st.st_mtime, 1000000000);
	st = look(root, "");
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(look(root, "tmp").st_mode, S_IFDIR | 01777);
	strcat(root, "tmp");
	assert_int_equal(lgetxattr(root, "user.note", NULL, 0), 1);
	assert_true(lgetxattr(root, "security.capability", NULL, 0) < 0);
	assert_true(lgetxattr(root, "trusted.other", NULL, 0) < 0);
}

static void test_umask_does_not_matter(void **state)
{
	struct fixture *f = FIXTURE(state);
	mode_t old = umask(0777);
	struct archive_entry *e;
	struct tarball t;
	char root[PATH_MAX];

	tarball_begin(&t, 1 << 20);
	e = tarball_entry("some/where/file", AE_IFREG, 0666);
	tarball_put(&t, e, "x");
	umask(022); /* the layout's own files */
	layout_layer(&f->l, &t, GZIP);
	layout_image(&f->l, "good:1");
	umask(0777);
	expect_loaded(f, NULL);
	umask(old);
	loaded_path(f, "good:1", "", root);
	assert_int_equal(look(root, "").st_mode, S_IFDIR | 0755);
	assert_int_equal(look(root, "some").st_mode, S_IFDIR | 0755);
	assert_int_equal(look(root, "some/where").st_mode, S_IFDIR | 0755);
	assert_int_equal(look(root, "some/where/file").st_mode, S_IFREG | 0666);
}

static void test_devices_are_dropped(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;
	char root[PATH_MAX];

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "dev/kept", "x");
	tarball_device(&t, "dev/sda", AE_IFBLK, 8, 0);
	tarball_device(&t, "dev/mem", AE_IFCHR, 1, 1);
	tarball_device(&t, "dev/fifo", AE_IFIFO, 0, 0);
	tarball_device(&t, "forged-whiteout", AE_IFCHR, 0, 0);
	load_layer(f, &t, root);
	assert_true(S_ISREG(look(root, "dev/kept").st_mode));
	assert_int_equal(look(root, "dev/sda").st_mode, 0);
	assert_int_equal(look(root, "dev/mem").st_mode, 0);
	assert_int_equal(look(root, "dev/fifo").st_mode, 0);
	assert_int_equal(look(root, "forged-whiteout").st_mode, 0);
}

static void test_whiteouts(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;
	char root[PATH_MAX];

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "etc/.wh.gone", NULL);
	tarball_file(&t, "var/.wh..wh..opq", NULL);
	tarball_file(&t, "var/kept", "x");
	tarball_file(&t, ".wh..wh.plnk", NULL);
	/* In one layer, whatever the order: the layer's own stays, what lies below is hidden. */
	tarball_file(&t, "own-first", "x");
	tarball_file(&t, ".wh.own-first", NULL);
	tarball_file(&t, ".wh.own-last", NULL);
	tarball_file(&t, "own-last", "x");
	tarball_file(&t, "dir-first/x", "x");
	tarball_file(&t, ".wh.dir-first", NULL);
	tarball_file(&t, ".wh.dir-last", NULL);
	tarball_file(&t, "dir-last/x", "x");
	tarball_file(&t, ".wh.dir-entry", NULL);
	tarball_dir(&t, "dir-entry");
	load_layer(f, &t, root);

	assert_true(is_whiteout(root, "etc/gone"));
	assert_int_equal(look(root, "etc/.wh.gone").st_mode, 0);
	assert_true(is_opaque(root, "var"));
	assert_false(is_opaque(root, "etc"));
	assert_int_equal(look(root, "var/.wh..wh..opq").st_mode, 0);
	assert_int_equal(look(root, ".wh..wh.plnk").st_mode, 0);
	assert_true(S_ISREG(look(root, "own-first").st_mode));
	assert_true(S_ISREG(look(root, "own-last").st_mode));
	assert_true(is_opaque(root, "dir-first"));
	assert_true(is_opaque(root, "dir-last"));
	assert_true(is_opaque(root, "dir-entry"));
	assert_true(S_ISREG(look(root, "dir-last/x").st_mode));
}

static void test_later_entries_win(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;
	char root[PATH_MAX];

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "a", "old");
	tarball_hardlink(&t, "b", "a");
	tarball_file(&t, "a", "newer"); /* must not be written through the link */
	tarball_hardlink(&t, "b", "b");
	tarball_file(&t, "dir/sub/x", "x");
	tarball_file(&t, "dir", "now a file");
	tarball_symlink(&t, "link", "/etc");
	tarball_dir(&t, "link");
	tarball_file(&t, "link/passwd", "x");
	load_layer(f, &t, root);
	assert_int_equal(look(root, "a").st_size, 5);
	assert_int_equal(look(root, "b").st_size, 3);
	assert_true(S_ISREG(look(root, "dir").st_mode));
	assert_true(S_ISDIR(look(root, "link").st_mode));
	assert_int_equal(look(root, "link/passwd").st_size, 1);
}

static void test_sparse_file(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct archive_entry *e = tarball_entry("sparse", AE_IFREG, 0644);
	static char data[1 << 20];
	struct tarball t;
	char root[PATH_MAX];

	memset(data, 0, sizeof(data));
	memset(data + 65536, 'x', 4096);
	tarball_begin(&t, 4 << 20);
	archive_entry_set_size(e, sizeof(data));
	archive_entry_sparse_add_entry(e, 65536, 4096);
	assert_int_equal(archive_write_header(t.a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(t.a, data, sizeof(data)), sizeof(data));
	archive_entry_free(e);
	load_layer(f, &t, root);
	assert_int_equal(look(root, "sparse").st_size, sizeof(data));
	assert_true(look(root, "sparse").st_blocks * 512 < 65536);
}

/* As `umoci insert` writes them: nothing behind the last file's last byte. */
static void test_archive_without_end(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;
	char root[PATH_MAX];

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "first", "first");
	tarball_file(&t, "last", "last");
	tarball_end(&t);
	t.used = 3 * 512 + 4;
	load_layer(f, &t, root);
	assert_int_equal(look(root, "first").st_size, 5);
	assert_int_equal(look(root, "last").st_size, 4);
}

static void test_truncated_data(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "last", "last");
	tarball_end(&t);
	t.used = 512 + 3;
	expect_layer_refused(f, &t, "the archive is damaged");
}

/* A pax header with records of less than 100 bytes each. The last is NULL. */
static void raw_pax(struct tarball *t, const char *const *records)
{
	char text[512] = "";
	size_t used = 0;

	for (; *records; records++) {
		size_t len = strlen(*records) + 4;

		assert_in_range(len, 10, 99);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%zu %s\n", len,
					 *records);
	}
	raw_header(t, 'x', "pax", used);
	raw_data(t, text, used);
}

/* Go writes a pax record for such a name, which the C locale cannot show. */
static void test_names_of_other_locales(void **state)
{
	struct fixture *f = FIXTURE(state);
	const char *const path[] = {"path=dir/gr\xc3\xb6\xc3\x9f-\xe6\x97\xa5", NULL};
	struct tarball t = raw_tarball(8192);
	char root[PATH_MAX];

	raw_pax(&t, path);
	raw_header(&t, '0', "ascii", 3);
	raw_data(&t, "abc", 3);
	raw_header(&t, '0', "latin-\xf6", 3);
	raw_data(&t, "abc", 3);
	load_layer(f, &t, root);
	assert_int_equal(look(root, "dir/gr\xc3\xb6\xc3\x9f-\xe6\x97\xa5").st_size, 3);
	assert_int_equal(look(root, "latin-\xf6").st_size, 3);
	assert_int_equal(look(root, "ascii").st_mode, 0);
}

static void test_traversal(void **state)
{
	static const char *const paths[] = {"../evil", "a/../../evil", "/..", "a/..", "./../evil"};
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		tarball_begin(&t, 1 << 20);
		tarball_file(&t, paths[i], "evil");
		expect_layer_refused(f, &t, "contains \"..\"");
		new_layout(f);
	}
	assert_true(faccessat(f->dir, "evil", F_OK, 0) < 0);
}

static void test_absolute_paths_stay_inside(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;
	char root[PATH_MAX], evil[128];

	snprintf(evil, sizeof(evil), "%s/evil", f->path);
	tarball_begin(&t, 1 << 20);
	tarball_file(&t, evil, "evil");
	load_layer(f, &t, root);
	assert_int_equal(look(root, evil).st_size, 4);
	assert_true(faccessat(f->dir, "evil", F_OK, 0) < 0);
}

static void test_path_through_symlink(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "out", f->path);
	tarball_file(&t, "out/evil", "evil");
	expect_layer_refused(f, &t, "which is a symbolic link");
	assert_true(faccessat(f->dir, "evil", F_OK, 0) < 0);

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "deep/dir/x", "x");
	tarball_symlink(&t, "deep/dir/out", "../../../..");
	tarball_file(&t, "deep/dir/out/a/evil", "evil");
	expect_layer_refused(f, &t, "which is a symbolic link");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "file", "x");
	tarball_file(&t, "file/evil", "evil");
	expect_layer_refused(f, &t, "which is not a folder");
}

static void test_whiteout_through_symlink(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "out", f->path);
	tarball_file(&t, "out/.wh..wh..opq", NULL);
	expect_layer_refused(f, &t, "which is a symbolic link");
}

static void test_hostile_whiteouts(void **state)
{
	static const char *const paths[] = {".wh.", ".wh..", ".wh...", "a/.wh.."};
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		tarball_begin(&t, 1 << 20);
		tarball_file(&t, paths[i], NULL);
		expect_layer_refused(f, &t, "a whiteout names nothing");
		new_layout(f);
	}
	tarball_begin(&t, 1 << 20);
	tarball_file(&t, ".wh.dir/file", "x");
	expect_layer_refused(f, &t, "leads through whiteout");
	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_dir(&t, ".wh.dir");
	expect_layer_refused(f, &t, "a whiteout is not a regular file");
}

static void test_hostile_hardlinks(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_hardlink(&t, "evil", "../../../../etc/shadow");
	expect_layer_refused(f, &t, "a hard link's target: a path contains \"..\"");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_hardlink(&t, "evil", "/etc/shadow");
	expect_layer_refused(f, &t, "not a regular file of this layer");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "link", "/etc/shadow");
	tarball_hardlink(&t, "evil", "link");
	expect_layer_refused(f, &t, "not a regular file of this layer");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "etc", "/etc");
	tarball_hardlink(&t, "evil", "etc/shadow");
	expect_layer_refused(f, &t, "not a regular file of this layer");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	tarball_dir(&t, "dir");
	tarball_hardlink(&t, "evil", "dir");
	expect_layer_refused(f, &t, "not a regular file of this layer");
}

static void test_forged_overlay_attributes(void **state)
{
	static const char *const names[] = {"trusted.overlay.opaque", "trusted.overlay.redirect",
					    "user.overlay.whiteout"};
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		tarball_begin(&t, 1 << 20);
		tarball_xattr(&t, "dir", names[i]);
		expect_layer_refused(f, &t, "forges overlayfs's attribute");
		new_layout(f);
	}
}

static void test_long_paths(void **state)
{
	struct fixture *f = FIXTURE(state);
	char path[PATH_MAX + 64];
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	memset(path, 'a', NAME_MAX + 1);
	path[NAME_MAX + 1] = '\0';
	tarball_file(&t, path, "x");
	expect_layer_refused(f, &t, "a name is longer than 255 bytes");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	for (int i = 0; i <= TAR_DEPTH_MAX; i++)
		strcpy(path + 2 * i, "a/");
	tarball_file(&t, path, NULL);
	expect_layer_refused(f, &t, "more than 128 folders deep");

	new_layout(f);
	tarball_begin(&t, 1 << 20);
	for (size_t i = 0; i < PATH_MAX; i++)
		path[i] = i % 100 ? 'a' : '/';
	path[PATH_MAX] = '\0';
	tarball_file(&t, path, NULL);
	expect_layer_refused(f, &t, "a path is longer than");
}

static void test_owner_out_of_range(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct archive_entry *e = tarball_entry("file", AE_IFREG, 0644);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	archive_entry_set_uid(e, 4294967295);
	tarball_put(&t, e, "x");
	expect_layer_refused(f, &t, "an owner is out of range");
}

/* Headers that promise an exabyte, of data or of holes. */
static void test_oversized_files(void **state)
{
	struct fixture *f = FIXTURE(state);
	const char *const holes[] = {"GNU.sparse.size=1152921504606846976",
				     "GNU.sparse.numblocks=1",
				     "GNU.sparse.map=1152921504606846970,1", NULL};
	struct tarball t = raw_tarball(8192);

	raw_header(&t, '0', "bomb", 1ull << 60);
	raw_data(&t, "abc", 3);
	expect_layer_refused(f, &t, "is more than the limit leaves");

	new_layout(f);
	t = raw_tarball(8192);
	raw_pax(&t, holes);
	raw_header(&t, '0', "bomb", 1);
	raw_data(&t, "a", 1);
	expect_layer_refused(f, &t, "is more than the limit leaves");
}

/* A sparse map that would take more memory than any honest file's. */
static void test_metadata_bomb(void **state)
{
	struct fixture *f = FIXTURE(state);
	const char *const sparse[] = {"GNU.sparse.major=1", "GNU.sparse.minor=0",
				      "GNU.sparse.realsize=99999999", NULL};
	const size_t len = 2 * TAR_HEADER_MAX;
	cleanup_free char *map = malloc(len);
	struct tarball t = raw_tarball(len + 8192);

	memcpy(map, "9999999\n", 8);
	for (size_t i = 8; i < len; i += 2)
		memcpy(map + i, "1\n", 2);
	raw_pax(&t, sparse);
	raw_header(&t, '0', "bomb", len);
	raw_data(&t, map, len);
	expect_layer_refused(f, &t, "MiB of metadata");
}

static void test_compressed_twice(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "file", "x");
	tarball_end(&t);
	tarball_compress(&t, GZIP);
	layout_layer(&f->l, &t, GZIP);
	layout_image(&f->l, "evil:1");
	expect_refused(f, "compressed more than once");
}

static void test_not_a_tar(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t = {.buf = strdup("#!/bin/sh\necho I am no archive\n"), .used = 31};

	expect_layer_refused(f, &t, "the archive is damaged or of another kind");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_files_keep_what_they_may),
		STORE_TEST(test_umask_does_not_matter),
		STORE_TEST(test_devices_are_dropped),
		STORE_TEST(test_whiteouts),
		STORE_TEST(test_later_entries_win),
		STORE_TEST(test_sparse_file),
		STORE_TEST(test_archive_without_end),
		STORE_TEST(test_truncated_data),
		STORE_TEST(test_names_of_other_locales),
		STORE_TEST(test_traversal),
		STORE_TEST(test_absolute_paths_stay_inside),
		STORE_TEST(test_path_through_symlink),
		STORE_TEST(test_whiteout_through_symlink),
		STORE_TEST(test_hostile_whiteouts),
		STORE_TEST(test_hostile_hardlinks),
		STORE_TEST(test_forged_overlay_attributes),
		STORE_TEST(test_long_paths),
		STORE_TEST(test_owner_out_of_range),
		STORE_TEST(test_oversized_files),
		STORE_TEST(test_metadata_bomb),
		STORE_TEST(test_compressed_twice),
		STORE_TEST(test_not_a_tar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
