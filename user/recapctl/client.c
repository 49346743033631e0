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
	struct error err = {};
	const char *text;
	struct raw raw;
	bool continues;
	size_t len;
	int r = varlink_connect(ctl->socket, &v, &err);

	if (r == 0)
		r = varlink_call(&v, method, owned, false, NULL, 0, &err);
	if (r == 0)
		r = varlink_wait(&v, &text, &len, &err);
	if (r == 0)
		r = raw_reply(text, len, member, &raw, &continues, &err);
	if (r < 0)
		return ctl_fail(ctl, &err);
	raw_print(raw);
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
	static const bool special[256] = {
		['"'] = true, ['{'] = true, ['['] = true, ['}'] = true, [']'] = true, [','] = true};
	int depth = 0;

	for (; p < end; p++) {
		if (!special[(unsigned char)*p])
			continue;
		if (*p == '"') {
			p = skip_string(p, end);
			if (!p || !depth)
				return p;
			p--;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (!depth) {
			return p;
		} else if (*p != ',' && --depth == 0) {
			return p + 1;
		}
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

static void take_member(const char *name, size_t name_len, struct raw value,
			const char *const *keys, struct raw *ret, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(keys[i]) == name_len && !memcmp(keys[i], name, name_len))
			ret[i] = value;
}

int raw_members(struct raw object, const char *const *keys, struct raw *ret, size_t n)
{
	const char *end = object.text + object.len, *name, *value;
	const char *p = skip_space(object.text, end);
	size_t name_len;

	memset(ret, 0, n * sizeof(*ret));
	if (p == end || *p != '{')
		return -EPROTO;
	for (p = skip_space(p + 1, end); p < end && *p != '}'; p = skip_space(p, end)) {
		p = next_member(p, end, &name, &name_len, &value);
		if (!p)
			return -EPROTO;
		take_member(name, name_len, (struct raw){value, trimmed(value, p)}, keys, ret, n);
		p = skip_space(p, end);
		if (p < end && *p == ',')
			p++;
	}
	return p < end ? 0 : -EPROTO;
}

int raw_reply(const char *text, size_t len, const char *member, struct raw *ret,
	      bool *ret_continues, struct error *err)
{
	enum { ERROR, CONTINUES, PARAMETERS, COUNT };
	static const char *const keys[COUNT] = {"error", "continues", "parameters"};
	struct raw got[COUNT], found = {};
	int r = raw_members((struct raw){text, len}, keys, got, COUNT);

	if (r < 0 || got[ERROR].text) {
		cleanup_json struct json_object *none = NULL;

		r = varlink_parse_reply(text, len, &none, NULL, err);
		return r < 0 ? r : error_set(err, EPROTO, "recapd's reply makes no sense");
	}
	found = got[PARAMETERS];
	if (member && found.text && raw_members(got[PARAMETERS], &member, &found, 1) < 0)
		found.text = NULL;
	if (!found.text)
		return error_set(err, EPROTO,
				 "recapd's reply has no '%s': recapctl and recapd must be of the "
				 "same version",
				 member ? member : "parameters");
	*ret = found;
	*ret_continues = got[CONTINUES].len == 4 && !memcmp(got[CONTINUES].text, "true", 4);
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

void raw_print(struct raw json)
{
	if (isatty(STDOUT_FILENO))
		print_escaped(json.text, json.len);
	else
		fwrite(json.text, 1, json.len, stdout);
	putchar('\n');
}
