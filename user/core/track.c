// SPDX-License-Identifier: MIT
#include "core/track.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "common/fd.h"
#include "common/log.h"
#include "holders.skel.h"
#include "recap.skel.h"

#define BATCH	     1024
#define REMOVE_TRIES 10

struct track {
	struct recap_bpf *skel;
	struct holders_bpf *holders;
	struct bpf_link *links[3]; /* of our own making; adopted ones live on by their pins */
	struct ring_buffer *events;
	track_event_fn event_fn;
	void *event_arg;
	int dir; /* the pin folder, flock(2)ed */
	char *path;
	bool adopted;	    /* there were pins before us */
	uint64_t full_seen; /* `containers_full` when all that runs was last walked */
};

/* Every counter there is; docs/architecture.md explains them. */
static const char *const counter_names[] = {
	"caps_take_over",     "containers_full",     "capsules_full",	    "latency_full",
	"events_lost",	      "untracked_forks",     "tag_without_capsule", "metadata_failed",
	"attach_started",     "attach_failed",	     "attach_refused",	    "escapes_proven",
	"quarantined",	      "quarantine_resolved", "client_refused",	    "audit_failed",
	"audit_journal_lost", "policy_refused",	     "tasks_over_limit",
};

static const char *const link_names[] = {"link_fork", "link_exec", "link_exit"};

__attribute__((format(printf, 2, 0))) static int quiet(enum libbpf_print_level level,
						       const char *fmt, va_list ap)
{
	if (log_level >= LOG_DEBUG && level != LIBBPF_DEBUG)
		vfprintf(stderr, fmt, ap);
	return 0;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static int check_kernel(struct error *err)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return error_sys(
			err, errno,
			"this kernel has no BTF (/sys/kernel/btf/vmlinux); use one built with "
			"CONFIG_DEBUG_INFO_BTF=y");
	return 0;
}

static int open_dir(struct track *t, const char *path, struct error *err)
{
	bool made = mkdir(path, 0700) == 0;
	struct statfs fs;

	if (!made && errno != EEXIST)
		return error_sys(
			err, errno,
			"cannot make %s (is bpffs mounted? `mount -t bpf bpf /sys/fs/bpf`)", path);
	t->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0)
		return error_sys(err, errno, "cannot open %s", path);
	if (fstatfs(t->dir, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		if (made)
			rmdir(path);
		return error_set(
			err, ENODEV,
			"%s is not on a BPF file system; run `mount -t bpf bpf /sys/fs/bpf`, or name "
			"another place with --bpffs",
			path);
	}
	if (flock(t->dir, LOCK_EX | LOCK_NB) < 0)
		return error_set(
			err, EBUSY,
			"another recapd uses %s; stop it, or give this one a place of its own with "
			"--bpffs",
			path);
	t->adopted = faccessat(t->dir, link_names[0], F_OK, 0) == 0;
	t->path = strdup(path);
	return t->path ? 0 : -ENOMEM;
}

/* Maps whose name is an interface get it as their pin's name; the rest is pinned for adoption. */
static int pin_paths(struct track *t, struct error *err)
{
	struct bpf_map *map;
	char path[4096];

	bpf_object__for_each_map(map, t->skel->obj)
	{
		const char *name = bpf_map__name(map);

		if (map == t->skel->maps.bss)
			name = "globals";
		else if (bpf_map__is_internal(map))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", t->path, name) >= (int)sizeof(path) ||
		    bpf_map__set_pin_path(map, path) < 0)
			return error_set(err, ENAMETOOLONG, "%s is too long for a pin", t->path);
	}
	return 0;
}

static int explain_load(int r, const char *path, struct error *err)
{
	if (r == -EPERM || r == -EACCES)
		return error_sys(
			err, -r,
			"the kernel refused our BPF programs; recapd needs root with CAP_BPF, "
			"CAP_PERFMON and CAP_SYS_ADMIN");
	if (r == -EINVAL && path)
		return error_set(
			err, EINVAL,
			"cannot load the BPF programs: %s may hold pins of another version or other "
			"sizes (stop its recapd and remove the folder), or this kernel is older than "
			"5.15",
			path);
	return error_sys(err, -r,
			 "cannot load the BPF programs (--verbose shows libbpf's reasons)");
}

static int set_sizes(struct track *t, const struct track_sizes *sizes, struct error *err)
{
	const struct {
		struct bpf_map *map;
		uint32_t size;
	} all[] = {{t->skel->maps.containers, sizes->containers},
		   {t->skel->maps.inits, sizes->containers},
		   {t->skel->maps.capsules, sizes->capsules},
		   {t->skel->maps.latency, sizes->latency},
		   {t->skel->maps.events, sizes->events}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].size && bpf_map__set_max_entries(all[i].map, all[i].size) < 0)
			return error_set(err, EINVAL, "cannot give %s a size of %u",
					 bpf_map__name(all[i].map), all[i].size);
	return 0;
}

static int load(struct track *t, const struct track_sizes *sizes, struct error *err)
{
	int r;

	t->skel = recap_bpf__open();
	if (!t->skel)
		return error_sys(err, errno, "cannot open the BPF object");
	r = pin_paths(t, err);
	if (r == 0)
		r = set_sizes(t, sizes, err);
	if (r < 0)
		return r;
	r = recap_bpf__load(t->skel);
	if (r < 0)
		return explain_load(r, t->path, err);
	if (t->skel->bss->abi && t->skel->bss->abi != RECAP_ABI)
		return error_set(
			err, EPROTO,
			"%s holds maps of ABI %u, this recapd speaks %u; let their capsules end and "
			"remove the folder",
			t->path, t->skel->bss->abi, RECAP_ABI);
	t->skel->bss->abi = RECAP_ABI;
	/* Now, and not when a layer is first held: loading costs 20 MiB for a moment. */
	t->holders = holders_bpf__open_and_load();
	return t->holders ? 0 : explain_load(-errno, NULL, err);
}

static int make_counters(struct track *t, struct error *err)
{
	int fd = bpf_map__fd(t->skel->maps.counters);

	for (size_t i = 0; i < ARRAY_SIZE(counter_names); i++) {
		struct recap_counter_key key = {};
		/* Programs of before there was this counter do not count. One is enough to look always. */
		uint64_t first = t->adopted && !strcmp(counter_names[i], "caps_take_over");

		memcpy(key.name, counter_names[i], strlen(counter_names[i]));
		if (bpf_map_update_elem(fd, &key, &first, BPF_NOEXIST) < 0 && errno != EEXIST)
			return error_sys(err, errno, "cannot make the counters");
	}
	return 0;
}

static int attach_one(struct track *t, int i, struct bpf_program *prog, struct error *err)
{
	char path[4096];

	/* A pinned link is a program of a recapd before us, at work on these very maps. */
	if (faccessat(t->dir, link_names[i], F_OK, 0) == 0)
		return 0;
	t->links[i] = bpf_program__attach(prog);
	if (!t->links[i])
		return error_sys(err, errno,
				 "cannot attach to the tracepoint of %s (needs kernel 5.15)",
				 link_names[i] + strlen("link_"));
	snprintf(path, sizeof(path), "%s/%s", t->path, link_names[i]);
	if (bpf_link__pin(t->links[i], path) < 0)
		return error_sys(err, errno, "cannot pin %s", path);
	return 0;
}

static int attach(struct track *t, struct error *err)
{
	struct bpf_program *progs[] = {t->skel->progs.on_fork, t->skel->progs.on_exec,
				       t->skel->progs.on_exit};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(progs) && r == 0; i++)
		r = attach_one(t, i, progs[i], err);
	return r;
}

/* Read a task iterator to its end, into records of `size` bytes. Returns how many, or -errno. */
static int iterate(struct bpf_program *prog, void *ret, size_t size, size_t max)
{
	struct bpf_link *link = bpf_program__attach_iter(prog, NULL);
	cleanup_fd int fd = -1;
	char buf[4096];
	size_t room = size ? size * max : 0, n = 0;
	ssize_t r;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	r = fd < 0 ? -errno : 0;
	bpf_link__destroy(link);
	while (fd >= 0 && (r = read(fd, buf, sizeof(buf))) != 0) {
		size_t take = r > 0 ? (size_t)r : 0;

		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (r < 0)
			return -errno;
		if (take > room - n)
			take = room - n;
		memcpy((char *)ret + n, buf, take);
		n += take;
	}
	return r < 0 ? (int)r : (int)(size ? n / size : 0);
}

static int on_event(void *ctx, void *data, size_t size)
{
	struct track *t = ctx;

	if (size >= sizeof(struct recap_event) && t->event_fn)
		t->event_fn(data, t->event_arg);
	return 0;
}

int track_open(const char *bpffs, const struct track_sizes *sizes, struct track **ret,
	       struct error *err)
{
	struct track *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return error_set(err, ENOMEM, "out of memory");
	t->dir = -1;
	libbpf_set_print(quiet);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);

	r = check_kernel(err);
	if (r == 0)
		r = open_dir(t, bpffs, err);
	if (r == 0)
		r = load(t, sizes, err);
	if (r == 0)
		r = make_counters(t, err);
	if (r == 0)
		r = attach(t, err);
	if (r == 0 && (r = iterate(t->skel->progs.seed, NULL, 0, 0)) < 0)
		error_sys(err, -r, "cannot walk the tasks that run already");
	if (r >= 0 && !t->skel->bss->host_mnt_id)
		r = error_set(
			err, ESRCH,
			"the walk over all tasks met none: recapd needs the host's PID namespace");
	if (r >= 0) {
		t->events = ring_buffer__new(bpf_map__fd(t->skel->maps.events), on_event, t, NULL);
		if (!t->events)
			r = error_sys(err, errno, "cannot open the ring buffer");
	}
	if (r < 0) {
		/* What died before us stays as it was: only what we made ourselves goes. */
		track_close(t, t->skel && !t->adopted);
		return r;
	}
	/* libbpf has read the kernel's whole BTF: 20 MiB that the service does not need again. */
	malloc_trim(0);
	*ret = t;
	return 0;
}

static void unpin(struct track *t)
{
	struct bpf_map *map;
	bool left = false;

	for (size_t i = 0; i < ARRAY_SIZE(link_names); i++)
		left |= unlinkat(t->dir, link_names[i], 0) < 0 && errno != ENOENT;
	if (left) {
		/* A program that stays attached is the next recapd's with its maps, or it would write to none that anybody reads. */
		log_warn("%s stays for the next recapd: a program's link cannot be removed",
			 t->path);
		return;
	}
	bpf_object__for_each_map(map, t->skel->obj)
	{
		if (bpf_map__pin_path(map))
			bpf_map__unpin(map, NULL);
	}
	rmdir(t->path);
}

void track_close(struct track *t, bool unpin_all)
{
	if (!t)
		return;
	ring_buffer__free(t->events);
	if (unpin_all)
		unpin(t);
	for (size_t i = 0; i < ARRAY_SIZE(t->links); i++)
		bpf_link__destroy(t->links[i]);
	holders_bpf__destroy(t->holders);
	recap_bpf__destroy(t->skel);
	fd_close(t->dir);
	free(t->path);
	free(t);
}

bool track_adopted(const struct track *t)
{
	return t && t->adopted;
}

static void each_program(struct bpf_object *obj, void (*fn)(const char *name, void *arg), void *arg)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		if (bpf_program__fd(prog) >= 0)
			fn(bpf_program__name(prog), arg);
	}
}

void track_programs(struct track *t, void (*fn)(const char *name, void *arg), void *arg)
{
	each_program(t->skel->obj, fn, arg);
	each_program(t->holders->obj, fn, arg);
}

int track_events_fd(const struct track *t)
{
	return ring_buffer__epoll_fd(t->events);
}

void track_events_read(struct track *t, track_event_fn fn, void *arg)
{
	t->event_fn = fn;
	t->event_arg = arg;
	ring_buffer__consume(t->events);
}

/* ---- inventory --------------------------------------------------------------------------------- */

/* Read a whole hash map in batches. *ret_keys and *ret_values are the caller's. */
static int read_map(int fd, size_t key_size, size_t value_size, void **ret_keys, void **ret_values,
		    size_t *ret_n)
{
	cleanup_free char *keys = NULL, *values = NULL;
	size_t n = 0, room = 0;
	uint64_t in = 0, out = 0;
	bool first = true;

	for (;;) {
		__u32 got = BATCH;
		int r;

		if (room - n < BATCH) {
			char *p;

			room = room ? room * 2 : BATCH;
			p = realloc(keys, room * key_size);
			if (!p)
				return -ENOMEM;
			keys = p;
			p = realloc(values, room * value_size);
			if (!p)
				return -ENOMEM;
			values = p;
		}
		r = bpf_map_lookup_batch(fd, first ? NULL : &in, &out, keys + n * key_size,
					 values + n * value_size, &got, NULL);
		if (r < 0 && errno != ENOENT)
			return -errno;
		n += got;
		in = out;
		first = false;
		if (r < 0)
			break;
	}
	*ret_keys = TAKE_PTR(keys);
	*ret_values = TAKE_PTR(values);
	*ret_n = n;
	return 0;
}

static int read_containers(struct track *t, struct track_container **ret, size_t *ret_n)
{
	cleanup_free void *keys = NULL, *values = NULL;
	struct track_container *list;
	size_t n;
	int r = read_map(bpf_map__fd(t->skel->maps.containers), sizeof(uint64_t),
			 sizeof(struct recap_container), &keys, &values, &n);

	if (r < 0)
		return r;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		list[i].id = ((uint64_t *)keys)[i];
		list[i].c = ((struct recap_container *)values)[i];
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/*
 * Who found the map full is not in it, and executes nothing that would bring it there: the seed's walk does. What it counts as
 * full again has us come back when there is room again.
 */
static bool walk_anew(struct track *t, size_t entries)
{
	uint64_t full = track_counter(t, "containers_full");

	if (full == t->full_seen || entries >= bpf_map__max_entries(t->skel->maps.containers) ||
	    iterate(t->skel->progs.seed, NULL, 0, 0) < 0)
		return false;
	t->full_seen = full;
	return true;
}

int track_containers(struct track *t, struct track_container **ret, size_t *ret_n)
{
	int r = read_containers(t, ret, ret_n);

	if (r == 0 && walk_anew(t, *ret_n)) {
		free(*ret);
		r = read_containers(t, ret, ret_n);
	}
	return r;
}

bool track_containers_missing(struct track *t)
{
	return track_counter(t, "containers_full") != t->full_seen;
}

int track_container(struct track *t, uint64_t id, struct recap_container *ret)
{
	return bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.containers), &id, ret) < 0 ? -errno
											: 0;
}

/* ---- capsules ---------------------------------------------------------------------------------- */

int track_capsule_add(struct track *t, uint64_t id, uint64_t target, const char *image,
		      unsigned int flags, uint32_t tasks_max)
{
	struct recap_capsule c = {
		.state = RECAP_CAPSULE_CREATED,
		.flags = flags,
		.target = target,
		.created_ns = clock_boot_ns(),
		.tasks_max = tasks_max,
	};

	snprintf(c.image, sizeof(c.image), "%s", image);
	if (bpf_map_update_elem(bpf_map__fd(t->skel->maps.capsules), &id, &c, BPF_NOEXIST) == 0)
		return 0;
	if (errno == E2BIG)
		track_count(t, "capsules_full");
	return -errno;
}

int track_capsule_get(struct track *t, uint64_t id, struct recap_capsule *ret)
{
	return bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.capsules), &id, ret) < 0 ? -errno : 0;
}

void track_capsule_state(struct track *t, uint64_t id, enum recap_capsule_state state)
{
	struct recap_state_arg arg = {.capsule = id, .state = state};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));

	if (bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.capsule_state_set), &opts) < 0)
		log_warn("cannot set the state of capsule %012llx: %s", (unsigned long long)id,
			 strerror(errno));
}

uint32_t track_superblock_users(struct track *t, int fd, uint32_t dev)
{
	struct recap_users_arg arg = {.fd = fd, .dev = dev};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));

	return bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.superblock_users), &opts) < 0
		       ? 0
		       : opts.retval;
}

void track_capsule_remove(struct track *t, uint64_t id)
{
	int fd = bpf_map__fd(t->skel->maps.capsules);

	/* EBUSY, for a moment: one of our programs is at work on that very bucket (htab_lock_bucket()). */
	for (int i = 0; i < REMOVE_TRIES; i++)
		if (bpf_map_delete_elem(fd, &id) == 0 || errno == ENOENT)
			return;
	log_error("capsule %012llx stays in the map: %s", (unsigned long long)id, strerror(errno));
}

int track_capsule_ids(struct track *t, uint64_t **ret, size_t *ret_n)
{
	cleanup_free void *values = NULL;

	return read_map(bpf_map__fd(t->skel->maps.capsules), sizeof(uint64_t),
			sizeof(struct recap_capsule), (void **)ret, &values, ret_n);
}

int track_tag(struct track *t, int pidfd, uint64_t id)
{
	int fd = bpf_map__fd(t->skel->maps.tags);
	struct recap_tag tag = {.capsule = id};

	return bpf_map_update_elem(fd, &pidfd, &tag, BPF_ANY) < 0 ? -errno : 0;
}

int track_has_tag(struct track *t, int pidfd, uint64_t id)
{
	struct recap_tag tag;

	if (bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.tags), &pidfd, &tag) < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	return tag.capsule == id;
}

static int signal_one(struct track *t, uint64_t id, pid_t tgid, int sig)
{
	cleanup_fd int pidfd = syscall(SYS_pidfd_open, tgid, 0);

	if (pidfd < 0 || track_has_tag(t, pidfd, id) <= 0)
		return 0;
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) == 0;
}

#define TASKS_MAX 65536

/* All threads of all trees, the dead among them; the caller frees *ret. */
static int read_tasks(struct track *t, struct recap_task_record **ret)
{
	struct recap_task_record *tasks = calloc(TASKS_MAX, sizeof(*tasks));
	int n;

	if (!tasks)
		return -ENOMEM;
	n = iterate(t->skel->progs.capsule_tasks, tasks, sizeof(*tasks), TASKS_MAX);
	if (n < 0)
		free(tasks);
	else
		*ret = tasks;
	return n;
}

int track_tool_signal(struct track *t, uint64_t id, int sig)
{
	struct recap_capsule c;
	int r = track_capsule_get(t, id, &c);

	if (r < 0 || !c.tool_pid || c.exit_ns)
		return r < 0 ? r : -ESRCH;
	return signal_one(t, id, c.tool_pid, sig) ? 0 : -ESRCH;
}

static int by_process(const void *a, const void *b)
{
	const struct recap_task_record *x = a, *y = b;

	return x->tgid < y->tgid ? -1 : x->tgid > y->tgid;
}

int track_capsule_signal(struct track *t, uint64_t id, int sig, pid_t except)
{
	cleanup_free struct recap_task_record *tasks = NULL;
	int n = read_tasks(t, &tasks), sent = 0;
	pid_t last = except;

	if (n < 0)
		return n;
	/* Records are of threads; each process is signalled once, whichever of its threads still live. */
	qsort(tasks, n, sizeof(*tasks), by_process);
	for (int i = 0; i < n; i++) {
		pid_t tgid = tasks[i].tgid;

		if (tasks[i].capsule != id || tasks[i].dead)
			continue;
		if (tgid != last && tgid != except)
			sent += signal_one(t, id, tgid, sig);
		last = tgid;
	}
	return sent;
}

int track_capsule_dead(struct track *t, uint64_t id, pid_t except)
{
	cleanup_free struct recap_task_record *tasks = NULL;
	int n = read_tasks(t, &tasks), dead = 0;

	for (int i = 0; i < n; i++)
		dead += tasks[i].capsule == id && tasks[i].dead && tasks[i].pid == tasks[i].tgid &&
			tasks[i].tgid != (__u32)except;
	return n < 0 ? n : dead;
}

int track_capsule_tasks(struct track *t, uint64_t id, struct recap_holder_record *ret, size_t max)
{
	cleanup_free struct recap_task_record *tasks = NULL;
	int n = read_tasks(t, &tasks);
	size_t out = 0;

	for (int i = 0; i < n && out < max; i++) {
		if (tasks[i].capsule != id || tasks[i].pid != tasks[i].tgid)
			continue;
		ret[out].tgid = tasks[i].tgid;
		ret[out].kind = 0;
		ret[out].fd = -1;
		memcpy(ret[out++].comm, tasks[i].comm, RECAP_COMM_LEN);
	}
	return n < 0 ? n : (int)out;
}

/* ---- who keeps a layer ------------------------------------------------------------------------- */

int track_holders(struct track *t, const struct recap_wanted *wanted,
		  struct recap_holder_record *ret, size_t max)
{
	struct bpf_program *walks[] = {t->holders->progs.holder_files,
				       t->holders->progs.holder_mappings,
				       t->holders->progs.holder_folders};
	int n = 0, r = 0;

	t->holders->bss->wanted = *wanted;
	for (size_t i = 0; i < ARRAY_SIZE(walks) && r >= 0; i++) {
		r = iterate(walks[i], ret + n, sizeof(*ret), max - n);
		if (r > 0)
			n += r;
	}
	return r < 0 ? r : n;
}

/* ---- counters and latency ---------------------------------------------------------------------- */

static int counter_key(const char *name, struct recap_counter_key *key)
{
	memset(key, 0, sizeof(*key));
	if (strlen(name) >= sizeof(key->name))
		return -ENAMETOOLONG;
	memcpy(key->name, name, strlen(name));
	return 0;
}

uint64_t track_counter(struct track *t, const char *name)
{
	struct recap_counter_key key;
	uint64_t n = 0;

	if (counter_key(name, &key) < 0 ||
	    bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.counters), &key, &n) < 0)
		return 0;
	return n;
}

/* recapd is the only one to write the counters that it counts itself; the programs' are their own. */
static void counter_set(struct track *t, const char *name, uint64_t n)
{
	struct recap_counter_key key;

	if (counter_key(name, &key) == 0)
		bpf_map_update_elem(bpf_map__fd(t->skel->maps.counters), &key, &n, BPF_EXIST);
}

void track_count(struct track *t, const char *name)
{
	counter_set(t, name, track_counter(t, name) + 1);
}

void track_count_to(struct track *t, const char *name, uint64_t n)
{
	if (track_counter(t, name) < n)
		counter_set(t, name, n);
}

void track_counters(struct track *t, void (*fn)(const char *name, uint64_t n, void *arg), void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(counter_names); i++)
		fn(counter_names[i], track_counter(t, counter_names[i]), arg);
}

static unsigned int bucket_of(uint64_t us)
{
	unsigned int b = us ? 64 - __builtin_clzll(us) : 0;

	return b < RECAP_HIST_BUCKETS ? b : RECAP_HIST_BUCKETS - 1;
}

void track_latency_add(struct track *t, const char *image, const char *phase, uint64_t us)
{
	int fd = bpf_map__fd(t->skel->maps.latency);
	struct recap_latency_key key = {};
	struct recap_latency l = {};

	snprintf(key.image, sizeof(key.image), "%s", image);
	snprintf(key.phase, sizeof(key.phase), "%s", phase);
	bpf_map_lookup_elem(fd, &key, &l);
	l.count++;
	l.sum_us += us;
	if (us > l.max_us)
		l.max_us = us;
	l.hist[bucket_of(us)]++;
	if (bpf_map_update_elem(fd, &key, &l, BPF_ANY) < 0)
		track_count(t, "latency_full");
}

void track_latencies(struct track *t,
		     void (*fn)(const struct recap_latency_key *key, const struct recap_latency *l,
				void *arg),
		     void *arg)
{
	cleanup_free void *keys = NULL, *values = NULL;
	size_t n;

	if (read_map(bpf_map__fd(t->skel->maps.latency), sizeof(struct recap_latency_key),
		     sizeof(struct recap_latency), &keys, &values, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		fn((struct recap_latency_key *)keys + i, (struct recap_latency *)values + i, arg);
}
