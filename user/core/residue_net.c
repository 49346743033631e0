// SPDX-License-Identifier: MIT
/* Interfaces, addresses, routes, rules, nftables and abstract sockets, as netlink lists them. */
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/residue_internal.h"

#define REPLY_BYTES \
	32768 /* the most that the kernel puts into one message of a list (af_netlink.c) */
#define ATTRS_MAX 64

/* ---- attributes -------------------------------------------------------------------------------- */

struct attrs {
	const struct nlattr *at[ATTRS_MAX];
};

static const void *data_of(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}

static size_t len_of(const struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}

/* Those behind `skip` bytes of header, by type. The last of a type counts. */
static int parse(const void *from, size_t len, struct attrs *ret)
{
	const char *p = from, *end = p + len;

	*ret = (struct attrs){};
	while (end - p >= NLA_HDRLEN) {
		const struct nlattr *a = (const void *)p;
		unsigned int type = a->nla_type & NLA_TYPE_MASK;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > end - p)
			return -EBADMSG;
		if (type < ATTRS_MAX)
			ret->at[type] = a;
		if (NLA_ALIGN(a->nla_len) > end - p)
			break;
		p += NLA_ALIGN(a->nla_len);
	}
	return 0;
}

static int parse_behind(const struct nlmsghdr *m, size_t header, struct attrs *ret)
{
	if (m->nlmsg_len < NLMSG_LENGTH(NLMSG_ALIGN(header)))
		return -EBADMSG;
	return parse((const char *)NLMSG_DATA(m) + NLMSG_ALIGN(header),
		     m->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(header)), ret);
}

static uint32_t attr_u32(const struct attrs *a, unsigned int type, uint32_t otherwise)
{
	uint32_t v = otherwise;

	if (a->at[type] && len_of(a->at[type]) >= sizeof(v))
		memcpy(&v, data_of(a->at[type]), sizeof(v));
	return v;
}

/* A text of the kernel's, with or without its NUL. */
static void attr_text(const struct attrs *a, unsigned int type, char *buf, size_t size)
{
	size_t len = a->at[type] ? len_of(a->at[type]) : 0;

	snprintf(buf, size, "%.*s", (int)len, len ? (const char *)data_of(a->at[type]) : "");
}

static uint64_t hash_attrs(uint64_t h, const struct attrs *a, const unsigned int *without, size_t n)
{
	for (unsigned int type = 0; type < ATTRS_MAX; type++) {
		bool skipped = !a->at[type];

		for (size_t i = 0; i < n; i++)
			skipped |= without[i] == type;
		if (!skipped)
			h = residue_hash(h, a->at[type], a->at[type]->nla_len);
	}
	return h;
}

static void attr_address(const struct attrs *a, unsigned int type, int family, char *buf,
			 size_t size)
{
	size_t want = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;

	*buf = '\0';
	if (want && a->at[type] && len_of(a->at[type]) >= want)
		inet_ntop(family, data_of(a->at[type]), buf, size);
}

/* ---- what is listed ---------------------------------------------------------------------------- */

/* Names are the namespace's own: those of the interfaces that were just listed. */
static const char *link_name(const struct residue_look *look, uint32_t index, char buf[24])
{
	for (size_t i = 0; i < look->n; i++)
		if (look->objects[i].kind == RESIDUE_LINK && look->objects[i].index == index)
			return look->objects[i].name;
	snprintf(buf, 24, "interface %u", index);
	return buf;
}

#define LINK_FLAGS (IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP)

/* Counters, carrier and queues change by themselves: of an interface only what somebody sets. */
static int see_link(const struct nlmsghdr *m, struct residue_look *look)
{
	static const unsigned int set[] = {IFLA_IFNAME, IFLA_ADDRESS, IFLA_MTU, IFLA_MASTER,
					   IFLA_LINK,	IFLA_QDISC,   IFLA_XDP};
	const struct ifinfomsg *i = NLMSG_DATA(m);
	struct residue_object *o;
	uint32_t flags;
	struct attrs a;
	int r = parse_behind(m, sizeof(*i), &a);

	o = r < 0 ? NULL : residue_add(look, RESIDUE_LINK, &r);
	if (!o)
		return r;
	flags = i->ifi_flags & LINK_FLAGS;
	o->index = i->ifi_index;
	o->hash = residue_hash(residue_hash(0, &i->ifi_index, sizeof(i->ifi_index)), &flags,
			       sizeof(flags));
	for (size_t n = 0; n < ARRAY_SIZE(set); n++)
		if (a.at[set[n]])
			o->hash = residue_hash(o->hash, a.at[set[n]], a.at[set[n]]->nla_len);
	attr_text(&a, IFLA_IFNAME, o->name, sizeof(o->name));
	snprintf(o->detail, sizeof(o->detail), "number %d, %s, mtu %u", i->ifi_index,
		 flags & IFF_UP ? "up" : "down", attr_u32(&a, IFLA_MTU, 0));
	return 0;
}

static int see_address(const struct nlmsghdr *m, struct residue_look *look)
{
	static const unsigned int volatile_attrs[] = {IFA_CACHEINFO, IFA_FLAGS};
	const struct ifaddrmsg *i = NLMSG_DATA(m);
	char text[INET6_ADDRSTRLEN], number[24];
	struct residue_object *o;
	struct attrs a;
	int r = parse_behind(m, sizeof(*i), &a);

	o = r < 0 ? NULL : residue_add(look, RESIDUE_ADDRESS, &r);
	if (!o)
		return r;
	attr_address(&a, a.at[IFA_LOCAL] ? IFA_LOCAL : IFA_ADDRESS, i->ifa_family, text,
		     sizeof(text));
	snprintf(o->name, sizeof(o->name), "%s/%u", text, i->ifa_prefixlen);
	snprintf(o->detail, sizeof(o->detail), "on %.64s", link_name(look, i->ifa_index, number));
	o->hash = hash_attrs(residue_hash(0, &i->ifa_index, sizeof(i->ifa_index)), &a,
			     volatile_attrs, ARRAY_SIZE(volatile_attrs));
	return 0;
}

static void name_route(const struct rtmsg *i, const struct attrs *a, struct residue_look *look,
		       struct residue_object *o)
{
	char to[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN], number[24];
	uint32_t oif = attr_u32(a, RTA_OIF, 0);

	attr_address(a, RTA_DST, i->rtm_family, to, sizeof(to));
	attr_address(a, RTA_GATEWAY, i->rtm_family, via, sizeof(via));
	if (*to)
		snprintf(o->name, sizeof(o->name), "%s/%u", to, i->rtm_dst_len);
	else
		snprintf(o->name, sizeof(o->name), "default");
	snprintf(o->detail, sizeof(o->detail), "%s%s%s%.64s table %u", *via ? "via " : "", via,
		 oif && *via ? " on "
		 : oif	     ? "on "
			     : "",
		 oif ? link_name(look, oif, number) : "", attr_u32(a, RTA_TABLE, i->rtm_table));
}

static int see_route(const struct nlmsghdr *m, struct residue_look *look)
{
	static const unsigned int volatile_attrs[] = {RTA_CACHEINFO, RTA_EXPIRES};
	struct rtmsg *i = NLMSG_DATA(m);
	struct residue_object *o;
	struct attrs a;
	int r = parse_behind(m, sizeof(*i), &a);

	/* Copies that the kernel makes as it learns of path MTUs. */
	if (r < 0 || i->rtm_flags & RTM_F_CLONED)
		return r;
	o = residue_add(look, RESIDUE_ROUTE, &r);
	if (!o)
		return r;
	name_route(i, &a, look, o);
	i->rtm_flags = 0;
	o->hash = hash_attrs(residue_hash(0, i, sizeof(*i)), &a, volatile_attrs,
			     ARRAY_SIZE(volatile_attrs));
	return 0;
}

static int see_rule(const struct nlmsghdr *m, struct residue_look *look)
{
	struct fib_rule_hdr *i = NLMSG_DATA(m);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	struct residue_object *o;
	struct attrs a;
	int r = parse_behind(m, sizeof(*i), &a);

	o = r < 0 ? NULL : residue_add(look, RESIDUE_RULE, &r);
	if (!o)
		return r;
	attr_address(&a, FRA_SRC, i->family, from, sizeof(from));
	attr_address(&a, FRA_DST, i->family, to, sizeof(to));
	snprintf(o->name, sizeof(o->name), "%u", attr_u32(&a, FRA_PRIORITY, 0));
	snprintf(o->detail, sizeof(o->detail), "from %s to %s table %u", *from ? from : "all",
		 *to ? to : "all", attr_u32(&a, FRA_TABLE, i->table));
	i->flags = 0;
	o->hash = hash_attrs(residue_hash(0, i, sizeof(*i)), &a, NULL, 0);
	return 0;
}

/* Handles are never used again within a table, so that a rule in another's place is another rule. */
static int see_nftables(const struct nlmsghdr *m, struct residue_look *look)
{
	static const struct {
		const char *what;
		unsigned int type;
		unsigned int attrs[3]; /* table, name, handle */
	} kinds[] = {
		{"table", NFT_MSG_NEWTABLE, {NFTA_TABLE_NAME, NFTA_TABLE_NAME, NFTA_TABLE_HANDLE}},
		{"chain", NFT_MSG_NEWCHAIN, {NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HANDLE}},
		{"rule", NFT_MSG_NEWRULE, {NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE}},
		{"set", NFT_MSG_NEWSET, {NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_HANDLE}},
	};
	const struct nfgenmsg *i = NLMSG_DATA(m);
	char table[64];
	struct residue_object *o;
	struct attrs a;
	size_t k = 0;
	int r = parse_behind(m, sizeof(*i), &a);

	while (k < ARRAY_SIZE(kinds) && kinds[k].type != (m->nlmsg_type & 0xff))
		k++;
	if (r < 0 || k == ARRAY_SIZE(kinds))
		return r;
	o = residue_add(look, RESIDUE_NFTABLES, &r);
	if (!o)
		return r;
	attr_text(&a, kinds[k].attrs[0], table, sizeof(table));
	attr_text(&a, kinds[k].attrs[1], o->name, sizeof(o->name));
	snprintf(o->detail, sizeof(o->detail), "%s, table %s, family %u", kinds[k].what, table,
		 i->nfgen_family);
	for (size_t n = 0; n < ARRAY_SIZE(kinds[k].attrs); n++)
		if (a.at[kinds[k].attrs[n]])
			o->hash = residue_hash(o->hash, a.at[kinds[k].attrs[n]],
					       a.at[kinds[k].attrs[n]]->nla_len);
	return 0;
}

/* A name that begins with NUL is abstract; it has any bytes, and ends where the length says. */
static int see_socket(const struct nlmsghdr *m, struct residue_look *look)
{
	const struct unix_diag_msg *i = NLMSG_DATA(m);
	struct residue_object *o;
	const char *name;
	struct attrs a;
	size_t len;
	int r = parse_behind(m, sizeof(*i), &a);

	if (r < 0 || !a.at[UNIX_DIAG_NAME] || !len_of(a.at[UNIX_DIAG_NAME]))
		return r;
	name = data_of(a.at[UNIX_DIAG_NAME]);
	len = len_of(a.at[UNIX_DIAG_NAME]);
	if (*name)
		return 0;
	o = residue_add(look, RESIDUE_SOCKET, &r);
	if (!o)
		return r;
	o->hash = residue_hash(0, name, len);
	for (size_t n = 0; n < len && n < sizeof(o->name) - 1; n++)
		o->name[n] = name[n] ?: '@';
	snprintf(o->detail, sizeof(o->detail), "abstract");
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------------ */

struct query {
	uint16_t type;
	const void *body;
	size_t len;
	int (*see)(const struct nlmsghdr *m, struct residue_look *look);
};

static int ask(int sock, const struct query *q, unsigned int seq)
{
	struct nlmsghdr head = {.nlmsg_len = NLMSG_LENGTH(q->len),
				.nlmsg_type = q->type,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
				.nlmsg_seq = seq};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)q->body, q->len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	/* To nobody by name: that is the kernel. */
	return sendmsg(sock, &msg, 0) < 0 ? -errno : 0;
}

/* What a message says of the list's end: 1: more will come; 0: it was the last; or -errno. */
static int ending(const struct nlmsghdr *m)
{
	int err = 0;

	if (m->nlmsg_type != NLMSG_ERROR && m->nlmsg_type != NLMSG_DONE)
		return 1;
	if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(err)))
		memcpy(&err, NLMSG_DATA(m), sizeof(err));
	return err < 0 ? err : 0;
}

/* One datagram of a list. As ending(). */
static int receive(int sock, const struct query *q, unsigned int seq, char *buf,
		   struct residue_look *look, bool *interrupted)
{
	/* The kernel makes each part of a list as we read the one before: there is nothing to wait for. */
	ssize_t n = recv(sock, buf, REPLY_BYTES, MSG_DONTWAIT | MSG_TRUNC);
	int left = (int)n, r = 1;

	if (n <= 0)
		return n == 0 || errno == EAGAIN ? -EIO : -errno;
	if (n > REPLY_BYTES)
		return -EMSGSIZE;
	for (struct nlmsghdr *m = (void *)buf; r == 1 && NLMSG_OK(m, left);
	     m = NLMSG_NEXT(m, left)) {
		/* Of a list that was given up. */
		if (m->nlmsg_seq != seq)
			continue;
		*interrupted |= m->nlmsg_flags & NLM_F_DUMP_INTR;
		r = ending(m);
		if (r == 1)
			r = q->see(m, look) ?: 1;
	}
	return r;
}

static int list(int sock, const struct query *q, unsigned int seq, struct residue_look *look)
{
	cleanup_free char *buf = malloc(REPLY_BYTES);
	int r = buf ? ask(sock, q, seq) : -ENOMEM;
	bool interrupted = false;

	if (r == 0)
		do
			r = receive(sock, q, seq, buf, look, &interrupted);
		while (r == 1);
	return r == 0 && interrupted ? -EAGAIN : r;
}

/* There was no socket to be had. While this kernel has no nfnetlink (a module), nothing can be in its tables. */
static int without_nfnetlink(void)
{
	cleanup_fd int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	return sock < 0 && errno == EPROTONOSUPPORT ? 0 : -EBADF;
}

static int list_nftables(int sock, unsigned int *seq, struct residue_look *look)
{
	static const struct nfgenmsg all = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
	static const uint8_t types[] = {NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE,
					NFT_MSG_GETSET};
	int r = 0;

	if (sock < 0)
		return without_nfnetlink();
	for (size_t i = 0; i < ARRAY_SIZE(types) && r == 0; i++) {
		const struct query q = {NFNL_SUBSYS_NFTABLES << 8 | types[i], &all, sizeof(all),
					see_nftables};

		r = list(sock, &q, ++*seq, look);
	}
	/* No nf_tables in this kernel, and so nothing in it. */
	return r == -EINVAL || r == -EOPNOTSUPP ? 0 : r;
}

int residue_net(int sock, unsigned int *seq, enum residue_kind kind, struct residue_look *look)
{
	/* Statistics are most of what there is to say of an interface. */
	static const struct {
		struct ifinfomsg info;
		struct nlattr attr;
		uint32_t mask;
	} links = {.attr = {8, IFLA_EXT_MASK}, .mask = RTEXT_FILTER_SKIP_STATS};
	static const struct ifaddrmsg addresses;
	static const struct rtmsg routes;
	static const struct fib_rule_hdr rules;
	static const struct unix_diag_req sockets = {
		.sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_show = UDIAG_SHOW_NAME};
	static const struct query queries[RESIDUE_KINDS] = {
		[RESIDUE_LINK] = {RTM_GETLINK, &links, sizeof(links), see_link},
		[RESIDUE_ADDRESS] = {RTM_GETADDR, &addresses, sizeof(addresses), see_address},
		[RESIDUE_ROUTE] = {RTM_GETROUTE, &routes, sizeof(routes), see_route},
		[RESIDUE_RULE] = {RTM_GETRULE, &rules, sizeof(rules), see_rule},
		[RESIDUE_SOCKET] = {SOCK_DIAG_BY_FAMILY, &sockets, sizeof(sockets), see_socket},
	};

	return kind == RESIDUE_NFTABLES ? list_nftables(sock, seq, look)
					: list(sock, &queries[kind], ++*seq, look);
}
