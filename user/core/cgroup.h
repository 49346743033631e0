/* SPDX-License-Identifier: MIT */
/*
 * A cgroup for each capsule: limits, and cgroup.kill. On the v2 tree wherever there is one (a hybrid machine's has
 * few or no controllers); v1 hierarchies are used for what is asked for and v2 does not have, since moving a
 * task there costs milliseconds (cgroup_threadgroup_rwsem).
 */
#ifndef RECAP_CGROUP_H
#define RECAP_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

struct cgroup_root;

struct cgroup_limits {
	uint64_t memory;     /* bytes; 0: none */
	uint32_t cpus_milli; /* thousandths of a CPU; 0: none */
	uint32_t pids;	     /* tasks; 0: CGROUP_PIDS_DEFAULT */
};

static inline bool cgroup_limits_any(const struct cgroup_limits *l)
{
	return l->memory || l->cpus_milli || l->pids;
}

#define CGROUP_PIDS_DEFAULT 4096
#define CGROUP_V1_MAX	    3

/* One capsule's. Empty when zeroed by cgroup_none(). */
struct cgroup {
	char name[16];
	int v2;		       /* its folder, for CLONE_INTO_CGROUP; -1: there is no v2 tree */
	int v1[CGROUP_V1_MAX]; /* cgroup.procs of the v1 groups that the child enters; -1: unused */
	bool v1_made[CGROUP_V1_MAX];
};

/*
 * Find the hierarchies and make the parent `name` in them as needed; a v2-less machine is fine. -EBUSY: another recapd uses
 * that parent in the v2 tree.
 */
int cgroup_root_open(const char *name, struct cgroup_root **ret, struct error *err) must_check;

/* Remove the parent, if no capsule is left in it, and close. */
void cgroup_root_close(struct cgroup_root *root);

/* Remove the empty groups of capsules that an earlier recapd left behind, but for those that `keep` says are adopted. */
void cgroup_sweep(struct cgroup_root *root, bool (*keep)(const char *name, void *arg), void *arg);

/* Path of the parent in the v2 tree, or "none". */
const char *cgroup_root_path(const struct cgroup_root *root);

/* The top folder of the v2 tree, or -1. */
int cgroup_root_top_fd(const struct cgroup_root *root);

/* The most tasks that a capsule with these limits may have. */
uint32_t cgroup_pids(const struct cgroup_limits *limits);

/* The same, if no group of a capsule's holds it to that; 0: one does. (To enter one of v1 takes milliseconds: only where it is asked for.) */
uint32_t cgroup_pids_unheld(const struct cgroup_root *root, const struct cgroup_limits *limits);

void cgroup_none(struct cgroup *cg);

/* Make a capsule's group, with no limits but CGROUP_PIDS_DEFAULT. */
int cgroup_create(struct cgroup_root *root, const char *name, struct cgroup *ret,
		  struct error *err) must_check;

/* That of a capsule of another recapd, as far as there is one. */
void cgroup_adopt(struct cgroup_root *root, const char *name, struct cgroup *ret);

/* Set limits. One that this machine cannot enforce is an error. */
int cgroup_limit(struct cgroup_root *root, struct cgroup *cg, const struct cgroup_limits *limits,
		 struct error *err) must_check;

/* Kill all that is in it at once (cgroup.kill, 5.14). False: there is no such knob. */
bool cgroup_kill(const struct cgroup *cg);

/* Remove the group; -EBUSY while a task is in it. Idempotent. */
int cgroup_remove(struct cgroup_root *root, struct cgroup *cg) must_check;

#endif
