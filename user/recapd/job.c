// SPDX-License-Identifier: MIT
/*
 * Image loads, each in a process of its own: archives are large, hostile and slow, and the loop has others to
 * serve. The worker writes one JSON object to a pipe: {"images": …} or {"code", "name", "message"}. Killing it leaves the store as
 * it was (image.h).
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "recapd/client.h"

#define RESULT_MAX (1 << 20)

struct job {
	struct client *client; /* NULL: gone */
	struct loop *loop;
	struct loop_source source;
	int pipe;
	pid_t pid;
	char *buf;
	size_t len;
};

static void write_result(int out, int r, struct json_object *images, const struct error *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	const char *text;

	if (r == 0) {
		json_put_obj(o, "images", images);
	} else {
		json_put_int(o, "code", -r);
		json_put_str(o, "name", err->name);
		json_put_str(o, "message", err->msg);
	}
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	if (fd_write_all(out, text, strlen(text)) < 0)
		_exit(1);
}

static __attribute__((noreturn)) void worker(struct image_store *store, int fd, const char *ref,
					     int out)
{
	struct json_object *images = NULL;
	struct error err = {};
	sigset_t none;
	int r;

	/* A load that nobody waits for any more is of no use to anybody. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_NAME, "recap-load");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	r = image_load(store, fd, ref, &images, &err);
	write_result(out, r, images, &err);
	_exit(0);
}

static void job_free(struct job *job)
{
	loop_remove(job->loop, &job->source);
	fd_close(job->pipe);
	/* The pipe has ended or the worker was killed: it is gone, or is about to be. */
	if (waitpid(job->pid, NULL, 0) < 0 && errno != ECHILD)
		abort();
	free(job->buf);
	free(job);
}

void job_cancel(struct job *job)
{
	job->client = NULL;
	kill(job->pid, SIGKILL);
}

static void job_reply(struct job *job)
{
	cleanup_json struct json_object *o = NULL;
	struct client *c = job->client;
	struct error err = {};

	if (!c)
		return;
	c->job = NULL;
	if (!job->len || json_parse(job->buf, job->len, "the worker's result", &o, &err) < 0) {
		error_set(
			&err, EIO,
			"the worker that loads images ended without a result; the store is as it was");
		client_error(c, &err, NULL);
	} else if (json_get(o, "images", json_type_array)) {
		client_reply(c, json_object_get(o), false);
	} else {
		error_named(&err, json_get_int(o, "code", EIO), json_get_str(o, "name"), "%s",
			    json_get_str(o, "message"));
		client_error(c, &err, NULL);
	}
}

static void on_pipe(uint32_t events, void *arg)
{
	struct job *job = arg;
	struct manager *m = job->client ? job->client->api->m : NULL;
	ssize_t n = read(job->pipe, job->buf + job->len, RESULT_MAX - job->len);

	if (n > 0) {
		job->len += n;
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	job_reply(job);
	job_free(job);
	if (m)
		manager_maybe_stop(m);
}

static struct job *job_new(struct client *c)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->client = c;
	job->loop = c->api->m->loop;
	job->source.fd = job->pipe = -1;
	job->buf = malloc(RESULT_MAX);
	if (!job->buf) {
		free(job);
		return NULL;
	}
	return job;
}

int job_load(struct client *c, int fd, const char *ref, struct error *err)
{
	cleanup_fd int source = fd;
	struct job *job = job_new(c);
	int pipes[2], r;

	if (!job || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(job ? job->buf : NULL);
		free(job);
		return error_set(err, ENOMEM, "out of memory");
	}
	job->pipe = pipes[0];
	job->pid = fork();
	if (job->pid == 0) {
		fcntl(pipes[1], F_SETFL, 0);
		worker(c->api->m->store, source, ref, pipes[1]);
	}
	close(pipes[1]);
	r = job->pid < 0 ? -errno
			 : loop_add(job->loop, &job->source, job->pipe, EPOLLIN, on_pipe, job);
	if (r < 0) {
		if (job->pid > 0)
			kill(job->pid, SIGKILL);
		job_free(job);
		return error_sys(err, -r, "cannot start a worker");
	}
	c->wait = WAIT_JOB;
	c->job = job;
	return 0;
}
