// SPDX-License-Identifier: MIT
#include "recapd/config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "common/fd.h"
#include "common/json.h"
#include "common/log.h"
#include "core/keeper.h"

#define CONFIG_FILE "/etc/recap/recapd.json"
#define CONFIG_MAX  (64 << 10)

const char config_help[] =
	"Usage: recapd [options]\n"
	"The node service of RECap: keeps the inventory of containers and runs capsules in them.\n"
	"\n"
	"  --config FILE           configuration (/etc/recap/recapd.json); options win\n"
	"  --socket PATH           where recapctl finds it (/run/recap/io.recap)\n"
	"  --policy FILE           who may do what (/etc/recap/policy.json)\n"
	"  --bpffs DIR             folder for the pinned maps (/sys/fs/bpf/recap)\n"
	"  --state-dir DIR         images, logs, history (/var/lib/recap)\n"
	"  --cgroup NAME           parent of the capsules' cgroups (recap)\n"
	"  --audit FILE            who asked for what (/var/log/recap/audit.jsonl)\n"
	"  --audit-journal SOCKET  the same, to journald (/run/systemd/journal/socket)\n"
	"  --docker-root DIR       Docker's data root (/var/lib/docker)\n"
	"  --docker-run DIR        Docker's run-time state (/run/docker)\n"
	"  --containerd-root DIR   containerd's root (/var/lib/containerd)\n"
	"  --containerd-state DIR  containerd's state (/run/containerd)\n"
	"  --podman-root DIR       podman's storage (/var/lib/containers/storage)\n"
	"  --podman-run DIR        podman's run root (/run/containers/storage)\n"
	"  --runc-root DIR         runc's state (/run/runc)\n"
	"  --crun-root DIR         crun's state (/run/crun)\n"
	"  -v, --verbose           say more on standard error\n"
	"  --version               print the version\n"
	"  -h, --help              this text\n";

/* Flags and members of the file share one table: "state-dir" is "state_dir" there. */
static const struct setting {
	const char *flag, *member;
	size_t offset;
	const char *initial;
} settings[] = {
	{"socket", "socket", offsetof(struct config, socket), "/run/recap/io.recap"},
	{"policy", "policy", offsetof(struct config, policy), "/etc/recap/policy.json"},
	{"bpffs", "bpffs", offsetof(struct config, bpffs), "/sys/fs/bpf/recap"},
	{"state-dir", "state_dir", offsetof(struct config, state_dir), "/var/lib/recap"},
	{"cgroup", "cgroup", offsetof(struct config, cgroup), "recap"},
	{"audit", "audit", offsetof(struct config, audit), "/var/log/recap/audit.jsonl"},
	{"audit-journal", "audit_journal", offsetof(struct config, audit_journal),
	 "/run/systemd/journal/socket"},
	{"docker-root", "docker_root", offsetof(struct config, docker), "/var/lib/docker"},
	{"docker-run", "docker_run", offsetof(struct config, docker_run), "/run/docker"},
	{"containerd-root", "containerd_root", offsetof(struct config, containerd),
	 "/var/lib/containerd"},
	{"containerd-state", "containerd_state", offsetof(struct config, containerd_run),
	 "/run/containerd"},
	{"podman-root", "podman_root", offsetof(struct config, podman),
	 "/var/lib/containers/storage"},
	{"podman-run", "podman_run", offsetof(struct config, podman_run),
	 "/run/containers/storage"},
	{"runc-root", "runc_root", offsetof(struct config, runc), "/run/runc"},
	{"crun-root", "crun_root", offsetof(struct config, crun), "/run/crun"},
};

static char **slot(struct config *c, size_t i)
{
	return (char **)((char *)c + settings[i].offset);
}

static int set(struct config *c, size_t i, const char *value, struct error *err)
{
	char *copy;

	if (strcmp(settings[i].flag, "cgroup") && value[0] != '/')
		return error_set(err, EINVAL, "%s must be an absolute path, not %s",
				 settings[i].flag, value);
	if (!strcmp(settings[i].flag, "cgroup") &&
	    (!*value || strchr(value, '/') || value[0] == '.'))
		return error_set(err, EINVAL, "cgroup must be a name without slashes, not %s",
				 value);
	copy = strdup(value);
	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	free(*slot(c, i));
	*slot(c, i) = copy;
	return 0;
}

static int set_gate(struct config *c, const char *path, struct json_object *value,
		    struct error *err)
{
	struct gate_config gate;
	int r = value ? gate_config_parse(value, "gate", &gate, err)
		      : error_set(err, EINVAL, "gate must be an object");

	if (r < 0)
		return error_prefix(err, "%s", path);
	gate_config_release(&c->gate);
	c->gate = gate;
	return 0;
}

/* Entries, and bytes of the ring buffer, which are a power of two and a page at least. */
static const struct map_size {
	const char *name, *what;
	size_t offset;
	int64_t min, max;
} map_sizes[] = {
	{"containers", "a number", offsetof(struct track_sizes, containers), 1, 1 << 20},
	{"capsules", "a number", offsetof(struct track_sizes, capsules), 1, SLOTS},
	{"latency", "a number", offsetof(struct track_sizes, latency), 1, 1 << 20},
	{"events", "a power of two", offsetof(struct track_sizes, events), 1 << 12, 1 << 26},
};

static int set_map(struct config *c, const char *key, struct json_object *size, struct error *err)
{
	int64_t n = json_object_is_type(size, json_type_int) ? json_object_get_int64(size) : 0;
	const struct map_size *m = map_sizes, *end = map_sizes + ARRAY_SIZE(map_sizes);

	while (m < end && strcmp(m->name, key))
		m++;
	if (m == end)
		return error_set(err, EINVAL, "there is no map called %s; recapd(8) lists them",
				 key);
	if (n < m->min || n > m->max ||
	    (m->offset == offsetof(struct track_sizes, events) && n & (n - 1)))
		return error_set(err, EINVAL, "%s must be %s from %lld to %lld", key, m->what,
				 (long long)m->min, (long long)m->max);
	*(uint32_t *)((char *)&c->maps + m->offset) = (uint32_t)n;
	return 0;
}

static int set_maps(struct config *c, const char *path, struct json_object *value,
		    struct error *err)
{
	if (!json_object_is_type(value, json_type_object))
		return error_set(err, EINVAL, "%s: maps must be an object", path);
	json_object_object_foreach (value, key, size)
		if (set_map(c, key, size, err) < 0)
			return error_prefix(err, "%s: maps", path);
	return 0;
}

static int set_member(struct config *c, const char *path, const char *key,
		      struct json_object *value, struct error *err)
{
	if (!strcmp(key, "gate"))
		return set_gate(c, path, value, err);
	if (!value)
		return error_set(err, EINVAL, "%s: %s is null; leave it out instead", path, key);
	if (!strcmp(key, "image_requests"))
		return requests_config_parse(value, &c->requests, err) < 0
			       ? error_prefix(err, "%s", path)
			       : 0;
	if (!strcmp(key, "maps"))
		return set_maps(c, path, value, err);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (strcmp(settings[i].member, key))
			continue;
		if (!json_object_is_type(value, json_type_string))
			return error_set(err, EINVAL, "%s: %s must be a string", path, key);
		return set(c, i, json_object_get_string(value), err);
	}
	return error_set(err, EINVAL, "%s: there is no setting called %s; recapd(8) lists them",
			 path, key);
}

static int read_file(struct config *c, const char *path, bool must_exist, struct error *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *text = NULL;
	size_t len;
	int r = fd_read_file(AT_FDCWD, path, CONFIG_MAX, &text, &len);

	if (r == -ENOENT && !must_exist)
		return 0;
	if (r < 0)
		return error_sys(err, -r, "cannot read %s", path);
	r = json_parse(text, len, path, &o, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(o, json_type_object))
		return error_set(err, EINVAL, "%s must hold a JSON object", path);
	json_object_object_foreach (o, key, value) {
		r = set_member(c, path, key, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

enum { OPT_CONFIG = 1000, OPT_VERSION };

static void long_options(struct option opts[ARRAY_SIZE(settings) + 5])
{
	size_t n = ARRAY_SIZE(settings);

	for (size_t i = 0; i < n; i++)
		opts[i] = (struct option){settings[i].flag, required_argument, NULL, 256 + (int)i};
	opts[n++] = (struct option){"config", required_argument, NULL, OPT_CONFIG};
	opts[n++] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	opts[n++] = (struct option){"verbose", no_argument, NULL, 'v'};
	opts[n++] = (struct option){"help", no_argument, NULL, 'h'};
	opts[n] = (struct option){};
}

/* Two passes over the flags: the file that one of them names is read in between. */
static int read_flags(int argc, char **argv, struct config *c, const char **file,
		      enum config_action *action, struct error *err)
{
	struct option opts[ARRAY_SIZE(settings) + 5];
	int opt, r = 0;

	long_options(opts);
	optind = 1;
	opterr = 0;
	while (r == 0 && (opt = getopt_long(argc, argv, "+hv", opts, NULL)) != -1) {
		if (opt == OPT_CONFIG)
			*file = optarg;
		else if (opt == OPT_VERSION)
			*action = CONFIG_VERSION;
		else if (opt == 'h')
			*action = CONFIG_HELP;
		else if (opt == 'v')
			log_level = LOG_DEBUG;
		else if (opt >= 256 && opt < OPT_CONFIG)
			r = c ? set(c, opt - 256, optarg, err) : 0;
		else
			return error_set(
				err, EINVAL,
				"%s is not an option, or lacks its value; see recapd --help",
				argv[optind - 1]);
	}
	if (r == 0 && optind < argc)
		return error_set(err, EINVAL, "recapd takes no arguments (%s); see recapd --help",
				 argv[optind]);
	return r;
}

int config_read(int argc, char **argv, struct config *ret, enum config_action *ret_action,
		struct error *err)
{
	struct config c = {};
	const char *file = NULL;
	int r;

	*ret_action = CONFIG_RUN;
	r = read_flags(argc, argv, NULL, &file, ret_action, err);
	if (r == 0)
		r = gate_config_parse(NULL, "gate", &c.gate, err);
	for (size_t i = 0; i < ARRAY_SIZE(settings) && r == 0; i++)
		r = set(&c, i, settings[i].initial, err);
	if (r == 0 && *ret_action == CONFIG_RUN)
		r = read_file(&c, file ? file : CONFIG_FILE, file != NULL, err);
	if (r == 0)
		r = read_flags(argc, argv, &c, &file, ret_action, err);
	if (r < 0) {
		config_clear(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void config_clear(struct config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		free(*slot(c, i));
	gate_config_release(&c->gate);
	memset(c, 0, sizeof(*c));
}

struct runtime_paths config_runtimes(const struct config *c)
{
	return (struct runtime_paths){
		.docker = c->docker,
		.docker_run = c->docker_run,
		.containerd = c->containerd,
		.containerd_run = c->containerd_run,
		.podman = c->podman,
		.podman_run = c->podman_run,
		.runc = c->runc,
		.crun = c->crun,
	};
}
