#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/system/images.sh: make the images of the tests, without a network, and print their folder,
# $B/images ($B is the build folder, "build" unless set). Nothing is done when they are there
# already and nothing that goes into them has changed.
#
#   rootfs/NAME    the image's files, for runc and crun
#   oci/NAME       an OCI layout
#   NAME.tar       the same as an archive, which recapctl, docker, podman and ctr load
#
# Targets:  app      tests/system/app.c and a marker file; no shell, no library
#           busybox  a container that has a shell; sleeps unless told otherwise
#           pause    what holds the namespaces of a CRI pod
#           hostile  tests/system/hostile_app.c
# Capsules: toolbox  busybox with all its applets
#           probe    tests/system/probe.c
#           true     tests/system/true.c
#           attack   tests/system/attack.c

set -euo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
B=$(realpath -m "${B:-build}")
images=$B/images
busybox=/bin/busybox
helpers=("$B"/tests/{app,attack,hostile_app,pause,probe,true})

# What the images are made of, as one digest: of contents, wherever they are.
inputs() {
	sha256sum tests/system/images.sh tools/mkoci "$busybox" "${helpers[@]}" | cut -d ' ' -f 1 | sha256sum
}

tree() { # NAME FOLDER...: an empty root with these folders in it
	local root=$images/rootfs/$1

	shift
	mkdir -p "$root" "${@/#/$root/}"
	echo "$root"
}

tree_busybox() { # NAME
	local root applet

	root=$(tree "$1" bin etc proc sys dev tmp root run var)
	chmod 1777 "$root/tmp"
	cp "$busybox" "$root/bin/busybox"
	"$busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
	echo root:x:0: >"$root/etc/group"
}

tree_program() { # NAME FOLDER...
	install -m 755 "$B/tests/$1" "$(tree "$@")/$1"
}

image() { # NAME OPTION...
	local name=$1

	shift
	set -- -n "$name:1" -d "localhost/$name:1" "$@" "$images/rootfs/$name"
	tools/mkoci -o "$images/oci/$name" "$@" >/dev/null
	tools/mkoci -o "$images/$name.tar" "$@" >/dev/null
}

build() {
	rm -rf "$images"
	tree_program app etc proc sys dev
	echo recap-test-marker >"$images/rootfs/app/etc/app.conf"
	tree_program pause proc sys dev
	tree_program probe proc sys dev
	tree_program true
	tree_program attack proc sys dev tmp
	tree_program hostile_app proc sys dev etc tmp
	mv "$images/rootfs/hostile_app" "$images/rootfs/hostile"
	mv "$images/rootfs/hostile/hostile_app" "$images/rootfs/hostile/hostile"
	echo recap-test-marker >"$images/rootfs/hostile/etc/app.conf"
	tree_busybox busybox
	tree_busybox toolbox

	image app -C /app -C -s
	image hostile -E /hostile -C idle
	image pause -E /pause
	image busybox -e PATH=/bin -C /bin/sleep -C 100000
	image toolbox -e PATH=/bin -C sh
	image probe -E /probe
	image true -E /true
	image attack -E /attack
}

main() {
	local now

	[ -x "$busybox" ] || {
		echo "images.sh: $busybox is missing: run \`sudo make setup\`" >&2
		return 1
	}
	make -s B="$B" helpers >&2
	mkdir -p "$B"
	exec {lock}>"$B/images.lock"
	flock "$lock"
	now=$(inputs)
	if [ "$now" != "$(cat "$images/stamp" 2>/dev/null)" ]; then
		build
		echo "$now" >"$images/stamp"
	fi
	echo "$images"
}

main
