#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Capsules that try to stay behind (tests/system/fugitive.c), one by one, in a target that helps them (accomplice.c). Each is gone
# for good when attach says so, or quarantined with its holder named until that lets go (fugitive.bash).

load common
load fugitive

export BATS_TEST_TIMEOUT=60 # one that hangs is found out, too

setup_file() {
	require_root
	require_command runc jq
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run -j "$(accomplice_config)" runc fu-app busybox /tests/accomplice >/dev/null
	recapd_up
	load_fugitive
	# What it would do in its sleep.
	wait_until 5 entry_of runc fu-app
}

teardown_file() {
	recapd_down
	rt_down
}

# Able to mount, in the host's cgroup namespace (which a capsule then is in, too), with FUSE.
accomplice_config() {
	cat <<-END
		.mounts += [{destination: "/tests", type: "bind", source: "$B/tests", options: ["bind", "ro"]}] |
		.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"] | unique) |
		.linux.namespaces |= map(select(.type != "cgroup")) |
		.linux.devices += [{path: "/dev/fuse", type: "c", major: 10, minor: 229}] |
		.linux.resources.devices = [{allow: true, access: "rwm"}]
	END
}

load_fugitive() {
	local root=$BATS_FILE_TMPDIR/rootfs

	mkdir -p "$root"/{proc,sys,dev,tmp}
	install -m 755 "$B/tests/fugitive" "$root/fugitive"
	"$ROOT/tools/mkoci" -o "$BATS_FILE_TMPDIR/image" -n fugitive:1 -E /fugitive "$root" >/dev/null
	recapctl image load --ref fugitive:1 "$BATS_FILE_TMPDIR/image" >/dev/null
}

# For fugitive.bash.
setup() {
	export FU_BIN FU_TARGET FU_PID FU_WORK

	FU_BIN=$B/tests
	FU_TARGET=runc:fu-app
	FU_PID=$(rt_pid runc fu-app)
	FU_WORK=$BATS_TEST_TMPDIR
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || fu_tell release || true
	assert_clean
}

@test "daemon: gone" {
	fugitive daemon
}

@test "chain: gone" {
	fugitive chain
}

@test "bomb: gone" {
	fugitive bomb
}

@test "hydra: gone" {
	fugitive hydra
}

@test "clone-parent: gone" {
	fugitive clone-parent
}

@test "vfork: gone" {
	fugitive vfork
}

@test "leader-gone: gone" {
	fugitive leader-gone
}

@test "thread-exec: gone" {
	fugitive thread-exec
}

@test "exec-loop: gone" {
	fugitive exec-loop
}

@test "stopped: gone" {
	fugitive stopped
}

@test "zombies: gone" {
	fugitive zombies
}

@test "sigchld-ignored: gone" {
	fugitive sigchld-ignored
}

@test "subreaper: gone" {
	fugitive subreaper
}

@test "pdeathsig: gone" {
	fugitive pdeathsig
}

@test "setuid: gone" {
	fugitive setuid
}

@test "shared-memory: gone" {
	fugitive shared-memory
}

@test "timers: gone" {
	fugitive timers
}

@test "idle: gone" {
	fugitive idle
}

@test "realtime: gone" {
	fugitive realtime
}

@test "kill-init: gone" {
	fugitive kill-init
}

@test "stop-init: gone" {
	fugitive stop-init
}

@test "pid-reuse: gone" {
	fugitive pid-reuse
}

@test "memfd: gone" {
	fugitive memfd
}

@test "deleted: gone" {
	fugitive deleted
}

@test "locks: gone" {
	fugitive locks
}

@test "sockets: gone" {
	fugitive sockets
}

@test "scm-cycle: gone" {
	fugitive scm-cycle
}

@test "epoll-passed: gone" {
	fugitive epoll-passed
}

@test "inotify-passed: gone" {
	fugitive inotify-passed
}

@test "uring: gone" {
	fugitive uring
}

@test "userfault: gone" {
	fugitive userfault
}

@test "pid-ns: gone" {
	fugitive pid-ns
}

@test "user-ns: gone" {
	fugitive user-ns
}

@test "mnt-ns: gone" {
	fugitive mnt-ns
}

@test "setns: gone" {
	fugitive setns
}

@test "cgroup: gone" {
	fugitive cgroup
}

@test "bpf: gone" {
	fugitive bpf
}

@test "traced: gone" {
	fugitive traced
}

@test "trace-init: gone" {
	fugitive trace-init
}

@test "trace-target: gone" {
	fugitive trace-target
}

@test "pass-file: fd" {
	fugitive pass-file
}

@test "pass-deleted: fd" {
	fugitive pass-deleted
}

@test "pass-mapping: mapping" {
	fugitive pass-mapping
}

@test "pass-cwd: cwd" {
	fugitive pass-cwd
}

@test "pass-root: root" {
	fugitive pass-root
}

@test "pass-flight: unnamed" {
	fugitive pass-flight
}

@test "pass-thread: fd" {
	fugitive pass-thread
}

@test "pass-socket: fd" {
	fugitive pass-socket
}

@test "pass-connection: fd" {
	fugitive pass-connection
}

@test "exe-taken: fd" {
	fugitive exe-taken
}

@test "mnt-ns-taken: namespace" {
	fugitive mnt-ns-taken
}

@test "stolen: fd" {
	fugitive stolen
}

@test "ring-taken: unnamed" {
	fugitive ring-taken
}

@test "pass-tree: fd" {
	fugitive pass-tree
}

@test "bind-mount: mount" {
	fugitive bind-mount
}

@test "nested-overlay: unnamed" {
	fugitive nested-overlay
}

@test "stopped-at-exit: task" {
	fugitive stopped-at-exit
}

@test "fuse: task" {
	fugitive fuse
}

@test "zombie: task" {
	fugitive zombie
}

@test "pid-ns-shared: task" {
	fugitive pid-ns-shared
}

@test "every way to stay behind has its test, and there are more than thirty" {
	local ways tested

	ways=$("$B/tests/fugitive" list | cut -d ' ' -f 1 | sort)
	tested=$(sed -nE 's/^\tfugitive ([a-z-]+)$/\1/p' "$BATS_TEST_FILENAME" | sort)
	[ "$ways" = "$tested" ]
	[ "$(wc -l <<<"$ways")" -gt 30 ]
}
