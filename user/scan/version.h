/* SPDX-License-Identifier: MIT */
/* Which of two versions is later, as each packaging system has it. Any text is a version. */
#ifndef RECAP_VERSION_H
#define RECAP_VERSION_H

#include "scan/packages.h"

/* Less than, equal to or greater than 0. */
int version_compare_deb(const char *a, const char *b); /* deb-version(7) */
int version_compare_apk(const char *a, const char *b); /* apk-package(5) */
int version_compare_rpm(const char *a,
			const char *b); /* [EPOCH:]VERSION[-RELEASE], rpm-version(7) */
int version_compare_semver(const char *a, const char *b); /* semver.org, 2.0.0 */

int version_compare(enum package_kind kind, const char *a, const char *b);

#endif
