#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What images ask for in their labels: granted when it is no more than usual, refused when it is, and never against what
# the caller says.

load common

WEB=runc:lb-web

setup_file() {
	require_root
	require_command runc jq bpftool
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	recapd_up
	start runc lb-web app
	labelled plain
	labelled ptrace -l io.recap.capabilities=NET_RAW,SYS_PTRACE -l io.recap.summary="Looks into processes"
	labelled writes -l io.recap.target-root=rw
	labelled blind -l io.recap.target-root=none -l io.recap.namespaces=pid,net
	labelled short -l io.recap.timeout=1
	labelled open -l io.recap.seccomp=unconfined
	labelled broken -l io.recap.timeout=soon
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

labelled() { # NAME MKOCI-OPTION...
	"$ROOT/tools/mkoci" -o "$BATS_FILE_TMPDIR/$1.tar" "${@:2}" -e PATH=/bin -C sh "$RT_IMAGES/rootfs/toolbox" >/dev/null
	recapctl image load --ref "$1" "$BATS_FILE_TMPDIR/$1.tar" >/dev/null
}

# The tool's effective capabilities have this bit: 19 is SYS_PTRACE.
has_cap() { # BIT ATTACH-ARG...
	local caps

	caps=$(recapctl attach "${@:2}" -- sh -c "sed -n 's/^CapEff:.//p' /proc/self/status")
	[ $(((0x$caps >> $1) & 1)) -eq 1 ]
}

@test "more capabilities than usual are refused, and granted to who passes the flag" {
	refused 125 "--cap-add SYS_PTRACE" recapctl attach "$WEB" ptrace -- true
	has_cap 19 --cap-add SYS_PTRACE "$WEB" ptrace
	not has_cap 19 --cap-drop ALL "$WEB" ptrace
	not has_cap 19 "$WEB" plain
}

@test "a writable target is refused, and granted to who passes the flag" {
	refused 125 "--target-root rw" recapctl attach "$WEB" writes -- true
	recapctl attach --target-root rw "$WEB" writes -- sh -c 'echo x >/target/label-test && rm /target/label-test'
	status_is 1 recapctl attach --target-root ro "$WEB" writes -- sh -c 'echo x >/target/label-test'
}

@test "no filter is refused, and granted to who passes the flag" {
	refused 125 "--seccomp unconfined" recapctl attach "$WEB" open -- true
	[ "$(recapctl attach --seccomp unconfined "$WEB" open -- sed -n 's/^Seccomp:.//p' /proc/self/status)" = 0 ]
	[ "$(recapctl attach "$WEB" plain -- sed -n 's/^Seccomp:.//p' /proc/self/status)" = 2 ]
}

@test "what is less than usual is granted, but for who says otherwise" {
	[ -z "$(recapctl attach "$WEB" blind -- ls -A /target)" ]
	recapctl attach --target-root ro "$WEB" blind -- test -e /target/etc/app.conf
	recapctl attach "$WEB" plain -- test -e /target/etc/app.conf
	[ "$(recapctl attach "$WEB" blind -- readlink /proc/self/ns/net)" = \
		"$(recapctl attach "$WEB" plain -- readlink /proc/self/ns/net)" ]
	[ "$(recapctl attach "$WEB" blind -- readlink /proc/self/ns/uts)" != \
		"$(recapctl attach "$WEB" plain -- readlink /proc/self/ns/uts)" ]
	status_is 124 recapctl attach "$WEB" short -- sleep 100
	[ "$(recapctl attach --timeout 1000 "$WEB" short -- echo "done")" = "done" ]
}

@test "a label that says nothing sensible is refused" {
	refused 125 "label io.recap.timeout" recapctl attach "$WEB" broken -- true
	recapctl attach --timeout 1000 "$WEB" broken -- true
}

@test "the node's setting grants what it names, and a setting that is none is an error" {
	local config=$BATS_TEST_TMPDIR/recapd.json

	echo '{"image_requests": {"capabilities": ["SYS_PTRACE"]}}' >"$config"
	recapd_down
	recapd_up --config "$config"
	has_cap 19 "$WEB" ptrace
	refused 125 "--target-root rw" recapctl attach "$WEB" writes -- true
	echo '{"image_requests": {"capabilities": ["EVERYTHING"]}}' >"$config"
	run -1 "$B/recapd" --config "$config"
	[[ $output == *image_requests*EVERYTHING* ]]
}

@test "list tells the summary" {
	recapctl image list --json | jq -e 'map(select(.summary)) | length == 1 and .[0].summary == "Looks into processes"'
}
