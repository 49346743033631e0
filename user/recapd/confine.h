/* SPDX-License-Identifier: MIT */
#ifndef RECAP_CONFINE_H
#define RECAP_CONFINE_H

#include "common/error.h"

/*
 * Take the system calls from recapd, and from the workers that it will start, that none of them has a use for, and somebody who got hold
 * of one would: the kernel's modules and its image, clocks, raw I/O, tracing, key rings. What recapd does with containers takes most
 * capabilities; this is what can be spared. The injector is forked before it, since a capsule may be given some of them.
 */
int confine(struct error *err) must_check;

#endif
