// SPDX-License-Identifier: MIT
/*
 * Podman: the PID is in a file below its run folder, what it knows of a container is JSON inside
 * libpod/bolt_state.db. Podman 5 has SQLite instead; then name and image come from the storage
 * library's containers.json, and there are no labels.
 */
#include "core/runtime_internal.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/boltdb.h"

#define CONTAINERS_JSON_MAX (64 << 20)

/* The storage driver is part of the folder's name. */
static const char *const drivers[] = {"overlay", "vfs", "btrfs", "zfs"};

/* `base`/DRIVER-containers/ID/userdata, or -1. */
static int userdata_open(const char *base, const char *driver, const char *id)
{
	char path[PATH_MAX];

	if (!runtime_id_valid(id, strlen(id)) ||
	    snprintf(path, sizeof(path), "%s/%s-containers/%s/userdata", base, driver, id) >=
		    PATH_MAX)
		return -1;
	return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/*
 * The PID file has no start time, but the OCI runtime's state has: runc's or crun's, in its default
 * folder.
 */
static enum proof podman_proof(const struct lookup *l, const char *id, int dirfd)
{
	cleanup_fd int runc = -1, crun = -1;
	enum proof proof;

	if (record_pid(dirfd, "pidfile") != l->pid)
		return PROOF_OTHER;
	runc = record_dir(l->paths.runc, id);
	proof = oci_proof(l, runc);
	if (proof == PROOF_NONE) {
		crun = record_dir(l->paths.crun, id);
		proof = oci_proof(l, crun);
	}
	return proof == PROOF_NONE ? PROOF_MATCH : proof;
}

/* ---- libpod/bolt_state.db -------------------------------------------------------------------- */

/*
 * The "config" of a container ("ctr") or pod ("pod"). -ENOENT: there is none; others are logged and
 * ignored.
 */
static int db_config(struct boltdb *db, const char *kind, const char *id, struct json_object **ret)
{
	const char *const path[] = {kind, id, "config", NULL};
	cleanup_free char *text = NULL;
	struct error err;
	size_t len;
	int r = boltdb_get(db, path, RECORD_MAX, &text, &len);

	if (r == 0 && json_parse(text, len, "Podman's record", ret, &err) < 0)
		r = -EBADMSG;
	if (r < 0 && r != -ENOENT && r != -ENOMEM)
		log_warn("ignoring Podman's record of %s %s: %s", kind, id, strerror(-r));
	return r;
}

static int pod_describe(struct boltdb *db, const char *pod_id, struct container_meta *meta)
{
	cleanup_json struct json_object *pod = NULL;
	int r;

	if (!pod_id)
		return 0;
	r = db_config(db, "pod", pod_id, &pod);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = meta_set(&meta->pod_name, json_get_str(pod, "name"));
	if (r == 0 && meta->pod_name && !meta->helper)
		r = meta_set(&meta->pod_container, meta->name);
	return r;
}

static int config_describe(struct boltdb *db, struct json_object *config,
			   struct container_meta *meta)
{
	struct labels labels = {.meta = meta};
	int r = meta_set(&meta->name, json_get_str(config, "name"));

	meta->helper =
		json_get_bool(config, "pause"); /* libpod's name for "is an infra container" */
	if (r == 0)
		r = meta_set(&meta->image, json_get_str(config, "rootfsImageName"));
	if (r == 0)
		r = labels_add_all(&labels, json_get(config, "labels", json_type_object));
	labels_done(&labels);
	if (r == 0)
		r = pod_describe(db, json_get_str(config, "pod"), meta);
	return r;
}

/* -ENOENT: no such database, or no such container in it. */
static int db_describe(const struct lookup *l, const char *id, struct container_meta *meta)
{
	cleanup_boltdb struct boltdb *db = NULL;
	cleanup_json struct json_object *config = NULL;
	char path[PATH_MAX];
	int r = path_join(path, l->paths.podman, "libpod/bolt_state.db") ? boltdb_open(path, &db)
									 : -ENAMETOOLONG;

	if (r < 0 && r != -ENOENT && r != -ENOMEM)
		log_warn("ignoring Podman's database %s: %s", path, strerror(-r));
	if (r == 0)
		r = db_config(db, "ctr", id, &config);
	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	return config_describe(db, config, meta);
}

/* ---- without it: containers.json ------------------------------------------------------------- */

/*
 * The one object of the array that is asked for: parsing all of them for each of them would be
 * quadratic. Inside a string the quotes would be escaped, so the text found is the start of an
 * object.
 */
static struct json_object *entry_find(const char *text, size_t len, const char *id)
{
	char start[RUNTIME_ID_MAX + 16];
	struct json_object *entry = NULL;
	struct json_tokener *tok;
	const char *at;
	int n = snprintf(start, sizeof(start), "{\"id\":\"%s\"", id);

	at = memmem(text, len, start, n);
	tok = at ? json_tokener_new_ex(32) : NULL;
	if (!tok)
		return NULL;
	/* Not strict: that would refuse the rest of the array behind the object. */
	json_tokener_set_flags(tok, JSON_TOKENER_VALIDATE_UTF8);
	len -= at - text;
	entry = json_tokener_parse_ex(tok, at, len < RECORD_MAX ? (int)len : RECORD_MAX);
	json_tokener_free(tok);
	return entry;
}

static struct json_object *entry_read(const char *root, const char *driver, const char *id)
{
	char path[PATH_MAX];
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s-containers/containers.json", root, driver) >=
	    PATH_MAX)
		return NULL;
	r = fd_read_file(AT_FDCWD, path, CONTAINERS_JSON_MAX, &text, &len);
	if (r < 0) {
		log_warn("ignoring %s: %s", path, strerror(-r));
		return NULL;
	}
	return entry_find(text, len, id);
}

/* Podman calls a pod's infra container by the start of the pod's ID. */
static bool is_infra_name(const char *name)
{
	return strspn(name, "0123456789abcdef") == 12 && !strcmp(name + 12, "-infra");
}

static int storage_describe(const struct lookup *l, const char *driver, const char *id,
			    struct container_meta *meta)
{
	cleanup_json struct json_object *entry = entry_read(l->paths.podman, driver, id);
	cleanup_json struct json_object *metadata = NULL;
	struct json_object *names = json_get(entry, "names", json_type_array);
	struct json_object *name = names ? json_object_array_get_idx(names, 0) : NULL;
	const char *text = json_get_str(entry, "metadata");
	int r = 0;

	if (json_object_is_type(name, json_type_string))
		r = meta_set(&meta->name, json_object_get_string(name));
	meta->helper = meta->name && is_infra_name(meta->name);
	if (r == 0 && text &&
	    json_parse(text, strlen(text), "containers.json", &metadata, NULL) == 0)
		r = meta_set(&meta->image, json_get_str(metadata, "image-name"));
	return r;
}

/* CRI-O uses the same storage library and folders. */
static bool is_libpod(const struct lookup *l, const char *driver, const char *id)
{
	cleanup_fd int dirfd = userdata_open(l->paths.podman, driver, id);
	cleanup_json struct json_object *config =
		dirfd < 0 ? NULL : record_json(dirfd, "config.json", "Podman's config.json");
	const char *manager = json_get_str(json_get(config, "annotations", json_type_object),
					   "io.container.manager");

	return manager && !strcmp(manager, "libpod");
}

static int podman_describe(const struct lookup *l, const char *driver, const char *id,
			   struct container_meta *meta)
{
	int r = db_describe(l, id, meta);

	if (r == -ENOENT) {
		if (!is_libpod(l, driver, id))
			return 0;
		r = storage_describe(l, driver, id, meta);
	}
	if (r == 0)
		r = meta_set(&meta->id, id);
	if (r == 0 && !meta->name)
		r = meta_set(&meta->name, id);
	if (r == 0)
		r = meta_set(&meta->runtime, "podman");
	return r < 0 ? r : 1;
}

int podman_identify(const struct lookup *l, const char *id, struct container_meta *meta)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		cleanup_fd int dirfd = userdata_open(l->paths.podman_run, drivers[i], id);

		if (dirfd < 0)
			continue;
		if (podman_proof(l, id, dirfd) != PROOF_MATCH)
			return -EEXIST;
		return podman_describe(l, drivers[i], id, meta);
	}
	return 0;
}
