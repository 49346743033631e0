// SPDX-License-Identifier: MIT
/* recapctl list: the containers, once or as they come and go. */
#include "recapctl/recapctl.h"

#include <string.h>

#define cleanup_varlink cleanup(varlink_close)

struct list {
	struct json_object *params;
	bool all, json, watch;
	struct table seen; /* what --watch has shown, when not on a terminal */
};

static const char *const head[] = {"NAME", "RUNTIME", "ID", "IMAGE", ">PID", ">AGE", NULL};
static const char *const head_all[] = {"NAME", "RUNTIME", "ID",	  "IMAGE",
				       ">PID", ">AGE",	  "KIND", NULL};
/* A line each, to find out what changed: an age always does. */
static const char *const head_watch[] = {"CONTAINER", NULL};

static void list_free(struct list *l)
{
	json_object_put(l->params);
	table_free(&l->seen);
}

/* What can be typed as a TARGET: a pod's containers have names that mean nothing outside of it. */
static void container_name(struct json_object *c, char *buf, size_t size)
{
	struct json_object *pod = json_get(c, "pod", json_type_object);
	const char *container = json_get_str(pod, "container");
	const char *name = json_get_str(c, "name");

	if (pod)
		snprintf(buf, size, "pod/%s/%s%s%s", json_get_str(pod, "namespace") ?: "?",
			 json_get_str(pod, "name") ?: "?", container ? "/" : "",
			 container ? container : "");
	else
		snprintf(buf, size, "%s", name ? name : "-");
}

static void add_container(struct table *t, struct json_object *c, bool all, time_t now)
{
	char name[512], age[TEXT_AGE_SIZE];

	container_name(c, name, sizeof(name));
	text_age(json_get_str(c, "started_at"), now, age);
	table_add(t, name);
	table_add(t, json_get_str(c, "runtime"));
	table_addf(t, "%.12s", json_get_str(c, "id") ?: "");
	table_add(t, json_get_str(c, "image"));
	table_addf(t, "%lld", (long long)json_get_int(c, "pid", 0));
	table_add(t, age);
	if (all)
		table_add(t, json_get_str(c, "kind"));
}

static void print_table(const struct list *l, struct json_object *containers)
{
	cleanup_table struct table t;
	time_t now = time(NULL);

	table_init(&t, l->all ? head_all : head);
	for (size_t i = 0; i < json_object_array_length(containers); i++)
		add_container(&t, json_object_array_get_idx(containers, i), l->all, now);
	table_print(&t, stdout);
}

static void add_line(struct table *t, struct json_object *c)
{
	char name[512];

	container_name(c, name, sizeof(name));
	table_addf(t, "%s %s %.12s %s %lld", name, json_get_str(c, "runtime") ?: "-",
		   json_get_str(c, "id") ?: "-", json_get_str(c, "image") ?: "-",
		   (long long)json_get_int(c, "pid", 0));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Both are sorted: what only one of them has was added or has gone. */
static void print_changes(const struct table *before, const struct table *now)
{
	size_t i = 0, j = 0;

	while (i < before->n || j < now->n) {
		int d = i == before->n ? 1
			: j == now->n  ? -1
				       : strcmp(before->cells[i], now->cells[j]);

		if (d < 0)
			printf("- %s\n", before->cells[i]);
		else if (d > 0)
			printf("+ %s\n", now->cells[j]);
		i += d <= 0;
		j += d >= 0;
	}
}

static void show_changes(struct list *l, struct json_object *containers)
{
	struct table now;

	table_init(&now, head_watch);
	for (size_t i = 0; i < json_object_array_length(containers); i++)
		add_line(&now, json_object_array_get_idx(containers, i));
	if (now.n)
		qsort(now.cells, now.n, sizeof(*now.cells), compare);
	print_changes(&l->seen, &now);
	table_free(&l->seen);
	l->seen = now;
}

static int show_table(struct list *l, const char *text, size_t len, bool *ret_continues,
		      struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	struct json_object *containers;
	int r = varlink_parse_reply(text, len, &params, ret_continues, err);

	if (r < 0)
		return r;
	containers = json_get(params, "containers", json_type_array);
	if (!containers)
		return error_set(err, EPROTO, "recapd's reply has no list of containers");
	if (l->watch && !isatty(STDOUT_FILENO)) {
		show_changes(l, containers);
		return 0;
	}
	if (l->watch)
		fputs("\033[H\033[J", stdout);
	print_table(l, containers);
	return 0;
}

static int show_json(const char *text, size_t len, bool *ret_continues, struct error *err)
{
	struct raw raw;
	int r = raw_reply(text, len, "containers", &raw, ret_continues, err);

	if (r == 0)
		raw_print(raw);
	return r;
}

static int run(const struct ctl *ctl, struct list *l, struct error *err)
{
	cleanup_varlink struct varlink v;
	bool continues = true;
	const char *text;
	size_t len;
	int r = varlink_connect(ctl->socket, &v, err);

	if (r == 0)
		r = varlink_call(&v, "io.recap.ListContainers", l->params, l->watch, NULL, 0, err);
	while (r == 0 && continues) {
		r = varlink_wait(&v, &text, &len, err);
		if (r == 0 && l->json)
			r = show_json(text, len, &continues, err);
		else if (r == 0)
			r = show_table(l, text, len, &continues, err);
		if (r == 0 && fflush(stdout))
			r = error_sys(err, errno, "cannot write to standard output");
	}
	return r;
}

int verb_list(struct ctl *ctl, int argc, char **argv)
{
	cleanup(list_free) struct list l = {.params = json_object_new_object()};
	const struct opt opts[] = {
		{'a', "all", NULL, "also what only shares traits with containers", opt_flag,
		 &l.all},
		{'j', "json", NULL, "an array of records", opt_flag, &l.json},
		{0, "watch", NULL, "stay, and show every change", opt_flag, &l.watch},
		{'l', "label", "KEY=VALUE", "only those with this label (repeatable)", opt_pair,
		 l.params, "labels"},
		{},
	};
	struct error err = {};
	int status, i = opt_parse(ctl, opts, false, argc, argv, &status);

	if (i < 0)
		return status;
	if (i < argc)
		return ctl_usage(ctl, "list takes no arguments: what is '%s' for?", argv[i]);
	if (l.all)
		json_put_bool(l.params, "all", true);
	if (run(ctl, &l, &err) < 0)
		return ctl_fail(ctl, &err);
	return CTL_OK;
}
