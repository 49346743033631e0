// SPDX-License-Identifier: MIT
#include "core/residue_files.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <limits.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/fd.h"
#include "core/residue_internal.h"

#define TARGET	    "/target"
#define MOUNTS_MAX  1024 /* marked; a target may have any number */
#define LATE_MAX    64
#define LOOKUPS_MAX 5 /* of one mount: the kernel gives up where something is renamed meanwhile */
#define EVENTS_MAX  4096 /* read; some 5 microseconds each, for which recapd stands still */
#define FILES_MAX   1024 /* that are told from each other */

/* ---- in init: the mounts ----------------------------------------------------------------------- */

/* Reading an event must not wait for anybody: no FUSE, and no other machine. */
static const char *const local_types[] = {"overlay", "ext4", "xfs",   "btrfs",	  "tmpfs", "ext3",
					  "ext2",    "f2fs", "zfs",   "bcachefs", "ramfs", "jfs",
					  "nilfs2",  "vfat", "exfat", NULL};

/* Interfaces of the kernel: what is in there are no files. Those of a mount that is nodev, like all of them, open no device. */
static const char *const kernel_types[] = {
	"proc", "sysfs",       "cgroup",   "cgroup2", "devpts",	    "devtmpfs", "mqueue",
	"bpf",	"debugfs",     "tracefs",  "pstore",  "securityfs", "configfs", "hugetlbfs",
	"nsfs", "binfmt_misc", "efivarfs", "fusectl", "selinuxfs",  NULL};

static bool is_one_of(const char *s, const char *const *list)
{
	while (*list && strcmp(*list, s))
		list++;
	return *list;
}

/* Space, tab, newline and backslash are written as \OOO (proc(5)). */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		unsigned int c;
		int n = 0;

		if (*s == '\\' && sscanf(s, "\\%3o%n", &c, &n) == 1 && n == 4) {
			*out++ = (char)c;
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static bool says_readonly(const char *options)
{
	return options && !strncmp(options, "ro", 2) && (!options[2] || options[2] == ',');
}

/* ID, parent, device, root, path, options, any number of tags, "-", type, source, options of the superblock. */
int residue_files_line(char *line, struct files_line *ret)
{
	char *save = NULL, *word = strtok_r(line, " \n", &save), *options = NULL;
	struct files_line l = {};

	l.id = word ? strtoull(word, NULL, 10) : 0;
	for (int i = 0; i < 4 && word; i++)
		word = strtok_r(NULL, " \n", &save);
	l.path = word;
	options = word ? strtok_r(NULL, " \n", &save) : NULL;
	while (word && strcmp(word, "-"))
		word = strtok_r(NULL, " \n", &save);
	l.type = word ? strtok_r(NULL, " \n", &save) : NULL;
	/* A source may be empty, and is a space then. */
	word = l.type && save ? strrchr(save, ' ') : NULL;
	if (!l.id || !l.type || !options)
		return -EINVAL;
	l.readonly =
		says_readonly(options) || (word && says_readonly(strtok_r(word, " \n", &save)));
	unescape(l.path);
	*ret = l;
	return 0;
}

static bool is_in_target(const char *path)
{
	size_t n = strlen(TARGET);

	return !strncmp(path, TARGET, n) && (!path[n] || path[n] == '/');
}

struct watching {
	int group;
	unsigned int n;	      /* mounts to be watched */
	unsigned int foreign; /* others, whose file systems need not answer */
	struct files_line late[LATE_MAX];
	size_t n_late; /* those that have to be looked up */
	struct files_watch *ret;
};

static void add_unseen(struct files_watch *w, const struct files_line *l, const char *why)
{
	if (!w->n_unseen++)
		snprintf(w->unseen, sizeof(w->unseen), "%s: %s", why, l->path + strlen(TARGET));
}

static int look_up(const char *path, uint64_t cached)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | cached,
	};
	int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* What lies on the way to a mount is in the kernel's memory, but for some of /proc's. */
static int look_up_cached(const char *path)
{
	int fd = -EAGAIN;

	for (int i = 0; i < LOOKUPS_MAX && fd == -EAGAIN; i++)
		fd = look_up(path, RESOLVE_CACHED);
	return fd;
}

/* False where another one lies on top, so that no path leads there. */
static bool is_that_mount(int fd, const struct files_line *l)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0 ||
	       st.stx_mnt_id == l->id;
}

static void watch_fd(struct watching *w, const struct files_line *l, int fd)
{
	struct files_mount *m = &w->ret->mounts[w->ret->n_mounts];
	char path[40];

	if (fd < 0) {
		add_unseen(w->ret, l, strerror(-fd));
		return;
	}
	if (!is_that_mount(fd, l))
		return;
	/* fanotify_mark(2) takes a path, or the folder of one. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fanotify_mark(w->group, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE | FAN_MODIFY,
			  AT_FDCWD, path) < 0) {
		add_unseen(w->ret, l, strerror(errno));
	} else if (w->ret->n_mounts < FILES_MOUNTS && strlen(l->path) < sizeof(m->path)) {
		m->id = l->id;
		snprintf(m->path, sizeof(m->path), "%s", l->path);
		w->ret->n_mounts++;
	}
}

static void watch_later(struct watching *w, const struct files_line *l)
{
	char *path = w->n_late < LATE_MAX ? strdup(l->path) : NULL;

	if (path)
		w->late[w->n_late++] = (struct files_line){.id = l->id, .path = path};
	else
		add_unseen(w->ret, l, "it cannot be looked up");
}

static void watch_local(struct watching *w, const struct files_line *l)
{
	cleanup_fd int fd = -1;

	if (w->n++ == MOUNTS_MAX)
		add_unseen(w->ret, l, "too many mounts");
	if (w->n > MOUNTS_MAX)
		return;
	fd = look_up_cached(l->path);
	if (fd == -EAGAIN)
		watch_later(w, l);
	else
		watch_fd(w, l, fd);
}

static void watch_line(struct watching *w, const struct files_line *l)
{
	char why[64];

	if (!is_in_target(l->path) || is_one_of(l->type, kernel_types))
		return;
	if (!is_one_of(l->type, local_types)) {
		w->foreign++;
		snprintf(why, sizeof(why), "a file system of type %s", l->type);
		if (!l->readonly)
			add_unseen(w->ret, l, why);
	} else if (!l->readonly) {
		watch_local(w, l);
	}
}

/* Where there are file systems that need not answer, none is asked. Nothing is freed: this is init. */
static void watch_late(struct watching *w)
{
	for (size_t i = 0; i < w->n_late; i++) {
		cleanup_fd int fd = w->foreign ? -EAGAIN : look_up(w->late[i].path, 0);

		watch_fd(w, &w->late[i], fd);
	}
}

void residue_files_watch(int group, struct files_watch *ret)
{
	struct watching w = {.group = group, .ret = ret};
	FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	struct files_line l;
	size_t size = 0;

	if (!f)
		return;
	while (getline(&line, &size, f) >= 0)
		if (residue_files_line(line, &l) == 0)
			watch_line(&w, &l);
	watch_late(&w);
	ret->done = feof(f);
	fclose(f);
}

/* ---- in recapd --------------------------------------------------------------------------------- */

void residue_files_before(struct residue *r, const struct target *t, const struct sandbox *s)
{
	r->files_asked = true;
	/* Its overlays may lie upon a FUSE of its own, and to open a file there would be to wait for it. */
	if (target_mounts_for_itself(t)) {
		r->files_blind = "the target may mount file systems of its own";
		return;
	}
	if (s->caps & 1ull << CAP_SYS_ADMIN || s->seccomp == SANDBOX_UNCONFINED ||
	    s->seccomp == SANDBOX_PROFILE)
		r->files_blind = "the tool may mount anew what is below /target";
	r->files = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK,
				 O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC | O_LARGEFILE);
	if (r->files < 0)
		r->files_blind = errno == EMFILE ? "fs.fanotify.max_user_groups is reached"
						 : "fanotify cannot be used";
}

/* What has been read so far. */
struct reading {
	struct residue *r;
	struct files_watch watch; /* as init left it: checked */
	bool alive;
	size_t n;
	struct {
		dev_t dev;
		ino_t ino;
	} seen[FILES_MAX];
};

static bool is_known(const struct reading *d, const struct stat *st)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->seen[i].ino == st->st_ino && d->seen[i].dev == st->st_dev)
			return true;
	return false;
}

/* Memory that was init's: what it says may be anything. */
static void take_watch(struct reading *d, const struct files_watch *from)
{
	struct files_watch *w = &d->watch;

	*w = *from;
	w->unseen[sizeof(w->unseen) - 1] = '\0';
	if (w->n_mounts > FILES_MOUNTS)
		w->n_mounts = FILES_MOUNTS;
	for (size_t i = 0; i < w->n_mounts; i++) {
		w->mounts[i].path[sizeof(w->mounts[i].path) - 1] = '\0';
		if (!is_in_target(w->mounts[i].path))
			w->mounts[i].id = 0;
	}
}

/* Where the mount is on which `fd` was opened, as init saw it; NULL: that is not known. */
static const char *place_of(const struct reading *d, int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0)
		return NULL;
	for (size_t i = 0; i < d->watch.n_mounts; i++)
		if (d->watch.mounts[i].id && d->watch.mounts[i].id == st.stx_mnt_id)
			return d->watch.mounts[i].path;
	return NULL;
}

/* The end of a long one says more than its beginning. */
static void put_path(const char *place, const char *path, char *buf, size_t size)
{
	size_t n = strlen(path), room = size - sizeof("...");

	if (strlen(place) + n < size)
		snprintf(buf, size, "%s%s", place, path);
	else
		snprintf(buf, size, "...%.*s", (int)room, n > room ? path + n - room : path);
}

/*
 * The kernel's path of what is open begins at the root of the mount namespace, or at that of the mount once the namespace has gone. It
 * says at its end when the file has been deleted, which could be a part of the name as well.
 */
static void path_of(const struct reading *d, int fd, bool gone, const char *place, char *buf,
		    size_t size)
{
	static const char deleted[] = " (deleted)";
	size_t skip = place && d->alive ? strlen(place) : 0, end;
	char link[40], path[PATH_MAX] = "", *inside = path;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		path[0] = '\0';
	end = strlen(path);
	if (gone && end > strlen(deleted) && !strcmp(path + end - strlen(deleted), deleted))
		path[end - strlen(deleted)] = '\0';
	if (skip && !strncmp(path, place, skip))
		inside += skip;
	/* A file may be a mount by itself. */
	if (place && !strcmp(inside, "/"))
		*inside = '\0';
	put_path(place ? place + strlen(TARGET) : "", inside, buf, size);
}

static void tell(struct reading *d, int fd, const struct stat *st)
{
	struct residue_object o = {.kind = RESIDUE_FILE};
	const char *place = place_of(d, fd);

	path_of(d, fd, !st->st_nlink, place, o.name, sizeof(o.name));
	snprintf(o.detail, sizeof(o.detail), "inode %llu%s%s", (unsigned long long)st->st_ino,
		 place ? "" : ", on a mount whose place is not known",
		 st->st_nlink ? "" : ", deleted since");
	residue_item(d->r, RESIDUE_WRITTEN, &o);
}

/* 0, or -E2BIG: there are more than can be told from each other. */
static int take_file(struct reading *d, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		residue_item_unknown(d->r, RESIDUE_FILE, "was written, and cannot be looked at");
		return 0;
	}
	if (is_known(d, &st))
		return 0;
	if (d->n == FILES_MAX)
		return -E2BIG;
	d->seen[d->n].dev = st.st_dev;
	d->seen[d->n++].ino = st.st_ino;
	tell(d, fd, &st);
	return 0;
}

/*
 * One event: 0 or -E2BIG. One at a time, since one whose file cannot be opened is dropped without a word where it comes behind another
 * (fanotify_read()); it may be EAGAIN, too, because of a lease of the target's (fcntl(2)).
 */
static int read_one(struct reading *d)
{
	struct fanotify_event_metadata e;
	cleanup_fd int fd = -1;
	ssize_t n = read(d->r->files, &e, sizeof(e));
	char why[96];

	if (n == sizeof(e) && e.vers == FANOTIFY_METADATA_VERSION) {
		fd = e.fd;
		return fd < 0 ? -E2BIG : take_file(d, fd);
	}
	snprintf(why, sizeof(why), "one was written that cannot be opened: %s",
		 n < 0 ? strerror(errno) : "an event of another kind");
	residue_item_unknown(d->r, RESIDUE_FILE, why);
	return 0;
}

/* How much there is to read, in bytes, or -errno. */
static int pending(const struct residue *r)
{
	int n = 0;

	return ioctl(r->files, FIONREAD, &n) < 0 ? -errno : n;
}

static void read_all(struct reading *d)
{
	int n, r = 0;

	for (int i = 0; (n = pending(d->r)) > 0 && r == 0 && i < EVENTS_MAX; i++)
		r = read_one(d);
	if (n < 0)
		residue_item_unknown(d->r, RESIDUE_FILE, "what was written cannot be read");
	else if (n > 0 || r < 0)
		residue_item_unknown(d->r, RESIDUE_FILE, "more were written than can be told");
}

/* What the record cannot know, it is to say. */
static void settle_unseen(struct residue *r, const struct files_watch *w)
{
	char text[sizeof(((struct residue_object *)0)->detail)];

	if (!w->done)
		residue_item_unknown(r, RESIDUE_FILE, "the mounts below /target cannot be listed");
	if (!w->n_unseen)
		return;
	snprintf(text, sizeof(text), "not watched: %.*s", (int)sizeof(w->unseen) - 1, w->unseen);
	residue_item_unknown(r, RESIDUE_FILE, text);
	r->more += w->n_unseen - 1;
}

void residue_files_after(struct residue *r, const struct files_watch *watch, bool alive)
{
	struct reading *d;

	if (r->looked || !r->files_asked)
		return;
	r->files_asked = false;
	if (r->files_blind)
		residue_item_unknown(r, RESIDUE_FILE, r->files_blind);
	if (r->files < 0)
		return;
	d = calloc(1, sizeof(*d));
	if (d) {
		d->r = r;
		take_watch(d, watch);
		d->alive = alive;
		settle_unseen(r, &d->watch);
		read_all(d);
		free(d);
	} else {
		residue_item_unknown(r, RESIDUE_FILE, "out of memory");
	}
}
