/* SPDX-License-Identifier: MIT */
/* How far long work has come, told a few times a second to whoever wants to know. */
#ifndef RECAP_PROGRESS_H
#define RECAP_PROGRESS_H

#include <stdint.h>

/* Zeroed, it tells nobody. `step` is a string constant; `total` is 0 where nobody knows it. */
struct progress {
	void (*tell)(void *arg, const char *step, uint64_t done, uint64_t total);
	void *arg;
	const char *step;
	uint64_t done, total;
	uint64_t told_ns;
};

/* A new step begins, with nothing done. */
void progress_begin(struct progress *p, const char *step, uint64_t total);

/* That much more is done. Cheap. `p` may be NULL. */
void progress_add(struct progress *p, uint64_t n);

#endif
