// SPDX-License-Identifier: MIT
#include "recapd/manager.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/fd.h"
#include "common/log.h"
#include "recapd/access.h"
#include "recapd/api.h"
#include "recapd/audit.h"
#include "recapd/notify.h"

#define SHUTDOWN_GRACE	(2 * 1000000000ull) /* from SIGTERM to SIGKILL for capsules */
#define SHUTDOWN_LATE_S 10

#define ACCEPTS_PER_TURN 2

#define ORPHAN_ROUNDS	   50
#define ORPHAN_INTERVAL_US 20000

/* ---- what recapd needs ------------------------------------------------------------------------- */

int manager_check_privileges(struct error *err)
{
	static const struct {
		cap_value_t cap;
		const char *name, *why;
	} needed[] = {
		{CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to join namespaces, mount and load BPF programs"},
		{CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "to open the namespaces of containers"},
		{CAP_SYS_CHROOT, "CAP_SYS_CHROOT", "to enter mount namespaces"},
		{CAP_SETPCAP, "CAP_SETPCAP", "to bound a capsule's capabilities"},
		{CAP_SETUID, "CAP_SETUID", "to run capsules as their user"},
		{CAP_SETGID, "CAP_SETGID", "to run capsules as their group"},
		{CAP_KILL, "CAP_KILL", "to end capsules"},
		{CAP_CHOWN, "CAP_CHOWN", "to unpack images"},
		{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "to read the runtimes' files"},
		{CAP_FOWNER, "CAP_FOWNER", "to unpack images"},
		{CAP_MKNOD, "CAP_MKNOD", "to make a capsule's /dev"},
	};
	cap_t caps = cap_get_proc();
	int r = caps ? 0 : error_sys(err, errno, "cannot read my own capabilities");

	for (size_t i = 0; i < ARRAY_SIZE(needed) && r == 0; i++) {
		cap_flag_value_t on = CAP_CLEAR;

		cap_get_flag(caps, needed[i].cap, CAP_EFFECTIVE, &on);
		if (on != CAP_SET)
			r = error_set(err, EPERM,
				      "recapd needs %s %s; run it as root with its capabilities",
				      needed[i].name, needed[i].why);
	}
	if (caps)
		cap_free(caps);
	return r;
}

/* The kernel's programs speak of the initial PID namespace, and capabilities count only in the initial user namespace. */
static int check_namespaces(struct error *err)
{
	static const struct {
		const char *path, *name;
		ino_t initial; /* include/linux/proc_ns.h */
	} needed[] = {{"/proc/self/ns/pid", "PID", 0xEFFFFFFC},
		      {"/proc/self/ns/user", "user", 0xEFFFFFFD}};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		struct stat st;

		if (stat(needed[i].path, &st) < 0)
			return error_sys(err, errno, "cannot look at %s", needed[i].path);
		if (st.st_ino != needed[i].initial)
			return error_set(
				err, EPERM,
				"recapd must run in the host's %s namespace (in a container: hostPID, no user "
				"namespace)",
				needed[i].name);
	}
	return 0;
}

static void problem(struct manager *m, const char *text)
{
	log_warn("%s", text);
	if (m->n_problems < ARRAY_SIZE(m->problems))
		m->problems[m->n_problems++] = strdup(text);
}

/* ---- opening ----------------------------------------------------------------------------------- */

#define LOCK_TRIES 100
#define LOCK_US	   10000

/* A child of a recapd that was killed has its locks, too, until it gets to its exec or to closing them. */
static int lock(int fd)
{
	int tries = 0;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || ++tries == LOCK_TRIES)
			return -errno;
		usleep(LOCK_US);
	}
	return 0;
}

static int open_state(struct manager *m, struct error *err)
{
	const char *path = m->config->state_dir;
	int r = fd_mkdir_parents(path, 0755);

	if (r < 0)
		return error_sys(err, -r, "cannot make %s", path);
	m->state_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->state_dir < 0 || fchmod(m->state_dir, 0700) < 0)
		return error_sys(err, errno, "cannot open %s", path);
	if (lock(m->state_dir) < 0)
		return error_set(
			err, EBUSY,
			"another recapd uses %s; stop it, or give this one a folder of its own with "
			"--state-dir",
			path);
	if (mkdirat(m->state_dir, "logs", 0700) < 0 && errno != EEXIST)
		return error_sys(err, errno, "cannot make %s/logs", path);
	m->log_dir = openat(m->state_dir, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (m->log_dir < 0)
		return error_sys(err, errno, "cannot open %s/logs", path);
	r = image_store_open(path, &m->store, err);
	return r < 0 ? r
		     : gate_new(&m->config->gate, image_store_verdicts_fd(m->store),
				image_store_signatures_fd(m->store), &m->gate, err);
}

/*
 * SIGKILL for the whole tree, as often as it takes. Init is spared at first: it ends by itself once it has reaped the rest, which
 * would be the zombies of the target's PID 1 otherwise. Only the kernel's word that nobody lives is one: a look or a walk that
 * fails is tried again.
 */
static bool end_tree(struct track *t, uint64_t id)
{
	struct recap_capsule k = {0};

	for (int round = 0; round < ORPHAN_ROUNDS; round++) {
		int r = track_capsule_get(t, id, &k);

		if (r == -ENOENT || (r == 0 && k.live == 0))
			return true;
		r = track_capsule_signal(t, id, SIGKILL,
					 round < ORPHAN_ROUNDS / 2 ? (pid_t)k.init_pid : 0);
		if (r < 0)
			log_debug("a walk to end a capsule failed: %s", strerror(-r));
		usleep(ORPHAN_INTERVAL_US);
	}
	return false;
}

static bool is_adopted(const char *name, void *arg)
{
	struct manager *m = arg;
	struct capsule *c;

	return capsule_find(m->capsules, name, &c, NULL) == 0;
}

static void note_adopted(struct capsule *c, void *arg)
{
	cleanup_json struct json_object *record = capsule_json(c);
	struct manager *m = arg;

	if (capsule_is_recorded(c))
		return;
	audit_capsule_adopt(m->audit, record, capsule_told_at(c));
	/* Where recapd died just before it was told. */
	if (capsule_is_quarantined(c))
		audit_capsule(m->audit, record, NULL, false, capsule_told_at(c));
}

/*
 * What else a recapd that died left behind. Its capsules are gone on with. One without a note (its keeper was ended, too) is ended, since
 * nobody waits for it any more; the kernel drops its layer with its last user, or we do where its keeper goes on.
 */
static void take_over(struct manager *m)
{
	cleanup_free uint64_t *ids = NULL;
	char name[16];
	size_t n = 0;

	capsule_each(m->capsules, note_adopted, m);
	if (track_capsule_ids(m->track, &ids, &n) < 0) {
		problem(m,
			"capsules of an earlier recapd that left no note cannot be looked for; restart recapd");
		n = 0;
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%012llx", (unsigned long long)ids[i]);
		if (is_adopted(name, m))
			continue;
		m->lost_capsules++;
		log_warn("ends capsule %s of an earlier recapd: there is no note of it", name);
		if (end_tree(m->track, ids[i]))
			track_capsule_remove(m->track, ids[i]);
		else
			problem(m,
				"a capsule of an earlier recapd does not end; its processes are still tracked");
		audit_orphan(m->audit, ids[i]);
	}
	capsule_sweep_layers(m->capsules);
	cgroup_sweep(m->cgroups, is_adopted, m);
	history_sweep_logs(m->history, is_adopted, m);
}

/*
 * A capsule takes some descriptors, and the usual soft limit of 1,024 is for programs that use select(2). The injector, and so
 * every tool, has the limit from before.
 */
static void raise_descriptors(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		log_debug("ignoring that the limit of descriptors cannot be raised: %s",
			  strerror(errno));
}

static int open_parts(struct manager *m, struct error *err)
{
	int r = loop_new(&m->loop, err);

	raise_descriptors();
	if (r == 0)
		r = open_state(m, err);
	if (r == 0)
		r = workshop_open(image_store_layers_fd(m->store), m->config->state_dir,
				  &m->workshop, err);
	if (r == 0)
		r = cgroup_root_open(m->config->cgroup, &m->cgroups, err);
	/* While there is little that its fork takes along. */
	if (r == 0)
		r = keeper_start(m->state_dir, m->workshop, injector_slots_fd(m->injector),
				 cgroup_root_top_fd(m->cgroups), &m->keeper, err);
	if (r == 0)
		r = track_open(m->config->bpffs, &m->config->maps, &m->track, err);
	if (r == 0)
		r = workshop_use_counts(m->workshop, m->track, err);
	if (r == 0)
		r = audit_open(m->config->audit, m->config->audit_journal, m->track, &m->audit,
			       err);
	if (r == 0)
		r = history_open(m->state_dir, m->log_dir, &m->history, err);
	if (r == 0)
		r = inventory_new(m->track, &m->runtimes, &m->inventory, err);
	if (r < 0)
		return r;
	if (!sandbox_has_landlock())
		problem(m,
			"this kernel has no Landlock: capsules with the target's own capabilities could "
			"write to it through /proc/PID/root");
	r = api_new(m, &m->api, err);
	return r < 0 ? r
		     : capsule_set_new(m->loop, m->track, m->workshop, m->cgroups, m->inventory,
				       m->injector, m->log_dir, api_capsule_event, m->api,
				       &m->capsules, err);
}

static int bind_socket(struct manager *m, struct error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = m->config->socket;
	cleanup_free char *dir = strdup(path);
	char lock_path[sizeof(sa.sun_path) + 8];
	mode_t old;
	int r;

	if (!dir ||
	    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path) >= (int)sizeof(sa.sun_path))
		return error_set(err, ENAMETOOLONG,
				 "the socket's path is too long (%zu bytes at most): %s",
				 sizeof(sa.sun_path) - 1, path);
	*strrchr(dir, '/') = '\0';
	r = *dir ? fd_mkdir_parents(dir, 0755) : 0;
	if (r < 0)
		return error_sys(err, -r, "cannot make %s", dir);
	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	m->socket_lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->socket_lock < 0)
		return error_sys(err, errno, "cannot open %s", lock_path);
	if (lock(m->socket_lock) < 0)
		return error_set(
			err, EBUSY,
			"another recapd listens on %s; stop it, or give this one a socket of its own "
			"with --socket",
			path);
	/* Ours by the lock: a socket that is still there is a dead recapd's. */
	unlink(path);
	m->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	old = umask(0177);
	r = m->listener < 0 || bind(m->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
			    listen(m->listener, 128) < 0
		    ? -errno
		    : 0;
	umask(old);
	return r < 0 ? error_sys(err, -r, "cannot listen on %s", path) : 0;
}

static void begin_stop(struct manager *m)
{
	size_t n = capsule_count_running(m->capsules);

	log_info("ending: seeing %zu capsule%s out", n, n == 1 ? "" : "s");
	m->stopping = true;
	loop_remove(m->loop, &m->listener_source);
	api_stop(m->api);
	alarm(SHUTDOWN_LATE_S);
}

/* For an upgrade: as if killed, but with the books done. The next recapd goes on with all capsules. */
static void hand_over(struct manager *m)
{
	loop_settle(m->loop);
	log_info("handing over: %zu capsules go on", capsule_count(m->capsules));
	m->handed_over = true;
	loop_stop(m->loop);
}

static void on_signal(uint32_t events, void *arg)
{
	struct manager *m = arg;
	struct signalfd_siginfo info;

	while (read(m->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			audit_reopen(m->audit);
			access_load(m);
			continue;
		}
		if (info.ssi_signo == SIGUSR2) {
			hand_over(m);
			return;
		}
		if (info.ssi_signo == SIGALRM)
			m->late = true;
		else if (!m->stopping)
			begin_stop(m);
		capsule_stop_all(m->capsules, "shutdown", SHUTDOWN_GRACE);
	}
}

static void on_listener(uint32_t events, void *arg)
{
	struct manager *m = arg;
	int fd;

	/* Each may begin an attach: those that come at once are not all to be let in before what others wait for is seen to. */
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		api_accept(m->api, fd);
	}
}

static void take_hint(const struct recap_event *e, void *arg)
{
	struct manager *m = arg;

	if (e->type == RECAP_EVENT_CONTAINER) {
		inventory_touch(m->inventory, e->id);
		m->inventory_changed = true;
	}
	capsule_set_hint(m->capsules, e);
}

void manager_catch_up(struct manager *m)
{
	track_events_read(m->track, take_hint, m);
}

int manager_find(struct manager *m, const char *text, struct target_name *ret, struct error *err)
{
	struct error ignored;
	int r;

	manager_catch_up(m);
	r = inventory_find(m->inventory, text, ret, err);
	/* Its runtime may have written down its name only after we asked, or a hint was lost: look at everything once. */
	if (r == -ENOENT && inventory_sync(m->inventory, &ignored) == 0)
		r = inventory_find(m->inventory, text, ret, err);
	return r;
}

static void on_events(uint32_t events, void *arg)
{
	struct manager *m = arg;

	manager_catch_up(m);
}

/* From the very start: an end that is asked for while we open must find all that was opened. */
static int block_signals(struct manager *m, struct error *err)
{
	static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR2};

	sigemptyset(&m->signal_set);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		sigaddset(&m->signal_set, wanted[i]);
	signal(SIGPIPE, SIG_IGN);
	return sigprocmask(SIG_BLOCK, &m->signal_set, NULL) < 0
		       ? error_sys(err, errno, "sigprocmask")
		       : 0;
}

static int watch(struct manager *m, struct error *err)
{
	int r;

	m->signals = signalfd(-1, &m->signal_set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = m->signals < 0 ? -errno : 0;
	if (r == 0)
		r = loop_add(m->loop, &m->signal_source, m->signals, EPOLLIN, on_signal, m);
	if (r == 0)
		r = loop_add(m->loop, &m->event_source, track_events_fd(m->track), EPOLLIN,
			     on_events, m);
	if (r == 0)
		r = loop_add(m->loop, &m->listener_source, m->listener, EPOLLIN, on_listener, m);
	return r < 0 ? error_sys(err, -r, "cannot watch for events") : 0;
}

int manager_open(const struct config *config, struct injector *injector, struct manager **ret,
		 struct error *err)
{
	struct manager *m = calloc(1, sizeof(*m));
	int r;

	*ret = m;
	if (!m)
		return error_set(err, ENOMEM, "out of memory");
	m->config = config;
	m->injector = injector;
	m->runtimes = config_runtimes(config);
	m->state_dir = m->log_dir = m->socket_lock = m->listener = m->signals = -1;
	m->listener_source.fd = m->signal_source.fd = m->event_source.fd = -1;
	m->started_ns = clock_boot_ns();

	/* What is forked into a target must not be opened by it: see inject.h. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(err, errno, "PR_SET_DUMPABLE");
	r = block_signals(m, err);
	if (r == 0)
		r = check_namespaces(err);
	if (r == 0)
		r = open_parts(m, err);
	if (r == 0)
		r = bind_socket(m, err);
	if (r == 0)
		access_load(m);
	if (r == 0)
		r = watch(m, err);
	if (r < 0)
		return r;
	/* The last that fails: a start that did so later would end what it has taken over, with which the next one can go on. */
	r = capsule_adopt(m->capsules, m->keeper);
	if (r < 0)
		return error_sys(err, -r, "cannot reach what an earlier recapd left; try again");
	m->settled = true;
	take_over(m);
	capsule_set_ready(m->capsules);
	return 0;
}

/* After each turn of the loop: what any of its events may have made due. */
static void after_turn(void *arg)
{
	struct manager *m = arg;

	if (m->inventory_changed)
		api_inventory_changed(m->api);
	m->inventory_changed = false;
	if (m->stopping && capsule_count_running(m->capsules) == 0 &&
	    (m->late || !api_busy(m->api)))
		loop_stop(m->loop);
}

int manager_run(struct manager *m, struct error *err)
{
	int r;

	log_info("recapd " RECAP_VERSION " serves %s: %zu containers", m->config->socket,
		 inventory_count(m->inventory));
	r = notify_ready();
	if (r < 0)
		log_warn("the service manager cannot be told that recapd is ready: %s",
			 strerror(-r));
	r = loop_run(m->loop, after_turn, m);
	return r < 0 ? error_sys(err, -r, "epoll_wait") : 0;
}

void manager_close(struct manager *m)
{
	/* What was handed over must not be taken down: all of ours goes with the process. */
	if (!m || m->handed_over)
		return;
	if (m->listener >= 0)
		unlink(m->config->socket);
	/* Before the sources that they are in. */
	capsule_set_free(m->capsules);
	api_free(m->api);
	fd_close(m->listener);
	fd_close(m->signals);
	audit_close(m->audit);
	inventory_free(m->inventory);
	history_close(m->history);
	cgroup_root_close(m->cgroups);
	workshop_close(m->workshop);
	keeper_stop(m->keeper);
	/* A start that failed leaves tracking to go on as a recapd before us left it. */
	track_close(m->track, m->settled || !track_adopted(m->track));
	access_close(m);
	gate_free(m->gate);
	image_store_close(m->store);
	loop_free(m->loop);
	fd_close(m->log_dir);
	fd_close(m->state_dir);
	if (m->socket_lock >= 0) {
		char path[128];

		/* While it is held: nobody else can have taken it in between. */
		snprintf(path, sizeof(path), "%s.lock", m->config->socket);
		if (m->listener >= 0)
			unlink(path);
		fd_close(m->socket_lock);
	}
	for (size_t i = 0; i < m->n_problems; i++)
		free(m->problems[i]);
	free(m);
}
