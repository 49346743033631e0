#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Privileges kept apart: what parses can do nothing, what injects is told nothing it does not check, and the rest has no call that it
# can do without.

load common

setup_file() {
	require_root
	require_command runc jq bpftool
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run runc web app
	recapd_with_images toolbox true
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

child() { # NAME
	pgrep -P "$(recapd_pid)" -x "$1"
}

field() { # NAME PID
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$2/status"
}

@test "the reader holds no capability, is filtered, and has one descriptor" {
	local pid

	pid=$(child recap-reader)
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(field $set "$pid")" = 0000000000000000 ]
	done
	[ "$(field Seccomp "$pid")" = 2 ]
	[ "$(field NoNewPrivs "$pid")" = 1 ]
	[ "$(find "/proc/$pid/fd" -type l | wc -l)" = 1 ]
	# The twin: recapd itself has them.
	[ "$(field CapEff "$(recapd_pid)")" != 0000000000000000 ]
}

@test "recapd has a filter; the injector, which may have to grant what it lacks, has none" {
	[ "$(field Seccomp "$(recapd_pid)")" = 2 ]
	[ "$(field Seccomp "$(child recap-injector)")" = 0 ]
	# What is started by recapd is under it, too: the worker that unpacks an image, while it reads.
	mkfifo "$BATS_TEST_TMPDIR/archive"
	recapctl image load --ref never - <"$BATS_TEST_TMPDIR/archive" 3>&- &
	exec 4>"$BATS_TEST_TMPDIR/archive"
	wait_until 5 child recap-load
	[ "$(field Seccomp "$(child recap-load)")" = 2 ]
	exec 4>&-
	not wait $!
}

@test "the reader is killed: one call fails, and the next is served" {
	local old

	old=$(child recap-reader)
	kill -KILL "$old"
	run recapctl list
	recapctl list | grep -q web
	[ "$(child recap-reader)" != "$old" ]
	recapctl attach web true
}

@test "the reader is stopped: recapd does not wait for it for ever" {
	local old

	old=$(child recap-reader)
	kill -STOP "$old"
	run timeout 30 "$B/recapctl" list
	[ "$status" != 124 ]
	recapctl attach web true
	[ "$(child recap-reader)" != "$old" ]
}

@test "the injector is killed: attaches go on, but for debuggers, which status says" {
	kill -KILL "$(child recap-injector)"
	for _ in {1..3}; do
		recapctl attach web true
	done
	refused 125 "the injector was ended" recapctl attach --cap-add SYS_PTRACE web true
	run -1 recapctl status
	[[ $output == *"no debuggers until recapd is restarted"* ]]
	recapd_kill
	recapd_up
	recapctl attach --cap-add SYS_PTRACE web true
	recapctl status
}
