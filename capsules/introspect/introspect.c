// SPDX-License-Identifier: MIT
/* introspect: a sandbox as it is seen from inside. See README.md beside this file. */
#include <ctype.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/fd.h"
#include "common/json.h"

#define FILE_MAX (1 << 20)

static void add_text(struct json_object *array, const char *text)
{
	json_object_array_add(array, json_object_new_string(text));
}

/* ---- who ----------------------------------------------------------------------------------------- */

static void put_user(struct json_object *o)
{
	gid_t groups[64];
	int n = getgroups(64, groups);
	struct json_object *a = json_object_new_array();

	for (int i = 0; i < n; i++)
		json_object_array_add(a, json_object_new_int64(groups[i]));
	json_put_int(o, "uid", getuid());
	json_put_int(o, "gid", getgid());
	json_put_obj(o, "groups", a);
}

static void add_cap(struct json_object *array, int cap)
{
	char *name = cap_to_name(cap);

	if (!name)
		return;
	for (char *p = name; *p; p++)
		*p = (char)toupper(*p);
	add_text(array, strncmp(name, "CAP_", 4) ? name : name + 4);
	cap_free(name);
}

static bool has_flag(cap_t caps, int cap, cap_flag_t flag)
{
	cap_flag_value_t value = CAP_CLEAR;

	return cap_get_flag(caps, cap, flag, &value) == 0 && value == CAP_SET;
}

static void put_caps(struct json_object *o)
{
	static const char *const names[] = {"effective", "permitted", "inheritable", "bounding",
					    "ambient"};
	struct json_object *sets = json_object_new_object(), *a[5];
	cap_t caps = cap_get_proc();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		a[i] = json_object_new_array();
		json_put_obj(sets, names[i], a[i]);
	}
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (has_flag(caps, cap, CAP_EFFECTIVE))
			add_cap(a[0], cap);
		if (has_flag(caps, cap, CAP_PERMITTED))
			add_cap(a[1], cap);
		if (has_flag(caps, cap, CAP_INHERITABLE))
			add_cap(a[2], cap);
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			add_cap(a[3], cap);
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
			add_cap(a[4], cap);
	}
	cap_free(caps);
	json_put_obj(o, "capabilities", sets);
	json_put_bool(o, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

/* ---- what is refused ----------------------------------------------------------------------------- */

/* In a process of its own, which the filter may end. *ret: an error number; 0: none; -1: ended. */
static void try_in_child(long (*fn)(const void *), const void *arg, int *ret)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		errno = 0;
		_exit(fn(arg) < 0 ? errno : 0);
	}
	*ret = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
									       : -1;
}

struct call {
	const char *name;
	long nr;
	long args[3]; /* the others are 0; harmless whoever calls */
};

static long try_call(const void *arg)
{
	const struct call *c = arg;

	return syscall(c->nr, c->args[0], c->args[1], c->args[2], 0, 0, 0);
}

static const char *error_text(int code)
{
	return code < 0 ? "ended" : strerrorname_np(code);
}

static void put_calls(struct json_object *o)
{
	static const struct call calls[] = {
		{"acct", SYS_acct, {1}},
		{"add_key", SYS_add_key, {0}},
		{"bpf", SYS_bpf, {-1}},
		{"chroot", SYS_chroot, {0}},
		{"clone3", SYS_clone3, {0}},
		{"clock_settime", SYS_clock_settime, {-1}},
		{"delete_module", SYS_delete_module, {0}},
		{"finit_module", SYS_finit_module, {-1}},
		{"fsopen", SYS_fsopen, {0}},
		{"init_module", SYS_init_module, {0}},
		{"io_uring_setup", SYS_io_uring_setup, {0}},
		{"kcmp", SYS_kcmp, {0}},
		{"kexec_load", SYS_kexec_load, {0, 0, -1}},
		{"keyctl", SYS_keyctl, {-1}},
		{"mount", SYS_mount, {0}},
		{"move_mount", SYS_move_mount, {-1, 0, -1}},
		{"open_by_handle_at", SYS_open_by_handle_at, {-1}},
		{"open_tree", SYS_open_tree, {-1}},
		{"perf_event_open", SYS_perf_event_open, {0}},
		{"pivot_root", SYS_pivot_root, {0}},
		{"process_vm_readv", SYS_process_vm_readv, {0}},
		{"ptrace", SYS_ptrace, {-1, -1}},
		{"quotactl", SYS_quotactl, {-1}},
		{"reboot", SYS_reboot, {0}},
		{"request_key", SYS_request_key, {0}},
		{"setns", SYS_setns, {-1}},
		{"swapoff", SYS_swapoff, {0}},
		{"swapon", SYS_swapon, {0}},
		{"syslog", SYS_syslog, {-1}},
		{"umount2", SYS_umount2, {0}},
		{"unshare", SYS_unshare, {0}},
		{"userfaultfd", SYS_userfaultfd, {-1}},
	};
	struct json_object *refused = json_object_new_object();
	int code;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		try_in_child(try_call, &calls[i], &code);
		if (code == EPERM || code == ENOSYS || code < 0)
			json_put_str(refused, calls[i].name, error_text(code));
	}
	json_put_obj(o, "refused", refused);
}

struct family {
	const char *name;
	int family, type, protocol;
};

static long try_socket(const void *arg)
{
	const struct family *f = arg;

	return socket(f->family, f->type, f->protocol);
}

static void put_sockets(struct json_object *o)
{
	static const struct family families[] = {
		{"unix", AF_UNIX, SOCK_STREAM, 0},
		{"inet", AF_INET, SOCK_STREAM, 0},
		{"inet6", AF_INET6, SOCK_STREAM, 0},
		{"packet", AF_PACKET, SOCK_DGRAM, 0},
		{"netlink-route", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE},
		{"netlink-netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER},
		{"alg", AF_ALG, SOCK_SEQPACKET, 0},
		{"tipc", AF_TIPC, SOCK_STREAM, 0},
		{"vsock", AF_VSOCK, SOCK_STREAM, 0},
	};
	struct json_object *sockets = json_object_new_object();
	int code;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		try_in_child(try_socket, &families[i], &code);
		json_put_str(sockets, families[i].name, code ? error_text(code) : "ok");
	}
	json_put_obj(o, "sockets", sockets);
}

static void put_seccomp(struct json_object *o)
{
	static const char *const modes[] = {"off", "strict", "filter"};
	struct json_object *s = json_object_new_object();
	int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);

	json_put_str(s, "mode", mode >= 0 && mode < 3 ? modes[mode] : "unknown");
	put_calls(s);
	put_sockets(s);
	json_put_obj(o, "seccomp", s);
}

#define LANDLOCK_LAYERS 16 /* LANDLOCK_MAX_NUM_LAYERS of the kernel */

/* Domains cannot be asked for, but there may be so many: those that find no room any more are there already. */
static long count_domains(const void *arg)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0), n = 0;

	if (fd < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(LANDLOCK_LAYERS + 1);
	while (n < LANDLOCK_LAYERS && syscall(SYS_landlock_restrict_self, fd, 0) == 0)
		n++;
	_exit(LANDLOCK_LAYERS - n);
}

static void put_landlock(struct json_object *o)
{
	struct json_object *l = json_object_new_object();
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int domains;

	try_in_child(count_domains, NULL, &domains);
	json_put_int(l, "abi", abi < 0 ? 0 : abi);
	if (domains >= 0 && domains <= LANDLOCK_LAYERS)
		json_put_int(l, "domains", domains);
	json_put_obj(o, "landlock", l);
}

/* ---- where ---------------------------------------------------------------------------------------- */

static void put_namespaces(struct json_object *o)
{
	static const char *const kinds[] = {"cgroup", "ipc",  "mnt",  "net",
					    "pid",    "time", "user", "uts"};
	struct json_object *n = json_object_new_object();
	char path[32];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		if (stat(path, &st) == 0)
			json_put_int(n, kinds[i], (int64_t)st.st_ino);
	}
	json_put_obj(o, "namespaces", n);
}

/* proc(5): "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS FIELDS... - TYPE SOURCE SUPER-OPTIONS". */
static void add_mount(struct json_object *array, char *line)
{
	struct json_object *m = json_object_new_object();
	char *words[6] = {}, *rest = strstr(line, " - "), *save, *type;

	for (size_t i = 0; i < 6; i++)
		words[i] = strtok_r(i ? NULL : line, " ", &save);
	type = rest ? strtok_r(rest + 3, " ", &save) : NULL;
	json_put_foreign(m, "path", words[4] ?: "", 4096);
	json_put_foreign(m, "type", type ?: "", 64);
	json_put_foreign(m, "options", words[5] ?: "", 256);
	json_object_array_add(array, m);
}

static void put_mounts(struct json_object *o)
{
	struct json_object *a = json_object_new_array();
	cleanup_free char *text = NULL;
	char *save, *line;

	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", FILE_MAX, &text, NULL) == 0)
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			add_mount(a, line);
	json_put_obj(o, "mounts", a);
}

/* On another file system than the one that it is in. */
static bool is_covered(const char *path, dev_t around)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev != around;
}

static void put_covered(struct json_object *o)
{
	static const char *const paths[] = {"/proc/acpi",	 "/proc/asound",
					    "/proc/interrupts",	 "/proc/kcore",
					    "/proc/keys",	 "/proc/latency_stats",
					    "/proc/sched_debug", "/proc/scsi",
					    "/proc/timer_list",	 "/proc/timer_stats",
					    "/proc/kallsyms",	 "/proc/sysrq-trigger",
					    "/sys/firmware",	 "/sys/devices/virtual/powercap"};
	struct json_object *covered = json_object_new_array(), *open = json_object_new_array();
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (stat(strncmp(paths[i], "/sys", 4) ? "/proc" : "/sys", &st) < 0 ||
		    access(paths[i], F_OK) < 0)
			continue;
		add_text(is_covered(paths[i], st.st_dev) ? covered : open, paths[i]);
	}
	json_put_obj(o, "covered", covered);
	json_put_obj(o, "not_covered", open);
}

/* ---- how much ------------------------------------------------------------------------------------- */

static void put_limits(struct json_object *o)
{
	static const struct {
		const char *name;
		int which;
	} all[] = {{"core", RLIMIT_CORE}, {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}};
	struct json_object *l = json_object_new_object(), *pair;
	struct rlimit lim;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (getrlimit(all[i].which, &lim) < 0)
			continue;
		pair = json_object_new_object();
		json_put_int(pair, "soft",
			     lim.rlim_cur == RLIM_INFINITY ? -1 : (int64_t)lim.rlim_cur);
		json_put_int(pair, "hard",
			     lim.rlim_max == RLIM_INFINITY ? -1 : (int64_t)lim.rlim_max);
		json_put_obj(l, all[i].name, pair);
	}
	json_put_obj(o, "limits", l);
}

static void put_cgroup(struct json_object *o)
{
	struct json_object *a = json_object_new_array();
	cleanup_free char *text = NULL;
	char *save, *line;

	if (fd_read_file(AT_FDCWD, "/proc/self/cgroup", FILE_MAX, &text, NULL) == 0)
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			add_text(a, line);
	json_put_obj(o, "cgroup", a);
}

/* ---- printing ------------------------------------------------------------------------------------- */

static void print_text(const char *name, struct json_object *v);

static void print_array(const char *name, struct json_object *v)
{
	size_t n = json_object_array_length(v);
	bool flat = !n || !json_object_is_type(json_object_array_get_idx(v, 0), json_type_object);

	if (flat)
		printf("%s:", name);
	for (size_t i = 0; i < n; i++) {
		struct json_object *item = json_object_array_get_idx(v, i);

		if (flat)
			printf(" %s", json_object_get_string(item));
		else
			print_text(name, item);
	}
	if (flat)
		putchar('\n');
}

static void print_text(const char *name, struct json_object *v)
{
	char inner[128];

	if (json_object_is_type(v, json_type_array)) {
		print_array(name, v);
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach (v, key, member) {
			snprintf(inner, sizeof(inner), "%s%s%s", name, *name ? "." : "", key);
			print_text(inner, member);
		}
	} else {
		printf("%s: %s\n", name, json_object_get_string(v));
	}
}

int main(int argc, char **argv)
{
	cleanup_json struct json_object *o = json_object_new_object();
	bool json = argc == 2 && !strcmp(argv[1], "--json");

	if (argc > 1 && !json) {
		fputs("usage: introspect [--json]\n", stderr);
		return 2;
	}
	put_user(o);
	put_caps(o);
	put_seccomp(o);
	put_landlock(o);
	put_namespaces(o);
	put_mounts(o);
	put_covered(o);
	put_limits(o);
	put_cgroup(o);
	if (json)
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_text("", o);
	return fflush(stdout) ? 1 : 0;
}
