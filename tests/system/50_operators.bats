#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What operators and their programs look at: the pinned maps, figures, records, errors and the socket;
# and that recapd stands whatever is sent to it, and goes on after a crash.

load common

setup_file() {
	require_root
	require_command runc jq bpftool setpriv
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run -l tier=web runc web app
	recapd_with_images toolbox true probe
	rt_run runc shell busybox
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

# ---- pinned maps ---------------------------------------------------------------------------------

# A map's entries, with the names of the fields as bpftool finds them in the BTF.
map_entries() { # MAP FILTER
	dump_map "$1" | jq -ce "map(.formatted) | $2"
}

counter() { # NAME
	map_entries counters "map(select(.key.name == \"$1\"))[0].value"
}

# Start a detached capsule in web, whose tool says "ready", and print its ID.
detached() { # ARG...
	local id

	id=$(recapctl attach -d web "$@")
	wait_until 5 eval "recapctl logs $id | grep -q ready" >&2
	echo "$id"
}

namespace_id() { # PID NAME
	stat -Lc %i "/proc/$1/ns/$2"
}

# In nanoseconds since boot, to the clock tick of /proc/PID/stat.
started_at() { # PID
	local stat

	stat=$(</proc/"$1"/stat)
	read -ra stat <<<"${stat##*) }"
	echo $((stat[19] * 1000000000 / $(getconf CLK_TCK)))
}

@test "map containers: bpftool prints each field by name, with the kernel's own values" {
	local pid entry name cgroup

	pid=$(rt_pid runc web)
	entry=$(map_entries containers "map(select(.value.pid == $pid)) |
		if length == 1 then .[0].value else error(\"\(length) entries\") end")
	[ "$(jq -c keys <<<"$entry")" = "$(jq -nc '["start_ns", "seen_ns", "cgroup", "pid", "kind",
		"state", "pad", "caps", "namespaces", "comm"] | sort')" ]
	jq -e '.kind == 1 and .state == 1 and .comm == "app" and .seen_ns >= .start_ns' <<<"$entry"
	for name in mnt pid net ipc uts user cgroup time; do
		[ "$(jq ".namespaces.$name" <<<"$entry")" = "$(namespace_id "$pid" $name)" ]
	done
	[ "$(jq .caps <<<"$entry")" = \
		$((16#$(sed -n 's/^CapBnd:[[:space:]]*//p' "/proc/$pid/status"))) ]
	cgroup=$(rt_cgroup2)/$RT_CGROUP/runc/web
	[ "$(jq .cgroup <<<"$entry")" = "$(stat -c %i "$cgroup")" ]
	jq -e ".start_ns - $(started_at "$pid") | . >= 0 and . < 10000000" <<<"$entry"
	bpftool map dump pinned "$RECAP_BPFFS/containers" | grep -q "\"pid\": $pid,"
}

@test "map capsules: one entry for a capsule that runs, none once it has been dropped" {
	local id key entry tool

	id=$(detached probe sleep 1000)
	key=$((16#$id))
	entry=$(map_entries capsules "map(select(.key == $key))[0].value")
	jq -e '.state == 2 and .image == "probe:latest" and .live == 2 and .peak == 2 and .total == 2 and
		.untracked == 0 and .exit_ns == 0 and .created_ns < .exec_ns' <<<"$entry"
	tool=$(jq .tool_pid <<<"$entry")
	[ "$(tr '\0' ' ' <"/proc/$tool/cmdline")" = "/probe sleep 1000 " ]
	[ "$(ps -o ppid= -p "$tool" | tr -d ' ')" = "$(jq .init_pid <<<"$entry")" ]
	map_entries containers "any(.key == $(jq .target <<<"$entry") and
		.value.pid == $(rt_pid runc web))"
	recapctl stop --timeout 0 "$id"
	map_entries capsules 'length == 0'
}

# Every figure of three runs' reports, in the map: count, sum, maximum and bucket.
@test "map latency: count, sum, maximum and histogram are those of the reports" {
	local reports=$BATS_TEST_TMPDIR/reports

	recapctl image load --ref timed "$RT_IMAGES/oci/true" >/dev/null
	for _ in 1 2 3; do
		attach_report web timed
		cat "$BATS_TEST_TMPDIR/report" >>"$reports"
	done
	jq -cS -s '
		def bucket: if . == 0 then 0 else (log2 | floor) + 1 end;
		map(.timings_us | to_entries[]) | group_by(.key) | map({phase: .[0].key} + (map(.value) |
		{count: length, sum_us: add, max_us: max, hist: map(bucket) | sort}))' "$reports" \
		>"$BATS_TEST_TMPDIR/wanted"
	# shellcheck disable=SC2016 # $bucket is jq's
	map_entries latency 'map(select(.key.image == "timed:latest")) | map({phase: .key.phase} +
		(.value | .hist = [.hist | to_entries[] | .key as $bucket | range(.value) | $bucket])) |
		sort_by(.phase)' | jq -cS . | diff "$BATS_TEST_TMPDIR/wanted" -
	jq -e 'length == 8' "$BATS_TEST_TMPDIR/wanted"
	recapctl image rm timed:latest
}

@test "map counters: runs, refusals and proofs are counted, by names that the docs explain" {
	local started refused escapes

	started=$(counter attach_started) refused=$(counter attach_refused)
	escapes=$(counter escapes_proven)
	recapctl attach web true
	refused 125 "no image" recapctl attach web nothing
	[ "$(counter attach_started)" = $((started + 1)) ]
	[ "$(counter escapes_proven)" = $((escapes + 1)) ]
	[ "$(counter attach_refused)" = $((refused + 1)) ]
	# shellcheck disable=SC2016 # backquotes of the table
	diff <(map_entries counters 'map(.key.name) | sort' | jq -r '.[]') \
		<(sed -n '/^| counter /,/^$/s/^| `\([a-z_]*\)`.*/\1/p' "$ROOT/docs/architecture.md" |
			sort)
}

# ---- figures -------------------------------------------------------------------------------------

@test "stats: the maps' figures, as a table and as JSON" {
	recapctl attach web true
	recapctl stats --json >"$BATS_TEST_TMPDIR/stats"
	jq -e '.latency | map(select(.image == "true:latest")) |
		map(.phase) == ["resolve", "prepare", "inject", "run", "drain", "escape", "drop", "total"] and
		all(.p50_us <= .p90_us and .p90_us <= .p99_us and .p99_us <= .max_us and .count > 0)' \
		"$BATS_TEST_TMPDIR/stats"
	diff <(jq -c '.latency | sort_by(.image, .phase)[] | [.image, .phase, .count, .max_us]' \
		"$BATS_TEST_TMPDIR/stats") <(map_entries latency 'map([.key.image, .key.phase,
		.value.count, .value.max_us]) | sort[]')
	diff <(jq -S .counters "$BATS_TEST_TMPDIR/stats") \
		<(map_entries counters 'map({(.key.name): .value}) | add' | jq -S .)
	run -0 recapctl stats
	# shellcheck disable=SC2154 # run sets lines
	[[ ${lines[0]} =~ ^CAPSULE\ +PHASE\ +COUNT\ +P50\ us\ +P90\ us\ +P99\ us\ +MAX\ us$ ]]
	diff <(jq -r '.latency[] | [.image, .phase, .count, .p50_us, .p90_us, .p99_us, .max_us] |
		join(" ")' "$BATS_TEST_TMPDIR/stats") <(awk 'NF == 7 {$1 = $1; print}' <<<"$output")
	diff <(jq -r '.counters | to_entries[] | select(.value > 0) | "\(.key) \(.value)"' \
		"$BATS_TEST_TMPDIR/stats") <(awk '$1 ~ /_/ && NF == 2 {$1 = $1; print}' <<<"$output")
}

# A run of known length: the figures are times, in microseconds.
@test "stats: a tool that sleeps 0.2 s has run for as long" {
	recapctl image load --ref sleeper "$RT_IMAGES/oci/toolbox" >/dev/null
	recapctl attach web sleeper -- sleep 0.2
	recapctl stats --json | jq -e '.latency | map(select(.image == "sleeper:latest")) |
		map({key: .phase, value: .max_us}) | from_entries |
		.run >= 200000 and .run < 400000 and .total >= .run and .inject < 200000'
	recapctl image rm sleeper:latest
}

status_is_right() { # CAPSULES
	recapctl status --json | jq -e --argjson listed "$(recapctl list --json | jq length)" "
		.pid == $(recapd_pid) and .kernel == \"$(uname -r)\" and .bpffs == \"$RECAP_BPFFS\" and
		.state_dir == \"$RECAP_STATE\" and .cgroup == \"$(rt_cgroup2)/$RECAP_CGROUP\" and
		.abi == 1 and .problems == [] and .capsules == $1 and .quarantined == 0 and
		.containers == \$listed"
}

@test "status: the service as it is, as a table and as JSON" {
	local id

	# Other containers of this machine come and go.
	wait_until 5 status_is_right 0
	id=$(detached probe sleep 1000)
	wait_until 5 status_is_right 1
	run -0 recapctl status
	grep -qE "^recapd +[0-9.]+, PID $(recapd_pid), up [0-9]+[smh], ABI 1$" <<<"$output"
	grep -qE '^capsules +1$' <<<"$output"
	grep -qE '^problems +none$' <<<"$output"
	recapctl status --json | jq -e '.programs | contains(["on_fork", "on_exec", "on_exit"])'
	recapctl stop --timeout 0 "$id"
}

# ---- records -------------------------------------------------------------------------------------

@test "ps: running capsules, finished ones with --all, as a table and as JSON" {
	local id

	id=$(detached -e X=1 -u 7:8 probe sleep 1000)
	recapctl ps --json | jq -e --arg id "$id" --argjson pid "$(rt_pid runc web)" 'length == 1 and
		(.[0] | .id == $id and .state == "running" and .image.ref == "probe:latest" and
		.target.name == "web" and .target.runtime == "runc" and .target.pid == $pid and
		.command == ["/probe", "sleep", "1000"] and .user == {uid: 7, gid: 8} and
		.tasks == {total: 2, peak: 2, killed: 0} and .proof.live_tasks == 2 and
		(has("exit_code") or has("signal") | not) and (.cow.dropped | not))'
	run -0 recapctl ps
	[[ ${lines[0]} =~ ^ID\ +IMAGE\ +TARGET\ +STATE\ +AGE\ +COMMAND$ ]]
	[[ ${lines[1]} =~ ^$id\ +probe:latest\ +web\ +running\ +[0-9]+s\ +/probe\ sleep\ 1000$ ]]
	[ ${#lines[@]} -eq 2 ]
	[ "$(recapctl stop --timeout 0 "$id")" = "$id" ]
	recapctl ps --json | jq -e 'length == 0'
	recapctl ps --all --json | jq -e --arg id "$id" 'map(select(.id == $id)) | length == 1 and
		(.[0] | .state == "dropped" and .signal == 9 and .cow.dropped and .tasks.killed >= 1)'
	recapctl ps --all | grep -qE "^$id +probe:latest +web +dropped "
}

@test "inspect: the record of a container, by any of its names" {
	local pid target

	pid=$(rt_pid runc web)
	listed "map(select(.pid == $pid))[0]" | jq -S . >"$BATS_TEST_TMPDIR/listed"
	for target in web runc:web "pid:$pid"; do
		recapctl inspect "$target" | jq -S . | diff "$BATS_TEST_TMPDIR/listed" -
	done
}

@test "inspect: the record of a capsule while it runs, and its report afterwards" {
	local id

	id=$(detached probe sleep 1000)
	diff <(recapctl inspect "$id" | jq -S .) <(recapctl ps --json | jq -S '.[0]')
	recapctl inspect "${id:0:8}" | jq -e --arg id "$id" '.id == $id'
	recapctl stop --timeout 0 "$id"
	attach_report web true
	proven
	id=$(report .id | tr -d '"')
	diff <(recapctl inspect "$id" | jq -S .) <(jq -S . "$BATS_TEST_TMPDIR/report")
}

# ---- recapd's refusals ---------------------------------------------------------------------------

# Everything of its own, unless told otherwise. Were it to start, it would end with status 124.
other_recapd() { # [FLAG...]
	local other=$RT/other

	mkdir -p "$other"
	echo '{}' >"$other/config"
	timeout 10 "$B/recapd" --config "$other/config" --socket "$other/s" \
		--bpffs "$RECAP_BPFFS-other" --state-dir "$other/state" \
		--cgroup "$RECAP_CGROUP-other" --audit "$other/audit/log" "$@"
}

other_left_nothing() {
	[ ! -e "$RT/other/s" ]
	[ ! -e "$RECAP_BPFFS-other" ]
	[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$RECAP_CGROUP-other")" ]
}

refuses_to_start() { # TEXT [FLAG...]
	refused 1 "$1" other_recapd "${@:2}"
	other_left_nothing
}

@test "a second recapd on the same socket, maps, state or cgroup is refused, and disturbs nobody" {
	local id

	id=$(detached probe sleep 1000)
	refuses_to_start "another recapd listens on $RECAP_SOCKET;" --socket "$RECAP_SOCKET"
	refuses_to_start "another recapd uses $RECAP_BPFFS;" --bpffs "$RECAP_BPFFS"
	refuses_to_start "another recapd uses $RECAP_STATE;" --state-dir "$RECAP_STATE"
	refuses_to_start "another recapd uses the cgroup " --cgroup "$RECAP_CGROUP"
	recapctl ps --json | jq -e --arg id "$id" 'map(.id) == [$id]'
	[ "$(map_entries capsules length)" = 1 ]
	recapctl attach web true
	recapctl stop --timeout 0 "$id"
}

@test "recapd beside recapd, each with paths of its own, and the second's end is not felt" {
	local other=$RT/other

	mkdir -p "$other"
	rt_clean exec "$B/recapd" --socket "$other/s" --bpffs "$RECAP_BPFFS-other" --cgroup \
		"$RECAP_CGROUP-other" --state-dir "$other/state" --audit "$other/audit/log" --runc-root "$RT_RUNC_ROOT" \
		>"$other/log" 2>&1 &
	wait_until 10 "$B/recapctl" --socket "$other/s" status
	"$B/recapctl" --socket "$other/s" list --json | jq -e 'any(.name == "web")'
	# No image of ours is in its store.
	refused 125 "no image" "$B/recapctl" --socket "$other/s" attach web true
	kill -TERM $!
	wait $!
	other_left_nothing
	recapctl attach web true
}

@test "wrong flags of recapd: one line each" {
	refuses_to_start "--nope is not an option" --nope
	refuses_to_start "-x is not an option" -x
	refuses_to_start "--socket is not an option, or lacks its value" --socket
	refuses_to_start "recapd takes no arguments (extra)" extra
	refuses_to_start "socket must be an absolute path, not s" --socket s
	refuses_to_start "runc-root must be an absolute path, not" --runc-root ""
	refuses_to_start "cgroup must be a name without slashes, not a/b" --cgroup a/b
	refuses_to_start "cgroup must be a name without slashes, not .." --cgroup ..
	refuses_to_start "the socket's path is too long" --socket "/$(printf 'x%.0s' {1..200})"
	refuses_to_start "cannot read /nowhere/config: No such file" --config /nowhere/config
	refuses_to_start "cannot make /proc/nowhere" --state-dir /proc/nowhere
	refuses_to_start "cannot make /proc/nowhere" --socket /proc/nowhere/s
}

config_refused() { # TEXT CONFIG
	printf '%s' "$2" >"$BATS_TEST_TMPDIR/config"
	refuses_to_start "$1" --config "$BATS_TEST_TMPDIR/config"
}

@test "a broken configuration: one line that names the file" {
	local file=$BATS_TEST_TMPDIR/config

	config_refused "$file is not valid JSON: unexpected end of data" '{'
	config_refused "$file is not valid JSON" ''
	config_refused "$file is not valid JSON" '{"socket": "/a"} {}'
	config_refused "$file must hold a JSON object" '[]'
	config_refused "$file: there is no setting called sockets" '{"sockets": "/a"}'
	config_refused "$file: socket must be a string" '{"socket": 1}'
	config_refused "socket must be an absolute path, not a" '{"socket": "a"}'
	config_refused "cannot read $file: File too large" "$(printf '%70000s' x)"
}

@test "a configuration counts, and a flag counts more" {
	local file=$BATS_TEST_TMPDIR/config

	jq -n --arg state "$RECAP_STATE" '{state_dir: $state}' >"$file"
	refused 1 "another recapd uses $RECAP_STATE;" timeout 10 "$B/recapd" --config "$file" \
		--socket "$RT/other/s" --bpffs "$RECAP_BPFFS-other" --cgroup "$RECAP_CGROUP-other"
	refuses_to_start "another recapd uses $RECAP_BPFFS;" --config "$file" --bpffs "$RECAP_BPFFS"
}

@test "maps on no BPF file system: one line that says what to mount" {
	refuses_to_start "$BATS_TEST_TMPDIR/maps is not on a BPF file system; run \`mount -t bpf" \
		--bpffs "$BATS_TEST_TMPDIR/maps"
	[ ! -e "$BATS_TEST_TMPDIR/maps" ]
	refuses_to_start "(is bpffs mounted? \`mount -t bpf" --bpffs /nowhere/maps
}

@test "recapd without a privilege: one line that names it" {
	refused 1 "needs CAP_SYS_ADMIN to join namespaces" setpriv --reuid 65534 --clear-groups \
		"$B/recapd"
	refused 1 "needs CAP_SYS_PTRACE to open" setpriv --bounding-set -sys_ptrace "$B/recapd"
}

# The rest of root's capabilities are there, so that only the check of the user can refuse.
@test "only root may ask: the socket's mode, and the daemon itself" {
	local refusals

	[ "$(stat -c '%a %u' "$RECAP_SOCKET")" = "600 0" ]
	refused 1 "no permission to use $RECAP_SOCKET" setpriv --reuid 65534 --clear-groups \
		"$B/recapctl" list
	refusals=$(counter client_refused)
	status_is 1 setpriv --reuid 65534 --clear-groups --inh-caps +dac_override \
		--ambient-caps +dac_override "$B/recapctl" list
	[ "$(counter client_refused)" = $((refusals + 1)) ]
}

# ---- recapctl's refusals -------------------------------------------------------------------------

@test "wrong arguments of recapctl: status 2 and one line" {
	refused 2 "a verb is needed" recapctl
	refused 2 "there is no verb 'nope'" recapctl nope
	refused 2 "there is no option '--nope'" recapctl --nope list
	refused 2 "'--socket' needs a value" recapctl --socket
	refused 2 "load, pull, list, inspect, scan, trust, rm or prune" recapctl image
	refused 2 "load, pull, list, inspect, scan, trust, rm or prune" recapctl image nope
	refused 2 "image load needs one FILE or DIR" recapctl image load
	refused 2 "image rm needs a REF" recapctl image rm
	refused 2 "inspect needs one ID or TARGET" recapctl inspect
	refused 2 "inspect needs one ID or TARGET" recapctl inspect web web
	refused 2 "stop needs the ID" recapctl stop
	refused 2 "--timeout is a number" recapctl stop --timeout soon web
	refused 2 "logs needs the ID" recapctl logs
	for verb in list ps stats status; do
		refused 2 "$verb takes no arguments: what is 'x' for?" recapctl $verb x
		refused 2 "there is no option '--nope'" recapctl $verb --nope
	done
}

@test "wrong arguments of attach: status 125 and one line" {
	local id args

	refused 125 "there is no TARGET" recapctl attach
	refused 125 "there is no CAPSULE" recapctl attach web
	refused 125 "no container is called nobody" recapctl attach nobody true
	refused 125 "no image \"nothing\" in the store" recapctl attach web nothing
	refused 125 "is not an image reference" recapctl attach web true:
	refused 125 "there is no option '--nope'" recapctl attach --nope web true
	refused 125 "-d leaves the capsule" recapctl attach -d -t web true
	refused 125 "-t needs a terminal" recapctl attach -t web true </dev/null
	refused 125 "foo is not a namespace" recapctl attach --namespaces pid,foo web true
	refused 125 "FOO is not a capability" recapctl attach --cap-add FOO web true
	refused 125 "must be an absolute path, not here" recapctl attach -w here web true
	refused 125 "1m at least" recapctl attach --memory 1 web true
	refused 125 "seccomp profile" recapctl attach --seccomp /etc/passwd web true
	refused 125 "cannot write the report" recapctl attach --report /nowhere/report web true
	while read -r args; do
		# shellcheck disable=SC2086 # two words
		refused 125 "${args%% *}" recapctl attach $args web true
	done <<-END
		--timeout 0
		--timeout 1x
		--memory 1z
		--cpus -1
		--pids 0
		--target-root maybe
		--seccomp lax
		--cow floppy
		--cow-size x
		--env =x
	END
}

@test "what recapctl asks for is not there: status 1 and one line" {
	refused 1 "no capsule and no container is called nobody" recapctl inspect nobody
	refused 1 "no capsule nobody is running" recapctl stop nobody
	refused 1 "no capsule web is running" recapctl stop web
	refused 1 "no capsule nobody is remembered" recapctl logs nobody
	refused 1 "no image \"nothing\" in the store" recapctl image rm nothing
	refused 1 "is not an image reference" recapctl image rm :::
	refused 1 "cannot open /nowhere: No such file" recapctl image load /nowhere
	refused 1 "neither a tar archive nor a folder" recapctl image load /dev/null
	refused 1 "recapd is not running: there is no socket /nowhere" recapctl --socket /nowhere list
	refused 1 "recapd is not running: nobody listens" recapctl --socket /etc/passwd list
	refused 125 "recapd is not running" recapctl --socket /nowhere attach web true
}

@test "the start of two capsules' IDs is refused in one line" {
	local ids=() id first

	# Of 17 IDs two begin with the same digit.
	for _ in {1..17}; do
		attach_report web true
		id=$(report .id | tr -d '"')
		ids+=("${id:0:1}")
	done
	first=$(printf '%s\n' "${ids[@]}" | sort | uniq -d | head -n 1)
	refused 1 "$first is the start of more than one capsule's ID" recapctl inspect "$first"
	refused 1 "$first is the start of more than one capsule's ID" recapctl logs "$first"
}

@test "output that cannot be written is a failure, and says so" {
	run -1 --separate-stderr bash -c "'$B/recapctl' list >/dev/full"
	# shellcheck disable=SC2154 # run sets stderr
	[ "$stderr" = "recapctl: cannot write to standard output: No space left on device" ]
}

# ---- the socket ----------------------------------------------------------------------------------

varlink() { # VERB [ARG...]
	/usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" "$1" "$RECAP_SOCKET" "${@:2}"
}

# Send TEXT as one message and print what is answered.
say() { # TEXT
	printf '%s\0' "$1" | varlink send
}

ask() { # METHOD [PARAMETERS]
	say "{\"method\":\"$1\",\"parameters\":${2:-"{}"}}"
}

# One error of that name, and recapd serves the next.
answers_error() { # ERROR FILTER METHOD [PARAMETERS]
	ask "${@:3}" | jq -es "length == 1 and (.[0] | .error == \"$1\" and (.parameters | $2))"
	recapd_answers
}

# No answer but the end of the connection, and recapd serves the next.
hangs_up() { # on standard input
	local refusals

	refusals=$(counter client_refused)
	[ -z "$(varlink send)" ]
	[ "$(counter client_refused)" = $((refusals + 1)) ]
	recapd_answers
}

@test "varlink: GetInfo, and GetInterfaceDescription as in the repository" {
	ask org.varlink.service.GetInfo | jq -e '.parameters | .vendor == "RECap" and
		.product == "recapd" and .interfaces == ["org.varlink.service", "io.recap"]'
	ask org.varlink.service.GetInterfaceDescription '{"interface": "io.recap"}' |
		jq -j .parameters.description | diff "$ROOT/include/recap/io.recap.varlink" -
	answers_error org.varlink.service.InterfaceNotFound '.interface == "io.nope"' \
		org.varlink.service.GetInterfaceDescription '{"interface": "io.nope"}'
}

# The interface of the repository, of which each reply has to be.
fits() { # METHOD PARAMETERS [FILE...]
	/usr/bin/python3 "$BATS_TEST_DIRNAME/interface.py" "$ROOT/include/recap/io.recap.varlink" "$RECAP_SOCKET" "$@"
}

@test "varlink: every reply has what the interface declares, and nothing else" {
	local null=(/dev/null /dev/null /dev/null) id text call

	# The first reply of two is as whole as the last: clients are generated from the interface.
	text=$(fits Attach '{"target": "web", "image": "toolbox", "args": ["sleep", "0.3"], "cap_add": ["NET_ADMIN"],
		"target_root": "rw", "memory": 67108864, "timeout_s": 9, "reason": "a test"}' "${null[@]}")
	jq -es 'length == 2 and (.[0].capsule.state | IN("created", "running")) and .[1].capsule.state == "dropped" and
		.[0].capsule.id == .[1].capsule.id' <<<"$text"
	id=$(fits Attach '{"target": "web", "image": "toolbox", "args": ["sleep", "60"], "detach": true}' | jq -r .capsule.id)
	for call in 'ListCapsules {}' "Inspect {\"id\":\"$id\"}" 'Inspect {"id":"web"}' 'ListImages {}' \
		'InspectImage {"ref":"toolbox"}' 'ScanImage {"ref":"toolbox"}' 'PruneImages {"dry_run":true,"all":true}' \
		'Stats {}' 'Status {}' 'PolicyCheck {"text":"{\"rules\":[]}"}' 'PolicyExplain {"verb":"stats"}' \
		"Signal {\"id\":\"$id\",\"signal\":15}" 'ListCapsules {"all":true}' "Stop {\"id\":\"none\"}" \
		'Attach {"target":"web","image":"none"}' 'Rejoin {"token":"0123456789abcdef"}'; do
		text=$(fits "${call%% *}" "${call#* }")
	done
	fits LoadImage '{"ref": "fits:1"}' "$RT_IMAGES/oci/true" | jq -es '.[-1].images[0].ref == "fits:1"'
	fits RemoveImage '{"ref": "fits:1"}'
}

@test "varlink: calls on one connection are answered in order" {
	printf '%s\0' '{"method":"org.varlink.service.GetInfo"}' '{"method":"io.recap.Nope"}' \
		'{"method":"io.recap.ListImages"}' | varlink send |
		jq -ces 'length == 3 and .[0].parameters.product == "recapd" and (.[1] | has("error")) and
			(.[2].parameters.images | length == 3)'
}

@test "varlink: 3,000 calls that come at once, and then the end: all are answered, in order, and others are served between" {
	local i call='{"method":"io.recap.Inspect","parameters":{"id":"no-%s"}}\0'

	# shellcheck disable=SC2059 # the format is the message
	for i in {1..3000}; do
		printf "$call" "$i"
	done >"$BATS_TEST_TMPDIR/calls"
	varlink send <"$BATS_TEST_TMPDIR/calls" >"$BATS_TEST_TMPDIR/answers" &
	recapd_answers
	wait $!
	jq -r .parameters.message "$BATS_TEST_TMPDIR/answers" | grep -oE 'no-[0-9]+' |
		diff <(printf 'no-%s\n' {1..3000}) -
}

@test "varlink: as many values as Attach takes are read, more than a call can have end the connection" {
	local ones

	ones=$(printf '"A=1",%.0s' {1..1000})
	answers_error io.recap.InvalidArgument '.message | contains("three descriptors")' io.recap.Attach \
		"{\"target\":\"web\",\"image\":\"true\",\"args\":[${ones%,}],\"env\":[${ones%,}]}"
	ones=$(printf '{},%.0s' {1..10000})
	printf '{"method":"io.recap.Attach","parameters":{"args":[%s]}}\0' "${ones%,}" | hangs_up
	recapd_answers
}

@test "varlink: methods that there are not" {
	for method in io.recap.Nope io.recap. ListContainers io.other.ListContainers ""; do
		answers_error org.varlink.service.MethodNotFound ".method == \"$method\"" "$method"
	done
	say '{"method": 7}' | jq -e '.error == "org.varlink.service.MethodNotFound"'
	say '{}' | jq -e '.error == "org.varlink.service.MethodNotFound"'
}

@test "varlink: parameters of wrong types, unknown ones and missing ones" {
	local invalid=org.varlink.service.InvalidParameter

	answers_error $invalid '.parameter == "all"' io.recap.ListContainers '{"all": "yes"}'
	answers_error $invalid '.parameter == "labels"' io.recap.ListContainers '{"labels": "a=b"}'
	answers_error $invalid '.parameter == "nope"' io.recap.ListContainers '{"nope": true}'
	answers_error $invalid '.parameter == "parameters"' io.recap.ListContainers '[]'
	answers_error $invalid '.parameter == "target"' io.recap.Attach '{"target": 1}'
	answers_error $invalid '.parameter == "timeout_s"' io.recap.Attach '{"timeout_s": "5"}'
	answers_error $invalid '.parameter == "id"' io.recap.Inspect '{"id": ["web"]}'
	answers_error io.recap.InvalidArgument '.message | contains("labels")' \
		io.recap.ListContainers '{"labels": [1]}'
	answers_error io.recap.InvalidArgument '.message | contains("an id is needed")' io.recap.Inspect
	answers_error io.recap.InvalidArgument '.message | contains("0 is not a signal")' \
		io.recap.Signal '{"id": "web"}'
	answers_error io.recap.InvalidArgument '.message | contains("three descriptors")' \
		io.recap.Attach '{"target": "web", "image": "true"}'
}

@test "varlink: what is no message ends the connection, and no other" {
	printf 'GET / HTTP/1.0\r\n\r\n\0' | hangs_up
	printf '\0' | hangs_up
	printf '[]\0' | hangs_up
	printf '{"method":"io.recap.Status"\0' | hangs_up
	printf '%s\0' "$(printf '[%.0s' {1..5000})" | hangs_up
	(head -c 4096 /dev/urandom | tr -d '\0' && printf '\0') | hangs_up
	# Half a message, and then the end: nothing to answer.
	[ -z "$(printf '{"method":' | varlink send)" ]
	recapd_answers
}

# A caller may send its call, say that no more comes, and wait. All of it is read then, however late.
@test "varlink: a call of 100 KB from a connection that is half closed by now is answered" {
	local pid sent=$BATS_TEST_TMPDIR/sent late=0

	pid=$(recapd_pid)
	kill -STOP "$pid"
	printf '{"method":"io.recap.Inspect","parameters":{"id":"%s"}}\0' \
		"$(head -c 100000 /dev/zero | tr '\0' x)" | varlink send "$sent" >"$BATS_TEST_TMPDIR/answer" &
	wait_until 5 test -e "$sent" || late=1
	kill -CONT "$pid"
	wait $!
	[ $late -eq 0 ]
	jq -e '.error == "io.recap.CapsuleNotFound"' "$BATS_TEST_TMPDIR/answer"
}

@test "varlink: a message of 1 MiB is taken, a longer one ends the connection" {
	local frame='{"method":"io.recap.Inspect","parameters":{"id":""}}' mib=1048576

	printf '{"method":"io.recap.Inspect","parameters":{"id":"%s"}}\0' \
		"$(head -c $((mib - ${#frame})) /dev/zero | tr '\0' x)" | varlink send |
		jq -e '.error == "io.recap.CapsuleNotFound" and (.parameters.message | length < 500)'
	printf '{"method":"io.recap.Inspect","parameters":{"id":"%s"}}\0' \
		"$(head -c $((mib + 1 - ${#frame})) /dev/zero | tr '\0' x)" | hangs_up
	head -c 8000000 /dev/zero | tr '\0' x | hangs_up
}

exec_varlink() {
	exec /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" "$1" "$RECAP_SOCKET" "${@:2}"
}

# In the background, so that $! is its PID.
slow_client() { # VERB ARG...
	exec_varlink "$@" >"$BATS_TEST_TMPDIR/slow" 3>&- &
	wait_until 10 grep -q . "$BATS_TEST_TMPDIR/slow"
}

processor_time() { # PID: in clock ticks
	awk '{print $14 + $15}' "/proc/$1/stat"
}

# recapd serves others beside the slow client, and does not spin over it.
serves_beside() { # SECONDS
	local before pid

	pid=$(recapd_pid)
	recapctl attach web true
	before=$(processor_time "$pid")
	sleep "$1"
	[ $(($(processor_time "$pid") - before)) -lt $(($1 * $(getconf CLK_TCK) / 4)) ]
	recapctl list >/dev/null
}

@test "slow clients: hundreds that never end their message" {
	slow_client hold 400 '{"method":'
	serves_beside 1
	kill $!
}

@test "slow clients: more than there is room for; recapd is there again once they go" {
	slow_client hold 1100 '{"method":'
	refused 1 "as many connections as it can serve: try again" recapctl list
	kill $!
	wait_until 5 recapd_answers
}

@test "slow clients: one that asks and never reads is hung up on" {
	local pid rss

	pid=$(recapd_pid)
	slow_client deaf \
		'{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.recap"}}'
	grep -qx closed "$BATS_TEST_TMPDIR/slow"
	recapctl attach web true
	# What waited for it is gone, too. What was freed stays with a sanitizer for a while.
	rss=$(ps -o rss= -p "$pid")
	[ -n "${RECAP_SANITIZED:-}" ] || [ "$rss" -lt 20000 ]
}

@test "slow clients: one that watches the inventory and does not read" {
	slow_client mute '{"method":"io.recap.ListContainers","more":true}'
	start runc passing busybox
	rt_rm runc passing
	serves_beside 1
	kill $!
}

# ---- crash and restart ---------------------------------------------------------------------------

links() {
	for link in fork exec exit; do
		bpftool -j link show pinned "$RECAP_BPFFS/link_$link" | jq .id
	done
}

@test "kill -9 and restart: programs and maps adopted, the inventory right, the capsule goes on" {
	local id key init before started seen

	id=$(detached toolbox -- sh -c 'sleep 1000 & echo ready; sleep 1000')
	key=$((16#$id))
	init=$(map_entries capsules "map(select(.key == $key))[0].value.init_pid")
	before=$(links) started=$(counter attach_started)
	seen=$(map_entries containers "map(select(.value.pid == $(rt_pid runc web)))[0].value.seen_ns")
	rt_run runc goes busybox >/dev/null
	recapd_kill
	refused 1 "recapd is not running" recapctl list
	# The kernel goes on with the inventory and the tree.
	rt_rm runc goes
	rt_run runc comes busybox >/dev/null
	rt_identity "$init"
	map_entries capsules "any(.key == $key and .value.live == 3)"
	recapd_up
	[ "$(links)" = "$before" ]
	[ "$(counter attach_started)" = "$started" ]
	map_entries containers "any(.value.pid == $(rt_pid runc web) and .value.seen_ns == $seen)"
	listed 'map(.name) | contains(["web", "shell", "comes"]) and (index("goes") | not)'
	listed "any(.name == \"comes\" and .pid == $(rt_pid runc comes) and .runtime == \"runc\")"
	rt_identity "$init"
	recapctl ps --json | jq -e "length == 1 and .[0].id == \"$id\""
	recapctl stop --timeout 0 "$id"
	not rt_identity "$init"
	map_entries capsules 'length == 0'
	assert_clean
	[ -z "$(zombies_of "$(rt_pid runc web)")" ]
	recapctl attach web true
	rt_rm runc comes
}

@test "kill -9 while capsules come and go: the next recapd goes on with them" {
	local pids pid

	for _ in 1 2 3; do
		pids=()
		for _ in 1 2 3 4; do
			recapctl attach web probe -- sleep 1 >/dev/null 2>&1 3>&- &
			pids+=($!)
		done
		sleep 0.0$((RANDOM % 10))
		recapd_kill
		recapd_up
		for pid in "${pids[@]}"; do
			wait "$pid"
		done
		assert_clean
		[ -z "$(zombies_of "$(rt_pid runc web)")" ]
	done
	recapctl attach web true
}
