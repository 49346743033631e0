/* SPDX-License-Identifier: MIT */
/* One connection, for api.c, which serves it, and the files with the methods. */
#ifndef RECAP_CLIENT_H
#define RECAP_CLIENT_H

#include "common/varlink.h"
#include "recapd/api.h"
#include "recapd/audit.h"
#include "recapd/caller.h"

/* What a connection waits for; it takes no further call meanwhile. */
enum client_wait {
	WAIT_NOTHING,
	WAIT_ATTACH,  /* for the capsule `waits_for`: closing the connection ends it */
	WAIT_STARTED, /* of a detached capsule: one reply once its tool runs */
	WAIT_GONE,    /* for the capsule to be seen out */
	WAIT_LOG,     /* for the end of a detached capsule's output */
	WAIT_LIST,    /* for the next change of the inventory */
	WAIT_JOB,     /* for a worker process */
};

struct client {
	struct client *next;
	struct api *api;
	struct caller caller;
	struct varlink v;
	struct loop_source source;
	enum client_wait wait;
	char waits_for[16];		      /* a capsule's name */
	const char *verb;		      /* of the present call, or of what it waits for */
	char refused_by[POLICY_NAME_MAX + 1]; /* the policy's rule that refused it, or "" */
	bool more;			      /* the present call wants several replies */
	bool untold;		    /* WAIT_ATTACH: the first of them has yet to be sent */
	bool closing;		    /* gone, or of no use any more: freed by the loop */
	uint32_t interest;	    /* events that the loop watches for */
	struct audit_request audit; /* the present call */
	struct json_object *params; /* of it, while it is being served; borrowed */
	/* WAIT_LIST */
	bool list_all;
	char **list_labels;
	/* WAIT_JOB */
	struct job *job;
};

struct api {
	struct manager *m;
	struct client *first;
	size_t n_clients, max_clients;
};

/* Reply with `params`, which is taken over (NULL: none), or with the text of an object. `continues`: another follows. */
void client_reply(struct client *c, struct json_object *params, bool continues);
void client_reply_text(struct client *c, const char *params, bool continues);

/* Reply with the error: its name, or Failed. `extra` (may be NULL) is taken over: parameters beside the message. */
void client_error(struct client *c, const struct error *err, struct json_object *extra);

/* Tell of an attach (the client and the audit), if it still runs in a moment: most tools have ended by then. */
void api_tell_soon(struct client *c);

/* The list of containers, as the client asked for it; another follows while it waits for changes. */
void api_send_list(struct client *c);

/* A method: reads `params` (an object), replies or sets `wait`; -errno with `err` filled has the error sent. */
typedef int (*method_fn)(struct client *c, struct json_object *params, struct error *err);

/* Method and the names and types of its parameters; anything else is refused. */
struct method {
	const char *name;
	const char *verb; /* by which policies know it; NULL: whoever may connect may call it */
	bool details; /* it asks the policy itself, once it knows what it is about: see access.h */
	bool job;     /* it takes a worker process */
	method_fn fn;
	struct {
		const char *name;
		enum json_type type;
	} params[28];
	bool allows; /* calls audit_allow() itself, once it knows what it is asked for */
};

extern const struct method methods_capsule[]; /* each ends with a NULL name */
extern const struct method methods_image[];
extern const struct method methods_scan[];
extern const struct method methods_node[];
extern const struct method methods_policy[];

/* The first method with this verb, or NULL. */
const struct method *api_method_of(const char *verb);

/* The name of a parameter that the method does not have, or not of that type; NULL when all fit. */
const char *api_bad_param(const struct method *m, struct json_object *params);

/*
 * Run a worker for this client, who then waits for its result: argv[0] is its program (a string constant), `fd` its standard
 * input, which is taken over (-1: none).
 */
int job_start(struct client *c, char *const argv[], int fd, struct error *err) must_check;

/* To each row of image_list(), `scan`: what its last scan says. */
void scan_add_states(struct gate *gate, struct json_object *images);

/* End a worker; its client is told that there is no result. */
void job_stop(struct job *job);

/* End a worker whose client has gone. */
void job_cancel(struct job *job);

#endif
