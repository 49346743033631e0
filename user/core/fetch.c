// SPDX-License-Identifier: MIT
#include "core/fetch.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/log.h"
#include "core/blob.h"
#include "core/layout.h"
#include "core/reference.h"
#include "core/store.h"

#define PROGRAM	   "skopeo"
#define STORAGE	   "containers-storage:"
#define DAEMON	   "docker-daemon:"
#define TIMEOUT	   "1700s" /* a little less than recapd gives a worker */
#define POLL_MS	   200
#define SAID_MAX   4096
#define SOURCE_MAX 4096
#define POLICY	   "/etc/containers/policy.json"

/* What is being fetched, and where to. */
struct fetch {
	struct image_store *store;
	const struct fetch_source *from;
	char source[SOURCE_MAX];
	char name[32];	     /* of the work folder in the store's tmp/ */
	char path[PATH_MAX]; /* of the work folder */
	int work, image;     /* descriptors of it, and of "image" in it; `work` holds its lock */
	pid_t pid;
	int said; /* skopeo's standard error */
	char text[SAID_MAX];
	size_t len;
};

/* ---- sources ---- */

enum source_kind { SOURCE_NAME, SOURCE_PATH, SOURCE_PATH_REF };

static const struct transport {
	const char *prefix;
	enum source_kind kind;
} transports[] = {
	{"docker://", SOURCE_NAME},
	{DAEMON, SOURCE_NAME},
	{STORAGE, SOURCE_NAME},
	{"dir:", SOURCE_PATH},
	{"oci:", SOURCE_PATH_REF},
	{"oci-archive:", SOURCE_PATH_REF},
	{"docker-archive:", SOURCE_PATH_REF},
};

static const struct transport *find_transport(const char *source)
{
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++)
		if (!strncmp(source, transports[i].prefix, strlen(transports[i].prefix)))
			return &transports[i];
	return NULL;
}

/* Behind the "[driver@root+runroot]" that may be before a name in podman's storage. */
static const char *skip_store(const char *name)
{
	const char *end = *name == '[' ? strchr(name, ']') : NULL;

	return end ? end + 1 : name;
}

/* The name and tag; empty when there is but a digest: the image would be called "latest" without being it. */
static void format_name(const char *text, char *ret, size_t size)
{
	char full[REFERENCE_SIZE];
	struct reference ref;

	*ret = '\0';
	if (reference_parse(text, &ref, NULL) < 0 || !ref.name[0] || (ref.digest[0] && !ref.tag[0]))
		return;
	reference_format(&ref, full);
	snprintf(ret, size, "%s", full);
}

int fetch_source_name(const char *source, char *ret, size_t size, struct error *err)
{
	const struct transport *t = find_transport(source);
	const char *rest = t ? source + strlen(t->prefix) : source;
	const char *colon = strchr(rest, ':');
	struct reference ref;

	*ret = '\0';
	if (strlen(source) >= SOURCE_MAX - strlen("docker://"))
		return error_named(err, EINVAL, "InvalidArgument", "the source is too long");
	if (!t) {
		int r = reference_parse(source, &ref, err);

		if (r < 0)
			return r;
	}
	if (!*rest)
		return error_named(err, EINVAL, "InvalidArgument", "\"%.64s\" names no image",
				   source);
	if (t && t->kind != SOURCE_NAME && *rest != '/')
		return error_named(err, EINVAL, "InvalidArgument",
				   "the path in \"%.128s\" is not absolute", source);
	if (!t || t->kind == SOURCE_NAME)
		format_name(t && !strcmp(t->prefix, STORAGE) ? skip_store(rest) : rest, ret, size);
	else if (t->kind == SOURCE_PATH_REF && colon)
		format_name(colon + 1, ret, size);
	return 0;
}

/* ---- in the child ---- */

static int open_clone(const char *path)
{
	return open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

/* Folders that stay writable: taken out before all becomes read-only, and put back. */
struct spared {
	const char *path;
	int fd;
};

static int seal_mounts(struct spared *spared, size_t n)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
	};

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		spared[i].fd = open_clone(spared[i].path);
		if (spared[i].fd < 0 && errno != ENOENT)
			return -errno;
	}
	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++)
		if (spared[i].fd >= 0 && move_mount(spared[i].fd, "", AT_FDCWD, spared[i].path,
						    MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return -errno;
	/* Of its own processes only; and the kernel's settings are root's to write, whatever its capabilities. */
	return mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
			       0
		       ? -errno
		       : 0;
}

/* The places of podman's storage in "[driver@root+runroot]name", or the usual ones. */
static size_t storage_folders(const char *source, char root[PATH_MAX], char run[PATH_MAX],
			      struct spared spared[2])
{
	const char *at = source + strlen(STORAGE);

	strcpy(root, "/var/lib/containers/storage");
	strcpy(run, "/run/containers/storage");
	if (*at == '[') {
		const char *slash = at + strcspn(at, "/]"), *plus = at + strcspn(at, "+:]");

		if (*slash == '/' && plus > slash)
			snprintf(root, PATH_MAX, "%.*s", (int)(plus - slash), slash);
		if (*plus == '+' && plus[1] == '/')
			snprintf(run, PATH_MAX, "%.*s", (int)strcspn(plus + 1, ":]"), plus + 1);
	}
	spared[0] = (struct spared){root, -1};
	spared[1] = (struct spared){run, -1};
	return 2;
}

static int drop_capabilities(bool storage)
{
	static const cap_value_t few[] = {CAP_DAC_READ_SEARCH};
	static const cap_value_t more[] = {CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_CHOWN,
					   CAP_FOWNER,		CAP_FSETID,	  CAP_MKNOD,
					   CAP_SETFCAP,		CAP_SYS_ADMIN,	  CAP_SYS_CHROOT};
	const cap_value_t *keep = storage ? more : few;
	int n = storage ? (int)ARRAY_SIZE(more) : (int)ARRAY_SIZE(few);
	cap_t caps = cap_init();
	int r = caps ? 0 : -ENOMEM;

	for (cap_value_t cap = 0; r == 0 && cap <= CAP_LAST_CAP; cap++) {
		bool kept = false;

		for (int i = 0; i < n; i++)
			kept |= keep[i] == cap;
		if (!kept && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			r = -errno;
	}
	if (r == 0 &&
	    (cap_set_flag(caps, CAP_EFFECTIVE, n, keep, CAP_SET) < 0 ||
	     cap_set_flag(caps, CAP_PERMITTED, n, keep, CAP_SET) < 0 || cap_set_proc(caps) < 0))
		r = -errno;
	if (caps)
		cap_free(caps);
	return r;
}

static int set_limits(void)
{
	const struct rlimit size = {IMAGE_BYTES_MAX, IMAGE_BYTES_MAX}, none = {};

	if (setrlimit(RLIMIT_FSIZE, &size) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	umask(077);
	return 0;
}

static int set_streams(int said)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(said, STDERR_FILENO) < 0)
		return -errno;
	return syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/*
 * What neither capabilities nor read-only mounts keep from a process of root's: the sockets of services that do as root says, and with
 * CAP_DAC_READ_SEARCH files that no path leads to.
 */
static int close_ways(const struct fetch *f)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(open_by_handle_at), 0)
		    : -ENOMEM;

	if (r == 0 && strncmp(f->source, DAEMON, strlen(DAEMON)))
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static int confine(const struct fetch *f)
{
	bool storage = !strncmp(f->source, STORAGE, strlen(STORAGE));
	static char root[PATH_MAX], run[PATH_MAX];
	struct spared spared[3] = {{f->path, -1}};
	size_t n = 1;
	int r;

	if (storage)
		n += storage_folders(f->source, root, run, spared + 1);
	r = seal_mounts(spared, n);
	if (r == 0)
		r = set_limits();
	if (r == 0)
		r = drop_capabilities(storage);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r < 0 ? r : close_ways(f);
}

/* What it needs of the environment, and no more. */
static char **environment(const struct fetch *f)
{
	static const char *const kept[] = {"http_proxy",    "https_proxy",  "no_proxy",
					   "HTTP_PROXY",    "HTTPS_PROXY",  "NO_PROXY",
					   "SSL_CERT_FILE", "SSL_CERT_DIR", "DOCKER_HOST"};
	static char *env[ARRAY_SIZE(kept) + 4], tmp[PATH_MAX + 16];
	size_t n = 0;

	snprintf(tmp, sizeof(tmp), "TMPDIR=%s/tmp", f->path);
	env[n++] = tmp;
	env[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env[n++] = "HOME=/root";
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		const char *value = getenv(kept[i]);

		if (value && asprintf(&env[n], "%s=%s", kept[i], value) > 0)
			n++;
	}
	env[n] = NULL;
	return env;
}

static void exec_skopeo(const struct fetch *f)
{
	static char tmp[PATH_MAX + 16], to[PATH_MAX + 16];
	const char *argv[20];
	size_t n = 0;

	snprintf(tmp, sizeof(tmp), "%s/tmp", f->path);
	snprintf(to, sizeof(to), "dir:%s/image", f->path);
	argv[n++] = PROGRAM;
	argv[n++] = "--command-timeout=" TIMEOUT;
	argv[n++] = "--tmpdir";
	argv[n++] = tmp;
	/* The node's own policy, where it has one. */
	if (access(POLICY, F_OK) < 0)
		argv[n++] = "--insecure-policy";
	argv[n++] = "copy";
	argv[n++] = "--quiet";
	/* Signatures are not of this kind here, and a converted manifest would not bear them. */
	argv[n++] = "--remove-signatures";
	if (f->from->authfile) {
		argv[n++] = "--src-authfile";
		argv[n++] = f->from->authfile;
	}
	if (f->from->no_tls_verify)
		argv[n++] = "--src-tls-verify=false";
	argv[n++] = "--";
	argv[n++] = f->source;
	argv[n++] = to;
	argv[n] = NULL;
	execvpe(PROGRAM, (char *const *)argv, environment(f));
}

static __attribute__((noreturn)) void child(const struct fetch *f, int said)
{
	int r;

	/* Whoever ends the load ends this, and with it all of its PID namespace. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* Before the devices are out of reach. */
	r = set_streams(said);
	if (r == 0)
		r = confine(f);
	if (r == 0) {
		exec_skopeo(f);
		r = -errno;
	}
	dprintf(said, "cannot start " PROGRAM ": %s%s\n", strerror(-r),
		r == -ENOENT ? "; install the package skopeo" : "");
	_exit(127);
}

/* ---- the work folder ---- */

static int make_work(struct fetch *f, struct error *err)
{
	char proc[64];
	ssize_t n;

	snprintf(f->name, sizeof(f->name), STORE_FETCH_PREFIX "%d", getpid());
	if (mkdirat(f->store->tmp, f->name, 0700) < 0)
		return error_sys(err, errno, "cannot create a folder for the image");
	f->work = openat(f->store->tmp, f->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* So that another load, which sweeps tmp/, leaves it alone. */
	if (f->work < 0 || flock(f->work, LOCK_EX | LOCK_NB) < 0 ||
	    mkdirat(f->work, "image", 0700) < 0 || mkdirat(f->work, "tmp", 0700) < 0)
		return error_sys(err, errno, "cannot create a folder for the image");
	f->image = openat(f->work, "image", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", f->work);
	n = readlink(proc, f->path, sizeof(f->path) - 1);
	if (f->image < 0 || n < 0)
		return error_sys(err, errno, "cannot open the folder for the image");
	f->path[n] = '\0';
	return 0;
}

static uint64_t folder_bytes(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t bytes = 0;
	struct dirent *e;

	if (!dir)
		fd = fd_close(fd);
	while (dir && (e = readdir(dir))) {
		struct stat st;

		if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			bytes += st.st_blocks * 512ull;
	}
	return bytes;
}

/* ---- running skopeo ---- */

static int start(struct fetch *f, struct error *err)
{
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS,
		.exit_signal = SIGCHLD,
	};
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return error_sys(err, errno, "cannot start " PROGRAM);
	f->said = pipes[0];
	f->pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (f->pid == 0)
		child(f, pipes[1]);
	close(pipes[1]);
	return f->pid < 0 ? error_sys(err, errno, "cannot start " PROGRAM) : 0;
}

/* Keeps the end of what it says. False: it says no more. */
static bool listen_to(struct fetch *f)
{
	char piece[512];
	ssize_t n = read(f->said, piece, sizeof(piece));

	if (n <= 0)
		return n < 0 && errno == EINTR;
	if (f->len + n >= sizeof(f->text)) {
		memmove(f->text, f->text + f->len / 2, f->len - f->len / 2);
		f->len -= f->len / 2;
	}
	memcpy(f->text + f->len, piece, n);
	f->len += n;
	f->text[f->len] = '\0';
	return true;
}

static int watch(struct fetch *f, struct error *err)
{
	struct pollfd p = {.fd = f->said, .events = POLLIN};
	struct progress *progress = &f->store->progress;

	progress_begin(progress, "fetching", 0);
	for (;;) {
		int n = poll(&p, 1, POLL_MS);
		uint64_t bytes = folder_bytes(f->image);

		if (bytes > IMAGE_BYTES_MAX)
			return image_invalid(err, "the image is larger than %llu GiB",
					     IMAGE_BYTES_MAX >> 30);
		progress_add(progress, bytes > progress->done ? bytes - progress->done : 0);
		if (n > 0 && !listen_to(f))
			return 0;
	}
}

/* The last line, without the frame that logrus puts around it. */
static char *last_words(struct fetch *f)
{
	char *line = f->text, *nl, *msg;

	while (f->len && f->text[f->len - 1] == '\n')
		f->text[--f->len] = '\0';
	nl = strrchr(line, '\n');
	line = nl ? nl + 1 : line;
	msg = strstr(line, "msg=\"");
	if (msg && line[strlen(line) - 1] == '"') {
		line[strlen(line) - 1] = '\0';
		line = msg + 5;
	}
	return *line ? line : "it said nothing";
}

static int run(struct fetch *f, struct error *err)
{
	int status = 0, r = start(f, err);

	if (r < 0)
		return r;
	r = watch(f, err);
	if (r < 0)
		kill(f->pid, SIGKILL);
	while (waitpid(f->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, EIO, "cannot fetch \"%.100s\": %.280s", f->source,
				 last_words(f));
	return 0;
}

/* ---- what it has brought ---- */

/* The blobs to where a layout has them. What else is there stays. */
static int move_blobs(struct fetch *f, int layout, struct error *err)
{
	int fd = openat(f->image, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		fd = fd_close(fd);
		return error_sys(err, errno, "cannot read what was fetched");
	}
	while ((e = readdir(dir))) {
		char to[NAME_MAX + 16];

		if (strlen(e->d_name) != 64 || strspn(e->d_name, "0123456789abcdef") != 64)
			continue;
		snprintf(to, sizeof(to), "blobs/sha256/%s", e->d_name);
		if (renameat(f->image, e->d_name, layout, to) < 0)
			return error_sys(err, errno, "cannot keep what was fetched");
	}
	return 0;
}

/* OCI manifests need not say what they are. */
static const char *manifest_media(struct json_object *doc)
{
	const char *type = json_get_str(doc, "mediaType");

	return type ? type : "application/vnd.oci.image.manifest.v1+json";
}

static int index_of(const char *text, size_t len, const char *ref, struct json_object **ret,
		    struct error *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_digest struct digest *hash = NULL;
	struct json_object *entry, *entries, *notes;
	char digest[DIGEST_SIZE];
	struct error why = {};
	int r = digest_new(&hash, err);

	if (r < 0)
		return r;
	if (json_parse_hostile(text, len, "manifest", &doc, &why) < 0)
		return image_invalid(err, "%s", why.msg);
	digest_update(hash, text, len);
	digest_final(hash, digest);
	entry = json_object_new_object();
	json_put_str(entry, "mediaType", manifest_media(doc));
	json_put_str(entry, "digest", digest);
	json_put_int(entry, "size", (int64_t)len);
	notes = json_object_new_object();
	json_put_str(notes, "io.containerd.image.name", ref);
	json_put_obj(entry, "annotations", notes);
	entries = json_object_new_array();
	json_object_array_add(entries, entry);
	*ret = json_object_new_object();
	json_put_int(*ret, "schemaVersion", 2);
	json_put_obj(*ret, "manifests", entries);
	return 0;
}

static int write_layout(struct fetch *f, int layout, const char *ref, struct error *err)
{
	cleanup_json struct json_object *index = NULL;
	cleanup_free char *text = NULL;
	const char *digest;
	char to[128];
	size_t len;
	int r = fd_read_file(f->image, "manifest.json", BLOB_JSON_MAX, &text, &len);

	if (r < 0)
		return error_sys(err, -r, "cannot read the manifest that was fetched");
	r = index_of(text, len, ref, &index, err);
	if (r == 0)
		r = move_blobs(f, layout, err);
	if (r < 0)
		return r;
	digest = json_get_str(
		json_object_array_get_idx(json_get(index, "manifests", json_type_array), 0),
		"digest");
	snprintf(to, sizeof(to), "blobs/sha256/%s", digest_hex(digest));
	if (renameat(f->image, "manifest.json", layout, to) < 0)
		return error_sys(err, errno, "cannot keep what was fetched");
	return layout_write(layout, index, err);
}

static int load(struct fetch *f, const char *ref, struct json_object **ret, struct error *err)
{
	cleanup_fd int layout = -1;
	int r;

	if (mkdirat(f->work, "layout", 0700) < 0 || mkdirat(f->work, "layout/blobs", 0700) < 0 ||
	    mkdirat(f->work, "layout/blobs/sha256", 0700) < 0)
		return error_sys(err, errno, "cannot create a folder for the image");
	layout = openat(f->work, "layout", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (layout < 0)
		return error_sys(err, errno, "cannot open the folder for the image");
	r = write_layout(f, layout, ref, err);
	return r < 0 ? r : image_load(f->store, layout, ref, ret, err);
}

static void fetch_release(struct fetch *f)
{
	int r;

	fd_close(f->said);
	fd_close(f->image);
	r = *f->name ? fd_remove_tree(f->store->tmp, f->name) : 0;
	if (r < 0)
		log_warn("ignoring what may be left over of a pull: %s", strerror(-r));
	fd_close(f->work);
}

int fetch_image(struct image_store *store, const struct fetch_source *from,
		struct json_object **ret, struct error *err)
{
	struct fetch f = {.store = store, .from = from, .work = -1, .image = -1, .said = -1};
	char name[REFERENCE_SIZE];
	int r = fetch_source_name(from->source, name, sizeof(name), err);

	if (r < 0)
		return r;
	if (!from->ref && !*name)
		return error_named(err, EINVAL, "InvalidArgument",
				   "\"%.128s\" does not say what the image is called: give it a "
				   "name with --ref",
				   from->source);
	snprintf(f.source, sizeof(f.source), "%s%s",
		 find_transport(from->source) ? "" : "docker://", from->source);
	r = make_work(&f, err);
	if (r == 0)
		r = run(&f, err);
	if (r == 0)
		r = load(&f, from->ref ? from->ref : name, ret, err);
	fetch_release(&f);
	return r;
}
