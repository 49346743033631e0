// SPDX-License-Identifier: MIT
/* recapctl stop: end a capsule's tree. */
#include "recapctl/recapctl.h"

#include <string.h>

/* The ID on standard output; 123 as for attach when the layer had to stay, or residue that was refused. */
static int print_stopped(const struct ctl *ctl, struct json_object *capsule)
{
	const char *id = json_get_str(capsule, "id"), *state = json_get_str(capsule, "state");

	text_print(stdout, id ? id : "?");
	putchar('\n');
	if (!state || strcmp(state, "quarantined"))
		return ctl_finish(ctl, outcome_residue(capsule) ? CTL_QUARANTINED : CTL_OK);
	outcome_print_holders(capsule);
	return ctl_finish(ctl, CTL_QUARANTINED);
}

int verb_stop(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	cleanup_json struct json_object *reply = NULL;
	const struct opt opts[] = {
		{0, "timeout", "S", "send SIGKILL S seconds after SIGTERM (10)", opt_number, params,
		 "timeout_s", 0, 3600},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1 || !*argv[i])
		return ctl_usage(ctl, "stop needs the ID of one capsule, as recapctl ps lists it");
	json_put_str(params, "id", argv[i]);
	if (client_ask(ctl, "io.recap.Stop", TAKE_PTR(params), &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	return print_stopped(ctl, json_get(reply, "capsule", json_type_object));
}
