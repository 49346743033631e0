// SPDX-License-Identifier: MIT
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "common/utf8.h"

/* Controls, and the invisible characters that reorder or hide text. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x2069) || c == 0xfeff;
}

void text_clean(char *s)
{
	const char *in = s, *end = s + strlen(s);
	char *out = s;

	while (in < end) {
		uint32_t c;
		size_t n = utf8_decode(in, end - in, &c);

		if (!n || is_unsafe(c)) {
			*out++ = '?';
			in += n ? n : 1;
			continue;
		}
		memmove(out, in, n);
		out += n;
		in += n;
	}
	*out = '\0';
}

void text_print(FILE *to, const char *s)
{
	cleanup_free char *clean = strdup(s);

	if (!clean)
		abort(); /* as json-c does, out of which the text comes */
	text_clean(clean);
	fputs(clean, to);
}

int text_read(const char *path, size_t max, char **ret, struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = malloc(max + 2);
	size_t n = 0;
	ssize_t got = 1;

	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	if (fd < 0)
		return error_sys(err, errno, "cannot read %s", path);
	while (got && n <= max) {
		got = read(fd, text + n, max + 1 - n);
		if (got < 0)
			return error_sys(err, errno, "cannot read %s", path);
		n += got;
	}
	if (n > max)
		return error_set(err, EFBIG, "%s is longer than %zu KiB", path, max >> 10);
	text[n] = '\0';
	if (strlen(text) != n)
		return error_set(err, EINVAL, "%s is not text: it has a NUL byte", path);
	*ret = TAKE_PTR(text);
	return 0;
}

void text_age(const char *since, time_t now, char ret[static TEXT_AGE_SIZE])
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	struct tm tm = {};
	int64_t age;
	size_t i = 0;

	if (!since || !strptime(since, "%Y-%m-%dT%H:%M:%S", &tm)) {
		strcpy(ret, "?");
		return;
	}
	age = (int64_t)now - timegm(&tm);
	if (age < 0)
		age = 0;
	/* Two of a unit at least: "90m" tells more than "1h". */
	while (i < ARRAY_SIZE(units) - 1 && age < 2 * units[i].seconds)
		i++;
	snprintf(ret, TEXT_AGE_SIZE, "%lld%c", (long long)(age / units[i].seconds), units[i].unit);
}
