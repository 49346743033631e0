#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What a tool sees, may do and leaves behind, in real containers of every runtime.

load common

RUNTIMES=(docker podman containerd cri runc crun)
WEB=docker:at-docker # the target where it does not matter which

setup_file() {
	local runtime

	require_root
	require_command runc crun containerd dockerd docker podman protoc jq bpftool
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up "${RUNTIMES[@]}"
	for runtime in "${RUNTIMES[@]}"; do
		rt_run "$runtime" "at-$runtime" app
	done
	recapd_with_images toolbox true probe
	load_dressed
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

# An image that sets everything that can be set.
load_dressed() {
	local over=$BATS_FILE_TMPDIR/over layout=$BATS_FILE_TMPDIR/dressed

	mkdir -p "$over"/{bin,etc,srv/work,srv/other,home/worker}
	echo 'echo $#' >"$over/bin/count"
	chmod 755 "$over/bin/count"
	printf '%s\n' root:x:0:0:root:/root:/bin/sh worker:x:1234:1235::/home/worker:/bin/sh \
		>"$over/etc/passwd"
	printf '%s\n' root:x:0: worker:x:1235: tools:x:4321:worker >"$over/etc/group"
	chmod -R u=rwX,go=rX "$over"
	"$ROOT/tools/mkoci" -o "$layout" -n dressed:1 -E /bin/echo -E entry -C image -C words \
		-e PATH=/bin -e COLOR=red -e SIZE=big -u worker -w /srv/work \
		"$RT_IMAGES/rootfs/toolbox" "$over" >/dev/null
	recapctl image load --ref dressed "$layout" >/dev/null
}

toolbox() { # ARG...: in $WEB
	recapctl attach "$WEB" toolbox -- "$@"
}

terminal() { # STEP... -- COMMAND...
	"$BATS_TEST_DIRNAME/terminal.py" "$@"
}

# ---- every runtime -------------------------------------------------------------------------------

# Files of the target, with all that a write would change.
target_state() { # PID
	find "/proc/$1/root" -xdev -printf '%P %m %u %g %s %t %c\n' | sort
}

tool_runs() { # RUNTIME
	local target=at-$1

	not rt_exec "$1" "$target" /bin/sh -c true
	run -0 recapctl attach "$target" toolbox -- sh -c 'cat /proc/1/comm; netstat -ltn;
		wget -qO- http://127.0.0.1:8080/; cat /target/etc/app.conf; ps -o comm'
	[ "${lines[0]}" = app ]
	[[ $output == *" 127.0.0.1:8080 "*LISTEN*"recap app"*recap-test-marker*app-worker* ]]
}

nothing_is_kept() { # RUNTIME
	local target=at-$1 pid before images left

	pid=$(rt_pid "$1" "$target")
	before=$(target_state "$pid")
	images=$(cd "$RECAP_STATE" && find layers images -printf '%P %m %s %t %c\n' | sort)
	# shellcheck disable=SC2016 # for the capsule's shell
	recapctl attach "$target" toolbox -- sh -ec 'echo new >/recap-left-here; mkdir -p /etc/recap-left
		echo more >>/etc/passwd; rm /bin/vi; grep -q more /etc/passwd; [ ! -e /bin/vi ]'
	recapctl attach "$target" toolbox -- sh -ec '! grep more /etc/passwd; [ -e /bin/vi ]
		! [ -e /recap-left-here ]; ! [ -e /etc/recap-left ]'
	diff <(echo "$before") <(target_state "$pid")
	diff <(echo "$images") <(cd "$RECAP_STATE" &&
		find layers images -printf '%P %m %s %t %c\n' | sort)
	left=$(ls -d /recap-left-here /etc/recap-left "$(rt_cgroup2)"/recap-left* 2>/dev/null || true)
	[ -z "$left" ]
}

visit() { # RUNTIME
	tool_runs "$1"
	nothing_is_kept "$1"
}

@test "docker: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit docker
}

@test "podman: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit podman
}

@test "containerd: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit containerd
}

@test "CRI: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit cri
}

@test "runc: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit runc
}

@test "crun: a tool that the container lacks runs in it, and nothing of it is kept" {
	visit crun
}

# ---- /target -------------------------------------------------------------------------------------

@test "/target is read-only, writable or absent as asked for" {
	local root

	root=/proc/$(rt_pid docker at-docker)/root
	status_is 1 toolbox sh -c 'echo x >/target/etc/recap-written'
	[ ! -e "$root/etc/recap-written" ]
	recapctl attach --target-root ro "$WEB" toolbox -- test -d /target/etc
	recapctl attach --target-root rw "$WEB" toolbox -- sh -c 'echo x >/target/etc/recap-written'
	[ "$(cat "$root/etc/recap-written")" = x ]
	recapctl attach --target-root rw "$WEB" toolbox -- rm /target/etc/recap-written
	[ ! -e "$root/etc/recap-written" ]
	recapctl attach --target-root none "$WEB" toolbox -- test ! -e /target/etc
	refused 125 "one of none|ro|rw" recapctl attach --target-root maybe "$WEB" true
}

# ---- as docker run -------------------------------------------------------------------------------

dressed() { # ATTACH-OPTION... [-- ARG...]
	local options=()

	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	recapctl attach "${options[@]}" "$WEB" dressed "$@"
}

@test "entrypoint, command and arguments go together as with docker run" {
	[ "$(dressed)" = "entry image words" ]
	[ "$(dressed -- my 'own  words')" = "entry my own  words" ]
	[ "$(dressed --entrypoint /bin/echo)" = "" ]
	[ "$(dressed --entrypoint /bin/echo -- -n x)" = "x" ]
	[ "$(dressed --entrypoint echo -- --)" = "--" ]
	[ "$(recapctl attach "$WEB" dressed -x y)" = "entry -x y" ]
	[ "$(recapctl attach "$WEB" toolbox -- echo '')" = "" ]
	[ "$(dressed --entrypoint "" -- echo only)" = only ]
	refused 125 "no entrypoint and no command" dressed --entrypoint ""
}

@test "a script that names no interpreter is the shell's, with as many arguments as there may be" {
	# shellcheck disable=SC2046
	[ "$(dressed --entrypoint count -- $(seq 1000))" = 1000 ]
}

@test "the environment is the image's with the caller's over it" {
	local env

	env=$(PASSED=on UNNAMED=1 recapctl attach -e COLOR=blue -e PASSED -e EMPTY= -e NOT_SET_HERE \
		--entrypoint env "$WEB" dressed | sort)
	[ "$env" = "$(printf '%s\n' COLOR=blue EMPTY= HOME=/home/worker PASSED=on PATH=/bin SIZE=big)" ]
	[ "$(recapctl attach -e A='x=y z' "$WEB" probe env | grep ^A)" = "A=x=y z" ]
	# Of one variable the last value, alone.
	[ "$(recapctl attach -e A=1 -e A=2 -e A=3 "$WEB" probe env | grep ^A)" = A=3 ]
	recapctl attach "$WEB" probe env | grep -q '^PATH=/usr/local/sbin:'
	refused 125 "KEY" recapctl attach -e =x "$WEB" probe env
}

@test "the user is the image's, by name, with its groups and home; or the caller's" {
	[[ $(dressed --entrypoint id) == "uid=1234(worker) gid=1235(worker) groups="*"4321(tools)" ]]
	[ "$(dressed --entrypoint id -u root -- -u)" = 0 ]
	[ "$(dressed --entrypoint id -u 77:88)" = "uid=77 gid=88 groups=88" ]
	[ "$(dressed --entrypoint id -u worker:tools -- -g)" = 4321 ]
	[ "$(dressed --entrypoint sh -u root -- -c 'echo $HOME')" = /root ]
	attach_report -u worker "$WEB" dressed
	report '.user == {uid: 1234, gid: 1235}'
	refused 125 nobody-knows recapctl attach -u nobody-knows "$WEB" dressed
}

@test "the working folder is the image's or the caller's" {
	[ "$(dressed --entrypoint pwd)" = /srv/work ]
	[ "$(dressed --entrypoint pwd -w /srv/other)" = /srv/other ]
	[ "$(toolbox pwd)" = / ]
	[ "$(recapctl attach -w /target/etc "$WEB" toolbox -- cat app.conf)" = recap-test-marker ]
	refused 126 "cannot change to /nowhere" dressed --entrypoint pwd -w /nowhere
	refused 125 "absolute" dressed --entrypoint pwd -w srv
}

@test "standard streams are the caller's own" {
	[ "$(echo in | recapctl attach "$WEB" toolbox -- cat)" = in ]
	run -3 --separate-stderr toolbox sh -c 'echo out; echo err >&2; exit 3'
	# shellcheck disable=SC2154 # run sets stderr
	[ "$output" = out ] && [ "$stderr" = err ]
	[ "$(recapctl attach "$WEB" probe spam 50000000 | wc -c)" = 50000000 ]
	# A reader that goes away ends the tool as it would end any.
	recapctl attach "$WEB" probe spam | head -c 1000000 | wc -c | grep -qx 1000000
}

# Its processes are placed on one CPU or another while they are injected.
@test "the tool may use the CPUs that recapd may, whatever was used to inject it" {
	local i allowed

	allowed=$(grep Cpus_allowed: "/proc/$(recapd_pid)/status")
	for i in {1..5}; do
		[ "$(recapctl attach "$WEB" toolbox -- grep Cpus_allowed: /proc/self/status)" = "$allowed" ]
	done
}

# ---- exit statuses -------------------------------------------------------------------------------

@test "the exit status is the tool's own" {
	for status in 0 7 1 125 255; do
		status_is "$status" recapctl attach "$WEB" probe exit "$status"
	done
	attach_report "$WEB" probe exit 7 || [ $? -eq 7 ]
	report '.exit_code == 7 and .signal == null'
	status_is 7 recapctl attach "$WEB" probe threads-exit
	for _ in {1..10}; do
		status_is 7 recapctl attach --seccomp unconfined "$WEB" probe poller-exit
	done
}

@test "128+N: signal N ended the tool" {
	for signal in 1 6 9 11 15; do
		status_is $((128 + signal)) recapctl attach "$WEB" probe signal "$signal"
	done
	attach_report "$WEB" probe signal 15 || [ $? -eq 143 ]
	report '.signal == 15 and .exit_code == null'
}

@test "124: the time limit ended the tool, whether or not it minds SIGTERM" {
	for tool in sleep ignore-term; do
		run -124 --separate-stderr recapctl attach --timeout 1 \
			--report "$BATS_TEST_TMPDIR/report" "$WEB" probe "$tool" 1000
		[ "$stderr" = "recapctl: the time limit ended the capsule" ]
		report '.reason == "timeout" and .timings_us.total >= 1000000'
		proven
	done
	status_is 0 recapctl attach --timeout 100 "$WEB" probe exit 0
}

@test "125: refused in one line, and nothing ran" {
	refused 125 "no container is called" recapctl attach nobody probe exit 0
	refused 125 "nothing" recapctl attach "$WEB" nothing
	refused 125 "there is no CAPSULE" recapctl attach "$WEB"
	refused 125 "-t needs a terminal" recapctl attach -t "$WEB" probe tty </dev/null
	refused 125 "cannot write the report" recapctl attach --report /no/where "$WEB" true
	refused 125 "--no-such-option" recapctl attach --no-such-option "$WEB" true
	refused 125 "is not a capability" recapctl attach --cap-add FLY "$WEB" true
	refused 125 "--timeout" recapctl attach --timeout 0 "$WEB" true
	refused 125 "--cow-size" recapctl attach --cow-size 1 "$WEB" true
	refused 125 "recapd is not running" recapctl --socket /no/where attach "$WEB" true
}

@test "126: it cannot be executed; 127: it is not there" {
	refused 126 "cannot execute /etc/passwd" toolbox /etc/passwd
	refused 126 "cannot execute /etc" toolbox /etc
	refused 127 "no-such-tool is not in the image" toolbox no-such-tool
	refused 127 "/no/such/tool is not in the image" toolbox /no/such/tool
	recapctl ps --all --json | jq -e 'map(select(.state == "failed")) | length >= 4'
}

# ---- terminals -----------------------------------------------------------------------------------

@test "-t: a terminal of its own, whose size follows; Ctrl-C reaches the tool" {
	run -0 terminal -- "$B/recapctl" attach -t "$WEB" probe tty
	[ "$output" = $'tty\nrestored' ]
	run -130 terminal wait '24 80' size 33 99 wait '33 99' type '\x03' -- \
		"$B/recapctl" attach -t "$WEB" probe winsize
	[ "${lines[-1]}" = ^Crestored ]
}

@test "-t: a shell to type at, and the operator's terminal is as before" {
	run -5 terminal raw wait '/ # ' type 'echo $((6*7)); tty\n' wait $'42\r\n' type 'exit 5\n' -- \
		"$B/recapctl" attach -t "$WEB" toolbox
	[ "${lines[-1]}" = restored ]
	run -137 terminal -- "$B/recapctl" attach -t "$WEB" probe signal 9
	[ "${lines[-1]}" = restored ]
	run -127 terminal -- "$B/recapctl" attach -t "$WEB" toolbox -- no-such-tool
	[ "${lines[-1]}" = restored ]
	run -124 terminal wait ready raw -- "$B/recapctl" attach -t --timeout 1 "$WEB" probe sleep 1000
	[ "${lines[-1]}" = restored ]
}

@test "Ctrl-C without -t: the tool gets it; a stubborn tool goes at the third" {
	run -130 terminal wait ready type '\x03' -- "$B/recapctl" attach "$WEB" probe sleep 1000
	[[ $output == ready* ]]
	# shellcheck disable=SC2016 # for the capsule's shell
	run -137 terminal wait ready type '\x03' wait got1 type '\x03' wait got2 type '\x03' -- \
		"$B/recapctl" attach "$WEB" toolbox -- \
		sh -c 'n=0; trap "n=\$((n+1)); echo got\$n" INT TERM; echo ready; while :; do sleep 0.05; done'
	[[ $output == *"the capsule was stopped"* ]]
}

@test "signals to recapctl are passed on to the tool" {
	local out=$BATS_TEST_TMPDIR/out

	for signal in TERM HUP; do
		"$B/recapctl" attach "$WEB" probe sleep 1000 >"$out" 3>&- &
		wait_until 5 grep -q ready "$out"
		kill -"$signal" $!
		ended $((128 + $(kill -l "$signal"))) $!
	done
}

# ---- detached ------------------------------------------------------------------------------------

@test "-d: the ID at once; logs, logs -f; ps while it runs and afterwards" {
	local id out=$BATS_TEST_TMPDIR/out

	id=$(recapctl attach -d "$WEB" toolbox -- sh -c 'echo one; cat; echo two >&2; sleep 2; echo three')
	[[ $id =~ ^[0-9a-f]{12}$ ]]
	recapctl ps --json | jq -e "any(.id == \"$id\" and .state == \"running\")"
	recapctl logs -f "$id" >"$out" 3>&- &
	wait_until 5 grep -q two "$out"
	[ "$(recapctl logs "$id")" = $'one\ntwo' ]
	[ "$(recapctl logs "${id:0:8}")" = $'one\ntwo' ]
	wait $! # logs -f goes on until the end
	[ "$(cat "$out")" = $'one\ntwo\nthree' ]
	[ "$(recapctl logs "$id")" = $'one\ntwo\nthree' ]
	recapctl ps --json | jq -e "all(.id != \"$id\")"
	recapctl ps --all --json | jq -e "any(.id == \"$id\" and .state == \"dropped\" and .exit_code == 0)"
	recapctl inspect "$id" | jq -e ".id == \"$id\" and .target.name == \"at-docker\""
	[ "$(recapctl logs -f "$id")" = $'one\ntwo\nthree' ]
}

@test "-d: stop ends it; what cannot start says so" {
	local id

	id=$(recapctl attach -d "$WEB" probe sleep 1000)
	[ "$(recapctl stop "$id")" = "$id" ]
	recapctl ps --all --json | jq -e "any(.id == \"$id\" and .reason == \"stopped\" and .signal == 15)"
	id=$(recapctl attach -d "$WEB" probe ignore-term 1000)
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	[ "$(recapctl stop --timeout 1 "$id")" = "$id" ]
	recapctl ps --all --json | jq -e "any(.id == \"$id\" and .signal == 9)"
	refused 127 "is not in the image" recapctl attach -d "$WEB" toolbox -- no-such-tool
	refused 126 "cannot execute" recapctl attach -d "$WEB" toolbox -- /etc/passwd
	refused 1 "no capsule" recapctl stop "$id"
	refused 1 "no capsule" recapctl logs 0123456789ab
}

@test "-d: 16 MiB of output are kept, the rest does not hold the tool up" {
	local id

	id=$(recapctl attach -d "$WEB" probe spam 30000000)
	wait_until 20 eval "recapctl ps --json | jq -e 'all(.id != \"$id\")'"
	recapctl inspect "$id" | jq -e '.exit_code == 0'
	[ "$(recapctl logs "$id" | tr -d x)" = $'\n[recap: output limit reached, the rest is dropped]' ]
	[ "$(recapctl logs "$id" | tr -dc x | wc -c)" = $((16 << 20)) ]
}

# ---- limits --------------------------------------------------------------------------------------

@test "--memory: within it a tool runs, beyond it the tool is killed" {
	status_is 0 recapctl attach --memory 32m "$WEB" probe hog 8388608
	status_is 137 recapctl attach --memory 32m "$WEB" probe hog 134217728
	status_is 0 recapctl attach "$WEB" probe hog 134217728
}

@test "--pids: fork fails beyond it" {
	run -0 recapctl attach --pids 20 "$WEB" probe forkbomb 10
	[ "${lines[0]}" = 10 ]
	run -1 --separate-stderr recapctl attach --pids 20 "$WEB" probe forkbomb 100
	[ "$output" -gt 10 ] && [ "$output" -lt 20 ]
	[[ $stderr == "probe: fork: "* ]]
}

# Of two seconds: a fifth is allowed, and half would be too much.
@test "--cpus: a busy tool gets no more" {
	local ms

	ms=$(recapctl attach --cpus 0.2 "$WEB" toolbox -- \
		sh -c 'timeout 2 sh -c "while :; do :; done" 2>/dev/null; times' |
		awk 'END { split($1, t, /[ms]/); print t[1] * 60000 + t[2] * 1000 }')
	[ "$ms" -gt 50 ] && [ "$ms" -lt 1000 ]
}

@test "--cow-size: the layer is full, and no larger than said" {
	run -0 recapctl attach --cow-size 2m "$WEB" probe fill 1000000
	[ "$output" = 1000000 ]
	run -1 --separate-stderr recapctl attach --cow-size 2m "$WEB" probe fill 3000000
	[ "$output" -gt 1000000 ] && [ "$output" -le 2097152 ]
	[ "$stderr" = "probe: /fill: No space left on device" ]
	# Nothing said: 64 MiB.
	run -1 --separate-stderr recapctl attach "$WEB" probe fill 100000000
	[ "$output" -gt 60000000 ] && [ "$output" -le 67108864 ]
	attach_report --cow-size 2m "$WEB" probe fill 1000000
	report '.cow | .backend == "tmpfs" and .bytes >= 1000000 and .bytes <= 2097152 and .dropped'
}

# ---- the record ----------------------------------------------------------------------------------

@test "--report: the whole record, and inspect shows the same" {
	local id

	attach_report runc:at-runc toolbox -- sh -c 'sleep 0.1; echo x >/x; exit 9' || [ $? -eq 9 ]
	proven
	report '.command == ["sh", "-c", "sleep 0.1; echo x >/x; exit 9"] and .exit_code == 9 and
		.image.ref == "toolbox:latest" and (.image.digest | test("^sha256:[0-9a-f]{64}$")) and
		.target.name == "at-runc" and .target.runtime == "runc" and .user == {uid: 0, gid: 0}'
	report ".target.pid == $(rt_pid runc at-runc)"
	report '.tasks.total == 3 and .tasks.peak == 3 and .tasks.killed == 0'
	report '.timings_us | (keys | sort) == ["drain", "drop", "escape", "inject", "prepare", "resolve",
		"run", "total"] and .run >= 100000 and .total >= .run + .inject and
		.total <= ([.resolve, .prepare, .inject, .run, .drain, .escape, .drop] | add) + 7'
	id=$(report .id | tr -d '"')
	diff <(report .) <(recapctl inspect "$id" | jq -ce .)
	refused 125 "--report" recapctl attach -d --report "$BATS_TEST_TMPDIR/no" "$WEB" true
	ln -s /etc/passwd "$BATS_TEST_TMPDIR/link"
	refused 125 "cannot write the report" recapctl attach --report "$BATS_TEST_TMPDIR/link" "$WEB" true
}

# ---- the sandbox ---------------------------------------------------------------------------------

DOCKER_CAPS=$((0xa80425fb))

@test "no new privileges, a seccomp filter, no capability that docker would not give" {
	local ids

	ids=$(recapctl attach "$WEB" probe ids)
	grep -qE '^NoNewPrivs:\s+1$' <<<"$ids"
	grep -qE '^Seccomp:\s+2$' <<<"$ids"
	while read -r set caps; do
		((0x$caps & ~DOCKER_CAPS)) && echo "$set $caps" && return 1
		[[ $set == CapInh: || $set == CapAmb: || $((0x$caps)) -ne 0 ]]
	done < <(grep ^Cap <<<"$ids")
	[ "$(recapctl attach --cap-drop ALL "$WEB" probe ids | awk '/^Cap/ {print $2}' | sort -u)" = \
		0000000000000000 ]
	recapctl attach --cap-drop ALL --cap-add NET_RAW "$WEB" probe ids | grep -qE '^CapEff:\s+0+2000$'
	# No user but root has any, unless it was asked for.
	recapctl attach -u 1000 "$WEB" probe ids | grep -qE '^CapEff:\s+0+$'
	recapctl attach -u 1000 --cap-add NET_ADMIN "$WEB" probe ids | grep -qE '^CapEff:\s+0+1000$'
}

@test "what could lead out of the sandbox is refused" {
	diff - <(recapctl attach "$WEB" probe attempt) <<-END
		mount EPERM
		umount EPERM
		remount EPERM
		unshare-mnt EPERM
		unshare-user EPERM
		setns EPERM
		ptrace EPERM
		bpf EPERM
		keyctl EPERM
		open-by-handle EPERM
		mknod EPERM
		chroot EPERM
		write-proc EROFS
		write-sys EROFS
		target-root EACCES
		write-target EROFS
		write-dev EROFS
		tiocsti EPERM
	END
	# The same to a user that is not root, but that some fail for want of a right already.
	run recapctl attach -u 1000 "$WEB" probe attempt
	[[ ! $output =~ \ ok($|[[:space:]]) ]]
}

attempt_is_ok() { # NAME ATTACH-OPTION...
	[ "$(recapctl attach "${@:2}" "$WEB" probe attempt "$1")" = "$1 ok" ]
}

@test "what is refused is allowed where the operator says so" {
	attempt_is_ok mount --cap-add SYS_ADMIN,SYS_PTRACE
	attempt_is_ok umount --cap-add SYS_ADMIN,SYS_PTRACE
	attempt_is_ok remount --cap-add SYS_ADMIN,SYS_PTRACE
	attempt_is_ok unshare-mnt --cap-add SYS_ADMIN
	attempt_is_ok unshare-user --cap-add SYS_ADMIN
	attempt_is_ok setns --cap-add SYS_ADMIN --seccomp unconfined
	attempt_is_ok ptrace --cap-add SYS_PTRACE
	attempt_is_ok bpf --cap-add SYS_ADMIN --seccomp unconfined
	attempt_is_ok keyctl --seccomp unconfined
	attempt_is_ok mknod --cap-add MKNOD
	attempt_is_ok chroot --cap-add SYS_CHROOT
	attempt_is_ok target-root --cap-add SYS_PTRACE
	attempt_is_ok write-target --target-root rw
	rm "/proc/$(rt_pid docker at-docker)/root/probe-was-here"
}

@test "a device node that was made cannot be opened" {
	# 1:3 is the null device, which all may write to.
	run -1 recapctl attach --cap-add MKNOD "$WEB" toolbox -- \
		sh -c 'mknod /tmp/null c 1 3 && echo made && echo x >/tmp/null'
	[ "${lines[0]}" = made ]
	[[ $output == *"Permission denied"* ]]
	toolbox sh -c 'echo x >/dev/null'
}

@test "the operator's files: a read-only stream cannot be opened again for writing" {
	local file=$BATS_TEST_TMPDIR/file

	echo before >"$file"
	# Root may open the pipe that it has instead. Another user may not.
	toolbox sh -c 'echo after >/proc/self/fd/0' <"$file"
	status_is 1 recapctl attach -u 1000 "$WEB" toolbox -- sh -c 'echo x >/proc/self/fd/0' <"$file"
	[ "$(cat "$file")" = before ]
	[ "$(toolbox cat /proc/self/fd/0 <"$file")" = before ]
	recapctl attach -u 1000 "$WEB" toolbox -- sh -c 'cat /proc/self/fd/0 >/proc/self/fd/1' \
		<"$file" >"$file.1"
	cmp "$file" "$file.1"
	toolbox sh -c 'echo after >/proc/self/fd/1' >"$file"
	[ "$(cat "$file")" = after ]
}

@test "the operator's terminal cannot be typed into" {
	local kernel=ok

	run -0 terminal -- "$B/recapctl" attach "$WEB" probe attempt tiocsti
	[ "$output" = $'tiocsti EPERM\nrestored' ]
	run -0 terminal -- "$B/recapctl" attach -t "$WEB" probe attempt tiocsti
	[ "$output" = $'tiocsti EPERM\nrestored' ]
	# As root it would work, but for the filter; and for kernels since 6.2 that are set to refuse it themselves.
	[ "$(cat /proc/sys/dev/tty/legacy_tiocsti 2>/dev/null || echo 1)" = 1 ] || kernel=EIO
	run -0 terminal -- "$B/recapctl" attach -t --seccomp unconfined "$WEB" probe attempt tiocsti
	[[ $output == *"tiocsti $kernel"* ]]
}

@test "--namespaces: what is not joined is a new one, not the host's" {
	local own

	own=$(recapctl attach --namespaces pid "$WEB" toolbox -- sh -c 'cat /proc/1/comm; netstat -ltn;
		for ns in net uts ipc; do readlink /proc/self/ns/$ns; done')
	[[ $own == app* && $own != *8080* ]]
	for ns in net uts ipc; do
		not grep -qF "$(readlink "/proc/$(rt_pid docker at-docker)/ns/$ns")" <<<"$own"
		not grep -qF "$(readlink "/proc/self/ns/$ns")" <<<"$own"
	done
	own=$(recapctl attach --namespaces net "$WEB" toolbox -- sh -c 'ps -o comm; netstat -ltn')
	[[ $own != *app* && $own == *8080* ]]
	refused 125 "" recapctl attach --namespaces mnt "$WEB" true
}

# ---- special targets -----------------------------------------------------------------------------

@test "a target with a read-only root: the tool still writes to its own" {
	start -o --read-only docker at-ro app
	start -j '.root.readonly = true' runc at-ro app
	for target in docker:at-ro runc:at-ro; do
		[ "$(recapctl attach "$target" toolbox -- sh -c 'echo x >/x; cat /x /target/etc/app.conf')" = \
			$'x\nrecap-test-marker' ]
		# Not even where it is asked for: the mount is the target's.
		status_is 1 recapctl attach --target-root rw "$target" toolbox -- \
			sh -c 'echo x >/target/etc/written'
	done
	rt_rm docker at-ro
	rt_rm runc at-ro
}

@test "a target that is not root: the tool is who its image says" {
	local target

	start -u 1234 docker at-user app
	start -u 1234 crun at-user app
	for target in docker:at-user crun:at-user; do
		[ "$(recapctl attach "$target" toolbox -- sh -c 'id -u; cat /target/etc/app.conf; cat /proc/1/comm')" = \
			$'0\nrecap-test-marker\napp' ]
		[ "$(recapctl attach -u 1234 "$target" toolbox -- sh -c 'id -u; kill -0 1; echo $?')" = $'1234\n0' ]
	done
	rt_rm docker at-user
	rt_rm crun at-user
}

# Joined, and so the tool's root is the container's root and no more. It owns what the image gives to root.
@test "a target with a user namespace: its root, its IDs, and the image's files are that root's" {
	start -j '.linux.namespaces += [{type: "user"}] | .linux.gidMappings = .linux.uidMappings |
		.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] |
		.linux.gidMappings = .linux.uidMappings' crun at-userns app
	start crun at-plain app
	run -0 recapctl attach at-userns toolbox -- sh -c 'id -u; awk "{print \$2}" /proc/self/uid_map
		cat /target/etc/app.conf; cat /proc/1/comm; netstat -ltn; echo x >/tmp/x && cat /tmp/x'
	[[ $output == $'0\n200000\nrecap-test-marker\napp\n'*:8080*$'\nx' ]]
	# In turn with one where recapd made ready what is not mapped.
	for target in at-userns at-userns at-plain at-plain at-userns at-plain; do
		run -0 recapctl attach "$target" toolbox -- sh -c 'cd /; stat -c "%u:%g %n" . bin/busybox
			echo x >new; echo y >bin/busybox-2; chown 7:8 new; chmod 700 bin; stat -c "%u:%g %n" new bin bin/busybox-2'
		[ "$output" = $'0:0 .\n0:0 bin/busybox\n7:8 new\n0:0 bin\n0:0 bin/busybox-2' ]
	done
	rt_rm crun at-plain
	run recapctl attach at-userns probe attempt
	[[ ! $output =~ \ ok($|[[:space:]]) ]]
	attach_report at-userns probe daemon 1000
	report '.tasks.killed == 1'
	proven
	# Left out, the tool has its layer to itself, as root of the host, in the same sandbox.
	recapctl attach --namespaces pid,net,ipc,uts,cgroup at-userns toolbox -- sh -c 'echo x >/x'
	rt_rm crun at-userns
}

# ---- several at once -----------------------------------------------------------------------------

@test "two at once in one container: each has its own layer" {
	local fifo=$BATS_TEST_TMPDIR/fifo id

	mkfifo "$fifo"
	recapctl attach "$WEB" toolbox -- sh -c 'echo mine >/tmp/file; echo ready; cat; cat /tmp/file' \
		<"$fifo" >"$BATS_TEST_TMPDIR/out" 3>&- &
	exec {held}>"$fifo"
	wait_until 5 grep -q ready "$BATS_TEST_TMPDIR/out"
	toolbox sh -c '[ ! -e /tmp/file ]; echo other >/tmp/file; ps | grep -q "cat"'
	recapctl ps --json | jq -e 'map(select(.state == "running")) | length == 1'
	exec {held}>&-
	wait $!
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = $'ready\nmine' ]
}

@test "50 at once over six runtimes: each with its own result, all proven" {
	local i pids=() proven out=$BATS_TEST_TMPDIR/out

	proven=$(recapctl stats --json | jq '.counters.escapes_proven // 0')
	mkdir "$out"
	for ((i = 0; i < 50; i++)); do
		recapctl attach "at-${RUNTIMES[i % 6]}" toolbox -- \
			sh -c "echo $i >/tmp/me; sleep 0.5; cat /tmp/me; exit 7" >"$out/$i" 2>&1 3>&- &
		pids+=($!)
	done
	for ((i = 0; i < 50; i++)); do
		ended 7 "${pids[i]}"
		[ "$(cat "$out/$i")" = "$i" ]
	done
	[ "$(recapctl stats --json | jq .counters.escapes_proven)" -eq $((proven + 50)) ]
}

# ---- files as streams ----------------------------------------------------------------------------

@test "the operator's files: copied whole, and out of the tool's reach" {
	local in=$BATS_TEST_TMPDIR/in out=$BATS_TEST_TMPDIR/out log=$BATS_TEST_TMPDIR/log turns=0

	head -c 3000000 /dev/urandom >"$in"
	toolbox cat <"$in" >"$out"
	cmp "$in" "$out"
	chmod 640 "$in" "$out"
	toolbox sh -ec 'chmod 666 /proc/self/fd/0; chmod 666 /proc/self/fd/1
		[ -p /proc/self/fd/0 ]; [ -p /proc/self/fd/1 ]' <"$in" >"$out"
	[ "$(stat -c %a "$in" "$out")" = $'640\n640' ]
	echo before >"$log"
	toolbox sh -c 'echo after; : >/proc/self/fd/1; echo end' >>"$log"
	not toolbox truncate -s 0 /proc/self/fd/1 >>"$log"
	[ "$(cat "$log")" = $'before\nafter\nend' ]
	# A loop over lines, with a tool that reads none of them.
	printf '%s\n' one two three >"$log"
	while read -r _; do
		toolbox true
		turns=$((turns + 1))
	done <"$log"
	[ "$turns" = 3 ]
	# shellcheck disable=SC2016 # for the other shell, whose limit it is
	run -125 --separate-stderr bash -c 'ulimit -f 64 && exec "$B/recapctl" attach "$@" >"$0"' \
		"$out" "$WEB" probe spam 1000000
	[[ $stderr == "recapctl: cannot write to standard output, "*": File too large" ]]
	[ "$(stat -c %s "$out")" = 65536 ]
	refused 125 "standard input is a folder" recapctl attach "$WEB" true </
}
