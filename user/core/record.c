// SPDX-License-Identifier: MIT
#include "core/record.h"

#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/wait.h>
#include <time.h>

#include "common/fd.h"
#include "core/capsule_internal.h"

void record_put_time(struct json_object *o, const char *key, uint64_t boot_ns)
{
	uint64_t ago = clock_boot_ns() - boot_ns;
	struct timespec now;
	char text[96];
	struct tm tm;
	int64_t ns;
	time_t t;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = now.tv_sec * 1000000000ll + now.tv_nsec - (int64_t)ago;
	t = ns / 1000000000ll;
	gmtime_r(&t, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (int)(ns / 1000000 % 1000));
	json_put_str(o, key, text);
}

/* From `a` to `b` in microseconds; 0 where one of them has not come, or they came the other way round. */
static uint64_t span_us(uint64_t a, uint64_t b)
{
	return a && b > a ? (b - a) / 1000 : 0;
}

/*
 * Phases follow each other without gaps. Where the tool never ran there is no run; where a tree was ended before the tool was,
 * draining starts at the request.
 */
void record_times(struct capsule *c)
{
	uint64_t run_end = c->k.exit_ns;

	if (c->reason && c->drain_ns && (!run_end || run_end > c->drain_ns))
		run_end = c->drain_ns;
	if (!run_end)
		run_end = c->drain_ns;
	c->us = (struct capsule_times){
		.resolve = span_us(c->arrived_ns, c->resolved_ns),
		.prepare = span_us(c->resolved_ns, c->created_ns),
		.inject = span_us(c->created_ns, c->k.exec_ns),
		.run = span_us(c->k.exec_ns, run_end),
		.drain = span_us(run_end, c->escape_ns ? c->escape_ns : c->done_ns),
		.escape = span_us(c->escape_ns, c->escaped_ns ? c->escaped_ns : c->done_ns),
		.drop = span_us(c->escaped_ns, c->done_ns),
		.total = span_us(c->arrived_ns, c->done_ns),
	};
}

static struct json_object *times_json(const struct capsule_times *us)
{
	struct json_object *o = json_object_new_object();

	json_put_int(o, "resolve", us->resolve);
	json_put_int(o, "prepare", us->prepare);
	json_put_int(o, "inject", us->inject);
	json_put_int(o, "run", us->run);
	json_put_int(o, "drain", us->drain);
	json_put_int(o, "escape", us->escape);
	json_put_int(o, "drop", us->drop);
	json_put_int(o, "total", us->total);
	return o;
}

/* A process names itself: what is not plain text would make the reply no text, and that for everybody. */
static void put_comm(struct json_object *o, const char comm[RECAP_COMM_LEN])
{
	char text[RECAP_COMM_LEN + 1] = {};

	memcpy(text, comm, RECAP_COMM_LEN);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	json_put_str(o, "command", text);
}

static struct json_object *holders_json(const struct capsule *c)
{
	static const char *const kinds[] = {"task", "fd",	 "mapping", "cwd",
					    "root", "namespace", "mount"};
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < c->n_holders; i++) {
		const struct recap_holder_record *h = &c->holders[i];
		struct json_object *o = json_object_new_object();

		json_put_int(o, "pid", h->tgid);
		put_comm(o, h->comm);
		json_put_str(o, "kind", h->kind < ARRAY_SIZE(kinds) ? kinds[h->kind] : "unknown");
		if (h->fd >= 0)
			json_put_int(o, "fd", h->fd);
		json_object_array_add(a, o);
	}
	if (c->state == CAPSULE_STATE_QUARANTINED && c->n_holders == 0) {
		struct json_object *o = json_object_new_object();

		json_put_str(o, "kind", "unnamed");
		json_object_array_add(a, o);
	}
	return a;
}

static const char *state_name(const struct capsule *c)
{
	static const char *const names[] = {"created", "running",     "draining",
					    "dropped", "quarantined", "failed"};

	/* The exec of an attached tool wakes nobody: a finished attach is to wake us once. */
	if (c->state == CAPSULE_STATE_CREATED && c->k.exec_ns)
		return "running";
	/* Both witnesses have agreed, the layer is on its way out. */
	if (c->state == CAPSULE_STATE_DRAINING && c->escaped_ns)
		return "escaped";
	return names[c->state];
}

static void put_outcome(struct json_object *o, const struct capsule *c)
{
	json_put_str(o, "reason", c->error.code ? c->error.msg : c->reason);
	if (c->error.code)
		json_put_str(o, "error", c->error.name[0] ? c->error.name : "Failed");
	if (!c->k.exit_ns)
		return;
	if (WIFSIGNALED(c->k.tool_status))
		json_put_int(o, "signal", WTERMSIG(c->k.tool_status));
	else
		json_put_int(o, "exit_code", WEXITSTATUS(c->k.tool_status));
}

static struct json_object *pair(const char *a, const char *av, const char *b, const char *bv)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, a, av);
	json_put_str(o, b, bv);
	return o;
}

static void put_target(struct json_object *o, const struct capsule *c, struct json_object *details)
{
	struct json_object *t =
		pair("id", c->target_name.container_id, "name", c->target_name.name);

	json_put_str(t, "runtime", c->target_name.runtime);
	json_put_int(t, "pid", c->target.c.pid);
	json_put_int(t, "mnt", c->target.c.namespaces.mnt);
	if (details) {
		json_object_object_foreach (details, key, value) {
			json_put_obj(t, key, json_object_get(value));
		}
	}
	json_put_obj(o, "target", t);
}

static void put_proof(struct json_object *o, const struct capsule *c)
{
	struct json_object *p = json_object_new_object(), *cow = json_object_new_object();
	struct json_object *tasks = json_object_new_object(), *user = json_object_new_object();

	json_put_int(user, "uid", c->slot->report.uid);
	json_put_int(user, "gid", c->slot->report.gid);
	json_put_obj(o, "user", user);
	json_put_int(tasks, "total", c->k.total);
	json_put_int(tasks, "peak", c->k.peak);
	json_put_int(tasks, "killed", c->killed);
	if (c->unreaped)
		json_put_int(tasks, "unreaped", c->unreaped);
	json_put_obj(o, "tasks", tasks);
	json_put_obj(o, "timings_us", times_json(&c->us));
	json_put_str(cow, "backend", c->cow.disk ? "disk" : "tmpfs");
	json_put_int(cow, "bytes", c->cow.bytes);
	json_put_bool(cow, "dropped", !c->cow.attached);
	json_put_obj(o, "cow", cow);
	json_put_int(p, "live_tasks", c->k.live);
	json_put_bool(p, "overlay_busy", c->overlay_busy);
	json_put_int(p, "untracked_forks", c->k.untracked);
	json_put_int(p, "lost_events", c->lost_events);
	json_put_obj(o, "proof", p);
}

static struct json_object *caps_json(uint64_t caps)
{
	struct json_object *a = json_object_new_array();

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		char name[SANDBOX_CAP_NAME];

		if (!(caps >> cap & 1))
			continue;
		sandbox_cap_name(cap, name);
		json_object_array_add(a, json_object_new_string(name));
	}
	return a;
}

/* What the tool was given, as it was decided; capsules/introspect shows what the kernel made of it. */
static void put_sandbox(struct json_object *o, const struct capsule *c)
{
	static const char *const roots[] = {
		[TARGET_ROOT_RO] = "ro", [TARGET_ROOT_RW] = "rw", [TARGET_ROOT_NONE] = "none"};
	struct json_object *s = json_object_new_object();

	json_put_obj(s, "capabilities",
		     caps_json(sandbox_granted(&c->sandbox, c->slot->report.uid)));
	json_put_str(s, "seccomp", sandbox_seccomp_name(c->sandbox.seccomp));
	json_put_bool(s, "landlock", c->sandbox.landlock && sandbox_has_landlock());
	json_put_bool(s, "no_new_privs", true);
	json_put_str(s, "target_root", roots[c->target_root]);
	json_put_obj(o, "sandbox", s);
}

static struct json_object *limits_json(const struct capsule *c)
{
	struct json_object *l = json_object_new_object();

	if (c->limits.memory)
		json_put_int(l, "memory", c->limits.memory);
	if (c->limits.cpus_milli)
		json_put_int(l, "cpus_milli", c->limits.cpus_milli);
	json_put_int(l, "pids", cgroup_pids(&c->limits));
	json_put_int(l, "nofile", c->nofile);
	json_put_int(l, "cow_size", c->cow.size);
	if (c->time_limit_ns)
		json_put_int(l, "timeout_s", c->time_limit_ns / 1000000000);
	return l;
}

struct json_object *record_facts(const struct capsule *c, const struct capsule_request *req)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "id", c->name);
	json_put_obj(o, "image", pair("ref", c->image_ref, "digest", c->image_digest));
	put_target(o, c, req->target_details);
	json_put_obj(o, "caller", json_object_get(req->caller));
	if (req->number)
		json_put_int(o, "request", (int64_t)req->number);
	json_put_strv(o, "command", c->argv);
	json_put_str(o, "token", req->token);
	json_put_str(o, "why", req->why);
	json_put_obj(o, "limits", limits_json(c));
	return o;
}

struct json_object *capsule_record(const struct capsule *c)
{
	struct json_object *o = json_object_new_object();

	json_object_object_foreach (c->facts, key, value) {
		json_put_obj(o, key, json_object_get(value));
	}
	json_put_str(o, "state", state_name(c));
	record_put_time(o, "started_at", c->arrived_ns);
	put_outcome(o, c);
	put_sandbox(o, c);
	put_proof(o, c);
	json_put_obj(o, "holders", holders_json(c));
	json_put_obj(o, "residue", residue_json(&c->residue));
	json_put_int(o, "residue_more", c->residue.more);
	json_put_bool(o, "residue_refused", residue_refused(&c->residue));
	return o;
}
