// SPDX-License-Identifier: MIT
#include "scan/secrets.h"

#include <stdbool.h>
#include <string.h>

#include "common/cleanup.h"

#define DIGIT  "0123456789"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define ALNUM  DIGIT UPPER LOWER
#define BASE64 ALNUM "+/="
#define KEY_NEAR \
	400 /* from a key's first line to its Base64: headers of encrypted ones are between */
#define KEY_RUN 40

/* A prefix, and at least `min` characters of `set` behind it; `exact`: not one more. */
static const struct token {
	const char *prefix, *set;
	size_t min;
	bool exact;
	const char *what;
} tokens[] = {
	{"AKIA", UPPER DIGIT, 16, true, "an AWS access key ID"},
	{"ASIA", UPPER DIGIT, 16, true, "an AWS access key ID"},
	{"ghp_", ALNUM, 36, true, "a GitHub token"},
	{"gho_", ALNUM, 36, true, "a GitHub token"},
	{"ghu_", ALNUM, 36, true, "a GitHub token"},
	{"ghs_", ALNUM, 36, true, "a GitHub token"},
	{"ghr_", ALNUM, 36, true, "a GitHub token"},
	{"github_pat_", ALNUM "_", 60, false, "a GitHub token"},
	{"glpat-", ALNUM "_-", 20, false, "a GitLab token"},
	{"xoxb-", DIGIT, 8, false, "a Slack token"},
	{"xoxp-", DIGIT, 8, false, "a Slack token"},
	{"xoxa-", DIGIT, 8, false, "a Slack token"},
	{"xoxr-", DIGIT, 8, false, "a Slack token"},
	{"xoxs-", DIGIT, 8, false, "a Slack token"},
	{"AIza", ALNUM "_-", 35, true, "a Google API key"},
	{"sk_live_", ALNUM, 24, false, "a Stripe key"},
	{"npm_", ALNUM, 36, true, "an npm token"},
};

static bool is_in(const char *set, char c)
{
	return c && strchr(set, c);
}

static size_t run_of(const char *set, const char *p, const char *end)
{
	const char *start = p;

	while (p < end && is_in(set, *p))
		p++;
	return p - start;
}

static bool has_token(const struct token *t, const char *buf, size_t len)
{
	const char *end = buf + len;
	size_t skip = strlen(t->prefix);

	for (const char *p = buf; (p = memmem(p, end - p, t->prefix, skip)); p += skip) {
		size_t n = run_of(t->set, p + skip, end);

		/* Within a longer word it is chance: programs and compressed files are full of words. */
		if (p > buf && is_in(ALNUM "_", p[-1]))
			continue;
		if (n >= t->min && (!t->exact || n == t->min))
			return true;
	}
	return false;
}

/* Base64 soon behind the line. Programs that handle keys have the line alone. */
static bool has_body(const char *p, const char *end)
{
	if (end - p > KEY_NEAR)
		end = p + KEY_NEAR;
	for (; p < end; p++) {
		size_t n = run_of(BASE64, p, end);

		if (n >= KEY_RUN)
			return true;
		p += n;
	}
	return false;
}

static bool has_private_key(const char *buf, size_t len)
{
	static const char line[] = "PRIVATE KEY-----";
	const char *end = buf + len;

	for (const char *p = buf; (p = memmem(p, end - p, line, sizeof(line) - 1));) {
		const char *from = p - buf > 32 ? p - 32 : buf;
		const char *begin = memmem(from, p - from, "-----BEGIN ", 11);

		p += sizeof(line) - 1;
		if (begin && has_body(p, end))
			return true;
	}
	return false;
}

const char *secret_find(const char *buf, size_t len)
{
	static const char putty[] = "PuTTY-User-Key-File-";

	if (has_private_key(buf, len))
		return "a private key (PEM or OpenSSH)";
	if (len > sizeof(putty) && !memcmp(buf, putty, sizeof(putty) - 1))
		return "a private key (PuTTY)";
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		if (has_token(&tokens[i], buf, len))
			return tokens[i].what;
	return NULL;
}
