// SPDX-License-Identifier: MIT
/* recapctl attach: from options to a call, and from the record to an exit status. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"

#define PROFILE_MAX (64 << 10) /* recapd takes no larger one */

struct attach {
	struct json_object *params;
	bool terminal, detach;
	const char *report;
	int report_fd;
};

static void attach_free(struct attach *a)
{
	json_object_put(a->params);
	a->report_fd = fd_close(a->report_fd);
}

/* Options, TARGET, options, CAPSULE; the rest is the tool's. */
static int parse_operands(struct ctl *ctl, struct attach *a, const struct opt *opts, int argc,
			  char **argv, int *ret_status)
{
	static const char *const keys[] = {"target", "image"}, *const names[] = {"TARGET",
										 "CAPSULE"};

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		int i = opt_parse(ctl, opts, true, argc, argv, ret_status);

		if (i < 0)
			return -1;
		if (i == argc || !*argv[i]) {
			*ret_status = ctl_usage(ctl,
						"attach needs a TARGET and a CAPSULE: there "
						"is no %s",
						names[k]);
			return -1;
		}
		json_put_str(a->params, keys[k], argv[i]);
		argc -= i;
		argv += i;
	}
	argv++;
	if (*argv && !strcmp(*argv, "--"))
		argv++;
	if (*argv)
		json_put_strv(a->params, "args", argv);
	return 0;
}

/* A name, or else a file, which recapd parses: what it may say depends on the capabilities that are granted. */
static int opt_seccomp(const struct opt *opt, const char *value, struct error *err)
{
	static const char *const names[] = {"default", "ptrace", "net", "unconfined"};
	cleanup_free char *text = NULL;
	int r;

	json_object_object_del(opt->dest, "seccomp");
	json_object_object_del(opt->dest, "seccomp_profile");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(value, names[i])) {
			json_put_str(opt->dest, "seccomp", value);
			return 0;
		}
	r = text_read(value, PROFILE_MAX, &text, err);
	if (r == -ENOENT && !strchr(value, '/'))
		return error_set(err, EINVAL,
				 "--%s is default, ptrace, net, unconfined or a file, not '%s'",
				 opt->name, value);
	if (r == 0)
		json_put_str(opt->dest, "seccomp_profile", text);
	return r;
}

static int parse(struct ctl *ctl, struct attach *a, int argc, char **argv, int *ret_status)
{
	struct json_object *p = a->params;
	const struct opt opts[] = {
		{'t', "terminal", NULL, "give the tool a terminal of its own", opt_flag,
		 &a->terminal},
		{'d', "detach", NULL, "print the capsule's ID once the tool runs, and leave it",
		 opt_flag, &a->detach},
		{'e', "env", "KEY[=VALUE]", "set a variable, or pass on one of recapctl's", opt_env,
		 p, "env"},
		{'u', "user", "USER", "run as NAME, UID or UID:GID instead of the image's user",
		 opt_member, p, "user"},
		{'w', "workdir", "DIR", "start in DIR instead of the image's folder", opt_member, p,
		 "workdir"},
		{0, "entrypoint", "CMD", "run CMD instead of the image's entrypoint", opt_member, p,
		 "entrypoint"},
		{0, "timeout", "S", "end the capsule after S seconds", opt_number, p, "timeout_s",
		 1, INT32_MAX},
		{0, "namespaces", "LIST",
		 "join only these (others are new): pid,net,ipc,uts,cgroup,user", opt_commas, p,
		 "namespaces"},
		{0, "target-root", "none|ro|rw", "how /target shows the target's root (ro)",
		 opt_choice, p, "target_root"},
		{0, "cap-add", "LIST", "capabilities to add", opt_commas, p, "cap_add"},
		{0, "cap-drop", "LIST", "capabilities to drop", opt_commas, p, "cap_drop"},
		{0, "seccomp", "NAME|FILE",
		 "filter: default, ptrace, net, unconfined, or a profile of Docker's", opt_seccomp,
		 p},
		{0, "memory", "SIZE", "most memory, such as 64m or 1g", opt_size, p, "memory",
		 1 << 20},
		{0, "cpus", "N", "most CPUs, such as 0.5", opt_milli, p, "cpus_milli", 10, 1000000},
		{0, "pids", "N", "most tasks", opt_number, p, "pids", 2, 4194304},
		{0, "nofile", "N", "most open files of a process (1024, and 524288 when it asks)",
		 opt_number, p, "nofile", 16, 1 << 20},
		{0, "cow-size", "SIZE", "most that the tool may write (64m, on disk 1g)", opt_size,
		 p, "cow_size", 64 << 10, 64ll << 30},
		{0, "cow", "tmpfs|disk", "where the layer is that the tool writes to (tmpfs)",
		 opt_choice, p, "cow"},
		{0, "reason", "TEXT", "why, for the audit and the capsule's record", opt_member, p,
		 "reason"},
		{0, "residue", "refuse|report",
		 "exit with 123 when the target is not as before (report)", opt_choice, p,
		 "residue"},
		{0, "report", "FILE", "write the capsule's final record to FILE, as JSON",
		 opt_string, &a->report},
		{},
	};

	return parse_operands(ctl, a, opts, argc, argv, ret_status);
}

int attach_parse(struct ctl *ctl, struct json_object *params, int argc, char **argv,
		 int *ret_status)
{
	struct attach a = {.params = params, .report_fd = -1};

	return parse(ctl, &a, argc, argv, ret_status);
}

/* Before anything runs: a report that has nowhere to go is found out too late afterwards. */
static int open_report(struct attach *a, struct error *err)
{
	if (!a->report)
		return 0;
	a->report_fd = open(a->report, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (a->report_fd < 0)
		return error_sys(err, errno, "cannot write the report to %s", a->report);
	return 0;
}

static int write_report(const struct attach *a, struct json_object *capsule, struct error *err)
{
	const char *text;
	size_t len;
	int r;

	if (a->report_fd < 0)
		return 0;
	text = json_object_to_json_string_length(capsule,
						 JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE,
						 &len);
	r = text ? fd_write_all(a->report_fd, text, len) : -ENOMEM;
	if (r == 0)
		r = fd_write_all(a->report_fd, "\n", 1);
	return r < 0 ? error_sys(err, -r, "cannot write the report to %s", a->report) : 0;
}

static int run_detached(struct ctl *ctl, struct attach *a)
{
	cleanup_json struct json_object *capsule = NULL;
	cleanup_session struct session s;
	struct error err = {};
	const char *id;

	session_init(&s, ctl);
	json_put_bool(a->params, "detach", true);
	if (session_run(&s, a->params, SESSION_NONE, &capsule, &err) < 0)
		return outcome_of_error(ctl, &err);
	id = json_get_str(capsule, "id");
	if (!id) {
		error_set(&err, EPROTO, "recapd's reply names no capsule");
		return ctl_fail(ctl, &err);
	}
	text_print(stdout, id);
	putchar('\n');
	return ctl_finish(ctl, CTL_OK);
}

/* The tool's terminal is as good as ours: it is ours that shows what it prints. */
static void pass_term(struct json_object *params)
{
	const struct opt term = {.dest = params, .key = "env"};
	struct json_object *env = json_get(params, "env", json_type_array);

	for (size_t i = 0; env && i < json_object_array_length(env); i++)
		if (!strncmp(json_object_get_string(json_object_array_get_idx(env, i)), "TERM=", 5))
			return;
	(void)!opt_env(&term, "TERM", NULL);
}

static int run_attached(struct ctl *ctl, struct attach *a)
{
	cleanup_json struct json_object *capsule = NULL;
	cleanup_session struct session s;
	struct error err = {};
	int status;

	session_init(&s, ctl);
	if (a->terminal) {
		json_put_bool(a->params, "terminal", true);
		pass_term(a->params);
	}
	if (session_run(&s, a->params, a->terminal ? SESSION_TERMINAL : SESSION_OWN, &capsule,
			&err) < 0)
		return s.left ? CTL_SIGNALLED + s.left : outcome_of_error(ctl, &err);
	status = outcome_status(capsule);
	/* A quarantine needs somebody to act, and so is not hidden by this. */
	if (relay_lost(&s.relay) && status != CTL_QUARANTINED)
		status = CTL_REFUSED;
	if (write_report(a, capsule, &err) < 0)
		return ctl_fail(ctl, &err);
	return status;
}

int verb_attach(struct ctl *ctl, int argc, char **argv)
{
	cleanup(attach_free) struct attach a = {.report_fd = -1};
	struct error err = {};
	int status;

	a.params = json_object_new_object();
	if (parse(ctl, &a, argc, argv, &status) < 0)
		return status;
	if (a.detach && (a.terminal || a.report))
		return ctl_usage(ctl, "-d leaves the capsule: it does not go with %s",
				 a.terminal ? "-t" : "--report");
	if (open_report(&a, &err) < 0)
		return ctl_fail(ctl, &err);
	return a.detach ? run_detached(ctl, &a) : run_attached(ctl, &a);
}
