// SPDX-License-Identifier: MIT
#include "core/runtime_internal.h"

#include <string.h>

/*
 * containers/ID/config.v2.json is complete once the container has been created, long before it
 * starts, but for its State.Pid: that containerd's record, which led here, proves the process.
 */
static struct json_object *config_read(const char *root, const char *id)
{
	char base[PATH_MAX];
	cleanup_fd int dirfd = -1;

	if (!path_join(base, root, "containers"))
		return NULL;
	dirfd = record_dir(base, id);
	return record_json(dirfd, "config.v2.json", "Docker's config.v2.json");
}

int docker_describe(const char *root, const char *id, struct container_meta *meta)
{
	cleanup_json struct json_object *file = config_read(root, id);
	struct json_object *config = json_get(file, "Config", json_type_object);
	const char *name = json_get_str(file, "Name");
	struct labels labels = {.meta = meta};
	int r = meta_set(&meta->runtime, "docker");

	if (name && *name == '/')
		name++;
	if (r == 0)
		r = meta_set(&meta->name, name);
	if (r == 0)
		r = meta_set(&meta->image, json_get_str(config, "Image"));
	if (r == 0)
		r = labels_add_all(&labels, json_get(config, "Labels", json_type_object));
	labels_done(&labels);
	return r;
}
