// SPDX-License-Identifier: MIT
#include "core/cow.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "common/log.h"
#include "core/mountapi.h"

struct workshop {
	int host_ns, shop_ns, stage_ns;
	int root; /* the workshop's root folder: works from any namespace */
};

/* Names in the workshop's root; short, since an overlay's options must fit a page, and better 256 bytes. */
#define SHOP_LAYERS "l"
#define SHOP_BASE   "b"
#define SHOP_RUNS   "c"
#define SHOP_LONG   "m" /* where an overlay of many layers is for a moment */

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

/* Make `new_root`, a detached mount, the root of the current mount namespace and let go of all other mounts. */
static int take_root(int new_root, const char *anchor)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (move_mount(new_root, "", AT_FDCWD, anchor, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	/* pivot_root(2): "." twice stacks the old root on the new one, from where it is taken off. */
	if (fchdir(new_root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
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
	    mkdirat(w->root, SHOP_LONG, 0700) < 0)
		return -errno;
	r = take_root(w->root, anchor);
	return r < 0 ? r : mount_put(layers, w->root, SHOP_LAYERS);
}

static int build_stage(const char *anchor)
{
	static const char *const opts[][2] = {{"size", "64k"}, {"mode", "0755"}, {NULL, NULL}};
	cleanup_fd int root = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	cleanup_fd int dev = make_dev();
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	int r = root < 0 ? root : dev < 0 ? dev : 0;

	if (r < 0)
		return r;
	if (mkdirat(root, STAGE_ROOT, 0755) < 0 || mkdirat(root, "dev", 0755) < 0)
		return -errno;
	if (mount_setattr(root, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		return -errno;
	r = take_root(root, anchor);
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
	int r = cow_reserve(w, "trial", 1 << 20, &cow, err);

	if (r == 0)
		r = cow_mount(w, &empty, &cow, err);
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
	r = w->host_ns < 0 ? w->host_ns : build(w, proc, layers, anchor);
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

void workshop_close(struct workshop *w)
{
	if (!w)
		return;
	fd_close(w->root);
	fd_close(w->shop_ns);
	fd_close(w->stage_ns);
	fd_close(w->host_ns);
	free(w);
}

int workshop_stage_fd(const struct workshop *w)
{
	return w->stage_ns;
}

/* ---- one layer --------------------------------------------------------------------------------- */

#define OPT_MAX	   256	 /* fsconfig(2): longest string */
#define INODES_MAX 65536 /* of a layer */

/* Names as the kernel's overlayfs documentation has them; the paths are the workshop's. */
struct overlay_opts {
	char lower[IMAGE_LAYERS_MAX * (sizeof("/" SHOP_LAYERS "/:") + IMAGE_LAYER_NAME)];
	char upper[64], work[64];
	const char *list[8][2];
	size_t n;
};

static void add(struct overlay_opts *o, const char *key, const char *value)
{
	o->list[o->n][0] = key;
	o->list[o->n++][1] = value;
}

static void overlay_opts(struct overlay_opts *o, const struct image *image, const char *name,
			 bool probe)
{
	size_t len = snprintf(o->lower, sizeof(o->lower), "/" SHOP_BASE);

	for (size_t i = 0; image && i < image->n_layers && len < sizeof(o->lower); i++)
		len += snprintf(o->lower + len, sizeof(o->lower) - len, ":/" SHOP_LAYERS "/%s",
				image->layers[i]);
	snprintf(o->upper, sizeof(o->upper), "/" SHOP_RUNS "/%s/u", name);
	snprintf(o->work, sizeof(o->work), "/" SHOP_RUNS "/%s/w", name);
	o->n = 0;
	add(o, "lowerdir", o->lower);
	add(o, "upperdir", o->upper);
	add(o, "workdir", o->work);
	add(o, "index", probe ? "on" : "off");
	/* Lower layers are shared and never change below a mount; these only cost or bind. */
	add(o, "metacopy", "off");
	add(o, "redirect_dir", "off");
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
		len += snprintf(text + len, sizeof(text) - len, "%s%s=%s", i ? "," : "",
				o->list[i][0], o->list[i][1]);
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

/* In the workshop: the tmpfs with the folders for upper and work. */
static int attach_tmpfs(const char *name, uint64_t size)
{
	char bytes[24], inodes[12], path[40];
	const char *opts[][2] = {
		{"size", bytes}, {"mode", "0755"}, {"nr_inodes", inodes}, {NULL, NULL}};
	cleanup_fd int fd = -1;

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
	snprintf(inodes, sizeof(inodes), "%d", INODES_MAX);
	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", name);
	fd = mount_new("tmpfs", (const char *const(*)[2])opts,
		       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (fd < 0)
		return fd;
	if (mkdirat(fd, "u", 0755) < 0 || mkdirat(fd, "w", 0700) < 0)
		return -errno;
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

int cow_reserve(struct workshop *w, const char *name, uint64_t size, struct cow *cow,
		struct error *err)
{
	int r;

	*cow = (struct cow){.overlay_fd = -1, .size = size};
	snprintf(cow->name, sizeof(cow->name), "%s", name);
	r = enter(w->shop_ns);
	if (r == 0)
		r = leave(w, attach_tmpfs(name, size));
	if (r < 0)
		return error_sys(err, -r, "cannot make the layer's tmpfs");
	cow->attached = true;
	return 0;
}

static int mount_in_shop(const struct image *image, struct cow *cow, struct error *err)
{
	struct overlay_opts o;
	struct stat st;
	int r;

	overlay_opts(&o, image, cow->name, false);
	r = mount_overlay(&o);
	if (r < 0)
		return error_sys(err, -r, "cannot mount the overlay of %zu layers",
				 image->n_layers);
	cow->overlay_fd = r;
	if (fstat(cow->overlay_fd, &st) < 0)
		return error_sys(err, errno, "cannot stat the overlay");
	cow->wanted.overlay_dev = kernel_dev(st.st_dev);
	if (stat(o.upper, &st) < 0)
		return error_sys(err, errno, "cannot stat the layer's tmpfs");
	cow->wanted.tmpfs_dev = kernel_dev(st.st_dev);
	return 0;
}

int cow_mount(struct workshop *w, const struct image *image, struct cow *cow, struct error *err)
{
	int r = enter(w->shop_ns);

	if (r < 0)
		return error_sys(err, -r, "cannot enter the workshop");
	return leave(w, mount_in_shop(image, cow, err));
}

/*
 * The probe makes folders of its own in the tmpfs, and a tool may have left no room for them. The lock is looked at
 * before that, so more room changes nothing of what it says.
 */
static int probe_in_shop(const struct cow *cow)
{
	struct overlay_opts o;
	char path[40], more[64];
	int r;

	overlay_opts(&o, NULL, cow->name, true);
	r = mount_try("overlay", o.list);
	if (r != -ENOSPC)
		return r;
	snprintf(path, sizeof(path), "/" SHOP_RUNS "/%s", cow->name);
	snprintf(more, sizeof(more), "nr_inodes=%d,size=%llu", INODES_MAX + 1024,
		 (unsigned long long)cow->size + (1 << 20));
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, more) < 0)
		return -errno;
	return mount_try("overlay", o.list);
}

int cow_busy(struct workshop *w, const struct cow *cow, struct error *err)
{
	int r = enter(w->shop_ns);

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
	if (statvfs(path, &fs) == 0)
		cow->bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	if (umount2(path, UMOUNT_NOFOLLOW) < 0)
		return -errno;
	cow->attached = false;
	return rmdir(path) < 0 ? -errno : 0;
}

int cow_drop(struct workshop *w, struct cow *cow, struct error *err)
{
	int r;

	cow->overlay_fd = fd_close(cow->overlay_fd);
	if (!cow->attached)
		return 0;
	r = enter(w->shop_ns);
	if (r == 0)
		r = leave(w, drop_in_shop(cow));
	return r < 0 ? error_sys(err, -r, "cannot drop the layer") : 0;
}
