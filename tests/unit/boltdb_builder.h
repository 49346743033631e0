/* SPDX-License-Identifier: MIT */
/* Writes bbolt files for tests, from the format's description: trees of buckets, good or bent. */
#ifndef RECAP_TEST_BOLTDB_BUILDER_H
#define RECAP_TEST_BOLTDB_BUILDER_H

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOLT_PAGE 4096u

/* A pair (`value`), or a bucket (`children`, in key order; inline when `small`). */
struct bolt_node {
	const char *key, *value;
	size_t value_len; /* 0: strlen(value) */
	const struct bolt_node *children;
	size_t n;
	bool small;
};

struct bolt_file {
	unsigned char *data;
	uint64_t pages;
	size_t per_page; /* elements of one leaf or branch at most; 0: no limit */
};

static inline void bolt_put(void *at, uint64_t value, size_t len)
{
	memcpy(at, &value, len); /* little endian, as the machines that run this */
}

static inline uint64_t bolt_sum(const unsigned char *p, size_t len)
{
	uint64_t sum = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 1099511628211u;
	return sum;
}

static inline unsigned char *bolt_page(struct bolt_file *f, uint64_t id)
{
	return f->data + id * BOLT_PAGE;
}

static inline uint64_t bolt_alloc(struct bolt_file *f, size_t len)
{
	uint64_t id = f->pages, n = (len + BOLT_PAGE - 1) / BOLT_PAGE;

	f->pages += n;
	f->data = realloc(f->data, f->pages * BOLT_PAGE);
	assert(f->data);
	memset(bolt_page(f, id), 0, n * BOLT_PAGE);
	return id;
}

static inline void bolt_header(unsigned char *p, uint64_t id, unsigned int flags, size_t count,
			       size_t len)
{
	bolt_put(p, id, 8);
	bolt_put(p + 8, flags, 2);
	bolt_put(p + 10, count, 2);
	bolt_put(p + 12, len ? (len - 1) / BOLT_PAGE : 0, 4);
}

static inline size_t bolt_value_len(const struct bolt_node *node)
{
	return node->value_len ? node->value_len : strlen(node->value);
}

/* A leaf page of pairs alone, as it would be inside a value; free() it. */
static inline unsigned char *bolt_inline(const struct bolt_node *nodes, size_t n, size_t *ret_len)
{
	size_t len = 16 + 16 * n, at = len;
	unsigned char *p;

	for (size_t i = 0; i < n; i++)
		len += strlen(nodes[i].key) + bolt_value_len(&nodes[i]);
	p = calloc(1, len);
	assert(p);
	bolt_header(p, 0, 2, n, 0);
	for (size_t i = 0; i < n; i++) {
		unsigned char *e = p + 16 + 16 * i;
		size_t key = strlen(nodes[i].key), value = bolt_value_len(&nodes[i]);

		bolt_put(e + 4, at - (e - p), 4);
		bolt_put(e + 8, key, 4);
		bolt_put(e + 12, value, 4);
		memcpy(p + at, nodes[i].key, key);
		memcpy(p + at + key, nodes[i].value, value);
		at += key + value;
	}
	*ret_len = len;
	return p;
}

static inline uint64_t bolt_bucket(struct bolt_file *f, const struct bolt_node *nodes, size_t n);

/* What a leaf holds for the node; free() it. */
static inline unsigned char *bolt_value(struct bolt_file *f, const struct bolt_node *node,
					size_t *ret_len)
{
	unsigned char *page, *value;
	size_t len;

	if (!node->children && node->value) {
		*ret_len = bolt_value_len(node);
		value = malloc(*ret_len + 1);
		assert(value);
		return memcpy(value, node->value, *ret_len);
	}
	if (!node->small) {
		*ret_len = 16;
		value = calloc(1, 16);
		assert(value);
		bolt_put(value, bolt_bucket(f, node->children, node->n), 8);
		return value;
	}
	page = bolt_inline(node->children, node->n, &len);
	*ret_len = 16 + len;
	value = calloc(1, *ret_len);
	assert(value);
	memcpy(value + 16, page, len);
	free(page);
	return value;
}

static inline uint64_t bolt_leaf(struct bolt_file *f, const struct bolt_node *nodes, size_t n)
{
	unsigned char **value = calloc(n + 1, sizeof(*value)), *p;
	size_t *value_len = calloc(n + 1, sizeof(*value_len)), at = 16 + 16 * n, len = at;
	uint64_t id;

	assert(value && value_len);
	for (size_t i = 0; i < n; i++) {
		value[i] = bolt_value(f, &nodes[i], &value_len[i]);
		len += strlen(nodes[i].key) + value_len[i];
	}
	id = bolt_alloc(f, len);
	p = bolt_page(f, id);
	bolt_header(p, id, 2, n, len);
	for (size_t i = 0; i < n; i++) {
		unsigned char *e = p + 16 + 16 * i;
		size_t key = strlen(nodes[i].key);

		bolt_put(e, nodes[i].value && !nodes[i].children ? 0 : 1, 4);
		bolt_put(e + 4, p + at - e, 4);
		bolt_put(e + 8, key, 4);
		bolt_put(e + 12, value_len[i], 4);
		memcpy(p + at, nodes[i].key, key);
		memcpy(p + at + key, value[i], value_len[i]);
		at += key + value_len[i];
		free(value[i]);
	}
	free(value);
	free(value_len);
	return id;
}

static inline uint64_t bolt_branch(struct bolt_file *f, const char *const *keys,
				   const uint64_t *children, size_t n)
{
	size_t len = 16 + 16 * n, at = len;
	unsigned char *p;
	uint64_t id;

	for (size_t i = 0; i < n; i++)
		len += strlen(keys[i]);
	id = bolt_alloc(f, len);
	p = bolt_page(f, id);
	bolt_header(p, id, 1, n, len);
	for (size_t i = 0; i < n; i++) {
		unsigned char *e = p + 16 + 16 * i;

		bolt_put(e, p + at - e, 4);
		bolt_put(e + 4, strlen(keys[i]), 4);
		bolt_put(e + 8, children[i], 8);
		memcpy(p + at, keys[i], strlen(keys[i]));
		at += strlen(keys[i]);
	}
	return id;
}

/* The root page of a bucket: a leaf, or as many levels of branches as `per_page` asks for. */
static inline uint64_t bolt_bucket(struct bolt_file *f, const struct bolt_node *nodes, size_t n)
{
	size_t per = f->per_page ? f->per_page : n + 1, count = 0;
	const char **keys = calloc(n + 1, sizeof(*keys));
	uint64_t *ids = calloc(n + 1, sizeof(*ids)), root;

	assert(keys && ids);
	for (size_t i = 0; i < n || !count; i += per, count++) {
		keys[count] = n ? nodes[i].key : "";
		ids[count] = bolt_leaf(f, nodes + i, n - i < per ? n - i : per);
	}
	while (count > 1) {
		size_t up = 0;

		for (size_t i = 0; i < count; i += per, up++) {
			ids[up] = bolt_branch(f, keys + i, ids + i,
					      count - i < per ? count - i : per);
			keys[up] = keys[i];
		}
		count = up;
	}
	root = ids[0];
	free(keys);
	free(ids);
	return root;
}

/* Write meta page `which` (0 or 1). */
static inline void bolt_meta(struct bolt_file *f, unsigned int which, uint64_t root, uint64_t txid)
{
	unsigned char *p = bolt_page(f, which), *m = p + 16;

	memset(p, 0, BOLT_PAGE);
	bolt_header(p, which, 4, 0, 0);
	bolt_put(m, 0xED0CDAED, 4);
	bolt_put(m + 4, 2, 4);
	bolt_put(m + 8, BOLT_PAGE, 4);
	bolt_put(m + 16, root, 8);
	bolt_put(m + 32, UINT64_MAX, 8); /* no free list */
	bolt_put(m + 40, f->pages, 8);
	bolt_put(m + 48, txid, 8);
	bolt_put(m + 56, bolt_sum(m, 56), 8);
}

/* A file in memory with `nodes` at its root; meta page 1 is the newer one. */
static inline struct bolt_file bolt_build(const struct bolt_node *nodes, size_t n, size_t per_page)
{
	struct bolt_file f = {.per_page = per_page};
	uint64_t root;

	bolt_alloc(&f, 2 * BOLT_PAGE);
	root = bolt_bucket(&f, nodes, n);
	bolt_meta(&f, 0, root, 6);
	bolt_meta(&f, 1, root, 7);
	return f;
}

static inline void bolt_save(const struct bolt_file *f, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0);
	if (write(fd, f->data, f->pages * BOLT_PAGE) != (ssize_t)(f->pages * BOLT_PAGE))
		abort();
	close(fd);
}

#endif
