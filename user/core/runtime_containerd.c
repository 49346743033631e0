// SPDX-License-Identifier: MIT
/*
 * containerd: a "task" folder in its run directory for each container that runs, by namespace;
 * images and labels in its metadata database. Docker is its client, in the namespace "moby", and so
 * is its own CRI service for Kubernetes, in "k8s.io".
 */
#include "core/runtime_internal.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/boltdb.h"

#define NAMESPACES_MAX 64
#define SCAN_MAX       4096
#define TASKS	       "io.containerd.runtime.v2.task"
#define METADATA       "io.containerd.metadata.v1.bolt/meta.db"
#define RUNC_ROOT      "/run/containerd/runc" /* of its shims, wherever its state is */
#define CRI_ANNOTATION "io.kubernetes.cri."
#define KUBE_LABEL     "io.kubernetes."

/* One containerd: the node's, or that which dockerd runs when the node has none. */
struct instance {
	char run[PATH_MAX], root[PATH_MAX];
};

static int instances_fill(const struct runtime_paths *p, struct instance in[2])
{
	const char *const run[] = {p->containerd_run, p->docker_run};
	const char *const root[] = {p->containerd, p->docker};
	static const char *const below[] = {"", "/containerd/daemon"};

	for (size_t i = 0; i < 2; i++) {
		if (snprintf(in[i].run, PATH_MAX, "%s%s", run[i], below[i]) >= PATH_MAX ||
		    snprintf(in[i].root, PATH_MAX, "%s%s", root[i], below[i]) >= PATH_MAX)
			return -ENAMETOOLONG;
	}
	return 0;
}

/* ---- proof ----------------------------------------------------------------------------------- */

/* The state of the OCI runtime below: `root`/NAMESPACE/ID. */
static enum proof root_proof(const struct lookup *l, const char *root, const char *ns,
			     const char *id)
{
	char base[PATH_MAX];
	cleanup_fd int dirfd = path_join(base, root, ns) ? record_dir(base, id) : -1;

	return oci_proof(l, dirfd);
}

/* The folder of the OCI runtime's state, as the shim was told (Docker has its own). */
static struct json_object *options_read(int dirfd)
{
	cleanup_free char *text = NULL;
	struct json_object *options = NULL;
	size_t len;

	if (fd_read_file(dirfd, "options.json", RECORD_MAX, &text, &len) < 0 ||
	    json_parse(text, len, "options.json", &options, NULL) < 0)
		return NULL;
	return options;
}

/*
 * init.pid tells the process, and the OCI runtime's state its start time as well. That state is
 * elsewhere with other runtimes than runc and crun: then the PID in containerd's own record is all
 * the proof there is.
 */
static enum proof task_proof(const struct lookup *l, const struct instance *in, const char *ns,
			     const char *id, int dirfd)
{
	cleanup_json struct json_object *options = NULL;
	const char *root;
	char own[PATH_MAX];
	enum proof proof = PROOF_NONE;

	if (record_pid(dirfd, "init.pid") != l->pid)
		return PROOF_OTHER;
	options = options_read(dirfd);
	root = json_get_str(options, "root");
	if (root)
		proof = root_proof(l, root, ns, id);
	if (proof == PROOF_NONE && path_join(own, in->run, "runc"))
		proof = root_proof(l, own, ns, id);
	if (proof == PROOF_NONE)
		proof = root_proof(l, RUNC_ROOT, ns, id);
	return proof == PROOF_NONE ? PROOF_MATCH : proof;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static int labels_from_db(struct boltdb *db, const char *ns, const char *id,
			  struct container_meta *meta)
{
	const char *const path[] = {"v1", ns, "containers", id, "labels", NULL};
	cleanup_boltdb_items struct boltdb_items *items = NULL;
	struct labels labels = {.meta = meta};
	int r = boltdb_list(db, path, LABELS_MAX, LABEL_BYTES, &items);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; r == 0 && i < items->n; i++)
		r = labels_add(&labels, items->item[i].key, items->item[i].key_len,
			       items->item[i].value, items->item[i].value_len);
	labels.left_out += items->more;
	labels_done(&labels);
	return r;
}

static int image_from_db(struct boltdb *db, const char *ns, const char *id,
			 struct container_meta *meta)
{
	const char *const path[] = {"v1", ns, "containers", id, "image", NULL};
	cleanup_free char *image = NULL;
	size_t len;
	int r = boltdb_get(db, path, PATH_MAX, &image, &len);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return meta_set_len(&meta->image, image, len);
}

/* A database that cannot be read costs the image and the labels, not the container. */
static int db_describe(const struct instance *in, const char *ns, const char *id,
		       struct container_meta *meta)
{
	cleanup_boltdb struct boltdb *db = NULL;
	char path[PATH_MAX];
	int r = path_join(path, in->root, METADATA) ? boltdb_open(path, &db) : -ENAMETOOLONG;

	if (r == 0)
		r = image_from_db(db, ns, id, meta);
	if (r == 0)
		r = labels_from_db(db, ns, id, meta);
	if (r < 0 && r != -ENOMEM) {
		log_warn("ignoring image and labels of container %s: containerd's database %s: %s",
			 id, path, strerror(-r));
		r = 0;
	}
	return r;
}

/*
 * What the CRI service noted of a container, by its annotation, or else (before containerd 1.5) by
 * the label that Kubernetes gives it. The annotation goes first: an image can bring labels, but no
 * annotations.
 */
static const char *cri_value(struct json_object *annotations, const char *annotation,
			     struct json_object *labels, const char *label)
{
	const char *value = json_get_str(annotations, annotation);

	return value ? value : json_get_str(labels, label);
}

static int cri_describe(int dirfd, struct container_meta *meta)
{
	cleanup_json struct json_object *config =
		record_json(dirfd, "config.json", "containerd's config.json");
	struct json_object *a = json_get(config, "annotations", json_type_object);
	const char *kind = cri_value(a, CRI_ANNOTATION "container-type", meta->labels,
				     "io.cri-containerd.kind");
	const char *pod =
		cri_value(a, CRI_ANNOTATION "sandbox-name", meta->labels, KUBE_LABEL "pod.name");
	const char *container = cri_value(a, CRI_ANNOTATION "container-name", meta->labels,
					  KUBE_LABEL "container.name");
	int r;

	if (!kind) /* somebody's `ctr -n k8s.io run` */
		return 0;
	meta->helper = !strcmp(kind, "sandbox");
	if (meta->helper)
		container = NULL;
	r = meta_set(&meta->pod_name, pod);
	if (r == 0)
		r = meta_set(&meta->pod_namespace,
			     cri_value(a, CRI_ANNOTATION "sandbox-namespace", meta->labels,
				       KUBE_LABEL "pod.namespace"));
	if (r == 0)
		r = meta_set(&meta->pod_container, container);
	if (r == 0)
		r = meta_set(&meta->name, meta->helper ? pod : container);
	if (r == 0)
		r = meta_set(&meta->image, json_get_str(a, CRI_ANNOTATION "image-name"));
	return r;
}

static int task_describe(const struct lookup *l, const struct instance *in, const char *ns,
			 const char *id, int dirfd, struct container_meta *meta)
{
	int r = meta_set(&meta->id, id);

	if (r == 0)
		r = meta_set(&meta->name, id);
	if (r < 0)
		return r;
	if (!strcmp(ns, "moby"))
		return docker_describe(l->paths.docker, id, meta);
	r = meta_set(&meta->runtime, "containerd");
	if (r == 0)
		r = db_describe(in, ns, id, meta);
	if (r == 0 && !strcmp(ns, "k8s.io"))
		r = cri_describe(dirfd, meta);
	return r;
}

/* ---- every namespace of every instance ------------------------------------------------------- */

/*
 * Visit the namespaces' task folders. `fn` returns 0 to go on; anything else ends the visit and is
 * returned.
 */
typedef int (*namespace_fn)(const struct lookup *l, const struct instance *in, const char *ns,
			    const char *folder, void *arg);

static int instance_visit(const struct lookup *l, const struct instance *in, namespace_fn fn,
			  void *arg)
{
	char tasks[PATH_MAX], folder[PATH_MAX];
	cleanup_dir DIR *d = path_join(tasks, in->run, TASKS) ? opendir(tasks) : NULL;
	struct dirent *e;
	int r = 0;

	for (int i = 0; d && r == 0 && i < NAMESPACES_MAX && (e = readdir(d)); i++) {
		if (runtime_id_valid(e->d_name, strlen(e->d_name)) &&
		    path_join(folder, tasks, e->d_name))
			r = fn(l, in, e->d_name, folder, arg);
	}
	return r;
}

static int namespaces_visit(const struct lookup *l, namespace_fn fn, void *arg)
{
	struct instance in[2];
	int r = instances_fill(&l->paths, in);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(in); i++)
		r = instance_visit(l, &in[i], fn, arg);
	return r;
}

struct identify {
	const char *id;
	struct container_meta *meta;
	bool known;
};

static int namespace_identify(const struct lookup *l, const struct instance *in, const char *ns,
			      const char *folder, void *arg)
{
	struct identify *q = arg;
	cleanup_fd int dirfd = record_dir(folder, q->id);
	int r;

	if (dirfd < 0)
		return 0;
	if (task_proof(l, in, ns, q->id, dirfd) != PROOF_MATCH) {
		q->known = true;
		return 0;
	}
	r = task_describe(l, in, ns, q->id, dirfd, q->meta);
	return r < 0 ? r : 1;
}

int containerd_identify(const struct lookup *l, const char *id, struct container_meta *meta)
{
	struct identify q = {.id = id, .meta = meta};
	int r = namespaces_visit(l, namespace_identify, &q);

	return r == 0 && q.known ? -EEXIST : r;
}

static int namespace_scan(const struct lookup *l, const struct instance *in, const char *ns,
			  const char *folder, void *arg)
{
	cleanup_dir DIR *d = opendir(folder);
	struct dirent *e;

	for (int i = 0; d && i < SCAN_MAX && (e = readdir(d)); i++) {
		cleanup_fd int dirfd = record_dir(folder, e->d_name);

		if (dirfd < 0 || task_proof(l, in, ns, e->d_name, dirfd) != PROOF_MATCH)
			continue;
		strcpy(arg, e->d_name); /* record_dir() checked it */
		return 1;
	}
	return 0;
}

int containerd_scan(const struct lookup *l, char ret[RUNTIME_ID_MAX + 1])
{
	return namespaces_visit(l, namespace_scan, ret);
}
