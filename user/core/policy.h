/* SPDX-License-Identifier: MIT */
/*
 * Who may ask for what: the rules of policy.json. Pure: it compares what it is told of a request with the rules, and looks nothing
 * up. docs/policy.md says what a rule means.
 */
#ifndef RECAP_POLICY_H
#define RECAP_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

#define POLICY_FILE_MAX	  (256 << 10) /* bytes */
#define POLICY_RULES_MAX  256
#define POLICY_LIST_MAX	  256 /* items of a list in a rule */
#define POLICY_STRING_MAX 512
#define POLICY_NAME_MAX	  64 /* of a rule */
#define POLICY_WHY_SIZE	  256

struct policy;

/* Finds the number of a user or group that is named: 0, or -ENOENT. */
struct policy_names {
	int (*user)(const char *name, uint32_t *ret);
	int (*group)(const char *name, uint32_t *ret);
};

/*
 * Parse the text of a policy. Strict: what it does not know, or would take in two ways, is an error that names the rule and the
 * member, or the line. `what` is the file's name in errors.
 */
int policy_parse(const char *text, size_t len, const char *what, const struct policy_names *names,
		 struct policy **ret, struct error *err) must_check;

/*
 * Read and parse the file, which root must own and nobody else may write to (-EPERM). -ENOENT: there is none.
 */
int policy_load(const char *path, const struct policy_names *names, struct policy **ret,
		struct error *err) must_check;

void policy_free(struct policy *p);
static inline void policy_freep(struct policy **p)
{
	policy_free(*p);
}
#define cleanup_policy cleanup(policy_freep)

size_t policy_count(const struct policy *p);

/* ---- a request ------------------------------------------------------------------------------- */

enum policy_limit {
	POLICY_MEMORY,	   /* bytes */
	POLICY_CPUS_MILLI, /* thousandths of a CPU */
	POLICY_PIDS,
	POLICY_COW_SIZE, /* bytes */
	POLICY_TIMEOUT_S,
	POLICY_LIMITS,
};

const char *policy_limit_name(enum policy_limit l);

/* Who asks. Groups are borrowed. */
struct policy_who {
	uint32_t uid, gid;
	const uint32_t *groups;
	size_t n_groups;
};

/* Of what image; members that are not known are NULL or negative: they fit no rule that allows, and each rule that denies. */
struct policy_image {
	const char *ref;    /* as the store calls it */
	char *const *names; /* all of its names, or NULL */
	const char *digest;
	int is_signed; /* by a key that the gate trusts: 0 or 1 */
	int verdict;   /* enum gate_state */
};

/* In which container. */
struct policy_target {
	const char *runtime, *name;
	const char *pod_namespace;  /* NULL: it is in no pod */
	struct json_object *labels; /* NULL: it has none, or `details` is false */
	bool vouched;		    /* a container, with a name that a runtime gave it */
	bool details;		    /* labels and pod are known */
};

/* What an attach asks for, once the image's labels were applied. */
struct policy_ask {
	unsigned int namespaces; /* of the target that are joined: mask of 1 << enum target_ns */
	bool host_user; /* stays in the host's user namespace although the target has one of its own */
	uint64_t caps;			/* that it may hold */
	uint64_t added;			/* that were asked for by name */
	const char *seccomp;		/* name of the profile */
	const char *target_root;	/* "none", "ro" or "rw" */
	const char *user;		/* as given, or the image's */
	bool entrypoint;		/* another than the image's */
	bool disk;			/* the layer is to be there: another usual cow_size */
	uint64_t limits[POLICY_LIMITS]; /* 0: none was asked for */
	const char *reason;		/* may be NULL */
};

struct policy_request {
	struct policy_who who;
	const char *verb;
	const uint32_t *owner;		    /* of the capsule; NULL: it is about none */
	const struct policy_image *image;   /* NULL: it is about none */
	const struct policy_target *target; /* NULL: it is about none */
	const struct policy_ask *ask;	    /* of an attach only */
};

/* ---- decisions ------------------------------------------------------------------------------- */

struct policy_decision {
	bool allowed;
	const char *rule;	   /* that decided, borrowed from the policy; NULL: none did */
	char why[POLICY_WHY_SIZE]; /* why it is refused */
	/* Of an attach that is allowed: what is to hold where it asked for no limit. 0: nothing. */
	uint64_t limits[POLICY_LIMITS];
};

/* Told of each rule, in order, up to the one that decides, for which `why` is NULL. */
typedef void (*policy_trace_fn)(const char *rule, bool allow, const char *why, void *arg);

/* The first rule that matches decides; where none does, root is allowed and anybody else refused. `trace` may be NULL. */
void policy_decide(const struct policy *p, const struct policy_request *q,
		   struct policy_decision *ret, policy_trace_fn trace, void *arg);

/* May some request with this verb be allowed to them? Always for root: what denies may be in the details. */
bool policy_may(const struct policy *p, const struct policy_who *who, const char *verb);

/* Is there any rule that allows something to them? */
bool policy_knows(const struct policy *p, const struct policy_who *who);

/* Is anything allowed to anybody but root? */
bool policy_has_others(const struct policy *p);

/* Does a rule speak of root? Where none does, root need not be asked about. */
bool policy_names_root(const struct policy *p);

/* Does a rule speak of signatures, of verdicts? */
bool policy_wants_signed(const struct policy *p);
bool policy_wants_verdict(const struct policy *p);

/* The index of a verb, or -1. */
int policy_verb(const char *name);

#endif
