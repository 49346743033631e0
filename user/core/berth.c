// SPDX-License-Identifier: MIT
#include "core/berth.h"

#include <stdio.h>
#include <sys/random.h>

#include "common/log.h"
#include "core/capsule_internal.h"

static int new_id(struct capsule_set *set, uint64_t *ret)
{
	for (int i = 0; i < 16; i++) {
		uint64_t id = 0;
		bool taken = false;

		if (getrandom(&id, 6, 0) != 6)
			return -errno;
		for (struct capsule *c = set->first; c; c = c->next)
			taken |= c->id == id;
		if (id && !taken) {
			*ret = id;
			return 0;
		}
	}
	return -EEXIST;
}

static int berth_make(struct capsule_set *set, struct berth *b, struct error *err)
{
	int r = new_id(set, &b->id);

	if (r < 0)
		return error_sys(err, -r, "cannot make an ID");
	snprintf(b->name, sizeof(b->name), "%012llx", (unsigned long long)b->id);
	r = cow_reserve(set->workshop, b->name, CAPSULE_COW_DEFAULT, &b->cow, err);
	if (r < 0)
		b->id = 0;
	return r;
}

void berth_prepare(struct capsule_set *set)
{
	struct error err;

	if (!set->berth.id && berth_make(set, &set->berth, &err) < 0)
		log_debug("no berth was made ahead: %s", err.msg);
}

int berth_take(struct capsule_set *set, struct berth *ret, struct error *err)
{
	int r = set->berth.id ? 0 : berth_make(set, &set->berth, err);

	if (r == 0) {
		*ret = set->berth;
		set->berth.id = 0;
	}
	return r;
}

void berth_drop(struct capsule_set *set)
{
	if (!set->berth.id)
		return;
	if (cow_drop(set->workshop, &set->berth.cow, NULL) < 0)
		log_warn("the berth made ahead could not be removed");
	set->berth.id = 0;
}
