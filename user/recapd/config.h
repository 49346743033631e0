/* SPDX-License-Identifier: MIT */
/* Where everything is: the defaults, then the configuration file, then the flags. */
#ifndef RECAP_CONFIG_H
#define RECAP_CONFIG_H

#include <stdbool.h>

#include "common/error.h"
#include "core/gate.h"
#include "core/runtime.h"
#include "core/track.h"
#include "recapd/requests.h"

struct config {
	char *socket, *policy, *bpffs, *state_dir, *cgroup, *audit, *audit_journal;
	char *docker, *docker_run, *containerd, *containerd_run, *podman, *podman_run, *runc, *crun;
	struct gate_config gate;	 /* of the file only */
	struct requests_config requests; /* of the file only */
	struct track_sizes maps;	 /* of the file only */
};

/* What the flags ask for instead of a service. */
enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION };

/* Read flags and file. The strings belong to *ret until config_clear(). */
int config_read(int argc, char **argv, struct config *ret, enum config_action *ret_action,
		struct error *err) must_check;
void config_clear(struct config *c);

/* The runtimes' folders, borrowed from `c`. */
struct runtime_paths config_runtimes(const struct config *c);

/* Text of --help. */
extern const char config_help[];

#endif
