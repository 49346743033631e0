/* SPDX-License-Identifier: MIT */
/*
 * The built-in checks of an image's merged root and of its record:
 *   setuid, setgid, capability   medium; RECap dropped them when it unpacked the image
 *   device                       medium (dropped, too); high where there is one
 *   world-writable               medium; folders with the sticky bit are none
 *   secret                       high; private keys and well-known tokens
 *   root-user                    low; not where the labels ask for capabilities
 *   unrecorded                   medium; a layer of whose unpacking no record says what was dropped
 */
#ifndef RECAP_CHECKS_H
#define RECAP_CHECKS_H

#include "scan/findings.h"

#define CHECK_ENTRIES_MAX 4000000
#define CHECK_DEPTH_MAX	  200

/* Walk the root. -E2BIG: there is more of it than the limits allow, so nothing can be said. */
int check_root(int root, struct findings *f, struct error *err) must_check;

/* The record of the image, and what was dropped: [{layer, dropped: {total, list} or absent}], see layer_unpack(). */
void check_record(struct json_object *record, struct json_object *layers, struct findings *f);

#endif
