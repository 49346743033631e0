// SPDX-License-Identifier: MIT
/* rpm's database: an SQLite table of headers, each as rpm keeps it (rpm's doc/manual: "Package header format"). */
#include <endian.h>
#include <string.h>

#include <sqlite3.h>

#include "scan/packages.h"

#define HEADER_MAX     (32 << 20)
#define HEADER_ENTRIES 65536
#define SQLITE_HEAP    (128 << 20)
#define SQLITE_STEPS   10000 /* instructions between two looks at the count */
#define SQLITE_TURNS   2000  /* of these looks; a hostile database may keep a query busy for ever */

enum { TAG_NAME = 1000, TAG_VERSION, TAG_RELEASE, TAG_EPOCH, TAG_ARCH = 1022, TAG_SOURCE = 1044 };
enum { TYPE_INT32 = 4, TYPE_STRING = 6 };

struct header {
	const unsigned char *index, *data;
	size_t entries, len;
};

static uint32_t be32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

/* The value of a tag, which has `type`, and how many bytes of data are there from it on; NULL: none. */
static const unsigned char *find_tag(const struct header *h, uint32_t tag, uint32_t type,
				     size_t *ret_left)
{
	for (size_t i = 0; i < h->entries; i++) {
		const unsigned char *e = h->index + 16 * i;
		uint32_t offset = be32(e + 8);

		if (be32(e) != tag || be32(e + 4) != type || offset >= h->len)
			continue;
		*ret_left = h->len - offset;
		return h->data + offset;
	}
	return NULL;
}

static const char *find_string(const struct header *h, uint32_t tag)
{
	size_t left;
	const unsigned char *p = find_tag(h, tag, TYPE_STRING, &left);

	return p && memchr(p, '\0', left) ? (const char *)p : NULL;
}

/* "bash-5.1.8-6.el9.src.rpm" is of "bash". */
static void source_name(const char *file, char ret[PACKAGES_STRING_MAX])
{
	int dashes = 0;
	char *p;

	snprintf(ret, PACKAGES_STRING_MAX, "%s", file ?: "");
	for (p = ret + strlen(ret); p > ret && dashes < 2; p--)
		if (p[-1] == '-' && ++dashes == 2)
			p[-1] = '\0';
	if (dashes < 2)
		ret[0] = '\0';
}

static int add_header(struct packages *p, const struct header *h, struct error *err)
{
	const char *name = find_string(h, TAG_NAME), *version = find_string(h, TAG_VERSION);
	const char *release = find_string(h, TAG_RELEASE);
	char source[PACKAGES_STRING_MAX], full[2 * PACKAGES_STRING_MAX + 32];
	size_t left = 0;
	const unsigned char *epoch = find_tag(h, TAG_EPOCH, TYPE_INT32, &left);
	struct package one = {.kind = PACKAGE_RPM};
	uint32_t n = epoch && left >= 4 ? be32(epoch) : 0;
	char prefix[16] = "";

	if (!name || !version || !release)
		return -EINVAL;
	if (!strcmp(name, "gpg-pubkey"))
		return 0; /* a key that rpm trusts, kept as if it were a package */
	if (n)
		snprintf(prefix, sizeof(prefix), "%u:", n);
	snprintf(full, sizeof(full), "%s%.*s-%.*s", prefix, PACKAGES_STRING_MAX, version,
		 PACKAGES_STRING_MAX, release);
	source_name(find_string(h, TAG_SOURCE), source);
	one.name = (char *)name;
	one.version = full;
	one.source = source;
	one.arch = (char *)find_string(h, TAG_ARCH);
	return packages_add(p, &one, err);
}

int packages_parse_rpm_header(struct packages *p, const unsigned char *b, size_t len,
			      struct error *err)
{
	struct header h = {};

	if (len < 8 || len > HEADER_MAX)
		return -EINVAL;
	h.entries = be32(b);
	h.len = be32(b + 4);
	if (h.entries > HEADER_ENTRIES || h.len > HEADER_MAX || len - 8 < 16 * h.entries ||
	    len - 8 - 16 * h.entries < h.len)
		return -EINVAL;
	h.index = b + 8;
	h.data = h.index + 16 * h.entries;
	return add_header(p, &h, err);
}

static int count_turns(void *arg)
{
	unsigned int *turns = arg;

	return ++*turns > SQLITE_TURNS;
}

/* In memory: SQLite opens no file, so no journal or other database that stands beside it is read. */
static sqlite3 *open_copy(const void *db, size_t len, unsigned int *turns)
{
	unsigned char *copy = sqlite3_malloc64(len ? len : 1);
	sqlite3 *s = NULL;

	if (!copy || sqlite3_open_v2(":memory:", &s, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
		sqlite3_free(copy);
		sqlite3_close(s);
		return NULL;
	}
	memcpy(copy, db, len);
	/* A file in WAL mode cannot be read from memory; rpm leaves the mode in the header of a clean database. */
	if (len > 20 && copy[18] == 2 && copy[19] == 2)
		copy[18] = copy[19] = 1;
	sqlite3_db_config(s, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(s, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(s, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_limit(s, SQLITE_LIMIT_LENGTH, HEADER_MAX);
	sqlite3_progress_handler(s, SQLITE_STEPS, count_turns, turns);
	if (sqlite3_deserialize(s, "main", copy, (sqlite3_int64)len, (sqlite3_int64)len,
				SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY) ==
	    SQLITE_OK)
		return s;
	sqlite3_close(s);
	return NULL;
}

static int damaged(struct findings *f, const char *path, const char *why)
{
	findings_add(f, "inventory", SEVERITY_HIGH, path,
		     "the rpm database is damaged (%s): its packages cannot be checked", why);
	return 0;
}

int packages_parse_rpmdb(struct packages *p, const void *db, size_t len, const char *path,
			 struct findings *f, struct error *err)
{
	unsigned int turns = 0;
	sqlite3_stmt *q = NULL;
	sqlite3 *s;
	int r = 0, step;

	sqlite3_hard_heap_limit64(SQLITE_HEAP + (sqlite3_int64)len);
	s = open_copy(db, len, &turns);
	if (!s)
		return damaged(f, path, "it does not open");
	step = sqlite3_prepare_v2(s, "SELECT blob FROM Packages", -1, &q, NULL);
	while (step == SQLITE_OK || step == SQLITE_ROW) {
		step = sqlite3_step(q);
		if (step != SQLITE_ROW)
			break;
		r = packages_parse_rpm_header(p, sqlite3_column_blob(q, 0),
					      sqlite3_column_bytes(q, 0), err);
		if (r == -EINVAL)
			r = damaged(f, path, "a header makes no sense");
		if (r < 0)
			break;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = damaged(f, path, sqlite3_errstr(step));
	sqlite3_finalize(q);
	sqlite3_close(s);
	return r;
}
