// SPDX-License-Identifier: MIT
/*
 * libFuzzer over policies. Up to the first NUL byte the input is the text of a policy; what follows makes up the requests that the
 * policy is then asked about.
 */
#include <string.h>

#include "core/policy.h"
#include "fuzz.h"

static int find(const char *name, uint32_t *ret)
{
	*ret = (uint32_t)strlen(name) % 8;
	return *name == 'x' ? -ENOENT : 0;
}

static const struct policy_names names = {find, find};

/* Bytes of the input, and zeros behind its end. */
struct bytes {
	const uint8_t *p, *end;
};

static unsigned int byte(struct bytes *b)
{
	return b->p < b->end ? *b->p++ : 0;
}

static const char *pick(struct bytes *b, const char *const *all, size_t n)
{
	return all[byte(b) % n];
}

#define PICK(b, ...)                                           \
	({                                                     \
		const char *const all_[] = {__VA_ARGS__};      \
		pick(b, all_, sizeof(all_) / sizeof(all_[0])); \
	})

static void make_image(struct bytes *b, struct policy_image *image)
{
	static char *const all[] = {"tool:1", "evil/tool:latest", NULL};

	*image = (struct policy_image){
		.ref = PICK(b, "tool:1", "<none>", "a:5000/b/c:x", "", NULL),
		.names = byte(b) & 1 ? all : NULL,
		.digest = PICK(b, "sha256:", NULL),
		.is_signed = (int)(byte(b) % 3) - 1,
		.verdict = (int)(byte(b) % 5) - 1,
	};
}

static void make_target(struct bytes *b, struct json_object *labels, struct policy_target *target)
{
	*target = (struct policy_target){
		.runtime = PICK(b, "docker", "unknown", "runc"),
		.name = PICK(b, "web", "a/b", ""),
		.pod_namespace = PICK(b, "prod", NULL),
		.labels = byte(b) & 1 ? labels : NULL,
		.vouched = byte(b) & 1,
		.details = byte(b) & 1,
	};
}

static void make_ask(struct bytes *b, struct policy_ask *ask)
{
	*ask = (struct policy_ask){
		.namespaces = byte(b) & 0x3f,
		.host_user = byte(b) & 1,
		.caps = (uint64_t)byte(b) << (byte(b) % 56),
		.added = (uint64_t)byte(b) << (byte(b) % 56),
		.seccomp = PICK(b, "default", "unconfined", "custom"),
		.target_root = PICK(b, "ro", "rw", "none"),
		.user = PICK(b, "", "root", "1000:5", "99999999999", ":"),
		.entrypoint = byte(b) & 1,
		.reason = PICK(b, "", " ", "why", NULL),
	};
	for (int i = 0; i < POLICY_LIMITS; i++)
		ask->limits[i] = (uint64_t)byte(b) << (byte(b) % 40);
}

static void count(const char *rule, bool allow, const char *why, void *arg)
{
	must(rule && *rule);
	++*(size_t *)arg;
}

static void check(const struct policy *p, const struct policy_request *q)
{
	struct policy_decision d;
	size_t asked = 0;

	policy_decide(p, q, &d, count, &asked);
	must(asked <= policy_count(p));
	must(d.allowed || d.why[0]);
	must(!strchr(d.why, '\n'));
	if (!d.allowed || q->who.uid == 0)
		return;
	/* Nobody but root is allowed anything that no rule allows. */
	must(d.rule && policy_may(p, &q->who, q->verb) && policy_knows(p, &q->who) &&
	     policy_has_others(p));
}

static void ask_about(const struct policy *p, struct bytes *b, struct json_object *labels)
{
	uint32_t groups[] = {byte(b) % 8, byte(b) % 8}, owner = byte(b) % 8;
	unsigned int about = byte(b);
	struct policy_image image = {};
	struct policy_target target = {};
	struct policy_ask ask = {};
	struct policy_request q = {
		.who = {byte(b) % 8, byte(b) % 8, groups, byte(b) % 3},
		.verb = PICK(b, "attach", "ps", "stop", "image.rm", "status", "nosuch"),
		.owner = about & 1 ? &owner : NULL,
		.image = about & 2 ? &image : NULL,
		.target = about & 4 ? &target : NULL,
		.ask = about & 8 ? &ask : NULL,
	};

	make_image(b, &image);
	make_target(b, labels, &target);
	make_ask(b, &ask);
	check(p, &q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t len = nul ? (size_t)(nul - data) : size;
	struct bytes b = {nul ? nul + 1 : data + size, data + size};
	cleanup_json struct json_object *labels = json_tokener_parse("{\"app\":\"web\"}");
	cleanup_policy struct policy *p = NULL;
	cleanup_free char *text = malloc(len ? len : 1);
	struct error err = {};

	/* A copy of just its length, so that a look behind it is noticed. */
	must(labels && text);
	memcpy(text, data, len);
	if (policy_parse(text, len, "policy", &names, &p, &err) < 0) {
		must(err.code > 0 && err.msg[0] && !strchr(err.msg, '\n') && !p);
		return 0;
	}
	do
		ask_about(p, &b, labels);
	while (b.p < b.end);
	return 0;
}
