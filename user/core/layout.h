/* SPDX-License-Identifier: MIT */
/* Getting at an OCI image layout as it was handed to us: a folder, or an archive of one. */
#ifndef RECAP_LAYOUT_H
#define RECAP_LAYOUT_H

#include "common/error.h"

/*
 * Give the folder of the layout behind `fd`: itself, or `tmp` (an empty folder) after the archive
 * was extracted into it: oci-layout, index.json and the blobs, regular files only. *ret_layout is
 * the caller's. What is in the folder is as hostile as before: open it with blob_open_file().
 */
int layout_open(int fd, int tmp, int *ret_layout, struct error *err) must_check;

#endif
