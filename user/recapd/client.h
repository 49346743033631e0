/* SPDX-License-Identifier: MIT */
/* One connection, for api.c, which serves it, and the files with the methods. */
#ifndef RECAP_CLIENT_H
#define RECAP_CLIENT_H

#include "common/varlink.h"
#include "recapd/api.h"

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
	struct varlink v;
	struct loop_source source;
	enum client_wait wait;
	char waits_for[16]; /* a capsule's name */
	bool more;	    /* the present call wants several replies */
	bool closing;	    /* gone, or of no use any more: freed by the loop */
	uint32_t interest;  /* events that the loop watches for */
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

/* The list of containers, as the client asked for it; another follows while it waits for changes. */
void api_send_list(struct client *c);

/* A method: reads `params` (an object), replies or sets `wait`; -errno with `err` filled has the error sent. */
typedef int (*method_fn)(struct client *c, struct json_object *params, struct error *err);

/* Method and the names and types of its parameters; anything else is refused. */
struct method {
	const char *name;
	method_fn fn;
	struct {
		const char *name;
		enum json_type type;
	} params[24];
};

extern const struct method methods_capsule[]; /* each ends with a NULL name */
extern const struct method methods_image[];
extern const struct method methods_node[];

/* Run image_load() in a worker process for this client, who then waits for it. Takes over `fd`. */
int job_load(struct client *c, int fd, const char *ref, struct error *err) must_check;

/* End a worker; its client is told that there is no result. */
void job_stop(struct job *job);

/* End a worker whose client has gone. */
void job_cancel(struct job *job);

#endif
