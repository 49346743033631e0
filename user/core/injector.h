/* SPDX-License-Identifier: MIT */
/*
 * The injector: a process of recapd's that forks *starters*, each of which forks one capsule's init (core/inject.h) and goes. The
 * injector is forked when recapd has hardly begun: it has little memory, which makes forks quick, and nothing of the clients, images
 * and targets that recapd gets to know is in what comes to lie within a target's reach. A starter is forked ahead of the attach
 * that it is for, and makes ready whatever no request decides. Both take one request at a time, and believe none without a
 * check; both end when recapd does.
 */
#ifndef RECAP_INJECTOR_H
#define RECAP_INJECTOR_H

#include "core/keeper.h"

#define INJECTOR_TEXT_MAX \
	(8 << 20) /* bytes of arguments and environment: more than execve(2) takes */

struct injector;

/* Fork it. Its memory is what the caller's is by then. */
int injector_start(struct injector **ret, struct error *err) must_check;

/* End it and wait for that. Capsules go on. */
void injector_stop(struct injector *injector);

/*
 * It had to be started anew, from a recapd that has given up system calls by then: what debuggers need cannot be given to a
 * capsule any more, until recapd is restarted.
 */
bool injector_is_limited(const struct injector *injector);

/* The memory of all slots, for the keeper. */
int injector_slots_fd(const struct injector *injector);

/* A slot for a capsule, empty; NULL when there are as many capsules as there may be. */
struct slot *injector_slot_new(struct injector *injector);
void injector_slot_free(struct injector *injector, struct slot *slot);

/* One that waits for its capsule. Empty when `pid` is 0. */
struct starter {
	pid_t pid;
	int pidfd, socket;
	bool rooted; /* it has the overlay already */
	bool usual;  /* it is for a usual sandbox */
	bool placed; /* it is in the capsule's cgroup, without limits */
};

/*
 * Fork a starter into `cgroup` (-1: none). `usual`, `stage` and `overlay` (-1: will come with the request) are as for inject_sit(). The slot
 * stays the caller's; of it the child keeps the report.
 */
int starter_new(struct injector *injector, bool usual, int cgroup, int stage, int overlay,
		struct slot *slot, struct starter *ret, struct error *err) must_check;

/*
 * Have it inject what `plan` says, which is not needed any more afterwards. It works on that by itself, until starter_answer() tells
 * what came of it: on success the child's pidfd and PID, which belong to the caller, whose child it is. Whatever comes of it, the
 * starter is on its way out.
 */
int starter_order(struct starter *starter, const struct inject_plan *plan,
		  struct error *err) must_check;
int starter_answer(struct starter *starter, int *ret_pidfd, pid_t *ret_pid,
		   struct error *err) must_check;

/* Let go of one that has ended by itself; others stay. Idempotent. */
void starter_reap(struct starter *starter);

/* End it, and wait for that. Idempotent. */
void starter_end(struct starter *starter);

#endif
