// SPDX-License-Identifier: MIT
#include "core/inventory.h"

#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "core/record.h"
#include "core/target.h"

/* A runtime may write its record a moment after the entrypoint's exec: ask again, this often and for this long. */
#define META_RETRY_NS	(20 * 1000000ull)
#define META_SETTLED_NS (5 * 1000000000ull)

struct entry {
	uint64_t id;
	struct recap_container c;
	struct container_meta *meta; /* labels are dropped once the record is rendered */
	char *json;
	uint64_t meta_ns; /* when meta was read */
	bool seen;	  /* during a sync */
};

struct inventory {
	struct track *track;
	const struct runtime_paths *paths;
	struct entry **entries; /* sorted by name for people, so by nothing for us */
	size_t n, room;
	bool sorted;
};

int inventory_new(struct track *track, const struct runtime_paths *paths, struct inventory **ret,
		  struct error *err)
{
	struct inventory *inv = calloc(1, sizeof(*inv));
	int r;

	if (!inv)
		return error_set(err, ENOMEM, "out of memory");
	inv->track = track;
	inv->paths = paths;
	r = inventory_sync(inv, err);
	if (r < 0) {
		inventory_free(inv);
		return r;
	}
	*ret = inv;
	return 0;
}

static void entry_free(struct entry *e)
{
	if (!e)
		return;
	container_meta_free(e->meta);
	free(e->json);
	free(e);
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	for (size_t i = 0; i < inv->n; i++)
		entry_free(inv->entries[i]);
	free(inv->entries);
	free(inv);
}

/* ---- one entry --------------------------------------------------------------------------------- */

static struct json_object *namespaces_json(const struct recap_namespaces *n)
{
	struct json_object *o = json_object_new_object();

	json_put_int(o, "mnt", n->mnt);
	json_put_int(o, "pid", n->pid);
	json_put_int(o, "net", n->net);
	json_put_int(o, "ipc", n->ipc);
	json_put_int(o, "uts", n->uts);
	json_put_int(o, "user", n->user);
	json_put_int(o, "cgroup", n->cgroup);
	json_put_int(o, "time", n->time);
	return o;
}

/* The kernel's marks find containers of any runtime; a runtime's own record beats them, either way. */
static bool is_container(const struct entry *e)
{
	if (e->meta->helper)
		return false;
	return e->c.kind == RECAP_KIND_CONTAINER || strcmp(e->meta->runtime, "unknown");
}

static void entry_render(struct entry *e)
{
	cleanup_json struct json_object *o = json_object_new_object();
	const struct container_meta *m = e->meta;

	json_put_str(o, "id", m->id);
	json_put_str(o, "name", m->name);
	json_put_str(o, "runtime", m->runtime);
	json_put_str(o, "image", m->image);
	if (m->labels)
		json_put_obj(o, "labels", json_object_get(m->labels));
	json_put_str(o, "kind", is_container(e) ? "container" : "sandbox");
	json_put_str(o, "state", e->c.state == RECAP_CONTAINER_EXITING ? "exiting" : "running");
	json_put_int(o, "pid", e->c.pid);
	record_put_time(o, "started_at", e->c.start_ns);
	json_put_str(o, "cgroup", m->cgroup ? m->cgroup : "");
	json_put_obj(o, "namespaces", namespaces_json(&e->c.namespaces));
	if (m->pod_name) {
		struct json_object *pod = json_object_new_object();

		json_put_str(pod, "namespace", m->pod_namespace ? m->pod_namespace : "");
		json_put_str(pod, "name", m->pod_name);
		json_put_str(pod, "container", m->pod_container);
		json_put_obj(o, "pod", pod);
	}
	free(e->json);
	e->json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Read what the runtime says. -ESRCH: the container has gone meanwhile. */
static int entry_read_meta(struct inventory *inv, struct entry *e, struct error *err)
{
	cleanup_meta struct container_meta *meta = NULL;
	cleanup_fd int proc = -1;
	int r = target_open_proc(&e->c, &proc);

	if (r == 0)
		r = container_meta_read(inv->paths, proc, e->c.pid, e->c.start_ns, &meta, err);
	if (r < 0) {
		if (r != -ESRCH)
			track_count(inv->track, "metadata_failed");
		return r;
	}
	container_meta_free(e->meta);
	e->meta = TAKE_PTR(meta);
	e->meta_ns = clock_boot_ns();
	entry_render(e);
	inv->sorted = false;
	return e->json ? 0 : -ENOMEM;
}

/* Not known to any runtime, and so young that its runtime may not have written it down yet. */
static bool entry_unsettled(const struct entry *e)
{
	return !strcmp(e->meta->runtime, "unknown") &&
	       e->meta_ns - e->c.seen_ns < META_SETTLED_NS &&
	       clock_boot_ns() - e->meta_ns > META_RETRY_NS;
}

static struct entry *entry_find(struct inventory *inv, uint64_t id)
{
	for (size_t i = 0; i < inv->n; i++)
		if (inv->entries[i]->id == id)
			return inv->entries[i];
	return NULL;
}

static void entry_remove(struct inventory *inv, uint64_t id)
{
	for (size_t i = 0; i < inv->n; i++) {
		if (inv->entries[i]->id != id)
			continue;
		entry_free(inv->entries[i]);
		memmove(inv->entries + i, inv->entries + i + 1,
			(inv->n - i - 1) * sizeof(*inv->entries));
		inv->n--;
		return;
	}
}

static int entry_add(struct inventory *inv, uint64_t id, const struct recap_container *c,
		     struct error *err)
{
	struct entry *e;
	int r;

	if (inv->n == inv->room) {
		size_t room = inv->room ? inv->room * 2 : 64;
		struct entry **p = realloc(inv->entries, room * sizeof(*p));

		if (!p)
			return error_set(err, ENOMEM, "out of memory");
		inv->entries = p;
		inv->room = room;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return error_set(err, ENOMEM, "out of memory");
	e->id = id;
	e->c = *c;
	e->seen = true;
	r = entry_read_meta(inv, e, err);
	if (r < 0) {
		entry_free(e);
		return r;
	}
	inv->entries[inv->n++] = e;
	return 0;
}

/* Bring one entry in line with what the map says of it. */
static int entry_update(struct inventory *inv, struct entry *e, const struct recap_container *c,
			struct error *err)
{
	bool changed = memcmp(&e->c, c, sizeof(*c)) != 0;

	e->seen = true;
	e->c = *c;
	/* An init that executes another program, or a record that was not there yet: ask the runtime again. */
	if (changed || entry_unsettled(e))
		return entry_read_meta(inv, e, err);
	return 0;
}

void inventory_touch(struct inventory *inv, uint64_t id)
{
	struct entry *e = entry_find(inv, id);
	struct recap_container c;
	struct error err;
	int r;

	if (track_container(inv->track, id, &c) < 0) {
		entry_remove(inv, id);
		return;
	}
	r = e ? entry_update(inv, e, &c, &err) : entry_add(inv, id, &c, &err);
	/* Gone meanwhile: its own hint is on the way. Out of memory: the next list tries again. */
	if (r < 0 && e)
		entry_remove(inv, id);
}

static int by_id(const void *a, const void *b)
{
	const struct track_container *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Order of creation: the keys only grow. Then known entries are met one after the other. */
static int entry_by_id(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void drop_unseen(struct inventory *inv)
{
	size_t n = 0;

	for (size_t i = 0; i < inv->n; i++) {
		if (inv->entries[i]->seen)
			inv->entries[n++] = inv->entries[i];
		else
			entry_free(inv->entries[i]);
	}
	inv->n = n;
}

int inventory_sync(struct inventory *inv, struct error *err)
{
	cleanup_free struct track_container *list = NULL;
	size_t n, known = inv->n, at = 0;
	int r = track_containers(inv->track, &list, &n);

	if (r < 0)
		return error_sys(err, -r, "cannot read the map of containers");
	qsort(list, n, sizeof(*list), by_id);
	if (known)
		qsort(inv->entries, known, sizeof(*inv->entries), entry_by_id);
	inv->sorted = false;
	for (size_t i = 0; i < known; i++)
		inv->entries[i]->seen = false;
	/* Both in the order of keys: a merge. What fails has gone while we looked, or is tried again by the next list. */
	for (size_t i = 0; i < n; i++) {
		struct error ignored;

		while (at < known && inv->entries[at]->id < list[i].id)
			at++;
		if (at < known && inv->entries[at]->id == list[i].id) {
			if (entry_update(inv, inv->entries[at], &list[i].c, &ignored) < 0)
				inv->entries[at]->seen = false;
		} else if (entry_add(inv, list[i].id, &list[i].c, &ignored) < 0) {
			continue;
		}
	}
	drop_unseen(inv);
	return 0;
}

bool inventory_has(struct inventory *inv, uint64_t id)
{
	struct recap_container c;

	return track_container(inv->track, id, &c) == 0;
}

const char *inventory_json(struct inventory *inv, uint64_t id)
{
	struct entry *e;

	inventory_touch(inv, id);
	e = entry_find(inv, id);
	return e ? e->json : NULL;
}

size_t inventory_count(const struct inventory *inv)
{
	size_t n = 0;

	for (size_t i = 0; i < inv->n; i++)
		n += is_container(inv->entries[i]);
	return n;
}

/* ---- finding ----------------------------------------------------------------------------------- */

/*
 * How well an entry fits what was asked for; the best rank that anything reaches decides. A container that no runtime vouches for
 * may have chosen its own name: it never stands in the way of one that is known.
 */
enum rank {
	RANK_NONE,
	RANK_SANDBOX_PREFIX,
	RANK_SANDBOX,
	RANK_UNKNOWN_PREFIX,
	RANK_UNKNOWN,
	RANK_PREFIX,
	RANK_EXACT,
};

/* What was asked for; of `pid:N` also the mount namespace that process N is in now, or 0. */
struct wanted {
	const char *text;
	uint32_t mnt;
};

static uint32_t mnt_of_pid(const char *pid)
{
	char path[64];
	struct stat st;

	if (!*pid || strspn(pid, "0123456789") != strlen(pid) ||
	    snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid) >= (int)sizeof(path))
		return 0;
	return stat(path, &st) == 0 ? (uint32_t)st.st_ino : 0;
}

/* Any process of a container stands for it; its init does so in another's mount namespace, too. */
static enum rank rank_pid(const struct entry *e, const struct wanted *w)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%u", e->c.pid);
	if (!strcmp(pid, w->text + strlen("pid:")))
		return RANK_EXACT;
	return w->mnt && w->mnt == e->c.namespaces.mnt ? RANK_PREFIX : RANK_NONE;
}

/* NAMESPACE/POD[/CONTAINER] */
static bool match_pod(const struct entry *e, const char *text)
{
	const struct container_meta *m = e->meta;
	char full[1024];

	if (!m->pod_name || m->helper)
		return false;
	snprintf(full, sizeof(full), "%s/%s", m->pod_namespace ? m->pod_namespace : "",
		 m->pod_name);
	if (!strcmp(full, text))
		return true;
	snprintf(full, sizeof(full), "%s/%s/%s", m->pod_namespace ? m->pod_namespace : "",
		 m->pod_name, m->pod_container ? m->pod_container : m->name);
	return !strcmp(full, text);
}

static enum rank rank_name(const struct entry *e, const char *text)
{
	const struct container_meta *m = e->meta;
	size_t len = strlen(m->runtime);
	bool exact = !strcmp(m->name, text) || !strcmp(m->id, text);
	bool prefix = !strncmp(m->id, text, strlen(text));

	if (!strncmp(text, m->runtime, len) && text[len] == ':') {
		const char *name = text + len + 1;

		exact |= !strcmp(m->name, name) || !strcmp(m->id, name);
		prefix |= *name && !strncmp(m->id, name, strlen(name));
	}
	if (!exact && !prefix)
		return RANK_NONE;
	if (!is_container(e))
		return exact ? RANK_SANDBOX : RANK_SANDBOX_PREFIX;
	if (!strcmp(m->runtime, "unknown"))
		return exact ? RANK_UNKNOWN : RANK_UNKNOWN_PREFIX;
	return exact ? RANK_EXACT : RANK_PREFIX;
}

static enum rank rank(const struct entry *e, const struct wanted *w)
{
	if (!strncmp(w->text, "pid:", 4))
		return rank_pid(e, w);
	if (!strncmp(w->text, "pod/", 4))
		return match_pod(e, w->text + 4) ? RANK_EXACT : RANK_NONE;
	return rank_name(e, w->text);
}

void target_name_clear(struct target_name *n)
{
	free(n->container_id);
	free(n->name);
	free(n->runtime);
	memset(n, 0, sizeof(*n));
}

/* "docker:web (ID 3f2a81bc0d12, PID 4711)" for each of the best. */
static void describe(struct inventory *inv, const struct wanted *w, enum rank best, char *buf,
		     size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < inv->n; i++) {
		const struct entry *e = inv->entries[i];
		char one[512];

		if (rank(e, w) != best)
			continue;
		snprintf(one, sizeof(one), "%s:%s (ID %.12s, PID %u)", e->meta->runtime,
			 e->meta->name, e->meta->id, e->c.pid);
		if (len < size)
			len += snprintf(buf + len, size - len, "%s%s", len ? ", " : "", one);
	}
}

static int ambiguous(struct inventory *inv, const struct wanted *w, enum rank best,
		     struct error *err)
{
	char list[300];

	describe(inv, w, best, list, sizeof(list));
	return error_named(err, ENOTUNIQ, "TargetAmbiguous",
			   "%s is ambiguous, name one as RUNTIME:NAME, by ID or as pid:N: %s",
			   w->text, list);
}

static int copy_name(const struct entry *e, struct target_name *ret)
{
	struct target_name n = {
		.id = e->id,
		.pid = (pid_t)e->c.pid,
		.started_ns = e->c.start_ns,
		.container_id = strdup(e->meta->id),
		.name = strdup(e->meta->name),
		.runtime = strdup(e->meta->runtime),
	};

	if (!n.container_id || !n.name || !n.runtime) {
		target_name_clear(&n);
		return -ENOMEM;
	}
	*ret = n;
	return 0;
}

int inventory_find(struct inventory *inv, const char *text, struct target_name *ret,
		   struct error *err)
{
	bool by_pid = !strncmp(text, "pid:", 4);
	const struct wanted wanted = {text, by_pid ? mnt_of_pid(text + 4) : 0};
	const struct entry *found = NULL;
	enum rank best = RANK_NONE;
	size_t n = 0;
	int r;

	if (!*text)
		return error_named(err, EINVAL, "InvalidArgument", "the target's name is empty");
	for (size_t i = 0; i < inv->n; i++) {
		enum rank got = rank(inv->entries[i], &wanted);

		if (got > best) {
			best = got;
			n = 0;
		}
		if (got != RANK_NONE && got == best && ++n == 1)
			found = inv->entries[i];
	}
	if (!found && by_pid)
		return error_named(err, ENOENT, "TargetNotFound",
				   "no container has a process %s; `recapctl list` shows what runs",
				   text + 4);
	if (!found)
		return error_named(err, ENOENT, "TargetNotFound",
				   "no container is called %s; `recapctl list` shows what runs",
				   text);
	if (n > 1)
		return ambiguous(inv, &wanted, best, err);
	r = copy_name(found, ret);
	return r < 0 ? error_set(err, ENOMEM, "out of memory") : 0;
}

/* ---- listing ----------------------------------------------------------------------------------- */

static int entry_by_name(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	int d = strcmp(x->meta->name, y->meta->name);

	return d ? d : entry_by_id(a, b);
}

static bool has_labels(const struct entry *e, char *const *labels)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *have;

	if (!labels || !*labels)
		return true;
	if (json_parse(e->json, strlen(e->json), "record", &o, NULL) < 0)
		return false;
	have = json_get(o, "labels", json_type_object);
	for (; *labels; labels++) {
		const char *eq = strchr(*labels, '=');
		cleanup_free char *key = eq ? strndup(*labels, eq - *labels) : strdup(*labels);
		const char *value = key ? json_get_str(have, key) : NULL;

		if (!value || (eq && strcmp(value, eq + 1)))
			return false;
	}
	return true;
}

int inventory_list(struct inventory *inv, bool all, char *const *labels, inventory_keep_fn keep,
		   void *arg, char **ret, size_t *ret_len, struct error *err)
{
	cleanup_free char *buf = NULL;
	size_t len = 0;
	cleanup_file FILE *f = open_memstream(&buf, &len);
	bool first = true;

	if (!f)
		return error_set(err, ENOMEM, "out of memory");
	if (!inv->sorted && inv->n)
		qsort(inv->entries, inv->n, sizeof(*inv->entries), entry_by_name);
	inv->sorted = true;
	fputc('[', f);
	for (size_t i = 0; i < inv->n; i++) {
		const struct entry *e = inv->entries[i];

		if ((!all && !is_container(e)) || !has_labels(e, labels) || !keep(e->json, arg))
			continue;
		if (!first)
			fputc(',', f);
		fputs(e->json, f);
		first = false;
	}
	fputc(']', f);
	/* The stream owns the buffer until it is closed. */
	if (fclose(TAKE_PTR(f)) != 0)
		return error_set(err, ENOMEM, "out of memory");
	*ret = TAKE_PTR(buf);
	*ret_len = len;
	return 0;
}
