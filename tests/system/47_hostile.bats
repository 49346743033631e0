#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The corpus of hostile images (hostile.py): each is refused with one clear line, within bounds of time and memory, and the
# store is as it was; and a load that is killed at any moment leaves the store as before or as after.

load common

# Of the loader: what it may map, what it may have resident, and how long it may take.
SPACE_MIB=512
RESIDENT_KIB=$((192 << 10))
SECONDS_MAX=$((120 * ${RT_TIMEOUT:-1}))
# A sanitizer maps terabytes and keeps what was freed; all else that is looked at holds.
if [ -n "${RECAP_SANITIZED:-}" ]; then
	SPACE_MIB=$((1 << 40))
	RESIDENT_KIB=$((2 << 20))
	SECONDS_MAX=600
fi

setup_file() {
	require_root
	require_command jq python3 zstd
	export STORE=$BATS_FILE_TMPDIR/store CORPUS=$BATS_FILE_TMPDIR/corpus
	mkdir "$STORE" "$CORPUS"
	"$BATS_TEST_DIRNAME/hostile.py" make "$CORPUS"
	# What is in the store before, and must stay.
	loaded keep:1 "$CORPUS/honest"
}

teardown_file() {
	recapd_kill
}

# ---- one case ------------------------------------------------------------------------------------

tree_of() { # STORE: everything in it, with contents and all else that matters
	(cd "$1" && find layers images tmp refs.json ! -path layers ! -path images ! -path tmp \
		-printf '%p %y %m %U %G %l\n' | sort
		find layers images refs.json -type f -print0 | sort -z | xargs -0 sha256sum)
}

# The loader as recapd runs it, but within bounds. Sets `message`: what it refuses with; empty when it loaded.
load_bounded() { # REF FILE
	local status=0 dir=${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}

	"$BATS_TEST_DIRNAME/bounded.py" $SPACE_MIB $SECONDS_MAX "$dir/rss" "$2" \
		"$B/recap-load" "$STORE" ${1:+"$1"} </dev/null >"$dir/result" 2>"$dir/err" || status=$?
	rss=$(cat "$dir/rss")
	message=$(tr -d '\0' <"$dir/result" | command jq -r '.message // empty')
	if [ $status -ne 0 ] || [ "$rss" -gt $RESIDENT_KIB ]; then
		echo "$2: status $status, $rss KiB: $message" >&2
		return 1
	fi
}

loaded() { # REF FILE
	load_bounded "$@" || return
	[ -z "$message" ] || {
		echo "$2 is not loaded: $message" >&2
		return 1
	}
}

# A line is one for a terminal, too: nothing in it that is no text.
one_line() { # TEXT
	[ -n "$1" ] && [ "$(wc -l <<<"$1")" -eq 1 ] && ! LC_ALL=C grep -q '[[:cntrl:]]' <<<"$1"
}

unchanged() { # CASE
	diff "$BATS_TEST_TMPDIR/before" <(tree_of "$STORE") || {
		echo "$1 changed the store" >&2
		return 1
	}
	[ -z "$(ls -A "$STORE/tmp")" ] && [ ! -e /tmp/recap-hostile ] && [ ! -e /recap-hostile ]
}

is_refused() { # CASE REGEX
	load_bounded bad "$CORPUS/$1"
	if ! one_line "$message" || ! grep -qE -- "$2" <<<"$message"; then
		printf '%s: wanted "%s", got "%s"\n' "$1" "$2" "$message" >&2
		return 1
	fi
	unchanged "$1"
}

# It loads, into a store of its own, and nothing is in there that must not be.
is_harmless() { # CASE
	local STORE=$BATS_TEST_TMPDIR/harmless name=harmless:1

	mkdir "$STORE"
	# The one that has many images names them itself.
	[[ $1 != *8000* ]] || name=
	loaded "$name" "$CORPUS/$1"
	[ -z "$(ls -A "$STORE/tmp")" ] && [ ! -e /tmp/recap-hostile ] && [ ! -e /recap-hostile ]
	[ -z "$(find "$STORE/layers" -type b -o -type p -o -type s -o -type c -o -perm /6000)" ]
	rm -r "$STORE"
}

# What the corpus has, by a pattern of names; at least so many, so that no test is about nothing.
cases_are_met() { # MINIMUM REGEX
	local name text n=0

	tree_of "$STORE" >"$BATS_TEST_TMPDIR/before"
	while IFS=$'\t' read -r name text <&4; do
		[[ $name =~ $2 ]] || continue
		n=$((n + 1))
		if [ "$text" = "*" ]; then
			is_harmless "$name"
		else
			is_refused "$name" "$text"
		fi || return
	done 4< <("$BATS_TEST_DIRNAME/hostile.py" list)
	[ "$n" -ge "$1" ]
}

PATHS='pax-path|path|gnu|absolute|relative|looping|link|hard-link|long|deep-path|name|line'
NUMBERS='file-of|pax-size|owner|sparse|descriptor-size|descriptor-digest|2-to'
BOMBS='bomb|million|gigabyte|without-end|thousand|attribute|window|gzip-in|many|16-gib|8000|terabyte|4-mib|deep-'
OTHERS='hard|folder|device|nul|member|blob|index|wrong|honest|not|a-|unknown|foreign|config|no-|manifest|too|media|nested|wide'
OTHERS+='|objects|arrays|numbers'

@test "paths and links that lead out of the layer or the archive" {
	cases_are_met 20 "^($PATHS)"
}

@test "numbers: negative, of 2^63, of exabytes" {
	cases_are_met 20 "^($NUMBERS)"
}

@test "bombs: gzip, zstd, sparse files, headers, JSON, a million empty files" {
	cases_are_met 20 "$BOMBS"
}

@test "archives of docker save" {
	cases_are_met 15 "^docker"
}

@test "everything else in the corpus" {
	cases_are_met 40 "^($OTHERS)"
}

@test "no case of the corpus is left out" {
	"$BATS_TEST_DIRNAME/hostile.py" list | cut -f 1 >"$BATS_TEST_TMPDIR/all"
	run ! grep -vE "^($PATHS)|^($NUMBERS)|$BOMBS|^docker|^($OTHERS)" \
		"$BATS_TEST_TMPDIR/all"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/all")" -ge 120 ]
}

# What is cut off may be nothing but the zeros behind the archive's end: then all is there.
@test "truncated at every 4 KiB" {
	local n name cut

	tree_of "$STORE" >"$BATS_TEST_TMPDIR/before"
	for name in honest honest-gzip honest-zstd docker-honest; do
		mkdir "$BATS_TEST_TMPDIR/$name"
		"$BATS_TEST_DIRNAME/hostile.py" cuts "$name" "$BATS_TEST_TMPDIR/$name/cut"
		n=0
		for cut in "$BATS_TEST_TMPDIR/$name"/cut.*; do
			n=$((n + 1))
			load_bounded bad "$cut"
			one_line "$message"
			unchanged "$cut"
		done
		[ $n -ge 24 ]
	done
}

# ---- killed at any moment ------------------------------------------------------------------------

# All of recapd's store.
recapd_store() {
	recapctl image list --json | jq -c 'map(del(.shared_bytes))'
	tree_of "$RECAP_STATE"
}

loader() {
	pgrep -P "$(recapd_pid)" -x recap-load
}

no_loader() {
	! pgrep -f "^[^ ]*recap-load $RECAP_STATE" >/dev/null
}

kill_loaders() {
	local pid

	for pid in $(pgrep -f "^[^ ]*recap-load $RECAP_STATE"); do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# The load runs for so many ms, then is ended: the loader alone, or recapd and with it the loader.
killed_load() { # MS loader|recapd
	local job

	"$B/recapctl" image load --ref big:1 "$BATS_FILE_TMPDIR/big.tar" >/dev/null 2>&1 3>&- &
	job=$!
	sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
	if [ "$2" = recapd ]; then
		recapd_kill
	fi
	kill_loaders
	wait "$job" || true
	wait_until 5 no_loader
}

@test "kill -9 of a load at 20 random moments: the store is as before or as after, and a restart cleans up" {
	local start whole i at who before=0 after=0

	mkdir -p "$BATS_FILE_TMPDIR"/big/{1,2,3}
	for i in 1 2 3; do
		head -c 20000000 /dev/urandom | split -b 400000 - "$BATS_FILE_TMPDIR/big/$i/file"
	done
	"$ROOT/tools/mkoci" -o "$BATS_FILE_TMPDIR/big.tar" -n big:1 "$BATS_FILE_TMPDIR"/big/{1,2,3} >/dev/null
	rt_down
	recapd_up
	recapctl image load --ref keep:1 "$CORPUS/honest" >/dev/null
	recapd_store >"$BATS_TEST_TMPDIR/before"
	start=$(date +%s%N)
	recapctl image load --ref big:1 "$BATS_FILE_TMPDIR/big.tar" >/dev/null
	whole=$((($(date +%s%N) - start) / 1000000))
	recapd_store >"$BATS_TEST_TMPDIR/after"
	recapctl image rm big:1
	diff "$BATS_TEST_TMPDIR/before" <(recapd_store)
	for i in {0..19}; do
		# One in each twentieth of the load, and of half as long again: it may take longer the next time.
		at=$(((whole * 3 / 2) * (i * 1000 + RANDOM % 1000) / 20000))
		who=$( ((i % 2)) && echo recapd || echo loader)
		killed_load "$at" "$who"
		recapd_up
		recapd_store >"$BATS_TEST_TMPDIR/now"
		if cmp -s "$BATS_TEST_TMPDIR/now" "$BATS_TEST_TMPDIR/before"; then
			before=$((before + 1))
		elif diff "$BATS_TEST_TMPDIR/after" "$BATS_TEST_TMPDIR/now"; then
			after=$((after + 1))
			recapctl image rm big:1
			diff "$BATS_TEST_TMPDIR/before" <(recapd_store)
		else
			echo "neither as before nor as after: $who killed $at of $whole ms into the load" >&2
			return 1
		fi
	done
	echo "# $before loads left the store as before, $after as after" >&3
	[ $((before + after)) -eq 20 ] && [ $before -gt 0 ]
	recapctl image load --ref big:1 "$BATS_FILE_TMPDIR/big.tar" >/dev/null
	diff "$BATS_TEST_TMPDIR/after" <(recapd_store)
	recapd_down
}
