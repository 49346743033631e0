#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The sandbox, compared from both sides: what the record says of it, and what the kernel made of it (capsules/introspect).

load common

WEB=runc:sb-web
PROFILE=$ROOT/tests/unit/data/seccomp.json

setup_file() {
	local capsule

	require_root
	require_command runc jq nsenter
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	for capsule in introspect gdb strace tcpdump; do
		make -s -C "$ROOT" B="$SHELF" capsules CAPSULE=$capsule
	done
	rt_down
	rt_up runc
	echo '{"image_requests": {"capabilities": ["SYS_PTRACE"]}}' >"$BATS_FILE_TMPDIR/recapd.json"
	recapd_up --config "$BATS_FILE_TMPDIR/recapd.json"
	start -j '.mounts += [{type: "tmpfs", source: "tmpfs", destination: "/srv", options: ["rw", "size=1m"]}]' \
		runc sb-web app
	for capsule in toolbox probe; do
		recapctl image load --ref "$capsule" "$RT_IMAGES/oci/$capsule" >/dev/null
	done
	for capsule in introspect gdb strace tcpdump; do
		recapctl image load "$SHELF/capsules/$capsule.tar" >/dev/null
	done
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

toolbox() { # ATTACH-OPTION... -- COMMAND
	local options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	recapctl attach "${options[@]}" "$WEB" toolbox "$@"
}

# The sandbox from inside, in $BATS_TEST_TMPDIR/inside; its record in .../report.
look() { # ATTACH-OPTION...
	attach_report "$@" "$WEB" introspect -- --json >"$BATS_TEST_TMPDIR/inside"
}

inside() { # FILTER
	jq -ce "$1" "$BATS_TEST_TMPDIR/inside"
}

# Record and kernel agree on the capabilities, in every set that may have them.
agree() { # AMBIENT: true where the tool is not root
	local filter='.[0] as $in | .[1].sandbox.capabilities as $caps | $in.capabilities |
		.effective == $caps and .permitted == $caps and .bounding == $caps and
		(if $ambient then .inheritable == $caps and .ambient == $caps
		 else .inheritable == [] and .ambient == [] end)'

	command jq -se --argjson ambient "$1" "$filter" "$BATS_TEST_TMPDIR/inside" "$BATS_TEST_TMPDIR/report"
}

# ---- the record and the kernel -------------------------------------------------------------------

@test "capabilities: every set is what the record says, for root and for others" {
	look
	agree false
	report '.sandbox.capabilities | length == 9 and index("NET_RAW") and (index("SYS_ADMIN") | not)'
	look --cap-add SYS_PTRACE,NET_ADMIN --cap-drop CHOWN
	agree false
	report '.sandbox.capabilities | index("SYS_PTRACE") and index("NET_ADMIN") and (index("CHOWN") | not)'
	look --cap-drop ALL
	agree false
	report '.sandbox.capabilities == []'
	look -u 1000
	agree true
	report '.sandbox.capabilities == []'
	look -u 1000 --cap-add NET_ADMIN
	agree true
	report '.sandbox.capabilities == ["NET_ADMIN"]'
}

@test "no_new_privs, filter, Landlock: as the record says" {
	look
	report '.sandbox | .seccomp == "default" and .landlock and .no_new_privs and .target_root == "ro"'
	inside '.no_new_privs and .seccomp.mode == "filter" and .landlock.domains == 1'
	look --cap-add SYS_PTRACE --target-root none
	report '.sandbox | (.landlock | not) and .target_root == "none"'
	inside '.landlock.domains == 0'
	inside '.mounts | all(.path | startswith("/target") | not)'
	look --seccomp unconfined
	report '.sandbox.seccomp == "unconfined"'
	inside '.seccomp.mode == "off" and .no_new_privs'
}

@test "limits: as the record says" {
	local hard

	look
	# Not more than recapd has itself.
	hard=$(awk '/Max open files/ { print ($5 > 524288 ? 524288 : $5) }' "/proc/$(recapd_pid)/limits")
	report ".limits | .nofile == $hard and .cow_size == 67108864 and (has(\"memory\") or has(\"timeout_s\") | not)"
	inside ".limits.nofile == {soft: 1024, hard: $hard} and .limits.core.hard == 1"
	look --nofile 64 --memory 64m --pids 50 --cpus 0.5 --timeout 60 --cow-size 2m
	report '.limits == {memory: 67108864, cpus_milli: 500, pids: 50, nofile: 64, cow_size: 2097152, timeout_s: 60}'
	inside '.limits.nofile == {soft: 64, hard: 64}'
	[ "$hard" -eq 524288 ] || refused 125 "nofile must be from 16" recapctl attach --nofile 524289 "$WEB" introspect
}

@test "--nofile: open files beyond it are refused" {
	local files

	files=$(printf '/bin/sh %.0s' {1..20})
	status_is 0 toolbox -- sh -c "tail -c 0 $files"
	run ! toolbox --nofile 16 -- sh -c "tail -c 0 $files"
	[[ $output == *"Too many open files"* ]]
	status_is 0 toolbox --nofile 16 -- tail -c 0 /bin/sh /bin/sh
	run ! toolbox --nofile 16 -- sh -c 'ulimit -n 32'
}

@test "memory that a capsule takes is charged to the capsule, not to the target" {
	local peak=() before after

	peak=("/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' "/proc/$(rt_pid runc sb-web)/cgroup")/memory.max_usage_in_bytes"
		"$(rt_cgroup2)$(sed -n 's/^0:://p' "/proc/$(rt_pid runc sb-web)/cgroup")/memory.peak")
	[ -e "${peak[0]}" ] || [ -e "${peak[1]}" ] || skip_or_fail "the target's memory is not counted"
	before=$(cat "${peak[@]}" 2>/dev/null | head -n 1)
	recapctl attach --memory 256m "$WEB" probe hog 134217728
	recapctl attach "$WEB" probe hog 134217728
	after=$(cat "${peak[@]}" 2>/dev/null | head -n 1)
	[ $((after - before)) -lt 8388608 ]
}

# ---- profiles ------------------------------------------------------------------------------------

@test "a profile of Docker's kind does what it says" {
	attach_report --seccomp "$PROFILE" "$WEB" toolbox -- sh -c 'echo runs'
	report '.sandbox.seccomp == "profile"'
	run toolbox --seccomp "$PROFILE" -- mkdir /tmp/new
	[[ $status -ne 0 && $output == *"uota exceeded"* ]]
	toolbox -- mkdir /tmp/new
	look --seccomp "$PROFILE"
	inside '.seccomp.refused | .mount == "EPERM" and .unshare == "ENOSYS" and .ptrace == "ENOSYS"'
	# Not for a profile to allow.
	inside '.seccomp.sockets.vsock == "EPERM"'
	# What it includes for a capability comes with the capability.
	look --seccomp "$PROFILE" --cap-add SYS_PTRACE
	inside '.seccomp.refused | has("ptrace") | not'
}

@test "a profile that ends who calls: the tool starts, and dies of it" {
	cat >"$BATS_TEST_TMPDIR/kill.json" <<-END
		{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"action": "SCMP_ACT_ALLOW", "names":
		["execve", "exit_group", "write", "arch_prctl", "brk", "set_tid_address", "set_robust_list", "rseq",
		"prlimit64", "readlinkat", "readlink", "getrandom", "mprotect", "getuid", "rt_sigaction", "getpid"]}]}
	END
	status_is 159 toolbox --seccomp "$BATS_TEST_TMPDIR/kill.json" -- mkdir /tmp/new
	status_is 0 recapctl attach --seccomp "$BATS_TEST_TMPDIR/kill.json" "$WEB" probe exit 0
}

@test "a profile that is none is refused in one line that names the place" {
	local bad=$BATS_TEST_TMPDIR/bad.json

	echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
		"args": [{"index": 0, "op": "EQ"}]}]}' >"$bad"
	refused 125 "syscalls[0].args[0].op is not a comparison" recapctl attach --seccomp "$bad" "$WEB" probe exit 0
	echo '{"defaultAction": "SCMP_ACT_NOTIFY"}' >"$bad"
	refused 125 "defaultAction needs somebody" recapctl attach --seccomp "$bad" "$WEB" probe exit 0
	echo '{"defaultAction": "SCMP_ACT_KILL"}' >"$bad"
	refused 125 "refuses execve" recapctl attach --seccomp "$bad" "$WEB" probe exit 0
	head -c 70000 /dev/zero | tr '\0' ' ' >"$bad"
	refused 125 "$bad" recapctl attach --seccomp "$bad" "$WEB" probe exit 0
	refused 125 "/nowhere" recapctl attach --seccomp /nowhere "$WEB" probe exit 0
	recapctl attach --seccomp default "$WEB" probe exit 0
}

@test "profiles by name open what they are for" {
	look
	inside '.seccomp.sockets | .inet == "ok" and .packet == "ok" and .["netlink-route"] == "ok" and
		.vsock == "EPERM" and .alg == "EAFNOSUPPORT" and .["netlink-netfilter"] == "EPROTONOSUPPORT"'
	inside '.seccomp.refused | .ptrace == "EPERM" and .process_vm_readv == "EPERM"'
	look --seccomp net
	inside '.seccomp.sockets | .["netlink-netfilter"] != "EPROTONOSUPPORT" and .vsock == "EPERM"'
	look --seccomp ptrace
	inside '.seccomp.refused | has("ptrace") or has("process_vm_readv") | not'
	# That is no right to trace the target, and takes nothing off.
	inside '.landlock.domains == 1'
	run ! recapctl attach --cap-drop SYS_PTRACE --seccomp ptrace "$WEB" strace -- -p 1
	[[ $output == *"Operation not permitted"* ]]
}

# ---- /proc, /sys, /target ------------------------------------------------------------------------

@test "what /proc and /sys tell of the machine is covered, the rest is read-only" {
	local path

	look
	inside '.not_covered - ["/proc/kallsyms", "/proc/sysrq-trigger"] == []'
	inside '.covered | index("/proc/interrupts") and index("/proc/timer_list")'
	inside '.mounts | map(select(.path | test("^/(proc|sys)(/|$)"))) | length > 3 and all(.options | startswith("ro,"))'
	[ -z "$(toolbox -- cat /proc/interrupts /proc/timer_list)" ]
	[ -n "$(cat /proc/interrupts)" ]
	[ -z "$(toolbox -- ls /sys/firmware)" ]
	[ ! -e /proc/sysrq-trigger ] || status_is 1 toolbox -- sh -c 'echo h >/proc/sysrq-trigger'
	for path in sys/kernel/core_pattern sys/kernel/hostname interrupts; do
		run ! toolbox --cap-drop ALL --cap-add DAC_OVERRIDE -- sh -c "echo x >/proc/$path"
		[[ $output == *"ead-only file system"* ]]
	done
	# Not to be taken off, either.
	run ! toolbox -- umount /proc/timer_list
	toolbox -- cat /proc/stat /proc/meminfo /proc/1/status >/dev/null
}

@test "/target: mounts in the target are as read-only as its root" {
	run ! toolbox -- sh -c 'echo x >/target/srv/file'
	[[ $output == *"ead-only file system"* ]]
	run ! toolbox -- sh -c 'echo x >/target/file'
	toolbox --target-root rw -- sh -c 'echo x >/target/srv/file && rm /target/srv/file'
	look
	inside '.mounts | map(select(.path | test("^/target(/|$)"))) | length > 3 and
		all(.options | test("^ro,nosuid,nodev"))'
	# The target's own mount is as it was.
	grep -q ' /srv tmpfs rw,' "/proc/$(rt_pid runc sb-web)/mounts"
}

# ---- the shelf: exactly the capabilities that the image asks for ---------------------------------

@test "gdb: a stack of PID 1, with SYS_PTRACE and nothing else beside the usual" {
	run -0 attach_report "$WEB" gdb -- -q -batch -p 1 -ex bt
	[[ $output == *"#0 "*"main ("* ]]
	report '.sandbox | .seccomp == "ptrace" and (.landlock | not)'
	report '(.sandbox.capabilities | length == 10) and (.sandbox.capabilities | index("SYS_PTRACE") != null)'
	[ "$(ask_app "$(rt_pid runc sb-web)")" = "recap app" ]
}

@test "strace: the system calls of PID 1, with SYS_PTRACE and nothing else beside the usual" {
	"$B/recapctl" attach --report "$BATS_TEST_TMPDIR/report" "$WEB" strace -- -p 1 -e trace=accept4,sendto \
		>"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	wait_until 10 grep -q "Process 1 attached" "$BATS_TEST_TMPDIR/out"
	ask_app "$(rt_pid runc sb-web)" >/dev/null
	wait_until 10 grep -q accept4 "$BATS_TEST_TMPDIR/out"
	kill -TERM $!
	wait $! || true
	report '.sandbox.seccomp == "ptrace"'
	report '(.sandbox.capabilities | length == 10) and (.sandbox.capabilities | index("SYS_PTRACE") != null)'
}

@test "tcpdump: the target's packets, with NET_RAW and nothing else beside the usual" {
	"$B/recapctl" attach --report "$BATS_TEST_TMPDIR/report" "$WEB" tcpdump -- -i lo -n -c 2 tcp port 8080 \
		>"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	wait_until 10 grep -q "listening on lo" "$BATS_TEST_TMPDIR/out"
	ask_app "$(rt_pid runc sb-web)" >/dev/null
	ended 0 $!
	grep -q '127.0.0.1.8080: Flags' "$BATS_TEST_TMPDIR/out"
	report '.sandbox | .seccomp == "net" and .landlock and (.capabilities | length == 9)'
	report '.sandbox.capabilities | index("NET_RAW") != null'
}
