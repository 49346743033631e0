/* SPDX-License-Identifier: MIT */
/*
 * The node's containers as people name them: the kernel's map with what the runtimes say of each entry. The map
 * is the truth; names are read once per container and kept by the entry's key, which is never used again.
 */
#ifndef RECAP_INVENTORY_H
#define RECAP_INVENTORY_H

#include "common/error.h"
#include "common/json.h"
#include "core/runtime.h"
#include "core/track.h"

struct inventory;

int inventory_new(struct track *track, const struct runtime_paths *paths, struct inventory **ret,
		  struct error *err) must_check;
void inventory_free(struct inventory *inv);

/* A hint said that entry `id` came, changed or went. */
void inventory_touch(struct inventory *inv, uint64_t id);

/* Bring everything in line with the map: after lost hints, and before a list. */
int inventory_sync(struct inventory *inv, struct error *err) must_check;

/* What a capsule's record says of its target. Strings are the caller's copies. */
struct target_name {
	uint64_t id;
	pid_t pid;
	uint64_t started_ns; /* CLOCK_BOOTTIME */
	char *container_id, *name, *runtime;
};
void target_name_clear(struct target_name *n);

/*
 * Find the container that `text` names: a name, a unique ID prefix, RUNTIME:NAME, pod/NAMESPACE/POD[/CONTAINER] or pid:N. Reads no
 * file and walks no map. Fails with TargetNotFound, or with TargetAmbiguous, whose message lists the candidates.
 */
int inventory_find(struct inventory *inv, const char *text, struct target_name *ret,
		   struct error *err) must_check;

/* Does the map still have it? */
bool inventory_has(struct inventory *inv, uint64_t id);

/* The container's record, as JSON text that stays valid until the next call here; NULL when it has gone. */
const char *inventory_json(struct inventory *inv, uint64_t id);

/*
 * The records as the text of a JSON array, sorted by name; the caller frees *ret. `all`: sandboxes too. `labels`: only those that
 * carry every KEY=VALUE. `keep`: only those that it says yes to.
 */
typedef bool (*inventory_keep_fn)(const char *record, void *arg);
int inventory_list(struct inventory *inv, bool all, char *const *labels, inventory_keep_fn keep,
		   void *arg, char **ret, size_t *ret_len, struct error *err) must_check;

size_t inventory_count(const struct inventory *inv);

#endif
