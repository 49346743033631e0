// SPDX-License-Identifier: MIT
#include "core/capsule.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/record.h"
#include "core/capsule_internal.h"

#define MS(n) ((n)*1000000ull)

#define RUN_CHECK	MS(2000) /* between looks at a capsule that runs undisturbed */
#define KILL_INTERVAL	MS(20)
#define FREEZE_AFTER	3	 /* rounds of SIGKILL before the cgroup is frozen for the next */
#define DRAIN_DEADLINE	MS(5000) /* from the first SIGKILL to quarantine */
#define ESCAPE_DEADLINE MS(1000) /* from the empty tree to quarantine */
#define RETRY_FIRST	MS(1)
#define RETRY_MAX	MS(100)
#define QUARANTINE_POLL MS(200)

/* ---- time -------------------------------------------------------------------------------------- */

static void arm(struct capsule_set *set, uint64_t at)
{
	struct itimerspec t = {.it_value = {at / 1000000000, at % 1000000000}};

	set->armed_ns = at;
	if (timerfd_settime(set->timer_fd, TFD_TIMER_ABSTIME, &t, NULL) < 0)
		abort();
}

/* Step the capsule again at `at`. Sooner is always allowed. */
void capsule_wake_at(struct capsule *c, uint64_t at)
{
	if (c->wake_ns && c->wake_ns <= at && c->wake_ns > clock_boot_ns())
		return;
	c->wake_ns = at;
	if (!c->set->armed_ns || at < c->set->armed_ns)
		arm(c->set, at);
}

static void on_timer(uint32_t events, void *arg)
{
	struct capsule_set *set = arg;
	uint64_t ticks, now, next = 0;
	struct capsule *c, *following;

	if (read(set->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		log_warn("ignoring a timer that cannot be read: %s", strerror(errno));
	set->armed_ns = 0;
	now = clock_boot_ns();
	for (c = set->first; c; c = following) {
		following = c->next;
		if (c->wake_ns && c->wake_ns <= now) {
			c->wake_ns = 0;
			capsule_step(c);
		}
	}
	for (c = set->first; c; c = c->next)
		if (c->wake_ns && (!next || c->wake_ns < next))
			next = c->wake_ns;
	if (next)
		arm(set, next);
}

/* ---- the set ----------------------------------------------------------------------------------- */

int capsule_set_new(struct loop *loop, struct track *track, struct workshop *workshop,
		    struct cgroup_root *cgroups, struct inventory *inv, int log_dir,
		    capsule_event_fn fn, void *arg, struct capsule_set **ret, struct error *err)
{
	struct capsule_set *set = calloc(1, sizeof(*set));

	if (!set)
		return error_set(err, ENOMEM, "out of memory");
	*set = (struct capsule_set){
		.loop = loop,
		.track = track,
		.workshop = workshop,
		.cgroups = cgroups,
		.inv = inv,
		.log_dir = log_dir,
		.fn = fn,
		.arg = arg,
		.timer.fd = -1,
		.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK),
	};
	if (set->timer_fd < 0 ||
	    loop_add(loop, &set->timer, set->timer_fd, EPOLLIN, on_timer, set) < 0) {
		error_sys(err, errno, "cannot make a timer");
		capsule_set_free(set);
		return -err->code;
	}
	berth_prepare(set);
	*ret = set;
	return 0;
}

void capsule_each(struct capsule_set *set, void (*fn)(struct capsule *c, void *arg), void *arg)
{
	struct capsule *c, *next;

	for (c = set->first; c; c = next) {
		next = c->next;
		fn(c, arg);
	}
}

size_t capsule_count(const struct capsule_set *set)
{
	size_t n = 0;

	for (const struct capsule *c = set->first; c; c = c->next)
		n++;
	return n;
}

size_t capsule_count_running(const struct capsule_set *set)
{
	size_t n = 0;

	for (const struct capsule *c = set->first; c; c = c->next)
		n += c->state != CAPSULE_STATE_QUARANTINED;
	return n;
}

int capsule_find(struct capsule_set *set, const char *text, struct capsule **ret, struct error *err)
{
	struct capsule *found = NULL;

	for (struct capsule *c = set->first; c; c = c->next) {
		if (!*text || strncmp(c->name, text, strlen(text)))
			continue;
		if (found)
			return error_named(
				err, ENOTUNIQ, "CapsuleNotFound",
				"%s is the start of more than one capsule's ID; give more of it",
				text);
		found = c;
	}
	if (!found)
		return error_named(
			err, ENOENT, "CapsuleNotFound",
			"no capsule %s is running; `recapctl ps --all` shows the finished ones",
			text);
	*ret = found;
	return 0;
}

const char *capsule_name(const struct capsule *c)
{
	return c->name;
}

const char *capsule_image_digest(const struct capsule *c)
{
	return c->image_digest;
}

bool capsule_is_quarantined(const struct capsule *c)
{
	return c->state == CAPSULE_STATE_QUARANTINED;
}

bool capsule_is_detached(const struct capsule *c)
{
	return c->detached;
}

const struct error *capsule_error(const struct capsule *c)
{
	return c->state == CAPSULE_STATE_FAILED ? &c->error : NULL;
}

struct json_object *capsule_json(struct capsule *c)
{
	/* What the kernel counts by now: nobody may have had a reason to look since the tool's exec. */
	if (c->state == CAPSULE_STATE_CREATED && track_capsule_get(c->set->track, c->id, &c->k) < 0)
		log_debug("ignoring that %s has no entry in the map", c->name);
	return capsule_record(c);
}

/* ---- the end of one ---------------------------------------------------------------------------- */

/* Everything that a capsule holds is let go here, from whatever state; what it does not hold is skipped. */
void capsule_free(struct capsule *c)
{
	struct capsule **p;

	for (p = &c->set->first; *p && *p != c; p = &(*p)->next)
		;
	if (*p)
		*p = c->next;
	/* Still there only when recapd ends while the layer is quarantined; busy only when tasks are. */
	if (cgroup_remove(c->set->cgroups, &c->cgroup) < 0)
		log_warn("capsule %s: its cgroup is still busy", c->name);
	loop_remove(c->set->loop, &c->pidfd_source);
	fd_close(c->pidfd);
	target_close(&c->target);
	target_name_clear(&c->target_name);
	inject_report_free(c->report);
	strv_free(c->argv);
	free(c->image_ref);
	free(c->image_digest);
	free(c->holders);
	free(c);
}

void capsule_set_free(struct capsule_set *set)
{
	if (!set)
		return;
	while (set->first)
		capsule_free(set->first);
	berth_drop(set);
	loop_remove(set->loop, &set->timer);
	fd_close(set->timer_fd);
	free(set);
}

static void account(const struct capsule *c)
{
	const struct {
		const char *phase;
		uint64_t us;
	} all[] = {{"resolve", c->us.resolve}, {"prepare", c->us.prepare}, {"inject", c->us.inject},
		   {"run", c->us.run},	       {"drain", c->us.drain},	   {"escape", c->us.escape},
		   {"drop", c->us.drop},       {"total", c->us.total}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		track_latency_add(c->set->track, c->image_ref, all[i].phase, all[i].us);
}

/* The layer is gone: tell, then do the books, which nobody waits for. */
static void finish(struct capsule *c)
{
	struct capsule_set *set = c->set;
	bool resolved = c->state == CAPSULE_STATE_QUARANTINED;

	c->done_ns = clock_boot_ns();
	c->lost_events = track_counter(set->track, "events_lost") - c->lost_events0;
	c->state = c->error.code ? CAPSULE_STATE_FAILED : CAPSULE_STATE_DROPPED;
	record_times(c);
	set->fn(c, CAPSULE_DONE, set->arg);
	track_capsule_remove(set->track, c->id);
	if (resolved)
		track_count(set->track, "quarantine_resolved");
	track_count(set->track, c->error.code ? "attach_failed" : "escapes_proven");
	if (!c->error.code)
		account(c);
	capsule_free(c);
	berth_prepare(set);
}

/* ---- draining ---------------------------------------------------------------------------------- */

static void enter_draining(struct capsule *c, uint64_t now)
{
	int sent = 0;

	c->state = CAPSULE_STATE_DRAINING;
	c->drain_ns = now;
	c->kill_ns = now + c->grace_ns;
	capsule_wake_at(c, c->kill_ns);
	/* The usual end: the tool was the whole tree and init is on its way out. Nobody to ask. */
	if (c->k.live <= (c->reaped ? 0u : 1u) && !c->reason)
		return;
	track_capsule_state(c->set->track, c->id, RECAP_CAPSULE_DRAINING);
	if (c->grace_ns)
		sent = track_capsule_signal(c->set->track, c->id, SIGTERM, c->pid);
	if (sent > 0)
		c->killed = sent;
}

static void freeze(struct capsule *c, bool on)
{
	if (c->cgroup.v2 >= 0 && fd_write_knob(c->cgroup.v2, "cgroup.freeze", on ? "1" : "0") < 0)
		log_debug("ignoring that the cgroup of %s cannot be frozen", c->name);
}

/*
 * One round of SIGKILL. Init is spared: it ends by itself once it has reaped the rest, and without it the rest would be the target's
 * to reap. A tree that forks faster than we kill is frozen first, so that it stands still; at the very end all of it goes, init included.
 */
static void kill_round(struct capsule *c, uint64_t now)
{
	bool last = c->rounds > 25 || (c->k.live <= 1 && c->rounds > 5);
	int sent;

	if (!c->rounds++)
		c->first_kill_ns = now;
	if (c->rounds > FREEZE_AFTER)
		freeze(c, true);
	sent = track_capsule_signal(c->set->track, c->id, SIGKILL, last ? 0 : c->pid);
	if (sent > 0 && !c->killed)
		c->killed = sent;
	if (last)
		cgroup_kill(&c->cgroup);
	if (c->rounds > FREEZE_AFTER && sent == 0)
		freeze(c, false);
	c->kill_ns = now + KILL_INTERVAL;
	capsule_wake_at(c, c->kill_ns);
}

/* ---- quarantine -------------------------------------------------------------------------------- */

#define HOLDERS_MAX 64

/* Who is it? Tasks of the tree that do not die come first, then whoever else the kernel knows to hold the layer. */
static void find_holders(struct capsule *c)
{
	struct recap_holder_record found[HOLDERS_MAX];
	int n = 0, more;

	if (c->k.live)
		n = track_capsule_tasks(c->set->track, c->id, found, HOLDERS_MAX);
	if (n < 0)
		n = 0;
	c->cow.wanted.mnt_id = c->k.mnt_id;
	/* Where the probe did not say that the layer is held, its numbers may be those of another by now. */
	more = !c->held && !c->k.live
		       ? 0
		       : track_holders(c->set->track, &c->cow.wanted, found + n, HOLDERS_MAX - n);
	if (more < 0)
		log_warn("cannot look for the holders of %s: %s", c->name, strerror(-more));
	else
		n += more;
	free(c->holders);
	c->holders = calloc(n + 1, sizeof(*c->holders));
	c->n_holders = c->holders ? n : 0;
	if (c->holders)
		memcpy(c->holders, found, n * sizeof(*found));
}

static void enter_quarantine(struct capsule *c)
{
	c->state = CAPSULE_STATE_QUARANTINED;
	c->done_ns = clock_boot_ns();
	find_holders(c);
	record_times(c);
	track_capsule_state(c->set->track, c->id, RECAP_CAPSULE_QUARANTINED);
	track_count(c->set->track, "quarantined");
	log_warn("capsule %s (%s in %s) is quarantined: %zu holders of its layer", c->name,
		 c->image_ref, c->target_name.name, c->n_holders);
	capsule_wake_at(c, c->done_ns + QUARANTINE_POLL);
	c->set->fn(c, CAPSULE_QUARANTINED, c->set->arg);
}

/* ---- escape ------------------------------------------------------------------------------------ */

/* Both witnesses agreed. True when all is gone. */
static bool drop(struct capsule *c)
{
	struct error err;
	int r = cow_drop(c->set->workshop, &c->cow, &err);

	if (r < 0) {
		log_warn("capsule %s: %s", c->name, err.msg);
		return false;
	}
	r = cgroup_remove(c->set->cgroups, &c->cgroup);
	if (r < 0)
		log_debug("capsule %s: its cgroup is still busy", c->name);
	return r == 0;
}

/*
 * The first witness (no tagged task lives) has spoken: ask the second. True when the capsule is finished and
 * must not be touched again.
 */
static bool try_escape(struct capsule *c, uint64_t now)
{
	struct error err;
	int busy;

	if (!c->escape_ns)
		c->escape_ns = now;
	/* Dropped already, where only the cgroup was busy for a moment longer. */
	busy = c->cow.attached ? cow_busy(c->set->workshop, &c->cow, &err) : 0;
	if (busy < 0)
		log_warn("capsule %s: %s", c->name, err.msg);
	c->overlay_busy = busy != 0;
	c->held = busy == 1;
	/* Tasks without a tag are signalled by no walk, but they are in the cgroup. */
	if (c->held && c->k.untracked)
		cgroup_kill(&c->cgroup);
	if (busy != 0)
		return false;
	if (!c->escaped_ns)
		c->escaped_ns = clock_boot_ns();
	if (!drop(c))
		return false;
	finish(c);
	return true;
}

/* Not yet: try again soon, less and less often, until the deadline. */
static void retry_escape(struct capsule *c, uint64_t now)
{
	if (c->state == CAPSULE_STATE_QUARANTINED) {
		capsule_wake_at(c, now + QUARANTINE_POLL);
	} else if (now > c->escape_ns + ESCAPE_DEADLINE) {
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
	if (c->report->error.code && inventory_has(c->set->inv, c->target.id)) {
		c->error = c->report->error;
		c->error.msg[sizeof(c->error.msg) - 1] = '\0';
		c->error.name[sizeof(c->error.name) - 1] = '\0';
	} else if (!inventory_has(c->set->inv, c->target.id)) {
		error_named(&c->error, ESRCH, "TargetGone",
			    "the target %s ended before the tool could start", c->target_name.name);
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
	/* Hints may be lost, and a target may stop our init, whose exit is one: look now and then. */
	next = now + RUN_CHECK;
	if (c->timeout_ns && c->timeout_ns < next)
		next = c->timeout_ns;
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

void capsule_step(struct capsule *c)
{
	uint64_t now = clock_boot_ns();

	if (track_capsule_get(c->set->track, c->id, &c->k) < 0) {
		/* Somebody removed the entry from the pinned map: nothing counts this tree any more. */
		log_error("capsule %s has lost its entry in the map", c->name);
		c->k.live = 0;
		c->k.untracked++;
	}
	if (c->state == CAPSULE_STATE_CREATED || c->state == CAPSULE_STATE_RUNNING)
		step_running(c, now);
	if (c->state == CAPSULE_STATE_DRAINING)
		step_draining(c, now);
	if (c->state != CAPSULE_STATE_DRAINING && c->state != CAPSULE_STATE_QUARANTINED)
		return;
	if (c->k.live == 0 && c->reaped) {
		if (!c->k.exec_ns && !c->error.code)
			injection_failed(c);
		if (!try_escape(c, now))
			retry_escape(c, now);
	} else if (c->state == CAPSULE_STATE_QUARANTINED) {
		/* A task that outlived SIGKILL (traced, or asleep in the kernel) may be ready to go now. */
		if (track_capsule_signal(c->set->track, c->id, SIGKILL, 0) < 0)
			log_debug("ignoring that the tasks of %s cannot be walked", c->name);
		capsule_wake_at(c, now + QUARANTINE_POLL);
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
	return track_tool_signal(c->set->track, c->id, sig);
}

void capsule_set_hint(struct capsule_set *set, const struct recap_event *e)
{
	struct capsule *c, *next;

	for (c = set->first; c; c = next) {
		next = c->next;
		if (e->type != RECAP_EVENT_CONTAINER) {
			if (c->id == e->id)
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
	siginfo_t info;

	if (waitid(P_PIDFD, c->pidfd, &info, WEXITED | WNOHANG) < 0)
		log_warn("capsule %s: waitid: %s", c->name, strerror(errno));
	loop_remove(c->set->loop, &c->pidfd_source);
	c->reaped = true;
	capsule_step(c);
}
