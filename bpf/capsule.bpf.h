/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tree of a capsule: tagged, counted, and found again. A task gets its parent's tag before it first runs and
 * keeps it until it is freed; nothing that a task can do takes it off.
 */
#ifndef RECAP_CAPSULE_BPF_H
#define RECAP_CAPSULE_BPF_H

static __always_inline void peak_raise(struct recap_capsule *c, __u32 live)
{
	__u32 peak = *(volatile __u32 *)&c->peak;

	for (int i = 0; i < 8 && live > peak; i++) {
		__u32 seen = __sync_val_compare_and_swap(&c->peak, peak, live);

		if (seen == peak)
			return;
		peak = seen;
	}
}

/*
 * The limit of who has no cgroup with one. The fork has happened and cannot be refused any more; that whoever did it does not do it
 * again is as good: a bomb grows no further.
 */
static __always_inline void tree_limit(struct recap_capsule *c, __u64 id, __u32 live, __u32 total)
{
	if (!c->tasks_max)
		return;
	/* The dead that nobody waits for are counted by recapd. */
	if (total % c->tasks_max == 0)
		hint(RECAP_EVENT_TREE_FORKS, id);
	if (live <= c->tasks_max)
		return;
	count("tasks_over_limit");
	bpf_send_signal(SIGKILL);
}

static __always_inline void tree_fork(struct task_struct *parent, struct task_struct *child)
{
	struct recap_tag *tag = bpf_task_storage_get(&tags, parent, 0, 0);
	struct recap_tag copy = {.counted = 1};
	struct recap_capsule *c;
	__u32 live, total;

	if (!tag || !tag->capsule)
		return;
	copy.capsule = tag->capsule;
	c = bpf_map_lookup_elem(&capsules, &copy.capsule);
	if (!c) {
		count("tag_without_capsule");
		return;
	}
	if (!bpf_task_storage_get(&tags, child, &copy, BPF_LOCAL_STORAGE_GET_F_CREATE)) {
		__sync_fetch_and_add(&c->untracked, 1);
		count("untracked_forks");
		return;
	}
	/* The first task is our init: recapd watches it through a pidfd. */
	total = __sync_fetch_and_add(&c->total, 1) + 1;
	if (total == 1)
		c->init_pid = BPF_CORE_READ(child, tgid);
	live = __sync_fetch_and_add(&c->live, 1) + 1;
	peak_raise(c, live);
	tree_limit(c, copy.capsule, live, total);
}

/* True when the task belongs to a capsule: then it is no container. The tree's first exec is the tool's. */
static __always_inline bool tree_exec(struct task_struct *task)
{
	struct recap_tag *tag = bpf_task_storage_get(&tags, task, 0, 0);
	struct recap_capsule *c;
	__u64 id;

	if (!tag || !tag->counted)
		return false;
	id = tag->capsule;
	c = bpf_map_lookup_elem(&capsules, &id);
	if (c && __sync_val_compare_and_swap(&c->tool_pid, 0, BPF_CORE_READ(task, tgid)) == 0) {
		c->exec_ns = bpf_ktime_get_boot_ns();
		c->mnt_id = compat_mnt_id(BPF_CORE_READ(task, nsproxy, mnt_ns));
		__sync_val_compare_and_swap(&c->state, RECAP_CAPSULE_CREATED,
					    RECAP_CAPSULE_RUNNING);
		if (c->flags & RECAP_CAPSULE_HINT_EXEC)
			hint(RECAP_EVENT_TOOL_EXEC, id);
	}
	return true;
}

/*
 * What wait(2) will say: the group's code when the whole group was ended (exit_group, a fatal signal), else that of
 * the leader, which may have gone before the last thread (wait_task_zombie()).
 */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	struct signal_struct *sig = BPF_CORE_READ(task, signal);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if (BPF_CORE_READ(sig, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(sig, group_exit_code);
	return BPF_CORE_READ(leader, exit_code);
}

/* Init's is the last exit, as a rule; it takes longer than recapd's look at what the tree left, which can go on meanwhile. */
static __always_inline void tree_exit_hint(__u64 id, bool tool, __u32 left)
{
	if (tool && left > 1)
		hint(RECAP_EVENT_TOOL_EXIT, id);
	if (left == 0)
		hint(RECAP_EVENT_TREE_EMPTY, id);
}

/*
 * Whether the tool has ended with this thread. Of two that end at once the later one knows best: a leader has left signal->live some
 * time before it has its exit code. But what began after that end is another of the tree, for which the PID was free again.
 */
static __always_inline bool tool_ends(struct task_struct *task, struct recap_capsule *c)
{
	if ((c->exit_ns && BPF_CORE_READ(task, group_leader, start_boottime) > c->exit_ns) ||
	    c->tool_pid != (__u32)BPF_CORE_READ(task, tgid) ||
	    BPF_CORE_READ(task, signal, live.counter) > 0)
		return false;
	c->tool_status = wait_status(task);
	c->exit_ns = bpf_ktime_get_boot_ns();
	return true;
}

/*
 * A thread that the kernel made for its process, of which the fork's tracepoint knows nothing (create_io_thread(): io_uring's). It is
 * not counted, and ends before its process can be waited for; but it may be the last of the tool's threads.
 */
static __always_inline void tree_exit_worker(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct recap_tag *tag = leader ? bpf_task_storage_get(&tags, leader, 0, 0) : NULL;
	struct recap_capsule *c;
	__u64 id;

	if (!tag)
		return;
	id = tag->capsule;
	c = bpf_map_lookup_elem(&capsules, &id);
	if (!c || !tool_ends(task, c))
		return;
	c->last_exit_ns = c->exit_ns;
	tree_exit_hint(id, true, c->live);
}

static __always_inline void tree_exit(struct task_struct *task)
{
	struct recap_tag *tag = bpf_task_storage_get(&tags, task, 0, 0);
	struct recap_capsule *c;
	bool tool;
	__u64 id;

	if (!tag && task->pid != task->tgid)
		tree_exit_worker(task);
	if (!tag || !tag->counted)
		return;
	id = tag->capsule;
	tag->counted = 0;
	tag->exited = 1;
	c = bpf_map_lookup_elem(&capsules, &id);
	if (!c) {
		count("tag_without_capsule");
		return;
	}
	tool = tool_ends(task, c);
	c->last_exit_ns = bpf_ktime_get_boot_ns();
	tree_exit_hint(id, tool, __sync_fetch_and_add(&c->live, -1) - 1);
}

/*
 * Every thread of every capsule, for ending a tree where there is no cgroup.kill, and for naming who is left: also the dead that
 * nobody has waited for, as somebody who traces them may keep them so. A task has its storage until it is freed.
 */
SEC("iter/task")
int capsule_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct recap_task_record r = {};
	struct recap_tag *tag;

	if (!task)
		return 0;
	tag = bpf_task_storage_get(&tags, task, 0, 0);
	/* The starter was never counted, and is none of the tree's. */
	if (!tag || (!tag->counted && !tag->exited))
		return 0;
	r.capsule = tag->capsule;
	r.dead = tag->exited;
	r.pid = task->pid;
	r.tgid = task->tgid;
	r.start_ns = task->start_boottime;
	bpf_core_read_str(r.comm, sizeof(r.comm), &task->comm);
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}

/*
 * recapd's own writes: it may not store whole entries over the counts that the programs keep, so the one field that
 * is its own is set from here.
 */
SEC("syscall")
int capsule_state_set(struct recap_state_arg *arg)
{
	__u64 id = arg->capsule;
	struct recap_capsule *c = bpf_map_lookup_elem(&capsules, &id);

	if (!c)
		return 1;
	c->state = arg->state;
	return 0;
}

/*
 * How many hold the superblock of recapd's descriptor `fd`: each mount of it is one (alloc_vfsmnt(), clone_mnt()), also an
 * overlay's private one of its upper. 0: not known. recapd has one thread, so its descriptor stays while it is looked at.
 */
SEC("syscall")
int superblock_users(struct recap_users_arg *arg)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *fdt = NULL;
	struct file **fds, *file = NULL;
	struct super_block *sb = NULL;

	if (!bpf_core_field_exists(task->files) || !bpf_core_field_exists(fdt->fd) ||
	    !bpf_core_field_exists(fdt->max_fds) || !bpf_core_field_exists(sb->s_active.counter))
		return 0;
	fdt = BPF_CORE_READ(task, files, fdt);
	fds = BPF_CORE_READ(fdt, fd);
	if (arg->fd >= BPF_CORE_READ(fdt, max_fds) ||
	    bpf_probe_read_kernel(&file, sizeof(file), fds + arg->fd))
		return 0;
	sb = file ? BPF_CORE_READ(file, f_path.dentry, d_sb) : NULL;
	if (!sb || BPF_CORE_READ(sb, s_dev) != arg->dev)
		return 0;
	return BPF_CORE_READ(sb, s_active.counter);
}

#endif
