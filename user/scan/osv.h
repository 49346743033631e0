/* SPDX-License-Identifier: MIT */
/* Packages against OSV records (ossf.github.io/osv-schema), from a folder: no network. */
#ifndef RECAP_OSV_H
#define RECAP_OSV_H

#include "scan/packages.h"

#define OSV_RECORD_MAX	(8 << 20) /* bytes */
#define OSV_RECORDS_MAX 1000000
#define OSV_DEPTH_MAX	4 /* folders below the given one */

/*
 * Look at every *.json below `dir`. Each record that hits a package is a finding "osv:ID", with the severity that the record
 * or its CVSS vector gives; high when neither does. -EINVAL when a record cannot be read: what it says is then not known.
 * The number of records in *ret_records.
 */
int osv_check(int dir, const struct packages *p, struct findings *f, int64_t *ret_records,
	      struct error *err) must_check;

/* One record. */
int osv_check_record(struct json_object *record, const struct packages *p, struct findings *f,
		     struct error *err) must_check;

#endif
