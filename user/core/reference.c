// SPDX-License-Identifier: MIT
#include "core/reference.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool in_set(char c, const char *set)
{
	return c && strchr(set, c);
}

/* How long the separator at `p` is: ".", "_", "__" or any number of "-"; 0 when there is none. */
static size_t separator_len(const char *p)
{
	if (*p == '-')
		return strspn(p, "-");
	if (*p == '.')
		return 1;
	return strspn(p, "_") <= 2 ? strspn(p, "_") : 0;
}

/* One component of a path: lower-case words with separators between them. */
static bool component_valid(const char *p, size_t len)
{
	const char *end = p + len;

	for (;;) {
		size_t word = strspn(p, LOWER DIGIT);

		if (word == 0)
			return false;
		p += word;
		if (p == end)
			return true;
		word = separator_len(p);
		if (word == 0 || p + word >= end)
			return false;
		p += word;
	}
}

/* HOST[:PORT]: labels of letters, digits and inner hyphens. */
static bool host_valid(const char *p, size_t len)
{
	const char *end = p + len;
	const char *colon = memchr(p, ':', len);
	const char *stop = colon ? colon : end;

	if (colon && (end - colon < 2 || end - colon > 6 ||
		      (long)strspn(colon + 1, DIGIT) < end - colon - 1))
		return false;
	for (;;) {
		size_t label = strspn(p, LOWER UPPER DIGIT "-");

		if (label == 0 || *p == '-' || p[label - 1] == '-')
			return false;
		p += label;
		if (p == stop)
			return true;
		if (*p++ != '.')
			return false;
	}
}

static bool name_valid(const char *name)
{
	bool first = true;

	for (;; first = false) {
		const char *slash = strchrnul(name, '/');
		size_t len = slash - name;

		if (!component_valid(name, len) && !(first && *slash && host_valid(name, len)))
			return false;
		if (!*slash)
			return true;
		name = slash + 1;
	}
}

static bool tag_valid(const char *tag)
{
	return !in_set(*tag, ".-") && *tag && !tag[strspn(tag, LOWER UPPER DIGIT "_.-")];
}

static int refuse(struct error *err, const char *text, const char *why)
{
	return error_named(err, EINVAL, "InvalidArgument",
			   "\"%.128s\" is not an image reference: %s; write NAME, NAME:TAG, "
			   "NAME@sha256:DIGEST or sha256:DIGEST",
			   text, why);
}

/* NAME[:TAG] of `len` bytes. */
static int parse_name_tag(const char *text, size_t len, struct reference *ref, struct error *err)
{
	const char *slash = memrchr(text, '/', len);
	const char *base = slash ? slash + 1 : text;
	const char *colon = memchr(base, ':', text + len - base);
	size_t name_len = colon ? (size_t)(colon - text) : len;
	size_t tag_len = colon ? len - name_len - 1 : 0;

	if (name_len > REFERENCE_NAME_MAX)
		return refuse(err, text, "its name is longer than 255 characters");
	if (tag_len > REFERENCE_TAG_MAX)
		return refuse(err, text, "its tag is longer than 128 characters");
	memcpy(ref->name, text, name_len);
	if (colon)
		memcpy(ref->tag, colon + 1, tag_len);
	if (!name_valid(ref->name))
		return refuse(err, text, "its name is malformed");
	if (colon && !tag_valid(ref->tag))
		return refuse(err, text, "its tag is malformed");
	/* Else a digest cut short would be taken for the tag of an image called sha256. */
	if (!strcmp(ref->name, "sha256"))
		return refuse(err, text, "a digest has 64 lower-case hexadecimal digits");
	return 0;
}

int reference_parse(const char *text, struct reference *ret, struct error *err)
{
	struct reference ref = {};
	const char *at = strchr(text, '@');
	const char *digest = at ? at + 1 : text;
	int r;

	if (digest_valid(digest))
		strcpy(ref.digest, digest);
	else if (at)
		return refuse(err, text, "a digest has 64 lower-case hexadecimal digits");
	if (at || !ref.digest[0]) {
		r = parse_name_tag(text, at ? (size_t)(at - text) : strlen(text), &ref, err);
		if (r < 0)
			return r;
	}
	*ret = ref;
	return 0;
}

void reference_format(const struct reference *ref, char ret[REFERENCE_SIZE])
{
	snprintf(ret, REFERENCE_SIZE, "%s:%s", ref->name, ref->tag[0] ? ref->tag : "latest");
}

bool reference_matches(const struct reference *ref, const char *stored, const char *digest)
{
	size_t len = strlen(ref->name);
	const char *tag;

	if (ref->digest[0] && strcmp(ref->digest, digest))
		return false;
	if (!ref->name[0])
		return true;
	if (!stored || strncmp(stored, ref->name, len) || stored[len] != ':')
		return false;
	tag = stored + len + 1;
	if (ref->digest[0] && !ref->tag[0])
		return !strchr(tag, '/'); /* else the colon was that of a port */
	return !strcmp(tag, ref->tag[0] ? ref->tag : "latest");
}
