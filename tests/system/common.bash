# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the bats files share: `load common`. The runtimes' functions (rt_up, rt_run, ...) come along.
#
#   RECAP_MUST_RUN=1   a test that would skip fails instead
#   RECAP_SANITIZED=1  the programs have sanitizers (make check-sanitize): figures of memory are not looked at
#   RECAP_SHELF=FOLDER the build folder whose capsules are taken, B unless set: their programs are static, and so not for sanitizers
#                      and counters

bats_require_minimum_version 1.5.0

ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
B=$(realpath -m "${B:-$ROOT/build}")
SHELF=$(realpath -m "${RECAP_SHELF:-$B}")
export ROOT B SHELF

# shellcheck source=tests/system/runtimes.sh
source "$BATS_TEST_DIRNAME/runtimes.sh"

# For what this machine cannot do; never for what is broken.
skip_or_fail() { # REASON
	if [ -n "${RECAP_MUST_RUN:-}" ]; then
		echo "must not be skipped (RECAP_MUST_RUN is set): $1" >&2
		return 1
	fi
	skip "$1"
}

require_root() {
	[ "$(id -u)" -eq 0 ] || skip_or_fail "not root"
}

require_command() { # COMMAND...
	local command

	for command; do
		command -v "$command" >/dev/null || skip_or_fail "no $command: run \`sudo make setup\`"
	done
}

# Poll a command until it succeeds; run it a last time to show why when it does not.
wait_until() { # SECONDS CMD...
	rt_await "$@" || {
		echo "after $1 s still failing: ${*:2}" >&2
		"${@:2}"
		return 1
	}
}

# What the application answers, asked from inside its network namespace.
ask_app() { # PID
	nsenter "--net=/proc/$1/ns/net" timeout 5 bash -c '
		exec 9<>/dev/tcp/127.0.0.1/8080
		printf "GET / HTTP/1.0\r\n\r\n" >&9
		tail -n 1 <&9'
}

# Tell the application what to do with the descriptors that it holds (tests/system/app.c).
tell_app() { # PID ORDER
	nsenter "--net=/proc/$1/ns/net" "$B/tests/probe" tell recap-app "$2"
}

# Zombies among the direct children of a process, one PID a line.
zombies_of() { # PID
	ps -o pid=,stat= --ppid "$1" | awk '$2 ~ /^Z/ {print $1}'
}

# Everything that a run could leave on the machine, for comparing before and after. Kernel threads
# and zombies come and go on their own.
machine_state() {
	echo "# mounts"
	cut -d ' ' -f 2,3 /proc/mounts | sort
	echo "# cgroups"
	find /sys/fs/cgroup -type d | sort
	echo "# links"
	ip -o link | cut -d ' ' -f 2
	echo "# files"
	find /run /var/lib/cni /var/lib/containers /etc/docker /dev/shm -xdev ! -path '/run/log/*' \
		2>/dev/null | sort
	echo "# processes"
	ps -eo stat=,comm=,args= | awk '$1 !~ /^Z/ && /containerd|dockerd|conmon|recap-test|\/app/' |
		grep -v awk | sort
}

# ---- a recapd of the tests' own ------------------------------------------------------------------

RECAP_NAME=$(basename "$RT")
RECAP_RUN=/run/$RECAP_NAME # not below $RT: a socket's path has 107 bytes at most
RECAP_BPFFS=/sys/fs/bpf/$RECAP_NAME
RECAP_STATE=$RT/recapd
RECAP_CGROUP=$RECAP_NAME-caps
RECAP_LOG=$RECAP_RUN/log
RECAP_AUDIT=$RECAP_RUN/audit.jsonl
export RECAP_SOCKET=$RECAP_RUN/io.recap

recapctl() {
	"$B/recapctl" "$@"
}

recapd_pid() {
	cat "$RECAP_RUN/pid"
}

# The flags that make it ours, and show it the test runtimes.
recapd_flags() {
	printf '%s\n' --socket "$RECAP_SOCKET" --bpffs "$RECAP_BPFFS" --state-dir "$RECAP_STATE" \
		--policy "$RECAP_RUN/policy.json" --cgroup "$RECAP_CGROUP" --audit "$RECAP_AUDIT" \
		--docker-root "$RT_DOCKER_ROOT" \
		--containerd-root "$RT_CONTAINERD_ROOT" --containerd-state "$RT_CONTAINERD_STATE" \
		--podman-root "$RT_PODMAN_ROOT" --podman-run "$RT_PODMAN_RUN" \
		--runc-root "$RT_RUNC_ROOT" --crun-root "$RT_CRUN_ROOT"
}

recapd_answers() {
	recapctl list >/dev/null 2>&1
}

recapd_ended() {
	[ -e "$RECAP_RUN/status" ]
}

recapd_is_settled() {
	recapd_ended || recapd_answers
}

# shellcheck disable=SC2120 # the flags come from the bats files
# Start it and wait until it answers. A leftover of an aborted test run is ended first.
recapd_up() { # [FLAG...]: the last of a kind counts
	local flags

	recapd_kill
	mkdir -p "$RECAP_RUN"
	rm -f "$RECAP_RUN/status"
	mapfile -t flags < <(recapd_flags)
	# shellcheck disable=SC2016 # $0, $@ and $! are for the shell that is started
	(rt_clean exec setsid sh -c '"$@" & echo $! >"$0/pid"; wait $!; echo $? >"$0/status"' \
		"$RECAP_RUN" "$B/recapd" "${flags[@]}" "$@" </dev/null >>"$RECAP_LOG" 2>&1) &
	disown $!
	if ! wait_until 10 recapd_is_settled || ! recapd_answers; then
		cat "$RECAP_LOG" >&2
		return 1
	fi
}

recapd_is_ours() {
	grep -qz -- "^$RECAP_SOCKET$" "/proc/$(recapd_pid)/cmdline"
}

# As a crash does it.
recapd_kill() {
	[ -e "$RECAP_RUN/pid" ] && recapd_is_ours 2>/dev/null || return 0
	kill -KILL "$(recapd_pid)"
	wait_until 10 recapd_ended
}

# SIGTERM: it ends well, and nothing of it is left.
recapd_down() {
	kill -TERM "$(recapd_pid)"
	wait_until 20 recapd_ended
	[ "$(cat "$RECAP_RUN/status")" = 0 ] || {
		cat "$RECAP_LOG" >&2
		return 1
	}
	recapd_left_nothing
}

recapd_left_nothing() {
	local left

	left=$(find "$RECAP_SOCKET" "$RECAP_SOCKET.lock" "$RECAP_BPFFS" 2>/dev/null || true
		find /sys/fs/cgroup -maxdepth 2 -name "$RECAP_CGROUP"
		recapd_processes
		find "$RECAP_STATE/tmp" "$RECAP_STATE/keepers" -mindepth 1
		grep -l "$RECAP_STATE" /proc/[0-9]*/mountinfo 2>/dev/null || true)
	[ -z "$left" ] || {
		echo "recapd left behind: $left" >&2
		return 1
	}
	rm -r "$RECAP_RUN"
}

# Whatever is in one of our capsules' cgroups, on either hierarchy; but not the starter that waits for the next one.
recapd_processes() {
	local waits

	waits=$(pgrep -P "$(recapd_pid)" -x recap-starter) || true
	grep -lE ":/$RECAP_CGROUP(/|$)" /proc/[0-9]*/cgroup 2>/dev/null | grep -vxF "/proc/${waits:-none}/cgroup" ||
		true
}

# For setup_file: the capsules' images, too.
recapd_with_images() { # IMAGE...
	local image

	# shellcheck disable=SC2119 # no flags of its own
	recapd_up
	for image; do
		recapctl image load --ref "$image" "$RT_IMAGES/oci/$image" >/dev/null
	done
}

# ---- what is left while it runs ------------------------------------------------------------------

dump_map() { # MAP
	bpftool -j map dump pinned "$RECAP_BPFFS/$1"
}

# Capsules' layers, mounted in recapd's workshop where nobody else sees them.
recapd_layers() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/layers.py" "$(recapd_pid)"
}

# Layers and cgroups, by capsule. recapd may keep one of each ready for the next capsule.
traces() {
	find /sys/fs/cgroup -path "*/$RECAP_CGROUP/*" -type d -printf '%f\n'
	recapd_layers | sed 's,.*/,,'
}

leftovers() {
	local ids

	ids=$(recapctl ps --all --json | jq -r '[.[].id] | join("|")')
	dump_map capsules | jq -c '.[].formatted'
	recapd_processes
	traces | grep -wE "${ids:-none}" || true
	traces | sort -u | tail -n +2
	# A capsule's own mount namespace has its overlay at the root.
	grep -lE "upperdir=/c/(${ids:-none})/" /proc/[0-9]*/mountinfo 2>/dev/null || true
	# But for the injector, the keeper, the reader, and the one starter.
	pgrep -P "$(recapd_pid)" -l | grep -vE ' recap-(injecto?r?|keeper|reader)$' | sort -k 2 | awk '$2 != "recap-starter" || n++'
}

nothing_left() {
	local left

	left=$(leftovers)
	[ -z "$left" ] || {
		echo "left of capsules: $left" >&2
		return 1
	}
}

# For teardown(): whatever a test did, nothing of its capsules is left a moment later.
assert_clean() {
	wait_until 5 nothing_left
}

# ---- what the commands say -----------------------------------------------------------------------

# One clear line: this status, nothing on standard output, one line on standard error that has TEXT.
refused() { # STATUS TEXT CMD...
	local text=$2

	run -"$1" --separate-stderr "${@:3}"
	# shellcheck disable=SC2154 # run sets stderr
	if [ -z "$output" ] && [ "$(wc -l <<<"$stderr")" -eq 1 ] && [[ $stderr == *"$text"* ]]; then
		return
	fi
	printf '%s\n' "stdout: $output" "stderr: $stderr" "wanted: $text" >&2
	return 1
}

# The tool's own status, whatever it prints.
status_is() { # STATUS CMD...
	run -"$1" "${@:2}"
}

not() {
	! "$@" || {
		echo "succeeded, and must not: $*" >&2
		return 1
	}
}

# For jq 1.6, -e is content with no input at all: what prints nothing would pass every test.
jq() {
	local output status=0

	case $1 in
	--*) command jq "$@" ;;
	-*e*)
		output=$(command jq "$@") || status=$?
		[ -z "$output" ] || printf '%s\n' "$output"
		[ $status -eq 0 ] && [ -n "$output" ] || return $((status ? status : 4))
		;;
	*) command jq "$@" ;;
	esac
}

# Run recapctl's list, all of it, through a jq filter.
listed() { # FILTER
	recapctl list --json | jq -ce "$1"
}

# The entry of a container by its PID 1.
entry_of() { # RUNTIME NAME
	listed "map(select(.pid == $(rt_pid "$@"))) |
		if length == 1 then .[0] else error(\"\(length) entries\") end"
}

# Start a container, and wait until its entrypoint runs: `run -d` is done a moment before that.
start() { # as rt_run
	local name

	rt_run "$@" >/dev/null
	while getopts l:n:u:o:j: _; do
		:
	done
	name=("${@:OPTIND:2}")
	OPTIND=1
	wait_until 5 entry_of "${name[@]}" >/dev/null
}

# The fields of a report, as one line of JSON.
report() { # FILTER
	jq -ce "$1" "$BATS_TEST_TMPDIR/report"
}

attach_report() { # ARG...
	recapctl attach --report "$BATS_TEST_TMPDIR/report" "$@"
}

# All that the witnesses can say for a capsule.
proven() {
	report '.state == "dropped" and .cow.dropped and .holders == [] and
		.proof == {live_tasks: 0, overlay_busy: false, untracked_forks: 0, lost_events: 0}'
}

# Wait for a background job: that was its status.
ended() { # STATUS PID
	local status=0

	wait "$2" || status=$?
	[ "$status" -eq "$1" ] || {
		echo "ended with $status, not $1" >&2
		return 1
	}
}
