// SPDX-License-Identifier: MIT
/* recapctl image scan, image trust: what the gate wants to know of an image. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define cleanup_varlink cleanup(varlink_close)
#define SBOM_MAX	(256 << 20)
#define ROWS_MAX	50 /* findings in the table; --json has all */

/* One call with a descriptor (-1: none). */
static int call(const struct ctl *ctl, const char *method, const char *ref, int fd,
		struct json_object **ret, struct error *err)
{
	cleanup_json struct json_object *params = json_object_new_object();
	cleanup_varlink struct varlink v;
	int r;

	json_put_str(params, "ref", ref);
	varlink_init(&v, -1, VARLINK_REPLY_MAX);
	r = varlink_connect(ctl->socket, &v, err);
	if (r == 0)
		r = varlink_call(&v, method, params, false, &fd, fd >= 0, err);
	return r < 0 ? r : varlink_reply(&v, ret, NULL, err);
}

/* ---- scan ------------------------------------------------------------------------------------ */

static int rank(struct json_object *finding)
{
	static const char *const names[] = {"critical", "high", "medium", "low"};
	const char *severity = json_get_str(finding, "severity") ?: "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(severity, names[i]))
			return (int)i;
	return ARRAY_SIZE(names);
}

static void print_findings(struct json_object *verdict)
{
	static const char *const head[] = {"SEVERITY", "CHECK", "PATH", "MESSAGE", NULL};
	struct json_object *list = json_get(verdict, "findings", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0, shown = 0;
	cleanup_table struct table t;

	table_init(&t, head);
	for (int severity = 0; severity < 5; severity++) {
		for (size_t i = 0; i < n && shown < ROWS_MAX; i++) {
			struct json_object *f = json_object_array_get_idx(list, i);

			if (rank(f) != severity)
				continue;
			table_add(&t, json_get_str(f, "severity"));
			table_add(&t, json_get_str(f, "check"));
			table_add(&t, json_get_str(f, "path"));
			table_add(&t, json_get_str(f, "message"));
			shown++;
		}
	}
	if (n)
		table_print(&t, stdout);
	if (n > shown)
		printf("and %zu more: see --json\n", n - shown);
}

/* Whole or not at all: it is copied once the scan is done. */
static int copy_sbom(int from, const char *path, struct error *err)
{
	cleanup_fd int to =
		!strcmp(path, "-")
			? dup(STDOUT_FILENO)
			: open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	char buf[65536];
	off_t at = 0;
	ssize_t n;

	if (to < 0)
		return error_sys(err, errno, "cannot write %s", path);
	while ((n = pread(from, buf, sizeof(buf), at)) > 0 && at < SBOM_MAX) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, buf + done, n - done);
			if (w < 0)
				return error_sys(err, errno, "cannot write %s", path);
		}
		at += n;
	}
	if (n < 0)
		return error_sys(err, errno, "cannot read the SBOM");
	return at ? 0 : error_set(err, EIO, "the scan failed before there was an SBOM");
}

static int show(const struct ctl *ctl, struct json_object *reply, bool json, bool quiet)
{
	struct json_object *verdict = json_get(reply, "verdict", json_type_object);
	const char *state = json_get_str(reply, "state"), *why = json_get_str(reply, "why");
	struct raw raw;

	if (json) {
		raw.text = json_object_to_json_string_length(
			reply, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &raw.len);
		raw_print(raw);
	} else if (!quiet) {
		print_findings(verdict);
	}
	if (state && !strcmp(state, "ok"))
		return ctl_finish(ctl, CTL_OK);
	ctl_warn("%s would be refused: %s", json_get_str(reply, "ref") ?: "the image",
		 why ?: "recapd does not say why");
	return ctl_finish(ctl, CTL_FAILED);
}

int verb_image_scan(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	const char *sbom = NULL;
	bool json = false;
	const struct opt opts[] = {
		{'j', "json", NULL, "the verdict as one record", opt_flag, &json},
		{0, "sbom", "FILE",
		 "write the packages to FILE, CycloneDX 1.5; - is standard output", opt_string,
		 &sbom},
		{},
	};
	struct error err = {};
	cleanup_fd int fd = -1;
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl, "image scan needs one REF, as recapctl image list shows it");
	if (sbom && json && !strcmp(sbom, "-"))
		return ctl_usage(ctl, "--json and --sbom - both want standard output");
	fd = sbom ? memfd_create("sbom", MFD_CLOEXEC) : -1;
	if (sbom && fd < 0) {
		error_sys(&err, errno, "cannot make a file in memory");
		return ctl_fail(ctl, &err);
	}
	if (call(ctl, "io.recap.ScanImage", argv[i], fd, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	status = show(ctl, reply, json, sbom && !strcmp(sbom, "-"));
	if (sbom && copy_sbom(fd, sbom, &err) < 0)
		return ctl_fail(ctl, &err);
	return status;
}

/* ---- trust ----------------------------------------------------------------------------------- */

static int open_signature(const char *path, struct error *err)
{
	/* O_NONBLOCK: opening a FIFO would wait for a writer. */
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot open %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is no regular file", path);
	return TAKE_FD(fd);
}

int verb_image_trust(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	const struct opt opts[] = {{}};
	cleanup_fd int fd = -1;
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 2)
		return ctl_usage(ctl, "image trust needs a REF and the FILE with its signature");
	fd = open_signature(argv[i + 1], &err);
	if (fd < 0 || call(ctl, "io.recap.TrustImage", argv[i], fd, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	text_print(stdout, json_get_str(reply, "ref") ?: argv[i]);
	printf(" is signed by ");
	text_print(stdout, json_get_str(reply, "key") ?: "?");
	putchar('\n');
	return ctl_finish(ctl, CTL_OK);
}
