/* SPDX-License-Identifier: GPL-2.0-only */
/* Every difference between kernel versions, found by BTF at load and never by version number. */
#ifndef RECAP_COMPAT_BPF_H
#define RECAP_COMPAT_BPF_H

#include "kernel.bpf.h"

/*
 * The mount namespace's ID that is never used again: ns_common.ns_id since 6.18 ("nstree"), before
 * that mnt_namespace.seq, which only ever grows. 0 when the task has let go of its namespaces.
 */
static __always_inline __u64 compat_mnt_id(const struct mnt_namespace *mnt)
{
	const struct mnt_namespace___seq *old = (const void *)mnt;
	const struct mnt_namespace___id *new = (const void *)mnt;

	if (!mnt)
		return 0;
	if (bpf_core_field_exists(old->seq))
		return BPF_CORE_READ(old, seq);
	return BPF_CORE_READ(new, ns.ns_id);
}

/*
 * The superblock that an open file holds besides its own: since 6.8 a mapping of an overlay's file shows the
 * real file, and keeps the overlay's path beside it (struct backing_file). The flag that tells moved from one
 * bit to another, and BTF has no flags. A file with the wrong one is no harm: what lies behind it is read safely,
 * and is no superblock of the layer.
 */
static __always_inline struct super_block *compat_user_sb(struct file *file)
{
	struct backing_file___user_path *bf = (void *)file;

	if (!bpf_core_field_exists(bf->user_path) || !(BPF_CORE_READ(file, f_mode) & FMODE_BACKING))
		return NULL;
	return BPF_CORE_READ(bf, user_path.dentry, d_sb);
}

#endif
