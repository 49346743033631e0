/* SPDX-License-Identifier: MIT */
/*
 * The life of capsules: created → running → draining → escaped → dropped, or quarantined in place of the last two.
 *
 * Facts move a capsule on, never the event that brought them: whatever happens (a timer, an exit, a hint, a
 * request), capsule_step() looks at the kernel's counts and does what is next. So an event too many does no harm, and
 * one too few is made good by the next.
 */
#ifndef RECAP_CAPSULE_H
#define RECAP_CAPSULE_H

#include "common/error.h"
#include "common/json.h"
#include "core/cgroup.h"
#include "core/cow.h"
#include "core/image.h"
#include "core/inject.h"
#include "core/inventory.h"
#include "core/loop.h"
#include "core/sandbox.h"
#include "core/track.h"

#define CAPSULE_COW_DEFAULT (64ull << 20) /* bytes that a tool may write */

struct capsule;
struct capsule_set;

/* What a run is asked to be. Everything is borrowed until capsule_start() returns. */
struct capsule_request {
	struct target_name target;
	const struct image *image;
	char *const *args; /* behind the image's entrypoint; none: the image's own command */
	const char
		*entrypoint; /* instead of the image's, whose command is then left out; or NULL */
	char *const *env;    /* KEY=VALUE, over the image's */
	const char *user;    /* NULL: the image's */
	const char *workdir; /* NULL: the image's */
	unsigned int namespaces; /* mask of 1 << enum target_ns */
	enum target_root target_root;
	struct sandbox sandbox;
	struct cgroup_limits limits;
	uint64_t cow_size;   /* bytes */
	uint64_t timeout_ns; /* 0: none */
	uint64_t arrived_ns; /* CLOCK_BOOTTIME when the request came: where `resolve` starts */
	int stdio[3];	     /* of the tool; -1: /dev/null; not used with `detach` */
	bool terminal, detach;
};

enum capsule_event {
	CAPSULE_STARTED, /* a detached tool runs */
	CAPSULE_DONE, /* dropped, or failed to start: the last event, the capsule goes after it */
	CAPSULE_QUARANTINED, /* may take long to be resolved; CAPSULE_DONE follows then */
};

/* Told to whoever keeps the set. The capsule is borrowed. */
typedef void (*capsule_event_fn)(struct capsule *c, enum capsule_event event, void *arg);

int capsule_set_new(struct loop *loop, struct track *track, struct workshop *workshop,
		    struct cgroup_root *cgroups, struct inventory *inv, int log_dir,
		    capsule_event_fn fn, void *arg, struct capsule_set **ret,
		    struct error *err) must_check;

/* No capsule may run; those in quarantine are left to the kernel, which keeps each layer as long as its holder. */
void capsule_set_free(struct capsule_set *set);

/* Start one. On failure nothing is left of it. *ret is borrowed: it lives until CAPSULE_DONE. */
int capsule_start(struct capsule_set *set, const struct capsule_request *req, struct capsule **ret,
		  struct error *err) must_check;

/*
 * End a capsule: SIGTERM to its tree, SIGKILL after `grace_ns`. `reason` (a literal: "stopped", "client-gone", "shutdown") goes into the
 * record, unless there is one already. Idempotent.
 */
void capsule_stop(struct capsule *c, const char *reason, uint64_t grace_ns);
void capsule_stop_all(struct capsule_set *set, const char *reason, uint64_t grace_ns);

/* A signal for the tool: 0 or -ESRCH when it does not run (yet, or any more). */
int capsule_signal(struct capsule *c, int sig) must_check;

/* A hint from the ring buffer, about a capsule or about a container that may be a target. */
void capsule_set_hint(struct capsule_set *set, const struct recap_event *e);

/* By ID or unique prefix; fails with CapsuleNotFound. */
int capsule_find(struct capsule_set *set, const char *text, struct capsule **ret,
		 struct error *err) must_check;

/* Call `fn` for each. */
void capsule_each(struct capsule_set *set, void (*fn)(struct capsule *c, void *arg), void *arg);

const char *capsule_name(const struct capsule *c);
const char *capsule_image_digest(const struct capsule *c);
bool capsule_is_quarantined(const struct capsule *c);
bool capsule_is_detached(const struct capsule *c);

/* Why the tool never ran; NULL when it did (or still may). */
const struct error *capsule_error(const struct capsule *c);

/* The record, as a new object. */
struct json_object *capsule_json(struct capsule *c);

size_t capsule_count(const struct capsule_set *set);
size_t capsule_count_running(const struct capsule_set *set); /* without those in quarantine */

#endif
