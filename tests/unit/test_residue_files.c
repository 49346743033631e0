// SPDX-License-Identifier: MIT
/* Lines of mountinfo as the kernel writes them, and what is made of fanotify's events, whatever init has said of the mounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/residue_files.h"
#include "core/residue_internal.h"

/* ---- lines ----------------------------------------------------------------------------------------- */

static int take(const char *text, struct files_line *ret)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s", text);
	return residue_files_line(line, ret);
}

static void test_lines(void **state)
{
	struct files_line l;

	assert_int_equal(
		take("36 35 98:0 /mnt1 /target/a rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n",
		     &l),
		0);
	assert_int_equal(l.id, 36);
	assert_string_equal(l.path, "/target/a");
	assert_string_equal(l.type, "ext3");
	assert_false(l.readonly);
	assert_int_equal(
		take("4000000000 1 0:5 / /target rw,nosuid - overlay none rw,lowerdir=/a\n", &l),
		0);
	assert_int_equal(l.id, 4000000000);
	assert_string_equal(l.path, "/target");
}

static void test_readonly_lines(void **state)
{
	struct files_line l;

	assert_int_equal(take("7 1 0:5 / /target/x ro - tmpfs none rw\n", &l), 0);
	assert_true(l.readonly);
	assert_int_equal(take("7 1 0:5 / /target/x ro,nosuid - tmpfs none rw\n", &l), 0);
	assert_true(l.readonly);
	assert_int_equal(take("7 1 0:5 / /target/x rw - ext4 /dev/sda ro,x=y\n", &l), 0);
	assert_true(l.readonly);
	/* The source is an empty word. */
	assert_int_equal(take("7 1 0:5 / /target/x rw - ext4  ro\n", &l), 0);
	assert_true(l.readonly);
	assert_int_equal(take("7 1 0:5 / /target/x rootcontext - ext4 ro rw\n", &l), 0);
	assert_false(l.readonly);
}

static void test_odd_lines(void **state)
{
	struct files_line l;

	assert_int_equal(
		take("7 1 0:5 /a\\040b /target/a\\040b\\134c\\012 rw - fuse.x\\040y s rw\n", &l),
		0);
	assert_string_equal(l.path, "/target/a b\\c\n");
	assert_string_equal(l.type, "fuse.x\\040y");
	assert_int_equal(take("7 1 0:5 / /target/a\\04 rw - tmpfs s rw\n", &l), 0);
	assert_string_equal(l.path, "/target/a\\04");
	assert_int_equal(take("", &l), -EINVAL);
	assert_int_equal(take("\n", &l), -EINVAL);
	assert_int_equal(take("x 1 0:5 / /target rw - tmpfs s rw\n", &l), -EINVAL);
	assert_int_equal(take("7 1 0:5 / /target", &l), -EINVAL);
	assert_int_equal(take("7 1 0:5 / /target rw tmpfs s rw", &l), -EINVAL);
	assert_int_equal(take("7 1 0:5 / /target rw -", &l), -EINVAL);
	assert_int_equal(take("7 1 0:5 / /target rw - tmpfs", &l), 0);
	assert_false(l.readonly);
}

/* ---- before ---------------------------------------------------------------------------------------- */

static void ask(struct residue *r, uint64_t target_caps, uint32_t user_ns, uint64_t caps,
		enum sandbox_seccomp seccomp)
{
	const struct target t = {.c = {.caps = target_caps, .namespaces = {.user = user_ns}}};
	const struct sandbox s = {.caps = caps, .seccomp = seccomp};

	residue_init(r);
	residue_files_before(r, &t, &s);
	assert_true(r->files_asked);
}

static uint32_t own_user_ns(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/user", &st), 0);
	return st.st_ino;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void test_who_may_mount(void **state)
{
	const uint64_t admin = 1ull << CAP_SYS_ADMIN;
	struct residue r;

	/* The target, in a user namespace of its own: nothing is watched. */
	ask(&r, admin, 1, 0, SANDBOX_DEFAULT);
	assert_int_equal(r.files, -1);
	assert_non_null(strstr(r.files_blind, "target may mount"));
	residue_free(&r);
	need_root();
	ask(&r, admin, own_user_ns(), 0, SANDBOX_DEFAULT);
	assert_true(r.files >= 0);
	assert_null(r.files_blind);
	residue_free(&r);
	assert_int_equal(r.files, -1);
	ask(&r, 0, 1, 0, SANDBOX_PTRACE);
	assert_true(r.files >= 0);
	assert_null(r.files_blind);
	residue_free(&r);
	/* The tool: it is, but that is not all. */
	ask(&r, 0, 1, admin, SANDBOX_DEFAULT);
	assert_true(r.files >= 0);
	assert_non_null(strstr(r.files_blind, "tool may mount"));
	residue_free(&r);
	ask(&r, 0, 1, 0, SANDBOX_UNCONFINED);
	assert_non_null(r.files_blind);
	residue_free(&r);
	ask(&r, 0, 1, 0, SANDBOX_PROFILE);
	assert_non_null(r.files_blind);
	residue_free(&r);
}

/* ---- events ---------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/recap-files-XXXXXX";

/* A group that sees what is written into `folder`. */
static int setup(void **state)
{
	struct residue *r = test_calloc(1, sizeof(*r));

	*state = r;
	residue_init(r);
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	if (geteuid() != 0)
		return 0;
	r->files_asked = true;
	r->files = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK,
				 O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(r->files >= 0);
	assert_int_equal(fanotify_mark(r->files, FAN_MARK_ADD,
				       FAN_CLOSE_WRITE | FAN_MODIFY | FAN_EVENT_ON_CHILD, AT_FDCWD,
				       folder),
			 0);
	return 0;
}

static int teardown(void **state)
{
	struct residue *r = *state;
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
	residue_free(r);
	test_free(r);
	return 0;
}

static int write_file(const char *name)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	return fd;
}

/* As init would have said it, of the mount that `folder` is on. */
static void say(struct files_watch *w, const char *path)
{
	struct statx st;

	assert_int_equal(statx(AT_FDCWD, folder, 0, 0, &st), 0);
	w->done = 1;
	w->mounts[w->n_mounts].id = st.stx_mnt_id;
	strcpy(w->mounts[w->n_mounts++].path, path);
}

static const struct residue_object *only(const struct residue *r, enum residue_change change)
{
	assert_int_equal(r->n_items, 1);
	assert_int_equal(r->more, 0);
	assert_int_equal(r->items[0].change, change);
	assert_int_equal(r->items[0].object.kind, RESIDUE_FILE);
	return &r->items[0].object;
}

static void test_one_is_told_once(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};

	need_root();
	say(&w, "/target/place");
	close(write_file("a"));
	close(write_file("a"));
	residue_files_after(r, &w, false);
	assert_ptr_equal(strstr(only(r, RESIDUE_WRITTEN)->name, "/place/"),
			 r->items[0].object.name);
	assert_string_equal(strrchr(r->items[0].object.name, '/'), "/a");
	residue_files_after(r, &w, false);
	assert_int_equal(r->n_items, 1);
}

static void test_nothing_is_told(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};

	need_root();
	say(&w, "/target");
	residue_files_after(r, &w, false);
	assert_int_equal(r->n_items, 0);
}

/* With the namespace alive, the place is a part of the path that the kernel tells. */
static void test_place_is_taken_off(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};

	need_root();
	/* Whatever /tmp is a mount of: its path begins with the folder's. */
	say(&w, "/target");
	close(write_file("a"));
	residue_files_after(r, &w, true);
	assert_non_null(strstr(only(r, RESIDUE_WRITTEN)->name, "/recap-files-"));
	assert_null(strstr(r->items[0].object.name, "/target"));
}

static void test_hostile_init(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};

	need_root();
	say(&w, "/other");
	memset(w.unseen, 'u', sizeof(w.unseen));
	memset(w.mounts[1].path, '/', sizeof(w.mounts[1].path));
	w.n_mounts = ~0u;
	w.n_unseen = ~0u;
	close(write_file("a"));
	residue_files_after(r, &w, true);
	assert_int_equal(r->n_items, 2);
	assert_int_equal(r->items[0].change, RESIDUE_UNKNOWN);
	assert_non_null(strstr(r->items[1].object.detail, "place is not known"));
	assert_int_equal(r->more, ~0u - 1);
}

static void test_init_did_not_come_so_far(void **state)
{
	struct residue *r = *state;
	const struct files_watch w = {};

	need_root();
	residue_files_after(r, &w, false);
	assert_non_null(strstr(only(r, RESIDUE_UNKNOWN)->detail, "cannot be listed"));
}

/* A lease of somebody's makes the kernel drop the event, with EAGAIN. */
static void test_one_that_cannot_be_opened(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};
	int fd = write_file("leased");

	need_root();
	say(&w, "/target");
	close(fd);
	fd = write_file("leased");
	signal(SIGIO, SIG_IGN);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	close(write_file("other"));
	residue_files_after(r, &w, false);
	assert_int_equal(r->n_items, 2);
	assert_int_equal(r->items[0].change, RESIDUE_UNKNOWN);
	assert_non_null(strstr(r->items[0].object.detail, "cannot be opened"));
	assert_int_equal(r->items[1].change, RESIDUE_WRITTEN);
	close(fd);
}

static void test_too_many(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};
	char name[16];

	need_root();
	say(&w, "/target");
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "%d", i);
		close(write_file(name));
	}
	residue_files_after(r, &w, false);
	assert_int_equal(r->n_items, RESIDUE_MAX);
	/* Of 1024, and that there are others. */
	assert_int_equal(r->more, 1024 - RESIDUE_MAX + 1);
}

static void test_long_and_deleted(void **state)
{
	struct residue *r = *state;
	struct files_watch w = {};
	char name[201], path[400];

	need_root();
	say(&w, "/target");
	memset(name, 'n', 200);
	name[200] = '\0';
	close(write_file(name));
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(unlink(path), 0);
	residue_files_after(r, &w, false);
	assert_ptr_equal(strstr(only(r, RESIDUE_WRITTEN)->name, "...nnn"), r->items[0].object.name);
	assert_int_equal(strlen(r->items[0].object.name), sizeof(r->items[0].object.name) - 1);
	assert_int_equal(r->items[0].object.name[strlen(r->items[0].object.name) - 1], 'n');
	assert_non_null(strstr(r->items[0].object.detail, "deleted since"));
}

static void test_nobody_asked(void **state)
{
	const struct files_watch w = {};
	struct residue r;

	residue_init(&r);
	residue_files_after(&r, &w, false);
	assert_int_equal(r.n_items, 0);
	residue_free(&r);
}

#define WITH_GROUP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_readonly_lines),
		cmocka_unit_test(test_odd_lines),
		cmocka_unit_test(test_who_may_mount),
		cmocka_unit_test(test_nobody_asked),
		WITH_GROUP(test_one_is_told_once),
		WITH_GROUP(test_nothing_is_told),
		WITH_GROUP(test_place_is_taken_off),
		WITH_GROUP(test_hostile_init),
		WITH_GROUP(test_init_did_not_come_so_far),
		WITH_GROUP(test_one_that_cannot_be_opened),
		WITH_GROUP(test_too_many),
		WITH_GROUP(test_long_and_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
