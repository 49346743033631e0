// SPDX-License-Identifier: MIT
#include "recapd/audit_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/record.h"

void line_free(struct line *l)
{
	json_object_put(l->o);
}

/* Others' text, as much as may be of it. `max`: its own limit. */
static struct json_object *foreign(struct line *l, const char *text, size_t max)
{
	struct json_object *s = json_new_foreign(text, max < l->left ? max : l->left);
	size_t len = json_object_get_string_len(s);

	/* Escaped it may be too long after all. */
	if (len > l->left) {
		json_object_put(s);
		s = json_new_foreign(text, l->left / 3);
		len = json_object_get_string_len(s);
		l->cut = true;
	}
	l->cut |= strnlen(text, max + 1) > (max < l->left ? max : l->left);
	/* What is around it counts too, or a million empty strings would be nothing. */
	l->left -= len + 4 < l->left ? len + 4 : l->left;
	return s;
}

static void put_foreign(struct line *l, struct json_object *o, const char *key, const char *text)
{
	if (text)
		json_put_obj(o, key, foreign(l, text, LINE_TEXT_MAX));
}

static void put_now(struct json_object *o)
{
	struct timespec now;
	char text[96];
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (int)(now.tv_nsec / 1000));
	json_put_str(o, "time", text);
}

void line_put_who(struct line *l, const struct caller *who)
{
	struct json_object *o;

	if (!who)
		return;
	o = json_object_new_object();
	json_put_int(o, "uid", who->uid);
	json_put_int(o, "gid", who->gid);
	json_put_int(o, "pid", who->pid);
	put_foreign(l, o, "command", who->command);
	json_put_obj(l->o, "who", o);
}

void line_put_error(struct line *l, const struct error *err)
{
	struct json_object *o = json_object_new_object();

	put_foreign(l, o, "name", err->name[0] ? err->name : "Failed");
	put_foreign(l, o, "message", err->msg);
	json_put_obj(l->o, "error", o);
}

void line_put_rule(struct line *l, const struct audit_request *q)
{
	if (q->rule[0])
		put_foreign(l, l->o, "rule", q->rule);
}

struct line line_new(const char *event, uint64_t number, size_t text_max)
{
	struct line l = {json_object_new_object(), event, text_max, false};

	put_now(l.o);
	json_put_str(l.o, "event", event);
	if (number)
		json_put_int(l.o, "request", number);
	return l;
}

/* ---- requests ---------------------------------------------------------------------------------- */

/*
 * Parameters that may be told: never the environment, and nothing that is not known here. Target, image, arguments and reason have
 * places of their own.
 */
static const char *const told[] = {
	"id",	   "signal",   "timeout_s",  "ref",	 "source",     "no_tls_verify",
	"all",	   "dry_run",  "labels",     "user",	 "entrypoint", "workdir",
	"detach",  "terminal", "cap_add",    "cap_drop", "namespaces", "target_root",
	"seccomp", "memory",   "cpus_milli", "pids",	 "cow_size",   "cow",
	"nofile",  "residue",  "authfile",   "verb",	 "as",	       "target",
	"image",
};

static struct json_object *copy_list(struct line *l, struct json_object *list)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(list) && !l->cut; i++) {
		if (l->left < 4)
			l->cut = true;
		else
			json_object_array_add(a, foreign(l,
							 json_object_get_string(
								 json_object_array_get_idx(list, i))
								 ?: "null",
							 LINE_TEXT_MAX));
	}
	return a;
}

static void put_params(struct line *l, struct json_object *params)
{
	struct json_object *o = json_object_new_object(), *v;

	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		if (!json_object_object_get_ex(params, told[i], &v) || !v)
			continue;
		if (json_object_is_type(v, json_type_array))
			json_put_obj(o, told[i], copy_list(l, v));
		else if (json_object_is_type(v, json_type_boolean))
			json_put_bool(o, told[i], json_object_get_boolean(v));
		else if (json_object_is_type(v, json_type_int))
			json_put_int(o, told[i], json_object_get_int64(v));
		else
			json_put_obj(o, told[i], foreign(l, json_object_get_string(v), 512));
	}
	/* Of a profile of the caller's own that it is one, in the word that policies have for it. */
	if (json_object_object_get_ex(params, "seccomp_profile", NULL))
		json_put_str(o, "seccomp", "custom");
	json_put_obj(l->o, "params", o);
}

static void put_image(struct line *l, const struct image *image)
{
	struct json_object *o = json_object_new_object();

	put_foreign(l, o, "ref", image->ref);
	put_foreign(l, o, "digest", image->digest);
	json_put_obj(l->o, "image", o);
}

static void put_target(struct line *l, const struct target_name *t)
{
	struct json_object *o = json_object_new_object();

	put_foreign(l, o, "id", t->container_id);
	put_foreign(l, o, "name", t->name);
	put_foreign(l, o, "runtime", t->runtime);
	json_put_int(o, "pid", t->pid);
	json_put_int(o, "mnt_id", t->id);
	record_put_time(o, "started_at", t->started_ns);
	json_put_obj(l->o, "target", o);
}

/* Last, since it is the longest: what there is no room for is cut here. */
static void put_command(struct line *l, const struct audit_what *what)
{
	struct json_object *args = json_get(what->params, "args", json_type_array), *a;

	if (!what->command) {
		if (args)
			json_put_obj(l->o, "command", copy_list(l, args));
		return;
	}
	a = json_object_new_array();
	for (char *const *v = what->command; *v && !l->cut; v++) {
		if (l->left < 4)
			l->cut = true;
		else
			json_object_array_add(a, foreign(l, *v, LINE_TEXT_MAX));
	}
	json_put_obj(l->o, "command", a);
}

struct line line_request(const struct audit_request *q, const struct caller *who,
			 const struct audit_what *what, const struct error *err, size_t text_max)
{
	struct line l = line_new("request", q->number, text_max);

	line_put_who(&l, who);
	json_put_str(l.o, "verb", q->verb ? q->verb : "unknown");
	json_put_bool(l.o, "allowed", !err);
	line_put_rule(&l, q);
	if (err)
		line_put_error(&l, err);
	put_foreign(&l, l.o, "reason", json_get_str(what->params, "reason"));
	if (what->image)
		put_image(&l, what->image);
	if (what->target && what->target->name)
		put_target(&l, what->target);
	if (what->params)
		put_params(&l, what->params);
	put_command(&l, what);
	return l;
}

/* ---- results ---------------------------------------------------------------------------------- */

static void put_pair(struct line *l, struct json_object *to, struct json_object *from)
{
	put_foreign(l, to, "ref", json_get_str(from, "ref"));
	put_foreign(l, to, "digest", json_get_str(from, "digest"));
}

void line_put_images(struct line *l, struct json_object *reply)
{
	struct json_object *list = json_get(reply, "images", json_type_array), *a, *o;

	if (json_get_str(reply, "digest")) {
		o = json_object_new_object();
		put_pair(l, o, reply);
		put_foreign(l, o, "state", json_get_str(reply, "state"));
		json_put_obj(l->o, "image", o);
	}
	if (!list)
		return;
	a = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(list) && !l->cut; i++) {
		o = json_object_new_object();
		put_pair(l, o, json_object_array_get_idx(list, i));
		json_object_array_add(a, o);
	}
	json_put_obj(l->o, "images", a);
}

static void put_holders(struct line *l, struct json_object *to, struct json_object *list)
{
	struct json_object *a = json_object_new_array();
	size_t n = list ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n && i < 8; i++)
		json_object_array_add(a, json_object_get(json_object_array_get_idx(list, i)));
	l->cut |= n > 8;
	json_put_obj(to, "holders", a);
}

void line_put_id(struct line *l, const char *id)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "id", id);
	json_put_obj(l->o, "capsule", o);
}

void line_put_capsule(struct line *l, struct json_object *record)
{
	static const char *const kept[] = {"exit_code",	 "signal", "user", "tasks",
					   "timings_us", "cow",	   "proof"};
	struct json_object *o = json_object_new_object(), *v;

	json_put_str(o, "id", json_get_str(record, "id"));
	json_put_str(o, "state", json_get_str(record, "state"));
	put_foreign(l, o, "reason", json_get_str(record, "reason"));
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_object_object_get_ex(record, kept[i], &v))
			json_put_obj(o, kept[i], json_object_get(v));
	put_holders(l, o, json_get(record, "holders", json_type_array));
	json_put_obj(l->o, "capsule", o);
}

const char *line_text(struct line *l, size_t *ret_len)
{
	if (l->cut)
		json_put_bool(l->o, "truncated", true);
	return json_object_to_json_string_length(
		l->o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, ret_len);
}
