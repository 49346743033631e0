// SPDX-License-Identifier: MIT
/* Users of a capsule, from databases that the image wrote. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/userdb.h"

static char dir[] = "/tmp/recap-userdb-XXXXXX";
static int root = -1;

static void put(const char *name, const char *text)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static int setup(void **state)
{
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	put("etc/passwd",
	    "root:x:0:0:root:/root:/bin/sh\nwww:x:33:44::/var/www:/bin/false\nodd:x:7:7::relative:/x\n");
	put("etc/group", "root:x:0:\nwww:x:44:\nlog:x:100:www,root\ncam:x:101:other,www\n");
	return 0;
}

static int teardown(void **state)
{
	close(root);
	return fd_remove_tree(AT_FDCWD, dir);
}

static struct user_ids resolved(const char *spec)
{
	struct error err = {};
	struct user_ids u;

	if (userdb_resolve(root, spec, &u, &err) < 0)
		fail_msg("%s: %s", spec, err.msg);
	return u;
}

static void empty_is_root(void **state)
{
	struct user_ids u = resolved("");

	assert_int_equal(u.uid, 0);
	assert_int_equal(u.gid, 0);
	assert_string_equal(u.home, "/root");
}

static void name_brings_its_groups(void **state)
{
	struct user_ids u = resolved("www");

	assert_int_equal(u.uid, 33);
	assert_int_equal(u.gid, 44);
	assert_int_equal(u.n_groups, 3);
	assert_int_equal(u.groups[0], 100);
	assert_int_equal(u.groups[1], 101);
	assert_int_equal(u.groups[2], 44);
	assert_string_equal(u.home, "/var/www");
}

static void number_needs_no_entry(void **state)
{
	struct user_ids u = resolved("4711");

	assert_int_equal(u.uid, 4711);
	assert_int_equal(u.gid, 0);
	assert_string_equal(u.home, "/");
	u = resolved("33");
	assert_int_equal(u.gid, 44);
}

static void group_is_as_given(void **state)
{
	struct user_ids u = resolved("www:log");

	assert_int_equal(u.gid, 100);
	assert_int_equal(u.n_groups, 1);
	assert_int_equal(u.groups[0], 100);
	assert_int_equal(resolved("5:6").gid, 6);
}

static void odd_home_is_the_root_folder(void **state)
{
	assert_string_equal(resolved("odd").home, "/");
}

static void refused(const char *spec, const char *text)
{
	struct error err = {};
	struct user_ids u;

	assert_int_equal(userdb_resolve(root, spec, &u, &err), -EINVAL);
	assert_non_null(strstr(err.msg, text));
}

static void unknown_is_refused(void **state)
{
	refused("nobody", "no user nobody");
	refused("www:nogroup", "no group nogroup");
	/* (uid_t)-1 means "leave as it is" to the kernel: never a user. */
	refused("4294967295", "no user");
	refused("99999999999", "no user");
	refused("-1", "no user");
}

/* Neither a link out of the image nor a FIFO may lead anywhere or hold us up. */
static void hostile_databases(void **state)
{
	struct error err = {};
	struct user_ids u;

	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("/proc/self/root/etc/passwd", root, "etc/passwd"), 0);
	assert_int_equal(userdb_resolve(root, "root", &u, &err), -EINVAL);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_int_equal(mkfifoat(root, "etc/passwd", 0666), 0);
	assert_int_equal(userdb_resolve(root, "root", &u, &err), -EINVAL);
	assert_int_equal(resolved("0").uid, 0);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_is_root),
		cmocka_unit_test(name_brings_its_groups),
		cmocka_unit_test(number_needs_no_entry),
		cmocka_unit_test(group_is_as_given),
		cmocka_unit_test(odd_home_is_the_root_folder),
		cmocka_unit_test(unknown_is_refused),
		cmocka_unit_test(hostile_databases),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
