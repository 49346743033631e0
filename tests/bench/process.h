/* SPDX-License-Identifier: MIT */
/* Whole processes, timed from before they are made until after they are reaped. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "samples.h"

/* Where the processes' streams go: nowhere, but for errors, which are kept. A pipe, as whoever calls programs has for them. */
struct process {
	int null, errors, from;
};

static inline int process_init(struct process *p, struct error *err)
{
	int ends[2];

	p->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (p->null < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_sys(err, errno, "cannot open /dev/null or a pipe");
	p->from = ends[0];
	p->errors = ends[1];
	return 0;
}

/* The first line of what the process had to say. */
static inline int process_failed(struct process *p, const char *name, int status, struct error *err)
{
	char text[300] = "";
	ssize_t n = read(p->from, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (WIFSIGNALED(status))
		return error_set(err, EIO, "%s was ended by signal %d: %s", name, WTERMSIG(status),
				 text);
	return error_set(err, EIO, "%s failed with status %d: %s", name, WEXITSTATUS(status), text);
}

static inline __attribute__((noreturn)) void process_exec(const struct process *p,
							  char *const argv[])
{
	if (dup2(p->null, 0) >= 0 && dup2(p->null, 1) >= 0 && dup2(p->errors, 2) >= 0)
		execve(argv[0], argv, environ);
	dprintf(p->errors, "%s\n", strerror(errno));
	_exit(127);
}

/*
 * vfork(2) and not posix_spawn(3), which makes 130 more system calls (each signal's action): the least that can be had.
 * Returns as fork(2). argv[0] is a path.
 */
static __attribute__((noinline, unused)) pid_t process_vfork(const struct process *p,
							     char *const argv[])
{
	pid_t pid = vfork();

	if (pid == 0)
		process_exec(p, argv);
	return pid;
}

/* The same by fork(2), with a copy of our page tables. */
static __attribute__((noinline, unused)) pid_t process_fork(const struct process *p,
							    char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0)
		process_exec(p, argv);
	return pid;
}

typedef pid_t (*process_fn)(const struct process *p, char *const argv[]);

/* Run argv[0] to its end and tell how long that took. An exit status other than 0 is an error. */
static inline int process_time(struct process *p, process_fn start_fn, char *const argv[],
			       uint64_t *ret_ns, struct error *err)
{
	uint64_t start = now_ns(), end;
	pid_t pid = start_fn(p, argv);
	char rest[256];
	int status;

	if (pid < 0)
		return error_sys(err, errno, "cannot start %s", argv[0]);
	while (wait4(pid, &status, 0, NULL) < 0)
		if (errno != EINTR)
			return error_sys(err, errno, "cannot wait for %s", argv[0]);
	end = now_ns();
	if (status)
		return process_failed(p, argv[0], status, err);
	/* Warnings of one run must not be taken for the next one's. */
	while (read(p->from, rest, sizeof(rest)) > 0)
		;
	*ret_ns = end - start;
	return 0;
}

#endif
