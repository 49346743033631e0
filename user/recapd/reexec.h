/* SPDX-License-Identifier: MIT */
/*
 * recapd runs from a sealed copy of its own program in memory. The processes that it forks into targets have it as their
 * /proc/PID/exe, and whoever gets to open that for writing must not find the file that root starts next time (CVE-2019-5736).
 */
#ifndef RECAP_REEXEC_H
#define RECAP_REEXEC_H

#include "common/error.h"

/* Execute the sealed copy; returns 0 when this is it already. */
int reexec_sealed(char **argv, struct error *err) must_check;

/* Path of the file that the copy was made of; NULL when not known. */
const char *reexec_origin(void);

#endif
