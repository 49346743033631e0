// SPDX-License-Identifier: MIT
/* Calls to recapd, and JSON that is passed on without being parsed. */
#include "recapctl/recapctl.h"

#include <string.h>

#define cleanup_varlink cleanup(varlink_close)

int client_ask(const struct ctl *ctl, const char *method, struct json_object *params,
	       struct json_object **ret, struct error *err)
{
	cleanup_json struct json_object *owned = params;
	cleanup_varlink struct varlink v;
	int r = varlink_connect(ctl->socket, &v, err);

	if (r == 0)
		r = varlink_call(&v, method, owned, false, NULL, 0, err);
	return r < 0 ? r : varlink_reply(&v, ret, NULL, err);
}

int client_print(const struct ctl *ctl, const char *method, struct json_object *params,
		 const char *member)
{
	cleanup_json struct json_object *owned = params;
	cleanup_varlink struct varlink v;
	const char *text, *raw;
	struct error err = {};
	size_t len, raw_len;
	bool continues;
	int r = varlink_connect(ctl->socket, &v, &err);

	if (r == 0)
		r = varlink_call(&v, method, owned, false, NULL, 0, &err);
	if (r == 0)
		r = varlink_wait(&v, &text, &len, &err);
	if (r == 0)
		r = raw_reply(text, len, member, &raw, &raw_len, &continues, &err);
	if (r < 0)
		return ctl_fail(ctl, &err);
	raw_print(raw, raw_len);
	return ctl_finish(ctl, CTL_OK);
}

/* ---- unparsed JSON --------------------------------------------------------------------------- */

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* The length of the value between `p` and `end` without the white space behind it. */
static size_t trimmed(const char *p, const char *end)
{
	while (end > p && strchr(" \t\n\r", end[-1]))
		end--;
	return end - p;
}

/* Behind the string that starts at `p`; NULL: it does not end. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

/* Behind the value that starts at `p`; NULL: it does not end. Brackets are counted, not matched. */
static const char *skip_value(const char *p, const char *end)
{
	int depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			if (!p || !depth)
				return p;
			continue;
		}
		if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			if (!depth)
				return p;
			if (--depth == 0)
				return p + 1;
		} else if (*p == ',' && !depth) {
			return p;
		}
		p++;
	}
	return NULL;
}

/* One `"key": value` at `p`. Returns what is behind it; NULL: that is no member. */
static const char *next_member(const char *p, const char *end, const char **ret_key,
			       size_t *ret_key_len, const char **ret_value)
{
	const char *key = p;

	if (p == end || *p != '"')
		return NULL;
	p = skip_string(p, end);
	if (!p)
		return NULL;
	*ret_key = key + 1;
	*ret_key_len = p - key - 2;
	p = skip_space(p, end);
	if (p == end || *p != ':')
		return NULL;
	*ret_value = skip_space(p + 1, end);
	return skip_value(*ret_value, end);
}

int raw_member(const char *text, size_t len, const char *key, const char **ret, size_t *ret_len)
{
	const char *end = text + len, *p = skip_space(text, end), *name, *value;
	size_t name_len;

	if (p == end || *p != '{')
		return -EPROTO;
	for (p = skip_space(p + 1, end); p < end && *p != '}'; p = skip_space(p, end)) {
		p = next_member(p, end, &name, &name_len, &value);
		if (!p)
			return -EPROTO;
		if (name_len == strlen(key) && !memcmp(name, key, name_len)) {
			*ret = value;
			*ret_len = trimmed(value, p);
			return 0;
		}
		p = skip_space(p, end);
		if (p < end && *p == ',')
			p++;
	}
	return p < end ? -ENOENT : -EPROTO;
}

int raw_reply(const char *text, size_t len, const char *member, const char **ret, size_t *ret_len,
	      bool *ret_continues, struct error *err)
{
	const char *params, *value;
	size_t params_len, n;
	int r;

	if (raw_member(text, len, "error", &value, &n) != -ENOENT) {
		cleanup_json struct json_object *none = NULL;

		r = varlink_parse_reply(text, len, &none, NULL, err);
		return r < 0 ? r : error_set(err, EPROTO, "recapd's reply makes no sense");
	}
	*ret_continues = raw_member(text, len, "continues", &value, &n) == 0 && n == 4 &&
			 !memcmp(value, "true", 4);
	r = raw_member(text, len, "parameters", &params, &params_len);
	if (r == 0 && member)
		r = raw_member(params, params_len, member, &params, &params_len);
	if (r < 0)
		return error_set(err, EPROTO,
				 "recapd's reply has no '%s': recapctl and recapd "
				 "must be of the same version",
				 member ? member : "parameters");
	*ret = params;
	*ret_len = params_len;
	return 0;
}

/* C1 controls (U+0080 to U+009F) and DEL: valid in JSON, yet terminals act upon them. */
static void print_escaped(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;

	for (; p < end; p++) {
		if (*p == 0xc2 && p + 1 < end && p[1] < 0xa0)
			printf("\\u%04x", *++p);
		else if (*p == 0x7f || (*p < 0x20 && *p != '\n'))
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
}

void raw_print(const char *text, size_t len)
{
	if (isatty(STDOUT_FILENO))
		print_escaped(text, len);
	else
		fwrite(text, 1, len, stdout);
	putchar('\n');
}
