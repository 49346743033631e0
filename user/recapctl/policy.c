// SPDX-License-Identifier: MIT
/* recapctl policy check, policy explain: is a policy well-formed, and what does it say of a call? */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"

#define POLICY_MAX (256 << 10) /* bytes; recapd takes no more either */

static int check(const struct ctl *ctl, const char *path)
{
	cleanup_json struct json_object *params = json_object_new_object(), *reply = NULL;
	cleanup_free char *text = NULL;
	struct error err = {};
	long long rules;
	int r = text_read(path, POLICY_MAX, &text, &err);

	if (r == 0) {
		json_put_str(params, "text", text);
		r = client_ask(ctl, "io.recap.PolicyCheck", json_object_get(params), &reply, &err);
	}
	if (r < 0)
		return ctl_fail(ctl, &err);
	text_print(stdout, path);
	rules = json_get_int(reply, "rules", 0);
	printf(": %lld rule%s\n", rules, rules == 1 ? "" : "s");
	return ctl_finish(ctl, CTL_OK);
}

int verb_policy_check(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{}};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl, "policy check needs one FILE");
	return check(ctl, argv[i]);
}

/* ---- explain --------------------------------------------------------------------------------- */

static void print_rules(struct json_object *rules)
{
	static const char *const head[] = {"RULE", "DECISION", "WHY NOT", NULL};
	size_t n = rules ? json_object_array_length(rules) : 0;
	cleanup_table struct table t;

	table_init(&t, head);
	for (size_t i = 0; i < n; i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		const char *why = json_get_str(rule, "why");

		table_add(&t, json_get_str(rule, "name"));
		table_add(&t, json_get_str(rule, "decision"));
		table_add(&t, why ? why : "it matches");
	}
	if (n)
		table_print(&t, stdout);
}

static void print_limits(struct json_object *limits)
{
	if (!limits)
		return;
	json_object_object_foreach (limits, name, value) {
		printf("limit: ");
		text_print(stdout, name);
		printf(" %lld\n", (long long)json_object_get_int64(value));
	}
}

static void print_decision(struct json_object *reply)
{
	const char *rule = json_get_str(reply, "rule");
	bool allowed = json_get_bool(reply, "allowed");

	print_rules(json_get(reply, "rules", json_type_array));
	printf(allowed ? "allowed" : "refused: ");
	if (!allowed) {
		text_print(stdout, json_get_str(reply, "why") ?: "recapd does not say why");
	} else if (rule) {
		printf(" by rule \"");
		text_print(stdout, rule);
		putchar('"');
	} else {
		printf(": no rule says otherwise of root");
	}
	putchar('\n');
	print_limits(json_get(reply, "limits", json_type_object));
}

static int explain(const struct ctl *ctl, struct json_object *params, bool json)
{
	cleanup_json struct json_object *reply = NULL;
	struct error err = {};
	struct raw raw;

	if (client_ask(ctl, "io.recap.PolicyExplain", params, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	if (json) {
		raw.text = json_object_to_json_string_length(
			reply, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &raw.len);
		raw_print(raw);
	} else {
		print_decision(reply);
	}
	return ctl_finish(ctl, json_get_bool(reply, "allowed") ? CTL_OK : CTL_FAILED);
}

/* What the verb is about: attach's options and operands, or one ID or REF. */
static int parse_request(struct ctl *ctl, struct json_object *params, int argc, char **argv,
			 int *ret_status)
{
	struct json_object *request = json_object_new_object();

	json_put_obj(params, "request", request);
	if (!strcmp(argv[0], "attach"))
		return attach_parse(ctl, request, argc, argv, ret_status);
	if (argc > 2) {
		*ret_status = ctl_usage(ctl, "%s takes one ID or REF: what is '%s' for?", argv[0],
					argv[2]);
		return -1;
	}
	if (argc == 2)
		json_put_str(request, strncmp(argv[0], "image.", 6) ? "id" : "ref", argv[1]);
	return 0;
}

int verb_policy_explain(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	const char *as = NULL;
	bool json = false;
	const struct opt opts[] = {
		{0, "as", "USER", "what it says of USER, a name or number", opt_string, &as},
		{'j', "json", NULL, "one object", opt_flag, &json},
		{},
	};
	int status, i = opt_parse(ctl, opts, true, argc, argv, &status);

	if (i < 0)
		return status;
	if (i == argc)
		return ctl_usage(ctl, "policy explain needs a VERB, such as attach");
	json_put_str(params, "verb", argv[i]);
	json_put_str(params, "as", as);
	if (parse_request(ctl, params, argc - i, argv + i, &status) < 0)
		return status;
	return explain(ctl, TAKE_PTR(params), json);
}
