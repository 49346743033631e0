#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The policy, against callers who ask for what is not theirs: each attack has its allowed twin.

load common

WEB=runc:po-web
DB=runc:po-db
ALICE=4001
BOB=4002
CREW=4010
FILES=$RT/policy
POLICY=$FILES/policy.json

setup_file() {
	require_root
	require_command runc jq setpriv python3 bwrap
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	# Others look into it: what they make is below folders of their own.
	mkdir -p "$FILES/alice"
	chmod 755 "$RT" "$FILES"
	chown "$ALICE" "$FILES/alice"
	jq -nc '{image_requests: {capabilities: ["NET_ADMIN"], target_root: "rw"}}' >"$FILES/recapd.json"
	rm -f "$POLICY"
	recapd_up --policy "$POLICY" --config "$FILES/recapd.json"
	start -l app=web -l tier=front runc po-web app
	start -l app=db runc po-db app
	recapctl image load --ref toolbox "$RT_IMAGES/oci/toolbox" >/dev/null
	recapctl image load --ref evil/toolbox "$RT_IMAGES/oci/toolbox" >/dev/null
	add_image other -C sh -l other=yes
	add_image escalates -C sh -l io.recap.capabilities=NET_ADMIN
	add_image writes -C sh -l io.recap.target-root=rw
	add_image fixed -E sh -E -c -E 'echo fixed'
	# In its own words, "worker" is root.
	mkdir -p "$FILES/top/etc"
	chmod -R go=rX "$FILES/top"
	echo worker:x:0:0::/:/bin/sh >"$FILES/top/etc/passwd"
	add_image liar -C sh -u worker
	add_image modest -C sh -u 1000
}

teardown_file() {
	recapd_down
	rm -rf "$FILES"
	rt_down
}

teardown() {
	assert_clean
}

add_image() { # NAME MKOCI-OPTION...
	local folders=("$RT_IMAGES/rootfs/toolbox")

	[ "$1" != liar ] || folders+=("$FILES/top")
	"$ROOT/tools/mkoci" -o "$FILES/$1.tar" -e PATH=/bin "${@:2}" "${folders[@]}" >/dev/null
	recapctl image load --ref "$1" "$FILES/$1.tar" >/dev/null
}

# ---- callers -------------------------------------------------------------------------------------

as() { # UID CMD...
	setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"
}

alice() { # RECAPCTL-ARG...
	as "$ALICE" "$B/recapctl" "$@"
}

bob() {
	as "$BOB" "$B/recapctl" "$@"
}

# For the background: $! is the program itself.
background() { # UID CMD...
	exec setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"
}

# Whom no rule allows anything is told so, and hung up on; at once, with nothing to wait for.
hung_up_on() { # UID [WHY]
	RECAP_REJOIN_S=3600 refused 125 "${2:-the policy has nothing for user $1}" as "$1" "$B/recapctl" attach "$WEB" toolbox -- true
	refused 1 "${2:-the policy has nothing for user $1}" as "$1" "$B/recapctl" list
}

raw() { # UID MESSAGE FILE...
	as "$1" /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" pass "$RECAP_SOCKET" "${@:2}"
}

# ---- policies ------------------------------------------------------------------------------------

words_of_recapd() {
	grep -cE 'recapd: .*(policy)|policy .*: [0-9]+ rules|the policy is refused|no policy' "$RECAP_LOG" || true
}

has_said_more() { # COUNT
	[ "$(words_of_recapd)" -gt "$1" ]
}

reload() {
	local said

	said=$(words_of_recapd)
	kill -HUP "$(recapd_pid)"
	wait_until 5 has_said_more "$said"
}

write_policy() { # RULES
	jq -nc --argjson alice "$ALICE" --argjson bob "$BOB" --argjson crew "$CREW" "{rules: [$1]}" >"$POLICY.new"
	chmod 644 "$POLICY.new"
	mv "$POLICY.new" "$POLICY"
}

policy() { # RULES
	write_policy "$1"
	reload
}

# One rule for alice, of all verbs, with MEMBERS.
only() { # MEMBERS
	policy "{name: \"only\", decision: \"allow\", users: [\$alice], verbs: [\"*\"]} + {$1}"
}

says_yes() { # ATTACH-ARG...: by alice
	[ "$(alice attach "$@" -- sh -c 'echo yes' </dev/null)" = yes ]
}

says_no() { # TEXT ATTACH-ARG...
	refused 125 "$1" alice attach "${@:2}" -- sh -c 'echo yes'
}

digest_of() { # IMAGE
	recapctl image list --json | jq -er "map(select(.ref == \"$1:latest\"))[0].digest"
}

counter() { # NAME
	recapctl stats --json | jq -er ".counters.$1"
}

# ---- who -----------------------------------------------------------------------------------------

@test "without a policy only root is served, and others cannot even connect" {
	rm -f "$POLICY"
	kill -HUP "$(recapd_pid)"
	wait_until 5 eval '[ "$(stat -c %a "$RECAP_SOCKET")" = 600 ]'
	refused 1 "no permission to use" alice list
	says_no "no permission to use" "$WEB" toolbox
	recapctl attach "$WEB" toolbox -- true
	only
	[ "$(stat -c %a "$RECAP_SOCKET")" = 666 ]
	says_yes "$WEB" toolbox
	# Rules for root only do not open it.
	policy '{name: "root", decision: "deny", users: ["root"], verbs: ["stats"]}'
	[ "$(stat -c %a "$RECAP_SOCKET")" = 600 ]
	refused 1 "no permission to use" alice list
}

@test "a rule is for its users and groups, and nobody else" {
	local before

	only
	before=$(counter policy_refused)
	says_yes "$WEB" toolbox
	hung_up_on "$BOB"
	policy '{name: "crew", decision: "allow", groups: [$crew], verbs: ["attach"]}'
	setpriv --reuid "$BOB" --regid "$BOB" --groups "7,$CREW" "$B/recapctl" attach "$WEB" toolbox -- true
	hung_up_on "$BOB"
	policy '{name: "a", decision: "allow", users: [$alice], verbs: ["attach"]},
		{name: "b", decision: "allow", users: [$bob], verbs: ["list"]}'
	refused 125 "no rule of the policy allows it" bob attach "$WEB" toolbox -- true
	[ "$(counter policy_refused)" -gt "$before" ]
}

@test "verbs: to attach is not to stop, to remove or to load" {
	policy '{name: "a", decision: "allow", users: [$alice], verbs: ["attach", "stats"]}'
	says_yes "$WEB" toolbox
	alice stats >/dev/null
	refused 1 "status is refused" alice status
	refused 1 "list is refused" alice list
	refused 1 "ps is refused" alice ps
	refused 1 "image.rm is refused" alice image rm toolbox
	refused 1 "image.prune is refused" alice image prune --all
	refused 1 "image.load is refused" alice image load "$FILES/other.tar"
	refused 1 "policy.explain is refused" alice policy explain attach "$WEB" toolbox
	recapctl image inspect toolbox >/dev/null
}

@test "the first rule that matches decides, and the error names it" {
	local answer

	policy '{name: "no-db", decision: "deny", users: ["*"], verbs: ["*"], targets: {name: ["po-db"]}},
		{name: "all", decision: "allow", users: [$alice], verbs: ["*"]}'
	says_yes "$WEB" toolbox
	says_no 'rule "no-db" of the policy denies it' "$DB" toolbox
	# Root is not among "*".
	recapctl attach "$DB" toolbox -- true
	answer=$(raw "$ALICE" "$(jq -nc '{method: "io.recap.Attach", parameters: {target: "runc:po-db", image: "toolbox", detach: true}}')")
	[ "$(jq -r '.error + " " + .parameters.rule' <<<"$answer")" = "io.recap.Refused no-db" ]
}

@test "root is denied only what a rule that names it denies, and is never locked out for good" {
	policy '{name: "all", decision: "deny", users: ["*"], groups: ["root", "*"], verbs: ["*"]}'
	recapctl attach "$WEB" toolbox -- true
	policy '{name: "not-even-root", decision: "deny", users: ["root"], verbs: ["*"]}'
	refused 125 'rule "not-even-root"' recapctl attach "$WEB" toolbox -- true
	refused 1 'rule "not-even-root"' recapctl status
	[ "$(recapctl list --json)" = "[]" ]
	only
	recapctl attach "$WEB" toolbox -- true
}

# ---- images --------------------------------------------------------------------------------------

@test "patterns: no slash, no other tag and no other letters hide behind one" {
	only 'images: {reference: ["tool*", "oth?r:latest"]}'
	says_yes "$WEB" toolbox
	says_yes "$WEB" other
	says_no "images.reference" "$WEB" evil/toolbox
	says_no "images.reference" "$WEB" fixed
	only 'images: {reference: ["*box"]}'
	says_yes "$WEB" toolbox
	says_no "images.reference" "$WEB" evil/toolbox:latest
	says_no "not an image reference" "$WEB" TOOLBOX
	# By digest it is the image's own name that counts, whatever the caller writes before it.
	only 'images: {reference: ["other"]}'
	says_yes "$WEB" "$(digest_of other)"
	says_no "images.reference" "$WEB" "$(digest_of fixed)"
}

@test "a tag that is moved to another image takes no permission along" {
	local digest

	digest=$(digest_of other)
	only "images: {digest: [\"$digest\"]}"
	says_yes "$WEB" other
	says_no "images.digest" "$WEB" toolbox
	recapctl image load --ref other "$FILES/modest.tar" >/dev/null
	says_no "images.digest" "$WEB" other
	says_yes "$WEB" "$digest"
	recapctl image load --ref other "$FILES/other.tar" >/dev/null
	says_yes "$WEB" other
}

@test "what an image asks for in its labels is asked for by its caller" {
	only
	says_no "capabilities" "$WEB" escalates
	says_no "target_root" "$WEB" writes
	says_yes --target-root ro "$WEB" writes
	only 'capabilities: ["NET_ADMIN"], target_root: ["ro", "rw"]'
	says_yes "$WEB" escalates
	says_yes "$WEB" writes
	recapctl attach "$WEB" escalates -- true
}

@test "an unsigned or unscanned image is refused where the rule wants it signed or scanned" {
	only 'images: {signed: true}'
	says_no "images.signed" "$WEB" toolbox
	only 'images: {signed: false}'
	says_yes "$WEB" toolbox
	only 'images: {verdict: ["ok"]}'
	says_no "does not list none" "$WEB" toolbox
	only 'images: {verdict: ["ok", "none"]}'
	says_yes "$WEB" toolbox
}

@test "images of others: not to be seen, removed by digest, or loaded over" {
	only 'images: {reference: ["mine/*"]}'
	refused 1 "image.load is refused" alice image load "$FILES/other.tar"
	refused 1 "image.load is refused" alice image load --ref toolbox "$FILES/other.tar"
	alice image load --ref mine/other "$FILES/other.tar" >/dev/null
	[ "$(alice image list --json | jq -c '[.[].ref]')" = '["mine/other:latest"]' ]
	refused 1 "image.inspect is refused" alice image inspect toolbox
	refused 1 "image.rm is refused" alice image rm toolbox
	# The same image has another name, which is not theirs.
	refused 1 "image.rm is refused" alice image rm "$(digest_of other)"
	refused 1 "image.rm is refused" alice image rm "$(digest_of other | cut -c 1-30)"
	recapctl image inspect other >/dev/null
	alice image rm mine/other
	recapctl image inspect other >/dev/null
	not recapctl image inspect mine/other
}

@test "recapd reads no files for others: folders, paths to pull from, credentials" {
	only
	refused 1 "only root loads folders" alice image load --ref mine "$RT_IMAGES/oci/toolbox"
	refused 1 "only root pulls" alice image pull "oci:$RT_IMAGES/oci/toolbox"
	refused 1 "only root pulls" alice image pull "dir:/root"
	refused 1 "only root pulls" alice image pull containers-storage:localhost/x
	refused 1 "only root pulls" alice image pull --no-tls-verify localhost:1/x
	alice image load --ref mine "$FILES/other.tar" >/dev/null
	alice image rm mine
	recapctl image pull --ref pulled "oci:$RT_IMAGES/oci/toolbox" >/dev/null
	recapctl image rm pulled
}

# ---- targets -------------------------------------------------------------------------------------

@test "targets: by name, runtime and label; pid:N is no way round" {
	only 'targets: {name: ["po-web"], runtime: ["runc"]}'
	says_yes "$WEB" toolbox
	says_yes "pid:$(rt_pid runc po-web)" toolbox
	says_no "targets.name" "$DB" toolbox
	says_no "targets.name" "pid:$(rt_pid runc po-db)" toolbox
	says_no "targets.name" po-d toolbox
	only 'targets: {labels: {app: "web", tier: "f*"}}'
	says_yes "$WEB" toolbox
	says_no "targets.labels: app" "$DB" toolbox
	only 'targets: {pod_namespace: ["*"]}'
	says_no "pod_namespace" "$WEB" toolbox
}

@test "a process that calls itself as an allowed container does, is none" {
	local pid cgroup

	cgroup=$(rt_cgroup2)/$RT_CGROUP/po-web-x
	mkdir -p "$cgroup"
	# shellcheck disable=SC2016 # $$ is the shell's that is started
	sh -c 'echo $$ >"$1/cgroup.procs"; exec bwrap --die-with-parent --unshare-ipc --unshare-uts --unshare-pid --hostname po-web \
		--ro-bind / / --dev /dev --proc /proc --as-pid-1 sleep 1000' sh "$cgroup" 3>&- &
	wait_until 5 eval "recapctl list --all --json | jq -e 'any(.name == \"po-web-x\")'"
	pid=$(recapctl list --all --json | jq -r 'map(select(.name == "po-web-x"))[0].pid')
	only 'targets: {name: ["po-web*"]}'
	says_no "no runtime vouches" "pid:$pid" toolbox
	says_no "no runtime vouches" po-web-x toolbox
	says_yes po-web toolbox
	only
	says_no "no runtime vouches" "pid:$pid" toolbox
	[ "$(alice list --all --json | jq 'map(select(.runtime == "unknown")) | length')" = 0 ]
	only 'targets: {runtime: ["unknown"]}'
	says_yes "pid:$pid" toolbox
	says_no "targets.runtime" po-web toolbox
	kill -KILL "$pid"
	wait
	wait_until 5 rmdir "$cgroup"
}

@test "the target's user namespace cannot be left out to be the host's root" {
	start -j '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] |
		.linux.gidMappings = .linux.uidMappings' runc po-userns app
	only
	says_yes runc:po-userns toolbox
	says_no "user namespace" --namespaces pid,net,ipc,uts,cgroup runc:po-userns toolbox
	# Another target has none of its own.
	says_yes --namespaces pid,net,ipc,uts,cgroup "$WEB" toolbox
	only 'namespaces: ["pid", "net", "ipc", "uts", "cgroup", "host-user"]'
	says_yes --namespaces pid,net,ipc,uts,cgroup runc:po-userns toolbox
	rt_rm runc po-userns
}

@test "lists leave out what is not theirs, and so do those that go on" {
	local fifo=$BATS_TEST_TMPDIR/fifo

	only 'targets: {labels: {app: "web"}}'
	[ "$(alice list --json | jq -c '[.[].name]')" = '["po-web"]' ]
	listed 'map(.name) | contains(["po-db", "po-web"])'
	refused 1 "inspect is refused" alice inspect "$DB"
	[ "$(alice inspect "$WEB" | jq -r .name)" = po-web ]
	mkfifo "$fifo"
	background "$ALICE" "$B/recapctl" list --watch --json >"$fifo" 3>&- &
	exec {watch}<"$fifo"
	read -r -t 5 -u "$watch" line
	[ "$(jq -c '[.[].name]' <<<"$line")" = '["po-web"]' ]
	start -l app=web runc po-web2 app
	start -l app=db runc po-db2 app
	wait_until 5 eval "read -r -t 1 -u $watch line && [[ \$line == *po-web2* ]]"
	read -r -t 1 -u "$watch" line || true
	[[ $line != *po-db* ]]
	kill $!
	wait
	exec {watch}<&-
	rt_rm runc po-web2
	rt_rm runc po-db2
}

# ---- what an attach asks for ---------------------------------------------------------------------

@test "capabilities: in every spelling, and all at once" {
	local name

	only 'capabilities: ["NET_ADMIN"]'
	for name in SYS_ADMIN sys_admin CAP_SYS_ADMIN cap_sys_admin Cap_Sys_Admin NET_ADMIN,SYS_ADMIN; do
		says_no "capabilities" --cap-add "$name" "$WEB" toolbox
	done
	says_no "not a capability" --cap-add ALL "$WEB" toolbox
	says_no "not a capability" --cap-add '*' "$WEB" toolbox
	for name in NET_ADMIN net_admin CAP_NET_ADMIN cap_net_admin Cap_Net_Admin; do
		says_yes --cap-add "$name" "$WEB" toolbox
	done
	# What another user would hold because it was added counts just as well.
	says_no "capabilities" --cap-add NET_RAW -u 1000 "$WEB" toolbox
	policy '{name: "no-raw", decision: "deny", users: ["*"], verbs: ["attach"], capabilities: ["net_raw"]},
		{name: "all", decision: "allow", users: [$alice], verbs: ["*"]}'
	says_no 'rule "no-raw"' "$WEB" toolbox
	says_yes --cap-drop NET_RAW "$WEB" toolbox
}

@test "seccomp and target-root: what is more than usual has to be allowed by name" {
	only
	says_no "seccomp" --seccomp unconfined "$WEB" toolbox
	says_no "target_root" --target-root rw "$WEB" toolbox
	says_yes --seccomp default --target-root none "$WEB" toolbox
	only 'seccomp: ["default", "unconfined"], target_root: ["rw"]'
	says_yes --seccomp unconfined --target-root rw "$WEB" toolbox
	says_no "target_root: ro" "$WEB" toolbox
}

@test "users: neither root by another name, nor a name that only the image explains" {
	local user

	only 'user: [1000]'
	for user in root 0 00 0:0 0:1000 worker; do
		says_no "user:" -u "$user" "$WEB" liar
	done
	says_no "user:" "$WEB" liar
	says_no "user:" "$WEB" toolbox
	says_yes -u 1000 "$WEB" liar
	says_yes -u 1000:1000 "$WEB" toolbox
	says_yes "$WEB" modest
}

@test "namespaces: those that are joined when nothing is said count, too" {
	only 'namespaces: ["pid"]'
	says_no "net may not be joined" "$WEB" toolbox
	says_no "net may not be joined" --namespaces pid,net "$WEB" toolbox
	says_yes --namespaces pid "$WEB" toolbox
	only 'namespaces: ["pid", "net", "ipc", "uts", "cgroup"]'
	says_yes "$WEB" toolbox
}

@test "an image that does one thing does no other for who may use no other entrypoint" {
	only 'images: {reference: ["fixed"]}'
	[ "$(alice attach "$WEB" fixed -- ignored)" = fixed ]
	refused 125 "entrypoint" alice attach --entrypoint sh "$WEB" fixed -- -c id
	refused 125 "entrypoint" alice attach --entrypoint "" "$WEB" fixed -- sh -c id
	only 'images: {reference: ["fixed"]}, entrypoint: true'
	[ "$(alice attach --entrypoint echo "$WEB" fixed -- other)" = other ]
}

@test "limits: no more than the rule's, which hold where none is asked for" {
	only 'limits: {pids: 20, memory: 33554432, timeout_s: 30, cow_size: 1048576}'
	says_no "limits: pids is 20" --pids 21 "$WEB" toolbox
	says_no "limits: memory" --memory 1g "$WEB" toolbox
	says_no "limits: timeout_s" --timeout 31 "$WEB" toolbox
	says_no "limits: cow_size" --cow-size 2m "$WEB" toolbox
	says_yes --pids 10 --memory 16m --timeout 5 --cow-size 512k "$WEB" toolbox
	# Nothing was asked for.
	run alice attach "$WEB" toolbox -- sh -c 'dd if=/dev/zero of=/tmp/x bs=1k count=2048; echo $?'
	[[ $output == *"No space left"*1 ]]
	run alice attach "$WEB" toolbox -- sh -c 'for i in $(seq 40); do sleep 10 & done; wait'
	[[ $output == *fork* ]]
	recapctl attach "$WEB" toolbox -- sh -c 'for i in $(seq 40); do sleep 0.1 & done; wait'
}

@test "a reason is required: none, and an empty one, will not do" {
	local call answer

	only 'require_reason: true'
	call=$(jq -nc '{method: "io.recap.Attach", parameters: {target: "runc:po-web", image: "toolbox", args: ["true"], detach: true}}')
	answer=$(raw "$ALICE" "$call")
	[[ $answer == *io.recap.Refused*require_reason* ]]
	[[ $(raw "$ALICE" "$(jq -c '.parameters.reason = "  "' <<<"$call")") == *io.recap.Refused*require_reason* ]]
	[[ $(raw "$ALICE" "$(jq -c '.parameters.reason = "ticket 7"' <<<"$call")") == *'"capsule"'* ]]
}

# ---- other people's capsules ---------------------------------------------------------------------

@test "capsules of others: not to be seen, stopped, signalled or read; one's own are" {
	local mine theirs

	policy '{name: "attach", decision: "allow", users: [$alice, $bob], verbs: ["attach"]},
		{name: "own", decision: "allow", users: ["*"], verbs: ["ps", "inspect", "stop", "signal", "logs"], own: true}'
	theirs=$(bob attach -d "$WEB" toolbox -- sh -c 'echo secret; sleep 100')
	mine=$(alice attach -d "$WEB" toolbox -- sh -c 'echo mine; sleep 100')
	wait_until 5 eval "recapctl logs $theirs | grep -q secret && recapctl logs $mine | grep -q mine"
	refused 1 "logs is refused" alice logs "$theirs"
	refused 1 "stop is refused" alice stop "$theirs"
	refused 1 "inspect is refused" alice inspect "$theirs"
	[[ $(raw "$ALICE" "{\"method\":\"io.recap.Signal\",\"parameters\":{\"id\":\"$theirs\",\"signal\":9}}") == *io.recap.Refused* ]]
	[ "$(alice ps --json | jq -c '[.[].id]')" = "[\"$mine\"]" ]
	[ "$(alice logs "$mine")" = mine ]
	[ "$(alice inspect "$mine" | jq .caller.uid)" = "$ALICE" ]
	[[ $(raw "$ALICE" "{\"method\":\"io.recap.Signal\",\"parameters\":{\"id\":\"$mine\",\"signal\":9}}") != *error* ]]
	wait_until 5 eval "[ \"\$(alice ps --json)\" = '[]' ]"
	[ "$(recapctl ps --json | jq -c '[.[].id]')" = "[\"$theirs\"]" ]
	# Those that have ended are nobody else's either.
	bob stop --timeout 0 "$theirs" >/dev/null
	refused 1 "logs is refused" alice logs "$theirs"
	[ "$(bob logs "$theirs")" = secret ]
	[ "$(alice ps --all --json | jq "map(select(.caller.uid != $ALICE)) | length")" = 0 ]
	# Whoever is shown all of a target's capsules sees them still, once they have ended.
	only 'targets: {labels: {app: "web"}}'
	[ "$(alice logs "$theirs")" = secret ]
	only 'targets: {labels: {app: "db"}}'
	refused 1 "logs is refused" alice logs "$theirs"
	# Which rule it was is in the audit, though the request was there before it could be asked.
	policy '{name: "no-logs", decision: "deny", users: ["*"], verbs: ["logs"], targets: {labels: {app: "*"}}},
		{name: "all", decision: "allow", users: ["*"], verbs: ["*"]}'
	refused 1 "logs is refused" bob logs "$theirs"
	tail -n 1 "$RECAP_AUDIT" |
		jq -e '.event == "result" and .verb == "Logs" and .rule == "no-logs" and .error.name == "Refused"'
}

# ---- descriptors and files -----------------------------------------------------------------------

@test "a file of others cannot be passed as a stream, for a tool that is root to change its mode" {
	local call

	only
	echo x >"$FILES/roots"
	chmod 644 "$FILES/roots"
	as "$ALICE" sh -c "echo y >$FILES/alice/own"
	call=$(jq -nc '{method: "io.recap.Attach", parameters: {target: "runc:po-web", image: "toolbox", args: ["sh", "-c", "chmod 666 /proc/self/fd/0"]}}')
	[[ $(raw "$ALICE" "$call" "$FILES/roots" /dev/null /dev/null) == *"somebody else"* ]]
	[[ $(raw "$ALICE" "$call" /dev/null "$FILES/roots" /dev/null) == *"somebody else"* ]]
	[[ $(raw "$ALICE" "$call" /dev/zero /dev/null /dev/null) == *"somebody else"* ]]
	[ "$(stat -c %a "$FILES/roots")" = 644 ]
	[[ $(raw "$ALICE" "$call" "$FILES/alice/own" /dev/null /dev/null) == *'"exit_code":0'* ]]
	[[ $(raw 0 "$call" "$FILES/roots" /dev/null /dev/null) == *'"exit_code":0'* ]]
	# A pipe that root made is nobody's file; a terminal that root has is root's, and -t makes one of alice's own.
	[ "$(alice attach "$WEB" toolbox -- echo through | cat)" = through ]
	run -125 "$BATS_TEST_DIRNAME/terminal.py" -- setpriv --reuid "$ALICE" --regid "$ALICE" --clear-groups \
		"$B/recapctl" attach "$WEB" toolbox -- echo through
	[[ $output == *"somebody else"* ]]
	run -0 "$BATS_TEST_DIRNAME/terminal.py" -- setpriv --reuid "$ALICE" --regid "$ALICE" --clear-groups \
		"$B/recapctl" attach -t "$WEB" toolbox -- echo through
	[[ $output == *through* ]]
}

@test "a report is written as the caller, through no link" {
	only
	ln -sf "$POLICY" "$FILES/alice/link"
	refused 125 "cannot write the report" alice attach --report "$FILES/alice/link" "$WEB" toolbox -- true
	refused 125 "cannot write the report" alice attach --report "$FILES/roots.report" "$WEB" toolbox -- true
	alice attach --report "$FILES/alice/report" "$WEB" toolbox -- true
	[ "$(jq .caller.uid "$FILES/alice/report")" = "$ALICE" ]
	[ "$(stat -c %u "$FILES/alice/report")" = "$ALICE" ]
}

@test "floods: connections, descriptors, long and slow messages of one leave room for the others" {
	local before fds i nulls

	policy '{name: "both", decision: "allow", users: [$alice, $bob], verbs: ["*"]}'
	before=$(counter client_refused)
	background "$ALICE" /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" hold "$RECAP_SOCKET" 200 '{"method":"io.recap.St' >"$BATS_TEST_TMPDIR/held" 3>&- &
	wait_until 10 grep -q ready "$BATS_TEST_TMPDIR/held"
	wait_until 5 eval '[ "$(counter client_refused)" -ge $((before + 136)) ]'
	hung_up_on "$ALICE" "has 64 connections to recapd, and may have no more"
	[ "$(bob attach "$WEB" toolbox -- echo yes)" = yes ]
	[ "$(recapctl attach "$WEB" toolbox -- echo yes)" = yes ]
	kill $!
	wait
	wait_until 5 says_yes "$WEB" toolbox
	# More than a message may bring, and then again.
	fds=$(find "/proc/$(recapd_pid)/fd" | wc -l)
	mapfile -t nulls < <(yes /dev/null | head -n 50)
	for i in 1 2 3; do
		raw "$ALICE" '{"method":"io.recap.Stats"}' "${nulls[@]}" >"$BATS_TEST_TMPDIR/out"
	done
	[[ $(raw "$ALICE" '{"method":"io.recap.Stats"}') == *counters* ]]
	# Too long, and too many values.
	head -c 2000000 /dev/zero | tr '\0' x | as "$ALICE" /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET" >/dev/null
	{ printf '{"method":"io.recap.Stats","parameters":{"x":['; yes '{},' | head -n 200000 | tr -d '\n'; printf '{}]}}\0'; } |
		as "$ALICE" /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET" >"$BATS_TEST_TMPDIR/out"
	[ ! -s "$BATS_TEST_TMPDIR/out" ]
	says_yes "$WEB" toolbox
	wait_until 5 eval "[ \$(find /proc/$(recapd_pid)/fd | wc -l) -le $((fds + 10)) ]"
}

@test "many users together leave half of the connections to root" {
	local uid pids=()

	policy '{name: "all", decision: "allow", users: ["*"], verbs: ["*"]}'
	[ "$(bob attach "$WEB" toolbox -- echo yes)" = yes ]
	for ((uid = 4100; uid < 4110; uid++)); do
		background $uid /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" hold "$RECAP_SOCKET" 64 x \
			>"$BATS_TEST_TMPDIR/held-$uid" 3>&- &
		pids+=($!)
	done
	for ((uid = 4100; uid < 4110; uid++)); do
		wait_until 20 grep -q ready "$BATS_TEST_TMPDIR/held-$uid"
	done
	wait_until 5 hung_up_on "$BOB" "but those kept for root are in use: try again"
	[ "$(recapctl attach "$WEB" toolbox -- echo yes)" = yes ]
	kill "${pids[@]}"
	wait
	wait_until 5 bob attach "$WEB" toolbox -- true
}

@test "one user runs 64 capsules at once, and no more; others still may" {
	local ids=() i

	policy '{name: "both", decision: "allow", users: [$alice, $bob], verbs: ["*"]}'
	for ((i = 0; i < 64; i++)); do
		ids+=("$(alice attach -d "$WEB" toolbox -- sleep 1000)")
	done
	says_no "64 capsules of yours" "$WEB" toolbox
	[ "$(bob attach "$WEB" toolbox -- echo yes)" = yes ]
	[ "$(recapctl attach "$WEB" toolbox -- echo yes)" = yes ]
	alice stop --timeout 0 "${ids[0]}" >/dev/null
	says_yes "$WEB" toolbox
	for ((i = 1; i < 64; i++)); do
		recapctl stop --timeout 0 "${ids[i]}" >/dev/null
	done
}

@test "who reads no answers is hung up on before they take much memory; who reads them is not" {
	local call='{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.recap"}}'

	only
	as "$ALICE" timeout 20 /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" deaf "$RECAP_SOCKET" "$call" >"$BATS_TEST_TMPDIR/deaf" || true
	[ "$(cat "$BATS_TEST_TMPDIR/deaf")" = closed ]
	[ "$(for _ in 1 2 3 4; do printf '%s\0' "$call"; done |
		as "$ALICE" /usr/bin/python3 "$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET" | grep -c '"description"')" = 4 ]
}

@test "work on images of one user does not queue without end" {
	local fifo=$FILES/alice/fifo pids=() i

	only
	mkfifo -m 666 "$fifo"
	exec {held}<>"$fifo"
	for i in 1 2; do
		background "$ALICE" "$B/recapctl" image load --ref mine/slow - <"$fifo" >/dev/null 2>&1 3>&- &
		pids+=($!)
	done
	wait_until 5 eval '[ "$(pgrep -P "$(recapd_pid)" -c recap-load)" = 2 ]'
	refused 1 "2 jobs on images of yours" alice image load --ref mine/third "$FILES/other.tar"
	kill "${pids[@]}"
	wait
	exec {held}<&-
	rm "$fifo"
	wait_until 5 eval '! pgrep -P "$(recapd_pid)" recap-load'
	alice image load --ref mine/third "$FILES/other.tar" >/dev/null
	alice image rm mine/third
}

# ---- the file ------------------------------------------------------------------------------------

problem_is() { # TEXT
	recapctl status --json | jq -e --arg text "$1" '.problems | any(contains($text))'
}

no_problem() {
	recapctl status --json | jq -e '.problems | all(contains("policy") | not)'
}

@test "a broken policy keeps the one before, and status says so until it is mended" {
	only 'targets: {name: ["po-web"]}'
	says_yes "$WEB" toolbox
	echo '{"rules": [{"name": "x"}]}' >"$POLICY"
	reload
	problem_is 'rule 1 (x): it has no decision'
	says_yes "$WEB" toolbox
	says_no "targets.name" "$DB" toolbox
	only
	no_problem
	says_yes "$DB" toolbox
}

@test "a policy that others may write to is refused" {
	only 'targets: {name: ["po-web"]}'
	write_policy '{name: "all", decision: "allow", users: ["*"], verbs: ["*"]}'
	chmod 664 "$POLICY"
	reload
	problem_is "nobody else may write to it"
	says_no "targets.name" "$DB" toolbox
	chmod 644 "$POLICY"
	chown "$ALICE" "$POLICY"
	reload
	problem_is "must be root's"
	hung_up_on "$BOB"
	mv "$POLICY" "$FILES/alice/policy.json"
	chown 0 "$FILES/alice/policy.json"
	ln -s "$FILES/alice/policy.json" "$POLICY"
	reload
	problem_is "cannot open"
	says_no "targets.name" "$DB" toolbox
	rm "$POLICY"
	policy '{name: "all", decision: "allow", users: ["*"], verbs: ["*"]}'
	no_problem
	bob attach "$DB" toolbox -- true
}

@test "recapd starts with a broken policy for root only" {
	echo '{' >"$POLICY"
	recapd_up --policy "$POLICY" --config "$FILES/recapd.json"
	problem_is "only root is served"
	says_no "no permission to use" "$WEB" toolbox
	recapctl attach "$WEB" toolbox -- true
	only
	no_problem
	says_yes "$WEB" toolbox
}

@test "while policies change, each call meets one or the other" {
	local i pid status wrong=0 right=0

	policy '{name: "web", decision: "allow", users: [$alice], verbs: ["*"], targets: {name: ["po-web"]}}'
	cp "$POLICY" "$FILES/one"
	policy '{name: "none", decision: "deny", users: [$alice], verbs: ["*"]},
		{name: "one-verb", decision: "allow", users: [$alice], verbs: ["stats"]}'
	cp "$POLICY" "$FILES/two"
	# It ends by itself: killed, it would leave a mv(1) to its own devices, which then takes the next policy away.
	until [ -e "$FILES/enough" ]; do
		for i in one two; do
			cp "$FILES/$i" "$POLICY.new"
			mv "$POLICY.new" "$POLICY"
			kill -HUP "$(recapd_pid)"
		done
	done 3>&- &
	pid=$!
	for ((i = 0; i < 40; i++)); do
		alice attach "$DB" toolbox -- true >/dev/null 2>&1 && wrong=$((wrong + 1))
		alice attach "$WEB" toolbox -- true >/dev/null 2>&1 && right=$((right + 1))
	done
	touch "$FILES/enough"
	wait $pid
	[ $wrong = 0 ]
	[ $right -gt 0 ]
	policy '{name: "web", decision: "allow", users: [$alice], verbs: ["*"], targets: {name: ["po-web"]}}'
	says_yes "$WEB" toolbox
	says_no "targets.name" "$DB" toolbox
}

# ---- check and explain ---------------------------------------------------------------------------

@test "check says what is wrong and where; explain says which rule decides, and why the others do not" {
	policy '{name: "no-db", decision: "deny", users: ["*"], verbs: ["attach"], targets: {name: ["po-db"]}},
		{name: "web", decision: "allow", users: [$alice], verbs: ["*"], targets: {name: ["po-web"]}, limits: {pids: 20}},
		{name: "ask", decision: "allow", users: [$alice], verbs: ["policy.explain"]}'
	[ "$(recapctl status --json | jq .policy_rules)" -eq 3 ]
	[ "$(recapctl policy check "$POLICY")" = "$POLICY: 3 rules" ]
	printf '{"rules": [\n{"name": "a",\n "name": "b"}]}' >"$FILES/bad.json"
	refused 1 'line 3: "name" is there twice' recapctl policy check "$FILES/bad.json"
	refused 1 "cannot read" recapctl policy check "$FILES/nosuch.json"
	run -0 recapctl policy explain --as "$ALICE" attach "$WEB" toolbox
	[[ $output == *"no-db"*deny*"targets.name does not match po-web"*"web"*allow*"it matches"*'allowed by rule "web"'*"limit: pids 20"* ]]
	run -1 recapctl policy explain --as "$ALICE" attach --cap-add SYS_ADMIN "$WEB" toolbox
	[[ $output == *"capabilities: SYS_ADMIN may not be added"*"refused: no rule"* ]]
	run -1 recapctl policy explain --as "$BOB" attach "$DB" toolbox
	[[ $output == *'refused: rule "no-db"'* ]]
	run -0 recapctl policy explain attach "$DB" toolbox
	[[ $output == *"allowed: no rule says otherwise of root"* ]]
	recapctl policy explain --json --as "$ALICE" inspect "$WEB" | jq -e '.allowed and .rule == "web"'
	# Nothing was run, and what is said is what happens.
	[ "$(recapctl ps --json)" = "[]" ]
	says_yes "$WEB" toolbox
	# Who may ask about others is root.
	refused 1 "only root asks" alice policy explain --as "$BOB" stats
	run -1 alice policy explain attach "$DB" toolbox
	[[ $output == *'refused: rule "no-db"'* ]]
	refused 2 "needs a VERB" recapctl policy explain
	refused 1 "there is no verb" recapctl policy explain fly
	# What is decided of each is not answered as if it were about nothing.
	refused 1 "ps is decided for each container or capsule" recapctl policy explain --as "$ALICE" ps
	refused 1 "image.list is decided for each image" recapctl policy explain image.list
	run -1 recapctl policy explain --as "$ALICE" image.prune
	[[ $output == *"refused: "* ]]
	refused 1 "no image" recapctl policy explain attach "$WEB" nosuch
}
