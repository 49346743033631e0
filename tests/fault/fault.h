/* SPDX-License-Identifier: MIT */
/*
 * Fault points, in the build with FAULTS=1 only, where this is included before each source file of recapd: the sources know nothing
 * of them. Each call below, wherever it stands, is a point named "function:call", such as "drop_in_shop:umount2", that a test can have
 * fail, or have wait, when it is reached for the Nth time. The points and what is wanted of them are in the file that RECAP_FAULTS
 * names; recapd maps it, and all that it forks inherits it.
 *
 * Not among them: close(2) and munmap(2), after whose failure nothing can be done, and what cannot fail with arguments like ours, such as
 * to wait for a child, to read a folder that is open, or to make and unmake what libseccomp and json-c have of their own.
 */
#ifndef RECAP_FAULT_H
#define RECAP_FAULT_H

/* What declares the calls: before they are macros. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <mntent.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

struct fault_point {
	const char *file, *function, *call;
};

/* The file: tests/system/faults.py reads and writes it. Whoever arms a point writes `armed` last. */
struct fault_control {
	uint32_t pid;	 /* the recapd that has mapped it last */
	uint32_t n;	 /* how many points there are */
	uint32_t armed;	 /* 1 + a point's index; 0: none */
	int32_t skip;	 /* how often it is passed unharmed before */
	uint32_t sticky; /* from then on it fails each time; else once */
	uint32_t error;	 /* the errno to fail with; 0: to wait there for as long as it is armed */
	uint32_t fired;	 /* how often that has come to pass */
	uint32_t pad;
	struct {
		char name[76]; /* "file function:call" */
		uint32_t hits;
	} points[1535];
};

/* Whether the call is to fail now, with errno set. */
bool fault_strikes(const struct fault_point *p);

/* Size and alignment keep the points of all files an array (see the linker's __start_ symbols). */
#define FAULT(call_text, failed, expr)                                               \
	({                                                                           \
		static const struct fault_point point_ __attribute__((               \
			section("fault_points"), used, aligned(sizeof(void *)))) = { \
			__FILE_NAME__, __func__, call_text};                         \
		fault_strikes(&point_) ? (__typeof__(expr))(failed) : (expr);        \
	})

/* ---- files ---- */
#define open(...)	 FAULT("open", -1, open(__VA_ARGS__))
#define openat(...)	 FAULT("openat", -1, openat(__VA_ARGS__))
#define read(...)	 FAULT("read", -1, read(__VA_ARGS__))
#define pread(...)	 FAULT("pread", -1, pread(__VA_ARGS__))
#define write(...)	 FAULT("write", -1, write(__VA_ARGS__))
#define writev(...)	 FAULT("writev", -1, writev(__VA_ARGS__))
#define getline(...)	 FAULT("getline", -1, getline(__VA_ARGS__))
#define lseek(...)	 FAULT("lseek", -1, lseek(__VA_ARGS__))
#define fallocate(...)	 FAULT("fallocate", -1, fallocate(__VA_ARGS__))
#define ftruncate(...)	 FAULT("ftruncate", -1, ftruncate(__VA_ARGS__))
#define fsync(...)	 FAULT("fsync", -1, fsync(__VA_ARGS__))
#define flock(...)	 FAULT("flock", -1, flock(__VA_ARGS__))
#define access(...)	 FAULT("access", -1, access(__VA_ARGS__))
#define faccessat(...)	 FAULT("faccessat", -1, faccessat(__VA_ARGS__))
#define fstat(...)	 FAULT("fstat", -1, fstat(__VA_ARGS__))
#define fstatat(...)	 FAULT("fstatat", -1, fstatat(__VA_ARGS__))
#define statx(...)	 FAULT("statx", -1, statx(__VA_ARGS__))
#define fstatfs(...)	 FAULT("fstatfs", -1, fstatfs(__VA_ARGS__))
#define statfs(...)	 FAULT("statfs", -1, statfs(__VA_ARGS__))
#define fstatvfs(...)	 FAULT("fstatvfs", -1, fstatvfs(__VA_ARGS__))
#define stat(...)	 FAULT("stat", -1, stat(__VA_ARGS__))
#define statvfs(...)	 FAULT("statvfs", -1, statvfs(__VA_ARGS__))
#define mkdir(...)	 FAULT("mkdir", -1, mkdir(__VA_ARGS__))
#define mkdirat(...)	 FAULT("mkdirat", -1, mkdirat(__VA_ARGS__))
#define rmdir(...)	 FAULT("rmdir", -1, rmdir(__VA_ARGS__))
#define unlink(...)	 FAULT("unlink", -1, unlink(__VA_ARGS__))
#define unlinkat(...)	 FAULT("unlinkat", -1, unlinkat(__VA_ARGS__))
#define mknodat(...)	 FAULT("mknodat", -1, mknodat(__VA_ARGS__))
#define symlinkat(...)	 FAULT("symlinkat", -1, symlinkat(__VA_ARGS__))
#define fchmod(...)	 FAULT("fchmod", -1, fchmod(__VA_ARGS__))
#define fchmodat(...)	 FAULT("fchmodat", -1, fchmodat(__VA_ARGS__))
#define chown(...)	 FAULT("chown", -1, chown(__VA_ARGS__))
#define renameat(...)	 FAULT("renameat", -1, renameat(__VA_ARGS__))
#define opendir(...)	 FAULT("opendir", 0, opendir(__VA_ARGS__))
#define fdopendir(...)	 FAULT("fdopendir", 0, fdopendir(__VA_ARGS__))
#define fdopen(...)	 FAULT("fdopen", 0, fdopen(__VA_ARGS__))
#define setmntent(...)	 FAULT("setmntent", 0, setmntent(__VA_ARGS__))
#define fcntl(...)	 FAULT("fcntl", -1, fcntl(__VA_ARGS__))
#define dup2(...)	 FAULT("dup2", -1, dup2(__VA_ARGS__))
#define dup3(...)	 FAULT("dup3", -1, dup3(__VA_ARGS__))
#define close_range(...) FAULT("close_range", -1, close_range(__VA_ARGS__))
#define ioctl(...)	 FAULT("ioctl", -1, ioctl(__VA_ARGS__))
#define fchdir(...)	 FAULT("fchdir", -1, fchdir(__VA_ARGS__))
#define chdir(...)	 FAULT("chdir", -1, chdir(__VA_ARGS__))
#define chroot(...)	 FAULT("chroot", -1, chroot(__VA_ARGS__))

/* ---- mounts and namespaces ---- */
#define fsopen(...)	   FAULT("fsopen", -1, fsopen(__VA_ARGS__))
#define fsconfig(...)	   FAULT("fsconfig", -1, fsconfig(__VA_ARGS__))
#define fsmount(...)	   FAULT("fsmount", -1, fsmount(__VA_ARGS__))
#define move_mount(...)	   FAULT("move_mount", -1, move_mount(__VA_ARGS__))
#define open_tree(...)	   FAULT("open_tree", -1, open_tree(__VA_ARGS__))
#define mount_setattr(...) FAULT("mount_setattr", -1, mount_setattr(__VA_ARGS__))
#define mount(...)	   FAULT("mount", -1, mount(__VA_ARGS__))
#define umount2(...)	   FAULT("umount2", -1, umount2(__VA_ARGS__))
#define setns(...)	   FAULT("setns", -1, setns(__VA_ARGS__))
#define unshare(...)	   FAULT("unshare", -1, unshare(__VA_ARGS__))

/* ---- processes ---- */
#define syscall(nr, ...)	FAULT(#nr, -1, syscall(nr, ##__VA_ARGS__))
#define fork()			FAULT("fork", -1, fork())
#define vfork()			FAULT("vfork", -1, vfork())
#define clone(...)		FAULT("clone", -1, clone(__VA_ARGS__))
#define execvp(...)		FAULT("execvp", -1, execvp(__VA_ARGS__))
#define fexecve(...)		FAULT("fexecve", -1, fexecve(__VA_ARGS__))
#define posix_spawn(...)	FAULT("posix_spawn", errno, posix_spawn(__VA_ARGS__))
#define kill(...)		FAULT("kill", -1, kill(__VA_ARGS__))
#define cap_get_proc()		FAULT("cap_get_proc", 0, cap_get_proc())
#define seccomp_init(...)	FAULT("seccomp_init", 0, seccomp_init(__VA_ARGS__))
#define seccomp_rule_add(...)	FAULT("seccomp_rule_add", -errno, seccomp_rule_add(__VA_ARGS__))
#define seccomp_load(...)	FAULT("seccomp_load", -errno, seccomp_load(__VA_ARGS__))
#define seccomp_export_bpf(...) FAULT("seccomp_export_bpf", -errno, seccomp_export_bpf(__VA_ARGS__))
#define prctl(...)		FAULT("prctl", -1, prctl(__VA_ARGS__))
#define setsid()		FAULT("setsid", -1, setsid())
#define setrlimit(...)		FAULT("setrlimit", -1, setrlimit(__VA_ARGS__))
#define sigprocmask(...)	FAULT("sigprocmask", -1, sigprocmask(__VA_ARGS__))
#define setgroups(...)		FAULT("setgroups", -1, setgroups(__VA_ARGS__))
#define setresgid(...)		FAULT("setresgid", -1, setresgid(__VA_ARGS__))
#define setresuid(...)		FAULT("setresuid", -1, setresuid(__VA_ARGS__))
#define sched_setaffinity(...)	FAULT("sched_setaffinity", -1, sched_setaffinity(__VA_ARGS__))
#define sched_getaffinity(...)	FAULT("sched_getaffinity", -1, sched_getaffinity(__VA_ARGS__))

/* ---- messages and events ---- */
#define socket(...)	     FAULT("socket", -1, socket(__VA_ARGS__))
#define bind(...)	     FAULT("bind", -1, bind(__VA_ARGS__))
#define listen(...)	     FAULT("listen", -1, listen(__VA_ARGS__))
#define connect(...)	     FAULT("connect", -1, connect(__VA_ARGS__))
#define sendto(...)	     FAULT("sendto", -1, sendto(__VA_ARGS__))
#define socketpair(...)	     FAULT("socketpair", -1, socketpair(__VA_ARGS__))
#define setsockopt(...)	     FAULT("setsockopt", -1, setsockopt(__VA_ARGS__))
#define getsockopt(...)	     FAULT("getsockopt", -1, getsockopt(__VA_ARGS__))
#define accept4(...)	     FAULT("accept4", -1, accept4(__VA_ARGS__))
#define sendmsg(...)	     FAULT("sendmsg", -1, sendmsg(__VA_ARGS__))
#define recvmsg(...)	     FAULT("recvmsg", -1, recvmsg(__VA_ARGS__))
#define recv(...)	     FAULT("recv", -1, recv(__VA_ARGS__))
#define poll(...)	     FAULT("poll", -1, poll(__VA_ARGS__))
#define pipe2(...)	     FAULT("pipe2", -1, pipe2(__VA_ARGS__))
#define epoll_create1(...)   FAULT("epoll_create1", -1, epoll_create1(__VA_ARGS__))
#define epoll_ctl(...)	     FAULT("epoll_ctl", -1, epoll_ctl(__VA_ARGS__))
#define signalfd(...)	     FAULT("signalfd", -1, signalfd(__VA_ARGS__))
#define timerfd_create(...)  FAULT("timerfd_create", -1, timerfd_create(__VA_ARGS__))
#define timerfd_settime(...) FAULT("timerfd_settime", -1, timerfd_settime(__VA_ARGS__))
#define getrandom(...)	     FAULT("getrandom", -1, getrandom(__VA_ARGS__))
#define fanotify_init(...)   FAULT("fanotify_init", -1, fanotify_init(__VA_ARGS__))
#define fanotify_mark(...)   FAULT("fanotify_mark", -1, fanotify_mark(__VA_ARGS__))

/* ---- the kernel's maps and programs, as seen from here: libbpf returns -errno ---- */
#define bpf_map_lookup_elem(...) \
	FAULT("bpf_map_lookup_elem", -errno, bpf_map_lookup_elem(__VA_ARGS__))
#define bpf_map_update_elem(...) \
	FAULT("bpf_map_update_elem", -errno, bpf_map_update_elem(__VA_ARGS__))
#define bpf_map_delete_elem(...) \
	FAULT("bpf_map_delete_elem", -errno, bpf_map_delete_elem(__VA_ARGS__))
#define bpf_map_lookup_batch(...) \
	FAULT("bpf_map_lookup_batch", -errno, bpf_map_lookup_batch(__VA_ARGS__))
#define bpf_prog_test_run_opts(...) \
	FAULT("bpf_prog_test_run_opts", -errno, bpf_prog_test_run_opts(__VA_ARGS__))
#define bpf_object__open_skeleton(...) \
	FAULT("bpf_object__open_skeleton", -errno, bpf_object__open_skeleton(__VA_ARGS__))
#define bpf_object__load_skeleton(...) \
	FAULT("bpf_object__load_skeleton", -errno, bpf_object__load_skeleton(__VA_ARGS__))
#define bpf_map__set_pin_path(...) \
	FAULT("bpf_map__set_pin_path", -errno, bpf_map__set_pin_path(__VA_ARGS__))
#define bpf_map__unpin(...)	 FAULT("bpf_map__unpin", -errno, bpf_map__unpin(__VA_ARGS__))
#define bpf_link__pin(...)	 FAULT("bpf_link__pin", -errno, bpf_link__pin(__VA_ARGS__))
#define bpf_program__attach(...) FAULT("bpf_program__attach", 0, bpf_program__attach(__VA_ARGS__))
#define ring_buffer__new(...)	 FAULT("ring_buffer__new", 0, ring_buffer__new(__VA_ARGS__))
#define bpf_program__attach_iter(...) \
	FAULT("bpf_program__attach_iter", 0, bpf_program__attach_iter(__VA_ARGS__))
#define bpf_iter_create(...) FAULT("bpf_iter_create", -errno, bpf_iter_create(__VA_ARGS__))
#define ring_buffer__consume(...) \
	FAULT("ring_buffer__consume", -errno, ring_buffer__consume(__VA_ARGS__))

/* ---- memory ---- */
#undef strdup
#undef strndup
#define malloc(...)	    FAULT("malloc", 0, malloc(__VA_ARGS__))
#define calloc(...)	    FAULT("calloc", 0, calloc(__VA_ARGS__))
#define realloc(...)	    FAULT("realloc", 0, realloc(__VA_ARGS__))
#define reallocarray(...)   FAULT("reallocarray", 0, reallocarray(__VA_ARGS__))
#define strdup(...)	    FAULT("strdup", 0, strdup(__VA_ARGS__))
#define strndup(...)	    FAULT("strndup", 0, strndup(__VA_ARGS__))
#define asprintf(...)	    FAULT("asprintf", -1, asprintf(__VA_ARGS__))
#define open_memstream(...) FAULT("open_memstream", 0, open_memstream(__VA_ARGS__))
#define memfd_create(...)   FAULT("memfd_create", -1, memfd_create(__VA_ARGS__))
#define mmap(...)	    FAULT("mmap", -1, mmap(__VA_ARGS__))
#define mprotect(...)	    FAULT("mprotect", -1, mprotect(__VA_ARGS__))

#endif
