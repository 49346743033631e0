// SPDX-License-Identifier: MIT
#include "scan/scan.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "common/fd.h"
#include "core/digest.h"
#include "core/store.h"

/* ---- what was dropped of the layers ------------------------------------------------------------ */

/* Whether a layer above has the path, or something in its way: then what this one declared cannot be seen. */
static bool is_covered(int layers, const struct image *image, size_t layer, const char *path)
{
	for (size_t i = 0; i < layer; i++) {
		char full[IMAGE_LAYER_NAME + 4096];
		cleanup_fd int fd = -1;

		snprintf(full, sizeof(full), "%s/%s", image->layers[i], path);
		fd = fd_open_beneath(layers, full, O_PATH | O_NOFOLLOW);
		if (fd >= 0 || fd == -ENOTDIR || fd == -ELOOP)
			return true;
	}
	return false;
}

static struct json_object *read_dropped(int layers, const char *layer)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *text = NULL;
	char name[IMAGE_LAYER_NAME + 5];
	size_t len;

	snprintf(name, sizeof(name), "%s.json", layer);
	if (fd_read_file(layers, name, STORE_LAYER_RECORD_MAX, &text, &len) < 0 ||
	    json_parse(text, len, name, &doc, NULL) < 0)
		return NULL;
	return json_object_get(json_get(doc, "dropped", json_type_object));
}

/* For check_record(), top-most first. */
static struct json_object *describe_layers(struct image_store *store, const struct image *image)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < image->n_layers; i++) {
		struct json_object *o = json_object_new_object();
		struct json_object *dropped = read_dropped(store->layers, image->layers[i]);
		struct json_object *list = json_get(dropped, "list", json_type_array);

		for (size_t j = 0; list && j < json_object_array_length(list); j++) {
			struct json_object *item = json_object_array_get_idx(list, j);
			const char *path = json_get_str(item, "path");

			if (path && is_covered(store->layers, image, i, path))
				json_put_bool(item, "covered", true);
		}
		json_put_str(o, "layer", image->layers[i]);
		if (dropped)
			json_put_obj(o, "dropped", dropped);
		json_object_array_add(all, o);
	}
	return all;
}

/* ---- the verdict ------------------------------------------------------------------------------- */

static void put_time(struct json_object *o, time_t now)
{
	char text[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_put_str(o, "scanned_at", text);
	json_put_int(o, "scanned_unix", now);
}

static struct json_object *make_verdict(const struct scan *s, time_t began,
					const struct error *failed)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "digest", s->digest);
	json_put_str(o, "ref", s->ref);
	put_time(o, began);
	json_put_str(o, "result", failed ? "failed" : "complete");
	if (failed)
		json_put_foreign(o, "error", failed->msg, sizeof(failed->msg));
	json_put_obj(o, "made_under", json_object_get(s->gate->made_under));
	json_put_obj(o, "scanners", json_object_get(s->scanners));
	json_put_int(o, "packages", s->packages);
	json_put_obj(o, "findings", json_object_get(s->findings.list));
	json_put_obj(o, "more", json_object_get(s->findings.more));
	return o;
}

int scan_publish(struct image_store *store, int folder, const char *digest, struct json_object *doc,
		 struct error *err)
{
	const char *text = json_object_to_json_string_ext(
		doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	cleanup_fd int lock = -1;
	char name[DIGEST_SIZE];
	int r = store_lock(store, true, &lock, err);

	if (r < 0)
		return r;
	if (!refs_has(&store->refs, digest))
		return error_named(err, ENOENT, "ImageNotFound",
				   "image %.19s was removed meanwhile", digest);
	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	r = text ? fd_replace_file(folder, name, text, strlen(text), 0600) : -ENOMEM;
	return r < 0 ? error_sys(err, -r, "cannot write about image %.19s to the state folder",
				 digest)
		     : 0;
}

static struct json_object *make_reply(const struct scan *s, struct json_object *verdict)
{
	struct json_object *o = json_object_new_object();
	char why[512] = "";
	enum gate_state state = gate_judge(s->gate, verdict, time(NULL), why);

	json_put_str(o, "ref", s->ref);
	json_put_str(o, "digest", s->digest);
	json_put_str(o, "state", gate_state_name(state));
	if (state != GATE_OK)
		json_put_str(o, "why", why);
	json_put_obj(o, "verdict", verdict);
	return o;
}

/* ---- layers that stay -------------------------------------------------------------------------- */

/*
 * When each layer was put into the store. An image that is removed while it is scanned looks ever cleaner, and it may be back
 * by the end.
 */
static int note_layers(struct image_store *store, const struct image *image, struct stat *ret)
{
	for (size_t i = 0; i < image->n_layers; i++) {
		char name[IMAGE_LAYER_NAME + 5];

		snprintf(name, sizeof(name), "%s.json", image->layers[i]);
		if (fstatat(store->layers, name, &ret[i], AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	return 0;
}

static bool are_same(const struct stat *a, const struct stat *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].st_ino != b[i].st_ino || a[i].st_ctim.tv_sec != b[i].st_ctim.tv_sec ||
		    a[i].st_ctim.tv_nsec != b[i].st_ctim.tv_nsec)
			return false;
	return true;
}

int64_t scan_seconds(const struct scan *s, int64_t wanted)
{
	uint64_t now = clock_boot_ns();
	int64_t left = now < s->deadline ? (int64_t)((s->deadline - now) / 1000000000) : 0;

	return wanted < left ? wanted : left;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static int look(struct scan *s, struct image_store *store, const struct image *image,
		struct error *err)
{
	struct json_object *scanners = json_get(s->gate->made_under, "scanners", json_type_array);
	cleanup_json struct json_object *layers = describe_layers(store, image);
	struct stat before[IMAGE_LAYERS_MAX], after[IMAGE_LAYERS_MAX];
	struct json_object *record;
	int r = image->n_layers > IMAGE_LAYERS_MAX ? -E2BIG : note_layers(store, image, before);

	if (r < 0)
		return error_sys(err, -r, "cannot look at the image's layers");
	r = store_record(store, image->digest, &record, err);

	if (r == 0)
		r = scan_mount(s, image, image_store_layers_fd(store), err);
	if (r == 0)
		r = scan_analyse(s, record, layers, err);
	for (size_t i = 0; r == 0 && scanners && i < json_object_array_length(scanners); i++)
		r = scan_run_scanner(s, json_object_array_get_idx(scanners, i), err);
	if (r == 0 &&
	    (note_layers(store, image, after) < 0 || !are_same(before, after, image->n_layers)))
		r = error_set(err, ESTALE, "the image was removed while it was scanned");
	return r;
}

static int put_sbom(const struct scan *s, int fd, struct error *err)
{
	const char *text = json_object_to_json_string_ext(
		s->sbom, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	int r = text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;

	return r < 0 ? error_sys(err, -r, "cannot write the SBOM") : 0;
}

int scan_image(struct image_store *store, const char *state_dir, const char *ref,
	       const struct gate_config *gate, int sbom_fd, struct json_object **ret,
	       struct error *err)
{
	cleanup_image struct image *image = NULL;
	struct scan s = {.gate = gate,
			 .state_dir = state_dir,
			 .deadline = clock_boot_ns() + SCAN_TOTAL_S * 1000000000ull};
	struct json_object *verdict;
	time_t began = time(NULL);
	struct error why = {};
	int r = image_find(store, ref, &image, err), failed;

	if (r < 0)
		return r;
	s.ref = image->ref;
	s.digest = image->digest;
	s.scanners = json_object_new_array();
	findings_init(&s.findings);
	failed = look(&s, store, image, &why);
	verdict = make_verdict(&s, began, failed < 0 ? &why : NULL);
	r = scan_publish(store, image_store_verdicts_fd(store), s.digest, verdict, err);
	if (r == 0 && sbom_fd >= 0 && s.sbom)
		r = put_sbom(&s, sbom_fd, err);
	if (r == 0)
		*ret = make_reply(&s, verdict);
	else
		json_object_put(verdict);
	json_object_put(s.scanners);
	json_object_put(s.sbom);
	findings_release(&s.findings);
	return r;
}
