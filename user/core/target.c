// SPDX-License-Identifier: MIT
#include "core/target.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/fd.h"

static const char *const ns_names[] = {"pid", "net", "ipc", "uts", "cgroup", "user", "mnt"};

int target_ns_parse(char *const *names, unsigned int *ret_mask, struct error *err)
{
	unsigned int mask = 0;

	if (!names || !*names) {
		*ret_mask = (1u << TARGET_NS_MNT) - 1;
		return 0;
	}
	for (; *names; names++) {
		size_t i = 0;

		while (i < TARGET_NS_MNT && strcmp(*names, ns_names[i]))
			i++;
		if (i == TARGET_NS_MNT)
			return error_named(
				err, EINVAL, "InvalidArgument",
				"%s is not a namespace to join; there are pid, net, ipc, uts, cgroup and user",
				*names);
		mask |= 1u << i;
	}
	*ret_mask = mask;
	return 0;
}

/* Field 22 of /proc/PID/stat (proc(5)), in clock ticks. The name in field 2 may hold anything: count from its last ')'. */
static int start_ticks(int procfd, uint64_t *ret)
{
	char buf[1024], *p;
	int r = fd_read_small(procfd, "stat", buf, sizeof(buf));

	if (r < 0)
		return r;
	p = strrchr(buf, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EINVAL;
	*ret = strtoull(p + 1, NULL, 10);
	return 0;
}

int target_open_proc(const struct recap_container *c, int *ret)
{
	char path[32];
	uint64_t ticks;
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/%u", c->pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || start_ticks(fd, &ticks) < 0)
		return -ESRCH;
	if (ticks != c->start_ns / (1000000000ull / sysconf(_SC_CLK_TCK)))
		return -ESRCH;
	*ret = TAKE_FD(fd);
	return 0;
}

static uint32_t expected_ino(const struct recap_namespaces *n, enum target_ns ns)
{
	const uint32_t inos[] = {n->pid, n->net, n->ipc, n->uts, n->cgroup, n->user, n->mnt};

	return inos[ns];
}

/* recapd's own namespace of that kind: it never changes, so it is asked for once. */
static ino_t own_ns(enum target_ns ns)
{
	static ino_t own[TARGET_NS_COUNT];
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_names[ns]);
	if (!own[ns] && stat(path, &st) == 0)
		own[ns] = st.st_ino;
	return own[ns];
}

/* The descriptor of one namespace; left at -1 where it is the one that recapd is in. */
static int open_ns(struct target *t, enum target_ns ns)
{
	cleanup_fd int fd = -1;
	struct stat st;
	char path[16];

	/* setns(2) into one's own user namespace is refused, and into any other of one's own it is in vain. */
	if (own_ns(ns) == expected_ino(&t->c.namespaces, ns))
		return 0;
	snprintf(path, sizeof(path), "ns/%s", ns_names[ns]);
	fd = openat(t->procfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != expected_ino(&t->c.namespaces, ns))
		return -ESTALE;
	t->ns[ns] = TAKE_FD(fd);
	return 0;
}

static int open_all(struct target *t, unsigned int mask)
{
	int r;

	t->pidfd = syscall(SYS_pidfd_open, t->c.pid, 0);
	if (t->pidfd < 0)
		return -errno;
	r = target_open_proc(&t->c, &t->procfd);
	for (int ns = 0; ns < TARGET_NS_COUNT && r == 0; ns++)
		if (mask & (1u << ns))
			r = open_ns(t, ns);
	if (r < 0)
		return r;
	t->root = openat(t->procfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0)
		return -errno;
	/* Alive after all was opened, so all of it was this process's: the PID cannot have changed hands in between. */
	return syscall(SYS_pidfd_send_signal, t->pidfd, 0, NULL, 0) < 0 ? -errno : 0;
}

/* The joined PID namespace and those above it, up to recapd's own (NS_GET_PARENT, ioctl_ns(2)). */
static int find_seen_from(struct target *t)
{
	cleanup_fd int fd =
		t->ns[TARGET_NS_PID] < 0 ? -1 : fcntl(t->ns[TARGET_NS_PID], F_DUPFD_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return t->ns[TARGET_NS_PID] < 0 ? 0 : -errno;
	while (fstat(fd, &st) == 0 && st.st_ino != own_ns(TARGET_NS_PID)) {
		int parent;

		if (t->n_seen_from == TARGET_PID_NS_MAX)
			return -EOVERFLOW;
		t->seen_from[t->n_seen_from++] = st.st_ino;
		parent = ioctl(fd, NS_GET_PARENT);
		if (parent < 0)
			return -errno;
		close(fd);
		fd = parent;
	}
	return 0;
}

static bool is_seen_from(const struct target *t, uint32_t pid_ns)
{
	for (size_t i = 0; i < t->n_seen_from; i++)
		if (t->seen_from[i] == pid_ns)
			return true;
	return false;
}

bool target_is_seen_by(const struct target *t, const struct target *other)
{
	return other->n_seen_from && is_seen_from(t, other->seen_from[0]);
}

bool target_caps_take_over(uint64_t caps)
{
	return (caps & 1ull << CAP_SYS_PTRACE) && !(caps & 1ull << CAP_SYS_ADMIN);
}

bool target_mounts_for_itself(const struct target *t)
{
	return (t->c.caps & 1ull << CAP_SYS_ADMIN) &&
	       t->c.namespaces.user != own_ns(TARGET_NS_USER);
}

/*
 * Our init is within sight of the processes in the target's PID namespace and in those above it, and while it injects it holds all of
 * recapd's capabilities. CAP_SYS_PTRACE in our own user namespace opens it to them, dumpable or not. It counts what a container's
 * processes may come to, not what its first one has: the bounding set. Who has CAP_SYS_ADMIN as well, or the host's PID namespace, has
 * the host already and wins nothing.
 */
static int refuse_take_over(struct track *track, const struct target *t, struct error *err)
{
	cleanup_free struct track_container *list = NULL;
	size_t n = 0;
	bool anybody = t->n_seen_from && track_counter(track, "caps_take_over");
	int r = anybody ? track_containers(track, &list, &n) : 0;

	if (r < 0)
		return error_sys(err, -r, "cannot read the map of containers");
	for (size_t i = 0; i < n; i++) {
		const struct recap_container *c = &list[i].c;

		if (target_caps_take_over(c->caps) &&
		    c->namespaces.user == own_ns(TARGET_NS_USER) &&
		    is_seen_from(t, c->namespaces.pid))
			return error_named(
				err, EPERM, "PermissionDenied",
				"%s holds CAP_SYS_PTRACE, with which it could take over what is injected into "
				"the target's PID namespace; attach with --namespaces net,ipc,uts,cgroup",
				list[i].id == t->id ? "the target"
						    : "a container beside the target");
	}
	return 0;
}

int target_open(struct track *track, uint64_t id, unsigned int mask, struct target *ret,
		struct error *err)
{
	struct target t = {.id = id, .joined = mask, .pidfd = -1, .procfd = -1, .root = -1};
	int r = track_container(track, id, &t.c);

	for (int ns = 0; ns < TARGET_NS_COUNT; ns++)
		t.ns[ns] = -1;
	if (r == 0)
		r = open_all(&t, mask | 1u << TARGET_NS_MNT);
	if (r == 0)
		r = find_seen_from(&t);
	if (r == 0 && refuse_take_over(track, &t, err) == 0) {
		*ret = t;
		return 0;
	}
	target_close(&t);
	if (r == 0)
		return -err->code;
	if (r == -ESTALE)
		return error_named(
			err, ESTALE, "TargetGone",
			"the target's init process (PID %u) has changed its namespaces since it started",
			t.c.pid);
	if (r == -ENOENT || r == -ESRCH)
		return error_named(err, ESRCH, "TargetGone",
				   "the target has ended; `recapctl list` shows what runs");
	return error_sys(err, -r, "cannot open the target's namespaces (PID %u)", t.c.pid);
}

void target_close(struct target *t)
{
	t->pidfd = fd_close(t->pidfd);
	t->procfd = fd_close(t->procfd);
	t->root = fd_close(t->root);
	for (int ns = 0; ns < TARGET_NS_COUNT; ns++)
		t->ns[ns] = fd_close(t->ns[ns]);
}
