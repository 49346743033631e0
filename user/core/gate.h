/* SPDX-License-Identifier: MIT */
/*
 * The gate: which images may be attached. It reads what a worker wrote down (verdicts/<hex>.json, signatures/<hex>.json in
 * the state folder) and compares; it parses nothing that an image holds, and needs no cryptography.
 */
#ifndef RECAP_GATE_H
#define RECAP_GATE_H

#include <stdbool.h>
#include <time.h>

#include "common/error.h"
#include "common/json.h"

#define GATE_FORMAT	    1  /* of a verdict; another one is stale */
#define GATE_KEYS_MAX	    16 /* configured public keys */
#define GATE_SCANNERS_MAX   16
#define GATE_ALLOW_MAX	    4096
#define GATE_CHECKS_MAX	    1024
#define GATE_VERDICT_MAX    (2 << 20) /* bytes of a verdict */
#define GATE_SIGNATURES_MAX 16	      /* of one image */
#define GATE_KEY_TEXT	    61 /* an Ed25519 public key, as the Base64 in its PEM file, and NUL */

enum severity { SEVERITY_IGNORE, SEVERITY_LOW, SEVERITY_MEDIUM, SEVERITY_HIGH, SEVERITY_CRITICAL };

/* -1: it is no severity's name; "ignore" is one. */
int severity_parse(const char *name);
const char *severity_name(enum severity s);

struct gate_config {
	bool scan_required, signatures_required, has_allow;
	int64_t max_age_s; /* 0: verdicts do not age */
	enum severity fail;
	struct json_object *checks; /* check -> severity in place of its own */
	/* What a verdict depends on: {format, osv_dir?, scanners: [...]}. One that was made under another is stale. */
	struct json_object *made_under;
	struct json_object *
		source; /* for recap-scan, scanners read: gate_config_parse() gives the same of it again, but for `allow` */
	char **keys, **allow;
};

/*
 * The member `gate` of the configuration; NULL stands for the defaults, by which nothing is required. `what` names it in
 * errors. Scanners that are named rather than spelled out are read from their files. gate_config_release() it.
 */
int gate_config_parse(struct json_object *gate, const char *what, struct gate_config *ret,
		      struct error *err) must_check;
void gate_config_release(struct gate_config *c);

/* The Ed25519 public key in a PEM file, as its Base64 text. */
int gate_read_key(const char *path, char ret[GATE_KEY_TEXT], struct error *err) must_check;

enum gate_state { GATE_NONE, GATE_OK, GATE_STALE, GATE_REFUSED };

/* What a verdict means under this configuration. `ret_why` (512 bytes) says it for all but GATE_OK. */
enum gate_state gate_judge(const struct gate_config *c, struct json_object *verdict, time_t now,
			   char ret_why[512]);

/* Name for ImageList: "ok", "stale", "refused" or "-". */
const char *gate_state_name(enum gate_state s);

struct gate;

/* `config` and the folders are borrowed. */
int gate_new(const struct gate_config *config, int verdicts, int signatures, struct gate **ret,
	     struct error *err) must_check;
void gate_free(struct gate *g);

/*
 * Whether the image may be attached: 0, or EPERM with the error name ImageRefused. On the attach path: a stat(2) or two when
 * nothing changed.
 */
int gate_check(struct gate *g, const char *digest, struct error *err) must_check;

/* What the last scan says, whether or not one is required. */
enum gate_state gate_scan_state(struct gate *g, const char *digest);

/* Whether a key of the configuration's signed it, whether or not that is required. */
bool gate_is_signed(struct gate *g, const char *digest);

#endif
