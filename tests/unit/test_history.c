// SPDX-License-Identifier: MIT
/* The file of finished capsules, as a recapd that was killed leaves it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fd.h"
#include "core/history.h"

#define LINE(id, token) \
	"{\"id\":\"" id "\",\"caller\":{\"uid\":1000,\"gid\":1},\"token\":\"" token "\"}\n"
#define FIRST  LINE("000000000001", "firstfirstfirstf")
#define SECOND LINE("000000000002", "secondsecondseco")

struct folder {
	char path[32];
	int fd;
};

static int set_up(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/recap-history-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return f->fd < 0;
}

static int tear_down(void **state)
{
	struct folder *f = *state;

	unlinkat(f->fd, "history.jsonl", 0);
	unlinkat(f->fd, "history.jsonl.1", 0);
	close(f->fd);
	rmdir(f->path);
	free(f);
	return 0;
}

static void put(const struct folder *f, const char *name, const char *text)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct history *open_history(const struct folder *f)
{
	struct history *h;
	struct error err;

	assert_int_equal(history_open(f->fd, f->fd, &h, &err), 0);
	return h;
}

static void assert_file(const struct folder *f, const char *wanted)
{
	cleanup_free char *text = NULL;
	size_t len;

	assert_int_equal(fd_read_file(f->fd, "history.jsonl", 1 << 20, &text, &len), 0);
	assert_string_equal(text, wanted);
}

/* A line that was not written to its end is that of a record which comes once more. */
static bool knows(struct history *h, const char *token)
{
	cleanup_free char *text = NULL;
	char *others;
	int r = history_find_token(h, token, 1000, &text);

	assert_true(r == 0 || r == -ENOENT);
	/* Who saw a token in a list of capsules may use it, too; it leads them nowhere. */
	assert_int_equal(history_find_token(h, token, 100, &others), -ENOENT);
	assert_int_equal(history_find_token(h, token, 0, &others), -ENOENT);
	return r == 0;
}

static void test_a_torn_line_does_not_spoil_the_next(void **state)
{
	const struct folder *f = *state;
	struct json_object *record;
	struct history *h;

	put(f, "history.jsonl", FIRST "{\"id\":\"0000000");
	h = open_history(f);
	assert_file(f, FIRST);
	assert_int_equal(history_find(h, "000000000002", NULL, NULL), -ENOENT);
	record = json_tokener_parse(SECOND);
	history_add(h, record);
	json_object_put(record);
	assert_file(f, FIRST SECOND);
	history_close(h);
}

static void test_whole_lines_stay(void **state)
{
	const struct folder *f = *state;
	struct history *h;

	put(f, "history.jsonl", FIRST SECOND);
	h = open_history(f);
	assert_file(f, FIRST SECOND);
	assert_true(knows(h, "firstfirstfirstf"));
	history_close(h);
	put(f, "history.jsonl", "{\"id\":\"000");
	history_close(open_history(f));
	assert_file(f, "");
}

/* Whoever is told that there is none runs the tool again. */
static void test_what_cannot_be_read_is_not_nothing(void **state)
{
	const struct folder *f = *state;
	struct history *h;
	char *text;

	assert_int_equal(mkdirat(f->fd, "history.jsonl.1", 0700), 0);
	h = open_history(f);
	assert_int_equal(history_find_token(h, "secondsecondseco", 1000, &text), -EINVAL);
	history_close(h);
	assert_int_equal(unlinkat(f->fd, "history.jsonl.1", AT_REMOVEDIR), 0);
}

/* The file was changed just before: who asks for the last of the old one must not be told that it never was. */
static void test_the_old_file_is_known_too(void **state)
{
	const struct folder *f = *state;
	const char *id;
	struct history *h;

	put(f, "history.jsonl.1", FIRST);
	put(f, "history.jsonl", SECOND);
	h = open_history(f);
	assert_true(knows(h, "firstfirstfirstf"));
	assert_true(knows(h, "secondsecondseco"));
	assert_false(knows(h, "thirdthirdthirdt"));
	assert_int_equal(history_find(h, "000000000001", &id, NULL), 0);
	assert_string_equal(id, "000000000001");
	history_close(h);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_torn_line_does_not_spoil_the_next),
		TEST(test_whole_lines_stay),
		TEST(test_what_cannot_be_read_is_not_nothing),
		TEST(test_the_old_file_is_known_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
