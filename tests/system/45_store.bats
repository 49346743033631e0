#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The store with the programs that people have: what docker, podman, buildah, skopeo and umoci wrote
# loads and runs, images are pulled, and layers cost their room once.

load common

WEB=runc:st-web

setup_file() {
	require_root
	require_command runc jq docker podman buildah skopeo umoci python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc docker podman
	recapd_up
	start runc st-web app
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

skopeo_copy() { # FROM TO
	skopeo --tmpdir "$BATS_TEST_TMPDIR" copy --insecure-policy -q "$@"
}

says_hello() { # IMAGE
	[ "$(recapctl attach "$WEB" "$1" -- echo hello)" = hello ]
	recapctl image rm "$1" >/dev/null
}

store_bytes() {
	du -s --block-size=1 "$RECAP_STATE/layers" | cut -f 1
}

# ---- what others wrote ---------------------------------------------------------------------------

@test "docker save: a file, a pipe, two names, two images" {
	local tar=$BATS_TEST_TMPDIR/saved.tar

	rt_docker load -q -i "$RT_IMAGES/toolbox.tar" >/dev/null
	rt_docker tag localhost/toolbox:1 saved:2
	rt_docker save -o "$tar" localhost/toolbox:1 saved:2 localhost/busybox:1
	tar -tf "$tar" | grep -q '^manifest.json$'
	[ "$(recapctl image load "$tar" | cut -d ' ' -f 1 | sort)" = \
		$'localhost/busybox:1\nlocalhost/toolbox:1\nsaved:2' ]
	says_hello saved:2
	says_hello toolbox:1
	recapctl image rm busybox:1 >/dev/null
	rt_docker save localhost/toolbox:1 | recapctl image load --ref piped -
	says_hello piped
	rt_docker save localhost/toolbox:1 | gzip | recapctl image load --ref piped -
	says_hello piped
	recapctl image load --ref file - <"$tar" 2>"$BATS_TEST_TMPDIR/err" && false
	grep -q "which cannot all be called" "$BATS_TEST_TMPDIR/err"
}

@test "podman save, as docker and as OCI archive" {
	rt_podman load -q -i "$RT_IMAGES/toolbox.tar" >/dev/null
	rt_podman save -q --format docker-archive -o "$BATS_TEST_TMPDIR/docker.tar" localhost/toolbox:1
	rt_podman save -q --format oci-archive -o "$BATS_TEST_TMPDIR/oci.tar" localhost/toolbox:1
	recapctl image load "$BATS_TEST_TMPDIR/docker.tar"
	says_hello toolbox:1
	recapctl image load "$BATS_TEST_TMPDIR/oci.tar"
	says_hello toolbox:1
	recapctl image load --ref piped - < <(cat "$BATS_TEST_TMPDIR/docker.tar")
	says_hello piped
}

@test "buildah, skopeo and umoci" {
	local storage=(--root "$BATS_TEST_TMPDIR/root" --runroot "$BATS_TEST_TMPDIR/run" --storage-driver vfs)
	local container

	container=$(buildah "${storage[@]}" from -q "oci-archive:$RT_IMAGES/toolbox.tar")
	buildah "${storage[@]}" config --label io.recap.summary=built "$container"
	buildah "${storage[@]}" commit -q "$container" "oci-archive:$BATS_TEST_TMPDIR/built.tar:built:1" >/dev/null
	recapctl image load "$BATS_TEST_TMPDIR/built.tar"
	recapctl image inspect built:1 | jq -e '.config.labels["io.recap.summary"] == "built"'
	says_hello built:1

	skopeo_copy "oci-archive:$RT_IMAGES/toolbox.tar" "docker-archive:$BATS_TEST_TMPDIR/d.tar:host.example/copied:1"
	recapctl image load "$BATS_TEST_TMPDIR/d.tar"
	says_hello host.example/copied:1

	skopeo_copy "oci-archive:$RT_IMAGES/toolbox.tar" "oci:$BATS_TEST_TMPDIR/layout:base"
	umoci config --image "$BATS_TEST_TMPDIR/layout:base" --tag umoci --config.label a=b
	umoci rm --image "$BATS_TEST_TMPDIR/layout:base"
	recapctl image load "$BATS_TEST_TMPDIR/layout"
	says_hello umoci
}

# ---- pull ----------------------------------------------------------------------------------------

@test "pull from folders, archives, docker and podman; what is there already is shared" {
	local before

	recapctl image load --ref first "$RT_IMAGES/toolbox.tar"
	before=$(find "$RECAP_STATE/layers" -maxdepth 1 | wc -l)
	skopeo_copy "oci-archive:$RT_IMAGES/toolbox.tar" "oci:$BATS_TEST_TMPDIR/layout:pulled:1"
	[[ $(cd "$BATS_TEST_TMPDIR" && recapctl image pull oci:layout:pulled:1) =~ ^pulled:1\ [0-9a-f]{12}$ ]]
	says_hello pulled:1
	recapctl image pull --ref archive "oci-archive:$RT_IMAGES/toolbox.tar"
	says_hello archive
	rt_docker load -q -i "$RT_IMAGES/toolbox.tar" >/dev/null
	rt_docker save -o "$BATS_TEST_TMPDIR/d.tar" localhost/toolbox:1
	recapctl image pull --ref docker "docker-archive:$BATS_TEST_TMPDIR/d.tar"
	says_hello docker
	rt_podman load -q -i "$RT_IMAGES/toolbox.tar" >/dev/null
	recapctl image pull "containers-storage:[overlay@$RT_PODMAN_ROOT+$RT_PODMAN_RUN]localhost/toolbox:1"
	says_hello localhost/toolbox:1
	[ "$(find "$RECAP_STATE/layers" -maxdepth 1 | wc -l)" = "$before" ]
	recapctl image rm first
	[ -z "$(ls -A "$RECAP_STATE/tmp")" ]
}

@test "pull keeps the digest that the source has" {
	skopeo_copy "oci-archive:$RT_IMAGES/toolbox.tar" "oci:$BATS_TEST_TMPDIR/layout:pulled:1"
	recapctl image pull "oci:$BATS_TEST_TMPDIR/layout:pulled:1"
	[ "$(recapctl image inspect pulled:1 | jq -r .digest)" = \
		"$(jq -r '.manifests[0].digest' "$BATS_TEST_TMPDIR/layout/index.json")" ]
	recapctl image rm pulled:1
}

@test "a pull that fails is one line, and leaves nothing" {
	refused 1 "no such file" recapctl image pull oci:/no/such:a:1
	refused 1 "with --ref" recapctl image pull "oci-archive:$RT_IMAGES/toolbox.tar"
	refused 1 "connection refused" recapctl image pull --no-tls-verify docker://127.0.0.1:1/a:1
	refused 1 "is not an image reference" recapctl image pull nowhere:/a/b
	[ -z "$(ls -A "$RECAP_STATE/tmp")" ]
}

# The worker by itself, with a program in skopeo's place that tries to do harm.
@test "what fetches may write to its work folder only" {
	local file

	cat >"$BATS_TEST_TMPDIR/skopeo" <<-'END'
		#!/bin/bash
		touch "$TMPDIR/mine" && found=mine
		for folder in / /etc /root /tmp /var /run /dev/shm "${TMPDIR%/fetch-*}"; do
			touch "$folder/recap-escaped" 2>/dev/null && found+=" $folder"
		done
		mount -o remount,rw / 2>/dev/null && found+=" remount"
		mknod "$TMPDIR/device" c 1 1 2>/dev/null && found+=" device"
		kill -0 1000 2>/dev/null && found+=" kill"
		echo "$found; $(grep -c '^NoNewPrivs:.1$' /proc/self/status); $(
			grep CapEff /proc/self/status | cut -f 2)" >&2
		exit 1
	END
	chmod +x "$BATS_TEST_TMPDIR/skopeo"
	run -0 unshare -m bash -c "mount --bind '$BATS_TEST_TMPDIR/skopeo' '$(command -v skopeo)'
		'$B/recap-load' --pull oci:/a:b:1 '$BATS_TEST_TMPDIR/store' | tr '\0' '\n'"
	[[ $output == *'"cannot fetch \"oci:/a:b:1\": mine; 1; 0000000000000004"'* ]]
	for file in /etc /root /tmp /var /run /dev/shm; do
		[ ! -e "$file/recap-escaped" ]
	done
	[ -z "$(ls -A "$BATS_TEST_TMPDIR/store/tmp")" ]
}

# ---- room ----------------------------------------------------------------------------------------

@test "20 images over the same base cost the base once" {
	local base=$BATS_TEST_TMPDIR/base before one all i

	mkdir -p "$base"
	head -c 8M /dev/urandom >"$base/large"
	before=$(store_bytes)
	for ((i = 1; i <= 20; i++)); do
		mkdir "$BATS_TEST_TMPDIR/$i"
		echo "$i" >"$BATS_TEST_TMPDIR/$i/own"
		"$ROOT/tools/mkoci" -z none -n "over:$i" -o "$BATS_TEST_TMPDIR/over-$i.tar" \
			"$base" "$BATS_TEST_TMPDIR/$i" >/dev/null
		recapctl image load "$BATS_TEST_TMPDIR/over-$i.tar" >/dev/null
		[ "$i" != 1 ] || one=$(($(store_bytes) - before))
	done
	all=$(($(store_bytes) - before))
	echo "the first took $one bytes, all 20 $all"
	((one >= 8 << 20 && all - one < 1 << 20))
	recapctl image list --json | jq -e '[.[] | select(.ref | startswith("over:"))] | length == 20 and
		all(.shared_bytes == 8388608)'
	recapctl image prune --all
	[ "$(store_bytes)" -le "$before" ]
}

@test "50 capsules of one image at once share one unpacked copy" {
	local layer before ids=() i

	recapctl image load --ref many "$RT_IMAGES/toolbox.tar"
	before=$(store_bytes)
	layer=$(recapctl image inspect many | jq -r '.layers[0].path')
	for ((i = 0; i < 50; i++)); do
		ids+=("$(recapctl attach -d "$WEB" many -- sh -c 'stat -c %i /bin/busybox; exec sleep 1000')")
	done
	[ "$(recapctl ps --json | jq '[.[] | select(.state == "running")] | length')" = 50 ]
	[ "$(store_bytes)" = "$before" ]
	[ "$(for i in "${ids[@]}"; do recapctl logs "$i"; done | sort -u)" = \
		"$(stat -c %i "$RECAP_STATE/$layer/bin/busybox")" ]
	# What runs is not pruned.
	recapctl image prune --all
	recapctl image inspect many >/dev/null
	for i in "${ids[@]}"; do
		recapctl stop --timeout 0 "$i" >/dev/null &
	done
	wait
	recapctl image prune --all | grep -q '^many:latest '
	refused 1 "no image" recapctl image inspect many
}

# ---- names and progress --------------------------------------------------------------------------

@test "an image by the digest that list shows, for attach, inspect and rm" {
	local short

	recapctl image load --ref short "$RT_IMAGES/toolbox.tar"
	short=$(recapctl image list | awk '$1 == "short:latest" {print $2}')
	[ "${#short}" = 12 ]
	[ "$(recapctl attach "$WEB" "$short" -- echo hello)" = hello ]
	[ "$(recapctl image inspect "sha256:$short" | jq -r .ref)" = short:latest ]
	[ "$(recapctl image rm "$short")" = "$short" ]
	refused 1 "no image" recapctl image rm "$short"
}

@test "untagged images go with prune, and --dry-run only tells" {
	"$ROOT/tools/mkoci" -n tag:1 -o "$BATS_TEST_TMPDIR/one.tar" -C old "$RT_IMAGES/rootfs/probe" >/dev/null
	"$ROOT/tools/mkoci" -n tag:1 -o "$BATS_TEST_TMPDIR/two.tar" -C new "$RT_IMAGES/rootfs/true" >/dev/null
	recapctl image load "$BATS_TEST_TMPDIR/one.tar"
	recapctl image load "$BATS_TEST_TMPDIR/two.tar"
	run -0 recapctl image prune --dry-run
	[[ ${lines[0]} == "<none> "* && ${lines[1]} =~ ^would\ free\ [0-9.]+[KM]\ in\ 1\ layer$ ]]
	run -0 recapctl image prune
	[[ ${lines[1]} == "freed "* ]]
	[ "$(recapctl image prune)" = "freed 0B in 0 layers" ]
	recapctl image rm tag:1
}

@test "a terminal is shown how far a load is; a pipe is not" {
	head -c 64M /dev/urandom >"$BATS_TEST_TMPDIR/large"
	mkdir "$BATS_TEST_TMPDIR/root"
	mv "$BATS_TEST_TMPDIR/large" "$BATS_TEST_TMPDIR/root"
	"$ROOT/tools/mkoci" -z none -n large:1 -o "$BATS_TEST_TMPDIR/large.tar" "$BATS_TEST_TMPDIR/root" >/dev/null
	run -0 --separate-stderr recapctl image load "$BATS_TEST_TMPDIR/large.tar"
	[ -z "$stderr" ]
	script -qec "'$B/recapctl' --socket '$RECAP_SOCKET' image load '$BATS_TEST_TMPDIR/large.tar'" \
		/dev/null </dev/null >"$BATS_TEST_TMPDIR/shown"
	grep -q 'reading' "$BATS_TEST_TMPDIR/shown"
	recapctl image rm large:1
}
