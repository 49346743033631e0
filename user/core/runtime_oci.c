// SPDX-License-Identifier: MIT
/* runc and crun: a folder for each container with the state of its init process. */
#include "core/runtime_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"

#define HEAD_MAX    4096
#define SCAN_MAX    4096 /* containers looked at */
#define CMDLINE_MAX (64 << 10)

/* The number behind `key`, which comes with its quotes and colon. */
static bool head_number(const char *head, const char *key, uint64_t *ret)
{
	const char *at = strstr(head, key);
	char *end;

	if (!at)
		return false;
	at += strlen(key);
	errno = 0;
	*ret = strtoull(at, &end, 10);
	return !errno && end != at && *at != '-';
}

/*
 * runc's state.json has 10 to 60 KB and starts with "id", "init_process_pid", "init_process_start"
 * and "created" in every release since 1.0: its first page is enough to check a container, which
 * matters when 1,000 are looked through. Inside a JSON string the quotes of a key would be escaped.
 */
static enum proof runc_proof(const struct lookup *l, int dirfd)
{
	char head[HEAD_MAX + 1];
	uint64_t pid, start;
	cleanup_fd int fd =
		openat(dirfd, "state.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return PROOF_NONE;
	n = read(fd, head, HEAD_MAX);
	if (n <= 0)
		return PROOF_NONE;
	head[n] = '\0';
	if (!head_number(head, "\"init_process_pid\":", &pid) ||
	    !head_number(head, "\"init_process_start\":", &start))
		return PROOF_NONE;
	return pid == (uint64_t)l->pid && start == l->start_ticks ? PROOF_MATCH : PROOF_OTHER;
}

static enum proof crun_proof(const struct lookup *l, int dirfd)
{
	cleanup_free char *text = NULL;
	cleanup_json struct json_object *status = NULL;
	size_t len;

	if (fd_read_file(dirfd, "status", RECORD_MAX, &text, &len) < 0 ||
	    json_parse(text, len, "status", &status, NULL) < 0)
		return PROOF_NONE;
	return json_get_int(status, "pid", 0) == l->pid &&
			       json_get_int(status, "process-start-time", -1) ==
				       (int64_t)l->start_ticks
		       ? PROOF_MATCH
		       : PROOF_OTHER;
}

enum proof oci_proof(const struct lookup *l, int dirfd)
{
	enum proof proof;

	if (dirfd < 0)
		return PROOF_NONE;
	proof = runc_proof(l, dirfd);
	return proof == PROOF_NONE ? crun_proof(l, dirfd) : proof;
}

static int oci_describe(const char *runtime, const char *id, struct container_meta *meta)
{
	int r = meta_set(&meta->id, id);

	if (r == 0)
		r = meta_set(&meta->name, id);
	if (r == 0)
		r = meta_set(&meta->runtime, runtime);
	return r;
}

/* runc keeps the OCI annotations as "key=value", and the bundle's path among them. */
static int runc_labels(int dirfd, struct container_meta *meta)
{
	cleanup_json struct json_object *state =
		record_json(dirfd, "state.json", "runc's state.json");
	struct json_object *list =
		json_get(json_get(state, "config", json_type_object), "labels", json_type_array);
	struct labels labels = {.meta = meta};

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *pair = json_object_array_get_idx(list, i);
		int r;

		if (!json_object_is_type(pair, json_type_string) ||
		    !strncmp(json_object_get_string(pair), "bundle=", 7))
			continue;
		r = labels_add_pair(&labels, json_object_get_string(pair));
		if (r < 0)
			return r;
	}
	labels_done(&labels);
	return 0;
}

/* crun keeps a copy of the bundle's config.json, made before it starts anything. */
static int crun_labels(int dirfd, struct container_meta *meta)
{
	cleanup_json struct json_object *config =
		record_json(dirfd, "config.json", "crun's config.json");
	struct labels labels = {.meta = meta};
	int r = labels_add_all(&labels, json_get(config, "annotations", json_type_object));

	labels_done(&labels);
	return r;
}

int runc_identify(const struct lookup *l, const char *id, struct container_meta *meta)
{
	cleanup_fd int dirfd = record_dir(l->paths.runc, id);
	enum proof proof = dirfd < 0 ? PROOF_NONE : runc_proof(l, dirfd);
	int r;

	if (proof != PROOF_MATCH)
		return proof == PROOF_OTHER ? -EEXIST : 0;
	r = oci_describe("runc", id, meta);
	if (r == 0)
		r = runc_labels(dirfd, meta);
	return r < 0 ? r : 1;
}

static int crun_describe(int dirfd, const char *id, struct container_meta *meta)
{
	int r = oci_describe("crun", id, meta);

	if (r == 0)
		r = crun_labels(dirfd, meta);
	return r < 0 ? r : 1;
}

int crun_identify(const struct lookup *l, const char *id, struct container_meta *meta)
{
	cleanup_fd int dirfd = record_dir(l->paths.crun, id);
	enum proof proof = dirfd < 0 ? PROOF_NONE : crun_proof(l, dirfd);

	if (proof != PROOF_MATCH)
		return proof == PROOF_OTHER ? -EEXIST : 0;
	return crun_describe(dirfd, id, meta);
}

/* ---- `crun run` before its status ------------------------------------------------------------ */

/* Root of our own PID namespace, that is to say of the node: not a process of any container. */
static bool is_host_root(int procfd)
{
	char text[4096];
	struct stat theirs, ours;
	unsigned int uid, euid;
	const char *line;

	if (fstatat(procfd, "ns/pid", &theirs, 0) < 0 || stat("/proc/self/ns/pid", &ours) < 0 ||
	    theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev)
		return false;
	if (fd_read_small(procfd, "status", text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "\nUid:\t"); /* a newline in a command is escaped there (proc(5)) */
	return line && sscanf(line, "\nUid: %u %u", &uid, &euid) == 2 && !uid && !euid;
}

/* The parent as /proc/PID folder: only if it still is the parent once that is open. */
static int parent_open(const struct lookup *l)
{
	char path[32];
	cleanup_fd int fd = -1;
	pid_t ppid;

	snprintf(path, sizeof(path), "/proc/%d", l->ppid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || process_stat(l->procfd, &ppid, NULL, 0) < 0 || ppid != l->ppid)
		return -1;
	return TAKE_FD(fd);
}

/* "crun [OPTION...] run [OPTION...] ID": the last argument. */
static bool crun_argument(int procfd, char ret[RUNTIME_ID_MAX + 1])
{
	cleanup_free char *text = NULL;
	const char *name, *last;
	size_t len;

	if (fd_read_file(procfd, "cmdline", CMDLINE_MAX, &text, &len) < 0 || !len || text[len - 1])
		return false;
	name = strrchr(text, '/') ? strrchr(text, '/') + 1 : text;
	last = memrchr(text, '\0', len - 1);
	if (strcmp(name, "crun") || !last || !runtime_id_valid(last + 1, strlen(last + 1)))
		return false;
	strcpy(ret, last + 1);
	return true;
}

/*
 * `crun run` lets its child exec about a millisecond before it writes the status. Until then the
 * proof is that the parent is a crun of the node's root which names the ID, and that the ID has a
 * folder, but no status yet: nobody can claim the ID of a container that runs.
 */
int crun_pending(const struct lookup *l, struct container_meta *meta)
{
	char id[RUNTIME_ID_MAX + 1];
	cleanup_fd int dirfd = -1, parent = parent_open(l);

	if (parent < 0 || !crun_argument(parent, id) || !is_host_root(parent))
		return 0;
	dirfd = record_dir(l->paths.crun, id);
	if (dirfd < 0 || faccessat(dirfd, "status", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return crun_describe(dirfd, id, meta);
}

/* ---- scan ------------------------------------------------------------------------------------ */

static int scan_folder(const struct lookup *l, const char *base, char ret[RUNTIME_ID_MAX + 1])
{
	cleanup_dir DIR *d = opendir(base);
	struct dirent *e;

	for (int i = 0; d && i < SCAN_MAX && (e = readdir(d)); i++) {
		cleanup_fd int dirfd = record_dir(base, e->d_name);

		if (oci_proof(l, dirfd) != PROOF_MATCH)
			continue;
		strcpy(ret, e->d_name); /* record_dir() checked it */
		return 1;
	}
	return 0;
}

int oci_scan(const struct lookup *l, char ret[RUNTIME_ID_MAX + 1])
{
	return scan_folder(l, l->paths.runc, ret) || scan_folder(l, l->paths.crun, ret);
}
