// SPDX-License-Identifier: MIT
#include "scan/checks.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "scan/secrets.h"

struct walk {
	struct findings *f;
	struct error *err;
	unsigned int entries;
	char *buf; /* SECRET_READ_MAX */
	size_t len;
	char path[PATH_MAX]; /* of what is looked at, from the root on, with its "/" */
};

static void check_mode(struct walk *w, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && st->st_mode & S_ISUID)
		findings_add(w->f, "setuid", SEVERITY_HIGH, w->path, "the setuid bit is set");
	if (S_ISREG(st->st_mode) && st->st_mode & S_ISGID)
		findings_add(w->f, "setgid", SEVERITY_HIGH, w->path, "the setgid bit is set");
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		findings_add(w->f, "device", SEVERITY_HIGH, w->path, "it is a device node");
	if (S_ISLNK(st->st_mode) || !(st->st_mode & S_IWOTH))
		return;
	if (!S_ISDIR(st->st_mode))
		findings_add(w->f, "world-writable", SEVERITY_MEDIUM, w->path,
			     "every user may write to it (mode %04o)", st->st_mode & 07777);
	else if (!(st->st_mode & S_ISVTX))
		findings_add(w->f, "world-writable", SEVERITY_MEDIUM, w->path,
			     "every user may write to the folder, which is not sticky (mode %04o)",
			     st->st_mode & 07777);
}

static ssize_t read_start(int fd, char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size && (n = read(fd, buf + done, size - done)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return (ssize_t)done;
}

static int check_content(struct walk *w, int dir, const char *name)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : read_start(fd, w->buf, SECRET_READ_MAX);
	const char *what;

	if (n < 0)
		return error_sys(w->err, (int)-n, "cannot read \"%.128s\" of the image", w->path);
	what = secret_find(w->buf, n);
	if (what)
		findings_add(w->f, "secret", SEVERITY_HIGH, w->path, "it holds %s", what);
	return 0;
}

static int walk(struct walk *w, int dir, int depth);

static int check_entry(struct walk *w, int dir, const char *name, int depth)
{
	struct stat st;
	int fd;

	if (++w->entries > CHECK_ENTRIES_MAX)
		return error_set(w->err, E2BIG, "the image has more than %d files",
				 CHECK_ENTRIES_MAX);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(w->err, errno, "cannot look at \"%.128s\" of the image", w->path);
	check_mode(w, &st);
	if (S_ISREG(st.st_mode) && st.st_size)
		return check_content(w, dir, name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_sys(w->err, errno, "cannot open \"%.128s\" of the image", w->path);
	return walk(w, fd, depth + 1);
}

/* Takes the folder over. */
static int walk(struct walk *w, int fd, int depth)
{
	cleanup_dir DIR *dir = fdopendir(fd);
	size_t len = w->len;
	struct dirent *e;
	int r = 0;

	if (!dir) {
		fd_close(fd);
		return error_set(w->err, ENOMEM, "out of memory");
	}
	if (depth > CHECK_DEPTH_MAX)
		return error_set(w->err, E2BIG, "the image's folders are more than %d deep",
				 CHECK_DEPTH_MAX);
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		int n;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n = snprintf(w->path + len, sizeof(w->path) - len, "/%s", e->d_name);
		if (n >= (int)(sizeof(w->path) - len))
			return error_set(w->err, E2BIG, "a path of the image is longer than %d",
					 PATH_MAX);
		w->len = len + n;
		r = check_entry(w, dirfd(dir), e->d_name, depth);
	}
	if (r == 0 && errno)
		r = error_sys(w->err, errno, "cannot list a folder of the image");
	w->len = len;
	w->path[len] = '\0';
	return r;
}

int check_root(int root, struct findings *f, struct error *err)
{
	cleanup_free char *buf = malloc(SECRET_READ_MAX);
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct walk *w = calloc(1, sizeof(*w));
	int r;

	if (!w || !buf || fd < 0) {
		free(w);
		fd_close(fd);
		return error_set(err, ENOMEM, "cannot open the image's root");
	}
	*w = (struct walk){.f = f, .err = err, .buf = buf};
	r = walk(w, fd, 0);
	free(w);
	return r;
}

/* ---- what the record says ---------------------------------------------------------------------- */

static void check_dropped(struct json_object *dropped, struct findings *f)
{
	struct json_object *list = json_get(dropped, "list", json_type_array);
	int64_t total = json_get_int(dropped, "total", 0);
	size_t n = list ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *what = json_get_str(o, "what"), *path = json_get_str(o, "path");

		if (json_get_bool(o, "covered"))
			continue;
		findings_add(f, what ?: "unrecorded", SEVERITY_MEDIUM, path,
			     "the image declares it; it was dropped when the image was unpacked");
	}
	if (total > (int64_t)n)
		findings_add(
			f, "unrecorded", SEVERITY_MEDIUM, NULL,
			"%lld more rights or devices were dropped from a layer than are listed",
			(long long)total - (long long)n);
}

static bool is_root(const char *user)
{
	size_t len = strcspn(user, ":");

	return !len || (len == 1 && user[0] == '0') || (len == 4 && !strncmp(user, "root", 4));
}

static void check_user(struct json_object *record, struct findings *f)
{
	struct json_object *labels = json_get(record, "labels", json_type_object);
	const char *user = json_get_str(record, "user") ?: "";
	const char *asks = json_get_str(labels, "io.recap.capabilities");

	if (is_root(user) && !(asks && *asks))
		findings_add(f, "root-user", SEVERITY_LOW, NULL,
			     "it runs as root, and no label io.recap.capabilities says what for");
}

static void check_env(struct json_object *record, struct findings *f)
{
	struct json_object *env = json_get(record, "env", json_type_array);

	for (size_t i = 0; env && i < json_object_array_length(env); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(env, i));
		const char *what = text ? secret_find(text, strlen(text)) : NULL;

		if (what)
			findings_add(f, "secret", SEVERITY_HIGH, NULL,
				     "the variable %.*s of its configuration holds %s",
				     (int)strcspn(text, "="), text, what);
	}
}

void check_record(struct json_object *record, struct json_object *layers, struct findings *f)
{
	check_user(record, f);
	check_env(record, f);
	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		struct json_object *dropped = json_get(layer, "dropped", json_type_object);

		if (dropped)
			check_dropped(dropped, f);
		else
			findings_add(f, "unrecorded", SEVERITY_MEDIUM, NULL,
				     "layer %s was loaded before what is dropped was written down: "
				     "remove its images and load them again",
				     json_get_str(layer, "layer") ?: "?");
	}
}
