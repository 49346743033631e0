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

#define DB_MAX (1 << 20) /* bytes read of a database: what follows is not there for us */

/* A stream on `path` below `rootfd`, or NULL: an image may do without. Links stay inside, magic links and FIFOs do not open. */
static FILE *open_db(int rootfd, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
	struct stat st;
	FILE *f;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > DB_MAX) {
		close(fd);
		return NULL;
	}
	f = fdopen(fd, "re");
	if (!f)
		close(fd);
	return f;
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

static bool find_user(int rootfd, const char *name, struct user_ids *u)
{
	bool numeric = to_id(name, &u->uid), found = false;
	cleanup_file FILE *f = open_db(rootfd, "etc/passwd");
	struct passwd pw, *res;
	char buf[4096];

	while (f && !found && fgetpwent_r(f, &pw, buf, sizeof(buf), &res) == 0) {
		if (numeric ? pw.pw_uid != u->uid : strcmp(pw.pw_name, name))
			continue;
		u->uid = pw.pw_uid;
		u->gid = pw.pw_gid;
		snprintf(u->home, sizeof(u->home), "%s", pw.pw_dir[0] == '/' ? pw.pw_dir : "/");
		found = true;
	}
	return found || numeric;
}

static bool lists(char *const *members, const char *name)
{
	for (; members && *members; members++)
		if (!strcmp(*members, name))
			return true;
	return false;
}

/* With `group`: find it. Without: collect those that list `user`. */
static bool find_group(int rootfd, const char *group, const char *user, struct user_ids *u)
{
	bool numeric = group && to_id(group, &u->gid);
	cleanup_file FILE *f = numeric ? NULL : open_db(rootfd, "etc/group");
	struct group gr, *res;
	char buf[16384];

	while (f && fgetgrent_r(f, &gr, buf, sizeof(buf), &res) == 0) {
		if (group && !strcmp(gr.gr_name, group)) {
			u->gid = gr.gr_gid;
			return true;
		}
		if (!group && u->n_groups < USERDB_GROUPS_MAX && lists(gr.gr_mem, user))
			u->groups[u->n_groups++] = gr.gr_gid;
	}
	return numeric;
}

int userdb_resolve(int rootfd, const char *spec, struct user_ids *ret, struct error *err)
{
	struct user_ids u = {.home = "/"};
	char user[128], *group;

	if (snprintf(user, sizeof(user), "%s", *spec ? spec : "0") >= (int)sizeof(user))
		return error_named(err, EINVAL, "InvalidArgument", "the user's name is too long");
	group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	if (!find_user(rootfd, user, &u))
		return error_named(
			err, EINVAL, "InvalidArgument",
			"the image has no user %s in its /etc/passwd; give a number, or another user with -u",
			user);
	if (group && *group) {
		if (!find_group(rootfd, group, user, &u))
			return error_named(
				err, EINVAL, "InvalidArgument",
				"the image has no group %s in its /etc/group; give a number",
				group);
	} else {
		find_group(rootfd, NULL, user, &u);
	}
	*ret = u;
	return 0;
}
