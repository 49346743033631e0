// SPDX-License-Identifier: MIT
/* Attach, ListCapsules, Inspect, Signal, Stop, Logs. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/fd.h"
#include "core/target.h"
#include "recapd/access.h"

#define STRV_MAX       1024
#define COW_MIN	       (64ull << 10)
#define COW_MAX	       (64ull << 30)
#define NOFILE_MIN     16
#define TIMEOUT_MAX    (365ll * 24 * 3600)
#define STOP_DEFAULT_S 10
#define SECOND	       1000000000ull
#define TOKEN_CHARS    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define REASON_MAX     256

/* ---- Attach ------------------------------------------------------------------------------------ */

/* The vectors of a call, owned for as long as it is served. */
struct attach {
	char **args, **env, **namespaces, **cap_add, **cap_drop;
	char **command; /* for the audit */
	struct image *image;
	int fds[VARLINK_FDS_MAX];
	unsigned int n_fds;
	struct capsule_request req;
};

static void attach_clear(struct attach *a)
{
	strv_free(a->args);
	strv_free(a->command);
	strv_free(a->env);
	strv_free(a->namespaces);
	strv_free(a->cap_add);
	strv_free(a->cap_drop);
	image_free(a->image);
	free(a->req.profile.filter);
	target_name_clear(&a->req.target);
	json_object_put(a->req.target_details);
	json_object_put(a->req.caller);
	for (unsigned int i = 0; i < a->n_fds; i++)
		fd_close(a->fds[i]);
}

static int get_vectors(struct attach *a, struct json_object *params, struct error *err)
{
	const struct {
		const char *key;
		char ***ret;
	} all[] = {{"args", &a->args},
		   {"env", &a->env},
		   {"namespaces", &a->namespaces},
		   {"cap_add", &a->cap_add},
		   {"cap_drop", &a->cap_drop}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (json_get_strv(params, all[i].key, STRV_MAX, all[i].ret) < 0)
			return error_named(err, EINVAL, "InvalidArgument",
					   "%s must be a list of at most %d strings", all[i].key,
					   STRV_MAX);
	for (char **e = a->env; *e; e++)
		if (!strchr(*e, '=') || **e == '=')
			return error_named(err, EINVAL, "InvalidArgument",
					   "%s is not KEY=VALUE, as the environment wants it", *e);
	return 0;
}

/* An integer within bounds, or `otherwise` when it is absent. */
static int get_number(struct json_object *params, const char *key, int64_t min, int64_t max,
		      int64_t otherwise, int64_t *ret, struct error *err)
{
	int64_t v = json_get_int(params, key, otherwise);

	if (v != otherwise && (v < min || v > max))
		return error_named(err, EINVAL, "InvalidArgument",
				   "%s must be from %lld to %lld, not %lld", key, (long long)min,
				   (long long)max, (long long)v);
	*ret = v;
	return 0;
}

static int get_limits(struct attach *a, struct json_object *params, struct error *err)
{
	int64_t memory = 0, cpus = 0, pids = 0, files = 0, timeout = 0;
	int r = get_number(params, "memory", 1 << 20, INT64_MAX, 0, &memory, err);

	if (r == 0)
		r = get_number(params, "cpus_milli", 10, 1000000, 0, &cpus, err);
	if (r == 0)
		r = get_number(params, "pids", 2, 1 << 22, 0, &pids, err);
	if (r == 0)
		r = get_number(params, "nofile", NOFILE_MIN, capsule_nofile_max(), 0, &files, err);
	if (r == 0)
		r = get_number(params, "timeout_s", 1, TIMEOUT_MAX, 0, &timeout, err);
	if (r < 0)
		return r;
	a->req.limits = (struct cgroup_limits){.memory = memory, .cpus_milli = cpus, .pids = pids};
	a->req.nofile = files;
	a->req.timeout_ns = timeout * SECOND;
	return 0;
}

static int get_target_root(struct attach *a, struct json_object *params, struct error *err)
{
	const char *mode = json_get_str(params, "target_root");

	if (!mode || !strcmp(mode, "ro"))
		a->req.target_root = TARGET_ROOT_RO;
	else if (!strcmp(mode, "rw"))
		a->req.target_root = TARGET_ROOT_RW;
	else if (!strcmp(mode, "none"))
		a->req.target_root = TARGET_ROOT_NONE;
	else
		return error_named(err, EINVAL, "InvalidArgument",
				   "target_root must be none, ro or rw, not %s", mode);
	return 0;
}

static int get_layer(struct attach *a, struct json_object *params, struct error *err)
{
	const char *cow = json_get_str(params, "cow");
	int64_t size = 0;
	int r;

	a->req.cow_disk = cow && !strcmp(cow, "disk");
	if (cow && !a->req.cow_disk && strcmp(cow, "tmpfs"))
		return error_named(err, EINVAL, "InvalidArgument",
				   "cow must be tmpfs or disk, not %s", cow);
	r = get_number(params, "cow_size", COW_MIN, COW_MAX,
		       a->req.cow_disk ? CAPSULE_COW_DISK_DEFAULT : CAPSULE_COW_DEFAULT, &size,
		       err);
	a->req.cow_size = size;
	return r;
}

/*
 * What is passed is the capsule's to chmod(2) or chown(2), whatever Landlock says. A folder would let it reach others beside it;
 * /dev/null is the host's: the capsule gets its own (-1).
 */
static int get_stream(const struct client *c, int fd, int *ret, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode) || fcntl(fd, F_GETFL) & O_PATH)
		return error_named(err, EINVAL, "InvalidArgument",
				   "a folder cannot be a stream of the tool");
	*ret = S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? -1 : fd;
	return *ret < 0 ? 0 : access_stream(c, fd, err);
}

/* `detach` keeps no client's descriptor; everything else needs exactly three. */
static int get_streams(struct attach *a, struct client *c, struct json_object *params,
		       struct error *err)
{
	a->n_fds = varlink_take_fds(&c->v, a->fds);
	a->req.detach = json_get_bool(params, "detach");
	a->req.terminal = json_get_bool(params, "terminal");
	if (a->req.detach && (a->n_fds || a->req.terminal))
		return error_named(
			err, EINVAL, "InvalidArgument",
			"a detached capsule has no terminal and takes no streams; see `recapctl logs`");
	if (!a->req.detach && a->n_fds != 3)
		return error_named(
			err, EINVAL, "InvalidArgument",
			"Attach wants three descriptors (standard input, output and error), not %u",
			a->n_fds);
	for (unsigned int i = 0; i < a->n_fds; i++) {
		int r = get_stream(c, a->fds[i], &a->req.stdio[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_token(const char *token, struct error *err)
{
	size_t len = strlen(token);

	if (len >= 16 && len <= TOKEN_MAX && strspn(token, TOKEN_CHARS) == len)
		return 0;
	return error_named(err, EINVAL, "InvalidArgument",
			   "a token is made of 16 to %d letters and digits", TOKEN_MAX);
}

static int get_residue(struct attach *a, struct json_object *params, struct error *err)
{
	const char *text = json_get_str(params, "residue");

	a->req.refuse_residue = text && !strcmp(text, "refuse");
	if (text && !a->req.refuse_residue && strcmp(text, "report"))
		return error_named(err, EINVAL, "InvalidArgument",
				   "residue must be refuse or report, not %s", text);
	return 0;
}

static int get_sandbox(struct attach *a, struct json_object *params, struct error *err)
{
	const char *name = json_get_str(params, "seccomp");
	const char *text = json_get_str(params, "seccomp_profile");
	int r;

	if (name && text)
		return error_named(err, EINVAL, "InvalidArgument",
				   "seccomp and seccomp_profile exclude each other");
	r = sandbox_make(a->cap_add, a->cap_drop, name, &a->req.sandbox, err);
	if (r < 0 || !text)
		return r;
	return sandbox_use_profile(&a->req.sandbox, text, &a->req.profile, err);
}

static int get_rest(struct attach *a, struct client *c, struct json_object *params,
		    struct error *err)
{
	struct capsule_request *req = &a->req;
	int r = target_ns_parse(a->namespaces, &req->namespaces, err);

	req->args = a->args;
	req->env = a->env;
	req->entrypoint = json_get_str(params, "entrypoint");
	req->user = json_get_str(params, "user");
	req->workdir = json_get_str(params, "workdir");
	if (r == 0 && req->workdir && req->workdir[0] != '/')
		r = error_named(err, EINVAL, "InvalidArgument",
				"the working directory must be an absolute path, not %s",
				req->workdir);
	return r < 0 ? r : get_sandbox(a, params, err);
}

/* One that nobody else can come upon; letters and digits. */
static int get_token(struct attach *a, struct json_object *params, struct error *err)
{
	a->req.token = json_get_str(params, "token");
	return a->req.token ? check_token(a->req.token, err) : 0;
}

/* For people, in logs and on terminals: one line of text. */
static int get_reason(struct attach *a, struct json_object *params, struct error *err)
{
	const char *why = json_get_str(params, "reason");
	bool control = false;

	if (!why)
		return json_object_object_get(params, "reason")
			       ? error_named(err, EINVAL, "InvalidArgument",
					     "the reason must not have a NUL inside")
			       : 0;
	/* C0, DEL, and C1 as UTF-8 has it: U+0080 to U+009F. */
	for (const unsigned char *p = (const unsigned char *)why; *p; p++)
		control |= *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0);
	if (!*why || strlen(why) > REASON_MAX || control)
		return error_named(err, EINVAL, "InvalidArgument",
				   "the reason must have 1 to %d bytes and no control characters",
				   REASON_MAX);
	a->req.why = why;
	return 0;
}

/* What the image asks for counts only where the caller left it open. */
static int get_image(struct attach *a, struct client *c, struct json_object *params,
		     struct error *err)
{
	const char *ref = json_get_str(params, "image");
	struct manager *m = c->api->m;
	int r;

	if (!ref || !json_get_str(params, "target"))
		return error_named(err, EINVAL, "InvalidArgument",
				   "Attach needs a target and an image");
	r = image_find(m->store, ref, &a->image, err);
	if (r < 0)
		return r;
	a->req.image = a->image;
	return requests_apply(&m->config->requests, a->image->ref, a->image->labels, params, err);
}

/* All but the streams: what the call comes to. */
static int get_request(struct attach *a, struct client *c, struct json_object *params,
		       struct error *err)
{
	int r = get_image(a, c, params, err);

	if (r == 0)
		r = get_vectors(a, params, err);
	if (r == 0)
		r = get_limits(a, params, err);
	if (r == 0)
		r = get_target_root(a, params, err);
	if (r == 0)
		r = get_layer(a, params, err);
	if (r == 0)
		r = get_token(a, params, err);
	if (r == 0)
		r = get_residue(a, params, err);
	if (r == 0)
		r = get_reason(a, params, err);
	if (r == 0)
		r = get_rest(a, c, params, err);
	if (r == 0)
		r = capsule_command(&a->req, &a->command, err);
	return r < 0 ? r : access_find(c, json_get_str(params, "target"), &a->req.target, err);
}

int attach_explain_facts(struct client *c, struct json_object *params, attach_facts_fn fn,
			 void *arg, struct error *err)
{
	cleanup(attach_clear) struct attach a = {};
	cleanup_facts struct access_facts f = {};
	int r = get_request(&a, c, params, err);

	if (r == 0)
		r = access_attach_facts(c, &a.req, params, &f, err);
	if (r == 0)
		fn(&f, arg);
	return r;
}

/* Everything that is asked for, and whether it may be. */
static int judge(struct client *c, struct attach *a, struct json_object *params, struct error *err)
{
	int r = get_streams(a, c, params, err);

	if (r == 0 && c->api->m->stopping)
		r = error_set(err, ESHUTDOWN, "recapd is ending and starts nothing new");
	if (r == 0)
		r = get_request(a, c, params, err);
	if (r == 0)
		r = access_attach(c, &a->req, params, err);
	return r < 0 ? r : gate_check(c->api->m->gate, a->image->digest, err);
}

/* The request is on record before there is a capsule, and a refusal before it is answered. */
static int start(struct client *c, struct attach *a, struct json_object *params,
		 struct capsule **ret, struct error *err)
{
	struct manager *m = c->api->m;
	int r = judge(c, a, params, err);
	const struct audit_what what = {params, a->image, &a->req.target, a->command};
	bool failed = false;

	if (r == 0)
		r = audit_allow(m->audit, &c->audit, &c->caller, &what, err);
	a->req.caller = caller_json(&c->caller);
	a->req.number = c->audit.number;
	if (r == 0) {
		r = capsule_start(m->capsules, &a->req, ret, err);
		failed = r < 0;
	}
	if (r < 0) {
		audit_end(m->audit, &c->audit, &c->caller, &what, NULL, err);
		/* In this order: what failed is never more than what was refused, or has started. */
		track_count(m->track, "attach_refused");
		if (failed)
			track_count(m->track, "attach_failed");
		return r;
	}
	audit_capsule_begin(m->audit, &c->audit, &c->caller, capsule_name(*ret));
	return 0;
}

static int method_attach(struct client *c, struct json_object *params, struct error *err)
{
	cleanup(attach_clear) struct attach a = {.req.arrived_ns = clock_boot_ns()};
	struct capsule *capsule;
	int r = start(c, &a, params, &capsule, err);

	if (r < 0)
		return r;
	c->wait = a.req.detach ? WAIT_STARTED : WAIT_ATTACH;
	snprintf(c->waits_for, sizeof(c->waits_for), "%s", capsule_name(capsule));
	if (!a.req.detach)
		api_tell_soon(c);
	return 0;
}

/* ---- Rejoin ------------------------------------------------------------------------------------ */

static int reply_member(struct client *c, const char *key, const char *json)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "{\"%s\":%s}", key, json) < 0)
		return -ENOMEM;
	client_reply_text(c, text, false);
	return 0;
}

/* One that is over. What never ran is told as Attach would have. */
static int unknown_token(struct client *c, struct error *err)
{
	if (c->api->m->lost_capsules)
		return error_set(
			err, ESTALE,
			"recapd was restarted, and had to end capsules that it has no record of: "
			"this may have been one of them");
	return error_named(err, ENOENT, "CapsuleNotFound", "no capsule has that token");
}

static int rejoin_past(struct client *c, const char *text, struct error *err)
{
	cleanup_json struct json_object *record = NULL;
	const char *state;
	int r = json_parse(text, strlen(text), "history", &record, err);

	if (r < 0)
		return r;
	state = json_get_str(record, "state");
	if (state && !strcmp(state, "failed"))
		return error_named(err, ECANCELED, json_get_str(record, "error") ?: "Failed", "%s",
				   json_get_str(record, "reason") ?: "the tool never ran");
	return reply_member(c, "capsule", text);
}

static int rejoin_live(struct client *c, struct capsule *capsule)
{
	bool detached = capsule_is_detached(capsule);

	if (capsule_is_quarantined(capsule) || (detached && capsule_has_started(capsule))) {
		struct json_object *o = json_object_new_object();

		json_put_obj(o, "capsule", capsule_json(capsule));
		client_reply(c, o, false);
		return 0;
	}
	c->wait = detached ? WAIT_STARTED : WAIT_ATTACH;
	snprintf(c->waits_for, sizeof(c->waits_for), "%s", capsule_name(capsule));
	/* To be told that it runs, and then that it never did, would leave the caller nothing to do: see session.c. */
	if (c->more && !detached && capsule_was_begun(capsule))
		api_tell_soon(c);
	return 0;
}

static int method_rejoin(struct client *c, struct json_object *params, struct error *err)
{
	const char *token = json_get_str(params, "token");
	cleanup_free char *text = NULL;
	struct manager *m = c->api->m;
	struct capsule *capsule;
	int r = check_token(token ? token : "", err);

	if (r < 0)
		return r;
	capsule = capsule_rejoin(m->capsules, token, c->caller.uid);
	if (capsule)
		return rejoin_live(c, capsule);
	r = history_find_token(m->history, token, c->caller.uid, &text);
	/* Not to be told as if there were none: its caller would have the tool run again. */
	if (r < 0 && r != -ENOENT)
		return error_sys(err, -r, "cannot look for the capsule's record");
	return r == 0 ? rejoin_past(c, text, err) : unknown_token(c, err);
}

/* ---- looking ----------------------------------------------------------------------------------- */

struct listing {
	struct client *client;
	struct json_object *rows;
};

static void add_row(struct listing *l, struct json_object *record)
{
	if (access_sees_capsule(l->client, record))
		json_object_array_add(l->rows, record);
	else
		json_object_put(record);
}

static void add_live(struct capsule *capsule, void *arg)
{
	add_row(arg, capsule_json(capsule));
}

static void add_finished(const char *text, void *arg)
{
	struct json_object *o;

	if (json_parse(text, strlen(text), "history", &o, NULL) == 0)
		add_row(arg, o);
}

static int method_list(struct client *c, struct json_object *params, struct error *err)
{
	struct listing l = {c, json_object_new_array()};
	struct json_object *o = json_object_new_object();

	capsule_each(c->api->m->capsules, add_live, &l);
	if (json_get_bool(params, "all"))
		history_each(c->api->m->history, add_finished, &l);
	json_put_obj(o, "capsules", l.rows);
	client_reply(c, o, false);
	return 0;
}

static int need_id(struct json_object *params, const char **ret, struct error *err)
{
	*ret = json_get_str(params, "id");
	return *ret ? 0 : error_named(err, EINVAL, "InvalidArgument", "an id is needed");
}

/* One that has finished. */
static int find_past(struct manager *m, const char *id, const char **ret_id, const char **ret_text,
		     struct error *err)
{
	int r = history_find(m->history, id, ret_id, ret_text);

	if (r == -ENOTUNIQ)
		return error_named(err, ENOTUNIQ, "CapsuleNotFound",
				   "%s is the start of more than one capsule's ID; give more of it",
				   id);
	if (r < 0)
		return error_named(err, ENOENT, "CapsuleNotFound",
				   "no capsule %s is remembered; `recapctl ps --all` shows them",
				   id);
	return 0;
}

static int may_see_live(struct client *c, struct capsule *capsule, struct error *err)
{
	cleanup_json struct json_object *record = capsule_json(capsule);

	return access_capsule(c, record, err);
}

static int may_see_past(struct client *c, const char *text, struct error *err)
{
	cleanup_json struct json_object *record = NULL;
	int r = json_parse(text, strlen(text), "history", &record, err);

	return r < 0 ? r : access_capsule(c, record, err);
}

static int inspect_capsule(struct client *c, const char *id, struct error *err)
{
	struct manager *m = c->api->m;
	struct capsule *capsule;
	const char *text;
	int r = capsule_find(m->capsules, id, &capsule, err);

	if (r == 0)
		r = may_see_live(c, capsule, err);
	if (r == 0) {
		struct json_object *o = json_object_new_object();

		json_put_obj(o, "capsule", capsule_json(capsule));
		client_reply(c, o, false);
	}
	if (r != -ENOENT)
		return r;
	r = find_past(m, id, NULL, &text, err);
	if (r == 0)
		r = may_see_past(c, text, err);
	return r < 0 ? r : reply_member(c, "capsule", text);
}

/* A capsule that lives, one that is remembered, or a container: in this order. */
static int method_inspect(struct client *c, struct json_object *params, struct error *err)
{
	struct manager *m = c->api->m;
	cleanup(target_name_clear) struct target_name target = {};
	struct error no_capsule = {};
	const char *id, *text;
	int r = need_id(params, &id, err);

	if (r < 0 || inspect_capsule(c, id, &no_capsule) == 0)
		return r;
	if (no_capsule.code == EPERM) {
		*err = no_capsule;
		return -EPERM;
	}
	r = access_find(c, id, &target, err);
	text = r == 0 ? inventory_json(m->inventory, target.id) : NULL;
	if (text) {
		r = access_container(c, text, err);
		return r < 0 ? r : reply_member(c, "container", text);
	}
	if (r == -ENOTUNIQ)
		return r;
	if (no_capsule.code == ENOTUNIQ) {
		*err = no_capsule;
		return -ENOTUNIQ;
	}
	return error_named(
		err, ENOENT, "CapsuleNotFound",
		"no capsule and no container is called %s; see `recapctl ps --all` and `recapctl list`",
		id);
}

/* ---- acting ------------------------------------------------------------------------------------ */

static int method_signal(struct client *c, struct json_object *params, struct error *err)
{
	int64_t sig = json_get_int(params, "signal", 0);
	struct capsule *capsule = NULL;
	const char *id;
	int r = need_id(params, &id, err);

	if (r == 0 && (sig < 1 || sig > SIGRTMAX))
		r = error_named(err, EINVAL, "InvalidArgument", "%lld is not a signal",
				(long long)sig);
	if (r == 0)
		r = capsule_find(c->api->m->capsules, id, &capsule, err);
	if (r == 0)
		r = may_see_live(c, capsule, err);
	if (r == 0 && (r = capsule_signal(capsule, sig)) < 0)
		error_named(err, -r, "CapsuleNotFound", "the tool of capsule %s does not run", id);
	if (r == 0)
		client_reply(c, NULL, false);
	return r;
}

static int method_stop(struct client *c, struct json_object *params, struct error *err)
{
	int64_t timeout = json_get_int(params, "timeout_s", STOP_DEFAULT_S);
	struct manager *m = c->api->m;
	struct capsule *capsule;
	const char *id;
	int r = need_id(params, &id, err);

	if (r == 0 && (timeout < 0 || timeout > 3600))
		r = error_named(err, EINVAL, "InvalidArgument",
				"the timeout must be from 0 to 3600 seconds");
	if (r == 0)
		r = capsule_find(m->capsules, id, &capsule, err);
	if (r == 0)
		r = may_see_live(c, capsule, err);
	if (r < 0)
		return r;
	if (capsule_is_quarantined(capsule)) {
		struct json_object *o = json_object_new_object();

		json_put_obj(o, "capsule", capsule_json(capsule));
		client_reply(c, o, false);
		return 0;
	}
	c->wait = WAIT_GONE;
	snprintf(c->waits_for, sizeof(c->waits_for), "%s", capsule_name(capsule));
	capsule_stop(capsule, "stopped", timeout * SECOND);
	return 0;
}

/* The log's descriptor goes with the reply. A name that is not an ID never reaches the file system. */
static int open_log(struct client *c, const char *id, bool *ret_running, const char **ret_id,
		    struct error *err)
{
	struct manager *m = c->api->m;
	struct capsule *capsule = NULL;
	const char *text = NULL;
	char name[32];
	int fd, r;

	*ret_running = capsule_find(m->capsules, id, &capsule, NULL) == 0;
	if (*ret_running)
		*ret_id = capsule_name(capsule);
	else if (find_past(m, id, ret_id, &text, err) < 0)
		return -err->code;
	r = *ret_running ? may_see_live(c, capsule, err) : may_see_past(c, text, err);
	if (r < 0)
		return r;
	if (*ret_running && capsule_is_quarantined(capsule))
		*ret_running = false;
	snprintf(name, sizeof(name), "%s.log", *ret_id);
	fd = openat(m->log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_named(
			err, errno, "CapsuleNotFound",
			"capsule %s has no log: only the output of detached capsules is kept",
			*ret_id);
	return fd;
}

static int method_logs(struct client *c, struct json_object *params, struct error *err)
{
	const char *id, *full;
	bool running;
	int r = need_id(params, &id, err), fd;

	if (r < 0)
		return r;
	fd = open_log(c, id, &running, &full, err);
	if (fd < 0)
		return fd;
	c->v.out_fd = fd;
	if (c->more && running) {
		c->wait = WAIT_LOG;
		snprintf(c->waits_for, sizeof(c->waits_for), "%s", full);
		client_reply_text(c, "{\"running\":true}", true);
	} else {
		client_reply_text(c, running ? "{\"running\":true}" : "{\"running\":false}", false);
	}
	return 0;
}

const struct method methods_capsule[] = {
	{"io.recap.Attach",
	 "attach",
	 true,
	 false,
	 method_attach,
	 {{"target", json_type_string},
	  {"image", json_type_string},
	  {"args", json_type_array},
	  {"entrypoint", json_type_string},
	  {"env", json_type_array},
	  {"user", json_type_string},
	  {"workdir", json_type_string},
	  {"terminal", json_type_boolean},
	  {"detach", json_type_boolean},
	  {"timeout_s", json_type_int},
	  {"namespaces", json_type_array},
	  {"target_root", json_type_string},
	  {"cap_add", json_type_array},
	  {"cap_drop", json_type_array},
	  {"seccomp", json_type_string},
	  {"memory", json_type_int},
	  {"cpus_milli", json_type_int},
	  {"pids", json_type_int},
	  {"cow_size", json_type_int},
	  {"cow", json_type_string},
	  {"token", json_type_string},
	  {"reason", json_type_string},
	  {"residue", json_type_string},
	  {"nofile", json_type_int},
	  {"seccomp_profile", json_type_string}},
	 true},
	{"io.recap.Rejoin", "attach", true, false, method_rejoin, {{"token", json_type_string}}},
	{"io.recap.ListCapsules", "ps", true, false, method_list, {{"all", json_type_boolean}}},
	{"io.recap.Inspect", "inspect", true, false, method_inspect, {{"id", json_type_string}}},
	{"io.recap.Signal",
	 "signal",
	 true,
	 false,
	 method_signal,
	 {{"id", json_type_string}, {"signal", json_type_int}}},
	{"io.recap.Stop",
	 "stop",
	 true,
	 false,
	 method_stop,
	 {{"id", json_type_string}, {"timeout_s", json_type_int}}},
	{"io.recap.Logs", "logs", true, false, method_logs, {{"id", json_type_string}}},
	{NULL},
};
