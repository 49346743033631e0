/* SPDX-License-Identifier: MIT */
/* The packages that an image's own databases list: dpkg, apk and rpm. All of it is hostile. */
#ifndef RECAP_PACKAGES_H
#define RECAP_PACKAGES_H

#include <stddef.h>

#include "scan/findings.h"

#define PACKAGES_MAX	    100000
#define PACKAGES_DB_MAX	    (256 << 20) /* bytes of one database */
#define PACKAGES_STRING_MAX 256		/* bytes of a name or a version */

enum package_kind { PACKAGE_DEB, PACKAGE_APK, PACKAGE_RPM };

struct package {
	enum package_kind kind;
	char *name, *version,
		*arch; /* arch may be empty; an rpm's version is [EPOCH:]VERSION-RELEASE */
	char *source,
		*source_version; /* what it was built from; itself when the database does not tell */
};

struct packages {
	struct package *v;
	size_t n, size;
	char id[64], version_id[64]; /* of /etc/os-release; may be empty */
};

/*
 * Read what there is. A database that is there and cannot be understood is a finding of the check "inventory" (high), never
 * nothing. -ENOMEM, or -E2BIG beyond the limits.
 */
int packages_read(int root, struct packages *ret, struct findings *f, struct error *err) must_check;
void packages_release(struct packages *p);
#define cleanup_packages cleanup(packages_release)

/* For the readers: strings are copied. */
int packages_add(struct packages *p, const struct package *one, struct error *err) must_check;

/* The parsers, on text in memory, which they change. */
int packages_parse_dpkg(struct packages *p, char *text, const char *path, struct findings *f,
			struct error *err) must_check;
int packages_parse_apk(struct packages *p, char *text, const char *path, struct findings *f,
		       struct error *err) must_check;
/* An SQLite database, and one header of it. */
int packages_parse_rpmdb(struct packages *p, const void *db, size_t len, const char *path,
			 struct findings *f, struct error *err) must_check;
int packages_parse_rpm_header(struct packages *p, const unsigned char *h, size_t len,
			      struct error *err) must_check;
void packages_parse_os_release(struct packages *p, char *text);

/* A CycloneDX 1.5 document. */
struct json_object *packages_sbom(const struct packages *p, const char *ref, const char *digest);

#endif
