/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inventory. A container is a mount namespace other than the host's, entered from outside, in which a
 * program has been executed; its init is the process that did so first, having come from outside. The entry
 * is made at that exec, so it names the entrypoint and never the runtime's own set-up, and it goes with the init's last thread.
 */
#ifndef RECAP_INVENTORY_BPF_H
#define RECAP_INVENTORY_BPF_H

#define CAP_BIT_SYS_PTRACE (1ull << 19)
#define CAP_BIT_SYS_ADMIN  (1ull << 21)

/* Layout of the pinned maps: a recapd of another one must not adopt them. */
__u32 abi;

/* The host's mount namespace. 0 until the seed has met its first task. */
__u64 host_mnt_id;

/* What sets a container apart from an ordinary sandbox; see docs/architecture.md. */
struct marks {
	bool own_root;	 /* another root folder than the parent's */
	bool own_cgroup; /* moved to another cgroup than the parent's, in any hierarchy */
	bool tmpfs_root; /* as bubblewrap makes it */
	bool own_pid, own_uts, own_net, own_ipc;
};

/* The task's number and PID namespace where it is innermost; false when it has let go of them. */
static __always_inline bool innermost_pid(struct task_struct *task, struct upid *ret)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	unsigned int level = BPF_CORE_READ(pid, level);
	void *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		     level * bpf_core_type_size(struct upid);

	/* PID namespaces nest 32 deep at most (MAX_PID_NS_LEVEL). */
	if (!pid || level > 32)
		return false;
	bpf_probe_read_kernel(&ret->nr, sizeof(ret->nr),
			      upid + bpf_core_field_offset(struct upid, nr));
	bpf_probe_read_kernel(&ret->ns, sizeof(ret->ns),
			      upid + bpf_core_field_offset(struct upid, ns));
	return true;
}

static __always_inline struct pid_namespace *active_pid_ns(struct task_struct *task)
{
	struct upid upid = {};

	innermost_pid(task, &upid);
	return upid.ns;
}

static __always_inline void read_namespaces(struct task_struct *task, struct recap_namespaces *out)
{
	struct pid_namespace *pid_ns = active_pid_ns(task);

	out->mnt = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	out->net = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	out->ipc = BPF_CORE_READ(task, nsproxy, ipc_ns, ns.inum);
	out->uts = BPF_CORE_READ(task, nsproxy, uts_ns, ns.inum);
	out->cgroup = BPF_CORE_READ(task, nsproxy, cgroup_ns, ns.inum);
	out->time = BPF_CORE_READ(task, nsproxy, time_ns, ns.inum);
	out->user = BPF_CORE_READ(task, cred, user_ns, ns.inum);
	out->pid = BPF_CORE_READ(pid_ns, ns.inum);
}

/*
 * Who came in from outside: its parent is in another mount namespace, or set this one up and has executed nothing since it was
 * forked (bubblewrap's PID 1), or it is the first process of a PID namespace (`unshare --fork`).
 */
static __always_inline bool from_outside(struct task_struct *task, __u64 id)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	struct upid upid = {};

	if (compat_mnt_id(BPF_CORE_READ(parent, nsproxy, mnt_ns)) != id)
		return true;
	if (BPF_CORE_READ(parent, group_leader, flags) & PF_FORKNOEXEC)
		return true;
	return innermost_pid(task, &upid) && upid.nr == 1;
}

/* The nearest ancestor that is outside: whom the task's marks are told by. */
static __always_inline struct task_struct *outsider(struct task_struct *task, __u64 id)
{
	struct task_struct *t = BPF_CORE_READ(task, real_parent);

	for (int i = 0; i < 4 && compat_mnt_id(BPF_CORE_READ(t, nsproxy, mnt_ns)) == id; i++)
		t = BPF_CORE_READ(t, real_parent);
	return t;
}

static __always_inline void read_marks(struct task_struct *task, struct task_struct *parent,
				       struct marks *m)
{
	struct dentry *root = BPF_CORE_READ(task, fs, root.dentry);

	m->own_root = root != BPF_CORE_READ(parent, fs, root.dentry);
	m->tmpfs_root = BPF_CORE_READ(root, d_sb, s_magic) == TMPFS_MAGIC;
	m->own_cgroup = BPF_CORE_READ(task, cgroups) != BPF_CORE_READ(parent, cgroups);
	m->own_pid = active_pid_ns(task) != active_pid_ns(parent);
	m->own_uts = BPF_CORE_READ(task, nsproxy, uts_ns) != BPF_CORE_READ(parent, nsproxy, uts_ns);
	m->own_net = BPF_CORE_READ(task, nsproxy, net_ns) != BPF_CORE_READ(parent, nsproxy, net_ns);
	m->own_ipc = BPF_CORE_READ(task, nsproxy, ipc_ns) != BPF_CORE_READ(parent, nsproxy, ipc_ns);
}

/*
 * A runtime gives its container a root, a cgroup and at least one more namespace. A service with
 * PrivateTmp keeps the host's root; bubblewrap stays in its caller's cgroup, on a tmpfs or the host's root.
 */
static __always_inline __u32 kind_of(const struct marks *m)
{
	if (!m->own_root)
		return RECAP_KIND_SANDBOX;
	if (m->own_cgroup && (m->own_pid || m->own_uts || m->own_net || m->own_ipc))
		return RECAP_KIND_CONTAINER;
	if (!m->tmpfs_root && m->own_pid && m->own_uts && m->own_ipc)
		return RECAP_KIND_CONTAINER;
	return RECAP_KIND_SANDBOX;
}

/* Whether a process with these opens others, and not the host already; counted, since recapd asks who it is only where there ever was one. */
static __always_inline bool notice_take_over(__u64 bounding)
{
	bool can = (bounding & CAP_BIT_SYS_PTRACE) && !(bounding & CAP_BIT_SYS_ADMIN);

	if (can)
		count("caps_take_over");
	return can;
}

/*
 * `exec` into a container may bring capabilities that its init has not. The one that counts is remembered, where it opens other
 * processes and not the host already (core/target.c): never taken back, since what it was given to may have forked.
 */
static __always_inline void caps_merge(struct recap_container *c, __u64 bounding)
{
	if (notice_take_over(bounding))
		c->caps |= CAP_BIT_SYS_PTRACE;
}

static __always_inline __u64 bounding_of(struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	__u64 caps = 0;

	bpf_core_read(&caps, sizeof(caps), &cred->cap_bset);
	return caps;
}

static __always_inline void container_fill(struct task_struct *task, struct task_struct *leader,
					   struct task_struct *parent, struct recap_container *c)
{
	struct marks m = {};

	read_marks(task, parent, &m);
	read_namespaces(task, &c->namespaces);
	c->start_ns = BPF_CORE_READ(leader, start_boottime);
	c->seen_ns = bpf_ktime_get_boot_ns();
	c->caps = bounding_of(task);
	notice_take_over(c->caps);
	c->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	c->pid = BPF_CORE_READ(leader, tgid);
	c->kind = kind_of(&m);
	c->state = RECAP_CONTAINER_RUNNING;
	bpf_core_read_str(c->comm, sizeof(c->comm), &leader->comm);
}

static __always_inline void container_put(__u64 id, const struct recap_container *c, __u64 flags)
{
	__u32 pid = c->pid;

	if (bpf_map_update_elem(&inits, &pid, &id, BPF_ANY)) {
		count("containers_full");
		return;
	}
	if (bpf_map_update_elem(&containers, &id, c, flags)) {
		bpf_map_delete_elem(&inits, &pid);
		count("containers_full");
		return;
	}
	hint(RECAP_EVENT_CONTAINER, id);
}

static __always_inline void inventory_exec(struct task_struct *task)
{
	__u64 host = *(volatile __u64 *)&host_mnt_id;
	__u64 id = compat_mnt_id(BPF_CORE_READ(task, nsproxy, mnt_ns));
	struct recap_container c = {}, *old;

	if (!host || !id || id == host)
		return;
	old = bpf_map_lookup_elem(&containers, &id);
	if (old) {
		/* The init itself executes another program (`chroot`, `sh -c 'exec nginx'`): same container, new looks. */
		if (old->pid == (__u32)BPF_CORE_READ(task, tgid)) {
			container_fill(task, task, outsider(task, id), &c);
			old->kind = c.kind;
			old->cgroup = c.cgroup;
			caps_merge(&c, old->caps);
			old->caps = c.caps;
			bpf_core_read_str(old->comm, sizeof(old->comm), &task->comm);
			hint(RECAP_EVENT_CONTAINER, id);
		} else {
			caps_merge(old, bounding_of(task));
		}
		return;
	}
	if (!from_outside(task, id))
		return;
	container_fill(task, task, outsider(task, id), &c);
	container_put(id, &c, BPF_NOEXIST);
}

static __always_inline void container_drop(__u32 pid, __u64 start_ns)
{
	__u64 *idp = bpf_map_lookup_elem(&inits, &pid);
	struct recap_container *c;
	__u64 id;

	if (!idp)
		return;
	id = *idp;
	c = bpf_map_lookup_elem(&containers, &id);
	if (c && (c->pid != pid || c->start_ns != start_ns))
		return;
	bpf_map_delete_elem(&inits, &pid);
	bpf_map_delete_elem(&containers, &id);
	hint(RECAP_EVENT_CONTAINER, id);
}

static __always_inline void container_exiting(__u32 pid)
{
	__u64 *idp = bpf_map_lookup_elem(&inits, &pid);
	struct recap_container *c = idp ? bpf_map_lookup_elem(&containers, idp) : NULL;

	if (c && c->pid == pid)
		c->state = RECAP_CONTAINER_EXITING;
}

static __always_inline void inventory_exit(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 tgid = BPF_CORE_READ(task, tgid);

	/* Gone is who has no thread left. Two last threads may both see 0: the second finds nothing to drop. */
	if (BPF_CORE_READ(task, signal, live.counter) <= 0)
		container_drop(tgid, BPF_CORE_READ(leader, start_boottime));
	else if (task == leader)
		container_exiting(tgid);
}

/*
 * Seed: every thread that lives, each standing for its process, since a leader may be gone. Runs with the
 * tracepoints attached. The walk goes up from PID 1 (or kthreadd, where a hardened kernel hides PID 1 from BPF): the first
 * task's mount namespace is the host's, and naming it switches on_exec on. What was executed before that is met by this
 * walk, what comes after is seen by on_exec.
 */
SEC("iter/task")
int seed(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader;
	struct recap_container c = {}, *old;
	__u64 id;

	if (!task)
		return 0;
	id = compat_mnt_id(BPF_CORE_READ(task, nsproxy, mnt_ns));
	leader = BPF_CORE_READ(task, group_leader);
	if (!host_mnt_id)
		*(volatile __u64 *)&host_mnt_id = id;
	if (!id || id == host_mnt_id)
		return 0;
	/* A runtime's set-up process has been forked and has executed nothing yet. */
	if (BPF_CORE_READ(leader, flags) & PF_FORKNOEXEC)
		return 0;
	if (bpf_task_storage_get(&tags, task, 0, 0))
		return 0;
	if (!from_outside(task, id))
		return 0;

	container_fill(task, leader, outsider(task, id), &c);
	old = bpf_map_lookup_elem(&containers, &id);
	if (old) {
		__u32 pid = old->pid;

		/* Others come in from outside as well (`docker exec`): the init is the oldest. */
		if (pid == c.pid || old->start_ns <= c.start_ns) {
			caps_merge(old, c.caps);
			return 0;
		}
		caps_merge(&c, old->caps);
		bpf_map_delete_elem(&inits, &pid);
	}
	container_put(id, &c, BPF_ANY);
	/*
	 * Its last thread may have passed on_exit before the entry was there. signal->live falls before on_exit runs:
	 * either on_exit finds the entry, or the count is seen here.
	 */
	if (BPF_CORE_READ(task, signal, live.counter) <= 0)
		container_drop(c.pid, c.start_ns);
	return 0;
}

#endif
