// SPDX-License-Identifier: MIT
#include "common/flat.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/json.h"

/* ---- writing ----------------------------------------------------------------------------------- */

struct sink {
	char **buf;
	size_t *len, *size;
};

static int put(struct sink *s, const void *data, size_t n)
{
	size_t want = *s->len + n, size = *s->size ? *s->size : 4096;
	char *p;

	while (size < want)
		size *= 2;
	if (size > *s->size) {
		p = realloc(*s->buf, size);
		if (!p)
			return -ENOMEM;
		*s->buf = p;
		*s->size = size;
	}
	memcpy(*s->buf + *s->len, data, n);
	*s->len = want;
	return 0;
}

static int put_text(struct sink *s, const char *text, uint32_t n)
{
	int r = put(s, &n, sizeof(n));

	return r < 0 ? r : put(s, text, n);
}

static int put_kind(struct sink *s, char kind, const void *data, size_t n)
{
	int r = put(s, &kind, 1);

	return r < 0 ? r : put(s, data, n);
}

static int put_value(struct sink *s, struct json_object *v);

static int put_array(struct sink *s, struct json_object *v)
{
	uint32_t n = json_object_array_length(v);
	int r = put_kind(s, 'a', &n, sizeof(n));

	for (uint32_t i = 0; i < n && r == 0; i++)
		r = put_value(s, json_object_array_get_idx(v, i));
	return r;
}

static int put_object(struct sink *s, struct json_object *v)
{
	uint32_t n = json_object_object_length(v);
	int r = put_kind(s, 'o', &n, sizeof(n));

	json_object_object_foreach (v, key, member) {
		if (r == 0)
			r = put_text(s, key, strlen(key));
		if (r == 0)
			r = put_value(s, member);
	}
	return r;
}

static int put_value(struct sink *s, struct json_object *v)
{
	int64_t i;
	double d;
	int r;

	switch (json_object_get_type(v)) {
	case json_type_null:
		return put_kind(s, 'n', "", 0);
	case json_type_boolean:
		return put_kind(s, json_object_get_boolean(v) ? 't' : 'f', "", 0);
	case json_type_int:
		i = json_object_get_int64(v);
		return put_kind(s, 'i', &i, sizeof(i));
	case json_type_double:
		d = json_object_get_double(v);
		return put_kind(s, 'd', &d, sizeof(d));
	case json_type_string:
		r = put_kind(s, 's', "", 0);
		return r < 0 ? r
			     : put_text(s, json_object_get_string(v),
					json_object_get_string_len(v));
	case json_type_array:
		return put_array(s, v);
	case json_type_object:
		return put_object(s, v);
	}
	return -EPROTO;
}

int flat_write(struct json_object *value, char **buf, size_t *len, size_t *size)
{
	return put_value(&(struct sink){buf, len, size}, value);
}

/* ---- reading ----------------------------------------------------------------------------------- */

struct source {
	const char *at, *end;
};

static bool take(struct source *s, void *ret, size_t n)
{
	if ((size_t)(s->end - s->at) < n)
		return false;
	memcpy(ret, s->at, n);
	s->at += n;
	return true;
}

/* Borrowed; not ended by a NUL. */
static bool take_text(struct source *s, const char **ret, uint32_t *ret_n)
{
	if (!take(s, ret_n, sizeof(*ret_n)) || (size_t)(s->end - s->at) < *ret_n)
		return false;
	*ret = s->at;
	s->at += *ret_n;
	return true;
}

static int take_value(struct source *s, int depth, struct json_object **ret);

/* A number says how many there are, not how many to make room for: each takes a byte at least. */
static int take_array(struct source *s, int depth, struct json_object **ret)
{
	cleanup_json struct json_object *a = json_object_new_array();
	uint32_t n;

	if (!a || !take(s, &n, sizeof(n)))
		return a ? -EPROTO : -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct json_object *v = NULL;
		int r = take_value(s, depth, &v);

		if (r < 0)
			return r;
		if (json_object_array_add(a, v) < 0) {
			json_object_put(v);
			return -ENOMEM;
		}
	}
	*ret = TAKE_PTR(a);
	return 0;
}

static int take_member(struct source *s, int depth, struct json_object *o)
{
	struct json_object *v = NULL;
	cleanup_free char *name = NULL;
	const char *text;
	uint32_t n;
	int r;

	if (!take_text(s, &text, &n) || memchr(text, '\0', n))
		return -EPROTO;
	name = strndup(text, n);
	if (!name)
		return -ENOMEM;
	r = take_value(s, depth, &v);
	if (r == 0 && json_object_object_add(o, name, v) < 0) {
		json_object_put(v);
		r = -ENOMEM;
	}
	return r;
}

static int take_object(struct source *s, int depth, struct json_object **ret)
{
	cleanup_json struct json_object *o = json_object_new_object();
	uint32_t n;
	int r = 0;

	if (!o || !take(s, &n, sizeof(n)))
		return o ? -EPROTO : -ENOMEM;
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = take_member(s, depth, o);
	if (r == 0)
		*ret = TAKE_PTR(o);
	return r;
}

static int made(struct json_object *o, struct json_object **ret)
{
	*ret = o;
	return o ? 0 : -ENOMEM;
}

static int take_value(struct source *s, int depth, struct json_object **ret)
{
	const char *text;
	int64_t i;
	double d;
	uint32_t n;
	char kind;

	if (depth > FLAT_DEPTH || !take(s, &kind, 1))
		return -EPROTO;
	switch (kind) {
	case 'n':
		*ret = NULL;
		return 0;
	case 't':
	case 'f':
		return made(json_object_new_boolean(kind == 't'), ret);
	case 'i':
		return take(s, &i, sizeof(i)) ? made(json_object_new_int64(i), ret) : -EPROTO;
	case 'd':
		return take(s, &d, sizeof(d)) ? made(json_object_new_double(d), ret) : -EPROTO;
	case 's':
		return take_text(s, &text, &n) && n <= INT32_MAX
			       ? made(json_object_new_string_len(text, (int)n), ret)
			       : -EPROTO;
	case 'a':
		return take_array(s, depth + 1, ret);
	case 'o':
		return take_object(s, depth + 1, ret);
	default:
		return -EPROTO;
	}
}

int flat_read(const char *buf, size_t len, struct json_object **ret)
{
	struct source s = {buf, buf + len};
	struct json_object *v = NULL;
	int r = take_value(&s, 0, &v);

	if (r == 0 && s.at != s.end)
		r = -EPROTO;
	if (r < 0)
		json_object_put(v);
	else
		*ret = v;
	return r;
}
