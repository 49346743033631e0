/* SPDX-License-Identifier: MIT */
/* The service: owns every part, listens, and ends in order. */
#ifndef RECAP_MANAGER_H
#define RECAP_MANAGER_H

#include <signal.h>

#include "core/capsule.h"
#include "core/history.h"
#include "core/image.h"
#include "core/inventory.h"
#include "core/loop.h"
#include "core/track.h"
#include "recapd/config.h"

struct api;

struct manager {
	const struct config *config;
	struct runtime_paths runtimes;
	struct loop *loop;
	struct track *track;
	struct workshop *workshop;
	struct cgroup_root *cgroups;
	struct inventory *inventory;
	struct capsule_set *capsules;
	struct image_store *store;
	struct history *history;
	struct api *api;
	int state_dir, log_dir, socket_lock, listener, signals;
	struct loop_source listener_source, signal_source, event_source;
	uint64_t started_ns;
	sigset_t signal_set;
	bool inventory_changed; /* since the last turn of the loop */
	bool settled;		/* nothing of an earlier recapd's is left to take care of */
	bool stopping;
	bool late;	   /* the end has taken too long to wait for clients that do not read */
	char *problems[8]; /* what `status` complains of from the start on */
	size_t n_problems;
};

/* Bring the service up. Fails with one line that says what is missing; nothing is left then. */
int manager_open(const struct config *config, struct manager **ret, struct error *err) must_check;

/* Serve until SIGTERM or SIGINT, and then until the last capsule has been seen out. */
int manager_run(struct manager *m, struct error *err) must_check;

/* Idempotent on what was opened: may follow a failed manager_open(). */
void manager_close(struct manager *m);

/* Take in all hints that wait, so that what follows sees the kernel's present state. */
void manager_catch_up(struct manager *m);

/* inventory_find() on the kernel's present state. */
int manager_find(struct manager *m, const char *text, struct target_name *ret,
		 struct error *err) must_check;

#endif
