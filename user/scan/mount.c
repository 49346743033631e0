// SPDX-License-Identifier: MIT
/* The image's root: its layers, merged by the kernel as a capsule gets them, but read-only. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mountapi.h"
#include "scan/scan.h"

/* Relative names, short, since the options must fit a page; overlayfs wants two folders at least. */
static int overlay_opts(const struct image *image, char *buf, size_t size)
{
	size_t len = snprintf(buf, size, "metacopy=off,redirect_dir=off,lowerdir=");

	for (size_t i = 0; i < image->n_layers && len < size; i++)
		len += snprintf(buf + len, size - len, "l/%s:", image->layers[i]);
	len += len < size ? snprintf(buf + len, size - len, "empty") : 0;
	return len < size ? 0 : -E2BIG;
}

/* A small tmpfs over the state folder, in our namespace: it hides the store, and has the mount points. */
static int mount_all(const char *state_dir, const struct image *image, int layers)
{
	static const char *const opts[][2] = {{"size", "64k"}, {"mode", "0755"}, {NULL, NULL}};
	cleanup_fd int tmpfs = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	char text[4096];
	int r = overlay_opts(image, text, sizeof(text));

	if (r < 0 || tmpfs < 0)
		return r < 0 ? r : tmpfs;
	if (move_mount(tmpfs, "", AT_FDCWD, state_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    mkdirat(tmpfs, "l", 0700) < 0 || mkdirat(tmpfs, "empty", 0755) < 0 ||
	    mkdirat(tmpfs, "image", 0755) < 0 || mkdirat(tmpfs, "jail", 0755) < 0 ||
	    fchdir(tmpfs) < 0)
		return -errno;
	r = mount_put(layers, tmpfs, "l");
	if (r == 0 && mount("overlay", "image", "overlay",
			    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, text) < 0)
		r = -errno;
	return chdir("/") < 0 ? -errno : r;
}

int scan_mount(struct scan *s, const struct image *image, int layers, struct error *err)
{
	/* Before the namespace: a clone of a mount must be of one's own. */
	cleanup_fd int clone =
		open_tree(layers, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int r;

	if (clone < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_sys(err, errno, "cannot make a mount namespace for the scan");
	r = mount_all(s->state_dir, image, clone);
	if (r < 0)
		return error_sys(err, -r, "cannot mount the image's %zu layers for the scan",
				 image->n_layers);
	snprintf(s->root, sizeof(s->root), "%s/image", s->state_dir);
	snprintf(s->anchor, sizeof(s->anchor), "%s/jail", s->state_dir);
	return 0;
}
