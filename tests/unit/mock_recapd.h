/* SPDX-License-Identifier: MIT */
/*
 * A recapd that says what a test tells it to, and recapctl run against it. The service is a child
 * process with one more for each connection; what it was asked is kept as lines for the test to read.
 */
#ifndef RECAP_MOCK_RECAPD_H
#define RECAP_MOCK_RECAPD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/varlink.h"
#include "recapctl/recapctl.h"

#define MOCK_SIDE_CALLS 8

/* One call as a handler sees it. Unused descriptors are -1. */
struct mock_call {
	struct varlink *v;
	const char *method; /* without the interface */
	struct json_object *params;
	bool more;
	int fds[VARLINK_FDS_MAX];
	/* Calls of Signal() and Stop() on other connections arrive here, one int each: signal, or 1000 + timeout. */
	int side;
	const void *arg;
};

typedef void (*mock_handler)(struct mock_call *call);

/* recapctl's end of a run: `status` is -N when signal N ended it. */
struct mock_run {
	int status;
	char out[65536], err[4096], calls[8192];
	pid_t pid;
	int out_fd, err_fd, calls_fd;
	pid_t service;
	char socket[64];
};

static inline void mock_reply(struct mock_call *call, const char *text)
{
	if (varlink_queue(call->v, text, strlen(text)) < 0 || varlink_flush(call->v) != 1)
		_exit(1);
}

static inline int mock_side(struct mock_call *call)
{
	int value;

	return read(call->side, &value, sizeof(value)) == sizeof(value) ? value : -1;
}

static inline void mock_one_call(struct mock_call *call, const char *text, size_t len, int calls_fd,
				 int to_side, mock_handler handler)
{
	struct json_object *json = NULL;
	const char *method;
	unsigned int n;
	int value;

	if (json_parse(text, len, "call", &json, NULL) < 0)
		_exit(1);
	for (int i = 0; i < VARLINK_FDS_MAX; i++)
		call->fds[i] = -1;
	n = varlink_take_fds(call->v, call->fds);
	method = strrchr(json_get_str(json, "method"), '.') + 1;
	call->method = method;
	call->params = json_get(json, "parameters", json_type_object);
	call->more = json_get_bool(json, "more");
	/* Of the random token there is nothing to compare but that it is there. */
	if (json_get_str(call->params, "token"))
		json_put_str(call->params, "token", "");
	dprintf(calls_fd, "%u %s\n", n,
		json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	if (!strcmp(method, "Signal") || !strcmp(method, "Stop")) {
		value = *method == 'S' && method[1] == 'i'
				? (int)json_get_int(call->params, "signal", -1)
				: 1000 + (int)json_get_int(call->params, "timeout_s", -1);
		if (write(to_side, &value, sizeof(value)) != sizeof(value))
			_exit(1);
	}
	handler(call);
	for (int i = 0; i < VARLINK_FDS_MAX; i++)
		fd_close(call->fds[i]);
	json_object_put(json);
}

static inline void mock_serve(int sock, int calls_fd, const int side[2], mock_handler handler,
			      const void *arg)
{
	struct varlink v;
	struct mock_call call = {.v = &v, .side = side[0], .arg = arg};
	const char *text;
	size_t len;

	varlink_init(&v, sock, VARLINK_MESSAGE_MAX);
	for (;;) {
		struct pollfd p = {sock, POLLIN, 0};

		while (varlink_next(&v, &text, &len))
			mock_one_call(&call, text, len, calls_fd, side[1], handler);
		if (poll(&p, 1, -1) < 0 || varlink_read(&v) <= 0)
			_exit(0);
	}
}

static inline void mock_listen(int listener, int calls_fd, mock_handler handler, const void *arg)
{
	int side[2];

	/* A failed assertion must not leave the service behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	if (pipe2(side, O_CLOEXEC) < 0)
		_exit(1);
	for (;;) {
		int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0)
			_exit(1);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			mock_serve(sock, calls_fd, side, handler, arg);
		}
		close(sock);
	}
}

static inline void mock_start(struct mock_run *run, mock_handler handler, const void *arg)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(run, 0, sizeof(*run));
	run->out_fd = memfd_create("out", 0);
	run->err_fd = memfd_create("err", 0);
	run->calls_fd = memfd_create("calls", 0);
	fcntl(run->out_fd, F_SETFL, O_APPEND);
	fcntl(run->err_fd, F_SETFL, O_APPEND);
	fcntl(run->calls_fd, F_SETFL, O_APPEND);
	snprintf(run->socket, sizeof(run->socket), "/tmp/mock-recapd.%d", getpid());
	unlink(run->socket);
	strcpy(addr.sun_path, run->socket);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 16), 0);
	fflush(NULL);
	run->service = fork();
	if (run->service == 0)
		mock_listen(listener, run->calls_fd, handler, arg);
	close(listener);
}

/* Start recapctl: `argv` is NULL-terminated and begins with the verb; `in` is its standard input. */
static inline void mock_ctl(struct mock_run *run, int in, int out, char *const *argv)
{
	char *full[64] = {"recapctl", "--socket", run->socket};
	int argc = 3;

	while (*argv)
		full[argc++] = *argv++;
	fflush(NULL);
	run->pid = fork();
	if (run->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(run->err_fd, 2);
	exit(ctl_main(argc, full));
}

static inline void mock_slurp(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

/* Wait for recapctl, at most 20 seconds, then end the service and collect what was written. */
static inline void mock_finish(struct mock_run *run)
{
	int status;

	for (int i = 0; waitpid(run->pid, &status, WNOHANG) == 0; i++) {
		if (i == 2000)
			kill(run->pid, SIGKILL);
		usleep(10000);
	}
	run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	kill(run->service, SIGKILL);
	waitpid(run->service, NULL, 0);
	unlink(run->socket);
	mock_slurp(run->out_fd, run->out, sizeof(run->out));
	mock_slurp(run->err_fd, run->err, sizeof(run->err));
	mock_slurp(run->calls_fd, run->calls, sizeof(run->calls));
}

/* All of it: service, recapctl with /dev/null as its input, end. */
static inline void mock_run(struct mock_run *run, mock_handler handler, const void *arg,
			    char *const *argv)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	mock_start(run, handler, arg);
	mock_ctl(run, null, run->out_fd, argv);
	mock_finish(run);
}

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})

#endif
