// SPDX-License-Identifier: MIT
#include "core/reader.h"

#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "common/data_limit.h"
#include "common/fd.h"
#include "common/flat.h"
#include "common/json.h"
#include "common/log.h"
#include "core/inject.h"
#include "core/sandbox.h"

#define NAME	 "recap-reader"
#define TEXT_MAX (16u << 20)
#define FLAT_MAX(len) \
	(9 * (size_t)(len) + 64) /* "1," is 9 bytes, and nothing takes more in so little text */
#define MEMORY_MAX (512u << 20)
#define ANSWER_S   10

struct reader {
	int socket;
	pid_t pid;
	int cpu;   /* that it is tied to; -1: none */
	char *buf; /* of the last answer */
	size_t size;
};

/* Recapd to reader, and then the text. */
struct question {
	uint32_t len;
	char what[60]; /* what the text is called in an error */
};

/* The answer, and then the value in its flat form. error.code is 0 then. */
struct reply {
	uint32_t len;
	struct error error;
};

/* As fd_read_all(), or -ETIMEDOUT at `until` (CLOCK_BOOTTIME; 0: never). */
static int read_until(int fd, void *buf, size_t len, uint64_t until)
{
	for (char *p = buf; len;) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		p += n;
		len -= n;
		/* Each read(2) has a time limit of its own; together they have one, too. */
		if (len && until && clock_boot_ns() > until)
			return -ETIMEDOUT;
	}
	return 0;
}

/* Both at once: whoever reads them is woken once. */
static int write_both(int fd, const void *head, size_t head_len, const void *body, size_t len)
{
	const struct iovec both[] = {{(void *)head, head_len}, {(void *)body, len}};
	ssize_t n;
	int r = 0;

	do
		n = writev(fd, both, ARRAY_SIZE(both));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n < head_len) {
		r = fd_write_all(fd, (const char *)head + n, head_len - n);
		n = (ssize_t)head_len;
	}
	return r < 0 ? r
		     : fd_write_all(fd, (const char *)body + (n - head_len), len - (n - head_len));
}

/* ---- in the reader ----------------------------------------------------------------------------- */

static int serve_one(int sock)
{
	cleanup_json struct json_object *value = NULL;
	cleanup_free char *text = NULL, *flat = NULL;
	size_t len = 0, size = 0;
	struct question q;
	struct reply a = {};
	int r = fd_read_all(sock, &q, sizeof(q));

	if (r < 0)
		return r;
	q.what[sizeof(q.what) - 1] = '\0';
	text = malloc((size_t)q.len + 1);
	if (!text)
		return -ENOMEM;
	r = fd_read_all(sock, text, q.len);
	if (r < 0)
		return r;
	r = json_parse(text, q.len, q.what, &value, &a.error);
	if (r == 0 && flat_write(value, &flat, &len, &size) < 0)
		error_set(&a.error, ENOMEM, "%s: out of memory", q.what);
	a.len = a.error.code ? 0 : len;
	return write_both(sock, &a, sizeof(a), flat, a.len);
}

/* Reading, writing and memory. The only file is the socket, and nothing can be opened. */
static int seal(void)
{
	static const int calls[] = {SCMP_SYS(read),	      SCMP_SYS(write),
				    SCMP_SYS(writev),	      SCMP_SYS(brk),
				    SCMP_SYS(mmap),	      SCMP_SYS(munmap),
				    SCMP_SYS(mremap),	      SCMP_SYS(madvise),
				    SCMP_SYS(futex),	      SCMP_SYS(exit),
				    SCMP_SYS(exit_group),     SCMP_SYS(rt_sigreturn),
#ifdef __SANITIZE_ADDRESS__
				    SCMP_SYS(clock_gettime),  SCMP_SYS(sigaltstack), /* its own */
#endif
				    SCMP_SYS(restart_syscall)};
	const struct sandbox all = {.caps = ~0ull};
	const struct rlimit memory = {DATA_LIMIT(MEMORY_MAX), DATA_LIMIT(MEMORY_MAX)},
			    none = {0, 0};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? sandbox_drop_all(&all) : -ENOMEM;

	if (r == 0 && (setrlimit(RLIMIT_DATA, &memory) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
		       setrlimit(RLIMIT_NOFILE, &none) < 0))
		r = -errno;
	for (size_t i = 0; i < ARRAY_SIZE(calls) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static __attribute__((noreturn)) void serve(int sock)
{
	const struct reply ready = {};
	sigset_t all;

	inject_take_name(NAME);
	json_parse_elsewhere(NULL, NULL);
	sigfillset(&all);
	/* Out of the terminal's and the service manager's reach: of use until recapd ends, which is the end of its socket. */
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || setsid() < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || dup2(sock, 0) < 0 ||
	    close_range(1, ~0u, 0) < 0 || seal() < 0 || fd_write_all(0, &ready, sizeof(ready)) < 0)
		_exit(1);
	while (serve_one(0) == 0)
		;
	_exit(0);
}

/* ---- recapd's side ----------------------------------------------------------------------------- */

static int receive(int sock, size_t max, uint64_t until, struct reply *ret)
{
	int r = read_until(sock, ret, sizeof(*ret), until);

	/* What it says is hostile, should somebody have got hold of it. */
	ret->error.msg[sizeof(ret->error.msg) - 1] = '\0';
	ret->error.name[0] = '\0';
	if (r == 0 && (ret->len > max || ret->error.code < 0 || ret->error.code > 4095))
		r = -EPROTO;
	for (char *p = ret->error.msg; r == 0 && *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f)
			*p = '?';
	return r;
}

static int spawn(struct reader *rd)
{
	const struct timeval patience = {.tv_sec = ANSWER_S};
	struct reply ready;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	rd->socket = pair[0];
	rd->cpu = -1;
	rd->pid = fork();
	if (rd->pid == 0)
		serve(pair[1]);
	r = rd->pid < 0 ? -errno : 0;
	close(pair[1]);
	if (r == 0 &&
	    (setsockopt(rd->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	     setsockopt(rd->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0))
		r = -errno;
	return r < 0 ? r : receive(rd->socket, 0, 0, &ready);
}

static void reap(struct reader *rd)
{
	rd->socket = fd_close(rd->socket);
	if (rd->pid > 0 && (kill(rd->pid, SIGKILL) < 0 || waitpid(rd->pid, NULL, 0) < 0))
		log_debug("ignoring that the reader cannot be waited for: %s", strerror(errno));
	rd->pid = 0;
}

/* recapd waits for the answer: on its own CPU it comes soonest, where none has to be woken. Only ever costs time when it fails. */
static void tie_to_this_cpu(struct reader *rd)
{
	int cpu = sched_getcpu();
	cpu_set_t here;

	if (cpu == rd->cpu)
		return;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	if (sched_setaffinity(rd->pid, sizeof(here), &here) == 0)
		rd->cpu = cpu;
}

static int ask(struct reader *rd, const char *text, size_t len, const char *what, struct reply *ret)
{
	uint64_t until = clock_boot_ns() + ANSWER_S * 1000000000ull;
	struct question q = {.len = len};
	int r;

	snprintf(q.what, sizeof(q.what), "%s", what);
	tie_to_this_cpu(rd);
	r = write_both(rd->socket, &q, sizeof(q), text, len);
	if (r == 0)
		r = receive(rd->socket, FLAT_MAX(len), until, ret);
	if (r == 0 && ret->len > rd->size) {
		free(rd->buf);
		rd->buf = malloc(ret->len);
		rd->size = rd->buf ? ret->len : 0;
	}
	if (r == 0 && ret->len > rd->size)
		r = -ENOMEM;
	return r < 0 ? r : read_until(rd->socket, rd->buf, ret->len, until);
}

/* An answer of unusual size is not kept. */
static void shrink(struct reader *rd)
{
	if (rd->size <= 1 << 20)
		return;
	free(rd->buf);
	rd->buf = NULL;
	rd->size = 0;
}

static int parse(void *arg, const char *text, size_t len, const char *what,
		 struct json_object **ret, struct error *err)
{
	struct reader *rd = arg;
	struct reply a = {};
	int r;

	if (len > TEXT_MAX)
		return error_set(err, EFBIG, "%s is too long", what);
	r = rd->pid > 0 ? ask(rd, text, len, what, &a) : -ESRCH;
	if (r == 0 && a.error.code)
		return error_set(err, a.error.code, "%s", a.error.msg);
	if (r == 0)
		r = flat_read(rd->buf, a.len, ret);
	shrink(rd);
	if (r == 0)
		return 0;
	log_error("the reader gave no answer (%s): starting another", strerror(-r));
	reap(rd);
	if (spawn(rd) < 0) {
		reap(rd);
		log_error("the reader cannot be started");
	}
	return error_set(err, -r, "%s could not be read", what);
}

int reader_start(struct reader **ret, struct error *err)
{
	struct reader *rd = calloc(1, sizeof(*rd));
	int r;

	if (!rd)
		return error_set(err, ENOMEM, "out of memory");
	rd->socket = -1;
	r = spawn(rd);
	if (r < 0) {
		reap(rd);
		free(rd);
		return error_sys(err, -r, "cannot start the reader");
	}
	json_parse_elsewhere(parse, rd);
	*ret = rd;
	return 0;
}

void reader_stop(struct reader *rd)
{
	if (!rd)
		return;
	json_parse_elsewhere(NULL, NULL);
	reap(rd);
	free(rd->buf);
	free(rd);
}
