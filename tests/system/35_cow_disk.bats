#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Layers on disk (--cow disk): as limited, as proven and as surely gone as those in memory, whoever dies meanwhile.

load common

setup_file() {
	require_root
	require_command runc jq bpftool mkfs.ext4 losetup
	# Debian's kernels have it as a module.
	[ -e /dev/loop-control ] || modprobe loop 2>/dev/null || skip_or_fail "this kernel has no loop devices"
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
	rm -f "$RECAP_STATE/filler"
	assert_clean
	wait_until 5 no_images
}

# Files behind loop devices, below the state folder: they have no name, so losetup says that they are deleted.
images() {
	losetup --list --noheadings --output NAME,BACK-FILE | grep -F "$RECAP_STATE/" || true
}

no_images() {
	[ -z "$(images)" ]
}

one_image() {
	[ "$(images | wc -l)" = 1 ]
}

disk_of() { # in KiB that are free for anybody
	df --output=avail -k "$RECAP_STATE" | tail -n 1
}

# A detached run whose tool has said that it is ready; prints its ID.
detached() { # OPTION... -- SCRIPT
	local id options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	id=$(recapctl attach -d --cow disk "${options[@]}" web toolbox -- sh -c "$2")
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	echo "$id"
}

dropped() { # ID
	recapctl inspect "$1" | jq -e '.state == "dropped" and .cow.dropped and .cow.backend == "disk"'
}

# ---- size ----------------------------------------------------------------------------------------

@test "a tool writes more than a layer in memory would take" {
	run -1 --separate-stderr recapctl attach web probe fill 100000000
	run -0 attach_report --cow disk web probe fill 100000000
	[ "$output" = 100000000 ]
	proven
	report '.cow | .backend == "disk" and .bytes >= 100000000 and .bytes < 102000000'
	# Nothing said: 1 GiB.
	report '.limits.cow_size == 1073741824'
}

@test "--cow-size: the layer is full, and no larger than said" {
	run -0 attach_report --cow disk --cow-size 32m web probe fill 20000000
	[ "$output" = 20000000 ]
	report '.cow | .backend == "disk" and .bytes >= 20000000 and .bytes <= 33554432 and .dropped'
	run -1 --separate-stderr attach_report --cow disk --cow-size 32m web probe fill 40000000
	[ "$output" -gt 20000000 ] && [ "$output" -le 33554432 ]
	# shellcheck disable=SC2154 # run sets stderr
	[ "$stderr" = "probe: /fill: No space left on device" ]
	proven
}

@test "escape is proven of a layer that has neither a block nor an inode left" {
	# shellcheck disable=SC2016 # for the capsule's shell
	run -0 attach_report --cow disk --cow-size 16m web toolbox -- sh -c '
		i=0; while true >/f$i; do i=$((i + 1)); done; echo "$i files" >&2
		dd if=/dev/zero of=/f0 bs=64k; dd if=/dev/zero of=/f1 bs=512; df / >&2; true'
	[[ $output == *"No space left on device"* ]]
	proven
}

@test "less than ext4 needs, and more than any layer may have, are refused" {
	refused 125 "a layer on disk has 16 MiB at least" recapctl attach --cow disk --cow-size 1m web true
	refused 125 "at most 64g" recapctl attach --cow disk --cow-size 65g web true
	recapctl attach --cow disk --cow-size 16m web true
}

@test "the room is taken from the disk at once, and given back" {
	local before id

	before=$(disk_of)
	id=$(detached --cow-size 8g -- 'echo ready; sleep 1000')
	one_image
	# Others write here, too: most of it is what counts.
	[ $((before - $(disk_of))) -gt $((7 << 20)) ]
	recapctl stop --timeout 0 "$id"
	dropped "$id"
	no_images
	[ $((before - $(disk_of))) -lt $((1 << 20)) ]
}

@test "a layer that would leave too little of the disk to others is refused" {
	local small=$RT/small

	recapd_down
	truncate -s 400m "$RT/small.img"
	mkfs.ext4 -q -F "$RT/small.img"
	mkdir -p "$small"
	mount -o loop "$RT/small.img" "$small"
	recapd_up --state-dir "$small/recapd"
	recapctl image load --ref true "$RT_IMAGES/oci/true" >/dev/null
	refused 125 "no room for a layer of 1024 MiB on disk" recapctl attach --cow disk web true
	refused 125 "no room for a layer of 370 MiB on disk" recapctl attach --cow disk --cow-size 370m web true
	recapctl attach --cow disk --cow-size 200m web true
	[ "$(find "$small/recapd" -size +1M)" = "" ]
	recapd_down
	umount "$small"
	rm "$RT/small.img"
	recapd_up
}

# Options that do not fit one string of fsconfig(2) go to mount(2) instead.
@test "an image of 40 layers" {
	local folders=() i

	for i in $(seq 39); do
		mkdir -p "$BATS_TEST_TMPDIR/$i"
		touch "$BATS_TEST_TMPDIR/$i/of-$i"
		folders+=("$BATS_TEST_TMPDIR/$i")
	done
	"$ROOT/tools/mkoci" -o "$BATS_TEST_TMPDIR/many" -n many:1 -e PATH=/bin "$RT_IMAGES/rootfs/toolbox" \
		"${folders[@]}" >/dev/null
	recapctl image load --ref many "$BATS_TEST_TMPDIR/many" >/dev/null
	run -0 attach_report --cow disk web many -- sh -c 'echo x >/x; ls / | grep -c of-'
	[ "$output" = 39 ]
	proven
	report '.cow.backend == "disk" and .cow.bytes > 0'
	recapctl image rm many
}

# ---- what is needed ------------------------------------------------------------------------------

# A recapd that does not see all of this machine.
recapd_up_without() { # SHELL-CODE
	local folder=$BATS_TEST_TMPDIR/bin

	mkdir -p "$folder"
	ln -sf "$B/recapctl" "$folder"
	printf '#!/bin/sh\nexec /usr/bin/unshare --mount /bin/sh -c '\''%s && exec "$0" "$@"'\'' %s "$@"\n' \
		"$1" "$B/recapd" >"$folder/recapd"
	chmod +x "$folder/recapd"
	B=$folder recapd_up
}

refused_without() { # TEXT SHELL-CODE
	recapd_up_without "$2"
	refused 125 "$1" recapctl attach --cow disk web true
	recapctl attach web true
	no_images
}

@test "without mkfs.ext4 or loop devices the error says what to do, and memory will do" {
	refused_without "install e2fsprogs" "mount -t tmpfs none /usr/sbin"
	refused_without "modprobe loop" "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9"
	recapd_up
	recapctl attach --cow disk web true
}

# ---- proof ---------------------------------------------------------------------------------------

@test "a descriptor passed on: quarantined until it is closed, and on disk until then" {
	local app id

	app=$(rt_pid runc web)
	run -123 --separate-stderr attach_report --cow disk web probe passfd recap-app /probe keep
	[[ $stderr == "recapctl: layer quarantined: PID $app (app) holds descriptor"* ]]
	report '.state == "quarantined" and .cow.dropped == false and .cow.backend == "disk" and .proof.overlay_busy'
	id=$(report .id | tr -d '"')
	one_image
	recapd_layers | grep -qF "$id"
	[ "$(tell_app "$app" close)" = ok ]
	wait_until 5 dropped "$id"
	no_images
}

@test "a mapping and a working folder passed on are found, too" {
	local app id

	app=$(rt_pid runc web)
	for order in "/probe mmap mapping" "/ chdir cwd"; do
		# shellcheck disable=SC2086 # words
		set -- $order
		run -123 attach_report --cow disk web probe passfd recap-app "$1" "$2"
		report ".holders | length == 1 and .[0].kind == \"$3\" and .[0].pid == $app"
		id=$(report .id | tr -d '"')
		[ "$(tell_app "$app" close)" = ok ]
		wait_until 5 dropped "$id"
	done
}

# ---- whoever dies --------------------------------------------------------------------------------

@test "recapd killed: the next one adopts the layer, and proves and drops it" {
	local id

	id=$(detached --cow-size 256m -- 'echo ready; head -c 100000000 /dev/zero >/x; echo written; sleep 1000')
	wait_until 20 eval "recapctl logs $id | grep -q written"
	recapd_kill
	one_image
	recapd_up
	one_image
	recapctl inspect "$id" | jq -e '.state == "running" and .cow.backend == "disk" and .cow.dropped == false'
	recapctl stop --timeout 0 "$id"
	dropped "$id"
	recapctl inspect "$id" | jq -e '.cow.bytes >= 100000000 and .limits.cow_size == 268435456'
	no_images
}

@test "recapd killed: a quarantined layer is adopted, stays, and is dropped once it is free" {
	local app id

	app=$(rt_pid runc web)
	run -123 attach_report --cow disk web probe passfd recap-app /probe keep
	id=$(report .id | tr -d '"')
	recapd_kill
	recapd_up
	recapctl inspect "$id" | jq -e ".state == \"quarantined\" and (.holders | any(.pid == $app))"
	one_image
	[ "$(tell_app "$app" close)" = ok ]
	wait_until 5 dropped "$id"
	no_images
}

@test "recapd and keeper killed: the layer goes when its last user does, and not before" {
	local app

	app=$(rt_pid runc web)
	run -123 attach_report --cow disk web probe passfd recap-app /probe keep
	kill -KILL "$(cat "$RECAP_STATE"/keepers/*)"
	recapd_kill
	recapd_up
	# Nobody's any more, but for the application that holds it.
	recapctl ps --json | jq -e 'length == 0'
	one_image
	[ "$(tell_app "$app" close)" = ok ]
	wait_until 5 no_images
}

@test "recapd and keeper killed under a tool that writes: nothing is left at the next start" {
	detached -- 'echo ready; while :; do head -c 1000000 /dev/zero >>/x; done' >/dev/null
	one_image
	kill -KILL "$(cat "$RECAP_STATE"/keepers/*)"
	recapd_kill
	one_image
	recapd_up
	wait_until 20 no_images
	recapctl ps --json | jq -e 'length == 0'
}

@test "recapd killed at any moment of the set-up: no file, device or layer stays" {
	for i in $(seq 10); do
		recapctl attach --cow disk web toolbox -- sh -c "echo $i" >"$BATS_TEST_TMPDIR/out.$i" 3>&- &
		job=$!
		sleep "0.0$((RANDOM % 9))"
		recapd_kill
		recapd_up
		ended 0 "$job"
		[ "$(cat "$BATS_TEST_TMPDIR/out.$i")" = "$i" ]
	done
	wait_until 5 no_images
}

@test "several at once, and SIGTERM sees them out" {
	local i

	for i in 1 2 3 4; do
		detached --cow-size 64m -- 'echo ready; head -c 1000000 /dev/zero >/x; sleep 1000' >/dev/null
	done
	[ "$(images | wc -l)" = 4 ]
	[ "$(find "$RECAP_STATE" -type f -size +16M)" = "" ]
	recapd_down
	no_images
	recapd_up
}
