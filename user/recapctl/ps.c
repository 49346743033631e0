// SPDX-License-Identifier: MIT
/* recapctl ps: the capsules. */
#include "recapctl/recapctl.h"

#include <signal.h>
#include <string.h>

#define COMMAND_SHOWN 40

static const char *const head[] = {"ID", "IMAGE", "TARGET", "STATE", ">AGE", "COMMAND", NULL};
static const char *const head_all[] = {"ID",   "IMAGE", "TARGET",  "STATE",
				       "EXIT", ">AGE",	"COMMAND", NULL};

/* Clip to `max` characters, which may have several bytes each. */
static void clip(char *s, size_t max)
{
	for (; *s; s++) {
		if ((*s & 0xc0) == 0x80)
			continue;
		if (!max--) {
			strcpy(s, "...");
			return;
		}
	}
}

/* The words of the command; what does not fit here is clipped anyway. */
static void command_text(struct json_object *capsule, char *buf, size_t size)
{
	struct json_object *words = json_get(capsule, "command", json_type_array);
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; words && i < json_object_array_length(words) && n < size; i++) {
		const char *word = json_object_get_string(json_object_array_get_idx(words, i));

		n += snprintf(buf + n, size - n, "%s%s", i ? " " : "", word ? word : "");
	}
	text_clean(buf);
	clip(buf, COMMAND_SHOWN);
}

/* "quarantined: PID 123 (nginx) holds descriptor 7 (+2)" */
static void add_state(struct table *t, struct json_object *capsule)
{
	struct json_object *holders = json_get(capsule, "holders", json_type_array);
	const char *state = json_get_str(capsule, "state");
	size_t n = holders ? json_object_array_length(holders) : 0;
	char first[256];

	if (!state || strcmp(state, "quarantined") || !n) {
		table_add(t, state);
		return;
	}
	outcome_holder(json_object_array_get_idx(holders, 0), first, sizeof(first));
	if (n > 1)
		table_addf(t, "%s: %s (+%zu)", state, first, n - 1);
	else
		table_addf(t, "%s: %s", state, first);
}

/* How the tool ended: "0", "SIGKILL"; "-" when it has not, or never ran. */
static void add_exit(struct table *t, struct json_object *capsule)
{
	int64_t code = json_get_int(capsule, "exit_code", -1);
	int64_t signo = json_get_int(capsule, "signal", 0);
	const char *name = signo > 0 && signo < NSIG ? sigabbrev_np((int)signo) : NULL;

	if (name)
		table_addf(t, "SIG%s", name);
	else if (signo > 0)
		table_addf(t, "signal %lld", (long long)signo);
	else if (code >= 0)
		table_addf(t, "%lld", (long long)code);
	else
		table_add(t, NULL);
}

static void add_capsule(struct table *t, struct json_object *c, bool all, time_t now)
{
	char age[TEXT_AGE_SIZE], command[4 * COMMAND_SHOWN + 8];

	text_age(json_get_str(c, "started_at"), now, age);
	command_text(c, command, sizeof(command));
	table_addf(t, "%.12s", json_get_str(c, "id") ?: "");
	table_add(t, json_get_str(json_get(c, "image", json_type_object), "ref"));
	table_add(t, json_get_str(json_get(c, "target", json_type_object), "name"));
	add_state(t, c);
	if (all)
		add_exit(t, c);
	table_add(t, age);
	table_add(t, command);
}

static int print_capsules(struct ctl *ctl, struct json_object *params)
{
	bool all = json_get_bool(params, "all");
	cleanup_json struct json_object *reply = NULL;
	struct json_object *capsules;
	cleanup_table struct table t;
	struct error err = {};
	time_t now = time(NULL);

	table_init(&t, all ? head_all : head);
	if (client_ask(ctl, "io.recap.ListCapsules", params, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	capsules = json_get(reply, "capsules", json_type_array);
	for (size_t i = 0; capsules && i < json_object_array_length(capsules); i++)
		add_capsule(&t, json_object_array_get_idx(capsules, i), all, now);
	table_print(&t, stdout);
	return ctl_finish(ctl, CTL_OK);
}

int verb_ps(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	bool json = false;
	const struct opt opts[] = {
		{'a', "all", NULL, "also finished capsules that are still remembered", opt_true,
		 params, "all"},
		{'j', "json", NULL, "an array of records", opt_flag, &json},
		{},
	};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "ps takes no arguments: what is '%s' for?", argv[i]);
	if (json)
		return client_print(ctl, "io.recap.ListCapsules", TAKE_PTR(params), "capsules");
	return print_capsules(ctl, TAKE_PTR(params));
}
