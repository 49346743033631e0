/* SPDX-License-Identifier: MIT */
/*
 * Fault points of the kernel's programs, in the build with FAULTS=1 only, where this is included before bpf/recap.bpf.c. A test arms
 * one in the map `faults`, which is pinned beside the others.
 */
#ifndef RECAP_FAULT_BPF_H
#define RECAP_FAULT_BPF_H

#include "kernel.bpf.h"

/* The helpers that can fail. tests/system/faults.py knows the numbers. */
enum fault_helper {
	FAULT_STORAGE = 1, /* a tag that cannot be copied to the child */
	FAULT_UPDATE,	   /* a full map */
	FAULT_RINGBUF,	   /* a full ring buffer */
	FAULT_SEQ_WRITE,   /* an iterator that cannot hand a record out */
};

struct recap_fault {
	__u32 armed; /* an enum fault_helper; 0: none */
	__s32 skip;  /* how often it works before; from then on it fails */
	__u32 fired;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct recap_fault);
} faults SEC(".maps");

static __always_inline bool fault_strikes(__u32 helper)
{
	__u32 zero = 0;
	struct recap_fault *f = bpf_map_lookup_elem(&faults, &zero);

	if (!f || f->armed != helper || __sync_fetch_and_add(&f->skip, -1) > 0)
		return false;
	__sync_fetch_and_add(&f->fired, 1);
	return true;
}

#define bpf_task_storage_get(map, task, value, flags)                             \
	(((flags)&BPF_LOCAL_STORAGE_GET_F_CREATE) && fault_strikes(FAULT_STORAGE) \
		 ? (void *)0                                                      \
		 : bpf_task_storage_get(map, task, value, flags))
#define bpf_map_update_elem(...) \
	(fault_strikes(FAULT_UPDATE) ? -1 : bpf_map_update_elem(__VA_ARGS__))
#define bpf_ringbuf_output(...) \
	(fault_strikes(FAULT_RINGBUF) ? -1 : bpf_ringbuf_output(__VA_ARGS__))
#define bpf_seq_write(...) (fault_strikes(FAULT_SEQ_WRITE) ? -1 : bpf_seq_write(__VA_ARGS__))

#endif
