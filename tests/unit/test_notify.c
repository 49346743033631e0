// SPDX-License-Identifier: MIT
/* What a service manager that waits for recapd gets to hear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "recapd/notify.h"

static int listen_at(const char *name, size_t len)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, name, len);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&sa, offsetof(struct sockaddr_un, sun_path) + len), 0);
	return fd;
}

static void assert_told(int fd)
{
	char text[32] = {};

	assert_int_equal(recv(fd, text, sizeof(text), 0), strlen("READY=1"));
	assert_string_equal(text, "READY=1");
	close(fd);
}

static void a_socket_with_a_path_is_told(void **state)
{
	char path[] = "/tmp/recap-notify-XXXXXX", name[64];
	int fd;

	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof(name), "%s/s", path);
	fd = listen_at(name, strlen(name));
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_ready(), 0);
	assert_told(fd);
	unlink(name);
	rmdir(path);
}

static void an_abstract_socket_is_told(void **state)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "@recap-notify-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	name[0] = '\0';
	fd = listen_at(name, 1 + strlen(name + 1));
	assert_int_equal(notify_ready(), 0);
	assert_told(fd);
}

static void nobody_need_be_told(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_ready(), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_ready(), 0);
}

static void who_cannot_be_told_is_an_error(void **state)
{
	char path[200];

	setenv("NOTIFY_SOCKET", "/nowhere/to/be/found", 1);
	assert_int_equal(notify_ready(), -ENOENT);
	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	setenv("NOTIFY_SOCKET", path, 1);
	assert_int_equal(notify_ready(), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_with_a_path_is_told),
		cmocka_unit_test(an_abstract_socket_is_told),
		cmocka_unit_test(nobody_need_be_told),
		cmocka_unit_test(who_cannot_be_told_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
