// SPDX-License-Identifier: MIT
#include "recapd/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fd.h"

static void read_command(struct caller *c)
{
	cleanup_fd int fd = -1;
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)c->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, c->command, sizeof(c->command) - 1);
	if (n <= 0)
		n = snprintf(c->command, sizeof(c->command), "?");
	c->command[n] = '\0';
	c->command[strcspn(c->command, "\n")] = '\0';
}

static int read_groups(int fd, struct caller *c)
{
	gid_t groups[CALLER_GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return -errno;
	if (len == 0)
		return 0;
	c->groups = malloc(len);
	if (!c->groups)
		return -ENOMEM;
	memcpy(c->groups, groups, len);
	c->n_groups = len / sizeof(groups[0]);
	return 0;
}

int caller_read(int fd, struct caller *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct caller){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	read_command(ret);
	return read_groups(fd, ret);
}

void caller_clear(struct caller *c)
{
	free(c->groups);
	*c = (struct caller){};
}

struct json_object *caller_json(const struct caller *c)
{
	struct json_object *o = json_object_new_object();

	json_put_int(o, "uid", c->uid);
	json_put_int(o, "gid", c->gid);
	json_put_int(o, "pid", c->pid);
	json_put_foreign(o, "command", c->command, sizeof(c->command));
	return o;
}

bool caller_in_group(const struct caller *c, gid_t gid)
{
	bool found = c->gid == gid;

	for (size_t i = 0; i < c->n_groups && !found; i++)
		found = c->groups[i] == gid;
	return found;
}
