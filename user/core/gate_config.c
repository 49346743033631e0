// SPDX-License-Identifier: MIT
/* The configuration of the gate. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "common/fd.h"
#include "core/digest.h"
#include "core/gate.h"

#define SCANNER_FILE_MAX  (64 << 10)
#define SCANNER_ARGS_MAX  64
#define SCANNER_NAME_MAX  32
#define SCANNER_TIMEOUT_S 1500	      /* less than recapd gives a worker */
#define SOURCE_MAX	  (100 << 10) /* an argument of a program has 128 KiB at most */
#define MAX_AGE_S	  (10ll * 365 * 24 * 3600)

static const char *const severities[] = {"ignore", "low", "medium", "high", "critical"};

int severity_parse(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(severities); i++)
		if (!strcmp(name, severities[i]))
			return (int)i;
	return -1;
}

const char *severity_name(enum severity s)
{
	return severities[s];
}

/* ---- scanners ---- */

static bool is_name(const char *s)
{
	size_t len = s ? strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") : 0;

	return len > 0 && len <= SCANNER_NAME_MAX && !s[len];
}

/* Exit statuses: a list of numbers from 0 to 255. */
static bool are_statuses(struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *v = json_object_array_get_idx(list, i);

		if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0 ||
		    json_object_get_int64(v) > 255)
			return false;
	}
	return true;
}

static bool are_absolute(struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *path = json_object_get_string(json_object_array_get_idx(list, i));

		if (!path || path[0] != '/' || strstr(path, "/../"))
			return false;
	}
	return true;
}

static int check_strings(struct json_object *scanner, const char *key, const char *what,
			 struct error *err)
{
	cleanup_strv char **v = NULL;

	if (json_get_strv(scanner, key, SCANNER_ARGS_MAX, &v) < 0)
		return error_set(err, EINVAL, "%s: %s must be a list of at most %d strings", what,
				 key, SCANNER_ARGS_MAX);
	return 0;
}

/* The members of a scanner, and their types. */
static const struct {
	const char *key;
	enum json_type type;
} scanner_members[] = {
	{"name", json_type_string},
	{"argv", json_type_array},
	{"version_argv", json_type_array},
	{"output", json_type_string},
	{"severity", json_type_string},
	{"ok_status", json_type_array},
	{"finding_status", json_type_array},
	{"network", json_type_boolean},
	{"timeout_s", json_type_int},
	{"paths", json_type_array},
	{"env", json_type_array},
};

static int check_member(const char *key, struct json_object *value, const char *what,
			struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(scanner_members); i++)
		if (!strcmp(key, scanner_members[i].key))
			return json_object_is_type(value, scanner_members[i].type)
				       ? 0
				       : error_set(err, EINVAL, "%s: %s must be a %s", what, key,
						   json_type_to_name(scanner_members[i].type));
	return error_set(err, EINVAL, "%s: a scanner has no member \"%.64s\"", what, key);
}

static int check_scanner_values(struct json_object *s, const char *what, struct error *err)
{
	const char *output = json_get_str(s, "output");
	struct json_object *ok = json_get(s, "ok_status", json_type_array);
	struct json_object *bad = json_get(s, "finding_status", json_type_array);
	struct json_object *paths = json_get(s, "paths", json_type_array);
	struct json_object *argv = json_get(s, "argv", json_type_array);
	const char *severity = json_get_str(s, "severity");
	int64_t timeout = json_get_int(s, "timeout_s", 300);

	if (!is_name(json_get_str(s, "name")))
		return error_set(err, EINVAL,
				 "%s: a scanner needs a name of at most %d of a-z, 0-9 and -", what,
				 SCANNER_NAME_MAX);
	if (!argv || !json_object_array_length(argv))
		return error_set(err, EINVAL, "%s: scanner %s needs an argv", what,
				 json_get_str(s, "name"));
	if (!output || (strcmp(output, "sarif") && strcmp(output, "status")))
		return error_set(err, EINVAL, "%s: output must be \"sarif\" or \"status\"", what);
	if (severity && severity_parse(severity) < SEVERITY_LOW)
		return error_set(err, EINVAL, "%s: severity must be low, medium, high or critical",
				 what);
	if ((ok && !are_statuses(ok)) || (bad && !are_statuses(bad)))
		return error_set(err, EINVAL, "%s: exit statuses must be numbers from 0 to 255",
				 what);
	if (paths && !are_absolute(paths))
		return error_set(err, EINVAL, "%s: paths must be absolute", what);
	if (timeout < 1 || timeout > SCANNER_TIMEOUT_S)
		return error_set(err, EINVAL, "%s: timeout_s must be from 1 to %d", what,
				 SCANNER_TIMEOUT_S);
	return 0;
}

static int check_scanner(struct json_object *s, const char *what, struct error *err)
{
	static const char *const lists[] = {"argv", "version_argv", "paths", "env"};
	int r = 0;

	json_object_object_foreach (s, key, value) {
		r = check_member(key, value, what, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++)
		r = check_strings(s, lists[i], what, err);
	return r < 0 ? r : check_scanner_values(s, what, err);
}

/* A scanner that is named: the shipped one of that name, or the file at an absolute path. */
static int read_scanner(const char *name, struct json_object **ret, struct error *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *text = NULL;
	char path[PATH_MAX];
	size_t len;
	int r;

	if (name[0] == '/')
		snprintf(path, sizeof(path), "%s", name);
	else if (is_name(name))
		snprintf(path, sizeof(path), "%s/scanners/%s.json", RECAP_DATADIR, name);
	else
		return error_set(err, EINVAL,
				 "scanner \"%.64s\" is neither a name nor an absolute path", name);
	r = fd_read_file(AT_FDCWD, path, SCANNER_FILE_MAX, &text, &len);
	if (r < 0)
		return error_sys(err, -r, "cannot read the scanner's file %s", path);
	r = json_parse(text, len, path, &o, err);
	if (r == 0 && !json_object_is_type(o, json_type_object))
		r = error_set(err, EINVAL, "%s must hold a JSON object", path);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

static bool name_is_taken(struct json_object *list, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (!strcmp(name, json_get_str(json_object_array_get_idx(list, i), "name")))
			return true;
	return false;
}

static int add_scanner(struct json_object *list, struct json_object *item, const char *what,
		       struct error *err)
{
	cleanup_json struct json_object *scanner = NULL;
	int r = 0;

	if (json_object_is_type(item, json_type_string) &&
	    read_scanner(json_object_get_string(item), &scanner, err) < 0)
		r = error_prefix(err, "%s.scanners", what);
	else if (json_object_is_type(item, json_type_string))
		r = 0;
	else if (json_object_is_type(item, json_type_object))
		scanner = json_object_get(item);
	else
		r = error_set(err, EINVAL, "%s: scanners must be names or objects", what);
	if (r == 0)
		r = check_scanner(scanner, what, err);
	if (r == 0 && name_is_taken(list, json_get_str(scanner, "name")))
		r = error_set(err, EINVAL, "%s: two scanners are called %s", what,
			      json_get_str(scanner, "name"));
	if (r == 0)
		json_object_array_add(list, TAKE_PTR(scanner));
	return r;
}

static int read_scanners(struct json_object *gate, const char *what, struct json_object **ret,
			 struct error *err)
{
	struct json_object *items = json_get(gate, "scanners", json_type_array);
	cleanup_json struct json_object *list = json_object_new_array();
	size_t n = items ? json_object_array_length(items) : 0;
	int r = n > GATE_SCANNERS_MAX ? error_set(err, EINVAL, "%s: more than %d scanners", what,
						  GATE_SCANNERS_MAX)
				      : 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_scanner(list, json_object_array_get_idx(items, i), what, err);
	if (r == 0)
		*ret = TAKE_PTR(list);
	return r;
}

/* ---- the rest ---- */

static const struct {
	const char *key;
	enum json_type type;
} gate_members[] = {
	{"scan", json_type_string},	     {"max_age_s", json_type_int},
	{"fail_severity", json_type_string}, {"checks", json_type_object},
	{"osv_dir", json_type_string},	     {"scanners", json_type_array},
	{"signatures", json_type_string},    {"keys", json_type_array},
	{"allow", json_type_array},
};

static int check_gate_member(const char *key, struct json_object *value, const char *what,
			     struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(gate_members); i++)
		if (!strcmp(key, gate_members[i].key))
			return json_object_is_type(value, gate_members[i].type)
				       ? 0
				       : error_set(err, EINVAL, "%s.%s must be a %s", what, key,
						   json_type_to_name(gate_members[i].type));
	return error_set(err, EINVAL, "%s has no setting called %.64s; recapd(8) lists them", what,
			 key);
}

static int read_switch(struct json_object *gate, const char *key, const char *what, bool *ret,
		       struct error *err)
{
	const char *text = json_get_str(gate, key);

	*ret = text && !strcmp(text, "required");
	if (!text || *ret || !strcmp(text, "off"))
		return 0;
	return error_set(err, EINVAL, "%s.%s must be \"off\" or \"required\", not \"%.64s\"", what,
			 key, text);
}

static int read_severities(struct json_object *gate, const char *what, struct gate_config *c,
			   struct error *err)
{
	struct json_object *checks = json_get(gate, "checks", json_type_object);
	const char *fail = json_get_str(gate, "fail_severity") ?: "high";
	int s = severity_parse(fail);

	if (s < SEVERITY_LOW)
		return error_set(err, EINVAL,
				 "%s.fail_severity must be low, medium, high or critical, not "
				 "\"%.64s\"",
				 what, fail);
	c->fail = s;
	if (!checks)
		return 0;
	if (json_object_object_length(checks) > GATE_CHECKS_MAX)
		return error_set(err, EINVAL, "%s.checks has more than %d members", what,
				 GATE_CHECKS_MAX);
	json_object_object_foreach (checks, key, value) {
		if (!json_object_is_type(value, json_type_string) ||
		    severity_parse(json_object_get_string(value)) < 0)
			return error_set(err, EINVAL,
					 "%s.checks: %.64s must be ignore, low, medium, high or "
					 "critical",
					 what, key);
	}
	c->checks = json_object_get(checks);
	return 0;
}

static int read_lists(struct json_object *gate, const char *what, struct gate_config *c,
		      struct error *err)
{
	if (json_get_strv(gate, "keys", GATE_KEYS_MAX, &c->keys) < 0)
		return error_set(err, EINVAL, "%s.keys must be a list of at most %d paths", what,
				 GATE_KEYS_MAX);
	if (json_get_strv(gate, "allow", GATE_ALLOW_MAX, &c->allow) < 0)
		return error_set(err, EINVAL, "%s.allow must be a list of at most %d digests", what,
				 GATE_ALLOW_MAX);
	c->has_allow = json_get(gate, "allow", json_type_array) != NULL;
	for (char **k = c->keys; *k; k++)
		if (**k != '/')
			return error_set(err, EINVAL,
					 "%s.keys must be absolute paths, not \"%.64s\"", what, *k);
	for (char **d = c->allow; *d; d++)
		if (!digest_valid(*d))
			return error_set(err, EINVAL,
					 "%s.allow must be digests (sha256: and 64 digits), not "
					 "\"%.80s\"",
					 what, *d);
	if (c->signatures_required && !*c->keys)
		return error_set(err, EINVAL, "%s.signatures is required, but %s.keys names no key",
				 what, what);
	return 0;
}

static int read_age(struct json_object *gate, const char *what, struct gate_config *c,
		    struct error *err)
{
	c->max_age_s = json_get_int(gate, "max_age_s", 0);
	if (!json_get(gate, "max_age_s", json_type_int) ||
	    (c->max_age_s > 0 && c->max_age_s <= MAX_AGE_S))
		return 0;
	return error_set(err, EINVAL, "%s.max_age_s must be from 1 to %lld", what, MAX_AGE_S);
}

/* Two objects: what verdicts are compared by, and the whole for the worker. */
static int put_together(struct json_object *gate, const char *what, struct gate_config *c,
			struct error *err)
{
	const char *osv = json_get_str(gate, "osv_dir");
	struct json_object *scanners = NULL;
	int r = read_scanners(gate, what, &scanners, err);

	if (r < 0)
		return r;
	c->made_under = json_object_new_object();
	json_put_int(c->made_under, "format", GATE_FORMAT);
	json_put_str(c->made_under, "osv_dir", osv);
	json_put_obj(c->made_under, "scanners", scanners);
	c->source = json_object_new_object();
	if (gate) {
		json_object_object_foreach (gate, key, value) {
			if (strcmp(key, "allow"))
				json_put_obj(c->source, key, json_object_get(value));
		}
	}
	json_put_obj(c->source, "scanners", json_object_get(scanners));
	if (strlen(json_object_to_json_string_ext(c->source, JSON_C_TO_STRING_PLAIN)) > SOURCE_MAX)
		return error_set(err, E2BIG, "%s with its scanners is longer than %d KiB", what,
				 SOURCE_MAX >> 10);
	if (osv && osv[0] != '/')
		return error_set(err, EINVAL, "%s.osv_dir must be an absolute path, not \"%.64s\"",
				 what, osv);
	return 0;
}

static int parse(struct json_object *gate, const char *what, struct gate_config *c,
		 struct error *err)
{
	int r = 0;

	if (gate && !json_object_is_type(gate, json_type_object))
		return error_set(err, EINVAL, "%s must be an object", what);
	if (gate) {
		json_object_object_foreach (gate, key, value) {
			r = check_gate_member(key, value, what, err);
			if (r < 0)
				return r;
		}
	}
	r = read_switch(gate, "scan", what, &c->scan_required, err);
	if (r == 0)
		r = read_switch(gate, "signatures", what, &c->signatures_required, err);
	if (r == 0)
		r = read_age(gate, what, c, err);
	if (r == 0)
		r = read_severities(gate, what, c, err);
	if (r == 0)
		r = read_lists(gate, what, c, err);
	return r < 0 ? r : put_together(gate, what, c, err);
}

int gate_config_parse(struct json_object *gate, const char *what, struct gate_config *ret,
		      struct error *err)
{
	struct gate_config c = {};
	int r = parse(gate, what, &c, err);

	if (r < 0) {
		gate_config_release(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void gate_config_release(struct gate_config *c)
{
	json_object_put(c->checks);
	json_object_put(c->made_under);
	json_object_put(c->source);
	strv_free(c->keys);
	strv_free(c->allow);
	*c = (struct gate_config){};
}

/* ---- keys ---- */

/* The Base64 of the 12 bytes of DER that say "an Ed25519 public key" (RFC 8410): they end with a whole group. */
#define ED25519_DER "MCowBQYDK2VwAyEA"
#define PEM_BEGIN   "-----BEGIN PUBLIC KEY-----"
#define PEM_END	    "-----END PUBLIC KEY-----"

int gate_read_key(const char *path, char ret[GATE_KEY_TEXT], struct error *err)
{
	char text[2048], key[GATE_KEY_TEXT];
	int r = fd_read_small(AT_FDCWD, path, text, sizeof(text));
	const char *p;
	size_t n = 0;

	if (r < 0)
		return error_sys(err, -r, "cannot read the public key %s", path);
	p = strstr(text, PEM_BEGIN);
	for (p = p ? p + strlen(PEM_BEGIN) : ""; *p && *p != '-' && n < sizeof(key); p++)
		if (!strchr(" \t\r\n", *p))
			key[n++] = *p;
	if (n != GATE_KEY_TEXT - 1 || strncmp(p, PEM_END, strlen(PEM_END)) ||
	    strncmp(key, ED25519_DER, strlen(ED25519_DER)))
		return error_set(err, EINVAL,
				 "%s holds no Ed25519 public key in PEM (make one with `openssl "
				 "pkey -in KEY -pubout`)",
				 path);
	key[n] = '\0';
	strcpy(ret, key);
	return 0;
}
