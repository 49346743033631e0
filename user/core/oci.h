/* SPDX-License-Identifier: MIT */
/*
 * OCI image layouts (https://github.com/opencontainers/image-spec, image-layout.md) as others made
 * them: what images are in one, and what their manifests and configurations say. Everything is
 * checked, nothing unpacked.
 */
#ifndef RECAP_OCI_H
#define RECAP_OCI_H

#include "core/blob.h"
#include "core/image.h"
#include "core/reference.h"

struct oci_layer {
	struct descriptor blob;
	char diff_id[DIGEST_SIZE];
};

struct oci_image {
	char digest[DIGEST_SIZE]; /* of the manifest */
	char *name;		  /* what the index calls it, in its own words; NULL: nothing */
	size_t n_layers;	  /* 1 to IMAGE_LAYERS_MAX */
	struct oci_layer *layers; /* lowest first, as in the manifest */
	/* {created?, entrypoint, cmd, env, workdir, user, labels}: as struct image has them */
	struct json_object *config;
};

/* The images of a layout. Zero it to start. */
struct oci_images {
	size_t n;
	struct oci_image *v;
};

void oci_images_release(struct oci_images *images);
#define cleanup_oci_images cleanup(oci_images_release)

/* Fill `images`, in the order of the index, with those that run on this machine: at least one. */
int oci_read(int layout, struct oci_images *images, struct error *err) must_check;

/* The reference by which the index calls the image; fails when it gives no name, or a tag alone. */
int oci_image_reference(const struct oci_image *image, char ret[REFERENCE_SIZE],
			struct error *err) must_check;

#endif
