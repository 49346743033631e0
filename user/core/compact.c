// SPDX-License-Identifier: MIT
#include "core/compact.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define NUMBERS_MAX 1024	/* beyond the last system call of any architecture's own */
#define X32_BIT	    0x40000000u /* x86: another ABI's numbers, which libseccomp tells apart */
#define RANGES_MAX  256
#define JUMP_MAX    255 /* instructions (struct sock_filter) */

/* libseccomp writes a filter to a descriptor only: read it back. */
int compact_export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
	cleanup_fd int fd = memfd_create("seccomp", MFD_CLOEXEC);
	cleanup_free struct sock_filter *insns = NULL;
	off_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || (size_t)size > BPF_MAXINSNS * sizeof(*insns))
		return -E2BIG;
	insns = malloc(size);
	if (!insns)
		return -ENOMEM;
	if (pread(fd, insns, size, 0) != size)
		return -EIO;
	*ret = (struct sock_fprog){.len = size / sizeof(*insns), .filter = TAKE_PTR(insns)};
	return 0;
}

static bool jump_taken(unsigned int code, unsigned int a, unsigned int k)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == k;
	case BPF_JGT:
		return a > k;
	case BPF_JGE:
		return a >= k;
	default:
		return a & k; /* BPF_JSET */
	}
}

unsigned int compact_run(const struct sock_fprog *prog, const struct seccomp_data *data,
			 bool *ret_args)
{
	unsigned int a = 0;

	*ret_args = false;
	for (unsigned int pc = 0; pc < prog->len; pc++) {
		const struct sock_filter *i = &prog->filter[pc];

		if (i->code == (BPF_LD | BPF_W | BPF_ABS) && i->k <= sizeof(*data) - sizeof(a)) {
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			*ret_args |= i->k >= offsetof(struct seccomp_data, instruction_pointer);
		} else if (i->code == (BPF_ALU | BPF_AND | BPF_K)) {
			a &= i->k;
		} else if (i->code == (BPF_JMP | BPF_JA)) {
			pc += i->k;
		} else if (BPF_CLASS(i->code) == BPF_JMP && BPF_SRC(i->code) == BPF_K) {
			pc += jump_taken(i->code, a, i->k) ? i->jt : i->jf;
		} else {
			return i->code == (BPF_RET | BPF_K) ? i->k : SECCOMP_RET_KILL_PROCESS;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

struct range {
	unsigned int first, action;
	bool args; /* by its arguments: `action` says nothing */
};

#define LEAVES_MAX 16 /* different answers */

struct tree {
	struct range ranges[RANGES_MAX];
	size_t n;
	struct range
		leaves[LEAVES_MAX]; /* behind the comparisons: one for all ranges of an answer */
	size_t n_leaves;
	struct sock_filter insns[4 + RANGES_MAX + LEAVES_MAX];
	size_t len, end; /* `end`: where the program for arguments starts */
};

static bool same(const struct range *a, const struct range *b)
{
	return a->args == b->args && (a->args || a->action == b->action);
}

static int add_range(struct tree *t, const struct sock_fprog *full, unsigned int nr,
		     unsigned int arch)
{
	struct seccomp_data data = {.nr = (int)nr, .arch = arch};
	struct range r = {.first = nr};

	r.action = compact_run(full, &data, &r.args);
	if (t->n && same(&t->ranges[t->n - 1], &r))
		return 0;
	if (t->n == RANGES_MAX)
		return -E2BIG;
	t->ranges[t->n++] = r;
	return 0;
}

static void put(struct tree *t, struct sock_filter insn)
{
	t->insns[t->len++] = insn;
}

static int add_leaf(struct tree *t, const struct range *r)
{
	for (size_t i = 0; i < t->n_leaves; i++)
		if (same(&t->leaves[i], r))
			return 0;
	if (t->n_leaves == LEAVES_MAX)
		return -E2BIG;
	t->leaves[t->n_leaves++] = *r;
	return 0;
}

static size_t leaf_of(const struct tree *t, const struct range *r)
{
	size_t i = 0;

	while (!same(&t->leaves[i], r))
		i++;
	return t->end - t->n_leaves + i;
}

/* Where the search over ranges [lo, hi] begins when its comparisons are at `at`: a single range needs none. */
static size_t start_of(const struct tree *t, size_t at, size_t lo, size_t hi)
{
	return lo < hi ? at : leaf_of(t, &t->ranges[lo]);
}

/* The search over ranges [lo, hi], of which each needs a comparison with the one before it. */
static void put_search(struct tree *t, size_t lo, size_t hi)
{
	size_t mid = (lo + hi + 1) / 2, next = t->len + 1;
	size_t right = start_of(t, next + (mid - 1 - lo), mid, hi);

	if (lo == hi)
		return;
	put(t, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, t->ranges[mid].first,
					    right - next, start_of(t, next, lo, mid - 1) - next));
	put_search(t, lo, mid - 1);
	put_search(t, mid, hi);
}

static void put_leaves(struct tree *t)
{
	for (size_t i = 0; i < t->n_leaves; i++)
		put(t,
		    t->leaves[i].args
			    ? (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, t->end - t->len - 1)
			    : (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, t->leaves[i].action));
}

static int build(struct tree *t, const struct sock_fprog *full, unsigned int arch)
{
	int r = 0;

	for (unsigned int nr = 0; nr <= NUMBERS_MAX && r == 0; nr++)
		r = add_range(t, full, nr, arch);
	if (r == 0)
		r = add_range(t, full, X32_BIT, arch);
	/* What a tracer makes of a call that is to be skipped; libseccomp does not take it for x32. */
	if (r == 0)
		r = add_range(t, full, ~0u, arch);
	for (size_t i = 0; i < t->n && r == 0; i++)
		r = add_leaf(t, &t->ranges[i]);
	/* The first comparison may jump to the last leaf. */
	if (r < 0 || t->n + t->n_leaves > JUMP_MAX)
		return -E2BIG;
	t->end = 4 + t->n - 1 + t->n_leaves;
	put(t, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    offsetof(struct seccomp_data, arch)));
	put(t, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 1, 0));
	put(t, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, t->end - t->len - 1));
	put(t, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    offsetof(struct seccomp_data, nr)));
	put_search(t, 0, t->n - 1);
	put_leaves(t);
	return 0;
}

int compact_filter(const struct sock_fprog *full, const struct sock_fprog *args, unsigned int arch,
		   struct sock_fprog *ret)
{
	cleanup_free struct tree *t = calloc(1, sizeof(*t));
	struct sock_filter *insns;
	int r = t ? build(t, full, arch) : -ENOMEM;

	if (r < 0)
		return r;
	insns = calloc(t->len + args->len, sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	memcpy(insns, t->insns, t->len * sizeof(*insns));
	memcpy(insns + t->len, args->filter, args->len * sizeof(*insns));
	*ret = (struct sock_fprog){.len = t->len + args->len, .filter = insns};
	return 0;
}
