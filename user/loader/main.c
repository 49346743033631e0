// SPDX-License-Identifier: MIT
/*
 * recap-load: loads images for recapd, in a process and a program of its own. Archives are large, slow and hostile; and
 * libarchive brings libraries (ICU, libxml2) that a service which forks on its fastest path should not have mapped.
 *
 *     recap-load STORE [REF] <LAYOUT >RESULT
 *     recap-load --pull SOURCE [--authfile FILE] [--no-tls-verify] STORE [REF] >RESULT
 *
 * LAYOUT is a folder, a regular file or a pipe. RESULT is JSON objects with a NUL byte behind each: {"progress": {"step", "done",
 * "total"?}} now and then, and last {"images": [...]}, or {"code", "name", "message"}. Ending it at any moment leaves the store
 * as it was (core/image.h).
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/fd.h"
#include "core/fetch.h"

static int say(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return text ? fd_write_all(STDOUT_FILENO, text, strlen(text) + 1) : -ENOMEM;
}

static void say_progress(void *arg, const char *step, uint64_t done, uint64_t total)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *progress = json_object_new_object();

	json_put_str(progress, "step", step);
	json_put_int(progress, "done", (int64_t)done);
	if (total)
		json_put_int(progress, "total", (int64_t)total);
	json_put_obj(o, "progress", progress);
	/* Should nobody listen, then nobody waits for the result either, and recapd ends this process. */
	if (say(o) < 0)
		exit(1);
}

static struct json_object *load(const char *path, const struct fetch_source *from)
{
	struct json_object *o = json_object_new_object(), *images = NULL;
	struct image_store *store = NULL;
	struct error err = {};
	int r = image_store_open(path, &store, &err);

	if (r == 0) {
		image_store_show_progress(store, say_progress, NULL);
		r = from->source ? fetch_image(store, from, &images, &err)
				 : image_load(store, STDIN_FILENO, from->ref, &images, &err);
	}
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

static int usage(void)
{
	fputs("Usage: recap-load STORE [REF] <LAYOUT >RESULT   (recapd starts it)\n"
	      "       recap-load --pull SOURCE [--authfile FILE] [--no-tls-verify] STORE [REF] "
	      ">RESULT\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"pull", required_argument, NULL, 'p'},
		{"authfile", required_argument, NULL, 'a'},
		{"no-tls-verify", no_argument, NULL, 'n'},
		{},
	};
	cleanup_json struct json_object *o = NULL;
	struct fetch_source from = {};
	int opt;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (opt == 'p')
			from.source = optarg;
		else if (opt == 'a')
			from.authfile = optarg;
		else if (opt == 'n')
			from.no_tls_verify = true;
		else
			return usage();
	}
	if (argc - optind < 1 || argc - optind > 2)
		return usage();
	from.ref = argv[optind + 1];
	o = load(argv[optind], &from);
	return say(o) < 0;
}
