#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Attacks from a target (hostile_app.c): what the processes of a container can do to what is injected into it. Whatever they do, an
# attach does what it should or says within its time limit, in one line, why not; recapd lives on, nothing of the host is reached
# and nothing is left. With each attack goes its twin: the same where it works.

load common

WEB=docker:ht-web # root with docker's capabilities
# An attack is to be the kernel's to allow: neither docker's filter nor, where the kernel has AppArmor, its profile.
BARE=(-o --security-opt=seccomp=unconfined -o --security-opt=apparmor=unconfined)

setup_file() {
	require_root
	require_command runc crun containerd dockerd docker jq bpftool python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up docker crun
	rt_docker load -q -i "$RT_IMAGES/hostile.tar" >/dev/null
	rt_run "${BARE[@]}" docker ht-web hostile
	# More than docker gives, and less than what has the host anyway.
	rt_run "${BARE[@]}" -o --cap-add=SYS_ADMIN -o --cap-add=SYS_NICE docker ht-admin hostile
	recapd_with_images toolbox probe hostile
	recapd_pid >"$BATS_FILE_TMPDIR/recapd"
}

teardown_file() {
	recapd_down
	rt_down
}

setup() {
	OUT=$BATS_TEST_TMPDIR
}

teardown() {
	rt_docker rm -f ht-one >/dev/null 2>&1 || true
	assert_clean
	[ "$(recapd_pid)" = "$(cat "$BATS_FILE_TMPDIR/recapd")" ] && recapd_answers
	# Nobody but recapd's keeper has anything of it.
	grep -Hs "$RECAP_STATE" /proc/[0-9]*/mountinfo | not grep -v "^/proc/$(cat "$RECAP_STATE"/keepers/*)/"
}

# ---- what the application does -------------------------------------------------------------------

# A command in the background, $job, that has said that it is ready.
job_of() { # COMMAND...
	job_out=$OUT/job.$RANDOM
	"$@" >"$job_out" 2>&1 3>&- &
	job=$!
	wait_until 5 grep -q ready "$job_out"
}

hostile_job() { # CONTAINER ARG...
	job_of rt_exec docker "$1" /hostile "${@:2}"
}

# The end of an attack: what it saw and what hit.
hostile_end() {
	wait "$job" || true
	cat "$job_out"
	read -r _ saw _ tries _ hits < <(tail -n 1 "$job_out")
	[ "$saw" -gt 0 ] && [ "$tries" -gt 0 ]
}

# The twin of an attack, on a process of its own.
decoy_is_hit() { # CONTAINER ATTACK NAME...
	local out name

	out=$(rt_exec docker "$1" /hostile -d "$2" 0.3)
	for name in "${@:3}"; do
		grep -qx "hit $name" <<<"$out" || {
			echo "not hit: $name"
			return 1
		}
	done
}

# From outside, as root, in the container's mounts: what a test sets up.
arrange() { # CONTAINER ARG...
	nsenter -t "$(rt_pid docker "$1")" -m -- /hostile "${@:2}"
}

arrange_job() { # CONTAINER ARG...
	job_of nsenter -t "$(rt_pid docker "$1")" -m -- /hostile "${@:2}"
}

one() { # RT_RUN-OPTION... : a container for one test
	start "${BARE[@]}" "$@" docker ht-one hostile
}

# ---- what comes of it ----------------------------------------------------------------------------

# One attach: it works (0), it is refused in one line (125), or the tool is ended by a signal, as any process of the container can be.
# Never more than the time limit of 10 s, and what it takes to see it out. Stopped after its exec, the tool is one of the container's
# processes, for which --timeout is the limit (124).
attach_once() { # N ATTACH-ARG...
	local start=$SECONDS status=0

	"$B/recapctl" attach --timeout 5 "${@:2}" toolbox -- sh -c 'sleep 0.02; echo here' >"$OUT/out.$1" 2>"$OUT/err.$1" 3>&- ||
		status=$?
	echo "$status $((SECONDS - start))" >"$OUT/status.$1"
}

# `worked`, `refused_n` and `ended_n` count what came of all of them.
judge() { # N
	local i status took

	worked=0 refused_n=0 ended_n=0
	for ((i = 0; i < $1; i++)); do
		read -r status took <"$OUT/status.$i"
		echo "status $status after $took s: $(cat "$OUT/out.$i" "$OUT/err.$i")"
		[ "$took" -le $((13 * ${RT_TIMEOUT:-1})) ]
		case $status in
		0) [ "$(cat "$OUT/out.$i")" = here ] && [ ! -s "$OUT/err.$i" ] && worked=$((worked + 1)) ;;
		125) [ ! -s "$OUT/out.$i" ] && [ "$(wc -l <"$OUT/err.$i")" -eq 1 ] && refused_n=$((refused_n + 1)) ;;
		*) [ "$status" -ge 124 ] && [ "$(wc -l <"$OUT/err.$i")" -le 1 ] && ended_n=$((ended_n + 1)) ;;
		esac || return
	done
}

attaches() { # N ATTACH-ARG...
	local i

	for ((i = 0; i < $1; i++)); do
		attach_once "$i" "${@:2}"
	done
	judge "$1"
}

attaches_at_once() { # N ATTACH-ARG...
	local i pids=()

	for ((i = 0; i < $1; i++)); do
		attach_once "$i" "${@:2}" &
		pids+=($!)
	done
	wait "${pids[@]}"
	judge "$1"
}

all_work() { # N ATTACH-ARG...
	attaches "$@"
	[ "$worked" -eq "$1" ]
}

works_again() {
	all_work 1 "${1:-$WEB}"
}

# ---- to get at what is ours ----------------------------------------------------------------------

# An attack that must not hit, from start to exec and in init all along.
never_hit() { # CONTAINER ATTACK [EXCEPT]
	hostile_job "$1" "$2" $((3 * ${RT_TIMEOUT:-1}))
	# What it does to tools after their exec is between processes of the container.
	attaches 12 "docker:$1"
	[ "$worked" -ge 6 ]
	hostile_end
	not grep -vxE "ready|saw .*${3:+|hit ($3)}" "$job_out"
	[ "$saw" -ge 8 ]
}

@test "files: nothing below /proc/PID of what is injected can be opened or read, at any moment" {
	for target in ht-web ht-admin; do
		# Since 6.15 CAP_SYS_ADMIN, which counts as CAP_PERFMON, reads maps and what lies there of all in its PID namespace
		# (mm_access(), kernel/fork.c). Of recapd's own environment there is nothing left in them.
		never_hit $target files "$([ $target = ht-web ] || echo 'maps|smaps|environ|auxv|pagemap')"
		decoy_is_hit $target files exe root cwd mem maps smaps environ auxv fd/0 fd/1 fd/2 io ns/mnt ns/pid \
			pagemap fdinfo root/../etc cmdline
	done
}

@test "trace: no ptrace, no memory, no descriptor, no perf" {
	local all=(seize attach vm-readv vm-writev pidfd-getfd kcmp robust-list)

	never_hit ht-web trace
	# With CAP_SYS_ADMIN, perf looks at all of the machine.
	never_hit ht-admin trace perf
	decoy_is_hit ht-admin trace "${all[@]}" perf
	# Debian's kernels let nobody have perf without a capability (3).
	[ "$(cat /proc/sys/kernel/perf_event_paranoid)" -gt 2 ] || all+=(perf)
	decoy_is_hit ht-web trace "${all[@]}"
}

@test "join: nobody enters its namespaces, and so its root" {
	never_hit ht-admin join
	decoy_is_hit ht-admin join setns
}

@test "wait: nobody takes its end away from recapd" {
	never_hit ht-web wait
	decoy_is_hit ht-web wait wait
}

@test "move: it stays in its cgroup" {
	never_hit ht-web move
	# As root of the machine it can be.
	"$B/tests/hostile_app" -d move 0.3 | grep -qx "hit move"
}

@test "a target with a user namespace: neither, though there it has every capability" {
	start -j '.linux.namespaces += [{type: "user"}] | .linux.gidMappings = .linux.uidMappings |
		.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] |
		.linux.gidMappings = .linux.uidMappings |
		.process.capabilities.bounding += ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"] |
		.process.capabilities.permitted = .process.capabilities.bounding |
		.process.capabilities.effective = .process.capabilities.bounding | del(.linux.seccomp)' \
		crun ht-userns hostile /hostile idle
	for attack in files trace kill; do
		job_of rt_crun exec ht-userns /hostile $attack 3
		attaches 8 crun:ht-userns
		hostile_end
		[ $attack = kill ] || [ "$worked" -ge 4 ]
		[ $attack = kill ] || [ "$hits" -eq 0 ]
	done
	rt_rm crun ht-userns
}

# ---- to stop it, or hold it up -------------------------------------------------------------------

# An attack that succeeds, root being root, and is of no use. Leaves `worked` and the others.
in_vain() { # ATTACK N
	hostile_job ht-web "$1" 3
	attaches "$2" --timeout 5 "$WEB"
	hostile_end
	[ "$hits" -gt 0 ]
	works_again
}

@test "SIGKILL: it ends, and says so" {
	in_vain kill 10
	decoy_is_hit ht-web kill kill
}

@test "SIGSTOP: its time limit ends it" {
	hostile_job ht-web stop 11
	attaches_at_once 6 --timeout 11 "$WEB"
	hostile_end
	[ "$hits" -gt 0 ]
	works_again
	decoy_is_hit ht-web stop stop
}

@test "signals of every kind, in a flood" {
	in_vain flood 10
	decoy_is_hit ht-web flood signal
}

@test "stopped and let go again, without end" {
	in_vain jolt 10
}

@test "prlimit: each limit lowered to nothing" {
	in_vain limits 10
	decoy_is_hit ht-web limits prlimit
}

@test "the lowest priority, one CPU, and others that take it" {
	hostile_job ht-web slow 4
	attaches 5 "$WEB"
	[ "$worked" -eq 5 ]
	hostile_end
	[ "$hits" -gt 0 ]
	decoy_is_hit ht-web slow nice idle affinity
}

@test "first in line when memory is short, dumped as a whole" {
	in_vain adjust 10
	decoy_is_hit ht-web adjust oom_score_adj coredump_filter clear_refs
}

@test "events, watches and sockets without end" {
	hostile_job ht-web storm 3
	all_work 10 "$WEB"
	wait "$job"
}

# ---- mounts --------------------------------------------------------------------------------------

@test "its /proc, /dev and /sys replaced, with links in place of files" {
	one
	arrange ht-one cover
	[ "$(readlink "/proc/$(rt_pid docker ht-one)/root/proc/self")" = /proc/1 ]
	run -0 recapctl attach ht-one toolbox -- sh -ec 'cat /proc/1/comm /target/etc/app.conf; echo x >/dev/null
		[ -d /sys/fs/cgroup ]; readlink /target/dev/null'
	[ "$output" = $'hostile\nrecap-test-marker\n/proc/1' ]
}

@test "a root that cannot be copied" {
	one
	all_work 1 ht-one
	arrange ht-one unbindable
	refused 125 "cannot copy the target's mounts" recapctl attach ht-one toolbox -- true
	all_work 1 --target-root none ht-one
}

@test "thousands of mounts" {
	one
	arrange ht-one mounts 5000
	[ "$(wc -l <"/proc/$(rt_pid docker ht-one)/mountinfo")" -gt 5000 ]
	all_work 3 ht-one
}

@test "a file system that never answers: in nobody's way but of who uses it" {
	one
	arrange_job ht-one fuse 4
	all_work 2 ht-one
	run -124 attach_report --timeout 1 ht-one toolbox -- ls /target/fuse
	proven
	# Once nobody is there to answer, there is an answer.
	wait "$job"
	status_is 1 recapctl attach ht-one toolbox -- ls /target/fuse/x
}

@test "files whose opening waits for a permission: the same" {
	one
	arrange_job ht-one permit 4
	all_work 2 ht-one
	run -124 attach_report --timeout 1 ht-one toolbox -- cat /target/etc/app.conf
	proven
	wait "$job"
	[ "$(recapctl attach ht-one toolbox -- cat /target/etc/app.conf)" = recap-test-marker ]
}

# ---- processes -----------------------------------------------------------------------------------

@test "all processes that it may have: the capsule's are not among them" {
	one -o --pids-limit=20
	hostile_job ht-one forks 3
	all_work 3 ht-one
	not rt_exec docker ht-one /hostile take-pid 1 1
	wait "$job" || true
}

# The kernel's default is for the whole machine before 6.14: it is never changed there.
pid_max_in() { # CONTAINER [VALUE]
	nsenter -t "$(rt_pid docker "$1")" -p -- sh -c "${2:+echo $2 >/proc/sys/kernel/pid_max;} cat /proc/sys/kernel/pid_max"
}

# bats test_tags=needs:linux-6-14
@test "all numbers of its PID namespace: said at once, and as before when there are some" {
	local max

	[ "$(uname -r | awk -F. '{print $1 * 100 + $2}')" -ge 614 ] || skip_or_fail "pid_max is the machine's on this kernel"
	max=$(cat /proc/sys/kernel/pid_max)
	one
	pid_max_in ht-one 400
	[ "$(cat /proc/sys/kernel/pid_max)" = "$max" ]
	all_work 1 ht-one
	hostile_job ht-one forks 4
	attaches 3 ht-one
	[ "$refused_n" -ge 1 ]
	wait "$job" || true
	works_again ht-one
}

@test "its PID 1 stopped: no matter" {
	one
	kill -STOP "$(rt_pid docker ht-one)"
	grep -q '^State:.T' "/proc/$(rt_pid docker ht-one)/status"
	all_work 3 ht-one
	run -0 attach_report ht-one probe orphans 5
	proven
}

@test "frozen: no matter" {
	one
	rt_docker pause ht-one >/dev/null
	not rt_exec docker ht-one /hostile take-pid 1 1
	all_work 3 ht-one
	rt_docker unpause ht-one >/dev/null
}

@test "it ends as soon as something is injected" {
	local status

	for i in 1 2 3 4; do
		start docker ht-one hostile die
		status=0
		recapctl attach ht-one toolbox -- sh -c 'sleep 1; echo here' >"$OUT/out" 2>"$OUT/err" || status=$?
		echo "status $status: $(cat "$OUT/err")"
		[ "$status" = 125 ] || [ "$status" -gt 128 ]
		[ ! -s "$OUT/out" ] && [ "$(wc -l <"$OUT/err")" -eq 1 ]
		rt_docker rm -f ht-one >/dev/null
	done
	one
	all_work 1 ht-one
}

@test "its PID belongs to another process by now: that one is left alone" {
	local pid

	one
	pid=$(rt_pid docker ht-one)
	all_work 1 "pid:$pid"
	rt_docker rm -f ht-one >/dev/null
	job_of "$B/tests/hostile_app" take-pid "$pid" 2
	[ -e "/proc/$pid" ]
	refused 125 "$pid" recapctl attach "pid:$pid" toolbox -- true
	wait "$job"
}

@test "a hold on the tool's root: quarantined, with the holder's name, until it lets go" {
	local id

	hostile_job ht-web hold probe 3
	run -123 attach_report "$WEB" probe sleep 1
	grep -q held "$job_out"
	report '.state == "quarantined" and (.holders | length) == 1 and .holders[0].command == "hostile"'
	id=$(report .id | tr -d '"')
	wait "$job"
	wait_until 5 eval "recapctl inspect $id | jq -e '.state == \"dropped\" and .cow.dropped'"
}

# ---- CAP_SYS_PTRACE: it opens everything, so nothing is injected within its reach ----------------

is_out_of_reach() { # TARGET
	refused 125 "CAP_SYS_PTRACE" recapctl attach "$1" toolbox -- true
	all_work 1 --namespaces net,ipc,uts,cgroup "$1"
}

@test "a target that holds CAP_SYS_PTRACE, or that may come to it" {
	one -o --cap-add=SYS_PTRACE
	is_out_of_reach ht-one
	rt_docker rm -f ht-one >/dev/null
	# Not root, but what is set-user-ID would be.
	one -u 1234 -o --cap-add=SYS_PTRACE
	is_out_of_reach ht-one
}

@test "a container beside the target, in the same PID namespace, that holds it" {
	one -o --pid=container:ht-web -o --cap-add=SYS_PTRACE
	hostile_job ht-one trace 3
	is_out_of_reach ht-web
	wait "$job"
	cat "$job_out"
	[[ $(tail -n 1 "$job_out") == *"hits 0" ]]
	decoy_is_hit ht-one trace seize
	rt_docker rm -f ht-one >/dev/null
	works_again
	# Without it, one may share.
	one -o --pid=container:ht-web
	all_work 2 ht-one
	works_again
}

@test "a process that was executed in the target with it, which its init has not" {
	start -j 'del(.linux.seccomp)' crun ht-exec hostile /hostile idle
	all_work 1 crun:ht-exec
	rt_crun exec ht-exec /hostile trace 0.1
	all_work 1 crun:ht-exec
	job_of rt_crun exec --cap CAP_SYS_PTRACE ht-exec /hostile trace 2
	is_out_of_reach crun:ht-exec
	wait "$job"
	[[ $(tail -n 1 "$job_out") == *"hits 0" ]]
	rt_rm crun ht-exec
}

@test "a capsule that was given it: no other is injected within its reach meanwhile" {
	local id

	id=$(recapctl attach -d --cap-add SYS_PTRACE "$WEB" hostile -- trace 3)
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	is_out_of_reach "$WEB"
	wait_until 10 eval "recapctl inspect $id | jq -e '.state == \"dropped\"'"
	# Its own init it did see, which is sealed before the tool begins; and it can take that one.
	[[ $(recapctl logs "$id" | tail -n 1) == "saw 1 "* ]]
	recapctl logs "$id" | grep -qx "hit seize"
	works_again
	# Nor it into the reach of what is being injected.
	id=$(recapctl attach -d "$WEB" probe sleep 2)
	all_work 1 --cap-add SYS_PTRACE "$WEB"
	recapctl stop --timeout 0 "$id"
}
