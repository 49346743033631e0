// SPDX-License-Identifier: MIT
/* Mounts as holders of a layer: found by their device in the mount namespaces of processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/holders.h"

#define MAX 8

static uint32_t kernel_dev(dev_t dev)
{
	return major(dev) << 20 | minor(dev);
}

static void a_mounted_file_system_has_a_holder(void **state)
{
	struct recap_holder_record found[MAX];
	struct recap_wanted wanted = {};
	struct stat st;
	int n;

	assert_int_equal(stat("/proc", &st), 0);
	wanted.tmpfs_dev = kernel_dev(st.st_dev);
	n = holders_mounts(&wanted, 0, found, MAX);
	assert_in_range(n, 1, MAX);
	for (int i = 0; i < n; i++) {
		assert_int_equal(found[i].kind, RECAP_HOLDER_MOUNT);
		assert_int_equal(found[i].fd, -1);
		assert_true(found[i].tgid > 0);
		assert_true(found[i].comm[0]);
	}
	assert_int_equal(holders_mounts(&wanted, 0, found, 0), 0);
}

/* A memfd is on a file system that the kernel mounts for itself alone. */
static void one_that_nobody_mounted_has_none(void **state)
{
	struct recap_holder_record found[MAX];
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct recap_wanted wanted = {};
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	wanted.overlay_dev = kernel_dev(st.st_dev);
	assert_int_equal(holders_mounts(&wanted, 0, found, MAX), 0);
}

static void nothing_wanted_is_nothing_found(void **state)
{
	const struct recap_wanted nothing = {};
	struct recap_holder_record found[MAX];

	assert_int_equal(holders_mounts(&nothing, 0, found, MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mounted_file_system_has_a_holder),
		cmocka_unit_test(one_that_nobody_mounted_has_none),
		cmocka_unit_test(nothing_wanted_is_nothing_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
