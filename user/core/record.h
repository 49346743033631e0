/* SPDX-License-Identifier: MIT */
#ifndef RECAP_RECORD_H
#define RECAP_RECORD_H

#include "common/json.h"

/* A CLOCK_BOOTTIME time as RFC 3339 in UTC with milliseconds. */
void record_put_time(struct json_object *o, const char *key, uint64_t boot_ns);

#endif
