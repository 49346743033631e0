/* SPDX-License-Identifier: MIT */
/* The service: owns every part, listens, and ends in order. */
#ifndef RECAP_MANAGER_H
#define RECAP_MANAGER_H

#include <signal.h>

#include "core/capsule.h"
#include "core/gate.h"
#include "core/history.h"
#include "core/image.h"
#include "core/inventory.h"
#include "core/loop.h"
#include "core/policy.h"
#include "core/track.h"
#include "recapd/config.h"

struct api;
struct audit;

struct manager {
	const struct config *config;
	struct injector *injector; /* borrowed */
	struct keeper *keeper;
	struct runtime_paths runtimes;
	struct loop *loop;
	struct track *track;
	struct workshop *workshop;
	struct cgroup_root *cgroups;
	struct inventory *inventory;
	struct capsule_set *capsules;
	struct image_store *store;
	struct history *history;
	struct gate *gate;
	struct audit *audit;
	struct policy *policy;	  /* NULL: root only */
	char policy_problem[512]; /* why the file as it is now is not in force; empty: it is */
	struct api *api;
	int state_dir, log_dir, socket_lock, listener, signals;
	struct loop_source listener_source, signal_source, event_source;
	uint64_t started_ns;
	sigset_t signal_set;
	bool inventory_changed; /* since the last turn of the loop */
	bool settled;		/* nothing of an earlier recapd's is left to take care of */
	size_t lost_capsules;	/* of an earlier recapd's, that were ended without a record */
	bool handed_over;	/* ends, and leaves all to the next recapd */
	bool stopping;
	bool late;	   /* the end has taken too long to wait for clients that do not read */
	char *problems[8]; /* what `status` complains of from the start on */
	size_t n_problems;
};

/* Before anything else: the capabilities that recapd cannot do without. One line that names the first that is missing. */
int manager_check_privileges(struct error *err) must_check;

/*
 * Bring the service up. Fails with one line that says what is missing; nothing is left then. The injector is the caller's, and
 * needed until manager_close().
 */
int manager_open(const struct config *config, struct injector *injector, struct manager **ret,
		 struct error *err) must_check;

/* Serve until SIGTERM or SIGINT, and then until the last capsule has been seen out; or until SIGUSR2, on which all goes on without us. */
int manager_run(struct manager *m, struct error *err) must_check;

/* Idempotent on what was opened: may follow a failed manager_open(). Does nothing after SIGUSR2. */
void manager_close(struct manager *m);

/* Take in all hints that wait, so that what follows sees the kernel's present state. */
void manager_catch_up(struct manager *m);

/* inventory_find() on the kernel's present state. */
int manager_find(struct manager *m, const char *text, struct target_name *ret,
		 struct error *err) must_check;

#endif
