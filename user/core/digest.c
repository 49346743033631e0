// SPDX-License-Identifier: MIT
#include "core/digest.h"

#include <assert.h>
#include <string.h>

#include <openssl/evp.h>

struct digest {
	EVP_MD_CTX *ctx;
};

/*
 * libcrypto only fails here for lack of memory or of the algorithm, both of which digest_new() met
 * first.
 */
static void digest_start(struct digest *digest)
{
	int ok = EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL);

	if (ok != 1)
		abort();
}

int digest_new(struct digest **ret, struct error *err)
{
	struct digest *digest = calloc(1, sizeof(*digest));

	if (digest)
		digest->ctx = EVP_MD_CTX_new();
	if (!digest || !digest->ctx || EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL) != 1) {
		digest_free(digest);
		return error_set(err, ENOMEM, "cannot set up SHA-256: out of memory");
	}
	*ret = digest;
	return 0;
}

void digest_free(struct digest *digest)
{
	if (digest)
		EVP_MD_CTX_free(digest->ctx);
	free(digest);
}

void digest_update(struct digest *digest, const void *buf, size_t len)
{
	if (EVP_DigestUpdate(digest->ctx, buf, len) != 1)
		abort();
}

void digest_final(struct digest *digest, char ret[DIGEST_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	char *p = ret + 7;

	if (EVP_DigestFinal_ex(digest->ctx, raw, &len) != 1)
		abort();
	assert(len == 32);
	memcpy(ret, "sha256:", 7);
	for (unsigned int i = 0; i < len; i++) {
		*p++ = hex[raw[i] >> 4];
		*p++ = hex[raw[i] & 15];
	}
	*p = '\0';
	digest_start(digest);
}
