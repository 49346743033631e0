// SPDX-License-Identifier: MIT
/*
 * Work on images: each piece is a worker process with a program of its own. What it writes to its standard output is JSON objects,
 * each ended by a NUL byte: {"progress": {...}} as often as it likes, and last its result.
 */
#include <fcntl.h>
#include <linux/sched.h>
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
#define JOB_MAX_S  1800

struct job {
	struct client *client; /* NULL: gone */
	struct loop *loop;
	struct loop_source source;
	const char *program;
	int pipe;
	pid_t pid;
	char *buf;
	size_t len;
};

/* A worker's program is beside recapd in a build tree, and in libexec once installed. */
static void exec_worker(const char *program, char *const argv[])
{
	const char *origin = reexec_origin(), *slash = origin ? strrchr(origin, '/') : NULL;
	char path[4096];

	if (slash && snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - origin), origin,
			      program) < (int)sizeof(path))
		execv(path, argv);
	snprintf(path, sizeof(path), "%s/%s", RECAP_LIBEXECDIR, program);
	execv(path, argv);
}

static __attribute__((noreturn)) void worker(char *const argv[], int fd, int out)
{
	sigset_t unblocked;

	/* Work that nobody waits for any more is of no use to anybody. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* Nor is that whose source does not come forth; the next waits for the store's lock. Survives execve(2). */
	alarm(JOB_MAX_S);
	sigemptyset(&unblocked);
	sigprocmask(SIG_SETMASK, &unblocked, NULL);
	if (fd < 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* Before recapd goes on: see fork_worker(). */
	if (inject_forgo_oom_favour() == 0 && dup2(fd, STDIN_FILENO) >= 0 &&
	    dup2(out, STDOUT_FILENO) >= 0 && close_range(STDERR_FILENO + 1, ~0u, 0) == 0)
		exec_worker(argv[0], argv);
	_exit(127);
}

/*
 * CLONE_VFORK: we stand still until its exec. A child that still had our descriptors would hold layers that we want to drop: of each
 * there is one (struct cow).
 */
static pid_t fork_worker(void)
{
	struct clone_args args = {.flags = CLONE_VFORK, .exit_signal = SIGCHLD};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void job_free(struct job *job)
{
	loop_remove(job->loop, &job->source);
	fd_close(job->pipe);
	/* The pipe has ended or the worker was killed: it is gone, or is about to be; or it feigns, and then it goes now. */
	kill(job->pid, SIGKILL);
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

/* An object with its NUL byte, or NULL: a worker reads what is hostile, and is not believed blindly. */
static struct json_object *take_message(const char *text, size_t len)
{
	struct json_object *o = NULL;

	if (len < 2 || text[len - 1] || json_parse(text, len - 1, "a message", &o, NULL) < 0)
		return NULL;
	if (json_object_is_type(o, json_type_object))
		return o;
	json_object_put(o);
	return NULL;
}

/* What the worker said last: its result, or why there is none. */
static void job_reply(struct job *job)
{
	cleanup_json struct json_object *o = take_message(job->buf, job->len);
	struct client *c = job->client;
	struct error err = {};

	if (!c)
		return;
	c->job = NULL;
	if (!o || json_get(o, "progress", json_type_object)) {
		error_set(
			&err, EIO,
			"%s ended without a result (not installed, or over its time of half an hour); the store is as it was",
			job->program);
		client_error(c, &err, NULL);
	} else if (!json_get_str(o, "message")) {
		client_reply(c, json_object_get(o), false);
	} else {
		error_named(&err, json_get_int(o, "code", EIO), json_get_str(o, "name"), "%s",
			    json_get_str(o, "message"));
		client_error(c, &err, NULL);
	}
}

/* Pass on all messages that are complete but the last: that is the result, unless more comes. */
static void job_progress(struct job *job)
{
	char *start = job->buf, *nul;
	size_t left = job->len;

	while ((nul = memchr(start, '\0', left)) && left > (size_t)(nul - start) + 1) {
		struct json_object *o = take_message(start, nul + 1 - start);

		if (job->client && job->client->more && json_get(o, "progress", json_type_object))
			client_reply(job->client, o, true);
		else
			json_object_put(o);
		left -= nul + 1 - start;
		start = nul + 1;
	}
	memmove(job->buf, start, left);
	job->len = left;
}

static void on_pipe(uint32_t events, void *arg)
{
	struct job *job = arg;
	ssize_t n = read(job->pipe, job->buf + job->len, RESULT_MAX - job->len);

	if (n > 0) {
		job->len += n;
		job_progress(job);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	job_reply(job);
	job_free(job);
}

static struct job *job_new(struct client *c, const char *program)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->client = c;
	job->program = program;
	job->loop = c->api->m->loop;
	job->source.fd = job->pipe = -1;
	job->buf = malloc(RESULT_MAX);
	if (!job->buf) {
		free(job);
		return NULL;
	}
	return job;
}

int job_start(struct client *c, char *const argv[], int fd, struct error *err)
{
	cleanup_fd int source = fd;
	struct job *job = job_new(c, argv[0]);
	int pipes[2], r;

	if (!job || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(job ? job->buf : NULL);
		free(job);
		return error_set(err, ENOMEM, "out of memory");
	}
	job->pipe = pipes[0];
	job->pid = fork_worker();
	if (job->pid == 0) {
		fcntl(pipes[1], F_SETFL, 0);
		worker(argv, source, pipes[1]);
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
