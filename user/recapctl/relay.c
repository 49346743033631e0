// SPDX-License-Identifier: MIT
/*
 * Files as standard streams. Whoever holds a descriptor may change its file's mode, owner, times and attributes,
 * cut it off, and undo its O_APPEND: landlock(7) governs none of that. A tool gets a pipe instead. What flows is
 * copied, not spliced: a spliced pipe would hold the pages of the file itself.
 */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/fd.h"

#define CHUNK 65536 /* what a pipe holds */

static const char *const names[RELAY_COUNT] = {"standard input", "standard output",
					       "standard error"};

void relay_init(struct relay *r)
{
	*r = (struct relay){};
	for (int fd = 0; fd < RELAY_COUNT; fd++)
		r->pipes[fd] = (struct relay_pipe){.ours = -1, .theirs = -1};
}

void relay_close(struct relay *r)
{
	for (int fd = 0; fd < RELAY_COUNT; fd++) {
		r->pipes[fd].ours = fd_close(r->pipes[fd].ours);
		r->pipes[fd].theirs = fd_close(r->pipes[fd].theirs);
	}
	free(r->buf);
	r->buf = NULL;
}

/* ---- before the call ------------------------------------------------------------------------- */

/* 1: a file; 0: something that the tool may hold itself. */
static int is_file(int fd, const struct stat *st, struct error *err)
{
	if (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode) || S_ISCHR(st->st_mode))
		return 0;
	if (S_ISDIR(st->st_mode))
		return error_set(err, EISDIR, "%s is a folder: redirect it, such as with /dev/null",
				 names[fd]);
	if ((!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode)) || fcntl(fd, F_GETFL) & O_PATH)
		return error_set(err, EBADF,
				 "%s can be neither read nor written: redirect it, such as with "
				 "/dev/null",
				 names[fd]);
	return 1;
}

/* Only our end does not block: each has file status flags of its own. */
static int open_pipe(struct relay *r, int fd, struct error *err)
{
	struct relay_pipe *p = &r->pipes[fd];
	bool in = fd == STDIN_FILENO;
	int ends[2];

	if (in && !(r->buf = malloc(CHUNK)))
		return error_set(err, ENOMEM, "out of memory");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, errno, "cannot make a pipe for %s", names[fd]);
	p->ours = ends[in ? 1 : 0];
	p->theirs = ends[in ? 0 : 1];
	/* A tool that is another user may open /dev/stdin or /dev/stdout, too. */
	if (fcntl(p->ours, F_SETFL, O_NONBLOCK) < 0 || fchmod(p->ours, in ? 0444 : 0222) < 0)
		return error_sys(err, errno, "cannot set up a pipe for %s", names[fd]);
	/* A limit to the size of files is an error like a full disk, to be reported. */
	signal(SIGXFSZ, SIG_IGN);
	return 0;
}

/* `> file 2>&1`: two pipes would lose the order. With one, all is written where standard output is. */
static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       fcntl(STDOUT_FILENO, F_GETFL) == fcntl(STDERR_FILENO, F_GETFL);
}

int relay_open(struct relay *r, int streams[RELAY_COUNT], struct error *err)
{
	struct stat st[RELAY_COUNT];

	for (int fd = 0; fd < RELAY_COUNT; fd++) {
		int file, from = fd;

		if (fstat(fd, &st[fd]) < 0)
			return error_sys(err, errno, "cannot use %s", names[fd]);
		file = is_file(fd, &st[fd], err);
		if (file < 0)
			return file;
		streams[fd] = fd;
		if (!file)
			continue;
		if (fd == STDERR_FILENO && is_same(&st[STDOUT_FILENO], &st[fd]))
			from = STDOUT_FILENO;
		else if (open_pipe(r, fd, err) < 0)
			return -err->code;
		streams[fd] = r->pipes[from].theirs;
	}
	return 0;
}

/* That of standard input stays: it tells what is unread, and its reader's end raises no SIGPIPE. */
void relay_passed(struct relay *r)
{
	for (int fd = STDOUT_FILENO; fd < RELAY_COUNT; fd++)
		r->pipes[fd].theirs = fd_close(r->pipes[fd].theirs);
}

/* ---- while the tool runs --------------------------------------------------------------------- */

static bool refill(struct relay *r, struct relay_pipe *p)
{
	ssize_t n = read(STDIN_FILENO, r->buf, CHUNK);

	r->held_at = 0;
	r->held = n > 0 ? n : 0;
	if (n < 0)
		p->error = errno;
	return n > 0;
}

/* From the file to the tool, as much as the pipe takes. */
static void feed(struct relay *r)
{
	struct relay_pipe *p = &r->pipes[STDIN_FILENO];
	ssize_t n;

	if (!r->held && !refill(r, p)) {
		p->ours = fd_close(p->ours);
		return;
	}
	n = write(p->ours, r->buf + r->held_at, r->held);
	if (n <= 0)
		return;
	r->held_at += n;
	r->held -= n;
	r->fed += n;
}

/* From the tool to the file, `max` bytes at most; how many. When the file takes no more, the tool's writes fail. */
static size_t collect(struct relay *r, int fd, size_t max)
{
	struct relay_pipe *p = &r->pipes[fd];
	char buf[CHUNK];
	ssize_t n = read(p->ours, buf, max < sizeof(buf) ? max : sizeof(buf));

	if (n < 0)
		return 0;
	if (n > 0)
		p->error = -fd_write_all(fd, buf, n);
	if (n == 0 || p->error)
		p->ours = fd_close(p->ours);
	return n;
}

void relay_wanted(const struct relay *r, struct pollfd p[RELAY_COUNT])
{
	for (int fd = 0; fd < RELAY_COUNT; fd++)
		p[fd] = (struct pollfd){r->pipes[fd].ours, fd == STDIN_FILENO ? POLLOUT : POLLIN,
					0};
}

void relay_copy(struct relay *r, const struct pollfd p[RELAY_COUNT])
{
	if (p[STDIN_FILENO].revents)
		feed(r);
	for (int fd = STDOUT_FILENO; fd < RELAY_COUNT; fd++)
		if (p[fd].revents)
			(void)collect(r, fd, CHUNK);
}

/* ---- at its end ------------------------------------------------------------------------------ */

static size_t in_pipe(int fd)
{
	int n = 0;

	return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* Only what is there by now: something that holds the other end without being the capsule may go on writing. */
static void drain(struct relay *r, int fd)
{
	size_t left = in_pipe(r->pipes[fd].ours), n = 1;

	for (; left && n; left -= n)
		n = collect(r, fd, left);
}

/* What the tool did not read is the next reader's, such as a shell's loop over the lines of the file. */
static void give_back(struct relay *r)
{
	size_t unread = in_pipe(r->pipes[STDIN_FILENO].theirs);

	/* A tool may write to the pipe, too: it gets nobody to read again what was before. */
	if (unread > r->fed)
		unread = r->fed;
	unread += r->held;
	/* Ignoring a failure: what could be read can be sought in. */
	if (unread)
		(void)lseek(STDIN_FILENO, -(off_t)unread, SEEK_CUR);
}

void relay_finish(struct relay *r)
{
	drain(r, STDOUT_FILENO);
	drain(r, STDERR_FILENO);
	give_back(r);
	relay_close(r);
}

bool relay_lost(const struct relay *r)
{
	bool lost = false;

	for (int fd = 0; fd < RELAY_COUNT; fd++) {
		int error = r->pipes[fd].error;

		if (!error)
			continue;
		lost = true;
		ctl_warn("cannot %s %s, so that the tool's %s is incomplete: %s",
			 fd == STDIN_FILENO ? "read" : "write to", names[fd],
			 fd == STDIN_FILENO ? "input" : "output", strerror(error));
	}
	return lost;
}
