#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Each call of recapd that can fail fails, in turn (tests/fault/fault.h), and recapd is killed in each state of a
# capsule: afterwards the answer is right or one clear line, nothing is left, and the service works.
#
# `make check` has each point on the path of a capsule fail once, the first time that it is reached, and kills recapd in each state.
# With FAULTS_ALL=1 (`FAULTS_ALL=1 make check-faults`, which takes long) points fail the last time, too, and each time, so do those of
# recapd's whole start, and recapd is killed at each. `make FAULTS=1 B=build/faults` makes the recapd of these tests.

load common

USERNS='.linux.namespaces += [{type: "user"}] | .linux.gidMappings = .linux.uidMappings |
	.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] | .linux.gidMappings = .linux.uidMappings'

# The source files of a capsule's path, whose points must all be reached.
PATH_FILES='berth capsule capsule_adopt capsule_start cgroup cow disk holders inject injector keeper masks mountapi residue
	residue_net record sandbox target track'

setup_file() {
	require_root
	require_command runc jq bpftool python3 nm
	[ -x "$B/faults/recapd" ] || skip_or_fail "no recapd with fault points: make FAULTS=1 B=$B/faults"
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	# Its user 200000 is to find its root.
	chmod 711 "$RT"
	rt_run runc fault app
	rt_run -j "$USERNS" runc fault-user app
	recapd_with_images toolbox probe
	add_many
	recapd_down
}

teardown_file() {
	rt_down
}

# An image whose layers' names do not fit one string of fsconfig(2).
add_many() {
	local folders=() i

	for i in $(seq 39); do
		mkdir -p "$BATS_FILE_TMPDIR/$i"
		touch "$BATS_FILE_TMPDIR/$i/of-$i"
		folders+=("$BATS_FILE_TMPDIR/$i")
	done
	"$ROOT/tools/mkoci" -o "$BATS_FILE_TMPDIR/many" -n many:1 -e PATH=/bin "$RT_IMAGES/rootfs/toolbox" \
		"${folders[@]}" >/dev/null
	recapctl image load --ref many "$BATS_FILE_TMPDIR/many" >/dev/null
}

faults() { # COMMAND [SCENARIO...]
	local flags

	mapfile -t flags < <(recapd_flags)
	mkdir -p "$RECAP_RUN"
	rm -f "$RECAP_RUN/status"
	export RECAP_RUN RECAP_STATE RECAP_CGROUP RECAP_BPFFS RECAP_AUDIT
	export FAULTS_REACHED=$BATS_FILE_TMPDIR/reached
	"$BATS_TEST_DIRNAME/faults.py" "$@" runc:fault -- "$B/faults/recapd" "${flags[@]}" || {
		tail -n 40 "$RECAP_LOG" >&2
		return 1
	}
	echo "$@" >>"$BATS_FILE_TMPDIR/walked"
}

# Who is dead and whose parent is none of ours is that parent's to reap: the target's PID 1 may never do so, and the machine's, which
# has what a killed recapd leaves, when it likes.
is_ours_to_reap() { # PID
	local state parent

	# One that was reaped since it was found is nobody's.
	read -r state parent < <(ps -o stat=,ppid= -p "$1") || return 1
	[ "${state:0:1}" = Z ] || return 0
	[ "$parent" = "$(recapd_pid)" ] || grep -qE ":/$RECAP_CGROUP(/|$)" "/proc/$parent/cgroup" 2>/dev/null
}

recapd_processes() {
	local file pid

	for file in $(grep -lE ":/$RECAP_CGROUP(/|$)" /proc/[0-9]*/cgroup 2>/dev/null); do
		pid=${file#/proc/}
		! is_ours_to_reap "${pid%/cgroup}" || echo "$file"
	done
}

no_processes() {
	[ -z "$(recapd_processes)" ]
}

teardown() {
	wait_until 10 no_processes
	[ ! -d "$RECAP_RUN" ] || recapd_left_nothing
}

# What they have in common fails in the first of them only.

@test "attach: each call on its path fails in turn" {
	faults walk plain
}

@test "attach with all that can be asked for: each call fails in turn" {
	faults walk rich tracer terminal apart hosted profile userns many residue too_long policed
}

@test "layers on disk, and without room: each call fails in turn" {
	faults walk disk filled
}

@test "drain, and detached: each call fails in turn" {
	faults walk leftover detached stopped
}

@test "quarantine: each call fails in turn" {
	faults walk held held_disk
}

@test "adoption: each call of a recapd that finds a capsule of one that died fails in turn" {
	faults adopt keeper,capsule_adopt
}

@test "recapd's end: each call fails in turn, and the next one works" {
	faults end
}

@test "the kernel's programs: no room for a tag, a full map, a full ring buffer" {
	faults kernel
	# Where only the cgroup finds a tree, its init goes with it, and the dead are left to the application.
	rt_rm runc fault
	rt_run runc fault app
}

@test "recapd killed in each state: the next one adopts the capsule, and its client has its exit status and its record" {
	faults states
	[ -z "${FAULTS_ALL:-}" ] || faults kill plain
}

# What takes two faults at once (what a recapd that died had not come to is one), a race, another kernel, or a machine without our pins;
# the last, what only recapd's start has.
NOT_REACHED='capsule_start.c (is_sealed:poll|undo:unlinkat)|cgroup.c (cgroup_create|remove_left):unlinkat|
capsule_adopt.c end_starter:(poll|SYS_pidfd_open|SYS_pidfd_send_signal)|
cow.c (make_room:mount|attach_back:rmdir)|disk.c format:kill|inject.c wait_for:SYS_futex|
inject.c kill_tool:SYS_pidfd_(send_signal|open)|
injector.c (end_unannounced:kill|injector_slot_free:fallocate)|keeper.c (open_old:unlinkat|end:kill|slots_new:memfd_create)|
residue.c add_mqueue:fstatat|residue_net.c without_nfnetlink:socket|track.c (attach_one:bpf_(link__pin|program__attach)|open_dir:rmdir)|
injector.c reap:kill|target.c own_ns:stat'

@test "each point of a capsule's path was reached" {
	local files

	[ "$(grep -cE '^(walk|adopt|end)' "$BATS_FILE_TMPDIR/walked" 2>/dev/null)" = 7 ] || skip "only after all walks"
	files=$(tr -s '\n\t ' '|' <<<"$PATH_FILES")
	faults unreached | grep -E "^(${files%|})\.c " >"$BATS_TEST_TMPDIR/unreached" || true
	cat "$BATS_TEST_TMPDIR/unreached"
	not grep -vxE "$(tr -d '\n' <<<"$NOT_REACHED")" "$BATS_TEST_TMPDIR/unreached"
}

# Nothing can be done about the failure of the first two, and the others have none with arguments like ours.
NO_POINTS='close|munmap|clock_gettime|getpid|getppid|getrlimit|madvise|umask|uname|waitid'

@test "each system call of the path is a point" {
	local file symbols

	for file in $PATH_FILES; do
		symbols=$(nm -u "$B/faults/user/core/$file.o" | sed -E 's/^ *U //; s/^__(.*)(_chk|_2)$/\1/')
		comm -12 <(sort -u <<<"$symbols") <(sed -nE 's/^#define __NR_(\w+) .*/\1/p' \
			/usr/include/x86_64-linux-gnu/asm/unistd_64.h | sort -u)
	done | sort -u >"$BATS_TEST_TMPDIR/called"
	[ -s "$BATS_TEST_TMPDIR/called" ]
	sed -nE 's/^#define (\w+)\(.*/\1/p' "$ROOT/tests/fault/fault.h" | sort -u >"$BATS_TEST_TMPDIR/points"
	not grep -vxE "$NO_POINTS" <(comm -23 "$BATS_TEST_TMPDIR/called" "$BATS_TEST_TMPDIR/points")
}

@test "an ordinary build has no fault points" {
	local marks='fault_strikes|fault_points|RECAP_FAULTS'

	grep -qaE "$marks" "$B/faults/recapd"
	not grep -qaE "$marks" "$B/recapd"
	bpftool -j btf dump file "$B/faults/bpf/recap.bpf.o" | grep -q '"name":"recap_fault"'
	not grep -q '"name":"recap_fault"' <(bpftool -j btf dump file "$B/bpf/recap.bpf.o")
}
