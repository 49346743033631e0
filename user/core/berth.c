// SPDX-License-Identifier: MIT
#include "core/berth.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

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

/* What an attach may want that is not common. */
struct berth_kind {
	uint64_t size; /* of the layer */
	bool disk;     /* and where it is */
	bool usual;    /* no capability beyond the default */
	bool limited;  /* limits of its own: the starter is not to be under them */
	bool mapped;   /* a user namespace of its own: so have the image's files to be mounted */
};

/* What cannot be removed now stays in *b, to be tried again. */
static void let_go(struct capsule_set *set, struct berth *b)
{
	bool dropped, removed;

	if (!b->id)
		return;
	starter_end(&b->starter);
	injector_slot_free(set->injector, b->slot);
	b->slot = NULL;
	/* Each, whatever came of the one before. */
	dropped = cow_drop(set->workshop, &b->cow, NULL) == 0;
	removed = cgroup_remove(set->cgroups, &b->cgroup) == 0;
	if (!dropped || !removed || b->starter.pid)
		log_warn("what berth %s holds cannot be removed yet", b->name);
	else
		*b = (struct berth){};
}

/* To be let go of when nobody waits. */
static void set_aside(struct capsule_set *set, const struct berth *b)
{
	let_go(set, &set->misfit);
	if (set->misfit.id)
		log_error("what berth %s holds stays", set->misfit.name);
	set->misfit = *b;
}

void berth_return(struct capsule_set *set, const struct berth *rest)
{
	struct berth b = *rest;

	let_go(set, &b);
	if (b.id)
		set_aside(set, &b);
}

/* The image's mount points and what is read of every image: looked up now, they are at hand then. */
static void warm_up(int overlay)
{
	static const char *const paths[] = {"dev",    "proc",	    "sys",
					    "target", "etc/passwd", "etc/group"};
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		(void)!fstatat(overlay, paths[i], &st, AT_SYMLINK_NOFOLLOW);
}

/* The starter takes the overlay along, and forks with the capsule's tag. */
static int add_starter(struct capsule_set *set, const struct berth_kind *kind, struct berth *b,
		       struct error *err)
{
	int r;

	b->slot = injector_slot_new(set->injector);
	if (!b->slot)
		return error_set(err, ENFILE, "there are too many capsules at once");
	r = starter_new(set->injector, kind->usual, kind->limited ? -1 : b->cgroup.v2,
			workshop_stage_fd(set->workshop), b->cow.overlay_fd, b->slot, &b->starter,
			err);
	if (r < 0)
		return r;
	b->cow.overlay_fd = fd_close(b->cow.overlay_fd);
	r = track_tag(set->track, b->starter.pidfd, b->id);
	return r < 0 ? error_sys(err, -r, "cannot tag the capsule's first process") : 0;
}

/* `image`: mount it already; or NULL. */
static int make(struct capsule_set *set, const struct image *image, const struct berth_kind *kind,
		struct berth *ret, struct error *err)
{
	struct berth b = {.cow = COW_NONE};
	int r;

	cgroup_none(&b.cgroup);
	r = new_id(set, &b.id);
	if (r < 0)
		return error_sys(err, -r, "cannot make an ID");
	snprintf(b.name, sizeof(b.name), "%012llx", (unsigned long long)b.id);
	r = cgroup_create(set->cgroups, b.name, &b.cgroup, err);
	if (r == 0)
		r = cow_reserve(set->workshop, b.name, kind->size, kind->disk, &b.cow, err);
	if (r == 0 && image) {
		r = cow_mount(set->workshop, image, -1, &b.cow, err);
		if (r == 0)
			warm_up(b.cow.overlay_fd);
	}
	if (r == 0)
		r = add_starter(set, kind, &b, err);
	if (r < 0)
		berth_return(set, &b);
	else
		*ret = b;
	return r;
}

void berth_prepare(struct capsule_set *set)
{
	const struct berth_kind common = {.size = CAPSULE_COW_DEFAULT, .usual = true};
	const struct image *guess = set->habit.again ? &set->habit.layers : NULL;
	struct error err;

	let_go(set, &set->misfit);
	if (!set->berth.id && make(set, guess, &common, &set->berth, &err) < 0)
		log_debug("no berth was made ahead: %s", err.msg);
}

/* Note what is attached. No memory for that: then nothing is guessed. */
static void learn(struct berth_habit *h, const struct image *image, bool mapped)
{
	size_t size = image->n_layers * sizeof(*image->layers);

	h->again = !strcmp(h->digest, image->digest) && !mapped;
	if (h->again || mapped)
		return;
	h->digest[0] = '\0';
	free(h->layers.layers);
	h->layers = (struct image){.n_layers = image->n_layers, .layers = malloc(size)};
	if (!h->layers.layers)
		return;
	memcpy(h->layers.layers, image->layers, size);
	snprintf(h->digest, sizeof(h->digest), "%s", image->digest);
}

/* A starter that somebody killed meanwhile, or that could not sit down, fits nobody. */
static bool fits(const struct capsule_set *set, struct berth *b, const struct berth_kind *kind)
{
	starter_reap(&b->starter);
	return b->starter.pid && !b->slot->report.error.code && b->cow.size == kind->size &&
	       !kind->disk && kind->usual && !kind->limited &&
	       (!b->starter.rooted || (set->habit.again && !kind->mapped));
}

int berth_take(struct capsule_set *set, const struct capsule_request *req, bool mapped,
	       struct berth *ret, struct error *err)
{
	const struct berth_kind kind = {.size = req->cow_size,
					.disk = req->cow_disk,
					.usual = sandbox_is_usual(&req->sandbox),
					.limited = cgroup_limits_any(&req->limits),
					.mapped = mapped};
	struct berth *b = &set->berth;

	learn(&set->habit, req->image, mapped);
	if (b->id && !fits(set, b, &kind)) {
		set_aside(set, b);
		b->id = 0;
	}
	if (!b->id)
		return make(set, NULL, &kind, ret, err);
	*ret = *b;
	b->id = 0;
	return 0;
}

void berth_drop(struct capsule_set *set)
{
	free(set->habit.layers.layers);
	set->habit = (struct berth_habit){};
	let_go(set, &set->misfit);
	let_go(set, &set->berth);
}
