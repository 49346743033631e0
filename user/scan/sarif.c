// SPDX-License-Identifier: MIT
#include "scan/sarif.h"

#include <string.h>

#include "scan/cvss.h"

struct run {
	const char *scanner, *root;
	struct json_object *rules; /* of the driver; may be NULL */
	struct json_object *by_id; /* id -> rule */
	struct findings *f;
};

static bool text_is(const char *text, const char *a)
{
	return text && !strcmp(text, a);
}

/* "file:///image/etc/x", "/image/etc/x" or "etc/x": the path in the image. */
static void path_of(const char *uri, const char *root, char ret[FINDING_PATH_MAX])
{
	size_t n = strlen(root);

	if (!strncmp(uri, "file://", 7))
		uri += 7;
	if (!strncmp(uri, root, n) && (uri[n] == '/' || !uri[n]))
		uri += n;
	snprintf(ret, FINDING_PATH_MAX, "%s%s", *uri == '/' ? "" : "/", uri);
}

static struct json_object *rule_of(const struct run *run, struct json_object *result,
				   const char **ret_id)
{
	struct json_object *rule = NULL, *ref = json_get(result, "rule", json_type_object);
	const char *id = json_get_str(result, "ruleId") ?: json_get_str(ref, "id");
	int64_t index = json_get_int(result, "ruleIndex", json_get_int(ref, "index", -1));

	if (id)
		rule = json_get(run->by_id, id, json_type_object);
	if (!rule && run->rules && index >= 0 &&
	    (size_t)index < json_object_array_length(run->rules))
		rule = json_object_array_get_idx(run->rules, index);
	*ret_id = id ?: json_get_str(rule, "id") ?: "result";
	return rule;
}

/* "7.5", in a string or as a number. */
static int score_of(struct json_object *o)
{
	struct json_object *properties = json_get(o, "properties", json_type_object), *v;
	double score;

	if (!properties || !json_object_object_get_ex(properties, "security-severity", &v))
		return -EINVAL;
	score = json_object_get_double(v);
	return score > 0 && score <= 10 ? (int)(score * 10 + 0.5) : -EINVAL;
}

static enum severity severity_of(struct json_object *result, struct json_object *rule)
{
	struct json_object *def = json_get(rule, "defaultConfiguration", json_type_object);
	const char *level = json_get_str(result, "level") ?: json_get_str(def, "level");
	int score = score_of(result);

	if (score < 0)
		score = score_of(rule);
	if (score >= 0)
		return cvss_severity(score);
	if (!level || text_is(level, "warning")) /* warning is the default, section 3.27.10 */
		return SEVERITY_MEDIUM;
	return text_is(level, "error") ? SEVERITY_HIGH : SEVERITY_LOW;
}

static const char *uri_of(struct json_object *result)
{
	struct json_object *list = json_get(result, "locations", json_type_array), *at;

	if (!list || !json_object_array_length(list))
		return NULL;
	at = json_get(json_object_array_get_idx(list, 0), "physicalLocation", json_type_object);
	return json_get_str(json_get(at, "artifactLocation", json_type_object), "uri");
}

/* Kinds that are no finding: section 3.27.9. */
static bool is_pass(struct json_object *result)
{
	const char *kind = json_get_str(result, "kind");

	return text_is(kind, "pass") || text_is(kind, "notApplicable") ||
	       text_is(kind, "informational");
}

static int read_result(const struct run *run, struct json_object *result)
{
	struct json_object *message = json_get(result, "message", json_type_object), *rule;
	const char *id, *text, *uri = uri_of(result);
	char path[FINDING_PATH_MAX], check[120];

	if (!json_object_is_type(result, json_type_object))
		return -EINVAL;
	if (is_pass(result))
		return 0;
	rule = rule_of(run, result, &id);
	text = json_get_str(message, "text")
		       ?: json_get_str(json_get(rule, "shortDescription", json_type_object),
				       "text");
	snprintf(check, sizeof(check), "%s:%.80s", run->scanner, id);
	if (uri)
		path_of(uri, run->root, path);
	findings_add(run->f, check, severity_of(result, rule), uri ? path : NULL, "%.250s",
		     text ?: "no message");
	return 0;
}

static bool has_failed(struct json_object *run)
{
	struct json_object *list = json_get(run, "invocations", json_type_array), *ok;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (json_object_is_type(o, json_type_object) &&
		    json_object_object_get_ex(o, "executionSuccessful", &ok) &&
		    !json_object_get_boolean(ok))
			return true;
	}
	return false;
}

static int index_rules(struct run *run)
{
	size_t n = run->rules ? json_object_array_length(run->rules) : 0;

	if (n > SARIF_RULES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct json_object *rule = json_object_array_get_idx(run->rules, i);
		const char *id = json_get_str(rule, "id");

		if (id)
			json_put_obj(run->by_id, id, json_object_get(rule));
	}
	return 0;
}

static int read_run(struct json_object *o, const char *scanner, const char *root,
		    struct findings *f, struct error *err)
{
	struct json_object *tool = json_get(o, "tool", json_type_object);
	struct json_object *driver = json_get(tool, "driver", json_type_object);
	struct json_object *results = json_get(o, "results", json_type_array);
	cleanup_json struct json_object *by_id = json_object_new_object();
	struct run run = {.scanner = scanner,
			  .root = root,
			  .rules = json_get(driver, "rules", json_type_array),
			  .by_id = by_id,
			  .f = f};
	int r = 0;

	if (has_failed(o))
		return error_set(err, EINVAL, "its SARIF says that the scan did not succeed");
	/* Absent or null means that nothing was looked for: section 3.14.23. */
	if (!driver || !results || index_rules(&run) < 0)
		return error_set(err, EINVAL, "a run of its SARIF has no tool or no results");
	for (size_t i = 0; i < json_object_array_length(results) && r == 0; i++)
		r = read_result(&run, json_object_array_get_idx(results, i));
	return r < 0 ? error_set(err, EINVAL, "a result of its SARIF makes no sense") : 0;
}

int sarif_read(const char *text, size_t len, const char *scanner, const char *root,
	       struct findings *f, struct error *err)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *runs;
	int r = json_parse(text, len, "its SARIF", &o, err);

	if (r < 0)
		return r;
	runs = json_get(o, "runs", json_type_array);
	if (!text_is(json_get_str(o, "version"), "2.1.0") || !runs ||
	    !json_object_array_length(runs))
		return error_set(err, EINVAL, "its output is no SARIF 2.1.0 with a run");
	for (size_t i = 0; i < json_object_array_length(runs) && r == 0; i++)
		r = read_run(json_object_array_get_idx(runs, i), scanner, root, f, err);
	return r;
}

void status_read(const char *text, size_t len, const char *scanner, const char *root,
		 enum severity severity, struct findings *f)
{
	const char *end = text + len, *p = text;
	size_t skip = strlen(root);
	char check[64];
	bool any = false;

	snprintf(check, sizeof(check), "%s:status", scanner);
	while (p < end) {
		size_t n = (const char *)(memchr(p, '\n', end - p) ?: end) - p;
		char line[FINDING_PATH_MAX], *colon = NULL;

		snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : sizeof(line) - 1),
			 p);
		p += n + 1;
		if (!*line)
			continue;
		any = true;
		if (!strncmp(line, root, skip) && line[skip] == '/')
			colon = strstr(line, ": ");
		if (colon)
			*colon = '\0';
		findings_add(f, check, severity, colon ? line + skip : NULL, "%s",
			     colon ? colon + 2 : line);
	}
	if (!any)
		findings_add(f, check, severity, NULL,
			     "its exit status says that it found something");
}
