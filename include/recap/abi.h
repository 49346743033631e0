/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the BPF programs and recapd share, and what operators read with `bpftool map dump pinned`: the
 * maps under /sys/fs/bpf/recap. Names and fields are an interface. Any change of layout or meaning
 * raises RECAP_ABI, which is kept in `globals`: pins of another ABI are not taken over.
 */
#ifndef RECAP_ABI_H
#define RECAP_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define RECAP_ABI 1

#define RECAP_COMM_LEN	   16
#define RECAP_IMAGE_LEN	   64
#define RECAP_PHASE_LEN	   16
#define RECAP_COUNTER_LEN  32
#define RECAP_HIST_BUCKETS 32

/* Namespace IDs, as in the links of /proc/PID/ns. */
struct recap_namespaces {
	__u32 mnt;
	__u32 pid;
	__u32 net;
	__u32 ipc;
	__u32 uts;
	__u32 user;
	__u32 cgroup;
	__u32 time;
};

enum recap_kind {
	RECAP_KIND_CONTAINER = 1,
	RECAP_KIND_SANDBOX = 2, /* a mount namespace of its own, but not the marks of a container */
};

enum recap_container_state {
	RECAP_CONTAINER_RUNNING = 1,
	RECAP_CONTAINER_EXITING =
		2, /* the first thread of the init process has gone, others live */
};

/*
 * Map `containers`: key is the kernel's 64-bit ID of the mount namespace, which is never used again
 * (unlike the inode number in namespaces.mnt).
 */
struct recap_container {
	__u64 start_ns; /* CLOCK_BOOTTIME when the init process was forked: with pid, its identity */
	__u64 seen_ns;	/* CLOCK_BOOTTIME when the entry was made: the entrypoint's exec */
	__u64 cgroup; /* ID of the cgroup v2, as cgroup.id; that of the root where only v1 is used */
	__u32 pid;    /* the init process, in the initial PID namespace */
	__u32 kind;   /* enum recap_kind */
	__u32 state;  /* enum recap_container_state */
	__u32 pad;
	/* The bounding set of the init, as a bit mask of capabilities(7); and CAP_SYS_PTRACE if an `exec` brought that. */
	__u64 caps;
	struct recap_namespaces namespaces;
	char comm[RECAP_COMM_LEN];
};

enum recap_capsule_state {
	RECAP_CAPSULE_CREATED = 1,
	RECAP_CAPSULE_RUNNING,
	RECAP_CAPSULE_DRAINING,
	RECAP_CAPSULE_ESCAPED,
	RECAP_CAPSULE_QUARANTINED,
};

enum recap_capsule_flags {
	RECAP_CAPSULE_HINT_EXEC = 1, /* somebody waits to hear that the tool has started */
};

/*
 * Map `capsules`: key is the capsule's ID (a number; 12 hex digits where people see it). recapd makes
 * and removes the entry and sets `state`; everything below it is the kernel's own count.
 */
struct recap_capsule {
	__u32 state;	    /* enum recap_capsule_state */
	__u32 flags;	    /* enum recap_capsule_flags */
	__u64 target;	    /* key of the target in `containers` */
	__u64 created_ns;   /* CLOCK_BOOTTIME, as are all below; 0: not yet */
	__u64 exec_ns;	    /* the tool's exec */
	__u64 exit_ns;	    /* the end of the tool's last thread */
	__u64 last_exit_ns; /* the end of the tree's last task so far */
	__u64 mnt_id; /* ID of the tool's mount namespace, as `containers` are keyed; 0 before its exec */
	__u32 live;	   /* tasks (threads) of the tree that have not exited */
	__u32 peak;	   /* most at once */
	__u32 total;	   /* ever */
	__u32 untracked;   /* forks whose child could not be tagged */
	__u32 init_pid;	   /* the tree's first task, our init, in the initial PID namespace */
	__u32 tool_pid;	   /* the tool's process, in the initial PID namespace; 0 before its exec */
	__u32 tool_status; /* wait(2) status of the tool; valid when exit_ns is set */
	__u32 tasks_max; /* recapd's: who forks while more are alive is ended; 0: a cgroup sees to that */
	char image[RECAP_IMAGE_LEN];
};

/* Map `latency`: microseconds by capsule image and phase. */
struct recap_latency_key {
	char image[RECAP_IMAGE_LEN];
	char phase[RECAP_PHASE_LEN];
};

struct recap_latency {
	__u64 count;
	__u64 sum_us;
	__u64 max_us;
	__u64 hist[RECAP_HIST_BUCKETS]; /* [0]: 0; [i]: from 2^(i-1) to below 2^i */
};

/* Map `counters`: value is a __u64. docs/architecture.md says what each means. */
struct recap_counter_key {
	char name[RECAP_COUNTER_LEN];
};

/* Ring buffer `events`: hints that a map changed. Losing one loses nothing. */
enum recap_event_type {
	RECAP_EVENT_CONTAINER = 1, /* id: key in `containers` that came, changed or went */
	RECAP_EVENT_TOOL_EXEC,	   /* id: capsule */
	RECAP_EVENT_TOOL_EXIT,	   /* id: capsule */
	RECAP_EVENT_TREE_EMPTY,	   /* id: capsule */
	RECAP_EVENT_TREE_FORKS, /* id: capsule; it has forked as often again as it may have tasks (tasks_max) */
};

struct recap_event {
	__u64 id;
	__u32 type;
	__u32 pad;
};

/* The tag in task storage that a capsule's every task carries. */
struct recap_tag {
	__u64 capsule;
	__u32 counted; /* 1: this task is part of `live`. 0: the starter, which forks the first */
	__u32 exited;  /* 1: it was */
};

/* Argument of the program `capsule_state_set`. */
struct recap_state_arg {
	__u64 capsule;
	__u32 state;
	__u32 pad;
};

/* Argument of the program `superblock_users`. */
struct recap_users_arg {
	__u32 fd;
	__u32 dev; /* of its file system, as the kernel has it */
};

/* One record of the iterator `capsule_tasks`. */
struct recap_task_record {
	__u64 capsule;
	__u64 start_ns;
	__u32 pid; /* thread */
	__u32 tgid;
	__u32 dead; /* it has exited, and was not waited for */
	__u32 pad;
	char comm[RECAP_COMM_LEN];
};

enum recap_holder_kind {
	RECAP_HOLDER_FD = 1,
	RECAP_HOLDER_MAPPING,
	RECAP_HOLDER_CWD,
	RECAP_HOLDER_ROOT,
	RECAP_HOLDER_NAMESPACE,
	RECAP_HOLDER_MOUNT,
};

/* One record of the iterators that look for who keeps a layer. */
struct recap_holder_record {
	__u32 tgid;
	__u32 kind; /* enum recap_holder_kind */
	__s32 fd;   /* -1 but for RECAP_HOLDER_FD */
	__u32 pad;
	char comm[RECAP_COMM_LEN];
};

/* What the holder iterators compare with: the kernel's own dev_t, (major << 20) | minor. */
struct recap_wanted {
	__u32 overlay_dev;
	__u32 tmpfs_dev;
	__u64 mnt_id; /* of the capsule's mount namespace; 0: not known */
};

_Static_assert(sizeof(struct recap_namespaces) == 32, "ABI");
_Static_assert(sizeof(struct recap_container) == 96, "ABI");
_Static_assert(sizeof(struct recap_capsule) == 152, "ABI");
_Static_assert(sizeof(struct recap_latency_key) == 80, "ABI");
_Static_assert(sizeof(struct recap_latency) == 280, "ABI");
_Static_assert(sizeof(struct recap_event) == 16, "ABI");
_Static_assert(sizeof(struct recap_tag) == 16, "ABI");
_Static_assert(sizeof(struct recap_task_record) == 48, "ABI");
_Static_assert(sizeof(struct recap_holder_record) == 32, "ABI");

#endif
