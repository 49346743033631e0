// SPDX-License-Identifier: MIT
/* recapctl logs: recapd hands over the file, and it is ours to read. */
#include "recapctl/recapctl.h"

#include <poll.h>
#include <string.h>
#include <sys/inotify.h>

#include "common/fd.h"

#define cleanup_varlink cleanup(varlink_close)

struct logs {
	struct varlink link;
	int file;
	int events; /* inotify(7); -1: not following */
	off_t at;
	bool running;
};

static void logs_free(struct logs *l)
{
	varlink_close(&l->link);
	l->file = fd_close(l->file);
	l->events = fd_close(l->events);
}

/* What the file has from where we are. pread(2): the descriptor's own offset may be shared. */
static int copy_new(struct logs *l, struct error *err)
{
	char buf[65536];
	int r;

	for (;;) {
		ssize_t n = pread(l->file, buf, sizeof(buf), l->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, errno, "cannot read the capsule's output");
		if (n == 0)
			return 0;
		r = fd_write_all(STDOUT_FILENO, buf, n);
		if (r < 0)
			return error_sys(err, -r, "cannot write to standard output");
		l->at += n;
	}
}

static int take_reply(struct logs *l, const char *text, size_t len, struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	bool continues;
	int r = varlink_parse_reply(text, len, &params, &continues, err);

	if (r == 0)
		l->running = continues;
	return r;
}

static int open_logs(struct ctl *ctl, struct logs *l, struct json_object *params, bool follow,
		     struct error *err)
{
	int fds[VARLINK_FDS_MAX];
	const char *text;
	unsigned int n;
	size_t len;
	int r = varlink_connect(ctl->socket, &l->link, err);

	if (r == 0)
		r = varlink_call(&l->link, "io.recap.Logs", params, follow, NULL, 0, err);
	if (r == 0)
		r = varlink_wait(&l->link, &text, &len, err);
	if (r == 0)
		r = take_reply(l, text, len, err);
	if (r < 0)
		return r;
	n = varlink_take_fds(&l->link, fds);
	for (unsigned int i = 1; i < n; i++)
		fd_close(fds[i]);
	l->file = n ? fds[0] : -1;
	return n ? 0 : error_set(err, EPROTO, "recapd's reply came without the capsule's output");
}

static int watch_file(struct logs *l, struct error *err)
{
	char path[32];

	l->events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (l->events < 0)
		return error_sys(err, errno, "cannot follow the capsule's output");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->file);
	if (inotify_add_watch(l->events, path, IN_MODIFY) < 0)
		return error_sys(err, errno, "cannot follow the capsule's output");
	return 0;
}

static void drain_events(struct logs *l)
{
	char buf[4096];

	while (read(l->events, buf, sizeof(buf)) > 0)
		;
}

static int read_link(struct logs *l, struct error *err)
{
	const char *text;
	size_t len;
	int got = varlink_read(&l->link);

	while (varlink_next(&l->link, &text, &len)) {
		int r = take_reply(l, text, len, err);

		if (r < 0)
			return r;
	}
	if (l->running && got != 1 && got != -EAGAIN)
		return error_set(err, ECONNRESET,
				 "lost the connection to recapd: the output may go on");
	return 0;
}

/* Until recapd says that the capsule has finished; what it wrote last is copied after that. */
static int follow_file(struct logs *l, struct error *err)
{
	int r = 0;

	while (r == 0 && l->running) {
		struct pollfd p[] = {{l->link.fd, POLLIN, 0}, {l->events, POLLIN, 0}};

		r = copy_new(l, err);
		if (r < 0 || (poll(p, 2, -1) < 0 && errno != EINTR))
			return r < 0 ? r : error_sys(err, errno, "cannot wait for output");
		if (p[1].revents)
			drain_events(l);
		if (p[0].revents)
			r = read_link(l, err);
	}
	return r;
}

static int run(struct ctl *ctl, struct json_object *params, bool follow, struct error *err)
{
	cleanup(logs_free) struct logs l = {.file = -1, .events = -1};
	int r;

	varlink_init(&l.link, -1, VARLINK_REPLY_MAX);
	r = open_logs(ctl, &l, params, follow, err);
	if (r == 0 && l.running)
		r = watch_file(&l, err);
	if (r == 0)
		r = follow_file(&l, err);
	return r < 0 ? r : copy_new(&l, err);
}

int verb_logs(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	bool follow = false;
	const struct opt opts[] = {
		{'f', "follow", NULL, "go on until the capsule has finished", opt_flag, &follow},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1 || !*argv[i])
		return ctl_usage(ctl,
				 "logs needs the ID of one capsule, as recapctl ps --all lists it");
	json_put_str(params, "id", argv[i]);
	return run(ctl, params, follow, &err) < 0 ? ctl_fail(ctl, &err) : CTL_OK;
}
