// SPDX-License-Identifier: MIT
/*
 * libFuzzer over what a client sends: framing, descriptors, JSON, methods and their parameters, as recapd's loop serves them,
 * over a socket. What lies behind the checks (the kernel's maps, images, capsules, workers) is stood in for, and tells when it is
 * asked for what no check should have let through.
 *
 * The first byte of an input says how many descriptors go with its start, the second in how many pieces the rest is sent. Each
 * reply must be what Varlink calls one, and afterwards no descriptor may be left.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "recapd/audit.h"
#include "recapd/client.h"
#include "fuzz.h"

#define FOLDER	  "/mnt"
#define TARGET_ID 4711
#define FDS_MAX	  4 /* one more than may be */

static struct config config = {.state_dir = "/nowhere"};
static struct manager manager = {.config = &config};
static int null_fd;

/* ---- what is stood in for ---- */

__typeof__(track_count) __wrap_track_count;
__typeof__(track_counter) __wrap_track_counter;
__typeof__(track_counters) __wrap_track_counters;
__typeof__(track_latencies) __wrap_track_latencies;
__typeof__(track_programs) __wrap_track_programs;
__typeof__(manager_find) __wrap_manager_find;
__typeof__(manager_catch_up) __wrap_manager_catch_up;
__typeof__(inventory_sync) __wrap_inventory_sync;
__typeof__(inventory_list) __wrap_inventory_list;
__typeof__(inventory_json) __wrap_inventory_json;
__typeof__(inventory_count) __wrap_inventory_count;
__typeof__(image_find) __wrap_image_find;
__typeof__(gate_check) __wrap_gate_check;
__typeof__(gate_scan_state) __wrap_gate_scan_state;
__typeof__(capsule_start) __wrap_capsule_start;
__typeof__(capsule_find) __wrap_capsule_find;
__typeof__(capsule_each) __wrap_capsule_each;
__typeof__(capsule_count) __wrap_capsule_count;
__typeof__(capsule_count_running) __wrap_capsule_count_running;
__typeof__(capsule_set_forget_image) __wrap_capsule_set_forget_image;
__typeof__(cgroup_root_path) __wrap_cgroup_root_path;
__typeof__(job_start) __wrap_job_start;
__typeof__(capsule_rejoin) __wrap_capsule_rejoin;
__typeof__(injector_is_limited) __wrap_injector_is_limited;
__typeof__(track_containers_missing) __wrap_track_containers_missing;
__typeof__(audit_begin) __wrap_audit_begin;
__typeof__(audit_allow) __wrap_audit_allow;
__typeof__(audit_end) __wrap_audit_end;
__typeof__(audit_connection) __wrap_audit_connection;
__typeof__(audit_json) __wrap_audit_json;
__typeof__(audit_problems) __wrap_audit_problems;

void __wrap_track_count(struct track *t, const char *name)
{
}

uint64_t __wrap_track_counter(struct track *t, const char *name)
{
	return 1;
}

void __wrap_track_counters(struct track *t, void (*fn)(const char *name, uint64_t n, void *arg),
			   void *arg)
{
	fn("client_refused", 1, arg);
}

void __wrap_track_latencies(struct track *t,
			    void (*fn)(const struct recap_latency_key *key,
				       const struct recap_latency *l, void *arg),
			    void *arg)
{
}

void __wrap_track_programs(struct track *t, void (*fn)(const char *name, void *arg), void *arg)
{
	fn("on_fork", arg);
}

int __wrap_manager_find(struct manager *m, const char *text, struct target_name *ret,
			struct error *err)
{
	if (strcmp(text, "web"))
		return error_named(err, ENOENT, "TargetNotFound", "no container is called %s",
				   text);
	*ret = (struct target_name){.id = TARGET_ID,
				    .container_id = strdup("0123"),
				    .name = strdup(text),
				    .runtime = strdup("runc")};
	return 0;
}

void __wrap_manager_catch_up(struct manager *m)
{
}

int __wrap_inventory_sync(struct inventory *inv, struct error *err)
{
	return 0;
}

int __wrap_inventory_list(struct inventory *inv, bool all, char *const *labels,
			  inventory_keep_fn keep, void *arg, char **ret, size_t *ret_len,
			  struct error *err)
{
	*ret = strdup("[]");
	*ret_len = 2;
	return 0;
}

const char *__wrap_inventory_json(struct inventory *inv, uint64_t id)
{
	return "{\"name\":\"web\"}";
}

size_t __wrap_inventory_count(const struct inventory *inv)
{
	return 1;
}

static char **strv_of(const char *text)
{
	char **v = calloc(2, sizeof(*v));

	must(v);
	v[0] = strdup(text);
	return v;
}

/* It asks for something itself, so that this meets what the caller asks for. */
static struct json_object *labels_of(const char *ref)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "io.recap.capabilities", ref[1] ? "NET_RAW,SYS_PTRACE" : "NET_RAW");
	json_put_str(o, "io.recap.timeout", "30");
	json_put_str(o, "io.recap.namespaces", "pid,net");
	/* What is malformed in a label is the image's fault, and must be told as well. */
	json_put_str(o, "io.recap.target-root", strlen(ref) > 8 ? ref : "ro");
	return o;
}

int __wrap_image_find(struct image_store *store, const char *ref, struct image **ret,
		      struct error *err)
{
	struct image *image;

	if (*ref != 't')
		return error_named(err, ENOENT, "ImageNotFound", "no image is called %s", ref);
	image = calloc(1, sizeof(*image));
	must(image);
	image->ref = strdup("t:1");
	image->digest = strdup("sha256:00");
	image->entrypoint = strv_of("/bin/t");
	image->cmd = strv_of("x");
	image->env = strv_of("PATH=/bin");
	image->workdir = strdup("/");
	image->user = strdup("");
	image->labels = labels_of(ref);
	*ret = image;
	return 0;
}

int __wrap_gate_check(struct gate *g, const char *digest, struct error *err)
{
	return 0;
}

enum gate_state __wrap_gate_scan_state(struct gate *g, const char *digest)
{
	return GATE_OK;
}

/* What the checks promise of a request. */
int __wrap_capsule_start(struct capsule_set *set, const struct capsule_request *req,
			 struct capsule **ret, struct error *err)
{
	must(req->target.id == TARGET_ID && req->image);
	must(req->cow_size >= 64 << 10 && req->cow_size <= 64ull << 30);
	must(req->timeout_ns <= 366ull * 24 * 3600 * 1000000000);
	must(!req->workdir || req->workdir[0] == '/');
	must(!(req->detach && req->terminal));
	must(req->limits.memory == 0 || req->limits.memory >= 1 << 20);
	must(strv_len(req->args) <= 1024 && strv_len(req->env) <= 1024);
	for (char *const *e = req->env; e && *e; e++)
		must(strchr(*e, '=') > *e);
	for (int i = 0; i < 3 && !req->detach; i++)
		must(req->stdio[i] == -1 || fcntl(req->stdio[i], F_GETFD) >= 0);
	return error_set(err, ECANCELED, "nothing is started here");
}

int __wrap_capsule_find(struct capsule_set *set, const char *text, struct capsule **ret,
			struct error *err)
{
	return error_named(err, ENOENT, "CapsuleNotFound", "no capsule %s is running", text);
}

void __wrap_capsule_each(struct capsule_set *set, void (*fn)(struct capsule *c, void *arg),
			 void *arg)
{
}

size_t __wrap_capsule_count(const struct capsule_set *set)
{
	return 0;
}

size_t __wrap_capsule_count_running(const struct capsule_set *set)
{
	return 0;
}

void __wrap_capsule_set_forget_image(struct capsule_set *set)
{
}

const char *__wrap_cgroup_root_path(const struct cgroup_root *r)
{
	return "none";
}

int __wrap_job_start(struct client *c, char *const argv[], int fd, struct error *err)
{
	must(argv[0] && argv[1]);
	fd_close(fd);
	return error_set(err, ECANCELED, "no worker is started here");
}

bool __wrap_injector_is_limited(const struct injector *in)
{
	return true;
}

bool __wrap_track_containers_missing(struct track *t)
{
	return 0;
}

struct capsule *__wrap_capsule_rejoin(struct capsule_set *set, const char *token, uint32_t uid)
{
	must(strlen(token) >= 16 && strlen(token) <= TOKEN_MAX);
	return NULL;
}

/* Each call is recorded before it is served, and once. */
void __wrap_audit_begin(struct audit *a, struct audit_request *q, const char *method, bool known)
{
	*q = (struct audit_request){.number = 1};
}

int __wrap_audit_allow(struct audit *a, struct audit_request *q, const struct caller *who,
		       const struct audit_what *what, struct error *err)
{
	must(q->number && !q->allowed);
	q->allowed = true;
	return 0;
}

void __wrap_audit_end(struct audit *a, struct audit_request *q, const struct caller *who,
		      const struct audit_what *what, struct json_object *reply,
		      const struct error *err)
{
	q->number = 0;
}

void __wrap_audit_connection(struct audit *a, const struct caller *who, const struct error *err)
{
	must(err->name[0] && err->msg[0]);
}

struct json_object *__wrap_audit_json(const struct audit *a)
{
	return json_object_new_object();
}

void __wrap_audit_problems(struct audit *a, struct json_object *problems)
{
}

/* ---- a client ---- */

struct feed {
	const uint8_t *data;
	size_t size, piece;
	unsigned int n_fds;
	int fd;		/* the client's end; -1: it has gone */
	int turns_left; /* of the loop, once all was sent */
	struct loop_source source;
};

/* All that is there now: recapd must never say what is no reply. */
static void read_replies(int fd, struct varlink *v)
{
	const char *text;
	size_t len;
	int r;

	do {
		r = varlink_read(v);
		while (varlink_next(v, &text, &len) == 1) {
			cleanup_json struct json_object *o = NULL;
			struct json_object *params;
			const char *message;

			must(json_parse(text, len, "a reply", &o, NULL) == 0);
			params = json_get(o, "parameters", json_type_object);
			must(params);
			message = json_get_str(params, "message");
			must(!message || *message);
			must(!json_object_object_get(o, "error") || json_get_str(o, "error"));
		}
	} while (r == 1);
}

static void send_piece(struct feed *f)
{
	int fds[FDS_MAX] = {null_fd, null_fd, null_fd, null_fd};
	size_t n = f->size < f->piece ? f->size : f->piece;
	ssize_t sent;

	if (!n) {
		/* No more comes, and then it goes. */
		if (f->turns_left-- == 2)
			shutdown(f->fd, SHUT_WR);
		return;
	}
	sent = fd_send(f->fd, f->data, n, fds, f->n_fds, MSG_DONTWAIT);
	if (sent <= 0 && sent != -EAGAIN) {
		f->size = 0; /* it hung up */
		return;
	}
	if (sent > 0) {
		f->n_fds = 0;
		f->data += sent;
		f->size -= sent;
	}
}

static void no_event(uint32_t events, void *arg)
{
}

static struct varlink replies;

static void after_turn(void *arg)
{
	struct feed *f = arg;

	read_replies(f->fd, &replies);
	send_piece(f);
	if (f->turns_left < 0)
		loop_stop(manager.loop);
}

static void serve(struct feed *f, int ours)
{
	cleanup_fd int always = eventfd(1, EFD_CLOEXEC); /* keeps the loop turning */
	struct error err;

	must(loop_new(&manager.loop, &err) == 0 && api_new(&manager, &manager.api, &err) == 0);
	must(loop_add(manager.loop, &f->source, always, EPOLLIN, no_event, NULL) == 0);
	varlink_init(&replies, f->fd, VARLINK_REPLY_MAX);
	send_piece(f);
	api_accept(manager.api, ours);
	must(loop_run(manager.loop, after_turn, f) == 0);
	varlink_close(&replies);
	api_free(manager.api);
	loop_free(manager.loop);
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A folder in memory, seen by nobody else: the store syncs what it writes. */
static void cover(const char *dir)
{
	must(unshare(CLONE_NEWNS) == 0);
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	must(mount("fuzz", dir, "tmpfs", 0, "size=64m,mode=0700") == 0);
}

static void open_store(const char *dir)
{
	struct image_prune all = {.all = true, .in_use = (char *[]){NULL}};
	struct json_object *result;
	struct error err;

	must(image_store_open(dir, &manager.store, &err) == 0);
	/* It keeps the file open in which it has written what there is. */
	must(image_prune(manager.store, &all, &result, &err) == 0);
	json_object_put(result);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct error err;

	cover(FOLDER);
	signal(SIGPIPE, SIG_IGN);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	manager.state_dir = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(manager.state_dir >= 0 && mkdirat(manager.state_dir, "logs", 0700) == 0);
	manager.log_dir = openat(manager.state_dir, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(history_open(manager.state_dir, manager.log_dir, &manager.history, &err) == 0);
	open_store(FOLDER);
	must(gate_config_parse(NULL, "gate", &config.gate, &err) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {.turns_left = 4};
	unsigned int before = count_fds();
	int pair[2];

	if (size < 2)
		return -1;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	f.data = data + 2;
	f.size = size - 2;
	f.n_fds = data[0] % (FDS_MAX + 1);
	f.piece = f.size / (data[1] % 8 + 1) + 1;
	f.fd = pair[0];
	serve(&f, pair[1]);
	must(count_fds() == before);
	return 0;
}
