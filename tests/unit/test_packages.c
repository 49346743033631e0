// SPDX-License-Identifier: MIT
/* Package databases, secrets and the checks of a root, honest and hostile. */
#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/fd.h"
#include "scan/checks.h"
#include "scan/packages.h"
#include "scan/secrets.h"

/* ---- a root ------------------------------------------------------------------------------------ */

struct root {
	char path[32];
	int fd;
	struct findings f;
	struct packages p;
};

static int setup(void **state)
{
	struct root *r = calloc(1, sizeof(*r));

	strcpy(r->path, "/tmp/recap-root-XXXXXX");
	assert_non_null(mkdtemp(r->path));
	r->fd = open(r->path, O_RDONLY | O_DIRECTORY);
	findings_init(&r->f);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct root *r = *state;

	findings_release(&r->f);
	packages_release(&r->p);
	close(r->fd);
	assert_int_equal(fd_remove_tree(AT_FDCWD, r->path), 0);
	free(r);
	return 0;
}

static void put_bytes(struct root *r, const char *path, const void *buf, size_t len, mode_t mode)
{
	char part[256];
	int fd;

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		assert_true(mkdirat(r->fd, part, 0755) == 0 || errno == EEXIST);
	}
	fd = openat(r->fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, buf, len), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put(struct root *r, const char *path, const char *text)
{
	put_bytes(r, path, text, strlen(text), 0644);
}

static void read_packages(struct root *r, size_t wanted, size_t findings)
{
	struct error err = {};

	packages_release(&r->p);
	assert_int_equal(packages_read(r->fd, &r->p, &r->f, &err), 0);
	assert_int_equal(r->p.n, wanted);
	assert_int_equal(json_object_array_length(r->f.list), findings);
}

static const char *finding(struct root *r, size_t i, const char *key)
{
	return json_get_str(json_object_array_get_idx(r->f.list, i), key);
}

/* ---- dpkg and apk ------------------------------------------------------------------------------ */

static const char dpkg_text[] =
	"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\n"
	"Source: openssl (3.0.11-1)\nVersion: 3.0.11-1~deb12u2\n"
	"Description: x\n Package: not this\n\n"
	"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
	"Package: base-files\nStatus: install ok installed\nVersion: 12.4";

static void dpkg_lists_what_is_installed(void **state)
{
	struct root *r = *state;

	put(r, "var/lib/dpkg/status", dpkg_text);
	put(r, "etc/os-release", "PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n");
	read_packages(r, 2, 0);
	assert_string_equal(r->p.v[0].name, "libssl3");
	assert_string_equal(r->p.v[0].version, "3.0.11-1~deb12u2");
	assert_string_equal(r->p.v[0].source, "openssl");
	assert_string_equal(r->p.v[0].source_version, "3.0.11-1");
	assert_string_equal(r->p.v[1].source, "base-files");
	assert_string_equal(r->p.id, "debian");
	assert_string_equal(r->p.version_id, "12");
}

static void distroless_has_a_file_for_each(void **state)
{
	struct root *r = *state;

	put(r, "var/lib/dpkg/status.d/tzdata",
	    "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n");
	put(r, "var/lib/dpkg/status.d/tzdata.md5sums", "Package: no\nVersion: 1\n");
	read_packages(r, 1, 0);
}

static void apk_lists_packages(void **state)
{
	struct root *r = *state;

	put(r, "lib/apk/db/installed",
	    "C:Q1\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\nF:lib\n\nP:musl\nV:1.2.4-r2\n\n");
	read_packages(r, 2, 0);
	assert_string_equal(r->p.v[0].source, "openssl");
	assert_string_equal(r->p.v[1].source, "musl");
}

static void damage_is_a_finding(void **state)
{
	struct root *r = *state;

	put(r, "var/lib/dpkg/status",
	    "Package: x\nStatus: install ok installed\n\nPackage: y\nVersion: 1\n");
	read_packages(r, 1, 1);
	assert_string_equal(finding(r, 0, "check"), "inventory");
	assert_string_equal(finding(r, 0, "severity"), "high");
	put_bytes(r, "lib/apk/db/installed", "P:a\0V:1\n", 8, 0644);
	read_packages(r, 1, 3);
	put(r, "var/lib/rpm/Packages", "bdb");
	read_packages(r, 1, 6);
	assert_non_null(strstr(finding(r, 5, "message"), "unsupported rpm database"));
}

static void links_stay_in_the_root(void **state)
{
	struct root *r = *state;
	char target[64];

	/* Absolute, as an image has it: to its own folder, not to the host's. */
	put(r, "real/status", "Package: y\nVersion: 1\n");
	assert_int_equal(mkdirat(r->fd, "var", 0755), 0);
	assert_int_equal(mkdirat(r->fd, "var/lib", 0755), 0);
	assert_int_equal(symlinkat("/real", r->fd, "var/lib/dpkg"), 0);
	read_packages(r, 1, 0);
	assert_int_equal(unlinkat(r->fd, "var/lib/dpkg", 0), 0);
	snprintf(target, sizeof(target), "../../../../..%s/real", r->path);
	assert_int_equal(symlinkat(target, r->fd, "var/lib/dpkg"), 0);
	read_packages(r, 0, 0);
	/* A FIFO is not waited for. */
	assert_int_equal(unlinkat(r->fd, "var/lib/dpkg", 0), 0);
	assert_int_equal(mkdirat(r->fd, "var/lib/dpkg", 0755), 0);
	assert_int_equal(mkfifoat(r->fd, "var/lib/dpkg/status", 0644), 0);
	read_packages(r, 0, 1);
}

static void too_many_packages_fail(void **state)
{
	struct root *r = *state;
	size_t n = PACKAGES_MAX + 1;
	char *text = malloc(n * 20), *p = text;
	struct error err = {};

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		p += sprintf(p, "P:a%zu\nV:1\n\n", i);
	put(r, "lib/apk/db/installed", text);
	free(text);
	assert_int_equal(packages_read(r->fd, &r->p, &r->f, &err), -E2BIG);
}

/* ---- rpm --------------------------------------------------------------------------------------- */

struct rpm_header {
	unsigned char b[4096];
	size_t entries, data;
	struct {
		uint32_t tag, type, offset, count;
	} index[16];
	unsigned char text[2048];
};

static void add_tag(struct rpm_header *h, uint32_t tag, uint32_t type, const void *v, size_t len)
{
	h->index[h->entries].tag = htobe32(tag);
	h->index[h->entries].type = htobe32(type);
	h->index[h->entries].offset = htobe32((uint32_t)h->data);
	h->index[h->entries++].count = htobe32(1);
	memcpy(h->text + h->data, v, len);
	h->data += len;
}

static size_t make_header(struct rpm_header *h, bool epoch)
{
	uint32_t e = htobe32(2), sizes[2];

	memset(h, 0, sizeof(*h));
	if (epoch)
		add_tag(h, 1003, 4, &e, 4);
	add_tag(h, 1000, 6, "bash", 5);
	add_tag(h, 1001, 6, "5.1.8", 6);
	add_tag(h, 1002, 6, "6.el9", 6);
	add_tag(h, 1022, 6, "x86_64", 7);
	add_tag(h, 1044, 6, "bash-src-5.1.8-6.el9.src.rpm", 29);
	sizes[0] = htobe32((uint32_t)h->entries);
	sizes[1] = htobe32((uint32_t)h->data);
	memcpy(h->b, sizes, 8);
	memcpy(h->b + 8, h->index, 16 * h->entries);
	memcpy(h->b + 8 + 16 * h->entries, h->text, h->data);
	return 8 + 16 * h->entries + h->data;
}

static void rpm_headers(void **state)
{
	struct root *r = *state;
	struct rpm_header h;
	size_t len = make_header(&h, true);

	assert_int_equal(packages_parse_rpm_header(&r->p, h.b, len, NULL), 0);
	assert_string_equal(r->p.v[0].name, "bash");
	assert_string_equal(r->p.v[0].version, "2:5.1.8-6.el9");
	assert_string_equal(r->p.v[0].source, "bash-src");
	assert_string_equal(r->p.v[0].arch, "x86_64");
	/* Cut anywhere, it is refused: no byte behind it is read (the buffer is exact, and ASan looks on). */
	for (size_t cut = 0; cut < len; cut++) {
		unsigned char *exact = malloc(cut ? cut : 1);

		memcpy(exact, h.b, cut);
		assert_int_equal(packages_parse_rpm_header(&r->p, exact, cut, NULL), -EINVAL);
		free(exact);
	}
	memset(h.b, 0xff, 8);
	assert_int_equal(packages_parse_rpm_header(&r->p, h.b, len, NULL), -EINVAL);
	len = make_header(&h, false);
	memset(h.b + 8 + 8, 0xff, 4); /* the name's offset */
	assert_int_equal(packages_parse_rpm_header(&r->p, h.b, len, NULL), -EINVAL);
}

/* An SQLite file in the root, made by these statements, of which ?1 is a header. */
static void make_rpmdb(struct root *r, const char *schema, const char *insert)
{
	char path[96];
	struct rpm_header h;
	size_t len = make_header(&h, false);
	sqlite3_stmt *q;
	sqlite3 *s;

	put(r, "var/lib/rpm/.keep", "");
	snprintf(path, sizeof(path), "%s/var/lib/rpm/rpmdb.sqlite", r->path);
	unlink(path);
	assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
	assert_int_equal(sqlite3_exec(s, schema, NULL, NULL, NULL), SQLITE_OK);
	if (insert) {
		assert_int_equal(sqlite3_prepare_v2(s, insert, -1, &q, NULL), SQLITE_OK);
		sqlite3_bind_blob(q, 1, h.b, (int)len, SQLITE_TRANSIENT);
		assert_int_equal(sqlite3_step(q), SQLITE_DONE);
		sqlite3_finalize(q);
	}
	assert_int_equal(sqlite3_close(s), SQLITE_OK);
}

#define RPM_TABLE "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL);"

static void rpm_database(void **state)
{
	struct root *r = *state;

	make_rpmdb(r, "PRAGMA journal_mode=WAL;" RPM_TABLE, "INSERT INTO Packages VALUES (1, ?1)");
	read_packages(r, 1, 0);
	assert_string_equal(r->p.v[0].version, "5.1.8-6.el9");
}

static void rpm_databases_that_are_none(void **state)
{
	struct root *r = *state;
	char *junk = malloc(1 << 20);

	put(r, "var/lib/rpm/rpmdb.sqlite", "no database at all");
	read_packages(r, 0, 1);
	make_rpmdb(r, "CREATE TABLE other (x)", NULL);
	read_packages(r, 0, 2);
	make_rpmdb(r, RPM_TABLE, "INSERT INTO Packages VALUES (1, substr(?1, 2))");
	read_packages(r, 0, 3);
	/* A query that never ends, in place of the table. */
	make_rpmdb(
		r,
		"CREATE VIEW Packages AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM "
		"c) SELECT x AS blob FROM c WHERE x < 0",
		NULL);
	read_packages(r, 0, 4);
	assert_non_null(junk);
	memset(junk, 'x', 1 << 20);
	memcpy(junk, "SQLite format 3", 16);
	put_bytes(r, "var/lib/rpm/rpmdb.sqlite", junk, 1 << 20, 0644);
	read_packages(r, 0, 5);
	free(junk);
}

/* ---- SBOM -------------------------------------------------------------------------------------- */

static void sbom_has_purls(void **state)
{
	cleanup_json struct json_object *o = NULL;
	struct root *r = *state;
	struct json_object *list, *c;

	put(r, "var/lib/dpkg/status",
	    "Package: libstdc++6\nArchitecture: amd64\nVersion: 1:12.2.0-14+b1\n");
	put(r, "etc/os-release", "ID=debian\nVERSION_ID=12\n");
	read_packages(r, 1, 0);
	o = packages_sbom(&r->p, "a:1", "sha256:0");
	assert_string_equal(json_get_str(o, "bomFormat"), "CycloneDX");
	assert_string_equal(json_get_str(o, "specVersion"), "1.5");
	list = json_get(o, "components", json_type_array);
	assert_int_equal(json_object_array_length(list), 2);
	assert_string_equal(json_get_str(json_object_array_get_idx(list, 0), "type"),
			    "operating-system");
	c = json_object_array_get_idx(list, 1);
	assert_string_equal(json_get_str(c, "name"), "libstdc++6");
	assert_string_equal(
		json_get_str(c, "purl"),
		"pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bb1?arch=amd64&distro=debian-12");
}

static void sbom_of_rpm_and_apk(void **state)
{
	cleanup_json struct json_object *o = NULL;
	struct package rpm = {PACKAGE_RPM, "bash", "2:5.1-6", "x86_64", "", ""};
	struct package apk = {PACKAGE_APK, "musl", "1.2-r0", "", "", ""};
	struct root *r = *state;
	struct json_object *list;

	assert_int_equal(packages_add(&r->p, &rpm, NULL), 0);
	assert_int_equal(packages_add(&r->p, &apk, NULL), 0);
	strcpy(r->p.id, "rocky");
	strcpy(r->p.version_id, "9.3");
	o = packages_sbom(&r->p, "a:1", "sha256:0");
	list = json_get(o, "components", json_type_array);
	assert_string_equal(json_get_str(json_object_array_get_idx(list, 1), "purl"),
			    "pkg:rpm/rocky/bash@5.1-6?arch=x86_64&epoch=2&distro=rocky-9.3");
	assert_string_equal(json_get_str(json_object_array_get_idx(list, 2), "purl"),
			    "pkg:apk/rocky/musl@1.2-r0?distro=rocky-9.3");
}

/* ---- secrets and modes ------------------------------------------------------------------------- */

/* In two pieces each, so that nobody's scanner takes this file for a leak. */
#define BODY "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nMIIEvQIBADANBgkqhkiG\n"
static void secrets_are_found(void **state)
{
	static const char *const yes[] = {
		"x\n-----BEGIN "
		"PRIVATE KEY-----\n" BODY,
		"-----BEGIN RSA "
		"PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,00\n\n" BODY,
		"-----BEGIN OPENSSH "
		"PRIVATE KEY-----\r\n" BODY,
		"PuTTY-User-Key-"
		"File-3: ssh-ed25519\n",
		"aws_id = AKI"
		"AIOSFODNN7EXAMPLE\n",
		"token=gh"
		"p_0123456789abcdefghijABCDEFGHIJ012345",
		"xox"
		"b-123456789012-abc",
		"k: gl"
		"pat-0123456789abcdefghij",
	};
	static const char *const no[] = {
		"",
		"-----BEGIN "
		"PRIVATE KEY-----", /* the line alone: a program that handles keys */
		"-----BEGIN RSA "
		"PRIVATE KEY-----\0-----END RSA PRIVATE KEY-----",
		"-----BEGIN PUBLIC KEY-----\n" BODY,
		"-----BEGIN CERTIFICATE-----\n" BODY,
		"AKI"
		"AIOSFODNN7EXAMPLEX", /* longer than one */
		"XAKI"
		"AIOSFODNN7EXAMPLE",
		"gh"
		"p_short",
		"xox"
		"b-slack",
	};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (!secret_find(yes[i], strlen(yes[i])))
			fail_msg("not found: %s", yes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (secret_find(no[i], strlen(no[i])))
			fail_msg("found: %s", no[i]);
}

static bool has(struct root *r, const char *check, const char *path)
{
	for (size_t i = 0; i < json_object_array_length(r->f.list); i++)
		if (!strcmp(finding(r, i, "check"), check) && !strcmp(finding(r, i, "path"), path))
			return true;
	return false;
}

static void modes_and_secrets_of_a_root(void **state)
{
	struct root *r = *state;
	struct error err = {};

	put(r, "etc/fine", "text");
	put_bytes(r, "etc/open", "text", 4, 0666);
	put_bytes(r, "bin/su", "x", 1, 04755);
	put_bytes(r, "bin/wall", "x", 1, 02755);
	put(r, "root/key",
	    "-----BEGIN "
	    "PRIVATE KEY-----\n" BODY);
	put(r, "tmp/f", "x");
	assert_int_equal(fchmodat(r->fd, "tmp", 01777, 0), 0);
	put(r, "open/f", "x");
	assert_int_equal(fchmodat(r->fd, "open", 0777, 0), 0);
	assert_int_equal(symlinkat("/etc/shadow", r->fd, "link"), 0);
	assert_int_equal(check_root(r->fd, &r->f, &err), 0);
	assert_true(has(r, "world-writable", "/etc/open"));
	assert_true(has(r, "world-writable", "/open"));
	assert_true(has(r, "setuid", "/bin/su"));
	assert_true(has(r, "setgid", "/bin/wall"));
	assert_true(has(r, "secret", "/root/key"));
	assert_int_equal(json_object_array_length(r->f.list), 5);
}

static void a_device_is_found(void **state)
{
	struct root *r = *state;
	struct error err = {};

	if (mknodat(r->fd, "disk", S_IFBLK | 0600, makedev(8, 0)) < 0) {
		if (getenv("RECAP_MUST_RUN"))
			fail_msg("a device node needs root");
		skip();
	}
	assert_int_equal(check_root(r->fd, &r->f, &err), 0);
	assert_true(has(r, "device", "/disk"));
}

static void many_findings_are_counted(void **state)
{
	struct root *r = *state;
	struct error err = {};

	for (int i = 0; i < FINDINGS_PER_CHECK + 5; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f/%d", i);
		put_bytes(r, name, "x", 1, 0666);
	}
	assert_int_equal(check_root(r->fd, &r->f, &err), 0);
	assert_int_equal(json_object_array_length(r->f.list), FINDINGS_PER_CHECK);
	assert_int_equal(
		json_get_int(json_get(r->f.more, "world-writable", json_type_object), "medium", 0),
		5);
}

static void check_text(struct root *r, const char *record, const char *layers)
{
	cleanup_json struct json_object *a = NULL, *b = NULL;

	assert_int_equal(json_parse(record, strlen(record), "record", &a, NULL), 0);
	assert_int_equal(json_parse(layers, strlen(layers), "layers", &b, NULL), 0);
	check_record(a, b, &r->f);
}

static void what_the_record_says(void **state)
{
	struct root *r = *state;

	check_text(r, "{\"user\":\"1000\",\"env\":[\"PATH=/bin\"]}",
		   "[{\"layer\":\"a\",\"dropped\":{\"total\":0,\"list\":[]}}]");
	check_text(r, "{\"user\":\"0\",\"labels\":{\"io.recap.capabilities\":\"NET_RAW\"}}", "[]");
	assert_int_equal(json_object_array_length(r->f.list), 0);
	check_text(r, "{\"user\":\"0:5\"}", "[]");
	check_text(r, "{\"user\":\"\"}", "[]");
	check_text(r, "{\"user\":\"rooty\"}", "[]");
	assert_int_equal(json_object_array_length(r->f.list), 2);
	assert_string_equal(finding(r, 0, "check"), "root-user");
	check_text(
		r,
		"{\"user\":\"5\",\"env\":[\"T=gh"
		"p_0123456789abcdefghijABCDEFGHIJ012345\"]}",
		"[{\"layer\":\"a\",\"dropped\":{\"total\":9,\"list\":[{\"path\":\"bin/su\",\"what\":"
		"\"setuid\"},{\"path\":\"bin/x\",\"what\":\"setuid\",\"covered\":true}]}},{\"layer\":\"b\"}]");
	assert_int_equal(json_object_array_length(r->f.list), 6);
	assert_string_equal(finding(r, 2, "check"), "secret");
	assert_null(strstr(finding(r, 2, "message"), "0123456789"));
	assert_string_equal(finding(r, 3, "check"), "setuid");
	assert_string_equal(finding(r, 4, "check"), "unrecorded");
	assert_string_equal(finding(r, 5, "check"), "unrecorded");
}

#define ROOT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROOT_TEST(dpkg_lists_what_is_installed),
		ROOT_TEST(distroless_has_a_file_for_each),
		ROOT_TEST(apk_lists_packages),
		ROOT_TEST(damage_is_a_finding),
		ROOT_TEST(links_stay_in_the_root),
		ROOT_TEST(too_many_packages_fail),
		ROOT_TEST(rpm_headers),
		ROOT_TEST(rpm_database),
		ROOT_TEST(rpm_databases_that_are_none),
		ROOT_TEST(sbom_has_purls),
		ROOT_TEST(sbom_of_rpm_and_apk),
		cmocka_unit_test(secrets_are_found),
		ROOT_TEST(modes_and_secrets_of_a_root),
		ROOT_TEST(a_device_is_found),
		ROOT_TEST(many_findings_are_counted),
		ROOT_TEST(what_the_record_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
