// SPDX-License-Identifier: MIT
#include "common/error.h"

#include <stdarg.h>
#include <string.h>

/* One line whatever the input: control characters in names from images or targets become '?'. */
static void flatten(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

__attribute__((format(printf, 4, 0))) static void fill(struct error *err, int code,
						       const char *name, const char *fmt,
						       va_list ap)
{
	if (!err)
		return;
	err->code = code;
	snprintf(err->name, sizeof(err->name), "%s", name);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	flatten(err->msg);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, "", fmt, ap);
	va_end(ap);
	return -code;
}

int error_sys(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, "", fmt, ap);
	va_end(ap);
	if (err) {
		size_t n = strlen(err->msg);

		snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", strerror(code));
	}
	return -code;
}

int error_named(struct error *err, int code, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, name, fmt, ap);
	va_end(ap);
	return -code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	va_list ap;
	size_t n;

	if (!err)
		return -EIO;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", old);
	flatten(err->msg);
	return -err->code;
}
