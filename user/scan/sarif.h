/* SPDX-License-Identifier: MIT */
/* Results of a scanner: SARIF 2.1.0, or lines of text. Both may hold whatever the image holds. */
#ifndef RECAP_SARIF_H
#define RECAP_SARIF_H

#include "scan/findings.h"

#define SARIF_MAX	(32 << 20) /* bytes of a scanner's output */
#define SARIF_RULES_MAX 200000

/*
 * Each result that is no "pass" becomes a finding "SCANNER:RULE". Severity: the rule's security-severity (a CVSS score), else
 * the level: error is high, warning medium, the rest low. `root` is cut off the paths. -EINVAL: it is no SARIF, or says that
 * the scan did not succeed.
 */
int sarif_read(const char *text, size_t len, const char *scanner, const char *root,
	       struct findings *f, struct error *err) must_check;

/* Each line that is not empty becomes a finding "SCANNER:status", its path told apart when it begins with `root`. */
void status_read(const char *text, size_t len, const char *scanner, const char *root,
		 enum severity severity, struct findings *f);

#endif
