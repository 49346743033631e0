/* SPDX-License-Identifier: MIT */
/*
 * What a tool may do: capabilities, seccomp, Landlock. Decided in recapd before the fork, applied by the
 * injected child as its last acts.
 */
#ifndef RECAP_SANDBOX_H
#define RECAP_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Capabilities are bit masks, as in /proc/PID/status. The default is smaller than Docker's: a capsule with a full
 * Docker set could open /proc/1/root of an ordinary target for writing (ptrace(2), access mode checks).
 */
struct sandbox {
	uint64_t caps;	/* bounding set; permitted and effective for a root user */
	uint64_t added; /* asked for by name: a user other than root gets these, as ambient */
	const struct sock_fprog *seccomp; /* NULL: unconfined */
	bool landlock; /* not with CAP_SYS_PTRACE: a Landlock domain may not trace anything outside itself */
};

/*
 * `add` and `drop` are vectors of names ("NET_ADMIN", "cap_net_admin"; "ALL" in `drop` only). `profile`: NULL or
 * "default", or "unconfined". The filter belongs to a cache of this module. Fails with InvalidArgument.
 */
int sandbox_make(char *const *add, char *const *drop, const char *profile, struct sandbox *ret,
		 struct error *err) must_check;

/* Does this kernel have Landlock? */
bool sandbox_has_landlock(void);

/* Compile the default filter ahead of the first attach. */
int sandbox_prepare(struct error *err) must_check;

/* ---- in the child; each returns 0 or -errno ---- */

/*
 * Become `uid` and `gid` with `groups`, holding no capability but the sandbox's. Bounding, permitted, effective,
 * inheritable and ambient sets are all set (capabilities(7)).
 */
int sandbox_credentials(const struct sandbox *s, unsigned int uid, unsigned int gid,
			const unsigned int *groups, size_t n_groups) must_check;

/*
 * Confine all file access to what lies below "/" of the calling process's own mount namespace, and to the files that `stdio` names
 * with the access they were opened for. That closes the ways round it: /proc/PID/root of a process outside, and an inherited
 * read-only file opened again for writing. No mount, no device node, no trace of outside processes (landlock(7)).
 */
int sandbox_landlock(const int stdio[3]) must_check;

/* no_new_privs and the filter; only execve(2) may follow. */
int sandbox_seccomp(const struct sandbox *s) must_check;

/*
 * For our init, once it has nothing left to do but wait: no capability and none to be had again (bounding set, securebits,
 * no_new_privs), and a filter that leaves it reading, writing and waiting. Whoever gets to trace it gains nothing.
 */
int sandbox_seal_init(void) must_check;

#endif
