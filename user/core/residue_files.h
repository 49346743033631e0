/* SPDX-License-Identifier: MIT */
/*
 * Files that a tool wrote below a writable /target. The capsule's copy of the target's mounts is its own, and the kernel says what is
 * written through a mount (fanotify(7), FAN_MARK_MOUNT), whoever else writes to the same files: so what the target does itself is not
 * in it. Told are files that were opened for writing or written to. Nothing is said of folders, links, names and attributes that were
 * made, changed or removed: for those there are no marks on mounts.
 *
 * Init marks the mounts, since nobody else can reach them by a path; recapd reads what was written when the tree has ended. Until then
 * the kernel keeps at most as many events as fs.fanotify.max_queued_events, one for each file and process. An event has no name but
 * that of a descriptor, so that reading one opens the file, in recapd: therefore only on file systems that answer by themselves.
 */
#ifndef RECAP_RESIDUE_FILES_H
#define RECAP_RESIDUE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#define FILES_MOUNTS 24 /* that have a place in what init says */

struct residue;
struct sandbox;
struct target;

/* What init says of the mounts, in its report. All zero where it did not come so far. */
struct files_watch {
	uint32_t done; /* all were looked at */
	uint32_t
		n_unseen; /* writable ones that cannot be watched; `unseen` is the first, and why */
	char unseen[128];
	uint32_t n_mounts;
	struct files_mount {
		uint64_t id;
		char path[120];
	} mounts[FILES_MOUNTS];
};

/* A line of /proc/PID/mountinfo, in pieces that belong to it. */
struct files_line {
	uint64_t id;
	char *path; /* as it is, without the kernel's escapes */
	const char *type;
	bool readonly;
};

/* Take a line apart, in place. -EINVAL: it is none. */
int residue_files_line(char *line, struct files_line *ret);

/*
 * In init, whose root is the capsule's, with /proc and /target mounted: have `group` watch the writable mounts at and below /target.
 * What fails is in `ret`.
 */
void residue_files_watch(int group, struct files_watch *ret);

/* In recapd, before there is an init: `residue->files` is the group for it; -1, and the reason noted, where nothing can be watched. */
void residue_files_before(struct residue *r, const struct target *t, const struct sandbox *s);

/*
 * What was written, among the items, once: before residue_after(). `alive`: somebody may be in the capsule's mount namespace still.
 */
void residue_files_after(struct residue *r, const struct files_watch *watch, bool alive);

#endif
