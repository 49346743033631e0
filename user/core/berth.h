/* SPDX-License-Identifier: MIT */
#ifndef RECAP_BERTH_H
#define RECAP_BERTH_H

#include "core/cgroup.h"
#include "core/cow.h"
#include "core/image.h"
#include "core/injector.h"

struct capsule_set;
struct capsule_request;

/*
 * What every capsule needs and no request decides: an ID, a cgroup, a layer's tmpfs of the usual size, and a starter. Made ahead,
 * after the last capsule's end, so that an attach finds it ready. When the last two were of one image, chances are that the next one
 * is, too, and the overlay of that image is mounted as well. Empty when `id` is 0.
 */
struct berth {
	uint64_t id;
	char name[13];
	struct cow cow;
	struct cgroup cgroup;
	struct starter starter;
	struct slot *slot;
};

/* The image that was attached last, and whether the one before was the same. */
struct berth_habit {
	char digest[IMAGE_DIGEST_SIZE];
	struct image layers; /* of it all that an overlay needs */
	bool again;
};

/* Have one ready for the next attach. What fails here fails again there, and is told there. */
void berth_prepare(struct capsule_set *set);

/*
 * Take the one that is ready, if it fits, or make one now. What it holds is the caller's; its overlay, if there is one, is of the image.
 * `mapped`: it has none, since the target has a user namespace, in which the image's files are to have owners.
 */
int berth_take(struct capsule_set *set, const struct capsule_request *req, bool mapped,
	       struct berth *ret, struct error *err) must_check;

/* What an attach that failed has left of one: removed now, or, where that fails, with the next berth_prepare(). */
void berth_return(struct capsule_set *set, const struct berth *rest);

/* Remove what is ready, and let go of the image that it was for. */
void berth_drop(struct capsule_set *set);

#endif
