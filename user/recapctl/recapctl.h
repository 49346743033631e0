/* SPDX-License-Identifier: MIT */
/*
 * recapctl, the operators' command line. It knows the protocol and nothing of containers; each verb is
 * a file. Names, images and commands come from targets: they are cleaned before they are printed.
 */
#ifndef RECAPCTL_H
#define RECAPCTL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <termios.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/json.h"
#include "common/varlink.h"

#define CTL_SOCKET "/run/recap/io.recap"

/* Exit statuses; see recapctl(1). */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_QUARANTINED = 123,
	CTL_TIMEOUT = 124,
	CTL_REFUSED = 125,
	CTL_NOT_EXECUTABLE = 126,
	CTL_NOT_FOUND = 127,
	CTL_SIGNALLED = 128,
};

struct ctl;

/* `run` gets the arguments from the verb's own name on and returns the exit status. */
struct verb {
	const char *name; /* one word, or two as in "image load" */
	const char *operands;
	const char *summary;
	int (*run)(struct ctl *ctl, int argc, char **argv);
	int usage_status;  /* when the arguments are wrong */
	int failed_status; /* when recapd refuses, or cannot be reached */
};

struct ctl {
	const char *socket;
	const struct verb *verb;
};

/* All of the program but main(). */
int ctl_main(int argc, char **argv);

/* Print "recapctl: message" on standard error, cleaned. Returns the verb's status for it. */
int ctl_fail(const struct ctl *ctl, const struct error *err) must_check;
int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
	__attribute__((format(printf, 2, 3))) must_check;
void ctl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Flush standard output. A failure is reported and gives the verb's failure status, else `status`. */
int ctl_finish(const struct ctl *ctl, int status) must_check;

int verb_list(struct ctl *ctl, int argc, char **argv);
int verb_attach(struct ctl *ctl, int argc, char **argv);
int verb_ps(struct ctl *ctl, int argc, char **argv);
int verb_inspect(struct ctl *ctl, int argc, char **argv);
int verb_stop(struct ctl *ctl, int argc, char **argv);
int verb_logs(struct ctl *ctl, int argc, char **argv);
int verb_image_load(struct ctl *ctl, int argc, char **argv);
int verb_image_list(struct ctl *ctl, int argc, char **argv);
int verb_image_scan(struct ctl *ctl, int argc, char **argv);
int verb_image_trust(struct ctl *ctl, int argc, char **argv);
int verb_image_inspect(struct ctl *ctl, int argc, char **argv);
int verb_image_prune(struct ctl *ctl, int argc, char **argv);
int verb_image_pull(struct ctl *ctl, int argc, char **argv);
int verb_image_rm(struct ctl *ctl, int argc, char **argv);
int verb_policy_check(struct ctl *ctl, int argc, char **argv);
int verb_policy_explain(struct ctl *ctl, int argc, char **argv);
int verb_stats(struct ctl *ctl, int argc, char **argv);
int verb_status(struct ctl *ctl, int argc, char **argv);

/*
 * attach.c: from attach's options and operands to the parameters of Attach. -1: there is nothing more to do, and *ret_status is the
 * exit status.
 */
int attach_parse(struct ctl *ctl, struct json_object *params, int argc, char **argv,
		 int *ret_status) must_check;

/* ---- options.c ------------------------------------------------------------------------------- */

/* An option; a table of them ends with an empty one. `take` gets NULL as the value of a flag. */
struct opt {
	char letter;	  /* 0: none */
	const char *name; /* long name */
	const char *arg;  /* what its value is called, or "a|b|c" for opt_choice(); NULL: a flag */
	const char *help;
	int (*take)(const struct opt *opt, const char *value, struct error *err);
	void *dest;	 /* what `take` fills: see each */
	const char *key; /* the member, where `dest` is a JSON object */
	int64_t min, max;
};

/*
 * Parse options. Returns the index of the first operand; -1 when there is nothing more to do (help was
 * printed, or an error), and then *ret_status is the exit status. `in_order`: stop at the first operand;
 * otherwise the operands are moved behind the options.
 */
int opt_parse(struct ctl *ctl, const struct opt *opts, bool in_order, int argc, char **argv,
	      int *ret_status) must_check;

int opt_flag(const struct opt *opt, const char *value, struct error *err);   /* bool */
int opt_string(const struct opt *opt, const char *value, struct error *err); /* const char * */
/* The rest fills the member `key` of a JSON object: */
int opt_member(const struct opt *opt, const char *value, struct error *err); /* a string */
int opt_true(const struct opt *opt, const char *value, struct error *err);
int opt_choice(const struct opt *opt, const char *value, struct error *err);
int opt_repeat(const struct opt *opt, const char *value, struct error *err); /* one more string */
int opt_commas(const struct opt *opt, const char *value, struct error *err); /* more strings */
int opt_env(const struct opt *opt, const char *value, struct error *err);
int opt_pair(const struct opt *opt, const char *value, struct error *err);   /* KEY=VALUE */
int opt_number(const struct opt *opt, const char *value, struct error *err); /* min to max */
int opt_size(const struct opt *opt, const char *value, struct error *err);   /* bytes */
int opt_milli(const struct opt *opt, const char *value, struct error *err);  /* thousandths */

/* ---- client.c -------------------------------------------------------------------------------- */

/* One call with one reply. `params` is taken over and may be NULL. */
int client_ask(const struct ctl *ctl, const char *method, struct json_object *params,
	       struct json_object **ret, struct error *err) must_check;

/* As client_ask(), and print what the reply's `member` holds as JSON on one line. */
int client_print(const struct ctl *ctl, const char *method, struct json_object *params,
		 const char *member) must_check;

/* A piece of JSON, unparsed: replies can be large, and most of what recapctl does with them is to pass them on. */
struct raw {
	const char *text; /* NULL: there is none */
	size_t len;
};

/* The members `keys` of `object`, in one pass. -EPROTO: it is no JSON object. */
int raw_members(struct raw object, const char *const *keys, struct raw *ret, size_t n) must_check;

/* The `member` of the reply's parameters (all of them when NULL), and whether another reply follows. */
int raw_reply(const char *text, size_t len, const char *member, struct raw *ret,
	      bool *ret_continues, struct error *err) must_check;

/* Write JSON to standard output. What terminals act upon is escaped when it is one. */
void raw_print(struct raw json);

/* ---- text.c ---------------------------------------------------------------------------------- */

/* Replace in place what a terminal would act upon, and what is no UTF-8, by '?'. */
void text_clean(char *s);

/* Print a copy of it, cleaned. */
void text_print(FILE *to, const char *s);

/* All of a file of text that was named on the command line, be it a link or a pipe, of `max` bytes at most. The caller frees it. */
int text_read(const char *path, size_t max, char **ret, struct error *err) must_check;

#define TEXT_AGE_SIZE 24

/* "5s", "3m", "7h", "2d" from an RFC 3339 time in UTC until `now`; "?" when it is none. */
void text_age(const char *since, time_t now, char ret[static TEXT_AGE_SIZE]);

/* ---- table.c --------------------------------------------------------------------------------- */

#define TABLE_COLUMNS_MAX 8

struct table {
	const char *const *head; /* NULL-terminated; a leading '>' aligns the column to the right */
	unsigned int columns;
	char **cells;
	size_t n, size;
};

void table_init(struct table *t, const char *const *head);
void table_free(struct table *t);
#define cleanup_table cleanup(table_free)

/* Add the next cell, cleaned; NULL or "" gives "-". */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *t, FILE *to);

/* ---- terminal.c ------------------------------------------------------------------------------ */

/* The operator's terminal on standard input and the pty that stands in for it in the capsule. */
struct terminal {
	int master; /* -1: no terminal was asked for */
	/* Kept to the end: without it, a tool that closes its streams would hang up its own terminal. */
	int slave;
	bool raw, stdin_open;
	struct termios saved;
	char typed[4096]; /* read and not yet taken by the pty */
	size_t n_typed;
};

void terminal_init(struct terminal *t);

/* Make the pty; `slave` is for the tool. */
int terminal_open(struct terminal *t, struct error *err) must_check;

/* Every key goes to the pty from here on, until terminal_close(). */
int terminal_raw(struct terminal *t, struct error *err) must_check;
void terminal_resize(struct terminal *t);
void terminal_restore(struct terminal *t);
void terminal_close(struct terminal *t);

/* Move what there is, one way each; neither blocks on the pty. */
void terminal_type(struct terminal *t);
void terminal_show(struct terminal *t);

/* ---- relay.c --------------------------------------------------------------------------------- */

#define RELAY_COUNT 3 /* the standard streams, by their descriptors */

struct relay_pipe {
	int ours;   /* -1: there is none, or it is over */
	int theirs; /* the tool's end, until it is passed */
	int error;  /* why the file could not be read or written any more; 0: it could */
};

/* Standard streams that are files, which the tool gets pipes for. */
struct relay {
	struct relay_pipe pipes[RELAY_COUNT];
	char *buf; /* read from standard input; `held` bytes from `held_at` on are for the pipe */
	size_t held, held_at;
	uint64_t fed; /* bytes that the pipe has taken so far */
};

void relay_init(struct relay *r);

/*
 * What to pass to the tool: a standard stream itself, or the end of a pipe if it is a file or block device. The
 * descriptors stay the relay's. -EISDIR, -EBADF: it is nothing to read from or write to.
 */
int relay_open(struct relay *r, int streams[RELAY_COUNT], struct error *err) must_check;

/* The streams were sent. */
void relay_passed(struct relay *r);

/* Wait for this, and copy accordingly. Neither blocks on a pipe. */
void relay_wanted(const struct relay *r, struct pollfd p[RELAY_COUNT]);
void relay_copy(struct relay *r, const struct pollfd p[RELAY_COUNT]);

/* Copy what is left to the files, put standard input's offset back to what was read, and close all. */
void relay_finish(struct relay *r);
void relay_close(struct relay *r);

/* Whether something was lost, with a line on standard error for each stream. */
bool relay_lost(const struct relay *r) must_check;

/* ---- session.c ------------------------------------------------------------------------------- */

/* An attach that recapctl stays with until its end. */
struct session {
	const struct ctl *ctl;
	struct varlink link;
	struct varlink control; /* for signals, while `link` waits for the last reply */
	struct terminal term;
	struct relay relay;
	int signals; /* signalfd(2) */
	char *id;    /* of the capsule, once it runs */
	unsigned int interrupts;
	int pending; /* a signal that recapd has not answered to, or not been told; 0: none */
	unsigned int unanswered; /* calls on `control` */
	int left; /* the signal on which recapctl left the capsule to recapd; 0: none */
	struct json_object *params; /* of the call; borrowed */
	int streams[RELAY_COUNT];   /* that go with it; borrowed */
	char token[33];		    /* by which recapd knows the call again */
	bool again;		    /* the present call is a Rejoin() */
	bool lost;		    /* the connection, for now */
	bool said;		    /* that it is waited for */
	struct error busy;     /* what it said when it had no room for us; code 0: it did not */
	uint64_t connected_ns; /* CLOCK_BOOTTIME of the last connection */
	uint64_t lost_ns;      /* since when none of them lasted */
};

void session_init(struct session *s, const struct ctl *ctl);
void session_close(struct session *s);
#define cleanup_session cleanup(session_close)

/*
 * Attach with the streams of this process, with a pty, or without any, and see the tool to its end, or, detached, to its start: *ret
 * is the record by then. A recapd that is restarted meanwhile is waited for. -EINTR without an error text: `left` is set.
 */
enum session_streams { SESSION_OWN, SESSION_TERMINAL, SESSION_NONE };
int session_run(struct session *s, struct json_object *params, enum session_streams streams,
		struct json_object **ret, struct error *err) must_check;

/* ---- outcome.c ------------------------------------------------------------------------------- */

/* What a final record means: the exit status, with a line on standard error where the tool was not left alone. */
int outcome_status(struct json_object *capsule) must_check;
int outcome_of_error(const struct ctl *ctl, const struct error *err) must_check;

/* A line on standard error for each that keeps the layer. */
void outcome_print_holders(struct json_object *capsule);

/* Whether the capsule was to leave no residue and there is some; then with a line on standard error for each. */
bool outcome_residue(struct json_object *capsule);

/* "PID 123 (nginx) holds descriptor 7", into `buf`. */
void outcome_holder(struct json_object *holder, char *buf, size_t size);

#endif
