// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node's process lifecycles: which containers there are (inventory.bpf.h) and which tasks belong
 * to a capsule (capsule.bpf.h). One program for each tracepoint serves both.
 */
#include "kernel.bpf.h"
#include "compat.bpf.h"
#include "maps.bpf.h"
#include "inventory.bpf.h"
#include "capsule.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * kernel_clone() calls the tracepoint after the child can no longer fail to come into being and before
 * wake_up_new_task(): the child carries its tag before its first instruction, for processes and threads alike.
 */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	tree_fork(parent, child);
	return 0;
}

/*
 * bprm_execve() calls it after the point of no return: credentials, name and root are the new program's, and
 * de_thread() has left this thread as its process's only one and as its leader.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	if (!tree_exec(task))
		inventory_exec(task);
	return 0;
}

/*
 * do_exit() calls it once for each thread, after it took the thread off signal->live, and before the task lets go
 * of namespaces, files and task storage. Arguments grew over time (6.16: group_dead), so only the first is used.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	tree_exit(task);
	inventory_exit(task);
	return 0;
}
