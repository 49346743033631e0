/* SPDX-License-Identifier: MIT */
/* Inside residue.c, which compares, residue_net.c, which asks netlink, and residue_files.c. */
#ifndef RECAP_RESIDUE_INTERNAL_H
#define RECAP_RESIDUE_INTERNAL_H

#include "core/residue.h"

#define RESIDUE_OBJECTS_MAX 2048 /* in one look: hostile targets may have any number */

enum residue_kind {
	RESIDUE_SHM,
	RESIDUE_SEM,
	RESIDUE_MSG,
	RESIDUE_MQUEUE,
	RESIDUE_HOSTNAME,
	RESIDUE_LINK, /* before all that names one */
	RESIDUE_ADDRESS,
	RESIDUE_ROUTE,
	RESIDUE_RULE,
	RESIDUE_NFTABLES,
	RESIDUE_SOCKET,
	RESIDUE_FILE, /* only of core/residue_files.c */
	RESIDUE_KINDS,
};

enum residue_change { RESIDUE_ADDED, RESIDUE_REMOVED, RESIDUE_WRITTEN, RESIDUE_UNKNOWN };

/* A thing as it was seen. Two are the same when all of it is. */
struct residue_object {
	enum residue_kind kind;
	uint32_t index; /* of an interface */
	uint64_t
		hash; /* of all that does not change by itself, and may be more than the texts say */
	char name[112];
	char detail[144];
};

struct residue_look {
	size_t n, room;
	struct residue_object *objects;
	int blind[RESIDUE_KINDS]; /* -errno: why that kind could not be looked at */
};

struct residue_item {
	enum residue_change change;
	struct residue_object object;
};

/* Add to `h` (0 at first) what these bytes are (FNV-1a). */
uint64_t residue_hash(uint64_t h, const void *data, size_t len);

/* Room for one more, zeroed but for its kind; NULL and -E2BIG or -ENOMEM in *ret_err. */
struct residue_object *residue_add(struct residue_look *look, enum residue_kind kind, int *ret_err);

/* Add to the record's items, of which there are RESIDUE_MAX, or to what is more. */
void residue_item(struct residue *r, enum residue_change change, const struct residue_object *o);
void residue_item_unknown(struct residue *r, enum residue_kind kind, const char *why);

/* What is in `after` and not in `before` and the other way round. Both are sorted by this. */
void residue_compare(struct residue *r, struct residue_look *before, struct residue_look *after);

/* A line of /proc/sysvipc/shm, sem or msg: 0, also for the heading; -E2BIG, -ENOMEM. */
int residue_sysv_line(struct residue_look *look, enum residue_kind kind, const char *line);

/*
 * Have netlink list all of one kind, through a socket that was made in the namespace. 0 or -errno: -EAGAIN where it kept changing
 * meanwhile.
 */
int residue_net(int sock, unsigned int *seq, enum residue_kind kind, struct residue_look *look);

#endif
