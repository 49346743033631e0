// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who keeps a capsule's layer? Three walks over all tasks compare superblocks: open files, mappings, and
 * working and root folders. recapd sets `wanted` and reads one record for each holder.
 */
#include "kernel.bpf.h"
#include "compat.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct recap_wanted wanted;

static __always_inline bool is_layer(struct super_block *sb)
{
	__u32 dev = sb ? BPF_CORE_READ(sb, s_dev) : 0;

	return dev && (dev == wanted.overlay_dev || dev == wanted.tmpfs_dev);
}

static __always_inline bool holds_layer(struct file *file)
{
	return is_layer(BPF_CORE_READ(file, f_inode, i_sb)) ||
	       is_layer(BPF_CORE_READ(file, f_path.dentry, d_sb)) || is_layer(compat_user_sb(file));
}

/*
 * An open /proc/PID/ns/mnt keeps the namespace, and with it the mounts. Its inode's number may be another namespace's by now, its
 * ID never is. i_private is the ns_common of a namespace of whatever kind; one of another kind has no ID that is equal.
 */
static __always_inline bool holds_namespace(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	const void *ns = BPF_CORE_READ(inode, i_private);

	if (!wanted.mnt_id || BPF_CORE_READ(inode, i_sb, s_magic) != NSFS_MAGIC || !ns)
		return false;
	return compat_mnt_id(ns - bpf_core_field_offset(struct mnt_namespace, ns)) == wanted.mnt_id;
}

/*
 * A Unix socket with a name in the layer keeps the folder of that name, and so does every connection that was accepted from it
 * (unix_stream_connect() copies the path).
 */
static __always_inline bool holds_by_name(struct file *file)
{
	struct socket *sock;
	struct unix_sock *u;

	/* Where Unix sockets are a module of the kernel's, its BTF does not know them. */
	if (!bpf_core_type_exists(struct unix_sock) ||
	    BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return false;
	sock = BPF_CORE_READ(file, private_data);
	u = (struct unix_sock *)BPF_CORE_READ(sock, sk);
	return u && BPF_CORE_READ((struct sock *)u, __sk_common.skc_family) == AF_UNIX &&
	       is_layer(BPF_CORE_READ(u, path.dentry, d_sb));
}

static __always_inline void emit(struct seq_file *seq, struct task_struct *task, __u32 kind,
				 __s32 fd)
{
	struct recap_holder_record r = {.tgid = task->tgid, .kind = kind, .fd = fd};

	bpf_core_read_str(r.comm, sizeof(r.comm), &task->comm);
	bpf_seq_write(seq, &r, sizeof(r));
}

SEC("iter/task_file")
int holder_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file)
		return 0;
	if (holds_layer(file) || holds_by_name(file))
		emit(ctx->meta->seq, task, RECAP_HOLDER_FD, ctx->fd);
	else if (holds_namespace(file))
		emit(ctx->meta->seq, task, RECAP_HOLDER_NAMESPACE, ctx->fd);
	return 0;
}

SEC("iter/task_vma")
int holder_mappings(struct bpf_iter__task_vma *ctx)
{
	struct task_struct *task = ctx->task;
	struct vm_area_struct *vma = ctx->vma;
	struct file *file;

	if (!task || !vma)
		return 0;
	file = BPF_CORE_READ(vma, vm_file);
	if (file && holds_layer(file))
		emit(ctx->meta->seq, task, RECAP_HOLDER_MAPPING, -1);
	return 0;
}

SEC("iter/task")
int holder_folders(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	if (is_layer(BPF_CORE_READ(task, fs, root.dentry, d_sb)))
		emit(ctx->meta->seq, task, RECAP_HOLDER_ROOT, -1);
	else if (is_layer(BPF_CORE_READ(task, fs, pwd.dentry, d_sb)))
		emit(ctx->meta->seq, task, RECAP_HOLDER_CWD, -1);
	return 0;
}
