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
/* Takes over `value`. */
void json_put_obj(struct json_object *obj, const char *key, struct json_object *value);
void json_put_strv(struct json_object *obj, const char *key, char *const *strv);

/* NULL-terminated string vectors. */
void strv_free(char **v);
size_t strv_len(char *const *v);
void strv_freep(char ***v);
#define cleanup_strv cleanup(strv_freep)

#endif
