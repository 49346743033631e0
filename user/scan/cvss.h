/* SPDX-License-Identifier: MIT */
/* Severities from what vulnerability records say. */
#ifndef RECAP_CVSS_H
#define RECAP_CVSS_H

#include "core/gate.h"

/* The base score, in tenths (0 to 100), of a CVSS 3.0 or 3.1 vector; -EINVAL when it is none. */
int cvss_score(const char *vector);

/* The qualitative rating of a score in tenths (CVSS 3.1, section 5); none is low. */
enum severity cvss_severity(int score);

/* "LOW", "MODERATE", "MEDIUM", "HIGH", "CRITICAL" in any case; -EINVAL for others. */
int cvss_word(const char *word);

#endif
