/* SPDX-License-Identifier: MIT */
/* json-c with checked access: a member that is missing or of another type is told apart from one that is there. */
#ifndef RECAP_JSON_H
#define RECAP_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define cleanup_json cleanup(json_putp)

static inline void json_putp(struct json_object **o)
{
	json_object_put(*o);
}

/*
 * Parse exactly one JSON value of `len` bytes: at most 32 levels deep, strict syntax, valid UTF-8,
 * nothing behind it. The caller owns *ret. `what` names the text in the error ("image config").
 */
int json_parse(const char *text, size_t len, const char *what, struct json_object **ret,
	       struct error *err) must_check;

/*
 * Have `fn` do what json_parse() does, with `arg`: recapd has another process do it (core/reader.h). NULL: it is done here, as in every
 * program from its start.
 */
typedef int (*json_parse_fn)(void *arg, const char *text, size_t len, const char *what,
			     struct json_object **ret, struct error *err);
void json_parse_elsewhere(json_parse_fn fn, void *arg);

/*
 * The same for text of someone who may want to use up our memory: refused, too, when it has more than
 * JSON_VALUES_MAX values. "{}," takes three bytes, and some 260 times as many once it is parsed.
 */
#define JSON_VALUES_MAX 65536
int json_parse_hostile(const char *text, size_t len, const char *what, struct json_object **ret,
		       struct error *err) must_check;

/*
 * How many commas and opening brackets there are outside of strings: at least as many as there are values, but for one. For
 * those who want to know before they parse.
 */
size_t json_count_values(const char *text, size_t len);

/* The member, or NULL when it is absent, null or not of `type`. Borrowed from `obj`; `obj` may be NULL. */
struct json_object *json_get(struct json_object *obj, const char *key, enum json_type type);

/* The string member, or NULL. Borrowed from `obj`. A string with a NUL inside counts as absent. */
const char *json_get_str(struct json_object *obj, const char *key);

/* The integer member, or `otherwise`. */
int64_t json_get_int(struct json_object *obj, const char *key, int64_t otherwise);

/* The boolean member, or false. */
bool json_get_bool(struct json_object *obj, const char *key);

/*
 * An array of strings as a NULL-terminated vector that the caller frees with strv_free(). Absent or
 * null gives an empty vector. -EINVAL when it is no array, an element is no string, or there are
 * more than `max`.
 */
int json_get_strv(struct json_object *obj, const char *key, size_t max, char ***ret) must_check;

/* Add members; out of memory aborts (json-c offers nothing better). NULL strings are left out. */
void json_put_str(struct json_object *obj, const char *key, const char *value);
void json_put_int(struct json_object *obj, const char *key, int64_t value);
void json_put_bool(struct json_object *obj, const char *key, bool value);
/*
 * A text that someone else made, at most `max` bytes of it: what is no printable ASCII becomes %XX, so that it is valid JSON
 * and harmless on a terminal, whatever it was.
 */
void json_put_foreign(struct json_object *obj, const char *key, const char *value, size_t max);
/* The same as a value of its own. */
struct json_object *json_new_foreign(const char *value, size_t max);
/* Takes over `value`. */
void json_put_obj(struct json_object *obj, const char *key, struct json_object *value);
void json_put_strv(struct json_object *obj, const char *key, char *const *strv);

/* The value as text without spaces, "/" as it is; it belongs to `o`, until that changes or is asked for its text again. */
const char *json_text(struct json_object *o);

/* NULL-terminated string vectors. */
void strv_free(char **v);
size_t strv_len(char *const *v);
void strv_freep(char ***v);
#define cleanup_strv cleanup(strv_freep)

#endif
