/* SPDX-License-Identifier: MIT */
/* The records of finished capsules: the last HISTORY_MAX in memory, more in a file of JSON lines. */
#ifndef RECAP_HISTORY_H
#define RECAP_HISTORY_H

#include "common/error.h"
#include "common/json.h"

#define HISTORY_MAX 256

struct history;

/*
 * Keep history in `state_dir` (a descriptor that stays the caller's): history.jsonl, and history.jsonl.1 from before
 * it grew past 4 MiB. Logs of detached capsules are in `log_dir`; that of a record goes with it.
 */
int history_open(int state_dir, int log_dir, struct history **ret, struct error *err) must_check;
void history_close(struct history *h);

/* Remove the logs of capsules that are neither in the history nor, as `keep` says, alive: their record was lost. */
void history_sweep_logs(struct history *h, bool (*keep)(const char *id, void *arg), void *arg);

/* Add a finished capsule's record; a disk that is full costs the file its line, never the capsule its end. */
void history_add(struct history *h, struct json_object *record);

/*
 * The record with this ID, or start of one, as JSON text, and its whole ID; both borrowed, both may be NULL. -ENOENT: there is
 * none; -ENOTUNIQ: there are several.
 */
int history_find(struct history *h, const char *id, const char **ret_id,
		 const char **ret_text) must_check;

/*
 * The text of the newest record with that token (letters and digits) of a capsule of `uid`'s, also from the files; the caller frees
 * *ret. -ENOENT: there is none. Any other error: there may be one (-ENOMEM, read(2)).
 */
int history_find_token(struct history *h, const char *token, uint32_t uid, char **ret) must_check;

/* Call `fn` with each record's text, newest first. */
void history_each(struct history *h, void (*fn)(const char *text, void *arg), void *arg);

#endif
