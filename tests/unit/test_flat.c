// SPDX-License-Identifier: MIT
/* JSON in its flat form: the same values come out, and nothing but whole, sane bytes go in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/flat.h"
#include "common/json.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;

	struct error err = {};

	if (json_parse(text, strlen(text), "test", &o, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return o;
}

static void values_come_back(void **state)
{
	static const char *const texts[] = {"[null, true, false]",
					    "[0, -1, 9223372036854775807]",
					    "[1.5, -2e300]",
					    "[\"\", \"a\\u0000b\\n\\\"\"]",
					    "[]",
					    "{}",
					    "[null,[],{},\"x\",1]",
					    "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}",
					    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_json struct json_object *in = parse(texts[i]), *out = NULL;
		cleanup_free char *buf = NULL, *longer = NULL;
		size_t len = 0, size = 0;

		assert_int_equal(flat_write(in, &buf, &len, &size), 0);
		assert_int_equal(flat_read(buf, len, &out), 0);
		assert_true(json_object_equal(in, out));
		/* Not a byte less, nor one more. */
		for (size_t cut = 0; cut < len; cut++) {
			struct json_object *none = NULL;

			assert_int_equal(flat_read(buf, cut, &none), -EPROTO);
			assert_null(none);
		}
		longer = malloc(len + 1);
		assert_non_null(longer);
		memcpy(longer, buf, len);
		longer[len] = 'n';
		assert_int_equal(flat_read(longer, len + 1, &out), -EPROTO);
	}
}

static void refused(const char *bytes, size_t len)
{
	struct json_object *o = NULL;

	assert_int_equal(flat_read(bytes, len, &o), -EPROTO);
	assert_null(o);
}

#define BYTES(s) s, sizeof(s) - 1

static void nonsense_is_refused(void **state)
{
	char deep[5 * 40 + 1];

	refused(BYTES(""));
	refused(BYTES("x"));
	refused(BYTES("i1234567"));
	refused(BYTES("s\xff\xff\xff\xff"
		      "a"));
	refused(BYTES("s\x02\0\0\0"
		      "a"));
	refused(BYTES("a\xff\xff\xff\xff"));
	refused(BYTES("a\x02\0\0\0n"));
	refused(BYTES("o\x01\0\0\0\x01\0\0\0"));
	/* A name with a NUL in it would be another name. */
	refused(BYTES("o\x01\0\0\0\x02\0\0\0a\0n"));
	for (size_t i = 0; i < 40; i++)
		memcpy(deep + 5 * i, "a\x01\0\0\0", 5);
	deep[5 * 40] = 'n';
	refused(deep, sizeof(deep));
	/* The twin, which is not too deep. */
	struct json_object *o = NULL;

	assert_int_equal(flat_read(deep + 5 * 10, sizeof(deep) - 5 * 10, &o), 0);
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
