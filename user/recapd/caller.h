/* SPDX-License-Identifier: MIT */
/* Who is at the other end of a connection, as the kernel says and not as they say. */
#ifndef RECAP_CALLER_H
#define RECAP_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/json.h"

#define CALLER_GROUPS_MAX 1024

struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;     /* when it connected; for people to read, nothing acts on it */
	gid_t *groups; /* supplementary */
	size_t n_groups;
	char command[16]; /* its name (proc(5), comm); "?" when it had gone by then */
};

/*
 * Read SO_PEERCRED and SO_PEERGROUPS of a connected socket (unix(7), socket(7)): the credentials at connect(2). 0 or -errno:
 * then all but the groups may be there. -ERANGE: there are more than CALLER_GROUPS_MAX.
 */
int caller_read(int fd, struct caller *ret) must_check;
void caller_clear(struct caller *c);

/* uid, gid, pid and command, as a new object. */
struct json_object *caller_json(const struct caller *c);

/* Is `gid` its group, or among its supplementary ones? */
bool caller_in_group(const struct caller *c, gid_t gid);

#endif
