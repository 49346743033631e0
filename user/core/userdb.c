// SPDX-License-Identifier: MIT
#include "core/userdb.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DB_MAX	    (1 << 20) /* bytes read of a database: what follows is not there for us */
#define DB_LINE_MAX 16384     /* of a line */

/*
 * A stream on `path` below `rootfd`, or NULL in *ret where the image does without: links stay inside, and what is no ordinary file
 * is none. Any other failure is one: to go on without the database would be to run as somebody else.
 */
static int open_db(int rootfd, const char *path, FILE **ret)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	cleanup_fd int fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
	struct stat st;

	*ret = NULL;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO
			       ? 0
			       : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > DB_MAX)
		return 0;
	*ret = fdopen(fd, "re");
	if (!*ret)
		return -errno;
	fd = -1; /* the stream's now */
	return 0;
}

static bool to_id(const char *s, unsigned int *ret)
{
	unsigned long v;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	/* (uid_t)-1 means "leave as it is" to setresuid(2). */
	if (errno || *end || v >= 0xffffffffu)
		return false;
	*ret = v;
	return true;
}

/* 1: found, or a number, which needs no entry; 0: there is none; -errno. */
static int find_user(int rootfd, const char *name, struct user_ids *u)
{
	bool numeric = to_id(name, &u->uid), found = false;
	cleanup_file FILE *f = NULL;
	cleanup_free char *buf = NULL;
	struct passwd pw, *res;
	int r = open_db(rootfd, "etc/passwd", &f);

	if (f && !(buf = malloc(DB_LINE_MAX)))
		return -ENOMEM;
	while (f && !found && fgetpwent_r(f, &pw, buf, DB_LINE_MAX, &res) == 0) {
		if (numeric ? pw.pw_uid != u->uid : strcmp(pw.pw_name, name))
			continue;
		u->uid = pw.pw_uid;
		u->gid = pw.pw_gid;
		snprintf(u->home, sizeof(u->home), "%s", pw.pw_dir[0] == '/' ? pw.pw_dir : "/");
		found = true;
	}
	return r < 0 ? r : found || numeric;
}

static bool lists(char *const *members, const char *name)
{
	for (; members && *members; members++)
		if (!strcmp(*members, name))
			return true;
	return false;
}

/* With `group`: find it, as find_user() does. Without: collect those that list `user`. */
static int find_group(int rootfd, const char *group, const char *user, struct user_ids *u)
{
	bool numeric = group && to_id(group, &u->gid);
	cleanup_file FILE *f = NULL;
	cleanup_free char *buf = NULL;
	struct group gr, *res;
	int r = numeric ? 0 : open_db(rootfd, "etc/group", &f);

	if (f && !(buf = malloc(DB_LINE_MAX)))
		return -ENOMEM;
	while (f && fgetgrent_r(f, &gr, buf, DB_LINE_MAX, &res) == 0) {
		if (group && !strcmp(gr.gr_name, group)) {
			u->gid = gr.gr_gid;
			return 1;
		}
		if (!group && u->n_groups < USERDB_GROUPS_MAX && lists(gr.gr_mem, user))
			u->groups[u->n_groups++] = gr.gr_gid;
	}
	return r < 0 ? r : numeric;
}

int userdb_resolve(int rootfd, const char *spec, struct user_ids *ret, struct error *err)
{
	struct user_ids u = {.home = "/"};
	char user[128], *group;
	int r;

	if (snprintf(user, sizeof(user), "%s", *spec ? spec : "0") >= (int)sizeof(user))
		return error_named(err, EINVAL, "InvalidArgument", "the user's name is too long");
	group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	r = find_user(rootfd, user, &u);
	if (r == 0)
		return error_named(
			err, EINVAL, "InvalidArgument",
			"the image has no user %s in its /etc/passwd; give a number, or another user with -u",
			user);
	if (r > 0)
		r = find_group(rootfd, group && *group ? group : NULL, user, &u);
	if (r < 0)
		return error_sys(err, -r, "cannot read the image's users");
	if (r == 0 && group && *group)
		return error_named(err, EINVAL, "InvalidArgument",
				   "the image has no group %s in its /etc/group; give a number",
				   group);
	/* The primary group is among them, or files that are closed to it would be open to its members (CVE-2022-36109). */
	if (u.n_groups < USERDB_GROUPS_MAX)
		u.groups[u.n_groups++] = u.gid;
	*ret = u;
	return 0;
}
