/* SPDX-License-Identifier: MIT */
/* What recap-scan does for recapd: verdicts and signatures, into the state folder. */
#ifndef RECAP_SCAN_H
#define RECAP_SCAN_H

#include "core/gate.h"
#include "core/image.h"
#include "scan/findings.h"
#include "scan/jail.h"

#define SCAN_IMAGE_AT  "/image" /* where a jail has the image's root */
#define SCAN_ANALYSE_S 1200
#define SCAN_TOTAL_S \
	1700 /* less than recapd gives a worker: that it took too long must be written down */

/*
 * What scans share. `root` is where the image's merged layers are mounted, read-only, in our own mount namespace; `anchor` an
 * empty folder there, for jails.
 */
struct scan {
	const struct gate_config *gate;
	const char *state_dir, *ref, *digest;
	char root[4096], anchor[4096];
	uint64_t deadline; /* of the whole, by clock_boot_ns() */
	struct findings findings;
	struct json_object *scanners; /* [{name, version, findings}] */
	struct json_object *sbom;     /* NULL: none was made */
	int64_t packages;
};

/*
 * Scan an image and write its verdict down. *ret is {ref, digest, state, why?, verdict}. A scan that fails is a verdict, too:
 * what fails the call is an image that is not there, or a verdict that cannot be written. Enters a mount namespace of its own:
 * for a process that does nothing else. The SBOM goes to `sbom_fd` unless that is -1.
 */
int scan_image(struct image_store *store, const char *state_dir, const char *ref,
	       const struct gate_config *gate, int sbom_fd, struct json_object **ret,
	       struct error *err) must_check;

/* Mount the image's layers, merged, and fill `s->root` and `s->anchor`. */
int scan_mount(struct scan *s, const struct image *image, int layers, struct error *err) must_check;

/* The built-in checks, the inventory and the OSV records, in a jail. `layers`: see check_record(). */
int scan_analyse(struct scan *s, struct json_object *record, struct json_object *layers,
		 struct error *err) must_check;

/* `wanted` seconds, or what is left until the deadline. */
int64_t scan_seconds(const struct scan *s, int64_t wanted);

/* One of the configured scanners. */
int scan_run_scanner(struct scan *s, struct json_object *scanner, struct error *err) must_check;

/* Take the findings over that a jail's process wrote as {findings, more}. */
int scan_take_findings(struct scan *s, struct json_object *doc, struct error *err) must_check;

/* Write `o` and end: what a function in a jail returns. */
int scan_write(int out, struct json_object *o);

/*
 * Bring a detached signature, 64 bytes behind `fd`, into the store: refused unless one of the configured keys verifies it.
 * *ret is {digest, key}: which key that was.
 */
int scan_trust(struct image_store *store, const char *ref, const struct gate_config *gate, int fd,
	       struct json_object **ret, struct error *err) must_check;

/* Whether `signature` (64 bytes) is that of the digest's text, by the key as gate_read_key() gives it. */
bool signature_verify(const char key[GATE_KEY_TEXT], const unsigned char signature[64],
		      const char *digest);

/* Write a document about an image while that is in the store: ENOENT when it went meanwhile. */
int scan_publish(struct image_store *store, int folder, const char *digest, struct json_object *doc,
		 struct error *err) must_check;

#endif
