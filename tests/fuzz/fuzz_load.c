// SPDX-License-Identifier: MIT
/*
 * libFuzzer over what reads images, behind the digests, which no mutation would get past: this computes them from the
 * input. The first byte says what the rest is:
 *
 *     '0'  an archive of an OCI layout
 *     '1'  one layer, of any compression
 *     '2'  JSON documents, each ended by a NUL byte: blobs, and last the index.json. In a document, byte 1 stands for the
 *          digest of the one before it, byte 2 for its length.
 *
 * It runs as root, since unpacking does, in a mount namespace where everything is read-only but a tmpfs of its own and
 * RECAP_FUZZ_DIR, where libFuzzer keeps what it finds. What must hold of any layer that unpacks is checked after each run.
 */
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "core/layer.h"
#include "core/layout.h"
#include "core/oci.h"
#include "core/tar.h"
#include "fuzz.h"

#define SCRATCH	      "/tmp"
#define DOCUMENTS_MAX 8
#define TEXT_MAX      (64 << 10)

static int scratch = -1;

/* ---- where it runs ---- */

static void set_read_only(const char *path, bool on)
{
	struct mount_attr attr = {
		.attr_set = on ? MOUNT_ATTR_RDONLY : 0,
		.attr_clr = on ? 0 : MOUNT_ATTR_RDONLY,
	};

	must(mount_setattr(AT_FDCWD, path, on ? AT_RECURSIVE : 0, &attr, sizeof(attr)) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *keep = getenv("RECAP_FUZZ_DIR");

	must(keep && *keep == '/');
	must(unshare(CLONE_NEWNS) == 0);
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	must(mount(keep, keep, NULL, MS_BIND, NULL) == 0);
	set_read_only("/", true);
	/* A folder below /tmp stays as it is: it was opened, or is bound, before /tmp is covered. */
	must(chdir(keep) == 0);
	set_read_only(keep, false);
	must(mount("fuzz", SCRATCH, "tmpfs", 0, "size=64m,nr_inodes=20000,mode=0700") == 0);
	scratch = open(SCRATCH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(scratch >= 0);
	umask(022);
	return 0;
}

static int new_folder(const char *name)
{
	int fd;

	must(mkdirat(scratch, name, 0755) == 0);
	fd = openat(scratch, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

static void new_layout(int *ret)
{
	*ret = new_folder("layout");
	must(mkdirat(*ret, "blobs", 0700) == 0);
	must(mkdirat(*ret, "blobs/sha256", 0700) == 0);
}

static void write_file(int dir, const char *path, const void *data, size_t size)
{
	cleanup_fd int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0);
	must(fd_write_all(fd, data, size) == 0);
}

static struct descriptor put_blob(int layout, const void *data, size_t size)
{
	struct descriptor desc = {.size = size};
	struct digest *digest = NULL;
	char path[128];

	must(digest_new(&digest, NULL) == 0);
	digest_update(digest, data, size);
	digest_final(digest, desc.digest);
	digest_free(digest);
	snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(desc.digest));
	write_file(layout, path, data, size);
	return desc;
}

/* ---- what must hold ---- */

static int check_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	bool whiteout = S_ISCHR(st->st_mode) && st->st_rdev == 0;

	if (!whiteout && !S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode))
		abort();
	if (st->st_mode & (S_ISUID | S_ISGID))
		abort();
	return 0;
}

/* An error says what is wrong, and is one line for whoever shows it. */
static void check_error(int r, const struct error *err)
{
	must(r < 0 && err->code == -r && err->msg[0]);
}

/* ---- the three ways in ---- */

static void fuzz_archive(const uint8_t *data, size_t size)
{
	cleanup_oci_images struct oci_images images = {};
	cleanup_fd int fd = memfd_create("archive", MFD_CLOEXEC), tmp = new_folder("layout");
	struct progress progress = {};
	cleanup_fd int layout = -1;
	struct error err = {};
	int r;

	must(fd >= 0 && fd_write_all(fd, data, size) == 0);
	r = layout_open(fd, tmp, &progress, &layout, &err);
	if (r == 0)
		r = oci_read(layout, &images, &err);
	if (r < 0)
		check_error(r, &err);
}

struct memory {
	const uint8_t *data;
	size_t size;
};

static ssize_t memory_read(void *ctx, const void **ret_buf, struct error *err)
{
	struct memory *m = ctx;
	size_t size = m->size;

	*ret_buf = m->data;
	m->size = 0;
	return (ssize_t)size;
}

/* The digest of what the layer unpacks to, whether or not that is an archive. */
static void diff_id_of(const uint8_t *data, size_t size, char ret[DIGEST_SIZE])
{
	struct memory memory = {.data = data, .size = size};
	struct tar_source source = {.read = memory_read, .ctx = &memory};
	cleanup_tar struct tar *tar = NULL;
	uint64_t left = 16 << 20;

	memset(ret, 0, DIGEST_SIZE);
	if (tar_open(&source, &left, &tar, NULL) < 0 || tar_finish(tar, ret, NULL) < 0)
		snprintf(ret, DIGEST_SIZE, "sha256:%064d", 0);
}

static void fuzz_layer(const uint8_t *data, size_t size)
{
	struct layer_budget budget = {.stream = 16 << 20, .files = 1 << 30, .entries = 5000};
	cleanup_fd int layout = -1, root = -1;
	struct descriptor desc;
	char diff_id[DIGEST_SIZE];
	cleanup_json struct json_object *dropped = NULL;
	struct error err = {};
	uint64_t bytes;
	int r;

	new_layout(&layout);
	root = new_folder("layer");
	desc = put_blob(layout, data, size);
	diff_id_of(data, size, diff_id);
	r = layer_unpack(layout, &desc, diff_id, root, &budget, &bytes, &dropped, &err);
	if (r < 0)
		check_error(r, &err);
	must(nftw(SCRATCH "/layer", check_file, 16, FTW_PHYS | FTW_MOUNT) == 0);
}

/* One document with the digest and the length of the one before it put in. */
static size_t expand(const uint8_t *data, size_t size, const struct descriptor *before, char *text)
{
	size_t used = 0;

	for (size_t i = 0; i < size && used < TEXT_MAX - DIGEST_SIZE; i++) {
		if (data[i] == 1)
			used += (size_t)sprintf(text + used, "%s", before->digest);
		else if (data[i] == 2)
			used += (size_t)sprintf(text + used, "%llu",
						(unsigned long long)before->size);
		else
			text[used++] = (char)data[i];
	}
	return used;
}

static void put_documents(int layout, const uint8_t *data, size_t size)
{
	struct descriptor before = {.digest = "", .size = 0};
	static char text[TEXT_MAX];

	write_file(layout, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	for (int i = 0; size && i < DOCUMENTS_MAX; i++) {
		const uint8_t *end = memchr(data, 0, size);
		size_t len = end ? (size_t)(end - data) : size,
		       used = expand(data, len, &before, text);

		before = put_blob(layout, text, used);
		write_file(layout, "index.json", text, used);
		len += end != NULL;
		data += len;
		size -= len;
	}
}

static void fuzz_documents(const uint8_t *data, size_t size)
{
	cleanup_oci_images struct oci_images images = {};
	char ref[REFERENCE_SIZE];
	cleanup_fd int layout = -1;
	struct error err = {};
	int r;

	new_layout(&layout);
	put_documents(layout, data, size);
	r = oci_read(layout, &images, &err);
	if (r < 0)
		check_error(r, &err);
	for (size_t i = 0; r == 0 && i < images.n; i++)
		if (oci_image_reference(&images.v[i], ref, &err) == 0)
			must(memchr(ref, 0, sizeof(ref)));
}

/* Nothing but what was made here is in the scratch folder. */
static void clear_scratch(void)
{
	struct stat st;

	must(fd_remove_tree(scratch, "layout") == 0);
	if (faccessat(scratch, "layer", F_OK, 0) == 0)
		must(fd_remove_tree(scratch, "layer") == 0);
	must(fstat(scratch, &st) == 0 && st.st_nlink == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return -1;
	if (*data == '0')
		fuzz_archive(data + 1, size - 1);
	else if (*data == '1')
		fuzz_layer(data + 1, size - 1);
	else if (*data == '2')
		fuzz_documents(data + 1, size - 1);
	else
		return -1;
	clear_scratch();
	return 0;
}
