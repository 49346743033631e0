// SPDX-License-Identifier: MIT
/*
 * interleave PLAN RESULT: time whole processes of several kinds against each other, round by round, so
 * that whatever drifts on the machine (clock speed, caches, other people's work) hits all alike.
 *
 * PLAN: {"rounds": N, "rest_ms": MS, "settle_ms": MS, "variants": [{"name", "argv": [PATH, ...], "every": K, "enter": [NAMESPACE-FILE...]}]}.
 * A variant runs in each K-th round. Those with K > 1 come last in a round, and then there is a pause of
 * settle_ms: daemons go on working when their client has gone. So there is one of rest_ms after each other run: what a variant leaves
 * to be done is not to hit the next. `enter`: namespaces that the process is started in;
 * entering them is not measured.
 */
#include <sched.h>
#include <stdio.h>

#include "process.h"

#define VARIANTS_MAX   16
#define NAMESPACES_MAX 4

struct variant {
	const char *name;
	char **argv;
	unsigned int every;
	int enter[NAMESPACES_MAX];
	size_t n_enter;
	struct samples samples;
};

struct plan {
	unsigned int rounds, rest_ms, settle_ms;
	struct variant variants[VARIANTS_MAX];
	size_t n;
	int home[2]; /* our own mount and network namespaces */
};

static int open_namespace(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? error_sys(err, errno, "cannot open %s", path) : fd;
}

static int read_variant(struct json_object *o, struct variant *v, struct error *err)
{
	cleanup_strv char **enter = NULL;

	v->name = json_get_str(o, "name");
	v->every = json_get_int(o, "every", 1);
	if (!v->name || !v->every || json_get_strv(o, "argv", 64, &v->argv) < 0 || !v->argv[0] ||
	    json_get_strv(o, "enter", NAMESPACES_MAX, &enter) < 0)
		return error_set(err, EINVAL, "a variant of the plan makes no sense");
	for (; enter[v->n_enter]; v->n_enter++) {
		int fd = open_namespace(enter[v->n_enter], err);

		if (fd < 0)
			return fd;
		v->enter[v->n_enter] = fd;
	}
	return 0;
}

static int read_plan(struct json_object *o, struct plan *plan, struct error *err)
{
	struct json_object *list = json_get(o, "variants", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;

	plan->rounds = json_get_int(o, "rounds", 0);
	plan->rest_ms = json_get_int(o, "rest_ms", 0);
	plan->settle_ms = json_get_int(o, "settle_ms", 0);
	if (!plan->rounds || !n || n > VARIANTS_MAX)
		return error_set(err, EINVAL, "the plan has no rounds, or no or too many variants");
	for (; plan->n < n; plan->n++) {
		int r = read_variant(json_object_array_get_idx(list, plan->n),
				     &plan->variants[plan->n], err);

		if (r < 0)
			return r;
	}
	plan->home[0] = open_namespace("/proc/self/ns/mnt", err);
	if (plan->home[0] < 0)
		return plan->home[0];
	plan->home[1] = open_namespace("/proc/self/ns/net", err);
	return plan->home[1] < 0 ? plan->home[1] : 0;
}

static int enter(const int *fds, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (setns(fds[i], 0) < 0)
			return error_sys(err, errno, "cannot enter a namespace");
	return 0;
}

static int run_one(struct process *p, const struct plan *plan, struct variant *v, bool counts,
		   struct error *err)
{
	uint64_t ns = 0;
	int r = enter(v->enter, v->n_enter, err);

	if (r == 0)
		r = process_time(p, process_vfork, v->argv, &ns, err);
	if (r == 0 && v->n_enter)
		r = enter(plan->home, ARRAY_SIZE(plan->home), err);
	if (r == 0 && counts)
		r = samples_add(&v->samples, ns, err);
	return r < 0 ? error_prefix(err, "%s", v->name) : 0;
}

/* Awake: a CPU that slept would be slow for the next, as it is for nobody who runs one command after the other. */
static void spin_ms(unsigned int ms)
{
	uint64_t end = now_ns() + ms * 1000000ull;

	while (now_ns() < end)
		;
}

/* Each round starts with another variant, so that nobody always follows the same one. */
static int run_fast(struct process *p, struct plan *plan, unsigned int round, bool counts,
		    struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < plan->n && r == 0; i++) {
		struct variant *v = &plan->variants[(i + round) % plan->n];

		if (v->every > 1)
			continue;
		r = run_one(p, plan, v, counts, err);
		spin_ms(plan->rest_ms);
	}
	return r;
}

static int run_slow(struct process *p, struct plan *plan, unsigned int round, bool counts,
		    struct error *err)
{
	bool ran = false;
	int r = 0;

	for (size_t i = 0; i < plan->n && r == 0; i++) {
		struct variant *v = &plan->variants[i];

		if (v->every == 1 || round % v->every)
			continue;
		r = run_one(p, plan, v, counts, err);
		ran = true;
	}
	if (ran)
		pause_ms(plan->settle_ms);
	return r;
}

static int run_round(struct process *p, struct plan *plan, unsigned int round, bool counts,
		     struct error *err)
{
	int r = run_fast(p, plan, round, counts, err);

	return r < 0 ? r : run_slow(p, plan, round, counts, err);
}

static int run(struct plan *plan, struct error *err)
{
	struct process p;
	int r = process_init(&p, err);

	/* The first round, in which all is read from disk, and in which a variant that cannot work says so. */
	if (r == 0)
		r = run_round(&p, plan, 0, false, err);
	for (unsigned int i = 1; i <= plan->rounds && r == 0; i++)
		r = run_round(&p, plan, i, true, err);
	return r;
}

static int write_result(struct plan *plan, const char *path, struct error *err)
{
	cleanup_json struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < plan->n; i++) {
		struct variant *v = &plan->variants[i];

		if (!v->samples.n)
			return error_set(err, EINVAL, "%s: too few rounds to run even once",
					 v->name);
		json_put_obj(o, v->name, samples_json(&v->samples));
	}
	return samples_write(path, o, err);
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct json_object *o = argc == 3 ? json_object_from_file(argv[1]) : NULL;
	struct error err = {0};
	int r;

	if (!o) {
		fprintf(stderr, "usage: interleave PLAN RESULT\n");
		return 2;
	}
	r = read_plan(o, &plan, &err);
	if (r == 0)
		r = run(&plan, &err);
	if (r == 0)
		r = write_result(&plan, argv[2], &err);
	if (r < 0)
		fprintf(stderr, "interleave: %s\n", err.msg);
	return r < 0;
}
