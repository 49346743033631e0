/* SPDX-License-Identifier: MIT */
/*
 * What a capsule's tree leaves in the namespaces that it shared with its target: a look before the tool is there, a look when its
 * tree has ended, and what is different. Only what the capsule could change is looked at: without CAP_NET_ADMIN no interface,
 * address, route or rule, without CAP_SYS_ADMIN no host name. Who changed it is not known: what the target itself did meanwhile
 * is in it, too.
 *
 * recapd does not stay in the namespaces: it opens files and sockets there, which go on showing that namespace (each /proc/sysvipc
 * file, mqueue mount and netlink socket belongs to the one that it was made in), and goes back at once. All that they say is
 * hostile, and so is how much of it there is.
 */
#ifndef RECAP_RESIDUE_H
#define RECAP_RESIDUE_H

#include "common/json.h"
#include "core/sandbox.h"
#include "core/target.h"

#define RESIDUE_MAX 64 /* listed; the rest is counted */

struct residue_look;
struct residue_item;

/* Windows into a target's namespaces, which they keep alive. -1: none. */
struct residue_windows {
	struct recap_namespaces of;
	unsigned int kinds; /* that can be looked at: a mask of enum residue_kind */
	int shm, sem, msg, mqueue, uts, route, netfilter, diag;
	unsigned int seq; /* of netlink requests */
};

struct residue {
	bool refuse; /* any residue is an exit status of 123 */
	bool looked; /* after the end, too: the items are final */
	struct residue_windows windows;

	/* below /target; see core/residue_files.h */
	bool files_asked;	 /* it is writable, and what was written has not been read yet */
	int files;		 /* what the kernel tells of it; -1: nothing */
	const char *files_blind; /* why not, or not all; NULL: it does */

	struct residue_look *before, *after;
	struct residue_item *items;
	size_t n_items;
	uint64_t more; /* that had no room among the items */
};

void residue_windows_init(struct residue_windows *w);

/* Idempotent. */
void residue_windows_close(struct residue_windows *w);

void residue_init(struct residue *r);

/*
 * Open what the capsule of `s` in `t` could change, and look. What cannot be looked at becomes an item: this does not fail. Where the
 * windows in `spare` are those that it would open, they are taken from there.
 */
void residue_before(struct residue *r, const struct target *t, const struct sandbox *s,
		    struct residue_windows *spare);

/*
 * Look again, ahead of residue_after(), which then need not: when nobody of the tree changes anything any more, though it has not
 * quite ended. Should that prove wrong, `mistaken` has it look once more.
 */
void residue_ahead(struct residue *r);
void residue_mistaken(struct residue *r);

/* Look again, and settle the items. Idempotent; without residue_before(), nothing. */
void residue_after(struct residue *r);

/* Nobody was there to look: the record is to say so. */
void residue_unknown(struct residue *r, const char *why);

/*
 * Enough has been seen: the windows are closed, or take the place of those in `spare` (NULL: none), for the next capsule there.
 * Idempotent; the items stay.
 */
void residue_done(struct residue *r, struct residue_windows *spare);

/* Close the windows, and let go of the items. */
void residue_free(struct residue *r);

/* Whether residue refuses what the tool said. */
bool residue_refused(const struct residue *r);

/* The items, as a new array. */
struct json_object *residue_json(const struct residue *r);

#endif
