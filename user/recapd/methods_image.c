// SPDX-License-Identifier: MIT
/* LoadImage, ListImages, RemoveImage. */
#include <string.h>

#include "recapd/client.h"

static int method_load(struct client *c, struct json_object *params, struct error *err)
{
	int fds[VARLINK_FDS_MAX];
	unsigned int n = varlink_take_fds(&c->v, fds);

	if (n != 1) {
		for (unsigned int i = 0; i < n; i++)
			close(fds[i]);
		return error_named(
			err, EINVAL, "InvalidArgument",
			"LoadImage wants one descriptor, of a folder or an archive, not %u", n);
	}
	return job_load(c, fds[0], json_get_str(params, "ref"), err);
}

static int method_list(struct client *c, struct json_object *params, struct error *err)
{
	struct json_object *list, *o;
	int r = image_list(c->api->m->store, &list, err);

	if (r < 0)
		return r;
	o = json_object_new_object();
	json_put_obj(o, "images", list);
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

static int method_remove(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	struct in_use u = {.digests =
				   calloc(capsule_count(c->api->m->capsules) + 1, sizeof(char *))};
	int r;

	if (!ref || !u.digests) {
		free(u.digests);
		return error_named(err, EINVAL, "InvalidArgument", "a ref is needed");
	}
	capsule_each(c->api->m->capsules, add_digest, &u);
	r = image_remove(c->api->m->store, ref, u.digests, err);
	free(u.digests);
	if (r == 0)
		client_reply(c, NULL, false);
	return r;
}

const struct method methods_image[] = {
	{"io.recap.LoadImage", method_load, {{"ref", json_type_string}}},
	{"io.recap.ListImages", method_list, {}},
	{"io.recap.RemoveImage", method_remove, {{"ref", json_type_string}}},
	{NULL},
};
