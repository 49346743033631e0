/* SPDX-License-Identifier: MIT */
/* Whole processes, timed from before they are made until after they are reaped. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "samples.h"

extern char **environ;

/* Where the processes' streams go: nowhere, but for errors, which are kept. */
struct process {
	int errors;
	posix_spawn_file_actions_t actions;
};

static inline int process_init(struct process *p, struct error *err)
{
	int r;

	p->errors = memfd_create("errors", MFD_CLOEXEC);
	if (p->errors < 0)
		return error_sys(err, errno, "cannot make a file in memory");
	r = posix_spawn_file_actions_init(&p->actions);
	if (!r)
		r = posix_spawn_file_actions_addopen(&p->actions, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_addopen(&p->actions, 1, "/dev/null", O_WRONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&p->actions, p->errors, 2);
	return r ? error_sys(err, r, "cannot prepare to start processes") : 0;
}

/* The first line of what the process had to say. */
static inline int process_failed(struct process *p, const char *name, int status, struct error *err)
{
	char text[300] = "";
	ssize_t n = pread(p->errors, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (WIFSIGNALED(status))
		return error_set(err, EIO, "%s was ended by signal %d: %s", name, WTERMSIG(status),
				 text);
	return error_set(err, EIO, "%s failed with status %d: %s", name, WEXITSTATUS(status), text);
}

/* Run argv[0], which is a path, to its end and tell how long that took. An exit status other than 0 is an error. */
static inline int process_time(struct process *p, char *const argv[], uint64_t *ret_ns,
			       struct error *err)
{
	uint64_t start = now_ns(), end;
	int status, r;
	pid_t pid;

	/* glibc makes this vfork and exec: clone(CLONE_VM | CLONE_VFORK). */
	r = posix_spawn(&pid, argv[0], &p->actions, NULL, argv, environ);
	if (r)
		return error_sys(err, r, "cannot start %s", argv[0]);
	while (wait4(pid, &status, 0, NULL) < 0)
		if (errno != EINTR)
			return error_sys(err, errno, "cannot wait for %s", argv[0]);
	end = now_ns();
	if (status)
		return process_failed(p, argv[0], status, err);
	/* Warnings of one run must not be taken for the next one's. */
	if (lseek(p->errors, 0, SEEK_CUR) > 0 &&
	    (ftruncate(p->errors, 0) < 0 || lseek(p->errors, 0, SEEK_SET) < 0))
		return error_sys(err, errno, "cannot empty a file in memory");
	*ret_ns = end - start;
	return 0;
}

#endif
