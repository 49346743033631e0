/* SPDX-License-Identifier: MIT */
/*
 * Image references: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST], or a digest alone. The grammar is
 * that of the container registries, but no registry is ever added: "tcpdump" is "tcpdump:latest".
 */
#ifndef RECAP_REFERENCE_H
#define RECAP_REFERENCE_H

#include "core/digest.h"

#define REFERENCE_NAME_MAX 255
#define REFERENCE_TAG_MAX  128
#define REFERENCE_SIZE	   (REFERENCE_NAME_MAX + 1 + REFERENCE_TAG_MAX + 1) /* NAME:TAG and NUL */

/* The parts; each is empty when it was not given. */
struct reference {
	char name[REFERENCE_NAME_MAX + 1];
	char tag[REFERENCE_TAG_MAX + 1];
	char digest[DIGEST_SIZE];
};

/* Fails with the error name InvalidArgument and a line that quotes `text`. */
int reference_parse(const char *text, struct reference *ret, struct error *err) must_check;

/* NAME:TAG, the tag being "latest" when none was given. The digest is left out. */
void reference_format(const struct reference *ref, char ret[REFERENCE_SIZE]);

/*
 * Whether `ref` means the stored reference `stored` (a NAME:TAG, or NULL for an untagged image)
 * that points to `digest`. With a digest, the tag may be left out; without, no tag means "latest".
 */
bool reference_matches(const struct reference *ref, const char *stored, const char *digest);

#endif
