// SPDX-License-Identifier: MIT
/*
 * inventory SOCKET RECAPCTL ROOTFS PROGRAM CGROUP RESULT: how soon recapd shows a new container, what a list of 1,000
 * takes, and recapd's memory then.
 *
 * The containers are real ones for the kernel: mount, PID, UTS, IPC and network namespaces and a cgroup (below CGROUP,
 * an empty v2 group) of their own, ROOTFS pivoted into, PROGRAM executed as PID 1. Whoever starts this ends what is
 * left in CGROUP, should it die before its containers.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/fd.h"
#include "common/varlink.h"
#include <sys/mman.h>

#include "process.h"

#define VISIBLE	      300
#define VISIBLE_BOUND (5 * 1000000000ull)
#define POPULATION    1000
#define LISTS	      200
/* recapd asks again for this long what a container's runtime says of it; measured is what comes after. */
#define SETTLE_MS 6000

/* What a container's first process tells its parent. */
struct word {
	uint64_t exec_ns; /* right before its execve() */
	int failed;	  /* or the errno of the step that failed */
};

struct bench {
	const char *socket, *recapctl, *rootfs, *program;
	int cgroup;
	volatile struct word *word; /* shared with the child */
	struct varlink v;
	struct samples visible, varlink, json, table;
	pid_t pids[POPULATION]; /* unreaped children of ours: nobody else gets these numbers */
	size_t n;
	int64_t rss_kib;
};

/* ---- containers -------------------------------------------------------------------------------- */

/* pivot_root(2), "pivot_root(".", ".")". */
static int change_root(const char *rootfs)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(rootfs, rootfs, NULL, MS_BIND, NULL) < 0 || chdir(rootfs) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

__attribute__((noreturn)) static void become_container(const struct bench *b)
{
	char *const argv[] = {(char *)b->program, NULL};
	int r = change_root(b->rootfs);

	if (r < 0) {
		b->word->failed = -r;
		_exit(1);
	}
	/* Before the exec, so that what it takes is counted as well. */
	b->word->exec_ns = now_ns();
	execv(b->program, argv);
	b->word->failed = errno;
	_exit(1);
}

static int clone_into(int cgroup, pid_t *ret)
{
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
			 CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
	};

	*ret = syscall(SYS_clone3, &args, sizeof(args));
	return *ret < 0 ? -errno : 0;
}

static void cgroup_name(size_t i, char name[32])
{
	snprintf(name, 32, "container-%zu", i);
}

static int container_start(struct bench *b, struct error *err)
{
	cleanup_fd int cgroup = -1;
	char name[32];
	pid_t pid = -1;
	int r;

	cgroup_name(b->n, name);
	if (mkdirat(b->cgroup, name, 0755) < 0)
		return error_sys(err, errno, "cannot make the cgroup %s", name);
	cgroup = openat(b->cgroup, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->word->exec_ns = 0;
	b->word->failed = 0;
	r = cgroup < 0 ? -errno : clone_into(cgroup, &pid);
	if (r < 0)
		return error_sys(err, -r, "cannot start a container");
	if (pid == 0)
		become_container(b);
	b->pids[b->n++] = pid;
	while (!b->word->exec_ns && !b->word->failed)
		sched_yield();
	return 0;
}

static int check_started(const struct bench *b, struct error *err)
{
	return b->word->failed ? error_sys(err, b->word->failed, "a container did not start") : 0;
}

static int end_all(struct bench *b, struct error *err)
{
	char name[32];

	for (size_t i = 0; i < b->n; i++)
		kill(b->pids[i], SIGKILL);
	while (b->n) {
		if (waitpid(b->pids[--b->n], NULL, 0) < 0)
			return error_sys(err, errno, "cannot wait for a container");
		cgroup_name(b->n, name);
		if (unlinkat(b->cgroup, name, AT_REMOVEDIR) < 0)
			return error_sys(err, errno, "cannot remove the cgroup %s", name);
	}
	return 0;
}

/* ---- recapd ------------------------------------------------------------------------------------ */

static bool pid_is_ours(const struct bench *b, pid_t pid)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->pids[i] == pid)
			return true;
	return false;
}

/* How many of our containers a list holds. */
static size_t count_ours(const struct bench *b, struct json_object *reply)
{
	struct json_object *list = json_get(reply, "containers", json_type_array);
	size_t n = 0;

	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		n += pid_is_ours(b, json_get_int(json_object_array_get_idx(list, i), "pid", 0));
	return n;
}

/* One round trip: how many of our containers came back, and when (before the reply is parsed). */
static int list(struct bench *b, size_t *ret_ours, uint64_t *ret_ns, struct error *err)
{
	cleanup_json struct json_object *reply = NULL;
	const char *text;
	size_t len;
	int r = varlink_call(&b->v, "io.recap.ListContainers", NULL, false, NULL, 0, err);

	if (r == 0)
		r = varlink_wait(&b->v, &text, &len, err);
	*ret_ns = now_ns();
	if (r == 0)
		r = varlink_parse_reply(text, len, &reply, NULL, err);
	if (r == 0)
		*ret_ours = count_ours(b, reply);
	return r;
}

/* List until all of our containers are there, and no longer than VISIBLE_BOUND. */
static int list_until_all(struct bench *b, uint64_t *ret_ns, struct error *err)
{
	uint64_t start = now_ns();
	size_t ours = 0;
	int r = 0;

	while (r == 0 && ours < b->n) {
		r = list(b, &ours, ret_ns, err);
		if (r == 0)
			r = check_started(b, err);
		if (r == 0 && ours<b->n && * ret_ns> start + VISIBLE_BOUND)
			r = error_set(err, ETIME,
				      "recapd lists %zu of %zu containers that were started", ours,
				      b->n);
	}
	return r;
}

/* ---- measurements ------------------------------------------------------------------------------ */

static int measure_visible(struct bench *b, struct error *err)
{
	int r = 0;

	for (int i = 0; i < VISIBLE && r == 0; i++) {
		uint64_t seen = 0;

		r = container_start(b, err);
		if (r == 0)
			r = list_until_all(b, &seen, err);
		if (r == 0)
			r = samples_add(&b->visible, seen - b->word->exec_ns, err);
		if (r == 0)
			r = end_all(b, err);
		/* The end of a container is work for the kernel that is none of the next one's. */
		pause_ms(5);
	}
	return r;
}

static int populate(struct bench *b, struct error *err)
{
	uint64_t seen;
	int r = 0;

	while (b->n < POPULATION && r == 0) {
		r = container_start(b, err);
		if (r == 0)
			r = check_started(b, err);
	}
	if (r == 0)
		pause_ms(SETTLE_MS);
	return r < 0 ? r : list_until_all(b, &seen, err);
}

static int measure_round_trip(struct bench *b, struct error *err)
{
	uint64_t start = now_ns(), end;
	size_t ours = 0;
	int r = list(b, &ours, &end, err);

	if (r == 0 && ours != b->n)
		r = error_set(err, EIO, "recapd lists %zu of %zu containers", ours, b->n);
	return r < 0 ? r : samples_add(&b->varlink, end - start, err);
}

static int measure_process(struct process *p, char *const argv[], struct samples *s,
			   struct error *err)
{
	uint64_t ns = 0;
	int r = process_time(p, process_vfork, argv, &ns, err);

	return r < 0 ? r : samples_add(s, ns, err);
}

static int measure_lists(struct bench *b, struct error *err)
{
	char *json[] = {(char *)b->recapctl, "list", "--json", "--socket", (char *)b->socket, NULL};
	char *table[] = {(char *)b->recapctl, "list", "--socket", (char *)b->socket, NULL};
	struct process p;
	int r = process_init(&p, err);

	for (int i = 0; i < LISTS && r == 0; i++) {
		r = measure_process(&p, json, &b->json, err);
		if (r == 0)
			r = measure_process(&p, table, &b->table, err);
		if (r == 0)
			r = measure_round_trip(b, err);
	}
	return r;
}

/* VmRSS of whoever answers at the socket. */
static int measure_memory(struct bench *b, struct error *err)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char path[40], text[8192], *at;
	int r;

	if (getsockopt(b->v.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return error_sys(err, errno, "cannot tell who listens on %s", b->socket);
	snprintf(path, sizeof(path), "/proc/%d/status", peer.pid);
	r = fd_read_small(AT_FDCWD, path, text, sizeof(text));
	at = r < 0 ? NULL : strstr(text, "\nVmRSS:");
	if (!at)
		return error_sys(err, r < 0 ? -r : EIO, "cannot read %s", path);
	b->rss_kib = strtoll(at + strlen("\nVmRSS:"), NULL, 10);
	return 0;
}

static int measure(struct bench *b, struct error *err)
{
	struct error ignored;
	int r = measure_visible(b, err);

	if (r == 0)
		r = populate(b, err);
	if (r == 0)
		r = measure_lists(b, err);
	if (r == 0)
		r = measure_memory(b, err);
	if (end_all(b, r == 0 ? err : &ignored) < 0 && r == 0)
		r = -err->code;
	return r;
}

/* ---- main -------------------------------------------------------------------------------------- */

static int write_result(struct bench *b, const char *path, struct error *err)
{
	cleanup_json struct json_object *o = json_object_new_object();

	json_put_obj(o, "visible", samples_json(&b->visible));
	json_put_obj(o, "list_1000", samples_json(&b->json));
	json_put_obj(o, "list_1000_table", samples_json(&b->table));
	json_put_obj(o, "list_1000_varlink", samples_json(&b->varlink));
	json_put_int(o, "rss_kib", b->rss_kib);
	return samples_write(path, o, err);
}

static int open_all(struct bench *b, const char *cgroup, struct error *err)
{
	b->cgroup = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->cgroup < 0)
		return error_sys(err, errno, "cannot open %s", cgroup);
	b->word = mmap(NULL, sizeof(*b->word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (b->word == MAP_FAILED)
		return error_sys(err, errno, "cannot share memory");
	return varlink_connect(b->socket, &b->v, err);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct error err = {0};
	int r;

	if (argc != 7) {
		fprintf(stderr, "usage: inventory SOCKET RECAPCTL ROOTFS PROGRAM CGROUP RESULT\n");
		return 2;
	}
	b.socket = argv[1];
	b.recapctl = argv[2];
	b.rootfs = argv[3];
	b.program = argv[4];
	r = open_all(&b, argv[5], &err);
	if (r == 0)
		r = measure(&b, &err);
	if (r == 0)
		r = write_result(&b, argv[6], &err);
	if (r < 0)
		fprintf(stderr, "inventory: %s\n", err.msg);
	return r < 0;
}
