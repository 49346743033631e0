/* SPDX-License-Identifier: MIT */
/*
 * Shorter seccomp filters. libseccomp compares system call numbers one by one, some 480 instructions for our profile; the kernel
 * translates them all and walks them for every call there is, each time the filter is installed, which is each attach. What they
 * say of most calls depends on the number alone, and neighbours mostly share it: a search over some 70 ranges says the same.
 */
#ifndef RECAP_COMPACT_H
#define RECAP_COMPACT_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>

#include "common/error.h"

/*
 * What `prog` returns for `data` (a SECCOMP_RET_ value), as the kernel would run it. *ret_args tells whether it looked at
 * anything but number and architecture. SECCOMP_RET_KILL_PROCESS for a program that is none of libseccomp's.
 */
unsigned int compact_run(const struct sock_fprog *prog, const struct seccomp_data *data,
			 bool *ret_args);

/* The program of a libseccomp context. The caller frees ret->filter. */
int compact_export(scmp_filter_ctx ctx, struct sock_fprog *ret) must_check;

/*
 * A filter that says for calls of architecture `arch` what `full` says. `args` holds only the rules of `full` that look at
 * arguments, and serves those calls and all other architectures. The caller frees ret->filter. -E2BIG when it would be too long.
 */
int compact_filter(const struct sock_fprog *full, const struct sock_fprog *args, unsigned int arch,
		   struct sock_fprog *ret) must_check;

#endif
