// SPDX-License-Identifier: MIT
/* Framing and descriptors, with a peer that means well and one that does not. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/utf8.h"
#include "common/varlink.h"

#define MAX_IN 1000

/* `v` is under test, `peer` the raw other end. */
struct pair {
	struct varlink v;
	int peer;
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int sp[2];

	assert_non_null(p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	varlink_init(&p->v, sp[0], MAX_IN);
	p->peer = sp[1];
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	varlink_close(&p->v);
	fd_close(p->peer);
	free(p);
	return 0;
}

static void send_raw(int sock, const void *buf, size_t len, const int *fds, unsigned int n_fds)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = {};
	struct iovec iov = {(void *)buf, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), len);
}

static void expect_message(struct varlink *v, const char *want)
{
	const char *text;
	size_t len;

	assert_int_equal(varlink_next(v, &text, &len), 1);
	assert_int_equal(len, strlen(want));
	assert_string_equal(text, want);
}

static void expect_none(struct varlink *v)
{
	const char *text;
	size_t len;

	assert_int_equal(varlink_next(v, &text, &len), 0);
}

static unsigned int count_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void messages_come_whole(void **state)
{
	struct pair *p = *state;

	assert_int_equal(varlink_read(&p->v), -EAGAIN);
	send_raw(p->peer, "{\"a\"", 4, NULL, 0);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_none(&p->v);
	send_raw(p->peer, ":1}\0{}\0{\"b", 10, NULL, 0);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_message(&p->v, "{\"a\":1}");
	expect_message(&p->v, "{}");
	expect_none(&p->v);
	send_raw(p->peer, "\":2}", 5, NULL, 0);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_message(&p->v, "{\"b\":2}");
	expect_none(&p->v);
	assert_null(p->v.in);
}

static void end_of_stream_leaves_what_came(void **state)
{
	struct pair *p = *state;

	send_raw(p->peer, "{}\0{\"half", 9, NULL, 0);
	p->peer = fd_close(p->peer);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_message(&p->v, "{}");
	assert_int_equal(varlink_read(&p->v), 0);
	expect_none(&p->v);
}

static void longest_message_and_one_more(void **state)
{
	struct pair *p = *state;
	char big[MAX_IN + 2];
	const char *text;
	size_t len;

	memset(big, 'x', sizeof(big));
	big[MAX_IN] = '\0';
	send_raw(p->peer, big, MAX_IN + 1, NULL, 0);
	while (varlink_read(&p->v) == 1 && !varlink_next(&p->v, &text, &len))
		;
	assert_int_equal(len, MAX_IN);
	expect_none(&p->v);

	big[MAX_IN] = 'x';
	send_raw(p->peer, big, MAX_IN + 1, NULL, 0);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_none(&p->v);
	assert_int_equal(varlink_read(&p->v), -EMSGSIZE);
	assert_true(p->v.in_size <= MAX_IN + 1);
}

/* A flood of messages that nobody takes does not grow the buffer, and none of them is lost. */
static void untaken_messages_hold_back_the_rest(void **state)
{
	struct pair *p = *state;
	const char *text;
	size_t len, n = 0;
	char flood[4000];

	memset(flood, 0, sizeof(flood));
	send_raw(p->peer, flood, sizeof(flood), NULL, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(varlink_read(&p->v), 1);
	assert_true(p->v.in_size <= MAX_IN + 1);
	do {
		while (varlink_next(&p->v, &text, &len))
			n++;
	} while (varlink_read(&p->v) == 1);
	assert_int_equal(n, sizeof(flood));
}

static void descriptors_come_with_their_message(void **state)
{
	struct pair *p = *state;
	const int std[] = {0, 1, 2};
	int fds[VARLINK_FDS_MAX];

	/* The kernel may give all of this to one recvmsg(2). */
	send_raw(p->peer, "{\"first\":1}", 12, NULL, 0);
	send_raw(p->peer, "{\"second\":2}", 13, std, 3);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_message(&p->v, "{\"first\":1}");
	assert_int_equal(varlink_take_fds(&p->v, fds), 0);
	expect_message(&p->v, "{\"second\":2}");
	assert_int_equal(varlink_take_fds(&p->v, fds), 3);
	for (int i = 0; i < 3; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		fd_close(fds[i]);
	}
	assert_int_equal(varlink_take_fds(&p->v, fds), 0);
}

/* With the first byte, or with any later byte of the message. */
static void descriptors_wait_for_the_end_of_their_message(void **state)
{
	struct pair *p = *state;
	const int one[] = {0};
	int fds[VARLINK_FDS_MAX];

	send_raw(p->peer, "{\"a", 3, one, 1);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_none(&p->v);
	send_raw(p->peer, "\":1", 3, one, 1);
	send_raw(p->peer, "}", 2, NULL, 0);
	while (varlink_read(&p->v) == 1)
		;
	expect_message(&p->v, "{\"a\":1}");
	assert_int_equal(varlink_take_fds(&p->v, fds), 2);
	fd_close(fds[0]);
	fd_close(fds[1]);
}

static void descriptors_that_nobody_takes_are_closed(void **state)
{
	struct pair *p = *state;
	unsigned int before = count_open_fds();
	const int std[] = {0, 1, 2};
	int fds[VARLINK_FDS_MAX];

	for (int i = 0; i < 20; i++) {
		send_raw(p->peer, "{}", 3, std, 3);
		assert_int_equal(varlink_read(&p->v), 1);
		expect_message(&p->v, "{}");
	}
	send_raw(p->peer, "{}", 3, NULL, 0);
	assert_int_equal(varlink_read(&p->v), 1);
	expect_message(&p->v, "{}");
	assert_int_equal(varlink_take_fds(&p->v, fds), 0);
	assert_int_equal(count_open_fds(), before);
}

static void too_many_descriptors_are_refused_and_closed(void **state)
{
	struct pair *p = *state;
	unsigned int before = count_open_fds();
	const int many[16] = {0, 1, 2};

	send_raw(p->peer, "{}", 3, many, 4);
	assert_int_equal(varlink_read(&p->v), -EMSGSIZE);
	assert_int_equal(count_open_fds(), before);
	send_raw(p->peer, "{}", 3, many, 16);
	assert_int_equal(varlink_read(&p->v), -EMSGSIZE);
	assert_int_equal(count_open_fds(), before);
	/* In portions, within one message. */
	for (int i = 0; i < 2; i++) {
		send_raw(p->peer, "x", 1, many, 2);
		assert_int_equal(varlink_read(&p->v), i ? -EMSGSIZE : 1);
	}
	assert_int_equal(count_open_fds(), before);
}

static void closing_closes_all(void **state)
{
	struct pair *p = *state;
	unsigned int before = count_open_fds();
	const int std[] = {0, 1, 2};

	send_raw(p->peer, "{}", 3, std, 3);
	assert_int_equal(varlink_read(&p->v), 1);
	p->v.out_fd = dup(0);
	assert_int_equal(varlink_queue(&p->v, "{}", 2), 0);
	p->v.out_fd = dup(0);
	varlink_close(&p->v);
	assert_int_equal(count_open_fds(), before - 1);
	varlink_close(&p->v);
	assert_int_equal(count_open_fds(), before - 1);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino &&
	       x.st_dev == y.st_dev;
}

static void queued_descriptor_goes_with_its_message(void **state)
{
	struct pair *p = *state;
	cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[VARLINK_FDS_MAX];
	struct varlink peer;

	varlink_init(&peer, TAKE_FD(p->peer), MAX_IN);
	assert_int_equal(varlink_queue(&p->v, "{\"a\":1}", 7), 0);
	p->v.out_fd = dup(null);
	assert_int_equal(varlink_queue(&p->v, "{\"b\":2}", 7), 0);
	assert_int_equal(p->v.out_fd, -1);
	p->v.out_fd = dup(null);
	assert_int_equal(varlink_queue(&p->v, "{\"c\":3}", 7), -EBUSY);
	assert_int_equal(varlink_flush(&p->v), 1);
	assert_int_equal(varlink_queue(&p->v, "{\"c\":3}", 7), 0);
	assert_int_equal(varlink_flush(&p->v), 1);
	assert_null(p->v.out);

	while (varlink_read(&peer) == 1)
		;
	expect_message(&peer, "{\"a\":1}");
	assert_int_equal(varlink_take_fds(&peer, fds), 0);
	for (int i = 0; i < 2; i++) {
		expect_message(&peer, i ? "{\"c\":3}" : "{\"b\":2}");
		assert_int_equal(varlink_take_fds(&peer, fds), 1);
		assert_true(same_file(fds[0], null));
		fd_close(fds[0]);
	}
	varlink_close(&peer);
}

/* More than the socket holds: in pieces, in order, with the descriptor where it belongs. */
static void full_socket_is_no_error(void **state)
{
	enum { LONG = 600000 };
	struct pair *p = *state;
	cleanup_free char *big = malloc(LONG);
	int fds[VARLINK_FDS_MAX];
	struct varlink peer;
	const char *text;
	size_t len;
	int full = 0, r;

	memset(big, 'y', LONG);
	varlink_init(&peer, TAKE_FD(p->peer), LONG);
	assert_int_equal(varlink_queue(&p->v, big, LONG), 0);
	assert_int_equal(varlink_flush(&p->v), 0);
	p->v.out_fd = dup(0);
	assert_int_equal(varlink_queue(&p->v, "{}", 2), 0);
	while ((r = varlink_flush(&p->v)) == 0) {
		full++;
		assert_int_equal(varlink_read(&peer), 1);
	}
	assert_int_equal(r, 1);
	assert_true(full > 0);
	while (!varlink_next(&peer, &text, &len))
		assert_int_equal(varlink_read(&peer), 1);
	assert_int_equal(len, LONG);
	assert_memory_equal(text, big, LONG);
	assert_int_equal(varlink_take_fds(&peer, fds), 0);
	while (!varlink_next(&peer, &text, &len))
		assert_int_equal(varlink_read(&peer), 1);
	assert_string_equal(text, "{}");
	assert_int_equal(varlink_take_fds(&peer, fds), 1);
	fd_close(fds[0]);
	varlink_close(&peer);
}

static void peer_that_never_reads_is_limited(void **state)
{
	enum { LONG = 16 << 20 };
	struct pair *p = *state;
	cleanup_free char *big = calloc(1, LONG);
	int n = 0, r;

	while ((r = varlink_queue(&p->v, big, LONG)) == 0)
		n++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(n, 3);
}

static void flush_to_nobody_fails(void **state)
{
	struct pair *p = *state;

	p->peer = fd_close(p->peer);
	assert_int_equal(varlink_queue(&p->v, "{}", 2), 0);
	assert_int_equal(varlink_flush(&p->v), -EPIPE);
}

static void call_is_as_the_protocol_says(void **state)
{
	struct pair *p = *state;
	cleanup_json struct json_object *params = json_object_new_object();
	const int one[] = {0};
	int fds[VARLINK_FDS_MAX];
	struct varlink peer;
	struct error err;

	varlink_init(&peer, TAKE_FD(p->peer), MAX_IN);
	json_put_str(params, "id", "a/b");
	assert_int_equal(varlink_call(&p->v, "io.recap.Inspect", params, true, one, 1, &err), 0);
	assert_int_equal(varlink_call(&p->v, "io.recap.Status", NULL, false, NULL, 0, &err), 0);
	while (varlink_read(&peer) == 1)
		;
	expect_message(
		&peer,
		"{\"method\":\"io.recap.Inspect\",\"parameters\":{\"id\":\"a/b\"},\"more\":true}");
	assert_int_equal(varlink_take_fds(&peer, fds), 1);
	fd_close(fds[0]);
	expect_message(&peer, "{\"method\":\"io.recap.Status\"}");
	varlink_close(&peer);
}

/* A reply of the peer's, and what varlink_reply() makes of it. */
static int reply_of(struct pair *p, const char *text, struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	bool continues = true;
	int r;

	*err = (struct error){};
	send_raw(p->peer, text, strlen(text) + 1, NULL, 0);
	r = varlink_reply(&p->v, &params, &continues, err);
	if (r == 0) {
		assert_non_null(params);
		assert_false(continues);
	} else {
		assert_true(*err->msg);
		assert_null(params);
	}
	return r;
}

static void replies_and_errors(void **state)
{
	struct pair *p = *state;
	struct error err;

	assert_int_equal(reply_of(p, "{\"parameters\":{}}", &err), 0);
	assert_int_equal(reply_of(p, "{}", &err), 0);
	assert_int_equal(reply_of(p,
				  "{\"error\":\"io.recap.TargetNotFound\","
				  "\"parameters\":{\"message\":\"no container 'x'\"}}",
				  &err),
			 -EREMOTEIO);
	assert_string_equal(err.name, "TargetNotFound");
	assert_string_equal(err.msg, "no container 'x'");
	assert_int_equal(reply_of(p,
				  "{\"error\":\"org.varlink.service.MethodNotFound\","
				  "\"parameters\":{\"method\":\"Scan\"}}",
				  &err),
			 -EREMOTEIO);
	assert_string_equal(err.name, "MethodNotFound");
	assert_non_null(strstr(err.msg, "does not know what was asked for: Scan"));
	assert_int_equal(reply_of(p,
				  "{\"error\":\"org.varlink.service.InvalidParameter\","
				  "\"parameters\":{\"parameter\":\"cow\"}}",
				  &err),
			 -EREMOTEIO);
	assert_non_null(strstr(err.msg, "parameter: cow"));
	assert_int_equal(reply_of(p, "{\"error\":\"io.recap.Failed\"}", &err), -EREMOTEIO);
	assert_int_equal(reply_of(p, "{\"error\":7}", &err), -EREMOTEIO);
	assert_int_equal(
		reply_of(p, "{\"error\":\"x\",\"parameters\":{\"message\":\"a\\u001b[2J\"}}", &err),
		-EREMOTEIO);
	assert_string_equal(err.msg, "a?[2J");
}

static void what_is_no_reply_is_refused(void **state)
{
	static const char *const bad[] = {"", "x", "[]", "\"a\"", "{", "{}{}", "{\"a\":\"\xff\"}"};
	struct pair *p = *state;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(reply_of(p, bad[i], &err), -EPROTO);
}

static void lost_connection_is_told(void **state)
{
	struct pair *p = *state;
	cleanup_json struct json_object *params = NULL;
	struct error err = {};

	send_raw(p->peer, "{\"half", 6, NULL, 0);
	p->peer = fd_close(p->peer);
	assert_int_equal(varlink_reply(&p->v, &params, NULL, &err), -ECONNRESET);
	assert_non_null(strstr(err.msg, "lost the connection"));
	assert_int_equal(varlink_call(&p->v, "io.recap.Status", NULL, false, NULL, 0, &err),
			 -ECONNRESET);
}

/* The peer has hung up, but not without a word: that is the reply to whatever is called. */
static void refusal_before_the_call_is_its_reply(void **state)
{
	static const char refusal[] =
		"{\"error\":\"io.recap.Busy\",\"parameters\":{\"message\":\"full\"}}";
	struct pair *p = *state;
	struct json_object *params = NULL;
	struct error err = {};

	assert_int_equal(write(p->peer, refusal, sizeof(refusal)), sizeof(refusal));
	p->peer = fd_close(p->peer);
	assert_int_equal(varlink_call(&p->v, "io.recap.Status", NULL, false, NULL, 0, &err), 0);
	assert_int_equal(varlink_reply(&p->v, &params, NULL, &err), -EREMOTEIO);
	assert_string_equal(err.name, "Busy");
	assert_string_equal(err.msg, "full");
	assert_int_equal(varlink_call(&p->v, "io.recap.Status", NULL, false, NULL, 0, &err),
			 -ECONNRESET);
}

static void utf8_is_as_rfc_3629_has_it(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		uint32_t code;
	} cases[] = {
		{"a", 1, 'a'},
		{"\x7f", 1, 0x7f},
		{"\xc2\x80", 2, 0x80},
		{"\xe0\xa0\x80", 3, 0x800},
		{"\xed\x9f\xbf", 3, 0xd7ff},
		{"\xee\x80\x80", 3, 0xe000},
		{"\xf0\x90\x80\x80", 4, 0x10000},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		/* A continuation alone, overlong forms, surrogates, too large, cut off. */
		{"\x80", 0, 0},
		{"\xc1\xbf", 0, 0},
		{"\xe0\x9f\xbf", 0, 0},
		{"\xf0\x8f\xbf\xbf", 0, 0},
		{"\xed\xa0\x80", 0, 0},
		{"\xf4\x90\x80\x80", 0, 0},
		{"\xf8\x88\x80\x80", 0, 0},
		{"\xe2\x82", 0, 0},
		{"\xe2\x82"
		 "a",
		 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t code = 0;
		size_t n = strlen(cases[i].text);

		assert_int_equal(utf8_decode(cases[i].text, n, &code), cases[i].len);
		assert_int_equal(code, cases[i].code);
		assert_int_equal(utf8_valid(cases[i].text, n), cases[i].len == n);
	}
	assert_true(utf8_valid("", 0));
	assert_true(utf8_valid("a\0\xc3\xa9", 4));
	assert_false(utf8_valid("caf\xc3\xa9", 4));
}

static void text_that_is_no_utf8_is_not_sent(void **state)
{
	struct pair *p = *state;
	cleanup_json struct json_object *params = json_object_new_object();
	struct error err = {};

	json_put_str(params, "id", "caf\xc3\xa9");
	assert_int_equal(varlink_call(&p->v, "io.recap.Inspect", params, false, NULL, 0, &err), 0);
	json_put_str(params, "id", "caf\xe9");
	assert_int_equal(varlink_call(&p->v, "io.recap.Inspect", params, false, NULL, 0, &err),
			 -EILSEQ);
	assert_non_null(strstr(err.msg, "UTF-8"));
}

static void endless_reply_is_refused(void **state)
{
	struct pair *p = *state;
	cleanup_json struct json_object *params = NULL;
	struct error err = {};
	char big[2 * MAX_IN];

	memset(big, ' ', sizeof(big));
	send_raw(p->peer, big, sizeof(big), NULL, 0);
	assert_int_equal(varlink_reply(&p->v, &params, NULL, &err), -EMSGSIZE);
	assert_non_null(strstr(err.msg, "longer than 1000 bytes"));
}

static void connect_says_what_to_do(void **state)
{
	char longest[200];
	struct varlink v;
	struct error err;

	assert_int_equal(varlink_connect("/nonexistent/sock", &v, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/sock"));
	assert_non_null(strstr(err.msg, "--socket"));
	varlink_close(&v);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(varlink_connect(longest, &v, &err), -ENAMETOOLONG);
	varlink_close(&v);
	assert_int_equal(varlink_connect("", &v, &err), -ENAMETOOLONG);
	varlink_close(&v);
}

/* Never fewer than json-c makes, but for the outermost one. */
static void values_are_counted_unparsed(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} all[] = {{"7", 0},
		   {"[]", 1},
		   {"[1,2,3]", 3},
		   {"{},{}", 3},
		   {"{\"a\":[{},{}]}", 5},
		   {"\"[,{\"", 0},
		   {"[\"\\\",[\"]", 1},
		   {"[\"\\\\\",[]]", 3}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(json_count_values(all[i].text, strlen(all[i].text)), all[i].n);
	assert_int_equal(json_count_values("[,,,", 2), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_come_whole),
		TEST(end_of_stream_leaves_what_came),
		TEST(longest_message_and_one_more),
		TEST(untaken_messages_hold_back_the_rest),
		TEST(descriptors_come_with_their_message),
		TEST(descriptors_wait_for_the_end_of_their_message),
		TEST(descriptors_that_nobody_takes_are_closed),
		TEST(too_many_descriptors_are_refused_and_closed),
		TEST(closing_closes_all),
		TEST(queued_descriptor_goes_with_its_message),
		TEST(full_socket_is_no_error),
		TEST(peer_that_never_reads_is_limited),
		TEST(flush_to_nobody_fails),
		TEST(call_is_as_the_protocol_says),
		TEST(replies_and_errors),
		TEST(what_is_no_reply_is_refused),
		TEST(lost_connection_is_told),
		TEST(refusal_before_the_call_is_its_reply),
		TEST(utf8_is_as_rfc_3629_has_it),
		TEST(text_that_is_no_utf8_is_not_sent),
		TEST(endless_reply_is_refused),
		cmocka_unit_test(connect_says_what_to_do),
		cmocka_unit_test(values_are_counted_unparsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
