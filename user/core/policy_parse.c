// SPDX-License-Identifier: MIT
/* From the text of policy.json to rules. */
#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/digest.h"
#include "core/gate.h"
#include "core/policy.h"
#include "core/policy_internal.h"
#include "core/sandbox.h"
#include "core/target.h"

#define MEMBERS_MAX 512 /* of one object: each is compared with all before it */
#define DEPTH_MAX   8

/* ---- keys that are there twice ---------------------------------------------------------------- */

/* json-c keeps the last of several members with one name, and a reader of the file may believe the first. */
struct keys {
	const char *p, *end;
	unsigned int line;
};

struct key {
	const char *text;
	size_t len;
};

static void skip_space(struct keys *k)
{
	for (; k->p < k->end && strchr(" \t\r\n", *k->p); k->p++)
		k->line += *k->p == '\n';
}

/* The text is valid JSON: strings end. */
static struct key skip_string(struct keys *k)
{
	const char *start = ++k->p;

	while (k->p < k->end && *k->p != '"')
		k->p += *k->p == '\\' ? 2 : 1;
	return (struct key){start, k->p++ - start};
}

static int check_key(const struct keys *k, const struct key *known, size_t n, struct key key,
		     struct error *err)
{
	if (n == MEMBERS_MAX)
		return error_set(err, E2BIG, "line %u: an object has more than %d members", k->line,
				 MEMBERS_MAX);
	/* Two spellings of one name would be two names here. */
	if (memchr(key.text, '\\', key.len))
		return error_set(err, EINVAL, "line %u: a member's name has a backslash", k->line);
	for (size_t i = 0; i < n; i++)
		if (known[i].len == key.len && !memcmp(known[i].text, key.text, key.len))
			return error_set(err, EINVAL, "line %u: \"%.*s\" is there twice", k->line,
					 (int)(key.len < 64 ? key.len : 64), key.text);
	return 0;
}

static int check_value(struct keys *k, int depth, struct error *err);

static int check_object(struct keys *k, int depth, struct error *err)
{
	cleanup_free struct key *known = calloc(MEMBERS_MAX, sizeof(*known));
	size_t n = 0;
	int r = known ? 0 : error_set(err, ENOMEM, "out of memory");

	for (k->p++, skip_space(k); r == 0 && k->p < k->end && *k->p != '}'; skip_space(k)) {
		struct key key;

		if (*k->p == ',') {
			k->p++;
			continue;
		}
		key = skip_string(k);
		r = check_key(k, known, n, key, err);
		if (r < 0)
			return r;
		known[n++] = key;
		skip_space(k);
		k->p++; /* the colon */
		r = check_value(k, depth, err);
	}
	k->p++;
	return r;
}

static int check_array(struct keys *k, int depth, struct error *err)
{
	int r = 0;

	for (k->p++, skip_space(k); r == 0 && k->p < k->end && *k->p != ']'; skip_space(k)) {
		if (*k->p == ',')
			k->p++;
		else
			r = check_value(k, depth, err);
	}
	k->p++;
	return r;
}

static int check_value(struct keys *k, int depth, struct error *err)
{
	skip_space(k);
	if (depth == DEPTH_MAX)
		return error_set(err, EINVAL, "line %u: this is nested too deeply", k->line);
	if (k->p < k->end && *k->p == '{')
		return check_object(k, depth + 1, err);
	if (k->p < k->end && *k->p == '[')
		return check_array(k, depth + 1, err);
	if (k->p < k->end && *k->p == '"') {
		skip_string(k);
		return 0;
	}
	while (k->p < k->end && !strchr(",]} \t\r\n", *k->p))
		k->p++;
	return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

struct reader {
	const struct policy_names *names;
	struct policy_rule *rule;
	struct error *err;
};

static int bad(struct reader *d, const char *key, const char *wanted)
{
	return error_set(d->err, EINVAL, "%s must be %s", key, wanted);
}

/* A text that is not empty, without controls, and whole. */
static const char *plain(struct json_object *v)
{
	const char *s = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
	size_t len = strlen(s);

	if (len == 0 || len > POLICY_STRING_MAX || len != (size_t)json_object_get_string_len(v))
		return NULL;
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return NULL;
	return s;
}

/* A list that has at least one item: an empty one would say nothing, or "nothing", and nobody knows which. */
static int list_size(struct reader *d, const char *key, struct json_object *v, size_t *ret)
{
	*ret = json_object_is_type(v, json_type_array) ? json_object_array_length(v) : 0;
	if (*ret < 1 || *ret > POLICY_LIST_MAX)
		return error_set(d->err, EINVAL, "%s must be a list of 1 to %d items", key,
				 POLICY_LIST_MAX);
	return 0;
}

/* A list of texts that `fits` all accepts; `wanted` says what it does. */
static int get_texts(struct reader *d, const char *key, struct json_object *v,
		     bool (*fits)(const char *), const char *wanted, char ***ret)
{
	cleanup_strv char **list = NULL;
	size_t n;
	int r = list_size(d, key, v, &n);

	if (r < 0)
		return r;
	list = calloc(n + 1, sizeof(*list));
	for (size_t i = 0; list && i < n; i++) {
		const char *s = plain(json_object_array_get_idx(v, i));

		if (!s || !fits(s))
			return bad(d, key, wanted);
		list[i] = strdup(s);
		if (!list[i])
			return error_set(d->err, ENOMEM, "out of memory");
	}
	if (!list)
		return error_set(d->err, ENOMEM, "out of memory");
	*ret = TAKE_PTR(list);
	return 0;
}

/* Only "*" and "?" are special: what else fnmatch(3) knows is refused rather than taken for itself. */
static bool is_pattern(const char *s)
{
	return !strpbrk(s, "[]\\");
}

static bool is_digest(const char *s)
{
	return digest_valid(s);
}

static bool is_runtime(const char *s)
{
	static const char *const all[] = {"docker", "containerd", "podman",
					  "runc",   "crun",	  "unknown"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i], s))
			return true;
	return false;
}

static bool is_profile(const char *s)
{
	static const char *const all[] = {"default", "ptrace", "net", "custom", "unconfined"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i], s))
			return true;
	return false;
}

static bool is_target_root(const char *s)
{
	return !strcmp(s, "none") || !strcmp(s, "ro") || !strcmp(s, "rw");
}

static int get_bool(struct reader *d, const char *key, struct json_object *v, bool *ret)
{
	if (!json_object_is_type(v, json_type_boolean))
		return bad(d, key, "true or false");
	*ret = json_object_get_boolean(v);
	return 0;
}

/* ---- who ------------------------------------------------------------------------------------- */

static bool id_of_number(const char *s, uint32_t *ret)
{
	unsigned long v = strtoul(s, NULL, 10);

	if (!*s || strlen(s) > 10 || strspn(s, "0123456789") != strlen(s) || v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* A number, a text that is one, or a name where `find` can tell its number. */
static int get_id(struct reader *d, const char *key, struct json_object *v,
		  int (*find)(const char *, uint32_t *), uint32_t *ret)
{
	const char *s = plain(v);
	int64_t n = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

	if (n >= 0 && n < UINT32_MAX) {
		*ret = (uint32_t)n;
		return 0;
	}
	if (s && id_of_number(s, ret))
		return 0;
	if (!s || !find)
		return bad(d, key, find ? "a list of names and numbers" : "a list of numbers");
	if (find(s, ret) < 0)
		return error_set(d->err, EINVAL,
				 "%s: there is no \"%.64s\" on this machine; give its number", key,
				 s);
	return 0;
}

static int get_ids(struct reader *d, const char *key, struct json_object *v,
		   int (*find)(const char *, uint32_t *), struct policy_ids *ret)
{
	size_t n;
	int r = list_size(d, key, v, &n);

	if (r < 0)
		return r;
	ret->v = calloc(n, sizeof(*ret->v));
	if (!ret->v)
		return error_set(d->err, ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_object *item = json_object_array_get_idx(v, i);
		const char *s = plain(item);

		if (s && !strcmp(s, "*"))
			ret->any = true;
		else
			r = get_id(d, key, item, find, &ret->v[ret->n++]);
	}
	return r;
}

static int parse_users(struct reader *d, struct json_object *v)
{
	return get_ids(d, "users", v, d->names->user, &d->rule->users);
}

static int parse_groups(struct reader *d, struct json_object *v)
{
	return get_ids(d, "groups", v, d->names->group, &d->rule->groups);
}

static int parse_verbs(struct reader *d, struct json_object *v)
{
	size_t n;
	int r = list_size(d, "verbs", v, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *s = plain(json_object_array_get_idx(v, i));
		int verb = s ? policy_verb(s) : -1;

		if (s && !strcmp(s, "*"))
			d->rule->verbs = ~0ull;
		else if (verb >= 0)
			d->rule->verbs |= 1ull << verb;
		else
			r = error_set(d->err, EINVAL, "verbs: there is no verb \"%.32s\"",
				      s ? s : "");
	}
	return r;
}

static int parse_own(struct reader *d, struct json_object *v)
{
	int r = get_bool(d, "own", v, &d->rule->own);

	return r == 0 && !d->rule->own ? bad(d, "own", "true, or left out") : r;
}

static int parse_decision(struct reader *d, struct json_object *v)
{
	const char *s = plain(v);

	d->rule->allow = s && !strcmp(s, "allow");
	return d->rule->allow || (s && !strcmp(s, "deny"))
		       ? 0
		       : bad(d, "decision", "\"allow\" or \"deny\"");
}

static int parse_name(struct reader *d, struct json_object *v)
{
	const char *s = plain(v);

	if (!s || strlen(s) > POLICY_NAME_MAX || strchr(s, '"'))
		return bad(d, "name", "a text of 1 to 64 bytes without quotes");
	d->rule->name = strdup(s);
	return d->rule->name ? 0 : error_set(d->err, ENOMEM, "out of memory");
}

/* ---- image and target ------------------------------------------------------------------------ */

struct member {
	const char *key;
	int (*parse)(struct reader *d, struct json_object *v);
	bool allow_only; /* of no sense where a rule denies */
};

static int parse_members(struct reader *d, const char *what, struct json_object *o,
			 const struct member *members)
{
	if (!json_object_is_type(o, json_type_object) || json_object_object_length(o) == 0)
		return bad(d, what, "an object that is not empty");
	json_object_object_foreach (o, key, value) {
		const struct member *m = members;
		int r;

		while (m->key && strcmp(m->key, key))
			m++;
		if (!m->key)
			return error_set(d->err, EINVAL, "there is no \"%.64s\" in %s", key, what);
		r = m->parse(d, value);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_reference(struct reader *d, struct json_object *v)
{
	return get_texts(d, "images.reference", v, is_pattern,
			 "a list of patterns, in which only * and ? are special",
			 &d->rule->references);
}

static int parse_digest(struct reader *d, struct json_object *v)
{
	return get_texts(d, "images.digest", v, is_digest, "a list of digests (sha256:...)",
			 &d->rule->digests);
}

static int parse_signed(struct reader *d, struct json_object *v)
{
	bool is = false;
	int r = get_bool(d, "images.signed", v, &is);

	d->rule->is_signed = is;
	return r;
}

static int parse_verdict(struct reader *d, struct json_object *v)
{
	static const char *const names[] = {"none", "ok", "stale", "refused"}; /* enum gate_state */
	size_t n;
	int r = list_size(d, "images.verdict", v, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *s = plain(json_object_array_get_idx(v, i));
		size_t state = 0;

		while (state < ARRAY_SIZE(names) && (!s || strcmp(s, names[state])))
			state++;
		if (state == ARRAY_SIZE(names))
			return bad(d, "images.verdict", "a list of ok, refused, stale and none");
		d->rule->verdicts |= 1u << state;
	}
	return r;
}

static const struct member image_members[] = {{"reference", parse_reference, false},
					      {"digest", parse_digest, false},
					      {"signed", parse_signed, false},
					      {"verdict", parse_verdict, false},
					      {}};

static int parse_images(struct reader *d, struct json_object *v)
{
	d->rule->has_images = true;
	return parse_members(d, "images", v, image_members);
}

static int parse_runtime(struct reader *d, struct json_object *v)
{
	return get_texts(d, "targets.runtime", v, is_runtime,
			 "a list of docker, containerd, podman, runc, crun and unknown",
			 &d->rule->runtimes);
}

static int parse_target_name(struct reader *d, struct json_object *v)
{
	return get_texts(d, "targets.name", v, is_pattern,
			 "a list of patterns, in which only * and ? are special",
			 &d->rule->target_names);
}

static int parse_pod_namespace(struct reader *d, struct json_object *v)
{
	return get_texts(d, "targets.pod_namespace", v, is_pattern,
			 "a list of patterns, in which only * and ? are special",
			 &d->rule->pod_namespaces);
}

static int parse_labels(struct reader *d, struct json_object *v)
{
	size_t n = json_object_is_type(v, json_type_object) ? json_object_object_length(v) : 0,
	       i = 0;

	if (n < 1 || n > POLICY_LIST_MAX)
		return bad(d, "targets.labels", "an object of labels and patterns");
	d->rule->labels = calloc(2 * n + 1, sizeof(char *));
	if (!d->rule->labels)
		return error_set(d->err, ENOMEM, "out of memory");
	json_object_object_foreach (v, key, value) {
		const char *s = plain(value);

		if (!s || !is_pattern(s) || !*key)
			return bad(
				d, "targets.labels",
				"an object of labels and patterns, in which only * and ? are special");
		d->rule->labels[i++] = strdup(key);
		if (d->rule->labels[i - 1])
			d->rule->labels[i++] = strdup(s);
		if (!d->rule->labels[i - 1])
			return error_set(d->err, ENOMEM, "out of memory");
	}
	return 0;
}

static const struct member target_members[] = {{"runtime", parse_runtime, false},
					       {"name", parse_target_name, false},
					       {"labels", parse_labels, false},
					       {"pod_namespace", parse_pod_namespace, false},
					       {}};

static int parse_targets(struct reader *d, struct json_object *v)
{
	d->rule->has_targets = true;
	return parse_members(d, "targets", v, target_members);
}

/* ---- how much -------------------------------------------------------------------------------- */

static int parse_namespaces(struct reader *d, struct json_object *v)
{
	size_t n;
	int r = list_size(d, "namespaces", v, &n);

	d->rule->bounds |= BOUND_NAMESPACES;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *s = plain(json_object_array_get_idx(v, i));
		char *const one[] = {(char *)s, NULL};
		unsigned int mask;

		if (s && !strcmp(s, "host-user"))
			mask = POLICY_NS_HOST_USER;
		else if (!s || target_ns_parse(one, &mask, NULL) < 0)
			return bad(d, "namespaces",
				   "a list of pid, net, ipc, uts, cgroup, user and host-user");
		d->rule->namespaces |= mask;
	}
	return r;
}

static int parse_capabilities(struct reader *d, struct json_object *v)
{
	size_t n;
	int r = list_size(d, "capabilities", v, &n);

	d->rule->bounds |= BOUND_CAPS;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *s = plain(json_object_array_get_idx(v, i));
		char *const one[] = {(char *)s, NULL};
		struct sandbox sandbox;

		if (s && !strcmp(s, "*"))
			sandbox.added = ~0ull;
		else if (!s || sandbox_make(one, NULL, "unconfined", &sandbox, NULL) < 0)
			return error_set(
				d->err, EINVAL,
				"capabilities: \"%.32s\" is none; capabilities(7) lists them",
				s ? s : "");
		d->rule->caps |= sandbox.added;
	}
	return r;
}

static int parse_seccomp(struct reader *d, struct json_object *v)
{
	d->rule->bounds |= BOUND_SECCOMP;
	return get_texts(d, "seccomp", v, is_profile,
			 "a list of default, ptrace, net, custom and unconfined",
			 &d->rule->seccomp);
}

static int parse_target_root(struct reader *d, struct json_object *v)
{
	d->rule->bounds |= BOUND_TARGET_ROOT;
	return get_texts(d, "target_root", v, is_target_root, "a list of none, ro and rw",
			 &d->rule->target_roots);
}

static int parse_user(struct reader *d, struct json_object *v)
{
	int r = get_ids(d, "user", v, NULL, &d->rule->run_as);

	d->rule->bounds |= BOUND_RUN_AS;
	return r == 0 && d->rule->run_as.any ? bad(d, "user", "a list of numbers, or left out") : r;
}

static int parse_entrypoint(struct reader *d, struct json_object *v)
{
	int r = get_bool(d, "entrypoint", v, &d->rule->entrypoint);

	d->rule->bounds |= BOUND_ENTRYPOINT;
	return r == 0 && !d->rule->allow && !d->rule->entrypoint
		       ? bad(d, "entrypoint", "true where a rule denies")
		       : r;
}

/* The least of each is what an attach may ask for: see the interface. */
static int parse_limits(struct reader *d, struct json_object *v)
{
	static const int64_t least[POLICY_LIMITS] = {1 << 20, 10, 2, 64 << 10, 1};
	static const int64_t most[POLICY_LIMITS] = {INT64_MAX, 1000000, 1 << 22, 64ll << 30,
						    365ll * 24 * 3600};

	if (!json_object_is_type(v, json_type_object) || json_object_object_length(v) == 0)
		return bad(d, "limits", "an object that is not empty");
	json_object_object_foreach (v, key, value) {
		int64_t n = json_object_is_type(value, json_type_int) ? json_object_get_int64(value)
								      : -1;
		int i = 0;

		while (i < POLICY_LIMITS && strcmp(policy_limit_name(i), key))
			i++;
		if (i == POLICY_LIMITS)
			return error_set(d->err, EINVAL, "there is no \"%.64s\" in limits", key);
		if (n < least[i] || n > most[i])
			return error_set(d->err, EINVAL, "limits.%s must be from %lld to %lld", key,
					 (long long)least[i], (long long)most[i]);
		d->rule->limits[i] = (uint64_t)n;
	}
	return 0;
}

static int parse_require_reason(struct reader *d, struct json_object *v)
{
	return get_bool(d, "require_reason", v, &d->rule->require_reason);
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* In this order, whatever that of the file: the others ask what the decision is. */
static const struct member rule_members[] = {
	{"name", parse_name, false},
	{"decision", parse_decision, false},
	{"users", parse_users, false},
	{"groups", parse_groups, false},
	{"verbs", parse_verbs, false},
	{"own", parse_own, true},
	{"images", parse_images, false},
	{"targets", parse_targets, false},
	{"namespaces", parse_namespaces, false},
	{"capabilities", parse_capabilities, false},
	{"seccomp", parse_seccomp, false},
	{"target_root", parse_target_root, false},
	{"user", parse_user, false},
	{"entrypoint", parse_entrypoint, false},
	{"limits", parse_limits, true},
	{"require_reason", parse_require_reason, true},
	{},
};

static int check_members(struct reader *d, struct json_object *o)
{
	if (!json_object_is_type(o, json_type_object))
		return error_set(d->err, EINVAL, "it must be an object");
	json_object_object_foreach (o, key, value) {
		const struct member *m = rule_members;

		(void)value;
		while (m->key && strcmp(m->key, key))
			m++;
		if (!m->key)
			return error_set(d->err, EINVAL, "there is no \"%.64s\" in a rule", key);
	}
	return 0;
}

static int check_whole(struct reader *d)
{
	const struct policy_rule *r = d->rule;

	if (!r->users.any && !r->users.n && !r->groups.any && !r->groups.n)
		return error_set(d->err, EINVAL,
				 "it says for whom it is neither in users nor in groups");
	return r->verbs ? 0 : error_set(d->err, EINVAL, "it has no verbs");
}

static int parse_rule(struct reader *d, struct json_object *o)
{
	int r = check_members(d, o);

	d->rule->is_signed = -1;
	for (const struct member *m = rule_members; r == 0 && m->key; m++) {
		struct json_object *v;
		bool decided = m > rule_members + 1;

		if (!json_object_object_get_ex(o, m->key, &v)) {
			/* The first two must be there. */
			if (!decided)
				r = error_set(d->err, EINVAL, "it has no %s", m->key);
			continue;
		}
		if (m->allow_only && !d->rule->allow)
			r = error_set(d->err, EINVAL, "%s is of no use in a rule that denies",
				      m->key);
		else
			r = m->parse(d, v);
	}
	return r < 0 ? r : check_whole(d);
}

static int parse_rules(struct policy *p, struct json_object *list, const struct policy_names *names,
		       struct error *err)
{
	size_t n = json_object_array_length(list);

	if (n > POLICY_RULES_MAX)
		return error_set(err, E2BIG, "there are more than %d rules", POLICY_RULES_MAX);
	for (size_t i = 0; i < n; i++) {
		struct reader d = {.names = names, .rule = &p->rules[p->n++], .err = err};
		int r = parse_rule(&d, json_object_array_get_idx(list, i));

		for (size_t j = 0; r == 0 && j < i; j++)
			if (!strcmp(p->rules[j].name, d.rule->name))
				r = error_set(err, EINVAL, "rule %zu has that name, too", j + 1);
		if (r < 0)
			return error_prefix(err, "rule %zu (%s)", i + 1,
					    d.rule->name ? d.rule->name : "without a name");
	}
	return 0;
}

static int parse_policy(struct policy *p, struct json_object *o, const struct policy_names *names,
			struct error *err)
{
	struct json_object *rules = json_get(o, "rules", json_type_array);

	if (!json_object_is_type(o, json_type_object) || !rules)
		return error_set(err, EINVAL, "it must be an object with a list of rules");
	json_object_object_foreach (o, key, value) {
		(void)value;
		if (strcmp(key, "rules"))
			return error_set(err, EINVAL, "there is no \"%.64s\" beside rules", key);
	}
	return parse_rules(p, rules, names, err);
}

int policy_parse(const char *text, size_t len, const char *what, const struct policy_names *names,
		 struct policy **ret, struct error *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_policy struct policy *p = calloc(1, sizeof(*p));
	struct keys keys = {.p = text, .end = text + len, .line = 1};
	int r;

	if (!p)
		return error_set(err, ENOMEM, "out of memory");
	if (len > POLICY_FILE_MAX)
		return error_set(err, EFBIG, "%s is longer than %d bytes", what, POLICY_FILE_MAX);
	r = json_parse_hostile(text, len, what, &o, err);
	if (r < 0)
		return r;
	r = check_value(&keys, 0, err);
	if (r == 0)
		r = parse_policy(p, o, names, err);
	if (r < 0)
		return error_prefix(err, "%s", what);
	*ret = TAKE_PTR(p);
	return 0;
}

static void rule_release(struct policy_rule *r)
{
	free(r->name);
	free(r->users.v);
	free(r->groups.v);
	free(r->run_as.v);
	strv_free(r->references);
	strv_free(r->digests);
	strv_free(r->runtimes);
	strv_free(r->target_names);
	strv_free(r->pod_namespaces);
	strv_free(r->labels);
	strv_free(r->seccomp);
	strv_free(r->target_roots);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		rule_release(&p->rules[i]);
	free(p);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* What is read is what was looked at. Whoever may write to it decides who is root here. */
static int check_file(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EPERM, "%s is no regular file", path);
	if (st.st_uid != 0 || st.st_mode & 022)
		return error_set(err, EPERM,
				 "%s must be root's, and nobody else may write to it: chown root "
				 "and chmod go-w it",
				 path);
	return 0;
}

static int read_whole(int fd, const char *path, char **ret, size_t *ret_len, struct error *err)
{
	cleanup_free char *text = malloc(POLICY_FILE_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;

	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	while (n > 0 && len <= POLICY_FILE_MAX) {
		n = read(fd, text + len, POLICY_FILE_MAX + 1 - len);
		len += n > 0 ? n : 0;
	}
	if (n < 0)
		return error_sys(err, errno, "cannot read %s", path);
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

int policy_load(const char *path, const struct policy_names *names, struct policy **ret,
		struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r = fd < 0 ? error_sys(err, errno, "cannot open %s", path) : check_file(fd, path, err);

	if (r == 0)
		r = read_whole(fd, path, &text, &len, err);
	return r < 0 ? r : policy_parse(text, len, path, names, ret, err);
}
