/* SPDX-License-Identifier: MIT */
/*
 * A container held fast: opened, then checked against its entry in the inventory, so that a reused PID or a
 * process that changed its namespaces is never joined.
 */
#ifndef RECAP_TARGET_H
#define RECAP_TARGET_H

#include <stdbool.h>

#include "common/error.h"
#include "core/track.h"

/* Namespaces that a capsule can join, as bits; its mount namespace is always its own. */
enum target_ns {
	TARGET_NS_PID,
	TARGET_NS_NET,
	TARGET_NS_IPC,
	TARGET_NS_UTS,
	TARGET_NS_CGROUP,
	TARGET_NS_USER,
	TARGET_NS_MNT, /* opened for /target; not joined */
	TARGET_NS_COUNT,
};

#define TARGET_PID_NS_MAX 33 /* they nest 32 deep below the first */

struct target {
	uint64_t id; /* key in the inventory */
	struct recap_container c;
	unsigned int
		joined; /* mask of 1 << enum target_ns: for the others a capsule gets new ones of its own */
	int pidfd;
	int procfd;		 /* /proc/PID */
	int root;		 /* its root folder, O_PATH */
	int ns[TARGET_NS_COUNT]; /* -1 where not asked for, or where it is recapd's own already */
	/* Inodes of the PID namespaces whose processes see what is injected: the joined one and those above, but for recapd's own. */
	uint32_t seen_from[TARGET_PID_NS_MAX];
	size_t n_seen_from;
};

/* Parse names ("pid", "net", …) into a mask of 1 << enum target_ns. NULL: all. InvalidArgument. */
int target_ns_parse(char *const *names, unsigned int *ret_mask, struct error *err) must_check;

/*
 * Open everything of the container with key `id` that a run with namespaces `mask` needs, then verify that it is
 * the process of the entry still. Fails with TargetGone; *ret is then empty.
 */
int target_open(struct track *track, uint64_t id, unsigned int mask, struct target *ret,
		struct error *err) must_check;

void target_close(struct target *t);

/*
 * Do processes with these capabilities, of recapd's user namespace, hold what would open to them all that is injected within their
 * sight, but not the host already?
 */
bool target_caps_take_over(uint64_t caps);

/* May its processes mount file systems, and that in a user namespace where it takes no power over the host? */
bool target_mounts_for_itself(const struct target *t) must_check;

/* Would a process that is in the PID namespace which `other` was injected into see what is injected into `t`? Also after target_close(). */
bool target_is_seen_by(const struct target *t, const struct target *other);

/*
 * Open /proc/PID of an entry and verify PID and start time: 0 and the descriptor in *ret, or -ESRCH.
 */
int target_open_proc(const struct recap_container *c, int *ret) must_check;

#endif
