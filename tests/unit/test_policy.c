// SPDX-License-Identifier: MIT
/* Policies: what parses and what does not, and which rule decides about what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/gate.h"
#include "core/policy.h"
#include "core/target.h"
#include "recapd/client.h"

#define DIGEST	"sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define DIGEST2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

#define CAP(n)	   (1ull << (n))
#define NET_ADMIN  CAP(12)
#define NET_RAW	   CAP(13)
#define SYS_PTRACE CAP(19)
#define SYS_ADMIN  CAP(21)
#define ALL_NS	   0x3f
#define ALICE	   1001
#define BOB	   1002
#define CREW	   500 /* a group */

static int find_user(const char *name, uint32_t *ret)
{
	*ret = !strcmp(name, "root") ? 0 : !strcmp(name, "alice") ? ALICE : BOB;
	return !strcmp(name, "root") || !strcmp(name, "alice") || !strcmp(name, "bob") ? 0
										       : -ENOENT;
}

static int find_group(const char *name, uint32_t *ret)
{
	*ret = CREW;
	return strcmp(name, "crew") ? -ENOENT : 0;
}

static const struct policy_names names = {find_user, find_group};

static struct policy *parse(const char *text)
{
	struct error err = {};
	struct policy *p = NULL;

	if (policy_parse(text, strlen(text), "policy.json", &names, &p, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return p;
}

static void broken(const char *text, const char *needle)
{
	struct error err = {};
	struct policy *p = NULL;

	if (policy_parse(text, strlen(text), "policy.json", &names, &p, &err) == 0)
		fail_msg("taken: %s", text);
	if (!strstr(err.msg, needle) || strncmp(err.msg, "policy.json", 11))
		fail_msg("\"%s\" is not in \"%s\"", needle, err.msg);
	assert_null(strchr(err.msg, '\n'));
	assert_null(p);
}

/* ---- parsing --------------------------------------------------------------------------------- */

#define RULE(rest)                                                                                    \
	"{\"rules\":[{\"name\":\"a\",\"decision\":\"allow\",\"users\":[\"*\"],\"verbs\":[\"*\"]" rest \
	"}]}"
#define DENY(rest)                                                                                   \
	"{\"rules\":[{\"name\":\"a\",\"decision\":\"deny\",\"users\":[\"*\"],\"verbs\":[\"*\"]" rest \
	"}]}"

static void good_ones(void **state)
{
	static const char *const all[] = {
		"{\"rules\":[]}",
		" {\n \"rules\" : [ ] }\n",
		RULE(""),
		RULE(",\"groups\":[\"crew\",77,\"78\"],\"own\":true"),
		RULE(",\"images\":{\"reference\":[\"a/*:1\"],\"digest\":[\"" DIGEST
		     "\"],\"signed\":true,"
		     "\"verdict\":[\"ok\",\"none\"]}"),
		RULE(",\"targets\":{\"runtime\":[\"docker\"],\"name\":[\"web-?\"],\"labels\":{\"a\":\"b*\"},"
		     "\"pod_namespace\":[\"*\"]}"),
		RULE(",\"namespaces\":[\"pid\",\"host-user\"],\"capabilities\":[\"cap_net_raw\",\"SYS_PTRACE\"],"
		     "\"seccomp\":[\"custom\"],\"target_root\":[\"rw\"],\"user\":[0,\"1000\"],"
		     "\"entrypoint\":true,\"require_reason\":true"),
		RULE(",\"limits\":{\"memory\":1048576,\"cpus_milli\":10,\"pids\":2,\"cow_size\":65536,"
		     "\"timeout_s\":1}"),
		DENY(",\"capabilities\":[\"*\"],\"entrypoint\":true"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		policy_free(parse(all[i]));
}

static void bad_ones(void **state)
{
	static const struct {
		const char *text, *needle;
	} all[] = {
		{"", "JSON"},
		{"[]", "object with a list of rules"},
		{"{\"rules\":{}}", "object with a list of rules"},
		{"{}", "list of rules"},
		{"{\"rules\":[]} x", "not valid JSON"},
		{"{\"rules\":[],\"rulez\":[]}", "\"rulez\""},
		{"{\"rules\":[7]}", "rule 1 (without a name): it must be an object"},
		{"{\"rules\":[null]}", "rule 1"},
		{"{\"rules\":[{\"decision\":\"allow\"}]}", "it has no name"},
		{"{\"rules\":[{\"name\":\"x\",\"users\":[\"*\"],\"verbs\":[\"*\"]}]}",
		 "rule 1 (x): it has no decision"},
		{"{\"rules\":[{\"name\":\"x\",\"decision\":\"allow\",\"verbs\":[\"*\"]}]}",
		 "neither in users nor in groups"},
		{"{\"rules\":[{\"name\":\"x\",\"decision\":\"allow\",\"users\":[\"*\"]}]}",
		 "no verbs"},
		{"{\"rules\":[{\"name\":\"x\",\"decision\":\"Allow\",\"users\":[\"*\"],\"verbs\":[\"*\"]}]}",
		 "\"allow\" or \"deny\""},
		{RULE(",\"user\":[\"root\"]"), "user must be a list of numbers"},
		{RULE(",\"user\":[\"*\"]"), "user must be"},
		{RULE(",\"users\":[\"alice\"]"), "line 1: \"users\" is there twice"},
		{"{\"rules\":[\n{\"name\":\"a\",\n\"name\":\"b\"}]}",
		 "line 3: \"name\" is there twice"},
		{RULE(",\"u\\u0073ers\":[\"alice\"]"), "backslash"},
		{RULE(",\"imagez\":{}"), "there is no \"imagez\" in a rule"},
		{RULE(",\"images\":{}"), "images must be an object that is not empty"},
		{RULE(",\"images\":{\"ref\":[\"x\"]}"), "there is no \"ref\" in images"},
		{RULE(",\"images\":{\"reference\":\"x\"}"), "must be a list"},
		{RULE(",\"images\":{\"reference\":[]}"), "must be a list of 1"},
		{RULE(",\"images\":{\"reference\":[\"\"]}"), "images.reference"},
		{RULE(",\"images\":{\"reference\":[\"[a]\"]}"), "only * and ?"},
		{RULE(",\"images\":{\"digest\":[\"sha256:11\"]}"), "digests"},
		{RULE(",\"images\":{\"signed\":1}"), "true or false"},
		{RULE(",\"images\":{\"verdict\":[\"clean\"]}"), "ok, refused, stale and none"},
		{RULE(",\"targets\":{\"runtime\":[\"*\"]}"), "targets.runtime"},
		{RULE(",\"targets\":{\"labels\":{\"a\":1}}"), "targets.labels"},
		{RULE(",\"targets\":{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}"), "twice"},
		{RULE(",\"targets\":{\"name\":[\"a\\nb\"]}"), "targets.name"},
		{RULE(",\"targets\":{\"name\":[\"a\\u0000b\"]}"), "targets.name"},
		{RULE(",\"namespaces\":[\"mnt\"]"), "namespaces"},
		{RULE(",\"namespaces\":null"), "namespaces"},
		{RULE(",\"capabilities\":[\"ALL\"]"), "\"ALL\" is none"},
		{RULE(",\"capabilities\":[\"NOSUCH\"]"), "\"NOSUCH\" is none"},
		{RULE(",\"seccomp\":[\"none\"]"), "seccomp"},
		{RULE(",\"target_root\":[\"wr\"]"), "target_root"},
		{RULE(",\"limits\":{}"), "limits"},
		{RULE(",\"limits\":{\"ram\":1}"), "there is no \"ram\" in limits"},
		{RULE(",\"limits\":{\"memory\":1}"), "limits.memory must be from"},
		{RULE(",\"limits\":{\"memory\":\"64m\"}"), "limits.memory must be from"},
		{RULE(",\"require_reason\":\"yes\""), "true or false"},
		{RULE(",\"own\":false"), "own must be true"},
		{DENY(",\"own\":true"), "own is of no use in a rule that denies"},
		{DENY(",\"limits\":{\"pids\":2}"), "limits is of no use"},
		{DENY(",\"require_reason\":true"), "require_reason is of no use"},
		{DENY(",\"entrypoint\":false"), "entrypoint"},
		{RULE(",\"groups\":[\"nosuch\"]"), "there is no \"nosuch\""},
		{RULE(",\"groups\":[-1]"), "groups must be"},
		{RULE(",\"groups\":[4294967295]"), "groups must be"},
		{"{\"rules\":[{\"name\":\"a\",\"decision\":\"allow\",\"users\":[1],\"verbs\":[\"Attach\"]}]}",
		 "there is no verb \"Attach\""},
		{"{\"rules\":[{\"name\":\"a\",\"decision\":\"allow\",\"users\":[1],\"verbs\":[\"ps\"]},"
		 "{\"name\":\"a\",\"decision\":\"deny\",\"users\":[1],\"verbs\":[\"ps\"]}]}",
		 "rule 2 (a): rule 1 has that name, too"},
		{"{\"rules\":[[[[[[[[[[]]]]]]]]]]}", "nested too deeply"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		broken(all[i].text, all[i].needle);
}

static void sizes_are_bounded(void **state)
{
	cleanup_free char *text = NULL;
	struct policy *p;
	struct error err;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fputs("{\"rules\":[", f);
	for (int i = 0; i < POLICY_RULES_MAX + 1; i++)
		fprintf(f,
			"%s{\"name\":\"r%d\",\"decision\":\"allow\",\"users\":[1],\"verbs\":[\"ps\"]}",
			i ? "," : "", i);
	fputs("]}", f);
	fclose(f);
	broken(text, "more than 256 rules");
	free(text);
	text = calloc(1, POLICY_FILE_MAX + 2);
	memset(text, ' ', POLICY_FILE_MAX + 1);
	assert_int_equal(policy_parse(text, POLICY_FILE_MAX + 1, "x", &names, &p, &err), -EFBIG);
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* A plain attach of tool:1 to the container web by alice; tests change what they are about. */
struct attach {
	struct policy_request q;
	struct policy_image image;
	struct policy_target target;
	struct policy_ask ask;
};

static void plain(struct attach *a)
{
	*a = (struct attach){
		.image = {.ref = "tool:1", .digest = DIGEST, .is_signed = 1, .verdict = GATE_OK},
		.target = {.runtime = "docker", .name = "web", .vouched = true, .details = true},
		.ask = {.namespaces = ALL_NS,
			.caps = NET_RAW,
			.seccomp = "default",
			.target_root = "ro",
			.user = ""},
		.q = {.who = {.uid = ALICE, .gid = ALICE}, .verb = "attach"},
	};
	a->q.image = &a->image;
	a->q.target = &a->target;
	a->q.ask = &a->ask;
}

static struct policy_decision decide(const char *text, const struct policy_request *q)
{
	static char rule[64];
	cleanup_policy struct policy *p = parse(text);
	struct policy_decision d;

	policy_decide(p, q, &d, NULL, NULL);
	snprintf(rule, sizeof(rule), "%s", d.rule ? d.rule : "");
	d.rule = rule;
	return d;
}

static void allowed(const char *text, const struct attach *a)
{
	struct policy_decision d = decide(text, &a->q);

	if (!d.allowed)
		fail_msg("refused: %s: %s", text, d.why);
}

static void refused(const char *text, const struct attach *a, const char *needle)
{
	struct policy_decision d = decide(text, &a->q);

	if (d.allowed)
		fail_msg("allowed: %s", text);
	if (!strstr(d.why, needle))
		fail_msg("\"%s\" is not in \"%s\"", needle, d.why);
}

#define ONE(who, rest)                                                                           \
	"{\"rules\":[{\"name\":\"a\",\"decision\":\"allow\"," who ",\"verbs\":[\"attach\"]" rest \
	"}]}"

static void who_is_meant(void **state)
{
	static const uint32_t groups[] = {7, CREW};
	struct attach a;

	plain(&a);
	allowed(ONE("\"users\":[\"alice\"]", ""), &a);
	allowed(ONE("\"users\":[1001]", ""), &a);
	allowed(ONE("\"users\":[\"*\"]", ""), &a);
	refused(ONE("\"users\":[\"bob\"]", ""), &a, "ask whoever keeps it");
	refused(ONE("\"groups\":[\"crew\"]", ""), &a, "no rule");
	a.q.who.groups = groups;
	a.q.who.n_groups = 2;
	allowed(ONE("\"groups\":[\"crew\"]", ""), &a);
	refused(ONE("\"groups\":[8]", ""), &a, "no rule");
	a.q.who.gid = 8;
	allowed(ONE("\"groups\":[8]", ""), &a);
	/* A user's number is no group's. */
	refused(ONE("\"groups\":[1001]", ""), &a, "no rule");
	refused("{\"rules\":[]}", &a, "no rule");
}

/* Rules for all and for groups are not about root; one that names it is. */
static void root_is_never_meant_by_accident(void **state)
{
	static const uint32_t groups[] = {CREW};
	struct attach a;

	plain(&a);
	a.q.who = (struct policy_who){.groups = groups, .n_groups = 1};
	allowed("{\"rules\":[]}", &a);
	allowed(DENY(""), &a);
	allowed("{\"rules\":[{\"name\":\"a\",\"decision\":\"deny\",\"groups\":[\"crew\",0],\"verbs\":[\"*\"]}]}",
		&a);
	refused("{\"rules\":[{\"name\":\"a\",\"decision\":\"deny\",\"users\":[\"root\"],\"verbs\":[\"attach\"]}]}",
		&a, "rule \"a\" of the policy denies it");
	/* A rule that allows and does not fit leaves root as it is. */
	allowed(ONE("\"users\":[0]", ",\"targets\":{\"name\":[\"other\"]}"), &a);
}

static void the_first_that_matches_decides(void **state)
{
	static const char text[] =
		"{\"rules\":["
		"{\"name\":\"no-db\",\"decision\":\"deny\",\"users\":[\"*\"],\"verbs\":[\"*\"],"
		"\"targets\":{\"name\":[\"db\"]}},"
		"{\"name\":\"all\",\"decision\":\"allow\",\"users\":[\"*\"],\"verbs\":[\"*\"]},"
		"{\"name\":\"late\",\"decision\":\"deny\",\"users\":[\"*\"],\"verbs\":[\"*\"]}]}";
	struct policy_decision d;
	struct attach a;

	plain(&a);
	d = decide(text, &a.q);
	assert_true(d.allowed);
	assert_string_equal(d.rule, "all");
	a.target.name = "db";
	d = decide(text, &a.q);
	assert_false(d.allowed);
	assert_string_equal(d.rule, "no-db");
}

static void verbs_and_own(void **state)
{
	static const char own[] =
		"{\"rules\":[{\"name\":\"a\",\"decision\":\"allow\",\"users\":[\"*\"],"
		"\"verbs\":[\"stop\",\"stats\"],\"own\":true}]}";
	uint32_t owner = BOB;
	struct attach a;

	plain(&a);
	a.q.ask = NULL;
	a.q.verb = "stop";
	refused(ONE("\"users\":[\"*\"]", ""), &a, "no rule");
	a.q.owner = &owner;
	refused(own, &a, "somebody else's");
	owner = ALICE;
	allowed(own, &a);
	a.q.owner = NULL;
	a.q.verb = "stats";
	refused(own, &a, "about capsules only");
	a.q.verb = "nosuch";
	refused(RULE(""), &a, "no rule");
}

/* Where a rule allows, "*" stops at a "/"; where it denies it does not. */
static void references(void **state)
{
	static const struct {
		const char *pattern, *ref;
		bool allow, deny;
	} all[] = {
		{"tool:1", "tool:1", true, true},
		{"tool:1", "tool:12", false, false},
		{"tool", "tool:1", true, true},
		{"tool", "tool:latest", true, true},
		{"tool", "toolbox:1", false, false},
		{"tool*", "toolbox:1", true, true},
		{"tool*", "tool/evil:1", false, true},
		{"*tool:1", "evil/tool:1", false, true},
		{"*tool", "evil.example:5000/tool:1", false, true},
		{"*", "evil.example:5000/tool:1", true, true},
		{"reg.example:5000/*", "reg.example:5000/tool:1", true, true},
		{"reg.example:5000/*", "reg.example:5000/a/tool:1", false, true},
		{"reg.example:5000/*", "regXexample:5000/tool:1", false, false},
		{"tool:*", "tool:1", true, true},
		{"Tool:1", "tool:1", false, false},
		{"tool:?", "tool:1", true, true},
		{"tool:?", "tool:12", false, false},
		{"tool:1", "<none>", false, false},
	};
	struct attach a;
	char text[512];

	plain(&a);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct policy_decision d;

		a.image.ref = all[i].ref;
		snprintf(text, sizeof(text), RULE(",\"images\":{\"reference\":[\"%s\"]}"),
			 all[i].pattern);
		d = decide(text, &a.q);
		if (d.allowed != all[i].allow)
			fail_msg("allow %s: %s", all[i].pattern, all[i].ref);
		snprintf(text, sizeof(text), DENY(",\"images\":{\"reference\":[\"%s\"]}"),
			 all[i].pattern);
		d = decide(text, &a.q);
		if (!strcmp(d.rule, "a") != all[i].deny)
			fail_msg("deny %s: %s", all[i].pattern, all[i].ref);
	}
}

/* An image's other names count against it only. */
static void other_names(void **state)
{
	static char *const all[] = {"evil:1", "tool:1", NULL};
	struct attach a;

	plain(&a);
	a.image.names = all;
	allowed(RULE(",\"images\":{\"reference\":[\"tool:1\"]}"), &a);
	refused(RULE(",\"images\":{\"reference\":[\"evil:1\"]}"), &a, "images.reference");
	refused(DENY(",\"images\":{\"reference\":[\"evil:1\"]}"), &a, "denies");
}

static void image_facts(void **state)
{
	static const char signed_[] = RULE(",\"images\":{\"signed\":true}");
	static const char ok[] = RULE(",\"images\":{\"verdict\":[\"ok\"]}");
	static const char by_digest[] = RULE(",\"images\":{\"digest\":[\"" DIGEST "\"]}");
	struct attach a;

	plain(&a);
	allowed(signed_, &a);
	allowed(ok, &a);
	allowed(by_digest, &a);
	a.image.is_signed = 0;
	refused(signed_, &a, "images.signed");
	a.image.verdict = GATE_STALE;
	refused(ok, &a, "stale");
	a.image.verdict = GATE_NONE;
	refused(ok, &a, "none");
	a.image.digest = DIGEST2;
	refused(by_digest, &a, "images.digest");
	/* Not known: fits no rule that allows, and each that denies. */
	a.image = (struct policy_image){.is_signed = -1, .verdict = -1};
	refused(signed_, &a, "images.signed");
	refused(ok, &a, "unknown");
	refused(by_digest, &a, "images.digest");
	refused(RULE(",\"images\":{\"reference\":[\"*\"]}"), &a, "not known");
	refused(DENY(",\"images\":{\"signed\":false}"), &a, "denies");
	refused(DENY(",\"images\":{\"digest\":[\"" DIGEST "\"]}"), &a, "denies");
	refused(DENY(",\"images\":{\"reference\":[\"x\"]}"), &a, "denies");
	a.q.image = NULL;
	refused(RULE(",\"images\":{\"reference\":[\"*\"]}"), &a, "about none");
}

static void targets(void **state)
{
	struct json_object *labels = json_tokener_parse("{\"app\":\"web\",\"tier\":\"front\"}");
	struct attach a;

	plain(&a);
	a.target.labels = labels;
	a.target.pod_namespace = "team-a";
	allowed(RULE(",\"targets\":{\"name\":[\"w?b\"],\"runtime\":[\"docker\"]}"), &a);
	refused(RULE(",\"targets\":{\"name\":[\"web2\"]}"), &a, "targets.name");
	refused(RULE(",\"targets\":{\"runtime\":[\"podman\"]}"), &a, "targets.runtime");
	allowed(RULE(",\"targets\":{\"labels\":{\"app\":\"web\",\"tier\":\"*\"}}"), &a);
	refused(RULE(",\"targets\":{\"labels\":{\"app\":\"web\",\"env\":\"*\"}}"), &a, "env");
	refused(RULE(",\"targets\":{\"labels\":{\"app\":\"we\"}}"), &a, "app");
	allowed(RULE(",\"targets\":{\"pod_namespace\":[\"team-*\"]}"), &a);
	refused(RULE(",\"targets\":{\"pod_namespace\":[\"prod\"]}"), &a, "pod_namespace");
	refused(DENY(",\"targets\":{\"labels\":{\"app\":\"web\"}}"), &a, "denies");
	/* What is not known counts against it. */
	a.target.details = false;
	a.target.labels = NULL;
	refused(RULE(",\"targets\":{\"labels\":{\"app\":\"web\"}}"), &a, "app");
	refused(DENY(",\"targets\":{\"labels\":{\"app\":\"web\"}}"), &a, "denies");
	refused(DENY(",\"targets\":{\"pod_namespace\":[\"x\"]}"), &a, "denies");
	json_object_put(labels);
}

/* A name that nobody vouches for opens nothing, not even to a rule that names no target. */
static void names_of_their_own_choice(void **state)
{
	struct attach a;

	plain(&a);
	a.target.runtime = "unknown";
	a.target.vouched = false;
	refused(RULE(",\"targets\":{\"name\":[\"web\"]}"), &a, "vouches");
	refused(RULE(""), &a, "vouches");
	refused(RULE(",\"targets\":{\"name\":[\"web\"],\"runtime\":[\"docker\"]}"), &a, "vouches");
	allowed(RULE(",\"targets\":{\"name\":[\"web\"],\"runtime\":[\"unknown\"]}"), &a);
	refused(DENY(",\"targets\":{\"name\":[\"web\"]}"), &a, "denies");
	/* A pod's pause process has a runtime, and is no container. */
	a.target.runtime = "containerd";
	refused(RULE(",\"targets\":{\"runtime\":[\"containerd\"]}"), &a, "vouches");
}

static void namespaces(void **state)
{
	static const char pid[] = RULE(",\"namespaces\":[\"pid\"]");
	struct attach a;

	plain(&a);
	allowed(RULE(""), &a);
	refused(pid, &a, "net may not be joined");
	a.ask.namespaces = 1u << TARGET_NS_PID | 1u << TARGET_NS_USER;
	allowed(pid, &a);
	a.ask.namespaces = 1u << TARGET_NS_PID;
	allowed(pid, &a);
	a.ask.host_user = true;
	refused(pid, &a, "leave out the target's user namespace");
	refused(RULE(""), &a, "leave out the target's user namespace");
	allowed(RULE(",\"namespaces\":[\"pid\",\"host-user\"]"), &a);
	refused(DENY(",\"namespaces\":[\"host-user\"]"), &a, "host-user");
	refused(DENY(",\"namespaces\":[\"net\",\"pid\"]"), &a, "namespaces: pid");
}

static void capabilities(void **state)
{
	static const char admin[] = RULE(",\"capabilities\":[\"net_admin\"]");
	struct attach a;

	plain(&a);
	a.ask.added = NET_ADMIN;
	a.ask.caps |= NET_ADMIN;
	refused(RULE(""), &a, "capabilities: NET_ADMIN");
	allowed(admin, &a);
	a.ask.added |= SYS_ADMIN;
	refused(admin, &a, "capabilities: SYS_ADMIN may not be added");
	allowed(RULE(",\"capabilities\":[\"*\"]"), &a);
	refused(DENY(",\"capabilities\":[\"SYS_ADMIN\"]"), &a, "capabilities: SYS_ADMIN");
	/* Where a rule denies, those count, too, that every capsule has. */
	a.ask.added = 0;
	a.ask.caps = NET_RAW;
	refused(DENY(",\"capabilities\":[\"NET_RAW\"]"), &a, "capabilities: NET_RAW");
}

static void profiles_and_roots(void **state)
{
	struct attach a;

	plain(&a);
	a.ask.seccomp = "unconfined";
	refused(RULE(""), &a, "seccomp");
	refused(RULE(",\"seccomp\":[\"default\",\"custom\"]"), &a, "seccomp");
	allowed(RULE(",\"seccomp\":[\"unconfined\"]"), &a);
	refused(DENY(",\"seccomp\":[\"unconfined\"]"), &a, "denies it: seccomp");
	plain(&a);
	a.ask.target_root = "rw";
	refused(RULE(""), &a, "target_root");
	allowed(RULE(",\"target_root\":[\"rw\"]"), &a);
	a.ask.target_root = "none";
	allowed(RULE(""), &a);
	refused(RULE(",\"target_root\":[\"ro\"]"), &a, "target_root");
}

static void users_and_entrypoints(void **state)
{
	static const char *const others[] = {"root",
					     "",
					     "0",
					     "00",
					     "0:1000",
					     "nobody",
					     "+1000",
					     " 1000",
					     "1000x",
					     "4294967296",
					     "99999999999999999999"};
	static const char rule[] = RULE(",\"user\":[1000]");
	struct attach a;

	plain(&a);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		a.ask.user = others[i];
		refused(rule, &a, "user:");
	}
	a.ask.user = "1000";
	allowed(rule, &a);
	a.ask.user = "1000:5";
	allowed(rule, &a);
	/* A name may be anybody. */
	a.ask.user = "nobody";
	refused(DENY(",\"user\":[0]"), &a, "user: nobody");
	a.ask.user = "";
	refused(DENY(",\"user\":[0]"), &a, "user: 0");
	plain(&a);
	a.ask.entrypoint = true;
	refused(RULE(""), &a, "entrypoint");
	refused(RULE(",\"entrypoint\":false"), &a, "entrypoint");
	allowed(RULE(",\"entrypoint\":true"), &a);
	refused(DENY(",\"entrypoint\":true"), &a, "entrypoint");
}

static void limits_are_imposed(void **state)
{
	static const char rule[] =
		RULE(",\"limits\":{\"memory\":2097152,\"pids\":100,\"cow_size\":1073741824,"
		     "\"timeout_s\":60}");
	struct policy_decision d;
	struct attach a;

	plain(&a);
	d = decide(rule, &a.q);
	assert_true(d.allowed);
	assert_int_equal(d.limits[POLICY_MEMORY], 2097152);
	assert_int_equal(d.limits[POLICY_PIDS], 100);
	assert_int_equal(d.limits[POLICY_TIMEOUT_S], 60);
	assert_int_equal(d.limits[POLICY_CPUS_MILLI], 0);
	/* The usual is less already. */
	assert_int_equal(d.limits[POLICY_COW_SIZE], 0);
	/* On disk it is more. */
	a.ask.disk = true;
	assert_int_equal(decide(rule, &a.q).limits[POLICY_COW_SIZE], 1 << 30);
	d = decide(RULE(",\"limits\":{\"cow_size\":536870912}"), &a.q);
	assert_int_equal(d.limits[POLICY_COW_SIZE], 536870912);
	a.ask.disk = false;
	d = decide(RULE(",\"limits\":{\"cow_size\":536870912}"), &a.q);
	assert_int_equal(d.limits[POLICY_COW_SIZE], 0);
	a.ask.limits[POLICY_MEMORY] = 1 << 20;
	a.ask.limits[POLICY_PIDS] = 100;
	d = decide(rule, &a.q);
	assert_true(d.allowed);
	assert_int_equal(d.limits[POLICY_MEMORY], 0);
	a.ask.limits[POLICY_PIDS] = 101;
	refused(rule, &a, "limits: pids is 100 at most");
}

static void reasons(void **state)
{
	static const char rule[] = RULE(",\"require_reason\":true");
	struct attach a;

	plain(&a);
	refused(rule, &a, "--reason");
	a.ask.reason = " \t";
	refused(rule, &a, "--reason");
	a.ask.reason = "ticket 7";
	allowed(rule, &a);
}

/* What an attach may ask for binds no other verb; what is denied of it denies no other. */
static void bounds_are_of_attach(void **state)
{
	struct attach a;

	plain(&a);
	a.q.ask = NULL;
	a.q.verb = "ps";
	allowed(RULE(",\"require_reason\":true,\"capabilities\":[\"NET_RAW\"]"), &a);
	refused("{\"rules\":[{\"name\":\"a\",\"decision\":\"deny\",\"users\":[\"*\"],\"verbs\":[\"*\"],"
		"\"seccomp\":[\"unconfined\"]}]}",
		&a, "no rule");
}

static void closest_rule_is_named(void **state)
{
	static const char text[] =
		"{\"rules\":["
		"{\"name\":\"bobs\",\"decision\":\"allow\",\"users\":[\"bob\"],\"verbs\":[\"*\"]},"
		"{\"name\":\"web\",\"decision\":\"allow\",\"users\":[\"*\"],\"verbs\":[\"attach\"],"
		"\"targets\":{\"name\":[\"web\"]},\"seccomp\":[\"net\"]},"
		"{\"name\":\"db\",\"decision\":\"allow\",\"users\":[\"*\"],\"verbs\":[\"attach\"],"
		"\"targets\":{\"name\":[\"db\"]}}]}";
	struct attach a;

	plain(&a);
	refused(text, &a, "rule \"web\" does not: seccomp");
}

static void what_policies_are_about(void **state)
{
	static const struct policy_who alice = {ALICE, ALICE, NULL, 0}, bob = {BOB, BOB, NULL, 0},
				       root = {};
	cleanup_policy struct policy *p = parse(
		ONE("\"users\":[\"alice\"]", ",\"images\":{\"signed\":true,\"verdict\":[\"ok\"]}"));
	cleanup_policy struct policy *roots = parse(ONE("\"users\":[0,\"root\"]", ""));

	assert_true(policy_may(p, &alice, "attach"));
	assert_false(policy_may(p, &alice, "stop"));
	assert_false(policy_may(p, &bob, "attach"));
	assert_true(policy_may(p, &root, "stop"));
	assert_true(policy_knows(p, &alice));
	assert_false(policy_knows(p, &bob));
	assert_true(policy_has_others(p));
	assert_false(policy_has_others(roots));
	assert_true(policy_names_root(roots));
	assert_false(policy_names_root(p));
	assert_true(policy_wants_signed(p));
	assert_true(policy_wants_verdict(p));
	assert_false(policy_wants_signed(roots));
}

/* Every method has a verb of its own, but those that Varlink itself has. */
static void methods_have_one_verb_each(void **state)
{
	static const struct method *const tables[] = {methods_capsule, methods_image, methods_scan,
						      methods_node, methods_policy};
	uint64_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct method *m = tables[i]; m->name; m++) {
			assert_non_null(m->verb);
			/* The second half of an attach. */
			if (!strcmp(m->name, "io.recap.Rejoin"))
				continue;
			if (policy_verb(m->verb) < 0 || seen >> policy_verb(m->verb) & 1)
				fail_msg("%s: %s", m->name, m->verb);
			seen |= 1ull << policy_verb(m->verb);
		}
	/* And each verb has its method. */
	assert_int_equal(seen & (seen + 1), 0);
	assert_int_equal(policy_verb("policy.explain") + 1, __builtin_popcountll(seen));
}

/* ---- the file -------------------------------------------------------------------------------- */

static void files(void **state)
{
	char dir[] = "/tmp/recap-policy-XXXXXX", path[64], link[64];
	struct policy *p = NULL;
	struct error err;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/policy.json", dir);
	snprintf(link, sizeof(link), "%s/link.json", dir);
	assert_int_equal(policy_load(path, &names, &p, &err), -ENOENT);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_int_equal(write(fd, "{\"rules\":[]}", 12), 12);
	if (geteuid() == 0) {
		assert_int_equal(policy_load(path, &names, &p, &err), 0);
		assert_int_equal(policy_count(p), 0);
		policy_free(p);
		assert_int_equal(fchmod(fd, 0664), 0);
		assert_int_equal(policy_load(path, &names, &p, &err), -EPERM);
		assert_int_equal(fchmod(fd, 0646), 0);
		assert_int_equal(policy_load(path, &names, &p, &err), -EPERM);
		assert_int_equal(fchmod(fd, 0600), 0);
		assert_int_equal(fchown(fd, ALICE, 0), 0);
		assert_int_equal(policy_load(path, &names, &p, &err), -EPERM);
		assert_int_equal(fchown(fd, 0, 0), 0);
		assert_int_equal(symlink(path, link), 0);
		assert_int_equal(policy_load(link, &names, &p, &err), -ELOOP);
		unlink(link);
		assert_int_equal(policy_load(dir, &names, &p, &err), -EPERM);
	}
	close(fd);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(who_is_meant),
		cmocka_unit_test(root_is_never_meant_by_accident),
		cmocka_unit_test(the_first_that_matches_decides),
		cmocka_unit_test(verbs_and_own),
		cmocka_unit_test(references),
		cmocka_unit_test(other_names),
		cmocka_unit_test(image_facts),
		cmocka_unit_test(targets),
		cmocka_unit_test(names_of_their_own_choice),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(profiles_and_roots),
		cmocka_unit_test(users_and_entrypoints),
		cmocka_unit_test(limits_are_imposed),
		cmocka_unit_test(reasons),
		cmocka_unit_test(bounds_are_of_attach),
		cmocka_unit_test(closest_rule_is_named),
		cmocka_unit_test(what_policies_are_about),
		cmocka_unit_test(methods_have_one_verb_each),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
