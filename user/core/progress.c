// SPDX-License-Identifier: MIT
#include "core/progress.h"

#include "common/fd.h"

#define INTERVAL_NS 200000000ull

static void tell(struct progress *p)
{
	uint64_t now = clock_boot_ns();

	if (!p->tell || now - p->told_ns < INTERVAL_NS)
		return;
	p->told_ns = now;
	p->tell(p->arg, p->step, p->done, p->total);
}

void progress_begin(struct progress *p, const char *step, uint64_t total)
{
	p->step = step;
	p->done = 0;
	p->total = total;
	tell(p);
}

void progress_add(struct progress *p, uint64_t n)
{
	if (!p)
		return;
	p->done += n;
	tell(p);
}
