// SPDX-License-Identifier: MIT
#include "core/gate.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/digest.h"

#define CACHE_MAX	  512 /* digests that are remembered */
#define SIGNATURES_MAX	  (64 << 10)
#define CLOCK_TOLERANCE_S 60

/* ---- a verdict's meaning ----------------------------------------------------------------------- */

/* "osv:CVE-2024-1" is overridden by that name, or by "osv". */
static enum severity effective(const struct gate_config *c, const char *check, const char *own)
{
	int s = severity_parse(own);
	char stem[64];

	if (s < 0)
		s = SEVERITY_CRITICAL; /* a verdict that makes no sense does not pass */
	if (!c->checks || !check)
		return s;
	snprintf(stem, sizeof(stem), "%.*s", (int)strcspn(check, ":"), check);
	own = json_get_str(c->checks, check) ?: json_get_str(c->checks, stem);
	return own ? (enum severity)severity_parse(own) : (enum severity)s;
}

/* How many findings count, and the worst of them. */
struct tally {
	enum severity worst;
	struct json_object *finding; /* the worst that is listed */
	int64_t n;
};

static void count(struct tally *t, const struct gate_config *c, enum severity s, int64_t n,
		  struct json_object *finding)
{
	if (s < c->fail || n <= 0)
		return;
	t->n += n;
	if (s > t->worst) {
		t->worst = s;
		t->finding = finding;
	}
}

/* Of which findings a check stands for is not known any more: it may be the one that the configuration takes most seriously. */
static enum severity effective_of_any(const struct gate_config *c, const char *stem,
				      const char *own)
{
	enum severity worst = effective(c, stem, own);
	size_t len = strlen(stem);

	if (!c->checks)
		return worst;
	json_object_object_foreach (c->checks, check, value) {
		int s = severity_parse(json_object_get_string(value));

		if (!strncmp(check, stem, len) && check[len] == ':' && s > (int)worst)
			worst = s;
	}
	return worst;
}

/* Findings that were too many to be listed: {check: {severity: count}}. */
static void count_more(struct tally *t, const struct gate_config *c, struct json_object *more)
{
	if (!more)
		return;
	json_object_object_foreach (more, check, counts) {
		if (!json_object_is_type(counts, json_type_object))
			continue;
		json_object_object_foreach (counts, name, n) {
			count(t, c, effective_of_any(c, check, name), json_object_get_int64(n),
			      NULL);
		}
	}
}

static struct tally tally(const struct gate_config *c, struct json_object *verdict)
{
	struct json_object *list = json_get(verdict, "findings", json_type_array);
	struct tally t = {};

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		count(&t, c, effective(c, json_get_str(f, "check"), json_get_str(f, "severity")), 1,
		      f);
	}
	count_more(&t, c, json_get(verdict, "more", json_type_object));
	return t;
}

static void describe(const struct tally *t, char why[512])
{
	const char *path = json_get_str(t->finding, "path");
	char rest[48] = "";

	if (t->n > 1)
		snprintf(rest, sizeof(rest), ", and %lld more", (long long)t->n - 1);
	snprintf(why, 512, "its scan found: %.64s (%s)%s%.100s: %.120s%s",
		 json_get_str(t->finding, "check") ?: "findings", severity_name(t->worst),
		 path ? " in " : "", path ?: "",
		 json_get_str(t->finding, "message") ?: "too many to be listed", rest);
}

static bool is_stale(const struct gate_config *c, struct json_object *verdict, time_t now,
		     char why[512])
{
	struct json_object *under = json_get(verdict, "made_under", json_type_object);
	int64_t at = json_get_int(verdict, "scanned_unix", 0);

	if (!under || !json_object_equal(under, c->made_under)) {
		snprintf(why, 512,
			 "its scan was made under another configuration: scan it again with "
			 "`recapctl image scan`");
		return true;
	}
	if (!c->max_age_s || (now - at <= c->max_age_s && at <= now + CLOCK_TOLERANCE_S))
		return false;
	snprintf(why, 512,
		 "its scan of %.32s is older than %lld s: scan it again with `recapctl image scan`",
		 json_get_str(verdict, "scanned_at") ?: "an unknown time", (long long)c->max_age_s);
	return true;
}

enum gate_state gate_judge(const struct gate_config *c, struct json_object *verdict, time_t now,
			   char ret_why[512])
{
	const char *result = json_get_str(verdict, "result");
	struct tally t;

	if (is_stale(c, verdict, now, ret_why))
		return GATE_STALE;
	if (!result || strcmp(result, "complete") ||
	    !json_get(verdict, "findings", json_type_array)) {
		snprintf(ret_why, 512, "its scan failed: %.300s",
			 json_get_str(verdict, "error") ?: "the verdict is damaged");
		return GATE_REFUSED;
	}
	t = tally(c, verdict);
	if (!t.n)
		return GATE_OK;
	describe(&t, ret_why);
	return GATE_REFUSED;
}

const char *gate_state_name(enum gate_state s)
{
	static const char *const names[] = {"-", "ok", "stale", "refused"};

	return names[s];
}

/* ---- what was read already --------------------------------------------------------------------- */

/* A file as it was when it was read. */
struct seen {
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

static struct seen look(int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return (struct seen){};
	return (struct seen){.there = true,
			     .dev = st.st_dev,
			     .ino = st.st_ino,
			     .size = st.st_size,
			     .mtime = st.st_mtim,
			     .ctime = st.st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct seen *a, const struct seen *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

struct entry {
	char hex[65];
	struct seen verdict, signatures;
	enum gate_state state;
	int64_t scanned;    /* time of the scan, as far as it may still age */
	char *why;	    /* NULL: nothing to say */
	uint16_t signed_by; /* configured keys, by bit, as they were at `keys_turn` */
	unsigned int keys_turn;
};

struct key {
	bool tried;
	struct seen seen;
	char text[GATE_KEY_TEXT]; /* empty: there is none to be had */
};

struct gate {
	const struct gate_config *config;
	int verdicts, signatures;
	struct key keys[GATE_KEYS_MAX];
	unsigned int keys_turn; /* counts changes of the keys */
	struct entry *entries;
	size_t n, next;
};

int gate_new(const struct gate_config *config, int verdicts, int signatures, struct gate **ret,
	     struct error *err)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return error_set(err, ENOMEM, "out of memory");
	*g = (struct gate){.config = config, .verdicts = verdicts, .signatures = signatures};
	g->keys_turn = 1;
	*ret = g;
	return 0;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++)
		free(g->entries[i].why);
	free(g->entries);
	free(g);
}

static struct entry *find_entry(struct gate *g, const char *hex)
{
	struct entry *e;

	for (size_t i = 0; i < g->n; i++)
		if (!memcmp(g->entries[i].hex, hex, 64))
			return &g->entries[i];
	if (g->n < CACHE_MAX) {
		e = reallocarray(g->entries, g->n + 1, sizeof(*e));
		if (!e)
			return NULL;
		g->entries = e;
		e += g->n++;
	} else {
		e = &g->entries[g->next++ % CACHE_MAX];
		free(e->why);
	}
	*e = (struct entry){};
	memcpy(e->hex, hex, 64);
	return e;
}

static int read_document(int dirfd, const char *name, size_t max, const char *digest,
			 struct json_object **ret)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *text = NULL;
	const char *own;
	size_t len;
	int r = fd_read_file(dirfd, name, max, &text, &len);

	if (r == 0)
		r = json_parse(text, len, name, &o, NULL);
	if (r < 0)
		return r;
	own = json_get_str(o, "digest");
	if (!own || strcmp(own, digest))
		return -EUCLEAN;
	*ret = TAKE_PTR(o);
	return 0;
}

static void say(struct entry *e, const char *why)
{
	free(e->why);
	e->why = why ? strdup(why) : NULL;
}

static void read_verdict(struct gate *g, struct entry *e, const char *name, const char *digest)
{
	cleanup_json struct json_object *verdict = NULL;
	char why[512] = "";
	int r = read_document(g->verdicts, name, GATE_VERDICT_MAX, digest, &verdict);

	if (r == 0) {
		e->scanned = json_get_int(verdict, "scanned_unix", 0);
		e->state = gate_judge(g->config, verdict, time(NULL), why);
	} else {
		snprintf(why, sizeof(why), "its verdict cannot be read (%s): scan it again",
			 strerror(-r));
		e->state = GATE_REFUSED;
	}
	say(e, e->state == GATE_OK ? NULL : why);
}

/* A verdict that was good when it was read grows old meanwhile. */
static bool has_aged(const struct gate *g, const struct entry *e)
{
	time_t now = time(NULL);
	int64_t max = g->config->max_age_s;

	return max && (now - e->scanned > max || e->scanned > now + CLOCK_TOLERANCE_S);
}

static void refresh_verdict(struct gate *g, struct entry *e, const char *digest)
{
	char name[80];
	struct seen now;

	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	now = look(g->verdicts, name);
	if (!now.there) {
		e->state = GATE_NONE;
		say(e, "it was never scanned: run `recapctl image scan`");
	} else if (!same(&now, &e->verdict) || has_aged(g, e)) {
		read_verdict(g, e, name, digest);
	}
	e->verdict = now;
}

/* ---- signatures -------------------------------------------------------------------------------- */

/* The keys as their files have them now. One that cannot be read counts for nothing. */
static void refresh_keys(struct gate *g)
{
	for (size_t i = 0; i < GATE_KEYS_MAX && g->config->keys[i]; i++) {
		struct key *k = &g->keys[i];
		struct seen now = look(AT_FDCWD, g->config->keys[i]);
		struct error err = {};

		if (k->tried && same(&now, &k->seen))
			continue;
		k->tried = true;
		k->seen = now;
		k->text[0] = '\0';
		g->keys_turn++;
		if (gate_read_key(g->config->keys[i], k->text, &err) < 0)
			log_warn("ignoring a key of the gate: %s", err.msg);
	}
}

/*
 * A worker verified each signature with the key that stands beside it. That holds for ever, whatever the configuration; what
 * may change is which keys are trusted.
 */
static uint16_t trusted_keys(struct gate *g, struct json_object *doc)
{
	struct json_object *list = json_get(doc, "signatures", json_type_array);
	uint16_t found = 0;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *key = json_get_str(json_object_array_get_idx(list, i), "key");

		for (size_t j = 0; key && j < GATE_KEYS_MAX && g->config->keys[j]; j++)
			if (g->keys[j].text[0] && !strcmp(key, g->keys[j].text))
				found |= 1u << j;
	}
	return found;
}

static void refresh_signatures(struct gate *g, struct entry *e, const char *digest)
{
	cleanup_json struct json_object *doc = NULL;
	char name[80];
	struct seen now;

	refresh_keys(g);
	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	now = look(g->signatures, name);
	if (same(&now, &e->signatures) && e->keys_turn == g->keys_turn)
		return;
	e->signatures = now;
	e->keys_turn = g->keys_turn;
	e->signed_by = 0;
	if (read_document(g->signatures, name, SIGNATURES_MAX, digest, &doc) == 0)
		e->signed_by = trusted_keys(g, doc);
}

/* ---- the question ------------------------------------------------------------------------------ */

static int refuse(const char *digest, const char *why, struct error *err)
{
	return error_named(err, EPERM, "ImageRefused", "image %.19s is refused: %s", digest, why);
}

static bool is_listed(char *const *list, const char *digest)
{
	for (; *list; list++)
		if (!strcmp(*list, digest))
			return true;
	return false;
}

int gate_check(struct gate *g, const char *digest, struct error *err)
{
	const struct gate_config *c = g->config;
	struct entry *e;

	if (!c->scan_required && !c->signatures_required && !c->has_allow)
		return 0;
	if (c->has_allow && !is_listed(c->allow, digest))
		return refuse(digest, "the configuration's gate.allow does not list it", err);
	e = find_entry(g, digest_hex(digest));
	if (!e)
		return error_set(err, ENOMEM, "out of memory");
	if (c->signatures_required) {
		refresh_signatures(g, e, digest);
		if (!e->signatures.there)
			return refuse(digest,
				      "it has no signature: bring one with `recapctl image trust`",
				      err);
		if (!e->signed_by)
			return refuse(digest,
				      "none of its signatures is by a key that gate.keys names: "
				      "bring one with `recapctl image trust`",
				      err);
	}
	if (!c->scan_required)
		return 0;
	refresh_verdict(g, e, digest);
	return e->state == GATE_OK ? 0 : refuse(digest, e->why ?: "out of memory", err);
}

enum gate_state gate_scan_state(struct gate *g, const char *digest)
{
	struct entry *e = find_entry(g, digest_hex(digest));

	if (!e)
		return GATE_NONE;
	refresh_verdict(g, e, digest);
	return e->state;
}

bool gate_is_signed(struct gate *g, const char *digest)
{
	struct entry *e = find_entry(g, digest_hex(digest));

	if (!e)
		return false;
	refresh_signatures(g, e, digest);
	return e->signatures.there && e->signed_by;
}
