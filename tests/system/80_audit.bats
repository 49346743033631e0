#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The audit: who asked for what, and what came of it. Nothing is left out, on a full disk either.

load common

JOURNAL=$RECAP_RUN/journal # socket
HEARD=$RECAP_RUN/heard     # what came there

setup_file() {
	require_root
	require_command runc jq
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	rt_run runc web app
	mkdir -p "$RECAP_RUN"
	"$BATS_TEST_DIRNAME/journal.py" "$JOURNAL" "$HEARD" >"$BATS_FILE_TMPDIR/journal" 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/journal.pid"
	wait_until 5 grep -q ready "$BATS_FILE_TMPDIR/journal"
	recapd_up --audit-journal "$JOURNAL"
	for image in toolbox true probe; do
		recapctl image load --ref "$image" "$RT_IMAGES/oci/$image" >/dev/null
	done
}

teardown_file() {
	kill "$(cat "$BATS_FILE_TMPDIR/journal.pid")"
	recapd_down
	rt_down
}

teardown() {
	local disk=$RECAP_RUN/disk

	assert_clean
	if mountpoint -q "$disk"; then
		RECAP_AUDIT=$RECAP_RUN/audit.jsonl
		recapd_up --audit-journal "$JOURNAL"
		umount "$disk"
	fi
}

# ---- what is in the file -------------------------------------------------------------------------

# A mark in the file: what is looked at from here on.
mark() {
	MARK=$(wc -l <"$RECAP_AUDIT")
}

# The lines since then, as a list, through a filter.
audited() { # FILTER
	tail -n +$((MARK + 1)) "$RECAP_AUDIT" | jq -sce "$1"
}

heard() { # FILTER
	jq -sce "$1" "$HEARD"
}

# Every line is whole, JSON, printable ASCII, and not too long.
sound() { # [FILE]
	local file=${1:-$RECAP_AUDIT}

	[ -z "$(tail -c 1 "$file")" ]
	not grep -nP '[^\x20-\x7e]' "$file"
	[ "$(jq -c .event "$file" | wc -l)" = "$(wc -l <"$file")" ]
	[ "$(wc -L <"$file")" -lt 65536 ]
}

call() { # METHOD PARAMETERS
	printf '{"method":"io.recap.%s","parameters":%s}\0' "$1" "$2" |
		"$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET"
}

# It fails, with a problem of this text.
status_complains() { # TEXT
	local said

	! said=$(recapctl status) && [[ $said == *"$1"* ]]
}

# One request that was refused, for this reason, and nothing else.
one_refusal() { # VERB ERROR
	audited "length == 1 and (.[0] | .event == \"request\" and .verb == \"$1\" and
		.allowed == false and .error.name == \"$2\" and .who.uid == 0)"
}

@test "an attach: its request before, its result after, with who, what, where and why" {
	local digest pid key

	digest=$(recapctl image list --json | jq -r '.[] | select(.ref | startswith("toolbox")).digest')
	pid=$(rt_pid runc web)
	key=$(dump_map containers | jq ".[].formatted | select(.value.pid == $pid).key")
	mark
	status_is 3 recapctl attach --reason "ticket 4711" runc:web toolbox -- sh -c 'exit 3'
	audited 'map(.event) - ["started"] == ["request", "result"] and
		([.[].request] | unique | length) == 1'
	audited ".[0] | .verb == \"Attach\" and .allowed == true and .reason == \"ticket 4711\" and
		.who == {uid: 0, gid: 0, pid: .who.pid, command: \"recapctl\"} and
		.image.digest == \"$digest\" and .command[-3:] == [\"sh\", \"-c\", \"exit 3\"] and
		.target.pid == $pid and .target.name == \"web\" and .target.runtime == \"runc\" and
		.target.mnt_id == $key and (.target.id | length) > 0 and (.target.started_at | endswith(\"Z\")) and
		(.time | test(\"^[0-9-]{10}T[0-9:]{8}[.][0-9]{6}Z$\")) and (has(\"error\") | not)"
	audited '.[-1] | .who.uid == 0 and .verb == "Attach" and (has("error") | not) and
		.capsule.state == "dropped" and .capsule.exit_code == 3 and .capsule.holders == [] and
		.capsule.timings_us.total > 0 and .capsule.proof.live_tasks == 0 and
		.capsule.proof.overlay_busy == false'
	sound
}

@test "an attach that is refused: one line, whatever refused it" {
	mark
	refused 125 "no image" recapctl attach web nothing -- a b
	one_refusal Attach ImageNotFound
	audited '.[0] | .params.target == "web" and .params.image == "nothing" and .command == ["a", "b"]'
	mark
	refused 125 "no container" recapctl attach nowhere true
	one_refusal Attach TargetNotFound
	audited '.[0].image.digest | startswith("sha256:")'
	mark
	call Attach '{"target":1}'
	one_refusal Attach InvalidParameter
	mark
	call Nothing '{}'
	one_refusal unknown MethodNotFound
}

@test "a tool that cannot be executed: allowed, and the result is an error" {
	mark
	status_is 127 recapctl attach --entrypoint /nowhere web toolbox
	audited 'map(select(.event == "request"))[0].allowed and
		.[-1].event == "result" and .[-1].error.name == "CommandNotFound"'
}

@test "a capsule that runs on: that it has started, with its ID; Signal and Stop" {
	local id

	mark
	id=$(recapctl attach -d web probe sleep 1000)
	wait_until 5 audited "any(.event == \"started\" and .capsule.id == \"$id\")"
	mark
	call Signal "{\"id\":\"$id\",\"signal\":0}"
	one_refusal_of_two Signal InvalidArgument
	mark
	call Signal "{\"id\":\"$id\",\"signal\":18}"
	audited "length == 2 and .[0].params == {id: \"$id\", signal: 18} and .[1].verb == \"Signal\" and
		(.[1] | has(\"error\") | not)"
	mark
	recapctl stop --timeout 0 "$id"
	audited "map([.event, .verb]) == [[\"request\", \"Stop\"], [\"result\", \"Attach\"],
		[\"result\", \"Stop\"]] and .[1].capsule.reason == \"stopped\" and
		.[2].capsule.id == \"$id\""
	mark
	status_is 1 recapctl stop "$id"
	one_refusal_of_two Stop CapsuleNotFound
}

# It was let through, and then failed.
one_refusal_of_two() { # VERB ERROR
	audited "map([.event, .verb]) == [[\"request\", \"$1\"], [\"result\", \"$1\"]] and
		.[1].error.name == \"$2\""
}

@test "looking is recorded when it is allowed, and when it fails" {
	mark
	recapctl list >/dev/null
	recapctl ps --all >/dev/null
	recapctl image list >/dev/null
	recapctl image inspect true >/dev/null
	recapctl inspect web >/dev/null
	audited 'map(.verb) == ["ListContainers", "ListCapsules", "ListImages", "InspectImage", "Inspect"]
		and all(.event == "request" and .allowed)'
	mark
	status_is 1 recapctl inspect nowhere
	one_refusal_of_two Inspect CapsuleNotFound
	mark
	status_is 1 recapctl logs nowhere
	one_refusal_of_two Logs CapsuleNotFound
	# Health is asked for all the time, and tells nothing of anybody.
	mark
	recapctl status >/dev/null
	recapctl stats >/dev/null
	[ "$(wc -l <"$RECAP_AUDIT")" = "$MARK" ]
}

@test "who watches is recorded once, however it ends; a call that wants no reply is a refusal" {
	mark
	timeout 1 "$B/recapctl" list --watch >/dev/null || [ $? -eq 124 ]
	recapctl ps >/dev/null
	audited 'map([.event, .verb]) == [["request", "ListContainers"], ["request", "ListCapsules"]]'
	mark
	printf '{"method":"io.recap.ListCapsules","oneway":true}\0' |
		"$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET"
	one_refusal ListCapsules InvalidArgument
}

@test "images that come and go, with their digests, and those that do not" {
	mark
	recapctl image load --ref other "$RT_IMAGES/oci/true" >/dev/null
	audited 'length == 2 and .[0].params == {ref: "other"} and
		(.[1].images[0] | .ref == "other:latest" and (.digest | startswith("sha256:")))'
	mark
	recapctl image rm other >/dev/null
	audited 'map([.event, .verb]) == [["request", "RemoveImage"], ["result", "RemoveImage"]]'
	mark
	status_is 1 recapctl image rm other
	one_refusal_of_two RemoveImage ImageNotFound
	mark
	recapctl image prune --dry-run >/dev/null
	audited '.[0].params.dry_run and .[1].images == []'
	mark
	status_is 1 recapctl image load /etc/passwd
	one_refusal_of_two LoadImage ImageInvalid
}

@test "never the environment, input or output: not in the file, not in the journal" {
	local id secret=hunter2-$RANDOM$RANDOM

	recapctl attach -e "SECRET=$secret" -e "$secret=1" web toolbox -- env | grep -q "$secret"
	echo "$secret" | recapctl attach web toolbox -- cat | grep -q "$secret"
	id=$(recapctl attach -d -e "SECRET=$secret" web toolbox -- sh -c 'echo $SECRET; exit 1')
	wait_until 5 grep -q "$secret" <(recapctl logs "$id")
	refused 125 "" recapctl attach -e "SECRET=$secret" nowhere toolbox
	call Attach "{\"target\":\"web\",\"image\":\"true\",\"env\":[\"$secret\"]}"
	not grep -q "$secret" "$RECAP_AUDIT"
	not grep -q "$secret" "$HEARD"
	# But an argument is what was done.
	recapctl attach web toolbox -- true "$secret"
	grep -q "$secret" "$RECAP_AUDIT"
	wait_until 5 grep -q "$secret" "$HEARD"
}

@test "the reason: in the record, too, and only as a line of text" {
	recapctl attach --reason "Störung 12 — \"disk\"" --report "$BATS_TEST_TMPDIR/report" web true
	jq -e '.why == "Störung 12 — \"disk\""' "$BATS_TEST_TMPDIR/report"
	mark
	recapctl attach --reason "$(printf '%256s' '' | tr ' ' x)" web true
	audited '.[0].reason | length == 256'
	mark
	refused 125 "1 to 256 bytes" recapctl attach --reason "$(printf '%257s' '' | tr ' ' x)" web true
	one_refusal Attach InvalidArgument
	refused 125 "1 to 256 bytes" recapctl attach --reason "" web true
	refused 125 "control characters" recapctl attach --reason $'two\nlines' web true
	refused 125 "control characters" recapctl attach --reason $'\e[2J' web true
	refused 125 "control characters" recapctl attach --reason $'\xc2\x9b2J' web true
	sound
}

@test "hostile text: newlines, quotes, escape sequences, what is no UTF-8" {
	local evil=$'"}\n{"event":"request"}\t\e[31m\\u0000%41\xe2\x80\xae'

	mark
	recapctl attach web toolbox -- true "$evil"
	audited '.[0].command[-1] ==
		"\"}%0A{\"event\":\"request\"}%09%1B[31m\\u0000%2541%E2%80%AE"'
	mark
	refused 125 "" recapctl attach "$evil" toolbox
	refused 125 "" recapctl attach web "$evil"
	refused 1 "" recapctl inspect "$evil"
	audited 'length == 4'
	mark
	printf '{"method":"io.recap.Inspect","parameters":{"id":"\xff\xfe"}}\0' |
		"$BATS_TEST_DIRNAME/varlink.py" send "$RECAP_SOCKET"
	audited 'length == 1 and .[0].event == "connection" and .[0].allowed == false and .[0].who.uid == 0'
	sound
}

@test "a long command is cut, and says so; one that fits is not" {
	mark
	recapctl attach web toolbox -- true "$(printf '%20000s' '' | tr ' ' x)" end
	audited '(.[0].command[-1] == "end") and (.[0] | has("truncated") | not)'
	mark
	# shellcheck disable=SC2046 # words
	recapctl attach web toolbox -- true $(printf '"%.0s' {1..60000} | fold -w 1000)
	audited '.[0].truncated and (.[0].command | length) > 20 and .[0].target.name == "web" and
		(.[-1] | has("truncated") | not)'
	sound
	wait_until 5 heard 'any(.memfd or (.RECAP_AUDIT | length) > 40000)'
}

@test "connections that are refused, by who they are" {
	mark
	status_is 1 setpriv --reuid 65534 --clear-groups --inh-caps +dac_override \
		--ambient-caps +dac_override "$B/recapctl" list
	audited 'length == 1 and (.[0] | .event == "connection" and .who.uid == 65534 and
		.error.name == "PermissionDenied")'
	mark
	status_is 0 recapctl list
	audited 'all(.event == "request" and .allowed)'
}

# ---- the journal ---------------------------------------------------------------------------------

@test "the journal gets the same, in fields; where there is none, status says so" {
	local id

	mark
	recapctl attach --reason journal web true
	id=$(audited '.[-1].capsule.id' | tr -d '"')
	wait_until 5 heard "any(.RECAP_CAPSULE == \"$id\" and .SYSLOG_IDENTIFIER == \"recapd-audit\" and
		.RECAP_EVENT == \"result\" and .RECAP_VERB == \"Attach\" and .RECAP_UID == \"0\" and
		.PRIORITY == \"6\" and (.RECAP_AUDIT | fromjson | .capsule.state == \"dropped\"))"
	status_is 125 recapctl attach nowhere true
	wait_until 5 heard 'any(.PRIORITY == "5" and .RECAP_FAILED == "1" and .RECAP_EVENT == "request")'
	recapctl status | grep -q "^audit .* and the journal$"
	mv "$JOURNAL" "$JOURNAL.away"
	recapctl attach web true
	recapctl status | grep -q "^audit .*, no journal$"
	mv "$JOURNAL.away" "$JOURNAL"
	recapctl attach web true
	recapctl status --json | jq -e '.audit.journal and .problems == []'
}

@test "a journal that stands still holds nobody up, and what it misses is counted" {
	local journal lost i

	journal=$(cat "$BATS_FILE_TMPDIR/journal.pid")
	lost=$(recapctl stats --json | jq .counters.audit_journal_lost)
	kill -STOP "$journal"
	mark
	# More than a socket takes (net.unix.max_dgram_qlen, usually 10).
	for i in {1..50}; do
		timeout 5 "$B/recapctl" ps >/dev/null || break
	done
	kill -CONT "$journal"
	[ "$i" = 50 ]
	audited 'length == 50'
	[ "$(recapctl stats --json | jq .counters.audit_journal_lost)" -gt "$lost" ]
	recapctl status
}

# ---- a full disk ---------------------------------------------------------------------------------

# recapd, with its audit on a small file system of its own.
on_disk() { # KIND
	local disk=$RECAP_RUN/disk

	mkdir -p "$disk"
	case $1 in
	tmpfs) mount -t tmpfs -o size=4m,mode=700 none "$disk" ;;
	ext4)
		truncate -s 8m "$RECAP_RUN/ext4"
		mkfs.ext4 -q -m 0 "$RECAP_RUN/ext4"
		mount -o loop "$RECAP_RUN/ext4" "$disk"
		;;
	esac
	RECAP_AUDIT=$disk/audit.jsonl
	recapd_up --audit-journal "$JOURNAL"
}

# The last byte, too.
fill_up() {
	dd if=/dev/zero of="$RECAP_RUN/disk/filler" bs=64k status=none 2>/dev/null || true
	dd if=/dev/zero of="$RECAP_RUN/disk/filler2" bs=1k status=none 2>/dev/null || true
	[ "$(df --output=avail "$RECAP_RUN/disk" | tail -n 1)" -le 8 ]
}

make_room() {
	rm "$RECAP_RUN/disk"/filler*
}

full_disk() { # KIND
	local ids=() id i failed

	on_disk "$1"
	failed=$(recapctl stats --json | jq .counters.audit_failed)
	for i in {1..5}; do
		ids+=("$(recapctl attach -d web probe sleep 1000)")
	done
	fill_up
	mark
	# More than what was reserved at once is gone before the first is refused.
	for i in {1..400}; do
		recapctl attach web true || break
	done
	[ "$i" -lt 400 ]
	mark
	refused 125 "audit.jsonl cannot take the line that this request needs (No space left on device)" \
		recapctl attach web true
	one_refusal Attach AuditFailed
	refused 1 "cannot take the line" recapctl image load --ref more "$RT_IMAGES/oci/true"
	status_complains "cannot grow (No space left on device)"
	[ "$(recapctl stats --json | jq .counters.audit_failed)" -gt "$failed" ]
	# What looks, and what ends capsules, is still possible, and recorded.
	mark
	recapctl ps >/dev/null
	recapctl stop --timeout 0 "${ids[0]}"
	audited "map([.event, .verb]) == [[\"request\", \"ListCapsules\"], [\"request\", \"Stop\"],
		[\"result\", \"Attach\"], [\"result\", \"Stop\"]]"
	# Those that look use up what was set aside; they are refused then, and counted.
	for i in {1..2000}; do
		recapctl inspect web >/dev/null 2>&1 || break
	done
	[ "$i" -lt 2000 ]
	for i in {1..100}; do
		refused 1 "cannot take the line" recapctl inspect web
	done
	status_complains "requests that were refused are not recorded"
	mark
	for id in "${ids[@]:1}"; do
		recapctl stop --timeout 0 "$id"
	done
	audited 'map(select(.event == "result" and .verb == "Attach" and .capsule.state == "dropped")) |
		length == 4'
	sound
	make_room
	mark
	recapctl attach web true
	audited 'any(.event == "unrecorded" and .count > 0)'
	recapctl status
	sound
}

@test "a full tmpfs: no new attach, and no line is missing; with room again, all is well" {
	full_disk tmpfs
}

@test "a full ext4: no new attach, and no line is missing; with room again, all is well" {
	losetup -f >/dev/null || skip_or_fail "no loop devices"
	full_disk ext4
}

@test "a recapd that starts on a full disk refuses, and works when there is room" {
	on_disk tmpfs
	recapd_kill
	rm "$RECAP_AUDIT"
	fill_up
	mark() { MARK=0; }
	recapd_up_full
	refused 125 "cannot take the line" recapctl attach web true
	make_room
	recapctl attach web true
	sound
}

# `list` does not answer there.
recapd_up_full() {
	recapd_answers() {
		recapctl stats >/dev/null 2>&1
	}
	recapd_up --audit-journal "$JOURNAL"
}

# ---- append-only ---------------------------------------------------------------------------------

@test "chattr +a: recorded as ever; a line that was torn by a crash is marked" {
	on_disk ext4
	chattr +a "$RECAP_AUDIT"
	mark
	recapctl attach web true
	audited 'map(.event) - ["started"] == ["request", "result"]'
	sound
	recapd_kill
	printf '{"event":"req' >>"$RECAP_AUDIT"
	recapd_up --audit-journal "$JOURNAL"
	grep -A 1 '^{"event":"req$' "$RECAP_AUDIT" | tail -n 1 | jq -e '.event == "torn"'
	mark
	recapctl attach web true
	audited 'map(.event) - ["started"] == ["request", "result"]'
	chattr -a "$RECAP_AUDIT"
}

@test "a line that was torn by a crash is taken off where that is allowed" {
	mark
	recapd_kill
	printf '{"event":"req' >>"$RECAP_AUDIT"
	recapd_up --audit-journal "$JOURNAL"
	recapctl attach web true
	audited 'map(.event) | contains(["request", "result"])'
	sound
}

# ---- rotation and crashes ------------------------------------------------------------------------

attach_all_along() { # FILE: until it is there
	while [ ! -e "$1" ]; do
		recapctl attach web true || return 1
		echo
	done | wc -l
}

# Every request that was allowed has its result.
all_have_results() { # FILE...
	cat "$@" | jq -sce 'map(select(.verb == "Attach")) |
		(map(select(.event == "request" and .allowed).request) | sort) as $asked |
		($asked | length) > 0 and $asked == (map(select(.event == "result").request) | sort)'
}

@test "rotation under load: no line is lost or torn, and the old file is left alone" {
	local old=$RECAP_AUDIT.old count inode

	mv "$RECAP_AUDIT" "$BATS_TEST_TMPDIR/before"
	kill -HUP "$(recapd_pid)"
	wait_until 5 test -e "$RECAP_AUDIT"
	attach_all_along "$BATS_TEST_TMPDIR/enough" >"$BATS_TEST_TMPDIR/count" 3>&- &
	for i in {1..20}; do
		mv "$RECAP_AUDIT" "$old.$i"
		sleep 0.02
		kill -HUP "$(recapd_pid)"
		wait_until 5 test -s "$RECAP_AUDIT"
		inode=$(stat -c '%i %s %b' "$old.$i")
		sleep 0.05
		[ "$inode" = "$(stat -c '%i %s %b' "$old.$i")" ]
		sound "$old.$i"
	done
	touch "$BATS_TEST_TMPDIR/enough"
	wait $!
	count=$(cat "$BATS_TEST_TMPDIR/count")
	sound
	all_have_results "$old".* "$RECAP_AUDIT"
	[ "$(cat "$old".* "$RECAP_AUDIT" | jq -c 'select(.event == "request" and .verb == "Attach")' | wc -l)" = "$count" ]
	[ "$(stat -c %a "$RECAP_AUDIT")" = 600 ]
	rm "$old".*
}

@test "a new file that cannot be opened: the old one stays in use, status says so, and it heals" {
	mv "$RECAP_AUDIT" "$RECAP_AUDIT.old"
	mkdir "$RECAP_AUDIT"
	kill -HUP "$(recapd_pid)"
	wait_until 5 status_complains "cannot be opened anew"
	MARK=$(wc -l <"$RECAP_AUDIT.old")
	recapctl attach web true
	[ "$(tail -n +$((MARK + 1)) "$RECAP_AUDIT.old" | wc -l)" -ge 2 ]
	rmdir "$RECAP_AUDIT"
	MARK=0
	recapctl attach web true
	audited 'map(.event) | contains(["request", "result"])'
	recapctl status
	rm "$RECAP_AUDIT.old"
}

@test "logrotate, as docs/audit.md has it" {
	local conf=$BATS_TEST_TMPDIR/conf

	require_command logrotate
	sed -n '/^```logrotate$/,/^```$/p' "$ROOT/docs/audit.md" | grep -v '^```' |
		sed "s,/var/log/recap/audit.jsonl,$RECAP_AUDIT,; s,systemctl kill .*,kill -HUP $(recapd_pid)," \
			>"$conf"
	grep -q "kill -HUP $(recapd_pid)" "$conf"
	recapctl attach web true
	logrotate -f -s "$BATS_TEST_TMPDIR/state" "$conf"
	MARK=0
	wait_until 5 recapctl attach web true
	wait_until 5 audited 'map(.event) | contains(["request", "result"])'
	sound "$RECAP_AUDIT.1"
	sound
}

@test "killed again and again under load: whole lines only, and a capsule that goes on gets its result" {
	local id i

	mark
	id=$(recapctl attach -d web probe sleep 1000)
	for i in {1..10}; do
		attach_all_along "$BATS_TEST_TMPDIR/enough.$i" >/dev/null 2>&1 3>&- &
		sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
		recapd_kill
		recapd_up --audit-journal "$JOURNAL"
		touch "$BATS_TEST_TMPDIR/enough.$i"
		wait %% || true
		sound
	done
	recapctl stop --timeout 0 "$id"
	audited "(map(select(.event == \"request\" and .verb == \"Attach\"))[0].request) as \$n |
		any(.event == \"result\" and .request == \$n and .capsule.id == \"$id\" and .capsule.state == \"dropped\" and .who.uid == 0)"
	audited "(map(select(.event == \"request\").request)) | . == (sort | unique)"
}

@test "the keeper killed as well: the capsule that was ended without a record is named" {
	local id

	mark
	id=$(recapctl attach -d web probe sleep 1000)
	kill -KILL "$(cat "$RECAP_STATE"/keepers/*)"
	recapd_kill
	recapd_up --audit-journal "$JOURNAL"
	audited "any(.event == \"result\" and .capsule.id == \"$id\" and .error.name == \"Failed\")"
}

# ---- the file itself -----------------------------------------------------------------------------

audit_refused() { # TEXT FILE
	refused 1 "$1" timeout 10 "$B/recapd" --socket "$RT/other/s" --bpffs "$RECAP_BPFFS-other" \
		--state-dir "$RT/other/state" --cgroup "$RECAP_CGROUP-other" --audit "$2"
	[ ! -e "$RT/other/s" ]
}

@test "a file or folder that others may write to, a link, a pipe, another's: recapd does not start" {
	local dir=$BATS_TEST_TMPDIR/audit

	mkdir -p "$RT/other" "$dir"
	chmod 700 "$dir"
	ln -s /etc/passwd "$dir/link"
	mkfifo "$dir/pipe"
	touch "$dir/open" "$dir/two" "$dir/nobodys"
	chmod 666 "$dir/open"
	ln "$dir/two" "$dir/names"
	chown 65534 "$dir/nobodys"
	audit_refused "cannot open $dir/link: Too many levels of symbolic links" "$dir/link"
	audit_refused "must be a file with no other name" "$dir/pipe"
	audit_refused "must be a file with no other name" "$dir/two"
	audit_refused "writable by nobody else" "$dir/open"
	audit_refused "writable by nobody else" "$dir/nobodys"
	audit_refused "another recapd writes to $RECAP_AUDIT;" "$RECAP_AUDIT"
	audit_refused "audit must be an absolute path" audit.jsonl
	chmod 770 "$dir"
	audit_refused "writable by nobody else" "$dir/new"
	[ ! -e "$dir/new" ]
}
