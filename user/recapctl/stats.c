// SPDX-License-Identifier: MIT
/* recapctl stats: where the time goes. */
#include "recapctl/recapctl.h"

static const char *const head[] = {"CAPSULE", "PHASE",	 ">COUNT",  ">P50 us",
				   ">P90 us", ">P99 us", ">MAX us", NULL};
static const char *const head_counters[] = {"COUNTER", ">VALUE", NULL};

static void print_latency(struct json_object *latency)
{
	static const char *const numbers[] = {"count", "p50_us", "p90_us", "p99_us", "max_us"};
	cleanup_table struct table t;

	table_init(&t, head);
	for (size_t i = 0; latency && i < json_object_array_length(latency); i++) {
		struct json_object *row = json_object_array_get_idx(latency, i);

		table_add(&t, json_get_str(row, "image"));
		table_add(&t, json_get_str(row, "phase"));
		for (size_t n = 0; n < ARRAY_SIZE(numbers); n++)
			table_addf(&t, "%lld", (long long)json_get_int(row, numbers[n], 0));
	}
	table_print(&t, stdout);
}

/* Those that stand at zero have nothing to say. */
static void print_counters(struct json_object *counters)
{
	cleanup_table struct table t;

	table_init(&t, head_counters);
	if (!counters)
		return;
	json_object_object_foreach (counters, name, value) {
		if (!json_object_get_int64(value))
			continue;
		table_add(&t, name);
		table_addf(&t, "%lld", (long long)json_object_get_int64(value));
	}
	if (!t.n)
		return;
	printf("\n");
	table_print(&t, stdout);
}

static int print_stats(const struct ctl *ctl)
{
	cleanup_json struct json_object *reply = NULL;
	struct error err = {};

	if (client_ask(ctl, "io.recap.Stats", NULL, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	print_latency(json_get(reply, "latency", json_type_array));
	print_counters(json_get(reply, "counters", json_type_object));
	return ctl_finish(ctl, CTL_OK);
}

int verb_stats(struct ctl *ctl, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = {
		{'j', "json", NULL, "one object with latency and counters", opt_flag, &json},
		{},
	};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "stats takes no arguments: what is '%s' for?", argv[i]);
	return json ? client_print(ctl, "io.recap.Stats", NULL, NULL) : print_stats(ctl);
}
