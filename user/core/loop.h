/* SPDX-License-Identifier: MIT */
/* The one epoll loop. A source is a descriptor and what to do when it is ready. */
#ifndef RECAP_LOOP_H
#define RECAP_LOOP_H

#include <stdint.h>

#include "common/error.h"

struct loop;

typedef void (*loop_fn)(uint32_t events, void *arg);

/* Embedded in its owner; must stay where it is while it is in the loop. */
struct loop_source {
	int fd; /* -1: not in a loop */
	loop_fn fn;
	void *arg;
};

int loop_new(struct loop **ret, struct error *err) must_check;
void loop_free(struct loop *loop);

/* Watch `fd` for `events` (epoll(7)). The descriptor stays the caller's. */
int loop_add(struct loop *loop, struct loop_source *s, int fd, uint32_t events, loop_fn fn,
	     void *arg) must_check;

/* Watch for other events. */
int loop_change(struct loop *loop, struct loop_source *s, uint32_t events) must_check;

/* Forget the source: its function is not called again, not even for events already fetched. Idempotent. */
void loop_remove(struct loop *loop, struct loop_source *s);

/*
 * Call `fn` once nothing has happened for `us` microseconds, after five times that at the latest, or at loop_settle(): for what nobody
 * waits for, when everybody who waits for this process has had a chance to run. One at a time: another one that waits is called now.
 */
void loop_defer(struct loop *loop, unsigned int us, void (*fn)(void *arg), void *arg);

/* Have what was deferred done now: what follows depends on it. */
void loop_settle(struct loop *loop);

/* Serve until loop_stop(). After each turn, when all events of it have been served, `after` is called. */
int loop_run(struct loop *loop, void (*after)(void *arg), void *arg) must_check;
void loop_stop(struct loop *loop);

#endif
