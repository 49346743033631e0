// SPDX-License-Identifier: MIT
/* recapctl image: what capsules are made of. */
#include "recapctl/recapctl.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define cleanup_varlink cleanup(varlink_close)
#define DIGEST_SHOWN	12

static const char *const head[] = {"REF", "DIGEST", ">LAYERS", ">SIZE", ">SHARED", ">AGE", NULL};

/* The start of the hexadecimal part. */
static void short_digest(struct json_object *image, char ret[static DIGEST_SHOWN + 1])
{
	const char *digest = json_get_str(image, "digest") ?: "";
	const char *colon = strchr(digest, ':');

	snprintf(ret, DIGEST_SHOWN + 1, "%s", colon ? colon + 1 : digest);
}

static void add_size(struct table *t, int64_t bytes)
{
	static const char *const units[] = {"B", "K", "M", "G", "T"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1024 && i < ARRAY_SIZE(units) - 1; i++)
		v /= 1024;
	table_addf(t, v < 10 && i ? "%.1f%s" : "%.0f%s", v, units[i]);
}

/* ---- load ------------------------------------------------------------------------------------ */

static int open_layout(const char *path, int *ret, struct error *err)
{
	/* O_NONBLOCK: opening a FIFO would wait for a writer. */
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return error_sys(err, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return error_sys(err, errno, "cannot stat %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return error_set(err, EINVAL, "%s is neither a tar archive nor a folder", path);
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

static int load(struct ctl *ctl, const char *path, struct json_object *params, struct error *err)
{
	cleanup_json struct json_object *reply = NULL;
	cleanup_varlink struct varlink v;
	cleanup_fd int fd = -1;
	int r;

	varlink_init(&v, -1, VARLINK_REPLY_MAX);
	r = open_layout(path, &fd, err);
	if (r == 0)
		r = varlink_connect(ctl->socket, &v, err);
	if (r == 0)
		r = varlink_call(&v, "io.recap.LoadImage", params, false, &fd, 1, err);
	if (r == 0)
		r = varlink_reply(&v, &reply, NULL, err);
	if (r == 0)
		print_loaded(json_get(reply, "images", json_type_array));
	return r;
}

int verb_image_load(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json struct json_object *params = json_object_new_object();
	const struct opt opts[] = {
		{0, "ref", "REF", "name the image REF; for a layout of one image", opt_member,
		 params, "ref"},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (argc - i != 1)
		return ctl_usage(ctl, "image load needs one FILE or DIR");
	if (!strcmp(argv[i], "-"))
		return ctl_usage(ctl, "image load cannot read standard input: save the archive to "
				      "a file first");
	if (load(ctl, argv[i], params, &err) < 0)
		return ctl_fail(ctl, &err);
	return ctl_finish(ctl, CTL_OK);
}

/* ---- list ------------------------------------------------------------------------------------ */

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
	table_add(t, created ? age : NULL);
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
		return ctl_usage(ctl, "image rm needs a REF (see recapctl image list)");
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
