// SPDX-License-Identifier: MIT
#include "core/sandbox.h"

#include <ctype.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "core/compact.h"
#include "core/seccomp_profile.h"
#include "core/syscalls.h"

#define CAP_BIT(c) (1ull << (c))

#if defined(__x86_64__)
#define ARCH_NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH_NATIVE AUDIT_ARCH_AARCH64
#else
#error "name this architecture's AUDIT_ARCH_ here"
#endif

/* Docker's default without SETPCAP, SYS_CHROOT, MKNOD, AUDIT_WRITE and SETFCAP. */
#define CAPS_DEFAULT                                                                           \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER) |                \
	 CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_KILL) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETUID) | \
	 CAP_BIT(CAP_NET_BIND_SERVICE) | CAP_BIT(CAP_NET_RAW))

/* ---- capabilities ------------------------------------------------------------------------------ */

static int cap_bit(const char *name, uint64_t *ret, struct error *err)
{
	char full[40];
	cap_value_t cap;
	const char *prefix = strncasecmp(name, "cap_", 4) ? "cap_" : "";

	if (snprintf(full, sizeof(full), "%s%s", prefix, name) >= (int)sizeof(full) ||
	    cap_from_name(full, &cap) < 0)
		return error_named(err, EINVAL, "InvalidArgument",
				   "%s is not a capability; capabilities(7) lists them", name);
	*ret = CAP_BIT(cap);
	return 0;
}

void sandbox_cap_name(int cap, char ret[static SANDBOX_CAP_NAME])
{
	char *name = cap_to_name(cap);

	if (name && !strncmp(name, "cap_", 4))
		snprintf(ret, SANDBOX_CAP_NAME, "%s", name + 4);
	else
		snprintf(ret, SANDBOX_CAP_NAME, "%d", cap);
	if (name)
		cap_free(name);
	for (char *p = ret; *p; p++)
		*p = (char)toupper((unsigned char)*p);
}

static int parse_caps(char *const *add, char *const *drop, struct sandbox *s, struct error *err)
{
	uint64_t bit;

	s->caps = CAPS_DEFAULT;
	s->added = 0;
	for (; drop && *drop; drop++) {
		if (!strcasecmp(*drop, "all"))
			bit = ~0ull;
		else if (cap_bit(*drop, &bit, err) < 0)
			return -EINVAL;
		s->caps &= ~bit;
	}
	for (; add && *add; add++) {
		if (cap_bit(*add, &bit, err) < 0)
			return -EINVAL;
		s->caps |= bit;
		s->added |= bit;
	}
	return 0;
}

/* ---- seccomp ----------------------------------------------------------------------------------- */

/* What the capabilities of a run unlock, or its profile; each combination is a filter of its own, made when first asked for. */
enum {
	UNLOCK_PTRACE = 1,
	UNLOCK_ADMIN = 2,
	UNLOCK_CHROOT = 4,
	UNLOCK_TIME = 8,
	UNLOCK_NET = 16,
	UNLOCK_VARIANTS = 32,
};

static unsigned int unlocks(const struct sandbox *s)
{
	static const struct {
		int cap;
		unsigned int unlock;
	} all[] = {{CAP_SYS_PTRACE, UNLOCK_PTRACE},
		   {CAP_SYS_ADMIN, UNLOCK_ADMIN},
		   {CAP_SYS_CHROOT, UNLOCK_CHROOT},
		   {CAP_SYS_TIME, UNLOCK_TIME},
		   {CAP_NET_ADMIN, UNLOCK_NET}};
	unsigned int unlock = s->seccomp == SANDBOX_PTRACE ? UNLOCK_PTRACE
			      : s->seccomp == SANDBOX_NET  ? UNLOCK_NET
							   : 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (s->caps & CAP_BIT(all[i].cap))
			unlock |= all[i].unlock;
	return unlock;
}

/* The combinations that are asked for: their filters are made ahead. */
static const unsigned int unlocking[] = {0, UNLOCK_PTRACE, UNLOCK_ADMIN, UNLOCK_NET,
					 UNLOCK_PTRACE | UNLOCK_ADMIN};

/* Names that this libseccomp does not know yet stay with the default action, which tells the tool ENOSYS. */
static int rules(scmp_filter_ctx ctx, uint32_t action, const char *const *names)
{
	for (; *names; names++) {
		int nr = seccomp_syscall_resolve_name(*names);
		int r = nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(ctx, action, nr, 0);

		if (r < 0 && r != -EACCES && r != -EEXIST)
			return r;
	}
	return 0;
}

/*
 * Families that tools use. The others are seldom needed, seldom looked at, and make the kernel load modules: AF_VSOCK reaches past
 * all namespaces, AF_ALG and many old protocols have been ways into the kernel. Numbers beyond the last one that is listed here
 * are refused whatever they come to mean, also those that only the upper half of the argument tells apart.
 */
static int socket_rules(scmp_filter_ctx ctx, unsigned int unlock)
{
	static const bool known[] = {
		[AF_UNIX] = 1, [AF_INET] = 1, [AF_INET6] = 1, [AF_NETLINK] = 1, [AF_PACKET] = 1};
	const uint32_t refused = SCMP_ACT_ERRNO(EAFNOSUPPORT);
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known) && r >= 0; i++)
		if (i != AF_NETLINK || unlock & UNLOCK_NET)
			r = seccomp_rule_add(ctx, known[i] ? SCMP_ACT_ALLOW : refused,
					     SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, i));
	if (r >= 0)
		r = seccomp_rule_add(ctx, refused, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_GT, ARRAY_SIZE(known) - 1));
	if (r >= 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	return r < 0 ? r
		     : seccomp_rule_add(ctx, refused, SCMP_SYS(socketpair), 1,
					SCMP_A0(SCMP_CMP_NE, AF_UNIX));
}

/* Of netlink what ip(8) and ss(8) ask. Who may change the network has the rest: nftables, IPsec, generic netlink. */
static int netlink_rules(scmp_filter_ctx ctx)
{
	static const bool known[] = {[NETLINK_ROUTE] = 1, [NETLINK_SOCK_DIAG] = 1};
	const uint32_t refused = SCMP_ACT_ERRNO(EPROTONOSUPPORT);
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known) && r >= 0; i++)
		r = seccomp_rule_add(ctx, known[i] ? SCMP_ACT_ALLOW : refused, SCMP_SYS(socket), 2,
				     SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, i));
	return r < 0 ? r
		     : seccomp_rule_add(ctx, refused, SCMP_SYS(socket), 2,
					SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
					SCMP_A2(SCMP_CMP_GT, ARRAY_SIZE(known) - 1));
}

/* System calls that are allowed for some arguments only. */
static int argument_rules(scmp_filter_ctx ctx, unsigned int unlock)
{
	static const uint64_t personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xffffffff};
	const uint64_t ns = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
			    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	int r;

	if (unlock & UNLOCK_ADMIN)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 0);
	else
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, ns, 0));
	/* Limits of one's own, not of the target's processes. */
	if (r >= 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
				     SCMP_A0(SCMP_CMP_EQ, 0));
	if (r >= 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1,
				     SCMP_A0(SCMP_CMP_NE, 0));
	for (size_t i = 0; i < ARRAY_SIZE(personalities) && r >= 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
				     SCMP_A0(SCMP_CMP_EQ, personalities[i]));
	if (r >= 0)
		r = socket_rules(ctx, unlock);
	return r < 0 || unlock & UNLOCK_NET ? r : netlink_rules(ctx);
}

static int default_rules(scmp_filter_ctx ctx, unsigned int unlock)
{
	static const struct {
		unsigned int unlock;
		const char *const *names;
	} extra[] = {{UNLOCK_PTRACE, syscalls_ptrace},
		     {UNLOCK_ADMIN, syscalls_admin},
		     {UNLOCK_CHROOT, syscalls_chroot},
		     {UNLOCK_TIME, syscalls_time}};
	int r = rules(ctx, SCMP_ACT_ALLOW, syscalls_allowed);

	for (size_t i = 0; i < ARRAY_SIZE(extra) && r >= 0; i++)
		r = rules(ctx, unlock & extra[i].unlock ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM),
			  extra[i].names);
	if (r >= 0)
		r = rules(ctx, SCMP_ACT_ERRNO(EPERM), syscalls_refused);
	return r < 0 ? r : argument_rules(ctx, unlock);
}

/*
 * In front of the filter, since an allow-list cannot say "ioctl but for these": libseccomp compares whole 64-bit
 * values where the kernel reads 32 (CVE-2019-10063). TIOCSTI types into, TIOCLINUX pastes into, a terminal that the
 * operator still reads; an AF_VSOCK socket leads to the hypervisor, and no namespace stands in its way. Another
 * architecture's calls skip this and meet the filter's own check.
 */
static const struct sock_filter prologue[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_NATIVE, 0, 9),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 2, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};

/* All that our init does once the tool runs. */
static int init_rules(scmp_filter_ctx ctx, unsigned int unlock)
{
	static const char *const names[] = {"read",	    "write",	       "waitid",
					    "exit_group",   "futex",	       "close",
					    "rt_sigreturn", "restart_syscall", NULL};

	return rules(ctx, SCMP_ACT_ALLOW, names);
}

static int compile(int (*fill)(scmp_filter_ctx, unsigned int), unsigned int unlock,
		   struct sock_fprog *ret)
{
	/* Another architecture's calls have other numbers: their process is ended (SCMP_FLTATR_ACT_BADARCH). */
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = fill(ctx, unlock);
	if (r >= 0)
		r = compact_export(ctx, ret);
	seccomp_release(ctx);
	return r;
}

/* `prog` behind the prologue. */
static int with_prologue(const struct sock_fprog *prog, struct sock_fprog *ret)
{
	size_t n = ARRAY_SIZE(prologue);
	struct sock_filter *insns = calloc(n + prog->len, sizeof(*insns));

	if (!insns)
		return -ENOMEM;
	memcpy(insns, prologue, sizeof(prologue));
	memcpy(insns + n, prog->filter, prog->len * sizeof(*insns));
	*ret = (struct sock_fprog){.len = n + prog->len, .filter = insns};
	return 0;
}

static int compile_default(unsigned int unlock, struct sock_fprog *ret)
{
	struct sock_fprog full = {}, args = {}, compact = {};
	int r = compile(default_rules, unlock, &full);

	if (r == 0)
		r = compile(argument_rules, unlock, &args);
	if (r == 0)
		r = compact_filter(&full, &args, ARCH_NATIVE, &compact);
	if (r == 0)
		r = with_prologue(&compact, ret);
	free(full.filter);
	free(args.filter);
	free(compact.filter);
	return r;
}

static struct sock_fprog init_filter;

static int default_filter(unsigned int unlock, const struct sock_fprog **ret, struct error *err)
{
	static struct sock_fprog filters[UNLOCK_VARIANTS];
	struct sock_fprog *f = &filters[unlock];
	int r = f->filter ? 0 : compile_default(unlock, f);

	if (r < 0)
		return error_sys(err, -r, "cannot compile the seccomp filter");
	*ret = f;
	return 0;
}

int sandbox_prepare(struct error *err)
{
	const struct sock_fprog *f;
	int r = init_filter.filter ? 0 : compile(init_rules, 0, &init_filter);

	if (r < 0)
		return error_sys(err, -r, "cannot compile the seccomp filter of init");
	for (size_t i = 0; i < ARRAY_SIZE(unlocking) && r == 0; i++)
		r = default_filter(unlocking[i], &f, err);
	return r;
}

int sandbox_filter(const struct sandbox *s, const struct sock_fprog **ret, struct error *err)
{
	if (s->seccomp != SANDBOX_UNCONFINED)
		return default_filter(unlocks(s), ret, err);
	*ret = NULL;
	return 0;
}

/* ---- a profile of the caller's ----------------------------------------------------------------- */

int sandbox_use_profile(struct sandbox *s, const char *text, struct sock_fprog *ret,
			struct error *err)
{
	struct sock_fprog filter = {};
	int r = seccomp_profile_compile(text, strlen(text), s->caps, &filter, err);

	if (r < 0)
		return r;
	r = with_prologue(&filter, ret);
	free(filter.filter);
	if (r < 0)
		return error_set(err, ENOMEM, "out of memory");
	if (ret->len > BPF_MAXINSNS) {
		free(ret->filter);
		*ret = (struct sock_fprog){};
		return error_named(err, EINVAL, "InvalidArgument",
				   "seccomp profile: it is too long for the kernel");
	}
	s->seccomp = SANDBOX_PROFILE;
	return 0;
}

/* ---- what is asked for ------------------------------------------------------------------------- */

static const char *const seccomp_names[SANDBOX_SECCOMP_COUNT] = {"unconfined", "default", "ptrace",
								 "net", "profile"};

const char *sandbox_seccomp_name(uint32_t seccomp)
{
	return seccomp_names[seccomp];
}

static int parse_seccomp(const char *name, uint32_t *ret, struct error *err)
{
	uint32_t i = 0;

	while (i < SANDBOX_PROFILE && strcmp(name, seccomp_names[i]))
		i++;
	if (i == SANDBOX_PROFILE)
		return error_named(
			err, EINVAL, "InvalidArgument",
			"%s is not a seccomp profile; there are default, ptrace, net and "
			"unconfined",
			name);
	*ret = i;
	return 0;
}

int sandbox_make(char *const *add, char *const *drop, const char *profile, struct sandbox *ret,
		 struct error *err)
{
	struct sandbox s = {};
	int r = parse_caps(add, drop, &s, err);

	if (r == 0)
		r = parse_seccomp(profile ?: "default", &s.seccomp, err);
	if (r < 0)
		return r;
	s.landlock = !(s.caps & CAP_BIT(CAP_SYS_PTRACE));
	*ret = s;
	return 0;
}

/* ---- in the child ------------------------------------------------------------------------------ */

static int set_caps(uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	for (int i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted = effective >> (32 * i);
		data[i].inheritable = inheritable >> (32 * i);
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/* The bounding set has no call that sets it whole. EINVAL: past the last capability that this kernel has. */
static int bound_caps(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++) {
		if (keep & CAP_BIT(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -errno;
	}
	return 0;
}

static int raise_ambient(uint64_t caps)
{
	for (int cap = 0; cap < 64; cap++)
		if ((caps & CAP_BIT(cap)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	return 0;
}

bool sandbox_is_usual(const struct sandbox *s)
{
	return !(s->caps & ~CAPS_DEFAULT);
}

int sandbox_bound_usual(void)
{
	return bound_caps(CAPS_DEFAULT);
}

uint64_t sandbox_granted(const struct sandbox *s, unsigned int uid)
{
	return uid ? s->added : s->caps;
}

int sandbox_bound(const struct sandbox *s, unsigned int uid, bool usual)
{
	uint64_t keep = sandbox_granted(s, uid);

	return usual && keep == CAPS_DEFAULT ? 0 : bound_caps(keep);
}

int sandbox_credentials(const struct sandbox *s, unsigned int uid, unsigned int gid,
			const unsigned int *groups, size_t n_groups)
{
	uint64_t ambient = uid ? sandbox_granted(s, uid) : 0;
	int r;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	/* Over the change of user, so that capset(2) below decides and not the kernel's fix-up. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return -errno;
	r = set_caps(sandbox_granted(s, uid), ambient);
	return r < 0 ? r : raise_ambient(ambient);
}

int sandbox_drop_all(const struct sandbox *s)
{
	/* The others are out of the bounding set since sandbox_bound(). */
	for (int cap = 0; cap < 64; cap++)
		if ((s->caps & CAP_BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL)
			return -errno;
	/* User ID 0 means nothing any more, not even over an exec. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return set_caps(0, 0);
}

int sandbox_seal_init(void)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &init_filter) < 0 ? -errno : 0;
}

#define ACCESS_READ  LANDLOCK_ACCESS_FS_READ_FILE
#define ACCESS_WRITE LANDLOCK_ACCESS_FS_WRITE_FILE
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* What this kernel's Landlock can govern: versions 1 (5.13), 2 (5.19: rename between folders), 3 (6.2: truncate). */
static uint64_t landlock_rights(int abi)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

static int landlock_allow(int ruleset, int fd, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};

	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

/* A file or terminal that was passed may be opened again through /proc/self/fd, as /dev/stdout does. */
static int landlock_stdio(int ruleset, int fd, uint64_t governed)
{
	int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;
	uint64_t rights = 0;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0 || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
		return 0; /* no file system to govern */
	if (mode != O_WRONLY)
		rights |= ACCESS_READ;
	/* To open it anew without O_APPEND would be more than what was passed. */
	if (mode != O_RDONLY && !(flags & O_APPEND))
		rights |= ACCESS_WRITE | LANDLOCK_ACCESS_FS_TRUNCATE;
	r = S_ISDIR(st.st_mode) ? 0 : landlock_allow(ruleset, fd, rights & governed);
	/* EBADFD: an anonymous file (memfd, eventfd), which is not governed either. */
	return r == -EBADFD ? 0 : r;
}

static int landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool sandbox_has_landlock(void)
{
	return landlock_abi() > 0;
}

int sandbox_landlock(const int stdio[3])
{
	int abi = landlock_abi();
	uint64_t rights = landlock_rights(abi);
	struct landlock_ruleset_attr attr = {.handled_access_fs = rights};
	cleanup_fd int ruleset = -1, root = -1;
	int r;

	/* Built without Landlock, or switched off at boot: the other walls stand. `status` says so. */
	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	ruleset = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno : landlock_allow(ruleset, root, rights);
	for (int i = 0; i < 3 && r == 0; i++)
		r = landlock_stdio(ruleset, stdio[i], rights);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	return r;
}

int sandbox_seccomp(const struct sock_fprog *filter)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (!filter)
		return 0;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) < 0 ? -errno : 0;
}
