#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What a utility says as a capsule is what it says in a container that has it: the same program runs
# both ways in one container, and the output is compared. Only what differs by its nature is taken
# out first: the tool's own processes.

load common

setup_file() {
	local capsule

	require_root
	require_command runc jq ip nsenter
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	for capsule in toolbox procps net clamav; do
		make -s -C "$ROOT" B="$SHELF" capsules CAPSULE=$capsule
	done
	rt_down
	rt_up runc
	recapd_up
	make_equipped
	start runc full equipped
	rt_exec runc full /bin/httpd -p 127.0.0.1:8081 -h /etc
	dress_network
	for capsule in toolbox procps net equipped; do
		load_image "$capsule"
	done
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

load_image() { # IMAGE
	if [ "$1" = equipped ]; then
		recapctl image load "$RT_IMAGES/oci/equipped" >/dev/null
	else
		recapctl image load "$SHELF/capsules/$1.tar" >/dev/null
	fi
}

# A container that has it all: the files of several capsules, a package database and a virus.
make_equipped() {
	local root=$RT_IMAGES/rootfs/equipped capsule

	rm -rf "$root"
	mkdir -p "$root"/{proc,sys,dev,srv}
	for capsule in procps net clamav toolbox; do
		# No applet in place of a program of its own.
		cp -an "$SHELF/capsules/rootfs/$capsule/." "$root"
	done
	rm "$root"/etc/{hosts,resolv.conf}
	echo 127.0.0.1 localhost >"$root/etc/hosts"
	printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-' 'ANTIVIRUS-TEST-FILE!$H+H*' >"$root/srv/bad"
	echo good >"$root/srv/good"
	echo "$(md5sum <"$root/srv/bad" | cut -c 1-32):68:Recap.Test.EICAR" >"$root/var/lib/clamav/test.hdb"
	for package in "$root"/var/lib/dpkg/status.d/*; do
		sed -e '/^Version:/i Status: install ok installed' "$package"
		echo
	done >"$root/var/lib/dpkg/status"
	"$ROOT/tools/mkoci" -o "$RT_IMAGES/oci/equipped" -n equipped:latest -e PATH=/usr/bin:/bin -e TERM=linux \
		-C /bin/sh -C -c -C 'sleep 100001 & sleep 100002 & wait' "$root" >/dev/null
}

dress_network() {
	nsenter "--net=/proc/$(rt_pid runc full)/ns/net" sh -c 'ip link add wire0 type veth peer name wire1
		ip address add 10.98.9.1/24 dev wire0; ip -6 address add fd98::1/64 dev wire0 nodad; ip link set wire0 up; ip link set wire1 up
		ip route add 10.98.10.0/24 via 10.98.9.254'
}

# The same command line both ways, each through the same filter; there is something to compare.
same() { # CAPSULE FILTER CMD...
	local inside=$BATS_TEST_TMPDIR/inside capsule=$BATS_TEST_TMPDIR/capsule

	rt_exec runc full "${@:3}" | "$2" >"$inside"
	recapctl attach full "$1" -- "${@:3}" | "$2" >"$capsule"
	[ -s "$inside" ]
	diff "$inside" "$capsule"
}

as_is() {
	cat
}

# Without the tool, found by its command, and the capsule's init; times of the CPU go on.
processes() {
	grep -vE ' (recap-init|ps|top)( |$)'
}

@test "processes, as procps and busybox show them" {
	same procps processes ps -eo pid,ppid,pgid,sid,user,nice,vsz,stat,comm,args
	[ "$(grep -cE 'sleep 10000[12]' "$BATS_TEST_TMPDIR/inside")" = 3 ]
	same procps processes ps -eLo pid,lwp,nlwp,class,rtprio,comm
	same toolbox processes busybox ps -o pid,ppid,user,vsz,comm,args
	same procps as_is pgrep -a sleep
}

@test "sockets, as iproute2 and busybox show them" {
	same net as_is ss -Hlntm
	grep -q '127.0.0.1:8081' "$BATS_TEST_TMPDIR/inside"
	same net as_is ss -Hantu
	same toolbox as_is busybox netstat -ltn
}

@test "interfaces, addresses, routes and neighbours" {
	same net as_is ip -d link
	same net as_is ip address
	grep -q fd98::1 "$BATS_TEST_TMPDIR/inside"
	same net as_is ip route
	same net as_is ip -6 route
	same toolbox as_is busybox ifconfig -a
	same toolbox as_is cat /proc/net/dev
}

@test "names of the container: host name, domain, kernel, cgroup" {
	same toolbox as_is hostname
	same toolbox as_is uname -a
	same toolbox as_is sysctl net.ipv4.ip_forward net.ipv4.ip_local_port_range kernel.hostname
}

# Mount points below the target's root, with the kind and source of each.
mounts() {
	sed -E 's/^([0-9]+ ){2}([0-9]+:[0-9]+) ([^ ]+) ([^ ]+) .* - ([^ ]+) ([^ ]+) .*/\2 \3 \4 \5 \6/' |
		sed -E 's, /target/, /,; s, /target , / ,' | sort
}

# The capsule has more mounts than those of /target: its own root, /proc, /sys and /dev.
@test "mounts: those of the container are below /target, and no other" {
	rt_exec runc full cat /proc/self/mountinfo | mounts >"$BATS_TEST_TMPDIR/inside"
	recapctl attach full toolbox -- grep -E '^[0-9]+ [0-9]+ [^ ]+ [^ ]+ /target[ /]' /proc/self/mountinfo | mounts \
		>"$BATS_TEST_TMPDIR/capsule"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/inside")" -gt 5 ]
	diff "$BATS_TEST_TMPDIR/inside" "$BATS_TEST_TMPDIR/capsule"
}

# The tree of /, as seen inside and at /target; kernel file systems are left out, they never stand still.
@test "files: names, owners, modes, sizes and contents below /target" {
	rt_exec runc full sh -c 'cd / && find . -xdev -type f -exec sha256sum {} + | sort;
		find . -xdev -exec stat -c "%n %F %u %g %a %s %Y %i" {} + | sort' >"$BATS_TEST_TMPDIR/inside"
	recapctl attach full toolbox -- sh -c 'cd /target && find . -xdev -type f -exec sha256sum {} + | sort;
		find . -xdev -exec stat -c "%n %F %u %g %a %s %Y %i" {} + | sort' >"$BATS_TEST_TMPDIR/capsule"
	grep -q ' ./srv/good$' "$BATS_TEST_TMPDIR/inside"
	diff "$BATS_TEST_TMPDIR/inside" "$BATS_TEST_TMPDIR/capsule"
}

package_list='/^Package:/ { p = $2 } /^Version:/ { v = $2 } /^$/ { if (p) print p, v; p = "" }'

@test "package list" {
	rt_exec runc full busybox awk "$package_list" /var/lib/dpkg/status >"$BATS_TEST_TMPDIR/inside"
	recapctl attach full toolbox -- busybox awk "$package_list" /target/var/lib/dpkg/status \
		>"$BATS_TEST_TMPDIR/capsule"
	grep -q '^libc6 2' "$BATS_TEST_TMPDIR/inside"
	diff "$BATS_TEST_TMPDIR/inside" "$BATS_TEST_TMPDIR/capsule"
}

# Without times; the paths have /target before them in the capsule.
findings() {
	sed -e '/^Time:/d' -e '/Date:/d' -e 's,^/target/,/,'
}

# The image with the scanner is the container's own here, so that both have the same signatures.
@test "scan result" {
	local inside=$BATS_TEST_TMPDIR/inside capsule=$BATS_TEST_TMPDIR/capsule

	rt_exec runc full clamscan --database=/var/lib/clamav -r /srv /etc | findings >"$inside"
	recapctl attach full equipped -- clamscan --database=/var/lib/clamav -r /target/srv /target/etc |
		findings >"$capsule"
	grep -qx '/srv/bad: Recap.Test.EICAR.UNOFFICIAL FOUND' "$inside"
	diff "$inside" "$capsule"
}
