// SPDX-License-Identifier: MIT
/* What images ask for in labels: granted within the setting, refused beyond it, and never against the caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "recapd/requests.h"

static struct json_object *object(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

/* Apply labels to params under a setting; give the error's name, or NULL and the params as text. */
static int apply(const char *setting, const char *labels, const char *params, char ret[512],
		 struct error *err)
{
	cleanup_json struct json_object *s = setting ? object(setting) : NULL;
	cleanup_json struct json_object *l = object(labels), *p = object(params);
	struct requests_config config;
	int r;

	*err = (struct error){};
	assert_int_equal(requests_config_parse(s, &config, err), 0);
	r = requests_apply(&config, "tool:1", l, p, err);
	snprintf(ret, 512, "%s", json_object_to_json_string_ext(p, JSON_C_TO_STRING_PLAIN));
	return r;
}

static void expect(const char *setting, const char *labels, const char *params, const char *result)
{
	struct error err;
	char text[512];

	if (apply(setting, labels, params, text, &err) < 0)
		fail_msg("%s: %s", labels, err.msg);
	assert_string_equal(text, result);
}

static void refuse(const char *setting, const char *labels, const char *params, const char *name,
		   const char *needle)
{
	struct error err;
	char text[512];

	if (apply(setting, labels, params, text, &err) == 0)
		fail_msg("%s is granted", labels);
	assert_string_equal(err.name, name);
	if (!strstr(err.msg, needle))
		fail_msg("\"%s\" is not in \"%s\"", needle, err.msg);
	assert_null(strchr(err.msg, '\n'));
}

static void test_what_is_less_is_granted(void **state)
{
	expect(NULL, "{}", "{}", "{}");
	expect(NULL, "{\"io.recap.summary\":\"x\",\"other\":\"y\"}", "{}", "{}");
	expect(NULL, "{\"io.recap.target-root\":\"none\"}", "{}", "{\"target_root\":\"none\"}");
	expect(NULL, "{\"io.recap.timeout\":\"30\"}", "{}", "{\"timeout_s\":30}");
	expect(NULL, "{\"io.recap.seccomp\":\"default\"}", "{}", "{\"seccomp\":\"default\"}");
	/* There is no new user namespace, so that leaving out the target's would be more. */
	expect(NULL, "{\"io.recap.namespaces\":\"pid,net\"}", "{}",
	       "{\"namespaces\":[\"pid\",\"net\",\"user\"]}");
	expect(NULL, "{\"io.recap.capabilities\":\"NET_RAW\"}", "{}",
	       "{\"cap_add\":[\"NET_RAW\"]}");
}

static void test_what_is_more_is_refused(void **state)
{
	static const char ptrace[] = "{\"io.recap.capabilities\":\"NET_RAW,SYS_PTRACE\"}";
	static const char rw[] = "{\"io.recap.target-root\":\"rw\"}";
	static const char open[] = "{\"io.recap.seccomp\":\"unconfined\"}";

	refuse(NULL, ptrace, "{}", "PermissionDenied", "--cap-add SYS_PTRACE");
	refuse("{\"capabilities\":[\"NET_ADMIN\"]}", ptrace, "{}", "PermissionDenied",
	       "image_requests.capabilities");
	refuse(NULL, rw, "{}", "PermissionDenied", "--target-root rw");
	refuse(NULL, open, "{}", "PermissionDenied", "--seccomp unconfined");
	/* The twins: the node's setting allows it. */
	expect("{\"capabilities\":[\"cap_sys_ptrace\"]}", ptrace, "{}",
	       "{\"cap_add\":[\"NET_RAW\",\"SYS_PTRACE\"]}");
	expect("{\"target_root\":\"rw\"}", rw, "{}", "{\"target_root\":\"rw\"}");
	expect("{\"seccomp\":\"unconfined\"}", open, "{}", "{\"seccomp\":\"unconfined\"}");
}

/* The profile ptrace goes with the capability, wherever that comes from. */
static void test_profiles(void **state)
{
	static const char both[] =
		"{\"io.recap.capabilities\":\"SYS_PTRACE\",\"io.recap.seccomp\":\"ptrace\"}";
	static const char alone[] = "{\"io.recap.seccomp\":\"ptrace\"}";

	expect(NULL, "{\"io.recap.seccomp\":\"net\"}", "{}", "{\"seccomp\":\"net\"}");
	expect(NULL, both, "{\"cap_add\":[\"SYS_PTRACE\"]}",
	       "{\"cap_add\":[\"SYS_PTRACE\"],\"seccomp\":\"ptrace\"}");
	expect("{\"capabilities\":[\"SYS_PTRACE\"]}", both, "{}",
	       "{\"cap_add\":[\"SYS_PTRACE\"],\"seccomp\":\"ptrace\"}");
	expect(NULL, both, "{\"cap_drop\":[\"SYS_PTRACE\"]}", "{\"cap_drop\":[\"SYS_PTRACE\"]}");
	refuse(NULL, both, "{}", "PermissionDenied", "--cap-add SYS_PTRACE");
	refuse(NULL, alone, "{}", "PermissionDenied", "--seccomp ptrace");
	expect("{\"seccomp\":\"unconfined\"}", alone, "{}", "{\"seccomp\":\"ptrace\"}");
	/* A profile of the caller's is his word, as a name is. */
	expect(NULL, alone, "{\"seccomp_profile\":\"{}\"}", "{\"seccomp_profile\":\"{}\"}");
	expect(NULL, alone, "{\"seccomp\":\"default\"}", "{\"seccomp\":\"default\"}");
}

static void test_the_caller_wins(void **state)
{
	static const char ptrace[] = "{\"io.recap.capabilities\":\"SYS_PTRACE\"}";

	expect(NULL, ptrace, "{\"cap_add\":[\"cap_sys_ptrace\"]}",
	       "{\"cap_add\":[\"cap_sys_ptrace\"]}");
	expect(NULL, ptrace, "{\"cap_drop\":[\"ALL\"]}", "{\"cap_drop\":[\"ALL\"]}");
	expect(NULL, ptrace, "{\"cap_drop\":[\"SYS_PTRACE\"]}", "{\"cap_drop\":[\"SYS_PTRACE\"]}");
	refuse(NULL, ptrace, "{\"cap_drop\":[\"NET_RAW\"]}", "PermissionDenied", "SYS_PTRACE");
	expect(NULL, "{\"io.recap.target-root\":\"rw\"}", "{\"target_root\":\"none\"}",
	       "{\"target_root\":\"none\"}");
	expect(NULL, "{\"io.recap.target-root\":\"rw\"}", "{\"target_root\":\"rw\"}",
	       "{\"target_root\":\"rw\"}");
	expect(NULL, "{\"io.recap.timeout\":\"5\"}", "{\"timeout_s\":60}", "{\"timeout_s\":60}");
	expect(NULL, "{\"io.recap.namespaces\":\"pid\"}", "{\"namespaces\":[\"net\"]}",
	       "{\"namespaces\":[\"net\"]}");
}

static void test_malformed_labels(void **state)
{
	static const char *const labels[] = {
		"{\"io.recap.namespaces\":\"\"}",
		"{\"io.recap.namespaces\":\"pid,\"}",
		"{\"io.recap.namespaces\":\"pid,,net\"}",
		"{\"io.recap.namespaces\":\"pid net\"}",
		"{\"io.recap.namespaces\":\"mnt\"}",
		"{\"io.recap.capabilities\":\"NO_SUCH\"}",
		"{\"io.recap.capabilities\":\"ALL\"}",
		"{\"io.recap.capabilities\":\"\\n\"}",
		"{\"io.recap.seccomp\":\"off\"}",
		"{\"io.recap.target-root\":\"/\"}",
		"{\"io.recap.timeout\":\"\"}",
		"{\"io.recap.timeout\":\"0\"}",
		"{\"io.recap.timeout\":\"-1\"}",
		"{\"io.recap.timeout\":\"1.5\"}",
		"{\"io.recap.timeout\":\"999999999\"}",
		"{\"io.recap.timeout\":\"99999999999999999999\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		refuse(NULL, labels[i], "{}", "ImageInvalid", "label io.recap.");
}

static void test_settings_that_are_none(void **state)
{
	static const char *const settings[] = {
		"[]",
		"{\"caps\":[]}",
		"{\"capabilities\":\"NET_RAW\"}",
		"{\"capabilities\":[\"NO_SUCH\"]}",
		"{\"target_root\":\"none\"}",
		"{\"target_root\":true}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		cleanup_json struct json_object *s = object(settings[i]);
		struct requests_config config;
		struct error err = {};

		assert_true(requests_config_parse(s, &config, &err) < 0);
		assert_non_null(strstr(err.msg, "image_requests"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_less_is_granted),
		cmocka_unit_test(test_what_is_more_is_refused),
		cmocka_unit_test(test_profiles),
		cmocka_unit_test(test_the_caller_wins),
		cmocka_unit_test(test_malformed_labels),
		cmocka_unit_test(test_settings_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
