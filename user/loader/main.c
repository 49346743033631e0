// SPDX-License-Identifier: MIT
/*
 * recap-load: loads images for recapd, in a process and a program of its own. Archives are large, slow and hostile; and
 * libarchive brings libraries (ICU, libxml2) that a service which forks on its fastest path should not have mapped.
 *
 *     recap-load STORE [REF] <LAYOUT >RESULT
 *
 * LAYOUT is a folder or a regular file; RESULT one JSON object: {"images": [...]}, or {"code", "name", "message"}. Ending it at any
 * moment leaves the store as it was (core/image.h).
 */
#include <stdio.h>
#include <string.h>

#include "common/fd.h"
#include "core/image.h"

static struct json_object *load(const char *path, const char *ref)
{
	struct json_object *o = json_object_new_object(), *images = NULL;
	struct image_store *store = NULL;
	struct error err = {};
	int r = image_store_open(path, &store, &err);

	if (r == 0)
		r = image_load(store, STDIN_FILENO, ref, &images, &err);
	if (r == 0) {
		json_put_obj(o, "images", images);
	} else {
		json_put_int(o, "code", -r);
		json_put_str(o, "name", err.name);
		json_put_str(o, "message", err.msg);
	}
	image_store_close(store);
	return o;
}

int main(int argc, char **argv)
{
	cleanup_json struct json_object *o = NULL;
	const char *text;

	if (argc < 2 || argc > 3) {
		fputs("Usage: recap-load STORE [REF] <LAYOUT >RESULT   (recapd starts it)\n",
		      stderr);
		return 2;
	}
	o = load(argv[1], argv[2]);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	return fd_write_all(STDOUT_FILENO, text, strlen(text)) < 0;
}
