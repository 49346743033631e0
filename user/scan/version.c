// SPDX-License-Identifier: MIT
#include "scan/version.h"

#include <stdbool.h>
#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int sign(long v)
{
	return v < 0 ? -1 : v > 0;
}

/* A piece of a text. */
struct span {
	const char *p, *end;
};

static struct span span_of(const char *s)
{
	return (struct span){s, s + strlen(s)};
}

static char peek(const struct span *s)
{
	return s->p < s->end ? *s->p : '\0';
}

static struct span take(struct span *s, bool (*of)(char))
{
	struct span out = {s->p, s->p};

	while (s->p < s->end && of(*s->p))
		s->p++;
	out.end = s->p;
	return out;
}

/* Digits of any length as numbers. */
static int compare_numbers(struct span a, struct span b)
{
	while (peek(&a) == '0')
		a.p++;
	while (peek(&b) == '0')
		b.p++;
	if (a.end - a.p != b.end - b.p)
		return a.end - a.p < b.end - b.p ? -1 : 1;
	return sign(memcmp(a.p, b.p, a.end - a.p));
}

static int compare_bytes(struct span a, struct span b)
{
	size_t la = a.end - a.p, lb = b.end - b.p;
	int r = sign(memcmp(a.p, b.p, la < lb ? la : lb));

	return r ? r : la < lb ? -1 : la > lb;
}

/* "EPOCH:" off the front; an empty span where there is none. */
static struct span take_epoch(struct span *s)
{
	const char *colon = memchr(s->p, ':', s->end - s->p);
	struct span out = {s->p, s->p};

	if (!colon)
		return out;
	out.end = colon;
	s->p = colon + 1;
	return out;
}

/* What is behind the last (or first) "-", off the end. */
static struct span take_tail(struct span *s)
{
	const char *dash = memrchr(s->p, '-', s->end - s->p);
	struct span out = {s->end, s->end};

	if (!dash)
		return out;
	out.p = dash + 1;
	s->end = dash;
	return out;
}

/* ---- Debian ------------------------------------------------------------------------------------ */

/* "~" is before everything, the end included; letters are before other characters. */
static int deb_order(char c)
{
	if (!c || is_digit(c))
		return 0;
	if (is_alpha(c))
		return c;
	return c == '~' ? -1 : (unsigned char)c + 256;
}

static int deb_part(struct span a, struct span b)
{
	while (a.p < a.end || b.p < b.end) {
		struct span da, db;
		int r;

		while ((a.p < a.end && !is_digit(*a.p)) || (b.p < b.end && !is_digit(*b.p))) {
			r = deb_order(peek(&a)) - deb_order(peek(&b));
			if (r)
				return sign(r);
			a.p += a.p < a.end;
			b.p += b.p < b.end;
		}
		da = take(&a, is_digit);
		db = take(&b, is_digit);
		r = compare_numbers(da, db);
		if (r)
			return r;
	}
	return 0;
}

int version_compare_deb(const char *x, const char *y)
{
	struct span a = span_of(x), b = span_of(y);
	struct span ea = take_epoch(&a), eb = take_epoch(&b);
	struct span ra = take_tail(&a), rb = take_tail(&b);
	int r = compare_numbers(ea, eb);

	if (!r)
		r = deb_part(a, b);
	return r ? r : deb_part(ra, rb);
}

/* ---- rpm --------------------------------------------------------------------------------------- */

static bool is_rpm_separator(char c)
{
	return !is_digit(c) && !is_alpha(c) && c != '~' && c != '^';
}

/* The two marks: "~" is before the end of the version, "^" behind it but before anything else. 2: neither. */
static int rpm_mark(struct span *a, struct span *b)
{
	char ca = peek(a), cb = peek(b);

	if (ca == '~' || cb == '~') {
		if (ca != '~')
			return 1;
		if (cb != '~')
			return -1;
	} else if (ca == '^' || cb == '^') {
		if (!ca)
			return -1;
		if (!cb)
			return 1;
		if (ca != '^')
			return 1;
		if (cb != '^')
			return -1;
	} else {
		return 2;
	}
	a->p++;
	b->p++;
	return 0;
}

/* rpmvercmp() */
static int rpm_part(struct span a, struct span b)
{
	for (;;) {
		struct span sa, sb;
		bool number;
		int r;

		take(&a, is_rpm_separator);
		take(&b, is_rpm_separator);
		r = rpm_mark(&a, &b);
		if (r == 0)
			continue;
		if (r != 2)
			return r;
		if (a.p == a.end || b.p == b.end)
			return (a.p < a.end) - (b.p < b.end);
		number = is_digit(*a.p);
		sa = take(&a, number ? is_digit : is_alpha);
		sb = take(&b, number ? is_digit : is_alpha);
		if (sb.p == sb.end)
			return number ? 1 : -1;
		r = number ? compare_numbers(sa, sb) : compare_bytes(sa, sb);
		if (r)
			return r;
	}
}

int version_compare_rpm(const char *x, const char *y)
{
	struct span a = span_of(x), b = span_of(y);
	struct span ea = take_epoch(&a), eb = take_epoch(&b);
	struct span ra = take_tail(&a), rb = take_tail(&b);
	int r = compare_numbers(ea, eb);

	if (!r)
		r = rpm_part(a, b);
	/* As a dependency without a release: it is of every release. */
	if (r || ra.p == ra.end || rb.p == rb.end)
		return r;
	return rpm_part(ra, rb);
}

/* ---- Alpine ------------------------------------------------------------------------------------ */

/*
 * NUMBER{.NUMBER}[LETTER]{_SUFFIX[NUMBER]}[~HASH][-rREVISION]. The kinds of pieces, in the order that one ending where the
 * other goes on with it decides.
 */
static const char *const apk_before[] = {"alpha", "beta", "pre", "rc"};
static const char *const apk_behind[] = {"cvs", "svn", "git", "hg", "p"};

/* A suffix's rank: below 0 it is before the version without one. */
static int apk_suffix(struct span s)
{
	size_t len = s.end - s.p;

	for (size_t i = 0; i < ARRAY_SIZE(apk_before); i++)
		if (strlen(apk_before[i]) == len && !memcmp(s.p, apk_before[i], len))
			return (int)i - (int)ARRAY_SIZE(apk_before);
	for (size_t i = 0; i < ARRAY_SIZE(apk_behind); i++)
		if (strlen(apk_behind[i]) == len && !memcmp(s.p, apk_behind[i], len))
			return (int)i + 1;
	return ARRAY_SIZE(apk_behind) + 1;
}

/* A number behind a point that begins with 0 is a fraction: 1.05 is before 1.1. */
static int apk_fraction(struct span a, struct span b)
{
	if (peek(&a) == '0' || peek(&b) == '0')
		return compare_bytes(a, b);
	return compare_numbers(a, b);
}

static int apk_numbers(struct span *a, struct span *b)
{
	int r = compare_numbers(take(a, is_digit), take(b, is_digit));

	while (!r && (peek(a) == '.' || peek(b) == '.')) {
		if (peek(a) != '.' || peek(b) != '.')
			return peek(a) == '.' ? 1 : -1;
		a->p++;
		b->p++;
		r = apk_fraction(take(a, is_digit), take(b, is_digit));
	}
	return r;
}

static int apk_letter(struct span *a, struct span *b)
{
	char ca = is_alpha(peek(a)) ? *a->p++ : '\0', cb = is_alpha(peek(b)) ? *b->p++ : '\0';

	return sign(ca - cb);
}

static int apk_next_suffix(struct span *s, struct span *ret_number)
{
	struct span word;

	*ret_number = (struct span){s->p, s->p};
	if (peek(s) != '_')
		return 0;
	s->p++;
	word = take(s, is_alpha);
	*ret_number = take(s, is_digit);
	return apk_suffix(word);
}

static int apk_suffixes(struct span *a, struct span *b)
{
	while (peek(a) == '_' || peek(b) == '_') {
		struct span na, nb;
		int r = sign(apk_next_suffix(a, &na) - apk_next_suffix(b, &nb));

		if (!r)
			r = compare_numbers(na, nb);
		if (r)
			return r;
	}
	return 0;
}

/* "-rN" off the end; without it, revision 0. */
static struct span apk_revision(struct span *s)
{
	struct span whole = *s, out = take_tail(s);

	if (peek(&out) == 'r') {
		out.p++;
		return out;
	}
	*s = whole;
	return (struct span){s->end, s->end};
}

int version_compare_apk(const char *x, const char *y)
{
	struct span a = span_of(x), b = span_of(y);
	struct span ra = apk_revision(&a), rb = apk_revision(&b);
	int r = apk_numbers(&a, &b);

	if (!r)
		r = apk_letter(&a, &b);
	if (!r)
		r = apk_suffixes(&a, &b);
	if (!r)
		r = compare_bytes(a, b); /* a commit, or what is no version at all */
	return r ? r : compare_numbers(ra, rb);
}

/* ---- SemVer ------------------------------------------------------------------------------------ */

static bool is_identifier(char c)
{
	return is_digit(c) || is_alpha(c) || c == '-';
}

static int semver_core(struct span *a, struct span *b)
{
	for (int i = 0; i < 3; i++) {
		int r = compare_numbers(take(a, is_digit), take(b, is_digit));

		if (r)
			return r;
		a->p += peek(a) == '.';
		b->p += peek(b) == '.';
	}
	return 0;
}

static bool is_number(struct span s)
{
	take(&s, is_digit);
	return s.p == s.end;
}

static int semver_identifiers(struct span a, struct span b)
{
	while (a.p < a.end && b.p < b.end) {
		struct span ia = take(&a, is_identifier), ib = take(&b, is_identifier);
		bool na = is_number(ia), nb = is_number(ib);
		int r = na && nb ? compare_numbers(ia, ib)
			: na	 ? -1
			: nb	 ? 1
				 : compare_bytes(ia, ib);

		if (r)
			return r;
		/* Whatever stands between two identifiers: what is no version must end, too. */
		a.p += a.p < a.end;
		b.p += b.p < b.end;
	}
	return (a.p < a.end) - (b.p < b.end);
}

int version_compare_semver(const char *x, const char *y)
{
	struct span a = {x, x + strcspn(x, "+")}, b = {y, y + strcspn(y, "+")};
	int r;

	a.p += peek(&a) == 'v';
	b.p += peek(&b) == 'v';
	r = semver_core(&a, &b);
	if (r)
		return r;
	if (peek(&a) != '-' ||
	    peek(&b) != '-') /* with a pre-release it is before the one without */
		return (peek(&b) == '-') - (peek(&a) == '-');
	a.p++;
	b.p++;
	return semver_identifiers(a, b);
}

int version_compare(enum package_kind kind, const char *a, const char *b)
{
	switch (kind) {
	case PACKAGE_DEB:
		return version_compare_deb(a, b);
	case PACKAGE_APK:
		return version_compare_apk(a, b);
	default:
		return version_compare_rpm(a, b);
	}
}
