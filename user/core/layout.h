/* SPDX-License-Identifier: MIT */
/* Getting at an OCI image layout as it was handed to us: a folder, or an archive of one. */
#ifndef RECAP_LAYOUT_H
#define RECAP_LAYOUT_H

#include "common/error.h"
#include "common/json.h"
#include "core/progress.h"

/*
 * Give the folder of the layout behind `fd`: itself, or `tmp` (an empty folder) after the archive
 * was extracted into it: oci-layout, index.json and the blobs, regular files only; or what
 * core/docker.h makes of an archive of `docker save`. *ret_layout is the caller's. What is in the
 * folder is as hostile as before: open it with blob_open_file().
 */
int layout_open(int fd, int tmp, struct progress *progress, int *ret_layout,
		struct error *err) must_check;

/*
 * Copy all that comes out of a pipe or socket into a file without a name on the file system of
 * `dir`: *ret_fd, the caller's. It is -1 when `fd` is neither, and need not be copied.
 */
int layout_spool(int fd, int dir, struct progress *progress, int *ret_fd,
		 struct error *err) must_check;

/* Write a new file of a layout of ours, without white space; all of them but the blobs. */
int layout_write_json(int dir, const char *path, struct json_object *doc,
		      struct error *err) must_check;
int layout_write(int dir, struct json_object *index, struct error *err) must_check;

#endif
