// SPDX-License-Identifier: MIT
#include "core/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/fd.h"

/* Mount namespaces that have been looked at, by inode number: they cannot change under a walk that is over in milliseconds. */
struct seen {
	ino_t *list;
	size_t n, room;
};

/* True the first time; also when there is no memory to remember it, which only costs time. */
static bool first_time(struct seen *s, ino_t ns)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i] == ns)
			return false;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		ino_t *list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return true;
		s->list = list;
		s->room = room;
	}
	s->list[s->n++] = ns;
	return true;
}

/* The third field of a line of mountinfo (proc(5)) is the device, in decimal; what comes before it are numbers, too. */
static bool is_layer(const char *line, const struct recap_wanted *w)
{
	unsigned int maj, min;
	uint32_t dev;

	if (sscanf(line, "%*u %*u %u:%u", &maj, &min) != 2)
		return false;
	dev = maj << 20 | min;
	return dev && (dev == w->overlay_dev || dev == w->tmpfs_dev);
}

static bool has_mount(int dir, const struct recap_wanted *w)
{
	int fd = openat(dir, "mountinfo", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	cleanup_free char *line = NULL;
	bool found = false;
	size_t size = 0;

	if (!f) {
		fd_close(fd);
		return false;
	}
	while (!found && getline(&line, &size, f) >= 0)
		found = is_layer(line, w);
	fclose(f);
	return found;
}

static void describe(int dir, const char *pid, struct recap_holder_record *ret)
{
	char comm[RECAP_COMM_LEN + 1] = "";

	*ret = (struct recap_holder_record){
		.tgid = strtoul(pid, NULL, 10), .kind = RECAP_HOLDER_MOUNT, .fd = -1};
	if (fd_read_small(dir, "comm", comm, sizeof(comm)) < 0)
		return; /* it has just ended: its PID is all there is to say */
	comm[strcspn(comm, "\n")] = '\0';
	memcpy(ret->comm, comm, RECAP_COMM_LEN);
}

int holders_mounts(const struct recap_wanted *wanted, ino_t workshop,
		   struct recap_holder_record *ret, size_t max)
{
	DIR *proc = opendir("/proc");
	struct seen seen = {};
	struct dirent *e;
	size_t n = 0;

	if (!proc)
		return -errno;
	/* The keeper is in there, and holds nobody up. */
	(void)!first_time(&seen, workshop);
	/* In the order of PIDs. */
	while (n < max && (e = readdir(proc))) {
		cleanup_fd int dir = -1;
		struct stat st;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		dir = openat(dirfd(proc), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0 || fstatat(dir, "ns/mnt", &st, 0) < 0 ||
		    !first_time(&seen, st.st_ino) || !has_mount(dir, wanted))
			continue;
		describe(dir, e->d_name, &ret[n++]);
	}
	free(seen.list);
	closedir(proc);
	return (int)n;
}
