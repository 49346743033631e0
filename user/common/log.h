/* SPDX-License-Identifier: MIT */
#ifndef RECAP_LOG_H
#define RECAP_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The only mutable global of the project: what is printed. LOG_INFO at the start. */
extern enum log_level log_level;

/* One line on standard error, with a <N> priority prefix when the journal reads it (sd-daemon(3)). */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
