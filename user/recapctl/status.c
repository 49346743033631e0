// SPDX-License-Identifier: MIT
/* recapctl status: is the service well? */
#include "recapctl/recapctl.h"

#include <string.h>

static void print_line(const char *label, const char *text)
{
	printf("%-12s ", label);
	text_print(stdout, text ? text : "?");
	putchar('\n');
}

static void print_number(const char *label, struct json_object *status, const char *key)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)json_get_int(status, key, 0));
	print_line(label, text);
}

static void print_audit(struct json_object *audit)
{
	cleanup_free char *text = NULL;

	if (audit &&
	    asprintf(&text, "%s%s", json_get_str(audit, "file") ?: "?",
		     json_get_bool(audit, "journal") ? " and the journal" : ", no journal") >= 0)
		print_line("audit", text);
}

static void print_policy(struct json_object *s)
{
	long long rules = json_get_int(s, "policy_rules", -1);
	char text[32];

	snprintf(text, sizeof(text), "%lld rule%s", rules, rules == 1 ? "" : "s");
	print_line("policy", rules < 0 ? "none: root only" : text);
}

static void print_service(struct json_object *s)
{
	char age[TEXT_AGE_SIZE], text[256];

	text_age(json_get_str(s, "started_at"), time(NULL), age);
	snprintf(text, sizeof(text), "%s, PID %lld, up %s, ABI %lld",
		 json_get_str(s, "version") ?: "?", (long long)json_get_int(s, "pid", 0), age,
		 (long long)json_get_int(s, "abi", 0));
	print_line("recapd", text);
	print_line("kernel", json_get_str(s, "kernel"));
	print_line("bpffs", json_get_str(s, "bpffs"));
	print_line("state", json_get_str(s, "state_dir"));
	print_line("cgroup", json_get_str(s, "cgroup"));
	print_audit(json_get(s, "audit", json_type_object));
	print_number("containers", s, "containers");
	print_number("capsules", s, "capsules");
	print_number("quarantined", s, "quarantined");
	print_policy(s);
}

/* A list, one item a line under one label. Returns how many there are. */
static size_t print_list(const char *label, struct json_object *list)
{
	size_t n = list ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n; i++)
		print_line(i ? "" : label,
			   json_object_get_string(json_object_array_get_idx(list, i)));
	return n;
}

static void print_counters(struct json_object *counters)
{
	const char *label = "counters";
	char text[128];

	if (!counters)
		return;
	json_object_object_foreach (counters, name, value) {
		if (!json_object_get_int64(value))
			continue;
		snprintf(text, sizeof(text), "%.64s %lld", name,
			 (long long)json_object_get_int64(value));
		print_line(label, text);
		label = "";
	}
}

static void print_status(struct json_object *s)
{
	print_service(s);
	print_list("programs", json_get(s, "programs", json_type_array));
	print_counters(json_get(s, "counters", json_type_object));
	if (!print_list("problems", json_get(s, "problems", json_type_array)))
		print_line("problems", "none");
}

static void print_json(struct json_object *s)
{
	struct raw raw;

	raw.text = json_object_to_json_string_length(
		s, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &raw.len);

	raw_print(raw);
}

int verb_status(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *problems;
	bool json = false;
	const struct opt opts[] = {
		{'j', "json", NULL, "one object", opt_flag, &json},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "status takes no arguments: what is '%s' for?", argv[i]);
	if (client_ask(ctl, "io.recap.Status", NULL, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	if (json)
		print_json(reply);
	else
		print_status(reply);
	problems = json_get(reply, "problems", json_type_array);
	if (!problems) {
		error_set(&err, EPROTO, "recapd's reply does not say whether there are problems");
		return ctl_fail(ctl, &err);
	}
	return ctl_finish(ctl, json_object_array_length(problems) ? CTL_FAILED : CTL_OK);
}
