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
#include "core/injector.h"
#include "core/inventory.h"
#include "core/ledger.h"
#include "core/loop.h"
#include "core/sandbox.h"
#include "core/track.h"

/* Bytes that a tool may write, to a layer in memory and on disk. */
#define CAPSULE_COW_DEFAULT	 (64ull << 20)
#define CAPSULE_COW_DISK_DEFAULT (1ull << 30)

#define CAPSULE_NOFILE_SOFT 1024   /* open files of a process: what select(2) can take, */
#define CAPSULE_NOFILE_HARD 524288 /* and what tools may raise it to */

struct capsule;
struct capsule_set;

/* The most open files that a process of a capsule's can be given: recapd's own hard limit, which it never raises. */
unsigned int capsule_nofile_max(void);

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
	const char *why;     /* the caller's reason, for the record; or NULL */
	unsigned int namespaces; /* mask of 1 << enum target_ns */
	enum target_root target_root;
	struct sandbox sandbox;
	struct sock_fprog profile; /* with SANDBOX_PROFILE */
	struct cgroup_limits limits;
	unsigned int nofile; /* open files of a process; 0: as usual */
	uint64_t cow_size;   /* bytes */
	bool cow_disk;	     /* the layer is on disk */
	uint64_t timeout_ns; /* 0: none */
	uint64_t arrived_ns; /* CLOCK_BOOTTIME when the request came: where `resolve` starts */
	int stdio[3];	     /* of the tool; -1: /dev/null; not used with `detach` */
	bool terminal, detach;
	const char *token;	    /* by which its client finds it again; NULL: it will not */
	bool refuse_residue;	    /* any is an exit status of 123 */
	struct json_object *caller; /* uid, gid, pid, command of who asks: for the record */
	uint64_t number;	    /* of the request in the audit; 0: none */
	struct json_object *target_details; /* members for the record's `target`, or NULL */
};

enum capsule_event {
	CAPSULE_STARTED, /* a detached tool runs */
	CAPSULE_DONE,	 /* dropped, or failed to start */
	CAPSULE_GONE,	 /* the last event, a moment after that: the capsule itself goes after it */
	CAPSULE_QUARANTINED, /* may take long to be resolved; CAPSULE_DONE follows then */
};

/* Told to whoever keeps the set. The capsule is borrowed. */
typedef void (*capsule_event_fn)(struct capsule *c, enum capsule_event event, void *arg);

/* An empty set. capsule_set_ready(), once what an earlier recapd left behind has been seen to, makes ready for the first attach. */
int capsule_set_new(struct loop *loop, struct track *track, struct workshop *workshop,
		    struct cgroup_root *cgroups, struct inventory *inv, struct injector *injector,
		    int log_dir, capsule_event_fn fn, void *arg, struct capsule_set **ret,
		    struct error *err) must_check;

/*
 * Go on with the capsules of a recapd that died, as far as its keeper kept their notes; once, when the set is new. The others of its
 * capsules are the caller's to end: track_capsule_ids() has them all, and capsule_find() these. A client has
 * CAPSULE_REJOIN_S seconds to come back to the one that it attached. -errno where keepers cannot be reached: then nothing has happened.
 */
#define CAPSULE_REJOIN_S 15
int capsule_adopt(struct capsule_set *set, const struct keeper *own) must_check;

/* Once the trees of the others have been ended: their layers, in workshops that are kept for those that go on. */
void capsule_sweep_layers(struct capsule_set *set);

/* The one with that token which `uid` attached, and whose client is there again; NULL. */
struct capsule *capsule_rejoin(struct capsule_set *set, const char *token, uint32_t uid);

/* No capsule may run; those in quarantine are left to the kernel, which keeps each layer as long as its holder. */
void capsule_set_free(struct capsule_set *set);

void capsule_set_ready(struct capsule_set *set);

/* Let go of what is kept of images for the next attach: one of them is about to be removed. */
void capsule_set_forget_image(struct capsule_set *set);

/* All that the request will execute, entrypoint and arguments; the caller's to strv_free(). */
int capsule_command(const struct capsule_request *req, char ***ret, struct error *err) must_check;

/* Start one. On failure nothing is left of it. *ret is borrowed: it lives until CAPSULE_GONE. */
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

/* Whether its end has been told (CAPSULE_DONE), by this recapd or one before it: it is in the audit. */
bool capsule_is_recorded(const struct capsule *c);

/* For the audit: where its two lines of results were about to be written. They outlive recapd, and are the capsule's. */
struct ledger_place *capsule_told_at(struct capsule *c);

/* False of an adopted one whose recapd died before there was a process: it never will be, and is only seen out. */
bool capsule_was_begun(const struct capsule *c);
bool capsule_has_started(const struct capsule *c); /* its tool runs, or has run */
uint32_t capsule_caller(const struct capsule *c);  /* user ID */

/* Why the tool never ran; NULL when it did (or still may). */
const struct error *capsule_error(const struct capsule *c);

/* The record, as a new object. */
struct json_object *capsule_json(struct capsule *c);

size_t capsule_count(const struct capsule_set *set);
size_t capsule_count_running(const struct capsule_set *set); /* without those in quarantine */

#endif
