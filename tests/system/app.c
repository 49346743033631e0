// SPDX-License-Identifier: MIT
/*
 * The application that capsules are brought to: a server that is PID 1 of a container without a
 * shell. It answers "recap app" over HTTP on 127.0.0.1:8080 (-p PORT for another) and has one
 * worker child. It never reaps children that it did not fork itself, so that a zombie which
 * something left to it stays in sight.
 *
 * With -s it also takes descriptors on the abstract socket @recap-app (SOCK_SEQPACKET), one per
 * connection, and holds on to them: a capsule can so leave a reference to its own layer with the
 * application. The message says how:
 *
 *	keep	the open descriptor
 *	mmap	a mapping of the file, the descriptor closed
 *	chdir	the folder as working folder, the descriptor closed
 *	flight	nothing: the message is left unread, the descriptor in flight
 *	close	lets go of everything held so far
 *
 * All but "flight" are answered "ok" or with the name of the error.
 *
 * With -l FILE it appends a line to FILE for each request, and opens FILE anew at SIGHUP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define APP_SOCKET "recap-app"
#define HELD_MAX   16
#define MAP_SIZE   4096

/* What "close" lets go of. */
struct held {
	int fds[HELD_MAX]; /* kept descriptors, and connections with one in flight */
	unsigned int n_fds;
	void *maps[HELD_MAX];
	unsigned int n_maps;
};

static void die(const char *what)
{
	fprintf(stderr, "app: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* A PID 1 gets only the signals that it has a handler for. */
static void on_term(int sig)
{
	_exit(0);
}

static volatile sig_atomic_t log_is_stale;

static void on_hup(int sig)
{
	log_is_stale = 1;
}

static void log_request(const char *path, int *fd)
{
	static const char line[] = "request\n";

	if (log_is_stale) {
		log_is_stale = 0;
		close(*fd);
		*fd = -1;
	}
	if (*fd < 0)
		*fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (*fd < 0 || write(*fd, line, sizeof(line) - 1) < 0)
		die(path);
}

static void start_worker(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return;
	prctl(PR_SET_NAME, "app-worker");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static int listen_http(unsigned short port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 16))
		die("cannot listen on 127.0.0.1");
	return fd;
}

static int listen_fds(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "\0" APP_SOCKET};
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + sizeof(APP_SOCKET);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 16))
		die("cannot listen on @" APP_SOCKET);
	return fd;
}

/* A client that says nothing may hold the server up for a second, not for good. */
static int accept_client(int listener)
{
	struct timeval limit = {.tv_sec = 1};
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void serve_http(int listener)
{
	static const char reply[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n"
				    "Content-Length: 10\r\n\r\nrecap app\n";
	int fd = accept_client(listener);
	char request[1024];

	if (fd < 0)
		return;
	if (recv(fd, request, sizeof(request), 0) > 0)
		send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL);
	/* Closing with a part of the request unread would reset the connection: the reply lost. */
	shutdown(fd, SHUT_WR);
	while (recv(fd, request, sizeof(request), 0) > 0)
		;
	close(fd);
}

/* The message's descriptor, -1 when it has none. */
static int receive_fd(int conn)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	char text[16];
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(conn, &msg, MSG_CMSG_CLOEXEC) < 0)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

static int hold_fd(struct held *held, int fd)
{
	if (held->n_fds == HELD_MAX)
		return -ENOSPC;
	held->fds[held->n_fds++] = fd;
	return 0;
}

static int hold_map(struct held *held, int fd)
{
	void *map;

	if (held->n_maps == HELD_MAX)
		return -ENOSPC;
	map = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	held->maps[held->n_maps++] = map;
	close(fd);
	return 0;
}

static int hold_cwd(int fd)
{
	if (fchdir(fd))
		return -errno;
	close(fd);
	return 0;
}

static int let_go(struct held *held)
{
	while (held->n_fds)
		close(held->fds[--held->n_fds]);
	while (held->n_maps)
		munmap(held->maps[--held->n_maps], MAP_SIZE);
	return chdir("/") ? -errno : 0;
}

static int obey(struct held *held, const char *order, int fd)
{
	if (!strcmp(order, "close"))
		return let_go(held);
	if (fd < 0)
		return -EBADF;
	if (!strcmp(order, "keep"))
		return hold_fd(held, fd);
	if (!strcmp(order, "mmap"))
		return hold_map(held, fd);
	if (!strcmp(order, "chdir"))
		return hold_cwd(fd);
	return -EINVAL;
}

static void serve_fds(struct held *held, int listener)
{
	int conn = accept_client(listener), fd, r;
	const char *reply;
	char order[16] = "";

	if (conn < 0)
		return;
	/* Peeking without room for control data reads the text and leaves the descriptor there. */
	if (recv(conn, order, sizeof(order) - 1, MSG_PEEK) <= 0)
		goto out;
	if (!strcmp(order, "flight") && !hold_fd(held, conn))
		return;
	fd = receive_fd(conn);
	r = obey(held, order, fd);
	if (r && fd >= 0)
		close(fd);
	reply = r ? strerrorname_np(-r) : "ok";
	send(conn, reply, strlen(reply), MSG_NOSIGNAL);
out:
	close(conn);
}

int main(int argc, char **argv)
{
	struct pollfd polled[2] = {{.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	struct held held = {0};
	int port = 8080, opt, with_fds = 0, log = -1;
	const char *log_path = NULL;

	while ((opt = getopt(argc, argv, "l:p:s")) != -1) {
		if (opt == 'l')
			log_path = optarg;
		else if (opt == 'p')
			port = atoi(optarg);
		else if (opt == 's')
			with_fds = 1;
		else
			return 2;
	}
	signal(SIGTERM, on_term);
	if (log_path)
		signal(SIGHUP, on_hup);
	start_worker();
	polled[0].fd = listen_http(port);
	if (with_fds)
		polled[1].fd = listen_fds();
	for (;;) {
		if (poll(polled, 2, -1) < 0) {
			if (errno != EINTR)
				die("poll");
			continue;
		}
		if (polled[0].revents && log_path)
			log_request(log_path, &log);
		if (polled[0].revents)
			serve_http(polled[0].fd);
		if (polled[1].revents)
			serve_fds(&held, polled[1].fd);
	}
}
