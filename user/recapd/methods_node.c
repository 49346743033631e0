// SPDX-License-Identifier: MIT
/* ListContainers, Stats, Status. */
#include <string.h>
#include <sys/utsname.h>

#include "common/fd.h"
#include "core/record.h"
#include "recapd/client.h"

static int method_list(struct client *c, struct json_object *params, struct error *err)
{
	struct manager *m = c->api->m;
	char **labels;
	int r;

	if (json_get_strv(params, "labels", 64, &labels) < 0)
		return error_named(err, EINVAL, "InvalidArgument",
				   "labels must be a list of KEY=VALUE");
	strv_free(c->list_labels);
	c->list_labels = labels;
	c->list_all = json_get_bool(params, "all");
	manager_catch_up(m);
	r = inventory_sync(m->inventory, err);
	if (r < 0)
		return r;
	c->wait = c->more ? WAIT_LIST : WAIT_NOTHING;
	api_send_list(c);
	return 0;
}

/*
 * The value below which the share `q` of all samples lies, interpolated within its power-of-two bucket as if samples were spread
 * evenly in it; never above the largest seen.
 */
static uint64_t percentile(const struct recap_latency *l, double q)
{
	double want = q * l->count, before = 0;

	for (int i = 0; i < RECAP_HIST_BUCKETS; i++) {
		double low = i ? 1ull << (i - 1) : 0, high = i ? 1ull << i : 1;
		uint64_t v;

		if (!l->hist[i] || before + l->hist[i] < want) {
			before += l->hist[i];
			continue;
		}
		v = low + (high - low) * (want - before) / l->hist[i];
		return v < l->max_us ? v : l->max_us;
	}
	return l->max_us;
}

static void add_latency(const struct recap_latency_key *key, const struct recap_latency *l,
			void *arg)
{
	struct json_object *o = json_object_new_object();
	char image[RECAP_IMAGE_LEN + 1] = {}, phase[RECAP_PHASE_LEN + 1] = {};

	memcpy(image, key->image, RECAP_IMAGE_LEN);
	memcpy(phase, key->phase, RECAP_PHASE_LEN);
	json_put_str(o, "image", image);
	json_put_str(o, "phase", phase);
	json_put_int(o, "count", l->count);
	json_put_int(o, "p50_us", percentile(l, 0.5));
	json_put_int(o, "p90_us", percentile(l, 0.9));
	json_put_int(o, "p99_us", percentile(l, 0.99));
	json_put_int(o, "max_us", l->max_us);
	json_object_array_add(arg, o);
}

/* By image, and within it in the order in which the phases follow each other. */
static int phase_rank(const char *phase)
{
	static const char *const order[] = {"resolve", "prepare", "inject", "run",
					    "drain",   "escape",  "drop",   "total"};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (!strcmp(order[i], phase))
			return i;
	return ARRAY_SIZE(order);
}

static int by_image_and_phase(const void *a, const void *b)
{
	struct json_object *x = *(struct json_object *const *)a,
			   *y = *(struct json_object *const *)b;
	int d = strcmp(json_get_str(x, "image"), json_get_str(y, "image"));

	return d ? d : phase_rank(json_get_str(x, "phase")) - phase_rank(json_get_str(y, "phase"));
}

static void add_counter(const char *name, uint64_t n, void *arg)
{
	json_put_int(arg, name, n);
}

static struct json_object *counters_json(struct manager *m)
{
	struct json_object *o = json_object_new_object();

	track_counters(m->track, add_counter, o);
	return o;
}

static int method_stats(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *o = json_object_new_object(), *a = json_object_new_array();

	track_latencies(c->api->m->track, add_latency, a);
	json_object_array_sort(a, by_image_and_phase);
	json_put_obj(o, "latency", a);
	json_put_obj(o, "counters", counters_json(c->api->m));
	client_reply(c, o, false);
	return 0;
}

/* A counter that should be zero, and what it means when it is not. */
static void counter_problems(struct manager *m, struct json_object *problems)
{
	static const struct {
		const char *name, *text;
	} all[] = {
		{"containers_full",
		 "the map of containers is full: some containers are not listed"},
		{"capsules_full", "the map of capsules was full: attaches were refused"},
		{"latency_full",
		 "the map of latencies is full: figures of some images are missing"},
		{"untracked_forks",
		 "tasks of capsules could not be tagged: their escape rests on the overlay alone"},
		{"tag_without_capsule",
		 "tagged tasks without a capsule were met: someone changed the pinned maps"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		uint64_t n = track_counter(m->track, all[i].name);
		char line[256];

		/* They have been found again since there was room. */
		if (!n || (!strcmp(all[i].name, "containers_full") &&
			   !track_containers_missing(m->track)))
			continue;
		snprintf(line, sizeof(line), "%s (%s=%llu)", all[i].text, all[i].name,
			 (unsigned long long)n);
		json_object_array_add(problems, json_object_new_string(line));
	}
}

static struct json_object *problems_json(struct manager *m)
{
	struct json_object *a = json_object_new_array();
	size_t quarantined = capsule_count(m->capsules) - capsule_count_running(m->capsules);
	char line[128];

	for (size_t i = 0; i < m->n_problems; i++)
		json_object_array_add(a, json_object_new_string(m->problems[i]));
	audit_problems(m->audit, a);
	if (injector_is_limited(m->injector))
		json_object_array_add(
			a,
			json_object_new_string(
				"the injector was ended and started anew: no debuggers until recapd is restarted"));
	if (m->policy_problem[0])
		json_object_array_add(a, json_object_new_string(m->policy_problem));
	counter_problems(m, a);
	if (quarantined) {
		snprintf(line, sizeof(line), "%zu capsule%s quarantined; `recapctl ps` names %s",
			 quarantined, quarantined == 1 ? " is" : "s are",
			 quarantined == 1 ? "it" : "them");
		json_object_array_add(a, json_object_new_string(line));
	}
	return a;
}

static void add_name(const char *name, void *arg)
{
	json_object_array_add(arg, json_object_new_string(name));
}

static int method_status(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *o = json_object_new_object(), *programs = json_object_new_array();
	struct manager *m = c->api->m;
	struct utsname u;

	uname(&u);
	json_put_str(o, "version", RECAP_VERSION);
	json_put_int(o, "abi", RECAP_ABI);
	json_put_str(o, "kernel", u.release);
	json_put_int(o, "pid", getpid());
	record_put_time(o, "started_at", m->started_ns);
	track_programs(m->track, add_name, programs);
	json_put_obj(o, "programs", programs);
	json_put_str(o, "bpffs", m->config->bpffs);
	json_put_str(o, "state_dir", m->config->state_dir);
	json_put_str(o, "cgroup", cgroup_root_path(m->cgroups));
	json_put_int(o, "containers", inventory_count(m->inventory));
	json_put_int(o, "capsules", capsule_count_running(m->capsules));
	json_put_int(o, "quarantined",
		     capsule_count(m->capsules) - capsule_count_running(m->capsules));
	json_put_obj(o, "audit", audit_json(m->audit));
	if (m->policy)
		json_put_int(o, "policy_rules", (int64_t)policy_count(m->policy));
	json_put_obj(o, "counters", counters_json(m));
	json_put_obj(o, "problems", problems_json(m));
	client_reply(c, o, false);
	return 0;
}

const struct method methods_node[] = {
	{"io.recap.ListContainers",
	 "list",
	 true,
	 false,
	 method_list,
	 {{"all", json_type_boolean}, {"labels", json_type_array}}},
	{"io.recap.Stats", "stats", false, false, method_stats, {}},
	{"io.recap.Status", "status", false, false, method_status, {}},
	{NULL},
};
