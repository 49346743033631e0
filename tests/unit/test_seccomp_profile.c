// SPDX-License-Identifier: MIT
/* Seccomp profiles as files: what they come to, by running the filter, and what is refused, naming the place. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/fd.h"
#include "core/compact.h"
#include "core/sandbox.h"
#include "core/seccomp_profile.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#define COMPAT AUDIT_ARCH_I386
#define GETPID 20 /* of the 32-bit companion, as is */
#else
#define NATIVE AUDIT_ARCH_AARCH64
#define COMPAT AUDIT_ARCH_ARM
#define GETPID 20
#endif

#define REFUSED(code) (SECCOMP_RET_ERRNO | (code))
#define BIT(c)	      (1ull << (c))

static struct sock_fprog compiled(const char *text, uint64_t caps)
{
	struct sandbox s = {.caps = caps};
	struct sock_fprog filter;
	struct error err = {};

	if (sandbox_use_profile(&s, text, &filter, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(s.seccomp, SANDBOX_PROFILE);
	return filter;
}

static unsigned int run_as(const struct sock_fprog *filter, unsigned int arch, long nr,
			   const uint64_t args[6])
{
	struct seccomp_data data = {.nr = (int)nr, .arch = arch};
	bool looked;

	for (int i = 0; args && i < 6; i++)
		data.args[i] = args[i];
	return compact_run(filter, &data, &looked);
}

static unsigned int run(const struct sock_fprog *filter, long nr, uint64_t first)
{
	return run_as(filter, NATIVE, nr, (const uint64_t[6]){first});
}

static char *shipped(void)
{
	char *text;

	assert_int_equal(
		fd_read_file(AT_FDCWD, "tests/unit/data/seccomp.json", 1 << 20, &text, NULL), 0);
	return text;
}

static void profile_of_dockers_kind(void **state)
{
	cleanup_free char *text = shipped();
	struct sock_fprog f = compiled(text, 0);

	assert_int_equal(run(&f, SYS_read, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_uname, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_swapon, 0), REFUSED(ENOSYS));
	assert_int_equal(run(&f, SYS_mkdirat, 0), REFUSED(EDQUOT));
	assert_int_equal(run(&f, SYS_keyctl, 0), REFUSED(EPERM));
	assert_int_equal(run(&f, SYS_socket, AF_INET), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_socket, AF_VSOCK), REFUSED(EPERM));
	assert_int_equal(run(&f, SYS_clone, SIGCHLD), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_clone, SIGCHLD | CLONE_NEWUSER), REFUSED(ENOSYS));
	assert_int_equal(run(&f, SYS_personality, 0xffffffff), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_personality, 1), REFUSED(ENOSYS));
	free(f.filter);
}

static void capabilities_include_and_exclude(void **state)
{
	cleanup_free char *text = shipped();
	struct sock_fprog f = compiled(text, 0), admin = compiled(text, BIT(CAP_SYS_ADMIN)),
			  ptrace = compiled(text, BIT(CAP_SYS_PTRACE));

	assert_int_equal(run(&f, SYS_mount, 0), REFUSED(EPERM));
	assert_int_equal(run(&admin, SYS_mount, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_unshare, 0), REFUSED(ENOSYS));
	assert_int_equal(run(&admin, SYS_unshare, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&admin, SYS_clone, CLONE_NEWUSER), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&f, SYS_ptrace, 0), REFUSED(ENOSYS));
	assert_int_equal(run(&ptrace, SYS_ptrace, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(run(&ptrace, SYS_mount, 0), REFUSED(EPERM));
	free(f.filter);
	free(admin.filter);
	free(ptrace.filter);
}

/* Those of the profile are not added: neither the 32-bit companion nor x32, whose numbers are of the native architecture. */
static void only_the_native_architecture(void **state)
{
	cleanup_free char *text = shipped();
	struct sock_fprog f = compiled(text, 0),
			  open = compiled("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", 0);
	const uint64_t tiocsti[6] = {0, TIOCSTI}, upper[6] = {0, 0x100000000ull | TIOCSTI};

	assert_int_equal(run_as(&f, COMPAT, GETPID, NULL), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(run_as(&open, COMPAT, GETPID, NULL), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(run_as(&f, NATIVE, 0x40000000, NULL), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(run_as(&open, NATIVE, 0x40000000 | SYS_socket, NULL),
			 SECCOMP_RET_KILL_THREAD);
	/* Typing into a terminal is refused, whatever the profile says of ioctl. */
	assert_int_equal(run_as(&open, NATIVE, SYS_ioctl, tiocsti), REFUSED(EPERM));
	assert_int_equal(run_as(&f, NATIVE, SYS_ioctl, upper), REFUSED(EPERM));
	assert_int_equal(run(&open, SYS_ioctl, 0), SECCOMP_RET_ALLOW);
	free(f.filter);
	free(open.filter);
}

#define ENTRY(rest) "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" rest "]}"
#define READ(rest)  ENTRY("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\"" rest "}")
#define ARG(rest)   READ(",\"args\":[{\"index\":1," rest "}]")

static unsigned int reads(const char *text, uint64_t second)
{
	struct sock_fprog f = compiled(text, 0);
	unsigned int action = run_as(&f, NATIVE, SYS_read, (const uint64_t[6]){7, second, 8});

	free(f.filter);
	return action;
}

static void all_comparisons(void **state)
{
	static const struct {
		const char *op;
		bool below, same, above; /* whether the rule holds at 41, 42, 43 */
	} ops[] = {{"NE", 1, 0, 1}, {"LT", 1, 0, 0}, {"LE", 1, 1, 0},
		   {"EQ", 0, 1, 0}, {"GE", 0, 1, 1}, {"GT", 0, 0, 1}};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		snprintf(text, sizeof(text), ARG("\"op\":\"SCMP_CMP_%s\",\"value\":42"), ops[i].op);
		assert_int_equal(reads(text, 41) != SECCOMP_RET_ALLOW, ops[i].below);
		assert_int_equal(reads(text, 42) != SECCOMP_RET_ALLOW, ops[i].same);
		assert_int_equal(reads(text, 43) != SECCOMP_RET_ALLOW, ops[i].above);
	}
	/* All 64 bits count. */
	assert_int_equal(reads(ARG("\"op\":\"SCMP_CMP_EQ\",\"value\":18446744073709551615"), ~0ull),
			 REFUSED(EPERM));
	assert_int_equal(reads(ARG("\"op\":\"SCMP_CMP_EQ\",\"value\":42"), 0x10000002aull),
			 SECCOMP_RET_ALLOW);
	assert_int_equal(
		reads(ARG("\"op\":\"SCMP_CMP_MASKED_EQ\",\"value\":240,\"valueTwo\":32"), 0x2f),
		REFUSED(EPERM));
	assert_int_equal(
		reads(ARG("\"op\":\"SCMP_CMP_MASKED_EQ\",\"value\":240,\"valueTwo\":32"), 0x3f),
		SECCOMP_RET_ALLOW);
}

static void comparisons_go_together(void **state)
{
	/* All of them must hold; but one argument that is looked at twice makes two rules, as with runc. */
	static const char both[] =
		READ(",\"args\":[{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":7},"
		     "{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":1}]");
	static const char twice[] =
		READ(",\"args\":[{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":1},"
		     "{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":2}]");

	assert_int_equal(reads(both, 1), REFUSED(EPERM));
	assert_int_equal(reads(both, 2), SECCOMP_RET_ALLOW);
	assert_int_equal(reads(twice, 1), REFUSED(EPERM));
	assert_int_equal(reads(twice, 2), REFUSED(EPERM));
	assert_int_equal(reads(twice, 3), SECCOMP_RET_ALLOW);
}

#define TWO(first, second)                                                                            \
	"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":" first \
	"},{\"names\":[\"read\"],\"action\":" second "}]}"
#define WHERE(value) ",\"args\":[{\"index\":1,\"op\":\"SCMP_CMP_GE\",\"value\":" value "}]"

static void several_rules_of_a_call(void **state)
{
	/* The first that holds. */
	static const char order[] =
		TWO("\"SCMP_ACT_TRAP\"" WHERE("8"), "\"SCMP_ACT_ERRNO\"" WHERE("4"));
	/* One without comparisons leaves the others nothing, wherever it stands: as with libseccomp. */
	static const char behind[] = TWO("\"SCMP_ACT_TRAP\"" WHERE("8"), "\"SCMP_ACT_ERRNO\"");
	static const char before[] = TWO("\"SCMP_ACT_ERRNO\"", "\"SCMP_ACT_TRAP\"" WHERE("8"));

	assert_int_equal(reads(order, 9), SECCOMP_RET_TRAP);
	assert_int_equal(reads(order, 5), REFUSED(EPERM));
	assert_int_equal(reads(order, 3), SECCOMP_RET_ALLOW);
	assert_int_equal(reads(behind, 9), REFUSED(EPERM));
	assert_int_equal(reads(before, 9), REFUSED(EPERM));
	assert_int_equal(reads(before, 0), REFUSED(EPERM));
}

/* One comparison of each kind, as libseccomp compiles it: nothing but the order of several rules is ours. */
static void comparisons_are_libseccomps(void **state)
{
	static const char *const names[] = {NULL, "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"};
	static const uint64_t values[] = {
		0,	    1,		 41,	      42,	   43,
		0xffffffff, 0x100000000, 0x10000002a, 0x20000002a, 0x7fffffffffffffff};
	const uint64_t wanted[] = {42, 0x10000002a, 0, 0xffffffff00000000};
	char text[256];

	for (int op = 1; op < 8; op++)
		for (size_t w = 0; w < ARRAY_SIZE(wanted); w++) {
			scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
			struct sock_fprog theirs;

			assert_int_equal(
				seccomp_rule_add(
					ctx, SCMP_ACT_ERRNO(EPERM), SYS_read, 1,
					SCMP_CMP(1, op, wanted[w],
						 op == SCMP_CMP_MASKED_EQ ? 42 & wanted[w] : 0)),
				0);
			assert_int_equal(compact_export(ctx, &theirs), 0);
			snprintf(text, sizeof(text),
				 ARG("\"op\":\"SCMP_CMP_%s\",\"value\":%llu,\"valueTwo\":%llu"),
				 names[op], (unsigned long long)wanted[w],
				 (unsigned long long)(42 & wanted[w]));
			for (size_t v = 0; v < ARRAY_SIZE(values); v++)
				assert_int_equal(reads(text, values[v]),
						 run_as(&theirs, NATIVE, SYS_read,
							(const uint64_t[6]){7, values[v], 8}));
			seccomp_release(ctx);
			free(theirs.filter);
		}
}

static void actions_and_errors(void **state)
{
	static const struct {
		const char *action;
		unsigned int result;
	} all[] = {{"\"SCMP_ACT_KILL\"", SECCOMP_RET_KILL_THREAD},
		   {"\"SCMP_ACT_KILL_THREAD\"", SECCOMP_RET_KILL_THREAD},
		   {"\"SCMP_ACT_KILL_PROCESS\"", SECCOMP_RET_KILL_PROCESS},
		   {"\"SCMP_ACT_TRAP\"", SECCOMP_RET_TRAP},
		   {"\"SCMP_ACT_LOG\"", SECCOMP_RET_LOG},
		   {"\"SCMP_ACT_ERRNO\"", REFUSED(EPERM)},
		   {"\"SCMP_ACT_ERRNO\",\"errnoRet\":38", REFUSED(ENOSYS)},
		   {"\"SCMP_ACT_ERRNO\",\"errno\":\"EACCES\"", REFUSED(EACCES)},
		   {"\"SCMP_ACT_ERRNO\",\"errno\":\"13\",\"errnoRet\":13", REFUSED(EACCES)},
		   {"\"SCMP_ACT_ERRNO\",\"errnoRet\":null", REFUSED(EPERM)}};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		snprintf(text, sizeof(text), ENTRY("{\"name\":\"read\",\"action\":%s}"),
			 all[i].action);
		assert_int_equal(reads(text, 0), all[i].result);
	}
}

static void conditions(void **state)
{
	/* Each of these leaves the rule out. */
	static const char *const out[] = {
		READ(",\"includes\":{\"caps\":[\"CAP_KILL\"]}"),
		READ(",\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_OF_TOMORROW\"]}"),
		READ(",\"includes\":{\"arches\":[\"s390x\"]}"),
		READ(",\"includes\":{\"minKernel\":\"99.0\"}"),
		READ(",\"excludes\":{\"caps\":[\"CAP_KILL\",\"CAP_CHOWN\"]}"),
		READ(",\"excludes\":{\"arches\":[\"amd64\",\"arm64\"]}"),
		READ(",\"excludes\":{\"minKernel\":\"4.8\"}"),
	};
	static const char *const in[] = {
		READ(",\"includes\":{\"caps\":[\"CAP_CHOWN\"],\"arches\":[\"arm64\",\"amd64\"]}"),
		READ(",\"includes\":{\"minKernel\":\"5.10.3\"}"),
		READ(",\"excludes\":{\"caps\":[\"CAP_KILL\"],\"minKernel\":\"99.1\"}"),
		READ(",\"excludes\":{\"arches\":[\"s390\"]},\"includes\":{}"),
		READ(",\"includes\":null,\"excludes\":null,\"args\":null,\"comment\":\"\""),
	};
	struct sock_fprog f;

	for (size_t i = 0; i < ARRAY_SIZE(out) + ARRAY_SIZE(in); i++) {
		bool is_out = i < ARRAY_SIZE(out);

		f = compiled(is_out ? out[i] : in[i - ARRAY_SIZE(out)], BIT(CAP_CHOWN));
		assert_int_equal(run(&f, SYS_read, 0) == SECCOMP_RET_ALLOW, is_out);
		free(f.filter);
	}
}

static void refuse(const char *text, const char *needle)
{
	struct error err = {};
	struct sandbox s = {.seccomp = SANDBOX_DEFAULT};
	struct sock_fprog filter;

	if (sandbox_use_profile(&s, text, &filter, &err) == 0)
		fail_msg("%s is taken", text);
	assert_string_equal(err.name, "InvalidArgument");
	if (!strstr(err.msg, needle))
		fail_msg("\"%s\" is not in \"%s\"", needle, err.msg);
	assert_null(strchr(err.msg, '\n'));
	assert_int_equal(s.seccomp, SANDBOX_DEFAULT);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *needle;
	} all[] = {
		{"", "seccomp profile"},
		{"[]", "it must be an object"},
		{"{}", "defaultAction is missing"},
		{"{\"defaultAction\":7}", "defaultAction must be of type string"},
		{"{\"defaultAction\":\"ALLOW\"}", "defaultAction is not an action"},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "defaultAction needs somebody"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}", "no error number"},
		{"{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", "refuses execve"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"sys\\ncalls\":[]}",
		 "sys?calls is no member"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"\":[]}", "is no member"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}", "listenerPath"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"FAST\"]}",
		 "flags[0] is not a flag"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86\"],"
		 "\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86\"}]}",
		 "exclude each other"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"amd64\"]}",
		 "architectures[0] is not an architecture"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"archMap\":[{\"subArchitectures\":[]}]}",
		 "archMap[0].architecture is missing"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}",
		 "syscalls must be of type array"},
		{ENTRY("1"), "syscalls[0] must be an object"},
		{ENTRY("{\"names\":[\"read\"]}"), "syscalls[0].action is missing"},
		{ENTRY("{\"action\":\"SCMP_ACT_KILL\"}"), "syscalls[0] needs either name or names"},
		{ENTRY("{\"name\":\"a\",\"names\":[],\"action\":\"SCMP_ACT_KILL\"}"), "either"},
		{ENTRY("{\"names\":[\"read\",3],\"action\":\"SCMP_ACT_KILL\"}"),
		 "syscalls[0].names[1]"},
		{ENTRY("{\"names\":[\"read\\u0000x\"],\"action\":\"SCMP_ACT_KILL\"}"), "names[0]"},
		{ENTRY("{\"names\":[\"Read\"],\"action\":\"SCMP_ACT_KILL\"}"),
		 "names[0] is not the name"},
		{ENTRY("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRACE\"}"),
		 "syscalls[0].action needs"},
		{READ(",\"arg\":[]"), "syscalls[0].arg is no member"},
		{READ(",\"args action\":[]"), "is no member"},
		{READ(",\"errnoRet\":4096"), "syscalls[0].errnoRet must be from 0"},
		{READ(",\"errno\":\"ENOTHING\""), "syscalls[0].errno is not the name of an error"},
		{READ(",\"errno\":\"EIO\",\"errnoRet\":1"), "is another error"},
		{ARG("\"value\":1"), "syscalls[0].args[0].op is missing"},
		{ARG("\"value\":1,\"op\":\"EQ\""), "syscalls[0].args[0].op is not a comparison"},
		{ARG("\"value\":-1,\"op\":\"SCMP_CMP_EQ\""), "args[0].value must not be negative"},
		{ARG("\"value\":1.5,\"op\":\"SCMP_CMP_EQ\""), "args[0].value must be of type int"},
		{READ(",\"args\":[{\"op\":\"SCMP_CMP_EQ\"}]"), "args[0].index must be from 0 to 5"},
		{READ(",\"args\":[{\"index\":6,\"op\":\"SCMP_CMP_EQ\"}]"), "args[0].index"},
		{READ(",\"includes\":{\"cap\":[]}"), "syscalls[0].includes.cap is no member"},
		{READ(",\"includes\":{\"caps\":[\"KILL\"]}"),
		 "syscalls[0].includes.caps[0] is not"},
		{READ(",\"excludes\":{\"minKernel\":\"new\"}"),
		 "syscalls[0].excludes.minKernel must be"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		refuse(all[i].text, all[i].needle);
}

static void sizes_are_bounded(void **state)
{
	static char text[2 * SECCOMP_PROFILE_MAX];
	size_t len = 0;

	memset(text, ' ', SECCOMP_PROFILE_MAX + 1);
	refuse(text, "larger than 65536 bytes");
	memset(text, 0, sizeof(text));
	/* Rules that look at arguments of one call are what costs most. */
	len = sprintf(text, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[");
	for (int i = 0; i < 300; i++)
		len += sprintf(
			text + len,
			"%s{\"name\":\"read\",\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":1,"
			"\"value\":%d,\"op\":\"SCMP_CMP_EQ\"}]}",
			i ? "," : "", i);
	strcpy(text + len, "]}");
	refuse(text, "syscalls[256] is one rule too many");
	memset(text, 0, sizeof(text));
	/* The longest that is taken in comparisons is longer than what the kernel takes. */
	len = sprintf(text, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[");
	for (int i = 0; i < 250; i++) {
		len += sprintf(text + len,
			       "%s{\"name\":\"read\",\"action\":\"SCMP_ACT_TRAP\",\"args\":[",
			       i ? "," : "");
		for (int j = 0; j < 4; j++)
			len += sprintf(text + len, "%s{\"index\":%d,\"op\":\"SCMP_CMP_GE\"}",
				       j ? "," : "", j);
		len += sprintf(text + len, "]}");
	}
	strcpy(text + len, "]}");
	refuse(text, "too long for the kernel");
	refuse(READ(",\"args\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"),
	       "too many comparisons");
	memset(text, '[', 1000);
	text[1000] = '\0';
	refuse(text, "seccomp profile");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(profile_of_dockers_kind),
		cmocka_unit_test(capabilities_include_and_exclude),
		cmocka_unit_test(only_the_native_architecture),
		cmocka_unit_test(all_comparisons),
		cmocka_unit_test(comparisons_go_together),
		cmocka_unit_test(several_rules_of_a_call),
		cmocka_unit_test(comparisons_are_libseccomps),
		cmocka_unit_test(actions_and_errors),
		cmocka_unit_test(conditions),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(sizes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
