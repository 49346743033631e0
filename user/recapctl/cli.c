// SPDX-License-Identifier: MIT
/* From the command line to a verb. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#define STATUS CTL_USAGE, CTL_FAILED

static const struct verb verbs[] = {
	{"list", "", "The containers of this node.", verb_list, STATUS},
	{"attach", "TARGET CAPSULE [-- ARG...]",
	 "Run a capsule in a container; its streams are yours.", verb_attach, CTL_REFUSED,
	 CTL_REFUSED},
	{"ps", "", "Capsules that run or are quarantined.", verb_ps, STATUS},
	{"inspect", "ID|TARGET", "Everything about a container or a capsule, as JSON.",
	 verb_inspect, STATUS},
	{"stop", "ID", "End a capsule's whole tree and see it out.", verb_stop, STATUS},
	{"logs", "ID", "The output of a detached capsule.", verb_logs, STATUS},
	{"image load", "FILE|DIR|-", "Load an OCI layout, or an archive of one or of docker save.",
	 verb_image_load, STATUS},
	{"image pull", "SOURCE", "Fetch an image from a registry, or wherever skopeo finds it.",
	 verb_image_pull, STATUS},
	{"image list", "", "The images that capsules can be made of.", verb_image_list, STATUS},
	{"image inspect", "REF", "Everything about an image, as JSON.", verb_image_inspect, STATUS},
	{"image scan", "REF", "Check an image; fails when the gate would refuse it.",
	 verb_image_scan, STATUS},
	{"image trust", "REF FILE", "Bring a detached signature of an image into the store.",
	 verb_image_trust, STATUS},
	{"image rm", "REF...", "Remove images.", verb_image_rm, STATUS},
	{"image prune", "", "Remove images without a name that no capsule uses.", verb_image_prune,
	 STATUS},
	{"policy check", "FILE", "Say whether a policy is well-formed.", verb_policy_check, STATUS},
	{"policy explain", "VERB [...]",
	 "Say what the policy decides of a call, and why; fails when it is refused.",
	 verb_policy_explain, STATUS},
	{"stats", "", "Latency by capsule image and phase, and the counters.", verb_stats, STATUS},
	{"status", "", "The health of recapd; fails when there are problems.", verb_status, STATUS},
};

static const struct verb program = {"", "VERB [ARG...]",
				    "Bring tools into running containers and take them out again.",
				    NULL, STATUS};

static void show_error(const char *msg, const char *name)
{
	if (name)
		fprintf(stderr, "recapctl: %s (see recapctl%s%s --help)\n", msg, *name ? " " : "",
			name);
	else
		fprintf(stderr, "recapctl: %s\n", msg);
}

int ctl_fail(const struct ctl *ctl, const struct error *err)
{
	ctl_warn("%s", err->msg);
	return ctl->verb->failed_status;
}

void ctl_warn(const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	text_clean(msg);
	show_error(msg, NULL);
}

int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	text_clean(msg);
	show_error(msg, ctl->verb->name);
	return ctl->verb->usage_status;
}

int ctl_finish(const struct ctl *ctl, int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	ctl_warn("cannot write to standard output: %s", strerror(errno));
	return ctl->verb->failed_status;
}

/* How many words of argv[] name the verb; 0: they do not. */
static int words_of(const struct verb *verb, char **argv)
{
	const char *space = strchr(verb->name, ' ');
	size_t n;

	if (!space)
		return !strcmp(verb->name, argv[0]);
	n = space - verb->name;
	if (strncmp(verb->name, argv[0], n) || argv[0][n] || !argv[1])
		return 0;
	return strcmp(space + 1, argv[1]) ? 0 : 2;
}

/* "image" or "policy" alone, or with a second word that is none of its verbs. */
static int unknown_verb(const struct ctl *ctl, char **argv)
{
	static const struct {
		const char *group, *verbs;
	} groups[] = {{"image", "load, pull, list, inspect, scan, trust, rm or prune"},
		      {"policy", "check or explain"}};
	size_t g = 0, len = strlen(argv[0]);

	while (g < ARRAY_SIZE(groups) && strcmp(argv[0], groups[g].group))
		g++;
	if (g == ARRAY_SIZE(groups))
		return ctl_usage(ctl, "there is no verb '%s'", argv[0]);
	if (argv[1] && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
			if (!strncmp(verbs[i].name, argv[0], len) && verbs[i].name[len] == ' ')
				printf("recapctl %-15s %-11s %s\n", verbs[i].name,
				       verbs[i].operands, verbs[i].summary);
		return ctl_finish(ctl, CTL_OK);
	}
	return ctl_usage(ctl, "'%s' needs to know what to do: %s", argv[0], groups[g].verbs);
}

static int run_verb(struct ctl *ctl, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		int n = words_of(&verbs[i], argv);

		if (!n)
			continue;
		ctl->verb = &verbs[i];
		return verbs[i].run(ctl, argc - n + 1, argv + n - 1);
	}
	return unknown_verb(ctl, argv);
}

static void print_verbs(void)
{
	printf("\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-15s %s\n", verbs[i].name, verbs[i].summary);
	printf("\nEach verb explains its options with --help; recapctl(1) has it all.\n");
}

/* A closed stream's number must not go to a socket, which would then be written to. */
static int open_streams(struct error *err)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return error_sys(err, errno, "cannot open /dev/null");
	return 0;
}

int ctl_main(int argc, char **argv)
{
	struct ctl ctl = {.socket = getenv("RECAP_SOCKET"), .verb = &program};
	bool version = false;
	const struct opt opts[] = {
		{0, "version", NULL, "print the version", opt_flag, &version},
		{},
	};
	struct error err = {};
	int status, i;

	if (!ctl.socket || !*ctl.socket)
		ctl.socket = CTL_SOCKET;
	if (open_streams(&err) < 0)
		return ctl_fail(&ctl, &err);
	i = opt_parse(&ctl, opts, true, argc, argv, &status);
	if (i < 0) {
		if (status == CTL_OK) {
			print_verbs();
			return ctl_finish(&ctl, status);
		}
		return status;
	}
	if (version) {
		printf("recapctl %s\n", RECAP_VERSION);
		return ctl_finish(&ctl, CTL_OK);
	}
	if (i == argc)
		return ctl_usage(&ctl, "a verb is needed, such as list or attach");
	return run_verb(&ctl, argc - i, argv + i);
}
