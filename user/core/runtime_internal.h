/* SPDX-License-Identifier: MIT */
/*
 * What the readers of the single runtimes share. A reader is asked whether an ID is the container
 * of a process; it believes the runtime's own record of the init process and nothing that the
 * process chose.
 *
 * When these records are written, against the exec of the entrypoint (seen with strace):
 *   runc state.json       before, also in `runc run`
 *   containerd init.pid   before (it is runc create's --pid-file)
 *   podman pidfile        before (likewise)
 *   docker config.v2.json before, but for .State.Pid
 *   crun status           before in `crun create`, 1 ms after in `crun run`: see crun_pending()
 */
#ifndef RECAP_RUNTIME_INTERNAL_H
#define RECAP_RUNTIME_INTERNAL_H

#include <limits.h>

#include "core/runtime.h"

#define RECORD_MAX     (4 << 20) /* bytes of one JSON file of a runtime */
#define LABELS_MAX     256	 /* of one container */
#define LABEL_BYTES    (32 << 10)
#define RUNTIME_ID_MAX 255 /* NAME_MAX: every runtime makes a folder of it */

/* Whom we ask about. */
struct lookup {
	struct runtime_paths paths; /* no NULLs */
	int procfd;
	pid_t pid, ppid;
	uint64_t start_ticks; /* as field 22 of /proc/PID/stat, which is what runtimes record */
};

enum proof {
	PROOF_NONE,  /* there is no record */
	PROOF_OTHER, /* the record names another process */
	PROOF_MATCH,
};

/*
 * The readers. 1: `id` is the process' container, and `meta` has what the runtime says; 0: the
 * runtime does not know `id`; -EEXIST: it does, but as another process; -ENOMEM.
 */
int containerd_identify(const struct lookup *l, const char *id,
			struct container_meta *meta) must_check;
int podman_identify(const struct lookup *l, const char *id, struct container_meta *meta) must_check;
int runc_identify(const struct lookup *l, const char *id, struct container_meta *meta) must_check;
int crun_identify(const struct lookup *l, const char *id, struct container_meta *meta) must_check;

/*
 * For containerd_identify(), of what containerd runs in Docker's name: `root` is Docker's data
 * folder.
 */
int docker_describe(const char *root, const char *id, struct container_meta *meta) must_check;

/*
 * Look through all records for the process. 1: its ID is in `ret`; 0: there is none. Bounded, and
 * only done when no candidate was confirmed.
 */
int containerd_scan(const struct lookup *l, char ret[RUNTIME_ID_MAX + 1]) must_check;
int oci_scan(const struct lookup *l, char ret[RUNTIME_ID_MAX + 1]) must_check;

/* What the state folder of an OCI runtime (runc or crun; an O_PATH descriptor or -1) says. */
enum proof oci_proof(const struct lookup *l, int dirfd);

/*
 * A container that `crun run` is just starting has no status yet, and gets it from its parent,
 * which is that crun. 1: it is one, and `meta` is filled.
 */
int crun_pending(const struct lookup *l, struct container_meta *meta) must_check;

/* A folder's descriptor (O_PATH) or -1. `id` may come from anywhere. */
int record_dir(const char *base, const char *id);
bool runtime_id_valid(const char *id, size_t len);

/* The parent, and the command when `comm` is given, out of a /proc/PID folder's stat. */
int process_stat(int procfd, pid_t *ret_ppid, char *comm, size_t size) must_check;

/* The number in a file such as init.pid: 0 when there is none. */
pid_t record_pid(int dirfd, const char *name);

/* Parse a JSON file of at most RECORD_MAX bytes. NULL, and a line in the log, when that fails. */
struct json_object *record_json(int dirfd, const char *name, const char *what);

/* `base`/`sub` in a buffer of PATH_MAX; NULL when it does not fit. */
const char *path_join(char buf[PATH_MAX], const char *base, const char *sub);

/*
 * Set *dst to a copy of `len` bytes fit to be shown: valid UTF-8, no control characters. A NULL or
 * empty text leaves it alone.
 */
int meta_set(char **dst, const char *text) must_check;
int meta_set_len(char **dst, const char *text, size_t len) must_check;

/*
 * Labels on their way into `meta`, up to LABELS_MAX and LABEL_BYTES. One that does not fit is left
 * out whole, since half a value would match the wrong selector; labels_done() logs how many were.
 */
struct labels {
	struct container_meta *meta;
	size_t n, bytes, left_out;
};
int labels_add(struct labels *s, const char *key, size_t key_len, const char *value,
	       size_t value_len) must_check;
/* All string members of `obj`, which may be NULL. */
int labels_add_all(struct labels *s, struct json_object *obj) must_check;
/* An OCI label "key=value". */
int labels_add_pair(struct labels *s, const char *pair) must_check;
void labels_done(const struct labels *s);

#endif
