// SPDX-License-Identifier: MIT
/* How a capsule starts: resolve, prepare, inject. */
#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/capsule_internal.h"

/*
 * docker run's rule: an entrypoint given with the run leaves the image's command out; arguments replace it. An empty
 * one is none.
 */
int capsule_command(const struct capsule_request *req, char ***ret, struct error *err)
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

/* Does one of these (may be NULL) set the same variable? */
static bool is_set_in(char *const *env, const char *entry)
{
	size_t key = strcspn(entry, "=");

	for (; env && *env; env++)
		if (!strncmp(*env, entry, key) && ((*env)[key] == '=' || !(*env)[key]))
			return true;
	return false;
}

/*
 * The image's environment with the caller's over it; of one variable the last value alone, since programs differ in
 * which of two they take. Borrowed strings in a new vector.
 */
static char **merge_env(const struct capsule_request *req)
{
	char *const *image = req->image->env, *const *own = req->env;
	char **v = calloc(strv_len(image) + strv_len(own) + 1, sizeof(*v));
	size_t out = 0;

	if (!v)
		return NULL;
	for (; image && *image; image++)
		if (!is_set_in(own, *image) && !is_set_in(image + 1, *image))
			v[out++] = *image;
	for (; own && *own; own++)
		if (!is_set_in(own + 1, *own))
			v[out++] = *own;
	return v;
}

static unsigned int min_of(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

unsigned int capsule_nofile_max(void)
{
	struct rlimit own;

	if (getrlimit(RLIMIT_NOFILE, &own) < 0 || own.rlim_max > UINT_MAX)
		return UINT_MAX;
	return own.rlim_max;
}

static struct capsule *new_for(struct capsule_set *set, const struct capsule_request *req)
{
	struct capsule *c = capsule_new(set);

	if (!c)
		return NULL;
	c->workshop = set->workshop;
	c->residue.refuse = req->refuse_residue;
	c->arrived_ns = req->arrived_ns;
	c->detached = req->detach;
	c->caller = (uint32_t)json_get_int(req->caller, "uid", -1);
	c->takes_over = target_caps_take_over(req->sandbox.caps);
	c->sandbox = req->sandbox;
	c->target_root = req->target_root;
	c->limits = req->limits;
	c->nofile = req->nofile ?: min_of(CAPSULE_NOFILE_HARD, capsule_nofile_max());
	c->time_limit_ns = req->timeout_ns;
	c->image_ref = strdup(req->image->ref);
	c->image_digest = strdup(req->image->digest);
	c->target_name.id = req->target.id;
	c->target_name.container_id = strdup(req->target.container_id);
	c->target_name.name = strdup(req->target.name);
	c->target_name.runtime = strdup(req->target.runtime);
	c->lost_events0 = track_counter(set->track, "events_lost");
	return c;
}

static int prepare(struct capsule *c, const struct capsule_request *req, struct error *err)
{
	int user_ns = c->target.ns[TARGET_NS_USER];
	struct berth b;
	int r = capsule_command(req, &c->argv, err);

	if (r == 0 && (!c->image_ref || !c->image_digest || !c->target_name.name))
		r = error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = berth_take(c->set, req, user_ns >= 0, &b, err);
	if (r < 0)
		return r;
	c->id = b.id;
	c->cow = b.cow;
	c->cgroup = b.cgroup;
	c->starter = b.starter;
	c->slot = b.slot;
	snprintf(c->name, sizeof(c->name), "%s", b.name);
	if (cgroup_limits_any(&req->limits))
		r = cgroup_limit(c->set->cgroups, &c->cgroup, &req->limits, err);
	if (r == 0 && !c->starter.rooted)
		r = cow_mount(c->workshop, req->image, user_ns, &c->cow, err);
	if (r < 0)
		return r;
	c->facts = record_facts(c, req);
	c->created_ns = clock_boot_ns();
	c->timeout_ns = req->timeout_ns ? c->created_ns + req->timeout_ns : 0;
	capsule_note(c, req->token);
	r = track_capsule_add(c->set->track, c->id, c->target.id, req->image->ref,
			      c->detached ? RECAP_CAPSULE_HINT_EXEC : 0,
			      cgroup_pids_unheld(c->set->cgroups, &c->limits));
	if (r == -E2BIG)
		return error_set(
			err, E2BIG,
			"too many capsules at once: the map of capsules is full; end some, or "
			"set maps.capsules in recapd's configuration");
	if (r < 0)
		return error_sys(err, -r, "cannot enter the capsule in the map");
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

/* What the child is given, each at its place. */
static void plan_fds(const struct capsule *c, const struct capsule_request *req,
		     const struct detached_io *io, int fds[INJECT_FD_COUNT])
{
	memcpy(fds + INJECT_FD_NS, c->target.ns, sizeof(c->target.ns));
	fds[INJECT_FD_TARGET] = c->target.root;
	fds[INJECT_FD_OVERLAY] = c->cow.overlay_fd;
	fds[INJECT_FD_CGROUP] = c->starter.placed ? -1 : c->cgroup.v2;
	memcpy(fds + INJECT_FD_CGROUP_V1, c->cgroup.v1, sizeof(c->cgroup.v1));
	memcpy(fds + INJECT_FD_STDIO,
	       req->detach ? (int[]){-1, io->pipe_write, io->pipe_write} : req->stdio,
	       3 * sizeof(int));
	fds[INJECT_FD_LOG_PIPE] = io->pipe_read;
	fds[INJECT_FD_LOG] = io->log;
	fds[INJECT_FD_WATCH] = c->residue.files;
}

static int inject(struct capsule *c, const struct capsule_request *req, struct error *err)
{
	cleanup(detached_close) struct detached_io io = {-1, -1, -1};
	cleanup_free char **env = merge_env(req);
	struct inject_plan plan = {
		.sandbox = req->sandbox,
		.seccomp = req->profile.len ? &req->profile : NULL,
		.nofile_soft = req->nofile ?: min_of(CAPSULE_NOFILE_SOFT, c->nofile),
		.nofile_hard = c->nofile,
		.joined = c->target.joined,
		.target_root = req->target_root,
		.terminal = req->terminal,
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
	if (req->target_root == TARGET_ROOT_RW)
		residue_files_before(&c->residue, &c->target, &req->sandbox);
	plan_fds(c, req, &io, plan.fds);
	r = starter_order(&c->starter, &plan, err);
	if (r < 0)
		return r;
	/* While the starter is at work, on another CPU. */
	residue_before(&c->residue, &c->target, &req->sandbox, &c->set->windows);
	return starter_answer(&c->starter, &c->pidfd, &c->pid, err);
}

#define UNANNOUNCED_TRIES 100
#define UNANNOUNCED_MS	  10

/* A starter that ended in the middle may have forked and not said so; the kernel's programs saw it. It is our child. */
static void end_unannounced(struct capsule *c)
{
	struct recap_capsule k;

	if (track_capsule_get(c->set->track, c->id, &k) < 0 || !k.init_pid)
		return;
	for (int i = 0; i < UNANNOUNCED_TRIES; i++) {
		cgroup_kill(&c->cgroup);
		if (track_capsule_signal(c->set->track, c->id, SIGKILL, 0) < 0 ||
		    waitpid(k.init_pid, NULL, WNOHANG) != 0)
			return;
		usleep(UNANNOUNCED_MS * 1000);
	}
	log_error("a process of capsule %s, which never ran, does not end: PID %u", c->name,
		  k.init_pid);
}

/* A start that failed before there was a process: undo it, step by step, without a trace. */
static void undo(struct capsule *c)
{
	struct berth rest = {.id = c->id, .cow = c->cow, .cgroup = c->cgroup};
	char name[32];

	snprintf(name, sizeof(name), "%s.log", c->name);
	if (c->detached && c->name[0])
		unlinkat(c->set->log_dir, name, 0);
	starter_end(&c->starter);
	if (c->tracked) {
		end_unannounced(c);
		track_capsule_remove(c->set->track, c->id);
	}
	snprintf(rest.name, sizeof(rest.name), "%s", c->name);
	berth_return(c->set, &rest);
	c->cow = COW_NONE;
	cgroup_none(&c->cgroup);
	capsule_set_tidy(c->set);
	capsule_free(c);
}

#define SEAL_TRIES 50
#define SEAL_MS	   1

/* Has its starter ended, whose memory its init may share? */
static bool is_alone(struct capsule *c)
{
	starter_reap(&c->starter);
	return c->starter.pid <= 0;
}

/* Has its init given up everything (core/inject.c), or ended? That takes a moment, or as long as the target stops it. */
static bool is_sealed(struct capsule *c)
{
	struct pollfd end = {.fd = c->pidfd, .events = POLLIN};

	for (int i = 0; i < SEAL_TRIES && !c->reaped; i++) {
		bool sealed = __atomic_load_n(&c->slot->report.sealed, __ATOMIC_ACQUIRE);

		if ((sealed && is_alone(c)) || poll(&end, 1, SEAL_MS) > 0)
			return true;
	}
	return c->reaped;
}

/* No capsule may take over the init of another, which holds all of recapd's capabilities until it is sealed. */
static int refuse_take_over(const struct capsule *c, struct error *err)
{
	for (struct capsule *o = c->set->first; o; o = o->next) {
		if (o == c)
			continue;
		if (o->takes_over && target_is_seen_by(&c->target, &o->target) &&
		    (o->k.live || !o->reaped))
			return error_named(
				err, EPERM, "PermissionDenied",
				"the capsule %s beside it holds CAP_SYS_PTRACE, with which it could take over what is "
				"injected; wait for its end, or attach with --namespaces net,ipc,uts,cgroup",
				o->name);
		if (c->takes_over && target_is_seen_by(&o->target, &c->target) && !is_sealed(o))
			return error_named(
				err, EBUSY, "PermissionDenied",
				"the capsule %s beside it is being injected, and CAP_SYS_PTRACE could take it "
				"over; try again",
				o->name);
	}
	return 0;
}

static bool wants_more_calls(const struct sandbox *s)
{
	return s->caps & 1ull << CAP_SYS_PTRACE ||
	       (s->seccomp != SANDBOX_DEFAULT && s->seccomp != SANDBOX_NET);
}

int capsule_start(struct capsule_set *set, const struct capsule_request *req, struct capsule **ret,
		  struct error *err)
{
	struct capsule *c = new_for(set, req);
	int r;

	if (!c)
		return error_set(err, ENOMEM, "out of memory");
	r = target_open(set->track, req->target.id, req->namespaces, &c->target, err);
	c->resolved_ns = clock_boot_ns();
	if (r == 0)
		r = refuse_take_over(c, err);
	if (r == 0 && injector_is_limited(set->injector) && wants_more_calls(&req->sandbox))
		r = error_set(
			err, EPERM,
			"the injector was ended and started anew: until recapd is restarted there "
			"is no SYS_PTRACE, and no seccomp profile but default and net");
	if (r == 0)
		r = prepare(c, req, err);
	if (r == 0)
		r = inject(c, req, err);
	if (r < 0) {
		/* A PID namespace that is being ended lets nobody in any more, and says so in odd ways. */
		if (!inventory_has(set->inv, req->target.id))
			r = error_named(err, ESRCH, "TargetGone", "the target %s has ended",
					req->target.name);
		undo(c);
		return r;
	}
	inject_release(&c->slot->report);
	/* Overlay and namespaces are the child's now: we hold up neither the layer's end nor the target's. */
	c->cow.overlay_fd = fd_close(c->cow.overlay_fd);
	target_close(&c->target);
	r = loop_add(set->loop, &c->pidfd_source, c->pidfd, EPOLLIN, capsule_on_init_exit, c);
	if (r < 0)
		capsule_stop(c, "recapd is out of resources", 0);
	capsule_wake_at(c, c->created_ns + (req->timeout_ns && req->timeout_ns < MS(1000)
						    ? req->timeout_ns
						    : MS(1000)));
	capsule_count_once(c, COUNT_STARTED);
	*ret = c;
	return 0;
}
