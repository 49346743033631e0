#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What a tool writes below a writable /target is in the record, and nothing of what others write there.

load common

WEB=runc:rf-web
WEB_MOUNTS='[
	{type: "tmpfs", source: "tmpfs", destination: "/data", options: ["rw", "size=16m"]},
	{type: "bind", source: ($dir + "/merged"), destination: "/srv", options: ["bind", "rw"]},
	{type: "bind", source: ($dir + "/app.conf"), destination: "/etc/app.conf", options: ["bind", "rw"]},
	{type: "bind", source: ($dir + "/fixed"), destination: "/fixed", options: ["bind", "ro"]}]'

setup_file() {
	# Below /var/lib, where tests of what is left do not look: others run beside this one.
	local dir=$RT-host

	require_root
	require_command runc jq nsenter python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	mkdir -p "$dir"/{lower,upper,work,merged,fixed}
	# Overlayfs takes no upper folder that is on one itself.
	mount -t tmpfs none "$dir/upper"
	mkdir "$dir"/upper/{u,w}
	echo there >"$dir/lower/there"
	mount -t overlay none -o "lowerdir=$dir/lower,upperdir=$dir/upper/u,workdir=$dir/upper/w" "$dir/merged"
	echo a=1 >"$dir/app.conf"
	rt_down
	rt_up runc
	recapd_with_images toolbox true probe
	start -j "\"$dir\" as \$dir | .mounts += $WEB_MOUNTS" runc rf-web app
}

teardown_file() {
	recapd_down
	rt_down
	umount "$RT-host"/{merged,upper}
	rm -r "$RT-host"
}

teardown() {
	assert_clean
}

inside() { # a path of the target's own, without a copy between
	echo "/proc/$(rt_pid runc rf-web)/root$1"
}

tool() { # [OPTION...] COMMAND: a line for the shell of a toolbox, which may write to /target
	attach_report --target-root rw "${@:1:$#-1}" "$WEB" toolbox -- sh -c "${!#}"
}

residue() { # FILTER: the record's
	report ".residue | $1"
}

none_left() {
	report '.state == "dropped" and .residue == [] and .residue_more == 0 and .residue_refused == false'
}

written() { # NAME...: these, and nothing else
	jq -ce '[.residue[] | [.kind, .change, .name]] | sort == ($ARGS.positional | map(["file", "written", .]) | sort)' \
		"$BATS_TEST_TMPDIR/report" --args "$@"
	proven
}

# ---- what is told ----------------------------------------------------------------------------------

@test "a file that was made, one that was written to, one that was appended to" {
	echo 1 >"$(inside /etc/old)"
	echo 1 >"$(inside /etc/log)"
	tool 'echo x >/target/etc/new; echo 2 >/target/etc/old; echo 2 >>/target/etc/log; cat /target/etc/app.conf'
	written /etc/new /etc/old /etc/log
	residue 'all(.detail | test("^inode [0-9]+$"))'
	report '.residue_more == 0 and .residue_refused == false and .exit_code == 0'
}

@test "on each of the target's mounts: tmpfs, overlay, and a file that is one" {
	tool 'echo x >/target/data/f; mkdir /target/data/d; echo x >/target/data/d/f;
		echo x >>/target/srv/there; echo x >/target/srv/new; echo x >>/target/etc/app.conf'
	written /data/f /data/d/f /srv/there /srv/new /etc/app.conf
}

@test "once, however often and by how many processes" {
	tool 'for i in $(seq 50); do sh -c "echo $i >>/target/data/often"; done; mv /target/data/often /target/data/name'
	written /data/name
}

@test "one that is not there any more" {
	tool 'echo x >/target/data/gone; rm /target/data/gone; echo x >"/target/data/f (deleted)"'
	written /data/gone '/data/f (deleted)'
	residue 'map(select(.name == "/data/gone") | .detail | endswith(", deleted since")) == [true]'
	residue 'map(select(.name != "/data/gone") | .detail | endswith(", deleted since")) == [false]'
}

@test "names that are no text, and long ones" {
	local long
	long=$(printf '%0200d' 7)

	tool "echo x >\"\$(printf '/target/data/a\\nb\\377\\033[1m')\"; mkdir /target/data/$long; echo x >/target/data/$long/end"
	residue 'length == 2 and any(.name == "/data/a%0Ab%FF%1B[1m") and
		any((.name | startswith("...0000")) and (.name | endswith("07/end")))'
}

@test "one that the target was made to hold open" {
	attach_report --target-root rw "$WEB" probe -- passfd recap-app /target/data/held keep written
	written /data/held
	tell_app "$(rt_pid runc rf-web)" close
	attach_report --target-root rw "$WEB" probe -- passfd recap-app /target/data/held keep
	none_left
	tell_app "$(rt_pid runc rf-web)" close
}

# ---- what is not -------------------------------------------------------------------------------------

@test "nothing is told of a tool that only reads, or cannot write" {
	tool --residue refuse 'cat /target/etc/app.conf /target/srv/there; cp /target/srv/there /tmp/own; find /target -xdev >/tmp/all'
	none_left
	not tool --residue refuse 'echo x >/target/fixed/f'
	none_left
	not attach_report --residue refuse "$WEB" toolbox -- sh -c 'echo x >/target/data/f'
	none_left
}

@test "nothing is told of what the target itself writes meanwhile" {
	tool --residue refuse 'until [ -e /target/data/by-app ]; do sleep 0.1; done' 3>&- &
	echo $! >"$BATS_TEST_TMPDIR/pid"
	wait_until 10 tool_runs
	echo x >"$(inside /srv/by-app)"
	echo x >"$(inside /etc/by-app)"
	echo x >"$(inside /data/by-app)"
	ended 0 "$(<"$BATS_TEST_TMPDIR/pid")"
	none_left
}

tool_runs() {
	recapctl ps --json | jq -e '.. | objects | select(.state? == "running")'
}

# ---- too much, and not known ---------------------------------------------------------------------------

@test "more than can be listed is counted; more than can be told is said to be more" {
	tool 'i=0; while [ $i -lt 200 ]; do : >/target/data/n$i; i=$((i + 1)); done'
	report '(.residue | length) == 64 and .residue_more == 136'
	tool 'i=0; while [ $i -lt 1100 ]; do : >/target/data/n$i; i=$((i + 1)); done'
	report '(.residue | length) == 64 and .residue_more >= 961'
	rm "$(inside /data)"/n*
}

@test "the kernel's queue is too short: it is said, whoever filled it" {
	# Without a process for each: an emulated machine takes minutes for those.
	tool 'i=0; while [ $i -lt 17000 ]; do : >/target/data/q$i; i=$((i + 1)); done'
	report '(.residue | length) == 64 and .residue_more >= 961'
	proven
	find "$(inside /data)" -name 'q*' -delete
}

@test "a file system that might not answer is not asked, and the record says so" {
	local pid

	mkdir -p "$(inside /silent)"
	python3 - "$(rt_pid runc rf-web)" 3>&- <<-'EOF' &
		import ctypes, os, sys, time
		fd = os.open("/dev/fuse", os.O_RDWR)
		libc = ctypes.CDLL(None, use_errno=True)
		ns = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
		if libc.setns(ns, 0) or libc.mount(b"none", b"/silent", b"fuse", 0,
		        b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fd):
		    sys.exit(os.strerror(ctypes.get_errno()))
		time.sleep(60)
	EOF
	pid=$!
	wait_until 5 grep -q " /silent " "/proc/$(rt_pid runc rf-web)/mountinfo"
	run -123 --separate-stderr tool --residue refuse 'true'
	[[ $stderr == *"unknown file: not watched: a file system of type fuse: /silent"* ]]
	residue 'length == 1'
	tool 'echo x >/target/data/f'
	residue 'map([.change, .name]) == [["unknown", ""], ["written", "/data/f"]]'
	kill "$pid"
	wait "$pid" || true
	unmount_silent
}

# The target has no umount(8).
unmount_silent() {
	python3 - "$(rt_pid runc rf-web)" <<-'EOF'
		import ctypes, os, sys
		libc = ctypes.CDLL(None, use_errno=True)
		ns = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
		if libc.setns(ns, 0) or libc.umount2(b"/silent", 2):
		    sys.exit(os.strerror(ctypes.get_errno()))
	EOF
}

@test "a tool that may mount could write elsewhere: that is not known" {
	run -123 --separate-stderr tool --residue refuse --cap-add SYS_ADMIN 'true'
	residue 'map([.kind, .change]) == [["file", "unknown"]] and (.[0].detail | test("may mount"))'
	run -123 tool --residue refuse --seccomp unconfined 'true'
	attach_report --residue refuse --cap-add SYS_ADMIN "$WEB" true
	none_left
}

# ---- refuse ------------------------------------------------------------------------------------------

@test "with --residue refuse a written file is exit status 123, and says which" {
	run -123 --separate-stderr tool --residue refuse 'echo x >/target/etc/refused'
	[[ $stderr == *"residue in the target: written file /etc/refused: inode "* ]]
	report '.exit_code == 0 and .residue_refused and .state == "dropped"'
	run -0 --separate-stderr tool --residue report 'echo x >/target/etc/refused'
	[ -z "$stderr" ]
	run -0 --separate-stderr tool --residue refuse 'cat /target/etc/refused'
	[ -z "$stderr" ]
	none_left
}

@test "afterwards nothing holds the target's file systems" {
	tool 'echo x >/target/srv/last; echo x >/target/data/last'
	rt_rm runc rf-web
	umount "$RT-host/merged"
	mount -t overlay none -o "lowerdir=$RT-host/lower" "$RT-host/merged" 2>/dev/null ||
		mount -t tmpfs none "$RT-host/merged"
}
