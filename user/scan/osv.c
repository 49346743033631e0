// SPDX-License-Identifier: MIT
#include "scan/osv.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "scan/cvss.h"
#include "scan/version.h"

#define EVENTS_MAX 4096

/* ---- ecosystems -------------------------------------------------------------------------------- */

/* Distributions by their ID in os-release. `parts`: how many numbers of VERSION_ID name a release; 0: releases count not. */
static const struct ecosystem {
	const char *id, *name, *prefix;
	int parts;
	enum package_kind kind;
} ecosystems[] = {
	{"debian", "Debian", "", 1, PACKAGE_DEB},
	{"ubuntu", "Ubuntu", "", 2, PACKAGE_DEB},
	{"alpine", "Alpine", "v", 2, PACKAGE_APK},
	{"wolfi", "Wolfi", "", 0, PACKAGE_APK},
	{"chainguard", "Chainguard", "", 0, PACKAGE_APK},
	{"rocky", "Rocky Linux", "", 1, PACKAGE_RPM},
	{"almalinux", "AlmaLinux", "", 1, PACKAGE_RPM},
	{"rhel", "Red Hat", "enterprise_linux:", 1, PACKAGE_RPM},
	{"opensuse-leap", "openSUSE", "Leap ", 2, PACKAGE_RPM},
	{"opensuse-tumbleweed", "openSUSE", "Tumbleweed", -1, PACKAGE_RPM},
	{"openEuler", "openEuler", "", 2, PACKAGE_RPM},
};

static const struct ecosystem *ecosystem_of(const struct packages *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(ecosystems); i++)
		if (!strcmp(p->id, ecosystems[i].id))
			return &ecosystems[i];
	return NULL;
}

/* "3.18.4" by two parts: "3.18". */
static void release_of(const struct ecosystem *e, const char *version, char ret[96])
{
	size_t n = 0;

	for (int part = 0; part < e->parts && version[n]; part++) {
		n += part > 0;
		n += strcspn(version + n, ".");
	}
	snprintf(ret, 96, "%s%.*s", e->prefix, (int)n, version);
}

/* "Debian" is of all releases, "Debian:12" of one, "Ubuntu:22.04:LTS" of one, too. */
static bool is_for(const struct packages *p, const struct ecosystem *e, const char *text)
{
	size_t name = strlen(e->name), len;
	char release[96];

	if (!text || strncmp(text, e->name, name))
		return false;
	if (!text[name] || (text[name] == ':' && e->parts == 0))
		return true;
	release_of(e, p->version_id, release);
	len = strlen(release);
	return text[name] == ':' && len > 0 && !strncmp(text + name + 1, release, len) &&
	       (!text[name + 1 + len] || text[name + 1 + len] == ':');
}

/* ---- ranges ------------------------------------------------------------------------------------ */

enum event_kind { INTRODUCED, FIXED, LAST_AFFECTED, LIMIT };

struct event {
	enum event_kind kind;
	const char *version;
};

struct range {
	struct event events[EVENTS_MAX];
	size_t n;
	bool semver;
	enum package_kind kind;
};

static int compare(const struct range *r, const char *a, const char *b)
{
	/* "0" is before all versions, says the schema. */
	bool za = !strcmp(a, "0"), zb = !strcmp(b, "0");

	if (za || zb)
		return zb - za;
	return r->semver ? version_compare_semver(a, b) : version_compare(r->kind, a, b);
}

static int read_event(struct json_object *o, struct range *r)
{
	static const char *const names[] = {"introduced", "fixed", "last_affected", "limit"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *version = json_get_str(o, names[i]);

		if (!version)
			continue;
		if (r->n == EVENTS_MAX)
			return -E2BIG;
		/* "*" is no limit. */
		if (i != LIMIT || strcmp(version, "*"))
			r->events[r->n++] = (struct event){i, version};
		return 0;
	}
	return -EINVAL;
}

/*
 * The schema's evaluation, without its sort: the last event at or before the version decides. Of several at the same version
 * a fix counts behind an introduction.
 */
static bool is_in(const struct range *r, const char *version)
{
	const struct event *last = NULL;

	for (size_t i = 0; i < r->n; i++) {
		const struct event *e = &r->events[i];
		int c = compare(r, version, e->version), d;

		if (c < 0 || (c == 0 && e->kind == LAST_AFFECTED))
			continue;
		d = last ? compare(r, e->version, last->version) : 1;
		if (d > 0 || (d == 0 && e->kind != INTRODUCED))
			last = e;
	}
	return last && last->kind == INTRODUCED;
}

/* 1: in it; 0: not, or it is of another kind; -errno: it makes no sense. */
static int check_range(struct json_object *o, enum package_kind kind, const char *version,
		       struct range *r)
{
	struct json_object *events = json_get(o, "events", json_type_array);
	const char *type = json_get_str(o, "type");
	int e = 0;

	if (!type || !events)
		return -EINVAL;
	if (!strcmp(type, "GIT"))
		return 0;
	r->n = 0;
	r->kind = kind;
	r->semver = !strcmp(type, "SEMVER");
	if (!r->semver && strcmp(type, "ECOSYSTEM"))
		return -EINVAL;
	for (size_t i = 0; i < json_object_array_length(events) && e == 0; i++)
		e = read_event(json_object_array_get_idx(events, i), r);
	return e < 0 ? e : is_in(r, version);
}

static bool is_listed(struct json_object *versions, const char *version)
{
	for (size_t i = 0; versions && i < json_object_array_length(versions); i++) {
		struct json_object *v = json_object_array_get_idx(versions, i);

		if (json_object_is_type(v, json_type_string) &&
		    !strcmp(json_object_get_string(v), version))
			return true;
	}
	return false;
}

static int affects(struct json_object *affected, enum package_kind kind, const char *version,
		   struct range *scratch)
{
	struct json_object *ranges = json_get(affected, "ranges", json_type_array);

	if (is_listed(json_get(affected, "versions", json_type_array), version))
		return 1;
	for (size_t i = 0; ranges && i < json_object_array_length(ranges); i++) {
		int r = check_range(json_object_array_get_idx(ranges, i), kind, version, scratch);

		if (r)
			return r;
	}
	return 0;
}

/* ---- severity ---------------------------------------------------------------------------------- */

static int from_vectors(struct json_object *o)
{
	struct json_object *list = json_get(o, "severity", json_type_array);
	int best = -EINVAL;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *s = json_object_array_get_idx(list, i);
		const char *type = json_get_str(s, "type"), *vector = json_get_str(s, "score");
		int score = -EINVAL, word;

		if (!type || !vector)
			continue;
		if (!strcmp(type, "CVSS_V3"))
			score = cvss_score(vector);
		word = score >= 0 ? (int)cvss_severity(score)
				  : cvss_word(vector); /* type "Ubuntu" has words */
		if (word > best)
			best = word;
	}
	return best;
}

static int from_words(struct json_object *o)
{
	int s = cvss_word(
		json_get_str(json_get(o, "database_specific", json_type_object), "severity"));

	return s >= 0 ? s
		      : cvss_word(json_get_str(json_get(o, "ecosystem_specific", json_type_object),
					       "severity"));
}

static enum severity severity_of(struct json_object *record, struct json_object *affected)
{
	int s = from_words(affected);

	if (s < 0)
		s = from_words(record);
	if (s < 0)
		s = from_vectors(affected);
	if (s < 0)
		s = from_vectors(record);
	return s < 0 ? SEVERITY_HIGH : (enum severity)s;
}

/* ---- a record ---------------------------------------------------------------------------------- */

/* The last fix that it names. */
static const char *fixed_in(struct json_object *affected)
{
	struct json_object *ranges = json_get(affected, "ranges", json_type_array);
	const char *last = NULL;

	for (size_t i = 0; ranges && i < json_object_array_length(ranges); i++) {
		struct json_object *events =
			json_get(json_object_array_get_idx(ranges, i), "events", json_type_array);

		for (size_t j = 0; events && j < json_object_array_length(events); j++) {
			struct json_object *event = json_object_array_get_idx(events, j);
			const char *fixed = json_get_str(event, "fixed");

			if (fixed)
				last = fixed;
		}
	}
	return last;
}

static void report(struct json_object *record, struct json_object *affected,
		   const struct package *one, const char *version, struct findings *f)
{
	const char *summary = json_get_str(record, "summary") ?: "no summary";
	const char *fixed = fixed_in(affected);
	char check[120];

	snprintf(check, sizeof(check), "osv:%s", json_get_str(record, "id"));
	findings_add(f, check, severity_of(record, affected), NULL, "%.64s %.64s: %.120s%s%.40s",
		     one->name, version, summary, fixed ? "; fixed in " : "; no fix is recorded",
		     fixed ?: "");
}

/* Distributions' records name the source package, some the binary one. */
static int check_package(struct json_object *record, struct json_object *affected, const char *name,
			 const struct package *one, struct range *scratch, struct findings *f)
{
	bool source = !strcmp(name, one->source);
	const char *version = source ? one->source_version : one->version;
	int r;

	if (!source && strcmp(name, one->name))
		return 0;
	r = affects(affected, one->kind, version, scratch);
	if (r > 0)
		report(record, affected, one, version, f);
	return r < 0 ? r : 0;
}

static int check_affected(struct json_object *record, struct json_object *affected,
			  const struct packages *p, const struct ecosystem *e,
			  struct range *scratch, struct findings *f)
{
	struct json_object *package = json_get(affected, "package", json_type_object);
	const char *name = json_get_str(package, "name");
	int r = 0;

	if (!name || !is_for(p, e, json_get_str(package, "ecosystem")))
		return 0;
	for (size_t i = 0; i < p->n && r == 0; i++)
		if (p->v[i].kind == e->kind)
			r = check_package(record, affected, name, &p->v[i], scratch, f);
	return r;
}

static int check(struct json_object *record, const struct packages *p, const struct ecosystem *e,
		 struct range *scratch, struct findings *f, struct error *err)
{
	struct json_object *list = json_get(record, "affected", json_type_array);
	const char *id = json_get_str(record, "id");
	int r = 0;

	if (!id || !*id || strlen(id) > 100)
		return error_set(err, EINVAL, "an OSV record has no id");
	if (json_get_str(record, "withdrawn") || !e)
		return 0;
	for (size_t i = 0; list && i < json_object_array_length(list) && r == 0; i++)
		r = check_affected(record, json_object_array_get_idx(list, i), p, e, scratch, f);
	return r < 0 ? error_set(err, EINVAL, "OSV record %s has a range that makes no sense", id)
		     : 0;
}

int osv_check_record(struct json_object *record, const struct packages *p, struct findings *f,
		     struct error *err)
{
	struct range *scratch = malloc(sizeof(*scratch));
	int r = scratch ? check(record, p, ecosystem_of(p), scratch, f, err)
			: error_set(err, ENOMEM, "out of memory");

	free(scratch);
	return r;
}

/* ---- the folder -------------------------------------------------------------------------------- */

struct reader {
	const struct packages *p;
	const struct ecosystem *e;
	struct range *scratch;
	struct findings *f;
	struct error *err;
	int64_t n, ours; /* records; those of the image's own release */
};

/* Whether the record speaks of the image's release at all. */
static bool concerns(const struct reader *rd, struct json_object *record)
{
	struct json_object *list = json_get(record, "affected", json_type_array);

	for (size_t i = 0; rd->e && list && i < json_object_array_length(list); i++) {
		struct json_object *package =
			json_get(json_object_array_get_idx(list, i), "package", json_type_object);

		if (is_for(rd->p, rd->e, json_get_str(package, "ecosystem")))
			return true;
	}
	return false;
}

static int read_record(struct reader *rd, int dir, const char *name)
{
	cleanup_json struct json_object *record = NULL;
	cleanup_free char *text = NULL;
	size_t len;
	int r = fd_read_file(dir, name, OSV_RECORD_MAX, &text, &len);

	if (++rd->n > OSV_RECORDS_MAX)
		return error_set(rd->err, E2BIG, "osv_dir holds more than %d records",
				 OSV_RECORDS_MAX);
	if (r < 0)
		return error_sys(rd->err, -r, "cannot read OSV record %.128s", name);
	r = json_parse(text, len, name, &record, rd->err);
	if (r == 0)
		rd->ours += concerns(rd, record);
	if (r == 0)
		r = check(record, rd->p, rd->e, rd->scratch, rd->f, rd->err);
	return r < 0 ? error_prefix(rd->err, "OSV record %.128s", name) : 0;
}

static bool is_record(const char *name)
{
	size_t n = strlen(name);

	return name[0] != '.' && n > 5 && !strcmp(name + n - 5, ".json");
}

/* Takes the folder over. */
static int read_folder(struct reader *rd, int fd, int depth)
{
	cleanup_dir DIR *dir = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		fd_close(fd);
		return error_set(rd->err, ENOMEM, "out of memory");
	}
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		if (is_record(e->d_name)) {
			r = read_record(rd, dirfd(dir), e->d_name);
		} else if (e->d_name[0] != '.' && depth < OSV_DEPTH_MAX) {
			int sub = openat(dirfd(dir), e->d_name,
					 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = sub < 0 ? 0 : read_folder(rd, sub, depth + 1);
		}
	}
	return r < 0 ? r : errno ? error_sys(rd->err, errno, "cannot list osv_dir") : 0;
}

/* What cannot be looked up must not look clean. */
static void check_known(const struct packages *p, const struct ecosystem *e, struct findings *f)
{
	char release[96] = "";
	size_t other = 0;

	if (!p->n)
		return;
	for (size_t i = 0; e && i < p->n; i++)
		other += p->v[i].kind != e->kind;
	if (e && e->parts > 0)
		release_of(e, p->version_id, release);
	if (!e)
		findings_add(f, "inventory", SEVERITY_HIGH, NULL,
			     "OSV knows no ecosystem \"%.60s\": %zu packages cannot be checked",
			     p->id, p->n);
	else if (other)
		findings_add(f, "inventory", SEVERITY_HIGH, NULL,
			     "%zu packages are not of the kind that %s has: they cannot be checked",
			     other, e->name);
	else if (e->parts > 0 && !p->version_id[0])
		findings_add(f, "inventory", SEVERITY_HIGH, NULL,
			     "/etc/os-release does not tell which release of %s this is: %zu "
			     "packages cannot be checked",
			     e->name, p->n);
}

int osv_check(int dir, const struct packages *p, struct findings *f, int64_t *ret_records,
	      struct error *err)
{
	struct reader rd = {.p = p, .e = ecosystem_of(p), .f = f, .err = err};
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return error_sys(err, errno, "cannot open osv_dir");
	rd.scratch = malloc(sizeof(*rd.scratch));
	if (!rd.scratch) {
		fd_close(fd);
		return error_set(err, ENOMEM, "out of memory");
	}
	check_known(p, rd.e, f);
	r = read_folder(&rd, fd, 0);
	free(rd.scratch);
	if (r == 0 && !rd.n)
		r = error_set(err, ENOENT, "there are no OSV records (*.json) in the folder");
	if (r == 0 && rd.e && p->n && !rd.ours)
		findings_add(f, "inventory", SEVERITY_HIGH, NULL,
			     "no OSV record is of %s %.30s: %zu packages cannot be checked",
			     rd.e->name, p->version_id, p->n);
	if (r == 0)
		*ret_records = rd.n;
	return r;
}
