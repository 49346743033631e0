/* SPDX-License-Identifier: MIT */
/*
 * Varlink framing (https://varlink.org/Method-Call): JSON objects, each ended by a NUL byte, over a
 * Unix stream socket, with descriptors beside them (SCM_RIGHTS, unix(7)). Server and client share this.
 */
#ifndef RECAP_VARLINK_H
#define RECAP_VARLINK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/json.h"

#define VARLINK_MESSAGE_MAX (1 << 20)  /* a call to recapd; replies may be longer */
#define VARLINK_REPLY_MAX   (64 << 20) /* what a client accepts, and what may wait to be sent */
#define VARLINK_FDS_MAX	    3

/* A received descriptor, and where in `in` the message starts that it came with. */
struct varlink_fd {
	int fd;
	size_t at;
};

/* One end of a connection: varlink_init() starts it, varlink_close() ends it. */
struct varlink {
	int fd;
	size_t max_in; /* longest message accepted, in bytes */
	char *in;      /* in_msg <= in_start <= in_scanned <= in_len <= in_size */
	size_t in_len, in_size;
	size_t in_msg;	   /* start of the message that varlink_next() handed out last */
	size_t in_start;   /* first byte not handed out yet */
	size_t in_scanned; /* no NUL between in_start and here */
	char *out;
	size_t out_len, out_size, out_sent;
	struct varlink_fd fds[VARLINK_FDS_MAX]; /* received and not yet taken */
	unsigned int n_fds;
	/*
	 * Set it before varlink_queue(), which takes it over: it goes with that message and is closed
	 * once sent. -1: none.
	 */
	int out_fd;
	int sending_fd; /* what varlink_queue() took over, and the offset in `out` of its message */
	size_t sending_at;
};

/* Takes over `fd`, which may be in blocking or non-blocking mode. */
void varlink_init(struct varlink *v, int fd, size_t max_in);

/* Close the socket and all descriptors that were not taken or sent; frees the buffers. May be called twice. */
void varlink_close(struct varlink *v);

/*
 * Read what there is, without blocking. 1: something came, or messages wait that must be taken before more
 * fits; 0: end of stream; -EAGAIN: nothing now; -EMSGSIZE: the message is longer than max_in, or came
 * with more than VARLINK_FDS_MAX descriptors (they were closed); other errors of recvmsg(2). After 0 or an
 * error other than -EAGAIN, complete messages can still be taken, and then the connection is of no use.
 */
int varlink_read(struct varlink *v) must_check;

/*
 * Take the next complete message out of what was read: *ret_text points into the buffer, is NUL-terminated at
 * *ret_len, and stays valid until the next varlink_read() or varlink_next(). 1: there is one; 0: not yet.
 * Closes what descriptors came with earlier messages and were not taken.
 */
int varlink_next(struct varlink *v, const char **ret_text, size_t *ret_len) must_check;

/*
 * Move the descriptors that came with the message which varlink_next() gave last into `fds` and return how
 * many; the caller owns them. To be called before the next varlink_read(), which closes them. Descriptors
 * belong to the last message that had begun when they came.
 */
unsigned int varlink_take_fds(struct varlink *v, int fds[VARLINK_FDS_MAX]);

/*
 * Queue one message (without its NUL, which is added), and `out_fd` with it. -ENOBUFS: the peer does not read
 * and VARLINK_REPLY_MAX bytes wait; -EBUSY: the descriptor of an earlier message was not sent yet. On
 * failure `out_fd` stays with the caller.
 */
int varlink_queue(struct varlink *v, const char *text, size_t len) must_check;

/* Send what is queued. 1: all gone; 0: the socket is full, try when writable; -errno. Raises no SIGPIPE. */
int varlink_flush(struct varlink *v) must_check;

/*
 * Client: connect to `path`. Fails with one clear line that says what to do. *v is initialised in any case,
 * so that varlink_close() may follow.
 */
int varlink_connect(const char *path, struct varlink *v, struct error *err) must_check;

/*
 * Client: send one call, blocking, with `n_fds` descriptors that stay the caller's. `method` has its interface:
 * "io.recap.Attach". `params` is borrowed and may be NULL. `more`: several replies are wanted.
 */
int varlink_call(struct varlink *v, const char *method, struct json_object *params, bool more,
		 const int *fds, unsigned int n_fds, struct error *err) must_check;

/*
 * Client: make a reply of one message, as varlink_next() gives it. *ret_params (never NULL) belongs to the
 * caller; *ret_continues (may be NULL) tells whether another reply follows. An error reply fills `err` (name: the
 * error's last part; msg: its message) and fails with -EREMOTEIO; what is no reply fails with -EPROTO.
 */
int varlink_parse_reply(const char *text, size_t len, struct json_object **ret_params,
			bool *ret_continues, struct error *err) must_check;

/* Client: block until a whole message is there, as of varlink_next(). A lost connection fails with -ECONNRESET. */
int varlink_wait(struct varlink *v, const char **ret_text, size_t *ret_len,
		 struct error *err) must_check;

/* Client: block for one reply: varlink_wait() and varlink_parse_reply(). */
int varlink_reply(struct varlink *v, struct json_object **ret_params, bool *ret_continues,
		  struct error *err) must_check;

#endif
