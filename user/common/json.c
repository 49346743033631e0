// SPDX-License-Identifier: MIT
#include "common/json.h"

#include <limits.h>
#include <string.h>

#define JSON_DEPTH 32

static int parse_here(const char *text, size_t len, const char *what, struct json_object **ret,
		      struct error *err)
{
	struct json_tokener *tok;
	struct json_object *obj;
	enum json_tokener_error e;
	size_t end;

	if (len > INT_MAX - 1)
		return error_set(err, EFBIG, "%s is too long", what);
	tok = json_tokener_new_ex(JSON_DEPTH);
	if (!tok)
		return error_set(err, ENOMEM, "%s: out of memory", what);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* The text may lack its NUL, without which a bare number at the end never ends: feed one. */
	obj = json_tokener_parse_ex(tok, text, (int)len);
	if (!obj && json_tokener_get_error(tok) == json_tokener_continue)
		obj = json_tokener_parse_ex(tok, "", -1);
	e = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e != json_tokener_success) {
		json_object_put(obj);
		return error_set(err, EINVAL, "%s is not valid JSON: %s", what,
				 json_tokener_error_desc(e));
	}
	for (; end < len; end++) {
		if (!strchr(" \t\r\n", text[end])) {
			json_object_put(obj);
			return error_set(err, EINVAL, "%s has something behind its JSON value",
					 what);
		}
	}
	*ret = obj;
	return 0;
}

/* A setting of the process, as the log's level is: there is one place where JSON is parsed. */
static json_parse_fn elsewhere;
static void *elsewhere_arg;

void json_parse_elsewhere(json_parse_fn fn, void *arg)
{
	elsewhere = fn;
	elsewhere_arg = arg;
}

int json_parse(const char *text, size_t len, const char *what, struct json_object **ret,
	       struct error *err)
{
	return elsewhere ? elsewhere(elsewhere_arg, text, len, what, ret, err)
			 : parse_here(text, len, what, ret, err);
}

/* Commas and opening brackets outside of strings: at least as many as there are values, but for one. */
size_t json_count_values(const char *text, size_t len)
{
	bool in_string = false;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
			n++;
	}
	return n;
}

int json_parse_hostile(const char *text, size_t len, const char *what, struct json_object **ret,
		       struct error *err)
{
	if (json_count_values(text, len) > JSON_VALUES_MAX)
		return error_set(err, E2BIG, "%s has more than %d values", what, JSON_VALUES_MAX);
	return json_parse(text, len, what, ret, err);
}

struct json_object *json_get(struct json_object *obj, const char *key, enum json_type type)
{
	struct json_object *v;

	if (!json_object_is_type(obj, json_type_object) || !json_object_object_get_ex(obj, key, &v))
		return NULL;
	return json_object_is_type(v, type) ? v : NULL;
}

/* A NUL inside would make two readers see two strings. */
static const char *plain_string(struct json_object *v)
{
	const char *s = json_object_get_string(v);

	return strlen(s) == (size_t)json_object_get_string_len(v) ? s : NULL;
}

const char *json_get_str(struct json_object *obj, const char *key)
{
	struct json_object *v = json_get(obj, key, json_type_string);

	return v ? plain_string(v) : NULL;
}

int64_t json_get_int(struct json_object *obj, const char *key, int64_t otherwise)
{
	struct json_object *v = json_get(obj, key, json_type_int);

	return v ? json_object_get_int64(v) : otherwise;
}

bool json_get_bool(struct json_object *obj, const char *key)
{
	struct json_object *v = json_get(obj, key, json_type_boolean);

	return v && json_object_get_boolean(v);
}

int json_get_strv(struct json_object *obj, const char *key, size_t max, char ***ret)
{
	struct json_object *a = NULL;
	cleanup_strv char **v = NULL;
	size_t n;

	if (json_object_is_type(obj, json_type_object))
		json_object_object_get_ex(obj, key, &a);
	if (a && !json_object_is_type(a, json_type_array))
		return -EINVAL;
	n = a ? json_object_array_length(a) : 0;
	if (n > max)
		return -EINVAL;
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = json_object_array_get_idx(a, i);
		const char *text =
			json_object_is_type(s, json_type_string) ? plain_string(s) : NULL;

		if (!text)
			return -EINVAL;
		v[i] = strdup(text);
		if (!v[i])
			return -ENOMEM;
	}
	*ret = TAKE_PTR(v);
	return 0;
}

void json_put_str(struct json_object *obj, const char *key, const char *value)
{
	if (value)
		json_put_obj(obj, key, json_object_new_string(value));
}

struct json_object *json_new_foreign(const char *value, size_t max)
{
	size_t len = strnlen(value, max), used = 0;
	cleanup_free char *text = malloc(3 * len + 1);

	if (!text)
		abort();
	for (size_t i = 0; i < len; i++) {
		unsigned char c = value[i];

		if (c >= 0x20 && c < 0x7f && c != '%')
			text[used++] = (char)c;
		else
			used += sprintf(text + used, "%%%02X", c);
	}
	return json_object_new_string_len(text, (int)used);
}

void json_put_foreign(struct json_object *obj, const char *key, const char *value, size_t max)
{
	json_put_obj(obj, key, json_new_foreign(value, max));
}

void json_put_int(struct json_object *obj, const char *key, int64_t value)
{
	json_put_obj(obj, key, json_object_new_int64(value));
}

void json_put_bool(struct json_object *obj, const char *key, bool value)
{
	json_put_obj(obj, key, json_object_new_boolean(value));
}

void json_put_obj(struct json_object *obj, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(obj, key, value) < 0)
		abort();
}

void json_put_strv(struct json_object *obj, const char *key, char *const *strv)
{
	struct json_object *a = json_object_new_array();

	for (; strv && *strv; strv++)
		json_object_array_add(a, json_object_new_string(*strv));
	json_put_obj(obj, key, a);
}

const char *json_text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
}

void strv_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

void strv_freep(char ***v)
{
	strv_free(*v);
}
