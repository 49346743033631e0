// SPDX-License-Identifier: MIT
#include "common/varlink.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/fd.h"
#include "common/utf8.h"

#define BUFFER_MIN 16384

void varlink_init(struct varlink *v, int fd, size_t max_in)
{
	*v = (struct varlink){.fd = fd, .max_in = max_in, .out_fd = -1, .sending_fd = -1};
}

void varlink_close(struct varlink *v)
{
	for (unsigned int i = 0; i < v->n_fds; i++)
		fd_close(v->fds[i].fd);
	fd_close(v->out_fd);
	fd_close(v->sending_fd);
	fd_close(v->fd);
	free(v->in);
	free(v->out);
	varlink_init(v, -1, v->max_in);
}

/* Make room for `want` bytes in all, doubling up to `max`. */
static int grow(char **buf, size_t *size, size_t want, size_t max)
{
	size_t n = *size ? *size : BUFFER_MIN;
	char *p;

	if (want <= *size)
		return 0;
	while (n < want)
		n *= 2;
	if (n > max)
		n = max;
	p = realloc(*buf, n);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*size = n;
	return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Where the last message starts that has begun by now. */
static size_t last_message(const struct varlink *v)
{
	const char *nul = v->in_len > 1 ? memrchr(v->in, '\0', v->in_len - 1) : NULL;

	return nul ? (size_t)(nul - v->in) + 1 : 0;
}

/* Keep one descriptor; false: there are too many, and it was closed. */
static bool keep_fd(struct varlink *v, int fd, size_t at)
{
	if (v->n_fds == VARLINK_FDS_MAX) {
		fd_close(fd);
		return false;
	}
	v->fds[v->n_fds++] = (struct varlink_fd){fd, at};
	return true;
}

/* Keep what descriptors came. false: there were more than may be. */
static bool keep_fds(struct varlink *v, struct msghdr *msg)
{
	bool fits = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		size_t at = last_message(v);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			fits &= keep_fd(v, fd, at);
		}
	}
	return fits;
}

static void drop_fds(struct varlink *v)
{
	while (v->n_fds)
		fd_close(v->fds[--v->n_fds].fd);
}

/* Close the descriptors of messages that start before `at`. */
static void drop_fds_before(struct varlink *v, size_t at)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < v->n_fds; i++) {
		if (v->fds[i].at < at)
			fd_close(v->fds[i].fd);
		else
			v->fds[kept++] = v->fds[i];
	}
	v->n_fds = kept;
}

/* Forget what was handed out, so that the rest starts at offset 0. */
static void compact(struct varlink *v)
{
	size_t gone = v->in_start;

	v->in_msg = 0;
	if (!gone)
		return;
	drop_fds_before(v, gone);
	memmove(v->in, v->in + gone, v->in_len - gone);
	v->in_len -= gone;
	v->in_scanned -= gone;
	v->in_start = 0;
	for (unsigned int i = 0; i < v->n_fds; i++)
		v->fds[i].at -= gone;
}

static int receive(struct varlink *v, int flags)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VARLINK_FDS_MAX * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct iovec iov;
	ssize_t n;

	msg.msg_iov = &iov;
	iov.iov_base = v->in + v->in_len;
	iov.iov_len = v->in_size - v->in_len;
	do {
		n = recvmsg(v->fd, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	v->in_len += n;
	if (!keep_fds(v, &msg)) {
		drop_fds(v);
		return -EMSGSIZE;
	}
	return n > 0;
}

static int read_more(struct varlink *v, int flags)
{
	int r;

	compact(v);
	/* One byte more than the longest message, for its NUL. */
	if (v->in_len > v->max_in)
		return memchr(v->in, '\0', v->in_len) ? 1 : -EMSGSIZE;
	r = grow(&v->in, &v->in_size, v->in_len + 1, v->max_in + 1);
	if (r < 0)
		return r;
	return receive(v, flags);
}

int varlink_read(struct varlink *v)
{
	return read_more(v, MSG_DONTWAIT);
}

int varlink_next(struct varlink *v, const char **ret_text, size_t *ret_len)
{
	char *nul;

	if (v->in_start == v->in_len) {
		/* An idle connection holds no memory. */
		drop_fds_before(v, v->in_start);
		free(v->in);
		v->in = NULL;
		v->in_len = v->in_size = v->in_msg = v->in_start = v->in_scanned = 0;
		return 0;
	}
	nul = memchr(v->in + v->in_scanned, '\0', v->in_len - v->in_scanned);
	if (!nul) {
		v->in_scanned = v->in_len;
		return 0;
	}
	drop_fds_before(v, v->in_start);
	v->in_msg = v->in_start;
	*ret_text = v->in + v->in_msg;
	*ret_len = nul - *ret_text;
	v->in_start = v->in_scanned = nul - v->in + 1;
	return 1;
}

unsigned int varlink_take_fds(struct varlink *v, int fds[VARLINK_FDS_MAX])
{
	unsigned int n = 0, kept = 0;

	for (unsigned int i = 0; i < v->n_fds; i++) {
		if (v->fds[i].at <= v->in_msg)
			fds[n++] = v->fds[i].fd;
		else
			v->fds[kept++] = v->fds[i];
	}
	v->n_fds = kept;
	return n;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Forget what was sent, so that a busy connection's buffer does not grow for ever. */
static void forget_sent(struct varlink *v)
{
	if (!v->out_sent)
		return;
	memmove(v->out, v->out + v->out_sent, v->out_len - v->out_sent);
	v->out_len -= v->out_sent;
	v->sending_at -= v->sending_fd >= 0 ? v->out_sent : v->sending_at;
	v->out_sent = 0;
}

int varlink_queue(struct varlink *v, const char *text, size_t len)
{
	int r;

	if (v->out_fd >= 0 && v->sending_fd >= 0)
		return -EBUSY;
	if (v->out_len - v->out_sent + len + 1 > VARLINK_REPLY_MAX)
		return -ENOBUFS;
	forget_sent(v);
	r = grow(&v->out, &v->out_size, v->out_len + len + 1, VARLINK_REPLY_MAX);
	if (r < 0)
		return r;
	if (v->out_fd >= 0) {
		v->sending_fd = TAKE_FD(v->out_fd);
		v->sending_at = v->out_len;
	}
	memcpy(v->out + v->out_len, text, len);
	v->out[v->out_len + len] = '\0';
	v->out_len += len + 1;
	return 0;
}

int varlink_flush(struct varlink *v)
{
	while (v->out_sent < v->out_len) {
		bool with_fd = v->sending_fd >= 0 && v->sending_at == v->out_sent;
		/* A message with a descriptor starts a sendmsg(2) of its own. */
		size_t end = v->sending_fd >= 0 && !with_fd ? v->sending_at : v->out_len;
		ssize_t n = fd_send(v->fd, v->out + v->out_sent, end - v->out_sent, &v->sending_fd,
				    with_fd, MSG_DONTWAIT);

		if (n == -EAGAIN || n == -EWOULDBLOCK)
			return 0;
		if (n < 0)
			return (int)n;
		if (with_fd)
			v->sending_fd = fd_close(v->sending_fd);
		v->out_sent += n;
	}
	free(v->out);
	v->out = NULL;
	v->out_len = v->out_size = v->out_sent = 0;
	return 1;
}

/* ---- client ---------------------------------------------------------------------------------- */

static int connect_error(int code, const char *path, struct error *err)
{
	switch (code) {
	case ENOENT:
		return error_set(err, code,
				 "recapd is not running: there is no socket %s (start it, or name "
				 "its socket with --socket)",
				 path);
	case ECONNREFUSED:
		return error_set(err, code,
				 "recapd is not running: nobody listens on %s (start it, or name "
				 "its socket with --socket)",
				 path);
	case EACCES:
	case EPERM:
		return error_set(err, code, "no permission to use %s: ask as root", path);
	default:
		return error_sys(err, code, "cannot connect to recapd at %s", path);
	}
}

int varlink_connect(const char *path, struct varlink *v, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	varlink_init(v, -1, VARLINK_REPLY_MAX);
	if (!len || len >= sizeof(addr.sun_path))
		return error_set(err, ENAMETOOLONG,
				 "the socket path '%s' must have 1 to %zu characters", path,
				 sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, len);
	v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd < 0)
		return error_sys(err, errno, "cannot open a socket");
	if (connect(v->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return connect_error(errno, path, err);
	return 0;
}

static int lost(int code, struct error *err)
{
	error_set(err, ECONNRESET, "lost the connection to recapd%s%s: see its log",
		  code ? ": " : "", code ? strerror(code) : "");
	return -ECONNRESET;
}

int varlink_call(struct varlink *v, const char *method, struct json_object *params, bool more,
		 const int *fds, unsigned int n_fds, struct error *err)
{
	cleanup_json struct json_object *call = json_object_new_object();
	const char *text;
	size_t len;

	json_put_str(call, "method", method);
	if (params)
		json_put_obj(call, "parameters", json_object_get(params));
	if (more)
		json_put_bool(call, "more", true);
	text = json_object_to_json_string_length(
		call, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	if (len > VARLINK_MESSAGE_MAX)
		return error_set(err, EMSGSIZE, "the arguments are too long: recapd takes %d bytes",
				 VARLINK_MESSAGE_MAX);
	/* It would take that for no message at all, and hang up. */
	if (!utf8_valid(text, len))
		return error_set(err, EILSEQ,
				 "an argument is not UTF-8 text, which is all that recapd takes");
	for (len++; len;) {
		ssize_t n = fd_send(v->fd, text, len, fds, n_fds, 0);

		/* Whom it does not serve, it tells so before it hangs up: that is the reply, then. */
		if (n == -EPIPE || n == -ECONNRESET)
			return varlink_read(v) == 1 ? 0 : lost(0, err);
		if (n < 0)
			return error_sys(err, (int)-n, "cannot send to recapd");
		n_fds = 0;
		text += n;
		len -= n;
	}
	return 0;
}

/* Errors of the protocol itself carry no message of their own. */
static const char *service_error(const char *name)
{
	static const struct {
		const char *name, *text;
	} known[] = {
		{"MethodNotFound", "recapd does not know what was asked for"},
		{"MethodNotImplemented", "recapd does not implement what was asked for"},
		{"InterfaceNotFound",
		 "what listens on the socket is not recapd, or another version"},
		{"InvalidParameter", "recapd does not accept the parameter"},
		{"PermissionDenied", "recapd does not allow this to you"},
		{"ExpectedMore", "recapd answers this with several replies only"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i].name))
			return known[i].text;
	return "recapd failed";
}

static int error_reply(const char *full, struct json_object *params, struct error *err)
{
	const char *dot = strrchr(full, '.');
	const char *name = dot ? dot + 1 : full;
	const char *msg = json_get_str(params, "message");
	const char *what = json_get_str(params, "parameter");

	if (!what)
		what = json_get_str(params, "method");
	if (msg)
		error_named(err, EREMOTEIO, name, "%s", msg);
	else if (strncmp(full, "org.varlink.service.", 20))
		error_named(err, EREMOTEIO, name,
			    "recapd failed with %s and said no more: see its log", full);
	else
		error_named(err, EREMOTEIO, name,
			    "%s%s%s (%s): recapctl and recapd must be of the "
			    "same version",
			    service_error(name), what ? ": " : "", what ? what : "", name);
	return -EREMOTEIO;
}

int varlink_parse_reply(const char *text, size_t len, struct json_object **ret_params,
			bool *ret_continues, struct error *err)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *params, *error;

	if (json_parse(text, len, "recapd's reply", &reply, err) < 0)
		return -EPROTO;
	if (!json_object_is_type(reply, json_type_object)) {
		error_set(err, EPROTO, "recapd's reply is no JSON object");
		return -EPROTO;
	}
	params = json_get(reply, "parameters", json_type_object);
	if (json_object_object_get_ex(reply, "error", &error) && error) {
		const char *name = json_get_str(reply, "error");

		return error_reply(name ? name : "an error without a name", params, err);
	}
	if (ret_continues)
		*ret_continues = json_get_bool(reply, "continues");
	*ret_params = params ? json_object_get(params) : json_object_new_object();
	return 0;
}

int varlink_wait(struct varlink *v, const char **ret_text, size_t *ret_len, struct error *err)
{
	while (!varlink_next(v, ret_text, ret_len)) {
		int r = read_more(v, 0);

		if (r == -EMSGSIZE)
			return error_set(err, EMSGSIZE,
					 "recapd's reply is longer than %zu bytes or has too many "
					 "descriptors",
					 v->max_in);
		if (r <= 0)
			return lost(-r, err);
	}
	return 0;
}

int varlink_reply(struct varlink *v, struct json_object **ret_params, bool *ret_continues,
		  struct error *err)
{
	const char *text;
	size_t len;
	int r = varlink_wait(v, &text, &len, err);

	if (r < 0)
		return r;
	return varlink_parse_reply(text, len, ret_params, ret_continues, err);
}
