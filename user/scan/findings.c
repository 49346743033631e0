// SPDX-License-Identifier: MIT
#include "scan/findings.h"

#include <string.h>

void findings_init(struct findings *f)
{
	*f = (struct findings){
		.list = json_object_new_array(),
		.more = json_object_new_object(),
		.counts = json_object_new_object(),
	};
}

void findings_release(struct findings *f)
{
	json_object_put(f->list);
	json_object_put(f->more);
	json_object_put(f->counts);
	*f = (struct findings){};
}

static void stem_of(const char *check, char ret[64])
{
	snprintf(ret, 64, "%.*s", (int)strcspn(check, ":"), check);
}

/* Too many to be listed: they count all the same. */
static void count_more(struct findings *f, const char *stem, const char *severity, int64_t n)
{
	struct json_object *of = json_get(f->more, stem, json_type_object);

	if (!of) {
		of = json_object_new_object();
		json_put_obj(f->more, stem, of);
	}
	json_put_int(of, severity, json_get_int(of, severity, 0) + n);
}

static void put(struct findings *f, const char *check, struct json_object *finding)
{
	const char *severity = json_get_str(finding, "severity");
	char stem[64];
	int64_t n;
	size_t len;

	stem_of(check, stem);
	n = json_get_int(f->counts, stem, 0);
	len = strlen(json_object_to_json_string_ext(finding, JSON_C_TO_STRING_PLAIN));
	if (n >= (strchr(check, ':') ? FINDINGS_OF_TOOL : FINDINGS_PER_CHECK) ||
	    f->bytes + len > FINDINGS_BYTES_MAX) {
		count_more(f, stem, severity, 1);
		json_object_put(finding);
		return;
	}
	f->bytes += len;
	json_put_int(f->counts, stem, n + 1);
	json_object_array_add(f->list, finding);
}

void findings_add(struct findings *f, const char *check, enum severity severity, const char *path,
		  const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char text[FINDING_TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_put_foreign(o, "check", check, 120);
	json_put_str(o, "severity", severity_name(severity));
	if (path)
		json_put_foreign(o, "path", path, FINDING_PATH_MAX);
	json_put_foreign(o, "message", text, FINDING_TEXT_MAX);
	put(f, check, o);
}

static int merge_more(struct findings *f, struct json_object *more)
{
	json_object_object_foreach (more, check, counts) {
		if (!json_object_is_type(counts, json_type_object) || strlen(check) > 63)
			return -EINVAL;
		json_object_object_foreach (counts, severity, n) {
			if (severity_parse(severity) < SEVERITY_LOW || json_object_get_int64(n) < 0)
				return -EINVAL;
			count_more(f, check, severity, json_object_get_int64(n));
		}
	}
	return 0;
}

int findings_merge(struct findings *f, struct json_object *list, struct json_object *more)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *check = json_get_str(o, "check");
		int severity = severity_parse(json_get_str(o, "severity"));

		if (!check || severity < SEVERITY_LOW || !json_get_str(o, "message"))
			return -EINVAL;
		put(f, check, json_object_get(o));
	}
	return more ? merge_more(f, more) : 0;
}
