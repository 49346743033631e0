// SPDX-License-Identifier: MIT
#include "core/seccomp_profile.h"

#include <ctype.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "core/compact.h"

#define RULES_MAX      256 /* that look at arguments */
#define ENTRY_ARGS_MAX 16
#define NUMBERS	       1024 /* of system calls: more than any architecture has */

#if defined(__x86_64__)
#define ARCH_GO	    "amd64" /* as "arches" names it */
#define ARCH_NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH_GO	    "arm64"
#define ARCH_NATIVE AUDIT_ARCH_AARCH64
#endif

/* What is to happen with a call when all comparisons hold. */
struct rule {
	int nr;
	uint32_t action;
	unsigned int n;
	struct scmp_arg_cmp args[ENTRY_ARGS_MAX];
};

struct profile {
	uint64_t caps;
	uint32_t default_action;
	struct {
		bool set;
		uint32_t action;
	} calls[NUMBERS]; /* whatever their arguments */
	struct rule rules[RULES_MAX];
	unsigned int n_rules;
	struct error *err;
};

/* A place in the file, for errors: "syscalls[3].args[0]"; "" is the file itself. */
struct place {
	char text[96];
};

/* Members may have any name: what is shown is one line of plain text. */
static struct place inside(const struct place *at, const char *member)
{
	struct place p;

	snprintf(p.text, sizeof(p.text), "%.60s%s%.30s", at->text, *at->text ? "." : "", member);
	for (char *c = p.text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	return p;
}

static struct place element(const struct place *at, size_t i)
{
	struct place p;

	snprintf(p.text, sizeof(p.text), "%.70s[%zu]", at->text, i);
	return p;
}

static int bad(struct profile *p, const struct place *at, const char *what)
{
	return error_named(p->err, EINVAL, "InvalidArgument", "seccomp profile: %s %s",
			   *at->text ? at->text : "it", what);
}

/* ---- members of the right type ----------------------------------------------------------------- */

/* Nothing but what is known. `names`: separated and ended by spaces. */
static int check_members(struct profile *p, const struct place *at, struct json_object *o,
			 const char *names)
{
	if (!json_object_is_type(o, json_type_object))
		return bad(p, at, "must be an object");
	json_object_object_foreach (o, key, value) {
		struct place where = inside(at, key);
		size_t len = strlen(key);
		const char *found = strstr(names, key);

		(void)value;
		while (found && (!len || (found > names && found[-1] != ' ') || found[len] != ' '))
			found = len ? strstr(found + 1, key) : NULL;
		if (!found)
			return bad(p, &where, "is no member that a profile has there");
	}
	return 0;
}

/* Absent and null are the same: *ret is NULL then. */
static int member(struct profile *p, const struct place *at, struct json_object *o, const char *key,
		  enum json_type type, struct json_object **ret)
{
	struct place where = inside(at, key);
	char text[48];

	*ret = NULL;
	if (!json_object_object_get_ex(o, key, ret) || !*ret || json_object_is_type(*ret, type))
		return 0;
	snprintf(text, sizeof(text), "must be of type %s", json_type_to_name(type));
	return bad(p, &where, text);
}

/* A NUL inside would make a text that ends elsewhere for us than for others. */
static bool is_plain(struct json_object *v)
{
	return json_object_is_type(v, json_type_string) &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

static int string_member(struct profile *p, const struct place *at, struct json_object *o,
			 const char *key, const char **ret)
{
	struct place where = inside(at, key);
	struct json_object *v;
	int r = member(p, at, o, key, json_type_string, &v);

	if (r == 0 && v && !is_plain(v))
		r = bad(p, &where, "must be plain text");
	*ret = r == 0 && v ? json_object_get_string(v) : NULL;
	return r;
}

/* Calls `fn` for each string of an array, or for none where it is absent. */
static int each_string(struct profile *p, const struct place *at, struct json_object *o,
		       const char *key,
		       int (*fn)(struct profile *, const struct place *, const char *, void *),
		       void *arg)
{
	struct place list = inside(at, key);
	struct json_object *v;
	int r = member(p, at, o, key, json_type_array, &v);

	for (size_t i = 0; r == 0 && v && i < json_object_array_length(v); i++) {
		struct json_object *s = json_object_array_get_idx(v, i);
		struct place where = element(&list, i);

		if (!is_plain(s))
			return bad(p, &where, "must be a string");
		r = fn(p, &where, json_object_get_string(s), arg);
	}
	return r;
}

/* ---- actions ----------------------------------------------------------------------------------- */

/* Podman's way: a name, or a number as text. */
static int errno_of_name(const char *name)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);

	if (isdigit(*name) && !*end && n < 4096)
		return (int)n;
	for (int e = 1; e < 256; e++)
		if (strerrorname_np(e) && !strcmp(strerrorname_np(e), name))
			return e;
	return -1;
}

/* `number` and `name` are the members that can say which error; EPERM where none does, as with runc. */
static int get_errno(struct profile *p, const struct place *at, struct json_object *o,
		     const char *number, const char *name, bool *ret_given, int *ret)
{
	struct place at_number = inside(at, number), at_name = inside(at, name);
	struct json_object *v;
	const char *text;
	int r = member(p, at, o, number, json_type_int, &v);

	if (r == 0)
		r = string_member(p, at, o, name, &text);
	if (r < 0)
		return r;
	*ret_given = v || text;
	*ret = EPERM;
	if (v && (json_object_get_int64(v) < 0 || json_object_get_int64(v) > 4095))
		return bad(p, &at_number, "must be from 0 to 4095");
	if (text && (*ret = errno_of_name(text)) < 0)
		return bad(p, &at_name, "is not the name of an error");
	if (text && v && json_object_get_int64(v) != *ret)
		return bad(p, &at_name, "is another error than the number beside it");
	if (v)
		*ret = (int)json_object_get_int64(v);
	return 0;
}

static int get_action(struct profile *p, const struct place *at, struct json_object *o,
		      const char *key, const char *number, const char *name, uint32_t *ret)
{
	static const struct {
		const char *name;
		uint32_t action;
	} known[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
		{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
	};
	struct place where = inside(at, key);
	const char *text;
	size_t i = 0;
	bool given = false;
	int code = 0, r = string_member(p, at, o, key, &text);

	if (r == 0 && !text)
		r = bad(p, &where, "is missing");
	if (r == 0)
		r = get_errno(p, at, o, number, name, &given, &code);
	if (r < 0)
		return r;
	while (i < ARRAY_SIZE(known) && strcmp(known[i].name, text))
		i++;
	if (!strcmp(text, "SCMP_ACT_TRACE") || !strcmp(text, "SCMP_ACT_NOTIFY"))
		return bad(p, &where, "needs somebody who answers, and here is nobody");
	if (i == ARRAY_SIZE(known))
		return bad(p, &where, "is not an action");
	*ret = known[i].action;
	if (*ret == SCMP_ACT_ERRNO(0))
		*ret = SCMP_ACT_ERRNO(code);
	else if (given)
		return bad(p, &where, "takes no error number");
	return 0;
}

/* ---- includes and excludes --------------------------------------------------------------------- */

/* What a list says of this sandbox: how many it has, and how many of them are so. */
struct tally {
	size_t n, hits;
};

static int count_cap(struct profile *p, const struct place *at, const char *name, void *arg)
{
	struct tally *t = arg;
	cap_value_t cap;

	if (strncmp(name, "CAP_", 4))
		return bad(p, at, "is not a capability, such as CAP_SYS_ADMIN");
	/* One that this libcap does not know is one that nobody has. */
	t->n++;
	t->hits += cap_from_name(name, &cap) == 0 && p->caps >> cap & 1;
	return 0;
}

static int count_arch(struct profile *p, const struct place *at, const char *name, void *arg)
{
	struct tally *t = arg;

	t->n++;
	t->hits += !strcmp(name, ARCH_GO);
	return 0;
}

static bool parse_version(const char *text, unsigned int v[2])
{
	char *end;

	if (!isdigit(*text))
		return false;
	v[0] = strtoul(text, &end, 10);
	if (*end != '.' || !isdigit(end[1]))
		return false;
	v[1] = strtoul(end + 1, &end, 10);
	return true;
}

/* *ret: -1 where it is not asked for, else whether the kernel is that new. */
static int is_kernel(struct profile *p, const struct place *at, struct json_object *o, int *ret)
{
	struct place where = inside(at, "minKernel");
	unsigned int wanted[2], have[2];
	struct utsname name;
	const char *text;
	int r = string_member(p, at, o, "minKernel", &text);

	*ret = -1;
	if (r < 0 || !text)
		return r;
	if (!parse_version(text, wanted) || strspn(text, "0123456789.") != strlen(text))
		return bad(p, &where, "must be a version such as 4.8");
	if (uname(&name) < 0 || !parse_version(name.release, have))
		return bad(p, &where, "cannot be compared with this kernel");
	*ret = have[0] > wanted[0] || (have[0] == wanted[0] && have[1] >= wanted[1]);
	return 0;
}

struct condition {
	struct tally caps, arches;
	int kernel;
};

static int get_condition(struct profile *p, const struct place *at, struct json_object *o,
			 const char *key, struct condition *c)
{
	struct place where = inside(at, key);
	struct json_object *v;
	int r = member(p, at, o, key, json_type_object, &v);

	*c = (struct condition){.kernel = -1};
	if (r < 0 || !v)
		return r;
	r = check_members(p, &where, v, "caps arches minKernel ");
	if (r == 0)
		r = each_string(p, &where, v, "caps", count_cap, &c->caps);
	if (r == 0)
		r = each_string(p, &where, v, "arches", count_arch, &c->arches);
	return r < 0 ? r : is_kernel(p, &where, v, &c->kernel);
}

/* As Docker: all capabilities of "includes" are needed, and one of "excludes" is enough. */
static int applies(struct profile *p, const struct place *at, struct json_object *o, bool *ret)
{
	struct condition in, ex;
	int r = get_condition(p, at, o, "includes", &in);

	if (r == 0)
		r = get_condition(p, at, o, "excludes", &ex);
	if (r < 0)
		return r;
	*ret = in.caps.hits == in.caps.n && (!in.arches.n || in.arches.hits) && in.kernel != 0 &&
	       !ex.caps.hits && !ex.arches.hits && ex.kernel != 1;
	return 0;
}

/* ---- rules ------------------------------------------------------------------------------------- */

struct entry {
	uint32_t action;
	bool applies;
	bool apart; /* an argument is looked at twice: as with runc, each look is a rule of its own */
	struct scmp_arg_cmp args[ENTRY_ARGS_MAX];
	unsigned int n_args;
};

static int get_value(struct profile *p, const struct place *at, struct json_object *o,
		     const char *key, uint64_t *ret)
{
	struct place where = inside(at, key);
	struct json_object *v;
	int r = member(p, at, o, key, json_type_int, &v);

	if (r == 0 && v && json_object_get_int64(v) < 0)
		return bad(p, &where, "must not be negative");
	*ret = v ? json_object_get_uint64(v) : 0;
	return r;
}

static int get_op(struct profile *p, const struct place *at, struct json_object *o,
		  enum scmp_compare *ret)
{
	static const char *const names[] = {
		[SCMP_CMP_NE] = "SCMP_CMP_NE",
		[SCMP_CMP_LT] = "SCMP_CMP_LT",
		[SCMP_CMP_LE] = "SCMP_CMP_LE",
		[SCMP_CMP_EQ] = "SCMP_CMP_EQ",
		[SCMP_CMP_GE] = "SCMP_CMP_GE",
		[SCMP_CMP_GT] = "SCMP_CMP_GT",
		[SCMP_CMP_MASKED_EQ] = "SCMP_CMP_MASKED_EQ",
	};
	struct place where = inside(at, "op");
	const char *text;
	int r = string_member(p, at, o, "op", &text);

	for (size_t i = 0; r == 0 && text && i < ARRAY_SIZE(names); i++)
		if (names[i] && !strcmp(names[i], text)) {
			*ret = (enum scmp_compare)i;
			return 0;
		}
	return r < 0 ? r : bad(p, &where, text ? "is not a comparison" : "is missing");
}

static int get_arg(struct profile *p, const struct place *at, struct json_object *o,
		   struct entry *e)
{
	struct place where = inside(at, "index");
	struct scmp_arg_cmp *arg = &e->args[e->n_args];
	struct json_object *index;
	int r = check_members(p, at, o, "index value valueTwo op ");

	if (r == 0)
		r = member(p, at, o, "index", json_type_int, &index);
	if (r < 0)
		return r;
	if (!index || json_object_get_int64(index) < 0 || json_object_get_int64(index) > 5)
		return bad(p, &where, "must be from 0 to 5");
	arg->arg = json_object_get_int64(index);
	r = get_op(p, at, o, &arg->op);
	if (r == 0)
		r = get_value(p, at, o, "value", &arg->datum_a);
	if (r == 0)
		r = get_value(p, at, o, "valueTwo", &arg->datum_b);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < e->n_args; i++)
		e->apart |= e->args[i].arg == arg->arg;
	e->n_args++;
	return 0;
}

static int get_args(struct profile *p, const struct place *at, struct json_object *o,
		    struct entry *e)
{
	struct place list = inside(at, "args");
	struct json_object *v;
	int r = member(p, at, o, "args", json_type_array, &v);

	if (r == 0 && v && json_object_array_length(v) > ENTRY_ARGS_MAX)
		return bad(p, &list, "has too many comparisons");
	for (size_t i = 0; r == 0 && v && i < json_object_array_length(v); i++) {
		struct place where = element(&list, i);

		r = get_arg(p, &where, json_object_array_get_idx(v, i), e);
	}
	return r;
}

static int add_rule(struct profile *p, const struct place *at, const struct entry *e, int nr,
		    const struct scmp_arg_cmp *args, unsigned int n)
{
	struct rule *rule;

	if (p->n_rules == RULES_MAX)
		return bad(p, at, "is one rule too many that looks at arguments");
	rule = &p->rules[p->n_rules++];
	*rule = (struct rule){.nr = nr, .action = e->action, .n = n};
	memcpy(rule->args, args, n * sizeof(*args));
	return 0;
}

/* What this libseccomp or this architecture does not have is skipped, as runtimes do: it falls to the default action. */
static int add_call(struct profile *p, const struct place *at, const char *name, void *arg)
{
	const struct entry *e = arg;
	int r = 0, nr = seccomp_syscall_resolve_name(name);

	if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
		return bad(p, at, "is not the name of a system call");
	/* So do they with rules that say what the default says. */
	if (nr < 0 || nr >= NUMBERS || !e->applies || e->action == p->default_action)
		return 0;
	if (!e->n_args && !p->calls[nr].set) {
		p->calls[nr].set = true;
		p->calls[nr].action = e->action;
	}
	if (!e->apart)
		return e->n_args ? add_rule(p, at, e, nr, e->args, e->n_args) : 0;
	for (unsigned int i = 0; i < e->n_args && r == 0; i++)
		r = add_rule(p, at, e, nr, &e->args[i], 1);
	return r;
}

static int add_entry(struct profile *p, const struct place *at, struct json_object *o)
{
	struct entry e = {};
	const char *name, *comment;
	struct json_object *names;
	int r = check_members(p, at, o,
			      "name names action errnoRet errno args comment includes excludes ");

	if (r == 0)
		r = string_member(p, at, o, "comment", &comment);
	if (r == 0)
		r = get_action(p, at, o, "action", "errnoRet", "errno", &e.action);
	if (r == 0)
		r = applies(p, at, o, &e.applies);
	if (r == 0)
		r = get_args(p, at, o, &e);
	if (r == 0)
		r = string_member(p, at, o, "name", &name);
	if (r == 0)
		r = member(p, at, o, "names", json_type_array, &names);
	if (r < 0)
		return r;
	if (!names == !(name && *name))
		return bad(p, at, "needs either name or names");
	if (name && *name)
		r = add_call(p, at, name, &e);
	return r < 0 ? r : each_string(p, at, o, "names", add_call, &e);
}

static int add_entries(struct profile *p, struct json_object *o)
{
	const struct place top = {}, list = {"syscalls"};
	struct json_object *v;
	int r = member(p, &top, o, "syscalls", json_type_array, &v);

	for (size_t i = 0; r == 0 && v && i < json_object_array_length(v); i++) {
		struct place at = element(&list, i);

		r = add_entry(p, &at, json_object_array_get_idx(v, i));
	}
	return r;
}

/* ---- architectures ----------------------------------------------------------------------------- */

/*
 * None is added to the native one: capsules have no other programs, and every architecture is another way into the kernel. The names
 * are looked at all the same: some are newer than this libseccomp.
 */
static int check_arch(struct profile *p, const struct place *at, const char *name, void *arg)
{
	static const char prefix[] = "SCMP_ARCH_";
	size_t len = sizeof(prefix) - 1;

	if (strncmp(name, prefix, len) || !name[len] ||
	    strspn(name + len, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(name + len))
		return bad(p, at, "is not an architecture, such as SCMP_ARCH_X86_64");
	return 0;
}

static int check_mapped(struct profile *p, const struct place *at, struct json_object *o)
{
	struct place where = inside(at, "architecture");
	const char *name;
	int r = check_members(p, at, o, "architecture subArchitectures ");

	if (r == 0)
		r = string_member(p, at, o, "architecture", &name);
	if (r == 0)
		r = name ? check_arch(p, &where, name, NULL) : bad(p, &where, "is missing");
	return r < 0 ? r : each_string(p, at, o, "subArchitectures", check_arch, NULL);
}

/* OCI's "architectures" is a list of all; Docker's "archMap" has those that go with each. */
static int check_arches(struct profile *p, struct json_object *o)
{
	const struct place top = {}, list = {"archMap"};
	struct json_object *map, *all;
	int r = member(p, &top, o, "archMap", json_type_array, &map);

	if (r == 0)
		r = member(p, &top, o, "architectures", json_type_array, &all);
	if (r == 0 && map && all && json_object_array_length(map) && json_object_array_length(all))
		r = bad(p, &list, "and architectures exclude each other");
	for (size_t i = 0; r == 0 && map && i < json_object_array_length(map); i++) {
		struct place at = element(&list, i);

		r = check_mapped(p, &at, json_object_array_get_idx(map, i));
	}
	return r < 0 ? r : each_string(p, &top, o, "architectures", check_arch, NULL);
}

/* ---- the file ---------------------------------------------------------------------------------- */

/* How the runtime is to install the filter. None of it is ours to do: it is installed by the one thread that it is for. */
static int check_flag(struct profile *p, const struct place *at, const char *name, void *arg)
{
	static const char *const known[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
					    "SECCOMP_FILTER_FLAG_SPEC_ALLOW"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i]))
			return 0;
	return bad(p, at, "is not a flag that is known");
}

static int check_rest(struct profile *p, struct json_object *o)
{
	const struct place top = {}, listener = {"listenerPath"};
	const char *path, *data;
	int r = string_member(p, &top, o, "listenerPath", &path);

	if (r == 0)
		r = string_member(p, &top, o, "listenerMetadata", &data);
	if (r < 0)
		return r;
	if ((path && *path) || (data && *data))
		return bad(p, &listener, "is refused: no notifier is asked");
	return each_string(p, &top, o, "flags", check_flag, NULL);
}

static int read_profile(struct profile *p, struct json_object *o)
{
	const struct place top = {};
	int r = check_members(p, &top, o,
			      "defaultAction defaultErrnoRet defaultErrno archMap architectures "
			      "syscalls flags listenerPath listenerMetadata ");

	if (r == 0)
		r = check_rest(p, o);
	if (r == 0)
		r = get_action(p, &top, o, "defaultAction", "defaultErrnoRet", "defaultErrno",
			       &p->default_action);
	if (r < 0)
		return r;
	r = check_arches(p, o);
	return r < 0 ? r : add_entries(p, o);
}

/* ---- the program ------------------------------------------------------------------------------- */

struct program {
	struct sock_filter insns[BPF_MAXINSNS];
	size_t len;
	bool full;
};

static void put(struct program *out, struct sock_filter insn)
{
	if (out->len < BPF_MAXINSNS)
		out->insns[out->len++] = insn;
	else
		out->full = true;
}

static void put_load(struct program *out, size_t offset)
{
	put(out, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

static void put_jump(struct program *out, int op, uint32_t k, int jt, int jf)
{
	put(out, (struct sock_filter)BPF_JUMP(BPF_JMP | op | BPF_K, k, jt, jf));
}

static void put_return(struct program *out, uint32_t action)
{
	put(out, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

#define FAIL 0xff /* where to go is known at the rule's end: no jump within a rule is so far */

/* Falls through when it holds. Both supported architectures are little-endian: the upper half comes second. */
static void put_comparison(struct program *out, const struct scmp_arg_cmp *c)
{
	size_t low = offsetof(struct seccomp_data, args) + 8 * c->arg;
	uint64_t value = c->op == SCMP_CMP_MASKED_EQ ? c->datum_b : c->datum_a;
	bool less = c->op == SCMP_CMP_LT || c->op == SCMP_CMP_LE;
	bool more = c->op == SCMP_CMP_GT || c->op == SCMP_CMP_GE;
	bool jge = c->op == SCMP_CMP_LT || c->op == SCMP_CMP_GE;

	put_load(out, low + 4);
	if (c->op == SCMP_CMP_MASKED_EQ)
		put(out, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, c->datum_a >> 32));
	/* The upper half alone may decide. */
	if (less)
		put_jump(out, BPF_JGT, value >> 32, FAIL, 0);
	if (more)
		put_jump(out, BPF_JGT, value >> 32, 3, 0);
	put_jump(out, BPF_JEQ, value >> 32, 0, less || c->op == SCMP_CMP_NE ? 2 : FAIL);
	put_load(out, low);
	if (c->op == SCMP_CMP_MASKED_EQ)
		put(out,
		    (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (uint32_t)c->datum_a));
	if (less || more)
		put_jump(out, jge ? BPF_JGE : BPF_JGT, (uint32_t)value, less ? FAIL : 0,
			 less ? 0 : FAIL);
	else
		put_jump(out, BPF_JEQ, (uint32_t)value, c->op == SCMP_CMP_NE ? FAIL : 0,
			 c->op == SCMP_CMP_NE ? 0 : FAIL);
}

static void put_rule(struct program *out, const struct rule *rule)
{
	size_t start = out->len;

	for (unsigned int i = 0; i < rule->n; i++)
		put_comparison(out, &rule->args[i]);
	put_return(out, rule->action);
	for (size_t i = start; i < out->len; i++) {
		struct sock_filter *insn = &out->insns[i];

		if (BPF_CLASS(insn->code) != BPF_JMP)
			continue;
		insn->jt = insn->jt == FAIL ? out->len - i - 1 : insn->jt;
		insn->jf = insn->jf == FAIL ? out->len - i - 1 : insn->jf;
	}
}

/*
 * All rules of the first one's call, in the file's order; the number is loaded. libseccomp would make a tree of them, which takes it
 * seconds for 20 rules of a hostile file, and no end for some: so these are not given to it. A list is as long as the file.
 */
static void put_rules(struct program *out, const struct profile *p, const struct rule *first)
{
	size_t over;

	put_jump(out, BPF_JEQ, (uint32_t)first->nr, 1, 0);
	over = out->len;
	put(out, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
	for (const struct rule *rule = first; rule < p->rules + p->n_rules; rule++)
		if (rule->nr == first->nr)
			put_rule(out, rule);
	put_return(out, p->default_action);
	if (!out->full)
		out->insns[over].k = out->len - over - 1;
}

/* A call that has a rule whatever its arguments needs no other: so says libseccomp, too. */
static bool is_first(const struct profile *p, const struct rule *rule)
{
	if (p->calls[rule->nr].set)
		return false;
	for (const struct rule *before = p->rules; before < rule; before++)
		if (before->nr == rule->nr)
			return false;
	return true;
}

/* What depends on the number alone, by libseccomp, and then shorter. */
static int compile_calls(const struct profile *p, struct sock_fprog *ret)
{
	struct sock_filter other[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD)};
	const struct sock_fprog others = {.len = 1, .filter = other};
	scmp_filter_ctx ctx = seccomp_init(p->default_action);
	struct sock_fprog full = {};
	int r = ctx ? 0 : -ENOMEM;

	for (int nr = 0; nr < NUMBERS && r == 0; nr++)
		if (p->calls[nr].set)
			r = seccomp_rule_add(ctx, p->calls[nr].action, nr, 0);
	if (r == 0)
		r = compact_export(ctx, &full);
	if (r == 0)
		r = compact_filter(&full, &others, ARCH_NATIVE, ret);
	/* Many small ranges: as libseccomp has it. */
	if (r == -E2BIG && full.filter) {
		*ret = full;
		full.filter = NULL;
		r = 0;
	}
	free(full.filter);
	if (ctx)
		seccomp_release(ctx);
	return r;
}

static int compile(const struct profile *p, struct program *out)
{
	struct sock_fprog calls = {};
	int r = compile_calls(p, &calls);

	if (r < 0)
		return r;
	put_load(out, offsetof(struct seccomp_data, arch));
	put_jump(out, BPF_JEQ, ARCH_NATIVE, 1, 0);
	put_return(out, SECCOMP_RET_KILL_THREAD);
	put_load(out, offsetof(struct seccomp_data, nr));
	for (const struct rule *rule = p->rules; rule < p->rules + p->n_rules; rule++)
		if (is_first(p, rule))
			put_rules(out, p, rule);
	for (size_t i = 0; i < calls.len; i++)
		put(out, calls.filter[i]);
	free(calls.filter);
	return out->full ? -E2BIG : 0;
}

/* Without execve(2) there is no tool. What is looked at with arguments is for the kernel to say. */
static bool can_start(const struct sock_fprog *filter)
{
	const struct seccomp_data data = {.nr = SYS_execve, .arch = ARCH_NATIVE};
	bool args;
	unsigned int action = compact_run(filter, &data, &args);

	return args || action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

static int finish(const struct profile *p, struct program *out, struct sock_fprog *ret)
{
	struct sock_fprog prog = {.filter = out->insns};
	struct error *err = p->err;
	int r = compile(p, out);

	if (r == -E2BIG)
		return error_named(err, EINVAL, "InvalidArgument",
				   "seccomp profile: it is too long for the kernel");
	if (r < 0)
		return error_sys(err, -r, "cannot compile the seccomp profile");
	prog.len = out->len;
	if (!can_start(&prog))
		return error_named(
			err, EINVAL, "InvalidArgument",
			"seccomp profile: it refuses execve, without which no tool starts");
	ret->filter = malloc(out->len * sizeof(*out->insns));
	if (!ret->filter)
		return error_set(err, ENOMEM, "out of memory");
	memcpy(ret->filter, out->insns, out->len * sizeof(*out->insns));
	ret->len = out->len;
	return 0;
}

int seccomp_profile_compile(const char *text, size_t len, uint64_t caps, struct sock_fprog *ret,
			    struct error *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free struct profile *p = calloc(1, sizeof(*p));
	cleanup_free struct program *out = calloc(1, sizeof(*out));
	int r;

	if (!p || !out)
		return error_set(err, ENOMEM, "out of memory");
	if (len > SECCOMP_PROFILE_MAX)
		return error_named(err, EINVAL, "InvalidArgument",
				   "the seccomp profile is larger than %d bytes",
				   SECCOMP_PROFILE_MAX);
	p->caps = caps;
	p->err = err;
	r = json_parse_hostile(text, len, "seccomp profile", &o, err);
	if (r < 0 && err)
		snprintf(err->name, sizeof(err->name), "InvalidArgument");
	if (r == 0)
		r = read_profile(p, o);
	return r < 0 ? r : finish(p, out, ret);
}
