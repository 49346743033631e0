// SPDX-License-Identifier: MIT
/* LoadImage, PullImage, ListImages, InspectImage, RemoveImage, PruneImages. */
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "core/reference.h"
#include "recapd/access.h"

/*
 * The worker reads it as root. A folder would have it open files that its caller may not, and so might a descriptor that was not
 * opened for reading.
 */
static int check_source(const struct client *c, int fd, struct error *err)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (c->caller.uid == 0)
		return 0;
	if (flags < 0 || flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY || fstat(fd, &st) < 0 ||
	    S_ISDIR(st.st_mode))
		return error_named(err, EPERM, "PermissionDenied",
				   "only root loads folders: send a tar archive of it");
	return 0;
}

static int method_load(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	int fds[VARLINK_FDS_MAX];
	unsigned int n = varlink_take_fds(&c->v, fds);
	int r;

	if (n != 1) {
		for (unsigned int i = 0; i < n; i++)
			close(fds[i]);
		return error_named(
			err, EINVAL, "InvalidArgument",
			"LoadImage wants one descriptor, of a folder or an archive, not %u", n);
	}
	r = access_new_image(c, ref, err);
	if (r == 0)
		r = check_source(c, fds[0], err);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	return job_start(c,
			 (char *[]){"recap-load", c->api->m->config->state_dir, (char *)ref, NULL},
			 fds[0], err);
}

/* A name alone is one of a registry, unless skopeo's transports have it: "dir:latest" is none. */
static bool is_of_registry(const char *source)
{
	static const char *const others[] = {"docker-daemon", "containers-storage", "dir", "oci",
					     "oci-archive",   "docker-archive"};
	struct reference ref;
	bool local = false;

	if (!strncmp(source, "docker://", 9))
		return true;
	if (reference_parse(source, &ref, NULL) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		local |= !strcmp(ref.name, others[i]);
	return !local;
}

/* The worker fetches as root: from paths of this machine, and with files that have credentials. */
static int check_pull(const struct client *c, const char *source, struct json_object *params,
		      struct error *err)
{
	if (c->caller.uid == 0 || (is_of_registry(source) && !json_get_str(params, "authfile") &&
				   !json_get_bool(params, "no_tls_verify")))
		return 0;
	return error_named(
		err, EPERM, "PermissionDenied",
		"only root pulls from elsewhere than a registry, with credentials, or without TLS");
}

static int method_pull(struct client *c, struct json_object *params, struct error *err)
{
	const char *source = json_get_str(params, "source");
	const char *authfile = json_get_str(params, "authfile");
	const char *argv[10] = {"recap-load", "--pull", source};
	size_t n = 3;
	int r;

	if (!source || !*source)
		return error_named(err, EINVAL, "InvalidArgument", "a source is needed");
	r = access_new_image(c, json_get_str(params, "ref"), err);
	if (r == 0)
		r = check_pull(c, source, params, err);
	if (r < 0)
		return r;
	if (authfile && *authfile != '/')
		return error_named(err, EINVAL, "InvalidArgument",
				   "the path of authfile is not absolute");
	if (authfile) {
		argv[n++] = "--authfile";
		argv[n++] = authfile;
	}
	if (json_get_bool(params, "no_tls_verify"))
		argv[n++] = "--no-tls-verify";
	argv[n++] = "--";
	argv[n++] = c->api->m->config->state_dir;
	argv[n] = json_get_str(params, "ref");
	return job_start(c, (char **)argv, -1, err);
}

static int method_list(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *list, *o;
	int r = image_list(c->api->m->store, &list, err);

	if (r < 0)
		return r;
	for (size_t i = json_object_array_length(list); i-- > 0;)
		if (!access_sees_image(c, json_object_array_get_idx(list, i)))
			json_object_array_del_idx(list, i, 1);
	scan_add_states(c->api->m->gate, list);
	o = json_object_new_object();
	json_put_obj(o, "images", list);
	client_reply(c, o, false);
	return 0;
}

static int method_inspect(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	struct json_object *image, *o;
	int r;

	if (!ref)
		return error_named(err, EINVAL, "InvalidArgument", "a ref is needed");
	r = access_image(c, ref, err);
	if (r == 0)
		r = image_inspect(c->api->m->store, ref, &image, err);
	if (r < 0)
		return r;
	o = json_object_new_object();
	json_put_obj(o, "image", image);
	client_reply(c, o, false);
	return 0;
}

struct in_use {
	char **digests;
	size_t n;
};

static void add_digest(struct capsule *capsule, void *arg)
{
	struct in_use *u = arg;

	u->digests[u->n++] = (char *)capsule_image_digest(capsule);
}

/*
 * Before images are removed: the digests of all capsules that run or are quarantined, NULL-terminated, borrowed strings in a vector
 * to free(). What is kept of an image for the next attach is let go.
 */
static char **digests_in_use(struct client *c, struct error *err)
{
	struct in_use u = {.digests =
				   calloc(capsule_count(c->api->m->capsules) + 1, sizeof(char *))};

	capsule_set_forget_image(c->api->m->capsules);
	if (u.digests)
		capsule_each(c->api->m->capsules, add_digest, &u);
	else
		error_set(err, ENOMEM, "out of memory");
	return u.digests;
}

static int method_remove(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	cleanup_free char **in_use = NULL;
	int r;

	if (!ref)
		return error_named(err, EINVAL, "InvalidArgument", "a ref is needed");
	r = access_image(c, ref, err);
	if (r < 0)
		return r;
	in_use = digests_in_use(c, err);
	if (!in_use)
		return -ENOMEM;
	r = image_remove(c->api->m->store, ref, in_use, err);
	if (r == 0)
		client_reply(c, NULL, false);
	return r;
}

static int method_prune(struct client *c, struct json_object *params, struct error *err)
{
	struct image_prune how = {.all = json_get_bool(params, "all"),
				  .dry_run = json_get_bool(params, "dry_run")};
	cleanup_free char **in_use = digests_in_use(c, err);
	struct json_object *result;
	int r;

	if (!in_use)
		return -ENOMEM;
	how.in_use = in_use;
	r = image_prune(c->api->m->store, &how, &result, err);
	if (r == 0)
		client_reply(c, result, false);
	return r;
}

const struct method methods_image[] = {
	{"io.recap.LoadImage", "image.load", true, true, method_load, {{"ref", json_type_string}}},
	{"io.recap.PullImage",
	 "image.pull",
	 true,
	 true,
	 method_pull,
	 {{"source", json_type_string},
	  {"ref", json_type_string},
	  {"authfile", json_type_string},
	  {"no_tls_verify", json_type_boolean}}},
	{"io.recap.ListImages", "image.list", true, false, method_list, {}},
	{"io.recap.InspectImage",
	 "image.inspect",
	 true,
	 false,
	 method_inspect,
	 {{"ref", json_type_string}}},
	{"io.recap.RemoveImage",
	 "image.rm",
	 true,
	 false,
	 method_remove,
	 {{"ref", json_type_string}}},
	{"io.recap.PruneImages",
	 "image.prune",
	 false,
	 false,
	 method_prune,
	 {{"all", json_type_boolean}, {"dry_run", json_type_boolean}}},
	{NULL},
};
