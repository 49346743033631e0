#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Images from wherever they come: loaded whole or not at all, and what attach runs is what was loaded.

load common

WEB=runc:im-web

setup_file() {
	require_root
	require_command runc jq bpftool skopeo umoci gzip zstd python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	recapd_up
	start runc im-web app
	make_folders
	recapctl image load "$RT_IMAGES/toolbox.tar" >/dev/null
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

# What images are made of: three layers, of which the upper two take away and replace.
make_folders() {
	local f=$BATS_FILE_TMPDIR

	mkdir -p "$f"/base/{bin,etc,old/sub,dir} "$f"/upper/{dir,etc} "$f"/top/old
	cp "$RT_IMAGES/rootfs/toolbox/bin/busybox" "$f/base/bin"
	ln -s busybox "$f/base/bin/sh"
	echo base >"$f/base/etc/which"
	echo gone >"$f/base/etc/gone"
	echo old >"$f/base/old/sub/file"
	echo kept >"$f/base/dir/kept"
	echo upper >"$f/upper/etc/which"
	touch "$f/upper/etc/.wh.gone"
	echo new >"$f/upper/dir/new"
	touch "$f/top/old/.wh..wh..opq"
	echo fresh >"$f/top/old/fresh"
	chmod -R u=rwX,go=rX "$f"/{base,upper,top}
}

mkoci() { # OUT MKOCI-ARG...
	"$ROOT/tools/mkoci" -o "$BATS_TEST_TMPDIR/$1" "${@:2}" >/dev/null
}

layered() { # OUT MKOCI-OPTION...: base, upper, top
	mkoci "$1" "${@:2}" -e PATH=/bin -C sh "$BATS_FILE_TMPDIR"/{base,upper,top}
}

load_of() { # OUT LOAD-OPTION...
	recapctl image load "${@:2}" "$BATS_TEST_TMPDIR/$1"
}

# All of the store's files but the lock, with their contents and everything else that matters.
store_state() {
	(cd "$RECAP_STATE" && find layers images refs.json tmp ! -path layers ! -path images ! -path tmp \
		-printf '%p %y %m %U %G %l\n' | sort
		find layers images refs.json -type f -print0 | sort -z | xargs -0 sha256sum)
}

loads_and_runs() { # FILE-OR-FOLDER
	run -0 recapctl image load --ref fresh "$1"
	[[ $output =~ ^fresh:latest\ [0-9a-f]{12}$ ]]
	layers_are_right fresh
	recapctl image rm fresh
}

# shellcheck disable=SC2016 # for the capsule's shell
layers_are_right() { # IMAGE
	[ "$(recapctl attach "$WEB" "$1" -- sh -c 'cd /; busybox cat etc/which dir/kept dir/new old/fresh
		for f in etc/gone old/sub etc/.wh.gone old/.wh..wh..opq; do [ ! -e $f ] || echo $f; done')" = \
		$'upper\nkept\nnew\nfresh' ]
}

# ---- what loads ----------------------------------------------------------------------------------

@test "a folder, a tar, a gzip and a zstd archive load alike, with layers of every compression" {
	local tar

	for compression in none gzip zstd; do
		layered "$compression" -z "$compression"
		loads_and_runs "$BATS_TEST_TMPDIR/$compression"
		tar=$BATS_TEST_TMPDIR/$compression.tar
		layered "$compression.tar" -z "$compression"
		loads_and_runs "$tar"
	done
	gzip -k "$tar"
	loads_and_runs "$tar.gz"
	zstd -q "$tar"
	loads_and_runs "$tar.zst"
}

@test "layers cover, hide and replace what is below them" {
	layered image -n layered:1
	[[ $(load_of image) =~ ^layered:1\  ]]
	layers_are_right layered:1
	recapctl image rm layered:1
}

@test "one, two and 60 layers" {
	local folders=() i

	for ((i = 0; i < 59; i++)); do
		mkdir -p "$BATS_TEST_TMPDIR/$i"
		echo "$i" >"$BATS_TEST_TMPDIR/$i/last"
		echo "$i" >"$BATS_TEST_TMPDIR/$i/of-$i"
		folders+=("$BATS_TEST_TMPDIR/$i")
	done
	for n in 0 1 59; do
		mkoci image -e PATH=/bin "$BATS_FILE_TMPDIR/base" "${folders[@]:0:n}"
		load_of image --ref many >/dev/null
		recapctl image list --json | jq -e "any(.ref == \"many:latest\" and .layers == $((n + 1)))"
		[ "$(recapctl attach "$WEB" many -- sh -c 'busybox cat /last; busybox ls / | busybox grep -c of-')" = \
			"$( ((n)) && echo $((n - 1)); echo "$n")" ] || [ "$n" = 0 ]
	done
	recapctl image rm many
}

@test "owners, modes, links and empty folders are as in the image" {
	local layer=$BATS_TEST_TMPDIR/layer

	mkdir -p "$layer"/{empty,private}
	echo x >"$layer/file"
	ln "$layer/file" "$layer/hard"
	ln -s ../../../../etc/shadow "$layer/soft"
	chmod 700 "$layer/private"
	chmod 4755 "$layer/file"
	mkoci image -e PATH=/bin "$RT_IMAGES/rootfs/toolbox" "$layer"
	load_of image --ref modes >/dev/null
	# A set-user-ID bit is dropped; the link leads nowhere but in the capsule.
	[ "$(recapctl attach "$WEB" modes -- sh -c 'stat -c "%n %A %h %u" /empty /private /file
		[ /file -ef /hard ] && readlink /soft; [ -e /soft ] || echo dangling')" = \
		$'/empty drwxr-xr-x 2 0\n/private drwx------ 2 0\n/file -rwxr-xr-x 2 0\n../../../../etc/shadow\ndangling' ]
	recapctl image rm modes
}

skopeo_layout() { # SOURCE OUT
	skopeo --tmpdir "$BATS_TEST_TMPDIR" copy --insecure-policy -q "$1" "oci:$BATS_TEST_TMPDIR/$2"
}

@test "a layout that skopeo made loads and runs" {
	layered plain -n made:1
	skopeo_layout "oci:$BATS_TEST_TMPDIR/plain:made:1" skopeo:made:2
	[[ $(load_of skopeo) =~ ^made:2\  ]]
	layers_are_right made:2
	# From docker's archive format, and compressed anew.
	skopeo_layout "docker-archive:$RT_IMAGES/toolbox.tar" other:tools:1
	load_of other >/dev/null
	[ "$(recapctl attach "$WEB" tools:1 -- echo hello)" = hello ]
	tar -C "$BATS_TEST_TMPDIR/skopeo" -cf "$BATS_TEST_TMPDIR/skopeo.tar" .
	recapctl image load --ref made:3 "$BATS_TEST_TMPDIR/skopeo.tar" >/dev/null
	layers_are_right made:3
	recapctl image rm made:2 made:3 tools:1
}

@test "a layout that umoci made and changed loads and runs" {
	local layout=$BATS_TEST_TMPDIR/umoci bundle=$BATS_TEST_TMPDIR/bundle

	layered umoci -n made:1
	umoci unpack --image "$layout:made:1" "$bundle" >/dev/null 2>&1
	echo umoci >"$bundle/rootfs/dir/new"
	rm "$bundle/rootfs/dir/kept"
	umoci repack --image "$layout:umoci" "$bundle" >/dev/null 2>&1
	umoci config --image "$layout:umoci" --config.entrypoint /bin/busybox --config.cmd cat \
		--config.cmd /dir/new --config.workingdir /dir
	recapctl image load "$layout" >"$BATS_TEST_TMPDIR/loaded" || cat "$BATS_TEST_TMPDIR/loaded"
	grep -q umoci "$BATS_TEST_TMPDIR/loaded"
	ref=$(recapctl image list --json | jq -r '.[] | select(.ref | contains("umoci")) | .ref')
	[ "$(recapctl attach "$WEB" "$ref")" = umoci ]
	[ "$(recapctl attach "$WEB" "$ref" -- ls /dir)" = new ]
	recapctl image list --json | jq -r '.[].ref | select(contains("umoci") or contains("made"))' |
		xargs -n 1 "$B/recapctl" image rm
}

@test "several images of one layout are loaded together" {
	layered one -n several:1
	layered two -n several:2 -E /bin/busybox
	skopeo_layout "oci:$BATS_TEST_TMPDIR/one:several:1" both:several:1
	skopeo_layout "oci:$BATS_TEST_TMPDIR/two:several:2" both:several:2
	[ "$(load_of both | cut -d ' ' -f 1 | sort)" = $'several:1\nseveral:2' ]
	refused 1 "2 images" load_of both --ref one-name
	layers_are_right several:1
	recapctl image rm several:1 several:2
}

# ---- the store -----------------------------------------------------------------------------------

@test "list shows what there is, and layers are shared" {
	local before=$BATS_TEST_TMPDIR/before

	store_state >"$before"
	layered one -n shared:1
	mkoci two -n shared:2 -e PATH=/bin "$BATS_FILE_TMPDIR"/{base,upper}
	load_of one >/dev/null
	load_of two >/dev/null
	recapctl image list --json | jq -e 'map(select(.ref | startswith("shared"))) | length == 2 and
		.[0].layers == 3 and .[1].layers == 2 and .[1].shared_bytes == .[1].bytes and
		all(.digest | test("^sha256:[0-9a-f]{64}$"))'
	run -0 recapctl image list
	[[ ${lines[0]} =~ ^REF\ +DIGEST\ +LAYERS\ +SIZE\ +SHARED\ +AGE\ +SCAN$ ]]
	[[ $output == *$'\n'"shared:2 "* ]]
	[ "$(recapctl image rm shared:1)" = shared:1 ]
	[ "$(recapctl attach "$WEB" shared:2 -- busybox cat /dir/new)" = new ]
	recapctl image rm shared:2
	diff "$before" <(store_state)
}

@test "an image in use is not removed, by name or digest; another name of it is" {
	local id digest

	layered image -n used:1
	load_of image >/dev/null
	load_of image --ref used:2 >/dev/null
	digest=$(recapctl image list --json | jq -r '.[] | select(.ref == "used:1") | .digest')
	id=$(recapctl attach -d "$WEB" used:1 -- sh -c 'busybox sleep 1000')
	[ "$(recapctl image rm used:2)" = used:2 ]
	refused 1 "is in use by a capsule" recapctl image rm used:1
	refused 1 "is in use by a capsule" recapctl image rm "$digest"
	recapctl image list --json | jq -e 'any(.ref == "used:1")'
	layers_are_right used:1
	recapctl stop --timeout 0 "$id"
	[ "$(recapctl image rm used:1)" = used:1 ]
	refused 1 "used:1" recapctl image rm used:1
	refused 125 "used:1" recapctl attach "$WEB" used:1
}

@test "a name that moves leaves the old image without one" {
	local old

	layered old -n moving:1
	mkoci new -n moving:1 -e PATH=/bin -E /bin/sh "$BATS_FILE_TMPDIR/base"
	load_of old >/dev/null
	old=$(recapctl image list --json | jq -r '.[] | select(.ref == "moving:1") | .digest')
	load_of new >/dev/null
	recapctl image list --json | jq -e "any(.ref == \"<none>\" and .digest == \"$old\")"
	layers_are_right "$old"
	[ "$(recapctl attach "$WEB" moving:1 -- -c 'busybox cat /etc/which')" = base ]
	recapctl image rm "$old" moving:1
}

# ---- what does not load --------------------------------------------------------------------------

blob() { # LAYOUT JQ-PATH-IN-MANIFEST: the file of a blob
	local layout=$BATS_TEST_TMPDIR/$1 manifest

	manifest=$(jq -r '.manifests[0].digest' "$layout/index.json")
	manifest=$layout/blobs/sha256/${manifest#sha256:}
	[ "$2" = manifest ] && echo "$manifest" && return
	echo "$layout/blobs/sha256/$(jq -r "$2" "$manifest" | cut -d : -f 2)"
}

# One clear line, and the store is as it was.
not_loaded() { # TEXT FILE
	local before=$BATS_TEST_TMPDIR/before

	store_state >"$before"
	refused 1 "$1" recapctl image load --ref bad "$BATS_TEST_TMPDIR/$2"
	diff "$before" <(store_state)
	refused 125 "bad" recapctl attach "$WEB" bad
}

@test "wrong digests are refused: of a layer, a config, a manifest, and what a layer unpacks to" {
	for part in .layers[1].digest .config.digest manifest; do
		rm -rf "${BATS_TEST_TMPDIR:?}/image"
		layered image -z none
		# The same length, and still a tar or JSON.
		python3 - "$(blob image "$part")" <<-'END'
			import sys
			data = bytearray(open(sys.argv[1], "rb").read())
			at = data.rfind(b"upper") if b"upper" in data else data.rfind(b"linux")
			at = data.rfind(b"json") if at < 0 else at
			data[at] ^= 1
			open(sys.argv[1], "wb").write(data)
		END
		not_loaded "sha256" image
	done
}

# Replace a blob of a layout, with the digests and sizes that lead to it made right again.
edit() { # LAYOUT config|manifest|index JQ-FILTER
	"$BATS_TEST_DIRNAME/layout.py" "$BATS_TEST_TMPDIR/$1" "$2" "$3"
}

@test "a wrong diff ID is refused" {
	layered image
	edit image config '.rootfs.diff_ids[1] |= sub("sha256:...."; "sha256:0000")'
	not_loaded "" image
	layered image
	edit image config '.rootfs.diff_ids |= .[1:]'
	not_loaded "" image
}

@test "truncated archives and layers are refused" {
	layered image.tar
	for part in 10 3 2; do
		head -c $(($(stat -c %s "$BATS_TEST_TMPDIR/image.tar") / part)) "$BATS_TEST_TMPDIR/image.tar" \
			>"$BATS_TEST_TMPDIR/cut.tar"
		not_loaded "" cut.tar
	done
	gzip -kc "$BATS_TEST_TMPDIR/image.tar" | head -c 5000 >"$BATS_TEST_TMPDIR/cut.tar.gz"
	not_loaded "" cut.tar.gz
	layered image
	truncate -s -100 "$(blob image .layers[0].digest)"
	not_loaded "" image
	: >"$BATS_TEST_TMPDIR/empty"
	not_loaded "" empty
	rm "$(blob image .layers[2].digest)"
	not_loaded "" image
}

@test "JSON that is none, or says nothing sensible, is refused" {
	for filter in '{}' '[]' '.manifests = {}' '.manifests = []' '.manifests[0].digest = "sha256:../../x"' \
		'.manifests[0].size = -1' '.manifests[0].size = 1e18'; do
		rm -rf "${BATS_TEST_TMPDIR:?}/image"
		layered image
		edit image index "$filter"
		not_loaded "" image
	done
	for filter in '.layers = []' '.layers = "x"' 'del(.config)' '.layers[0].mediaType = "text/plain"' \
		'.layers[0].digest = "md5:1234"'; do
		rm -rf "${BATS_TEST_TMPDIR:?}/image"
		layered image
		edit image manifest "$filter"
		not_loaded "" image
	done
	for filter in '.architecture = "s390x"' '.rootfs = null' '.config.Cmd = "a string"' \
		'.config.Env = ["NOEQUALSIGN"]' '.config.WorkingDir = "not/absolute"'; do
		rm -rf "${BATS_TEST_TMPDIR:?}/image"
		layered image
		edit image config "$filter"
		not_loaded "" image
	done
	rm -rf "${BATS_TEST_TMPDIR:?}/image"
	layered image
	echo '{"manifests": [' >"$BATS_TEST_TMPDIR/image/index.json"
	not_loaded "" image
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/noise"
	not_loaded "" noise
	mkdir "$BATS_TEST_TMPDIR/nothing"
	not_loaded "" nothing
	refused 1 "cannot open" recapctl image load /no/such/file
	refused 1 "neither" recapctl image load /dev/null
}

# A layer whose members python writes as they come: no tar program would.
hostile() { # OUT MEMBER...: NAME=CONTENT, NAME->SYMLINK, NAME=>HARDLINK, NAME/ or NAME!FIFO
	"$BATS_TEST_DIRNAME/layout.py" "$BATS_TEST_TMPDIR/$1" new "${@:2}"
}

@test "no path and no link of a layer leads out of it" {
	local outside=$BATS_TEST_TMPDIR/outside n=0

	mkdir "$outside"
	for members in "../../../../../../../../../..$outside/dots=x" "$outside/absolute=x" \
		"a/../../../../../../../../../../..$outside/inner=x" \
		"link->$outside link/through=x" "link->/ link$outside/root=x" \
		"hard=>../../../../../../../../../../etc/passwd" "hard=>/etc/passwd" \
		"link->/etc hard=>link/passwd" "sub->. sub/sub/sub/../../../../../..$outside/up=x" \
		".wh.../outside=x" ".wh..=x" ".wh...=x" "dir/.wh.=x"; do
		n=$((n + 1))
		store_state >"$BATS_TEST_TMPDIR/before"
		# shellcheck disable=SC2086 # several members
		hostile "image$n" bin/=x $members
		# Refused, or loaded with the path kept inside: never written elsewhere.
		run recapctl image load --ref bad "$BATS_TEST_TMPDIR/image$n"
		if [ "$status" -eq 0 ]; then
			recapctl image rm bad
		else
			[ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
		fi
		diff "$BATS_TEST_TMPDIR/before" <(store_state)
		[ -z "$(ls -A "$outside")" ]
		[ "$(stat -c %h /etc/passwd)" -eq 1 ]
		[ ! -e /link ] && [ ! -e "$RECAP_STATE/dots" ]
	done
}

@test "device nodes and FIFOs of a layer are not made" {
	hostile image "pipe!FIFO" "node!BLOCK" "file=x"
	load_of image --ref nodes >/dev/null
	[ -z "$(find "$RECAP_STATE/layers" -type p -o -type b)" ]
	recapctl image rm nodes
}

@test "a layout's own links lead nowhere" {
	layered image
	mv "$BATS_TEST_TMPDIR/image/blobs" "$BATS_TEST_TMPDIR/elsewhere"
	ln -s "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/image/blobs"
	not_loaded "" image
	rm -rf "${BATS_TEST_TMPDIR:?}/image"
	layered image
	mv "$BATS_TEST_TMPDIR/image/index.json" "$BATS_TEST_TMPDIR/index.json"
	ln -s "$BATS_TEST_TMPDIR/index.json" "$BATS_TEST_TMPDIR/image/index.json"
	not_loaded "" image
	# The same in an archive.
	tar -C "$BATS_TEST_TMPDIR/image" -cf "$BATS_TEST_TMPDIR/image.tar" .
	not_loaded "" image.tar
}

@test "names that are none are refused" {
	layered image
	for ref in "" "no spaces" "UPPER" "a:b:c" "../x" "x@sha256:12" "-x"; do
		refused 1 "is not an image reference" recapctl image load "--ref=$ref" "$BATS_TEST_TMPDIR/image"
	done
	refused 2 "one FILE or DIR" recapctl image load
	refused 2 "REF" recapctl image rm
	refused 1 "nothing" recapctl image rm nothing
}

# ---- killed half-way -----------------------------------------------------------------------------

# An archive that takes a while, of random data so that nothing makes it short.
big_archive() {
	mkdir -p "$BATS_TEST_TMPDIR/big"
	for i in {1..20}; do
		head -c 5000000 /dev/urandom >"$BATS_TEST_TMPDIR/big/$i"
	done
	mkoci big.tar -n big:1 -z none "$BATS_FILE_TMPDIR/base" "$BATS_TEST_TMPDIR/big"
}

# The loader itself: the one child of recapd that has that name.
loader() {
	pgrep -P "$(recapd_pid)" -x recap-load
}

no_loader() {
	! loader
}

@test "a load that is killed half-way, whoever is, leaves the store as it was" {
	local before=$BATS_TEST_TMPDIR/before job

	big_archive
	store_state >"$before"
	for who in loader recapctl; do
		for delay in 0.02 0.1 0.2; do
			"$B/recapctl" image load "$BATS_TEST_TMPDIR/big.tar" >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
			job=$!
			wait_until 5 loader
			sleep "$delay"
			if [ "$who" = loader ]; then
				kill -KILL "$(loader)"
				ended 1 "$job"
				grep -q "store is as it was" "$BATS_TEST_TMPDIR/err"
			else
				kill -KILL "$job"
				ended 137 "$job"
			fi
			wait_until 5 no_loader
			recapctl image list --json | jq -e 'all(.ref != "big:1")'
			# What it left is swept before the next change.
			refused 1 "" recapctl image load /etc/passwd
			diff "$before" <(store_state)
		done
	done
	load_of big.tar >/dev/null
	recapctl image rm big:1
	diff "$before" <(store_state)
}

@test "recapd is killed during a load: the next one has the store as it was" {
	local before=$BATS_TEST_TMPDIR/before job

	big_archive
	store_state >"$before"
	"$B/recapctl" image load "$BATS_TEST_TMPDIR/big.tar" >/dev/null 2>&1 3>&- &
	job=$!
	wait_until 5 loader
	sleep 0.1
	recapd_kill
	ended 1 "$job"
	recapd_up
	diff "$before" <(store_state)
	[ "$(recapctl attach "$WEB" toolbox:1 -- echo hello)" = hello ]
}

@test "SIGTERM of recapd during a load: it ends, and the store is as it was or loaded" {
	local before=$BATS_TEST_TMPDIR/before

	big_archive
	store_state >"$before"
	"$B/recapctl" image load "$BATS_TEST_TMPDIR/big.tar" >/dev/null 2>&1 3>&- &
	wait_until 5 loader
	recapd_down
	wait $! || true
	recapd_up
	if recapctl image list --json | jq -e 'any(.ref == "big:1")'; then
		recapctl image rm big:1
	fi
	diff "$before" <(store_state)
}

@test "two loads at once: both are there afterwards" {
	layered one -n two:1
	mkoci two -n two:2 -e PATH=/bin "$BATS_FILE_TMPDIR"/{base,upper}
	load_of one >/dev/null 3>&- &
	load_of two >/dev/null
	ended 0 $!
	layers_are_right two:1
	recapctl image rm two:1 two:2
}

# More layers than one option of fsconfig(2) has room for.
@test "an image of forty layers: the top-most wins, and the lowest is there" {
	local i folders=("$BATS_FILE_TMPDIR/base")

	for i in {1..40}; do
		mkdir -p "$BATS_TEST_TMPDIR/l$i"
		echo "$i" | tee "$BATS_TEST_TMPDIR/l$i/file$i" >"$BATS_TEST_TMPDIR/l$i/last"
		folders+=("$BATS_TEST_TMPDIR/l$i")
	done
	mkoci many -n many:1 -e PATH=/bin -C sh "${folders[@]}"
	load_of many >/dev/null
	run -0 recapctl attach "$WEB" many:1 -- sh -c 'cat /last /file1 /file40 /etc/which'
	[ "$output" = $'40\n1\n40\nbase' ]
	recapctl image rm many:1
}
