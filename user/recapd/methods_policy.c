// SPDX-License-Identifier: MIT
/* PolicyCheck, PolicyExplain. */
#include <fcntl.h>
#include <string.h>

#include "core/userdb.h"
#include "recapd/access.h"

static int method_check(struct client *c, struct json_object *params, struct error *err)
{
	cleanup_policy struct policy *p = NULL;
	const char *text = json_get_str(params, "text");
	struct json_object *o;
	int r;

	if (!text)
		return error_named(err, EINVAL, "InvalidArgument", "the policy's text is needed");
	r = policy_parse(text, strlen(text), "the policy", &access_names, &p, err);
	if (r < 0) {
		strcpy(err->name, "InvalidArgument");
		return r;
	}
	o = json_object_new_object();
	json_put_int(o, "rules", (int64_t)policy_count(p));
	client_reply(c, o, false);
	return 0;
}

/* ---- PolicyExplain --------------------------------------------------------------------------- */

struct explain {
	struct client *client;
	const char *verb;
	struct user_ids ids; /* of `as` */
	struct policy_who who;
	struct json_object *reply, *rules;
};

/* What rules say of others is root's to ask. */
static int set_who(struct explain *x, const char *as, struct error *err)
{
	const struct caller *c = &x->client->caller;
	cleanup_fd int root = -1;
	int r;

	x->who = (struct policy_who){c->uid, c->gid, c->groups, c->n_groups};
	if (!as)
		return 0;
	if (c->uid)
		return error_named(err, EPERM, "PermissionDenied",
				   "only root asks what others may do");
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_sys(err, errno, "cannot open /");
	r = userdb_resolve(root, as, &x->ids, NULL);
	if (r < 0)
		return error_named(err, EINVAL, "InvalidArgument",
				   "this machine has no user %.64s; give a number", as);
	x->who = (struct policy_who){x->ids.uid, x->ids.gid, x->ids.groups, x->ids.n_groups};
	return 0;
}

static void add_rule(const char *rule, bool allow, const char *why, void *arg)
{
	struct explain *x = arg;
	struct json_object *o = json_object_new_object();

	json_put_str(o, "name", rule);
	json_put_str(o, "decision", allow ? "allow" : "deny");
	json_put_str(o, "why", why);
	json_object_array_add(x->rules, o);
}

static void put_limits(struct json_object *o, const struct policy_decision *d)
{
	struct json_object *limits = json_object_new_object();

	for (int i = 0; i < POLICY_LIMITS; i++)
		if (d->limits[i])
			json_put_int(limits, policy_limit_name(i), (int64_t)d->limits[i]);
	json_put_obj(o, "limits", limits);
}

static void explain(struct access_facts *f, void *arg)
{
	struct explain *x = arg;
	const struct policy *p = x->client->api->m->policy;
	struct policy_decision d = {.allowed = x->who.uid == 0,
				    .why = "without a policy only root is served"};

	f->q.who = x->who;
	f->q.verb = x->verb;
	if (p)
		policy_decide(p, &f->q, &d, add_rule, x);
	json_put_bool(x->reply, "allowed", d.allowed);
	json_put_str(x->reply, "rule", d.rule);
	if (!d.allowed)
		json_put_str(x->reply, "why", d.why);
	put_limits(x->reply, &d);
}

static int explain_image(struct explain *x, const char *ref, struct error *err)
{
	cleanup_facts struct access_facts f = {};
	cleanup_image struct image *image = NULL;
	bool comes = !strcmp(x->verb, "image.load") || !strcmp(x->verb, "image.pull");
	int r = comes ? 0 : image_find(x->client->api->m->store, ref, &image, err);

	if (r < 0)
		return r;
	access_image_facts(x->client, image ? image->ref : ref, image ? image->digest : NULL, &f);
	explain(&f, x);
	return 0;
}

/* A capsule, or, with `list` and `inspect`, a container. */
static int explain_thing(struct explain *x, const char *id, struct error *err)
{
	cleanup(target_name_clear) struct target_name target = {};
	cleanup_json struct json_object *record = NULL;
	cleanup_facts struct access_facts f = {};
	struct manager *m = x->client->api->m;
	struct capsule *capsule;
	const char *text;
	int r;

	if (strcmp(x->verb, "list") && capsule_find(m->capsules, id, &capsule, NULL) == 0) {
		record = capsule_json(capsule);
	} else if (strcmp(x->verb, "list") && history_find(m->history, id, NULL, &text) == 0) {
		r = json_parse(text, strlen(text), "history", &record, err);
		if (r < 0)
			return r;
	}
	if (record) {
		access_capsule_facts(x->client, record, &f);
		explain(&f, x);
		return 0;
	}
	r = access_find(x->client, id, &target, err);
	text = r == 0 ? inventory_json(m->inventory, target.id) : NULL;
	if (r == 0 && !text)
		r = error_named(err, ESRCH, "TargetGone", "%s has ended", id);
	if (r < 0)
		return r;
	access_container_facts(x->client, text, &f);
	explain(&f, x);
	return 0;
}

static int explain_attach(struct explain *x, struct json_object *request, struct error *err)
{
	const struct method *m = api_method_of("attach");
	const char *bad = api_bad_param(m, request);

	if (bad)
		return error_named(err, EINVAL, "InvalidArgument", "Attach has no such %.64s", bad);
	return attach_explain_facts(x->client, request, explain, x, err);
}

static int explain_by_verb(struct explain *x, struct json_object *request, struct error *err)
{
	const char *ref = json_get_str(request, "ref"), *id = json_get_str(request, "id");
	struct access_facts none = {};
	const struct method *m;

	if (policy_verb(x->verb) < 0)
		return error_named(err, EINVAL, "InvalidArgument",
				   "there is no verb %.32s; docs/policy.md lists them, such as "
				   "attach, stop and image.rm",
				   x->verb);
	if (!strcmp(x->verb, "attach"))
		return explain_attach(x, request, err);
	if (ref && !strncmp(x->verb, "image.", 6))
		return explain_image(x, ref, err);
	if (id && strncmp(x->verb, "image.", 6))
		return explain_thing(x, id, err);
	/* What is decided of each thing by itself must not be answered as if it were about none. */
	m = api_method_of(x->verb);
	if (m && m->details)
		return error_named(err, EINVAL, "InvalidArgument",
				   "%.32s is decided for each %s by itself: name one", x->verb,
				   strncmp(x->verb, "image.", 6) ? "container or capsule"
								 : "image");
	explain(&none, x);
	return 0;
}

static int method_explain(struct client *c, struct json_object *params, struct error *err)
{
	cleanup_json struct json_object *none = json_object_new_object();
	struct json_object *request = json_get(params, "request", json_type_object);
	struct explain x = {.client = c, .verb = json_get_str(params, "verb")};
	int r = x.verb ? set_who(&x, json_get_str(params, "as"), err)
		       : error_named(err, EINVAL, "InvalidArgument", "a verb is needed");

	if (r < 0)
		return r;
	x.reply = json_object_new_object();
	x.rules = json_object_new_array();
	json_put_obj(x.reply, "rules", x.rules);
	r = explain_by_verb(&x, request ? request : none, err);
	if (r == 0)
		client_reply(c, x.reply, false);
	else
		json_object_put(x.reply);
	return r;
}

const struct method methods_policy[] = {
	{"io.recap.PolicyCheck",
	 "policy.check",
	 false,
	 false,
	 method_check,
	 {{"text", json_type_string}}},
	{"io.recap.PolicyExplain",
	 "policy.explain",
	 false,
	 false,
	 method_explain,
	 {{"verb", json_type_string}, {"as", json_type_string}, {"request", json_type_object}}},
	{NULL},
};
