/* SPDX-License-Identifier: MIT */
/*
 * The throw-away layer of a run: a *back* that is limited in size (a tmpfs, or a file system on disk: core/disk.h), and an
 * overlay over the image's layers with it as the upper.
 *
 * Both are mounted in the *workshop*, a mount namespace that nothing runs in: it holds a small tmpfs, the image
 * store's layers and the back of each capsule, and no mount of the host. So a layer has no name on the host, and recapd
 * keeps no mount of the host's busy. (Before 6.5 or so overlayfs wants its upper attached in the caller's own mount namespace;
 * attaching it here serves every kernel.)
 *
 * The *stage* is a second such namespace, with an empty root and a ready /dev: what an injected process
 * unshares its own mount namespace from, in a time that does not depend on how many mounts the host has.
 */
#ifndef RECAP_COW_H
#define RECAP_COW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "core/image.h"
#include "core/track.h"
#include "recap/abi.h"

struct workshop;

/*
 * Build workshop and stage, and try an overlay with its probe once, so that what the kernel lacks is named now
 * and not at the first attach. `layers_fd`: the image store's layers folder. `anchor`: a folder of ours, in whose file system
 * layers on disk are; mounted over in the new namespace for a moment. The caller stays in its own mount namespace.
 */
int workshop_open(int layers_fd, const char *anchor, struct workshop **ret,
		  struct error *err) must_check;
void workshop_close(struct workshop *w);

/*
 * From now on the kernel's count of a layer's mounts, read by `t`, is asked before the lock; see cow_busy(). Only where a trial
 * shows that it tells a layer that is held from one that is not.
 */
int workshop_use_counts(struct workshop *w, struct track *t, struct error *err) must_check;

/* The inode number of its mount namespace. */
ino_t workshop_inode(const struct workshop *w);

/* For a process that is to keep the workshop, and does nothing else any more: join it. 0 or -errno. */
int workshop_enter_for_good(const struct workshop *w) must_check;

/* The workshop of a recapd that died, by its mount namespace, which is taken over: to probe and drop layers in, not to make any. NULL. */
struct workshop *workshop_adopt(int shop_ns);

/* Descriptor of the stage's mount namespace, for setns(2); belongs to the workshop. */
int workshop_stage_fd(const struct workshop *w);

struct cow {
	char name[16];		    /* of its folder in the workshop; "" when there is no layer */
	int overlay_fd;		    /* detached mount, until it has been handed on */
	int back_fd;		    /* the back, until its holders are looked for; -1 */
	struct recap_wanted wanted; /* what holders hold */
	uint64_t size;		    /* what it was reserved for */
	uint64_t bytes;		    /* written; known once the layer has been dropped */
	bool disk;		    /* its back is on disk, not a tmpfs */
	bool attached;		    /* the back is mounted in the workshop */
	bool named;		    /* its folder is there */
};

#define COW_NONE ((struct cow){.overlay_fd = -1, .back_fd = -1})

/* Reserve a layer of at most `size` bytes, on disk or not: its back, which no image is mounted over yet. */
int cow_reserve(struct workshop *w, const char *name, uint64_t size, bool disk, struct cow *cow,
		struct error *err) must_check;

/*
 * A layer that another recapd reserved. Where it is not there any more it has been dropped, and that happens only once both
 * witnesses agreed: cow->attached is false then. What was asked for as its size the caller has to know.
 */
int cow_adopt(struct workshop *w, const char *name, struct cow *cow, struct error *err) must_check;

/*
 * Drop all layers of an adopted workshop but those that are kept, as far as nothing holds them: of capsules whose trees have ended, and
 * those made ahead. The others go with the workshop's keeper.
 */
void cow_sweep(struct workshop *w, bool (*is_kept)(const char *name, void *arg), void *arg);

/*
 * Mount the overlay of `image` with the reserved back as its upper: cow->overlay_fd. `user_ns`: of the tool, in which the image's
 * files have the owners then that the image gives them; -1: recapd's.
 */
int cow_mount(struct workshop *w, const struct image *image, int user_ns, struct cow *cow,
	      struct error *err) must_check;

/*
 * The second witness: does anything hold the layer? An overlay holds a mount of its own of the back (clone_private_mount()) for as
 * long as its superblock lives, and locks its upper folder for as long (ovl_inuse_trylock(), fs/overlayfs/util.c). Where recapd's
 * is the only mount of the back that the kernel counts (workshop_use_counts()) that is the answer. Else a second overlay is tried
 * on the same upper, which index=on refuses while it is locked. 1: something holds the layer; 0: nothing does; -errno: the probe
 * itself failed, which proves nothing.
 */
int cow_busy(struct workshop *w, struct cow *cow, struct error *err) must_check;

/* Unmount and remove. -EBUSY when it is held after all: nothing is ever unmounted lazily. Idempotent. */
int cow_drop(struct workshop *w, struct cow *cow, struct error *err) must_check;

#endif
