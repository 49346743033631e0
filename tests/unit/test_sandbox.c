// SPDX-License-Identifier: MIT
/* What a capsule may do: the sets that requests lead to, and the filter applied to a real process. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/netlink.h>
#include <sched.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
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
	assert_true(s.seccomp);
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
	assert_false(made(NULL, NULL, "unconfined").seccomp);
}

/* Run `fn` in a process under the filter; its return value, or 1000 + the signal that ended it. */
static int confined(const struct sandbox *s, int (*fn)(void))
{
	const struct sock_fprog *filter;
	struct error err = {};
	pid_t pid;
	int status;

	assert_int_equal(sandbox_filter(s, &filter, &err), 0);
	pid = fork();
	if (pid == 0)
		_exit(sandbox_seccomp(filter) < 0 ? 99 : fn());
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
	/* To the hypervisor, also where only the lower half says so. */
	if (socket(AF_VSOCK, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return 10;
	if (syscall(SYS_socket, 0x100000000ul | AF_VSOCK, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return 11;
	return 0;
}

static int allowed_calls(void)
{
	int fd = open("/dev/null", O_RDWR), n;

	if (fd < 0 || write(fd, "x", 1) != 1)
		return 1;
	if (ioctl(0, FIONREAD, &n) < 0 && errno == EPERM)
		return 2;
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_DGRAM, 0) < 0)
		return 4;
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

/* What socket(2) and socketpair(2) say: the filter's errors are those that a kernel without the family gives. */
static int usual_sockets(void)
{
	static const int allowed[] = {AF_UNIX, AF_INET, AF_INET6, AF_PACKET};

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (socket(allowed[i], SOCK_DGRAM, 0) < 0 && errno == EAFNOSUPPORT)
			return 10 + (int)i;
	if (socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) < 0 ||
	    socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG) < 0)
		return 1;
	for (int family = 0; family < 64; family++) {
		if (family == AF_UNIX || family == AF_INET || family == AF_INET6 ||
		    family == AF_PACKET || family == AF_NETLINK)
			continue;
		/* The one that leads to the hypervisor meets an older rule first. */
		if (socket(family, SOCK_DGRAM, 0) >= 0 ||
		    errno != (family == AF_VSOCK ? EPERM : EAFNOSUPPORT))
			return 100 + family;
	}
	/* The kernel reads 32 bits of the family. */
	if (syscall(SYS_socket, 0x100000000ul | AF_VSOCK, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return 2;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){}) < 0)
		return 3;
	return socketpair(AF_TIPC, SOCK_STREAM, 0, (int[2]){}) == 0 || errno != EAFNOSUPPORT ? 4
											     : 0;
}

static int netfilter_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER) >= 0 ? 0
	       : errno == EPROTONOSUPPORT			    ? 1
								    : 2;
}

static void sockets_of_the_usual_families(void **state)
{
	struct sandbox s = made(NULL, NULL, NULL), net = made(NULL, NULL, "net"),
		       admin = made((char *[]){"NET_ADMIN", NULL}, NULL, NULL);

	assert_int_equal(confined(&s, usual_sockets), 0);
	assert_int_equal(confined(&net, usual_sockets), 0);
	assert_int_equal(confined(&s, netfilter_socket), 1);
	assert_int_equal(confined(&net, netfilter_socket), 0);
	assert_int_equal(confined(&admin, netfilter_socket), 0);
}

static void profiles_by_name(void **state)
{
	struct sandbox s = made(NULL, NULL, "ptrace");

	assert_string_equal(sandbox_seccomp_name(s.seccomp), "ptrace");
	assert_int_equal(confined(&s, trace_me), 0);
	assert_int_equal(s.caps & BIT(CAP_SYS_PTRACE), 0);
	/* It is the capability that takes Landlock off. */
	assert_true(s.landlock);
	assert_int_equal(confined(&(struct sandbox){.seccomp = SANDBOX_NET}, trace_me), 1);
}

static void users_hold_what_was_added(void **state)
{
	struct sandbox s = made((char *[]){"NET_ADMIN", NULL}, NULL, NULL);

	assert_int_equal(sandbox_granted(&s, 0), s.caps);
	assert_int_equal(sandbox_granted(&s, 1000), BIT(CAP_NET_ADMIN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_is_less_than_dockers),
		cmocka_unit_test(add_and_drop),
		cmocka_unit_test(unknown_names_are_refused),
		cmocka_unit_test(filter_refuses_and_allows),
		cmocka_unit_test(capability_unlocks_its_calls),
		cmocka_unit_test(sockets_of_the_usual_families),
		cmocka_unit_test(profiles_by_name),
		cmocka_unit_test(users_hold_what_was_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
