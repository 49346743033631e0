/* SPDX-License-Identifier: MIT */
/*
 * What images ask for in their labels (io.recap.*), and how much of it this node grants them by themselves. What the
 * caller of Attach says always wins: a label fills in only what he left open.
 */
#ifndef RECAP_REQUESTS_H
#define RECAP_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

/* The setting "image_requests": what a label is granted without the caller's asking for it. */
struct requests_config {
	uint64_t caps;	 /* besides those that every capsule has */
	bool root_rw;	 /* target-root=rw */
	bool unconfined; /* seccomp=unconfined */
};

/*
 * Read the setting: {"capabilities": [NAME, ...], "target_root": "ro"|"rw", "seccomp": "default"|"unconfined"};
 * `setting` may be NULL, and what is absent is not granted.
 */
int requests_config_parse(struct json_object *setting, struct requests_config *ret,
			  struct error *err) must_check;

/*
 * Add to `params`, those of Attach, what `labels` of the image `ref` ask for and the caller left open. Fails with
 * ImageInvalid when a label says what cannot be, and with PermissionDenied, naming the label and the flag that grants
 * it, when it asks for more than `config` allows.
 */
int requests_apply(const struct requests_config *config, const char *ref,
		   struct json_object *labels, struct json_object *params,
		   struct error *err) must_check;

#endif
