// SPDX-License-Identifier: MIT
#include "recapd/api.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/log.h"
#include "recapd/access.h"
#include "recapd/client.h"
#include "interface.h"

#define CLIENTS_MAX 1024 /* or half of the descriptors: the others are for capsules */
#define UNREAD_MAX \
	(4 << 20) /* bytes that wait for a client other than root before the next reply ends it */
#define TELL_US	  10000 /* most capsules have ended by then, and their clients are told once */
#define INTERFACE "io.recap."

/* The call has its last reply, or will get none: say what came of it. */
static void record(struct client *c, struct json_object *reply, const struct error *err)
{
	struct audit_what what = {.params = c->params};

	audit_end(c->api->m->audit, &c->audit, &c->caller, &what, reply, err);
}

#define CALLS_PER_TURN 8    /* of one client, before it is the others' turn */
#define VALUES_MAX     8192 /* in a call: all that Attach takes, and then some */

static void client_free(struct client *c)
{
	struct client **p;
	struct error gone = {};

	/* Who watches the list or a log ends it in no other way. */
	error_set(&gone, ECONNRESET, "the client has gone");
	record(c, NULL, c->wait == WAIT_LIST || c->wait == WAIT_LOG ? NULL : &gone);
	for (p = &c->api->first; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	c->api->n_clients--;
	loop_remove(c->api->m->loop, &c->source);
	varlink_close(&c->v);
	if (c->job)
		job_cancel(c->job);
	strv_free(c->list_labels);
	caller_clear(&c->caller);
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
	/* More and more for somebody who reads none of it. */
	bool deaf = c->caller.uid && c->v.out_len - c->v.out_sent > UNREAD_MAX;
	int r = deaf ? -ENOBUFS : varlink_queue(&c->v, text, len);

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

	if (!continues)
		record(c, NULL, NULL);
	if (len < 0)
		c->closing = true;
	else
		send_text(c, text, len);
	if (!continues)
		c->wait = WAIT_NOTHING;
	watch(c, c->v.in_len > c->v.in_start);
}

void client_reply(struct client *c, struct json_object *params, bool continues)
{
	cleanup_json struct json_object *o = params ? params : json_object_new_object();

	if (!continues)
		record(c, o, NULL);
	client_reply_text(c, json_text(o), continues);
}

static struct json_object *error_object(const char *name, struct json_object *params)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "error", name);
	json_put_obj(o, "parameters", params);
	return o;
}

static struct json_object *own_error(const struct error *err, struct json_object *extra)
{
	struct json_object *params = extra ? extra : json_object_new_object();
	char name[64];

	snprintf(name, sizeof(name), INTERFACE "%s", err->name[0] ? err->name : "Failed");
	json_put_str(params, "message", err->msg);
	return error_object(name, params);
}

/* `error` becomes ours. */
static void send_error(struct client *c, struct json_object *error)
{
	cleanup_json struct json_object *o = error;
	const char *text = json_text(o);

	send_text(c, text, strlen(text));
	c->wait = WAIT_NOTHING;
	watch(c, c->v.in_len > c->v.in_start);
}

void client_error(struct client *c, const struct error *err, struct json_object *extra)
{
	record(c, NULL, err);
	send_error(c, own_error(err, extra));
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
		send_error(c, error_object("org.varlink.service.InterfaceNotFound", o));
	}
	return 0;
}

static const struct method methods_service[] = {
	{"org.varlink.service.GetInfo", NULL, false, false, get_info, {}},
	{"org.varlink.service.GetInterfaceDescription",
	 NULL,
	 false,
	 false,
	 get_description,
	 {{"interface", json_type_string}}},
	{NULL},
};

static const struct method *const tables[] = {methods_service, methods_capsule, methods_image,
					      methods_scan,    methods_node,	methods_policy};

static const struct method *find_method(const char *name)
{
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

const struct method *api_method_of(const char *verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct method *m = tables[i]; m->name; m++)
			if (m->verb && !strcmp(m->verb, verb))
				return m;
	return NULL;
}

const char *api_bad_param(const struct method *m, struct json_object *params)
{
	json_object_object_foreach (params, key, value)
		if (!known_param(m, key, value))
			return key;
	return NULL;
}

static void refuse(struct client *c, const char *error, const char *key, const char *value)
{
	struct json_object *o = json_object_new_object();
	struct error err = {};

	error_named(&err, EINVAL, strrchr(error, '.') + 1, "%s: %s", key, value);
	record(c, NULL, &err);
	json_put_str(o, key, value);
	send_error(c, error_object(error, o));
}

/* A method that decides by itself what it does for whom is asked; all others are recorded as they come. */
static int run(struct client *c, const struct method *m, struct json_object *params,
	       struct error *err)
{
	const struct audit_what what = {.params = params};
	int r = m->allows ? 0 : audit_allow(c->api->m->audit, &c->audit, &c->caller, &what, err);

	return r < 0 ? r : m->fn(c, params, err);
}

/* Which rule it was is for programs, too. */
static struct json_object *refused_by(const struct client *c, const struct error *err)
{
	struct json_object *o = NULL;

	if (!strcmp(err->name, "Refused") && c->refused_by[0]) {
		o = json_object_new_object();
		json_put_str(o, "rule", c->refused_by);
	}
	return o;
}

static void call(struct client *c, struct json_object *msg)
{
	const char *name = json_get_str(msg, "method");
	cleanup_json struct json_object *none = json_object_new_object();
	struct json_object *params = json_get(msg, "parameters", json_type_object);
	const struct method *m = name ? find_method(name) : NULL;
	struct error err = {};
	const char *bad;

	/* What it asks for may be in books that are not done yet. */
	loop_settle(c->api->m->loop);
	if (!params)
		params = none;
	c->more = json_get_bool(msg, "more");
	bad = m ? api_bad_param(m, params) : NULL;
	if (params == none && json_object_object_get(msg, "parameters"))
		bad = "parameters";
	c->params = params;
	audit_begin(c->api->m->audit, &c->audit, m ? m->name : "", m);
	if (json_get_bool(msg, "oneway") || json_get_bool(msg, "upgrade")) {
		/* No method of ours makes sense without its reply. */
		error_named(&err, EINVAL, "InvalidArgument", "it wants no reply, or no Varlink");
		record(c, NULL, &err);
		c->closing = true;
	} else if (!m)
		refuse(c, "org.varlink.service.MethodNotFound", "method", name ? name : "");
	else if (access_begin(c, m, &err) < 0)
		client_error(c, &err, refused_by(c, &err));
	else if (bad)
		refuse(c, "org.varlink.service.InvalidParameter", "parameter", bad);
	else if (run(c, m, params, &err) < 0)
		client_error(c, &err, refused_by(c, &err));
	c->params = NULL;
}

/* A message is read as what it claims to be only when that cannot take long. */
static int parse_call(const char *text, size_t len, struct json_object **ret)
{
	cleanup_json struct json_object *msg = NULL;

	if (json_count_values(text, len) > VALUES_MAX ||
	    json_parse(text, len, "message", &msg, NULL) < 0 ||
	    !json_object_is_type(msg, json_type_object))
		return -EBADMSG;
	*ret = TAKE_PTR(msg);
	return 0;
}

/* Nothing was called, so nothing is answered. */
static void refuse_message(struct client *c, const char *why)
{
	struct error err = {};

	error_named(&err, EPROTO, "InvalidMessage", "%s", why);
	track_count(c->api->m->track, "client_refused");
	audit_connection(c->api->m->audit, &c->caller, &err);
}

/*
 * Serve what has come, one call after the other: a connection that waits takes no more. True: there may be more, for the next
 * turn of the loop.
 */
static bool serve(struct client *c)
{
	const char *text;
	size_t len;

	for (int i = 0; c->wait == WAIT_NOTHING && !c->closing; i++) {
		cleanup_json struct json_object *msg = NULL;

		if (i == CALLS_PER_TURN)
			return true;
		if (varlink_next(&c->v, &text, &len) != 1)
			return false;
		if (parse_call(text, len, &msg) == 0) {
			call(c, msg);
		} else {
			refuse_message(c, "what it sent is no Varlink");
			c->closing = true;
		}
	}
	return false;
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

/* Read and send what can be. False: the connection is broken. *ret_more: there may be more to read; *ret_end: never again. */
static bool transfer(struct client *c, uint32_t events, bool *ret_more, bool *ret_end)
{
	int r = -EAGAIN;

	if (events & EPOLLIN)
		r = varlink_read(&c->v);
	if (r == -EMSGSIZE)
		refuse_message(c, "its message is too long, or has too many descriptors");
	*ret_more = r == 1;
	*ret_end = r == 0 || events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP);
	return (r >= 0 || r == -EAGAIN) && varlink_flush(&c->v) >= 0;
}

static void on_client(uint32_t events, void *arg)
{
	struct client *c = arg;
	bool more, end, unserved, open = transfer(c, events, &more, &end);

	/* All that came before the end is served: a caller may send and shut down its side at once. */
	unserved = serve(c) || (end && more && c->wait == WAIT_NOTHING);
	if (open && unserved && !c->closing) {
		watch(c, true);
	} else if (!open || end || c->closing) {
		abandon(c);
		client_free(c);
	} else {
		watch(c, false);
	}
}

/* It is told so before it has asked for anything; once, and only if there is room. */
static void refuse_connection(struct api *api, int fd, struct caller *caller,
			      const struct error *err)
{
	cleanup_json struct json_object *o = own_error(err, NULL);
	const char *text = json_text(o);

	track_count(api->m->track, "client_refused");
	audit_connection(api->m->audit, caller, err);
	(void)!send(fd, text, strlen(text) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	caller_clear(caller);
}

void api_accept(struct api *api, int fd)
{
	struct caller caller = {};
	struct client *c = NULL;
	struct error err = {};
	int r = caller_read(fd, &caller);

	if (r < 0)
		error_named(&err, EPERM, "PermissionDenied", "who calls cannot be read: %s",
			    r == -ERANGE ? "too many groups" : strerror(-r));
	else
		r = access_connect(api, &caller, &err);
	if (r == 0 && (api->n_clients == api->max_clients || !(c = calloc(1, sizeof(*c)))))
		error_named(&err, EBUSY, "Busy",
			    "recapd has as many connections as it can serve: try again");
	if (!c) {
		refuse_connection(api, fd, &caller, &err);
		return;
	}
	c->caller = caller;
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

static void tell(struct client *c, struct capsule *capsule, struct json_object *record)
{
	const struct error *err = capsule_error(capsule);
	struct json_object *o;

	if (c->wait == WAIT_LOG) {
		client_reply_text(c, "{\"running\":false}", false);
	} else if (err && c->wait != WAIT_GONE) {
		client_error(c, err, NULL);
	} else {
		o = json_object_new_object();
		json_put_obj(o, "capsule", json_object_get(record));
		client_reply(c, o, false);
	}
}

/* Nobody waits for a capsule that is not there: it is told as an end, before that. */
static void tell_begun(struct client *c)
{
	struct capsule *capsule;
	struct json_object *o;
	struct error err;

	if (capsule_find(c->api->m->capsules, c->waits_for, &capsule, &err) < 0)
		return;
	o = json_object_new_object();
	json_put_obj(o, "capsule", capsule_json(capsule));
	client_reply(c, o, true);
}

static void tell_untold(void *arg)
{
	struct api *api = arg;

	for (struct client *c = api->first; c; c = c->next) {
		bool tell = c->untold && c->wait == WAIT_ATTACH;

		c->untold = false;
		if (!tell)
			continue;
		audit_capsule_started(api->m->audit, c->waits_for);
		if (c->more)
			tell_begun(c);
	}
}

void api_tell_soon(struct client *c)
{
	c->untold = true;
	loop_defer(c->api->m->loop, TELL_US, tell_untold, c->api);
}

/* Unless the recapd before us got as far as that. */
static void remember(struct api *api, struct json_object *record)
{
	if (history_find(api->m->history, json_get_str(record, "id"), NULL, NULL) < 0)
		history_add(api->m->history, record);
}

void api_capsule_event(struct capsule *capsule, enum capsule_event event, void *arg)
{
	cleanup_json struct json_object *o = capsule_json(capsule);
	struct api *api = arg;

	if (event == CAPSULE_GONE) {
		remember(api, o);
		return;
	}
	/* Before anybody is told: what a caller knows is on record. */
	if (event == CAPSULE_STARTED)
		audit_capsule_started(api->m->audit, capsule_name(capsule));
	else
		audit_capsule(api->m->audit, o, capsule_error(capsule), event == CAPSULE_DONE,
			      capsule_told_at(capsule));
	for (struct client *c = api->first; c; c = c->next) {
		bool waits = c->wait == WAIT_ATTACH || c->wait == WAIT_STARTED ||
			     c->wait == WAIT_GONE || c->wait == WAIT_LOG;

		if (!waits || strcmp(c->waits_for, capsule_name(capsule)))
			continue;
		if (event != CAPSULE_STARTED || c->wait == WAIT_STARTED)
			tell(c, capsule, o);
	}
}

static bool keep_row(const char *record, void *arg)
{
	return access_sees_container(arg, record);
}

void api_send_list(struct client *c)
{
	cleanup_free char *list = NULL, *text = NULL;
	struct error err;
	size_t len;
	int r = inventory_list(c->api->m->inventory, c->list_all, c->list_labels, keep_row, c,
			       &list, &len, &err);

	if (r == 0 && asprintf(&text, "{\"containers\":%s}", list) < 0)
		r = error_set(&err, ENOMEM, "out of memory");
	if (r < 0)
		client_error(c, &err, NULL);
	else
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
