#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Which containers there are, and how they are named. Other containers may run on this machine: each
# test looks for its own, by PID 1.

load common

RUNTIMES=(docker podman containerd cri runc crun)

setup_file() {
	local runtime

	require_root
	require_command runc crun containerd dockerd docker podman protoc jq bwrap bpftool
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up "${RUNTIMES[@]}"
	for runtime in "${RUNTIMES[@]}"; do
		rt_run -l tier=web -l note=a=b "$runtime" "early-$runtime" app
	done
	rt_run -n none -o --pid=host docker early-docker-host app
	recapd_with_images toolbox true probe
	for runtime in "${RUNTIMES[@]}"; do
		rt_run -l tier=db "$runtime" "late-$runtime" busybox /bin/sleep 1000
	done
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

# ---- as the runtime says -------------------------------------------------------------------------

# What a runtime itself shows of a container, in the terms of the record.
says_docker() {
	rt_docker inspect "$1" | jq '.[0] | {id: .Id, name: .Name[1:], image: .Config.Image,
		labels: (.Config.Labels // {}), pid: .State.Pid}'
}

says_podman() {
	rt_podman inspect "$1" | jq '.[0] | {id: .Id, name: .Name, image: .ImageName,
		labels: (.Config.Labels // {}), pid: .State.Pid}'
}

says_containerd() {
	local pid

	pid=$(rt_ctr task list | awk -v name="$1" '$1 == name {print $2}')
	rt_ctr container info "$1" | jq --argjson pid "$pid" '{id: .ID, name: .ID, image: .Image,
		labels: .Labels, pid: $pid}'
}

# containerd keeps for CRI what `crictl inspect` shows.
says_cri() {
	local id pid

	id=$(rt_id_cri "$1")
	pid=$(rt_ctr -n k8s.io task list | awk -v id="$id" '$1 == id {print $2}')
	rt_ctr -n k8s.io container info "$id" | jq --argjson pid "$pid" '
		.Labels["io.kubernetes.container.name"] as $name | {id: .ID, name: $name,
		image: .Image, labels: .Labels, pid: $pid, pod: {container: $name,
		namespace: .Labels["io.kubernetes.pod.namespace"],
		name: .Labels["io.kubernetes.pod.name"]}}'
}

says_bare() { # RUNTIME NAME
	"rt_$1" state "$2" | jq '{id, name: .id, image: null, labels: (.annotations // {}), pid}'
}

says_runc() {
	says_bare runc "$1"
}

says_crun() {
	says_bare crun "$1"
}

named_alike() { # RUNTIME NAME
	local said runtime=${1/cri/containerd}

	said=$("says_$1" "$2" | jq -cS --arg runtime "$runtime" '{pod: null} + . + {runtime: $runtime}')
	diff <(echo "$said") <(entry_of "$1" "$2" |
		jq -cS '{id, name, image, labels: (.labels // {}), pid, pod, runtime}')
}

# The kernel's own word for the rest of the record.
namespaces_alike() { # RUNTIME NAME
	local entry pid

	entry=$(entry_of "$1" "$2")
	pid=$(jq .pid <<<"$entry")
	diff <(jq -r '.namespaces | to_entries[] | "\(.key):[\(.value)]"' <<<"$entry" | sort) \
		<(readlink /proc/"$pid"/ns/{mnt,pid,net,ipc,uts,user,cgroup,time} | sort)
	grep -qF ":$(jq -r .cgroup <<<"$entry")" "/proc/$pid/cgroup"
	jq -e '.kind == "container" and .state == "running"' <<<"$entry"
	# Since it began, by the kernel's clock, to the second.
	[ $(($(date +%s) - $(date -d "$(jq -r .started_at <<<"$entry")" +%s) - \
		$(ps -o etimes= -p "$pid"))) -le 1 ]
}

@test "docker's containers are listed as docker shows them" {
	named_alike docker early-docker
	named_alike docker late-docker
	namespaces_alike docker late-docker
}

@test "podman's containers are listed as podman shows them" {
	named_alike podman early-podman
	named_alike podman late-podman
	namespaces_alike podman late-podman
}

@test "containerd's containers are listed as ctr shows them" {
	named_alike containerd early-containerd
	named_alike containerd late-containerd
	namespaces_alike containerd late-containerd
}

@test "containers of pods are listed as CRI keeps them" {
	named_alike cri early-cri
	named_alike cri late-cri
	namespaces_alike cri late-cri
}

@test "runc's containers are listed as runc shows them" {
	named_alike runc early-runc
	named_alike runc late-runc
	namespaces_alike runc late-runc
}

@test "crun's containers are listed as crun shows them" {
	named_alike crun early-crun
	named_alike crun late-crun
	namespaces_alike crun late-crun
}

@test "a pod's pause process is no container, and shows with --all" {
	local pause

	pause=$(rt_ctr -n k8s.io task list | awk -v id="$(cat "$RT/cri/early-cri/.sandbox")" \
		'$1 == id {print $2}')
	not listed "any(.pid == $pause)"
	recapctl list --all --json | jq -e "any(.pid == $pause and .kind == \"sandbox\" and
		.pod.name == \"early-cri\")"
}

# ---- containers that are easy to miss ------------------------------------------------------------

@test "containers in the host's PID namespace are listed, those from before recapd too" {
	start -o --pid=host podman host-podman app
	start -j 'del(.linux.namespaces[] | select(.type == "pid"))' runc host-runc app
	start -j 'del(.linux.namespaces[] | select(.type == "pid"))' crun host-crun app
	named_alike docker early-docker-host
	for runtime in podman runc crun; do
		named_alike "$runtime" "host-$runtime"
		rt_rm "$runtime" "host-$runtime"
	done
}

# The entrypoint has said that it runs: by then its own entry is there, with its name.
young() { # RUNTIME
	local log=$RT/bundles/$1-young/log found

	rm -f "$log"
	rt_run "$1" young busybox /bin/sh -c 'echo up; exec sleep 1000' >/dev/null &
	until [ -s "$log" ]; do
		:
	done 2>/dev/null
	found=$(recapctl list --json)
	wait $!
	jq -e "any(.name == \"young\" and .runtime == \"$1\" and .pid == $(rt_pid "$1" young))" \
		<<<"$found"
	rt_rm "$1" young
	not listed 'any(.name == "young")'
}

@test "a container is listed as soon as its entrypoint runs, and not after its end" {
	for _ in {1..3}; do
		young runc
		young crun
	done
}

@test "a container of a runtime that recapd does not know is of use all the same" {
	local pid entry

	RT_RUNC_ROOT=$RT/runc-unknown
	mkdir -p "$RT_RUNC_ROOT"
	start runc stranger app
	pid=$(rt_pid runc stranger)
	entry=$(entry_of runc stranger)
	jq -e ".runtime == \"unknown\" and .name == \"stranger\" and .id == \"pid-$pid\"" <<<"$entry"
	jq -e ".kind == \"container\" and .cgroup == \"/$RT_CGROUP/runc/stranger\"" <<<"$entry"
	[ "$(recapctl attach stranger toolbox -- cat /target/etc/app.conf)" = recap-test-marker ]
	[ "$(recapctl attach "pid:$pid" toolbox -- cat /proc/1/comm)" = app ]
	rt_rm runc stranger
}

# What a runtime does, by hand: a process forked into new namespaces, its own cgroup and root.
@test "a container that was made by hand is of use" {
	local cgroup pid info=$BATS_TEST_TMPDIR/info root=$RT/bundles/by-hand

	# Not on a tmpfs, which would make it a sandbox: the images' folder may be on one.
	cp -a "$RT_IMAGES/rootfs/busybox" "$root"
	cgroup=$(rt_cgroup2)/$RT_CGROUP/by-hand
	mkdir -p "$cgroup"
	sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$cgroup" \
		bwrap --unshare-ipc --unshare-uts --unshare-pid --as-pid-1 --info-fd 9 \
		--bind "$root" / --proc /proc /bin/sleep 1000 9>"$info" 3>&- &
	wait_until 5 grep -q child-pid "$info"
	pid=$(jq '."child-pid"' "$info")
	wait_until 5 listed "any(.pid == $pid)"
	listed "any(.pid == $pid and .runtime == \"unknown\" and .name == \"by-hand\")"
	[ "$(recapctl attach "pid:$pid" toolbox -- cat /proc/1/comm)" = sleep ]
	kill -KILL "$pid"
	wait $! || true
	not listed "any(.pid == $pid)"
	rmdir "$cgroup"
	rm -r "$root"
}

@test "docker exec adds no entry, and takes none away" {
	local before

	before=$(recapctl list --all --json | jq length)
	rt_docker exec -d late-docker /bin/sleep 0.3
	recapctl list --all --json | jq -e "length >= $before"
	named_alike docker late-docker
	wait_until 5 not pgrep -f '^/bin/sleep 0.3$'
	named_alike docker late-docker
}

@test "a restarted container has one entry, with its new PID" {
	local before

	before=$(rt_pid docker early-docker)
	rt_docker restart -t 0 early-docker
	[ "$(rt_pid docker early-docker)" != "$before" ]
	named_alike docker early-docker
	listed 'map(select(.name == "early-docker")) | length == 1'
	not listed "any(.pid == $before)"
}

@test "a paused container is listed" {
	rt_docker pause late-docker
	named_alike docker late-docker
	rt_docker unpause late-docker
	rt_runc pause late-runc
	named_alike runc late-runc
	rt_runc resume late-runc
}

@test "an entrypoint that executes another program stays the same container" {
	start runc execs busybox /bin/sh -c 'sleep 0.2; exec sleep 1000'
	named_alike runc execs
	wait_until 5 grep -qx sleep "/proc/$(rt_pid runc execs)/comm"
	named_alike runc execs
	rt_rm runc execs
}

# ---- what is no container ------------------------------------------------------------------------

# Listed with --all only, as a sandbox, whoever of its processes stands for it.
is_sandbox() { # PID
	local mnt

	mnt=$(stat -Lc %i "/proc/$1/ns/mnt")
	wait_until 5 eval "recapctl list --all --json | jq -e 'any(.namespaces.mnt == $mnt)'"
	recapctl list --all --json | jq -e "all(.namespaces.mnt != $mnt or .kind == \"sandbox\")"
	not listed "any(.namespaces.mnt == $mnt)"
}

bwrap_is_sandbox() { # OPTION...
	local info=$BATS_TEST_TMPDIR/info pid

	rm -f "$info"
	bwrap --info-fd 9 "$@" sleep 1000 9>"$info" 3>&- &
	wait_until 5 grep -q child-pid "$info"
	pid=$(jq '."child-pid"' "$info")
	wait_until 5 pgrep -x sleep --ns "$pid" --nslist mnt
	is_sandbox "$pid"
	kill -KILL "$pid" $!
	wait $! || true
}

@test "a bubblewrap shell on the host's root is a sandbox" {
	bwrap_is_sandbox --ro-bind / / --dev /dev
}

@test "a bubblewrap shell on a tmpfs is a sandbox" {
	bwrap_is_sandbox --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
		--unshare-net --unshare-uts --unshare-ipc
}

@test "a bubblewrap shell with a PID namespace is a sandbox" {
	bwrap_is_sandbox --ro-bind / / --dev /dev --proc /proc --unshare-pid
}

@test "a service with a private /tmp is a sandbox" {
	unshare -m sh -c 'mount -t tmpfs tmpfs /tmp; exec sleep 1000' 3>&- &
	wait_until 5 grep -qx sleep "/proc/$!/comm"
	is_sandbox $!
	kill -KILL $!
	wait $! || true
}

capsule_is_unlisted() { # ATTACH-ARG...
	local id tool mnt n=0

	id=$(recapctl attach -d "$@")
	wait_until 5 eval "recapctl logs $id | grep -q ready"
	for tool in $(recapd_processes | cut -d / -f 3); do
		# But for who started it, and may be about to end.
		mnt=$(stat -Lc %i "/proc/$tool/ns/mnt") || continue
		recapctl list --all --json | jq -e "all(.pid != $tool and .namespaces.mnt != $mnt)"
		n=$((n + 1))
	done
	[ $n -ge 2 ]
	recapctl stop --timeout 0 "$id"
}

@test "a capsule is never listed, not with --all, not when it makes namespaces of its own" {
	capsule_is_unlisted late-runc probe sleep 1000
	capsule_is_unlisted --cap-add SYS_ADMIN --seccomp unconfined late-runc probe newns 1000
	capsule_is_unlisted early-docker-host probe sleep 1000
}

# ---- finding one ---------------------------------------------------------------------------------

reaches() { # RUNTIME NAME TARGET
	attach_report "$3" true
	report ".target.pid == $(rt_pid "$1" "$2")"
}

@test "a target is a name, an ID, its start, RUNTIME:NAME, a pod or a PID" {
	local id

	id=$(rt_id docker late-docker)
	for target in late-docker "$id" "${id:0:12}" docker:late-docker "docker:${id:0:12}" \
		"pid:$(rt_pid docker late-docker)"; do
		reaches docker late-docker "$target"
	done
	# Any process of it.
	nsenter -m -t "$(rt_pid docker late-docker)" /bin/sleep 1000 3>&- &
	wait_until 5 grep -qx sleep "/proc/$!/comm"
	reaches docker late-docker "pid:$!"
	kill -KILL $!
	wait $! || true
	for target in pod/default/late-cri pod/default/late-cri/late-cri containerd:late-cri; do
		reaches cri late-cri "$target"
	done
	reaches podman late-podman podman:late-podman
	reaches containerd late-containerd containerd:late-containerd
	reaches runc late-runc runc:late-runc
	reaches crun late-crun crun:late-crun
}

@test "two containers of one name are told apart, or refused in one line that names both" {
	start docker twin busybox
	start podman twin busybox
	refused 125 "twin is ambiguous" recapctl attach twin true
	# shellcheck disable=SC2154 # run sets stderr
	[[ $stderr == *docker:twin*podman:twin* || $stderr == *podman:twin*docker:twin* ]]
	refused 1 "twin is ambiguous" recapctl inspect twin
	reaches docker twin docker:twin
	reaches podman twin podman:twin
	rt_rm podman twin
	reaches docker twin twin
	rt_rm docker twin
}

@test "the start of several IDs is refused; a whole name beats the start of another's ID" {
	refused 125 "late- is ambiguous" recapctl attach late- true
	start runc late-runc-2 busybox
	reaches runc late-runc late-runc
	reaches runc late-runc-2 late-runc-
	rt_rm runc late-runc-2
}

@test "a pod of two containers is refused by its name and reached by theirs" {
	start cri duo/one busybox
	start cri duo/two busybox
	refused 125 "pod/default/duo is ambiguous" recapctl attach pod/default/duo true
	reaches cri duo/two pod/default/duo/two
	rt_rm cri duo/one
	reaches cri duo/two pod/default/duo
	rt_rm cri duo/two
}

@test "targets that are not there are refused in one line" {
	for target in nobody docker:late-podman pod/default/nobody pod/other/late-cri \
		pod/default/late-cri/nobody pid:1 pid:0 pid:-1 pid:99999999 pid:x pid: docker: : / \
		"$(printf 'x%.0s' {1..4000})"; do
		refused 125 "no container " recapctl attach "$target" true
	done
	refused 125 "there is no TARGET" recapctl attach "" true
	refused 1 "no container is called" recapctl inspect nobody
}

@test "labels choose containers; all of several must match" {
	recapctl list --json -l tier=web | jq -e 'map(.name) | contains(["early-docker", "early-cri",
		"early-podman", "early-runc", "early-crun", "early-containerd"]) and
		all(startswith("late") | not)'
	recapctl list --json -l tier=web -l note=a=b | jq -e 'length == 6'
	recapctl list --json -l tier=web -l note=a | jq -e 'length == 0'
	recapctl list --json -l tier= | jq -e 'length == 0'
	refused 2 "KEY=VALUE" recapctl list -l tier
}

@test "list prints a table of names that attach takes" {
	run -0 recapctl list
	# shellcheck disable=SC2154 # run sets lines
	[[ ${lines[0]} =~ ^NAME\ +RUNTIME\ +ID\ +IMAGE\ +PID\ +AGE$ ]]
	grep -qE "^late-docker +docker +$(rt_id docker late-docker | cut -c -12) +localhost/busybox:1 +$(
		rt_pid docker late-docker) +[0-9]+[smh]$" <<<"$output"
	grep -qE '^pod/default/late-cri/late-cri +containerd ' <<<"$output"
	run -0 recapctl list --all
	grep -qE '^NAME .* KIND$' <<<"$output"
	grep -qE '^late-docker .* container$' <<<"$output"
}

@test "list --watch shows what comes and what goes" {
	local log=$BATS_TEST_TMPDIR/watch json=$BATS_TEST_TMPDIR/watch.json

	recapctl list --watch >"$log" 3>&- &
	recapctl list --watch --json >"$json" 3>&- &
	wait_until 5 grep -q '^+ late-docker docker ' "$log"
	start runc fleeting busybox
	wait_until 5 grep -q '^+ fleeting runc fleeting - ' "$log"
	rt_rm runc fleeting
	wait_until 5 grep -q '^- fleeting runc fleeting - ' "$log"
	jq -se '.[0] | type == "array" and any(.name == "late-docker")' "$json"
	jq -se 'any(any(.name == "fleeting")) and (last | all(.name != "fleeting"))' "$json"
	kill %1 %2
	wait || true
}

# ---- many ----------------------------------------------------------------------------------------

# Runtimes are done with `run -d` a moment before the entrypoint is executed: it says "up" itself.
churn() { # RUNTIME FIRST LAST: every 50th stays
	local i name up=$BATS_TEST_TMPDIR/up-$1-$2

	for ((i = $2; i <= $3; i++)); do
		name=churn-$1-$i
		"rt_$1" run -d --bundle "$RT/bundles/$1-churn" "$name" </dev/null >"$up" 2>&1 ||
			return
		until [ -s "$up" ]; do
			:
		done
		recapctl list --json | grep -qF "\"id\":\"$name\"" || echo "missing: $name"
		((i % 50)) || continue
		"rt_$1" delete -f "$name" || return
		! recapctl list --json | grep -qF "\"id\":\"$name\"" || echo "stale: $name"
	done
}

# Meanwhile: every list is whole, and has what was there all the time.
watch_churn() { # STOP-FILE LISTS
	until [ -e "$1" ]; do
		recapctl list --json || echo '"failed"'
	done >"$2"
}

listed_as_the_runtime_says() { # RUNTIME
	diff <("rt_$1" list -f json | jq -r '.[] | select(.status == "running") | "\(.id) \(.pid)"' | sort) \
		<(listed "map(select(.runtime == \"$1\"))" | jq -r '.[] | "\(.id) \(.pid)"' | sort)
}

@test "500 containers started and stopped while the list is read: none stale, none missing" {
	local stop=$BATS_TEST_TMPDIR/stop lists=$BATS_TEST_TMPDIR/lists out=$BATS_TEST_TMPDIR/out
	local filter i runtime watcher churners=()

	# Each in a cgroup of its own: the runtimes then name it by the ID.
	filter='del(.linux.cgroupsPath) |
		.process.args = ["/bin/sh", "-c", "echo up; exec sleep 1000"]'
	for runtime in runc crun; do
		start -j "$filter" "$runtime" churn busybox
	done
	watch_churn "$stop" "$lists" 3>&- &
	watcher=$!
	for runtime in runc crun; do
		for i in 1 126; do
			churn "$runtime" $i $((i + 124)) >"$out-$runtime-$i" 2>&1 3>&- &
			churners+=($!)
		done
	done
	for i in "${churners[@]}"; do
		wait "$i" || touch "$out-failed"
	done
	touch "$stop"
	wait "$watcher"
	! grep . "$out"-* || return 1
	[ ! -e "$out-failed" ]
	jq -sc '{lists: length, without: map(select(any(.name == "late-docker") | not))[:2]}' "$lists"
	jq -se 'length > 100 and all(any(.name == "late-docker"))' "$lists"
	for runtime in runc crun; do
		listed_as_the_runtime_says "$runtime"
		for i in 50 100 150 200 250; do
			"rt_$runtime" delete -f "churn-$runtime-$i"
		done
		rt_rm "$runtime" churn
		listed_as_the_runtime_says "$runtime"
	done
}
