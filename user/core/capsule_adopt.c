// SPDX-License-Identifier: MIT
/* How a capsule outlives its recapd: the note that is written of it, and how the next recapd goes on from that. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/capsule_internal.h"

/* ---- notes ------------------------------------------------------------------------------------- */

/* A command too long for a note is cut there: after a restart the record has its first word, and "...". */
static void note_facts(struct note *note, struct json_object *facts)
{
	cleanup_json struct json_object *shorter = NULL;
	const char *text = json_text(facts);

	if (strlen(text) > NOTE_FACTS_MAX) {
		struct json_object *command = json_object_new_array();
		const char *first = json_object_get_string(
			json_object_array_get_idx(json_get(facts, "command", json_type_array), 0));

		shorter = json_object_new_object();
		json_object_object_foreach (facts, key, value) {
			if (strcmp(key, "command"))
				json_put_obj(shorter, key, json_object_get(value));
		}
		json_object_array_add(
			command, json_object_new_string_len(first, (int)strnlen(first, SLOT_PAGE)));
		json_object_array_add(command, json_object_new_string("..."));
		json_put_obj(shorter, "command", command);
		text = json_text(shorter);
	}
	note->facts_len = strlen(text) <= NOTE_FACTS_MAX ? strlen(text) : 0;
	if (!note->facts_len)
		log_warn("a capsule has a record too long for its note: it would end with recapd");
	memcpy(note->facts, text, note->facts_len);
}

void capsule_note_again(struct capsule *c)
{
	struct note *note = &c->slot->note;

	note->drain_ns = c->drain_ns;
	note->escape_ns = c->escape_ns;
	note->escaped_ns = c->escaped_ns;
	note->done_ns = c->done_ns;
	note->grace_ns = c->grace_ns;
	note->killed = c->killed;
	note->cow_bytes = c->cow.bytes;
	if (c->reason != note->reason)
		snprintf(note->reason, sizeof(note->reason), "%s", c->reason ? c->reason : "");
}

void capsule_note(struct capsule *c, const char *token)
{
	struct note *note = &c->slot->note;

	note->target = c->target.id;
	note->arrived_ns = c->arrived_ns;
	note->resolved_ns = c->resolved_ns;
	note->created_ns = c->created_ns;
	note->timeout_ns = c->timeout_ns;
	note->rejoin_ns = 0;
	note->recorded = false;
	memset(note->told_at, 0, sizeof(note->told_at));
	memset(note->counted, 0, sizeof(note->counted));
	note->lost_events0 = c->lost_events0;
	note->cow_size = c->cow.size;
	note->cow_disk = c->cow.disk;
	note->wanted = c->cow.wanted;
	note->detached = c->detached;
	note->refuse_residue = c->residue.refuse;
	note->sandbox = c->sandbox;
	note->target_root = c->target_root;
	memcpy(note->seen_from, c->target.seen_from, sizeof(note->seen_from));
	note->n_seen_from = c->target.n_seen_from;
	snprintf(note->token, sizeof(note->token), "%s", token ? token : "");
	capsule_note_again(c);
	note_facts(note, c->facts);
	__atomic_store_n(&note->id, c->id, __ATOMIC_RELEASE);
}

static const char *const counters[COUNT_COUNT] = {
	[COUNT_STARTED] = "attach_started",  [COUNT_REFUSED] = "attach_refused",
	[COUNT_FAILED] = "attach_failed",    [COUNT_PROVEN] = "escapes_proven",
	[COUNT_QUARANTINED] = "quarantined", [COUNT_RESOLVED] = "quarantine_resolved",
};

void capsule_count_once(struct capsule *c, enum capsule_count what)
{
	uint64_t *number = &c->slot->note.counted[what];

	if (*number)
		return;
	*number = track_counter(c->set->track, counters[what]) + 1;
	track_count_to(c->set->track, counters[what], *number);
}

/* Make good what was about to be counted. Nobody has counted since: one thread does it all, and the next recapd begins with this. */
static void count_again(struct capsule *c)
{
	for (size_t i = 0; i < COUNT_COUNT; i++)
		if (c->slot->note.counted[i])
			track_count_to(c->set->track, counters[i], c->slot->note.counted[i]);
}

struct capsule *capsule_rejoin(struct capsule_set *set, const char *token, uint32_t uid)
{
	for (struct capsule *c = set->first; c; c = c->next) {
		if (!c->slot || strcmp(c->slot->note.token, token) || uid != c->caller)
			continue;
		c->rejoin_ns = c->slot->note.rejoin_ns = 0;
		return c;
	}
	return NULL;
}

/* ---- adoption ---------------------------------------------------------------------------------- */

static int read_facts(struct capsule *c, struct error *err)
{
	const struct note *note = &c->slot->note;
	struct json_object *target, *image;
	int r = note->facts_len > NOTE_FACTS_MAX
			? error_set(err, EPROTO, "its note makes no sense")
			: json_parse(note->facts, note->facts_len, "its note", &c->facts, err);

	if (r < 0)
		return r;
	image = json_get(c->facts, "image", json_type_object);
	target = json_get(c->facts, "target", json_type_object);
	if (!json_get_str(image, "ref") || !json_get_str(image, "digest") ||
	    !json_get_str(target, "name"))
		return error_set(err, EPROTO, "its note lacks image or target");
	c->image_ref = strdup(json_get_str(image, "ref"));
	c->image_digest = strdup(json_get_str(image, "digest"));
	c->target_name.name = strdup(json_get_str(target, "name"));
	c->caller =
		(uint32_t)json_get_int(json_get(c->facts, "caller", json_type_object), "uid", -1);
	return c->image_ref && c->image_digest && c->target_name.name
		       ? 0
		       : error_set(err, ENOMEM, "out of memory");
}

static void take_note(struct capsule *c)
{
	const struct note *note = &c->slot->note;

	c->target.id = note->target;
	c->arrived_ns = note->arrived_ns;
	c->resolved_ns = note->resolved_ns;
	c->created_ns = note->created_ns;
	c->drain_ns = note->drain_ns;
	c->escape_ns = note->escape_ns;
	c->escaped_ns = note->escaped_ns;
	c->done_ns = note->done_ns;
	c->timeout_ns = note->timeout_ns;
	c->grace_ns = note->grace_ns;
	c->lost_events0 = note->lost_events0;
	c->killed = note->killed;
	c->detached = note->detached;
	c->residue.refuse = note->refuse_residue;
	c->sandbox = note->sandbox;
	memcpy(c->target.seen_from, note->seen_from, sizeof(note->seen_from));
	c->target.n_seen_from =
		note->n_seen_from <= TARGET_PID_NS_MAX ? note->n_seen_from : TARGET_PID_NS_MAX;
	c->takes_over = target_caps_take_over(note->sandbox.caps);
	c->target_root =
		note->target_root <= TARGET_ROOT_NONE ? note->target_root : TARGET_ROOT_NONE;
	/* Stays where it is for as long as the capsule does. */
	c->reason = note->reason[0] ? note->reason : NULL;
}

#define STARTER_MS 1000

/*
 * A starter that has looked whether its recapd lives may fork at any time after, and has not: what it has forked when it has ended
 * is what there is.
 */
static void end_starter(struct capsule *c)
{
	pid_t pid = __atomic_load_n(&c->slot->report.starter, __ATOMIC_RELAXED);
	cleanup_fd int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	if (pidfd < 0 || track_has_tag(c->set->track, pidfd, c->id) <= 0)
		return;
	/* Should it not end, its init finds that nobody lets the tool go: see adopt(). */
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 ||
	    poll(&end, 1, STARTER_MS) <= 0)
		log_warn("capsule %s: the process that was to inject it does not end", c->name);
}

/* pidfd_open(2)'s word for a PID that is nobody's, or by now that of a thread (EINVAL; since 6.15 ENOENT). */
static bool is_nobody(int error)
{
	return error == ESRCH || error == EINVAL || error == ENOENT;
}

/* Its init, held fast; it is not our child. One that cannot be found under that PID with the capsule's tag has gone. */
static int find_init(struct capsule *c)
{
	int r = 0;

	if (!c->k.init_pid) {
		end_starter(c);
		if (track_capsule_get(c->set->track, c->id, &c->k) < 0)
			return -ENOENT;
	}
	c->pid = (pid_t)c->k.init_pid;
	c->pidfd = c->pid ? syscall(SYS_pidfd_open, c->pid, 0) : -1;
	if (c->pidfd >= 0)
		r = track_has_tag(c->set->track, c->pidfd, c->id);
	else if (c->pid && !is_nobody(errno))
		r = -errno;
	if (r < 0)
		return r;
	if (r > 0)
		return loop_add(c->set->loop, &c->pidfd_source, c->pidfd, EPOLLIN,
				capsule_on_init_exit, c);
	c->reaped = c->abandoned = true;
	if (c->pid)
		return 0;
	/* There was nothing but the starter yet. */
	c->reason = "recapd was restarted";
	cgroup_kill(&c->cgroup);
	return track_capsule_signal(c->set->track, c->id, SIGKILL, 0) < 0 ? -ESRCH : 0;
}

static enum capsule_state state_of(const struct capsule *c)
{
	if (c->k.state == RECAP_CAPSULE_QUARANTINED)
		return CAPSULE_STATE_QUARANTINED;
	if (c->drain_ns)
		return CAPSULE_STATE_DRAINING;
	return c->k.exec_ns ? CAPSULE_STATE_RUNNING : CAPSULE_STATE_CREATED;
}

static int adopt(struct capsule *c, struct error *err)
{
	uint64_t now = clock_boot_ns();
	int r = read_facts(c, err);

	if (r == 0 && !c->workshop)
		r = error_set(err, ESTALE, "its layer is not kept");
	if (r == 0)
		r = cow_adopt(c->workshop, c->name, &c->cow, err);
	if (r < 0)
		return r;
	take_note(c);
	c->cow.size = c->slot->note.cow_size;
	c->cow.disk = c->slot->note.cow_disk;
	c->cow.wanted = c->slot->note.wanted;
	c->cow.bytes = c->slot->note.cow_bytes;
	cgroup_adopt(c->set->cgroups, c->name, &c->cgroup);
	r = find_init(c);
	if (r < 0)
		return error_sys(err, -r, "its processes cannot be watched");
	/* What was seen before went with the recapd that saw it, perhaps before it let the tool go. */
	residue_unknown(&c->residue, "recapd was restarted meanwhile");
	/* What is given up never begins: its client may call again, and nothing is to run twice. */
	if (c->pid && !c->reaped && !c->drain_ns)
		inject_release(&c->slot->report);
	count_again(c);
	c->state = state_of(c);
	if (c->state == CAPSULE_STATE_QUARANTINED) {
		c->held = c->overlay_busy = true;
		capsule_find_holders(c);
	}
	c->kill_ns = c->drain_ns + c->grace_ns;
	/* However often recapd dies meanwhile: who has not come back by then has given up, too. */
	if (!c->detached && !c->slot->note.rejoin_ns)
		c->slot->note.rejoin_ns = now + CAPSULE_REJOIN_S * MS(1000);
	c->rejoin_ns = c->slot->note.rejoin_ns;
	capsule_wake_at(c, now);
	return 0;
}

/* The capsule of a slot, with what is known of it before its note is read. */
static struct capsule *take_slot(struct capsule_set *set, struct keeper *k, struct slot *slot,
				 const struct recap_capsule *counts)
{
	struct capsule *c = capsule_new(set);

	if (!c)
		return NULL;
	c->id = slot->note.id;
	snprintf(c->name, sizeof(c->name), "%012llx", (unsigned long long)c->id);
	c->k = *counts;
	c->slot = slot;
	c->keeper = keeper_ref(k);
	c->workshop = keeper_workshop(k);
	return c;
}

/* One without an entry in the map had no process yet, or is finished and in the books. */
static void adopt_one(struct capsule_set *set, struct keeper *k, struct slot *slot)
{
	uint64_t id = slot->note.id;
	struct recap_capsule counts;
	int r = track_capsule_get(set->track, id, &counts);
	struct capsule *c = r == 0 ? take_slot(set, k, slot, &counts) : NULL;
	struct error err;

	if (r == -ENOENT)
		return;
	r = c ? adopt(c, &err) : error_sys(&err, r < 0 ? -r : ENOMEM, "it cannot be taken over");
	if (r == 0) {
		log_info("goes on with capsule %s (%s in %s)", c->name, c->image_ref,
			 c->target_name.name);
		return;
	}
	log_warn("capsule %012llx of an earlier recapd cannot be gone on with: %s",
		 (unsigned long long)id, err.msg);
	if (!c)
		return;
	/* Tree and cgroup are dealt with as those of any that left no note. */
	fd_close(c->cgroup.v2);
	cgroup_none(&c->cgroup);
	capsule_free(c);
}

static void adopt_from(struct keeper *k, void *arg)
{
	struct slot *slot;

	for (size_t i = 0; i < SLOTS; i++)
		if ((slot = keeper_slot(k, i)))
			adopt_one(arg, k, slot);
}

/* Of one that is gone on with, or whose tree has not ended. */
static bool is_kept(const char *name, void *arg)
{
	uint64_t id = strtoull(name, NULL, 16);
	struct capsule_set *set = arg;
	struct recap_capsule counts;

	for (struct capsule *c = set->first; c; c = c->next)
		if (c->id == id)
			return true;
	return track_capsule_get(set->track, id, &counts) != -ENOENT;
}

void capsule_sweep_layers(struct capsule_set *set)
{
	for (struct capsule *c = set->first, *seen; c; c = c->next) {
		for (seen = set->first; seen != c && seen->keeper != c->keeper; seen = seen->next)
			;
		if (seen == c && c->keeper)
			cow_sweep(c->workshop, is_kept, set);
	}
}

int capsule_adopt(struct capsule_set *set, const struct keeper *own)
{
	int r = keeper_each_old(own, adopt_from, set);

	for (struct capsule *c = set->first; c; c = c->next)
		if (c->pid)
			capsule_count_once(c, COUNT_STARTED);
	return r;
}
