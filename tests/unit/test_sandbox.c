// SPDX-License-Identifier: MIT
/* What a capsule may do: the sets that requests lead to, and the filter applied to a real process. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/sandbox.h"

#define BIT(c) (1ull << (c))

static struct sandbox made(char *const *add, char *const *drop, const char *profile)
{
	struct error err = {};
	struct sandbox s;

	if (sandbox_make(add, drop, profile, &s, &err) < 0)
		fail_msg("%s", err.msg);
	return s;
}

static void default_is_less_than_dockers(void **state)
{
	const uint64_t docker = 0xa80425fb;
	struct sandbox s = made(NULL, NULL, NULL);

	assert_int_equal(s.caps & ~docker, 0);
	assert_true(s.caps != docker);
	assert_int_equal(s.added, 0);
	assert_non_null(s.seccomp);
	assert_true(s.landlock);
}

static void add_and_drop(void **state)
{
	struct sandbox s = made((char *[]){"net_admin", "CAP_SYS_PTRACE", NULL},
				(char *[]){"ALL", NULL}, NULL);

	assert_int_equal(s.caps, BIT(CAP_NET_ADMIN) | BIT(CAP_SYS_PTRACE));
	assert_int_equal(s.added, s.caps);
	/* A Landlock domain may not trace what is outside of it, so the two exclude each other. */
	assert_false(s.landlock);
	s = made(NULL, (char *[]){"NET_RAW", NULL}, NULL);
	assert_int_equal(s.caps & BIT(CAP_NET_RAW), 0);
	assert_true(s.caps & BIT(CAP_CHOWN));
}

static void unknown_names_are_refused(void **state)
{
	struct error err = {};
	struct sandbox s;

	assert_int_equal(sandbox_make((char *[]){"FLY", NULL}, NULL, NULL, &s, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "FLY"));
	/* Everything at once is never asked for by accident. */
	assert_int_equal(sandbox_make((char *[]){"ALL", NULL}, NULL, NULL, &s, &err), -EINVAL);
	assert_int_equal(sandbox_make(NULL, NULL, "lax", &s, &err), -EINVAL);
	assert_string_equal(err.name, "InvalidArgument");
	assert_null(made(NULL, NULL, "unconfined").seccomp);
}

/* Run `fn` in a process under the filter; its return value, or 1000 + the signal that ended it. */
static int confined(const struct sandbox *s, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(sandbox_seccomp(s) < 0 ? 99 : fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Errors that the filter gives, before the kernel looks at anything. */
static int refused_calls(void)
{
	char c = 'x';

	if (mount("x", "/", "tmpfs", 0, NULL) == 0 || errno != EPERM)
		return 1;
	if (unshare(CLONE_NEWUSER) == 0 || errno != EPERM)
		return 2;
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 || errno != EPERM)
		return 3;
	if (syscall(SYS_clone3, NULL, 0) == 0 || errno != ENOSYS)
		return 4;
	if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0 || errno != EPERM)
		if (errno != ENOSYS)
			return 5;
	if (ioctl(0, TIOCSTI, &c) == 0 || errno != EPERM)
		return 6;
	/* The kernel reads 32 bits of the request: the upper half must not be a way round (CVE-2019-10063). */
	if (syscall(SYS_ioctl, 0, 0x100000000ul | TIOCSTI, &c) == 0 || errno != EPERM)
		return 7;
	if (syscall(SYS_keyctl, 0, 0, 0, 0, 0) >= 0 || errno != EPERM)
		return 8;
	if (syscall(600) >= 0 || errno != ENOSYS)
		return 9;
	return 0;
}

static int allowed_calls(void)
{
	int fd = open("/dev/null", O_RDWR), n;

	if (fd < 0 || write(fd, "x", 1) != 1)
		return 1;
	if (ioctl(0, FIONREAD, &n) < 0 && errno == EPERM)
		return 2;
	if (fork() == 0)
		_exit(0);
	return wait(NULL) > 0 ? 0 : 3;
}

static int trace_me(void)
{
	return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : 1;
}

static void filter_refuses_and_allows(void **state)
{
	struct sandbox s = made(NULL, NULL, NULL);

	assert_int_equal(confined(&s, refused_calls), 0);
	assert_int_equal(confined(&s, allowed_calls), 0);
	assert_int_equal(confined(&s, trace_me), 1);
}

static void capability_unlocks_its_calls(void **state)
{
	struct sandbox s = made((char *[]){"SYS_PTRACE", NULL}, NULL, NULL);

	assert_int_equal(confined(&s, trace_me), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_is_less_than_dockers),
		cmocka_unit_test(add_and_drop),
		cmocka_unit_test(unknown_names_are_refused),
		cmocka_unit_test(filter_refuses_and_allows),
		cmocka_unit_test(capability_unlocks_its_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
