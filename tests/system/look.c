// SPDX-License-Identifier: MIT
/*
 * `look MARK PIDNS-OF [DEV...]`: what is left of a capsule that had MARK in its environment, by /proc alone and without a word from
 * recapd. A line for each thing found, nothing when there is nothing:
 *
 *	task PID TID COMM	a thread that has MARK in its environment
 *	dead PID fugitive	a process of that name without memory: it is ending, or has ended and was not waited for
 *	fd|map|cwd|root PID COMM	in the PID namespace of process PIDNS-OF, on one of the devices (as in st_dev)
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct wanted {
	const char *mark;
	ino_t pid_ns;
	unsigned long devs[8];
	int n_devs;
};

static bool is_wanted(const struct wanted *w, unsigned long dev)
{
	for (int i = 0; i < w->n_devs; i++)
		if (w->devs[i] == dev)
			return true;
	return false;
}

/* A small file below `dir`; NUL bytes come as newlines. Empty where it cannot be read. */
static char *contents(int dir, const char *name)
{
	static char buf[1 << 18];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	while (fd >= 0 && (n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < len; i++)
		if (!buf[i])
			buf[i] = '\n';
	buf[len] = '\0';
	return buf;
}

static const char *comm_of(int dir)
{
	static char comm[32];

	snprintf(comm, sizeof(comm), "%s", contents(dir, "comm"));
	comm[strcspn(comm, "\n")] = '\0';
	return comm;
}

static void look_at_link(const struct wanted *w, int dir, const char *name, const char *kind,
			 const char *pid)
{
	struct stat st;

	if (fstatat(dir, name, &st, 0) == 0 && is_wanted(w, st.st_dev))
		printf("%s %s %s\n", kind, pid, comm_of(dir));
}

static void look_at_fds(const struct wanted *w, int dir, const char *pid)
{
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d)))
		if (fstatat(fd, e->d_name, &st, 0) == 0 && is_wanted(w, st.st_dev))
			printf("fd %s %s\n", pid, comm_of(dir));
	if (d)
		closedir(d);
}

static void look_at_maps(const struct wanted *w, int dir, const char *pid)
{
	char *copy = strdup(contents(dir, "maps")), *save = NULL;
	unsigned int maj, min;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*s %*s %*s %x:%x", &maj, &min) == 2 &&
		    is_wanted(w, makedev(maj, min)))
			printf("map %s %s\n", pid, comm_of(dir));
	free(copy);
}

static void look_at_thread(const struct wanted *w, int dir, const char *pid, const char *tid)
{
	const char *environ = contents(dir, "environ");
	bool ended = !*environ, marked = strstr(environ, w->mark);
	struct stat st;

	if (marked)
		printf("task %s %s %s\n", pid, tid, comm_of(dir));
	if (ended && !strcmp(pid, tid) && !strcmp(comm_of(dir), "fugitive"))
		printf("dead %s fugitive\n", pid);
	if (!w->n_devs || fstatat(dir, "ns/pid", &st, 0) || st.st_ino != w->pid_ns)
		return;
	look_at_link(w, dir, "cwd", "cwd", pid);
	look_at_link(w, dir, "root", "root", pid);
	look_at_fds(w, dir, pid);
	look_at_maps(w, dir, pid);
}

static void look_at_process(const struct wanted *w, int proc, const char *pid)
{
	char path[300];
	struct dirent *e;
	DIR *d;
	int fd;

	snprintf(path, sizeof(path), "%s/task", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (e = readdir(d))) {
		int dir = isdigit(e->d_name[0]) ? openat(fd, e->d_name, O_PATH | O_CLOEXEC) : -1;

		if (dir >= 0) {
			look_at_thread(w, dir, pid, e->d_name);
			close(dir);
		}
	}
	if (d)
		closedir(d);
}

int main(int argc, char **argv)
{
	struct wanted w = {.mark = argc > 2 ? argv[1] : ""};
	DIR *proc = opendir("/proc");
	char path[64];
	struct dirent *e;
	struct stat st;

	if (argc < 3 || argc > 10 || !proc) {
		fprintf(stderr, "usage: look MARK PID [DEV...]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%s/ns/pid", argv[2]);
	if (stat(path, &st)) {
		perror(path);
		return 2;
	}
	w.pid_ns = st.st_ino;
	while (w.n_devs < argc - 3) {
		w.devs[w.n_devs] = strtoul(argv[3 + w.n_devs], NULL, 10);
		w.n_devs++;
	}
	while ((e = readdir(proc)))
		if (isdigit(e->d_name[0]))
			look_at_process(&w, dirfd(proc), e->d_name);
	return 0;
}
