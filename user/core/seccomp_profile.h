/* SPDX-License-Identifier: MIT */
/*
 * Seccomp profiles as files: the JSON that Docker, Podman and the OCI runtimes read. What such a file means is what runc makes
 * of it, but for this:
 *
 *     - an unknown member is an error and not ignored, since a misspelt "args" would allow more than was meant;
 *     - no architecture is added to the native one: the calls of others end the process, as in the default profile;
 *     - where several rules of one call look at arguments, the first one that holds counts;
 *     - SCMP_ACT_TRACE, SCMP_ACT_NOTIFY and a listener are refused, and "flags" are looked at and not set.
 */
#ifndef RECAP_SECCOMP_PROFILE_H
#define RECAP_SECCOMP_PROFILE_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define SECCOMP_PROFILE_MAX \
	(64 << 10) /* bytes; include/recap/io.recap.varlink and the manuals say so, too */

/*
 * The filter of a profile for a tool with the bounding set `caps`, a bit mask, which "includes" and "excludes" look at. Fails with
 * InvalidArgument, naming the place ("syscalls[3].args[0].op"). The caller frees ret->filter.
 */
int seccomp_profile_compile(const char *text, size_t len, uint64_t caps, struct sock_fprog *ret,
			    struct error *err) must_check;

#endif
