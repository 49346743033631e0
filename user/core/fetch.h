/* SPDX-License-Identifier: MIT */
/*
 * Fetching an image with skopeo(1), which knows every place that images are kept in. It is not safe
 * to run as root on what others made, so it is confined, and what it brings is believed no more than
 * an archive: it is laid out for image_load(), which checks all of it.
 *
 * The confinement: mount, PID, IPC and UTS namespaces of its own, where everything is read-only but
 * the work folder (and podman's storage, for containers-storage:, which cannot be read without its
 * lock files), devices are not to be had, and /proc is of its own processes and read-only; no capabilities but
 * CAP_DAC_READ_SEARCH; no_new_privs; no Unix sockets but for docker-daemon:, and no files by handle (seccomp); a limit on the size of files,
 * of all that it fetches and of the time. It has the host's network, and may read what root may read.
 *
 * For containers-storage: it has CAP_SYS_ADMIN, CAP_SYS_CHROOT and what changes files of others, too:
 * without them it cannot mount and pack the layers there. That is then no prison for a program that
 * wants to get out; but what is in that storage was unpacked by podman, as root, before.
 */
#ifndef RECAP_FETCH_H
#define RECAP_FETCH_H

#include "common/error.h"
#include "core/image.h"

struct fetch_source {
	const char *source;   /* TRANSPORT:..., or a name, which means docker://NAME */
	const char *ref;      /* what the store is to call it; NULL: as the source does */
	const char *authfile; /* credentials, as of skopeo-login(1); NULL: root's own */
	bool no_tls_verify;   /* plain HTTP, and certificates that nobody vouches for, will do */
};

/* Fetch and load. *ret is as of image_load(), and the guarantees are the same. Blocking. */
int fetch_image(struct image_store *store, const struct fetch_source *from,
		struct json_object **ret, struct error *err) must_check;

/*
 * What the source calls the image, for the store: a name, or "" when it does not tell. Refused
 * (InvalidArgument): a transport that skopeo does not have, or no image reference.
 */
int fetch_source_name(const char *source, char *ret, size_t size, struct error *err) must_check;

#endif
