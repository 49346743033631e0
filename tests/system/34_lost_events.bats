#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Hints that got lost and maps that are full: with the smallest ring buffer and a recapd that stands still, 100,000 forks and
# hundreds of containers later all counts are exact. What finds no room is refused or not listed, counted, and found again.

load common

setup_file() {
	require_root
	require_command runc jq bpftool unshare
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run runc le-app app >/dev/null
}

teardown_file() {
	rt_down
}

teardown() {
	if [ -e "$RECAP_RUN/pid" ]; then
		kill -CONT "$(recapd_pid)" || true
		recapd_down
	fi
}

# With maps of these sizes, and the probe.
up() { # JSON
	echo "{\"maps\": $1}" >"$BATS_TEST_TMPDIR/config"
	recapd_up --config "$BATS_TEST_TMPDIR/config"
	recapctl image load --ref probe "$RT_IMAGES/oci/probe" >/dev/null
}

counted() { # COUNTER
	dump_map counters | jq --arg name "$1" '.[] | .formatted | select(.key.name == $name) | .value'
}

# runc's containers that run, as "PID NAME", and what recapd lists.
truly_running() {
	rt_runc list -f json | jq -r '.[] | select(.status == "running") | "\(.pid) \(.id)"' | sort
}

# Other runtimes may be at work on this machine.
said_to_run() {
	recapctl list --json | jq -r '.[] | select(.name | startswith("le-")) | "\(.pid) \(.name)"' | sort
}

inventory_exact() {
	[ "$(said_to_run)" = "$(truly_running)" ] || {
		diff <(said_to_run) <(truly_running)
		return 1
	}
}

entries() {
	dump_map containers | jq length
}

@test "100,000 forks while recapd stands still, at the smallest ring buffer: all counts are exact afterwards" {
	local go id job i before

	rt_run runc le-gone app >/dev/null
	up '{"events": 4096}'
	inventory_exact
	before=$(entries)
	mkfifo "$BATS_TEST_TMPDIR/go"
	recapctl attach --report "$BATS_TEST_TMPDIR/report" runc:le-app probe forks 100000 <"$BATS_TEST_TMPDIR/go" \
		>"$BATS_TEST_TMPDIR/out" 3>&- &
	job=$!
	exec {go}>"$BATS_TEST_TMPDIR/go"
	wait_until 5 grep -q ready "$BATS_TEST_TMPDIR/out"
	id=$(recapctl ps --json | jq -r '.[0].id')

	kill -STOP "$(recapd_pid)"
	echo >&"$go"
	# Meanwhile containers start and stop: one that was known goes, three come, and hundreds do both.
	rt_rm runc le-gone >/dev/null
	for i in 1 2 3; do
		rt_run runc "le-new$i" app >/dev/null
	done
	for ((i = 0; i < 300; i++)); do
		unshare -m true
	done
	wait_until 300 grep -q forked "$BATS_TEST_TMPDIR/out"
	# The kernel has counted, whoever looked on.
	dump_map capsules | jq -e '.[0].formatted.value | .total == 100002 and .live == 2 and .peak <= 4 and
		.untracked == 0'
	[ "$(counted events_lost)" -gt 300 ]
	[ "$(entries)" -eq $((before + 2)) ]

	kill -CONT "$(recapd_pid)"
	inventory_exact
	recapctl ps --json | jq -e --arg id "$id" 'length == 1 and .[0].id == $id and .[0].state == "running" and
		.[0].tasks.total == 100002'
	recapctl status --json | jq -e '.counters.events_lost > 300 and .capsules == 1'
	recapctl status | grep -q 'events_lost'
	echo >&"$go"
	exec {go}>&-
	ended 0 "$job"
	report '.state == "dropped" and .tasks.total == 100002 and .tasks.killed == 0 and .holders == [] and
		(.proof | .live_tasks == 0 and .overlay_busy == false and .untracked_forks == 0 and .lost_events > 300)'
	assert_clean
	for i in 1 2 3; do
		rt_rm runc "le-new$i" >/dev/null
	done
	wait_until 5 inventory_exact
}

@test "the end of a tool that nobody was told of is found all the same" {
	local go job

	up '{"events": 4096}'
	mkfifo "$BATS_TEST_TMPDIR/go"
	recapctl attach --report "$BATS_TEST_TMPDIR/report" runc:le-app probe forks 10 <"$BATS_TEST_TMPDIR/go" \
		>"$BATS_TEST_TMPDIR/out" 3>&- &
	job=$!
	exec {go}>"$BATS_TEST_TMPDIR/go"
	wait_until 5 grep -q ready "$BATS_TEST_TMPDIR/out"
	kill -STOP "$(recapd_pid)"
	# The ring buffer is full before the tool ends.
	for _ in {1..200}; do
		unshare -m true
	done
	printf '\n\n' >&"$go"
	exec {go}>&-
	wait_until 5 eval "dump_map capsules | jq -e '.[0].formatted.value.live == 0'"
	kill -CONT "$(recapd_pid)"
	ended 0 "$job"
	report '.state == "dropped" and .tasks.total == 12 and .proof.live_tasks == 0 and .proof.lost_events > 0'
}

@test "a full map of containers: who finds no room is counted and said to be missing, and is found once there is room" {
	local n one other

	# Whatever else runs on this machine, and le-app: no room for one more.
	up '{}'
	n=$(entries)
	recapd_down
	up "{\"containers\": $n}"
	inventory_exact
	status_is 0 recapctl status
	rt_run runc le-late1 app >/dev/null
	rt_run runc le-late2 app >/dev/null
	wait_until 5 eval '[ "$(counted containers_full)" -ge 2 ]'
	[ "$(said_to_run)" = "$(truly_running | grep ' le-app$')" ]
	refused 125 "le-late1" recapctl attach runc:le-late1 probe exit 0
	recapctl attach runc:le-app probe exit 0
	status_is 1 recapctl status
	[[ $output == *"the map of containers is full: some containers are not listed (containers_full="* ]]

	# Room for one: the other is still missing.
	rt_rm runc le-app >/dev/null
	wait_until 5 eval "said_to_run | grep le-late"
	one=$(said_to_run | cut -d ' ' -f 2)
	status_is 1 recapctl status

	# For both: found by an attach, without a list.
	rt_rm runc "$one" >/dev/null
	other=$(truly_running | cut -d ' ' -f 2)
	wait_until 5 recapctl attach "runc:$other" probe exit 0
	inventory_exact
	status_is 0 recapctl status
	rt_rm runc "$other" >/dev/null
	rt_run runc le-app app >/dev/null
	wait_until 5 inventory_exact
}

@test "a full map of capsules: one more is refused and counted, and runs once there is room" {
	local ids=()

	up '{"capsules": 2}'
	ids+=("$(recapctl attach -d runc:le-app probe sleep 1000)")
	ids+=("$(recapctl attach -d runc:le-app probe sleep 1000)")
	refused 125 "the map of capsules is full" recapctl attach runc:le-app probe exit 0
	refused 125 "the map of capsules is full" recapctl attach -d runc:le-app probe exit 0
	recapctl ps --json | jq -e 'length == 2 and all(.[]; .state == "running")'
	run -1 recapctl status
	[[ $output == *"the map of capsules was full: attaches were refused (capsules_full=2)"* ]]
	recapctl stop --timeout 0 "${ids[0]}"
	recapctl attach runc:le-app probe exit 0
	recapctl stop --timeout 0 "${ids[1]}"
	assert_clean
}

@test "a full map of latencies: figures are missing and counted, capsules run as before" {
	up '{"latency": 8}'
	recapctl image load --ref true "$RT_IMAGES/oci/true" >/dev/null
	recapctl attach runc:le-app probe exit 0
	recapctl attach runc:le-app true
	recapctl attach runc:le-app probe exit 0
	recapctl stats --json | jq -e '(.latency | length == 8 and all(.[]; .image | startswith("probe"))) and
		all(.latency[]; .count == 2) and .counters.latency_full == 8'
	run -1 recapctl status
	[[ $output == *"the map of latencies is full: figures of some images are missing (latency_full=8)"* ]]
}

@test "sizes of maps that make no sense are refused when recapd starts" {
	local bad

	for bad in '{"events": 5000}' '{"events": 2048}' '{"containers": 0}' '{"capsules": "many"}' '{"tags": 1}' '[]'; do
		echo "{\"maps\": $bad}" >"$BATS_TEST_TMPDIR/config"
		run -1 "$B/recapd" --config "$BATS_TEST_TMPDIR/config"
		[[ $output == *"$BATS_TEST_TMPDIR/config: maps"* ]]
	done
}
