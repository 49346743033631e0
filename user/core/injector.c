// SPDX-License-Identifier: MIT
#include "core/injector.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/json.h"
#include "common/log.h"

#define NAME	  "recap-injector"
#define ANSWER_MS 10000

_Static_assert(INJECT_FD_COUNT <= FD_SEND_MAX, "all descriptors fit a message");

struct injector {
	int socket;
	pid_t pid;
	struct slot *slots; /* shared with all children */
	int slots_fd;
	struct rlimit files; /* of tools: recapd raises its own */
	bool limited;
	bool used[SLOTS];
};

/* Recapd to injector, with the descriptors of the starter's socket, the stage, and what there is of cgroup and overlay. */
struct starter_request {
	uint32_t slot, usual, has_cgroup, has_overlay;
};

/*
 * Recapd to starter: this with the descriptors that `fds` has the bits of, then `text`: argv, env, workdir and user, each string
 * with its NUL, and then the instructions of a seccomp profile, `filter` of them.
 */
struct request {
	struct sandbox sandbox;
	uint32_t joined, target_root, terminal, nofile_soft, nofile_hard;
	uint32_t fds, argc, envc, text, filter;
};

/* The answer to either, with a pidfd when `pid` is one; else `error` says why not. */
struct answer {
	int pid;
	struct error error;
};

/* ---- messages ---------------------------------------------------------------------------------- */

/* A message is smaller than what a socket takes at once. */
static int send_with_fds(int sock, const void *data, size_t len, const int *fds, size_t n)
{
	ssize_t sent = fd_send(sock, data, len, fds, n, 0);

	return sent == (ssize_t)len ? 0 : sent < 0 ? (int)sent : -EIO;
}

/* Exactly `len` bytes; what descriptors came with them in *ret_n. -EPIPE at the end. */
static int receive_with_fds(int sock, void *data, size_t len, int fds[INJECT_FD_COUNT],
			    size_t *ret_n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(INJECT_FD_COUNT * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t got;

	do
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (got < 0 && errno == EINTR);
	*ret_n = 0;
	c = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*ret_n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *ret_n * sizeof(int));
	}
	return got == (ssize_t)len ? 0 : got < 0 ? -errno : -EPIPE;
}

static int answer(int sock, int pid, int pidfd, const struct error *err)
{
	struct answer a = {.pid = pid};

	if (pid <= 0)
		a.error = *err;
	return send_with_fds(sock, &a, sizeof(a), &pidfd, pid > 0);
}

/* A request for a starter, its descriptors by name. */
struct order {
	struct starter_request req;
	int fds[INJECT_FD_COUNT];
	size_t n_fds;
	int sock, stage, cgroup, overlay;
	cpu_set_t cpus;
};

/* ---- in a starter ------------------------------------------------------------------------------ */

/* A request as it was received, and the plan that it makes. */
struct work {
	struct request req;
	struct inject_plan plan;
	char *text;
	char **strings; /* argv, NULL, env, NULL */
	struct sock_fprog profile;
	int got[INJECT_FD_COUNT];
	size_t n_got;
};

static int refuse(struct error *err)
{
	return error_set(err, EPROTO, "an injecting process got a request that makes no sense");
}

static int take_fds(struct work *w, bool rooted, struct error *err)
{
	size_t n = 0;

	for (int i = 0; i < INJECT_FD_COUNT; i++) {
		bool has = w->req.fds & (1u << i);

		if (has && n == w->n_got)
			return refuse(err);
		w->plan.fds[i] = has ? w->got[n++] : -1;
	}
	if (n != w->n_got || w->req.fds >> INJECT_FD_COUNT ||
	    rooted == (w->plan.fds[INJECT_FD_OVERLAY] >= 0))
		return refuse(err);
	return 0;
}

/* The strings, which must fill the text to its last byte. */
static int take_strings(struct work *w, struct error *err)
{
	const struct request *q = &w->req;
	size_t n = (size_t)q->argc + q->envc + 2, at = 0, out = 0;
	const char *last[2];

	w->strings = calloc(n + 1, sizeof(*w->strings));
	if (!w->strings)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		char *s = w->text + at;
		char *nul = memchr(s, '\0', q->text - at);

		if (!nul)
			return refuse(err);
		if (i < n - 2)
			w->strings[out++] = s;
		else
			last[i - (n - 2)] = s;
		if (i + 1 == q->argc)
			out++; /* the NULL between */
		at += nul - s + 1;
	}
	if (at != q->text)
		return refuse(err);
	w->plan.argv = w->strings;
	w->plan.env = w->strings + q->argc + 1;
	w->plan.workdir = last[0];
	w->plan.user = last[1];
	return 0;
}

/* Ours by name, or the caller's as it came. The kernel checks every instruction when it is installed. */
static int take_filter(struct work *w, struct error *err)
{
	if (w->req.sandbox.seccomp >= SANDBOX_SECCOMP_COUNT ||
	    (w->req.sandbox.seccomp == SANDBOX_PROFILE) != (w->profile.len > 0))
		return refuse(err);
	w->plan.seccomp = &w->profile;
	return w->profile.len ? 0 : sandbox_filter(&w->plan.sandbox, &w->plan.seccomp, err);
}

static int take_plan(struct work *w, const struct inject_seat *seat, struct error *err)
{
	const struct request *q = &w->req;
	int r = take_fds(w, seat->root >= 0, err);

	if (r < 0)
		return r;
	if ((seat->usual && !sandbox_is_usual(&q->sandbox)) || q->target_root > TARGET_ROOT_NONE ||
	    q->terminal > 1 || q->joined >> TARGET_NS_COUNT || !q->argc ||
	    (uint64_t)q->argc + q->envc + 2 > q->text)
		return refuse(err);
	w->plan.sandbox = q->sandbox;
	w->plan.joined = q->joined;
	w->plan.target_root = q->target_root;
	w->plan.terminal = q->terminal;
	w->plan.nofile_soft = q->nofile_soft;
	w->plan.nofile_hard = q->nofile_hard;
	r = take_strings(w, err);
	return r < 0 ? r : take_filter(w, err);
}

static int take_text(struct work *w, int sock)
{
	size_t size = w->req.filter * sizeof(*w->profile.filter);
	int r;

	if (w->req.text > INJECTOR_TEXT_MAX || w->req.filter > BPF_MAXINSNS)
		return -EPROTO;
	w->text = malloc(w->req.text);
	w->profile.filter = size ? malloc(size) : NULL;
	if (!w->text || (size && !w->profile.filter))
		return -ENOMEM;
	r = fd_read_all(sock, w->text, w->req.text);
	w->profile.len = w->req.filter;
	return r < 0 ? r : fd_read_all(sock, w->profile.filter, size);
}

/* Of all that the injector shares with recapd only its own report remains. */
static struct inject_report *keep_report(struct slot *slots, uint32_t i)
{
	if (i)
		munmap(slots, i * sizeof(*slots));
	munmap(slots[i].rest, (char *)(slots + SLOTS) - slots[i].rest);
	return &slots[i].report;
}

/* For what follows see core/inject.c. Where it fails it only costs time. */
static void tie_to_this_cpu(pid_t pid)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(pid, sizeof(here), &here);
}

static void keep_off_this_cpu(pid_t pid)
{
	cpu_set_t others;

	if (sched_getaffinity(0, sizeof(others), &others) < 0)
		return;
	CPU_CLR(sched_getcpu(), &others);
	if (CPU_COUNT(&others))
		sched_setaffinity(pid, sizeof(others), &others);
}

/* One request, and that is it. Nothing is freed: all of it goes with the process. */
static __attribute__((noreturn)) void start(const struct order *o, struct inject_report *report)
{
	int sock = o->sock;
	struct error err = {};
	struct inject_seat seat;
	struct work w = {};
	int pidfd = -1, pid;
	int seated = inject_sit(o->stage, o->overlay, o->req.usual, &o->cpus, &seat, &err);

	if (seated < 0)
		report->error = err;
	if (receive_with_fds(sock, &w.req, sizeof(w.req), w.got, &w.n_got) < 0 ||
	    take_text(&w, sock) < 0)
		_exit(0);
	tie_to_this_cpu(0);
	/* A recapd that has gone meanwhile has left nobody to look after what we fork. */
	if (recv(sock, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(0);
	pid = seated < 0 ? seated : take_plan(&w, &seat, &err);
	if (pid == 0) {
		pid = inject_fork(&w.plan, &seat, report, &pidfd);
		if (pid < 0)
			error_sys(&err, -pid, "cannot fork into the target's PID namespace");
	}
	_exit(answer(sock, pid, pidfd, &err) < 0);
}

/* ---- in the injector --------------------------------------------------------------------------- */

static void order_clear(struct order *o)
{
	for (size_t i = 0; i < o->n_fds; i++)
		close(o->fds[i]);
}

static int read_order(struct order *o, struct error *err)
{
	const struct starter_request *q = &o->req;

	if (q->slot >= SLOTS || q->usual > 1 || q->has_cgroup > 1 || q->has_overlay > 1 ||
	    o->n_fds != 2 + q->has_cgroup + q->has_overlay)
		return refuse(err);
	/* More CPUs than fit: then they are left alone. */
	if (sched_getaffinity(0, sizeof(o->cpus), &o->cpus) < 0)
		CPU_ZERO(&o->cpus);
	o->sock = o->fds[0];
	o->stage = o->fds[1];
	o->cgroup = q->has_cgroup ? o->fds[2] : -1;
	o->overlay = q->has_overlay ? o->fds[2 + q->has_cgroup] : -1;
	return 0;
}

/* CLONE_PARENT: recapd waits for it, and is the parent of what it forks in turn. clone3(2) puts it into its cgroup at birth. */
static int fork_starter(const struct order *o, int sock, struct slot *slots, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID |
			 (o->cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)ret_pidfd,
		.parent_tid = (uintptr_t)&slots[o->req.slot].report.starter,
		.cgroup = o->cgroup >= 0 ? o->cgroup : 0,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		close(sock);
		start(o, keep_report(slots, o->req.slot));
	}
	return pid < 0 ? -errno : pid;
}

static int serve_one(int sock, struct slot *slots)
{
	cleanup(order_clear) struct order o = {};
	struct error err = {};
	int pidfd = -1, pid;
	int r = receive_with_fds(sock, &o.req, sizeof(o.req), o.fds, &o.n_fds);

	if (r < 0)
		return r;
	pid = read_order(&o, &err);
	if (pid == 0) {
		pid = fork_starter(&o, sock, slots, &pidfd);
		if (pid < 0)
			error_sys(&err, -pid, "cannot fork into the capsule's cgroup");
	}
	r = answer(sock, pid, pidfd, &err);
	fd_close(pidfd);
	return r;
}

/* A target with CAP_SYS_ADMIN may read what its injected processes were started with: theirs is empty. */
static void wipe_environment(void)
{
	for (char **e = environ; e && *e; e++)
		memset(*e, 0, strlen(*e));
	clearenv();
}

/* Until recapd ends, which is the end of its socket. */
static __attribute__((noreturn)) void serve(int sock, struct slot *slots)
{
	const struct error none = {};
	struct error err = {};
	sigset_t all;

	wipe_environment();
	prctl(PR_SET_NAME, NAME);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigfillset(&all);
	/* Out of the terminal's and the service manager's reach: to be of use until recapd has seen its capsules out. */
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || setsid() < 0 ||
	    inject_forgo_oom_favour() < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    dup2(sock, 3) < 0 || close_range(4, ~0u, 0) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
		_exit(1);
	/* The first answer is to nobody's request: whether we are of use. */
	if (answer(3, 0, -1, sandbox_prepare(&err) < 0 ? &err : &none) < 0)
		_exit(1);
	malloc_trim(0);
	while (serve_one(3, slots) == 0)
		;
	_exit(0);
}

/* ---- recapd's side ----------------------------------------------------------------------------- */

static int receive_answer(int sock, struct answer *ret, int fds[INJECT_FD_COUNT], size_t *ret_n)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int r;

	/* A recvmsg(2) that sleeps is woken by the other side's reading, too. And somebody may have stopped that process. */
	do
		r = poll(&p, 1, ANSWER_MS);
	while (r < 0 && errno == EINTR);
	return r == 0 ? -ETIMEDOUT : receive_with_fds(sock, ret, sizeof(*ret), fds, ret_n);
}

/*
 * Take over what an answer gives, or tell why there is nothing. Somebody may have been forked all the same: the caller has to see to
 * that.
 */
static int take_answer(int sock, int *ret_pidfd, pid_t *ret_pid, struct error *err)
{
	int got[INJECT_FD_COUNT];
	struct answer a = {};
	size_t n = 0;
	int r = receive_answer(sock, &a, got, &n);

	if (r < 0)
		return r;
	/* There was none left for it. */
	if (a.pid > 0 && n != 1)
		return error_set(err, EMFILE,
				 "recapd has no descriptor left: there are too many capsules");
	if (a.pid <= 0) {
		*err = a.error;
		return err->code ? error_prefix(err, "cannot inject") : refuse(err);
	}
	*ret_pidfd = got[0];
	*ret_pid = a.pid;
	return 0;
}

static int spawn(struct injector *in, struct error *err)
{
	int pair[2], fds[INJECT_FD_COUNT], r;
	struct answer a = {};
	size_t n = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, errno, "cannot make a socket");
	in->pid = fork();
	if (in->pid == 0 && setrlimit(RLIMIT_NOFILE, &in->files) < 0)
		_exit(1);
	if (in->pid == 0)
		serve(pair[1], in->slots);
	r = in->pid < 0 ? -errno : 0;
	close(pair[1]);
	in->socket = pair[0];
	if (r == 0)
		r = receive_answer(in->socket, &a, fds, &n);
	if (r == 0 && a.error.code) {
		*err = a.error;
		return error_prefix(err, "the injector");
	}
	return r < 0 ? error_sys(err, -r, "cannot start the injector") : 0;
}

/* Other children, which read what strangers send, have no part in the slots. */
static int spawn_with_slots(struct injector *in, struct error *err)
{
	size_t size = SLOTS * sizeof(*in->slots);
	int r;

	if (madvise(in->slots, size, MADV_DOFORK) < 0)
		return error_sys(err, errno, "madvise");
	r = spawn(in, err);
	if (madvise(in->slots, size, MADV_DONTFORK) < 0 && r == 0)
		r = error_sys(err, errno, "madvise");
	return r;
}

static void reap(struct injector *in)
{
	in->socket = fd_close(in->socket);
	if (in->pid > 0)
		kill(in->pid, SIGKILL);
	if (in->pid > 0 && waitpid(in->pid, NULL, 0) < 0)
		log_debug("ignoring that the injector cannot be waited for: %s", strerror(errno));
	in->pid = 0;
}

int injector_start(struct injector **ret, struct error *err)
{
	struct injector *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return error_set(err, ENOMEM, "out of memory");
	in->socket = in->slots_fd = -1;
	if (getrlimit(RLIMIT_NOFILE, &in->files) < 0) {
		free(in);
		return error_sys(err, errno, "getrlimit");
	}
	in->slots = slots_new(&in->slots_fd);
	if (in->slots == MAP_FAILED) {
		free(in);
		return error_sys(err, errno, "cannot make memory to share");
	}
	r = spawn_with_slots(in, err);
	if (r < 0) {
		injector_stop(in);
		return r;
	}
	*ret = in;
	return 0;
}

void injector_stop(struct injector *in)
{
	if (!in)
		return;
	reap(in);
	munmap(in->slots, SLOTS * sizeof(*in->slots));
	fd_close(in->slots_fd);
	free(in);
}

bool injector_is_limited(const struct injector *in)
{
	return in->limited;
}

int injector_slots_fd(const struct injector *in)
{
	return in->slots_fd;
}

struct slot *injector_slot_new(struct injector *in)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &in->slots[i];

		if (in->used[i])
			continue;
		in->used[i] = true;
		slot->report = (struct inject_report){};
		return slot;
	}
	return NULL;
}

void injector_slot_free(struct injector *in, struct slot *slot)
{
	off_t at;

	if (!slot)
		return;
	at = (char *)slot - (char *)in->slots;
	/* A long command's pages are not kept; a short one's are those that the next one needs. */
	if (slot->note.facts_len > SLOT_PAGE &&
	    fallocate(in->slots_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at + SLOT_PAGE,
		      SLOT_BYTES - SLOT_PAGE) < 0)
		log_debug("ignoring that a slot keeps its memory: %s", strerror(errno));
	slot->note.facts_len = 0;
	in->used[slot - in->slots] = false;
}

static char *append(char *to, const char *s)
{
	return stpcpy(to, s) + 1;
}

/* The plan's strings behind each other. */
static char *make_text(const struct inject_plan *plan, struct request *q)
{
	size_t len = strlen(plan->workdir) + strlen(plan->user) + 2;
	char *text, *p;

	for (char *const *s = plan->argv; *s; s++, q->argc++)
		len += strlen(*s) + 1;
	for (char *const *s = plan->env; *s; s++, q->envc++)
		len += strlen(*s) + 1;
	q->text = len > INJECTOR_TEXT_MAX ? INJECTOR_TEXT_MAX + 1 : len;
	text = p = len <= INJECTOR_TEXT_MAX ? malloc(len) : NULL;
	if (!text)
		return NULL;
	for (char *const *s = plan->argv; *s; s++)
		p = append(p, *s);
	for (char *const *s = plan->env; *s; s++)
		p = append(p, *s);
	append(append(p, plan->workdir), plan->user);
	return text;
}

/* It is not to end before we do. Should it have, there will be another, though one with more memory, and under our own filter. */
static int revive(struct injector *in, int why, struct error *err)
{
	log_error("the injector has ended (%s): starting another", strerror(-why));
	in->limited = true;
	reap(in);
	return spawn_with_slots(in, err);
}

/* It was forked all the same, and we do not know by what descriptor. A child of ours: its PID is its own until we wait. */
static void end_unannounced(struct inject_report *report)
{
	if (report->starter <= 0)
		return;
	kill(report->starter, SIGKILL);
	if (waitpid(report->starter, NULL, 0) < 0)
		log_warn("a starter cannot be waited for: %s", strerror(errno));
	report->starter = 0;
}

int starter_new(struct injector *in, bool usual, int cgroup, int stage, int overlay,
		struct slot *slot, struct starter *ret, struct error *err)
{
	struct starter_request q = {.slot = slot - in->slots,
				    .usual = usual,
				    .has_cgroup = cgroup >= 0,
				    .has_overlay = overlay >= 0};
	const struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
	struct starter s = {.rooted = overlay >= 0, .usual = usual, .placed = cgroup >= 0};
	int pair[2], fds[4], n = 0, r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, errno, "cannot make a socket");
	s.socket = pair[0];
	/* A request may be longer than what the socket takes from us while the starter stands still. */
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		log_debug("ignoring that a starter's socket has no time limit");
	fds[n++] = pair[1];
	fds[n++] = stage;
	if (cgroup >= 0)
		fds[n++] = cgroup;
	if (overlay >= 0)
		fds[n++] = overlay;
	*err = (struct error){};
	r = send_with_fds(in->socket, &q, sizeof(q), fds, n);
	/* It had ended before it was asked, and has forked nobody. */
	if ((r == -EPIPE || in->socket < 0) && revive(in, r, err) == 0)
		r = send_with_fds(in->socket, &q, sizeof(q), fds, n);
	close(pair[1]);
	if (r == 0)
		r = take_answer(in->socket, &s.pidfd, &s.pid, err);
	if (r == 0) {
		*ret = s;
		return 0;
	}
	close(pair[0]);
	if (!err->code && revive(in, r, err) == 0)
		error_sys(err, -r, "the injector has ended; try again");
	end_unannounced(&slot->report);
	return r;
}

static int gone(struct error *err, int why)
{
	return error_sys(err, -why, "the process that was to inject has ended; try again");
}

int starter_order(struct starter *s, const struct inject_plan *plan, struct error *err)
{
	struct request q = {
		.sandbox = plan->sandbox,
		.joined = plan->joined,
		.target_root = plan->target_root,
		.terminal = plan->terminal,
		.nofile_soft = plan->nofile_soft,
		.nofile_hard = plan->nofile_hard,
		.filter = plan->seccomp ? plan->seccomp->len : 0,
	};
	cleanup_free char *text = make_text(plan, &q);
	int fds[INJECT_FD_COUNT], n = 0, r;

	if (!text && q.text <= INJECTOR_TEXT_MAX)
		return error_set(err, ENOMEM, "out of memory");
	if (!text)
		return error_named(err, E2BIG, "CommandNotExecutable",
				   "the arguments and the environment are too long");
	for (int i = 0; i < INJECT_FD_COUNT; i++) {
		if (plan->fds[i] < 0)
			continue;
		q.fds |= 1u << i;
		fds[n++] = plan->fds[i];
	}
	keep_off_this_cpu(s->pid);
	r = send_with_fds(s->socket, &q, sizeof(q), fds, n);
	if (r == 0)
		r = fd_write_all(s->socket, text, q.text);
	if (r == 0 && q.filter)
		r = fd_write_all(s->socket, plan->seccomp->filter,
				 q.filter * sizeof(*plan->seccomp->filter));
	return r < 0 ? gone(err, r) : 0;
}

int starter_answer(struct starter *s, int *ret_pidfd, pid_t *ret_pid, struct error *err)
{
	int r;

	*err = (struct error){};
	r = take_answer(s->socket, ret_pidfd, ret_pid, err);
	s->socket = fd_close(s->socket);
	return r < 0 && !err->code ? gone(err, r) : r;
}

static void wait_for(struct starter *s, int flags)
{
	siginfo_t info = {};

	if (s->pid <= 0)
		return;
	if (waitid(P_PIDFD, s->pidfd, &info, WEXITED | flags) < 0)
		log_warn("a starter cannot be waited for: %s", strerror(errno));
	if (!info.si_pid)
		return;
	fd_close(s->socket);
	fd_close(s->pidfd);
	*s = (struct starter){};
}

void starter_reap(struct starter *s)
{
	wait_for(s, WNOHANG);
}

void starter_end(struct starter *s)
{
	if (s->pid <= 0)
		return;
	syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	/* The end of its socket is the end of one that waits, whatever became of the signal. */
	s->socket = fd_close(s->socket);
	wait_for(s, 0);
}
