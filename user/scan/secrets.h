/* SPDX-License-Identifier: MIT */
/* Texts that look like credentials. */
#ifndef RECAP_SECRETS_H
#define RECAP_SECRETS_H

#include <stddef.h>

#define SECRET_READ_MAX (1 << 20) /* of each file, from its start */

/* What kind of credential the bytes hold ("a private key (PEM)"), or NULL. The first that is met. */
const char *secret_find(const char *buf, size_t len);

#endif
