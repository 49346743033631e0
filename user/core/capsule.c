// SPDX-License-Identifier: MIT
#include "core/capsule.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/record.h"
#include "core/capsule_internal.h"

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
		    struct cgroup_root *cgroups, struct inventory *inv, struct injector *injector,
		    int log_dir, capsule_event_fn fn, void *arg, struct capsule_set **ret,
		    struct error *err)
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
		.injector = injector,
		.log_dir = log_dir,
		.fn = fn,
		.arg = arg,
		.timer.fd = -1,
		.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK),
	};
	residue_windows_init(&set->windows);
	if (set->timer_fd < 0 ||
	    loop_add(loop, &set->timer, set->timer_fd, EPOLLIN, on_timer, set) < 0) {
		error_sys(err, errno, "cannot make a timer");
		capsule_set_free(set);
		return -err->code;
	}
	*ret = set;
	return 0;
}

void capsule_set_ready(struct capsule_set *set)
{
	berth_prepare(set);
}

void capsule_set_forget_image(struct capsule_set *set)
{
	berth_drop(set);
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

bool capsule_is_recorded(const struct capsule *c)
{
	return c->slot->note.recorded;
}

struct ledger_place *capsule_told_at(struct capsule *c)
{
	return c->slot->note.told_at;
}

bool capsule_is_detached(const struct capsule *c)
{
	return c->detached;
}

bool capsule_was_begun(const struct capsule *c)
{
	return !c->keeper || c->k.init_pid;
}

bool capsule_has_started(const struct capsule *c)
{
	return c->k.exec_ns;
}

uint32_t capsule_caller(const struct capsule *c)
{
	return c->caller;
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

struct capsule *capsule_new(struct capsule_set *set)
{
	struct capsule *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->set = set;
	c->state = CAPSULE_STATE_CREATED;
	c->pidfd = c->pidfd_source.fd = c->target.pidfd = c->target.procfd = c->target.root = -1;
	for (int i = 0; i < TARGET_NS_COUNT; i++)
		c->target.ns[i] = -1;
	c->cow = COW_NONE;
	cgroup_none(&c->cgroup);
	residue_init(&c->residue);
	c->grace_ns = LEFTOVER_GRACE;
	c->next = set->first;
	set->first = c;
	return c;
}

static void unlink_capsule(struct capsule *c)
{
	struct capsule **p;

	for (p = &c->set->first; *p && *p != c; p = &(*p)->next)
		;
	if (*p)
		*p = c->next;
}

static void let_go_of_slot(struct capsule *c)
{
	if (c->slot)
		__atomic_store_n(&c->slot->note.id, 0, __ATOMIC_RELEASE);
	if (!c->keeper)
		injector_slot_free(c->set->injector, c->slot);
	keeper_unref(c->keeper);
}

void capsule_let_go_of_windows(struct capsule *c)
{
	struct capsule_set *set = c->set;
	bool lives = inventory_has(set->inv, c->target.id);

	residue_done(&c->residue, lives ? &set->windows : NULL);
	if (lives)
		set->windows_target = c->target.id;
}

/* Everything that a capsule holds is let go here, from whatever state; what it does not hold is skipped. */
void capsule_free(struct capsule *c)
{
	unlink_capsule(c);
	/* Still there only when recapd ends while the layer is quarantined; busy only when tasks are. */
	if (cgroup_remove(c->set->cgroups, &c->cgroup) < 0)
		log_warn("capsule %s: its cgroup is still busy", c->name);
	fd_close(c->cow.back_fd);
	loop_remove(c->set->loop, &c->pidfd_source);
	fd_close(c->pidfd);
	target_close(&c->target);
	target_name_clear(&c->target_name);
	starter_end(&c->starter);
	let_go_of_slot(c);
	json_object_put(c->facts);
	strv_free(c->argv);
	free(c->image_ref);
	free(c->image_digest);
	free(c->holders);
	residue_free(&c->residue);
	free(c);
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

#define BOOKS_US \
	250 /* after the client's last sign of life: it is to end first, and may be on our CPU */

/* The books of those that have finished, which nobody waits for, and what the next one will need. */
static void do_books(void *arg)
{
	struct capsule_set *set = arg;
	struct capsule *c;

	while ((c = set->finished)) {
		set->finished = c->next;
		if (!c->error.code)
			account(c);
		/* Its record is kept before what it could be made of again goes. */
		set->fn(c, CAPSULE_GONE, set->arg);
		track_capsule_remove(set->track, c->id);
		capsule_let_go_of_windows(c);
		capsule_free(c);
	}
	berth_prepare(set);
}

void capsule_set_tidy(struct capsule_set *set)
{
	loop_defer(set->loop, BOOKS_US, do_books, set);
}

void capsule_set_free(struct capsule_set *set)
{
	if (!set)
		return;
	do_books(set);
	while (set->first)
		capsule_free(set->first);
	residue_windows_close(&set->windows);
	berth_drop(set);
	loop_remove(set->loop, &set->timer);
	fd_close(set->timer_fd);
	free(set);
}

void capsule_finish(struct capsule *c)
{
	struct capsule_set *set = c->set;

	/* Where a recapd before us had come this far and may have told it: as it was. A quarantine was before. */
	if (c->done_ns < c->escaped_ns)
		c->done_ns = clock_boot_ns();
	c->lost_events = track_counter(set->track, "events_lost") - c->lost_events0;
	/* They are the target's, whose PID 1 may never wait for them: no more than a PID each, but that is to be known. */
	if (c->abandoned) {
		int dead = track_capsule_dead(set->track, c->id, c->pid);

		c->unreaped = dead > 0 ? (unsigned int)dead : 0;
	}
	/* Its init's end was seen before its exec was. */
	if (c->k.exec_ns)
		c->error = (struct error){};
	c->state = c->error.code ? CAPSULE_STATE_FAILED : CAPSULE_STATE_DROPPED;
	record_times(c);
	capsule_note_again(c);
	/* By whichever recapd: the one that quarantined it may have died over that. */
	if (c->slot->note.counted[COUNT_QUARANTINED])
		capsule_count_once(c, COUNT_RESOLVED);
	if (!c->slot->note.counted[COUNT_STARTED])
		capsule_count_once(c, COUNT_REFUSED);
	capsule_count_once(c, c->error.code ? COUNT_FAILED : COUNT_PROVEN);
	set->fn(c, CAPSULE_DONE, set->arg);
	c->slot->note.recorded = true;
	unlink_capsule(c);
	c->next = set->finished;
	set->finished = c;
	capsule_set_tidy(set);
}
