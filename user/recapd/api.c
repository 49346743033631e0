// SPDX-License-Identifier: MIT
#include "recapd/api.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/log.h"
#include "recapd/client.h"
#include "interface.h"

#define CLIENTS_MAX 1024 /* or half of the descriptors: the others are for capsules */
#define INTERFACE   "io.recap."

static void client_free(struct client *c)
{
	struct client **p;

	for (p = &c->api->first; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	c->api->n_clients--;
	loop_remove(c->api->m->loop, &c->source);
	varlink_close(&c->v);
	if (c->job)
		job_cancel(c->job);
	strv_free(c->list_labels);
	free(c);
}

/* ---- replies ----------------------------------------------------------------------------------- */

/*
 * What the loop is to watch for. A connection that waits is not read: what it sends meanwhile stays in the socket, whose
 * buffer is its limit. `unserved`: messages that were read already may be served now, so call back.
 */
static void watch(struct client *c, bool unserved)
{
	bool unsent = c->v.out_len > c->v.out_sent;
	uint32_t events = EPOLLRDHUP;

	if (c->wait == WAIT_NOTHING)
		events |= EPOLLIN;
	if (unsent || c->closing || (unserved && c->wait == WAIT_NOTHING))
		events |= EPOLLOUT;
	if (events == c->interest || c->source.fd < 0)
		return;
	c->interest = events;
	if (loop_change(c->api->m->loop, &c->source, events) < 0)
		log_warn("cannot watch a client: %s", strerror(errno));
}

static void send_text(struct client *c, const char *text, size_t len)
{
	int r = varlink_queue(&c->v, text, len);

	if (r == 0)
		r = varlink_flush(&c->v);
	if (r < 0)
		c->closing = true; /* it does not read, or has gone */
}

void client_reply_text(struct client *c, const char *params, bool continues)
{
	cleanup_free char *text = NULL;
	int len = asprintf(&text, "{\"parameters\":%s%s}", params,
			   continues ? ",\"continues\":true" : "");

	if (len < 0)
		c->closing = true;
	else
		send_text(c, text, len);
	if (!continues)
		c->wait = WAIT_NOTHING;
	watch(c, c->v.in_len > c->v.in_start);
}

static const char *plain(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
}

void client_reply(struct client *c, struct json_object *params, bool continues)
{
	cleanup_json struct json_object *o = params ? params : json_object_new_object();

	client_reply_text(c, plain(o), continues);
}

static void send_error(struct client *c, const char *name, struct json_object *params)
{
	cleanup_json struct json_object *o = json_object_new_object();
	const char *text;

	json_put_str(o, "error", name);
	json_put_obj(o, "parameters", params);
	text = plain(o);
	send_text(c, text, strlen(text));
	c->wait = WAIT_NOTHING;
	watch(c, c->v.in_len > c->v.in_start);
}

void client_error(struct client *c, const struct error *err, struct json_object *extra)
{
	struct json_object *params = extra ? extra : json_object_new_object();
	char name[64];

	snprintf(name, sizeof(name), INTERFACE "%s", err->name[0] ? err->name : "Failed");
	json_put_str(params, "message", err->msg);
	send_error(c, name, params);
}

/* ---- calls ------------------------------------------------------------------------------------- */

static int get_info(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_put_str(o, "vendor", "RECap");
	json_put_str(o, "product", "recapd");
	json_put_str(o, "version", RECAP_VERSION);
	json_put_str(o, "url", "");
	json_object_array_add(list, json_object_new_string("org.varlink.service"));
	json_object_array_add(list, json_object_new_string("io.recap"));
	json_put_obj(o, "interfaces", list);
	client_reply(c, o, false);
	return 0;
}

static int get_description(struct client *c, struct json_object *params, struct error *err)
{
	const char *name = json_get_str(params, "interface");
	struct json_object *o = json_object_new_object();

	if (name && !strcmp(name, "io.recap")) {
		json_put_str(o, "description", interface_io_recap);
		client_reply(c, o, false);
	} else {
		json_put_str(o, "interface", name ? name : "");
		send_error(c, "org.varlink.service.InterfaceNotFound", o);
	}
	return 0;
}

static const struct method methods_service[] = {
	{"org.varlink.service.GetInfo", get_info, {}},
	{"org.varlink.service.GetInterfaceDescription",
	 get_description,
	 {{"interface", json_type_string}}},
	{NULL},
};

static const struct method *find_method(const char *name)
{
	static const struct method *const tables[] = {methods_service, methods_capsule,
						      methods_image, methods_node};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct method *m = tables[i]; m->name; m++)
			if (!strcmp(m->name, name))
				return m;
	return NULL;
}

static bool known_param(const struct method *m, const char *key, struct json_object *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->params) && m->params[i].name; i++)
		if (!strcmp(m->params[i].name, key))
			return !value || json_object_is_type(value, m->params[i].type);
	return false;
}

/* The name of a parameter that the method does not have, or not of that type; NULL when all fit. */
static const char *bad_param(const struct method *m, struct json_object *params)
{
	json_object_object_foreach (params, key, value)
		if (!known_param(m, key, value))
			return key;
	return NULL;
}

static void refuse(struct client *c, const char *error, const char *key, const char *value)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, key, value);
	send_error(c, error, o);
}

static void call(struct client *c, struct json_object *msg)
{
	const char *name = json_get_str(msg, "method");
	cleanup_json struct json_object *none = json_object_new_object();
	struct json_object *params = json_get(msg, "parameters", json_type_object);
	const struct method *m = name ? find_method(name) : NULL;
	struct error err = {};
	const char *bad;

	if (!params)
		params = none;
	c->more = json_get_bool(msg, "more");
	bad = m ? bad_param(m, params) : NULL;
	if (params == none && json_object_object_get(msg, "parameters"))
		bad = "parameters";
	if (json_get_bool(msg, "oneway") || json_get_bool(msg, "upgrade"))
		c->closing = true; /* no method of ours makes sense without its reply */
	else if (!m)
		refuse(c, "org.varlink.service.MethodNotFound", "method", name ? name : "");
	else if (bad)
		refuse(c, "org.varlink.service.InvalidParameter", "parameter", bad);
	else if (m->fn(c, params, &err) < 0)
		client_error(c, &err, NULL);
}

/* Serve what has come, one call after the other: a connection that waits takes no more. */
static void serve(struct client *c)
{
	const char *text;
	size_t len;

	while (c->wait == WAIT_NOTHING && !c->closing && varlink_next(&c->v, &text, &len) == 1) {
		cleanup_json struct json_object *msg = NULL;

		if (json_parse(text, len, "message", &msg, NULL) < 0 ||
		    !json_object_is_type(msg, json_type_object)) {
			track_count(c->api->m->track, "client_refused");
			c->closing = true;
			return;
		}
		call(c, msg);
	}
}

/* The client has gone: what it alone wanted ends with it. */
static void abandon(struct client *c)
{
	struct capsule *capsule;

	if (c->wait == WAIT_ATTACH &&
	    capsule_find(c->api->m->capsules, c->waits_for, &capsule, NULL) == 0) {
		c->wait = WAIT_NOTHING;
		capsule_stop(capsule, "client-gone", 1000000000ull);
	}
}

/* Read and send what can be. False: the connection is at its end. *ret_more: there may be more to read. */
static bool transfer(struct client *c, uint32_t events, bool *ret_more)
{
	int r = 1;

	if (events & EPOLLIN)
		r = varlink_read(&c->v);
	if (r == -EMSGSIZE)
		track_count(c->api->m->track, "client_refused");
	*ret_more = (events & EPOLLIN) && r == 1;
	if (r == 0 || (r < 0 && r != -EAGAIN))
		return false;
	return varlink_flush(&c->v) >= 0;
}

static void on_client(uint32_t events, void *arg)
{
	struct client *c = arg;
	bool ending = events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP), more, open;

	/* All that came before the end is served: a caller may send and shut down its side at once. */
	do {
		open = transfer(c, events, &more);
		serve(c);
	} while (open && ending && more && c->wait == WAIT_NOTHING && !c->closing);
	if (!open || ending || c->closing) {
		abandon(c);
		client_free(c);
	} else {
		watch(c, false);
	}
}

/* Root only: to run programs as root in any container is to be root. */
static bool allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.uid == 0;
}

void api_accept(struct api *api, int fd)
{
	struct client *c;

	if (api->n_clients >= api->max_clients || !allowed(fd)) {
		track_count(api->m->track, "client_refused");
		close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->api = api;
	c->source.fd = -1;
	varlink_init(&c->v, fd, VARLINK_MESSAGE_MAX);
	c->next = api->first;
	api->first = c;
	api->n_clients++;
	c->interest = EPOLLIN | EPOLLRDHUP;
	if (loop_add(api->m->loop, &c->source, fd, c->interest, on_client, c) < 0)
		client_free(c);
	else
		on_client(EPOLLIN, c); /* the call is usually there already */
}

/* ---- who waits --------------------------------------------------------------------------------- */

static struct json_object *capsule_params(struct capsule *capsule)
{
	struct json_object *o = json_object_new_object();

	json_put_obj(o, "capsule", capsule_json(capsule));
	return o;
}

static void tell(struct client *c, struct capsule *capsule)
{
	const struct error *err = capsule_error(capsule);

	if (c->wait == WAIT_LOG) {
		client_reply_text(c, "{\"running\":false}", false);
	} else if (err && c->wait != WAIT_GONE) {
		client_error(c, err, NULL);
	} else {
		client_reply(c, capsule_params(capsule), false);
	}
}

void api_capsule_event(struct capsule *capsule, enum capsule_event event, void *arg)
{
	struct api *api = arg;

	for (struct client *c = api->first; c; c = c->next) {
		bool waits = c->wait == WAIT_ATTACH || c->wait == WAIT_STARTED ||
			     c->wait == WAIT_GONE || c->wait == WAIT_LOG;

		if (!waits || strcmp(c->waits_for, capsule_name(capsule)))
			continue;
		if (event != CAPSULE_STARTED || c->wait == WAIT_STARTED)
			tell(c, capsule);
	}
	if (event == CAPSULE_DONE) {
		cleanup_json struct json_object *record = capsule_json(capsule);

		history_add(api->m->history, record);
	}
}

void api_send_list(struct client *c)
{
	cleanup_free char *list = NULL, *text = NULL;
	struct error err;
	size_t len;

	if (inventory_list(c->api->m->inventory, c->list_all, c->list_labels, &list, &len, &err) <
	    0)
		client_error(c, &err, NULL);
	else if (asprintf(&text, "{\"containers\":%s}", list) >= 0)
		client_reply_text(c, text, c->wait == WAIT_LIST);
}

void api_inventory_changed(struct api *api)
{
	for (struct client *c = api->first; c; c = c->next)
		if (c->wait == WAIT_LIST)
			api_send_list(c);
}

bool api_busy(const struct api *api)
{
	for (const struct client *c = api->first; c; c = c->next)
		if (c->wait == WAIT_JOB || c->v.out_len > c->v.out_sent)
			return true;
	return false;
}

void api_stop(struct api *api)
{
	for (struct client *c = api->first; c; c = c->next)
		if (c->job)
			job_stop(c->job);
}

int api_new(struct manager *m, struct api **ret, struct error *err)
{
	struct api *api = calloc(1, sizeof(*api));
	struct rlimit files;

	if (!api)
		return error_set(err, ENOMEM, "out of memory");
	api->m = m;
	/* Were none left to accept(2) with, the waiting connection would wake the loop for ever. */
	api->max_clients = CLIENTS_MAX;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < CLIENTS_MAX)
		api->max_clients = files.rlim_cur / 2;
	*ret = api;
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	while (api->first)
		client_free(api->first);
	free(api);
}
