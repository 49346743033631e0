/* SPDX-License-Identifier: MIT */
/* What a scan found: a bounded list, and counts of what is beyond it. */
#ifndef RECAP_FINDINGS_H
#define RECAP_FINDINGS_H

#include <stdarg.h>

#include "common/json.h"
#include "core/gate.h"

#define FINDINGS_PER_CHECK 100	       /* listed for each built-in check */
#define FINDINGS_OF_TOOL   500	       /* listed for each scanner, and for the OSV records */
#define FINDINGS_BYTES_MAX (600 << 10) /* of all that are listed */
#define FINDING_TEXT_MAX   300	       /* bytes of a message */
#define FINDING_PATH_MAX   512

struct findings {
	struct json_object *list;   /* [{check, severity, path?, message}] */
	struct json_object *more;   /* {check: {severity: count}} */
	struct json_object *counts; /* {check: how many are listed} */
	size_t bytes;
};

void findings_init(struct findings *f);
void findings_release(struct findings *f);
#define cleanup_findings cleanup(findings_release)

/* `check` may be "osv:CVE-2024-1": what is before the colon is counted. `path` may be NULL; both texts may be anybody's. */
void findings_add(struct findings *f, const char *check, enum severity severity, const char *path,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The findings of another list, as a worker's child wrote them (or NULL). -EINVAL: they make no sense. */
int findings_merge(struct findings *f, struct json_object *list,
		   struct json_object *more) must_check;

#endif
