// SPDX-License-Identifier: MIT
/*
 * Whose container is a process? Runtimes' folders and the process' /proc folder are made up;
 * parents are real processes, copies of this program under another name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/runtime.h"

#include "boltdb_builder.h"

#define PID	 4242
#define TICKS	 5150ull
#define ID	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define TASKS	 "io.containerd.runtime.v2.task"

struct fixture {
	char dir[32];
	char path[8][PATH_MAX];
	struct runtime_paths paths;
	pid_t ppid;   /* what the process' stat says; real where a parent is needed */
	pid_t helper; /* to kill */
};

/* ---- fixture --------------------------------------------------------------------------------- */

static int setup(void **state)
{
	static const char *const names[] = {"docker", "docker_run", "containerd", "containerd_run",
					    "podman", "podman_run", "runc",	  "crun"};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *p[8];

	strcpy(f->dir, "/tmp/recap-meta-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(f->path[i], PATH_MAX, "%s/%s", f->dir, names[i]);
		p[i] = f->path[i];
	}
	f->paths = (struct runtime_paths){p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
	f->ppid = 1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->helper > 0) {
		kill(f->helper, SIGKILL);
		waitpid(f->helper, NULL, 0);
	}
	assert_int_equal(fd_remove_tree(AT_FDCWD, f->dir), 0);
	free(f);
	return 0;
}

static void full_path(const struct fixture *f, const char *path, char ret[PATH_MAX])
{
	char *slash;

	snprintf(ret, PATH_MAX, "%s/%s", f->dir, path);
	slash = strrchr(ret, '/');
	*slash = '\0';
	assert_int_equal(fd_mkdir_parents(ret, 0700), 0);
	*slash = '/';
}

static void put_bytes(const struct fixture *f, const char *path, const void *text, size_t len)
{
	char full[PATH_MAX];
	int fd;

	full_path(f, path, full);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, len), 0);
	close(fd);
}

static void put(const struct fixture *f, const char *path, const char *text)
{
	put_bytes(f, path, text, strlen(text));
}

static void __attribute__((format(printf, 3, 4)))
putf(const struct fixture *f, const char *path, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	put(f, path, text);
	free(text);
}

static void put_db(const struct fixture *f, const char *path, const struct bolt_node *root,
		   size_t n)
{
	struct bolt_file file = bolt_build(root, n, 0);
	char full[PATH_MAX];

	full_path(f, path, full);
	bolt_save(&file, full);
	free(file.data);
}

/*
 * What the process shows of itself. `cgroup` is the v2 path, or a whole file when it does not start
 * with '/'.
 */
static void put_process(const struct fixture *f, const char *comm, const char *cgroup)
{
	putf(f, "proc/stat", "%d (%s) S %d 1 1 0 -1", PID, comm, f->ppid);
	if (*cgroup == '/')
		putf(f, "proc/cgroup", "4:memory:/\n0::%s\n", cgroup);
	else
		put(f, "proc/cgroup", cgroup);
}

static struct container_meta *ask(const struct fixture *f)
{
	struct container_meta *meta = NULL;
	struct error err = {0};
	char path[PATH_MAX];
	int procfd, r;

	full_path(f, "proc/", path);
	procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = container_meta_read(&f->paths, procfd, PID,
				TICKS * (1000000000ull / sysconf(_SC_CLK_TCK)), &meta, &err);
	close(procfd);
	if (r < 0)
		fail_msg("container_meta_read: %d %s", r, err.msg);
	return meta;
}

static struct container_meta *ask_at(const struct fixture *f, const char *cgroup)
{
	put_process(f, "app", cgroup);
	return ask(f);
}

static void expect_str(const char *got, const char *want)
{
	if (!want)
		assert_null(got);
	else
		assert_non_null(got);
	if (want)
		assert_string_equal(got, want);
}

static void expect_meta(const struct container_meta *m, const char *runtime, const char *id,
			const char *name, const char *image)
{
	expect_str(m->runtime, runtime);
	expect_str(m->id, id);
	expect_str(m->name, name);
	expect_str(m->image, image);
}

static void expect_labels(const struct container_meta *m, const char *want)
{
	expect_str(m->labels ? json_object_to_json_string_ext(m->labels, JSON_C_TO_STRING_PLAIN)
			     : NULL,
		   want);
}

static void expect_runtime_at(const struct fixture *f, const char *cgroup, const char *runtime,
			      const char *name)
{
	cleanup_meta struct container_meta *m = ask_at(f, cgroup);

	expect_str(m->runtime, runtime);
	expect_str(m->name, name);
}

/* ---- records, as the runtimes write them ----------------------------------------------------- */

static void put_runc_state(const struct fixture *f, const char *folder, const char *id, int pid,
			   unsigned long long ticks)
{
	char path[PATH_MAX];

	assert_in_range(snprintf(path, sizeof(path), "%s/%s/state.json", folder, id), 1,
			sizeof(path) - 1);
	putf(f, path,
	     "{\"id\":\"%s\",\"init_process_pid\":%d,\"init_process_start\":%llu,"
	     "\"created\":\"2026\",\"config\":{\"labels\":"
	     "[\"team=net\",\"a=b=c\",\"flag\",7,\"bundle=/b\"]}}",
	     id, pid, ticks);
}

static void put_crun_status(const struct fixture *f, const char *id, int pid,
			    unsigned long long ticks)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "crun/%s/status", id);
	putf(f, path, "{\n \"pid\": %d,\n \"process-start-time\": %llu,\n \"bundle\": \"/b\"\n}",
	     pid, ticks);
}

static void put_crun_config(const struct fixture *f, const char *id)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "crun/%s/config.json", id);
	put(f, path, "{\"annotations\":{\"team\":\"net\"}}");
}

/* A task of containerd, whose runc keeps its state where options.json says. */
static void put_task(const struct fixture *f, const char *run, const char *ns, const char *id,
		     int pid, unsigned long long ticks)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" TASKS "/%s/%s/init.pid", run, ns, id);
	putf(f, path, "%d", pid);
	snprintf(path, sizeof(path), "%s/" TASKS "/%s/%s/options.json", run, ns, id);
	putf(f, path, "{\"binary_name\":\"runc\",\"root\":\"%s/oci\"}", f->dir);
	snprintf(path, sizeof(path), "oci/%s", ns);
	put_runc_state(f, path, id, pid, ticks);
}

#define DOCKER_CONFIG                                                                             \
	"{\"State\":{\"Pid\":0},\"Name\":\"/web\",\"Image\":\"sha256:ff\",\"Config\":{\"Image\":" \
	"\"nginx:1\",\"Labels\":{\"app\":\"web\",\"n\":5}}}"

static void put_docker(const struct fixture *f, const char *id, int pid)
{
	char path[PATH_MAX];

	put_task(f, "containerd_run", "moby", id, pid, TICKS);
	snprintf(path, sizeof(path), "docker/containers/%s/config.v2.json", id);
	put(f, path, DOCKER_CONFIG);
}

static const struct bolt_node ctr_labels[] = {{"app", "web"}, {"note", "two\nwords"}};
static const struct bolt_node cri_labels[] = {
	{"io.cri-containerd.kind", "container"},
	{"io.kubernetes.container.name", "from-label"},
	{"io.kubernetes.pod.name", "from-label"},
	{"io.kubernetes.pod.namespace", "from-label"},
};
static const struct bolt_node ctr_record[] = {
	{"image", "reg.local/nginx:1"},
	{"labels", .children = ctr_labels, .n = 2, .small = true},
};
static const struct bolt_node cri_record[] = {
	{"image", "sha256:1234"},
	{"labels", .children = cri_labels, .n = 4, .small = true},
};

/* meta.db: one container `id` in the namespace `ns`. */
static void put_containerd_db(const struct fixture *f, const char *ns, const char *id,
			      const struct bolt_node *record)
{
	struct bolt_node container = {id, .children = record, .n = 2};
	struct bolt_node containers = {"containers", .children = &container, .n = 1};
	struct bolt_node namespace = {ns, .children = &containers, .n = 1};
	struct bolt_node v1 = {"v1", .children = &namespace, .n = 1};

	put_db(f, "containerd/io.containerd.metadata.v1.bolt/meta.db", &v1, 1);
}

static void put_podman_db(const struct fixture *f, const char *config)
{
	struct bolt_node ctr_config = {"config", config};
	struct bolt_node pod_config = {"config", "{\"id\":\"p1\",\"name\":\"shop\"}"};
	struct bolt_node ctr = {ID, .children = &ctr_config, .n = 1};
	struct bolt_node pod = {"p1", .children = &pod_config, .n = 1, .small = true};
	struct bolt_node root[] = {{"ctr", .children = &ctr, .n = 1},
				   {"pod", .children = &pod, .n = 1}};

	put_db(f, "podman/libpod/bolt_state.db", root, 2);
}

static void put_podman_pid(const struct fixture *f, int pid, unsigned long long ticks)
{
	putf(f, "podman_run/overlay-containers/" ID "/userdata/pidfile", "%d", pid);
	put_runc_state(f, "runc", ID, pid, ticks);
}

/* ---- parents --------------------------------------------------------------------------------- */

/* Start this program with such an argv (see main()): a parent for the process. */
static void parent_start(struct fixture *f, char *const *argv, uid_t uid)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	f->helper = fork();
	assert_true(f->helper >= 0);
	if (!f->helper) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], STDOUT_FILENO);
		if (uid && setuid(uid) < 0)
			_exit(1);
		execv("/proc/self/exe", argv);
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	f->ppid = f->helper;
}

static int parent_main(void)
{
	if (write(STDOUT_FILENO, "r", 1) != 1)
		return 1;
	for (;;)
		pause();
}

/* ---- Docker ---------------------------------------------------------------------------------- */

static void test_docker(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_docker(f, ID, PID);
	m = ask_at(f, "/docker/" ID);
	expect_meta(m, "docker", ID, "web", "nginx:1");
	expect_labels(m, "{\"app\":\"web\"}");
	expect_str(m->cgroup, "/docker/" ID);
	assert_null(m->pod_name);
	assert_false(m->helper);
}

static void test_docker_under_systemd(void **state)
{
	struct fixture *f = *state;

	put_docker(f, ID, PID);
	expect_runtime_at(f, "/system.slice/docker-" ID ".scope", "docker", "web");
	expect_runtime_at(f, "/a.slice/a-b.slice/docker-" ID ".scope/init.scope", "docker", "web");
}

/* dockerd without a containerd on the node runs one of its own. */
static void test_docker_with_its_own_containerd(void **state)
{
	struct fixture *f = *state;

	put_task(f, "docker_run/containerd/daemon", "moby", ID, PID, TICKS);
	put(f, "docker/containers/" ID "/config.v2.json", DOCKER_CONFIG);
	expect_runtime_at(f, "/docker/" ID, "docker", "web");
}

/* Docker's data may have been moved, and we were not told. */
static void test_docker_without_its_file(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_task(f, "containerd_run", "moby", ID, PID, TICKS);
	m = ask_at(f, "/docker/" ID);
	expect_meta(m, "docker", ID, ID, NULL);
	expect_labels(m, NULL);
}

/* ---- containerd ------------------------------------------------------------------------------ */

static void test_ctr(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_task(f, "containerd_run", "prod", "my-web.1", PID, TICKS);
	put_task(f, "containerd_run", "default", "my-web.1", PID + 1, TICKS);
	put_containerd_db(f, "prod", "my-web.1", ctr_record);
	m = ask_at(f, "/prod/my-web.1");
	expect_meta(m, "containerd", "my-web.1", "my-web.1", "reg.local/nginx:1");
	expect_labels(m, "{\"app\":\"web\",\"note\":\"two\\nwords\"}");
	assert_null(m->pod_name);
}

static void test_ctr_without_its_database(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_task(f, "containerd_run", "prod", "web", PID, TICKS);
	put(f, "containerd/io.containerd.metadata.v1.bolt/meta.db", "no database");
	m = ask_at(f, "/prod/web");
	expect_meta(m, "containerd", "web", "web", NULL);
}

/*
 * With another runtime than runc and crun there is no start time to compare, but containerd's word
 * for the PID.
 */
static void test_ctr_with_an_unknown_oci_runtime(void **state)
{
	struct fixture *f = *state;

	putf(f, "containerd_run/" TASKS "/prod/web/init.pid", "%d", PID);
	expect_runtime_at(f, "/prod/web", "containerd", "web");
	putf(f, "containerd_run/" TASKS "/prod/web/init.pid", "%d", PID + 1);
	expect_runtime_at(f, "/prod/web", "unknown", "app-4242");
}

static void put_cri(const struct fixture *f, const char *annotations)
{
	put_task(f, "containerd_run", "k8s.io", ID, PID, TICKS);
	putf(f, "containerd_run/" TASKS "/k8s.io/" ID "/config.json", "{\"annotations\":%s}",
	     annotations);
	put_containerd_db(f, "k8s.io", ID, cri_record);
}

/* An image can bring the labels, but not the annotations. */
static void test_cri_container(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_cri(f, "{\"io.kubernetes.cri.container-type\":\"container\","
		   "\"io.kubernetes.cri.container-name\":\"nginx\","
		   "\"io.kubernetes.cri.image-name\":\"reg.local/nginx:1\","
		   "\"io.kubernetes.cri.sandbox-name\":\"web-5d\","
		   "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"}");
	m = ask_at(f, "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope");
	expect_meta(m, "containerd", ID, "nginx", "reg.local/nginx:1");
	expect_str(m->pod_namespace, "shop");
	expect_str(m->pod_name, "web-5d");
	expect_str(m->pod_container, "nginx");
	assert_false(m->helper);
	assert_int_equal(json_object_object_length(m->labels), 4);
}

static void test_cri_of_old_tells_by_labels(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_cri(f, "{}");
	m = ask_at(f, "/kubepods/besteffort/pod1/" ID);
	expect_meta(m, "containerd", ID, "from-label", "sha256:1234");
	expect_str(m->pod_namespace, "from-label");
	expect_str(m->pod_container, "from-label");
}

static void test_cri_sandbox_is_a_helper(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_cri(f, "{\"io.kubernetes.cri.container-type\":\"sandbox\","
		   "\"io.kubernetes.cri.sandbox-name\":\"web-5d\","
		   "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"}");
	m = ask_at(f, "/k8s.io/" ID);
	expect_meta(m, "containerd", ID, "web-5d", "sha256:1234");
	assert_true(m->helper);
	expect_str(m->pod_name, "web-5d");
	assert_null(m->pod_container);
}

/* ---- Podman ---------------------------------------------------------------------------------- */

static void test_podman(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_podman_pid(f, PID, TICKS);
	put_podman_db(f,
		      "{\"name\":\"db\",\"rootfsImageName\":\"pg:15\",\"labels\":{\"app\":\"db\"},"
		      "\"pause\":false}");
	m = ask_at(f, "/libpod_parent/libpod-" ID);
	expect_meta(m, "podman", ID, "db", "pg:15");
	expect_labels(m, "{\"app\":\"db\"}");
	assert_null(m->pod_name);
	expect_runtime_at(f, "/machine.slice/libpod-" ID ".scope/container", "podman", "db");
	expect_runtime_at(f, "/user.slice/x.service/libpod-payload-" ID, "podman", "db");
}

static void test_podman_pod(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL, *infra = NULL;

	put_podman_pid(f, PID, TICKS);
	put_podman_db(f, "{\"name\":\"db\",\"pod\":\"p1\"}");
	m = ask_at(f, "/libpod_parent/p1/libpod-" ID);
	expect_str(m->pod_name, "shop");
	expect_str(m->pod_container, "db");
	assert_null(m->pod_namespace);
	assert_false(m->helper);
	put_podman_db(f, "{\"name\":\"p1-infra\",\"pod\":\"p1\",\"pause\":true}");
	infra = ask_at(f, "/libpod_parent/p1/libpod-" ID);
	assert_true(infra->helper);
	expect_str(infra->pod_name, "shop");
	assert_null(infra->pod_container);
}

#define MANAGED_BY(who) "{\"annotations\":{\"io.container.manager\":\"" who "\"}}"
#define ENTRY(id, name)                                                                     \
	"{\"id\":\"" id "\",\"names\":[\"" name "\"],\"image\":\"ff\",\"metadata\":"        \
	"\"{\\\"image-name\\\":\\\"pg:15\\\",\\\"x\\\":\\\"{\\\\\\\"id\\\\\\\":\\\\\\\"" ID \
	"\\\\\\\"\\\"}\"}"

/* Podman 5: SQLite, which is not read. */
static void test_podman_without_bolt(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL, *infra = NULL;

	put_podman_pid(f, PID, TICKS);
	put(f, "podman/overlay-containers/" ID "/userdata/config.json", MANAGED_BY("libpod"));
	put(f, "podman/overlay-containers/containers.json",
	    "[" ENTRY(OTHER_ID, "other") "," ENTRY(ID, "db") "]");
	m = ask_at(f, "/libpod_parent/libpod-" ID);
	expect_meta(m, "podman", ID, "db", "pg:15");
	assert_false(m->helper);
	put(f, "podman/overlay-containers/containers.json",
	    "[" ENTRY(ID, "0123456789ab-infra") "]");
	infra = ask_at(f, "/libpod_parent/libpod-" ID);
	assert_true(infra->helper);
}

/* CRI-O keeps its containers in the same folders. */
static void test_storage_of_another_manager(void **state)
{
	struct fixture *f = *state;

	put_podman_pid(f, PID, TICKS);
	put(f, "podman/overlay-containers/" ID "/userdata/config.json", MANAGED_BY("cri-o"));
	expect_runtime_at(f, "/kubepods.slice/crio-" ID ".scope", "runc", ID);
}

static void test_podman_with_crun(void **state)
{
	struct fixture *f = *state;

	putf(f, "podman_run/overlay-containers/" ID "/userdata/pidfile", "%d\n", PID);
	put_podman_db(f, "{\"name\":\"db\"}");
	put_crun_status(f, ID, PID, TICKS);
	expect_runtime_at(f, "/libpod_parent/libpod-" ID, "podman", "db");
	put_crun_status(f, ID, PID, TICKS - 1);
	expect_runtime_at(f, "/libpod_parent/libpod-" ID, "unknown", "app-4242");
}

/* ---- runc and crun --------------------------------------------------------------------------- */

static void test_runc(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_runc_state(f, "runc", "job-1", PID, TICKS);
	m = ask_at(f, "/job-1");
	expect_meta(m, "runc", "job-1", "job-1", NULL);
	expect_labels(m, "{\"team\":\"net\",\"a\":\"b=c\",\"flag\":\"\"}");
}

static void test_crun(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_crun_status(f, "job-1", PID, TICKS);
	put_crun_config(f, "job-1");
	m = ask_at(f, "/job-1");
	expect_meta(m, "crun", "job-1", "job-1", NULL);
	expect_labels(m, "{\"team\":\"net\"}");
	expect_runtime_at(f, "/system.slice/crun-job-1.scope", "crun", "job-1");
}

/* The cgroup does not tell: cgroupsPath of the user's own, or none at all. */
static void test_scan(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 50; i++) {
		char id[32];

		snprintf(id, sizeof(id), "other-%d", i);
		put_runc_state(f, "runc", id, PID + 1 + i, TICKS);
	}
	put_runc_state(f, "runc", "hidden", PID, TICKS);
	expect_runtime_at(f, "/somewhere/else", "runc", "hidden");
	expect_runtime_at(f, "4:memory:/\n0::/\n", "runc", "hidden");
	put_runc_state(f, "runc", "hidden", PID, TICKS + 1);
	expect_runtime_at(f, "/somewhere/else", "unknown", "else");
	put_crun_status(f, "hidden-2", PID, TICKS);
	put_crun_config(f, "hidden-2");
	expect_runtime_at(f, "/somewhere/else", "crun", "hidden-2");
	put_docker(f, ID, PID);
	expect_runtime_at(f, "/somewhere/else", "docker", "web");
}

static void test_crun_run_before_its_status(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	if (getuid())
		skip();
	put_crun_config(f, "early");
	parent_start(f, (char *[]){"/usr/bin/crun", "run", "-b", "/b", "early", NULL}, 0);
	m = ask_at(f, "/early");
	expect_meta(m, "crun", "early", "early", NULL);
	expect_labels(m, "{\"team\":\"net\"}");
	/* Once it has a status, that counts and nothing else. */
	put_crun_status(f, "early", PID + 1, TICKS);
	expect_runtime_at(f, "/early", "unknown", "app-4242");
}

static void test_crun_run_by_another_user(void **state)
{
	struct fixture *f = *state;

	if (getuid())
		skip();
	put_crun_config(f, "early");
	parent_start(f, (char *[]){"crun", "run", "early", NULL}, 65534);
	expect_runtime_at(f, "/early", "unknown", "early");
}

static void test_crun_run_of_another_program(void **state)
{
	struct fixture *f = *state;

	put_crun_config(f, "early");
	parent_start(f, (char *[]){"conmon", "run", "early", NULL}, 0);
	expect_runtime_at(f, "/early", "unknown", "early");
}

/* ---- the parent's command line --------------------------------------------------------------- */

static void test_shim_names_the_container(void **state)
{
	struct fixture *f = *state;

	put_docker(f, ID, PID);
	parent_start(f,
		     (char *[]){"/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", ID,
				"-address", "/run/x", NULL},
		     0);
	expect_runtime_at(f, "0::/\n", "docker", "web");
}

static void test_conmon_names_the_container(void **state)
{
	struct fixture *f = *state;

	/* No state of runc or crun, as with other OCI runtimes: a scan would not find it. */
	putf(f, "podman_run/overlay-containers/" ID "/userdata/pidfile", "%d", PID);
	put_podman_db(f, "{\"name\":\"db\"}");
	parent_start(f, (char *[]){"/usr/bin/conmon", "-c", ID, "-n", "liar", NULL}, 0);
	expect_runtime_at(f, "0::/\n", "podman", "db");
	putf(f, "podman_run/overlay-containers/" ID "/userdata/pidfile", "%d", PID + 1);
	expect_runtime_at(f, "0::/\n", "unknown", "app-4242");
}

static void test_parent_proves_nothing(void **state)
{
	struct fixture *f = *state;

	put_docker(f, ID, PID + 1);
	parent_start(f, (char *[]){"containerd-shim", "-id", ID, NULL}, 0);
	expect_runtime_at(f, "0::/\n", "unknown", "app-4242");
}

/* ---- forgery --------------------------------------------------------------------------------- */

/* In a cgroup that is named after somebody else's container. */
static void test_forged_cgroup(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_docker(f, ID, PID + 1);
	m = ask_at(f, "/docker/" ID);
	expect_meta(m, "unknown", "pid-4242", "app-4242", NULL);
	expect_labels(m, NULL);
	expect_str(m->cgroup, "/docker/" ID);
	expect_runtime_at(f, "/mine/docker-" ID ".scope", "unknown", "app-4242");
	put_runc_state(f, "runc", "true-one", PID, TICKS);
	expect_runtime_at(f, "/docker/" ID, "runc", "true-one");
	expect_runtime_at(f, "/docker/" ID "/true-one", "runc", "true-one");
}

/* The record is that of a process that is long gone, whose PID we have. */
static void test_reused_pid(void **state)
{
	struct fixture *f = *state;

	put_docker(f, ID, PID);
	put_runc_state(f, "oci/moby", ID, PID, TICKS - 1);
	expect_runtime_at(f, "/docker/" ID, "unknown", "app-4242");
	put_runc_state(f, "runc", "job", PID, TICKS - 1);
	expect_runtime_at(f, "/job", "unknown", "app-4242");
	put_crun_status(f, "job2", PID, TICKS - 1);
	expect_runtime_at(f, "/job2", "unknown", "app-4242");
	put_podman_pid(f, PID, TICKS - 1);
	put_podman_db(f, "{\"name\":\"db\"}");
	expect_runtime_at(f, "/libpod-" ID, "unknown", "app-4242");
}

/* A container that may make cgroups below its own can bury its name, and bring others'. */
static void test_buried_cgroup(void **state)
{
	struct fixture *f = *state;
	char path[3000] = "/docker/" ID;

	put_docker(f, ID, PID);
	put_docker(f, OTHER_ID, PID + 1);
	strcat(path, "/docker-" OTHER_ID ".scope");
	for (int i = 0; i < 500; i++)
		sprintf(path + strlen(path), "/%d", i);
	expect_runtime_at(f, path, "docker", "web");
}

static void test_ids_that_are_paths(void **state)
{
	struct fixture *f = *state;
	char path[600] = "/";

	put_runc_state(f, "runc", "honest", PID + 1, TICKS);
	put_runc_state(f, "runc", "..", PID, TICKS);
	put_runc_state(f, "runc", "../outside", PID, TICKS);
	expect_runtime_at(f, "/runc/..", "unknown", "..");
	expect_runtime_at(f, "/../outside", "unknown", "outside");
	memset(path + 1, 'a', 500);
	expect_runtime_at(f, path, "unknown", path + 1);
	parent_start(f, (char *[]){"conmon", "-c", "honest/../../outside", NULL}, 0);
	expect_runtime_at(f, "0::/\n", "unknown", "app-4242");
}

/* ---- unknown --------------------------------------------------------------------------------- */

static void test_unknown(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = ask_at(f, "/system.slice/cron.service");

	expect_meta(m, "unknown", "pid-4242", "cron.service", NULL);
	expect_str(m->cgroup, "/system.slice/cron.service");
	expect_runtime_at(f, "/docker/" ID, "unknown", ID);
	expect_runtime_at(f, "2:cpu:/\n0::/\n", "unknown", "app-4242");
	expect_runtime_at(f, "no line at all", "unknown", "app-4242");
}

static void test_v1_by_majority(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = ask_at(
		f, "4:memory:/caller/job\n3:pids:/job\n2:cpu:/job\n1:name=systemd:/job\n0::/\n");

	expect_str(m->cgroup, "/job");
	expect_str(m->name, "job");
}

static void test_hostile_command(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_process(f, "a) S 7 (\x1b[2J\n\xff\xc3\xa9", "0::/\n");
	m = ask(f);
	expect_str(m->name, "a) S 7 (?[2J??\xc3\xa9-4242");
	put_process(f, "x", "/\x1b]0;\xed\xa0\x80/\xc0\xaf\t");
	container_meta_free(m);
	m = ask(f);
	expect_str(m->cgroup, "/?]0;???"
			      "/"
			      "???");
	expect_str(m->name, "???");
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	struct container_meta *m = NULL;
	struct error err = {0};
	pid_t child = fork();
	char path[32];
	int procfd;

	if (!child) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d", child);
	procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(container_meta_read(&f->paths, procfd, child, 0, &m, &err), 0);
	container_meta_free(m);
	m = NULL;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(container_meta_read(&f->paths, procfd, child, 0, &m, &err), -ESRCH);
	assert_null(m);
	assert_int_equal(err.code, ESRCH);
	close(procfd);
}

/* ---- hostile records: the container is what it is, whatever an image put into its labels ----- */

static void expect_docker_file(struct fixture *f, const char *text, size_t len, const char *name,
			       const char *image)
{
	cleanup_meta struct container_meta *m = NULL;

	put_bytes(f, "docker/containers/" ID "/config.v2.json", text, len);
	m = ask_at(f, "/docker/" ID);
	expect_meta(m, "docker", ID, name, image);
}

static void test_records_of_wrong_shape(void **state)
{
	static const struct {
		const char *text, *name, *image;
	} cases[] = {
		{"", ID, NULL},
		{"[]", ID, NULL},
		{"null", ID, NULL},
		{"{\"Name\":\"/web\"", ID, NULL},
		{"{\"Name\":\"/\"}", ID, NULL},
		{"{\"Name\":{},\"Config\":[]}", ID, NULL},
		{"{\"Name\":\"bare\",\"Config\":{\"Image\":1,\"Labels\":[\"a\"]}}", "bare", NULL},
		{"{\"Name\":\"/a\\u0000b\",\"Config\":{\"Image\":\"i\\u001b[2J\"}}", ID, "i?[2J"},
		{"{\"Name\":\"/w\",\"Config\":{\"Image\":\"\",\"Labels\":null}}", "w", NULL},
		{"{\"Name\":\"/\xff\"}", ID, NULL},
	};
	struct fixture *f = *state;

	put_docker(f, ID, PID);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_docker_file(f, cases[i].text, strlen(cases[i].text), cases[i].name,
				   cases[i].image);
}

static void test_huge_records(void **state)
{
	struct fixture *f = *state;
	size_t size = 5 << 20;
	cleanup_free char *text = malloc(size);

	put_docker(f, ID, PID);
	memset(text, '[', size);
	expect_docker_file(f, text, size, ID, NULL);
	expect_docker_file(f, text, 1 << 20, ID, NULL);
	memset(text, ' ', size);
	memcpy(text, DOCKER_CONFIG, strlen(DOCKER_CONFIG));
	expect_docker_file(f, text, size, ID, NULL);
	expect_docker_file(f, text, 4 << 20, "web", "nginx:1");
}

static void test_special_files(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX], elsewhere[PATH_MAX];

	put_docker(f, ID, PID);
	put(f, "elsewhere", DOCKER_CONFIG);
	full_path(f, "docker/containers/" ID "/config.v2.json", path);
	full_path(f, "elsewhere", elsewhere);
	unlink(path);
	assert_int_equal(symlink(elsewhere, path), 0);
	expect_runtime_at(f, "/docker/" ID, "docker", ID);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_runtime_at(f, "/docker/" ID, "docker", ID);
	full_path(f, "oci/moby/" ID "/state.json", path);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_runtime_at(f, "/docker/" ID, "docker", ID);
}

/* One label alone is too long, and there are too many: the others stay whole. */
static void test_too_many_labels(void **state)
{
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;
	cleanup_free char *big = malloc(40001), *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	memset(big, 'x', 40000);
	big[40000] = '\0';
	fprintf(out, "{\"Name\":\"/web\",\"Config\":{\"Labels\":{\"big\":\"%s\",\"%s\":\"\"", big,
		big);
	for (int i = 0; i < 1000; i++)
		fprintf(out, ",\"k%d\":\"v%d\"", i, i);
	fprintf(out, "}}}");
	fclose(out);
	put_docker(f, ID, PID);
	put(f, "docker/containers/" ID "/config.v2.json", text);
	m = ask_at(f, "/docker/" ID);
	expect_str(m->name, "web");
	assert_int_equal(json_object_object_length(m->labels), 256);
	expect_str(json_get_str(m->labels, "k0"), "v0");
	expect_str(json_get_str(m->labels, "k255"), "v255");
	assert_null(json_get_str(m->labels, "big"));
}

/* bbolt's strings are bytes; ours are shown. */
static void test_labels_that_are_no_text(void **state)
{
	static const struct bolt_node labels[] = {
		{"bad", "\xff\xfe", .value_len = 2},
		{"esc\x1b", "\x1b[2J"},
		{"nul", "a\0b", .value_len = 3},
	};
	static const struct bolt_node record[] = {
		{"image", "i\0mage", .value_len = 6},
		{"labels", .children = labels, .n = 3},
	};
	struct fixture *f = *state;
	cleanup_meta struct container_meta *m = NULL;

	put_task(f, "containerd_run", "prod", "web", PID, TICKS);
	put_containerd_db(f, "prod", "web", record);
	m = ask_at(f, "/prod/web");
	expect_meta(m, "containerd", "web", "web", "i?mage");
	expect_labels(m, "{\"bad\":\"??\",\"esc?\":\"?[2J\",\"nul\":\"a?b\"}");
}

static void test_bad_pid_files(void **state)
{
	static const char *const texts[] = {
		"", "x", "-4242", "4242x", "04242 1", "99999999999", "0", "4243", "4242\n\n"};
	struct fixture *f = *state;

	put_task(f, "containerd_run", "prod", "web", PID, TICKS);
	expect_runtime_at(f, "/prod/web", "containerd", "web");
	for (size_t i = 0; i < ARRAY_SIZE(texts) - 1; i++) {
		put(f, "containerd_run/" TASKS "/prod/web/init.pid", texts[i]);
		expect_runtime_at(f, "/prod/web", "unknown", "app-4242");
	}
}

/* A random byte here and there in every record: always an answer, and never another's name. */
static void test_random_damage(void **state)
{
	static const char *const files[] = {
		"docker/containers/" ID "/config.v2.json",
		"oci/moby/" ID "/state.json",
		"containerd_run/" TASKS "/moby/" ID "/options.json",
		"containerd_run/" TASKS "/moby/" ID "/init.pid",
		"proc/stat",
		"proc/cgroup",
	};
	struct fixture *f = *state;

	srandom(7);
	put_docker(f, OTHER_ID, PID + 1);
	put(f, "docker/containers/" OTHER_ID "/config.v2.json", "{\"Name\":\"/other\"}");
	put_docker(f, ID, PID);
	put_process(f, "app", "/docker/" ID);
	for (int round = 0; round < 3000; round++) {
		const char *file = files[round % ARRAY_SIZE(files)];
		cleanup_free char *good = NULL, *bad = NULL;
		struct container_meta *m = NULL;
		char path[PATH_MAX];
		size_t len;
		int procfd, r;

		full_path(f, file, path);
		assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &good, &len), 0);
		bad = memcpy(malloc(len), good, len);
		bad[random() % len] = random();
		put_bytes(f, file, bad, len);
		full_path(f, "proc/", path);
		procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = container_meta_read(&f->paths, procfd, PID,
					TICKS * (1000000000ull / sysconf(_SC_CLK_TCK)), &m, NULL);
		close(procfd);
		assert_true(r == 0 || r == -EIO);
		assert_true(r < 0 || strcmp(m->name, "other"));
		container_meta_free(m);
		put_bytes(f, file, good, len);
	}
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_docker),
		T(test_docker_under_systemd),
		T(test_docker_with_its_own_containerd),
		T(test_docker_without_its_file),
		T(test_ctr),
		T(test_ctr_without_its_database),
		T(test_ctr_with_an_unknown_oci_runtime),
		T(test_cri_container),
		T(test_cri_of_old_tells_by_labels),
		T(test_cri_sandbox_is_a_helper),
		T(test_podman),
		T(test_podman_pod),
		T(test_podman_without_bolt),
		T(test_storage_of_another_manager),
		T(test_podman_with_crun),
		T(test_runc),
		T(test_crun),
		T(test_scan),
		T(test_crun_run_before_its_status),
		T(test_crun_run_by_another_user),
		T(test_crun_run_of_another_program),
		T(test_shim_names_the_container),
		T(test_conmon_names_the_container),
		T(test_parent_proves_nothing),
		T(test_forged_cgroup),
		T(test_reused_pid),
		T(test_buried_cgroup),
		T(test_ids_that_are_paths),
		T(test_unknown),
		T(test_v1_by_majority),
		T(test_hostile_command),
		T(test_gone),
		T(test_records_of_wrong_shape),
		T(test_huge_records),
		T(test_special_files),
		T(test_too_many_labels),
		T(test_labels_that_are_no_text),
		T(test_bad_pid_files),
		T(test_random_damage),
	};

	if (argc > 1)
		return parent_main();
	log_level = LOG_ERROR; /* what is ignored is said at LOG_WARN */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
