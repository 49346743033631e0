/* SPDX-License-Identifier: MIT */
/*
 * What a tool may do: capabilities, seccomp, Landlock. Decided in recapd, compiled in the injector, and
 * applied by the injected child as its last acts.
 */
#ifndef RECAP_SANDBOX_H
#define RECAP_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum sandbox_seccomp {
	SANDBOX_UNCONFINED,
	SANDBOX_DEFAULT,
	SANDBOX_PTRACE,	 /* and the calls that CAP_SYS_PTRACE unlocks in the default */
	SANDBOX_NET,	 /* and the sockets that CAP_NET_ADMIN unlocks in the default */
	SANDBOX_PROFILE, /* a file of the caller's */
	SANDBOX_SECCOMP_COUNT,
};

/*
 * Capabilities are bit masks, as in /proc/PID/status. The default is smaller than Docker's: a capsule with a full
 * Docker set could open /proc/1/root of an ordinary target for writing (ptrace(2), access mode checks).
 */
struct sandbox {
	uint64_t caps;	  /* bounding set; permitted and effective for a root user */
	uint64_t added;	  /* asked for by name: a user other than root gets these, as ambient */
	uint32_t seccomp; /* enum sandbox_seccomp */
	bool landlock; /* not with CAP_SYS_PTRACE: a Landlock domain may not trace anything outside itself */
};

/*
 * `add` and `drop` are vectors of names ("NET_ADMIN", "cap_net_admin"; "ALL" in `drop` only). `profile`: NULL for the default, or
 * a name that sandbox_seccomp_name() gives, but for "profile". Fails with InvalidArgument.
 */
int sandbox_make(char *const *add, char *const *drop, const char *profile, struct sandbox *ret,
		 struct error *err) must_check;

/*
 * Put a profile's text (core/seccomp_profile.h) in place of what sandbox_make() chose. Its filter is returned; the caller frees
 * ret->filter. Fails with InvalidArgument.
 */
int sandbox_use_profile(struct sandbox *s, const char *text, struct sock_fprog *ret,
			struct error *err) must_check;

const char *sandbox_seccomp_name(uint32_t seccomp);

/* What a tool that runs as `uid` holds: added capabilities only, for a user other than root. */
uint64_t sandbox_granted(const struct sandbox *s, unsigned int uid);

#define SANDBOX_CAP_NAME 32

/* As capabilities(7) calls it, but for the prefix: "SYS_ADMIN"; a number for one that libcap does not know. */
void sandbox_cap_name(int cap, char ret[static SANDBOX_CAP_NAME]);

/* Does this kernel have Landlock? */
bool sandbox_has_landlock(void);

/* Compile ahead of the first attach: the filter of init, and those of the combinations of capabilities that are asked for. */
int sandbox_prepare(struct error *err) must_check;

/*
 * The filter of a sandbox without a profile of its own, compiled when it is the first of its kind; it belongs to a cache of this
 * module. NULL: none.
 */
int sandbox_filter(const struct sandbox *s, const struct sock_fprog **ret,
		   struct error *err) must_check;

/* ---- in the child; each returns 0 or -errno ---- */

/* Whether the sandbox has no capability beyond the default. */
bool sandbox_is_usual(const struct sandbox *s);

/* Bound what any program executed from here on may hold to the default, for sandboxes that are usual. */
int sandbox_bound_usual(void) must_check;

/*
 * And to what a tool of the sandbox's that runs as `uid` holds; `usual`: sandbox_bound_usual() was called in this user namespace. One
 * that is joined later has its own bounds.
 */
int sandbox_bound(const struct sandbox *s, unsigned int uid, bool usual) must_check;

/*
 * Become `uid` and `gid` with `groups`, holding no capability but the sandbox's. Permitted, effective,
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

/* no_new_privs and the filter (NULL: none); only execve(2) may follow. */
int sandbox_seccomp(const struct sock_fprog *filter) must_check;

/*
 * For our init, bounded by sandbox_bound(), once it has nothing left to do but wait: no capability and none to be had again (bounding set, securebits,
 * no_new_privs), and then a filter that leaves it reading, writing and waiting. Whoever gets to trace it gains nothing.
 */
int sandbox_drop_all(const struct sandbox *s) must_check;
int sandbox_seal_init(void) must_check;

#endif
