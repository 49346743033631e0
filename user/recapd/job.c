// SPDX-License-Identifier: MIT
/* Image loads: each is a recap-load of its own (user/loader), which writes one JSON object to a pipe. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "recapd/client.h"
#include "recapd/reexec.h"

#define RESULT_MAX (1 << 20)
#define LOAD_MAX_S 1800

struct job {
	struct client *client; /* NULL: gone */
	struct loop *loop;
	struct loop_source source;
	int pipe;
	pid_t pid;
	char *buf;
	size_t len;
};

/* recap-load is beside recapd in a build tree, and in libexec once installed. */
static void exec_loader(const char *store, const char *ref)
{
	const char *origin = reexec_origin(), *slash = origin ? strrchr(origin, '/') : NULL;
	char path[4096];

	if (slash && snprintf(path, sizeof(path), "%.*s/recap-load", (int)(slash - origin),
			      origin) < (int)sizeof(path))
		execl(path, "recap-load", store, ref, NULL);
	execl(RECAP_LIBEXECDIR "/recap-load", "recap-load", store, ref, NULL);
}

static __attribute__((noreturn)) void worker(const char *store, int fd, const char *ref, int out)
{
	sigset_t unblocked;

	/* A load that nobody waits for any more is of no use to anybody. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* Nor is one whose source does not come forth; the next waits for the store's lock. Survives execve(2). */
	alarm(LOAD_MAX_S);
	sigemptyset(&unblocked);
	sigprocmask(SIG_SETMASK, &unblocked, NULL);
	if (dup2(fd, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		exec_loader(store, ref);
	_exit(127);
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

/* Not reaped yet, so the PID is still its own. */
void job_stop(struct job *job)
{
	kill(job->pid, SIGKILL);
}

void job_cancel(struct job *job)
{
	job->client = NULL;
	job_stop(job);
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
			"recap-load ended without a result (not installed, or over its time of half an hour); the store is as it was");
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
	ssize_t n = read(job->pipe, job->buf + job->len, RESULT_MAX - job->len);

	if (n > 0) {
		job->len += n;
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	job_reply(job);
	job_free(job);
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
		worker(c->api->m->config->state_dir, source, ref, pipes[1]);
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
