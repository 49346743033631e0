// SPDX-License-Identifier: MIT
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum log_level log_level = LOG_INFO;

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const journal[] = {"<3>", "<4>", "<6>", "<7>"};
	char line[1024];
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* One write for a line, so that lines of two processes do not mix. */
	fprintf(stderr, "%s%s\n", getenv("JOURNAL_STREAM") ? journal[level] : "recapd: ", line);
}
