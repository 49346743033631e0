// SPDX-License-Identifier: MIT
/* ScanImage, TrustImage. */
#include <string.h>

#include "recapd/access.h"

void scan_add_states(struct gate *gate, struct json_object *images)
{
	for (size_t i = 0; i < json_object_array_length(images); i++) {
		struct json_object *row = json_object_array_get_idx(images, i);
		enum gate_state state = gate_scan_state(gate, json_get_str(row, "digest"));

		json_put_str(row, "scan", gate_state_name(state));
	}
}

/* What recap-scan is asked to do, with the gate's configuration, under which it judges. */
static int start(struct client *c, const char *op, const char *ref, bool sbom, int fd,
		 struct error *err)
{
	const struct config *config = c->api->m->config;
	cleanup_json struct json_object *o = json_object_new_object();

	json_put_str(o, "op", op);
	json_put_str(o, "ref", ref);
	json_put_bool(o, "sbom", sbom);
	json_put_obj(o, "gate", json_object_get(config->gate.source));
	return job_start(
		c,
		(char *[]){"recap-scan", config->state_dir,
			   (char *)json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), NULL},
		fd, err);
}

/* The message's descriptors: at most one, -1 for none. */
static int take_fd(struct client *c, int *ret, struct error *err)
{
	int fds[VARLINK_FDS_MAX];
	unsigned int n = varlink_take_fds(&c->v, fds);

	*ret = n == 1 ? fds[0] : -1;
	for (unsigned int i = 0; n > 1 && i < n; i++)
		close(fds[i]);
	return n > 1 ? error_named(err, EINVAL, "InvalidArgument",
				   "one descriptor is wanted, not %u", n)
		     : 0;
}

static int method_scan(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	cleanup_fd int fd = -1;
	int r = take_fd(c, &fd, err);
	bool sbom;

	if (r == 0 && !ref)
		r = error_named(err, EINVAL, "InvalidArgument", "a ref is needed");
	if (r == 0)
		r = access_image(c, ref, err);
	if (r < 0)
		return r;
	sbom = fd >= 0;
	return start(c, "scan", ref, sbom, TAKE_FD(fd), err);
}

static int method_trust(struct client *c, struct json_object *params, struct error *err)
{
	const char *ref = json_get_str(params, "ref");
	cleanup_fd int fd = -1;
	int r = take_fd(c, &fd, err);

	if (r == 0 && (!ref || fd < 0))
		r = error_named(err, EINVAL, "InvalidArgument",
				"a ref is needed, and one descriptor, of the signature");
	if (r == 0)
		r = access_image(c, ref, err);
	return r < 0 ? r : start(c, "trust", ref, false, TAKE_FD(fd), err);
}

const struct method methods_scan[] = {
	{"io.recap.ScanImage", "image.scan", true, true, method_scan, {{"ref", json_type_string}}},
	{"io.recap.TrustImage",
	 "image.trust",
	 true,
	 true,
	 method_trust,
	 {{"ref", json_type_string}}},
	{NULL},
};
