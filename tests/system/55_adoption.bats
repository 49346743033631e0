#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# recapd killed, restarted, and upgraded under capsules that run: streams, limits, proofs and exit statuses
# go on as if nothing had been.

# shellcheck disable=SC2030,SC2031 # each test has its own job
load common

setup_file() {
	require_root
	require_command runc jq bpftool
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run runc web app
	recapd_with_images toolbox true probe
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
	[ "$(find "$RECAP_STATE/keepers" -type f | wc -l)" = 1 ]
}

# PIDs of the capsules' processes of that name.
capsule_pids() { # COMMAND
	local file pid

	for file in $(recapd_processes); do
		pid=${file#/proc/}
		pid=${pid%/cgroup}
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$1" ] || echo "$pid"
	done
}

no_shell() {
	[ -z "$(capsule_pids sh)" ]
}

ask() { # METHOD PARAMETERS
	printf '%s\0' "{\"method\":\"$1\",\"parameters\":$2}" |
		/usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET"
}

terminal() {
	"$BATS_TEST_DIRNAME/terminal.py" "$@"
}

# An attach in the background (in $target, or web), whose tool says "ready" first. Its PID is in $job; what it says is in $out, its record in $report.
attach_waits() { # OPTION... -- SCRIPT
	local options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	out=$BATS_TEST_TMPDIR/out report=$BATS_TEST_TMPDIR/report
	mkfifo "$BATS_TEST_TMPDIR/in"
	"$B/recapctl" attach --report "$report" "${options[@]}" "${target:-web}" toolbox -- sh -c "echo ready; $2" \
		<"$BATS_TEST_TMPDIR/in" >"$out" 2>&1 3>&- &
	job=$!
	exec 4>"$BATS_TEST_TMPDIR/in"
	wait_until 5 grep -q ready "$out"
}

ended_with() { # STATUS PID
	local status=0

	wait "$2" || status=$?
	[ "$status" = "$1" ] || {
		echo "exit status $status, not $1: $(cat "$out")" >&2
		return 1
	}
}

@test "kill -9: streams go on, the exit status arrives, and the record is whole" {
	local before after

	attach_waits -- 'head -c 100000 /dev/zero >/tmp/file; read -r x; echo "got $x"; read -r x; echo "got $x"; exit 7'
	before=$(recapctl ps --json | jq -c '.[0] | del(.state)')
	recapd_kill
	echo one >&4
	wait_until 5 grep -q "got one" "$out"
	recapd_up
	recapctl ps --json | jq -e 'length == 1 and .[0].state == "running"'
	after=$(recapctl ps --json | jq -c '.[0] | del(.state)')
	[ "$(jq -c '{id, image, target, command, user, token, started_at: .started_at[:19]}' <<<"$before")" = \
		"$(jq -c '{id, image, target, command, user, token, started_at: .started_at[:19]}' <<<"$after")" ]
	echo two >&4
	ended_with 7 "$job"
	grep -q "got two" "$out"
	jq -e '.exit_code == 7 and .state == "dropped" and .cow.dropped and .cow.bytes >= 100000 and
		.proof == {live_tasks: 0, overlay_busy: false, untracked_forks: 0, lost_events: 0} and
		(.timings_us | .run > 0 and .total > 0 and .inject > 0) and .tasks.total == 3' "$report"
	[ "$(recapctl inspect "$(jq -r .id "$report")" | jq -S .)" = "$(jq -S . "$report")" ]
}

@test "kill -9: a tool that ends while there is no recapd" {
	attach_waits -- 'read -r x; exit 9'
	recapd_kill
	echo go >&4
	wait_until 5 no_shell
	sleep 0.2
	recapd_up
	ended_with 9 "$job"
	jq -e '.exit_code == 9 and .state == "dropped" and .reason == null' "$report"
}

@test "a signal while there is no recapd is the next one's to pass on" {
	local client

	attach_waits -- 'while :; do sleep 0.05; done'
	client=$job
	recapd_kill
	# A shell has its background jobs ignore SIGINT, but not SIGTERM, and recapctl leaves it at that.
	kill -TERM "$client"
	sleep 0.2
	recapd_up
	ended_with 143 "$client"
	jq -e '.signal == 15 and .state == "dropped"' "$report"
}

@test "kill -9 three times in a row: the first recapd's capsule is seen out by the fourth" {
	attach_waits -- 'read -r x; exit 3'
	for _ in 1 2 3; do
		recapd_kill
		recapd_up
		[ "$(recapctl ps --json | jq length)" = 1 ]
	done
	echo go >&4
	ended_with 3 "$job"
	jq -e '.state == "dropped"' "$report"
}

@test "kill -9 under a terminal: it is there afterwards" {
	terminal wait ready wait again type '\n' -- "$B/recapctl" attach -t web toolbox -- \
		sh -c 'echo ready; sleep 2; echo again; read -r x; exit 5' >"$BATS_TEST_TMPDIR/shown" 3>&- &
	job=$!
	wait_until 5 eval 'recapctl ps --json | jq -e "length == 1"'
	recapd_kill
	recapd_up
	out=$BATS_TEST_TMPDIR/shown ended_with 5 "$job"
	grep -q again "$BATS_TEST_TMPDIR/shown"
	grep -q restored "$BATS_TEST_TMPDIR/shown"
}

@test "kill -9: a detached tool's output, stop, and logs" {
	local id

	id=$(recapctl attach -d web toolbox -- sh -c 'echo before; while sleep 0.1; do echo tick; done')
	wait_until 5 eval "recapctl logs $id | grep -q tick"
	recapd_kill
	recapd_up
	recapctl logs "$id" | grep -q before
	recapctl stop --timeout 0 "$id"
	recapctl inspect "$id" | jq -e '.state == "dropped" and .reason == "stopped"'
	recapctl logs "$id" | grep -q tick
}

@test "kill -9: a time limit still holds" {
	attach_waits --timeout 2 -- 'sleep 100'
	recapd_kill
	recapd_up
	ended_with 124 "$job"
	jq -e '.reason == "timeout" and .state == "dropped"' "$report"
}

@test "kill -9: a time limit that passed meanwhile holds at once" {
	attach_waits --timeout 1 -- 'sleep 100'
	recapd_kill
	sleep 1.2
	recapd_up
	ended_with 124 "$job"
}

@test "kill -9: limits still hold" {
	attach_waits --pids 8 -- 'read -r x; for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo "status $?"'
	recapd_kill
	recapd_up
	echo go >&4
	wait "$job" || true
	grep -qi "fork" "$out"
}

@test "kill -9: what the tool leaves behind is ended, and counted" {
	attach_waits -- 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & read -r x; exit 0'
	recapd_kill
	echo go >&4
	recapd_up
	ended_with 0 "$job"
	jq -e '.tasks.killed == 1 and .state == "dropped"' "$report"
}

@test "kill -9: a target that ended meanwhile" {
	rt_run runc passing app
	target=passing attach_waits -- 'sleep 1000'
	recapd_kill
	rt_rm runc passing
	recapd_up
	ended_with 137 "$job"
	jq -e '.reason == "target-gone" and .state == "dropped"' "$report"
}

@test "kill -9: a quarantined layer stays quarantined, and is dropped once it is free" {
	local id status=0

	# As in the tests of escape: a descriptor that goes to the application.
	recapctl attach --report "$BATS_TEST_TMPDIR/r" web probe passfd recap-app /probe keep 3>&- || status=$?
	[ "$status" = 123 ]
	id=$(jq -r .id "$BATS_TEST_TMPDIR/r")
	recapd_kill
	recapd_up
	recapctl inspect "$id" | jq -e '.state == "quarantined" and .proof.overlay_busy'
	recapctl inspect "$id" | jq -e ".holders | any(.pid == $(rt_pid runc web))"
	[ "$(tell_app "$(rt_pid runc web)" close)" = ok ]
	wait_until 5 eval "recapctl inspect $id | jq -e '.state == \"dropped\" and .cow.dropped'"
}

layers_of() { # KEEPER: in its workshop
	sed -nE 's,.* /c/([0-9a-f]{12}) .*,\1,p' "/proc/$1/mountinfo"
}

@test "kill -9: what was made ahead is dropped, though its keeper goes on with another capsule" {
	local id keeper

	id=$(recapctl attach -d web toolbox -- sleep 1000)
	recapctl attach web toolbox -- true
	keeper=$(cat "$RECAP_STATE"/keepers/*)
	# The one that runs, and a berth.
	wait_until 5 eval "[ \$(layers_of $keeper | wc -l) = 2 ]"
	recapd_kill
	recapd_up
	[ "$(layers_of "$keeper")" = "$id" ]
	[ "$(recapctl stop --timeout 0 "$id")" = "$id" ]
	wait_until 5 [ ! -e "/proc/$keeper" ]
}

@test "kill -9 during the set-up: the attach is made again, and runs once" {
	local marks=$BATS_TEST_TMPDIR/marks caught=0 status

	for ((i = 1; caught < 12; i++)); do
		[ "$i" -le 60 ]
		recapctl attach web toolbox -- sh -c "echo $i; exit 4" >"$marks.$i" 2>"$marks.$i.err" 3>&- &
		job=$!
		sleep "0.00$((RANDOM % 8))"
		recapd_kill
		recapd_up
		status=0
		wait "$job" || status=$?
		if [ "$status" = 125 ]; then
			# It had not called yet.
			grep -q "recapd is not running" "$marks.$i.err"
			[ ! -s "$marks.$i" ]
			continue
		fi
		caught=$((caught + 1))
		[ "$status" = 4 ] || cat "$marks.$i.err"
		[ "$status" = 4 ]
		[ "$(cat "$marks.$i")" = "$i" ]
	done
}

@test "a client that does not come back is not waited for longer than said" {
	attach_waits -- 'sleep 1000'
	recapd_kill
	kill -KILL "$job"
	wait "$job" || true
	recapd_up
	recapctl ps --json | jq -e 'length == 1'
	wait_until 20 eval 'recapctl ps --json | jq -e "length == 0"'
	recapctl ps --all --json | jq -e '.[0].reason == "client-gone" and .[0].state == "dropped"'
}

@test "SIGUSR2: handed over to the next recapd, in order" {
	attach_waits -- 'read -r x; exit 6'
	kill -USR2 "$(recapd_pid)"
	wait_until 5 recapd_ended
	[ "$(cat "$RECAP_RUN/status")" = 0 ]
	recapd_up
	echo go >&4
	ended_with 6 "$job"
}

@test "tokens: wrong ones are refused, unknown ones are unknown" {
	for token in short '0123456789abcdef\"' 0123456789abcdef0123456789abcdef0; do
		ask io.recap.Rejoin "{\"token\":\"$token\"}" | jq -e '.error == "io.recap.InvalidArgument"'
	done
	ask io.recap.Rejoin '{"token":"0123456789abcdef"}' | jq -e '.error == "io.recap.CapsuleNotFound"'
	ask io.recap.Rejoin '{}' | jq -e '.error == "io.recap.InvalidArgument"'
}

# Takes the first call and ends; then it is there again, and has no room. At the end: how often it was called.
busy_recapd() { # SOCKET
	python3 - "$1" <<-'END'
		import socket, sys

		server = socket.socket(socket.AF_UNIX)
		server.bind(sys.argv[1])
		server.listen(64)
		calls = 0
		server.settimeout(20)
		try:
		    while True:
		        client, _ = server.accept()
		        client.recv(65536)
		        if calls:
		            client.sendall(b'{"error":"io.recap.Busy","parameters":{"message":"all seats are taken"}}\0')
		            server.settimeout(3)
		        client.close()
		        calls += 1
		except TimeoutError:
		    print(calls)
	END
}

@test "a recapd that has no room is asked again, but not all the time, and is quoted in the end" {
	local socket=$BATS_TEST_TMPDIR/busy calls

	busy_recapd "$socket" >"$BATS_TEST_TMPDIR/calls" 3>&- &
	job=$!
	wait_until 5 test -S "$socket"
	RECAP_REJOIN_S=2 run -125 "$B/recapctl" --socket "$socket" attach web true
	echo "$output"
	[ "${lines[-1]}" = "recapctl: all seats are taken" ]
	[ "${lines[0]}" = "recapctl: recapd is busy: waiting until it has room" ]
	ended 0 "$job"
	calls=$(cat "$BATS_TEST_TMPDIR/calls")
	echo "calls: $calls"
	[ "$calls" -gt 3 ] && [ "$calls" -le 110 ]
}

@test "the keeper killed as well: the capsule is ended, and nobody is told that it ran well" {
	attach_waits -- 'sleep 1000'
	kill -KILL "$(cat "$RECAP_STATE"/keepers/*)"
	recapd_kill
	recapd_up
	recapctl ps --json | jq -e 'length == 0'
	ended_with 125 "$job"
	grep -q "no record" "$out"
}

@test "the keeper: no capability, no descriptor but its own, and it cannot be used from a target" {
	local pid

	pid=$(cat "$RECAP_STATE"/keepers/*)
	grep -qx recap-keeper "/proc/$pid/comm"
	grep -qE '^CapPrm:\s+0+$' "/proc/$pid/status"
	grep -qE '^CapBnd:\s+0+$' "/proc/$pid/status"
	grep -qE '^Seccomp:\s+2$' "/proc/$pid/status"
	# Its streams are no one's, and beside them there are slots, lock, signals and guardian.
	[ "$(find "/proc/$pid/fd" -lname /dev/null | wc -l)" = 3 ]
	[ "$(find "/proc/$pid/fd" -type l | wc -l)" = 7 ]
	not grep -q " /sys " "/proc/$pid/mountinfo"
	recapctl attach --cap-add SYS_PTRACE web toolbox -- sh -c 'cat /proc/[0-9]*/comm' >"$BATS_TEST_TMPDIR/comms"
	not grep -q recap-keeper "$BATS_TEST_TMPDIR/comms"
}
