// SPDX-License-Identifier: MIT
/* recapctl image: what capsules are made of. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define cleanup_varlink cleanup(varlink_close)
#define DIGEST_SHOWN	12
#define SIZE_SHOWN	16

static const char *const head[] = {"REF",     "DIGEST", ">LAYERS", ">SIZE",
				   ">SHARED", ">AGE",	"SCAN",	   NULL};

/* The start of the hexadecimal part. */
static void short_digest(struct json_object *image, char ret[static DIGEST_SHOWN + 1])
{
	const char *digest = json_get_str(image, "digest") ?: "";
	const char *colon = strchr(digest, ':');

	snprintf(ret, DIGEST_SHOWN + 1, "%s", colon ? colon + 1 : digest);
}

static void format_size(int64_t bytes, char ret[static SIZE_SHOWN])
{
	static const char *const units[] = {"B", "K", "M", "G", "T"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1024 && i < ARRAY_SIZE(units) - 1; i++)
		v /= 1024;
	snprintf(ret, SIZE_SHOWN, v < 10 && i ? "%.1f%s" : "%.0f%s", v, units[i]);
}

static void add_size(struct table *t, int64_t bytes)
{
	char text[SIZE_SHOWN];

	format_size(bytes, text);
	table_add(t, text);
}

/* ---- load ------------------------------------------------------------------------------------ */

static int open_layout(const char *path, int *ret, struct error *err)
{
	/* O_NONBLOCK: opening a FIFO would wait for a writer. recapd waits for what comes through it. */
	bool is_stdin = !strcmp(path, "-");
	cleanup_fd int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
				     : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return error_sys(err, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot stat %s", path);
	if (is_stdin && isatty(fd))
		return error_set(err, EINVAL,
				 "standard input is a terminal: give it an archive, as in "
				 "`docker save IMAGE | recapctl image load -`");
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISFIFO(st.st_mode) &&
	    !S_ISSOCK(st.st_mode))
		return error_set(err, EINVAL, "%s is neither a tar archive nor a folder",
				 is_stdin ? "standard input" : path);
	*ret = TAKE_FD(fd);
	return 0;
}

static void print_loaded(struct json_object *images)
{
	char digest[DIGEST_SHOWN + 1];

	for (size_t i = 0; images && i < json_object_array_length(images); i++) {
		struct json_object *image = json_object_array_get_idx(images, i);

		short_digest(image, digest);
		text_print(stdout, json_get_str(image, "ref") ?: "-");
		putchar(' ');
		text_print(stdout, digest);
		putchar('\n');
	}
}

/* One line on a terminal, written over again and again; nothing where standard error is none. */
static void show_progress(struct json_object *progress)
{
	const char *step = json_get_str(progress, "step") ?: "working";
	int64_t done = json_get_int(progress, "done", 0),
		total = json_get_int(progress, "total", 0);
	char step_text[32], done_text[SIZE_SHOWN], total_text[SIZE_SHOWN];

	if (!isatty(STDERR_FILENO))
		return;
	snprintf(step_text, sizeof(step_text), "%s", step);
	text_clean(step_text);
	format_size(done, done_text);
	format_size(total, total_text);
	fprintf(stderr, "\r\033[K%s %s", step_text, done_text);
	if (total > 0)
		fprintf(stderr, " of %s (%d%%)", total_text,
			(int)(100 * (double)done / (double)total));
}

static void clear_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

/* The last reply, after all that tell of progress. */
static int wait_for_result(struct varlink *v, struct json_object **ret, struct error *err)
{
	bool continues = true, shown = false;
	int r = 0;

	while (r == 0 && continues) {
		cleanup_json struct json_object *reply = NULL;

		r = varlink_reply(v, &reply, &continues, err);
		if (r == 0 && continues) {
			show_progress(json_get(reply, "progress", json_type_object));
			shown = true;
		} else if (r == 0) {
			*ret = TAKE_PTR(reply);
		}
	}
	if (shown)
		clear_progress();
	return r;
}

/* `fd` goes along with the call, unless it is -1. */
static int work(struct ctl *ctl, const char *method, struct json_object *params, int fd,
		struct error *err)
{
	cleanup_json struct json_object *reply = NULL;
	cleanup_varlink struct varlink v;
	int r = varlink_connect(ctl->socket, &v, err);

	if (r == 0)
		r = varlink_call(&v, method, params, true, &fd, fd >= 0, err);
	if (r == 0)
		r = wait_for_result(&v, &reply, err);
	if (r == 0)
		print_loaded(json_get(reply, "images", json_type_array));
	return r;
}

static int load(struct ctl *ctl, const char *path, struct json_object *params, struct error *err)
{
	cleanup_fd int fd = -1;
	int r = open_layout(path, &fd, err);

	return r < 0 ? r : work(ctl, "io.recap.LoadImage", params, fd, err);
}

int verb_image_load(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	const struct opt opts[] = {
		{0, "ref", "REF", "name the image REF; for an archive of one image", opt_member,
		 params, "ref"},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl, "image load needs one FILE or DIR, or - for standard input");
	if (load(ctl, argv[i], params, &err) < 0)
		return ctl_fail(ctl, &err);
	return ctl_finish(ctl, CTL_OK);
}

/* ---- pull ------------------------------------------------------------------------------------ */

/* recapd is somewhere else: paths are given from the root. The caller frees it. */
static char *absolute_source(const char *source)
{
	static const char *const prefixes[] = {"oci:", "oci-archive:", "dir:", "docker-archive:"};
	cleanup_free char *cwd = NULL;
	char *full = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (strncmp(source, prefixes[i], n) || source[n] == '/' || !source[n])
			continue;
		cwd = getcwd(NULL, 0);
		if (!cwd || asprintf(&full, "%s%s/%s", prefixes[i], cwd, source + n) < 0)
			return NULL;
		return full;
	}
	return strdup(source);
}

static int pull(struct ctl *ctl, const char *source, const char *authfile,
		struct json_object *params, struct error *err)
{
	cleanup_free char *full = absolute_source(source), *auth = NULL;

	if (!full)
		return error_sys(err, errno, "cannot tell the working folder");
	if (authfile && !(auth = realpath(authfile, NULL)))
		return error_sys(err, errno, "cannot find %s", authfile);
	json_put_str(params, "source", full);
	json_put_str(params, "authfile", auth);
	return work(ctl, "io.recap.PullImage", params, -1, err);
}

int verb_image_pull(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	const char *authfile = NULL;
	bool no_tls_verify = false;
	const struct opt opts[] = {
		{0, "ref", "REF", "name the image REF", opt_member, params, "ref"},
		{0, "authfile", "FILE", "credentials, as `skopeo login` writes them", opt_string,
		 &authfile},
		{0, "no-tls-verify", NULL, "take plain HTTP and unknown certificates", opt_flag,
		 &no_tls_verify},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl, "image pull needs one SOURCE, such as busybox:1.36 or "
				      "docker-daemon:NAME:TAG");
	if (no_tls_verify)
		json_put_bool(params, "no_tls_verify", true);
	if (pull(ctl, argv[i], authfile, params, &err) < 0)
		return ctl_fail(ctl, &err);
	return ctl_finish(ctl, CTL_OK);
}

/* ---- list ------------------------------------------------------------------------------------ */

/* Builders that make the same image each time leave the date out, or at 0. */
static bool has_date(const char *created)
{
	return created && strncmp(created, "1970-01-01T00:00:00", 19) != 0;
}

static void add_image(struct table *t, struct json_object *image, time_t now)
{
	const char *created = json_get_str(image, "created");
	char age[TEXT_AGE_SIZE], digest[DIGEST_SHOWN + 1];

	short_digest(image, digest);
	text_age(created, now, age);
	table_add(t, json_get_str(image, "ref"));
	table_add(t, digest);
	table_addf(t, "%lld", (long long)json_get_int(image, "layers", 0));
	add_size(t, json_get_int(image, "bytes", 0));
	add_size(t, json_get_int(image, "shared_bytes", 0));
	table_add(t, has_date(created) ? age : NULL);
	table_add(t, json_get_str(image, "scan"));
}

static int print_images(struct ctl *ctl)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *images;
	cleanup_table struct table t;
	struct error err = {};
	time_t now = time(NULL);

	table_init(&t, head);
	if (client_ask(ctl, "io.recap.ListImages", NULL, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	images = json_get(reply, "images", json_type_array);
	for (size_t i = 0; images && i < json_object_array_length(images); i++)
		add_image(&t, json_object_array_get_idx(images, i), now);
	table_print(&t, stdout);
	return ctl_finish(ctl, CTL_OK);
}

int verb_image_list(struct ctl *ctl, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = {
		{'j', "json", NULL, "an array of records", opt_flag, &json},
		{},
	};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "image list takes no arguments: what is '%s' for?", argv[i]);
	return json ? client_print(ctl, "io.recap.ListImages", NULL, "images") : print_images(ctl);
}

/* ---- rm -------------------------------------------------------------------------------------- */

int verb_image_rm(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{}};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i == argc)
		return ctl_usage(ctl, "image rm needs a REF, as recapctl image list shows it");
	for (status = CTL_OK; i < argc; i++) {
		struct json_object *params = json_object_new_object();
		cleanup_json struct json_object *reply = NULL;
		struct error err = {};

		json_put_str(params, "ref", argv[i]);
		if (client_ask(ctl, "io.recap.RemoveImage", params, &reply, &err) < 0)
			status = ctl_fail(ctl, &err);
		else
			printf("%s\n", argv[i]);
	}
	return ctl_finish(ctl, status);
}

/* ---- inspect --------------------------------------------------------------------------------- */

int verb_image_inspect(struct ctl *ctl, int argc, char **argv)
{
	struct json_object *params;
	const struct opt opts[] = {{}};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl,
				 "image inspect needs one REF, as recapctl image list shows it");
	params = json_object_new_object();
	json_put_str(params, "ref", argv[i]);
	return client_print(ctl, "io.recap.InspectImage", params, "image");
}

/* ---- prune ----------------------------------------------------------------------------------- */

static void print_pruned(struct json_object *reply, bool dry_run)
{
	struct json_object *images = json_get(reply, "images", json_type_array);
	char size[SIZE_SHOWN];
	long long layers;

	print_loaded(images);
	format_size(json_get_int(reply, "freed_bytes", 0), size);
	layers = json_get_int(reply, "freed_layers", 0);
	printf("%s %s in %lld layer%s\n", dry_run ? "would free" : "freed", size, layers,
	       layers == 1 ? "" : "s");
}

int verb_image_prune(struct ctl *ctl, int argc, char **argv)
{
	bool all = false, dry_run = false;
	const struct opt opts[] = {
		{'a', "all", NULL, "also images with a name", opt_flag, &all},
		{'n', "dry-run", NULL, "only say what would go", opt_flag, &dry_run},
		{},
	};
	cleanup_json struct json_object *reply = NULL;
	struct json_object *params;
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "image prune takes no arguments: what is '%s' for?", argv[i]);
	params = json_object_new_object();
	json_put_bool(params, "all", all);
	json_put_bool(params, "dry_run", dry_run);
	if (client_ask(ctl, "io.recap.PruneImages", params, &reply, &err) < 0)
		return ctl_fail(ctl, &err);
	print_pruned(reply, dry_run);
	return ctl_finish(ctl, CTL_OK);
}
