// SPDX-License-Identifier: MIT
#include "core/journal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/fd.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int journal_open(const char *path, struct journal *ret, struct error *err)
{
	struct journal j = {.to = {.sun_family = AF_UNIX}};

	if (strlen(path) >= sizeof(j.to.sun_path))
		return error_set(err, ENAMETOOLONG, "the journal's socket has too long a path: %s",
				 path);
	strcpy(j.to.sun_path, path);
	j.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (j.fd < 0)
		return error_sys(err, errno, "cannot make a socket for the journal");
	*ret = j;
	return 0;
}

void journal_close(struct journal *j)
{
	j->fd = fd_close(j->fd);
}

/* What is too long for a datagram goes as a sealed file, which the journal may map without fear of its changing. */
static int send_file(struct journal *j, const char *fields, size_t len)
{
	cleanup_fd int fd = memfd_create("recap-audit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct msghdr msg = {.msg_name = &j->to,
			     .msg_namelen = sizeof(j->to),
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int r = fd < 0 ? -errno : fd_write_all(fd, fields, len);

	if (r < 0)
		return r;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0 ||
	    sendmsg(j->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

int journal_send(struct journal *j, const char *fields, size_t len)
{
	int r = sendto(j->fd, fields, len, MSG_NOSIGNAL | MSG_DONTWAIT,
		       (const struct sockaddr *)&j->to, sizeof(j->to)) < 0
			? -errno
			: 0;

	if (r == -EMSGSIZE || r == -ENOBUFS)
		r = send_file(j, fields, len);
	j->there = r != -ENOENT && r != -ECONNREFUSED;
	return r;
}
