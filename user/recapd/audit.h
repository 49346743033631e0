/* SPDX-License-Identifier: MIT */
/*
 * The record of who asked for what, and what came of it: lines of JSON in a file (core/ledger.h) and in the journal. See
 * docs/audit.md. A request is served only when its line is written, and the room for its result reserved.
 */
#ifndef RECAP_AUDIT_H
#define RECAP_AUDIT_H

#include "common/json.h"
#include "core/image.h"
#include "core/inventory.h"
#include "core/ledger.h"
#include "core/track.h"
#include "recapd/caller.h"

#define AUDIT_LINE_MAX	 (64 << 10)
#define AUDIT_RESULT_MAX (4 << 10)

struct audit;

/* One call of a client, from audit_begin() to audit_end(). */
struct audit_request {
	uint64_t number;  /* 0: none, or one that is not recorded */
	const char *verb; /* the method without its interface; NULL: one that we do not have */
	char rule[64];	  /* name of the policy's rule that decided; empty: none did */
	bool allowed;	  /* its line is written, and room for the result promised */
};

/* What a request is about, as far as it is known. All may be NULL. */
struct audit_what {
	struct json_object *params; /* of the call; only what may be told is taken */
	const struct image *image;
	const struct target_name *target;
	char *const *command; /* all of it; NULL: the arguments among the parameters */
};

/*
 * path: the file. journal: the journal's socket, where nobody needs to listen. A file that cannot be opened is a failure, one that
 * cannot grow is not: what must be recorded is then refused. track: where failures are counted; may be NULL.
 */
int audit_open(const char *path, const char *journal, struct track *track, struct audit **ret,
	       struct error *err) must_check;
void audit_close(struct audit *a);

/* The file was renamed: go on in a new one, now or as soon as it can be made. */
void audit_reopen(struct audit *a);

/* A call came. `method` is its full name; calls that neither change nor reveal anything get no number. */
void audit_begin(struct audit *a, struct audit_request *q, const char *method, bool known);

/*
 * Write that the request is allowed, before anything is done for it. Fails when that cannot be written: it is not to be
 * served then.
 */
int audit_allow(struct audit *a, struct audit_request *q, const struct caller *who,
		const struct audit_what *what, struct error *err) must_check;

/*
 * Its last reply, or that it will get none. Refused, when it was not allowed before; otherwise its result: `err`, or what `reply` says
 * (both may be NULL). Idempotent.
 */
void audit_end(struct audit *a, struct audit_request *q, const struct caller *who,
	       const struct audit_what *what, struct json_object *reply, const struct error *err);

/* The request has become this capsule, whose end is its result. */
void audit_capsule_begin(struct audit *a, struct audit_request *q, const struct caller *who,
			 const char *id);

/*
 * The same for a capsule that a recapd before us began: its end is the result of the request that its record names. `at`: what
 * audit_capsule() has left there. What it had written is not written again (but for an end that it died over just when the file was
 * renamed).
 */
void audit_capsule_adopt(struct audit *a, struct json_object *record,
			 const struct ledger_place at[2]);

/* It has not ended at once. */
void audit_capsule_started(struct audit *a, const char *id);

/* A capsule that a recapd before us left behind was ended. */
void audit_orphan(struct audit *a, uint64_t id);

/*
 * A capsule was quarantined, or (`last`) has ended. `record`: that of capsule_json(); err: why its tool never ran, or NULL.
 * at[last] says where the line goes, before it is written. A quarantine is told once.
 */
void audit_capsule(struct audit *a, struct json_object *record, const struct error *err, bool last,
		   struct ledger_place at[2]);

/* A connection was closed: it is not served, or sent what is no message. `who` may be NULL. */
void audit_connection(struct audit *a, const struct caller *who, const struct error *err);

/* For Status: file and journal, as a new object. */
struct json_object *audit_json(const struct audit *a);

/* Add what is wrong to a list of lines. */
void audit_problems(struct audit *a, struct json_object *problems);

#endif
