#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Real container runtimes for the tests: docker, containerd, cri (containerd's CRI plugin), podman,
# runc and crun. Source it for the functions below, or run `tests/system/runtimes.sh FUNCTION
# ARG...`.
#
#   rt_up RUNTIME...                 start what they need; nothing is done for what is up already
#   rt_down                          stop all and remove every trace, whatever state it is in:
#                                    a crashed run's leftovers too
#   rt_run [OPTION...] RUNTIME NAME IMAGE [CMD...]   start a container, print its full ID
#       -l KEY=VALUE                 a label (an annotation for runc and crun)
#       -n none|bridge|host          network (none; for cri the pod's); "host" is the runtimes' one
#       -u UID                       user
#       -o OPTION                    one more option for docker, podman or ctr run
#       -j FILTER                    a jq filter over config.json, for runc and crun
#   rt_rm RUNTIME NAME               end it and take it away
#   rt_pid RUNTIME NAME              its PID 1, as the host numbers it
#   rt_id RUNTIME NAME               its full ID
#   rt_exec RUNTIME NAME CMD...      run a command in it by the runtime's own means
#   rt_docker, rt_ctr, rt_cri, rt_podman, rt_runc, rt_crun ARG...   the runtimes' own commands
#
# IMAGE is one of images.sh. A cri NAME is POD/CONTAINER in the Kubernetes namespace "default"; NAME
# alone is a pod and a container of that name. The pod goes with its last container.
#
# Everything is private: state, sockets, images and logs ($RT/log) are below $RT, and the runtimes
# live in a network namespace of their own, so that neither bridges nor iptables rules reach the
# machine's. Two $RT can be used side by side. What runtimes only keep in fixed places (parent
# cgroups, /run/containerd/s) is removed when it was not there before. RT_*_ROOT and so on below are
# what recapd's flags want to know.
#
# crun refuses hybrid cgroup hierarchies. There it runs in a mount namespace without the v2 one; its
# containers then have v1 cgroups only. On a pure v2 machine, and on pure v1, it runs as it is.
#
# Not to be had on a machine without CAP_SYS_RESOURCE: lower oom_score_adj, higher rlimits,
# --privileged with runc. With systemd not running: systemd cgroup drivers and the *.scope names
# that go with them.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	set -euo pipefail
fi

RT=${RT:-/var/lib/recap-test}
RT_SOURCE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
RT_IMAGES=${RT_IMAGES:-$(realpath -m "${B:-$RT_SOURCE/../../build}")/images}
export RT RT_IMAGES
export RT_DOCKER_ROOT=$RT/docker/root
export RT_CONTAINERD_ROOT=$RT/containerd/root
export RT_CONTAINERD_STATE=$RT/containerd/state
export RT_PODMAN_ROOT=$RT/podman/root
export RT_PODMAN_RUN=$RT/podman/run
export RT_RUNC_ROOT=$RT/runc
export RT_CRUN_ROOT=$RT/crun
export RT_CONTAINERD_SOCKET=$RT/containerd/containerd.sock
export RT_DOCKER_SOCKET=$RT/docker/docker.sock

# Where runtimes keep things that no option moves, and podman's cache of where it has seen which
# layer; removed at the end when not there before, folders only when empty.
RT_FIXED=(/run/containerd/s /run/containerd/fifo /run/containerd /run/docker/plugins /run/docker
	/run/netns /run/libpod /run/crun /run/runc /run/containers/networks /run/containers
	/var/lib/cni/results /var/lib/cni/networks /var/lib/cni
	/var/lib/containers/cache/blob-info-cache-v1.boltdb /var/lib/containers/cache
	/var/lib/containers /etc/containers/networks /etc/docker)
RT_CGROUP=$(basename "$RT") # parent of runc's and crun's containers: not to be another $RT's
RT_CGROUP_PARENTS=(default docker k8s.io libpod_parent "$RT_CGROUP")

# ---- waiting, and processes by PID and start time ------------------------------------------------

rt_fail() {
	echo "runtimes: $*" >&2
	return 1
}

# Poll a command until it succeeds. On a slow machine RT_TIMEOUT makes the seconds as many times longer.
rt_await() { # SECONDS CMD...
	local end=$((SECONDS + $1 * ${RT_TIMEOUT:-1} + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# "PID START-TIME", which no later process shares.
rt_identity() { # PID
	local stat

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# The command, in parentheses, may hold spaces: count from behind it. Field 3 is the state.
	read -ra stat <<<"${stat##*) }"
	[ "${stat[0]}" != Z ] && echo "$1 ${stat[19]}"
}

rt_alive() { # DAEMON
	local identity

	identity=$(cat "$RT/$1.pid" 2>/dev/null) && [ "$(rt_identity "${identity% *}")" = "$identity" ]
}

rt_dead() {
	! rt_alive "$1"
}

rt_gone() { # IDENTITY
	[ "$(rt_identity "${1% *}")" != "$1" ]
}

# No descriptor but the standard ones: bats waits for whoever holds its own.
rt_clean() {
	"$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
}

rt_daemon() { # DAEMON CMD...
	local name=$1

	shift
	# The subshell is replaced by setsid, which replaces itself by the daemon: $! is its PID.
	(rt_clean exec setsid "$@" </dev/null >>"$RT/log/$name" 2>&1) &
	rt_identity $! >"$RT/$name.pid" || rt_fail "$name did not start: see $RT/log/$name"
	disown $!
}

rt_await_daemon() { # DAEMON CMD...
	local name=$1 end=$((SECONDS + 30 * ${RT_TIMEOUT:-1} + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		rt_alive "$name" || rt_fail "$name ended: $(tail -n 1 "$RT/log/$name")" || return
		[ $SECONDS -lt $end ] || rt_fail "$name does not answer: see $RT/log/$name" || return
		sleep 0.05
	done
}

rt_stop_daemon() { # DAEMON
	local pid

	rt_alive "$1" || return 0
	pid=$(cut -d ' ' -f 1 "$RT/$1.pid")
	kill "$pid"
	# In a trap, where bats calls us after a failed setup, a mere `return` returns what was before it.
	rt_await 15 rt_dead "$1" && return 0
	kill -KILL "$pid"
	rt_await 5 rt_dead "$1"
}

# ---- the private surroundings --------------------------------------------------------------------

rt_cgroup_parents() {
	local parent

	for parent in "${RT_CGROUP_PARENTS[@]}"; do
		find /sys/fs/cgroup -maxdepth 2 -type d -name "$parent"
	done
}

# Where the v2 hierarchy is, nothing when there is none.
rt_cgroup2() {
	findmnt -n -o TARGET -t cgroup2 | head -n 1
}

# A daemon that has ended on its own (a crash, a reboot): what stands around it is of no use.
rt_is_broken() {
	local file

	for file in "$RT"/*.pid; do
		[ -e "$file" ] || continue
		rt_alive "$(basename "$file" .pid)" || return 0
	done
	return 1
}

rt_prepare() {
	local path

	if rt_is_broken; then
		rt_down
	fi
	[ -e "$RT/before" ] && return
	[ -e "$RT_IMAGES/stamp" ] || rt_fail "no images in $RT_IMAGES: run tests/system/images.sh" || return
	mkdir -p "$RT"/{log,cri,docker,containerd,podman}
	chmod 700 "$RT"
	{
		for path in "${RT_FIXED[@]}"; do
			if [ -e "$path" ]; then echo "$path"; fi
		done
		rt_cgroup_parents
	} >"$RT/before.new"
	cat "$(rt_cgroup2)/cgroup.subtree_control" >"$RT/subtree_control" 2>/dev/null
	findmnt -n -o TARGET /run/netns >"$RT/netns-mount"
	mv "$RT/before.new" "$RT/before"
}

# A process that keeps a namespace: commands enter it by its PID. Ready when its file appears.
rt_holder() { # NAME UNSHARE-OPTION... -- SHELL-COMMANDS
	local name=$1

	shift
	rt_alive "$name" && return
	rm -f "$RT/$name.ready"
	# shellcheck disable=SC2016 # $0 is for the shell that is started
	rt_daemon "$name" unshare "${@:1:$#-2}" \
		sh -ec "${*: -1}"'; touch "$0"; exec sleep infinity' "$RT/$name.ready"
	rt_await_daemon "$name" test -e "$RT/$name.ready"
}

rt_holder_pid() { # NAME
	cut -d ' ' -f 1 "$RT/$1.pid"
}

rt_hold_network() {
	rt_holder net -n -- 'ip link set lo up'
}

rt_in_network() {
	rt_clean nsenter "--net=/proc/$(rt_holder_pid net)/ns/net" "$@"
}

rt_is_hybrid() {
	[ "$(rt_cgroup2)" != /sys/fs/cgroup ] && [ -n "$(rt_cgroup2)" ]
}

# The copies of other containers' mounts are dropped: they would keep them busy after their end.
rt_hold_crun() {
	rt_is_hybrid || return 0
	rt_holder mnt -m --propagation private -- \
		"umount -q -a -t overlay,nsfs || true; umount $(rt_cgroup2)"
}

# ---- the runtimes' own commands ------------------------------------------------------------------

rt_docker() {
	rt_clean docker --config "$RT/docker/client" -H "unix://$RT_DOCKER_SOCKET" "$@"
}

rt_ctr() {
	rt_clean ctr -a "$RT_CONTAINERD_SOCKET" "$@"
}

rt_cri() {
	CRI_SOCKET=$RT_CONTAINERD_SOCKET rt_clean "$RT_SOURCE/cri.py" "$@"
}

rt_podman() {
	CONTAINERS_CONF=$RT/podman/containers.conf rt_in_network podman --root "$RT_PODMAN_ROOT" \
		--runroot "$RT_PODMAN_RUN" --tmpdir "$RT/podman/tmp" --storage-driver overlay \
		--runtime-flag "root=$RT/podman/runc" "$@"
}

rt_runc() {
	rt_clean runc --root "$RT_RUNC_ROOT" "$@"
}

rt_crun() {
	if rt_is_hybrid; then
		rt_clean nsenter "--mount=/proc/$(rt_holder_pid mnt)/ns/mnt" \
			crun --root "$RT_CRUN_ROOT" "$@"
	else
		rt_clean crun --root "$RT_CRUN_ROOT" "$@"
	fi
}

# ---- up ------------------------------------------------------------------------------------------

rt_up() {
	local runtime

	rt_prepare || return
	for runtime; do
		"rt_up_$runtime" || rt_fail "cannot start $runtime" || return
	done
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE the sandbox's score cannot be lowered.
rt_containerd_config() {
	local cri=io.containerd.grpc.v1.cri

	cat <<-END
		version = 2
		root = "$RT_CONTAINERD_ROOT"
		state = "$RT_CONTAINERD_STATE"
		[grpc]
		address = "$RT_CONTAINERD_SOCKET"
		[plugins."io.containerd.internal.v1.opt"]
		path = "$RT/containerd/opt"
		[plugins."$cri"]
		sandbox_image = "localhost/pause:1"
		restrict_oom_score_adj = true
		disable_apparmor = true
		netns_mounts_under_state_dir = true
		[plugins."$cri".containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
		[plugins."$cri".containerd.runtimes.runc.options]
		Root = "$RT/containerd/runc"
		SystemdCgroup = false
		[plugins."$cri".cni]
		bin_dir = "/usr/lib/cni"
		conf_dir = "$RT/containerd/cni"
	END
}

rt_cni_config() {
	jq -n --arg dir "$RT/containerd/ipam" '{cniVersion: "1.0.0", name: "recap", plugins: [
		{type: "bridge", bridge: "recap0", isGateway: false, ipMasq: false, ipam: {
			type: "host-local", dataDir: $dir, ranges: [[{subnet: "10.88.77.0/24"}]]}}]}'
}

rt_start_containerd() {
	rt_alive containerd && return
	rt_hold_network || return
	mkdir -p "$RT/containerd/cni"
	rt_containerd_config >"$RT/containerd/config.toml"
	rt_cni_config >"$RT/containerd/cni/10-recap.conflist"
	rt_daemon containerd nsenter "--net=/proc/$(rt_holder_pid net)/ns/net" \
		containerd -c "$RT/containerd/config.toml" || return
	rt_await_daemon containerd rt_ctr version
}

rt_import() { # NAMESPACE IMAGE...
	local namespace=$1 image

	shift
	for image; do
		rt_ctr -n "$namespace" images import "$RT_IMAGES/$image.tar" >>"$RT/log/import" 2>&1 ||
			rt_fail "cannot import $image: $(tail -n 1 "$RT/log/import")" || return
	done
}

rt_up_containerd() {
	[ -e "$RT/up.containerd" ] && rt_alive containerd && return
	rt_start_containerd && rt_import default app busybox && touch "$RT/up.containerd"
}

rt_up_cri() {
	[ -e "$RT/up.cri" ] && rt_alive containerd && return
	rt_start_containerd && rt_import k8s.io app busybox pause &&
		rt_cri wait-image localhost/{app,busybox,pause}:1 && touch "$RT/up.cri"
}

rt_up_docker() {
	rt_alive dockerd && return
	rt_start_containerd || return
	mkdir -p "$RT/docker/client"
	# The key is the one thing of dockerd's that would land in /etc/docker.
	jq -n --arg key "$RT/docker/key.json" '{"deprecated-key-path": $key}' >"$RT/docker/daemon.json"
	rt_daemon dockerd nsenter "--net=/proc/$(rt_holder_pid net)/ns/net" dockerd \
		--config-file "$RT/docker/daemon.json" --data-root "$RT_DOCKER_ROOT" \
		--exec-root "$RT/docker/exec" --pidfile "$RT/docker/pid" -H "unix://$RT_DOCKER_SOCKET" \
		--containerd "$RT_CONTAINERD_SOCKET" \
		--iptables=false --ip6tables=false --ip-masq=false --userland-proxy=false || return
	rt_await_daemon dockerd rt_docker version || return
	rt_load rt_docker
}

# Cut to what this process may set: podman asks for more by default and fails where it may not.
rt_podman_config() {
	local files procs max

	files=$(ulimit -Hn)
	procs=$(ulimit -Hu)
	max=$(cat /proc/sys/kernel/pid_max)
	if [ "$procs" = unlimited ] || [ "$procs" -gt "$max" ]; then
		procs=$max
	fi
	cat <<-END
		[containers]
		default_ulimits = ["nofile=$files:$files", "nproc=$procs:$procs"]
		[engine]
		runtime = "runc"
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		lock_type = "file"
		tmp_dir = "$RT/podman/tmp"
		[network]
		network_config_dir = "$RT/podman/networks"
	END
}

rt_up_podman() {
	[ -e "$RT/up.podman" ] && return
	rt_hold_network || return
	rt_podman_config >"$RT/podman/containers.conf"
	rt_load rt_podman && touch "$RT/up.podman"
}

rt_load() { # COMMAND
	local image

	for image in app busybox; do
		"$1" load -q -i "$RT_IMAGES/$image.tar" >>"$RT/log/import" 2>&1 ||
			rt_fail "cannot load $image: $(tail -n 1 "$RT/log/import")" || return
	done
}

rt_up_runc() {
	mkdir -p "$RT_RUNC_ROOT" "$RT/bundles"
}

rt_up_crun() {
	mkdir -p "$RT_CRUN_ROOT" "$RT/bundles"
	rt_hold_crun
}

# ---- containers ----------------------------------------------------------------------------------

rt_run() {
	local opt OPTIND=1 network=none user='' filter=. labels=() options=()

	while getopts l:n:u:o:j: opt; do
		case $opt in
		l) labels+=("$OPTARG") ;;
		n) network=$OPTARG ;;
		u) user=$OPTARG ;;
		o) options+=("$OPTARG") ;;
		j) filter=$OPTARG ;;
		*) return 2 ;;
		esac
	done
	shift $((OPTIND - 1))
	"rt_run_$1" "${@:2}"
}

rt_rm() {
	"rt_rm_$1" "${@:2}"
}

rt_pid() {
	"rt_pid_$1" "${@:2}"
}

rt_id() {
	"rt_id_$1" "${@:2}"
}

rt_exec() {
	"rt_exec_$1" "${@:2}"
}

# docker and podman take the same options.
rt_engine_run() { # COMMAND NAME IMAGE [CMD...]
	local command=$1 name=$2 image=$3

	shift 3
	"$command" run -d --name "$name" --network "$network" ${user:+--user "$user"} \
		"${labels[@]/#/--label=}" "${options[@]}" "localhost/$image:1" "$@"
}

rt_run_docker() {
	rt_engine_run rt_docker "$@"
}

rt_rm_docker() {
	rt_docker rm -f "$1" >/dev/null
}

rt_pid_docker() {
	rt_docker inspect -f '{{.State.Pid}}' "$1"
}

rt_id_docker() {
	rt_docker inspect -f '{{.Id}}' "$1"
}

rt_exec_docker() {
	rt_docker exec "$@"
}

rt_run_podman() {
	rt_engine_run rt_podman "$@"
}

rt_rm_podman() {
	rt_podman rm -f -t 0 "$1" >/dev/null
}

rt_pid_podman() {
	rt_podman inspect -f '{{.State.Pid}}' "$1"
}

rt_id_podman() {
	rt_podman inspect -f '{{.Id}}' "$1"
}

rt_exec_podman() {
	rt_podman exec "$@"
}

# ctr knows the networks "none", its default, and "host", and no user but the image's.
rt_run_containerd() { # NAME IMAGE [CMD...]
	local name=$1 image=$2

	shift 2
	case $network in
	none) ;;
	host) options+=(--net-host) ;;
	*) rt_fail "ctr has no network '$network'" || return ;;
	esac
	[ -z "$user" ] || rt_fail "ctr has no option for a user" || return
	rt_ctr run -d --runc-root "$RT/containerd/runc" --fifo-dir "$RT/containerd/fifo" --null-io \
		"${labels[@]/#/--label=}" "${options[@]}" "localhost/$image:1" "$name" "$@" && echo "$name"
}

rt_rm_containerd() {
	rt_ctr task rm -f "$1" >/dev/null && rt_ctr container rm "$1"
}

rt_pid_containerd() {
	echo "$(<"$RT_CONTAINERD_STATE/io.containerd.runtime.v2.task/default/$1/init.pid")"
}

rt_id_containerd() {
	rt_ctr container info "$1" | jq -r .ID
}

rt_exec_containerd() { # NAME CMD...
	local name=$1

	shift
	rt_ctr task exec --fifo-dir "$RT/containerd/fifo" --exec-id "exec-$RANDOM$RANDOM" "$name" "$@"
}

rt_run_cri() { # POD[/CONTAINER] IMAGE [CMD...]
	local pod=${1%%/*} container=${1#*/} image=$2 folder=$RT/cri/${1%%/*}
	local pod_options=(--log-dir "$RT/log") label

	shift 2
	for label in "${labels[@]}"; do
		pod_options+=(--label "$label")
	done
	if [ "$network" = host ]; then
		pod_options+=(--host-network)
	fi
	mkdir -p "$folder"
	[ -s "$folder/.sandbox" ] ||
		rt_cri run-pod default "$pod" "${pod_options[@]}" >"$folder/.sandbox" || return
	rt_cri run "$(cat "$folder/.sandbox")" default "$pod" "$container" "localhost/$image:1" \
		"${pod_options[@]}" ${user:+--user "$user"} -- "$@" | tee "$folder/$container"
	[ -s "$folder/$container" ]
}

rt_rm_cri() {
	local folder=$RT/cri/${1%%/*} container=${1#*/}

	rt_cri rm "$(rt_id_cri "$1")" || return
	rm "$folder/$container"
	if [ -z "$(ls "$folder")" ]; then
		rt_cri rm-pod "$(cat "$folder/.sandbox")" && rm -r "$folder"
	fi
}

rt_pid_cri() {
	echo "$(<"$RT_CONTAINERD_STATE/io.containerd.runtime.v2.task/k8s.io/$(rt_id_cri "$1")/init.pid")"
}

rt_id_cri() {
	cat "$RT/cri/${1%%/*}/${1#*/}"
}

rt_exec_cri() { # NAME CMD...
	local id

	id=$(rt_id_cri "$1") || return
	shift
	rt_cri exec "$id" "$@"
}

# What docker allows a container, so that the bare runtimes' containers are like others.
RT_CAPS='["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
	"SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"] | map("CAP_" + .)'

rt_image_config() { # IMAGE
	local layout=$RT_IMAGES/oci/$1 digest

	digest=$(jq -r '.manifests[0].digest' "$layout/index.json") &&
		digest=$(jq -r .config.digest "$layout/blobs/sha256/${digest#sha256:}") &&
		jq -c .config "$layout/blobs/sha256/${digest#sha256:}"
}

# config.json from the runtime's own template, the image and the options.
rt_bundle_config() { # RUNTIME NAME IMAGE [CMD...]
	local runtime=$1 name=$2 image cmd annotations

	image=$(rt_image_config "$3") || return
	shift 3
	cmd=$(jq -nc '$ARGS.positional' --args -- "$@")
	annotations=$(jq -nc '$ARGS.positional | map(capture("^(?<key>[^=]*)=(?<value>.*)$")) | from_entries' \
		--args -- "${labels[@]}")
	jq --arg name "$name" --argjson image "$image" --argjson cmd "$cmd" --arg user "$user" \
		--argjson annotations "$annotations" --arg cgroup "/$RT_CGROUP/$runtime/$name" "
		($RT_CAPS) as \$caps |
		.process.terminal = false | .process.noNewPrivileges = false | .hostname = \$name |
		.process.args = ([\$cmd, \$image.Cmd, \$image.Entrypoint] | map(select(length > 0))[0]) |
		.process.env = (\$image.Env // [\"PATH=/bin\"]) | .process.capabilities =
			{bounding: \$caps, effective: \$caps, permitted: \$caps} |
		if \$user != \"\" then .process.user = {uid: (\$user | tonumber), gid: 0} else . end |
		.root.readonly = false | .annotations = \$annotations | .linux.cgroupsPath = \$cgroup"
}

rt_bundle_run() { # RUNTIME NAME IMAGE [CMD...]
	local runtime=$1 name=$2 image=$3 bundle=$RT/bundles/$1-$2

	shift 3
	if [ "$network" = host ]; then
		filter="del(.linux.namespaces[] | select(.type == \"network\")) | $filter"
	fi
	rm -rf "$bundle"
	mkdir -p "$bundle"
	cp -a "$RT_IMAGES/rootfs/$image" "$bundle/rootfs"
	# The template is only written to config.json, and never over one.
	(cd "$bundle" && "$runtime" spec && mv config.json template) &&
		rt_bundle_config "$runtime" "$name" "$image" "$@" <"$bundle/template" \
			>"$bundle/unfiltered" &&
		jq "$filter" "$bundle/unfiltered" >"$bundle/config.json" &&
		"rt_$runtime" run -d --bundle "$bundle" "$name" </dev/null >"$bundle/log" 2>&1 ||
		rt_fail "$runtime: $(cat "$bundle/log")" || return
	echo "$name"
}

rt_bundle_rm() { # RUNTIME NAME
	"rt_$1" delete -f "$2" && rm -rf "$RT/bundles/$1-$2"
}

rt_bundle_pid() { # RUNTIME NAME
	"rt_$1" state "$2" | jq .pid
}

rt_run_runc() {
	rt_bundle_run runc "$@"
}

rt_rm_runc() {
	rt_bundle_rm runc "$@"
}

rt_pid_runc() {
	rt_bundle_pid runc "$@"
}

rt_id_runc() {
	rt_runc state "$1" | jq -r .id
}

rt_exec_runc() {
	rt_runc exec "$@"
}

rt_run_crun() {
	rt_bundle_run crun "$@"
}

rt_rm_crun() {
	rt_bundle_rm crun "$@"
}

rt_pid_crun() {
	rt_bundle_pid crun "$@"
}

rt_id_crun() {
	rt_crun state "$1" | jq -r .id
}

rt_exec_crun() {
	rt_crun exec "$@"
}

# ---- down ----------------------------------------------------------------------------------------

# Every container of a runc, by its own record: works without the daemon above it.
rt_delete_all() { # RUNTIME ROOT
	local folder

	for folder in "$2"/*/; do
		[ -d "$folder" ] || continue
		"$1" --root "$2" delete -f "$(basename "$folder")" >>"$RT/log/down" 2>&1 ||
			rt_fail "$1 delete: $(tail -n 1 "$RT/log/down")"
	done
	return 0
}

rt_end_containers() {
	local root

	for root in "$RT_RUNC_ROOT" "$RT"/runc-* "$RT/podman/runc" "$RT"/docker/exec/runtime-runc/* \
		"$RT"/containerd/runc/*; do
		rt_delete_all runc "$root"
	done
	if rt_alive mnt; then
		rt_delete_all rt_crun_at "$RT_CRUN_ROOT"
	else
		rt_delete_all crun "$RT_CRUN_ROOT"
	fi
}

# crun through its mount namespace; the root is in the arguments.
rt_crun_at() {
	nsenter "--mount=/proc/$(rt_holder_pid mnt)/ns/mnt" crun "$@"
}

# Shims and monitors have our folder in their command line, and nobody else has.
rt_ours() {
	local dir

	for dir in /proc/[0-9]*; do
		case $(tr '\0' ' ' 2>/dev/null <"$dir/cmdline") in
		*containerd-shim*" $RT/"* | *conmon*" $RT/"* | *dockerd*" $RT/"* | containerd*" $RT/"*)
			rt_identity "${dir#/proc/}"
			;;
		esac
	done
}

rt_end_ours() {
	local identity ours

	ours=$(rt_ours)
	while read -r identity; do
		[ -n "$identity" ] || continue
		kill -KILL "${identity% *}" 2>/dev/null
		rt_await 5 rt_gone "$identity" || rt_fail "process ${identity% *} does not end"
	done <<<"$ours"
}

rt_unmount() {
	local target

	# Deepest first.
	while read -r target; do
		[ -z "$target" ] || umount "$target" || rt_fail "cannot unmount $target"
	done < <(findmnt -rn -o TARGET | grep -F "$RT/" | sort -r)
	if [ ! -s "$RT/netns-mount" ] && findmnt -n /run/netns >/dev/null && [ -z "$(ls /run/netns)" ]; then
		umount /run/netns
	fi
	return 0
}

# rmdir only, or as much: a cgroup or folder that somebody uses is not empty.
rt_remove_parents() {
	local parent path

	rt_cgroup_parents | grep -vxF -f "$RT/before" | while read -r parent; do
		find "$parent" -depth -type d -exec rmdir {} + 2>/dev/null
	done
	for path in "${RT_FIXED[@]}"; do
		grep -qxF "$path" "$RT/before" || rm -d "$path" 2>/dev/null
	done
	return 0
}

# Runtimes turn controllers on for all below the root, and leave them on.
rt_restore_controllers() {
	local root controller controllers

	root=$(rt_cgroup2)
	[ -n "$root" ] || return 0
	read -ra controllers <"$root/cgroup.subtree_control"
	for controller in "${controllers[@]}"; do
		# Refused while somebody else's cgroup needs it, which is right.
		grep -qw "$controller" "$RT/subtree_control" ||
			echo "-$controller" 2>/dev/null >"$root/cgroup.subtree_control"
	done
	return 0
}

# What shims and CNI plugins clear away when they end well, in places that other runtimes share.
rt_remove_shared() {
	local file id

	for file in "$RT_CONTAINERD_STATE"/io.containerd.runtime.v2.task/*/*/address; do
		case $(cat "$file" 2>/dev/null) in
		unix:///run/containerd/s/*) rm -f "$(sed 's,^unix://,,' "$file")" ;;
		esac
	done
	for id in "$RT_CONTAINERD_ROOT"/io.containerd.grpc.v1.cri/sandboxes/*; do
		rm -f /var/lib/cni/results/*-"$(basename "$id")"-*
	done
}

rt_down() {
	local step

	[ -d "$RT" ] || return 0
	mkdir -p "$RT/log"
	touch "$RT/before"
	# A step that fails says why, and the next ones are as needed as before.
	for step in rt_end_containers 'rt_stop_daemon dockerd' 'rt_stop_daemon containerd' rt_end_ours \
		'rt_stop_daemon mnt' 'rt_stop_daemon net' rt_unmount rt_remove_shared rt_remove_parents \
		rt_restore_controllers; do
		$step || rt_fail "$step failed" || true
	done
	rm -rf --one-file-system "$RT"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	if [ $# -eq 0 ] || [ "$(type -t "$1")" != function ]; then
		sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2
		exit 2
	fi
	"$@"
fi
