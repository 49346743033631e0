/* SPDX-License-Identifier: MIT */
/*
 * A file of lines that only grows, whose room is reserved before it is needed: what was promised can be written on a full
 * disk. fallocate(2) with FALLOC_FL_KEEP_SIZE has the blocks behind the file's end, so nothing is ever to be cut off, and
 * the file may be append-only (chattr +a). One process at a time has it (flock(2)).
 */
#ifndef RECAP_LEDGER_H
#define RECAP_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct ledger;

/*
 * Open or make `path` (absolute), whose folder is made when absent. Folder and file must be this user's, writable by nobody else, and
 * the file no link. A last line that a crash left without its end is taken off; where the file is append-only, it is ended, and
 * the line {"event":"torn"} follows. A full disk is no failure.
 */
int ledger_open(const char *path, struct ledger **ret, struct error *err) must_check;
void ledger_close(struct ledger *l);

/*
 * The file was renamed: go on in a new one of that name, with all that was promised. On failure the old one stays in use, and
 * this may be tried again.
 */
int ledger_reopen(struct ledger *l, struct error *err) must_check;

/* Promise room for `bytes` more. 0, or -ENOSPC and the like. */
int ledger_reserve(struct ledger *l, size_t bytes) must_check;

/* A place in such a file, by which the next process that has it can tell whether a line was written there. Of no file: none. */
struct ledger_place {
	uint64_t file, at;
};

/* Where the next line goes. */
struct ledger_place ledger_here(const struct ledger *l);

/*
 * Call `fn` with each whole line (without its newline, and not for keeping) from a place on until it returns true. 1: it has; 0:
 * there is no such line within LEDGER_FIND_MAX bytes; -ESTALE: the file is another by now.
 */
#define LEDGER_FIND_MAX (4u << 20)
int ledger_find(const struct ledger *l, const struct ledger_place *from,
		bool (*fn)(const char *line, size_t len, void *arg), void *arg) must_check;

/* So much of what was promised is not needed. */
void ledger_release(struct ledger *l, size_t bytes);

/*
 * Append a line of `len` bytes (without its newline, which is added): len + 1 bytes of what was promised. 0, or -errno, and then
 * nothing of it is in the file.
 */
int ledger_append(struct ledger *l, const char *text, size_t len) must_check;

const char *ledger_path(const struct ledger *l);

#endif
