/* SPDX-License-Identifier: MIT */
/*
 * Archives of `docker save` (and `podman save`) that are no OCI layouts: manifest.json names, for
 * each image, a config and layers that are anywhere in the archive, or behind links.
 *
 * The names in the archive never become names of files: a member is kept under a number, links are
 * kept as text. In the end the images are written down as an OCI layout, which is then read and
 * verified as any other.
 *
 * An image of such an archive has no manifest, and so no digest. It gets those of this manifest,
 * as JSON without white space, members in this order: {"schemaVersion":2,"mediaType":OCI's,
 * "config":{mediaType,digest,size},"layers":[{mediaType,digest,size},...]}, with the config and
 * the layers as they are in the archive, byte for byte. The same archive thus gives the same
 * digest everywhere.
 */
#ifndef RECAP_DOCKER_H
#define RECAP_DOCKER_H

#include <stdbool.h>

#include "common/json.h"

/* What an archive held. Zero it to start. */
struct docker_members {
	struct json_object *at; /* path -> number of the file, or the text of a link's target */
	unsigned int n_files;
};

void docker_members_release(struct docker_members *members);
#define cleanup_docker_members cleanup(docker_members_release)

/* Whether such an archive may have a member of that name: others are left out. */
bool docker_is_member(const char *path);

/*
 * Enter a file, and give the name under which its data is to be put into the folder that
 * docker_convert() gets. Refused when the archive has the path twice.
 */
int docker_add_file(struct docker_members *members, const char *path, char ret[32],
		    struct error *err) must_check;

/* Enter a link: symbolic, or hard (whose target is counted from the root of the archive). */
int docker_add_link(struct docker_members *members, const char *path, const char *target, bool hard,
		    struct error *err) must_check;

/* Whether there is a manifest.json, without which it is no such archive. */
bool docker_is_archive(const struct docker_members *members);

/*
 * Make an OCI layout of the files in `dir`, which has an empty blobs/sha256, or one with blobs of
 * the archive. ImageInvalid when the archive is at fault.
 */
int docker_convert(const struct docker_members *members, int dir, struct error *err) must_check;

#endif
