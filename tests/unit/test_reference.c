// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "core/reference.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define OTHER  "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static void test_what_is_a_reference(void **state)
{
	static const struct {
		const char *text, *name, *tag, *digest;
	} good[] = {
		{"tcpdump", "tcpdump", "", ""},
		{"tcpdump:4.99", "tcpdump", "4.99", ""},
		{"a/b/c:_x-1.Y", "a/b/c", "_x-1.Y", ""},
		{"Host.Example:5000/tools/x", "Host.Example:5000/tools/x", "", ""},
		{"localhost:5000/x:1", "localhost:5000/x", "1", ""},
		{"my__tool-1.x---y", "my__tool-1.x---y", "", ""},
		{"tcpdump@" DIGEST, "tcpdump", "", DIGEST},
		{"tcpdump:1@" DIGEST, "tcpdump", "1", DIGEST},
		{DIGEST, "", "", DIGEST},
	};
	struct reference ref;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(reference_parse(good[i].text, &ref, NULL), 0);
		assert_string_equal(ref.name, good[i].name);
		assert_string_equal(ref.tag, good[i].tag);
		assert_string_equal(ref.digest, good[i].digest);
	}
}

static void test_what_is_none(void **state)
{
	static const char *const bad[] = {
		/* NOLINTBEGIN(bugprone-suspicious-missing-comma): put together on purpose */
		"",
		":",
		"x:",
		":1",
		"/",
		"x/",
		"/x",
		"a//b",
		"X",
		"a/B",
		"a b",
		"a\nb",
		"../x",
		"a/../b",
		"-a",
		"a-",
		"a.",
		"a..b",
		"a___b",
		"x:.1",
		"x:-1",
		"x:a/b",
		"x:1:2",
		"Host",
		"ho_st:80/x",
		"host:/x",
		"host:123456/x",
		"host:1x/x",
		"-host.x/y:1",
		"x@",
		"x@sha256:12",
		"x@sha512:" HEX,
		"@" DIGEST,
		"x@" DIGEST "0",
		"sha256:12",
		"sha256:ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
		"sha256",
		"x@" DIGEST "@" DIGEST,
		"gr\xc3\xb6\xc3\x9f",
		/* NOLINTEND(bugprone-suspicious-missing-comma) */
	};
	struct reference ref;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {};

		if (reference_parse(bad[i], &ref, &err) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_string_equal(err.name, "InvalidArgument");
	}
}

static void test_lengths(void **state)
{
	char text[512];
	struct reference ref;

	memset(text, 'a', sizeof(text));
	text[REFERENCE_NAME_MAX] = '\0';
	assert_int_equal(reference_parse(text, &ref, NULL), 0);
	text[REFERENCE_NAME_MAX] = 'a';
	text[REFERENCE_NAME_MAX + 1] = '\0';
	assert_int_equal(reference_parse(text, &ref, NULL), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[1] = ':';
	text[2 + REFERENCE_TAG_MAX] = '\0';
	assert_int_equal(reference_parse(text, &ref, NULL), 0);
	text[2 + REFERENCE_TAG_MAX] = 'a';
	text[3 + REFERENCE_TAG_MAX] = '\0';
	assert_int_equal(reference_parse(text, &ref, NULL), -EINVAL);
}

static void test_format_adds_latest(void **state)
{
	char text[REFERENCE_SIZE];
	struct reference ref;

	assert_int_equal(reference_parse("a/b", &ref, NULL), 0);
	reference_format(&ref, text);
	assert_string_equal(text, "a/b:latest");
	assert_int_equal(reference_parse("a/b:1@" DIGEST, &ref, NULL), 0);
	reference_format(&ref, text);
	assert_string_equal(text, "a/b:1");
}

static void test_matches(void **state)
{
	static const struct {
		const char *wanted, *stored, *digest;
		bool match;
	} cases[] = {
		{"x", "x:latest", DIGEST, true},
		{"x", "x:1", DIGEST, false},
		{"x:1", "x:1", DIGEST, true},
		{"x:1", "x:11", DIGEST, false},
		{"x", "xx:latest", DIGEST, false},
		{"x", NULL, DIGEST, false},
		{DIGEST, "x:1", DIGEST, true},
		{DIGEST, NULL, DIGEST, true},
		{DIGEST, "x:1", OTHER, false},
		{"x@" DIGEST, "x:1", DIGEST, true},
		{"x@" DIGEST, "x:1", OTHER, false},
		{"x@" DIGEST, "y:1", DIGEST, false},
		{"x@" DIGEST, NULL, DIGEST, false},
		{"x:2@" DIGEST, "x:1", DIGEST, false},
		{"host@" DIGEST, "host:5000/x:1", DIGEST, false},
		{"host:5000/x@" DIGEST, "host:5000/x:1", DIGEST, true},
	};
	struct reference ref;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(reference_parse(cases[i].wanted, &ref, NULL), 0);
		assert_int_equal(reference_matches(&ref, cases[i].stored, cases[i].digest),
				 cases[i].match);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_a_reference),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_format_adds_latest),
		cmocka_unit_test(test_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
