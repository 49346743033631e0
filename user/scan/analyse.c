// SPDX-License-Identifier: MIT
/* RECap's own look at an image, in a jail: all that this process sees are the image and the OSV records. */
#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "scan/checks.h"
#include "scan/osv.h"
#include "scan/scan.h"

#define OSV_AT	   "/osv"
#define OUTPUT_MAX (96 << 20)

struct analysis {
	const struct scan *s;
	struct json_object *record, *layers;
	struct findings findings;
	struct packages packages;
	int64_t records;
};

int scan_write(int out, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return !text || fd_write_all(out, text, strlen(text)) < 0;
}

static int look(struct analysis *a, struct error *err)
{
	cleanup_fd int root = open(SCAN_IMAGE_AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int osv = -1;
	int r;

	if (root < 0)
		return error_sys(err, errno, "cannot open the image's root");
	check_record(a->record, a->layers, &a->findings);
	r = check_root(root, &a->findings, err);
	if (r == 0)
		r = packages_read(root, &a->packages, &a->findings, err);
	if (r < 0 || !json_get_str(a->s->gate->made_under, "osv_dir"))
		return r;
	osv = open(OSV_AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (osv < 0)
		return error_sys(err, errno, "cannot open osv_dir");
	return osv_check(osv, &a->packages, &a->findings, &a->records, err);
}

/* In the jail. */
static int analyse(void *arg, int out)
{
	struct json_object *o = json_object_new_object();
	struct analysis *a = arg;
	struct error err = {};

	findings_init(&a->findings);
	if (look(a, &err) < 0) {
		json_put_foreign(o, "error", err.msg, sizeof(err.msg));
		return scan_write(out, o);
	}
	json_put_obj(o, "findings", a->findings.list);
	json_put_obj(o, "more", a->findings.more);
	json_put_int(o, "packages", (int64_t)a->packages.n);
	json_put_int(o, "records", a->records);
	json_put_obj(o, "sbom", packages_sbom(&a->packages, a->s->ref, a->s->digest));
	return scan_write(out, o);
}

static void note(struct scan *s, const char *name, const char *version, int64_t findings)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "name", name);
	json_put_str(o, "version", version);
	json_put_int(o, "findings", findings);
	json_object_array_add(s->scanners, o);
}

static int take(struct scan *s, struct json_object *o, struct error *err)
{
	struct json_object *sbom = json_get(o, "sbom", json_type_object);
	char version[64];
	int r;

	if (json_get_str(o, "error"))
		return error_set(err, EINVAL, "%s", json_get_str(o, "error"));
	if (!sbom)
		return error_set(err, EINVAL, "the built-in checks gave no result");
	r = scan_take_findings(s, o, err);
	if (r < 0)
		return r;
	s->sbom = json_object_get(sbom);
	s->packages = json_get_int(o, "packages", 0);
	note(s, "recap", RECAP_VERSION,
	     json_object_array_length(json_get(o, "findings", json_type_array)));
	if (json_get_str(s->gate->made_under, "osv_dir")) {
		snprintf(version, sizeof(version), "%lld records",
			 (long long)json_get_int(o, "records", 0));
		note(s, "osv", version, json_get_int(s->findings.counts, "osv", 0));
	}
	return 0;
}

int scan_take_findings(struct scan *s, struct json_object *doc, struct error *err)
{
	struct json_object *list = json_get(doc, "findings", json_type_array);

	if (!list ||
	    findings_merge(&s->findings, list, json_get(doc, "more", json_type_object)) < 0)
		return error_set(err, EINVAL, "its findings make no sense");
	return 0;
}

int scan_analyse(struct scan *s, struct json_object *record, struct json_object *layers,
		 struct error *err)
{
	const char *osv = json_get_str(s->gate->made_under, "osv_dir");
	struct analysis a = {.s = s, .record = record, .layers = layers};
	struct jail j = {.anchor = s->anchor,
			 .tmp = -1,
			 .timeout_s = scan_seconds(s, SCAN_ANALYSE_S),
			 .max_out = OUTPUT_MAX};
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *out = NULL;
	struct jail_result res = {};
	int r = jail_add(&j, s->root, SCAN_IMAGE_AT, false, false);

	if (r == 0 && osv)
		r = jail_add(&j, osv, OSV_AT, false, false);
	if (r < 0)
		return error_set(err, -r, "too many mounts");
	r = jail_run(&j, analyse, &a, &res, err);
	out = res.out;
	if (r == 0 && res.status)
		r = error_set(err, EIO, "it ended with status %d: %.150s", res.status, res.err);
	else if (r == 0)
		r = json_parse(out, res.len, "its result", &o, err);
	if (r == 0)
		r = take(s, o, err);
	return r < 0 ? error_prefix(err, "the built-in checks") : 0;
}
