// SPDX-License-Identifier: MIT
#include "core/residue.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "core/mountapi.h"
#include "core/residue_internal.h"

#define SYSV_BYTES_MAX (256 << 10) /* of one table: some 2,000 objects */
#define NET_TRIES      3	   /* of a list that changed while it was read */

#define BIT(kind) (1u << (kind))
#define NET_ADMIN_KINDS                                                                      \
	(BIT(RESIDUE_LINK) | BIT(RESIDUE_ADDRESS) | BIT(RESIDUE_ROUTE) | BIT(RESIDUE_RULE) | \
	 BIT(RESIDUE_NFTABLES))
#define IPC_KINDS (BIT(RESIDUE_SHM) | BIT(RESIDUE_SEM) | BIT(RESIDUE_MSG) | BIT(RESIDUE_MQUEUE))

static const char *const kind_names[RESIDUE_KINDS] = {"shm",	  "sem",       "msg",	  "mqueue",
						      "hostname", "interface", "address", "route",
						      "rule",	  "nftables",  "socket",  "file"};

/* ---- objects ----------------------------------------------------------------------------------- */

uint64_t residue_hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	h = h ? h : 0xcbf29ce484222325;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h;
}

struct residue_object *residue_add(struct residue_look *look, enum residue_kind kind, int *ret_err)
{
	struct residue_object *o;

	if (look->n == look->room) {
		size_t room = look->room ? 2 * look->room : 8;

		*ret_err = look->room >= RESIDUE_OBJECTS_MAX ? -E2BIG : -ENOMEM;
		o = *ret_err == -E2BIG ? NULL : reallocarray(look->objects, room, sizeof(*o));
		if (!o)
			return NULL;
		look->objects = o;
		look->room = room;
	}
	o = &look->objects[look->n++];
	*o = (struct residue_object){.kind = kind};
	return o;
}

/* Of a kind that could not be read to its end nothing is known. */
static void forget(struct residue_look *look, enum residue_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < look->n; i++)
		if (look->objects[i].kind != kind)
			look->objects[n++] = look->objects[i];
	look->n = n;
}

static void look_free(struct residue_look *look)
{
	if (!look)
		return;
	free(look->objects);
	free(look);
}

void residue_item(struct residue *r, enum residue_change change, const struct residue_object *o)
{
	if (!r->items)
		r->items = calloc(RESIDUE_MAX, sizeof(*r->items));
	if (r->items && r->n_items < RESIDUE_MAX)
		r->items[r->n_items++] = (struct residue_item){change, *o};
	else
		r->more++;
}

void residue_item_unknown(struct residue *r, enum residue_kind kind, const char *why)
{
	struct residue_object o = {.kind = kind};

	snprintf(o.detail, sizeof(o.detail), "%s", why);
	residue_item(r, RESIDUE_UNKNOWN, &o);
}

/* ---- comparing --------------------------------------------------------------------------------- */

static int by_all(const void *va, const void *vb)
{
	const struct residue_object *a = va, *b = vb;
	int d = (int)a->kind - (int)b->kind;

	if (!d)
		d = strcmp(a->name, b->name);
	if (!d)
		d = strcmp(a->detail, b->detail);
	return d ? d : (a->hash > b->hash) - (a->hash < b->hash);
}

static void sort(struct residue_look *look)
{
	if (look->n)
		qsort(look->objects, look->n, sizeof(*look->objects), by_all);
}

/* The next that is another. Sockets share names. */
static size_t skip(const struct residue_look *look, size_t i)
{
	size_t next = i + 1;

	while (next < look->n && !by_all(&look->objects[i], &look->objects[next]))
		next++;
	return next;
}

/* Sockets of the target come and go. One that has gone is no residue. */
static void removed(struct residue *r, const struct residue_object *o)
{
	if (o->kind != RESIDUE_SOCKET)
		residue_item(r, RESIDUE_REMOVED, o);
}

void residue_compare(struct residue *r, struct residue_look *before, struct residue_look *after)
{
	size_t i = 0, j = 0;

	sort(before);
	sort(after);
	while (i < before->n || j < after->n) {
		int d = i == before->n	? 1
			: j == after->n ? -1
					: by_all(&before->objects[i], &after->objects[j]);

		if (d < 0)
			removed(r, &before->objects[i]);
		else if (d > 0)
			residue_item(r, RESIDUE_ADDED, &after->objects[j]);
		if (d <= 0)
			i = skip(before, i);
		if (d >= 0)
			j = skip(after, j);
	}
}

/* ---- System V ---------------------------------------------------------------------------------- */

/* The kernel's formats: ipc/shm.c, sem.c, msg.c, sysvipc_*_proc_show(). Only what does not change by use. */
int residue_sysv_line(struct residue_look *look, enum residue_kind kind, const char *line)
{
	unsigned long long size = 0;
	unsigned int mode, uid, gid, cpid = 0;
	struct residue_object *o;
	int key, id, n, err;

	if (kind == RESIDUE_SHM)
		n = sscanf(line, "%d %d %o %llu %u %*u %*u %u %u", &key, &id, &mode, &size, &cpid,
			   &uid, &gid) == 7;
	else if (kind == RESIDUE_SEM)
		n = sscanf(line, "%d %d %o %llu %u %u", &key, &id, &mode, &size, &uid, &gid) == 6;
	else
		n = sscanf(line, "%d %d %o %*u %*u %*u %*u %u %u", &key, &id, &mode, &uid, &gid) ==
		    5;
	if (!n)
		return 0;
	o = residue_add(look, kind, &err);
	if (!o)
		return err;
	snprintf(o->name, sizeof(o->name), "%d", id);
	n = snprintf(o->detail, sizeof(o->detail), "key 0x%08x, owner %u:%u, mode %o",
		     (unsigned int)key, uid, gid, mode);
	if (kind == RESIDUE_SHM)
		snprintf(o->detail + n, sizeof(o->detail) - n, ", %llu bytes, made by PID %u", size,
			 cpid);
	else if (kind == RESIDUE_SEM)
		snprintf(o->detail + n, sizeof(o->detail) - n, ", %llu semaphores", size);
	return 0;
}

/* All of the table, from its beginning; -EFBIG when it is too long. */
static int read_table(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = pread(fd, buf + len, size - 1 - len, (off_t)len)) > 0) {
		len += n;
		if (len == size - 1)
			return -EFBIG;
	}
	if (n < 0)
		return -errno;
	buf[len] = '\0';
	return 0;
}

static int look_sysv(int fd, enum residue_kind kind, struct residue_look *look)
{
	cleanup_free char *buf = malloc(SYSV_BYTES_MAX);
	char *line, *save = NULL;
	int r = buf ? read_table(fd, buf, SYSV_BYTES_MAX) : -ENOMEM;

	for (line = r < 0 ? NULL : strtok_r(buf, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		r = residue_sysv_line(look, kind, line);
	return r;
}

/* ---- POSIX queues, and names ------------------------------------------------------------------- */

static int add_mqueue(struct residue_look *look, int dir, const char *name)
{
	struct residue_object *o;
	struct stat st;
	int err;

	/* Gone meanwhile. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	o = residue_add(look, RESIDUE_MQUEUE, &err);
	if (!o)
		return err;
	o->hash = residue_hash(residue_hash(0, name, strlen(name)), &st.st_ino, sizeof(st.st_ino));
	snprintf(o->name, sizeof(o->name), "/%.*s", (int)sizeof(o->name) - 2, name);
	snprintf(o->detail, sizeof(o->detail), "owner %u:%u, mode %o", st.st_uid, st.st_gid,
		 st.st_mode & 07777);
	return 0;
}

static int look_mqueue(int fd, struct residue_look *look)
{
	cleanup_fd int dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = dir_fd < 0 ? NULL : fdopendir(dir_fd);
	struct dirent *e;
	int r = 0;

	if (!dir)
		return -errno;
	TAKE_FD(dir_fd);
	while (r == 0 && (errno = 0, e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = add_mqueue(look, fd, e->d_name);
	return r < 0 ? r : -errno;
}

/* To go on in the wrong namespace would be another recapd. */
static void go(int ns, int type)
{
	if (ns >= 0 && setns(ns, type) < 0)
		abort();
}

static int look_uts(int uts, struct residue_look *look)
{
	cleanup_fd int own = uts < 0 ? -1 : open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	struct utsname u = {};
	struct residue_object *o;
	int r, err;

	if (uts >= 0 && (own < 0 || setns(uts, CLONE_NEWUTS) < 0))
		return -errno;
	r = uname(&u) < 0 ? -errno : 0;
	go(own, CLONE_NEWUTS);
	o = r < 0 ? NULL : residue_add(look, RESIDUE_HOSTNAME, &err);
	if (!o)
		return r < 0 ? r : err;
	snprintf(o->name, sizeof(o->name), "%s", u.nodename);
	snprintf(o->detail, sizeof(o->detail), "domain %s", u.domainname);
	return 0;
}

/* ---- a look ------------------------------------------------------------------------------------ */

static int look_net(struct residue_windows *w, int sock, enum residue_kind kind,
		    struct residue_look *look)
{
	int err = -EAGAIN;

	for (int i = 0; i < NET_TRIES && err == -EAGAIN; i++) {
		forget(look, kind);
		err = residue_net(sock, &w->seq, kind, look);
	}
	return err;
}

static int look_at(struct residue_windows *w, enum residue_kind kind, struct residue_look *look)
{
	switch (kind) {
	case RESIDUE_SHM:
		return look_sysv(w->shm, kind, look);
	case RESIDUE_SEM:
		return look_sysv(w->sem, kind, look);
	case RESIDUE_MSG:
		return look_sysv(w->msg, kind, look);
	case RESIDUE_MQUEUE:
		return look_mqueue(w->mqueue, look);
	case RESIDUE_HOSTNAME:
		return look_uts(w->uts, look);
	case RESIDUE_NFTABLES:
		return look_net(w, w->netfilter, kind, look);
	case RESIDUE_SOCKET:
		return look_net(w, w->diag, kind, look);
	default:
		return look_net(w, w->route, kind, look);
	}
}

static struct residue_look *look(struct residue_windows *w)
{
	struct residue_look *l = calloc(1, sizeof(*l));

	for (int kind = 0; l && kind < RESIDUE_KINDS; kind++) {
		if (w->kinds & BIT(kind))
			l->blind[kind] = look_at(w, kind, l);
		if (l->blind[kind])
			forget(l, kind);
	}
	return l;
}

/* ---- windows ----------------------------------------------------------------------------------- */

void residue_windows_init(struct residue_windows *w)
{
	*w = (struct residue_windows){.shm = -1,
				      .sem = -1,
				      .msg = -1,
				      .mqueue = -1,
				      .uts = -1,
				      .route = -1,
				      .netfilter = -1,
				      .diag = -1};
}

void residue_windows_close(struct residue_windows *w)
{
	const int all[] = {w->shm, w->sem,   w->msg,	   w->mqueue,
			   w->uts, w->route, w->netfilter, w->diag};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fd_close(all[i]);
	residue_windows_init(w);
}

void residue_init(struct residue *r)
{
	*r = (struct residue){.files = -1};
	residue_windows_init(&r->windows);
}

static unsigned int kinds_of(const struct target *t, const struct sandbox *s)
{
	unsigned int kinds = 0;

	if (t->joined & BIT(TARGET_NS_IPC))
		kinds |= IPC_KINDS;
	if (t->joined & BIT(TARGET_NS_UTS) && s->caps & 1ull << CAP_SYS_ADMIN)
		kinds |= BIT(RESIDUE_HOSTNAME);
	if (t->joined & BIT(TARGET_NS_NET))
		kinds |= BIT(RESIDUE_SOCKET);
	if (t->joined & BIT(TARGET_NS_NET) && s->caps & 1ull << CAP_NET_ADMIN)
		kinds |= NET_ADMIN_KINDS;
	return kinds;
}

/* None where it could not be opened: looking through it fails then (EBADF), and the record says so. */
static void open_ipc(struct residue_windows *w)
{
	static const char *const no_opts[][2] = {{NULL, NULL}};

	w->shm = open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC);
	w->sem = open("/proc/sysvipc/sem", O_RDONLY | O_CLOEXEC);
	w->msg = open("/proc/sysvipc/msg", O_RDONLY | O_CLOEXEC);
	w->mqueue = mount_new("mqueue", no_opts,
			      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				      MOUNT_ATTR_NOEXEC);
}

static int netlink(int family)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, family);
}

static void open_net(struct residue_windows *w)
{
	w->diag = netlink(NETLINK_SOCK_DIAG);
	if (!(w->kinds & BIT(RESIDUE_LINK)))
		return;
	w->route = netlink(NETLINK_ROUTE);
	w->netfilter = netlink(NETLINK_NETFILTER);
}

/* There, and back at once. `ns` is -1 where the target's is recapd's own. */
static void open_in(struct residue_windows *w, int ns, int type, const char *own_path,
		    void (*open_all)(struct residue_windows *w))
{
	cleanup_fd int own = ns < 0 ? -1 : open(own_path, O_RDONLY | O_CLOEXEC);

	if (ns >= 0 && (own < 0 || setns(ns, type) < 0))
		return;
	open_all(w);
	go(own, type);
}

static void open_windows(struct residue_windows *w, const struct target *t, unsigned int kinds)
{
	w->of = t->c.namespaces;
	w->kinds = kinds;
	if (kinds & IPC_KINDS)
		open_in(w, t->ns[TARGET_NS_IPC], CLONE_NEWIPC, "/proc/self/ns/ipc", open_ipc);
	if (kinds & BIT(RESIDUE_SOCKET))
		open_in(w, t->ns[TARGET_NS_NET], CLONE_NEWNET, "/proc/self/ns/net", open_net);
	/* uname(2) has no window: we go there each time. */
	if (kinds & BIT(RESIDUE_HOSTNAME) && t->ns[TARGET_NS_UTS] >= 0)
		w->uts = fcntl(t->ns[TARGET_NS_UTS], F_DUPFD_CLOEXEC, 0);
}

static void cannot_go(struct residue *r, const struct target *t)
{
	if (!(r->windows.kinds & BIT(RESIDUE_HOSTNAME)) || t->ns[TARGET_NS_UTS] < 0 ||
	    r->windows.uts >= 0)
		return;
	r->windows.kinds &= ~BIT(RESIDUE_HOSTNAME);
	residue_item_unknown(r, RESIDUE_HOSTNAME, "cannot be looked at: no descriptor is left");
}

/* While there is a window into a namespace, no other one has its inode. */
static bool are_those(const struct residue_windows *w, const struct target *t, unsigned int kinds)
{
	return w->kinds == kinds && w->of.ipc == t->c.namespaces.ipc &&
	       w->of.net == t->c.namespaces.net && w->of.uts == t->c.namespaces.uts;
}

void residue_before(struct residue *r, const struct target *t, const struct sandbox *s,
		    struct residue_windows *spare)
{
	unsigned int kinds = kinds_of(t, s);

	if (are_those(spare, t, kinds)) {
		r->windows = *spare;
		residue_windows_init(spare);
	} else {
		open_windows(&r->windows, t, kinds);
		cannot_go(r, t);
	}
	r->before = look(&r->windows);
	if (!r->before)
		residue_unknown(r, "out of memory");
}

/* A kind that was not seen both times is not compared. */
static void settle_blind(struct residue *r, struct residue_look *after)
{
	char why[sizeof(((struct residue_object *)0)->detail)];

	for (int kind = 0; kind < RESIDUE_KINDS; kind++) {
		int err = r->before->blind[kind] ?: after->blind[kind];

		if (!err)
			continue;
		r->before->blind[kind] = err;
		forget(r->before, kind);
		forget(after, kind);
		snprintf(why, sizeof(why), "cannot be looked at: %s",
			 err == -E2BIG || err == -EFBIG ? "too many" : strerror(-err));
		residue_item_unknown(r, kind, why);
	}
}

void residue_ahead(struct residue *r)
{
	if (!r->looked && r->before && !r->after)
		r->after = look(&r->windows);
}

void residue_mistaken(struct residue *r)
{
	look_free(TAKE_PTR(r->after));
}

void residue_after(struct residue *r)
{
	residue_ahead(r);
	if (r->looked || !r->before)
		return;
	if (r->after) {
		settle_blind(r, r->after);
		residue_compare(r, r->before, r->after);
		r->looked = true;
	} else {
		residue_unknown(r, "out of memory");
	}
}

void residue_unknown(struct residue *r, const char *why)
{
	if (r->looked)
		return;
	r->looked = true;
	residue_item_unknown(r, RESIDUE_KINDS, why);
}

/* Seen through to the end. What is left to be read of a list that was not would come with the next one. */
static bool are_clear(const struct residue *r)
{
	for (int kind = 0; kind < RESIDUE_KINDS; kind++)
		if (!r->before || r->before->blind[kind])
			return false;
	return r->windows.kinds && r->looked;
}

void residue_done(struct residue *r, struct residue_windows *spare)
{
	if (spare && are_clear(r)) {
		residue_windows_close(spare);
		*spare = r->windows;
		residue_windows_init(&r->windows);
	}
	residue_windows_close(&r->windows);
	r->files = fd_close(r->files);
	look_free(TAKE_PTR(r->before));
	look_free(TAKE_PTR(r->after));
}

void residue_free(struct residue *r)
{
	residue_done(r, NULL);
	free(TAKE_PTR(r->items));
}

/* ---- the record -------------------------------------------------------------------------------- */

bool residue_refused(const struct residue *r)
{
	return r->refuse && (r->n_items || r->more);
}

struct json_object *residue_json(const struct residue *r)
{
	static const char *const changes[] = {"added", "removed", "written", "unknown"};
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < r->n_items; i++) {
		const struct residue_item *item = &r->items[i];
		struct json_object *o = json_object_new_object();
		int kind = item->object.kind;

		json_put_str(o, "kind", kind < RESIDUE_KINDS ? kind_names[kind] : "all");
		json_put_str(o, "change", changes[item->change]);
		json_put_foreign(o, "name", item->object.name, sizeof(item->object.name));
		json_put_foreign(o, "detail", item->object.detail, sizeof(item->object.detail));
		json_object_array_add(a, o);
	}
	return a;
}
