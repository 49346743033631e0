// SPDX-License-Identifier: MIT
#include "core/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "core/compact.h"
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

/* What the capabilities of a run unlock; each combination is a filter of its own, made when first asked for. */
enum {
	UNLOCK_PTRACE = 1,
	UNLOCK_ADMIN = 2,
	UNLOCK_CHROOT = 4,
	UNLOCK_TIME = 8,
	UNLOCK_VARIANTS = 16,
};

static unsigned int unlocks(uint64_t caps)
{
	return (caps & CAP_BIT(CAP_SYS_PTRACE) ? UNLOCK_PTRACE : 0) |
	       (caps & CAP_BIT(CAP_SYS_ADMIN) ? UNLOCK_ADMIN : 0) |
	       (caps & CAP_BIT(CAP_SYS_CHROOT) ? UNLOCK_CHROOT : 0) |
	       (caps & CAP_BIT(CAP_SYS_TIME) ? UNLOCK_TIME : 0);
}

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
	return r;
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
 * In front of libseccomp's filter, since an allow-list cannot say "ioctl but for these": it compares whole 64-bit
 * values where the kernel reads 32 (CVE-2019-10063). TIOCSTI types into, TIOCLINUX pastes into, a terminal that the
 * operator still reads. Another architecture's calls skip this and meet libseccomp's own check.
 */
static const struct sock_filter terminal_prologue[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_NATIVE, 0, 6),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};

/* libseccomp writes a filter to a descriptor only: read it back. The caller frees ret->filter. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
	cleanup_fd int fd = memfd_create("seccomp", MFD_CLOEXEC);
	cleanup_free struct sock_filter *insns = NULL;
	off_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_END);
	insns = malloc(size);
	if (!insns)
		return -ENOMEM;
	if (pread(fd, insns, size, 0) != size)
		return -EIO;
	*ret = (struct sock_fprog){.len = size / sizeof(*insns), .filter = TAKE_PTR(insns)};
	return 0;
}

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
		r = export(ctx, ret);
	seccomp_release(ctx);
	return r;
}

/* `prog` behind the prologue. */
static int with_prologue(const struct sock_fprog *prog, struct sock_fprog *ret)
{
	size_t n = ARRAY_SIZE(terminal_prologue);
	struct sock_filter *insns = calloc(n + prog->len, sizeof(*insns));

	if (!insns)
		return -ENOMEM;
	memcpy(insns, terminal_prologue, sizeof(terminal_prologue));
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

static int default_filter(uint64_t caps, const struct sock_fprog **ret, struct error *err)
{
	static struct sock_fprog filters[UNLOCK_VARIANTS];
	struct sock_fprog *f = &filters[unlocks(caps)];
	int r = f->filter ? 0 : compile_default(unlocks(caps), f);

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
	return default_filter(CAPS_DEFAULT, &f, err);
}

int sandbox_make(char *const *add, char *const *drop, const char *profile, struct sandbox *ret,
		 struct error *err)
{
	struct sandbox s = {};
	int r = parse_caps(add, drop, &s, err);

	if (r < 0)
		return r;
	if (!profile || !strcmp(profile, "default")) {
		r = default_filter(s.caps, &s.seccomp, err);
		if (r < 0)
			return r;
	} else if (strcmp(profile, "unconfined")) {
		return error_named(err, EINVAL, "InvalidArgument",
				   "%s is not a seccomp profile; there are default and unconfined",
				   profile);
	}
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

int sandbox_credentials(const struct sandbox *s, unsigned int uid, unsigned int gid,
			const unsigned int *groups, size_t n_groups)
{
	uint64_t ambient = uid ? s->added : 0;
	int r = bound_caps(s->caps);

	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	/* Over the change of user, so that capset(2) below decides and not the kernel's fix-up. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return -errno;
	r = set_caps(uid ? ambient : s->caps, ambient);
	return r < 0 ? r : raise_ambient(ambient);
}

int sandbox_seal_init(void)
{
	int r = bound_caps(0);

	if (r < 0)
		return r;
	/* User ID 0 means nothing any more, not even over an exec. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = set_caps(0, 0);
	if (r < 0)
		return r;
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

int sandbox_seccomp(const struct sandbox *s)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (!s->seccomp)
		return 0;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, s->seccomp) < 0 ? -errno : 0;
}
