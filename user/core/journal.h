/* SPDX-License-Identifier: MIT */
/* Entries for systemd's journal, in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram each. */
#ifndef RECAP_JOURNAL_H
#define RECAP_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "common/error.h"

struct journal {
	int fd;
	struct sockaddr_un to;
	bool there; /* somebody listened when last something was sent */
};

/* `path`: the socket, where nobody needs to listen yet. */
int journal_open(const char *path, struct journal *ret, struct error *err) must_check;
void journal_close(struct journal *j);

/*
 * Send one entry: lines of NAME=VALUE, each ended by a newline, with none inside. Never waits. 0, or -errno: -EAGAIN when the journal
 * does not keep up, -ENOENT or -ECONNREFUSED where there is none.
 */
int journal_send(struct journal *j, const char *fields, size_t len) must_check;

#endif
