/* SPDX-License-Identifier: MIT */
/* One line of the audit, as JSON: what it says of a request, a caller, a capsule. Where and when it is written: recapd/audit.c. */
#ifndef RECAP_AUDIT_LINE_H
#define RECAP_AUDIT_LINE_H

#include "recapd/audit.h"

/*
 * Bytes of others' text in a line; with JSON's escapes at most twice as many. The rest of a line is of our making, and less than
 * 2 KiB.
 */
#define LINE_TEXT_MAX (24 << 10)

struct line {
	struct json_object *o;
	const char *event;
	size_t left; /* of the bytes of others' text */
	bool cut;
};

/* With the time and the number of the request; 0: of none. `text_max`: bytes of others' text. */
struct line line_new(const char *event, uint64_t number, size_t text_max);
void line_free(struct line *l);

/* A request that was allowed, or refused for `err`. */
struct line line_request(const struct audit_request *q, const struct caller *who,
			 const struct audit_what *what, const struct error *err, size_t text_max);

/* NULL: nothing is said of whom. */
void line_put_who(struct line *l, const struct caller *who);
void line_put_error(struct line *l, const struct error *err);
/* The policy's rule that decided, if one did. */
void line_put_rule(struct line *l, const struct audit_request *q);

/* Which images came, went or were judged. */
void line_put_images(struct line *l, struct json_object *reply);

/* What the record says of the end; what it says of the beginning is in the request's line. */
void line_put_capsule(struct line *l, struct json_object *record);
void line_put_id(struct line *l, const char *id);

/* The line, without a newline; belongs to it. */
const char *line_text(struct line *l, size_t *ret_len);

#endif
