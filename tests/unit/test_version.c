// SPDX-License-Identifier: MIT
/* Which version is later: Debian's against dpkg itself, the others against what their own tests say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scan/version.h"

typedef int (*compare_fn)(const char *, const char *);

/* Ascending: each is before all that follow, and equal to itself. */
static void expect_order(compare_fn compare, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			int wanted = i < j ? -1 : i > j;

			if (compare(v[i], v[j]) != wanted)
				fail_msg("%s and %s: %d, not %d", v[i], v[j], compare(v[i], v[j]),
					 wanted);
		}
}

static void expect_equal(compare_fn compare, const char *a, const char *b)
{
	if (compare(a, b) || compare(b, a))
		fail_msg("%s and %s are not equal: %d", a, b, compare(a, b));
}

#define ORDER(compare, ...)                                            \
	do {                                                           \
		static const char *const v_[] = {__VA_ARGS__};         \
		expect_order(compare, v_, sizeof(v_) / sizeof(v_[0])); \
	} while (0)

static int dpkg(const char *a, const char *op, const char *b)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("dpkg", "dpkg", "--compare-versions", a, op, b, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

static void deb_is_as_dpkg_says(void **state)
{
	static const char *const v[] = {
		"0",
		"1.0",
		"1.0-1",
		"1.0-1~bpo12+1",
		"1.0-1+deb12u1",
		"1.0~rc1-1",
		"1.0.1-1",
		"1:0.1",
		"2:0",
		"1.0+dfsg-1",
		"1.0a",
		"1.00",
		"09",
		"9",
		"1.0-10",
		"1.0-9",
		"3.0.11-1~deb12u2",
		"3.0.11-1",
		"1.2-3-4",
		"1.0~~a",
		"1.0~",
		"1.0~beta",
		"99999999999999999999999999.1",
		"1.0.",
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		for (size_t j = i; j < ARRAY_SIZE(v); j++) {
			int r = version_compare_deb(v[i], v[j]);
			const char *op = r < 0 ? "lt" : r > 0 ? "gt" : "eq";

			if (!dpkg(v[i], op, v[j]))
				fail_msg("dpkg does not say %s %s %s", v[i], op, v[j]);
			assert_int_equal(version_compare_deb(v[j], v[i]), -r);
		}
}

/* From tests/rpmvercmp.at of rpm. */
static void rpm_order(void **state)
{
	ORDER(version_compare_rpm, "1.0", "2.0");
	ORDER(version_compare_rpm, "2.0", "2.0.1");
	ORDER(version_compare_rpm, "2.0.1", "2.0.1a");
	ORDER(version_compare_rpm, "5.5p1", "5.5p2", "5.5p10");
	ORDER(version_compare_rpm, "10xyz", "10.1xyz");
	ORDER(version_compare_rpm, "xyz10", "xyz10.1");
	ORDER(version_compare_rpm, "xyz.4", "2", "8");
	ORDER(version_compare_rpm, "5.6p1", "6.5p1");
	ORDER(version_compare_rpm, "6.0", "6.0.rc1");
	ORDER(version_compare_rpm, "10a2", "10b2");
	ORDER(version_compare_rpm, "1.0aa", "1.0b");
	ORDER(version_compare_rpm, "1.0~rc1", "1.0~rc2", "1.0", "1.0^", "1.0^git1", "1.0^git2",
	      "1.01");
	ORDER(version_compare_rpm, "1.0~rc1~git123", "1.0~rc1");
	ORDER(version_compare_rpm, "1.0^20160101", "1.0.1");
	ORDER(version_compare_rpm, "1.0~rc1^git1", "1.0^");
	ORDER(version_compare_rpm, "20101121", "20101122");
	ORDER(version_compare_rpm, "9:1-1", "10:0.1-1");
	ORDER(version_compare_rpm, "5.1.8-6.el9", "5.1.8-6.el9_1", "5.1.8-9.el9");
	expect_equal(version_compare_rpm, "2_0", "2.0");
	expect_equal(version_compare_rpm, "a+", "a_");
	expect_equal(version_compare_rpm, "1.05", "1.5");
	expect_equal(version_compare_rpm, "0:1.0-1", "1.0-1");
	expect_equal(version_compare_rpm, "1.0", "1.0-7");
	expect_equal(version_compare_rpm, "", "");
}

/* From test/unit/version.data of apk-tools. */
static void apk_order(void **state)
{
	ORDER(version_compare_apk, "2.34", "3.23");
	ORDER(version_compare_apk, "0.1.0_alpha", "0.1.0_alpha2", "0.1.0_beta", "0.1.0_pre",
	      "0.1.0_rc1", "0.1.0", "0.1.0_cvs", "0.1.0_svn", "0.1.0_git", "0.1.0_hg", "0.1.0_p1");
	ORDER(version_compare_apk, "0.12.1", "0.12.6", "0.12.10");
	ORDER(version_compare_apk, "1.0.4", "1.0.4a", "1.0.4b");
	ORDER(version_compare_apk, "1.0.4-r2", "1.0.4-r3", "1.0.4-r11", "1.0.5-r0");
	ORDER(version_compare_apk, "1.05", "1.1");
	ORDER(version_compare_apk, "0.1.0_alpha_pre2", "0.1.0_alpha");
	ORDER(version_compare_apk, "2.3.0_rc1", "2.3.0_rc2", "2.3.0", "2.3.0b");
	ORDER(version_compare_apk, "1.2.3-r0", "1.2.3-r1", "1.2.3_p1-r0", "1.2.4");
	ORDER(version_compare_apk, "8.2.0", "8.2.1", "10.2.0");
	ORDER(version_compare_apk, "20050718", "20050719");
	expect_equal(version_compare_apk, "1.0-r0", "1.0");
	expect_equal(version_compare_apk, "6.4_p20231125-r0", "6.4_p20231125-r0");
}

/* From semver.org, item 11. */
static void semver_order(void **state)
{
	ORDER(version_compare_semver, "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
	      "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1",
	      "1.2.0", "1.10.0", "2.0.0");
	expect_equal(version_compare_semver, "1.0.0+a", "1.0.0+b");
	expect_equal(version_compare_semver, "v1.2.3", "1.2.3");
}

/* Whatever the bytes: it ends, and the two directions agree. */
static void any_bytes_compare(void **state)
{
	static const compare_fn all[] = {version_compare_deb, version_compare_apk,
					 version_compare_rpm, version_compare_semver};
	static const char set[] = "0129.-_~^+:arpz\xff\x80 ";

	srand(7);
	for (int i = 0; i < 20000; i++) {
		char a[12] = "", b[12] = "";

		for (int j = rand() % 11; j > 0; j--)
			a[j - 1] = set[rand() % (sizeof(set) - 1)];
		for (int j = rand() % 11; j > 0; j--)
			b[j - 1] = set[rand() % (sizeof(set) - 1)];
		for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
			int r = all[k](a, b);

			assert_true(r >= -1 && r <= 1);
			if (all[k](b, a) != -r)
				fail_msg("comparison %zu of \"%s\" and \"%s\" depends on the order",
					 k, a, b);
			assert_int_equal(all[k](a, a), 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deb_is_as_dpkg_says), cmocka_unit_test(rpm_order),
		cmocka_unit_test(apk_order),	       cmocka_unit_test(semver_order),
		cmocka_unit_test(any_bytes_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
