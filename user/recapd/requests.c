// SPDX-License-Identifier: MIT
#include "recapd/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>

#include "core/image.h"
#include "core/sandbox.h"
#include "core/target.h"

#define LABEL	       "io.recap."
#define LABEL_TEXT_MAX 1024
#define TIMEOUT_MAX    (365ll * 24 * 3600)

struct request {
	const struct requests_config *config;
	const char *ref;
	struct json_object *labels, *params;
};

/* ---- the setting ---- */

static int get_choice(struct json_object *setting, const char *key, const char *usual,
		      const char *more, bool *ret, struct error *err)
{
	struct json_object *v = NULL;
	const char *text;

	json_object_object_get_ex(setting, key, &v);
	text = json_get_str(setting, key);
	*ret = text && !strcmp(text, more);
	if (!v || *ret || (text && !strcmp(text, usual)))
		return 0;
	return error_set(err, EINVAL, "image_requests: %s must be \"%s\" or \"%s\"", key, usual,
			 more);
}

static int get_caps(struct json_object *setting, uint64_t *ret, struct error *err)
{
	cleanup_strv char **names = NULL;

	if (json_get_strv(setting, "capabilities", 64, &names) < 0)
		return error_set(err, EINVAL,
				 "image_requests: capabilities must be a list of names");
	*ret = 0;
	for (char **name = names; *name; name++) {
		struct sandbox s;
		char *const one[] = {*name, NULL};

		if (sandbox_make(one, NULL, "unconfined", &s, err) < 0)
			return error_prefix(err, "image_requests");
		*ret |= s.added;
	}
	return 0;
}

int requests_config_parse(struct json_object *setting, struct requests_config *ret,
			  struct error *err)
{
	struct requests_config c = {};
	int r;

	if (setting && !json_object_is_type(setting, json_type_object))
		return error_set(err, EINVAL, "image_requests must be an object");
	if (setting) {
		json_object_object_foreach (setting, key, value) {
			(void)value;
			if (strcmp(key, "capabilities") && strcmp(key, "target_root") &&
			    strcmp(key, "seccomp"))
				return error_set(err, EINVAL,
						 "image_requests: there is no setting called %s; "
						 "recapd(8) lists them",
						 key);
		}
	}
	r = get_caps(setting, &c.caps, err);
	if (r == 0)
		r = get_choice(setting, "target_root", "ro", "rw", &c.root_rw, err);
	if (r == 0)
		r = get_choice(setting, "seccomp", "default", "unconfined", &c.unconfined, err);
	if (r == 0)
		*ret = c;
	return r;
}

/* ---- the labels ---- */

static int is_malformed(const struct request *q, const char *name, const char *value,
			const char *wanted, struct error *err)
{
	return image_invalid(err, "label " LABEL "%s of image %.128s is \"%.64s\", and must be %s",
			     name, q->ref, value, wanted);
}

static int is_too_much(const struct request *q, const char *name, const char *value,
		       const char *flag, const char *setting, struct error *err)
{
	return error_named(err, EPERM, "PermissionDenied",
			   "image %.128s asks for %s in its label " LABEL
			   "%s, which this node does "
			   "not grant by itself: attach with %s, or allow it in image_requests.%s "
			   "of recapd.json",
			   q->ref, value, name, flag, setting);
}

/* A label's text, when there is one and the caller did not say otherwise. */
static const char *wanted(const struct request *q, const char *name, const char *param)
{
	char label[64];

	if (json_object_object_get_ex(q->params, param, NULL))
		return NULL;
	snprintf(label, sizeof(label), LABEL "%s", name);
	return json_get_str(q->labels, label);
}

/* A comma-separated list, whose parts are names: letters, digits and "_". */
static int split(const struct request *q, const char *name, const char *text, char ***ret,
		 struct error *err)
{
	cleanup_strv char **v = calloc(LABEL_TEXT_MAX, sizeof(*v));
	size_t n = 0;

	if (!v)
		return error_set(err, ENOMEM, "out of memory");
	if (strlen(text) >= LABEL_TEXT_MAX)
		return is_malformed(q, name, text, "shorter", err);
	while (*text) {
		size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789_");

		if (len == 0 || (text[len] && (text[len] != ',' || !text[len + 1])))
			return is_malformed(q, name, text, "names with a comma between them", err);
		v[n] = strndup(text, len);
		if (!v[n++])
			return error_set(err, ENOMEM, "out of memory");
		text += len + (text[len] == ',');
	}
	if (n == 0)
		return is_malformed(q, name, text, "names with a comma between them", err);
	*ret = TAKE_PTR(v);
	return 0;
}

/*
 * Fewer namespaces are less power, since those left out are new ones; but for the user namespace, of which there is no
 * new one: the target's is always joined on a label's behalf.
 */
static int apply_namespaces(const struct request *q, struct error *err)
{
	const char *text = wanted(q, "namespaces", "namespaces");
	cleanup_strv char **names = NULL;
	struct json_object *list;
	unsigned int mask;
	int r;

	if (!text)
		return 0;
	r = split(q, "namespaces", text, &names, err);
	if (r < 0)
		return r;
	if (target_ns_parse(names, &mask, NULL) < 0)
		return is_malformed(q, "namespaces", text, "some of pid,net,ipc,uts,cgroup,user",
				    err);
	json_put_strv(q->params, "namespaces", names);
	list = json_get(q->params, "namespaces", json_type_array);
	json_object_array_add(list, json_object_new_string("user"));
	return 0;
}

/* Whether the caller's list has it; `name` may lack "CAP_" or have it, in either case of letters. */
static bool caller_has(const struct request *q, const char *param, uint64_t bit)
{
	struct json_object *list = json_get(q->params, param, json_type_array);

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(list, i));
		char *const one[] = {(char *)name, NULL};
		struct sandbox s;

		if (!name)
			continue;
		if (!strcasecmp(name, "all"))
			return true;
		if (sandbox_make(one, NULL, "unconfined", &s, NULL) == 0 && s.added == bit)
			return true;
	}
	return false;
}

static int apply_cap(const struct request *q, char *name, struct error *err)
{
	char *const one[] = {name, NULL};
	char flag[48];
	struct sandbox usual, with;
	struct json_object *list;

	if (sandbox_make(NULL, NULL, "unconfined", &usual, err) < 0 ||
	    sandbox_make(one, NULL, "unconfined", &with, NULL) < 0)
		return is_malformed(q, "capabilities", name, "names of capabilities(7)", err);
	if (caller_has(q, "cap_drop", with.added) || caller_has(q, "cap_add", with.added))
		return 0;
	snprintf(flag, sizeof(flag), "--cap-add %.32s", name);
	if (with.added & ~(usual.caps | q->config->caps))
		return is_too_much(q, "capabilities", name, flag, "capabilities", err);
	list = json_get(q->params, "cap_add", json_type_array);
	if (!list) {
		list = json_object_new_array();
		json_put_obj(q->params, "cap_add", list);
	}
	json_object_array_add(list, json_object_new_string(name));
	return 0;
}

static int apply_caps(const struct request *q, struct error *err)
{
	const char *text = json_get_str(q->labels, LABEL "capabilities");
	cleanup_strv char **names = NULL;
	int r;

	if (!text)
		return 0;
	r = split(q, "capabilities", text, &names, err);
	for (char **name = names; r == 0 && name && *name; name++)
		r = apply_cap(q, *name, err);
	return r;
}

/* The profile ptrace is what SYS_PTRACE opens in the default anyway: it goes with that, wherever that was granted or taken. */
static int apply_ptrace(const struct request *q, struct error *err)
{
	const uint64_t bit = 1ull << CAP_SYS_PTRACE;

	if (caller_has(q, "cap_add", bit) || q->config->unconfined || q->config->caps & bit)
		json_put_str(q->params, "seccomp", "ptrace");
	else if (!caller_has(q, "cap_drop", bit))
		return is_too_much(q, "seccomp", "ptrace", "--seccomp ptrace", "seccomp", err);
	return 0;
}

/* What the profile net opens is nothing without NET_ADMIN, which the kernel asks for itself: so it is granted. */
static int apply_seccomp(const struct request *q, struct error *err)
{
	const char *text = wanted(q, "seccomp", "seccomp");

	if (!text || json_object_object_get_ex(q->params, "seccomp_profile", NULL))
		return 0;
	if (!strcmp(text, "ptrace"))
		return apply_ptrace(q, err);
	if (strcmp(text, "default") && strcmp(text, "net") && strcmp(text, "unconfined"))
		return is_malformed(q, "seccomp", text, "default, ptrace, net or unconfined", err);
	if (!strcmp(text, "unconfined") && !q->config->unconfined)
		return is_too_much(q, "seccomp", text, "--seccomp unconfined", "seccomp", err);
	json_put_str(q->params, "seccomp", text);
	return 0;
}

static int apply_target_root(const struct request *q, struct error *err)
{
	const char *text = wanted(q, "target-root", "target_root");

	if (!text)
		return 0;
	if (strcmp(text, "none") && strcmp(text, "ro") && strcmp(text, "rw"))
		return is_malformed(q, "target-root", text, "none, ro or rw", err);
	if (!strcmp(text, "rw") && !q->config->root_rw)
		return is_too_much(q, "target-root", text, "--target-root rw", "target_root", err);
	json_put_str(q->params, "target_root", text);
	return 0;
}

static int apply_timeout(const struct request *q, struct error *err)
{
	const char *text = wanted(q, "timeout", "timeout_s");
	long long seconds;

	if (!text)
		return 0;
	if (!*text || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text))
		return is_malformed(q, "timeout", text, "a number of seconds", err);
	seconds = strtoll(text, NULL, 10);
	if (seconds < 1 || seconds > TIMEOUT_MAX)
		return is_malformed(q, "timeout", text, "from 1 second to a year", err);
	json_put_int(q->params, "timeout_s", seconds);
	return 0;
}

int requests_apply(const struct requests_config *config, const char *ref,
		   struct json_object *labels, struct json_object *params, struct error *err)
{
	const struct request q = {config, ref, labels, params};
	int r = apply_namespaces(&q, err);

	if (r == 0)
		r = apply_caps(&q, err);
	if (r == 0)
		r = apply_seccomp(&q, err);
	if (r == 0)
		r = apply_target_root(&q, err);
	return r < 0 ? r : apply_timeout(&q, err);
}
