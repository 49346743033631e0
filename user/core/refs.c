// SPDX-License-Identifier: MIT
#include "core/refs.h"

#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"

void refs_release(struct refs *refs)
{
	for (size_t i = 0; i < refs->n; i++)
		free(refs->v[i].ref);
	free(refs->v);
	*refs = (struct refs){};
}

static int by_ref(const void *a, const void *b)
{
	const struct refs_row *x = a, *y = b;
	int order = strcmp(x->ref ?: REFS_UNTAGGED, y->ref ?: REFS_UNTAGGED);

	return order ? order : strcmp(x->digest, y->digest);
}

static int add_row(struct refs *refs, const char *ref, const char *digest)
{
	struct refs_row *v = reallocarray(refs->v, refs->n + 1, sizeof(*v));
	struct refs_row row = {};

	if (!v)
		return -ENOMEM;
	refs->v = v;
	if (ref && !(row.ref = strdup(ref)))
		return -ENOMEM;
	strcpy(row.digest, digest);
	v[refs->n++] = row;
	return 0;
}

int refs_dup(const struct refs *refs, struct refs *ret)
{
	cleanup_refs struct refs copy = {};

	for (size_t i = 0; i < refs->n; i++) {
		int r = add_row(&copy, refs->v[i].ref, refs->v[i].digest);

		if (r < 0)
			return r;
	}
	*ret = copy;
	copy = (struct refs){};
	return 0;
}

static void sort_rows(struct refs *refs)
{
	if (refs->n)
		qsort(refs->v, refs->n, sizeof(*refs->v), by_ref);
}

void refs_drop(struct refs *refs, size_t i)
{
	free(refs->v[i].ref);
	memmove(refs->v + i, refs->v + i + 1, (--refs->n - i) * sizeof(*refs->v));
}

static int add_parsed(struct refs *refs, const char *ref, struct json_object *value)
{
	const char *digest = json_object_get_string(value);
	struct reference parsed;

	if (!json_object_is_type(value, json_type_string) || !digest_valid(digest))
		return -EINVAL;
	if (ref && (reference_parse(ref, &parsed, NULL) < 0 || !parsed.tag[0]))
		return -EINVAL;
	return add_row(refs, ref, digest);
}

static int parse_rows(struct refs *refs, struct json_object *doc)
{
	struct json_object *tagged = json_get(doc, "refs", json_type_object);
	struct json_object *untagged = json_get(doc, "untagged", json_type_array);
	int r = tagged && untagged ? 0 : -EINVAL;

	if (r < 0)
		return r;
	json_object_object_foreach (tagged, ref, value) {
		if (r == 0)
			r = add_parsed(refs, ref, value);
	}
	for (size_t i = 0; r == 0 && i < json_object_array_length(untagged); i++)
		r = add_parsed(refs, NULL, json_object_array_get_idx(untagged, i));
	sort_rows(refs);
	return r;
}

static int read_text(int fd, char **ret, size_t *ret_len)
{
	cleanup_free char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > REFS_BYTES_MAX)
		return -EFBIG;
	text = malloc(st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = pread(fd, text, st.st_size, 0);
	if (n < 0)
		return -errno;
	*ret_len = n;
	*ret = TAKE_PTR(text);
	return 0;
}

int refs_read(int fd, struct refs *ret, struct error *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_refs struct refs refs = {};
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r = read_text(fd, &text, &len);

	if (r < 0)
		return error_sys(err, -r, "cannot read the image store's " REFS_FILE);
	r = json_parse(text, len, REFS_FILE, &doc, err);
	if (r == 0)
		r = parse_rows(&refs, doc);
	if (r == -ENOMEM)
		return error_set(err, ENOMEM, "cannot read the image store: out of memory");
	if (r < 0)
		return error_set(err, EUCLEAN,
				 "the image store's " REFS_FILE
				 " is damaged: restore it, or remove "
				 "the store's folder and load the images again");
	*ret = refs;
	refs = (struct refs){};
	return 0;
}

int refs_write(int dirfd, const struct refs *refs, struct error *err)
{
	cleanup_json struct json_object *doc = json_object_new_object();
	struct json_object *tagged = json_object_new_object();
	struct json_object *untagged = json_object_new_array();
	const char *text;
	int r;

	json_put_obj(doc, "refs", tagged);
	json_put_obj(doc, "untagged", untagged);
	for (size_t i = 0; i < refs->n; i++) {
		const struct refs_row *row = &refs->v[i];

		if (row->ref)
			json_put_str(tagged, row->ref, row->digest);
		else
			json_object_array_add(untagged, json_object_new_string(row->digest));
	}
	text = json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PRETTY |
							   JSON_C_TO_STRING_NOSLASHESCAPE);
	if (!text)
		return error_set(err, ENOMEM, "cannot change the image store: out of memory");
	if (strlen(text) > REFS_BYTES_MAX)
		return error_set(err, EFBIG,
				 "the image store has too many references: remove some");
	r = fd_replace_file(dirfd, REFS_FILE, text, strlen(text), 0600);
	return r < 0 ? error_sys(err, -r, "cannot write the image store's " REFS_FILE) : 0;
}

const struct refs_row *refs_find(const struct refs *refs, const struct reference *ref)
{
	for (size_t i = 0; i < refs->n; i++)
		if (reference_matches(ref, refs->v[i].ref, refs->v[i].digest))
			return &refs->v[i];
	return NULL;
}

bool refs_has(const struct refs *refs, const char *digest)
{
	for (size_t i = 0; i < refs->n; i++)
		if (!strcmp(refs->v[i].digest, digest))
			return true;
	return false;
}

/*
 * Take out the row of `ref` (NULL: the untagged one of `digest`), and give the digest it had; ""
 * when there is none.
 */
static void take_row(struct refs *refs, const char *ref, const char *digest, char ret[DIGEST_SIZE])
{
	*ret = '\0';
	for (size_t i = 0; i < refs->n; i++) {
		const struct refs_row *row = &refs->v[i];

		bool same = ref ? row->ref && !strcmp(row->ref, ref)
				: !row->ref && digest && !strcmp(row->digest, digest);

		if (!same)
			continue;
		strcpy(ret, row->digest);
		refs_drop(refs, i);
		return;
	}
}

int refs_set(struct refs *refs, const char *ref, const char *digest)
{
	char old[DIGEST_SIZE], was_untagged[DIGEST_SIZE];
	int r;

	take_row(refs, ref, NULL, old);
	take_row(refs, NULL, digest, was_untagged);
	r = add_row(refs, ref, digest);
	if (r == 0 && old[0] && !refs_has(refs, old))
		r = add_row(refs, NULL, old);
	sort_rows(refs);
	return r;
}

void refs_remove(struct refs *refs, const struct reference *ref)
{
	for (size_t i = refs->n; i-- > 0;)
		if (reference_matches(ref, refs->v[i].ref, refs->v[i].digest))
			refs_drop(refs, i);
}
