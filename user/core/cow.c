// SPDX-License-Identifier: MIT
#include "core/cow.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "common/log.h"
#include "core/disk.h"
#include "core/masks.h"
#include "core/mountapi.h"

struct workshop {
	int host_ns, shop_ns, stage_ns;
	int root;	     /* the workshop's root folder: works from any namespace */
	int disk;	     /* the folder for layers on disk; -1: none are made */
	struct track *track; /* reads the kernel's counts; NULL: they are not used */
};

/* Names in the workshop's root; short, since an overlay's options must fit a page, and better 256 bytes. */
#define SHOP_LAYERS "l"
#define SHOP_BASE   "b"
#define SHOP_RUNS   "c"
#define SHOP_LONG   "m" /* where an overlay of many layers is for a moment */
#define SHOP_MAPPED "i" /* and the layers as a user namespace has them */

/* ---- the two namespaces ------------------------------------------------------------------------ */

/* Mount points of a capsule's root, as the overlay's top-most lower layer: always folders, never links of the image's. */
static int make_base(int root)
{
	static const char *const dirs[] = {"dev", "proc", "sys", "target", "tmp"};
	cleanup_fd int base = -1;

	if (mkdirat(root, SHOP_BASE, 0755) < 0)
		return -errno;
	base = openat(root, SHOP_BASE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(base, dirs[i], 0755) < 0)
			return -errno;
	return fchmodat(base, "tmp", 01777, 0) < 0 ? -errno : 0;
}

static int make_device(int dir, const char *name, unsigned int maj, unsigned int min)
{
	if (mknodat(dir, name, S_IFCHR | 0666, makedev(maj, min)) < 0)
		return -errno;
	return fchmodat(dir, name, 0666, 0) < 0 ? -errno : 0;
}

/* A read-only /dev that all capsules share: nothing in it belongs to one of them. */
static int make_dev(void)
{
	static const struct {
		const char *name;
		unsigned int maj, min;
	} nodes[] = {{"null", 1, 3},   {"zero", 1, 5},	  {"full", 1, 7},
		     {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	static const char *const links[][2] = {{"/proc/self/fd", "fd"},
					       {"/proc/self/fd/0", "stdin"},
					       {"/proc/self/fd/1", "stdout"},
					       {"/proc/self/fd/2", "stderr"},
					       {"/tmp", "shm"}};
	static const char *const opts[][2] = {{"size", "64k"}, {"mode", "0755"}, {NULL, NULL}};
	cleanup_fd int dev = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	int r = dev < 0 ? dev : 0;

	for (size_t i = 0; i < ARRAY_SIZE(nodes) && r == 0; i++)
		r = make_device(dev, nodes[i].name, nodes[i].maj, nodes[i].min);
	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = symlinkat(links[i][0], dev, links[i][1]) < 0 ? -errno : 0;
	if (r == 0 && mount_setattr(dev, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(dev);
}

static int build_shop(struct workshop *w, int layers, const char *anchor)
{
	static const char *const opts[][2] = {{"size", "1m"}, {"mode", "0700"}, {NULL, NULL}};
	int r;

	w->root = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (w->root < 0)
		return w->root;
	r = make_base(w->root);
	if (r < 0)
		return r;
	if (mkdirat(w->root, SHOP_LAYERS, 0700) < 0 || mkdirat(w->root, SHOP_RUNS, 0700) < 0 ||
	    mkdirat(w->root, SHOP_LONG, 0700) < 0 || mkdirat(w->root, SHOP_MAPPED, 0700) < 0)
		return -errno;
	r = mount_take_root(w->root, anchor);
	return r < 0 ? r : mount_put(layers, w->root, SHOP_LAYERS);
}

/* Mount points, and what covers what is not to be seen (core/masks.h). */
static int fill_stage(int root)
{
	cleanup_fd int file = -1;

	if (mkdirat(root, "dev", 0755) < 0 || mkdirat(root, MASK_FOLDER, 0555) < 0)
		return -errno;
	file = openat(root, MASK_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	return file < 0 ? -errno : 0;
}

static int build_stage(const char *anchor)
{
	static const char *const opts[][2] = {{"size", "64k"}, {"mode", "0755"}, {NULL, NULL}};
	cleanup_fd int root = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	cleanup_fd int dev = make_dev();
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	int r = root < 0 ? root : dev < 0 ? dev : 0;

	if (r == 0)
		r = fill_stage(root);
	if (r < 0)
		return r;
	if (mount_setattr(root, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		return -errno;
	r = mount_take_root(root, anchor);
	return r < 0 ? r : mount_put(dev, root, "dev");
}

static int own_mnt_ns(int proc)
{
	int fd = openat(proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Into the workshop, or back. recapd has one thread and shares its fs_struct with nobody: setns(2) asks for that. */
static int enter(int ns)
{
	return setns(ns, CLONE_NEWNS) < 0 ? -errno : 0;
}

static int leave(const struct workshop *w, int r)
{
	int back = enter(w->host_ns);

	/* To go on in the wrong mount namespace would turn every later path into another one. */
	if (back < 0)
		abort();
	return r;
}

static int build(struct workshop *w, int proc, int layers, const char *anchor)
{
	int r = unshare(CLONE_NEWNS) < 0 ? -errno : build_shop(w, layers, anchor);

	if (r == 0)
		r = w->shop_ns = own_mnt_ns(proc);
	r = leave(w, r);
	if (r < 0)
		return r;
	r = unshare(CLONE_NEWNS) < 0 ? -errno : build_stage(anchor);
	if (r == 0)
		r = w->stage_ns = own_mnt_ns(proc);
	return leave(w, r);
}

/* One layer made, probed while held, let go, probed again and dropped: what an attach will need. */
static int try_out(struct workshop *w, struct error *err)
{
	struct image empty = {.digest = "", .n_layers = 0};
	struct cow cow;
	int r = cow_reserve(w, "trial", 1 << 20, false, &cow, err);

	if (r == 0)
		r = cow_mount(w, &empty, -1, &cow, err);
	if (r < 0)
		return error_prefix(
			err,
			"this kernel cannot make a throw-away layer (needs overlayfs and 5.15)");
	r = cow_busy(w, &cow, err);
	if (r == 0)
		r = error_set(
			err, ENOSYS,
			"overlayfs does not lock its upper folder on this kernel: escape could "
			"not be proven");
	cow.overlay_fd = fd_close(cow.overlay_fd);
	if (r > 0)
		r = cow_busy(w, &cow, err);
	if (r > 0)
		r = error_set(err, EBUSY,
			      "overlayfs keeps an upper folder locked that nothing uses");
	if (r == 0)
		return cow_drop(w, &cow, err);
	if (cow_drop(w, &cow, NULL) < 0)
		log_warn("the trial layer could not be removed");
	return r;
}

int workshop_open(int layers_fd, const char *anchor, struct workshop **ret, struct error *err)
{
	cleanup_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int layers =
		open_tree(layers_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct workshop *w = calloc(1, sizeof(*w));
	int r;

	if (!w || proc < 0 || layers < 0) {
		free(w);
		return error_sys(err, errno,
				 "cannot prepare the workshop (recapd needs CAP_SYS_ADMIN)");
	}
	w->shop_ns = w->stage_ns = w->root = -1;
	w->host_ns = own_mnt_ns(proc);
	w->disk = open(anchor, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = w->disk < 0 ? -errno : w->host_ns;
	if (r >= 0)
		r = build(w, proc, layers, anchor);
	if (r < 0)
		error_sys(
			err, -r,
			"cannot build a private mount namespace (needs CAP_SYS_ADMIN, kernel 5.15)");
	else
		r = try_out(w, err);
	if (r < 0) {
		workshop_close(w);
		return r;
	}
	*ret = w;
	return 0;
}

static uint32_t users_of(struct track *t, const struct cow *cow)
{
	return cow->back_fd < 0 ? 0
				: track_superblock_users(t, cow->back_fd, cow->wanted.tmpfs_dev);
}

int workshop_use_counts(struct workshop *w, struct track *t, struct error *err)
{
	struct image empty = {.digest = "", .n_layers = 0};
	uint32_t held, alone;
	struct cow cow;
	int r = cow_reserve(w, "trial", 1 << 20, false, &cow, err);

	if (r == 0)
		r = cow_mount(w, &empty, -1, &cow, err);
	held = users_of(t, &cow);
	cow.overlay_fd = fd_close(cow.overlay_fd);
	alone = users_of(t, &cow);
	if (r == 0)
		r = cow_drop(w, &cow, err);
	else if (cow_drop(w, &cow, NULL) < 0)
		log_warn("the trial layer could not be removed");
	if (r == 0 && held > 1 && alone == 1)
		w->track = t;
	else if (r == 0)
		log_warn(
			"the kernel counts %u and %u mounts of a layer, which is not understood: escapes are proven by "
			"overlayfs's lock alone, which takes longer",
			held, alone);
	return r;
}

void workshop_close(struct workshop *w)
{
	if (!w)
		return;
	fd_close(w->root);
	fd_close(w->disk);
	fd_close(w->shop_ns);
	fd_close(w->stage_ns);
	fd_close(w->host_ns);
	free(w);
}

ino_t workshop_inode(const struct workshop *w)
{
	struct stat st;

	return fstat(w->shop_ns, &st) == 0 ? st.st_ino : 0;
}

int workshop_enter_for_good(const struct workshop *w)
{
	return enter(w->shop_ns);
}

struct workshop *workshop_adopt(int shop_ns)
{
	struct workshop *w = calloc(1, sizeof(*w));

	if (!w) {
		close(shop_ns);
		return NULL;
	}
	*w = (struct workshop){.shop_ns = shop_ns, .stage_ns = -1, .root = -1, .disk = -1};
	w->host_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (w->host_ns >= 0)
		return w;
	workshop_close(w);
	return NULL;
}

int workshop_stage_fd(const struct workshop *w)
{
	return w->stage_ns;
}

/* ---- one layer --------------------------------------------------------------------------------- */

#define OPT_MAX	   256	 /* fsconfig(2): longest string */
#define INODES_MAX 65536 /* of a layer in memory */

/* On disk, beside the folders for upper and work. */
#define SPARE	    "s"
#define SPARE_FILES 16
#define SPARE_BYTES (16 << 10)

/* Names as the kernel's overlayfs documentation has them; the paths are the workshop's. */
struct overlay_opts {
	char lower[IMAGE_LAYERS_MAX * (sizeof("/" SHOP_LAYERS "/:") + IMAGE_LAYER_NAME)];
	char upper[64], work[64];
	const char *list[9][2];
	size_t n;
};

static void add(struct overlay_opts *o, const char *key, const char *value)
{
	o->list[o->n][0] = key;
	o->list[o->n++][1] = value;
}

/* `layers`: where the image's are in the workshop; NULL: none, for the probe. */
static void overlay_opts(struct overlay_opts *o, const struct image *image, const char *layers,
			 const struct cow *cow)
{
	const char *name = cow->name;
	size_t len = snprintf(o->lower, sizeof(o->lower), "/" SHOP_BASE);

	for (size_t i = 0; layers && i < image->n_layers && len < sizeof(o->lower); i++)
		len += snprintf(o->lower + len, sizeof(o->lower) - len, ":/%s/%s", layers,
				image->layers[i]);
	snprintf(o->upper, sizeof(o->upper), "/" SHOP_RUNS "/%s/u", name);
	snprintf(o->work, sizeof(o->work), "/" SHOP_RUNS "/%s/w", name);
	o->n = 0;
	add(o, "lowerdir", o->lower);
	add(o, "upperdir", o->upper);
	add(o, "workdir", o->work);
	add(o, "index", layers ? "off" : "on");
	/* Lower layers are shared and never change below a mount; these only cost or bind. */
	add(o, "metacopy", "off");
	add(o, "redirect_dir", "off");
	/* Else the end of an overlay waits until all that the tool wrote is on disk, where nobody will read it. */
	if (cow->disk)
		add(o, "volatile", NULL);
	add(o, NULL, NULL);
}

/*
 * An image of many layers: their names do not fit one string of fsconfig(2). mount(2) takes a page of options on every kernel;
 * the mount is then made a detached one.
 */
static int mount_long(const struct overlay_opts *o)
{
	char text[4096];
	size_t len = 0;
	int fd, r;

	for (size_t i = 0; o->list[i][0] && len < sizeof(text); i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%s%s%s", i ? "," : "",
				o->list[i][0], o->list[i][1] ? "=" : "", o->list[i][1] ?: "");
	if (len >= sizeof(text))
		return -E2BIG;
	if (mount("overlay", "/" SHOP_LONG, "overlay", MS_NOSUID | MS_NODEV, text) < 0)
		return -errno;
	fd = open_tree(AT_FDCWD, "/" SHOP_LONG, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = fd < 0 ? -errno : fd;
	if (umount2("/" SHOP_LONG, UMOUNT_NOFOLLOW) < 0 && fd >= 0) {
		r = -errno;
		close(fd);
	}
	return r;
}

static int mount_overlay(const struct overlay_opts *o)
{
	if (strlen(o->lower) >= OPT_MAX)
		return mount_long(o);
	return mount_new("overlay", o->list, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

static int make_tmpfs(uint64_t size)
{
	char bytes[24], inodes[12];
	const char *opts[][2] = {
		{"size", bytes}, {"mode", "0755"}, {"nr_inodes", inodes}, {NULL, NULL}};

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
	snprintf(inodes, sizeof(inodes), "%d", INODES_MAX);
	return mount_new("tmpfs", (const char *const(*)[2])opts,
			 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

/*
 * A file system on disk cannot be made larger in a moment, as a tmpfs can: blocks and inodes for the probe are set aside in it,
 * out of the tool's reach, until they are needed.
 */
static int add_spare(int back)
{
	cleanup_fd int dir = -1;

	if (mkdirat(back, SPARE, 0700) < 0)
		return -errno;
	dir = openat(back, SPARE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return -errno;
	for (int i = 0; i < SPARE_FILES; i++) {
		cleanup_fd int fd = openat(dir, (char[]){(char)('a' + i), '\0'},
					   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd < 0 || fallocate(fd, 0, 0, SPARE_BYTES) < 0)
			return -errno;
	}
	return 0;
}

/* In the workshop. Idempotent. */
static void free_spare(const char *name)
{
	char path[48];

	for (int i = 0; i < SPARE_FILES; i++) {
		snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s/" SPARE "/%c", name, 'a' + i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s/" SPARE, name);
	rmdir(path);
}

/*
 * In the workshop. A volatile overlay leaves a mark by which the kernel refuses its upper to all later ones, since what it holds
 * may not be whole after a crash. The probe is one, and its contents do not matter.
 */
static void remove_mark(const char *name)
{
	static const char mark[] = "/incompat/volatile/dirty";
	char path[80];

	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s/w/work%s", name, mark);
	unlink(path);
	for (int i = 0; i < 2; i++) {
		*strrchr(path, '/') = '\0';
		rmdir(path);
	}
}

static int make_disk(int dir, uint64_t size, struct error *err)
{
	cleanup_fd int fd = disk_new(dir, size, err);
	int r;

	if (fd < 0)
		return fd;
	r = unlinkat(fd, "lost+found", AT_REMOVEDIR) < 0 ? -errno : add_spare(fd);
	return r < 0 ? error_sys(err, -r, "cannot prepare the layer's ext4") : TAKE_FD(fd);
}

/* In the workshop: the back `fd`, with the folders for upper and work. */
static int attach_back(int fd, const char *name)
{
	char path[40];

	if (mkdirat(fd, "u", 0755) < 0 || mkdirat(fd, "w", 0700) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", name);
	if (mkdir(path, 0700) < 0)
		return -errno;
	if (move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
		int r = -errno;

		rmdir(path);
		return r;
	}
	return 0;
}

static uint32_t kernel_dev(dev_t dev)
{
	return major(dev) << 20 | minor(dev);
}

static int probe(const struct cow *cow)
{
	struct overlay_opts o;
	cleanup_fd int fs = -1;

	overlay_opts(&o, NULL, NULL, cow);
	fs = mount_context("overlay", o.list);
	if (cow->disk)
		remove_mark(cow->name);
	return fs < 0 ? fs : mount_create(fs);
}

static int reserve_in_shop(int back, struct cow *cow)
{
	int r = attach_back(back, cow->name);

	cow->attached = cow->named = r == 0;
	return r;
}

int cow_reserve(struct workshop *w, const char *name, uint64_t size, bool disk, struct cow *cow,
		struct error *err)
{
	cleanup_fd int back = -1;
	int r;

	*cow = COW_NONE;
	cow->size = size;
	cow->disk = disk;
	snprintf(cow->name, sizeof(cow->name), "%s", name);
	/* Still on the host: its devices are not in the workshop. */
	back = disk ? make_disk(w->disk, size, err) : make_tmpfs(size);
	if (disk && back < 0)
		return back;
	r = back < 0 ? back : enter(w->shop_ns);
	if (r == 0)
		r = leave(w, reserve_in_shop(back, cow));
	if (r < 0)
		return error_sys(err, -r, "cannot make the layer's file system");
	cow->back_fd = TAKE_FD(back);
	return 0;
}

/* Whether its back is mounted still: a folder that is no mount is one that was about to be removed. */
static int find_in_shop(struct cow *cow)
{
	struct statx st;
	struct statfs fs;
	char path[40];

	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", cow->name);
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	cow->attached = st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	cow->named = true;
	if (statfs(path, &fs) == 0) {
		cow->disk = fs.f_type != TMPFS_MAGIC;
		cow->size = (uint64_t)fs.f_blocks * fs.f_bsize;
	}
	return 0;
}

int cow_adopt(struct workshop *w, const char *name, struct cow *cow, struct error *err)
{
	int r = enter(w->shop_ns);

	if (r < 0)
		return error_sys(err, -r, "cannot enter the workshop");
	*cow = COW_NONE;
	snprintf(cow->name, sizeof(cow->name), "%s", name);
	r = leave(w, find_in_shop(cow));
	return r < 0 ? error_sys(err, -r, "cannot find the layer") : 0;
}

/*
 * In the workshop, at SHOP_MAPPED: the layers with the owners that `user_ns` makes of them (MOUNT_ATTR_IDMAP, mount_setattr(2)). Not
 * every file system has that: -EINVAL.
 */
static int map_layers(int user_ns)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = user_ns};
	cleanup_fd int fd =
		open_tree(AT_FDCWD, "/" SHOP_LAYERS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
	    move_mount(fd, "", AT_FDCWD, "/" SHOP_MAPPED, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* In the workshop, with the layers mapped: who is root there owns the root of the overlay, too. */
static int mount_over_mapped(const struct image *image, const struct cow *cow)
{
	struct overlay_opts o;
	struct stat st;

	overlay_opts(&o, image, SHOP_MAPPED, cow);
	if (stat("/" SHOP_MAPPED, &st) < 0 || chown(o.upper, st.st_uid, st.st_gid) < 0)
		return -errno;
	return mount_overlay(&o);
}

static int mount_mapped(const struct image *image, int user_ns, const struct cow *cow)
{
	int r = map_layers(user_ns);

	if (r < 0)
		return r;
	r = mount_over_mapped(image, cow);
	/* The overlay has clones of its own. */
	if (umount2("/" SHOP_MAPPED, UMOUNT_NOFOLLOW) < 0 && r >= 0) {
		int failed = -errno;

		close(r);
		r = failed;
	}
	return r;
}

/* In the workshop. overlayfs takes mapped layers since 5.19, and says EINVAL before, too. */
static int mount_layers(const struct image *image, int user_ns, const struct cow *cow)
{
	struct overlay_opts o;
	int r = user_ns < 0 ? -EINVAL : mount_mapped(image, user_ns, cow);

	if (r != -EINVAL)
		return r;
	if (user_ns >= 0)
		log_info(
			"capsule %s: its files belong to nobody in the target's user namespace: kernel or file system of "
			"the image store cannot map their owners",
			cow->name);
	overlay_opts(&o, image, SHOP_LAYERS, cow);
	return mount_overlay(&o);
}

static int mount_in_shop(const struct image *image, int user_ns, struct cow *cow, struct error *err)
{
	char upper[40];
	struct stat st;
	int r = mount_layers(image, user_ns, cow);

	if (r < 0)
		return error_sys(err, -r, "cannot mount the overlay of %zu layers",
				 image->n_layers);
	cow->overlay_fd = r;
	if (fstat(cow->overlay_fd, &st) < 0)
		return error_sys(err, errno, "cannot stat the overlay");
	cow->wanted.overlay_dev = kernel_dev(st.st_dev);
	snprintf(upper, sizeof(upper), "/" SHOP_RUNS "/%s/u", cow->name);
	if (stat(upper, &st) < 0)
		return error_sys(err, errno, "cannot stat the layer's upper folder");
	cow->wanted.tmpfs_dev = kernel_dev(st.st_dev);
	return 0;
}

int cow_mount(struct workshop *w, const struct image *image, int user_ns, struct cow *cow,
	      struct error *err)
{
	int r = enter(w->shop_ns);

	if (r < 0)
		return error_sys(err, -r, "cannot enter the workshop");
	return leave(w, mount_in_shop(image, user_ns, cow, err));
}

/*
 * The probe makes folders of its own in the back, and a tool may have left no room for them. The lock is looked at
 * before that, so more room changes nothing of what it says.
 */
static int make_room(const struct cow *cow)
{
	char path[40], more[64];

	if (cow->disk) {
		free_spare(cow->name);
		return 0;
	}
	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", cow->name);
	snprintf(more, sizeof(more), "nr_inodes=%d,size=%llu", INODES_MAX + 1024,
		 (unsigned long long)cow->size + (1 << 20));
	return mount(NULL, path, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, more) < 0 ? -errno : 0;
}

static int probe_in_shop(const struct cow *cow)
{
	int r = probe(cow);

	if (r != -ENOSPC)
		return r;
	r = make_room(cow);
	return r < 0 ? r : probe(cow);
}

int cow_busy(struct workshop *w, struct cow *cow, struct error *err)
{
	int r;

	if (w->track && users_of(w->track, cow) == 1)
		return 0;
	r = enter(w->shop_ns);

	if (r < 0)
		return error_sys(err, -r, "cannot enter the workshop");
	r = leave(w, probe_in_shop(cow));
	if (r == -EBUSY)
		return 1;
	return r < 0 ? error_sys(err, -r, "the overlay probe failed") : 0;
}

static int drop_in_shop(struct cow *cow)
{
	struct statvfs fs;
	char path[40];

	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", cow->name);
	if (cow->attached && cow->disk)
		free_spare(cow->name);
	if (cow->attached && statvfs(path, &fs) == 0)
		cow->bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	if (cow->attached && cow->disk)
		disk_discard(path);
	if (cow->attached && umount2(path, UMOUNT_NOFOLLOW) < 0)
		return -errno;
	cow->attached = false;
	if (rmdir(path) < 0)
		return -errno;
	cow->named = false;
	return 0;
}

int cow_drop(struct workshop *w, struct cow *cow, struct error *err)
{
	int r;

	cow->overlay_fd = fd_close(cow->overlay_fd);
	cow->back_fd = fd_close(cow->back_fd);
	if (!cow->named)
		return 0;
	r = enter(w->shop_ns);
	if (r == 0)
		r = leave(w, drop_in_shop(cow));
	return r < 0 ? error_sys(err, -r, "cannot drop the layer") : 0;
}

/* ---- those that nobody goes on with ------------------------------------------------------------ */

struct layers {
	char (*names)[sizeof(((struct cow *)NULL)->name)];
	size_t n;
};

static int list_in_shop(struct layers *l)
{
	cleanup_dir DIR *dir = opendir("/" SHOP_RUNS);
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		void *more;

		if (e->d_name[0] == '.')
			continue;
		more = reallocarray(l->names, l->n + 1, sizeof(*l->names));
		if (!more)
			return -ENOMEM;
		l->names = more;
		snprintf(l->names[l->n++], sizeof(*l->names), "%.15s", e->d_name);
	}
	return 0;
}

static void sweep_one(struct workshop *w, const char *name)
{
	struct error err = {};
	struct cow cow;
	int r = cow_adopt(w, name, &cow, &err);

	if (r == 0 && cow.attached)
		r = cow_busy(w, &cow, &err);
	if (r == 0)
		r = cow_drop(w, &cow, &err);
	if (r != 0)
		log_warn("layer %s of an earlier recapd stays for now: %s", name,
			 r > 0 ? "something holds it" : err.msg);
}

void cow_sweep(struct workshop *w, bool (*is_kept)(const char *name, void *arg), void *arg)
{
	struct layers found = {};
	int r = enter(w->shop_ns);

	if (r == 0)
		r = leave(w, list_in_shop(&found));
	if (r < 0)
		log_warn("layers of an earlier recapd cannot be listed: %s", strerror(-r));
	for (size_t i = 0; i < found.n; i++)
		if (!is_kept(found.names[i], arg))
			sweep_one(w, found.names[i]);
	free(found.names);
}
