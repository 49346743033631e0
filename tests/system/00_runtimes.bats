#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The ground that all other system tests stand on: each runtime starts, runs containers, and goes
# without a trace. In a work folder of its own, so that it neither sees nor ends the others'
# runtimes.

export RT=/var/lib/recap-test-smoke
load common

setup_file() {
	require_root
	require_command runc crun containerd dockerd docker podman protoc jq
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	machine_state >"$BATS_FILE_TMPDIR/before"
}

teardown_file() {
	rt_down
}

# An application and a container with a shell: alive, answering, and gone after rt_rm.
smoke() { # RUNTIME
	local app shell

	rt_up "$1"
	rt_run -l tier=web "$1" smoke-app app
	app=$(rt_pid "$1" smoke-app)
	[ "$(tr -d '\0' <"/proc/$app/cmdline")" = /app-s ]
	wait_until 5 ask_app "$app"
	[ "$(ask_app "$app")" = "recap app" ]
	[ "$(tell_app "$app" close)" = ok ]
	[ "$(cat "/proc/$app/root/etc/app.conf")" = recap-test-marker ]
	[ -n "$(rt_id "$1" smoke-app)" ]

	rt_run "$1" smoke-shell busybox /bin/sleep 1000
	shell=$(rt_pid "$1" smoke-shell)
	[ "$(rt_exec "$1" smoke-shell /bin/cat /proc/1/comm)" = sleep ]

	rt_rm "$1" smoke-app
	[ ! -e "/proc/$app/root/app" ]
	rt_rm "$1" smoke-shell
	[ ! -e "/proc/$shell/root/bin" ]
}

@test "runc runs containers" {
	smoke runc
}

@test "crun runs containers" {
	smoke crun
}

@test "containerd runs containers" {
	smoke containerd
}

@test "docker runs containers" {
	smoke docker
}

@test "CRI runs pods" {
	smoke cri
}

@test "podman runs containers" {
	smoke podman
}

@test "a pod has several containers, which share its network" {
	rt_up cri
	rt_run cri smoke-pod/app app
	rt_run cri smoke-pod/shell busybox /bin/sleep 1000
	wait_until 5 ask_app "$(rt_pid cri smoke-pod/shell)"
	rt_rm cri smoke-pod/app
	rt_rm cri smoke-pod/shell
}

@test "containers that still run and a killed daemon leave nothing behind" {
	rt_up runc crun containerd docker cri podman
	for runtime in runc crun containerd docker cri podman; do
		rt_run "$runtime" smoke-left busybox /bin/sleep 1000
	done
	# As a crash of the machine's memory or of a test run would do it.
	kill -KILL "$(rt_holder_pid dockerd)" "$(rt_holder_pid containerd)"
	rt_down
	[ ! -e "$RT" ]
	machine_state >"$BATS_TEST_TMPDIR/after"
	diff "$BATS_FILE_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}
