// SPDX-License-Identifier: MIT
/*
 * recap-scan: judges images for recapd, in a process and a program of its own, since what it reads is hostile, and libcrypto
 * and SQLite are not to be in the service.
 *
 *     recap-scan STATE-DIR REQUEST <FILE >RESULT
 *
 * REQUEST is a JSON object: {"op": "scan", "ref", "gate", "sbom"?}, where FILE takes the SBOM when `sbom` is true, or
 * {"op": "trust", "ref", "gate"}, where FILE is the signature. RESULT is one JSON object with a NUL byte behind it: what
 * scan/scan.h says, or {"code", "name", "message"}.
 */
#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "scan/scan.h"

static int serve(const char *state_dir, struct json_object *request, struct json_object **ret,
		 struct error *err)
{
	const char *op = json_get_str(request, "op"), *ref = json_get_str(request, "ref");
	struct image_store *store = NULL;
	struct gate_config gate = {};
	int r;

	if (!op || !ref)
		return error_set(err, EINVAL, "the request makes no sense");
	r = gate_config_parse(json_get(request, "gate", json_type_object), "gate", &gate, err);
	if (r == 0)
		r = image_store_open(state_dir, &store, err);
	if (r == 0)
		r = !strcmp(op, "trust")
			    ? scan_trust(store, ref, &gate, STDIN_FILENO, ret, err)
			    : scan_image(store, state_dir, ref, &gate,
					 json_get_bool(request, "sbom") ? STDIN_FILENO : -1, ret,
					 err);
	image_store_close(store);
	gate_config_release(&gate);
	return r;
}

int main(int argc, char **argv)
{
	cleanup_json struct json_object *request = NULL, *o = NULL;
	struct error err = {};
	const char *text;
	int r;

	if (argc != 3) {
		fputs("Usage: recap-scan STATE-DIR REQUEST <FILE >RESULT   (recapd starts it)\n",
		      stderr);
		return 2;
	}
	r = json_parse(argv[2], strlen(argv[2]), "the request", &request, &err);
	if (r == 0)
		r = serve(argv[1], request, &o, &err);
	if (r < 0) {
		o = json_object_new_object();
		json_put_int(o, "code", -r);
		json_put_str(o, "name", err.name);
		json_put_str(o, "message", err.msg);
	}
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	return fd_write_all(STDOUT_FILENO, text, strlen(text) + 1) < 0;
}
