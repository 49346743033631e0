/* SPDX-License-Identifier: MIT */
/* Attaches over recapd's socket, without a process for each: one connection each, as recapctl has, and a loop. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/varlink.h"
#include "samples.h"

#define CLIENT_PATIENCE_MS 60000

/* The phases of a record's timings, in order. */
static const char *const client_phases[] = {"resolve", "prepare", "inject", "run",
					    "drain",   "escape",  "drop",   "total"};
#define CLIENT_PHASES ARRAY_SIZE(client_phases)

struct client_conn {
	struct varlink v;
	uint64_t start_ns, end_ns; /* from before the connection is made until its reply is there */
	bool done;
};

struct client {
	const char *socket;
	int epoll, null;
	size_t pending;
	/* Of the records, of all that ended since client_forget(). */
	struct samples phases[CLIENT_PHASES];
};

/* What a tool is: its standard input (-1: none) and what it is called with. */
struct client_tool {
	const char *target, *image, *arg;
	int input;
};

static inline int client_open(struct client *c, const char *socket, struct error *err)
{
	*c = (struct client){.socket = socket,
			     .epoll = epoll_create1(EPOLL_CLOEXEC),
			     .null = open("/dev/null", O_RDWR | O_CLOEXEC)};
	return c->epoll < 0 || c->null < 0 ? error_sys(err, errno, "cannot begin") : 0;
}

static inline void client_forget(struct client *c)
{
	for (size_t i = 0; i < CLIENT_PHASES; i++)
		c->phases[i].n = 0;
}

static inline int client_send(struct client *c, struct client_conn *conn,
			      const struct client_tool *tool, struct error *err)
{
	cleanup_json struct json_object *params = json_object_new_object();
	char *const args[] = {(char *)tool->arg, NULL};
	int fds[3] = {tool->input >= 0 ? tool->input : c->null, c->null, c->null};
	int r;

	json_put_str(params, "target", tool->target);
	json_put_str(params, "image", tool->image);
	if (tool->arg)
		json_put_strv(params, "args", args);
	*conn = (struct client_conn){.start_ns = now_ns()};
	r = varlink_connect(c->socket, &conn->v, err);
	if (r == 0)
		r = varlink_call(&conn->v, "io.recap.Attach", params, false, fds, 3, err);
	return r;
}

/* Start an attach; client_wait() sees it out. */
static inline int client_start(struct client *c, struct client_conn *conn,
			       const struct client_tool *tool, struct error *err)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = conn};
	int r = client_send(c, conn, tool, err);

	if (r == 0 && epoll_ctl(c->epoll, EPOLL_CTL_ADD, conn->v.fd, &e) < 0)
		r = error_sys(err, errno, "epoll_ctl");
	c->pending += r == 0;
	return r;
}

/* A record that is not of a tool that ended well and was proven gone is a failure. */
static inline int client_check(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *capsule = json_get(params, "capsule", json_type_object);
	struct json_object *us = json_get(capsule, "timings_us", json_type_object);
	const char *state = json_get_str(capsule, "state");

	if (!us || !state || strcmp(state, "dropped") || json_get_int(capsule, "exit_code", -1))
		return error_set(err, EIO, "an attach failed: %s",
				 json_object_to_json_string(params));
	for (size_t i = 0; i < CLIENT_PHASES; i++) {
		int r = samples_add(&c->phases[i], json_get_int(us, client_phases[i], 0) * 1000ull,
				    err);

		if (r < 0)
			return r;
	}
	return 0;
}

static inline int client_finish(struct client *c, struct client_conn *conn, const char *text,
				size_t len, struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	int r = varlink_parse_reply(text, len, &params, NULL, err);

	conn->end_ns = now_ns();
	conn->done = true;
	c->pending--;
	if (r == 0)
		r = client_check(c, params, err);
	varlink_close(&conn->v);
	return r;
}

static inline int client_read(struct client *c, struct client_conn *conn, struct error *err)
{
	const char *text;
	size_t len;
	int r = varlink_read(&conn->v);

	if (varlink_next(&conn->v, &text, &len) == 1)
		return client_finish(c, conn, text, len, err);
	return r == 1 || r == -EAGAIN ? 0 : error_set(err, EIO, "recapd hung up on an attach");
}

/* See out what is there, and wait for more than that when there is nothing yet. */
static inline int client_turn(struct client *c, int timeout_ms, struct error *err)
{
	struct epoll_event events[64];
	int n = epoll_wait(c->epoll, events, ARRAY_SIZE(events), timeout_ms), r = 0;

	if (n < 0)
		return errno == EINTR ? 0 : error_sys(err, errno, "epoll_wait");
	if (n == 0 && timeout_ms)
		return error_set(err, ETIMEDOUT, "an attach did not end in a minute");
	for (int i = 0; i < n && r == 0; i++)
		r = client_read(c, events[i].data.ptr, err);
	return r;
}

/* Until `left` are pending. */
static inline int client_wait(struct client *c, size_t left, struct error *err)
{
	int r = 0;

	while (r == 0 && c->pending > left)
		r = client_turn(c, CLIENT_PATIENCE_MS, err);
	return r;
}

/* One attach from its start to its end, into `s`. Others may be pending, and stay so. */
static inline int client_time(struct client *c, const struct client_tool *tool, struct samples *s,
			      struct error *err)
{
	struct client_conn conn;
	int r = client_start(c, &conn, tool, err);

	while (r == 0 && !conn.done)
		r = client_turn(c, CLIENT_PATIENCE_MS, err);
	return r < 0 ? r : samples_add(s, conn.end_ns - conn.start_ns, err);
}

/* Move what the records said since client_forget() to `to`. */
static inline int client_move_phases(struct client *c, struct samples to[CLIENT_PHASES],
				     struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < CLIENT_PHASES; i++)
		for (size_t j = 0; j < c->phases[i].n && r == 0; j++)
			r = samples_add(&to[i], c->phases[i].ns[j], err);
	client_forget(c);
	return r;
}

/* What recapd's records say, by phase. */
static inline struct json_object *client_phases_json(struct samples phases[CLIENT_PHASES])
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < CLIENT_PHASES; i++)
		if (phases[i].n)
			json_put_obj(o, client_phases[i], samples_json(&phases[i]));
	return o;
}

#endif
