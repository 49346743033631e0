// SPDX-License-Identifier: MIT
#include "core/policy.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <string.h>

#include "core/capsule.h"
#include "core/gate.h"
#include "core/policy_internal.h"

static const char *const verbs[] = {
	"list",		 "attach",     "ps",	       "inspect",	 "stop",
	"signal",	 "logs",       "image.load",   "image.pull",	 "image.list",
	"image.inspect", "image.scan", "image.trust",  "image.rm",	 "image.prune",
	"stats",	 "status",     "policy.check", "policy.explain",
};

int policy_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i], name))
			return (int)i;
	return -1;
}

const char *policy_limit_name(enum policy_limit l)
{
	static const char *const names[] = {"memory", "cpus_milli", "pids", "cow_size",
					    "timeout_s"};

	return names[l];
}

/* One question to one rule. */
struct question {
	const struct policy_rule *rule;
	const struct policy_request *q;
	char why[POLICY_WHY_SIZE]; /* why it does not match; why it does, with a bound of a rule that denies */
};

static __attribute__((format(printf, 2, 3))) bool no(struct question *k, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(k->why, sizeof(k->why), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- patterns -------------------------------------------------------------------------------- */

/* A pattern that was written too loosely errs on the side of refusal: "*" and "?" are a "/" only where a rule denies. */
static bool glob(const struct policy_rule *r, const char *pattern, const char *text)
{
	if (!strcmp(pattern, "*"))
		return true;
	return fnmatch(pattern, text, FNM_NOESCAPE | (r->allow ? FNM_PATHNAME : 0)) == 0;
}

static bool glob_any(const struct policy_rule *r, char *const *patterns, const char *text)
{
	for (; text && *patterns; patterns++)
		if (glob(r, *patterns, text))
			return true;
	return false;
}

/* Where the tag begins, at its colon; the end where there is none: a colon before the last "/" is a port's. */
static size_t name_length(const char *ref)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(ref, ':');

	return colon && (!slash || colon > slash) ? (size_t)(colon - ref) : strlen(ref);
}

/* A pattern without a tag is one of the name, whatever the tag. */
static bool glob_ref(const struct policy_rule *r, const char *pattern, const char *ref)
{
	char name[POLICY_STRING_MAX];
	size_t len = name_length(ref);

	if (pattern[name_length(pattern)] == ':')
		return glob(r, pattern, ref);
	snprintf(name, sizeof(name), "%.*s", (int)len, ref);
	return len < sizeof(name) && glob(r, pattern, name);
}

static bool glob_any_ref(const struct policy_rule *r, const char *ref)
{
	for (char *const *p = r->references; ref && *p; p++)
		if (glob_ref(r, *p, ref))
			return true;
	return false;
}

static bool has(char *const *list, const char *text)
{
	for (; list && text && *list; list++)
		if (!strcmp(*list, text))
			return true;
	return false;
}

/* ---- who ------------------------------------------------------------------------------------- */

static bool has_id(const struct policy_ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->v[i] == id)
			return true;
	return false;
}

/* Root is only meant where it is named among the users: so no rule for all, or for a group, locks it out by accident. */
static bool is_for(const struct policy_rule *r, const struct policy_who *who)
{
	bool found = has_id(&r->users, who->uid);

	if (found || who->uid == 0)
		return found;
	if (r->users.any || r->groups.any || has_id(&r->groups, who->gid))
		return true;
	for (size_t i = 0; i < who->n_groups && !found; i++)
		found = has_id(&r->groups, who->groups[i]);
	return found;
}

static bool match_who(struct question *k)
{
	return is_for(k->rule, &k->q->who) || no(k, "it is for others");
}

static bool match_verb(struct question *k)
{
	int verb = policy_verb(k->q->verb);

	return (verb >= 0 && (k->rule->verbs >> verb & 1)) ||
	       no(k, "%.32s is not among its verbs", k->q->verb);
}

static bool match_own(struct question *k)
{
	const struct policy_request *q = k->q;

	if (!k->rule->own || (q->owner && *q->owner == q->who.uid))
		return true;
	return no(k, q->owner ? "the capsule is somebody else's" : "it is about capsules only");
}

/* ---- image and target ------------------------------------------------------------------------ */

static bool fits_names(const struct policy_rule *r, const struct policy_image *image)
{
	bool known = image->ref || (image->names && *image->names), fits;

	if (!r->references)
		return true;
	if (!known)
		return !r->allow;
	fits = glob_any_ref(r, image->ref);
	/* What it is called beside that counts against it only. */
	for (char *const *name = image->names; !r->allow && name && *name && !fits; name++)
		fits = glob_any_ref(r, *name);
	return fits;
}

static bool fits_digest(const struct policy_rule *r, const struct policy_image *image)
{
	if (!r->digests)
		return true;
	return image->digest ? has(r->digests, image->digest) : !r->allow;
}

static bool fits_signed(const struct policy_rule *r, const struct policy_image *image)
{
	if (r->is_signed < 0)
		return true;
	return image->is_signed < 0 ? !r->allow : image->is_signed == r->is_signed;
}

static bool fits_verdict(const struct policy_rule *r, const struct policy_image *image)
{
	if (!r->verdicts)
		return true;
	return image->verdict < 0 ? !r->allow : r->verdicts >> image->verdict & 1;
}

static bool match_image(struct question *k)
{
	const struct policy_rule *r = k->rule;
	const struct policy_image *image = k->q->image;

	if (!r->has_images)
		return true;
	if (!image)
		return no(k, "it is about images, and this is about none");
	if (!fits_names(r, image))
		return no(k, "images.reference does not match %.100s",
			  image->ref ? image->ref : "an image whose name is not known before");
	if (!fits_digest(r, image))
		return no(k, "images.digest does not list the image's");
	if (!fits_signed(r, image))
		return no(k, "images.signed is %s, and the image's signature is not so",
			  r->is_signed ? "true" : "false");
	if (!fits_verdict(r, image))
		return no(k, "images.verdict does not list %s, the image's",
			  image->verdict < 0		? "an unknown one"
			  : image->verdict == GATE_NONE ? "none"
							: gate_state_name(image->verdict));
	return true;
}

/* A name that no runtime vouches for is one that the process chose: only a rule that lists "unknown" allows something there. */
static bool fits_runtime(const struct policy_rule *r, const struct policy_target *t)
{
	if (!t->vouched && has(r->runtimes, "unknown"))
		return true;
	if (!t->vouched && r->allow)
		return false;
	return !r->runtimes || has(r->runtimes, t->runtime);
}

static bool fits_pod(const struct policy_rule *r, const struct policy_target *t)
{
	if (!r->pod_namespaces)
		return true;
	return t->details ? glob_any(r, r->pod_namespaces, t->pod_namespace) : !r->allow;
}

/* The name of the label that does not fit, or NULL. */
static const char *unfit_label(const struct policy_rule *r, const struct policy_target *t)
{
	for (char **l = r->labels; l && *l; l += 2) {
		const char *value = json_get_str(t->labels, l[0]);

		if (t->details ? !value || !glob(r, l[1], value) : r->allow)
			return l[0];
	}
	return NULL;
}

static bool match_target(struct question *k)
{
	const struct policy_rule *r = k->rule;
	const struct policy_target *t = k->q->target;
	const char *label;

	if (!t)
		return !r->has_targets || no(k, "it is about containers, and this is about none");
	if (!fits_runtime(r, t))
		return t->vouched ? no(k, "targets.runtime does not list %.32s", t->runtime)
				  : no(k,
				       "no runtime vouches for %.64s, and targets.runtime does "
				       "not list \"unknown\"",
				       t->name);
	if (r->target_names && !glob_any(r, r->target_names, t->name))
		return no(k, "targets.name does not match %.100s", t->name);
	if (!fits_pod(r, t))
		return no(k, "targets.pod_namespace does not match");
	label = unfit_label(r, t);
	return !label || no(k, "targets.labels: %.64s is not so", label);
}

/* ---- how much -------------------------------------------------------------------------------- */

/* The user by number; false: a name, which the image's own files give a number to. */
static bool numeric_user(const char *text, uint32_t *ret)
{
	size_t len = strspn(text, "0123456789");
	unsigned long v = strtoul(text, NULL, 10);

	/* "" is root. A group may follow. */
	if ((text[len] && text[len] != ':') || len > 10 || v >= UINT32_MAX || (!len && *text))
		return false;
	*ret = (uint32_t)v;
	return true;
}

static const char *const ns_names[] = {"pid", "net", "ipc", "uts", "cgroup", "user"};

static const char *ns_name(unsigned int mask)
{
	for (size_t i = 0; i < ARRAY_SIZE(ns_names); i++)
		if (mask & (1u << i))
			return ns_names[i];
	return "host-user";
}

static unsigned int asked_namespaces(const struct policy_ask *a)
{
	return a->namespaces | (a->host_user ? POLICY_NS_HOST_USER : 0);
}

/* All namespaces may be joined where the rule does not say; the target's user namespace may always be, since that is less. */
static bool within_namespaces(struct question *k, const struct policy_ask *a)
{
	unsigned int most =
		(k->rule->bounds & BOUND_NAMESPACES ? k->rule->namespaces
						    : (1u << ARRAY_SIZE(ns_names)) - 1) |
		1u << TARGET_NS_USER;
	unsigned int over = asked_namespaces(a) & ~most;

	if (over & POLICY_NS_HOST_USER)
		return no(k, "namespaces: to leave out the target's user namespace is not allowed");
	return !over || no(k, "namespaces: %s may not be joined", ns_name(over));
}

static bool within_caps(struct question *k, const struct policy_ask *a)
{
	uint64_t over = a->added & ~k->rule->caps;
	char name[SANDBOX_CAP_NAME];

	if (!over)
		return true;
	sandbox_cap_name(__builtin_ctzll(over), name);
	return no(k, "capabilities: %s may not be added", name);
}

static bool within_profiles(struct question *k, const struct policy_ask *a)
{
	const struct policy_rule *r = k->rule;

	if (r->seccomp ? !has(r->seccomp, a->seccomp) : strcmp(a->seccomp, "default"))
		return no(k, "seccomp: the profile %.32s is not allowed", a->seccomp);
	if (r->target_roots ? !has(r->target_roots, a->target_root) : !strcmp(a->target_root, "rw"))
		return no(k, "target_root: %s is not allowed", a->target_root);
	return true;
}

static bool within_command(struct question *k, const struct policy_ask *a)
{
	const struct policy_rule *r = k->rule;
	uint32_t uid;

	if (a->entrypoint && !r->entrypoint)
		return no(k, "entrypoint: another than the image's is not allowed");
	if (!(r->bounds & BOUND_RUN_AS))
		return true;
	if (!numeric_user(a->user, &uid))
		return no(k, "user: %.64s is a name of the image's; give a number", a->user);
	return has_id(&r->run_as, uid) || no(k, "user: %u is not allowed", uid);
}

static bool within_limits(struct question *k, const struct policy_ask *a)
{
	const uint64_t *most = k->rule->limits;

	for (int i = 0; i < POLICY_LIMITS; i++)
		if (most[i] && a->limits[i] > most[i])
			return no(k, "limits: %s is %llu at most", policy_limit_name(i),
				  (unsigned long long)most[i]);
	if (k->rule->require_reason && (!a->reason || !a->reason[strspn(a->reason, " \t\r\n")]))
		return no(k, "require_reason: say why, with --reason");
	return true;
}

static bool within(struct question *k)
{
	const struct policy_ask *a = k->q->ask;

	return !a || (within_namespaces(k, a) && within_caps(k, a) && within_profiles(k, a) &&
		      within_command(k, a) && within_limits(k, a));
}

/* Any one bound that is hit is enough, and says so in `why`. A user that is a name may be anybody. */
static bool hits(struct question *k)
{
	const struct policy_rule *r = k->rule;
	const struct policy_ask *a = k->q->ask;
	char name[SANDBOX_CAP_NAME];
	unsigned int ns;
	uint64_t caps;
	uint32_t uid;

	if (!r->bounds)
		return true;
	if (!a)
		return no(k, "it is about what an attach asks for");
	ns = asked_namespaces(a) & r->namespaces;
	if (ns)
		return !no(k, "namespaces: %s", ns_name(ns));
	caps = (a->caps | a->added) & r->caps;
	if (caps) {
		sandbox_cap_name(__builtin_ctzll(caps), name);
		return !no(k, "capabilities: %s", name);
	}
	if (has(r->seccomp, a->seccomp))
		return !no(k, "seccomp: %.32s", a->seccomp);
	if (has(r->target_roots, a->target_root))
		return !no(k, "target_root: %s", a->target_root);
	if ((r->bounds & BOUND_RUN_AS) && (!numeric_user(a->user, &uid) || has_id(&r->run_as, uid)))
		return !no(k, "user: %.64s", *a->user ? a->user : "0");
	if (r->entrypoint && a->entrypoint)
		return !no(k, "entrypoint");
	return no(k, "nothing is asked for that it denies");
}

static bool match_bounds(struct question *k)
{
	return k->rule->allow ? within(k) : hits(k);
}

/* ---- decisions ------------------------------------------------------------------------------- */

static bool (*const stages[])(struct question *) = {
	match_who, match_verb, match_own, match_image, match_target, match_bounds,
};

/* How many stages the rule got through: all, and it matches. */
static size_t ask(struct question *k)
{
	size_t i = 0;

	k->why[0] = '\0';
	while (i < ARRAY_SIZE(stages) && stages[i](k))
		i++;
	return i;
}

/* Where nothing was asked for the rule's most holds, but never more than what would hold without it. */
static void impose(const struct policy_rule *r, const struct policy_ask *a, uint64_t *ret)
{
	const uint64_t usual[POLICY_LIMITS] = {
		[POLICY_PIDS] = CGROUP_PIDS_DEFAULT,
		[POLICY_COW_SIZE] = a && a->disk ? CAPSULE_COW_DISK_DEFAULT : CAPSULE_COW_DEFAULT};

	for (int i = 0; a && i < POLICY_LIMITS; i++) {
		bool less = usual[i] && usual[i] < r->limits[i];

		ret[i] = a->limits[i] || less ? 0 : r->limits[i];
	}
}

static void decide_by(const struct policy_rule *r, const struct question *k,
		      struct policy_decision *d)
{
	d->rule = r->name;
	d->allowed = r->allow;
	if (r->allow)
		impose(r, k->q->ask, d->limits);
	else
		snprintf(d->why, sizeof(d->why), "rule \"%s\" of the policy denies it%s%.120s",
			 r->name, *k->why ? ": " : "", k->why);
}

/* No rule matched. The one that allows and came closest says best what to change. */
static void decide_by_none(const struct policy_rule *closest, const char *why,
			   struct policy_decision *d)
{
	if (closest)
		snprintf(d->why, sizeof(d->why),
			 "no rule of the policy allows it; rule \"%s\" does not: %.150s",
			 closest->name, why);
	else
		snprintf(d->why, sizeof(d->why),
			 "no rule of the policy allows it; ask whoever keeps it for one");
}

void policy_decide(const struct policy *p, const struct policy_request *q,
		   struct policy_decision *ret, policy_trace_fn trace, void *arg)
{
	struct policy_decision d = {.allowed = q->who.uid == 0};
	const struct policy_rule *closest = NULL;
	char closest_why[POLICY_WHY_SIZE];
	size_t best = 1;

	for (size_t i = 0; i < p->n && !d.rule; i++) {
		const struct policy_rule *r = &p->rules[i];
		struct question k = {.rule = r, .q = q};
		size_t got = ask(&k);

		if (got == ARRAY_SIZE(stages))
			decide_by(r, &k, &d);
		if (trace)
			trace(r->name, r->allow, d.rule ? NULL : k.why, arg);
		if (!d.rule && r->allow && got > best) {
			closest = r;
			best = got;
			memcpy(closest_why, k.why, sizeof(closest_why));
		}
	}
	if (!d.rule && !d.allowed)
		decide_by_none(closest, closest_why, &d);
	*ret = d;
}

bool policy_may(const struct policy *p, const struct policy_who *who, const char *verb)
{
	int bit = policy_verb(verb);
	bool may = who->uid == 0;

	for (size_t i = 0; i < p->n && bit >= 0 && !may; i++)
		may = p->rules[i].allow && is_for(&p->rules[i], who) &&
		      p->rules[i].verbs >> bit & 1;
	return may;
}

bool policy_knows(const struct policy *p, const struct policy_who *who)
{
	bool knows = who->uid == 0;

	for (size_t i = 0; i < p->n && !knows; i++)
		knows = p->rules[i].allow && is_for(&p->rules[i], who);
	return knows;
}

static bool is_for_others(const struct policy_rule *r)
{
	bool others = r->users.any || r->groups.any || r->groups.n;

	for (size_t i = 0; i < r->users.n && !others; i++)
		others = r->users.v[i] != 0;
	return others;
}

bool policy_has_others(const struct policy *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i].allow && is_for_others(&p->rules[i]))
			return true;
	return false;
}

bool policy_names_root(const struct policy *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (has_id(&p->rules[i].users, 0))
			return true;
	return false;
}

bool policy_wants_signed(const struct policy *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i].is_signed >= 0)
			return true;
	return false;
}

bool policy_wants_verdict(const struct policy *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->rules[i].verdicts)
			return true;
	return false;
}

size_t policy_count(const struct policy *p)
{
	return p->n;
}
