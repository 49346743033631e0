/* SPDX-License-Identifier: MIT */
#ifndef RECAP_BERTH_H
#define RECAP_BERTH_H

#include "core/cow.h"

struct capsule_set;

/*
 * What every capsule needs and no request decides: an ID, and a layer's tmpfs of the usual size. Made ahead, after the last capsule's
 * end, so that an attach finds it ready. Nothing of it can be seen outside the workshop. Empty when `id` is 0.
 */
struct berth {
	uint64_t id;
	char name[13];
	struct cow cow;
};

/* Have one ready for the next attach. What fails here fails again there, and is told there. */
void berth_prepare(struct capsule_set *set);

/* Take the one that is ready, or make it now. What it holds is the caller's. */
int berth_take(struct capsule_set *set, struct berth *ret, struct error *err) must_check;

/* Remove the one that is ready. */
void berth_drop(struct capsule_set *set);

#endif
