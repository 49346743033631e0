/* SPDX-License-Identifier: MIT */
/* A capsule's inside: for capsule_start.c, which makes it, capsule_step.c, which moves it, capsule.c, which keeps them all, and record.c, which shows it. */
#ifndef RECAP_CAPSULE_INTERNAL_H
#define RECAP_CAPSULE_INTERNAL_H

#include "core/berth.h"
#include "core/capsule.h"
#include "core/residue.h"
#include "core/target.h"

#define MS(n) ((n)*1000000ull)

#define INJECT_DEADLINE MS(10000) /* from the fork to the tool's exec */
#define LEFTOVER_GRACE	MS(1000)  /* from SIGTERM to SIGKILL for what the tool left behind */

struct capsule_set {
	struct berth berth;  /* for the next attach */
	struct berth misfit; /* one that did not fit the last */
	struct berth_habit habit;
	struct residue_windows
		windows; /* into the last target, for when the next capsule is there, too */
	uint64_t windows_target;
	struct loop *loop;
	struct track *track;
	struct workshop *workshop;
	struct cgroup_root *cgroups;
	struct inventory *inv;
	struct injector *injector;
	int log_dir;
	capsule_event_fn fn;
	void *arg;
	struct capsule *first;
	struct capsule *finished; /* but for their books; not among the others any more */
	struct loop_source timer;
	int timer_fd;
	uint64_t armed_ns; /* 0: not armed */
};

enum capsule_state {
	CAPSULE_STATE_CREATED,
	CAPSULE_STATE_RUNNING,
	CAPSULE_STATE_DRAINING,
	CAPSULE_STATE_DROPPED,
	CAPSULE_STATE_QUARANTINED,
	CAPSULE_STATE_FAILED, /* the tool never ran; all was undone */
};

struct capsule_times {
	uint64_t resolve, prepare, inject, run, drain, escape, drop, total; /* microseconds */
};

struct capsule {
	struct capsule *next;
	struct capsule_set *set;
	uint64_t id;
	char name[13]; /* the ID as people see it */
	enum capsule_state state;
	bool detached, tracked, reaped;
	bool takes_over; /* its tool may open what is injected within its sight: target_caps_take_over() */
	bool overlay_busy; /* the second witness has not said that nothing holds the layer */
	bool held;	   /* it has said that something does */

	/* what it is */
	char *image_ref, *image_digest;
	char **argv;
	struct target_name target_name;
	struct json_object *facts; /* what the record says of all this; NULL: not yet */
	uint32_t caller;	   /* user ID of who asked */
	struct sandbox sandbox;
	enum target_root target_root;
	struct cgroup_limits limits;
	unsigned int nofile;	/* the hard limit */
	uint64_t time_limit_ns; /* 0: none */

	/* what it holds */
	struct target target;
	struct cow cow;
	struct cgroup cgroup;
	struct starter starter;
	struct slot *slot;	   /* NULL: none yet */
	struct workshop *workshop; /* where its layer is */
	struct keeper *keeper;	   /* adopted: it keeps slot and workshop; else NULL */
	int pidfd;		   /* of our init in the target */
	pid_t pid;
	struct loop_source pidfd_source;

	/* what happened to it; times are CLOCK_BOOTTIME, 0: not yet */
	struct recap_capsule k; /* the kernel's counts, as last read */
	const char *reason;	/* why it was ended; NULL: by itself */
	struct error error;	/* why the tool never ran */
	uint64_t arrived_ns, resolved_ns, created_ns, drain_ns, escape_ns, escaped_ns, done_ns;
	struct capsule_times us;
	unsigned int killed;
	bool abandoned; /* init did not end by itself, as it does once it has waited for all */
	unsigned int unreaped; /* dead whom it has not waited for, when all else had gone */
	uint64_t lost_events0, lost_events; /* of the ring buffer: at the start, and since then */
	struct recap_holder_record *holders;
	size_t n_holders;
	struct residue residue;

	/* what is due */
	uint64_t wake_ns, timeout_ns, grace_ns, kill_ns, first_kill_ns, retry_ns;
	uint64_t rejoin_ns; /* adopted: until then its client may come back; 0: it need not */
	unsigned int rounds;
	unsigned int blind; /* rounds in a row that found nobody, though somebody lives */
};

/* Look at the facts and do what is next. The capsule may be gone afterwards. */
void capsule_step(struct capsule *c);

/* Step the capsule again at `at` (CLOCK_BOOTTIME, ns), or sooner. */
void capsule_wake_at(struct capsule *c, uint64_t at);

/* The layer is gone: tell, and leave the books for later. */
void capsule_finish(struct capsule *c);

/* What looks into its target's namespaces is kept for the next capsule of a target that lives on, and is not to outlive it. */
void capsule_let_go_of_windows(struct capsule *c);

/* Look for who keeps it in quarantine, for the record. */
void capsule_find_holders(struct capsule *c);

/* Loop source of the capsule's pidfd. */
void capsule_on_init_exit(uint32_t events, void *arg);

/* A capsule in the set, with nothing in it; NULL: out of memory. */
struct capsule *capsule_new(struct capsule_set *set);

/*
 * The note of a capsule, for another recapd: all of it before there is a process, and then what changes. Both are memory writes.
 */
void capsule_note(struct capsule *c, const char *token);
void capsule_note_again(struct capsule *c);

/* Count it, unless it has been. */
void capsule_count_once(struct capsule *c, enum capsule_count what);

/* Have what nobody waits for done a moment later: books, and the next berth. */
void capsule_set_tidy(struct capsule_set *set);

/* Let go of all that is recapd's own: the layer and the cgroup must have been dropped. */
void capsule_free(struct capsule *c);

/* The part of the record that is settled before there is a process, as a new object. */
struct json_object *record_facts(const struct capsule *c, const struct capsule_request *req);

/* The record of design and interface, as a new object. */
struct json_object *capsule_record(const struct capsule *c);

/* Fill in `us` from the times. */
void record_times(struct capsule *c);

#endif
