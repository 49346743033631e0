// SPDX-License-Identifier: MIT
#include "scan/packages.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "scan/root.h"

#define OS_RELEASE_MAX (64 << 10)
#define STATUS_D_MAX   20000 /* files */

void packages_release(struct packages *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].name);
		free(p->v[i].version);
		free(p->v[i].arch);
		free(p->v[i].source);
		free(p->v[i].source_version);
	}
	free(p->v);
	*p = (struct packages){};
}

static char *copy(const char *s)
{
	return strndup(s ? s : "", PACKAGES_STRING_MAX);
}

int packages_add(struct packages *p, const struct package *one, struct error *err)
{
	struct package *v = p->v;

	if (p->n == PACKAGES_MAX)
		return error_set(err, E2BIG, "the image lists more than %d packages", PACKAGES_MAX);
	if (p->n == p->size) {
		v = reallocarray(v, p->size ? 2 * p->size : 256, sizeof(*v));
		if (!v)
			return error_set(err, ENOMEM, "out of memory");
		p->v = v;
		p->size = p->size ? 2 * p->size : 256;
	}
	v = &p->v[p->n++];
	*v = (struct package){
		.kind = one->kind,
		.name = copy(one->name),
		.version = copy(one->version),
		.arch = copy(one->arch),
		.source = copy(one->source && *one->source ? one->source : one->name),
		.source_version =
			copy(one->source_version && *one->source_version ? one->source_version
									 : one->version),
	};
	if (!v->name || !v->version || !v->arch || !v->source || !v->source_version)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* ---- stanzas ----------------------------------------------------------------------------------- */

/* Cut the next line off *text, which is moved behind it; NULL at the end. */
static char *next_line(char **text)
{
	char *line = *text;

	if (!line || !*line)
		return NULL;
	*text = strchr(line, '\n');
	if (*text)
		*(*text)++ = '\0';
	return line;
}

/* The value of "KEY value" when the line begins with `key`, which has its colon. */
static char *value_of(char *line, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n))
		return NULL;
	line += n;
	return line + strspn(line, " \t");
}

static void trim(char *s)
{
	size_t n = strlen(s);

	while (n && strchr(" \t\r", s[n - 1]))
		s[--n] = '\0';
}

static int damaged(struct findings *f, const char *path, const char *name, const char *what)
{
	findings_add(
		f, "inventory", SEVERITY_HIGH, path,
		"the package database has an entry \"%.64s\" %s: its packages cannot be checked",
		name ?: "", what);
	return 0;
}

struct dpkg_stanza {
	char *name, *version, *arch, *source, *status;
};

/* "Source: NAME" or "NAME (VERSION)". */
static int end_dpkg(struct packages *p, struct dpkg_stanza *s, const char *path, struct findings *f,
		    struct error *err)
{
	struct package one = {.kind = PACKAGE_DEB, .name = s->name, .version = s->version};
	char *open = s->source ? strchr(s->source, '(') : NULL;
	const char *state = s->status ? strrchr(s->status, ' ') : NULL;

	if (!s->name && !s->version && !s->status)
		return 0;
	/* All other states have its files in place (dpkg(1)), whole or not. */
	if (state && (!strcmp(state, " not-installed") || !strcmp(state, " config-files")))
		return 0;
	if (!s->name || !*s->name || !s->version || !*s->version)
		return damaged(f, path, s->name, "without a name or a version");
	if (open) {
		one.source_version = open + 1;
		open[strcspn(open, ")")] = '\0';
		*open = '\0';
		trim(s->source);
	}
	one.source = s->source;
	one.arch = s->arch;
	return packages_add(p, &one, err);
}

int packages_parse_dpkg(struct packages *p, char *text, const char *path, struct findings *f,
			struct error *err)
{
	struct dpkg_stanza s = {};
	char *line, *v;
	int r = 0;

	while (r == 0 && (line = next_line(&text))) {
		trim(line);
		if (!*line) {
			r = end_dpkg(p, &s, path, f, err);
			s = (struct dpkg_stanza){};
		} else if ((v = value_of(line, "Package:"))) {
			s.name = v;
		} else if ((v = value_of(line, "Version:"))) {
			s.version = v;
		} else if ((v = value_of(line, "Architecture:"))) {
			s.arch = v;
		} else if ((v = value_of(line, "Source:"))) {
			s.source = v;
		} else if ((v = value_of(line, "Status:"))) {
			s.status = v;
		}
	}
	return r < 0 ? r : end_dpkg(p, &s, path, f, err);
}

static int end_apk(struct packages *p, const struct package *one, const char *path,
		   struct findings *f, struct error *err)
{
	if (!one->name && !one->version)
		return 0;
	if (!one->name || !*one->name || !one->version || !*one->version)
		return damaged(f, path, one->name, "without a name or a version");
	return packages_add(p, one, err);
}

int packages_parse_apk(struct packages *p, char *text, const char *path, struct findings *f,
		       struct error *err)
{
	struct package one = {.kind = PACKAGE_APK};
	char *line;
	int r = 0;

	while (r == 0 && (line = next_line(&text))) {
		if (!*line) {
			r = end_apk(p, &one, path, f, err);
			one = (struct package){.kind = PACKAGE_APK};
		} else if (!strncmp(line, "P:", 2)) {
			one.name = line + 2;
		} else if (!strncmp(line, "V:", 2)) {
			one.version = line + 2;
		} else if (!strncmp(line, "A:", 2)) {
			one.arch = line + 2;
		} else if (!strncmp(line, "o:", 2)) {
			one.source = line + 2;
		}
	}
	return r < 0 ? r : end_apk(p, &one, path, f, err);
}

/* ---- /etc/os-release --------------------------------------------------------------------------- */

static void put_value(char *v, char ret[64])
{
	size_t n = strlen(v);

	if (n > 1 && (v[0] == '"' || v[0] == '\'') && v[n - 1] == v[0]) {
		v[n - 1] = '\0';
		v++;
	}
	snprintf(ret, 64, "%s", v);
}

void packages_parse_os_release(struct packages *p, char *text)
{
	char *line, *v;

	while ((line = next_line(&text))) {
		trim(line);
		if ((v = value_of(line, "ID=")))
			put_value(v, p->id);
		else if ((v = value_of(line, "VERSION_ID=")))
			put_value(v, p->version_id);
	}
}

/* ---- finding the databases --------------------------------------------------------------------- */

typedef int (*parse_fn)(struct packages *p, char *text, const char *path, struct findings *f,
			struct error *err);

static int unreadable(struct findings *f, const char *path, int r, struct error *err)
{
	if (r == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory");
	findings_add(f, "inventory", SEVERITY_HIGH, path,
		     "the package database cannot be read (%s): its packages cannot be checked",
		     r == -EFBIG ? "too large" : strerror(-r));
	return 0;
}

static int read_text(struct packages *p, int root, const char *path, parse_fn parse,
		     struct findings *f, struct error *err)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = root_read(root, path, PACKAGES_DB_MAX, &text, &len);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == 0 && strlen(text) != len)
		return damaged(f, path, NULL, "with a NUL byte inside");
	return r < 0 ? unreadable(f, path, r, err) : parse(p, text, path, f, err);
}

/* As the distroless images have it: a file for each package, beside lists of checksums. */
static int read_status_d(struct packages *p, int root, struct findings *f, struct error *err)
{
	static const char folder[] = "var/lib/dpkg/status.d";
	int fd = root_open(root, folder, O_RDONLY | O_DIRECTORY), n = 0, r = 0;
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		fd_close(fd);
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : unreadable(f, folder, fd, err);
	}
	while (r == 0 && (e = readdir(dir))) {
		const char *dot = strrchr(e->d_name, '.');
		char path[sizeof(folder) + NAME_MAX + 2];

		if (e->d_name[0] == '.' || (dot && !strcmp(dot, ".md5sums")))
			continue;
		if (++n > STATUS_D_MAX)
			return error_set(err, E2BIG, "%s has more than %d files", folder,
					 STATUS_D_MAX);
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		r = read_text(p, root, path, packages_parse_dpkg, f, err);
	}
	return r;
}

static int read_rpmdb(struct packages *p, int root, const char *path, struct findings *f,
		      struct error *err)
{
	cleanup_free char *db = NULL;
	size_t len;
	cleanup_free char *log = NULL;
	char wal[80];
	int r = root_read(root, path, PACKAGES_DB_MAX, &db, &len);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return unreadable(f, path, r, err);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	/* Changes that rpm had not yet moved into the database: only SQLite on the file itself would see them. */
	if (root_read(root, wal, PACKAGES_DB_MAX, &log, &(size_t){0}) != -ENOENT && (!log || *log))
		findings_add(f, "inventory", SEVERITY_HIGH, wal,
			     "the rpm database has a log that was not merged into it: its packages "
			     "cannot be checked");
	return packages_parse_rpmdb(p, db, len, path, f, err);
}

static void refuse_old_rpmdb(int root, const char *path, struct findings *f)
{
	cleanup_fd int fd = root_open(root, path, O_RDONLY);

	if (fd >= 0)
		findings_add(
			f, "inventory", SEVERITY_HIGH, path,
			"unsupported rpm database format (Berkeley DB or ndb; SQLite is read): "
			"its packages cannot be checked");
}

static int read_rpm(struct packages *p, int root, struct findings *f, struct error *err)
{
	static const char *const folders[] = {"usr/lib/sysimage/rpm", "var/lib/rpm"};
	size_t before = p->n;
	char path[64];
	int r = 0;

	/* Mostly one is a link to the other. */
	for (size_t i = 0; i < ARRAY_SIZE(folders) && r == 0 && p->n == before; i++) {
		snprintf(path, sizeof(path), "%s/rpmdb.sqlite", folders[i]);
		r = read_rpmdb(p, root, path, f, err);
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders) && r == 0 && p->n == before; i++) {
		snprintf(path, sizeof(path), "%s/Packages", folders[i]);
		refuse_old_rpmdb(root, path, f);
		snprintf(path, sizeof(path), "%s/Packages.db", folders[i]);
		refuse_old_rpmdb(root, path, f);
	}
	return r;
}

static void read_os_release(struct packages *p, int root)
{
	static const char *const paths[] = {"etc/os-release", "usr/lib/os-release"};

	for (size_t i = 0; i < ARRAY_SIZE(paths) && !p->id[0]; i++) {
		cleanup_free char *text = NULL;
		size_t len;

		if (root_read(root, paths[i], OS_RELEASE_MAX, &text, &len) == 0)
			packages_parse_os_release(p, text);
	}
}

int packages_read(int root, struct packages *ret, struct findings *f, struct error *err)
{
	struct packages p = {};
	int r;

	read_os_release(&p, root);
	r = read_text(&p, root, "var/lib/dpkg/status", packages_parse_dpkg, f, err);
	if (r == 0)
		r = read_status_d(&p, root, f, err);
	if (r == 0)
		r = read_text(&p, root, "lib/apk/db/installed", packages_parse_apk, f, err);
	if (r == 0 && !p.n)
		r = read_text(&p, root, "usr/lib/apk/db/installed", packages_parse_apk, f, err);
	if (r == 0)
		r = read_rpm(&p, root, f, err);
	if (r < 0) {
		packages_release(&p);
		return r;
	}
	*ret = p;
	return 0;
}
