/* SPDX-License-Identifier: MIT */
/* One message with at most one descriptor over the abstract socket of tests/system/accomplice.c; for that and for fugitive.c. */
#ifndef TESTS_MESSAGE_H
#define TESTS_MESSAGE_H

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ACCOMPLICE "recap-accomplice"
#define LAYER_TEXT "written by a fugitive\n" /* in /data of the layer */

union message_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

static inline socklen_t message_address(struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "\0" ACCOMPLICE};
	return offsetof(struct sockaddr_un, sun_path) + sizeof(ACCOMPLICE);
}

/* With the descriptor `fd`, or none when it is -1. 0 or -1. */
static inline int message_send(int conn, const char *text, int fd)
{
	union message_control control = {0};
	struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
							.cmsg_type = SCM_RIGHTS,
							.cmsg_len = CMSG_LEN(sizeof(fd))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	return sendmsg(conn, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* The text, and the descriptor or -1. 0 or -1. */
static inline int message_receive(int conn, char text[64], int *ret_fd)
{
	union message_control control;
	struct iovec iov = {.iov_base = text, .iov_len = 63};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(conn, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg;

	if (n <= 0)
		return -1;
	text[n] = '\0';
	*ret_fd = -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(*ret_fd));
	return 0;
}

#endif
