// SPDX-License-Identifier: MIT
#include "recapd/access.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/reference.h"
#include "core/target.h"
#include "core/userdb.h"

#define PIPEFS_MAGIC_	0x50495045 /* linux/magic.h has it since 6.2 */
#define INITIAL_USER_NS 0xEFFFFFFD /* include/linux/proc_ns.h */

/* ---- the policy ------------------------------------------------------------------------------ */

static int find_name(const char *spec, struct user_ids *ids)
{
	cleanup_fd int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return root < 0 || userdb_resolve(root, spec, ids, NULL) < 0 ? -ENOENT : 0;
}

static int find_user(const char *name, uint32_t *ret)
{
	struct user_ids ids;
	int r = strchr(name, ':') ? -ENOENT : find_name(name, &ids);

	if (r == 0)
		*ret = ids.uid;
	return r;
}

static int find_group(const char *name, uint32_t *ret)
{
	char spec[128];
	struct user_ids ids;
	int r = snprintf(spec, sizeof(spec), "0:%s", name) < (int)sizeof(spec)
			? find_name(spec, &ids)
			: -ENOENT;

	if (r == 0)
		*ret = ids.gid;
	return r;
}

const struct policy_names access_names = {find_user, find_group};

/* Others may connect when the policy has anything for any of them. */
static void set_socket_mode(struct manager *m)
{
	mode_t mode = m->policy && policy_has_others(m->policy) ? 0666 : 0600;

	if (fchmodat(AT_FDCWD, m->config->socket, mode, 0) < 0)
		log_warn("cannot change who may connect to %s: %s", m->config->socket,
			 strerror(errno));
}

void access_load(struct manager *m)
{
	struct policy *fresh = NULL;
	struct error err = {};
	int r = policy_load(m->config->policy, &access_names, &fresh, &err);

	m->policy_problem[0] = '\0';
	if (r < 0 && r != -ENOENT) {
		snprintf(m->policy_problem, sizeof(m->policy_problem),
			 "the policy is refused, and %s: %s",
			 m->policy ? "the one before stays in force" : "only root is served",
			 err.msg);
		log_warn("%s", m->policy_problem);
		return;
	}
	if (fresh)
		log_info("policy %s: %zu rules", m->config->policy, policy_count(fresh));
	else if (m->policy)
		log_info("there is no policy %s any more: only root is served", m->config->policy);
	policy_free(m->policy);
	m->policy = fresh;
	set_socket_mode(m);
}

void access_close(struct manager *m)
{
	policy_free(m->policy);
	m->policy = NULL;
}

static struct policy_who who_is(const struct caller *c)
{
	return (struct policy_who){
		.uid = c->uid, .gid = c->gid, .groups = c->groups, .n_groups = c->n_groups};
}

/* Nothing in the policy can concern them. */
static bool is_free(const struct client *c)
{
	const struct policy *p = c->api->m->policy;

	return c->caller.uid == 0 && (!p || !policy_names_root(p));
}

int access_connect(const struct api *api, const struct caller *caller, struct error *err)
{
	const struct policy *p = api->m->policy;
	struct policy_who who = who_is(caller);
	size_t own = 0, others = 0;

	if (caller->uid == 0)
		return 0;
	if (!p || !policy_knows(p, &who))
		return error_named(
			err, EPERM, "PermissionDenied",
			"the policy has nothing for user %u: who keeps it can allow something",
			caller->uid);
	for (const struct client *c = api->first; c; c = c->next) {
		own += c->caller.uid == caller->uid;
		others += c->caller.uid != 0;
	}
	if (own >= ACCESS_CLIENTS_MAX)
		return error_named(
			err, EBUSY, "Busy",
			"user %u has %d connections to recapd, and may have no more: close one",
			caller->uid, ACCESS_CLIENTS_MAX);
	if (others >= api->max_clients / 2)
		return error_named(
			err, EBUSY, "Busy",
			"all connections to recapd but those kept for root are in use: try again");
	return 0;
}

/* ---- decisions ------------------------------------------------------------------------------- */

static int refuse(struct client *c, const struct policy_decision *d, struct error *err)
{
	snprintf(c->refused_by, sizeof(c->refused_by), "%s", d->rule ? d->rule : "");
	track_count(c->api->m->track, "policy_refused");
	return error_named(err, EPERM, "Refused", "%s is refused: %s", c->verb, d->why);
}

static int refuse_text(struct client *c, const char *why, struct error *err)
{
	struct policy_decision d = {};

	snprintf(d.why, sizeof(d.why), "%s", why);
	return refuse(c, &d, err);
}

static void decide_quietly(struct client *c, struct access_facts *f, struct policy_decision *d)
{
	f->q.who = who_is(&c->caller);
	f->q.verb = c->verb;
	if (c->api->m->policy)
		policy_decide(c->api->m->policy, &f->q, d, NULL, NULL);
	else
		*d = (struct policy_decision){.allowed = c->caller.uid == 0,
					      .why = "without a policy only root is served"};
}

static int decide(struct client *c, struct access_facts *f, struct policy_decision *d,
		  struct error *err)
{
	decide_quietly(c, f, d);
	snprintf(c->audit.rule, sizeof(c->audit.rule), "%s", d->rule ? d->rule : "");
	return d->allowed ? 0 : refuse(c, d, err);
}

static int too_many(struct client *c, const char *what, size_t max, struct error *err)
{
	char why[96];

	snprintf(why, sizeof(why), "%zu %s of yours are at work, which is the most", max, what);
	return refuse_text(c, why, err);
}

/* Work on images takes a worker process each. */
static int check_jobs(struct client *c, struct error *err)
{
	size_t n = 0;

	for (const struct client *i = c->api->first; i; i = i->next)
		n += i->wait == WAIT_JOB && i->caller.uid == c->caller.uid;
	return n < ACCESS_JOBS_MAX ? 0 : too_many(c, "jobs on images", ACCESS_JOBS_MAX, err);
}

int access_begin(struct client *c, const struct method *m, struct error *err)
{
	const struct policy *p = c->api->m->policy;
	struct policy_who who = who_is(&c->caller);
	struct access_facts none = {};
	struct policy_decision d;

	c->verb = m->verb;
	c->refused_by[0] = '\0';
	if (!m->verb || is_free(c))
		return 0;
	if (p && m->details && policy_may(p, &who, m->verb))
		return c->caller.uid && m->job ? check_jobs(c, err) : 0;
	if (!p || !m->details)
		return decide(c, &none, &d, err);
	return refuse_text(
		c, "no rule of the policy allows it to you; ask whoever keeps it for one", err);
}

/* ---- facts ----------------------------------------------------------------------------------- */

void access_facts_clear(struct access_facts *f)
{
	json_object_put(f->record);
	strv_free(f->names);
	*f = (struct access_facts){};
}

void access_image_facts(struct client *c, const char *ref, const char *digest,
			struct access_facts *f)
{
	struct manager *m = c->api->m;
	const struct policy *p = m->policy;

	f->image =
		(struct policy_image){.ref = ref, .digest = digest, .is_signed = -1, .verdict = -1};
	f->q.image = &f->image;
	if (!digest_valid(digest) || !p)
		return;
	if (policy_wants_signed(p))
		f->image.is_signed = gate_is_signed(m->gate, digest);
	if (policy_wants_verdict(p))
		f->image.verdict = gate_scan_state(m->gate, digest);
	if (!f->names && image_names(m->store, digest, &f->names) == 0)
		f->image.names = f->names;
}

/* `o`: a container's record, or the target in a capsule's. It has its kind where the rest was looked up, too. */
static void set_target(struct access_facts *f, struct json_object *o)
{
	const char *kind = json_get_str(o, "kind"), *runtime = json_get_str(o, "runtime");
	const char *name = json_get_str(o, "name");

	f->target = (struct policy_target){
		.runtime = runtime ? runtime : "unknown",
		.name = name ? name : "",
		.details = kind != NULL,
		.labels = json_get(o, "labels", json_type_object),
		.pod_namespace = json_get_str(json_get(o, "pod", json_type_object), "namespace"),
	};
	f->target.vouched =
		kind && !strcmp(kind, "container") && strcmp(f->target.runtime, "unknown");
	f->q.target = &f->target;
}

/* A record that does not parse leaves an unknown target, which is nobody's. */
void access_container_facts(struct client *c, const char *record, struct access_facts *f)
{
	if (json_parse(record, strlen(record), "record", &f->record, NULL) < 0)
		f->record = NULL;
	set_target(f, f->record);
}

void access_capsule_facts(struct client *c, struct json_object *record, struct access_facts *f)
{
	struct json_object *image = json_get(record, "image", json_type_object);
	struct json_object *caller = json_get(record, "caller", json_type_object);

	f->record = json_object_get(record);
	set_target(f, json_get(record, "target", json_type_object));
	access_image_facts(c, json_get_str(image, "ref"), json_get_str(image, "digest"), f);
	/* Those of an earlier recapd are root's. */
	f->owner = (uint32_t)json_get_int(caller, "uid", 0);
	f->q.owner = &f->owner;
}

static const char *profile_name(struct json_object *params)
{
	static const char *const known[] = {"default", "ptrace", "net", "unconfined"};
	const char *name = json_get_str(params, "seccomp");
	bool given = json_object_object_get_ex(params, "seccomp", NULL);

	if (json_object_object_get_ex(params, "seccomp_profile", NULL))
		return "custom";
	for (size_t i = 0; name && i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i]))
			return known[i];
	return given ? "custom" : "default";
}

static void set_ask(struct access_facts *f, const struct capsule_request *req,
		    struct json_object *params)
{
	static const char *const roots[] = {"ro", "rw", "none"}; /* enum target_root */
	struct json_object *ns = json_get(f->record, "namespaces", json_type_object);

	f->ask = (struct policy_ask){
		.namespaces = req->namespaces & ~(1u << TARGET_NS_MNT),
		.host_user = !(req->namespaces & 1u << TARGET_NS_USER) &&
			     json_get_int(ns, "user", 0) != INITIAL_USER_NS,
		.caps = req->sandbox.caps,
		.added = req->sandbox.added,
		.seccomp = profile_name(params),
		.target_root = roots[req->target_root],
		.user = req->user ? req->user : req->image->user,
		.entrypoint = req->entrypoint != NULL,
		.disk = req->cow_disk,
		.reason = json_get_str(params, "reason"),
	};
	for (int i = 0; i < POLICY_LIMITS; i++)
		f->ask.limits[i] = (uint64_t)json_get_int(params, policy_limit_name(i), 0);
	f->q.ask = &f->ask;
}

int access_attach_facts(struct client *c, const struct capsule_request *req,
			struct json_object *params, struct access_facts *f, struct error *err)
{
	const char *record = inventory_json(c->api->m->inventory, req->target.id);

	if (!record)
		return error_named(err, ESRCH, "TargetGone", "%s has ended", req->target.name);
	access_container_facts(c, record, f);
	access_image_facts(c, req->image->ref, req->image->digest, f);
	set_ask(f, req, params);
	return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

/* Where the policy imposes a limit, the request has none: it was asked for within the limits, or not at all. */
static void impose(struct capsule_request *req, const uint64_t limits[POLICY_LIMITS])
{
	if (limits[POLICY_MEMORY])
		req->limits.memory = limits[POLICY_MEMORY];
	if (limits[POLICY_CPUS_MILLI])
		req->limits.cpus_milli = limits[POLICY_CPUS_MILLI];
	if (limits[POLICY_PIDS])
		req->limits.pids = limits[POLICY_PIDS];
	if (limits[POLICY_COW_SIZE])
		req->cow_size = limits[POLICY_COW_SIZE];
	if (limits[POLICY_TIMEOUT_S])
		req->timeout_ns = limits[POLICY_TIMEOUT_S] * 1000000000ull;
}

/* For the record: who decides about the capsule later on has nothing else to go by once the container has gone. */
static struct json_object *details_of(struct json_object *container)
{
	static const char *const keys[] = {"kind", "labels", "pod"};
	struct json_object *o = json_object_new_object(), *v;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_object_object_get_ex(container, keys[i], &v) && v)
			json_put_obj(o, keys[i], json_object_get(v));
	return o;
}

struct owned {
	uint32_t uid;
	size_t n;
};

static void count_owned(struct capsule *capsule, void *arg)
{
	struct owned *o = arg;

	o->n += capsule_caller(capsule) == o->uid;
}

int access_attach(struct client *c, struct capsule_request *req, struct json_object *params,
		  struct error *err)
{
	cleanup_facts struct access_facts f = {};
	struct owned own = {.uid = c->caller.uid};
	struct policy_decision d;
	int r;

	if (!c->api->m->policy)
		return 0; /* root: access_begin() saw to that */
	r = access_attach_facts(c, req, params, &f, err);
	if (r == 0)
		r = decide(c, &f, &d, err);
	if (r < 0)
		return r;
	if (own.uid)
		capsule_each(c->api->m->capsules, count_owned, &own);
	if (own.n >= ACCESS_CAPSULES_MAX)
		return too_many(c, "capsules", ACCESS_CAPSULES_MAX, err);
	impose(req, d.limits);
	req->target_details = details_of(f.record);
	return 0;
}

int access_container(struct client *c, const char *record, struct error *err)
{
	cleanup_facts struct access_facts f = {};
	struct policy_decision d;

	if (is_free(c))
		return 0;
	access_container_facts(c, record, &f);
	return decide(c, &f, &d, err);
}

int access_capsule(struct client *c, struct json_object *record, struct error *err)
{
	cleanup_facts struct access_facts f = {};
	struct policy_decision d;

	if (is_free(c))
		return 0;
	access_capsule_facts(c, record, &f);
	return decide(c, &f, &d, err);
}

static int access_names_of(struct client *c, struct access_facts *f, struct error *err)
{
	struct policy_decision d;
	int r = 0;

	for (char *const *name = f->image.names; r == 0 && name && *name; name++) {
		f->image.ref = *name;
		r = decide(c, f, &d, err);
	}
	return r;
}

int access_image(struct client *c, const char *ref, struct error *err)
{
	cleanup_facts struct access_facts f = {};
	cleanup_image struct image *image = NULL;
	char full[REFERENCE_SIZE];
	struct policy_decision d;
	struct reference parsed;
	int r;

	if (is_free(c))
		return 0;
	r = image_find(c->api->m->store, ref, &image, err);
	if (r < 0)
		return r;
	access_image_facts(c, image->ref, image->digest, &f);
	r = decide(c, &f, &d, err);
	if (r < 0 || strcmp(c->verb, "image.rm"))
		return r;
	/* A digest, or the start of one, takes all names along. */
	if (reference_parse(ref, &parsed, NULL) == 0) {
		reference_format(&parsed, full);
		if (!strcmp(full, image->ref))
			return 0;
	}
	return access_names_of(c, &f, err);
}

int access_new_image(struct client *c, const char *ref, struct error *err)
{
	cleanup_facts struct access_facts f = {};
	char full[REFERENCE_SIZE];
	struct policy_decision d;
	struct reference parsed;
	int r;

	if (is_free(c))
		return 0;
	if (ref) {
		r = reference_parse(ref, &parsed, err);
		if (r < 0)
			return r;
		reference_format(&parsed, full);
	}
	access_image_facts(c, ref ? full : NULL, NULL, &f);
	return decide(c, &f, &d, err);
}

static bool sees(struct client *c, struct access_facts *f)
{
	struct policy_decision d;

	decide_quietly(c, f, &d);
	return d.allowed;
}

bool access_sees_container(struct client *c, const char *record)
{
	cleanup_facts struct access_facts f = {};

	if (is_free(c))
		return true;
	access_container_facts(c, record, &f);
	return sees(c, &f);
}

bool access_sees_capsule(struct client *c, struct json_object *record)
{
	cleanup_facts struct access_facts f = {};

	if (is_free(c))
		return true;
	access_capsule_facts(c, record, &f);
	return sees(c, &f);
}

bool access_sees_image(struct client *c, struct json_object *row)
{
	cleanup_facts struct access_facts f = {};

	if (is_free(c))
		return true;
	access_image_facts(c, json_get_str(row, "ref"), json_get_str(row, "digest"), &f);
	return sees(c, &f);
}

int access_find(struct client *c, const char *text, struct target_name *ret, struct error *err)
{
	int r = manager_find(c->api->m, text, ret, err);

	if (r == -ENOTUNIQ && !is_free(c))
		return error_named(
			err, ENOTUNIQ, "TargetAmbiguous",
			"%.128s is ambiguous, name one as RUNTIME:NAME, by ID or as pid:N", text);
	return r;
}

int access_stream(const struct client *c, int fd, struct error *err)
{
	struct statfs fs;
	struct stat st;

	if (c->caller.uid == 0)
		return 0;
	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return error_named(err, EINVAL, "InvalidArgument", "a stream cannot be looked at");
	if (st.st_uid == c->caller.uid || S_ISSOCK(st.st_mode) || fs.f_type == PIPEFS_MAGIC_)
		return 0;
	return error_named(
		err, EPERM, "PermissionDenied",
		"a stream is a file or terminal of somebody else's: put a pipe between, or use -t");
}
