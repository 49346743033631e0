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
#define VARLINK_REPLY_MAX   (64 << 20) /* what a client accepts */
#define VARLINK_FDS_MAX	    3

/* One end of a connection. Zero it and set `fd` and `max_in` to start; varlink_close() ends it. */
struct varlink {
	int fd;
	size_t max_in; /* longest message accepted, in bytes */
	char *in;
	size_t in_len, in_size, in_scanned;
	char *out;
	size_t out_len, out_size, out_sent;
	int fds[VARLINK_FDS_MAX]; /* received and not yet taken */
	unsigned int n_fds;
	int out_fd; /* sent with the next message; -1: none */
};

void varlink_init(struct varlink *v, int fd, size_t max_in);
void varlink_close(struct varlink *v);

/*
 * Read what there is. 1: something came; 0: end of stream; -EAGAIN: nothing now; -EMSGSIZE: the message
 * is longer than max_in, or came with more than VARLINK_FDS_MAX descriptors (they were closed).
 */
int varlink_read(struct varlink *v) must_check;

/*
 * Take the next complete message out of what was read: *ret_text points into the buffer and stays valid until
 * the next varlink_read() or varlink_next(). 1: there is one; 0: not yet.
 */
int varlink_next(struct varlink *v, const char **ret_text, size_t *ret_len) must_check;

/* Move the received descriptors into `fds` and return how many; the caller owns them. */
unsigned int varlink_take_fds(struct varlink *v, int fds[VARLINK_FDS_MAX]);

/* Queue one message (without its NUL, which is added). */
int varlink_queue(struct varlink *v, const char *text, size_t len) must_check;

/* Send what is queued. 1: all gone; 0: the socket is full, try when writable; -errno. */
int varlink_flush(struct varlink *v) must_check;

/* Client: connect to `path`. Fails with one clear line that says what to do. */
int varlink_connect(const char *path, struct varlink *v, struct error *err) must_check;

/*
 * Client: send one call with `n_fds` descriptors. `params` is borrowed and may be NULL. `more`: several replies are wanted.
 */
int varlink_call(struct varlink *v, const char *method, struct json_object *params, bool more,
		 const int *fds, unsigned int n_fds, struct error *err) must_check;

/*
 * Client: block for one reply. *ret_params belongs to the caller; *ret_continues (may be NULL) tells whether
 * another reply follows. An error reply fills `err` (name: the error's last part; msg: its message) and fails with
 * -EREMOTEIO; a lost connection fails with -ECONNRESET.
 */
int varlink_reply(struct varlink *v, struct json_object **ret_params, bool *ret_continues,
		  struct error *err) must_check;

#endif
