// SPDX-License-Identifier: MIT
/* The gate: its configuration, what verdicts mean under it, and signatures. Each refusal has its allowed twin. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/gate.h"
#include "recapd/config.h"
#include "scan/scan.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define OTHER  "sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char dir[32];
static int fd = -1;

static int setup(void **state)
{
	strcpy(dir, "/tmp/recap-gate-XXXXXX");
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(fd, "v", 0700), 0);
	assert_int_equal(mkdirat(fd, "s", 0700), 0);
	return 0;
}

static int teardown(void **state)
{
	close(fd);
	assert_int_equal(fd_remove_tree(AT_FDCWD, dir), 0);
	return 0;
}

static void put(const char *name, const char *text)
{
	int to = openat(fd, "new", O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(to >= 0);
	assert_int_equal(fd_write_all(to, text, strlen(text)), 0);
	close(to);
	assert_int_equal(renameat(fd, "new", fd, name), 0);
}

/* ---- configuration ----------------------------------------------------------------------------- */

static int parse(const char *text, struct gate_config *c, struct error *err)
{
	cleanup_json struct json_object *o = NULL;

	assert_int_equal(json_parse(text, strlen(text), "test", &o, err), 0);
	return gate_config_parse(o, "gate", c, err);
}

static void config(const char *text, struct gate_config *c)
{
	struct error err = {};

	if (parse(text, c, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
}

static void bad_settings_are_named(void **state)
{
	static const struct {
		const char *text, *needle;
	} all[] = {
		{"{\"scam\":\"off\"}", "no setting called scam"},
		{"{\"scan\":true}", "gate.scan must be a string"},
		{"{\"scan\":\"on\"}", "\"off\" or \"required\""},
		{"{\"signatures\":\"yes\"}", "gate.signatures"},
		{"{\"signatures\":\"required\"}", "names no key"},
		{"{\"signatures\":\"required\",\"keys\":[\"rel.pem\"]}", "absolute"},
		{"{\"max_age_s\":0}", "max_age_s"},
		{"{\"max_age_s\":-5}", "max_age_s"},
		{"{\"max_age_s\":\"1d\"}", "max_age_s must be a int"},
		{"{\"fail_severity\":\"ignore\"}", "fail_severity"},
		{"{\"fail_severity\":\"worst\"}", "fail_severity"},
		{"{\"checks\":{\"secret\":\"never\"}}", "checks: secret"},
		{"{\"checks\":{\"secret\":1}}", "checks: secret"},
		{"{\"osv_dir\":\"osv\"}", "absolute"},
		{"{\"allow\":[\"toolbox\"]}", "digests"},
		{"{\"allow\":\"" DIGEST "\"}", "gate.allow must be a array"},
		{"{\"scanners\":[\"no-such-scanner\"]}", "cannot read the scanner's file"},
		{"{\"scanners\":[\"../x\"]}", "neither a name nor"},
		{"{\"scanners\":[3]}", "names or objects"},
		{"{\"scanners\":[{\"name\":\"a\",\"output\":\"status\"}]}", "argv"},
		{"{\"scanners\":[{\"argv\":[\"a\"],\"output\":\"status\"}]}", "name"},
		{"{\"scanners\":[{\"name\":\"A b\",\"argv\":[\"a\"],\"output\":\"status\"}]}",
		 "name"},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"xml\"}]}", "output"},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\",\"ok_status\":[256]}]}",
		 "0 to 255"},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\",\"x\":1}]}",
		 "no member \"x\""},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\",\"timeout_s\":0}]}",
		 "timeout_s"},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\",\"paths\":[\"x\"]}]}",
		 "absolute"},
		{"{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\"},"
		 "{\"name\":\"a\",\"argv\":[\"b\"],\"output\":\"status\"}]}",
		 "two scanners"},
		{"[]", "must be an object"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct gate_config c;
		struct error err = {};

		if (parse(all[i].text, &c, &err) >= 0)
			fail_msg("accepted: %s", all[i].text);
		if (!strstr(err.msg, all[i].needle))
			fail_msg("%s: \"%s\" is not in \"%s\"", all[i].text, all[i].needle,
				 err.msg);
	}
}

static void good_settings(void **state)
{
	struct gate_config c, again;
	struct error err = {};
	char text[512];

	put("scanner.json", "{\"name\":\"x\",\"argv\":[\"true\"],\"output\":\"status\"}");
	snprintf(
		text, sizeof(text),
		"{\"scan\":\"required\",\"max_age_s\":60,\"fail_severity\":\"low\",\"checks\":{\"osv:X\":"
		"\"ignore\"},\"osv_dir\":\"/osv\",\"scanners\":[\"%s/scanner.json\"],\"signatures\":"
		"\"off\",\"keys\":[\"/k.pem\"],\"allow\":[\"" DIGEST "\"]}",
		dir);
	config(text, &c);
	assert_true(c.scan_required && c.has_allow && !c.signatures_required);
	assert_int_equal(c.fail, SEVERITY_LOW);
	/* What the worker gets means the same, but for `allow`, which it has no use for. */
	assert_int_equal(gate_config_parse(c.source, "gate", &again, &err), 0);
	assert_true(json_object_equal(c.made_under, again.made_under));
	assert_true(json_object_equal(c.checks, again.checks));
	gate_config_release(&again);
	gate_config_release(&c);
	assert_int_equal(gate_config_parse(NULL, "gate", &c, &err), 0);
	assert_true(!c.scan_required && !c.has_allow && !c.signatures_required);
	assert_int_equal(c.fail, SEVERITY_HIGH);
	gate_config_release(&c);
}

/* In the file of recapd, beside settings of other kinds. */
static void the_file_of_recapd(void **state)
{
	char path[64];
	char *argv[] = {"recapd", "--config", path, NULL};
	enum config_action action;
	struct error err = {};
	struct config c;

	snprintf(path, sizeof(path), "%s/recapd.json", dir);
	put("recapd.json", "{\"cgroup\":\"x\",\"gate\":{\"scan\":\"required\"}}");
	assert_int_equal(config_read(3, argv, &c, &action, &err), 0);
	assert_true(c.gate.scan_required);
	config_clear(&c);
	put("recapd.json", "{\"cgroup\":\"x\"}");
	assert_int_equal(config_read(3, argv, &c, &action, &err), 0);
	assert_false(c.gate.scan_required);
	config_clear(&c);
	put("recapd.json", "{\"gate\":{\"scan\":\"maybe\"}}");
	assert_true(config_read(3, argv, &c, &action, &err) < 0);
	assert_non_null(strstr(err.msg, path));
	assert_non_null(strstr(err.msg, "gate.scan"));
	put("recapd.json", "{\"gate\":null}");
	assert_true(config_read(3, argv, &c, &action, &err) < 0);
	put("recapd.json", "{\"cgroup\":{}}");
	assert_true(config_read(3, argv, &c, &action, &err) < 0);
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

#define UNDER "\"made_under\":{\"format\":1,\"scanners\":[]}"
#define VERDICT(findings)                                                                 \
	"{\"digest\":\"" DIGEST "\",\"result\":\"complete\",\"scanned_unix\":1000," UNDER \
	",\"findings\":[" findings "]}"
#define FINDING(check, severity)                            \
	"{\"check\":\"" check "\",\"severity\":\"" severity \
	"\",\"path\":\"/p\",\"message\":\"msg\"}"

static void expect_judged(const char *gate, const char *verdict, time_t now, enum gate_state state,
			  const char *needle)
{
	cleanup_json struct json_object *o = NULL;
	struct gate_config c;
	char why[512] = "";
	enum gate_state got;

	config(gate, &c);
	assert_int_equal(json_parse(verdict, strlen(verdict), "verdict", &o, NULL), 0);
	got = gate_judge(&c, o, now, why);
	if (got != state || (needle && !strstr(why, needle)))
		fail_msg("%s under %s: %s, %s", verdict, gate, gate_state_name(got), why);
	gate_config_release(&c);
}

static void thresholds(void **state)
{
	static const char high[] =
		VERDICT(FINDING("secret", "high") "," FINDING("setuid", "medium"));

	expect_judged("{}", VERDICT(""), 1000, GATE_OK, NULL);
	expect_judged("{}", VERDICT(FINDING("setuid", "medium")), 1000, GATE_OK, NULL);
	expect_judged("{}", high, 1000, GATE_REFUSED, "secret (high) in /p: msg");
	expect_judged("{\"fail_severity\":\"critical\"}", high, 1000, GATE_OK, NULL);
	expect_judged("{\"fail_severity\":\"low\"}", high, 1000, GATE_REFUSED, "and 1 more");
	expect_judged("{\"checks\":{\"secret\":\"ignore\"}}", high, 1000, GATE_OK, NULL);
	expect_judged("{\"checks\":{\"secret\":\"medium\",\"setuid\":\"critical\"}}", high, 1000,
		      GATE_REFUSED, "setuid (critical)");
}

static void overrides_of_one_or_all(void **state)
{
	static const char osv[] = VERDICT(FINDING("osv:CVE-1", "high"));

	expect_judged("{}", osv, 1000, GATE_REFUSED, "osv:CVE-1");
	expect_judged("{\"checks\":{\"osv:CVE-1\":\"ignore\"}}", osv, 1000, GATE_OK, NULL);
	expect_judged("{\"checks\":{\"osv:CVE-11\":\"ignore\"}}", osv, 1000, GATE_REFUSED, NULL);
	expect_judged("{\"checks\":{\"osv\":\"low\"}}", osv, 1000, GATE_OK, NULL);
	expect_judged("{\"checks\":{\"osv\":\"low\",\"osv:CVE-1\":\"high\"}}", osv, 1000,
		      GATE_REFUSED, NULL);
}

static void what_was_not_listed_counts(void **state)
{
	static const char more[] =
		"{\"digest\":\"" DIGEST "\",\"result\":\"complete\",\"scanned_unix\":1000," UNDER
		",\"findings\":[],\"more\":{\"osv\":{\"high\":3}}}";

	expect_judged("{}", more, 1000, GATE_REFUSED, "too many to be listed, and 2 more");
	expect_judged("{\"checks\":{\"osv\":\"ignore\"}}", more, 1000, GATE_OK, NULL);
}

static void age_and_configuration(void **state)
{
	static const char gate[] = "{\"max_age_s\":100}";

	expect_judged(gate, VERDICT(""), 1100, GATE_OK, NULL);
	expect_judged(gate, VERDICT(""), 1101, GATE_STALE, "older than 100 s");
	expect_judged(gate, VERDICT(""), 900, GATE_STALE, NULL); /* from the future */
	expect_judged("{}", VERDICT(""), 1000000, GATE_OK, NULL);
	expect_judged("{\"osv_dir\":\"/osv\"}", VERDICT(""), 1000, GATE_STALE,
		      "another configuration");
	expect_judged("{\"scanners\":[{\"name\":\"a\",\"argv\":[\"a\"],\"output\":\"status\"}]}",
		      VERDICT(""), 1000, GATE_STALE, "another configuration");
	/* A threshold is looked at when it counts: no reason to scan again. */
	expect_judged("{\"fail_severity\":\"low\"}", VERDICT(""), 1000, GATE_OK, NULL);
}

static void failed_and_senseless_verdicts(void **state)
{
	expect_judged(
		"{}",
		"{\"result\":\"failed\",\"error\":\"clamav crashed\",\"scanned_unix\":1," UNDER
		",\"findings\":[]}",
		1000, GATE_REFUSED, "failed: clamav crashed");
	expect_judged("{}", "{" UNDER ",\"findings\":[]}", 1000, GATE_REFUSED, "failed");
	expect_judged("{}", "{\"result\":\"complete\"," UNDER "}", 1000, GATE_REFUSED, NULL);
	expect_judged("{}", "{\"result\":\"complete\",\"findings\":[]}", 1000, GATE_STALE, NULL);
	expect_judged("{}", VERDICT("{\"check\":\"x\"}"), 1000, GATE_REFUSED, NULL);
	expect_judged("{}", VERDICT("7"), 1000, GATE_REFUSED, NULL);
}

/* ---- the question at attach time --------------------------------------------------------------- */

static struct gate *gate_with(const char *text, struct gate_config *c)
{
	struct gate *g;
	struct error err = {};

	config(text, c);
	assert_int_equal(gate_new(c, openat(fd, "v", O_PATH), openat(fd, "s", O_PATH), &g, &err),
			 0);
	return g;
}

static void expect_gate(struct gate *g, const char *digest, const char *needle)
{
	struct error err = {};
	int r = gate_check(g, digest, &err);

	if (!needle) {
		if (r < 0)
			fail_msg("refused: %s", err.msg);
		return;
	}
	assert_int_equal(r, -EPERM);
	assert_string_equal(err.name, "ImageRefused");
	if (!strstr(err.msg, needle))
		fail_msg("\"%s\" is not in \"%s\"", needle, err.msg);
}

static void scans_are_required(void **state)
{
	struct gate_config c, off;
	struct gate *g = gate_with("{\"scan\":\"required\"}", &c), *none = gate_with("{}", &off);

	expect_gate(none, DIGEST, NULL);
	expect_gate(g, DIGEST, "never scanned");
	assert_int_equal(gate_scan_state(g, DIGEST), GATE_NONE);
	put("v/" HEX ".json", VERDICT(""));
	expect_gate(g, DIGEST, NULL);
	expect_gate(g, OTHER, "never scanned");
	put("v/" HEX ".json", VERDICT(FINDING("secret", "high")));
	expect_gate(g, DIGEST, "secret");
	assert_int_equal(gate_scan_state(g, DIGEST), GATE_REFUSED);
	put("v/" HEX ".json", VERDICT(""));
	expect_gate(g, DIGEST, NULL);
	put("v/" HEX ".json", "{");
	expect_gate(g, DIGEST, "cannot be read");
	/* A verdict about another image under this one's name. */
	put("v/" HEX ".json",
	    "{\"digest\":\"" OTHER "\",\"result\":\"complete\",\"findings\":[]," UNDER "}");
	expect_gate(g, DIGEST, "cannot be read");
	assert_int_equal(unlinkat(fd, "v/" HEX ".json", 0), 0);
	expect_gate(g, DIGEST, "never scanned");
	gate_free(g);
	gate_free(none);
	gate_config_release(&c);
	gate_config_release(&off);
}

static void digests_are_listed(void **state)
{
	struct gate_config c, empty;
	struct gate *g = gate_with("{\"allow\":[\"" DIGEST "\"]}", &c);
	struct gate *none = gate_with("{\"allow\":[]}", &empty);

	expect_gate(g, DIGEST, NULL);
	expect_gate(g, OTHER, "gate.allow");
	expect_gate(none, DIGEST, "gate.allow");
	gate_free(g);
	gate_free(none);
	gate_config_release(&c);
	gate_config_release(&empty);
}

/* ---- keys and signatures ----------------------------------------------------------------------- */

static EVP_PKEY *make_key(const char *name, char ret[GATE_KEY_TEXT])
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	struct error err = {};
	char path[64];
	FILE *f;

	assert_non_null(key);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_PUBKEY(f, key), 1);
	fclose(f);
	if (gate_read_key(path, ret, &err) < 0)
		fail_msg("%s", err.msg);
	return key;
}

static void sign(EVP_PKEY *key, const char *text, unsigned char ret[64])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = 64;

	assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(ctx, ret, &len, (const unsigned char *)text, strlen(text)),
			 1);
	EVP_MD_CTX_free(ctx);
}

static void signatures_verify(void **state)
{
	char key[GATE_KEY_TEXT], other[GATE_KEY_TEXT];
	EVP_PKEY *a = make_key("a.pem", key), *b = make_key("b.pem", other);
	unsigned char s[64];

	sign(a, DIGEST, s);
	assert_true(signature_verify(key, s, DIGEST));
	assert_false(signature_verify(key, s, OTHER));
	assert_false(signature_verify(other, s, DIGEST));
	for (size_t i = 0; i < sizeof(s); i++) {
		s[i] ^= 1;
		assert_false(signature_verify(key, s, DIGEST));
		s[i] ^= 1;
	}
	sign(a, DIGEST "\n", s); /* the text has no newline */
	assert_false(signature_verify(key, s, DIGEST));
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
}

static void keys_that_are_none(void **state)
{
	static const char *const all[] = {
		"",
		"-----BEGIN PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		/* a P-256 key's start */
		"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAAAAAAAAAAAAAAAAAAAAAA\n"
		"-----END PUBLIC KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
		"-----END PRIVATE KEY-----\n",
	};
	char key[GATE_KEY_TEXT], path[64];

	snprintf(path, sizeof(path), "%s/k.pem", dir);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct error err = {};

		put("k.pem", all[i]);
		if (gate_read_key(path, key, &err) >= 0)
			fail_msg("taken for a key: %s", all[i]);
		assert_non_null(strstr(err.msg, path));
	}
}

/* Which key verified a signature is written down; which keys are trusted is asked each time. */
static void signatures_are_required(void **state)
{
	char key[GATE_KEY_TEXT], other[GATE_KEY_TEXT], text[512];
	EVP_PKEY *a = make_key("a.pem", key), *b = make_key("b.pem", other);
	struct gate_config c;
	struct gate *g;

	snprintf(text, sizeof(text), "{\"signatures\":\"required\",\"keys\":[\"%s/a.pem\"]}", dir);
	g = gate_with(text, &c);
	expect_gate(g, DIGEST, "no signature");
	snprintf(text, sizeof(text),
		 "{\"digest\":\"" DIGEST
		 "\",\"signatures\":[{\"signature\":\"00\",\"key\":\"%s\"}]}",
		 key);
	put("s/" HEX ".json", text);
	expect_gate(g, DIGEST, NULL);
	expect_gate(g, OTHER, "no signature");
	assert_true(gate_is_signed(g, DIGEST));
	assert_false(gate_is_signed(g, OTHER));
	/* The key's file is replaced: the old key is trusted no more, and again when it is back. */
	assert_int_equal(renameat(fd, "a.pem", fd, "old.pem"), 0);
	expect_gate(g, DIGEST, "none of its signatures");
	assert_int_equal(linkat(fd, "b.pem", fd, "a.pem", 0), 0);
	expect_gate(g, DIGEST, "none of its signatures");
	assert_false(gate_is_signed(g, DIGEST));
	assert_int_equal(renameat(fd, "old.pem", fd, "a.pem"), 0);
	expect_gate(g, DIGEST, NULL);
	put("s/" HEX ".json", "{}");
	expect_gate(g, DIGEST, "none of its signatures");
	gate_free(g);
	gate_config_release(&c);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
}

#define GATE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_settings_are_named),
		GATE_TEST(good_settings),
		GATE_TEST(the_file_of_recapd),
		cmocka_unit_test(thresholds),
		cmocka_unit_test(overrides_of_one_or_all),
		cmocka_unit_test(what_was_not_listed_counts),
		cmocka_unit_test(age_and_configuration),
		cmocka_unit_test(failed_and_senseless_verdicts),
		GATE_TEST(scans_are_required),
		GATE_TEST(digests_are_listed),
		GATE_TEST(signatures_verify),
		GATE_TEST(keys_that_are_none),
		GATE_TEST(signatures_are_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
