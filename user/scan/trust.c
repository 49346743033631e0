// SPDX-License-Identifier: MIT
/* Detached signatures: Ed25519 over the text of the manifest's digest. */
#include <fcntl.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/fd.h"
#include "core/digest.h"
#include "core/store.h"
#include "scan/scan.h"

#define SIGNATURE_LEN 64
#define DER_LEN	      44 /* 12 bytes that say "Ed25519", and the key */
#define DOCUMENT_MAX  (64 << 10)

bool signature_verify(const char key[GATE_KEY_TEXT], const unsigned char signature[SIGNATURE_LEN],
		      const char *digest)
{
	unsigned char der[DER_LEN + 1 + 3];
	EVP_MD_CTX *ctx = NULL;
	EVP_PKEY *pkey;
	bool ok;

	/* 60 characters are 45 bytes, of which the last is padding. */
	if (EVP_DecodeBlock(der, (const unsigned char *)key, GATE_KEY_TEXT - 1) != DER_LEN + 1)
		return false;
	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, der + 12, 32);
	ctx = EVP_MD_CTX_new();
	ok = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
	     EVP_DigestVerify(ctx, signature, SIGNATURE_LEN, (const unsigned char *)digest,
			      strlen(digest)) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	return ok;
}

static int read_signature(int fd, unsigned char ret[SIGNATURE_LEN], struct error *err)
{
	unsigned char buf[SIGNATURE_LEN + 1];
	size_t done = 0;
	ssize_t n;

	while (done < sizeof(buf) && (n = read(fd, buf + done, sizeof(buf) - done)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, errno, "cannot read the signature");
		done += n;
	}
	if (done != SIGNATURE_LEN)
		return error_named(err, EINVAL, "InvalidArgument",
				   "the signature is not the %d bytes that Ed25519 makes (openssl "
				   "pkeyutl -sign -rawin writes them)",
				   SIGNATURE_LEN);
	memcpy(ret, buf, SIGNATURE_LEN);
	return 0;
}

/* The configured key that verifies it. One that cannot be read verifies nothing. */
static int find_key(const struct gate_config *gate, const unsigned char *signature,
		    const char *digest, char ret[GATE_KEY_TEXT], struct error *err)
{
	struct error why = {};

	if (!*gate->keys)
		return error_named(err, EINVAL, "InvalidArgument",
				   "recapd's configuration has no gate.keys to verify a signature "
				   "with");
	for (char **k = gate->keys; *k; k++)
		if (gate_read_key(*k, ret, &why) == 0 && signature_verify(ret, signature, digest))
			return 0;
	return error_named(err, EPERM, "ImageRefused",
			   "the signature is not one of %.19s by a key of gate.keys%s%.160s",
			   digest, why.code ? "; " : "", why.msg);
}

static void to_hex(const unsigned char *bytes, char ret[2 * SIGNATURE_LEN + 1])
{
	for (size_t i = 0; i < SIGNATURE_LEN; i++)
		sprintf(ret + 2 * i, "%02x", bytes[i]);
}

/* What is there already; a damaged one is begun anew, since nothing in it can be relied on. */
static struct json_object *read_document(int folder, const char *digest)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *text = NULL;
	struct json_object *fresh;
	char name[DIGEST_SIZE];
	size_t len;

	snprintf(name, sizeof(name), "%s.json", digest_hex(digest));
	if (fd_read_file(folder, name, DOCUMENT_MAX, &text, &len) == 0 &&
	    json_parse(text, len, name, &o, NULL) == 0 &&
	    json_get(o, "signatures", json_type_array))
		return TAKE_PTR(o);
	fresh = json_object_new_object();
	json_put_str(fresh, "digest", digest);
	json_put_obj(fresh, "signatures", json_object_new_array());
	return fresh;
}

static int add_signature(struct json_object *doc, const unsigned char *signature, const char *key,
			 struct error *err)
{
	struct json_object *list = json_get(doc, "signatures", json_type_array), *o;
	char hex[2 * SIGNATURE_LEN + 1];

	to_hex(signature, hex);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *s = json_get_str(json_object_array_get_idx(list, i), "signature");
		const char *k = json_get_str(json_object_array_get_idx(list, i), "key");

		if (s && k && !strcmp(s, hex) && !strcmp(k, key))
			return 0;
	}
	if (json_object_array_length(list) >= GATE_SIGNATURES_MAX)
		return error_set(err, E2BIG, "the image has %d signatures already",
				 GATE_SIGNATURES_MAX);
	o = json_object_new_object();
	json_put_str(o, "signature", hex);
	json_put_str(o, "key", key);
	json_object_array_add(list, o);
	return 0;
}

int scan_trust(struct image_store *store, const char *ref, const struct gate_config *gate, int fd,
	       struct json_object **ret, struct error *err)
{
	int folder = image_store_signatures_fd(store);
	cleanup_json struct json_object *doc = NULL;
	cleanup_image struct image *image = NULL;
	unsigned char signature[SIGNATURE_LEN];
	char key[GATE_KEY_TEXT];
	int r = image_find(store, ref, &image, err);

	if (r == 0)
		r = read_signature(fd, signature, err);
	if (r == 0)
		r = find_key(gate, signature, image->digest, key, err);
	if (r < 0)
		return r;
	doc = read_document(folder, image->digest);
	r = add_signature(doc, signature, key, err);
	if (r == 0)
		r = scan_publish(store, folder, image->digest, doc, err);
	if (r < 0)
		return r;
	*ret = json_object_new_object();
	json_put_str(*ret, "ref", image->ref);
	json_put_str(*ret, "digest", image->digest);
	json_put_str(*ret, "key", key);
	return 0;
}
