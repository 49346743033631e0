#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# However a run ends, the capsule is seen out: the record says so, and so does the kernel. Each test
# is followed by a look at everything that a capsule could leave (assert_clean in common.bash).

load common

WEB=docker:es-web # has its own PID namespace
HOST=docker:es-host # shares the host's

setup_file() {
	require_root
	require_command runc containerd dockerd docker jq bpftool python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up docker runc
	rt_run docker es-web app
	rt_run -o --pid=host docker es-host app
	recapd_with_images toolbox true probe
	load_both
}

teardown_file() {
	recapd_down
	rt_down
}

# A shell and the probe in one image.
load_both() {
	"$ROOT/tools/mkoci" -o "$BATS_FILE_TMPDIR/both" -n both:1 -e PATH=/bin "$RT_IMAGES"/rootfs/{toolbox,probe} \
		>/dev/null
	recapctl image load --ref both "$BATS_FILE_TMPDIR/both" >/dev/null
}

setup() {
	outside >"$BATS_TEST_TMPDIR/outside"
}

teardown() {
	assert_clean
	if [ -e "$BATS_TEST_TMPDIR/outside" ]; then
		diff "$BATS_TEST_TMPDIR/outside" <(outside)
	fi
}

# Where a capsule is not to leave anything: the host's mounts, recapd's files but for its history and
# logs, and the application's children.
outside() {
	# Other runtimes on this machine may start and stop meanwhile.
	cut -d ' ' -f 2,3 /proc/mounts | grep -v ^/var/lib/ | sort
	cut -d ' ' -f 2,3 /proc/mounts | grep "^$RT/" | sort || true
	find "$RECAP_STATE" -mindepth 1 ! -path "*/layers/*" ! -path "*/keepers/*" ! -name '*.log' ! -name 'history*' | sort
	zombies_of "$(rt_pid docker es-web)"
}

counter() { # NAME
	recapctl stats --json | jq ".counters.$1"
}

# The host's PIDs of our capsules' processes with that name.
capsule_pids() { # COMMAND
	local file pid

	for file in $(recapd_processes); do
		pid=${file#/proc/}
		pid=${pid%/cgroup}
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$1" ] || echo "$pid"
	done
}

one_pid() { # COMMAND
	[ "$(capsule_pids "$1" | wc -l)" -eq 1 ]
}

# An attach in the background, $job, whose tool has said that it is ready.
attach_job() { # ATTACH-ARG...
	job_out=$BATS_TEST_TMPDIR/job.$RANDOM$RANDOM
	"$B/recapctl" attach "$@" >"$job_out" 2>"$job_out.err" 3>&- &
	job=$!
	wait_until 5 grep -q ready "$job_out"
}

# ---- left behind ---------------------------------------------------------------------------------

escapes() { # TARGET KILLED PROBE-ARG...
	run -0 attach_report "$1" probe "${@:3}"
	proven
	report ".tasks.killed == $2 and .exit_code == 0"
}

@test "a daemon left behind is ended and counted, and no zombie stays with the application" {
	local before

	before=$(counter escapes_proven)
	for target in "$WEB" "$HOST"; do
		escapes "$target" 1 daemon 1000
		report '.tasks.total >= 3 and .timings_us.drain > 0'
		[ -z "$(zombies_of "$(rt_pid docker "${target#docker:}")")" ]
	done
	[ -z "$(recapd_processes)" ]
	[ "$(counter escapes_proven)" -eq $((before + 2)) ]
}

@test "a daemon that ignores SIGTERM is killed" {
	escapes "$WEB" 1 stubborn-daemon 1000
	escapes "$HOST" 1 stubborn-daemon 1000
}

@test "a tool without children is not said to have left any" {
	escapes "$WEB" 0 exit 0
	report '.tasks.total == 2'
}

@test "orphans are reaped by our init, not by the application" {
	for target in "$WEB" "$HOST"; do
		run -0 attach_report "$target" probe orphans 50
		proven
		report '.tasks.total > 50'
		[ -z "$(zombies_of "$(rt_pid docker "${target#docker:}")")" ]
	done
}

@test "300 children left behind are ended, all of them" {
	escapes "$WEB" 300 forkbomb 300
}

@test "a tree that forks faster than it can be counted is ended" {
	# shellcheck disable=SC2016 # for the capsule's shell
	run attach_report --pids 200 --timeout 2 "$WEB" toolbox -- \
		sh -c 'b() { b | b & }; while :; do b; done'
	# The shell gives up once it cannot fork.
	[ "$status" = 2 ] || [ "$status" = 124 ]
	proven
	report '.tasks.total > 200 and .tasks.peak > 100 and .tasks.killed > 0'
}

@test "a child that ignores SIGTERM does not outlive a time limit or a stop" {
	local id

	# shellcheck disable=SC2016 # for the capsule's shell
	local both='trap "" TERM; (while :; do sleep 1; done) & echo ready; while :; do sleep 1; done'

	run -124 recapctl attach --timeout 1 --report "$BATS_TEST_TMPDIR/report" "$WEB" toolbox -- sh -c "$both"
	proven
	id=$(recapctl attach -d "$WEB" toolbox -- sh -c "$both")
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	[ "$(recapctl stop --timeout 1 "$id")" = "$id" ]
	recapctl inspect "$id" | jq -e '.state == "dropped" and .signal == 9 and .tasks.killed >= 2'
}

# ---- passed on -----------------------------------------------------------------------------------

# Quarantined, visible as such, and released by itself once the application lets go.
quarantined() { # PATH ORDER HOLDER-FILTER TEXT
	local app id before released

	app=$(rt_pid docker es-web)
	before=$(counter quarantined)
	released=$(counter quarantine_resolved)
	run -123 --separate-stderr attach_report "$WEB" probe passfd recap-app "$1" "$2"
	# shellcheck disable=SC2154 # run sets stderr
	[[ $stderr == "recapctl: layer quarantined: ${4/PID N/PID $app}"* ]]
	report '.state == "quarantined" and .exit_code == 0 and .cow.dropped == false and
		.proof == {live_tasks: 0, overlay_busy: true, untracked_forks: 0, lost_events: 0}'
	report ".holders | length == 1 and (.[0] | ($3) and
		(.kind == \"unnamed\" or (.pid == $app and .command == \"app\")))"
	id=$(report .id | tr -d '"')

	recapctl ps --json | jq -e "map(select(.id == \"$id\")) | length == 1 and .[0].state == \"quarantined\""
	recapctl ps | grep -F "$id" | grep -qF "quarantined: ${4/PID N/PID $app}"
	recapctl status --json | jq -e '.quarantined == 1'
	status_is 1 recapctl status
	status_is 123 recapctl stop --timeout 0 "$id"
	recapd_layers | grep -qF "$id"
	dump_map capsules | jq -e 'length == 1'
	[ "$(counter quarantined)" -eq $((before + 1)) ]

	[ "$(tell_app "$app" close)" = ok ]
	wait_until 5 eval "recapctl ps --json | jq -e 'length == 0'"
	recapctl inspect "$id" | jq -e '.state == "dropped" and .cow.dropped and .proof.overlay_busy == false'
	[ "$(counter quarantine_resolved)" -eq $((released + 1)) ]
	recapctl status --json | jq -e '.quarantined == 0'
}

@test "an open descriptor passed on: quarantined until it is closed" {
	quarantined /probe keep '.kind == "fd" and .fd > 2' "PID N (app) holds descriptor"
}

@test "a mapping of a file passed on: quarantined until it is gone" {
	quarantined /probe mmap '.kind == "mapping"' "PID N (app) holds it as its mapping"
}

@test "a folder passed on and worked in: quarantined until it is left" {
	quarantined / chdir '.kind == "cwd"' "PID N (app) holds it as its cwd"
}

@test "a descriptor in flight: quarantined until it is received or dropped, held by nobody to name" {
	quarantined /probe flight '.kind == "unnamed"' \
		"no process to name: a descriptor in flight or in an io_uring, or a mount"
}

@test "a descriptor of a file that the tool wrote is found, too" {
	local app

	app=$(rt_pid docker es-web)
	attach_job --report "$BATS_TEST_TMPDIR/report" --entrypoint sh "$WEB" both -- -c \
		'echo x >/written; /probe passfd recap-app /written mmap; echo ready'
	ended 123 "$job"
	report ".holders | length == 1 and .[0].pid == $app and .[0].kind == \"mapping\""
	[ "$(tell_app "$app" close)" = ok ]
}

# ---- ended from outside --------------------------------------------------------------------------

target_stops() { # DOCKER-RUN-OPTION...
	local how status

	for how in "rm -f" "stop -t 1" "kill -s KILL"; do
		start ${1:+-o "$1"} docker es-victim app
		attach_job --report "$BATS_TEST_TMPDIR/report" es-victim probe ignore-term 1000
		# shellcheck disable=SC2086 # a command and its options
		rt_docker $how es-victim >/dev/null
		ended 137 "$job"
		[ "$(cat "$job_out.err")" = "recapctl: the target ended, and the capsule with it" ]
		proven
		report '.reason == "target-gone" and .signal == 9'
		rt_docker rm -f es-victim >/dev/null 2>&1 || true
	done
}

@test "the target stops: the capsule ends with it" {
	target_stops
}

@test "a target in the host's PID namespace stops: the capsule ends with it" {
	target_stops --pid=host
}

@test "the target of a detached capsule stops: seen out, and its output stays" {
	local id

	start docker es-victim app
	id=$(recapctl attach -d es-victim probe sleep 1000)
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	rt_rm docker es-victim
	wait_until 10 eval "recapctl inspect $id | jq -e '.state == \"dropped\" and .reason == \"target-gone\"'"
	[ "$(recapctl logs "$id")" = ready ]
}

# The tool ran, or it did not, or the target ended under it: whichever, it is said.
is_clear() { # STATUS STDERR-FILE
	case $1 in
	# Some end well even when they are asked to.
	0) [ ! -s "$2" ] || [ "$(cat "$2")" = "recapctl: the target ended, and the capsule with it" ] ;;
	125 | 137) [ "$(wc -l <"$2")" -eq 1 ] && grep -q '^recapctl: ' "$2" ;;
	*) false ;;
	esac || {
		echo "status $1:"
		cat "$2"
		return 1
	}
}

@test "targets that are killed while attaches start: each is a success or one clear line" {
	local out=$BATS_TEST_TMPDIR/out bundle=$RT/bundles/runc-es-short i n status pids statuses=()

	mkdir "$out"
	start runc es-short busybox
	rt_runc delete -f es-short
	for ((i = 0; i < 40; i++)); do
		rt_runc run -d --bundle "$bundle" es-short </dev/null >/dev/null 2>&1
		# Every other time it has a moment, however quick runc is.
		{ ((i % 2)) || sleep 0.03; rt_runc delete -f es-short; } &
		pids=()
		# An attach takes less time than it takes runc to kill: some of them meet it, some come too late.
		for n in 1 2 3 4 5; do
			sleep "0.0$((i % 5))$((RANDOM % 10))"
			"$B/recapctl" attach runc:es-short true >"$out/$n" 2>"$out/$n.err" 3>&- &
			pids+=($!)
		done
		for n in 1 2 3 4 5; do
			status=0
			wait "${pids[n - 1]}" || status=$?
			is_clear "$status" "$out/$n.err"
			statuses+=("$status")
		done
		wait
	done
	# Of both kinds, or this was no test.
	printf '%s\n' "${statuses[@]}" | sort | uniq -c
	[[ " ${statuses[*]} " == *" 0 "* && " ${statuses[*]} " == *" 125 "* ]]
	rm -r "$bundle"
}

@test "recapctl is killed: its capsule ends" {
	local target id

	for target in "$WEB" "$HOST"; do
		attach_job "$target" probe ignore-term 1000
		id=$(recapctl ps --json | jq -r '.[].id')
		kill -KILL "$job"
		ended 137 "$job"
		wait_until 10 eval "recapctl inspect $id | jq -e '.signal == 9 and .state == \"dropped\"'"
	done
}

@test "our init is stopped: the capsule ends all the same" {
	for end in "sleep 1" "sleep 1000"; do
		# shellcheck disable=SC2086 # a verb and its argument
		attach_job --timeout $((2 * ${RT_TIMEOUT:-1})) --report "$BATS_TEST_TMPDIR/report" "$WEB" probe $end
		kill -STOP "$(capsule_pids recap-init)"
		status=0
		wait "$job" || status=$?
		[ "$status" = 0 ] || [ "$status" = 124 ]
		proven
	done
}

# What is then left to the application is dead, but the application's to reap: nobody can do it for
# it. Hence a container of its own.
@test "our init is killed: the capsule ends, whatever it has started" {
	start docker es-victim app
	attach_job --report "$BATS_TEST_TMPDIR/report" es-victim probe sleep 1000
	kill -KILL "$(capsule_pids recap-init)"
	ended 137 "$job"
	proven
	attach_job --report "$BATS_TEST_TMPDIR/report" es-victim toolbox -- \
		sh -c 'trap "" TERM; sleep 1000 & sleep 1000 & echo ready; wait'
	kill -KILL "$(capsule_pids recap-init)"
	ended 137 "$job"
	proven
	rt_rm docker es-victim
}

@test "the tool is stopped or killed from the host: the capsule ends" {
	attach_job --timeout "${RT_TIMEOUT:-1}" --report "$BATS_TEST_TMPDIR/report" "$WEB" probe sleep 1000
	kill -STOP "$(capsule_pids probe)"
	ended 124 "$job"
	proven
	attach_job --report "$BATS_TEST_TMPDIR/report" "$WEB" probe sleep 1000
	kill -KILL "$(capsule_pids probe)"
	ended 137 "$job"
	proven
}

# ---- the end of recapd ---------------------------------------------------------------------------

@test "SIGTERM of recapd: attached, detached and stubborn capsules are seen out" {
	local jobs=() i

	attach_job "$WEB" probe sleep 1000
	jobs+=("$job:143")
	attach_job "$HOST" probe ignore-term 1000
	jobs+=("$job:137")
	attach_job "$WEB" toolbox -- sh -c 'trap "" TERM; sleep 1000 & echo ready; wait'
	jobs+=("$job:137")
	recapctl attach -d "$WEB" probe stubborn-daemon 1000
	recapctl attach -d "$WEB" probe ignore-term 1000
	recapctl attach -d "$HOST" probe sleep 1000
	recapd_down
	for i in "${jobs[@]}"; do
		ended "${i#*:}" "${i%:*}"
	done
	[ -z "$(recapd_processes)" ]
	recapd_up
	recapctl ps --all --json | jq -e 'map(select(.reason == "shutdown" and .state == "dropped")) | length >= 5'
}

@test "SIGTERM of recapd while a layer is quarantined: it ends, and the layer with the last reference" {
	local app

	app=$(rt_pid docker es-web)
	run -123 attach_report "$WEB" probe passfd recap-app /probe keep
	recapd_down
	[ "$(tell_app "$app" close)" = ok ]
	recapd_up
	recapctl ps --json | jq -e 'length == 0'
}

@test "SIGTERM of recapd while attaches start: none is left behind" {
	local i out=$BATS_TEST_TMPDIR/out pids=() status

	mkdir "$out"
	for round in 1 2 3; do
		pids=()
		for ((i = 0; i < 30; i++)); do
			"$B/recapctl" attach "$WEB" probe sleep 1000 >"$out/$i" 2>"$out/$i.err" 3>&- &
			pids+=($!)
		done
		sleep "0.0$((round * 2))"
		recapd_down
		for i in "${pids[@]}"; do
			status=0
			wait "$i" || status=$?
			[[ $status =~ ^(125|137|143)$ ]]
		done
		[ -z "$(recapd_processes)" ]
		recapd_up
	done
}

# ---- all in all ----------------------------------------------------------------------------------

@test "after all of this nothing is left, and the counters agree" {
	[ "$(dump_map capsules)" = "[]" ]
	[ "$(find /sys/fs/cgroup -path "*/$RECAP_CGROUP/*" -type d | wc -l)" -le 1 ] # one kept ready
	[ "$(find "$RECAP_STATE/tmp" -mindepth 1 | wc -l)" -eq 0 ]
	recapctl stats --json | jq -e '.counters | .untracked_forks == 0 and .tag_without_capsule == 0 and
		.events_lost == 0 and .quarantined == .quarantine_resolved'
	run -0 recapctl status
	[[ $output == *"problems     none"* ]]
	# What the witnesses go by: that they can say no.
	attach_job "$WEB" probe sleep 1000
	not nothing_left
	[ "$(dump_map capsules | jq length)" -eq 1 ]
	kill -KILL "$job"
	ended 137 "$job"
}
