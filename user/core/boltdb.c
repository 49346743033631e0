// SPDX-License-Identifier: MIT
#include "core/boltdb.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Page: id u64, flags u16, count u16, overflow u32; then `count` elements of 16 bytes; then what
 * those point to, each relative to its own place. Numbers are in the byte order of the machine that
 * writes.
 */
#define PAGE_HEADER 16
#define PAGE_BRANCH 0x01
#define PAGE_LEAF   0x02
#define PAGE_META   0x04
#define ELEMENT	    16
#define LEAF_BUCKET 0x01
#define BUCKET_HEAD 16 /* root page u64, sequence u64; an inline page follows when root is 0 */

#define META_MAGIC   0xED0CDAEDu
#define META_VERSION 2
#define META_SUM_AT  56 /* the checksum covers what is before it */
#define META_SIZE    (PAGE_HEADER + META_SUM_AT + 8)

#define DEPTH_MAX    32		 /* of one tree: 3 is common */
#define RUN_MAX	     (8u << 20)	 /* bytes of one page with its overflow */
#define WALK_MAX     (32u << 20) /* bytes read for one question */
#define ATTEMPTS_MAX 16

struct boltdb {
	int fd;
	size_t page_size;
};

struct meta {
	uint64_t root, high, txid;
};

struct page {
	unsigned char *buf; /* owned */
	size_t len;
	unsigned int flags, count;
};

/* One attempt to answer a question. */
struct walk {
	const struct boltdb *db;
	struct meta meta;
	size_t bytes; /* read so far */
};

struct element {
	bool bucket;
	uint64_t child; /* of a branch */
	const unsigned char *key, *value;
	size_t key_len, value_len;
};

static void page_freep(struct page *p)
{
	free(p->buf);
}
#define cleanup_page cleanup(page_freep)

static uint16_t get16(const unsigned char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t fnv64a(const unsigned char *p, size_t len)
{
	uint64_t sum = 0xcbf29ce484222325u;

	while (len--)
		sum = (sum ^ *p++) * 0x100000001b3u;
	return sum;
}

/* A short read is damage: whatever points there says that there is more. */
static int read_at(int fd, void *buf, size_t len, uint64_t at)
{
	unsigned char *p = buf;

	if (at > INT64_MAX - len)
		return -EBADMSG;
	while (len) {
		ssize_t r = pread(fd, p, len, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EBADMSG;
		p += r;
		at += r;
		len -= r;
	}
	return 0;
}

static bool meta_parse(const unsigned char *page, size_t page_size, struct meta *ret)
{
	const unsigned char *m = page + PAGE_HEADER;

	if (!(get16(page + 8) & PAGE_META) || get32(m) != META_MAGIC ||
	    get32(m + 4) != META_VERSION)
		return false;
	if (get32(m + 8) != page_size || get64(m + META_SUM_AT) != fnv64a(m, META_SUM_AT))
		return false;
	ret->root = get64(m + 16);
	ret->high = get64(m + 40);
	ret->txid = get64(m + 48);
	return true;
}

/* The newer of the two meta pages that are whole. A torn one fails its checksum. */
static int meta_read(const struct boltdb *db, struct meta *ret)
{
	unsigned char page[META_SIZE];
	bool found = false;

	for (unsigned int i = 0; i < 2; i++) {
		struct meta meta;
		int r = read_at(db->fd, page, sizeof(page), i * db->page_size);

		if (r < 0 && r != -EBADMSG)
			return r;
		if (r < 0 || !meta_parse(page, db->page_size, &meta))
			continue;
		if (!found || meta.txid > ret->txid)
			*ret = meta;
		found = true;
	}
	return found ? 0 : -EBADMSG;
}

/* The page size is that of the machine that made the file; only the meta pages tell. */
static int page_size_detect(struct boltdb *db)
{
	struct meta meta;

	for (db->page_size = 1024; db->page_size <= 65536; db->page_size *= 2) {
		int r = meta_read(db, &meta);

		if (r != -EBADMSG)
			return r;
	}
	return -EBADMSG;
}

int boltdb_open(const char *path, struct boltdb **ret)
{
	/* O_NONBLOCK: a FIFO in the file's place must not hang us. */
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct boltdb db;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	db.fd = fd;
	r = page_size_detect(&db);
	if (r < 0)
		return r;
	*ret = malloc(sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	**ret = db;
	TAKE_FD(fd);
	return 0;
}

void boltdb_close(struct boltdb *db)
{
	if (!db)
		return;
	fd_close(db->fd);
	free(db);
}

/* Take over `buf`, which starts with a page header. */
static int page_adopt(unsigned char *buf, size_t len, struct page *ret)
{
	unsigned int flags = get16(buf + 8), count = get16(buf + 10);

	if ((flags != PAGE_BRANCH && flags != PAGE_LEAF) || (flags == PAGE_BRANCH && !count) ||
	    PAGE_HEADER + (size_t)count * ELEMENT > len) {
		free(buf);
		return -EBADMSG;
	}
	free(ret->buf);
	*ret = (struct page){.buf = buf, .len = len, .flags = flags, .count = count};
	return 0;
}

/* How many bytes page `id` has, its overflow included. */
static int page_extent(struct walk *w, uint64_t id, size_t *ret)
{
	unsigned char head[PAGE_HEADER];
	uint64_t run;
	int r;

	if (id < 2 || id >= w->meta.high || id > INT64_MAX / w->db->page_size)
		return -EBADMSG;
	r = read_at(w->db->fd, head, sizeof(head), id * w->db->page_size);
	if (r < 0)
		return r;
	run = get32(head + 12) + 1ull;
	if (get64(head) != id || run > w->meta.high - id || run * w->db->page_size > RUN_MAX)
		return -EBADMSG;
	*ret = run * w->db->page_size;
	return 0;
}

/* Replace *page with page `id`. The budget bounds what a loop in the file can cost. */
static int page_load(struct walk *w, uint64_t id, struct page *page)
{
	cleanup_free unsigned char *buf = NULL;
	size_t len;
	int r;

	r = page_extent(w, id, &len);
	if (r < 0)
		return r;
	if (len > WALK_MAX - w->bytes)
		return -EBADMSG;
	w->bytes += len;
	buf = malloc(len);
	if (!buf)
		return -ENOMEM;
	r = read_at(w->db->fd, buf, len, id * w->db->page_size);
	if (r < 0)
		return r;
	return page_adopt(TAKE_PTR(buf), len, page);
}

static int element_at(const struct page *page, unsigned int i, struct element *ret)
{
	size_t at = PAGE_HEADER + (size_t)i * ELEMENT;
	const unsigned char *e = page->buf + at;
	bool leaf = page->flags == PAGE_LEAF;
	uint64_t pos = at + (uint64_t)get32(leaf ? e + 4 : e);
	uint64_t key_len = get32(leaf ? e + 8 : e + 4);
	uint64_t value_len = leaf ? get32(e + 12) : 0;

	if (pos < PAGE_HEADER + (size_t)page->count * ELEMENT ||
	    pos + key_len + value_len > page->len)
		return -EBADMSG;
	*ret = (struct element){
		.bucket = leaf && get32(e) & LEAF_BUCKET,
		.child = leaf ? 0 : get64(e + 8),
		.key = page->buf + pos,
		.value = page->buf + pos + key_len,
		.key_len = key_len,
		.value_len = value_len,
	};
	return 0;
}

static int key_compare(const struct element *e, const char *key, size_t len)
{
	int c = memcmp(e->key, key, e->key_len < len ? e->key_len : len);

	return c ? c : (e->key_len > len) - (e->key_len < len);
}

/* The child of a branch that covers `key`: the last one whose first key is not behind it. */
static int branch_child(const struct page *page, const char *key, uint64_t *ret)
{
	for (unsigned int i = 0; i < page->count; i++) {
		struct element e;
		int r = element_at(page, i, &e);

		if (r < 0)
			return r;
		if (i && key_compare(&e, key, strlen(key)) > 0)
			break;
		*ret = e.child;
	}
	return 0;
}

static int leaf_find(const struct page *page, const char *key, struct element *ret)
{
	for (unsigned int i = 0; i < page->count; i++) {
		int r = element_at(page, i, ret);

		if (r < 0)
			return r;
		if (!key_compare(ret, key, strlen(key)))
			return 0;
	}
	return -ENOENT;
}

/*
 * Descend from *page, the root of a bucket, to the leaf that would hold `key`. *ret points into
 * *page.
 */
static int tree_find(struct walk *w, struct page *page, const char *key, struct element *ret)
{
	for (int depth = 0; page->flags == PAGE_BRANCH; depth++) {
		uint64_t child = 0; /* never a tree's page */
		int r = branch_child(page, key, &child);

		if (r < 0)
			return r;
		if (depth == DEPTH_MAX)
			return -EBADMSG;
		r = page_load(w, child, page);
		if (r < 0)
			return r;
	}
	return leaf_find(page, key, ret);
}

/* Replace *page with the root page of the bucket `e`, which may point into *page. */
static int bucket_enter(struct walk *w, const struct element *e, struct page *page)
{
	unsigned char *copy;
	uint64_t root;
	size_t len;

	if (!e->bucket)
		return -ENOENT;
	if (e->value_len < BUCKET_HEAD)
		return -EBADMSG;
	root = get64(e->value);
	if (root)
		return page_load(w, root, page);
	len = e->value_len - BUCKET_HEAD;
	/* bbolt keeps only small leaves inline. */
	if (len < PAGE_HEADER || get16(e->value + BUCKET_HEAD + 8) != PAGE_LEAF)
		return -EBADMSG;
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, e->value + BUCKET_HEAD, len);
	return page_adopt(copy, len, page);
}

/* Leave in *page the root of the bucket that the first `n` names of `path` lead to. */
static int path_walk(struct walk *w, const char *const *path, size_t n, struct page *page)
{
	int r = page_load(w, w->meta.root, page);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct element e;

		r = tree_find(w, page, path[i], &e);
		if (r == 0)
			r = bucket_enter(w, &e, page);
	}
	return r;
}

static char *bytes_dup(const unsigned char *p, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, p, len);
	copy[len] = '\0';
	return copy;
}

static size_t path_len(const char *const *path)
{
	size_t n = 0;

	while (path[n])
		n++;
	return n;
}

struct query {
	const char *const *path;
	size_t max_items, max_bytes;
	char *value; /* results, owned */
	size_t value_len;
	struct boltdb_items *items;
};

static int query_get(struct walk *w, struct query *q)
{
	cleanup_page struct page page = {0};
	size_t n = path_len(q->path);
	struct element e;
	int r;

	if (!n)
		return -ENOENT;
	r = path_walk(w, q->path, n - 1, &page);
	if (r == 0)
		r = tree_find(w, &page, q->path[n - 1], &e);
	if (r < 0)
		return r;
	if (e.bucket)
		return -ENOENT;
	if (e.value_len > q->max_bytes)
		return -EFBIG;
	q->value = bytes_dup(e.value, e.value_len);
	q->value_len = e.value_len;
	return q->value ? 0 : -ENOMEM;
}

static int items_add(struct query *q, const struct element *e, size_t *bytes)
{
	struct boltdb_items *items = q->items;
	struct boltdb_item *it = &items->item[items->n];

	if (e->key_len + e->value_len > q->max_bytes - *bytes) {
		items->more = true;
		return 0;
	}
	it->key = bytes_dup(e->key, e->key_len);
	it->value = bytes_dup(e->value, e->value_len);
	if (!it->key || !it->value) {
		free(it->key);
		free(it->value);
		return -ENOMEM;
	}
	it->key_len = e->key_len;
	it->value_len = e->value_len;
	*bytes += e->key_len + e->value_len;
	items->n++;
	return 0;
}

static int tree_list(struct walk *w, const struct page *page, struct query *q, size_t *bytes,
		     int depth)
{
	for (unsigned int i = 0; i < page->count; i++) {
		cleanup_page struct page child = {0};
		struct element e;
		int r = element_at(page, i, &e);

		if (r < 0)
			return r;
		if (q->items->n == q->max_items) {
			q->items->more = true;
			return 0;
		}
		if (page->flags == PAGE_LEAF) {
			r = e.bucket ? 0 : items_add(q, &e, bytes);
		} else {
			r = depth == DEPTH_MAX ? -EBADMSG : page_load(w, e.child, &child);
			if (r == 0)
				r = tree_list(w, &child, q, bytes, depth + 1);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int query_list(struct walk *w, struct query *q)
{
	cleanup_page struct page page = {0};
	size_t bytes = 0;
	int r = path_walk(w, q->path, path_len(q->path), &page);

	if (r < 0)
		return r;
	q->items = calloc(1, sizeof(*q->items) + q->max_items * sizeof(q->items->item[0]));
	if (!q->items)
		return -ENOMEM;
	return tree_list(w, &page, q, &bytes, 0);
}

static void query_reset(struct query *q)
{
	free(q->value);
	boltdb_items_free(q->items);
	q->value = NULL;
	q->items = NULL;
}

/*
 * Ask until no commit came in between. An error counts only then, too: what looks like damage may
 * be a page that was reused.
 */
static int query_run(struct boltdb *db, struct query *q,
		     int (*ask)(struct walk *w, struct query *q))
{
	for (int i = 0; i < ATTEMPTS_MAX; i++) {
		struct walk w = {.db = db};
		struct meta after;
		int asked, r = meta_read(db, &w.meta);

		if (r < 0)
			return r;
		asked = ask(&w, q);
		r = meta_read(db, &after);
		if (r == 0 && asked == 0 && after.txid == w.meta.txid)
			return 0;
		query_reset(q);
		if (r < 0)
			return r;
		if (after.txid == w.meta.txid)
			return asked;
	}
	return -EAGAIN;
}

int boltdb_get(struct boltdb *db, const char *const *path, size_t max, char **ret, size_t *ret_len)
{
	struct query q = {.path = path, .max_bytes = max};
	int r = query_run(db, &q, query_get);

	if (r < 0)
		return r;
	*ret = q.value;
	if (ret_len)
		*ret_len = q.value_len;
	return 0;
}

int boltdb_list(struct boltdb *db, const char *const *path, size_t max_items, size_t max_bytes,
		struct boltdb_items **ret)
{
	struct query q = {.path = path, .max_items = max_items, .max_bytes = max_bytes};
	int r = query_run(db, &q, query_list);

	if (r < 0)
		return r;
	*ret = q.items;
	return 0;
}

void boltdb_items_free(struct boltdb_items *items)
{
	if (!items)
		return;
	for (size_t i = 0; i < items->n; i++) {
		free(items->item[i].key);
		free(items->item[i].value);
	}
	free(items);
}
