// SPDX-License-Identifier: MIT
#include "core/cgroup.h"

#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/log.h"

/* v1 controllers that carry limits of ours. */
enum v1_controller { V1_MEMORY, V1_PIDS, V1_CPU };
static const char *const v1_names[CGROUP_V1_MAX] = {"memory", "pids", "cpu"};

struct cgroup_root {
	char name[32];
	char path[256]; /* the parent in the v2 tree */
	int v2;		/* the parent's folder, flock(2)ed; -1: no v2 tree */
	int v2_top;
	bool ours;		    /* no other recapd uses the parent */
	bool v2_has[CGROUP_V1_MAX]; /* the controller is enabled for our groups */
	int v1_top[CGROUP_V1_MAX];  /* the hierarchy's top folder, or -1 */
};

static int open_top(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void see_mount(struct cgroup_root *r, const struct mntent *m)
{
	if (!strcmp(m->mnt_type, "cgroup2") && r->v2_top < 0) {
		r->v2_top = open_top(m->mnt_dir);
		snprintf(r->path, sizeof(r->path), "%.200s/%s", m->mnt_dir, r->name);
	}
	if (strcmp(m->mnt_type, "cgroup"))
		return;
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		if (r->v1_top[i] < 0 && hasmntopt(m, v1_names[i]))
			r->v1_top[i] = open_top(m->mnt_dir);
}

static void see_mounts(struct cgroup_root *r)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char buf[8192];
	struct mntent m;

	while (f && getmntent_r(f, &m, buf, sizeof(buf)))
		see_mount(r, &m);
	if (f)
		endmntent(f);
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || p[-1] == ' ') && strchr(" \n", p[len]))
			return true;
	return false;
}

/* Hand the controllers of the top folder down to our groups. One that cannot be is one that we do not have. */
static void enable_controllers(struct cgroup_root *r)
{
	char have[512];

	for (int i = 0; i < CGROUP_V1_MAX; i++) {
		char word[16];

		snprintf(word, sizeof(word), "+%s", v1_names[i]);
		if (fd_write_knob(r->v2_top, "cgroup.subtree_control", word) < 0 ||
		    fd_write_knob(r->v2, "cgroup.subtree_control", word) < 0)
			continue;
		r->v2_has[i] =
			fd_read_small(r->v2, "cgroup.subtree_control", have, sizeof(have)) == 0 &&
			has_word(have, v1_names[i]);
	}
}

/* Two recapd in one parent would sweep each other's groups. */
static int open_parent(struct cgroup_root *r, struct error *err)
{
	if (mkdirat(r->v2_top, r->name, 0755) < 0 && errno != EEXIST)
		return error_sys(err, errno, "cannot make the cgroup %s", r->path);
	r->v2 = openat(r->v2_top, r->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (r->v2 < 0)
		return error_sys(err, errno, "cannot open the cgroup %s", r->path);
	if (flock(r->v2, LOCK_EX | LOCK_NB) < 0)
		return error_set(
			err, EBUSY,
			"another recapd uses the cgroup %s; stop it, or give this one a name of its "
			"own with --cgroup",
			r->path);
	enable_controllers(r);
	return 0;
}

int cgroup_root_open(const char *name, struct cgroup_root **ret, struct error *err)
{
	struct cgroup_root *r = calloc(1, sizeof(*r));

	if (!r)
		return error_set(err, ENOMEM, "out of memory");
	r->v2 = r->v2_top = -1;
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		r->v1_top[i] = -1;
	snprintf(r->name, sizeof(r->name), "%s", name);
	see_mounts(r);
	if (r->v2_top >= 0 && open_parent(r, err) < 0) {
		cgroup_root_close(r);
		return -err->code;
	}
	r->ours = true;
	*ret = r;
	return 0;
}

void cgroup_root_close(struct cgroup_root *r)
{
	if (!r)
		return;
	if (r->v2_top >= 0 && r->ours)
		unlinkat(r->v2_top, r->name, AT_REMOVEDIR);
	for (int i = 0; i < CGROUP_V1_MAX; i++) {
		if (r->v1_top[i] >= 0 && r->ours)
			unlinkat(r->v1_top[i], r->name, AT_REMOVEDIR);
		fd_close(r->v1_top[i]);
	}
	fd_close(r->v2);
	fd_close(r->v2_top);
	free(r);
}

#define SWEEP_TRIES 20
#define SWEEP_US    10000

/* The starter that a recapd left behind ends as soon as it gets to see that: until then its group is busy. */
static int remove_left(int top, const char *name)
{
	for (int i = 0; unlinkat(top, name, AT_REMOVEDIR) < 0; i++) {
		if (errno != EBUSY || i == SWEEP_TRIES)
			return -errno;
		usleep(SWEEP_US);
	}
	return 0;
}

/* Only what looks like a capsule's ID, and only what is empty: rmdir(2) sees to that. */
static void sweep(int top, const char *name, bool (*keep)(const char *name, void *arg), void *arg)
{
	int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	cleanup_dir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int r = 0;

		if (strlen(e->d_name) == 12 && strspn(e->d_name, "0123456789abcdef") == 12 &&
		    !keep(e->d_name, arg))
			r = remove_left(fd, e->d_name);
		if (r < 0)
			log_warn("the cgroup %s/%s of an earlier recapd stays: %s", name, e->d_name,
				 strerror(-r));
	}
	if (fd >= 0 && !d)
		close(fd);
}

void cgroup_sweep(struct cgroup_root *r, bool (*keep)(const char *name, void *arg), void *arg)
{
	if (r->v2_top >= 0)
		sweep(r->v2_top, r->name, keep, arg);
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		if (r->v1_top[i] >= 0)
			sweep(r->v1_top[i], r->name, keep, arg);
}

const char *cgroup_root_path(const struct cgroup_root *r)
{
	return r->v2 >= 0 ? r->path : "none";
}

int cgroup_root_top_fd(const struct cgroup_root *r)
{
	return r->v2_top;
}

uint32_t cgroup_pids(const struct cgroup_limits *limits)
{
	return limits->pids ?: CGROUP_PIDS_DEFAULT;
}

uint32_t cgroup_pids_unheld(const struct cgroup_root *r, const struct cgroup_limits *limits)
{
	return limits->pids || (r->v2 >= 0 && r->v2_has[V1_PIDS]) ? 0 : CGROUP_PIDS_DEFAULT;
}

void cgroup_none(struct cgroup *cg)
{
	memset(cg, 0, sizeof(*cg));
	cg->v2 = -1;
	for (int i = 0; i < CGROUP_V1_MAX; i++)
		cg->v1[i] = -1;
}

/* The text of a limit, for v2 and v1 alike but for the CPU's; "" when there is none. */
static void limit_text(const struct cgroup_limits *l, enum v1_controller c, bool v2, char text[32])
{
	text[0] = '\0';
	if (c == V1_MEMORY && l->memory)
		snprintf(text, 32, "%llu", (unsigned long long)l->memory);
	if (c == V1_PIDS && (l->pids || v2))
		snprintf(text, 32, "%u", l->pids ? l->pids : CGROUP_PIDS_DEFAULT);
	if (c == V1_CPU && l->cpus_milli)
		snprintf(text, 32, v2 ? "%u 100000" : "%u", l->cpus_milli * 100);
}

static int limit_v2(const struct cgroup *cg, enum v1_controller c, const char *text)
{
	static const char *const knobs[] = {"memory.max", "pids.max", "cpu.max"};
	int r = fd_write_knob(cg->v2, knobs[c], text);

	/* No swap beside it: the limit is of memory used. Not there on a machine without swap accounting. */
	if (r == 0 && c == V1_MEMORY && fd_write_knob(cg->v2, "memory.swap.max", "0") < 0)
		log_debug("ignoring that memory.swap.max cannot be set");
	return r;
}

static int limit_v1(struct cgroup_root *root, struct cgroup *cg, enum v1_controller c,
		    const char *text)
{
	static const char *const knobs[] = {"memory.limit_in_bytes", "pids.max",
					    "cpu.cfs_quota_us"};
	char path[64], file[96];
	int r;

	if (mkdirat(root->v1_top[c], root->name, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/%s", root->name, cg->name);
	if (mkdirat(root->v1_top[c], path, 0755) < 0)
		return -errno;
	cg->v1_made[c] = true;
	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	cg->v1[c] = openat(root->v1_top[c], file, O_WRONLY | O_CLOEXEC);
	if (cg->v1[c] < 0)
		return -errno;
	snprintf(file, sizeof(file), "%s/%s", path, knobs[c]);
	r = fd_write_knob(root->v1_top[c], file, text);
	return r;
}

int cgroup_limit(struct cgroup_root *root, struct cgroup *cg, const struct cgroup_limits *limits,
		 struct error *err)
{
	char text[32];

	for (int c = 0; c < CGROUP_V1_MAX; c++) {
		bool v2 = cg->v2 >= 0 && root->v2_has[c];
		int r;

		limit_text(limits, c, v2, text);
		if (!text[0])
			continue;
		if (!v2 && root->v1_top[c] < 0)
			return error_named(
				err, ENOTSUP, "InvalidArgument",
				"this machine has no %s cgroup controller to enforce the limit with",
				v1_names[c]);
		r = v2 ? limit_v2(cg, c, text) : limit_v1(root, cg, c, text);
		if (r < 0)
			return error_sys(err, -r, "cannot set the %s limit to %s", v1_names[c],
					 text);
	}
	return 0;
}

int cgroup_create(struct cgroup_root *root, const char *name, struct cgroup *ret, struct error *err)
{
	static const struct cgroup_limits none;
	struct cgroup cg;
	int r;

	cgroup_none(&cg);
	snprintf(cg.name, sizeof(cg.name), "%s", name);
	if (root->v2 >= 0) {
		if (mkdirat(root->v2, name, 0755) < 0)
			return error_sys(err, errno, "cannot make the cgroup %s/%s", root->path,
					 name);
		cg.v2 = openat(root->v2, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (cg.v2 < 0) {
			r = error_sys(err, errno, "cannot open the cgroup %s/%s", root->path, name);
			unlinkat(root->v2, name, AT_REMOVEDIR);
			return r;
		}
	}
	r = cgroup_limit(root, &cg, &none, err);
	if (r < 0) {
		if (cgroup_remove(root, &cg) < 0)
			log_warn("the cgroup %s could not be removed", name);
		return r;
	}
	*ret = cg;
	return 0;
}

void cgroup_adopt(struct cgroup_root *root, const char *name, struct cgroup *ret)
{
	char path[64];

	cgroup_none(ret);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(path, sizeof(path), "%s/%s", root->name, name);
	if (root->v2 >= 0)
		ret->v2 = openat(root->v2, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	for (int c = 0; c < CGROUP_V1_MAX; c++)
		ret->v1_made[c] = root->v1_top[c] >= 0 &&
				  faccessat(root->v1_top[c], path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool cgroup_kill(const struct cgroup *cg)
{
	return cg->v2 >= 0 && fd_write_knob(cg->v2, "cgroup.kill", "1") == 0;
}

int cgroup_remove(struct cgroup_root *root, struct cgroup *cg)
{
	char path[64];
	int r = 0;

	if (!cg->name[0])
		return 0;
	snprintf(path, sizeof(path), "%s/%s", root->name, cg->name);
	for (int c = 0; c < CGROUP_V1_MAX; c++) {
		cg->v1[c] = fd_close(cg->v1[c]);
		if (cg->v1_made[c] && unlinkat(root->v1_top[c], path, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			r = -errno;
	}
	/* Also where it could not be opened: see cgroup_adopt(). */
	if (root->v2 >= 0 && unlinkat(root->v2, cg->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0)
		return r;
	cg->v2 = fd_close(cg->v2);
	cg->name[0] = '\0';
	return 0;
}
