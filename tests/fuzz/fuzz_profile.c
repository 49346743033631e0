// SPDX-License-Identifier: MIT
/*
 * libFuzzer over seccomp profiles as clients send them. The first byte chooses the capabilities, the rest is the text. What must
 * hold of any that is taken: the kernel takes its filter too, which refuses calls of another architecture and lets a tool start.
 */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/compact.h"
#include "core/sandbox.h"
#include "core/seccomp_profile.h"
#include "fuzz.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

/* As the kernel checks it: every way leads forward, to a return. */
static void check_jumps(const struct sock_fprog *f)
{
	for (unsigned int i = 0; i < f->len; i++) {
		const struct sock_filter *insn = &f->filter[i];

		if (insn->code == (BPF_JMP | BPF_JA))
			must(insn->k < f->len - i - 1);
		else if (BPF_CLASS(insn->code) == BPF_JMP)
			must(i + 1 + insn->jt < f->len && i + 1 + insn->jf < f->len);
	}
	must(f->filter[f->len - 1].code == (BPF_RET | BPF_K));
}

static void check_filter(const struct sock_fprog *f)
{
	struct seccomp_data call = {.nr = SYS_execve, .arch = NATIVE}, other = {.arch = 1};
	bool args;
	unsigned int action;

	must(f->len > 0 && f->len <= BPF_MAXINSNS);
	check_jumps(f);
	must(compact_run(f, &other, &args) == SECCOMP_RET_KILL_THREAD);
	action = compact_run(f, &call, &args);
	must(args || action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG);
	for (call.nr = 0; call.nr < 512; call.nr++)
		compact_run(f, &call, &args);
}

static void check_error(int r, const struct error *err)
{
	must(r < 0 && err->code == -r && !strcmp(err->name, "InvalidArgument"));
	must(err->msg[0] && !strchr(err->msg, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sock_fprog filter = {};
	struct sandbox s = {};
	struct error err = {};
	char *text;
	int r;

	if (size == 0)
		return -1;
	s.caps = *data == '0' ? 0 : *data == '1' ? 1ull << 21 : ~0ull;
	text = strndup((const char *)data + 1, size - 1);
	must(text);
	r = sandbox_use_profile(&s, text, &filter, &err);
	if (r == 0)
		check_filter(&filter);
	else
		check_error(r, &err);
	free(filter.filter);
	free(text);
	return 0;
}
