// SPDX-License-Identifier: MIT
/* The operator's terminal and the pty that stands in for it: the capsule never gets hold of the former. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/fd.h"

void terminal_resize(struct terminal *t)
{
	struct winsize size;

	/* Either end may have been hung up by now; then there is nobody left to see the size. */
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void)!ioctl(t->master, TIOCSWINSZ, &size);
}

void terminal_init(struct terminal *t)
{
	*t = (struct terminal){.master = -1, .slave = -1};
}

int terminal_open(struct terminal *t, struct error *err)
{
	if (tcgetattr(STDIN_FILENO, &t->saved) < 0)
		return error_set(err, ENOTTY,
				 "-t needs a terminal on standard input: leave it out for pipes "
				 "and files");
	t->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (t->master < 0 || unlockpt(t->master) < 0)
		return error_sys(err, errno, "cannot open a pseudo-terminal");
	/* By descriptor: /dev/pts may be of another mount namespace (ioctl_tty(2)). */
	t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		return error_sys(err, errno, "cannot open the other side of a pseudo-terminal");
	/* Erase character, UTF-8 and the like are what the operator is used to. */
	if (tcsetattr(t->slave, TCSANOW, &t->saved) < 0)
		return error_sys(err, errno, "cannot set up a pseudo-terminal");
	terminal_resize(t);
	t->stdin_open = true;
	return 0;
}

int terminal_raw(struct terminal *t, struct error *err)
{
	struct termios raw = t->saved;

	if (t->master < 0 || t->raw)
		return 0;
	/* Dying of a closed pipe on standard output would leave the terminal as it is then. */
	signal(SIGPIPE, SIG_IGN);
	cfmakeraw(&raw);
	t->raw = true;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return error_sys(err, errno, "cannot switch the terminal to raw mode");
	return 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	t->raw = false;
}

void terminal_close(struct terminal *t)
{
	terminal_restore(t);
	t->slave = fd_close(t->slave);
	t->master = fd_close(t->master);
	t->stdin_open = false;
}

static void write_typed(struct terminal *t)
{
	ssize_t n = write(t->master, t->typed, t->n_typed);

	if (n <= 0)
		return;
	memmove(t->typed, t->typed + n, t->n_typed - n);
	t->n_typed -= n;
}

void terminal_type(struct terminal *t)
{
	if (!t->n_typed && t->stdin_open) {
		ssize_t n = read(STDIN_FILENO, t->typed, sizeof(t->typed));

		if (n > 0)
			t->n_typed = n;
		else if (n == 0 || errno != EINTR)
			t->stdin_open = false;
	}
	if (t->n_typed)
		write_typed(t);
}

/*
 * All that the capsule's side has written: EAGAIN comes only after the kernel moved what was in flight
 * (n_tty_read() flushes the pty's work). When our own output fails, the capsule's terminal is hung up.
 */
void terminal_show(struct terminal *t)
{
	static char buf[16384]; /* not on the stack, where it takes pages for who has no terminal */
	ssize_t n;

	while (t->master >= 0) {
		n = read(t->master, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || fd_write_all(STDOUT_FILENO, buf, n) < 0)
			t->master = fd_close(t->master);
	}
}
