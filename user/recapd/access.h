/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: the policy, applied to calls. Each method has one verb. api.c asks access_begin() before anything else is done
 * for a call; where a rule may speak of what the call is about, the method asks again once it knows: about the image, the
 * container or the capsule that was found, and about what an attach comes to once the image's labels were applied.
 */
#ifndef RECAP_ACCESS_H
#define RECAP_ACCESS_H

#include "core/policy.h"
#include "recapd/client.h"

#define ACCESS_CLIENTS_MAX  64 /* connections of one user other than root */
#define ACCESS_CAPSULES_MAX 64 /* capsules of theirs that run */
#define ACCESS_JOBS_MAX	    2  /* pieces of work on images of theirs */

/*
 * Read the policy, again on SIGHUP. One that is broken leaves that before in force (at the start: root only), which `problem` then
 * tells; without a file there is root only.
 */
void access_load(struct manager *m);
void access_close(struct manager *m);

/* Users and groups of this machine's /etc/passwd and /etc/group. */
extern const struct policy_names access_names;

/* May they connect at all (PermissionDenied), and is there room for one more of theirs (Busy)? */
int access_connect(const struct api *api, const struct caller *caller,
		   struct error *err) must_check;

/* May they call it? */
int access_begin(struct client *c, const struct method *m, struct error *err) must_check;

/* What is known of a request; clear it. */
struct access_facts {
	struct policy_request q;
	struct policy_image image;
	struct policy_target target;
	struct policy_ask ask;
	uint32_t owner;
	struct json_object *record; /* of the container or capsule, which the others point into */
	char **names;
};
void access_facts_clear(struct access_facts *f);
#define cleanup_facts cleanup(access_facts_clear)

/* Those of an attach with its target found. The image and the request outlive them. */
int access_attach_facts(struct client *c, const struct capsule_request *req,
			struct json_object *params, struct access_facts *f,
			struct error *err) must_check;
void access_image_facts(struct client *c, const char *ref, const char *digest,
			struct access_facts *f);
void access_container_facts(struct client *c, const char *record, struct access_facts *f);
void access_capsule_facts(struct client *c, struct json_object *record, struct access_facts *f);

/* In methods_capsule.c: resolve an attach without doing it, and tell the facts. */
typedef void (*attach_facts_fn)(struct access_facts *f, void *arg);
int attach_explain_facts(struct client *c, struct json_object *params, attach_facts_fn fn,
			 void *arg, struct error *err) must_check;

/* Each: 0, or Refused. Limits that the policy imposes are put into `req`, as is who asks. */
int access_attach(struct client *c, struct capsule_request *req, struct json_object *params,
		  struct error *err) must_check;
int access_container(struct client *c, const char *record, struct error *err) must_check;
int access_capsule(struct client *c, struct json_object *record, struct error *err) must_check;
/* One that is named; to remove it by digest all of its names must be theirs. */
int access_image(struct client *c, const char *ref, struct error *err) must_check;
/* One that is brought in as `ref` (NULL: what it calls itself). */
int access_new_image(struct client *c, const char *ref, struct error *err) must_check;

/* Whether a row of a list is shown. */
bool access_sees_container(struct client *c, const char *record);
bool access_sees_capsule(struct client *c, struct json_object *record);
bool access_sees_image(struct client *c, struct json_object *row);

/* manager_find(), which tells nobody but root what else has that name. */
int access_find(struct client *c, const char *text, struct target_name *ret,
		struct error *err) must_check;

/*
 * Streams of a tool that runs as root: it could fchmod(2) what its caller could only open. So it must be a pipe, a socket or the
 * caller's own.
 */
int access_stream(const struct client *c, int fd, struct error *err) must_check;

#endif
