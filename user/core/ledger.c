// SPDX-License-Identifier: MIT
#include "core/ledger.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "common/fd.h"

#define CHUNK	 (256u << 10) /* reserved at once, so that few lines have to */
#define TAIL_MAX (128u << 10) /* how far a line without its end may reach back */

struct ledger {
	char *path;
	int fd;
	uint64_t end;	    /* where the next line goes */
	uint64_t allocated; /* up to here the file has its blocks */
	uint64_t promised;
	bool torn; /* the last line lacks its end */
};

/* ---- the end of the file ----------------------------------------------------------------------- */

/* Where the last whole line ends. */
static int find_whole(int fd, uint64_t size, uint64_t *ret)
{
	uint64_t from = size > TAIL_MAX ? size - TAIL_MAX : 0;
	cleanup_free char *tail = malloc(TAIL_MAX);
	ssize_t n = tail ? pread(fd, tail, size - from, (off_t)from) : -1;
	char *nl;

	if (n < 0)
		return tail ? -errno : -ENOMEM;
	nl = memrchr(tail, '\n', n);
	*ret = nl ? from + (nl + 1 - tail) : from;
	return 0;
}

/* Take off what is no whole line. Whoever wrote it had not gone on yet: what it was about was never done. */
static int mend(struct ledger *l)
{
	static const char mark[] = "\n{\"event\":\"torn\"}\n";
	uint64_t whole = l->end;
	int r = find_whole(l->fd, l->end, &whole);

	if (r < 0)
		return r;
	if (ftruncate(l->fd, (off_t)whole) == 0) {
		l->end = l->allocated = whole; /* the blocks behind it went along */
	} else if (errno == EPERM) {
		ssize_t n = write(l->fd, mark, sizeof(mark) - 1);

		if (n > 0)
			l->end += n;
		if (n != sizeof(mark) - 1)
			return n < 0 ? -errno : -ENOSPC;
	} else {
		return -errno;
	}
	l->torn = false;
	return 0;
}

/* The file as it is now: nobody else is to write to it, but one who did is not overlooked. */
static int look(struct ledger *l)
{
	struct stat st;
	char last = '\n';

	if (fstat(l->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != l->end) {
		l->end = l->allocated = st.st_size;
		if (st.st_size && pread(l->fd, &last, 1, st.st_size - 1) != 1)
			return -EIO;
		l->torn = last != '\n';
	}
	return l->torn ? mend(l) : 0;
}

/* ---- room -------------------------------------------------------------------------------------- */

static int allocate(struct ledger *l, uint64_t to)
{
	int r;

	if (to <= l->allocated)
		return 0;
	do
		r = fallocate(l->fd, FALLOC_FL_KEEP_SIZE, (off_t)l->allocated,
			      (off_t)(to - l->allocated));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	l->allocated = to;
	return 0;
}

static int ensure(struct ledger *l, uint64_t bytes)
{
	uint64_t to = l->end + l->promised + bytes;
	int r = to <= l->allocated ? 0 : allocate(l, to + CHUNK);

	return r == 0 ? 0 : allocate(l, to);
}

int ledger_reserve(struct ledger *l, size_t bytes)
{
	int r = look(l);

	if (r == 0)
		r = ensure(l, bytes);
	if (r == 0)
		l->promised += bytes;
	return r;
}

void ledger_release(struct ledger *l, size_t bytes)
{
	l->promised -= bytes < l->promised ? bytes : l->promised;
}

int ledger_append(struct ledger *l, const char *text, size_t len)
{
	struct iovec line[] = {{(char *)text, len}, {(char *)"\n", 1}};
	ssize_t n;
	int r;

	ledger_release(l, len + 1);
	if (l->torn)
		return -EIO;
	n = writev(l->fd, line, ARRAY_SIZE(line));
	r = n < 0 ? -errno : -ENOSPC;
	if (n > 0)
		l->end += n;
	if (n == (ssize_t)len + 1)
		return 0;
	/* Only where the file system does not keep what fallocate(2) promised. */
	l->torn = n > 0;
	return l->torn && mend(l) < 0 ? -EIO : r;
}

/* ---- looking for a line ------------------------------------------------------------------------ */

struct ledger_place ledger_here(const struct ledger *l)
{
	struct ledger_place here = {};
	struct stat st;

	if (fstat(l->fd, &st) == 0) {
		here.file = st.st_ino;
		here.at = st.st_size;
	}
	return here;
}

int ledger_find(const struct ledger *l, const struct ledger_place *from,
		bool (*fn)(const char *line, size_t len, void *arg), void *arg)
{
	struct ledger_place end = ledger_here(l);
	uint64_t size = end.at > from->at ? end.at - from->at : 0;
	cleanup_free char *text = NULL;
	const char *line, *nl;
	ssize_t n;

	if (from->file != end.file)
		return -ESTALE;
	if (size > LEDGER_FIND_MAX)
		size = LEDGER_FIND_MAX;
	text = malloc(size);
	n = text ? pread(l->fd, text, size, (off_t)from->at) : -1;
	if (n < 0)
		return text ? -errno : -ENOMEM;
	for (line = text; (nl = memchr(line, '\n', text + n - line)); line = nl + 1)
		if (fn(line, nl - line, arg))
			return 1;
	return 0;
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* Whoever may write here could take lines away, or have them written elsewhere. */
static int check_owner(const struct stat *st, const char *path, struct error *err)
{
	if (st->st_uid != geteuid() || st->st_mode & 022)
		return error_set(err, EPERM,
				 "%s must belong to recapd's user and be writable by nobody else",
				 path);
	return 0;
}

static int check_file(int fd, const char *path, struct stat *ret, struct error *err)
{
	if (fstat(fd, ret) < 0)
		return error_sys(err, errno, "cannot look at %s", path);
	if (!S_ISREG(ret->st_mode) || ret->st_nlink != 1)
		return error_set(err, EINVAL, "%s must be a file with no other name", path);
	return check_owner(ret, path, err);
}

static int open_folder(const char *path, struct error *err)
{
	cleanup_free char *dir = strdup(path);
	cleanup_fd int fd = -1;
	struct stat st;
	int r;

	if (!dir)
		return error_set(err, ENOMEM, "out of memory");
	strrchr(dir, '/')[1] = '\0';
	r = fd_mkdir_parents(dir, 0700);
	fd = r < 0 ? -1 : open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, r < 0 ? -r : errno, "cannot open %s", dir);
	r = check_owner(&st, dir, err);
	return r < 0 ? r : TAKE_FD(fd);
}

static int open_file(const char *path, struct stat *ret, struct error *err)
{
	cleanup_fd int dir = open_folder(path, err), fd = -1;
	int r;

	if (dir < 0)
		return dir;
	/* O_NONBLOCK: a pipe must not hold us up before it is refused. */
	fd = openat(dir, strrchr(path, '/') + 1,
		    O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
		    0600);
	if (fd < 0)
		return error_sys(err, errno, "cannot open %s", path);
	r = check_file(fd, path, ret, err);
	return r < 0 ? r : TAKE_FD(fd);
}

static int take_lock(int fd, const char *path, struct error *err)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0
		       ? error_set(err, EBUSY,
				   "another recapd writes to %s; give this one a file "
				   "of its own with --audit",
				   path)
		       : 0;
}

int ledger_open(const char *path, struct ledger **ret, struct error *err)
{
	struct ledger *l = calloc(1, sizeof(*l));
	struct stat st;
	int r;

	if (!l)
		return error_set(err, ENOMEM, "out of memory");
	l->path = strdup(path);
	l->end = UINT64_MAX; /* not known: look() finds out */
	l->fd = l->path ? open_file(path, &st, err) : error_set(err, ENOMEM, "out of memory");
	r = l->fd < 0 ? l->fd : take_lock(l->fd, path, err);
	if (r == 0) {
		r = look(l);
		/* A disk that is full now is found out with the first line. */
		if (r == 0)
			r = ensure(l, 0);
		r = r == 0 || r == -ENOSPC || r == -EDQUOT
			    ? 0
			    : error_sys(err, -r, "cannot reserve room in %s", path);
	}
	if (r < 0) {
		ledger_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

/* The blocks behind the end are given back, where that is allowed: nothing will be written there. */
static void finish_file(int fd, uint64_t end)
{
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == end)
		(void)!ftruncate(fd, (off_t)end);
	close(fd);
}

int ledger_reopen(struct ledger *l, struct error *err)
{
	struct ledger next = {.fd = -1, .end = UINT64_MAX, .promised = l->promised};
	struct stat st, old;
	int r;

	next.fd = open_file(l->path, &st, err);
	if (next.fd < 0)
		return next.fd;
	if (fstat(l->fd, &old) == 0 && old.st_dev == st.st_dev && old.st_ino == st.st_ino) {
		fd_close(next.fd);
		return 0;
	}
	r = take_lock(next.fd, l->path, err);
	if (r == 0) {
		r = look(&next);
		if (r == 0)
			r = ensure(&next, 0);
		if (r < 0)
			error_sys(err, -r, "cannot reserve room in %s", l->path);
	}
	if (r < 0) {
		fd_close(next.fd);
		return r;
	}
	finish_file(l->fd, l->end);
	next.path = l->path;
	*l = next;
	return 0;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	finish_file(l->fd, l->end);
	free(l->path);
	free(l);
}

const char *ledger_path(const struct ledger *l)
{
	return l->path;
}
