// SPDX-License-Identifier: MIT
#include "core/runtime_internal.h"

#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/utf8.h"

#define CGROUP_FILE_MAX (256 << 10) /* a line each for some 15 hierarchies, of at most PATH_MAX */
#define CMDLINE_MAX	(64 << 10)
#define CANDIDATES_MAX	24
#define DASHES_MAX	8

struct candidates {
	size_t n;
	char id[CANDIDATES_MAX][RUNTIME_ID_MAX + 1];
};

/* What the process itself shows. */
struct process {
	char comm[32];
	char *cgroups;	       /* /proc/PID/cgroup, its lines cut into strings; owned */
	const char *paths[32]; /* into `cgroups`: one for each hierarchy where it is not the root */
	size_t n_paths;
	bool has_v2; /* paths[0] is that of the unified hierarchy */
};

static void process_close(struct process *p)
{
	free(p->cgroups);
}
#define cleanup_process cleanup(process_close)

void container_meta_free(struct container_meta *meta)
{
	if (!meta)
		return;
	free(meta->id);
	free(meta->name);
	free(meta->runtime);
	free(meta->image);
	json_object_put(meta->labels);
	free(meta->pod_namespace);
	free(meta->pod_name);
	free(meta->pod_container);
	free(meta->cgroup);
	free(meta);
}

/* ---- text ------------------------------------------------------------------------------------ */

/*
 * A copy in which whatever is not UTF-8 or is a control character (but those in `keep`) has become
 * '?'.
 */
static char *text_clean(const char *text, size_t len, const char *keep)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = utf8_decode(text + i, len - i, &c);

		if (n == 1 && (c < 0x20 || c == 0x7f) && (!c || !strchr(keep, (int)c)))
			n = 0;
		memcpy(copy + i, n ? text + i : "?", n ? n : 1);
		i += n ? n : 1;
	}
	copy[len] = '\0';
	return copy;
}

int meta_set_len(char **dst, const char *text, size_t len)
{
	char *copy;

	if (!text || !len)
		return 0;
	copy = text_clean(text, len, "");
	if (!copy)
		return -ENOMEM;
	free(*dst);
	*dst = copy;
	return 0;
}

int meta_set(char **dst, const char *text)
{
	return meta_set_len(dst, text, text ? strlen(text) : 0);
}

/* ---- labels ---------------------------------------------------------------------------------- */

int labels_add(struct labels *s, const char *key, size_t key_len, const char *value,
	       size_t value_len)
{
	cleanup_free char *k = NULL, *v = NULL;

	if (!key_len)
		return 0;
	if (s->n == LABELS_MAX || key_len > LABEL_BYTES || value_len > LABEL_BYTES ||
	    key_len + value_len > LABEL_BYTES - s->bytes) {
		s->left_out++;
		return 0;
	}
	k = text_clean(key, key_len, "");
	v = text_clean(value, value_len, "\t\n\r");
	if (!k || !v)
		return -ENOMEM;
	if (!s->meta->labels)
		s->meta->labels = json_object_new_object();
	json_put_str(s->meta->labels, k, v);
	s->n++;
	s->bytes += key_len + value_len;
	return 0;
}

int labels_add_all(struct labels *s, struct json_object *obj)
{
	if (!json_object_is_type(obj, json_type_object))
		return 0;
	json_object_object_foreach (obj, key, value) {
		int r;

		if (!json_object_is_type(value, json_type_string))
			continue;
		r = labels_add(s, key, strlen(key), json_object_get_string(value),
			       json_object_get_string_len(value));
		if (r < 0)
			return r;
	}
	return 0;
}

int labels_add_pair(struct labels *s, const char *pair)
{
	const char *value = strchrnul(pair, '=');

	return labels_add(s, pair, value - pair, *value ? value + 1 : "",
			  *value ? strlen(value + 1) : 0);
}

void labels_done(const struct labels *s)
{
	if (s->left_out)
		log_warn("ignoring %zu labels of container %s: more than %d labels or %d bytes",
			 s->left_out, s->meta->id, LABELS_MAX, LABEL_BYTES);
}

/* ---- records --------------------------------------------------------------------------------- */

bool runtime_id_valid(const char *id, size_t len)
{
	if (!len || len > RUNTIME_ID_MAX || id[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (id[i] <= ' ' || id[i] > '~' || id[i] == '/')
			return false;
	return true;
}

const char *path_join(char buf[PATH_MAX], const char *base, const char *sub)
{
	return snprintf(buf, PATH_MAX, "%s/%s", base, sub) < PATH_MAX ? buf : NULL;
}

int record_dir(const char *base, const char *id)
{
	char path[PATH_MAX];

	if (!runtime_id_valid(id, strlen(id)) || !path_join(path, base, id))
		return -1;
	return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

pid_t record_pid(int dirfd, const char *name)
{
	char text[32], *end;
	long pid;

	if (fd_read_small(dirfd, name, text, sizeof(text)) < 0)
		return 0;
	errno = 0;
	pid = strtol(text, &end, 10);
	return errno || end == text || (*end && *end != '\n') || pid <= 0 || pid > INT_MAX ? 0
											   : pid;
}

struct json_object *record_json(int dirfd, const char *name, const char *what)
{
	cleanup_free char *text = NULL;
	struct json_object *obj = NULL;
	struct error err = {0};
	size_t len;
	int r = fd_read_file(dirfd, name, RECORD_MAX, &text, &len);

	if (r < 0)
		log_warn("ignoring %s: %s: %s", what, name, strerror(-r));
	else if (json_parse(text, len, what, &obj, &err) < 0)
		log_warn("ignoring %s: %s", name, err.msg);
	return obj;
}

/* ---- the process ----------------------------------------------------------------------------- */

/*
 * A folder of a process that has gone finds nothing (ENOENT); a file of it that is open reads
 * ESRCH.
 */
static int gone(int r, pid_t pid, struct error *err)
{
	if (r == -ENOENT || r == -ESRCH)
		return error_set(err, ESRCH, "process %d has gone", pid);
	return error_sys(err, -r, "cannot read /proc/%d", pid);
}

int process_stat(int procfd, pid_t *ret_ppid, char *comm, size_t size)
{
	char text[4096], *open_at, *close_at;
	int r = fd_read_small(procfd, "stat", text, sizeof(text)), ppid;

	if (r < 0)
		return r;
	open_at = strchr(text, '(');
	close_at = strrchr(text, ')'); /* the command may hold any (proc(5)) */
	if (!open_at || !close_at || sscanf(close_at, ") %*c %d", &ppid) != 1)
		return -EIO;
	*ret_ppid = ppid;
	if (comm)
		snprintf(comm, size, "%.*s", (int)(close_at - open_at - 1), open_at + 1);
	return 0;
}

/* Cut "ID:CONTROLLERS:PATH" lines apart (cgroups(7)). */
static void cgroups_cut(struct process *p)
{
	char *save = NULL;

	for (char *line = strtok_r(p->cgroups, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *path = strchr(line, ':');

		path = path ? strchr(path + 1, ':') : NULL;
		if (!path || path[1] != '/' || !path[2] || p->n_paths == ARRAY_SIZE(p->paths))
			continue;
		p->paths[p->n_paths++] = path + 1;
		if (!strncmp(line, "0::", 3)) {
			p->paths[p->n_paths - 1] = p->paths[0];
			p->paths[0] = path + 1;
			p->has_v2 = true;
		}
	}
}

/*
 * The process' place: v2's when it has one. Else what most v1 hierarchies say: crun on v1 leaves v2
 * at the root, and runc nests v1's memory (only) below its caller.
 */
static const char *cgroup_main(const struct process *p)
{
	size_t best = 0, best_votes = 0;

	if (p->has_v2)
		return p->paths[0];
	for (size_t i = 0; i < p->n_paths; i++) {
		size_t votes = 0;

		for (size_t k = 0; k < p->n_paths; k++)
			votes += !strcmp(p->paths[i], p->paths[k]);
		if (votes > best_votes) {
			best_votes = votes;
			best = i;
		}
	}
	return p->n_paths ? p->paths[best] : "/";
}

static int process_read(struct lookup *l, struct process *p, struct error *err)
{
	int r = process_stat(l->procfd, &l->ppid, p->comm, sizeof(p->comm));

	if (r == 0)
		r = fd_read_file(l->procfd, "cgroup", CGROUP_FILE_MAX, &p->cgroups, NULL);
	if (r < 0)
		return gone(r, l->pid, err);
	cgroups_cut(p);
	return 0;
}

/* ---- candidates ------------------------------------------------------------------------------ */

static void candidate_add(struct candidates *c, const char *id, size_t len)
{
	if (c->n == CANDIDATES_MAX || !runtime_id_valid(id, len))
		return;
	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->id[i], id, len) && !c->id[i][len])
			return;
	memcpy(c->id[c->n], id, len);
	c->id[c->n++][len] = '\0';
}

/*
 * A component of a cgroup path: the ID itself, or "docker-ID.scope", "libpod-ID",
 * "cri-containerd-ID.scope", ... Both the prefix and the ID may hold dashes.
 */
static void candidates_of_component(struct candidates *c, const char *name, size_t len)
{
	const size_t suffix = strlen(".scope");
	bool scope = len > suffix && !memcmp(name + len - suffix, ".scope", suffix);
	const char *end, *dash = name;

	candidate_add(c, name, len);
	if (scope)
		len -= suffix;
	else if (len < 7 || memcmp(name, "libpod-", 7))
		return;
	end = name + len;
	candidate_add(c, name, len);
	for (int i = 0; i < DASHES_MAX && (dash = memchr(dash, '-', end - dash)); i++, dash++)
		candidate_add(c, dash + 1, end - dash - 1);
}

/*
 * From the last component on: who can make cgroups below a container's can only lengthen its path.
 */
static void candidates_of_path(struct candidates *c, const char *path)
{
	const char *end = path + strlen(path);

	while (end > path) {
		const char *slash = memrchr(path, '/', end - path);

		if (!slash)
			return;
		candidates_of_component(c, slash + 1, end - slash - 1);
		end = slash;
	}
}

/* "containerd-shim-runc-v2 -namespace NS -id ID ..." and "conmon ... -c ID ...". */
static void candidates_of_parent(struct candidates *c, pid_t ppid)
{
	char path[32];
	cleanup_free char *text = NULL;
	const char *name, *flag;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", ppid);
	if (ppid <= 0 || fd_read_file(AT_FDCWD, path, CMDLINE_MAX, &text, &len) < 0)
		return;
	name = strrchr(text, '/') ? strrchr(text, '/') + 1 : text;
	if (!strncmp(name, "containerd-shim", 15))
		flag = "-id";
	else if (!strcmp(name, "conmon"))
		flag = "-c";
	else
		return;
	for (char *arg = text; arg < text + len; arg += strlen(arg) + 1) {
		char *next = arg + strlen(arg) + 1;

		if (!strcmp(arg, flag) && next < text + len)
			candidate_add(c, next, strlen(next));
	}
}

static void candidates_collect(struct candidates *c, const struct process *p, pid_t ppid)
{
	candidates_of_parent(c, ppid);
	for (size_t i = 0; i < p->n_paths; i++)
		candidates_of_path(c, p->paths[i]);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/*
 * As the readers in runtime_internal.h. Podman first: its containers are in runc's or crun's
 * folder, too.
 */
static int identify(const struct lookup *l, const char *id, struct container_meta *meta)
{
	static int (*const readers[])(const struct lookup *, const char *,
				      struct container_meta *) = {
		containerd_identify,
		podman_identify,
		runc_identify,
		crun_identify,
	};
	int known = 0;

	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		int r = readers[i](l, id, meta);

		if (r == 1 || (r < 0 && r != -EEXIST))
			return r;
		if (r == -EEXIST)
			known = r;
	}
	return known;
}

/* *ret_taken: the process uses the ID of a container that it is not. */
static int identify_candidates(const struct lookup *l, const struct candidates *c,
			       struct container_meta *meta, bool *ret_taken)
{
	*ret_taken = false;
	for (size_t i = 0; i < c->n; i++) {
		int r = identify(l, c->id[i], meta);

		if (r == -EEXIST)
			*ret_taken = true;
		else if (r)
			return r;
	}
	return 0;
}

/* The process' cgroup does not name it: ask every record there is. */
static int identify_by_scan(const struct lookup *l, struct container_meta *meta)
{
	char id[RUNTIME_ID_MAX + 1];
	int r = containerd_scan(l, id);

	if (r == 0)
		r = oci_scan(l, id);
	if (r == 1)
		r = identify(l, id, meta);
	/* A record that changed between the two looks at it is that of a process which is going. */
	return r == -EEXIST ? 0 : r;
}

/*
 * The ID of an unknown process is made of its PID, and its name is never one of the IDs that a
 * runtime gave to another: what a process inside a container can make of its cgroup is not to be
 * taken for that container.
 */
static int unknown_describe(const struct lookup *l, const struct process *p, bool taken,
			    struct container_meta *meta)
{
	const char *last = strrchr(cgroup_main(p), '/') + 1;
	char text[64];
	int r;

	snprintf(text, sizeof(text), "pid-%d", l->pid);
	r = meta_set(&meta->id, text);
	snprintf(text, sizeof(text), "%s-%d", p->comm, l->pid);
	if (r == 0)
		r = meta_set(&meta->name, *last && !taken ? last : text);
	if (r == 0)
		r = meta_set(&meta->runtime, "unknown");
	return r;
}

static int describe(const struct lookup *l, const struct process *p, struct container_meta *meta)
{
	cleanup_free struct candidates *c = calloc(1, sizeof(*c));
	bool taken;
	int r;

	if (!c)
		return -ENOMEM;
	candidates_collect(c, p, l->ppid);
	r = identify_candidates(l, c, meta, &taken);
	if (r == 0)
		r = crun_pending(l, meta);
	if (r == 0)
		r = identify_by_scan(l, meta);
	if (r == 0)
		r = unknown_describe(l, p, taken, meta);
	if (r < 0)
		return r;
	return meta_set(&meta->cgroup, cgroup_main(p));
}

static const char *or_default(const char *path, const char *otherwise)
{
	return path ? path : otherwise;
}

static struct runtime_paths paths_fill(const struct runtime_paths *p)
{
	return (struct runtime_paths){
		.docker = or_default(p->docker, "/var/lib/docker"),
		.docker_run = or_default(p->docker_run, "/run/docker"),
		.containerd = or_default(p->containerd, "/var/lib/containerd"),
		.containerd_run = or_default(p->containerd_run, "/run/containerd"),
		.podman = or_default(p->podman, "/var/lib/containers/storage"),
		.podman_run = or_default(p->podman_run, "/run/containers/storage"),
		.runc = or_default(p->runc, "/run/runc"),
		.crun = or_default(p->crun, "/run/crun"),
	};
}

int container_meta_read(const struct runtime_paths *paths, int procfd, pid_t pid, uint64_t start_ns,
			struct container_meta **ret, struct error *err)
{
	cleanup_meta struct container_meta *meta = calloc(1, sizeof(*meta));
	cleanup_process struct process process = {0};
	struct lookup l = {
		.paths = paths_fill(paths),
		.procfd = procfd,
		.pid = pid,
		/* As the kernel's nsec_to_clock_t(). */
		.start_ticks = start_ns / (1000000000ull / sysconf(_SC_CLK_TCK)),
	};
	int r;

	if (!meta)
		return error_set(err, ENOMEM, "out of memory");
	r = process_read(&l, &process, err);
	if (r < 0)
		return r;
	r = describe(&l, &process, meta);
	if (r < 0)
		return error_sys(err, -r, "cannot describe process %d", pid);
	*ret = TAKE_PTR(meta);
	return 0;
}
