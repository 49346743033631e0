// SPDX-License-Identifier: MIT
/* From the record of a capsule that is over to the exit status of recapctl. */
#include "recapctl/recapctl.h"

#include <string.h>

void outcome_holder(struct json_object *holder, char *buf, size_t size)
{
	const char *kind = json_get_str(holder, "kind");
	const char *command = json_get_str(holder, "command");
	long long pid = json_get_int(holder, "pid", 0);

	if (!kind || pid <= 0) {
		snprintf(
			buf, size,
			"no process to name: a descriptor in flight or in an io_uring, or a mount");
	} else if (!strcmp(kind, "fd")) {
		snprintf(buf, size, "PID %lld (%.64s) holds descriptor %lld", pid,
			 command ? command : "?", (long long)json_get_int(holder, "fd", -1));
	} else {
		snprintf(buf, size, "PID %lld (%.64s) holds it as its %.32s", pid,
			 command ? command : "?", kind);
	}
	text_clean(buf);
}

void outcome_print_holders(struct json_object *capsule)
{
	struct json_object *holders = json_get(capsule, "holders", json_type_array);
	size_t n = holders ? json_object_array_length(holders) : 0;
	char text[256];

	for (size_t i = 0; i < n; i++) {
		outcome_holder(json_object_array_get_idx(holders, i), text, sizeof(text));
		ctl_warn("layer quarantined: %s", text);
	}
	if (!n)
		ctl_warn("layer quarantined: its holder is not known (see recapctl inspect %s)",
			 json_get_str(capsule, "id") ?: "ID");
}

static void print_residue(struct json_object *item)
{
	const char *kind = json_get_str(item, "kind"), *change = json_get_str(item, "change");
	const char *name = json_get_str(item, "name"), *detail = json_get_str(item, "detail");
	char text[1024];

	snprintf(text, sizeof(text), "%s %s%s%s%s%s", change ?: "unknown", kind ?: "?",
		 name && *name ? " " : "", name ?: "", detail && *detail ? ": " : "", detail ?: "");
	text_clean(text);
	ctl_warn("residue in the target: %s", text);
}

bool outcome_residue(struct json_object *capsule)
{
	struct json_object *items = json_get(capsule, "residue", json_type_array);
	size_t n = items ? json_object_array_length(items) : 0;
	int64_t more = json_get_int(capsule, "residue_more", 0);

	if (!json_get_bool(capsule, "residue_refused"))
		return false;
	for (size_t i = 0; i < n; i++)
		print_residue(json_object_array_get_idx(items, i));
	if (more > 0)
		ctl_warn("residue in the target: %lld more", (long long)more);
	return true;
}

/* Why the tool did not end by itself. A signal that it died of says it all. */
static void print_reason(const char *reason)
{
	if (!strcmp(reason, "timeout"))
		ctl_warn("the time limit ended the capsule");
	else if (!strcmp(reason, "stopped"))
		ctl_warn("the capsule was stopped");
	else if (!strcmp(reason, "target-gone"))
		ctl_warn("the target ended, and the capsule with it");
	else if (!strcmp(reason, "shutdown"))
		ctl_warn("recapd was told to end, and ended the capsule");
	else
		ctl_warn("the capsule was ended: %s", reason);
}

int outcome_status(struct json_object *capsule)
{
	const char *state = json_get_str(capsule, "state");
	const char *reason = json_get_str(capsule, "reason");
	int64_t signal = json_get_int(capsule, "signal", 0);
	int64_t code = json_get_int(capsule, "exit_code", -1);

	if (reason)
		print_reason(reason);
	if (state && !strcmp(state, "quarantined")) {
		outcome_print_holders(capsule);
		return CTL_QUARANTINED;
	}
	if (outcome_residue(capsule))
		return CTL_QUARANTINED;
	if (reason && !strcmp(reason, "timeout"))
		return CTL_TIMEOUT;
	if (signal > 0 && signal < 128)
		return CTL_SIGNALLED + (int)signal;
	if (code >= 0 && code <= 255)
		return (int)code;
	ctl_warn("recapd does not say how the tool ended: see its log");
	return CTL_REFUSED;
}

int outcome_of_error(const struct ctl *ctl, const struct error *err)
{
	bool not_found = !strcmp(err->name, "CommandNotFound");
	int status = ctl->verb->failed_status;

	/* Behind the CAPSULE, an option is the tool's, or the tool itself. */
	if (not_found && err->msg[0] == '-')
		ctl_warn("%s: options of attach go before the CAPSULE", err->msg);
	else
		status = ctl_fail(ctl, err);
	if (not_found)
		return CTL_NOT_FOUND;
	if (!strcmp(err->name, "CommandNotExecutable"))
		return CTL_NOT_EXECUTABLE;
	return status;
}
