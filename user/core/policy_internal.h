/* SPDX-License-Identifier: MIT */
/* A policy's inside: for policy_parse.c, which makes it, and policy.c, which asks it. */
#ifndef RECAP_POLICY_INTERNAL_H
#define RECAP_POLICY_INTERNAL_H

#include "core/policy.h"

/* Users or groups. */
struct policy_ids {
	bool any; /* "*": all but root */
	uint32_t *v;
	size_t n;
};

/* Vectors are NULL where the rule does not say. */
struct policy_rule {
	char *name;
	bool allow;

	/* what it speaks of */
	struct policy_ids users, groups;
	uint64_t verbs; /* mask of 1 << policy_verb() */
	bool own;
	bool has_images, has_targets;
	char **references, **digests;
	int is_signed;	       /* -1: does not matter */
	unsigned int verdicts; /* mask of 1 << enum gate_state; 0: does not matter */
	char **runtimes, **target_names, **pod_namespaces;
	char **labels; /* name, pattern, name, pattern... */

	/* how much: with allow the most, with deny what is too much. `bounds` has those that the rule gives. */
	unsigned int bounds;
	unsigned int namespaces; /* as struct policy_ask, and POLICY_NS_HOST_USER */
	uint64_t caps;
	char **seccomp, **target_roots;
	struct policy_ids run_as; /* the tool's user; any: does not matter */
	bool entrypoint;
	uint64_t limits[POLICY_LIMITS]; /* 0: none */
	bool require_reason;
};

enum {
	BOUND_NAMESPACES = 1 << 0,
	BOUND_CAPS = 1 << 1,
	BOUND_SECCOMP = 1 << 2,
	BOUND_TARGET_ROOT = 1 << 3,
	BOUND_RUN_AS = 1 << 4,
	BOUND_ENTRYPOINT = 1 << 5,
};

#define POLICY_NS_HOST_USER (1u << 31)

struct policy {
	struct policy_rule rules[POLICY_RULES_MAX];
	size_t n;
};

#endif
