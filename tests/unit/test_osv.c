// SPDX-License-Identifier: MIT
/* What OSV records say of packages, CVSS vectors, and what scanners say in SARIF. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "scan/cvss.h"
#include "scan/osv.h"
#include "scan/sarif.h"

/* ---- OSV --------------------------------------------------------------------------------------- */

struct image {
	struct packages p;
	struct findings f;
};

static void image_of(struct image *i, const char *id, const char *version_id,
		     enum package_kind kind, const char *version)
{
	struct package one = {.kind = kind,
			      .name = "libfoo1",
			      .version = (char *)version,
			      .arch = "amd64",
			      .source = "foo"};

	*i = (struct image){};
	snprintf(i->p.id, sizeof(i->p.id), "%s", id);
	snprintf(i->p.version_id, sizeof(i->p.version_id), "%s", version_id);
	assert_int_equal(packages_add(&i->p, &one, NULL), 0);
	findings_init(&i->f);
}

static void image_end(struct image *i)
{
	packages_release(&i->p);
	findings_release(&i->f);
}

static int check_text(struct image *i, const char *record)
{
	cleanup_json struct json_object *o = NULL;
	struct error err = {};

	if (json_parse(record, strlen(record), "record", &o, &err) < 0)
		fail_msg("%s", err.msg);
	return osv_check_record(o, &i->p, &i->f, &err);
}

/* How many findings the record is for a package of that version; *ret_severity is the first one's. */
static size_t hits(const char *id, const char *release, enum package_kind kind, const char *version,
		   const char *record, char ret_severity[16])
{
	struct image i;
	size_t n;

	image_of(&i, id, release, kind, version);
	assert_int_equal(check_text(&i, record), 0);
	n = json_object_array_length(i.f.list);
	if (n && ret_severity)
		snprintf(ret_severity, 16, "%s",
			 json_get_str(json_object_array_get_idx(i.f.list, 0), "severity"));
	image_end(&i);
	return n;
}

#define RECORD(ecosystem, name, rest)                                            \
	"{\"id\":\"X-1\",\"affected\":[{\"package\":{\"ecosystem\":\"" ecosystem \
	"\",\"name\":\"" name "\"}," rest "}]}"
#define RANGE(events) "\"ranges\":[{\"type\":\"ECOSYSTEM\",\"events\":[" events "]}]"
#define FIXED_2	      RANGE("{\"introduced\":\"0\"},{\"fixed\":\"2.0-1\"}")

static size_t deb(const char *version, const char *record)
{
	return hits("debian", "12", PACKAGE_DEB, version, record, NULL);
}

static void a_fix_ends_it(void **state)
{
	static const char record[] = RECORD("Debian:12", "foo", FIXED_2);

	assert_int_equal(deb("1.9-1", record), 1);
	assert_int_equal(deb("2.0-1~deb12u1", record), 1);
	assert_int_equal(deb("2.0-1", record), 0);
	assert_int_equal(deb("1:0.1-1", record), 0); /* an epoch */
}

static void names_and_releases_must_match(void **state)
{
	assert_int_equal(deb("1", RECORD("Debian:11", "foo", FIXED_2)), 0);
	assert_int_equal(deb("1", RECORD("Debian:123", "foo", FIXED_2)), 0);
	assert_int_equal(deb("1", RECORD("Debian", "foo", FIXED_2)), 1);
	assert_int_equal(deb("1", RECORD("Debian:12", "bar", FIXED_2)), 0);
	assert_int_equal(deb("1", RECORD("Debian:12", "libfoo1", FIXED_2)), 1); /* the binary's */
	assert_int_equal(deb("1", RECORD("npm", "foo", FIXED_2)), 0);
	assert_int_equal(hits("alpine", "3.18.4", PACKAGE_APK, "1-r0",
			      RECORD("Alpine:v3.18", "foo", FIXED_2), NULL),
			 1);
	assert_int_equal(hits("alpine", "3.19.1", PACKAGE_APK, "1-r0",
			      RECORD("Alpine:v3.18", "foo", FIXED_2), NULL),
			 0);
	assert_int_equal(hits("ubuntu", "22.04", PACKAGE_DEB, "1",
			      RECORD("Ubuntu:22.04:LTS", "foo", FIXED_2), NULL),
			 1);
	assert_int_equal(hits("rocky", "9.3", PACKAGE_RPM, "1-1",
			      RECORD("Rocky Linux:9", "foo", FIXED_2), NULL),
			 1);
	assert_int_equal(hits("wolfi", "20230201", PACKAGE_APK, "1-r0",
			      RECORD("Wolfi", "foo", FIXED_2), NULL),
			 1);
}

static void ranges_and_versions(void **state)
{
	static const char twice[] = RECORD("Debian:12", "foo",
					   RANGE("{\"fixed\":\"4\"},{\"introduced\":\"1\"},"
						 "{\"fixed\":\"2\"},{\"introduced\":\"3\"}"));
	static const char last[] = RECORD(
		"Debian:12", "foo", RANGE("{\"introduced\":\"1\"},{\"last_affected\":\"2\"}"));
	static const char listed[] = RECORD("Debian:12", "foo", "\"versions\":[\"7\",\"9\"]");

	assert_int_equal(deb("0.5", twice), 0);
	assert_int_equal(deb("1", twice), 1);
	assert_int_equal(deb("2", twice), 0);
	assert_int_equal(deb("3.5", twice), 1);
	assert_int_equal(deb("4", twice), 0);
	assert_int_equal(deb("2", last), 1);
	assert_int_equal(deb("2+x", last), 0);
	assert_int_equal(deb("9", listed), 1);
	assert_int_equal(deb("8", listed), 0);
	assert_int_equal(deb("1", RECORD("Debian:12", "foo", RANGE("{\"introduced\":\"0\"}"))), 1);
	assert_int_equal(
		deb("1", RECORD("Debian:12", "foo",
				"\"ranges\":[{\"type\":\"GIT\",\"events\":[{\"introduced\":"
				"\"0\"}]}]")),
		0);
}

static void withdrawn_is_none(void **state)
{
	assert_int_equal(deb("1",
			     "{\"id\":\"X\",\"withdrawn\":\"2024-01-01T00:00:00Z\",\"affected\":[{"
			     "\"package\":{\"ecosystem\":\"Debian:12\",\"name\":\"foo\"},"
			     "\"versions\":[\"1\"]}]}"),
			 0);
}

static void severities(void **state)
{
	static const struct {
		const char *extra, *severity;
	} all[] = {
		{"", "high"}, /* none is given */
		{"\"database_specific\":{\"severity\":\"LOW\"},", "low"},
		{"\"database_specific\":{\"severity\":\"MODERATE\"},", "medium"},
		{"\"severity\":[{\"type\":\"CVSS_V3\",\"score\":\"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/"
		 "A:H\"}],",
		 "critical"},
		{"\"severity\":[{\"type\":\"CVSS_V3\",\"score\":\"rubbish\"}],", "high"},
		{"\"severity\":[{\"type\":\"Ubuntu\",\"score\":\"negligible\"}],", "low"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char record[512], severity[16] = "";

		snprintf(
			record, sizeof(record),
			"{\"id\":\"X\",%s\"affected\":[{\"package\":{\"ecosystem\":\"Debian:12\",\"name\":"
			"\"foo\"},\"versions\":[\"1\"]}]}",
			all[i].extra);
		assert_int_equal(hits("debian", "12", PACKAGE_DEB, "1", record, severity), 1);
		assert_string_equal(severity, all[i].severity);
	}
}

static void bad_records_fail(void **state)
{
	static const char *const all[] = {
		"{\"affected\":[]}", /* no id */
		RECORD("Debian:12", "foo", RANGE("{\"introdruced\":\"0\"}")),
		RECORD("Debian:12", "foo", "\"ranges\":[{\"type\":\"OTHER\",\"events\":[]}]"),
		RECORD("Debian:12", "foo", "\"ranges\":[{\"type\":\"ECOSYSTEM\"}]"),
		RECORD("Debian:12", "foo", "\"ranges\":[3]"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct image im;

		image_of(&im, "debian", "12", PACKAGE_DEB, "1");
		assert_int_equal(check_text(&im, all[i]), -EINVAL);
		image_end(&im);
	}
}

static void write_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void a_folder_of_records(void **state)
{
	char path[] = "/tmp/recap-osv-XXXXXX";
	struct error err = {};
	struct image i;
	int64_t n = 0;
	int dir;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	image_of(&i, "debian", "12", PACKAGE_DEB, "1");
	/* Nothing to look at is no pass. */
	assert_int_equal(osv_check(dir, &i.p, &i.f, &n, &err), -ENOENT);
	assert_int_equal(mkdirat(dir, "Debian", 0755), 0);
	write_file(dir, "Debian/X-1.json", RECORD("Debian:12", "foo", FIXED_2));
	write_file(dir, "README", "no record");
	assert_int_equal(osv_check(dir, &i.p, &i.f, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(json_object_array_length(i.f.list), 1);
	assert_string_equal(json_get_str(json_object_array_get_idx(i.f.list, 0), "check"),
			    "osv:X-1");
	/* A distribution that nobody knows is a finding of its own. */
	strcpy(i.p.id, "plan9");
	assert_int_equal(osv_check(dir, &i.p, &i.f, &n, &err), 0);
	assert_int_equal(json_object_array_length(i.f.list), 2);
	assert_string_equal(json_get_str(json_object_array_get_idx(i.f.list, 1), "check"),
			    "inventory");
	write_file(dir, "X-2.json", "{\"id\":");
	assert_true(osv_check(dir, &i.p, &i.f, &n, &err) < 0);
	assert_non_null(strstr(err.msg, "X-2.json"));
	image_end(&i);
	close(dir);
	assert_int_equal(fd_remove_tree(AT_FDCWD, path), 0);
}

/* Scores from FIRST's CVSS 3.1 examples. */
static void cvss_scores(void **state)
{
	static const struct {
		const char *vector;
		int score;
	} all[] = {
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 100},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 75}, /* Heartbleed */
		{"CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N",
		 64}, /* phpMyAdmin XSS and SQL: CVE-2013-1937's kin */
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 61},
		{"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 78},
		{"CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 31},
		{"CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 68},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O", 98},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", -EINVAL},
		{"CVSS:3.1/AV:Q/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", -EINVAL},
		{"CVSS:3.1/", -EINVAL},
		{"AV:N/AC:L/Au:N/C:P/I:P/A:P", -EINVAL},
		{"", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (cvss_score(all[i].vector) != all[i].score)
			fail_msg("%s: %d, not %d", all[i].vector, cvss_score(all[i].vector),
				 all[i].score);
	assert_int_equal(cvss_severity(39), SEVERITY_LOW);
	assert_int_equal(cvss_severity(40), SEVERITY_MEDIUM);
	assert_int_equal(cvss_severity(70), SEVERITY_HIGH);
	assert_int_equal(cvss_severity(90), SEVERITY_CRITICAL);
}

/* ---- SARIF ------------------------------------------------------------------------------------- */

#define SARIF(runs) "{\"version\":\"2.1.0\",\"runs\":[" runs "]}"
#define RUN(rules, results) \
	"{\"tool\":{\"driver\":{\"name\":\"t\",\"rules\":[" rules "]}},\"results\":[" results "]}"

static int sarif(const char *text, struct findings *f)
{
	struct error err = {};

	findings_init(f);
	return sarif_read(text, strlen(text), "tool", "/image", f, &err);
}

static void expect_sarif(const char *text, const char *check, const char *severity,
			 const char *path)
{
	struct json_object *o;
	struct findings f;

	assert_int_equal(sarif(text, &f), 0);
	assert_int_equal(json_object_array_length(f.list), 1);
	o = json_object_array_get_idx(f.list, 0);
	assert_string_equal(json_get_str(o, "check"), check);
	assert_string_equal(json_get_str(o, "severity"), severity);
	if (path)
		assert_string_equal(json_get_str(o, "path"), path);
	else
		assert_null(json_get_str(o, "path"));
	findings_release(&f);
}

static void sarif_results(void **state)
{
	struct findings f;

	expect_sarif(
		SARIF(RUN("{\"id\":\"CVE-1\",\"properties\":{\"security-severity\":\"9.8\"}}",
			  "{\"ruleId\":\"CVE-1\",\"level\":\"note\",\"message\":{\"text\":\"m\"},"
			  "\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":"
			  "\"file:///image/usr/x\"}}}]}")),
		"tool:CVE-1", "critical", "/usr/x");
	expect_sarif(
		SARIF(RUN("{\"id\":\"R\",\"defaultConfiguration\":{\"level\":\"error\"}}",
			  "{\"ruleIndex\":0,\"message\":{\"text\":\"m\"},\"locations\":[{"
			  "\"physicalLocation\":{\"artifactLocation\":{\"uri\":\"etc/y\"}}}]}")),
		"tool:R", "high", "/etc/y");
	expect_sarif(SARIF(RUN("", "{\"ruleId\":\"Q\",\"message\":{\"text\":\"m\"}}")), "tool:Q",
		     "medium", NULL);
	expect_sarif(SARIF(RUN("", "{\"ruleId\":\"Q\",\"level\":\"note\",\"message\":{}},"
				   "{\"ruleId\":\"P\",\"kind\":\"pass\",\"message\":{}}")),
		     "tool:Q", "low", NULL);
	assert_int_equal(sarif(SARIF(RUN("", "")), &f), 0);
	assert_int_equal(json_object_array_length(f.list), 0);
	findings_release(&f);
}

static void sarif_that_is_none(void **state)
{
	char deep[4096];
	static const char *const all[] = {
		"",
		"{}",
		"[]",
		"null",
		"{\"version\":\"2.1.0\",\"runs\":[]}",
		"{\"version\":\"2.0.0\",\"runs\":[" RUN("", "") "]}",
		SARIF("{\"tool\":{\"driver\":{}}}"), /* results are absent: nothing was looked for */
		SARIF("{\"results\":[]}"),
		SARIF("3"),
		SARIF(RUN("", "3")),
		SARIF("{\"tool\":{\"driver\":{}},\"results\":[],\"invocations\":[{\"executionSuccessful\":"
		      "false}]}"),
		"{\"version\":\"2.1.0\",\"runs\":[" RUN("", ""),
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct findings f;

		if (sarif(all[i], &f) != -EINVAL)
			fail_msg("taken for SARIF: %s", all[i]);
		findings_release(&f);
	}
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	for (int i = 0; i < 1; i++) {
		struct findings f;

		assert_int_equal(sarif(deep, &f), -EINVAL);
		findings_release(&f);
	}
}

/* A rule's index that leads nowhere is nobody's rule; too many results are counted. */
static void sarif_that_is_odd(void **state)
{
	size_t n = FINDINGS_OF_TOOL + 7, len = 0, size = n * 64 + 200;
	char *text = malloc(size);
	struct findings f;

	expect_sarif(
		SARIF(RUN("{}",
			  "{\"ruleIndex\":99999999999,\"message\":{\"text\":\"\\u001b[31m\"}}")),
		"tool:result", "medium", NULL);
	assert_non_null(text);
	len = sprintf(text,
		      "{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{}},\"results\":[");
	for (size_t i = 0; i < n; i++)
		len += sprintf(text + len, "%s{\"ruleId\":\"a\",\"message\":{\"text\":\"m\"}}",
			       i ? "," : "");
	sprintf(text + len, "]}]}");
	assert_int_equal(sarif(text, &f), 0);
	assert_int_equal(json_object_array_length(f.list), FINDINGS_OF_TOOL);
	assert_int_equal(json_get_int(json_get(f.more, "tool", json_type_object), "medium", 0), 7);
	findings_release(&f);
	free(text);
}

static void lines_of_a_scanner(void **state)
{
	static const char text[] = "/image/a b/eicar.com: Eicar-Test FOUND\n\nother\n";
	struct json_object *o;
	struct findings f;

	findings_init(&f);
	status_read(text, strlen(text), "clamav", "/image", SEVERITY_CRITICAL, &f);
	assert_int_equal(json_object_array_length(f.list), 2);
	o = json_object_array_get_idx(f.list, 0);
	assert_string_equal(json_get_str(o, "path"), "/a b/eicar.com");
	assert_string_equal(json_get_str(o, "message"), "Eicar-Test FOUND");
	assert_string_equal(json_get_str(o, "severity"), "critical");
	findings_release(&f);
	findings_init(&f);
	status_read("", 0, "clamav", "/image", SEVERITY_HIGH, &f);
	assert_int_equal(json_object_array_length(f.list), 1);
	findings_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fix_ends_it),
		cmocka_unit_test(names_and_releases_must_match),
		cmocka_unit_test(ranges_and_versions),
		cmocka_unit_test(withdrawn_is_none),
		cmocka_unit_test(severities),
		cmocka_unit_test(bad_records_fail),
		cmocka_unit_test(a_folder_of_records),
		cmocka_unit_test(cvss_scores),
		cmocka_unit_test(sarif_results),
		cmocka_unit_test(sarif_that_is_none),
		cmocka_unit_test(sarif_that_is_odd),
		cmocka_unit_test(lines_of_a_scanner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
