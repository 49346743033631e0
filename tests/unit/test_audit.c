// SPDX-License-Identifier: MIT
/* The audit's lines: what is in them, what never is, and that no text makes them longer than the room that is reserved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/ledger.h"
#include "recapd/audit.h"

static char dir[64], path[96];
static struct audit *audit;
static struct audit_request q;
static const struct caller who = {.uid = 1000, .gid = 100, .pid = 42, .command = "ev\"\n\xffil"};

static int set_up(void **state)
{
	struct error err;

	strcpy(dir, "/tmp/test-audit.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	if (audit_open(path, "/nonexistent/journal", NULL, &audit, &err) < 0)
		fail_msg("%s", err.msg);
	return 0;
}

static int tear_down(void **state)
{
	audit_close(audit);
	audit = NULL;
	unlink(path);
	return rmdir(dir);
}

/* The file's last line, parsed; its length in *ret_len. */
static struct json_object *last_line(size_t *ret_len)
{
	struct json_object *o;
	char *text, *start;
	size_t len;

	assert_int_equal(fd_read_file(AT_FDCWD, path, 64 << 20, &text, &len), 0);
	assert_true(len > 1 && text[len - 1] == '\n');
	start = memrchr(text, '\n', len - 1);
	start = start ? start + 1 : text;
	*ret_len = text + len - start;
	for (char *p = start; p < text + len - 1; p++)
		assert_in_range((unsigned char)*p, 0x20, 0x7e);
	assert_int_equal(json_parse(start, *ret_len - 1, "line", &o, NULL), 0);
	free(text);
	return o;
}

static struct json_object *object(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

static void allow(const struct audit_what *what)
{
	struct error err;

	audit_begin(audit, &q, "io.recap.Attach", true);
	if (audit_allow(audit, &q, &who, what, &err) < 0)
		fail_msg("%s", err.msg);
}

/* As much text as a parameter can be, each byte of which needs escaping. */
static char *long_text(size_t len, char c)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, c, len);
	text[len] = '\0';
	return text;
}

static void test_what_is_told(void **state)
{
	cleanup_json struct json_object *params = object(
		"{\"target\":\"web\",\"image\":\"x\",\"args\":[\"a\\n\"],\"env\":[\"SECRET=1\"],"
		"\"new\":\"SECRET\",\"terminal\":true,\"pids\":5,\"reason\":\"%\","
		"\"seccomp_profile\":\"SECRET\",\"nofile\":64,\"token\":\"SECRET\"}");
	struct audit_what what = {.params = params};
	cleanup_json struct json_object *o = NULL;
	const char *text;
	size_t len;

	allow(&what);
	o = last_line(&len);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	assert_null(strstr(text, "SECRET"));
	assert_non_null(strstr(text, "\"who\":{\"uid\":1000,\"gid\":100,\"pid\":42,"
				     "\"command\":\"ev\\\"%0A%FFil\"}"));
	assert_non_null(strstr(text, "\"verb\":\"Attach\",\"allowed\":true,\"reason\":\"%25\""));
	assert_non_null(strstr(text, "\"command\":[\"a%0A\"]"));
	assert_non_null(strstr(text, "\"terminal\":true"));
	assert_non_null(strstr(text, "\"nofile\":64"));
	assert_non_null(strstr(text, "\"seccomp\":\"custom\""));
	assert_null(strstr(text, "truncated"));
	assert_null(strstr(text, "rule"));
}

static void test_a_refusal_has_its_rule_and_one_line(void **state)
{
	cleanup_json struct json_object *o = NULL, *again = NULL;
	struct audit_what what = {};
	struct error err = {};
	size_t len;

	audit_begin(audit, &q, "io.recap.Attach", true);
	strcpy(q.rule, "only-\nnights");
	error_named(&err, EPERM, "PermissionDenied", "no");
	audit_end(audit, &q, &who, &what, NULL, &err);
	o = last_line(&len);
	assert_string_equal(json_get_str(o, "rule"), "only-%0Anights");
	assert_false(json_get_bool(o, "allowed"));
	error_named(&err, EPERM, "Failed", "twice");
	audit_end(audit, &q, &who, &what, NULL, &err);
	again = last_line(&len);
	assert_true(json_object_equal(o, again));
}

/* What a call is about has to be known before some rules can be asked: then it was recorded as allowed. */
static void test_a_late_refusal_has_its_rule(void **state)
{
	cleanup_json struct json_object *o = NULL;
	struct audit_what what = {};
	struct error err = {};
	size_t len;

	audit_begin(audit, &q, "io.recap.Stop", true);
	assert_int_equal(audit_allow(audit, &q, &who, &what, &err), 0);
	strcpy(q.rule, "not-theirs");
	error_named(&err, EPERM, "Refused", "no");
	audit_end(audit, &q, &who, NULL, NULL, &err);
	o = last_line(&len);
	assert_string_equal(json_get_str(o, "event"), "result");
	assert_string_equal(json_get_str(o, "rule"), "not-theirs");
	assert_true(len < AUDIT_RESULT_MAX);
}

static void test_health_and_the_service_are_not_recorded(void **state)
{
	static const char *const none[] = {"io.recap.Status", "io.recap.Stats",
					   "org.varlink.service.GetInfo"};

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		audit_begin(audit, &q, none[i], true);
		assert_int_equal(q.number, 0);
	}
	audit_begin(audit, &q, "io.recap.Inspect", true);
	assert_int_not_equal(q.number, 0);
	audit_begin(audit, &q, "", false);
	assert_int_not_equal(q.number, 0);
}

static void long_command(char c, size_t each, size_t n)
{
	cleanup_json struct json_object *o = NULL, *params = json_object_new_object();
	cleanup_free char *text = long_text(each, c), *name = long_text(300, '\n');
	struct target_name target = {.container_id = name, .name = name, .runtime = name};
	struct image image = {.ref = name, .digest = name};
	char **argv = calloc(n + 1, sizeof(*argv));
	struct audit_what what = {params, &image, &target, argv};
	size_t len;

	assert_non_null(argv);
	for (size_t i = 0; i < n; i++)
		argv[i] = text;
	json_put_str(params, "source", text);
	json_put_strv(params, "cap_add", argv);
	allow(&what);
	free(argv);
	o = last_line(&len);
	assert_true(json_get_bool(o, "truncated"));
	assert_true(len <= AUDIT_LINE_MAX);
	assert_non_null(json_get(o, "target", json_type_object));
}

/* Who is refused may try for ever; the file does not grow with that. */
static void test_refused_connections_fill_no_disk(void **state)
{
	struct json_object *o;
	struct error err = {};
	struct stat st;
	off_t size;
	size_t len;

	error_named(&err, EPERM, "PermissionDenied", "nobody asked you");
	for (int i = 0; i < 60; i++)
		audit_connection(audit, &who, &err);
	o = last_line(&len);
	assert_string_equal(json_get_str(o, "event"), "connection");
	assert_int_equal(json_get_int(json_get(o, "who", json_type_object), "uid", 0), 1000);
	json_object_put(o);
	assert_int_equal(stat(path, &st), 0);
	for (int i = 0; i < 5000; i++)
		audit_connection(audit, &who, &err);
	size = st.st_size;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, size);
	audit_close(audit);
	audit = NULL;
	o = last_line(&len);
	assert_int_equal(json_get_int(o, "more", 0), 5000);
	json_object_put(o);
}

static void test_no_command_makes_a_line_too_long(void **state)
{
	long_command('"', 1 << 20, 1);
	long_command('\n', 1 << 20, 1);
	long_command('"', 10, 100000);
	long_command('"', 1, 100000);
	long_command('x', 0, 100000);
}

/* Everything as large as it can be, and a hostile worker's name for its error. */
static void test_a_result_fits_into_its_room(void **state)
{
	cleanup_json struct json_object *record = object(
		"{\"id\":\"0123456789ab\",\"state\":\"quarantined\",\"exit_code\":255,\"signal\":64,"
		"\"user\":{\"uid\":4294967295,\"gid\":4294967295}}");
	static const char *const times[] = {"resolve", "prepare", "inject", "run",
					    "drain",   "escape",  "drop",   "total"};
	static const char *const groups[] = {"timings_us", "tasks", "cow", "proof"};
	struct json_object *holders = json_object_new_array(), *o;
	cleanup_free char *text = long_text(423, '\x01');
	cleanup_json struct json_object *line = NULL;
	struct audit_what what = {};
	struct error err = {.code = EIO};
	struct ledger_place at[2];
	size_t len;

	memset(err.name, '\x02', sizeof(err.name) - 1);
	strcpy(err.msg, text);
	json_put_str(record, "reason", text);
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		o = json_object_new_object();
		for (size_t i = 0; i < (g ? 4 : ARRAY_SIZE(times)); i++)
			json_put_int(o, times[i], INT64_MIN);
		json_put_obj(record, groups[g], o);
	}
	for (int i = 0; i < 64; i++)
		json_object_array_add(
			holders,
			object("{\"pid\":4194304,\"command\":\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\""
			       "\\\"\\\"\\\"\\\"\\\"\\\"\\\"\",\"kind\":\"namespace\",\"fd\":1048576}"));
	json_put_obj(record, "holders", holders);
	allow(&what);
	audit_capsule_begin(audit, &q, &who, "0123456789ab");
	audit_capsule_started(audit, "0123456789ab");
	audit_capsule(audit, record, &err, false, at);
	line = last_line(&len);
	assert_true(json_get_bool(line, "truncated"));
	assert_in_range(len, 1000, AUDIT_RESULT_MAX);
	audit_capsule(audit, record, &err, true, at);
}

/* recapd dies, and another opens the same file. */
static void restart(void)
{
	struct error err;

	audit_close(audit);
	audit = NULL;
	if (audit_open(path, "/nonexistent/journal", NULL, &audit, &err) < 0)
		fail_msg("%s", err.msg);
}

static size_t count_results(void)
{
	cleanup_free char *text = NULL;
	size_t n = 0;

	assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
	for (const char *p = text; (p = strstr(p, "\"event\":\"result\"")); p++)
		n++;
	return n;
}

static struct json_object *record_in(const char *state)
{
	struct json_object *o = object("{\"id\":\"0123456789ab\",\"request\":1}");

	json_put_str(o, "state", state);
	return o;
}

static void begin_capsule(void)
{
	struct audit_what what = {};

	allow(&what);
	audit_capsule_begin(audit, &q, &who, "0123456789ab");
}

/* It died when the line was in the file, and nothing else said so yet. */
static void test_an_end_that_is_written_is_not_written_again(void **state)
{
	cleanup_json struct json_object *running = record_in("running"),
					*end = record_in("dropped");
	struct ledger_place at[2] = {};

	begin_capsule();
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 1);
	restart();
	audit_capsule_adopt(audit, running, at);
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 1);
}

/* It died when it was about to, or in the middle of it; and what looks like the line is another's. */
static void test_an_end_that_is_not_written_is_written_once(void **state)
{
	cleanup_json struct json_object *running = record_in("running"),
					*end = record_in("dropped");
	static const char torn[] =
		"{\"event\":\"result\",\"capsule\":{\"id\":\"0123456789ab\",\"sta";
	struct ledger_place at[2] = {};
	struct stat st;
	int fd;

	begin_capsule();
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	at[true] = (struct ledger_place){st.st_ino, st.st_size};
	audit_capsule_started(audit, "0123456789ab");
	assert_int_equal(fd_write_all(fd, torn, strlen(torn)), 0);
	close(fd);
	restart();
	audit_capsule_adopt(audit, running, at);
	assert_int_equal(count_results(), 0);
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 1);
}

static void test_a_quarantine_is_written_once_and_its_end_after_it(void **state)
{
	cleanup_json struct json_object *held = record_in("quarantined"),
					*end = record_in("dropped"),
					*draining = record_in("draining");
	struct ledger_place at[2] = {};

	begin_capsule();
	audit_capsule(audit, held, NULL, false, at);
	restart();
	audit_capsule_adopt(audit, draining, at);
	audit_capsule(audit, held, NULL, false, at);
	assert_int_equal(count_results(), 1);
	restart();
	audit_capsule_adopt(audit, held, (struct ledger_place[2]){});
	audit_capsule(audit, held, NULL, false, at);
	assert_int_equal(count_results(), 2);
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 3);
	restart();
	audit_capsule_adopt(audit, held, at);
	audit_capsule(audit, held, NULL, false, at);
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 3);
}

/* A place in a file that was set aside says nothing of the new one; a quarantine was told there, as long as it lasts. */
static void test_a_place_is_of_one_file(void **state)
{
	cleanup_json struct json_object *held = record_in("quarantined"),
					*end = record_in("dropped");
	struct ledger_place at[2] = {};
	char old[sizeof(path) + 4];

	begin_capsule();
	audit_capsule(audit, held, NULL, false, at);
	snprintf(old, sizeof(old), "%s.1", path);
	assert_int_equal(rename(path, old), 0);
	restart();
	audit_capsule_adopt(audit, held, at);
	audit_capsule(audit, held, NULL, false, at);
	audit_capsule(audit, end, NULL, true, at);
	assert_int_equal(count_results(), 1);
	unlink(old);
}

static void test_numbers_grow(void **state)
{
	uint64_t first;
	struct error err;

	audit_begin(audit, &q, "io.recap.Attach", true);
	first = q.number;
	audit_begin(audit, &q, "io.recap.Attach", true);
	assert_int_equal(q.number, first + 1);
	audit_close(audit);
	assert_int_equal(audit_open(path, "/nonexistent/journal", NULL, &audit, &err), 0);
	audit_begin(audit, &q, "io.recap.Attach", true);
	assert_true(q.number > first + 1);
}

/* ---- the file ---------------------------------------------------------------------------------- */

static void put_file(const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void expect_file(const char *text)
{
	cleanup_free char *got = NULL;

	assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &got, NULL), 0);
	assert_string_equal(got, text);
}

static struct ledger *open_ledger(void)
{
	struct ledger *l;
	struct error err;

	if (ledger_open(path, &l, &err) < 0)
		fail_msg("%s", err.msg);
	return l;
}

static void append(struct ledger *l, const char *text)
{
	assert_int_equal(ledger_reserve(l, strlen(text) + 1), 0);
	assert_int_equal(ledger_append(l, text, strlen(text)), 0);
}

static void test_a_torn_line_is_taken_off_and_a_whole_one_stays(void **state)
{
	struct ledger *l;

	audit_close(audit);
	audit = NULL;
	put_file("one\ntwo\nthr");
	l = open_ledger();
	append(l, "3");
	ledger_close(l);
	expect_file("one\ntwo\n3\n");
	put_file("torn");
	l = open_ledger();
	append(l, "1");
	expect_file("1\n");
	ledger_close(l);
	l = open_ledger();
	append(l, "2");
	ledger_close(l);
	expect_file("1\n2\n");
}

static void test_what_others_did_to_the_file_is_seen(void **state)
{
	struct ledger *l;

	audit_close(audit);
	audit = NULL;
	l = open_ledger();
	append(l, "one");
	assert_int_equal(truncate(path, 0), 0);
	append(l, "two");
	expect_file("two\n");
	ledger_close(l);
}

static void test_room_is_kept_behind_the_end_and_given_back(void **state)
{
	struct ledger *l;
	struct stat st;

	audit_close(audit);
	audit = NULL;
	l = open_ledger();
	assert_int_equal(ledger_reserve(l, 1 << 20), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	append(l, "one");
	ledger_close(l);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 < 1 << 20);
	expect_file("one\n");
}

static void test_one_at_a_time(void **state)
{
	struct ledger *l;
	struct error err;

	assert_int_equal(ledger_open(path, &l, &err), -EBUSY);
	audit_close(audit);
	audit = NULL;
	ledger_close(open_ledger());
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_told),
		TEST(test_a_refusal_has_its_rule_and_one_line),
		TEST(test_a_late_refusal_has_its_rule),
		TEST(test_health_and_the_service_are_not_recorded),
		TEST(test_refused_connections_fill_no_disk),
		TEST(test_no_command_makes_a_line_too_long),
		TEST(test_a_result_fits_into_its_room),
		TEST(test_an_end_that_is_written_is_not_written_again),
		TEST(test_an_end_that_is_not_written_is_written_once),
		TEST(test_a_quarantine_is_written_once_and_its_end_after_it),
		TEST(test_a_place_is_of_one_file),
		TEST(test_numbers_grow),
		TEST(test_a_torn_line_is_taken_off_and_a_whole_one_stays),
		TEST(test_what_others_did_to_the_file_is_seen),
		TEST(test_room_is_kept_behind_the_end_and_given_back),
		TEST(test_one_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
