/* SPDX-License-Identifier: MIT */
/*
 * The kernel side: owns the BPF programs, their pinned maps and links. The only module that talks to libbpf.
 */
#ifndef RECAP_TRACK_H
#define RECAP_TRACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "recap/abi.h"

struct track;

/* Entries of the maps, and bytes of the ring buffer (a power of two, from a page on); 0: as built (docs/architecture.md). */
struct track_sizes {
	uint32_t containers, capsules, latency, events;
};

/*
 * Load the programs, attach them and seed the inventory; maps and links are pinned in `bpffs` (absolute, on a
 * BPF file system; made when absent). Pins of a recapd that died are adopted as they are: its tracking went on
 * without it. Fails with one line that names what the kernel or the caller lacks.
 */
int track_open(const char *bpffs, const struct track_sizes *sizes, struct track **ret,
	       struct error *err) must_check;

/* Let go. `unpin`: tracking ends and nothing is left in bpffs; else it goes on in the kernel. */
void track_close(struct track *t, bool unpin);

/* Were there pins of a recapd that died? `t` may be NULL, for which there were none. */
bool track_adopted(const struct track *t);

/* Ring buffer hints. The descriptor polls readable when there are some. */
int track_events_fd(const struct track *t);
typedef void (*track_event_fn)(const struct recap_event *e, void *arg);
void track_events_read(struct track *t, track_event_fn fn, void *arg);

/* Call `fn` with the name of each program that is loaded. */
void track_programs(struct track *t, void (*fn)(const char *name, void *arg), void *arg);

/* ---- inventory ---- */

struct track_container {
	uint64_t id;
	struct recap_container c;
};

/*
 * All entries, in no order. The caller frees *ret. Where the map was full and has room again, the tasks are walked anew for those
 * that had found none.
 */
int track_containers(struct track *t, struct track_container **ret, size_t *ret_n) must_check;

/* Has a container found no room in the map, and none since? */
bool track_containers_missing(struct track *t);

/* One entry; -ENOENT. */
int track_container(struct track *t, uint64_t id, struct recap_container *ret) must_check;

/* ---- capsules ---- */

/* Make the entry of a capsule. -E2BIG when the map is full (and counted), -EEXIST. */
int track_capsule_add(struct track *t, uint64_t id, uint64_t target, const char *image,
		      unsigned int flags, uint32_t tasks_max) must_check;
int track_capsule_get(struct track *t, uint64_t id, struct recap_capsule *ret) must_check;
void track_capsule_state(struct track *t, uint64_t id, enum recap_capsule_state state);
void track_capsule_remove(struct track *t, uint64_t id);

/*
 * How many mounts there are, anywhere, of the file system that `fd` is open in, as the kernel counts them (s_active,
 * include/linux/fs.h). `dev`: its number, as in recap_wanted. 0: not known.
 */
uint32_t track_superblock_users(struct track *t, int fd, uint32_t dev);

/* IDs that are in the map; the caller frees *ret. */
int track_capsule_ids(struct track *t, uint64_t **ret, size_t *ret_n) must_check;

/*
 * Tag the process behind `pidfd`, so that what it forks is born with capsule `id`'s tag. It is no part of the capsule
 * itself, and must fork the capsule's first process only.
 */
int track_tag(struct track *t, int pidfd, uint64_t id) must_check;

/* Is the process behind `pidfd` part of the capsule? 1 or 0, or -errno. A leader that exited before its threads still is. */
int track_has_tag(struct track *t, int pidfd, uint64_t id);

/*
 * Send `sig` to every process of the capsule's tree but `except` (0: none). Each is opened as a pidfd whose tag
 * is then read again, so that no reused PID is hit. Returns how many were signalled, or -errno.
 */
int track_capsule_signal(struct track *t, uint64_t id, int sig, pid_t except) must_check;

/* How many processes of the tree, but `except`, are dead and were not waited for; or -errno. */
int track_capsule_dead(struct track *t, uint64_t id, pid_t except) must_check;

/* Send `sig` to the tool itself. 0, -ESRCH when it does not run, or -errno. */
int track_tool_signal(struct track *t, uint64_t id, int sig) must_check;

/* ---- who keeps a layer ---- */

/* One record for each descriptor, mapping and folder; at most `max`. Returns how many, or -errno. */
int track_holders(struct track *t, const struct recap_wanted *wanted,
		  struct recap_holder_record *ret, size_t max) must_check;

/*
 * Processes of the tree that still live, or are dead and not waited for, in the same form (kind 0). Returns how many, or -errno.
 */
int track_capsule_tasks(struct track *t, uint64_t id, struct recap_holder_record *ret,
			size_t max) must_check;

/* ---- counters and latency ---- */

/* Add to a counter; an unknown name is a bug. */
void track_count(struct track *t, const char *name);
uint64_t track_counter(struct track *t, const char *name);

/* Have a counter be at least `n`. */
void track_count_to(struct track *t, const char *name, uint64_t n);

/* Call `fn` for each counter, by name. */
void track_counters(struct track *t, void (*fn)(const char *name, uint64_t n, void *arg),
		    void *arg);

/* Account `us` microseconds of `phase` to `image`. */
void track_latency_add(struct track *t, const char *image, const char *phase, uint64_t us);

/* Call `fn` for each entry. */
void track_latencies(struct track *t,
		     void (*fn)(const struct recap_latency_key *key, const struct recap_latency *l,
				void *arg),
		     void *arg);

#endif
