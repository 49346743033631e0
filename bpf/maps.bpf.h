/* SPDX-License-Identifier: GPL-2.0-only */
/* The pinned maps, and how the programs count what goes wrong. */
#ifndef RECAP_MAPS_BPF_H
#define RECAP_MAPS_BPF_H

#include "kernel.bpf.h"

#define CONTAINERS_MAX 16384
#define CAPSULES_MAX   4096
#define LATENCY_MAX    4096
#define COUNTERS_MAX   64

/* Preallocated: before 6.1 a tracing program may not allocate hash elements safely. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CONTAINERS_MAX);
	__type(key, __u64);
	__type(value, struct recap_container);
} containers SEC(".maps");

/* Init process (thread group ID) -> its key in `containers`: how an exit finds its entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CONTAINERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} inits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CAPSULES_MAX);
	__type(key, __u64);
	__type(value, struct recap_capsule);
} capsules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct recap_tag);
} tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LATENCY_MAX);
	__type(key, struct recap_latency_key);
	__type(value, struct recap_latency);
} latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, COUNTERS_MAX);
	__type(key, struct recap_counter_key);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* recapd has made every counter before the programs are attached. */
#define count(text)                                                \
	do {                                                       \
		struct recap_counter_key key_ = {.name = text};    \
		__u64 *n_ = bpf_map_lookup_elem(&counters, &key_); \
		if (n_)                                            \
			__sync_fetch_and_add(n_, 1);               \
	} while (0)

static __always_inline void hint(__u32 type, __u64 id)
{
	struct recap_event e = {.id = id, .type = type};

	if (bpf_ringbuf_output(&events, &e, sizeof(e), 0))
		count("events_lost");
}

#endif
