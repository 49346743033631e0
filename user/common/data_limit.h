/* SPDX-License-Identifier: MIT */
#ifndef RECAP_DATA_LIMIT_H
#define RECAP_DATA_LIMIT_H

#include <sys/resource.h>

/* A value for RLIMIT_DATA. What a sanitizer keeps beside the program's memory counts, too, and its addresses are terabytes. */
#ifdef __SANITIZE_ADDRESS__
#define DATA_LIMIT(bytes) RLIM_INFINITY
#else
#define DATA_LIMIT(bytes) (bytes)
#endif

#endif
