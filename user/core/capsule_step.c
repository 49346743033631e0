// SPDX-License-Identifier: MIT
/* What is next for a capsule: it runs, is drained, has escaped and is dropped, or is quarantined until it is. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/capsule_internal.h"
#include "core/holders.h"
#include "core/record.h"

#define RUN_CHECK	MS(2000) /* between looks at a capsule that runs undisturbed */
#define KILL_INTERVAL	MS(20)
#define FREEZE_AFTER	3	 /* rounds of SIGKILL before the cgroup is frozen for the next */
#define BLIND_MAX	5	 /* rounds that find nobody where somebody lives */
#define DRAIN_DEADLINE	MS(5000) /* from the first SIGKILL to quarantine */
#define ESCAPE_DEADLINE MS(1000) /* from the empty tree to quarantine */
#define RETRY_FIRST	MS(1)
#define RETRY_MAX	MS(100)
#define RETRY_LEAST \
	MS(16) /* so often, whoever began to wait: the deadline may have passed while there was no recapd */
#define QUARANTINE_POLL MS(200)
#define QUARANTINE_SLOW MS(3000) /* the longest between two looks at one that lasts */

/* ---- draining ---------------------------------------------------------------------------------- */

/* Whom no walk may signal: our init, while its PID is its own. */
static pid_t spared(const struct capsule *c)
{
	return c->reaped ? 0 : c->pid;
}

static void enter_draining(struct capsule *c, uint64_t now)
{
	int sent = 0;

	c->state = CAPSULE_STATE_DRAINING;
	c->drain_ns = now;
	c->kill_ns = now + c->grace_ns;
	capsule_note_again(c);
	capsule_wake_at(c, c->kill_ns);
	/* The usual end: the tool was the whole tree and init is on its way out. Nobody to ask. */
	if (c->k.live <= (c->reaped ? 0u : 1u) && !c->reason)
		return;
	track_capsule_state(c->set->track, c->id, RECAP_CAPSULE_DRAINING);
	if (c->grace_ns)
		sent = track_capsule_signal(c->set->track, c->id, SIGTERM, spared(c));
	if (sent > 0)
		c->killed = sent;
}

static void freeze(struct capsule *c, bool on)
{
	if (c->cgroup.v2 >= 0 && fd_write_knob(c->cgroup.v2, "cgroup.freeze", on ? "1" : "0") < 0)
		log_debug("ignoring that the cgroup of %s cannot be frozen", c->name);
}

/* Whom our init waits for: the living, and the dead that who traces them has not let go of. Without it they would be the target's. */
static bool init_is_needed(const struct capsule *c)
{
	return !c->reaped &&
	       (c->k.live > 1 || track_capsule_dead(c->set->track, c->id, c->pid) > 0);
}

/*
 * One round of SIGKILL. Init is spared: it ends by itself once it has reaped the rest. A tree that forks faster than we kill is
 * frozen first, so that it stands still; when nothing is left for init to wait for and it is still there, it goes as well. So it does
 * where the walk does not find those who live: their cgroup is the only way to them, and init is in it.
 */
static void kill_round(struct capsule *c, uint64_t now)
{
	bool last = c->rounds > 5 && !init_is_needed(c);
	int sent;

	if (!c->rounds++)
		c->first_kill_ns = now;
	if (c->rounds > FREEZE_AFTER)
		freeze(c, true);
	sent = track_capsule_signal(c->set->track, c->id, SIGKILL, last ? 0 : spared(c));
	c->blind = sent > 0 || c->k.live <= 1 ? 0 : c->blind + 1;
	if (c->blind > BLIND_MAX)
		sent = (int)c->k.live - !c->reaped;
	if (sent > 0 && !c->killed)
		c->killed = sent;
	if (last || c->blind > BLIND_MAX)
		cgroup_kill(&c->cgroup);
	if (c->rounds > FREEZE_AFTER && sent == 0)
		freeze(c, false);
	c->kill_ns = now + KILL_INTERVAL;
	capsule_wake_at(c, c->kill_ns);
}

/* The starter is in the capsule's mount namespace as well, and may be at its end still. */
static void look_for_files(struct capsule *c)
{
	starter_reap(&c->starter);
	residue_files_after(&c->residue, &c->slot->report.watch,
			    c->k.live || !c->reaped || c->starter.pid > 0);
}

/*
 * Once: at the tree's end, or when what is left of it does not end. Init alone changes nothing; but it is waited for, since the last
 * of the others lets go of its sockets only after its exit was traced.
 */
static void look_for_residue(struct capsule *c)
{
	if (!c->k.exec_ns)
		return;
	if (c->residue.files_asked)
		look_for_files(c);
	residue_after(&c->residue);
}

/* ---- quarantine -------------------------------------------------------------------------------- */

#define HOLDERS_MAX 64

static bool is_known(const struct capsule *c, const struct recap_holder_record *h)
{
	for (size_t i = 0; i < c->n_holders; i++) {
		const struct recap_holder_record *k = &c->holders[i];

		if (k->tgid == h->tgid && (!k->kind || (k->kind == h->kind && k->fd == h->fd)))
			return true;
	}
	return false;
}

/* What one search found (or -errno) joins those that are known: each once, and of a task of the tree's no more than that. */
static void add_holders(struct capsule *c, const struct recap_holder_record *found, int n,
			pid_t except)
{
	if (n < 0)
		log_warn("cannot look for the holders of %s: %s", c->name, strerror(-n));
	for (int i = 0; i < n && c->n_holders < HOLDERS_MAX; i++)
		if (found[i].tgid != (__u32)except && !is_known(c, &found[i]))
			c->holders[c->n_holders++] = found[i];
}

/* Who is it? Tasks of the tree come first, then whoever else holds the layer. Our init is it only when nobody else is. */
void capsule_find_holders(struct capsule *c)
{
	struct recap_holder_record found[HOLDERS_MAX];
	struct track *t = c->set->track;
	bool tree = c->k.live || !c->reaped;
	pid_t init = init_is_needed(c) ? c->pid : 0;

	free(c->holders);
	c->n_holders = 0;
	c->holders = calloc(HOLDERS_MAX, sizeof(*c->holders));
	if (!c->holders)
		return;
	if (tree)
		add_holders(c, found, track_capsule_tasks(t, c->id, found, HOLDERS_MAX), init);
	/* Where the probe did not say that the layer is held, its numbers may be those of another by now. */
	if (!c->held && !tree)
		return;
	c->cow.wanted.mnt_id = c->k.mnt_id;
	/* recapd is not to be among them. */
	c->cow.back_fd = fd_close(c->cow.back_fd);
	add_holders(c, found, track_holders(t, &c->cow.wanted, found, HOLDERS_MAX), init);
	add_holders(c, found,
		    holders_mounts(&c->cow.wanted, workshop_inode(c->workshop), found, HOLDERS_MAX),
		    init);
}

/* A look is a walk, or a mount that is tried: of many that a hostile target makes last, recapd is not to be kept busy. */
static void look_again(struct capsule *c, uint64_t now)
{
	uint64_t pause = now > c->done_ns ? (now - c->done_ns) / 32 : 0;

	if (pause < QUARANTINE_POLL)
		pause = QUARANTINE_POLL;
	capsule_wake_at(c, now + (pause < QUARANTINE_SLOW ? pause : QUARANTINE_SLOW));
}

static void enter_quarantine(struct capsule *c)
{
	c->state = CAPSULE_STATE_QUARANTINED;
	c->done_ns = clock_boot_ns();
	/* Who is let go of must be able to end, and init to reap it. */
	freeze(c, false);
	capsule_find_holders(c);
	look_for_residue(c);
	/* This may last, and is not to keep the target's namespaces. */
	capsule_let_go_of_windows(c);
	record_times(c);
	capsule_note_again(c);
	capsule_count_once(c, COUNT_QUARANTINED);
	track_capsule_state(c->set->track, c->id, RECAP_CAPSULE_QUARANTINED);
	log_warn("capsule %s (%s in %s) is quarantined: %zu holders of its layer", c->name,
		 c->image_ref, c->target_name.name, c->n_holders);
	look_again(c, c->done_ns);
	c->set->fn(c, CAPSULE_QUARANTINED, c->set->arg);
}

/* ---- escape ------------------------------------------------------------------------------------ */

/* Both witnesses agreed. True when all is gone. */
static bool drop(struct capsule *c)
{
	struct error err;
	int r = cow_drop(c->workshop, &c->cow, &err);

	if (r < 0) {
		log_warn("capsule %s: %s", c->name, err.msg);
		return false;
	}
	capsule_note_again(c);
	r = cgroup_remove(c->set->cgroups, &c->cgroup);
	if (r < 0)
		log_debug("capsule %s: its cgroup is still busy", c->name);
	return r == 0;
}

/*
 * Sockets that are in flight to each other, with a descriptor of the layer, hold it until the kernel's garbage collector has been
 * there, which closing any Unix socket starts (unix_gc()).
 */
static void collect_sockets(void)
{
	fd_close(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

/*
 * The first witness (no tagged task lives) has spoken: ask the second. True when the capsule is finished and
 * must not be touched again.
 */
static bool try_escape(struct capsule *c, uint64_t now)
{
	struct error err;
	int busy;

	if (!c->escape_ns) {
		look_for_residue(c);
		c->escape_ns = clock_boot_ns();
		capsule_note_again(c);
	}
	/*
	 * Once it has agreed it is not asked again: what nothing holds nobody can get hold of, and a drop that was cut short may have
	 * left an ext4 that was shut down, on which no probe can be mounted.
	 */
	busy = c->cow.attached && !c->escaped_ns ? cow_busy(c->workshop, &c->cow, &err) : 0;
	if (busy < 0)
		log_warn("capsule %s: %s", c->name, err.msg);
	c->overlay_busy = busy != 0;
	c->held = busy == 1;
	/* Tasks without a tag are signalled by no walk, but they are in the cgroup. */
	if (c->held && c->k.untracked)
		cgroup_kill(&c->cgroup);
	if (c->held)
		collect_sockets();
	if (busy != 0)
		return false;
	if (!c->escaped_ns) {
		c->escaped_ns = clock_boot_ns();
		capsule_note_again(c);
	}
	if (!drop(c))
		return false;
	capsule_finish(c);
	return true;
}

/* Not yet: try again soon, less and less often, until the deadline. */
static void retry_escape(struct capsule *c, uint64_t now)
{
	if (c->state == CAPSULE_STATE_QUARANTINED) {
		look_again(c, now);
	} else if (now > c->escape_ns + ESCAPE_DEADLINE && c->retry_ns >= RETRY_LEAST) {
		enter_quarantine(c);
	} else {
		c->retry_ns = c->retry_ns ? c->retry_ns * 2 : RETRY_FIRST;
		if (c->retry_ns > RETRY_MAX)
			c->retry_ns = RETRY_MAX;
		capsule_wake_at(c, now + c->retry_ns);
	}
}

/* ---- the step ---------------------------------------------------------------------------------- */

/* Why the tool never ran, where the child could not say it itself. */
static void injection_failed(struct capsule *c)
{
	if (c->slot->report.error.code && inventory_has(c->set->inv, c->target.id)) {
		c->error = c->slot->report.error;
		c->error.msg[sizeof(c->error.msg) - 1] = '\0';
		c->error.name[sizeof(c->error.name) - 1] = '\0';
	} else if (c->k.untracked) {
		/* Its exec and exit were not seen; it may have run. */
		error_set(
			&c->error, ENOMEM,
			"the kernel had no memory to track the tool with, and how it fared is not known");
	} else if (!inventory_has(c->set->inv, c->target.id)) {
		error_named(&c->error, ESRCH, "TargetGone",
			    "the target %s ended before the tool could start", c->target_name.name);
	} else if (!capsule_was_begun(c)) {
		error_named(&c->error, ECANCELED, "Restarted",
			    "recapd was restarted before the tool could start; try again");
	} else {
		error_set(&c->error, ECANCELED,
			  "the injected process was ended before the tool could start%s%s",
			  c->reason ? ": " : "", c->reason ? c->reason : "");
	}
}

/* A fact that ends the run, or NULL. */
static const char *end_reason(struct capsule *c, uint64_t now)
{
	if (c->timeout_ns && now >= c->timeout_ns && !c->k.exit_ns)
		return "timeout";
	if (!c->k.exec_ns && now >= c->created_ns + INJECT_DEADLINE)
		return "injection took too long";
	if (c->rejoin_ns && now >= c->rejoin_ns)
		return "client-gone";
	/* The end of a PID namespace is a SIGKILL to all in it. */
	if ((c->k.exit_ns ? WIFSIGNALED(c->k.tool_status) && WTERMSIG(c->k.tool_status) == SIGKILL
			  : c->reaped) &&
	    !inventory_has(c->set->inv, c->target.id))
		return "target-gone";
	return NULL;
}

static void step_running(struct capsule *c, uint64_t now)
{
	uint64_t next;

	if (!c->reason)
		c->reason = end_reason(c, now);
	if (c->state == CAPSULE_STATE_CREATED && c->k.exec_ns) {
		c->state = CAPSULE_STATE_RUNNING;
		if (c->detached && !c->reaped)
			c->set->fn(c, CAPSULE_STARTED, c->set->arg);
	}
	if (c->reason || c->reaped || c->k.exit_ns) {
		if (!c->k.exec_ns && c->reaped)
			injection_failed(c);
		enter_draining(c, now);
		return;
	}
	starter_reap(&c->starter);
	/* Hints may be lost, and a target may stop our init, whose exit is one: look now and then. */
	next = now + RUN_CHECK;
	if (c->timeout_ns && c->timeout_ns < next)
		next = c->timeout_ns;
	if (c->rejoin_ns && c->rejoin_ns < next)
		next = c->rejoin_ns;
	capsule_wake_at(c, next);
}

static void step_draining(struct capsule *c, uint64_t now)
{
	if (c->k.live == 0 && c->reaped)
		return;
	if (c->first_kill_ns && now >= c->first_kill_ns + DRAIN_DEADLINE) {
		enter_quarantine(c);
		return;
	}
	if (now >= c->kill_ns)
		kill_round(c, now);
	else
		capsule_wake_at(c, c->kill_ns);
}

/* Init has gone, or nobody watches it (epoll_ctl(2) failed): ask. */
static void reap_init(struct capsule *c)
{
	struct pollfd end = {.fd = c->pidfd, .events = POLLIN};
	siginfo_t info = {};

	/* An adopted one is another's child. */
	if (c->keeper)
		c->reaped = poll(&end, 1, 0) > 0;
	else if (waitid(P_PIDFD, c->pidfd, &info, WEXITED | WNOHANG) == 0)
		c->reaped = info.si_pid != 0;
	else
		log_warn("capsule %s: waitid: %s", c->name, strerror(errno));
	/* One that was killed has not waited for the others, who may be at their ends still. */
	c->abandoned = c->reaped && info.si_code != CLD_EXITED;
	if (c->abandoned)
		residue_mistaken(&c->residue);
}

/* Init that says so once the tool was executed could not seal itself, and ended. */
static bool init_took_tool_along(const struct capsule *c)
{
	return c->reaped && c->k.exec_ns && c->slot->report.error.code && c->k.exit_ns &&
	       WIFSIGNALED(c->k.tool_status) && WTERMSIG(c->k.tool_status) == SIGKILL;
}

void capsule_step(struct capsule *c)
{
	uint64_t now = clock_boot_ns();
	int r;

	if (!c->reaped && c->pidfd_source.fd < 0)
		reap_init(c);
	r = track_capsule_get(c->set->track, c->id, &c->k);
	if (r < 0 && r != -ENOENT) {
		/* No memory for the look: what the tree did since the last one is not to be guessed at. */
		log_warn("capsule %s: cannot look up its counts: %s", c->name, strerror(-r));
		capsule_wake_at(c, now + RETRY_MAX);
		return;
	}
	if (r < 0) {
		/* Somebody removed the entry from the pinned map: nothing counts this tree any more. */
		log_error("capsule %s has lost its entry in the map", c->name);
		c->k.live = 0;
		c->k.untracked++;
	}
	if (!c->reason && init_took_tool_along(c))
		c->reason = "its init could not be confined";
	if (c->state == CAPSULE_STATE_CREATED || c->state == CAPSULE_STATE_RUNNING)
		step_running(c, now);
	if (c->state == CAPSULE_STATE_DRAINING)
		step_draining(c, now);
	if (c->state != CAPSULE_STATE_DRAINING && c->state != CAPSULE_STATE_QUARANTINED)
		return;
	/* Init is at its end, and by then it has waited for everybody else. */
	if (r == 0 && c->k.live == 0 && !c->reaped && c->k.exec_ns)
		residue_ahead(&c->residue);
	if (c->k.live == 0 && c->reaped) {
		if (!c->k.exec_ns && !c->error.code)
			injection_failed(c);
		if (!try_escape(c, now))
			retry_escape(c, now);
	} else if (c->state == CAPSULE_STATE_QUARANTINED) {
		/* A task that outlived SIGKILL (traced, or asleep in the kernel) may be ready to go now. */
		if (track_capsule_signal(c->set->track, c->id, SIGKILL,
					 init_is_needed(c) ? c->pid : 0) < 0)
			log_debug("ignoring that the tasks of %s cannot be walked", c->name);
		look_again(c, now);
	}
}

void capsule_stop(struct capsule *c, const char *reason, uint64_t grace_ns)
{
	uint64_t now = clock_boot_ns();

	if (c->state == CAPSULE_STATE_QUARANTINED)
		return;
	/* A tool that has just ended by itself was not ended for this reason. */
	if (track_capsule_get(c->set->track, c->id, &c->k) < 0)
		log_debug("ignoring that %s has no entry in the map", c->name);
	if (!c->reason && !c->k.exit_ns) {
		c->reason = reason;
		c->grace_ns = grace_ns;
	}
	if (c->state == CAPSULE_STATE_DRAINING && c->kill_ns > now + grace_ns) {
		c->kill_ns = now + grace_ns;
		c->wake_ns = 0;
		capsule_wake_at(c, c->kill_ns);
	}
	capsule_step(c);
}

void capsule_stop_all(struct capsule_set *set, const char *reason, uint64_t grace_ns)
{
	struct capsule *c, *next;

	for (c = set->first; c; c = next) {
		next = c->next;
		capsule_stop(c, reason, grace_ns);
	}
}

int capsule_signal(struct capsule *c, int sig)
{
	/* What would end the tool ends it before it has begun. */
	if (track_capsule_get(c->set->track, c->id, &c->k) == 0 && !c->k.tool_pid &&
	    (sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT ||
	     sig == SIGKILL)) {
		capsule_stop(c, "signalled", 0);
		return 0;
	}
	return track_tool_signal(c->set->track, c->id, sig);
}

/*
 * The dead whom nobody has waited for have a PID each, as the living have. Where a cgroup limits tasks (pids.max) it counts them, too;
 * the tracepoints do not.
 */
static void check_dead(struct capsule *c)
{
	int dead = track_capsule_dead(c->set->track, c->id, c->pid);

	if (track_capsule_get(c->set->track, c->id, &c->k) == 0 && dead > 0 && c->k.tasks_max &&
	    (unsigned int)dead + c->k.live > c->k.tasks_max)
		capsule_stop(c, "too many dead, not waited for", 0);
}

void capsule_set_hint(struct capsule_set *set, const struct recap_event *e)
{
	struct capsule *c, *next;

	if (e->type == RECAP_EVENT_CONTAINER && set->windows.kinds &&
	    !inventory_has(set->inv, set->windows_target))
		residue_windows_close(&set->windows);
	for (c = set->first; c; c = next) {
		next = c->next;
		if (e->type != RECAP_EVENT_CONTAINER) {
			if (c->id == e->id && e->type == RECAP_EVENT_TREE_FORKS)
				check_dead(c);
			else if (c->id == e->id)
				capsule_step(c);
		} else if (c->target.id == e->id && !inventory_has(set->inv, e->id)) {
			capsule_stop(c, "target-gone", c->grace_ns);
		}
	}
}

/* Our init has gone: a capsule's pidfd became readable. */
void capsule_on_init_exit(uint32_t events, void *arg)
{
	struct capsule *c = arg;

	loop_remove(c->set->loop, &c->pidfd_source);
	capsule_step(c);
}
