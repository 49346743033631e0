/* SPDX-License-Identifier: MIT */
/*
 * The keeper: a process that outlives its recapd and keeps what the next one needs to go on with the capsules. It sits in the
 * workshop (core/cow.h), whose layers would go with recapd otherwise, and has the slots open, where each capsule has its note. It
 * holds no capability, executes nothing and takes no request but two signals: SIGUSR1 from its new guardian, and SIGTERM. Without a
 * guardian it ends after KEEPER_PATIENCE_S; the kernel then drops each layer with its last user.
 */
#ifndef RECAP_KEEPER_H
#define RECAP_KEEPER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "core/cow.h"
#include "core/inject.h"
#include "core/ledger.h"
#include "recap/abi.h"

#define KEEPER_PATIENCE_S 600

#define SLOTS	   4096	      /* as many capsules as the map holds (bpf/maps.bpf.h) */
#define SLOT_BYTES (64 << 10) /* its pages are there once they are written to */
#define SLOT_PAGE  4096	      /* the report's own, the only one that a capsule's processes keep */
#define TOKEN_MAX  32

/*
 * What is counted of a capsule, once. The note has the number that the counter comes to by it, written before it does: who
 * adopts the capsule can tell whether it has been counted, and need not guess.
 */
enum capsule_count {
	COUNT_STARTED,
	COUNT_REFUSED,
	COUNT_FAILED,
	COUNT_PROVEN,
	COUNT_QUARANTINED,
	COUNT_RESOLVED,
	COUNT_COUNT
};

/*
 * What another recapd needs to know of a capsule, beside the kernel's map. Only recapd writes and reads it. Its layout is covered by
 * RECAP_ABI.
 */
struct note {
	uint64_t id; /* 0: there is none. Written last, taken away first */
	uint64_t target;
	uint64_t arrived_ns, resolved_ns, created_ns, drain_ns, escape_ns, escaped_ns, done_ns;
	uint64_t timeout_ns, grace_ns;
	bool recorded; /* its end has been told: CAPSULE_DONE */
	struct ledger_place
		told_at[2]; /* where its results were about to be written: recapd/audit.h */
	uint64_t counted[COUNT_COUNT]; /* 0: not yet */
	uint64_t
		rejoin_ns; /* until then its client may come back; 0: it has, or recapd never died */
	uint64_t lost_events0;
	uint64_t cow_size, cow_bytes;
	struct recap_wanted wanted;
	struct sandbox sandbox;
	uint32_t seen_from[TARGET_PID_NS_MAX], n_seen_from; /* core/target.h */
	uint32_t killed, detached, refuse_residue, target_root, cow_disk;
	char reason[40];
	char token[TOKEN_MAX + 8];
	uint32_t facts_len;
	char facts[]; /* JSON: what is said of the capsule and does not change */
};

/* One capsule's part of the memory that recapd, its keeper, and (the report only) the capsule's processes share. */
struct slot {
	union {
		struct inject_report report;
		char page[SLOT_PAGE];
	};
	union {
		struct note note;
		char rest[SLOT_BYTES - SLOT_PAGE];
	};
};

#define NOTE_FACTS_MAX (SLOT_BYTES - SLOT_PAGE - sizeof(struct note))

_Static_assert(sizeof(struct slot) == SLOT_BYTES, "slots lie one behind the other");
_Static_assert(sizeof(struct inject_report) <= SLOT_PAGE, "a report fits its page");

/* Memory for SLOTS slots: a memfd in *ret_fd, mapped. MAP_FAILED with errno set. */
struct slot *slots_new(int *ret_fd);

struct keeper;

/*
 * Fork this recapd's own: it keeps `workshop` and `slots` and signs in to the folder `keepers` of `state_dir`. It leaves recapd's cgroup
 * for the one with the folder `top` (-1: it does not): a service manager kills all that is in a service's.
 */
int keeper_start(int state_dir, const struct workshop *workshop, int slots, int top,
		 struct keeper **ret, struct error *err) must_check;

/* End one's own keeper. */
void keeper_stop(struct keeper *k);

/*
 * Call `fn` with each keeper other than `own`: of a recapd that died. It may take it with keeper_ref(). What nobody takes is ended.
 * Where one cannot be reached (no memory, no descriptor), none is touched: -errno.
 */
int keeper_each_old(const struct keeper *own, void (*fn)(struct keeper *k, void *arg),
		    void *arg) must_check;

/* What an old one keeps: the i-th slot, if there is a note in it, and the workshop. NULL: there is none, or it cannot be opened. */
struct slot *keeper_slot(struct keeper *k, size_t i);
struct workshop *keeper_workshop(struct keeper *k);

/* With the last reference the keeper is ended, and so what it keeps. `k` may be NULL. */
struct keeper *keeper_ref(struct keeper *k);
void keeper_unref(struct keeper *k);

#endif
