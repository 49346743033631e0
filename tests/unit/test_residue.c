// SPDX-License-Identifier: MIT
/* What the kernel lists is read and compared; answers that are cut, too long or of another list make nothing else of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "core/residue_internal.h"

static void clear(struct residue_look *look)
{
	free(look->objects);
	*look = (struct residue_look){};
}

static void see(struct residue_look *look, enum residue_kind kind, const char *name)
{
	int err;
	struct residue_object *o = residue_add(look, kind, &err);

	assert_non_null(o);
	strcpy(o->name, name);
}

/* ---- System V -------------------------------------------------------------------------------------- */

static void test_sysv_lines(void **state)
{
	struct residue_look look = {};

	assert_int_equal(
		residue_sysv_line(&look, RESIDUE_SHM,
				  "       key      shmid perms                  size  cpid"),
		0);
	assert_int_equal(look.n, 0);
	assert_int_equal(
		residue_sysv_line(
			&look, RESIDUE_SHM,
			"      -1         32  1600                  4096    77    78      1"
			"  1000  1001     0     0 1 2 3 4096 0"),
		0);
	assert_string_equal(look.objects[0].name, "32");
	assert_string_equal(
		look.objects[0].detail,
		"key 0xffffffff, owner 1000:1001, mode 1600, 4096 bytes, made by PID 77");
	assert_int_equal(residue_sysv_line(&look, RESIDUE_SEM, " 7 3 600 25 5 6 0 0 1 2"), 0);
	assert_string_equal(look.objects[1].detail,
			    "key 0x00000007, owner 5:6, mode 600, 25 semaphores");
	assert_int_equal(residue_sysv_line(&look, RESIDUE_MSG, " 7 3 600 9 1 2 3 5 6 0 0 1 2 3"),
			 0);
	assert_string_equal(look.objects[2].detail, "key 0x00000007, owner 5:6, mode 600");
	assert_int_equal(residue_sysv_line(&look, RESIDUE_MSG, " 7 3 600 9"), 0);
	assert_int_equal(look.n, 3);
	clear(&look);
}

static void test_too_many(void **state)
{
	struct residue_look look = {};
	int r = 0, n = 0;

	for (; r == 0; n++)
		r = residue_sysv_line(&look, RESIDUE_SEM, "1 2 600 1 0 0");
	assert_int_equal(r, -E2BIG);
	assert_int_equal(n, RESIDUE_OBJECTS_MAX + 1);
	clear(&look);
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static void test_compare(void **state)
{
	struct residue_look before = {}, after = {};
	struct residue r;

	residue_init(&r);
	see(&before, RESIDUE_SHM, "gone");
	see(&before, RESIDUE_SHM, "stays");
	see(&before, RESIDUE_SOCKET, "@went");
	see(&before, RESIDUE_SOCKET, "@twice");
	see(&before, RESIDUE_SOCKET, "@twice");
	see(&after, RESIDUE_SOCKET, "@twice");
	see(&after, RESIDUE_SOCKET, "@new");
	see(&after, RESIDUE_SOCKET, "@new");
	see(&after, RESIDUE_SHM, "stays");
	see(&after, RESIDUE_SEM, "stays");
	residue_compare(&r, &before, &after);
	assert_int_equal(r.n_items, 3);
	assert_int_equal(r.items[0].change, RESIDUE_REMOVED);
	assert_string_equal(r.items[0].object.name, "gone");
	assert_int_equal(r.items[1].change, RESIDUE_ADDED);
	assert_int_equal(r.items[1].object.kind, RESIDUE_SEM);
	assert_string_equal(r.items[2].object.name, "@new");
	assert_false(residue_refused(&r));
	r.refuse = true;
	assert_true(residue_refused(&r));
	residue_free(&r);
	clear(&before);
	clear(&after);
}

/* What the texts do not say counts, too. */
static void test_compare_hash(void **state)
{
	struct residue_look before = {}, after = {};
	struct residue r;

	residue_init(&r);
	r.refuse = true;
	see(&before, RESIDUE_LINK, "eth0");
	see(&after, RESIDUE_LINK, "eth0");
	residue_compare(&r, &before, &after);
	assert_false(residue_refused(&r));
	after.objects[0].hash = 1;
	residue_compare(&r, &before, &after);
	assert_int_equal(r.n_items, 2);
	residue_free(&r);
	clear(&before);
	clear(&after);
}

static void test_items_are_bounded(void **state)
{
	struct residue_look before = {}, after = {};
	struct json_object *a;
	struct residue r;
	char name[32];

	residue_init(&r);
	for (int i = 0; i < RESIDUE_MAX + 5; i++) {
		snprintf(name, sizeof(name), "%d\xff\n", i);
		see(&after, RESIDUE_MQUEUE, name);
	}
	residue_compare(&r, &before, &after);
	assert_int_equal(r.n_items, RESIDUE_MAX);
	assert_int_equal(r.more, 5);
	a = residue_json(&r);
	assert_int_equal(json_object_array_length(a), RESIDUE_MAX);
	assert_string_equal(json_get_str(json_object_array_get_idx(a, 0), "name"), "0%FF%0A");
	assert_string_equal(json_get_str(json_object_array_get_idx(a, 0), "kind"), "mqueue");
	json_object_put(a);
	residue_free(&r);
	clear(&after);
}

static void test_unknown(void **state)
{
	struct residue r;
	struct json_object *a;

	residue_init(&r);
	r.refuse = true;
	residue_after(&r); /* nobody looked before: nothing to say */
	assert_false(residue_refused(&r));
	residue_unknown(&r, "recapd was not there");
	residue_unknown(&r, "twice");
	assert_true(residue_refused(&r));
	a = residue_json(&r);
	assert_string_equal(json_object_to_json_string_ext(a, JSON_C_TO_STRING_PLAIN),
			    "[{\"kind\":\"all\",\"change\":\"unknown\",\"name\":\"\","
			    "\"detail\":\"recapd was not there\"}]");
	json_object_put(a);
	residue_free(&r);
}

/* ---- netlink: the kernel's part is ours --------------------------------------------------------------- */

struct message {
	struct nlmsghdr head;
	char body[512];
};

static struct message message(int type, unsigned int seq, int flags)
{
	return (struct message){.head = {.nlmsg_len = NLMSG_HDRLEN, type, flags, seq, 0}};
}

static void append(struct message *m, const void *data, size_t len)
{
	memcpy((char *)m + NLMSG_ALIGN(m->head.nlmsg_len), data, len);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + len;
}

static void append_attr(struct message *m, int type, const void *data, size_t len)
{
	struct nlattr a = {.nla_len = NLA_HDRLEN + len, .nla_type = type};

	append(m, &a, sizeof(a));
	append(m, data, len);
}

static struct message socket_named(unsigned int seq, const char *name, size_t len)
{
	struct message m = message(SOCK_DIAG_BY_FAMILY, seq, NLM_F_MULTI);
	struct unix_diag_msg d = {.udiag_family = AF_UNIX};

	append(&m, &d, sizeof(d));
	append_attr(&m, UNIX_DIAG_NAME, name, len);
	return m;
}

/* What residue_net() makes of these datagrams; `look` is the caller's to clear. */
static int answered(enum residue_kind kind, const struct message *m, size_t n,
		    struct residue_look *look)
{
	unsigned int seq = 0;
	int pair[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(send(pair[1], &m[i], m[i].head.nlmsg_len, 0), m[i].head.nlmsg_len);
	r = residue_net(pair[0], &seq, kind, look);
	assert_int_equal(seq, 1);
	close(pair[0]);
	close(pair[1]);
	return r;
}

static void test_net_sockets(void **state)
{
	struct residue_look look = {};
	const struct message m[] = {
		socket_named(1, "\0a\0b\xff", 5),
		socket_named(1, "/run/path", 10),
		socket_named(1, "", 0),
		socket_named(7, "\0other", 6),
		message(NLMSG_DONE, 1, NLM_F_MULTI),
	};

	assert_int_equal(answered(RESIDUE_SOCKET, m, 5, &look), 0);
	assert_int_equal(look.n, 1);
	assert_string_equal(look.objects[0].name, "@a@b\xff");
	clear(&look);
}

static void test_net_link(void **state)
{
	struct residue_look look = {};
	struct ifinfomsg i = {.ifi_index = 7, .ifi_flags = 1};
	struct message m[2] = {message(RTM_NEWLINK, 1, NLM_F_MULTI),
			       message(NLMSG_DONE, 1, NLM_F_MULTI)};
	uint32_t mtu = 1400;

	append(&m[0], &i, sizeof(i));
	append_attr(&m[0], IFLA_IFNAME, "eth0", 4); /* no NUL */
	append_attr(&m[0], IFLA_MTU, &mtu, sizeof(mtu));
	assert_int_equal(answered(RESIDUE_LINK, m, 2, &look), 0);
	assert_string_equal(look.objects[0].name, "eth0");
	assert_string_equal(look.objects[0].detail, "number 7, up, mtu 1400");
	clear(&look);
}

static void test_net_broken(void **state)
{
	struct residue_look look = {};
	struct message cut = message(RTM_NEWLINK, 1, NLM_F_MULTI), wild = socket_named(1, "\0x", 2);
	struct message gone = message(NLMSG_ERROR, 1, 0),
		       odd = message(NLMSG_DONE, 1, NLM_F_DUMP_INTR);
	int err = -EPERM;

	/* A header shorter than its kind's; an attribute longer than its message; none at all, and an end that never comes. */
	append(&cut, "x", 1);
	assert_int_equal(answered(RESIDUE_LINK, &cut, 1, &look), -EBADMSG);
	((struct nlattr *)(wild.body + sizeof(struct unix_diag_msg)))->nla_len = 0xffff;
	assert_int_equal(answered(RESIDUE_SOCKET, &wild, 1, &look), -EBADMSG);
	assert_int_equal(answered(RESIDUE_SOCKET, NULL, 0, &look), -EIO);
	wild = socket_named(1, "\0x", 2);
	assert_int_equal(answered(RESIDUE_SOCKET, &wild, 1, &look), -EIO);
	append(&gone, &err, sizeof(err));
	assert_int_equal(answered(RESIDUE_RULE, &gone, 1, &look), -EPERM);
	assert_int_equal(answered(RESIDUE_ROUTE, &odd, 1, &look), -EAGAIN);
	clear(&look);
}

/* No nf_tables: nothing can be there. */
static void test_net_without_nftables(void **state)
{
	struct residue_look look = {};
	struct message m = message(NLMSG_ERROR, 1, 0);
	int err = -EINVAL;

	append(&m, &err, sizeof(err));
	assert_int_equal(answered(RESIDUE_NFTABLES, &m, 1, &look), 0);
	assert_int_equal(look.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sysv_lines),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_compare_hash),
		cmocka_unit_test(test_items_are_bounded),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_net_sockets),
		cmocka_unit_test(test_net_link),
		cmocka_unit_test(test_net_broken),
		cmocka_unit_test(test_net_without_nftables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
