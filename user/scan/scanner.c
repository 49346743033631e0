// SPDX-License-Identifier: MIT
/* Configured scanners: programs of the host, run in a jail on the image's root. */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "core/mountapi.h"
#include "scan/sarif.h"
#include "scan/scan.h"

#define OUTPUT_NAME "output"
#define OUTPUT_AT   "/tmp/" OUTPUT_NAME
#define VERSION_S   120
#define TIMEOUT_S   300
#define PARSE_S	    60

/* What a program of the host needs to start; nothing that holds a secret. */
static const struct jail_mount base[] =
	{
		{"/usr", "/usr", false, false},
		{"/bin", "/bin", true, true},
		{"/sbin", "/sbin", true, true},
		{"/lib", "/lib", true, true},
		{"/lib32", "/lib32", true, true},
		{"/lib64", "/lib64", true, true},
		{"/etc/alternatives", "/etc/alternatives", false, true},
		{"/etc/ld.so.cache", "/etc/ld.so.cache", false, true},
		{"/etc/ld.so.conf", "/etc/ld.so.conf", false, true},
		{"/etc/ld.so.conf.d", "/etc/ld.so.conf.d", false, true},
		{"/etc/localtime", "/etc/localtime", true, true},
		{"/etc/nsswitch.conf", "/etc/nsswitch.conf", false, true},
		{"/etc/passwd", "/etc/passwd", false, true},
		{"/etc/group", "/etc/group", false, true},
		{"/etc/ssl/certs", "/etc/ssl/certs", false, true},
		{"/etc/ssl/openssl.cnf", "/etc/ssl/openssl.cnf", false, true},
},
			       online[] = {
				       {"/etc/hosts", "/etc/hosts", false, true},
				       {"/etc/resolv.conf", "/etc/resolv.conf", false, true},
};

struct command {
	char **argv, **env;
};

/*
 * In the jail. Not as PID 1, to which the kernel delivers no signal that it does not handle; PID 1 stays, reaps, and ends what
 * the scanner leaves behind by its own end.
 */
static int execute(void *arg, int out)
{
	struct command *c = arg;
	pid_t pid = fork(), ended;
	int status = 0;

	if (pid < 0)
		return 127;
	if (pid > 0) {
		do
			ended = wait(&status);
		while (ended != pid && (ended > 0 || errno == EINTR));
		return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	execvpe(c->argv[0], c->argv, c->env);
	dprintf(2, "cannot run %s: %s", c->argv[0], strerror(errno));
	_exit(127);
}

/* {root}, {image}, {digest} and {output} in an argument. */
static char *substitute(const struct scan *s, const char *text)
{
	const struct {
		const char *name, *value;
	} vars[] = {{"{root}", SCAN_IMAGE_AT},
		    {"{image}", s->ref},
		    {"{digest}", s->digest},
		    {"{output}", OUTPUT_AT}};
	char *out = NULL;
	size_t size = 0, i;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		abort();
	while (*text) {
		for (i = 0; i < ARRAY_SIZE(vars); i++)
			if (!strncmp(text, vars[i].name, strlen(vars[i].name)))
				break;
		if (i < ARRAY_SIZE(vars)) {
			fputs(vars[i].value, f);
			text += strlen(vars[i].name);
		} else {
			fputc(*text++, f);
		}
	}
	fclose(f);
	return out;
}

static bool writes_file(char *const *argv)
{
	for (; *argv; argv++)
		if (strstr(*argv, "{output}"))
			return true;
	return false;
}

static int make_jail(struct scan *s, struct json_object *scanner, char *const *paths, int tmp,
		     int64_t timeout, struct jail *j)
{
	int r = 0;

	*j = (struct jail){.anchor = s->anchor,
			   .tmp = tmp,
			   .network = json_get_bool(scanner, "network"),
			   .programs = true,
			   .timeout_s = scan_seconds(s, timeout),
			   .max_out = SARIF_MAX};
	for (size_t i = 0; i < ARRAY_SIZE(base) && r == 0; i++)
		r = jail_add(j, base[i].from, base[i].at, base[i].link, base[i].optional);
	for (size_t i = 0; i < ARRAY_SIZE(online) && r == 0 && j->network; i++)
		r = jail_add(j, online[i].from, online[i].at, false, true);
	if (r == 0)
		r = jail_add(j, s->root, SCAN_IMAGE_AT, false, false);
	for (; *paths && r == 0; paths++)
		r = jail_add(j, *paths, *paths, false, false);
	return r;
}

static int run(struct scan *s, struct json_object *scanner, const char *key, int tmp,
	       int64_t timeout, struct jail_result *ret, struct error *err)
{
	cleanup_strv char **argv = NULL, **env = NULL, **paths = NULL;
	static char *const own[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp",
		"TMPDIR=/tmp", "LANG=C.UTF-8"};
	char *all[ARRAY_SIZE(own) + 128] = {};
	size_t n = 0;
	struct command c;
	struct jail j;
	int r = json_get_strv(scanner, key, 64, &argv);

	if (r == 0)
		r = json_get_strv(scanner, "env", 64, &env);
	if (r == 0)
		r = json_get_strv(scanner, "paths", 64, &paths);
	if (r == 0)
		r = make_jail(s, scanner, paths, tmp, timeout, &j);
	if (r < 0)
		return error_sys(err, -r, "its configuration cannot be used");
	for (char **a = argv; *a; a++) {
		char *old = *a;

		*a = substitute(s, old);
		free(old);
	}
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		all[n++] = own[i];
	for (char **e = env; *e; e++)
		all[n++] = *e;
	c = (struct command){argv, all};
	return jail_run(&j, execute, &c, ret, err);
}

static int make_tmp(struct error *err)
{
	static const char *const opts[][2] = {
		{"size", "512m"}, {"mode", "1777"}, {"nr_inodes", "65536"}, {NULL, NULL}};
	int fd = mount_new("tmpfs", opts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);

	return fd < 0 ? error_sys(err, -fd, "cannot make its /tmp") : fd;
}

/* The first line that it prints. */
static int ask_version(struct scan *s, struct json_object *scanner, char ret[80], struct error *err)
{
	struct jail_result res = {};
	cleanup_fd int tmp = -1;
	int r;

	snprintf(ret, 80, "unknown");
	if (!json_get(scanner, "version_argv", json_type_array))
		return 0;
	tmp = make_tmp(err);
	if (tmp < 0)
		return tmp;
	r = run(s, scanner, "version_argv", tmp, VERSION_S, &res, err);
	if (r == 0 && res.status)
		r = error_set(err, EIO, "it does not tell its version (status %d): %.150s",
			      res.status, res.err);
	if (r == 0)
		snprintf(ret, 80, "%.*s", (int)strcspn(res.out, "\r\n"), res.out);
	free(res.out);
	return r;
}

static bool has_status(struct json_object *scanner, const char *key, int otherwise, int status)
{
	struct json_object *list = json_get(scanner, key, json_type_array);

	if (!list)
		return status == otherwise;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_object_get_int(json_object_array_get_idx(list, i)) == status)
			return true;
	return false;
}

/* ---- what it said ------------------------------------------------------------------------------ */

struct parse {
	const char *name, *text;
	size_t len;
	bool sarif, found;
	enum severity severity;
};

/* In a jail of its own: the text is the scanner's, and through it the image's. */
static int parse(void *arg, int out)
{
	struct json_object *o = json_object_new_object();
	struct findings f;
	struct parse *p = arg;
	struct error err = {};

	findings_init(&f);
	if (!p->sarif && p->found) {
		status_read(p->text, p->len, p->name, SCAN_IMAGE_AT, p->severity, &f);
	} else if (p->sarif) {
		if (sarif_read(p->text, p->len, p->name, SCAN_IMAGE_AT, &f, &err) < 0)
			json_put_foreign(o, "error", err.msg, sizeof(err.msg));
		else if (p->found && !json_object_array_length(f.list))
			status_read("", 0, p->name, SCAN_IMAGE_AT, p->severity, &f);
	}
	json_put_obj(o, "findings", f.list);
	json_put_obj(o, "more", f.more);
	return scan_write(out, o);
}

static int take_output(struct scan *s, struct parse *p, const char *version, struct error *err)
{
	struct jail j = {.anchor = s->anchor,
			 .tmp = -1,
			 .timeout_s = PARSE_S,
			 .max_out = 4 * FINDINGS_BYTES_MAX};
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *out = NULL;
	struct jail_result res = {};
	struct json_object *row;
	int r = jail_run(&j, parse, p, &res, err);

	out = res.out;
	if (r == 0 && res.status)
		r = error_set(err, EIO, "its output cannot be read (status %d)", res.status);
	if (r == 0)
		r = json_parse(out, res.len, "what was read of it", &o, err);
	if (r == 0 && json_get_str(o, "error"))
		r = error_set(err, EINVAL, "%s", json_get_str(o, "error"));
	if (r == 0)
		r = scan_take_findings(s, o, err);
	if (r < 0)
		return r;
	row = json_object_new_object();
	json_put_str(row, "name", p->name);
	json_put_foreign(row, "version", version, 80);
	json_put_int(row, "findings", json_get_int(s->findings.counts, p->name, 0));
	json_object_array_add(s->scanners, row);
	return 0;
}

static int run_once(struct scan *s, struct json_object *scanner, struct parse *p, char **ret_text,
		    struct error *err)
{
	cleanup_strv char **argv = NULL;
	cleanup_fd int tmp = make_tmp(err);
	struct jail_result res = {};
	int r = tmp < 0 ? tmp
			: run(s, scanner, "argv", tmp,
			      json_get_int(scanner, "timeout_s", TIMEOUT_S), &res, err);

	if (r < 0)
		return r;
	*ret_text = res.out;
	p->len = res.len;
	p->found = has_status(scanner, "finding_status", p->sarif ? -1 : 1, res.status);
	if (!p->found && !has_status(scanner, "ok_status", 0, res.status))
		return error_set(err, EIO, "it ended with status %d: %.200s", res.status,
				 res.err[0] ? res.err : res.out);
	if (!p->sarif || json_get_strv(scanner, "argv", 64, &argv) < 0 || !writes_file(argv))
		return 0;
	free(TAKE_PTR(*ret_text));
	r = fd_read_file(tmp, OUTPUT_NAME, SARIF_MAX, ret_text, &p->len);
	return r < 0 ? error_sys(err, -r, "cannot read its {output}") : 0;
}

int scan_run_scanner(struct scan *s, struct json_object *scanner, struct error *err)
{
	const char *severity = json_get_str(scanner, "severity") ?: "high";
	struct parse p = {.name = json_get_str(scanner, "name"),
			  .sarif = !strcmp(json_get_str(scanner, "output"), "sarif"),
			  .severity = severity_parse(severity)};
	cleanup_free char *text = NULL;
	char version[80];
	int r = ask_version(s, scanner, version, err);

	if (r == 0)
		r = run_once(s, scanner, &p, &text, err);
	p.text = text;
	if (r == 0)
		r = take_output(s, &p, version, err);
	return r < 0 ? error_prefix(err, "scanner %s", p.name) : 0;
}
