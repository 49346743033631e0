/* SPDX-License-Identifier: MIT */
/*
 * What a container's runtime says of it: name, ID, image, labels, pod. Read from the runtime's own
 * files, once per container; never on the path of picking or joining a target.
 */
#ifndef RECAP_RUNTIME_H
#define RECAP_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/json.h"

/*
 * Where runtimes keep their state. Each can be moved by configuration; NULL members mean the
 * default.
 */
struct runtime_paths {
	const char *docker;	/* /var/lib/docker */
	const char *docker_run; /* /run/docker: containerd/daemon/ when dockerd runs its own */
	const char *containerd; /* /var/lib/containerd: io.containerd.metadata.v1.bolt/meta.db */
	const char *containerd_run; /* /run/containerd: io.containerd.runtime.v2.task/<ns>/<id>/ */
	const char *podman;	    /* /var/lib/containers/storage */
	const char *podman_run;	    /* /run/containers/storage */
	const char *runc;	    /* /run/runc */
	const char *crun;	    /* /run/crun */
};

/*
 * Strings are NULL where not known, but for `id`, `name` and `runtime`, which are always there, and
 * are fit to be shown.
 */
struct container_meta {
	char *id; /* as the runtime shows it, in full; "pid-N" where no runtime knows it */
	char *name;
	char *runtime; /* "docker", "containerd", "podman", "runc", "crun" or "unknown" */
	char *image;
	struct json_object *labels; /* object of strings, or NULL */
	char *pod_namespace;	    /* of a Kubernetes pod; Podman's pods have none */
	char *pod_name,
		*pod_container; /* no container: the pod's sandbox, whose name is the pod's */
	char *cgroup;		/* path within its hierarchy, e.g. "/docker/<id>" */
	bool helper;		/* a pod's pause container or the like: shown with --all only */
};

void container_meta_free(struct container_meta *meta);
static inline void container_meta_freep(struct container_meta **meta)
{
	container_meta_free(*meta);
}
#define cleanup_meta cleanup(container_meta_freep)

/*
 * Find out about the container whose init process is `pid` in recapd's PID namespace, started
 * `start_ns` after boot (CLOCK_BOOTTIME). `procfd` is its /proc/PID folder, opened by the caller
 * before it verified PID and start time, so that nothing is read of a process that took over the
 * PID. Candidates from the cgroup path and the parent's command line are verified against the
 * runtime's own record of the init PID and start time: a container cannot choose to look like
 * another. Where no candidate is confirmed, all records are looked through. It works from the
 * moment at which the entrypoint is executed.
 *
 * A process that no runtime knows has the id "pid-N" and, for a name, its cgroup's last component;
 * or, at the root or where that component is the ID of a container which the process is not,
 * "COMMAND-N".
 *
 * Only fails for lack of memory or when the process has gone (-ESRCH). Blocking: 0.1 ms, a few
 * milliseconds where a thousand records are looked through.
 */
int container_meta_read(const struct runtime_paths *paths, int procfd, pid_t pid, uint64_t start_ns,
			struct container_meta **ret, struct error *err) must_check;

#endif
