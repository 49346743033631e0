/* SPDX-License-Identifier: MIT */
/* A capsule's user, from the image's own /etc/passwd and /etc/group: files that anybody may have written. */
#ifndef RECAP_USERDB_H
#define RECAP_USERDB_H

#include "common/error.h"

#define USERDB_GROUPS_MAX 64

struct user_ids {
	unsigned int uid, gid;
	unsigned int groups[USERDB_GROUPS_MAX];
	size_t n_groups;
	char home[256];
};

/*
 * Resolve `spec` ("", "uid", "name", "uid:gid", "name:group", …; "" is root) in the tree at `rootfd`, which no link leads out
 * of. As with other runtimes a bare number needs no entry, its group is then 0, and groups that list the
 * user come along. Errors: CommandNotExecutable-like failures are plain; an unknown name is -EINVAL.
 */
int userdb_resolve(int rootfd, const char *spec, struct user_ids *ret,
		   struct error *err) must_check;

#endif
