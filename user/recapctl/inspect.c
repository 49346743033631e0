// SPDX-License-Identifier: MIT
/* recapctl inspect: the record of a container or a capsule. */
#include "recapctl/recapctl.h"

static int print_record(const struct ctl *ctl, struct json_object *reply)
{
	struct json_object *record = json_get(reply, "container", json_type_object);
	struct error err = {};
	struct raw raw;

	if (!record)
		record = json_get(reply, "capsule", json_type_object);
	if (!record) {
		error_set(&err, EPROTO, "recapd's reply has neither a container nor a capsule");
		return ctl_fail(ctl, &err);
	}
	raw.text = json_object_to_json_string_length(
		record,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE,
		&raw.len);
	raw_print(raw);
	return ctl_finish(ctl, CTL_OK);
}

int verb_inspect(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	const struct opt opts[] = {{}};
	struct json_object *params;
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1 || !*argv[i])
		return ctl_usage(ctl, "inspect needs one ID or TARGET");
	params = json_object_new_object();
	json_put_str(params, "id", argv[i]);
	if (client_ask(ctl, "io.recap.Inspect", params, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	return print_record(ctl, reply);
}
