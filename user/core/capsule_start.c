// SPDX-License-Identifier: MIT
/* How a capsule starts: resolve, prepare, inject. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/capsule_internal.h"

/*
 * docker run's rule: an entrypoint given with the run leaves the image's command out; arguments replace it. An empty
 * one is none.
 */
static int make_argv(const struct capsule_request *req, char ***ret, struct error *err)
{
	static char *const none[] = {NULL};
	char *const *entry = !req->entrypoint	? req->image->entrypoint
			     : *req->entrypoint ? (char *const[]){(char *)req->entrypoint, NULL}
						: none;
	char *const *rest = req->args && *req->args ? req->args
			    : req->entrypoint	    ? none
						    : req->image->cmd;
	size_t n = strv_len(entry), total = n + strv_len(rest);
	cleanup_strv char **v = calloc(total + 1, sizeof(*v));

	if (!v)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < total; i++) {
		v[i] = strdup(i < n ? entry[i] : rest[i - n]);
		if (!v[i])
			return error_set(err, ENOMEM, "out of memory");
	}
	if (total == 0)
		return error_named(err, EINVAL, "InvalidArgument",
				   "%s has no entrypoint and no command; say what to run after --",
				   req->image->ref);
	*ret = TAKE_PTR(v);
	return 0;
}

/* The image's environment with the caller's over it. Borrowed strings in a new vector. */
static char **merge_env(const struct capsule_request *req)
{
	size_t n = strv_len(req->image->env), m = strv_len(req->env), out = 0;
	char **v = calloc(n + m + 1, sizeof(*v));

	if (!v)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t key = strcspn(req->image->env[i], "=");
		bool over = false;

		for (size_t j = 0; j < m; j++)
			over |= !strncmp(req->image->env[i], req->env[j], key) &&
				(req->env[j][key] == '=' || !req->env[j][key]);
		if (!over)
			v[out++] = req->image->env[i];
	}
	for (size_t j = 0; j < m; j++)
		v[out++] = req->env[j];
	return v;
}

static struct capsule *capsule_new(struct capsule_set *set, const struct capsule_request *req)
{
	struct capsule *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->set = set;
	c->state = CAPSULE_STATE_CREATED;
	c->pidfd = c->pidfd_source.fd = c->target.pidfd = c->target.procfd = c->target.root = -1;
	for (int i = 0; i < TARGET_NS_COUNT; i++)
		c->target.ns[i] = -1;
	c->cow.overlay_fd = -1;
	cgroup_none(&c->cgroup);
	c->grace_ns = LEFTOVER_GRACE;
	c->arrived_ns = req->arrived_ns;
	c->detached = req->detach;
	c->image_ref = strdup(req->image->ref);
	c->image_digest = strdup(req->image->digest);
	c->target_name.id = req->target.id;
	c->target_name.container_id = strdup(req->target.container_id);
	c->target_name.name = strdup(req->target.name);
	c->target_name.runtime = strdup(req->target.runtime);
	c->report = inject_report_new();
	c->lost_events0 = track_counter(set->track, "events_lost");
	c->next = set->first;
	set->first = c;
	return c;
}

/* A layer of another size than the berth's takes its place. */
static int resize_layer(struct capsule *c, uint64_t size, struct error *err)
{
	int r = cow_drop(c->set->workshop, &c->cow, err);

	return r < 0 ? r : cow_reserve(c->set->workshop, c->name, size, &c->cow, err);
}

static bool has_limits(const struct cgroup_limits *l)
{
	return l->memory || l->cpus_milli || l->pids;
}

static int prepare(struct capsule *c, const struct capsule_request *req, struct error *err)
{
	struct berth b;
	int r = make_argv(req, &c->argv, err);

	if (r == 0 && (!c->report || !c->image_ref || !c->image_digest || !c->target_name.name))
		r = error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = berth_take(c->set, &b, err);
	if (r < 0)
		return r;
	c->id = b.id;
	c->cow = b.cow;
	snprintf(c->name, sizeof(c->name), "%s", b.name);
	r = cgroup_create(c->set->cgroups, c->name, &c->cgroup, err);
	if (r == 0 && has_limits(&req->limits))
		r = cgroup_limit(c->set->cgroups, &c->cgroup, &req->limits, err);
	if (r == 0 && c->cow.size != req->cow_size)
		r = resize_layer(c, req->cow_size, err);
	if (r == 0)
		r = cow_mount(c->set->workshop, req->image, &c->cow, err);
	if (r < 0)
		return r;
	r = track_capsule_add(c->set->track, c->id, c->target.id, req->image->ref,
			      c->detached ? RECAP_CAPSULE_HINT_EXEC : 0);
	if (r < 0)
		return error_sys(err, -r,
				 "cannot enter the capsule in the map (too many at once?)");
	c->tracked = true;
	return 0;
}

/* The streams of a detached tool: /dev/null, and a pipe to its log. */
struct detached_io {
	int pipe_read, pipe_write, log;
};

static void detached_close(struct detached_io *io)
{
	fd_close(io->pipe_read);
	fd_close(io->pipe_write);
	fd_close(io->log);
}

static int detached_open(struct capsule *c, struct detached_io *io, struct error *err)
{
	char name[32];
	int fds[2];

	snprintf(name, sizeof(name), "%s.log", c->name);
	io->log = openat(c->set->log_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC,
			 0600);
	if (io->log < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return error_sys(err, errno, "cannot open the log of a detached capsule");
	io->pipe_read = fds[0];
	io->pipe_write = fds[1];
	return 0;
}

static int inject(struct capsule *c, const struct capsule_request *req, struct error *err)
{
	cleanup(detached_close) struct detached_io io = {-1, -1, -1};
	cleanup_free char **env = merge_env(req);
	struct inject_plan plan = {
		.capsule = c->id,
		.target = &c->target,
		.cgroup = &c->cgroup,
		.sandbox = &req->sandbox,
		.stage_ns = workshop_stage_fd(c->set->workshop),
		.overlay = c->cow.overlay_fd,
		.target_root = req->target_root,
		.terminal = req->terminal,
		.log = -1,
		.log_pipe = -1,
		.argv = c->argv,
		.env = env,
		.workdir = req->workdir ? req->workdir : req->image->workdir,
		.user = req->user ? req->user : req->image->user,
	};
	int r = env ? 0 : error_set(err, ENOMEM, "out of memory");

	if (r == 0 && req->detach)
		r = detached_open(c, &io, err);
	if (r < 0)
		return r;
	memcpy(plan.stdio, req->stdio, sizeof(plan.stdio));
	if (req->detach) {
		memcpy(plan.stdio, (int[]){-1, io.pipe_write, io.pipe_write}, sizeof(plan.stdio));
		plan.log = io.log;
		plan.log_pipe = io.pipe_read;
	}
	return inject_start(c->set->track, &plan, c->report, &c->pidfd, &c->pid, err);
}

/* A start that failed before there was a process: undo it, step by step, without a trace. */
static void undo(struct capsule *c)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.log", c->name);
	if (c->detached && c->name[0])
		unlinkat(c->set->log_dir, name, 0);
	if (c->tracked)
		track_capsule_remove(c->set->track, c->id);
	if (cow_drop(c->set->workshop, &c->cow, NULL) < 0 ||
	    cgroup_remove(c->set->cgroups, &c->cgroup) < 0)
		log_error("capsule %s never ran, and its layer or cgroup could not be removed",
			  c->name);
	capsule_free(c);
}

int capsule_start(struct capsule_set *set, const struct capsule_request *req, struct capsule **ret,
		  struct error *err)
{
	struct capsule *c = capsule_new(set, req);
	int r;

	if (!c)
		return error_set(err, ENOMEM, "out of memory");
	r = target_open(set->track, req->target.id, req->namespaces, &c->target, err);
	c->resolved_ns = clock_boot_ns();
	if (r == 0)
		r = prepare(c, req, err);
	c->created_ns = clock_boot_ns();
	if (r == 0)
		r = inject(c, req, err);
	if (r < 0) {
		/* A PID namespace that is being ended lets nobody in any more, and says so in odd ways. */
		if (!inventory_has(set->inv, req->target.id))
			r = error_named(err, ESRCH, "TargetGone", "the target %s has ended",
					req->target.name);
		undo(c);
		track_count(set->track, "attach_failed");
		return r;
	}
	/* Overlay and namespaces are the child's now: we hold up neither the layer's end nor the target's. */
	c->cow.overlay_fd = fd_close(c->cow.overlay_fd);
	target_close(&c->target);
	c->timeout_ns = req->timeout_ns ? c->created_ns + req->timeout_ns : 0;
	r = loop_add(set->loop, &c->pidfd_source, c->pidfd, EPOLLIN, capsule_on_init_exit, c);
	if (r < 0)
		capsule_stop(c, "recapd is out of resources", 0);
	capsule_wake_at(c, c->created_ns + (req->timeout_ns && req->timeout_ns < MS(1000)
						    ? req->timeout_ns
						    : MS(1000)));
	track_count(set->track, "attach_started");
	*ret = c;
	return 0;
}
