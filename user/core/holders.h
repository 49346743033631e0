/* SPDX-License-Identifier: MIT */
/* Who keeps a layer by a mount. The kernel's iterators (track_holders()) know of open files, mappings and folders only. */
#ifndef RECAP_HOLDERS_H
#define RECAP_HOLDERS_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"
#include "recap/abi.h"

/*
 * Look through the mount namespace of every process for a mount of the layer: one record, with the process of the lowest PID, for
 * each namespace that has one. At most `max`. Returns how many, or -errno. Reads /proc of the whole node: for quarantines only.
 */
int holders_mounts(const struct recap_wanted *wanted, ino_t workshop,
		   struct recap_holder_record *ret, size_t max) must_check;

#endif
