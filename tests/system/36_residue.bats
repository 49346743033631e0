#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What a capsule leaves in the namespaces that it shared with its target is in the record; each kind is left once, and once it is
# taken away again by the tool itself, which is no residue.

load common

WEB=docker:re-web

setup_file() {
	require_root
	require_command runc containerd dockerd docker jq bpftool nsenter
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up docker runc
	rt_run docker re-web app /app -s
	recapd_with_images toolbox true probe
}

teardown_file() {
	recapd_down
	rt_down
}

# Each test leaves the target as it was: the residue of one is not to be the next one's.
teardown() {
	if [ -n "${UNDO:-}" ]; then
		in_target sh -c "$UNDO"
	fi
	assert_clean
}

in_target() { # COMMAND...: the host's, in the namespaces of the target
	nsenter -t "$(rt_pid docker re-web)" --net --ipc --uts "$@"
}

residue() { # FILTER: the record's
	report ".residue | $1"
}

none_left() {
	report '.state == "dropped" and .residue == [] and .residue_more == 0 and .residue_refused == false'
}

probe() { # OPTION... -- ARG...
	local options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	attach_report "${options[@]}" "$WEB" probe "$@"
}

tool() { # CAPABILITY COMMAND: a line for the shell of a toolbox
	attach_report --cap-add "$1" "$WEB" toolbox -- sh -c "$2"
}

# ---- nothing ---------------------------------------------------------------------------------------

@test "a tool that leaves nothing has no residue, whatever it may do" {
	attach_report "$WEB" true
	none_left
	attach_report --cap-add NET_ADMIN,SYS_ADMIN --residue refuse "$WEB" true
	none_left
}

@test "what the target had before is not residue" {
	UNDO='ipcrm --all; ip link del re-br0; ip rule del pref 4242'
	in_target ipcmk -M 4096 -S 2 -Q
	in_target ip link add re-br0 type bridge
	in_target ip rule add pref 4242 from 10.1.0.0/16 table 42
	attach_report --cap-add NET_ADMIN,SYS_ADMIN --residue refuse "$WEB" true
	none_left
}

# ---- each kind -------------------------------------------------------------------------------------

@test "a shared memory segment, a set of semaphores and a message queue" {
	local kind

	UNDO='ipcrm --all'
	for kind in shm sem msg; do
		probe -- leave "$kind" undo
		none_left
		probe -- leave "$kind"
		residue "length == 1 and .[0].kind == \"$kind\" and .[0].change == \"added\" and
			(.[0].detail | startswith(\"key 0x0005eca9, owner 0:0, mode 600\"))"
		report '.state == "dropped" and .exit_code == 0 and .residue_refused == false'
	done
	in_target ipcs -a | grep -c 0x0005eca9 | grep -x 3
}

@test "a POSIX queue, whose name is shown harmlessly" {
	probe --cap-add SYS_PTRACE -- leave mqueue undo
	none_left
	probe --cap-add SYS_PTRACE -- leave mqueue
	residue 'map([.kind, .change]) == [["mqueue", "added"]]'
	rm_queues
	# Under Landlock a tool cannot open what it makes, but the kernel has made it.
	run -1 probe -- leave mqueue
	residue 'length == 1 and .[0].kind == "mqueue" and .[0].change == "added" and
		.[0].name == "/recap%09%E2left" and (.[0].detail | endswith("mode 600"))'
	rm_queues
}

rm_queues() {
	local mount=$BATS_TEST_TMPDIR/mq

	mkdir -p "$mount"
	in_target unshare -m sh -c "mount -t mqueue none $mount && rm $mount/recap*"
}

@test "the host name" {
	local before

	before=$(in_target hostname)
	UNDO="hostname $before"
	probe --cap-add SYS_ADMIN -- leave hostname undo
	none_left
	probe --cap-add SYS_ADMIN -- leave hostname
	residue "map(.kind) == [\"hostname\", \"hostname\"] and
		map([.change, .name]) == ([[\"removed\", \"$before\"], [\"added\", \"recap-was-here\"]] | sort_by(.[1])) "
}

@test "an interface with its address and routes" {
	UNDO='ip link del re-br0'
	tool NET_ADMIN 'ip link add re-br0 type bridge && ip addr add 10.99.0.1/24 dev re-br0 &&
		ip link set re-br0 up && ip link del re-br0'
	none_left
	tool NET_ADMIN 'ip link add re-br0 type bridge && ip addr add 10.99.0.1/24 dev re-br0 && ip link set re-br0 up'
	residue 'any(.kind == "interface" and .name == "re-br0" and .change == "added")'
	residue 'any(.kind == "address" and .name == "10.99.0.1/24" and .detail == "on re-br0")'
	residue 'any(.kind == "route" and .name == "10.99.0.0/24" and .detail == "on re-br0 table 254")'
	residue 'all(.change == "added")'
}

@test "what is set of an interface that was there" {
	UNDO='ip link set lo mtu 65536'
	tool NET_ADMIN 'ip link set lo mtu 1400'
	residue 'map(select(.kind == "interface") | [.change, .name]) | sort == [["added", "lo"], ["removed", "lo"]]'
}

@test "a route that was added, and one that was taken away" {
	UNDO='ip route del 10.98.0.0/16'
	tool NET_ADMIN 'ip route add 10.98.0.0/16 dev lo && ip route del 10.98.0.0/16 dev lo'
	none_left
	tool NET_ADMIN 'ip route add 10.98.0.0/16 dev lo'
	residue 'map([.kind, .change, .name, .detail]) == [["route", "added", "10.98.0.0/16", "on lo table 254"]]'
	UNDO=
	tool NET_ADMIN 'ip route del 10.98.0.0/16 dev lo'
	residue 'map([.kind, .change, .name]) == [["route", "removed", "10.98.0.0/16"]]'
}

@test "a rule" {
	UNDO='ip rule del pref 4242'
	tool NET_ADMIN 'ip rule add pref 4242 from 10.1.0.0/16 table 42 && ip rule del pref 4242'
	none_left
	tool NET_ADMIN 'ip rule add pref 4242 from 10.1.0.0/16 table 42'
	residue 'map([.kind, .change, .name, .detail]) == [["rule", "added", "4242", "from 10.1.0.0 to all table 42"]]'
}

@test "a table of nftables" {
	probe --cap-add NET_ADMIN -- leave nftables undo
	none_left
	probe --cap-add NET_ADMIN -- leave nftables
	residue 'map([.kind, .change, .name, .detail]) == [["nftables", "added", "recap", "table, table recap, family 2"]]'
	# Deleting it is a change, too.
	in_target "$B/tests/probe" leave nftables undo
	probe --cap-add NET_ADMIN -- exit 0
	none_left
}

@test "an abstract socket that the target was made to hold" {
	probe -- passsock recap-app re-left undo
	none_left
	probe -- passsock recap-app re-left
	residue 'map([.kind, .change, .name]) == [["socket", "added", "@re-left"]]'
	report '.state == "dropped"'
	tell_app "$(rt_pid docker re-web)" close
}

# ---- who may change nothing, and what is not shared ----------------------------------------------------

@test "in namespaces of its own a tool leaves nothing in the target" {
	attach_report --namespaces pid --cap-add NET_ADMIN,SYS_ADMIN "$WEB" probe -- leave shm
	none_left
	attach_report --namespaces pid --cap-add NET_ADMIN,SYS_ADMIN "$WEB" probe -- leave hostname
	none_left
	attach_report --namespaces pid --cap-add NET_ADMIN,SYS_ADMIN "$WEB" toolbox -- ip link add re-br0 type bridge
	none_left
}

# ---- refuse ----------------------------------------------------------------------------------------

@test "with --residue refuse any residue is exit status 123, and says what" {
	UNDO='ipcrm --all'
	run -123 --separate-stderr probe --residue refuse -- leave shm
	[[ $stderr == *"residue in the target: added shm "*"key 0x0005eca9"* ]]
	report '.exit_code == 0 and .residue_refused and .state == "dropped"'
	ipcrm_all
	run -0 --separate-stderr probe --residue refuse -- leave shm undo
	[ -z "$stderr" ]
	none_left
	run -0 --separate-stderr probe --residue report -- leave shm
	[ -z "$stderr" ]
}

ipcrm_all() {
	in_target ipcrm --all
}

@test "a detached capsule that was to leave none: stop exits with 123" {
	local id

	UNDO='ipcrm --all'
	attach_report "$WEB" true
	id=$(recapctl attach -d --residue refuse "$WEB" probe -- sleep 100)
	in_target ipcmk -Q >/dev/null
	run -123 --separate-stderr recapctl stop "$id"
	[[ $stderr == *"residue in the target: added msg "* ]]
}

@test "refused: any other word" {
	refused 125 "refuse|report" recapctl attach --residue maybe "$WEB" true
}

@test "what is too much to be listed is counted" {
	UNDO='ipcrm --all'
	tool NET_ADMIN 'for i in $(seq 100); do ip route add 10.97.0.$i dev lo; done'
	report '(.residue | length) == 64 and .residue_more == 36 and .residue_refused == false'
	tool NET_ADMIN 'for i in $(seq 100); do ip route del 10.97.0.$i dev lo; done'
	UNDO=
}

@test "what is too much to be looked at is unknown, and costs recapd no more" {
	in_target sh -c 'for a in 0 1 2 3 4 5 6 7 8; do for b in $(seq 0 249); do
		echo route add 10.96.$a.$b dev lo; done; done | ip -batch -'
	UNDO='for a in 0 1 2 3 4 5 6 7 8; do for b in $(seq 0 249); do
		echo route del 10.96.$a.$b dev lo; done; done | ip -batch -'
	run -123 --separate-stderr attach_report --cap-add NET_ADMIN --residue refuse "$WEB" true
	residue 'any(.kind == "route" and .change == "unknown" and (.detail | startswith("cannot be looked at: too many")))'
}

windows() { # into targets' namespaces, that recapd has open
	find "/proc/$(recapd_pid)/fd" -lname '/proc/sysvipc/shm' | wc -l
}

@test "between capsules the last target stays in view, until it ends" {
	start runc re-other app
	attach_report runc:re-other true
	attach_report "$WEB" true
	[ "$(windows)" = 1 ]
	attach_report runc:re-other true
	attach_report runc:re-other probe -- leave shm
	residue 'map([.kind, .change]) == [["shm", "added"]]'
	attach_report runc:re-other true
	none_left
	[ "$(windows)" = 1 ]
	rt_rm runc re-other
	wait_until 5 eval '[ "$(windows)" = 0 ]'
}
