# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For the test scripts that tools/vm runs: checks, and containers made of busybox and runc.

fails=0

# check WHAT COMMAND…: the command succeeds; what it prints is shown when it does not. It is not
# run as a condition, where bash would ignore `set -e`. Each has a log file of its own: what an
# earlier one left running may still write.
check() {
	local status

	rm -f /tmp/check.log
	set +e
	(
		set -eE
		trap 'echo "failed: $BASH_COMMAND" >&9' ERR
		"${@:2}"
	) >/tmp/check.log 2>&1 9>&1
	status=$?
	set -e
	if ((status == 0)); then
		echo "ok   $1"
	else
		echo "FAIL $1"
		sed 's/^/     /' /tmp/check.log
		fails=$((fails + 1))
	fi
}

# status_is WANTED COMMAND…: the command ends with just this status.
status_is() {
	local got=0

	"${@:2}" || got=$?
	((got == $1)) || { echo "status $got, not $1: ${*:2}" && return 1; }
}

# `! COMMAND` would not end a function under `set -e`; this does.
not() {
	! "$@" || { echo "succeeded, and must not: $*" && return 1; }
}

# process_find WORD…: the PID of a process with just this command line.
process_find() {
	local file words

	for file in /proc/[0-9]*/cmdline; do
		{ mapfile -d '' -t words <"$file"; } 2>/dev/null || continue
		[[ "${words[*]}" == "$*" ]] || continue
		basename "$(dirname "$file")"
		return 0
	done
	return 1
}

# wait_for COMMAND…: it succeeds within so many seconds.
patience=10
wait_for() {
	local end=$((SECONDS + patience))

	while ((SECONDS < end)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	echo "$patience seconds passed without: $*"
	return 1
}

# make_bundle FOLDER FILTER: a container that sleeps; the jq filter changes its configuration.
make_bundle() {
	mkdir -p "$1"/rootfs/{bin,proc,dev,sys,tmp}
	cp /usr/bin/busybox "$1/rootfs/bin/busybox"
	ln -s busybox "$1/rootfs/bin/sleep"
	(cd "$1" && runc spec)
	jq '.process.args = ["sleep", "100000"] | .process.terminal = false |
		.root.readonly = false' "$1/config.json" | jq "$2" >"$1/new"
	mv "$1/new" "$1/config.json"
}

# container_start NAME [FILTER]
container_start() {
	make_bundle "/tmp/$1" "${2:-.}"
	runc run -d -b "/tmp/$1" "$1" </dev/null >/dev/null 2>&1
}

# A container whose root is user 100000 of the host: its capsules are no more than that.
mapped_start() {
	container_start mapped '.linux.namespaces += [{type: "user"}]
		| .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		| .linux.gidMappings = .linux.uidMappings'
}

container_pid() {
	runc state "$1" | jq -r .pid
}

container_is() {
	[[ $(runc state "$1" | jq -r .status) == "$2" ]]
}

container_end() {
	runc kill "$1" KILL
	wait_for container_is "$1" stopped
	runc delete "$1"
	rm -r "/tmp/$1"
}

# ---- capsules ------------------------------------------------------------------------------------

# tool TARGET ARG…: the toolbox, without options.
tool() {
	recapctl attach "$1" toolbox:1 -- "${@:2}"
}

# All that could stay behind: mounts, cgroups, mount namespaces, pins, programs, maps.
inventory() {
	cut -d' ' -f3- /proc/self/mountinfo
	find /sys/fs/cgroup -type d
	find /sys/fs/bpf
	bpftool -j prog list | jq -r '.[] | .name // .type' | sort
	bpftool -j map list | jq -r '.[] | .name // .type' | sort
	# Processes come and go between the listing and the look.
	{ stat -Lc %i /proc/[0-9]*/ns/mnt 2>/dev/null || true; } | sort -u
}

# container_is_listed NAME: once, and as what it is.
container_is_listed() {
	recapctl list --json >/tmp/list
	jq -e --arg name "$1" --argjson pid "$(container_pid "$1")" \
		'[.[] | select(.name == $name) | .pid == $pid and .runtime == "runc"] == [true]' \
		/tmp/list
}

ends_stragglers() {
	recapctl attach --report /tmp/report app toolbox:1 -- \
		sh -c '(setsid sleep 4321 </dev/null >/dev/null 2>&1 &)'
	not process_find sleep 4321
	jq -e '.state == "dropped" and .tasks.killed >= 1 and .proof.live_tasks == 0 and
		.proof.overlay_busy == false and .cow.dropped' /tmp/report
}

same_as_before() {
	inventory >/tmp/after
	diff /tmp/before /tmp/after
}

# The kernel frees maps and programs a little after their last user went.
nothing_is_left() {
	wait_for same_as_before || diff /tmp/before /tmp/after
}

# ---- the end -------------------------------------------------------------------------------------

# stop_on_failure LOG: when all that follows would fail for the same reason.
stop_on_failure() {
	((fails == 0)) || finish "$1"
}

# finish [LOG]: the script's verdict; a failed one shows the log.
finish() {
	((fails == 0)) || cat "${1:-/dev/null}"
	exit $((fails != 0))
}
