// SPDX-License-Identifier: MIT
/* A compacted filter says what libseccomp's says, for every number and whatever the arguments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "core/compact.h"
#include "core/syscalls.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

static void add(scmp_filter_ctx ctx, const char *const *names, uint32_t action)
{
	for (; *names; names++) {
		int nr = seccomp_syscall_resolve_name(*names);

		if (nr != __NR_SCMP_ERROR && nr >= 0)
			assert_int_equal(seccomp_rule_add(ctx, action, nr, 0), 0);
	}
}

static void add_args(scmp_filter_ctx ctx)
{
	assert_int_equal(
		seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER | CLONE_NEWNS, 0)),
		0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
					  SCMP_A0(SCMP_CMP_EQ, 8)),
			 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(1), SCMP_SYS(prlimit64), 1,
					  SCMP_A0(SCMP_CMP_NE, 0)),
			 0);
}

static struct sock_fprog exported(scmp_filter_ctx ctx)
{
	int fd = memfd_create("test", 0);
	struct sock_fprog p;
	off_t size;

	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	size = lseek(fd, 0, SEEK_END);
	p.len = size / sizeof(struct sock_filter);
	p.filter = malloc(size);
	assert_int_equal(pread(fd, p.filter, size, 0), size);
	close(fd);
	seccomp_release(ctx);
	return p;
}

struct filters {
	struct sock_fprog full, args, compact;
};

static int setup(void **state)
{
	static struct filters f;
	scmp_filter_ctx full = seccomp_init(SCMP_ACT_ERRNO(38)),
			args = seccomp_init(SCMP_ACT_ERRNO(38));

	add(full, syscalls_allowed, SCMP_ACT_ALLOW);
	add(full, syscalls_refused, SCMP_ACT_ERRNO(1));
	add(full, syscalls_ptrace, SCMP_ACT_ERRNO(1));
	add(full, syscalls_admin, SCMP_ACT_ERRNO(1));
	add(full, syscalls_chroot, SCMP_ACT_ERRNO(1));
	add(full, syscalls_time, SCMP_ACT_ERRNO(1));
	add_args(full);
	add_args(args);
	f.full = exported(full);
	f.args = exported(args);
	assert_int_equal(compact_filter(&f.full, &f.args, NATIVE, &f.compact), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct filters *f = *state;

	free(f->full.filter);
	free(f->args.filter);
	free(f->compact.filter);
	return 0;
}

static void agree(const struct filters *f, unsigned int nr, unsigned int arch)
{
	static const uint64_t values[] = {0,	1, 8, 0xffffffff, CLONE_NEWUSER, 0x100000000ull,
					  ~0ull};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct seccomp_data d = {
			.nr = (int)nr, .arch = arch, .args = {values[i], values[i]}};
		bool args;
		unsigned int want = compact_run(&f->full, &d, &args),
			     got = compact_run(&f->compact, &d, &args);

		if (want != got)
			fail_msg("number %u, architecture %x, argument %llx: %x instead of %x", nr,
				 arch, (unsigned long long)values[i], got, want);
	}
}

static void says_the_same(void **state)
{
	for (unsigned int nr = 0; nr < 3000; nr++)
		agree(*state, nr, NATIVE);
	/* x32's numbers, the highest, and "none" (-1, as a tracer sets it). */
	for (unsigned int nr = 0x3ffffff0; nr < 0x40000400; nr++)
		agree(*state, nr, NATIVE);
	agree(*state, 0x7fffffff, NATIVE);
	agree(*state, 0x80000000u, NATIVE);
	agree(*state, 0xffffffffu, NATIVE);
}

static void other_architectures_end(void **state)
{
	for (unsigned int nr = 0; nr < 600; nr++)
		agree(*state, nr, AUDIT_ARCH_I386);
}

/* Or there would be no point in it; and the two filters are not one program. */
static void is_shorter(void **state)
{
	const struct filters *f = *state;

	assert_true(f->compact.len * 2 < f->full.len);
}

static void no_filter_is_refused_outright(void **state)
{
	struct sock_filter add_insn = BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1);
	struct sock_fprog odd = {.len = 1, .filter = &add_insn}, none = {};
	struct seccomp_data d = {.arch = NATIVE};
	bool args;

	assert_int_equal(compact_run(&odd, &d, &args), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(compact_run(&none, &d, &args), SECCOMP_RET_KILL_PROCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_the_same),
		cmocka_unit_test(other_architectures_end),
		cmocka_unit_test(is_shorter),
		cmocka_unit_test(no_filter_is_refused_outright),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
