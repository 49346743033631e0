// SPDX-License-Identifier: MIT
/*
 * vulnscan: the packages of a file system against a folder of OSV records, with the code of RECap's scan gate. See README.md
 * beside this file.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>

#include "scan/osv.h"
#include "scan/packages.h"

#define USAGE "usage: vulnscan [-j] [-s low|medium|high|critical] [ROOT [RECORDS]]\n"

enum { CLEAN, FOUND, TROUBLE };

struct options {
	bool json;
	enum severity from;
	const char *root, *records;
};

static int parse(int argc, char **argv, struct options *o)
{
	int opt, severity;

	*o = (struct options){.from = SEVERITY_LOW, .root = "/target", .records = "/osv"};
	while ((opt = getopt(argc, argv, "js:")) != -1) {
		if (opt == 'j') {
			o->json = true;
			continue;
		}
		severity = opt == 's' ? severity_parse(optarg) : -1;
		if (severity <= SEVERITY_IGNORE)
			return -EINVAL;
		o->from = severity;
	}
	if (argc - optind > 2)
		return -EINVAL;
	if (optind < argc)
		o->root = argv[optind];
	if (optind + 1 < argc)
		o->records = argv[optind + 1];
	return 0;
}

static int open_folder(const char *path, int *ret, struct error *err)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? error_sys(err, errno, "cannot open %s", path) : 0;
}

static int look(const struct options *o, struct packages *p, struct findings *f,
		int64_t *ret_records, struct error *err)
{
	cleanup_fd int root = -1, records = -1;
	int r = open_folder(o->root, &root, err);

	if (r == 0)
		r = open_folder(o->records, &records, err);
	if (r == 0)
		r = packages_read(root, p, f, err);
	/* To find nothing in nothing is no result. */
	if (r == 0 && !p->n)
		r = error_set(err, ENODATA, "%s has no database of dpkg, apk or rpm", o->root);
	if (r == 0)
		r = osv_check(records, p, f, ret_records, err);
	return r;
}

static enum severity severity_of(struct json_object *finding)
{
	int s = severity_parse(json_get_str(finding, "severity") ?: "");

	return s < 0 ? SEVERITY_CRITICAL : s;
}

/* Those that are listed; what is beyond the limits is counted in `more`. */
static size_t count(const struct findings *f, enum severity from)
{
	size_t n = 0;

	for (size_t i = 0; i < json_object_array_length(f->list); i++)
		n += severity_of(json_object_array_get_idx(f->list, i)) >= from;
	return n + json_object_object_length(f->more);
}

static void print_json(const struct packages *p, const struct findings *f, int64_t records)
{
	struct json_object *o = json_object_new_object();

	json_put_int(o, "packages", (int64_t)p->n);
	json_put_int(o, "records", records);
	json_put_obj(o, "findings", json_object_get(f->list));
	json_put_obj(o, "more", json_object_get(f->more));
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static void print_text(const struct packages *p, const struct findings *f, int64_t records,
		       enum severity from)
{
	for (size_t i = 0; i < json_object_array_length(f->list); i++) {
		struct json_object *one = json_object_array_get_idx(f->list, i);

		if (severity_of(one) >= from)
			printf("%-8s %s: %s\n", json_get_str(one, "severity"),
			       json_get_str(one, "check"), json_get_str(one, "message"));
	}
	if (json_object_object_length(f->more))
		printf("and more: %s\n", json_object_to_json_string(f->more));
	printf("%zu packages, %lld records, %zu findings\n", p->n, (long long)records,
	       count(f, from));
}

int main(int argc, char **argv)
{
	cleanup_packages struct packages p = {};
	cleanup_findings struct findings f = {};
	struct error err = {};
	struct options o;
	int64_t records = 0;

	if (parse(argc, argv, &o) < 0) {
		fputs(USAGE, stderr);
		return TROUBLE;
	}
	findings_init(&f);
	if (look(&o, &p, &f, &records, &err) < 0) {
		fprintf(stderr, "vulnscan: %s\n", err.msg);
		return TROUBLE;
	}
	if (o.json)
		print_json(&p, &f, records);
	else
		print_text(&p, &f, records, o.from);
	return fflush(stdout) ? TROUBLE : count(&f, o.from) ? FOUND : CLEAN;
}
