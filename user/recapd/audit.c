// SPDX-License-Identifier: MIT
#include "recapd/audit.h"

#include <string.h>
#include <time.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/journal.h"
#include "core/ledger.h"
#include "recapd/audit_line.h"

#define INTERFACE "io.recap."

/* Bytes of others' text (LINE_TEXT_MAX). */
#define TEXT_RESULT_MAX 800
#define TEXT_SPARE_MAX	600 /* of a refusal for which the disk had no room */

/* What an attach needs at most: its line, two for its end (it may be quarantined before), and that it has started. */
#define STARTED_MAX 512
#define ATTACH_OWED (2 * AUDIT_RESULT_MAX + STARTED_MAX)
#define REQUEST_MAX (AUDIT_LINE_MAX + ATTACH_OWED)

#define SPARE \
	(256u << 10) /* set aside for refusals, and for what must be possible on a full disk */
#define SPARE_FLOOR (64u << 10) /* of that: only for what makes room, and for ending capsules */

/* A capsule whose end is the result of a request. */
struct pending {
	struct pending *next;
	uint64_t number;
	char id[16];
	struct caller who;	   /* without its groups */
	bool started, quarantined; /* these lines are written */
};

struct audit {
	struct ledger *ledger;
	struct journal journal;
	struct track *track;
	struct pending *pending;
	uint64_t number; /* of the last request */
	uint64_t
		unrecorded; /* lines for which there was not even spare room; their requests were refused */
	size_t spare; /* promised by the ledger, and not used yet */
	struct {
		uint64_t since_ns;
		unsigned int lines;
		uint64_t more; /* that have no line */
	} refused;	       /* connections */
	bool reopen;
	char problem[512];	  /* why the file cannot grow; empty: it can */
	char reopen_problem[512]; /* why a new one cannot be opened */
};

/* What is asked of the disk. */
enum need {
	NEED_ROOM,  /* nothing new is begun while the disk is full */
	NEED_SPARE, /* it may come out of what was set aside */
	NEED_LAST,  /* all of it */
};

static const struct verb {
	const char *name;
	enum need need;
	bool result; /* success is worth a line */
} verbs[] = {
	{"Attach", NEED_ROOM, true},	  {"LoadImage", NEED_ROOM, true},
	{"PullImage", NEED_ROOM, true},	  {"ScanImage", NEED_ROOM, true},
	{"TrustImage", NEED_ROOM, true},  {"RemoveImage", NEED_LAST, true},
	{"PruneImages", NEED_LAST, true}, {"Stop", NEED_LAST, true},
	{"Signal", NEED_LAST, true},
};

/* Every other method: it looks only. */
static const struct verb looks = {NULL, NEED_SPARE, false};

/* Health: must be told when nothing else can be, and is asked for by machines, all the time. */
static const char *const unrecorded[] = {"Status", "Stats"};

static const struct verb *verb_of(const struct audit_request *q)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs) && q->verb; i++)
		if (!strcmp(verbs[i].name, q->verb))
			return &verbs[i];
	return &looks;
}

static void count(const struct audit *a, const char *counter)
{
	if (a->track)
		track_count(a->track, counter);
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* The same for people and for filters; our own words and numbers only, but for the line, which has no newline inside. */
static void tell_journal(struct audit *a, const struct line *l, const char *text)
{
	struct json_object *who = json_get(l->o, "who", json_type_object);
	struct json_object *capsule = json_get(l->o, "capsule", json_type_object);
	const char *verb = json_get_str(l->o, "verb"), *id = json_get_str(capsule, "id");
	bool failed = json_get(l->o, "error", json_type_object);
	cleanup_free char *fields = NULL, *by = NULL;
	/* The line of a capsule that has started has nobody: that of its request has. */
	int len = who ? asprintf(&by, " by UID %lld (%s)", (long long)json_get_int(who, "uid", -1),
				 json_get_str(who, "command") ?: "?")
		      : 0;
	int r;

	if (len >= 0)
		len = asprintf(
			&fields,
			"MESSAGE=%s%s%s%s%s%s%s\nPRIORITY=%d\nSYSLOG_FACILITY=10\n"
			"SYSLOG_IDENTIFIER=recapd-audit\nRECAP_EVENT=%s\nRECAP_REQUEST=%lld\n"
			"RECAP_VERB=%s\nRECAP_FAILED=%d\nRECAP_UID=%lld\nRECAP_CAPSULE=%s\n"
			"RECAP_AUDIT=%s\n",
			l->event, verb ? " " : "", verb ? verb : "",
			failed ? " refused or failed" : "", by ?: "", id ? ", capsule " : "",
			id ? id : "", failed ? 5 : 6, l->event,
			(long long)json_get_int(l->o, "request", 0), verb ? verb : "", failed,
			(long long)json_get_int(who, "uid", -1), id ? id : "", text);
	r = len < 0 ? -ENOMEM : journal_send(&a->journal, fields, len);

	if (r < 0 && a->journal.there)
		count(a, "audit_journal_lost");
}

/* Write a line. Its room was promised: `promised` bytes, of which the rest is let go. */
static int write_line(struct audit *a, struct line *l, const char *text, size_t len,
		      size_t promised)
{
	int r = ledger_append(a->ledger, text, len);

	tell_journal(a, l, text);
	if (promised > len + 1)
		ledger_release(a->ledger, promised - len - 1);
	return r;
}

/* What could not be told at its time is owned up to as soon as there is room. */
static void tell_gap(struct audit *a)
{
	cleanup(line_free) struct line l = line_new("unrecorded", 0, 0);
	const char *text;
	size_t len;

	json_put_int(l.o, "count", a->unrecorded);
	text = line_text(&l, &len);
	if (ledger_reserve(a->ledger, len + 1) == 0 && write_line(a, &l, text, len, len + 1) == 0)
		a->unrecorded = 0;
}

static void try_reopen(struct audit *a)
{
	struct error err;

	if (!a->reopen)
		return;
	a->reopen = ledger_reopen(a->ledger, &err) < 0;
	if (a->reopen && strcmp(a->reopen_problem, err.msg))
		log_warn("the audit file cannot be opened anew, the old one stays in use: %s",
			 err.msg);
	snprintf(a->reopen_problem, sizeof(a->reopen_problem), "%s", a->reopen ? err.msg : "");
}

static void set_problem(struct audit *a, int error)
{
	char text[sizeof(a->problem)];

	if (!error) {
		a->problem[0] = '\0';
		return;
	}
	snprintf(
		text, sizeof(text),
		"%.300s cannot grow (%s), so nothing is begun that must be recorded there; make room",
		ledger_path(a->ledger), strerror(error));
	if (strcmp(text, a->problem))
		log_error("%s", text);
	strcpy(a->problem, text);
}

/* Make whole again what was set aside. 0: it is, and there is room for any request beside it. */
static int refill(struct audit *a)
{
	int r = ledger_reserve(a->ledger, SPARE - a->spare + REQUEST_MAX);

	set_problem(a, -r);
	if (r < 0)
		return r;
	ledger_release(a->ledger, REQUEST_MAX);
	a->spare = SPARE;
	if (a->unrecorded)
		tell_gap(a);
	return 0;
}

static int take_room(struct audit *a, size_t bytes, enum need need)
{
	size_t floor = need == NEED_SPARE ? SPARE_FLOOR : 0;
	int r;

	try_reopen(a);
	r = refill(a);
	if (r == 0 || need != NEED_ROOM)
		r = ledger_reserve(a->ledger, bytes);
	if (r == 0)
		return 0;
	if (need == NEED_ROOM || a->spare < bytes + floor)
		return r;
	a->spare -= bytes;
	return 0;
}

/* ---- requests ---------------------------------------------------------------------------------- */

void audit_begin(struct audit *a, struct audit_request *q, const char *method, bool known)
{
	const char *verb =
		strncmp(method, INTERFACE, strlen(INTERFACE)) ? NULL : strrchr(method, '.') + 1;

	*q = (struct audit_request){.verb = known ? verb : NULL};
	if (known && !verb)
		return; /* the service's own: what Varlink tells anybody */
	for (size_t i = 0; i < ARRAY_SIZE(unrecorded) && q->verb; i++)
		if (!strcmp(unrecorded[i], q->verb))
			return;
	q->number = ++a->number;
}

static size_t owed(const struct audit_request *q)
{
	return q->verb && !strcmp(q->verb, "Attach") ? ATTACH_OWED : AUDIT_RESULT_MAX;
}

static int cannot(struct audit *a, int r, struct error *err)
{
	count(a, "audit_failed");
	return error_named(
		err, -r, "AuditFailed",
		"%.200s cannot take the line that this request needs (%s): make room, see "
		"`recapctl status`",
		ledger_path(a->ledger), strerror(-r));
}

int audit_allow(struct audit *a, struct audit_request *q, const struct caller *who,
		const struct audit_what *what, struct error *err)
{
	cleanup(line_free) struct line l = {};
	const char *text;
	size_t len;
	int r;

	if (!q->number)
		return 0;
	l = line_request(q, who, what, NULL, LINE_TEXT_MAX);
	text = line_text(&l, &len);
	r = take_room(a, len + 1 + owed(q), verb_of(q)->need);
	if (r == 0) {
		r = write_line(a, &l, text, len, len + 1);
		if (r < 0)
			ledger_release(a->ledger, owed(q));
	}
	q->allowed = r == 0;
	return r < 0 ? cannot(a, r, err) : 0;
}

static void write_refusal(struct audit *a, const struct audit_request *q, const struct caller *who,
			  const struct audit_what *what, const struct error *err)
{
	cleanup(line_free) struct line l =
		line_request(q, who, what, err, a->problem[0] ? TEXT_SPARE_MAX : LINE_TEXT_MAX);
	const char *text;
	size_t len;

	text = line_text(&l, &len);
	if (take_room(a, len + 1, NEED_SPARE) == 0) {
		if (write_line(a, &l, text, len, len + 1) == 0)
			return;
	} else {
		tell_journal(a, &l, text);
	}
	a->unrecorded++;
	count(a, "audit_failed");
}

/* ---- results ----------------------------------------------------------------------------------- */

/* A line whose room was promised. */
static void write_result(struct audit *a, struct line *l, size_t promised)
{
	const char *text;
	size_t len;

	text = line_text(l, &len);
	/* It fits, see the limits above; one that does not all the same may not take what others were promised. */
	if ((len + 1 > promised && ledger_reserve(a->ledger, len + 1 - promised) < 0) ||
	    write_line(a, l, text, len, promised) < 0) {
		log_error("%s does not take a line that room was reserved for",
			  ledger_path(a->ledger));
		a->unrecorded++;
		count(a, "audit_failed");
	}
}

static void write_end(struct audit *a, const struct audit_request *q, const struct caller *who,
		      struct json_object *reply, const struct error *err)
{
	struct json_object *capsule = json_get(reply, "capsule", json_type_object);
	cleanup(line_free) struct line l = {};

	if (!err && !verb_of(q)->result) {
		ledger_release(a->ledger, owed(q));
		return;
	}
	l = line_new("result", q->number, TEXT_RESULT_MAX);
	line_put_who(&l, who);
	json_put_str(l.o, "verb", q->verb);
	/* Some verbs are decided about once it is known what they are about: after the request's line. */
	if (err && !strcmp(err->name, "Refused"))
		line_put_rule(&l, q);
	if (err)
		line_put_error(&l, err);
	else if (capsule)
		line_put_capsule(&l, capsule);
	else
		line_put_images(&l, reply);
	write_result(a, &l, owed(q));
}

void audit_end(struct audit *a, struct audit_request *q, const struct caller *who,
	       const struct audit_what *what, struct json_object *reply, const struct error *err)
{
	static const struct audit_what nothing;

	if (!q->number)
		return;
	if (q->allowed)
		write_end(a, q, who, reply, err);
	else if (err)
		write_refusal(a, q, who, what ? what : &nothing, err);
	q->number = 0;
}

/* ---- capsules ---------------------------------------------------------------------------------- */

static struct pending *pending_new(struct audit *a, const char *id, uint64_t number)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		abort(); /* as json-c's, which is needed for every line */
	p->number = number;
	snprintf(p->id, sizeof(p->id), "%s", id);
	p->next = a->pending;
	a->pending = p;
	return p;
}

void audit_capsule_begin(struct audit *a, struct audit_request *q, const struct caller *who,
			 const char *id)
{
	struct pending *p = pending_new(a, id, q->number);

	p->who = *who;
	p->who.groups = NULL;
	q->number = 0;
}

/* A capsule's result, of its end or of its quarantine. */
struct wanted {
	const char *id;
	bool end;
};

static bool is_wanted(const char *line, size_t len, void *arg)
{
	cleanup_json struct json_object *o = NULL;
	const struct wanted *w = arg;
	const char *event, *id, *state;

	if (!memmem(line, len, w->id, strlen(w->id)) ||
	    json_parse(line, len, "audit", &o, NULL) < 0)
		return false;
	event = json_get_str(o, "event");
	id = json_get_str(json_get(o, "capsule", json_type_object), "id");
	state = json_get_str(json_get(o, "capsule", json_type_object), "state");
	return event && !strcmp(event, "result") && id && !strcmp(id, w->id) && state &&
	       w->end == !!strcmp(state, "quarantined");
}

/*
 * Whether a recapd that died had written that which it was about to. Only the line that it died over is in doubt: a file that was
 * renamed since then has those of a quarantine.
 */
static bool is_written(struct audit *a, const char *id, bool end, const struct ledger_place *at)
{
	struct wanted w = {id, end};
	int r = at->file ? ledger_find(a->ledger, at, is_wanted, &w) : 0;

	return end ? r > 0 : r != 0;
}

void audit_capsule_adopt(struct audit *a, struct json_object *record,
			 const struct ledger_place at[2])
{
	struct json_object *who = json_get(record, "caller", json_type_object);
	const char *id = json_get_str(record, "id") ?: "";
	struct pending *p;

	if (is_written(a, id, true, &at[true]))
		return;
	p = pending_new(a, id, (uint64_t)json_get_int(record, "request", 0));
	p->quarantined = is_written(a, id, false, &at[false]);
	p->who.uid = (uid_t)json_get_int(who, "uid", -1);
	p->who.gid = (gid_t)json_get_int(who, "gid", -1);
	p->who.pid = (pid_t)json_get_int(who, "pid", 0);
	snprintf(p->who.command, sizeof(p->who.command), "%s", json_get_str(who, "command") ?: "?");
	/* What was reserved went with the recapd that had reserved it. A disk that is full by now is owned up to when it comes to that. */
	if (ledger_reserve(a->ledger, ATTACH_OWED - (p->quarantined ? AUDIT_RESULT_MAX : 0)) < 0)
		log_warn("there is no room in the audit file for the end of capsule %s", p->id);
}

static struct pending **find_pending(struct audit *a, const char *id)
{
	struct pending **p = &a->pending;

	while (*p && strcmp((*p)->id, id))
		p = &(*p)->next;
	return p;
}

void audit_capsule(struct audit *a, struct json_object *record, const struct error *err, bool last,
		   struct ledger_place at[2])
{
	struct pending **link = find_pending(a, json_get_str(record, "id")), *p = *link;
	cleanup(line_free) struct line l = {};

	if (!p || (!last && p->quarantined))
		return;
	l = line_new("result", p->number, TEXT_RESULT_MAX);
	line_put_who(&l, &p->who);
	json_put_str(l.o, "verb", "Attach");
	if (err)
		line_put_error(&l, err);
	line_put_capsule(&l, record);
	at[last] = ledger_here(a->ledger);
	write_result(a, &l, AUDIT_RESULT_MAX);
	if (!last) {
		p->quarantined = true;
		return;
	}
	if (!p->quarantined)
		ledger_release(a->ledger, AUDIT_RESULT_MAX);
	if (!p->started)
		ledger_release(a->ledger, STARTED_MAX);
	*link = p->next;
	free(p);
}

void audit_capsule_started(struct audit *a, const char *id)
{
	struct pending *p = *find_pending(a, id);
	cleanup(line_free) struct line l = {};

	if (!p || p->started)
		return;
	l = line_new("started", p->number, 0);
	line_put_id(&l, id);
	write_result(a, &l, STARTED_MAX);
	p->started = true;
}

void audit_orphan(struct audit *a, uint64_t id)
{
	cleanup(line_free) struct line l = line_new("result", 0, TEXT_RESULT_MAX);
	struct error err = {};
	char name[16];
	const char *text;
	size_t len;

	snprintf(name, sizeof(name), "%012llx", (unsigned long long)id);
	error_set(&err, EOWNERDEAD, "recapd died; the next one ended the capsule");
	line_put_error(&l, &err);
	line_put_id(&l, name);
	text = line_text(&l, &len);
	if (take_room(a, len + 1, NEED_LAST) < 0 || write_line(a, &l, text, len, len + 1) < 0)
		a->unrecorded++;
}

/* Anybody may connect, and be refused: were each a line, anybody could fill the disk. What is more than this in this time is counted. */
#define REFUSED_LINES 60
#define REFUSED_NS    60000000000ull

static bool write_spare(struct audit *a, struct line *l)
{
	const char *text;
	size_t len;

	text = line_text(l, &len);
	return take_room(a, len + 1, NEED_SPARE) == 0 && write_line(a, l, text, len, len + 1) == 0;
}

static void tell_more_refused(struct audit *a)
{
	cleanup(line_free) struct line l = {};

	if (!a->refused.more)
		return;
	l = line_new("connection", 0, 0);
	json_put_bool(l.o, "allowed", false);
	json_put_int(l.o, "more", a->refused.more);
	if (write_spare(a, &l))
		a->refused.more = 0;
}

static void refused_again(struct audit *a)
{
	uint64_t now = clock_boot_ns();

	if (a->refused.since_ns && now - a->refused.since_ns < REFUSED_NS)
		return;
	tell_more_refused(a);
	a->refused.since_ns = now;
	a->refused.lines = 0;
}

void audit_connection(struct audit *a, const struct caller *who, const struct error *err)
{
	cleanup(line_free) struct line l = {};

	refused_again(a);
	if (a->refused.lines == REFUSED_LINES) {
		a->refused.more++;
		return;
	}
	a->refused.lines++;
	l = line_new("connection", 0, TEXT_SPARE_MAX);
	line_put_who(&l, who);
	json_put_bool(l.o, "allowed", false);
	line_put_error(&l, err);
	if (write_spare(a, &l))
		return;
	a->unrecorded++;
	count(a, "audit_failed");
}

/* ---- the whole --------------------------------------------------------------------------------- */

int audit_open(const char *path, const char *journal, struct track *track, struct audit **ret,
	       struct error *err)
{
	struct audit *a = calloc(1, sizeof(*a));
	struct timespec now;
	int r;

	if (!a)
		return error_set(err, ENOMEM, "out of memory");
	a->track = track;
	a->journal.fd = -1;
	/* Above those of any recapd before us, as long as the clock goes forward. */
	clock_gettime(CLOCK_REALTIME, &now);
	a->number = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
	r = ledger_open(path, &a->ledger, err);
	if (r == 0)
		r = journal_open(journal, &a->journal, err);
	if (r < 0) {
		audit_close(a);
		return r;
	}
	refill(a);
	*ret = a;
	return 0;
}

void audit_close(struct audit *a)
{
	struct pending *next;

	if (!a)
		return;
	if (a->ledger)
		tell_more_refused(a);
	for (; a->pending; a->pending = next) {
		next = a->pending->next;
		free(a->pending);
	}
	ledger_close(a->ledger);
	journal_close(&a->journal);
	free(a);
}

void audit_reopen(struct audit *a)
{
	a->reopen = true;
	try_reopen(a);
}

struct json_object *audit_json(const struct audit *a)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "file", ledger_path(a->ledger));
	json_put_bool(o, "journal", a->journal.there);
	return o;
}

static void add_problem(struct json_object *problems, const char *what, const char *text)
{
	char line[640];

	snprintf(line, sizeof(line), "%s%s", what, text);
	json_object_array_add(problems, json_object_new_string(line));
}

void audit_problems(struct audit *a, struct json_object *problems)
{
	try_reopen(a);
	refill(a);
	refused_again(a);
	if (a->problem[0])
		add_problem(problems, "the audit file ", a->problem);
	if (a->reopen_problem[0])
		add_problem(problems,
			    "the audit file cannot be opened anew, the old one stays in use: ",
			    a->reopen_problem);
	if (a->unrecorded) {
		char n[96];

		snprintf(n, sizeof(n), "%llu requests that were refused are not recorded",
			 (unsigned long long)a->unrecorded);
		add_problem(problems, "", n);
	}
}
