#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The shelf: each capsule does its job in a container that has nothing but its own program.

load common

# Capabilities and the like are given as flags, as each README says: what a node's policy makes of the
# images' labels is not to matter here.

setup_file() {
	require_root
	require_command runc jq ip nsenter python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	make -s -C "$ROOT" B="$SHELF" -j 2 capsules
	rt_down
	rt_up runc
	recapd_up
	start runc web app
	load_shelf
}

teardown_file() {
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

load_shelf() {
	local definition name

	for definition in "$ROOT"/capsules/*/Capsule; do
		name=$(basename "$(dirname "$definition")")
		recapctl image load "$SHELF/capsules/$name.tar" >/dev/null
	done
}

in_web() { # CAPSULE [ARG...]
	recapctl attach web "$1" -- "${@:2}"
}

# In the background, with its streams in files; its job is in $job.
in_background() { # ATTACH-ARG...
	"$B/recapctl" attach "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	job=$!
}

says() { # out|err TEXT
	grep -qF -- "$2" "$BATS_TEST_TMPDIR/$1"
}

unpacked() { # CAPSULE: bytes
	find "$SHELF/capsules/rootfs/$1" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }'
}

# ---- the builder ---------------------------------------------------------------------------------

mkcapsule() { # NAME FOLDER: into folders of its own there
	"$ROOT/tools/mkcapsule" -c "$SHELF/capsules/cache" -o "$2/$1.tar" -r "$2/root" "$ROOT/capsules/$1"
}

# bats test_tags=needs:packages
@test "the same definition and packages give the same archive, wherever and whenever, without a network" {
	mkdir -p "$BATS_TEST_TMPDIR"/{one,two/deeper}
	run -0 mkcapsule strace "$BATS_TEST_TMPDIR/one"
	[[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
	(umask 077 && TZ=Asia/Tokyo unshare -n "$ROOT/tools/mkcapsule" -c "$SHELF/capsules/cache" \
		-o "$BATS_TEST_TMPDIR/two/strace.tar" -r "$BATS_TEST_TMPDIR/two/deeper/root" "$ROOT/capsules/strace")
	cmp "$BATS_TEST_TMPDIR"/{one,two}/strace.tar
	cmp "$BATS_TEST_TMPDIR/one/strace.tar" "$SHELF/capsules/strace.tar"
}

@test "a capsule has what its programs load and no more, and says which packages that is from" {
	local root=$SHELF/capsules/rootfs/strace

	[ "$(find "$root" -name '*.so*' -type f -printf '%f\n' | sort | sed 's/[0-9.]*$//')" = \
		$'ld-linux-x86-64.so\nlibc.so\nliblzma.so\nlibunwind-ptrace.so\nlibunwind-x86_64.so\nlibunwind.so' ]
	[ ! -e "$root/bin/sh" ]
	[ "$(ls "$root/var/lib/dpkg/status.d")" = $'libc6\nliblzma5\nlibunwind8\nstrace' ]
	grep -qx 'Package: strace' "$root/var/lib/dpkg/status.d/strace"
	grep -q '^Version: ' "$root/var/lib/dpkg/status.d/strace"
	[ -s "$root/usr/share/doc/strace/copyright" ]
}

@test "no capsule has set-user-ID files, file capabilities or files that all may write" {
	[ -z "$(find "$SHELF/capsules/rootfs" -perm /6000)" ]
	[ -z "$(find "$SHELF/capsules/rootfs" -type f -perm /022)" ]
	[ -z "$(find "$SHELF/capsules/rootfs" ! -type f ! -type d ! -type l)" ]
	[ -z "$(getcap -r "$SHELF/capsules/rootfs")" ]
}

@test "sizes: toolbox at most 3 MiB, tcpdump at most 12 MiB, unpacked" {
	[ "$(unpacked toolbox)" -le $((3 << 20)) ]
	[ "$(unpacked tcpdump)" -le $((12 << 20)) ]
}

@test "every capsule has a page and a summary" {
	local definition

	for definition in "$ROOT"/capsules/*/Capsule; do
		[ -s "$(dirname "$definition")/README.md" ]
		grep -q '^SUMMARY ' "$definition"
	done
}

define() { # LINE...
	mkdir -p "$BATS_TEST_TMPDIR/bad"
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/bad/Capsule"
}

not_built() { # TEXT
	refused 1 "$1" "$ROOT/tools/mkcapsule" -c "$SHELF/capsules/cache" -o "$BATS_TEST_TMPDIR/bad.tar" \
		-r "$BATS_TEST_TMPDIR/bad-root" "$BATS_TEST_TMPDIR/bad"
	[ ! -e "$BATS_TEST_TMPDIR/bad.tar" ]
}

# bats test_tags=needs:packages
@test "a definition that is wrong is one clear line, and no archive" {
	define 'PACKAGES busybox-static' 'RUN rm -rf /'
	not_built "Capsule:2: unknown directive 'RUN'"
	define 'FILES /bin/busybox'
	not_built "names no PACKAGES"
	define 'PACKAGES no-such-package-as-this'
	not_built "no-such-package-as-this"
	define 'PACKAGES busybox-static' 'FILES /bin/nothing'
	not_built "has /bin/nothing"
	define 'PACKAGES busybox-static' 'COPY script /bin/script'
	not_built "no file script"
	define 'PACKAGES busybox-static' 'COPY script'
	not_built "Capsule:2: COPY takes 2 word(s)"
	define 'PACKAGES busybox-static' 'CMD'
	not_built "Capsule:2: CMD needs a value"
}

# ---- toolbox, procps -----------------------------------------------------------------------------

@test "toolbox: a shell among the target's processes" {
	run -0 in_web toolbox sh -c 'ps -o pid,comm | head -n 3; cat /target/etc/app.conf; wget -qO- 127.0.0.1:8080'
	[[ $output == *"1 app"*app-worker*recap-test-marker*"recap app" ]]
}

@test "toolbox, iperf3: names are those that the target knows" {
	local hosts=$RT/bundles/runc-web/rootfs/etc/hosts

	echo "127.0.0.1 of-the-target" >"$hosts"
	[ "$(in_web toolbox wget -qO- http://of-the-target:8080/)" = "recap app" ]
	in_background web iperf3 -- -s -1 --forceflush
	wait_until 5 says out "Server listening"
	in_web iperf3 -c of-the-target -n 20M -J | jq -e '.end.sum_received.bytes > 0'
	ended 0 "$job"
	rm "$hosts"
	status_is 1 in_web toolbox wget -qO- http://of-the-target:8080/
}

@test "procps: the target's processes, and the machine's memory and load" {
	run -0 in_web procps
	[[ ${lines[0]} =~ ^UID\ +PID\ +PPID ]]
	[[ ${lines[1]} =~ ^root\ +1\ +0\ .*\ /app\ -s$ ]]
	in_web procps ps -C app-worker -o ppid= | grep -qx ' *1'
	run -0 in_web procps top -b -n 1
	[[ $output =~ $'\n'\ +1\ root\ .*\ app ]]
	[ "$(in_web procps free -b | awk '/^Mem:/ { print $2 }')" -eq "$(free -b | awk '/^Mem:/ { print $2 }')" ]
	[ "$(in_web procps pgrep -x app)" = 1 ]
	in_web procps vmstat | grep -q swpd
	in_web procps uptime | grep -q 'load average'
}

@test "procps: pmap of a process of the target, with SYS_PTRACE only" {
	status_is 1 in_web procps pmap 1
	run -0 recapctl attach --cap-add SYS_PTRACE web procps -- pmap 1
	[[ $output == *" app"*total* ]]
}

# ---- net -----------------------------------------------------------------------------------------

@test "net: the target's sockets, interfaces, a ping, its HTTP" {
	run -0 in_web net ss -Hltn
	[[ $output =~ LISTEN.*127.0.0.1:8080 ]]
	[ "$(in_web net ip -j link | jq -r '.[].ifname')" = lo ]
	in_web net ping -c 1 -W 2 127.0.0.1 | grep -q ' 0% packet loss'
	[ "$(in_web net curl -s http://127.0.0.1:8080/)" = "recap app" ]
	status_is 7 in_web net curl -s http://127.0.0.1:1/
}

# A name server of the test's own, in the target's network.
name_server() {
	nsenter "--net=/proc/$(rt_pid runc web)/ns/net" python3 "$BATS_TEST_DIRNAME/dns.py" 127.0.0.1 53 \
		>"$BATS_TEST_TMPDIR/dns" 3>&- &
	server=$!
	wait_until 5 grep -q ready "$BATS_TEST_TMPDIR/dns"
}

@test "net: dig asks a name server of the target's network" {
	name_server
	run -0 in_web net dig +short shop.example. A @127.0.0.1
	[ "$output" = 192.0.2.7 ]
	run -0 in_web net dig shop.example. MX @127.0.0.1
	[[ $output == *"status: NXDOMAIN"* ]]
	kill "$server"
}

# ---- tcpdump, strace, gdb ------------------------------------------------------------------------

@test "tcpdump: the target's packets, as text and as a capture file" {
	in_background web tcpdump -- -i lo -n -A -c 4 tcp port 8080
	wait_until 10 says err "listening on lo"
	[ "$(ask_app "$(rt_pid runc web)")" = "recap app" ]
	ended 0 "$job"
	says out "GET / HTTP/1.0"
	in_background web tcpdump -- -i lo -U -w - -c 4 tcp port 8080
	wait_until 10 says err "listening on lo"
	ask_app "$(rt_pid runc web)" >/dev/null
	ended 0 "$job"
	recapctl attach web tcpdump -- -n -r - <"$BATS_TEST_TMPDIR/out" 2>/dev/null |
		grep -q '127.0.0.1.8080: Flags \[S\]'
}

@test "strace: the system calls of PID 1" {
	in_background --cap-add SYS_PTRACE web strace -- -p 1 -e trace=accept4,sendto
	wait_until 10 says err "Process 1 attached"
	ask_app "$(rt_pid runc web)" >/dev/null
	wait_until 10 says err 'sendto(5, "HTTP/1.0 200 OK'
	says err accept4
	kill -TERM "$job"
	wait "$job" || true
	says err "Process 1 detached"
	# It goes on without its tracer.
	[ "$(ask_app "$(rt_pid runc web)")" = "recap app" ]
}

@test "gdb: a stack of PID 1, which goes on afterwards" {
	run -0 recapctl attach --cap-add SYS_PTRACE web gdb -- -q -batch -p 1 -ex bt -ex 'info threads'
	[[ $output == *"#0 "*poll*"main ("* ]]
	[ "$(ask_app "$(rt_pid runc web)")" = "recap app" ]
}

@test "strace and gdb without SYS_PTRACE are refused by the kernel" {
	run ! recapctl attach --cap-drop SYS_PTRACE web strace -- -p 1
	[[ $output == *"Operation not permitted"* ]]
	run ! recapctl attach --cap-drop SYS_PTRACE web gdb -- -q -batch -p 1 -ex bt
	[[ $output == *"Operation not permitted"* ]]
}

# ---- iperf3, sysstat -----------------------------------------------------------------------------

# Two containers on one wire.
connect() { # CONTAINER CONTAINER
	local one two

	one=$(rt_pid runc "$1") two=$(rt_pid runc "$2")
	ip link add recap0 netns "$one" type veth peer name recap0 netns "$two"
	nsenter "--net=/proc/$one/ns/net" sh -c 'ip address add 10.98.7.1/24 dev recap0; ip link set recap0 up'
	nsenter "--net=/proc/$two/ns/net" sh -c 'ip address add 10.98.7.2/24 dev recap0; ip link set recap0 up'
}

@test "iperf3: the throughput between two containers" {
	start runc peer app
	connect web peer
	in_background web iperf3 -- -s -1 --forceflush
	wait_until 10 says out "Server listening"
	run -0 recapctl attach peer iperf3 -- -c 10.98.7.1 -n 20M -J
	jq -e '.end.sum_sent.bytes >= 20000000 and .end.sum_received.bits_per_second > 0 and
		.start.connected[0].remote_host == "10.98.7.1"' <<<"$output"
	ended 0 "$job"
	says out "connected to 10.98.7.2"
	rt_rm runc peer
}

@test "sysstat: CPU, disks and the target's processes over time" {
	run -0 in_web sysstat pidstat -p 1 1 1
	[[ $output =~ Average:\ +0\ +1\ .*\ app ]]
	in_web sysstat iostat -o JSON 1 1 | jq -e '.sysstat.hosts[0].statistics[0] |
		.["avg-cpu"].idle >= 0 and (.disk | type) == "array"'
	in_web sysstat mpstat -o JSON 1 1 | jq -e '.sysstat.hosts[0].statistics[0]["cpu-load"][0].cpu == "all"'
}

# ---- logrotate, backup, checksum -----------------------------------------------------------------

requests() { # PID N
	local i

	for ((i = 0; i < $2; i++)); do
		ask_app "$1" >/dev/null
	done
}

@test "logrotate: the log is rotated, its process told, and it goes on writing to the new file" {
	local root pid

	start runc logger app /app -l /app.log
	pid=$(rt_pid runc logger)
	root=/proc/$pid/root
	requests "$pid" 3
	chown 7:8 "$root/app.log"
	recapctl attach --target-root rw logger logrotate -- /app.log
	[ "$(wc -l <"$root/app.log.1")" = 3 ]
	[ "$(stat -c '%u %g %a %s' "$root/app.log")" = "7 8 640 0" ]
	requests "$pid" 2
	[ "$(wc -l <"$root/app.log")" = 2 ]
	[ "$(wc -l <"$root/app.log.1")" = 3 ]
	# Compressed, and with no more than so many old ones.
	recapctl attach --target-root rw logger logrotate -- -n 2 -z /app.log
	requests "$pid" 1
	[ "$(gzip -dc "$root/app.log.1.gz" | wc -l)" = 2 ]
	[ "$(wc -l <"$root/app.log")" = 1 ]
	# Without a signal it goes on writing to the old one.
	recapctl attach --target-root rw logger logrotate -- -s none /app.log
	requests "$pid" 1
	[ "$(wc -l <"$root/app.log.1")" = 2 ]
	rt_rm runc logger
}

@test "logrotate: what cannot be is refused" {
	status_is 1 recapctl attach --target-root rw web logrotate -- /no/such.log
	[[ $output == *"the target has no file /no/such.log"* ]]
	status_is 2 recapctl attach --target-root rw web logrotate -- '/etc/*'
	status_is 2 recapctl attach --target-root rw web logrotate -- -s 'HUP; x' /etc/app.conf
	status_is 2 recapctl attach --target-root rw web logrotate --
	status_is 1 recapctl attach --target-root ro web logrotate -- /etc/app.conf
	[ "$(cat "/proc/$(rt_pid runc web)/root/etc/app.conf")" = recap-test-marker ]
}

@test "backup: an archive of a folder, whose checksums hold" {
	local out=$BATS_TEST_TMPDIR/restored root

	root=/proc/$(rt_pid runc web)/root
	mkdir -p "$root/etc/deep/er" "$out"
	head -c 100000 /dev/urandom >"$root/etc/deep/er/a file"
	ln -s ../app.conf "$root/etc/deep/link"
	chmod 600 "$root/etc/deep/er/a file"
	recapctl attach web backup -- /etc | tar -x -C "$out"
	diff -r "$root/etc" "$out/etc"
	[ "$(stat -c %a "$out/etc/deep/er/a file")" = 600 ]
	[ "$(readlink "$out/etc/deep/link")" = ../app.conf ]
	(cd "$out" && sha256sum --strict --quiet -c SHA256SUMS)
	[ "$(wc -l <"$out/SHA256SUMS")" = "$(find "$root/etc" -type f | wc -l)" ]
	echo x >>"$out/etc/app.conf"
	run ! sh -c "cd $out && sha256sum --quiet -c SHA256SUMS"
	[ "$(recapctl attach web backup -- -z etc/deep /etc/app.conf | tar -tz | sort)" = \
		$'SHA256SUMS\netc/app.conf\netc/deep/\netc/deep/er/\netc/deep/er/a file\netc/deep/link' ]
	status_is 1 recapctl attach web backup -- /none
	[[ $output == *"the target has no /none"* ]]
	rm -r "$root/etc/deep"
}

@test "checksum: a manifest of the target's files holds until one of them is changed" {
	local manifest=$BATS_TEST_TMPDIR/manifest root

	root=/proc/$(rt_pid runc web)/root
	echo one >"$root/etc/one"
	recapctl attach web checksum -- -c md5 /etc >"$manifest"
	recapctl attach web checksum -- -c sha512 app >>"$manifest"
	grep -qx "$(md5sum <"$root/etc/one" | cut -c 1-32)  etc/one" "$manifest"
	run -0 recapctl attach web checksum <"$manifest"
	[ "$output" = $'/etc/app.conf: OK\n/etc/one: OK\n/app: OK' ]
	echo two >"$root/etc/one"
	status_is 1 recapctl attach web checksum <"$manifest"
	[[ $output == *"/etc/one: FAILED"* && $output == *"/app: OK"* ]]
	rm "$root/etc/one"
	status_is 1 recapctl attach web checksum <"$manifest"
	[[ $output == *"/etc/one: FAILED open or read"* ]]
	# One that is in the target, with the target's absolute paths.
	printf '%s  /etc/app.conf\n' "$(sha256sum <"$root/etc/app.conf" | cut -c 1-64)" >"$root/etc/sums"
	run -0 recapctl attach web checksum -- /etc/sums
	[ "$output" = "/etc/app.conf: OK" ]
	rm "$root/etc/sums"
	for bad in '' 'not a manifest' '1234  short' "$(printf '%032d' 0)"; do
		status_is 2 recapctl attach web checksum <<<"$bad"
	done
}

# ---- clock, clamav, vulnscan, nginx-stats ------------------------------------------------------------------

within() { # SECONDS MILLISECONDS TEXT: a number, at most so far away
	awk -v "want=$1" -v "far=$2" '!/^[0-9]+\.[0-9]+$/ || $1 < want - far / 1000 || $1 > want + far / 1000 { exit 1 }' <<<"$3"
}

@test "clock: the offset against an NTP server whose clock is 42.5 seconds ahead" {
	nsenter "--net=/proc/$(rt_pid runc web)/ns/net" python3 "$BATS_TEST_DIRNAME/ntp.py" 127.0.0.1 123 42.5 \
		>"$BATS_TEST_TMPDIR/ntp" 3>&- &
	server=$!
	wait_until 5 grep -q ready "$BATS_TEST_TMPDIR/ntp"
	run -0 in_web clock -n 1 127.0.0.1
	within 42.5 $((10 * ${RT_TIMEOUT:-1})) "$output"
	kill "$server"
	status_is 1 in_web clock -t 1 127.0.0.1
	[[ $output == *"no time from 127.0.0.1 port 123"* ]]
}

# The capsule with a layer of signatures, made here: no more than the MD5 sum and size of one file.
load_signatures() {
	local db=$BATS_TEST_TMPDIR/db/var/lib/clamav

	mkdir -p "$db"
	echo "$(eicar | md5sum | cut -c 1-32):68:Recap.Test.EICAR" >"$db/test.hdb"
	chmod -R u=rwX,go=rX "$BATS_TEST_TMPDIR/db"
	"$ROOT/tools/mkoci" -o "$BATS_TEST_TMPDIR/clamav" -n clamav-db:1 -z none -e PATH=/usr/bin \
		-E clamscan -E --database=/var/lib/clamav -E --recursive -E --infected -C /target \
		"$SHELF/capsules/rootfs/clamav" "$BATS_TEST_TMPDIR/db" >/dev/null
	recapctl image load "$BATS_TEST_TMPDIR/clamav" >/dev/null
}

# The standard test file, in two parts so that no scanner takes this one for it.
eicar() {
	printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-' 'ANTIVIRUS-TEST-FILE!$H+H*'
}

@test "clamav: the EICAR file in the target is found, and nothing else" {
	local root

	root=/proc/$(rt_pid runc web)/root
	load_signatures
	run -0 recapctl attach web clamav-db:1 -- /target/etc /target/app
	[[ $output == *"Infected files: 0"* ]]
	eicar >"$root/etc/attachment"
	status_is 1 recapctl attach web clamav-db:1 -- /target/etc /target/app
	[[ $output == *"/target/etc/attachment: Recap.Test.EICAR.UNOFFICIAL FOUND"*"Infected files: 1"* ]]
	rm "$root/etc/attachment"
	recapctl image rm clamav-db:1
}

@test "clamav: without signatures it says so" {
	status_is 2 in_web clamav
	[[ $output == *"No supported database files found in /var/lib/clamav"* ]]
}

# One record, of a hole in libssl3 that 3.0.11-1~deb12u2 closes.
write_record() { # FILE
	jq -nc '{id: "DSA-5532-1", summary: "a hole", database_specific: {severity: "HIGH"}, affected: [{
		package: {ecosystem: "Debian:12", name: "openssl"},
		ranges: [{type: "ECOSYSTEM", events: [{introduced: "0"}, {fixed: "3.0.11-1~deb12u2"}]}]}]}' >"$1"
}

write_status() { # ROOT VERSION
	mkdir -p "$1/var/lib/dpkg"
	printf 'ID=debian\nVERSION_ID="12"\n' >"$1/etc/os-release"
	printf '%s\n' "Package: libssl3" "Status: install ok installed" "Source: openssl" "Architecture: amd64" \
		"Version: $2" >"$1/var/lib/dpkg/status"
}

@test "vulnscan: a hole of a package in the target is found, its mended version is not, and no record is no pass" {
	local root layer=$BATS_TEST_TMPDIR/layer

	root=/proc/$(rt_pid runc web)/root
	mkdir -p "$layer/osv"
	write_record "$layer/osv/DSA-5532-1.json"
	"$ROOT/tools/mkoci" -o "$BATS_TEST_TMPDIR/vulnscan" -n vulnscan-db:1 -z none -e PATH=/bin -E vulnscan \
		"$SHELF/capsules/rootfs/vulnscan" "$layer" >/dev/null
	recapctl image load "$BATS_TEST_TMPDIR/vulnscan" >/dev/null
	status_is 2 recapctl attach web vulnscan-db:1
	[[ $output == *"/target has no database of dpkg, apk or rpm"* ]]
	write_status "$root" 3.0.11-1~deb12u1
	status_is 1 recapctl attach web vulnscan-db:1
	[[ $output == *"high"*"osv:DSA-5532-1: libssl3 3.0.11-1~deb12u1"*"fixed in 3.0.11-1~deb12u2"* ]]
	run -0 recapctl attach web vulnscan-db:1 -- -s critical
	status_is 1 recapctl attach web vulnscan-db:1 -- -j
	jq -e '.packages == 1 and .records == 1 and .findings[0].severity == "high"' <<<"$output"
	write_status "$root" 3.0.11-1~deb12u2
	run -0 recapctl attach web vulnscan-db:1
	[[ $output == *"1 packages, 1 records, 0 findings"* ]]
	mkdir "$root/srv"
	status_is 2 in_web vulnscan /target /target/srv
	[[ $output == *"no OSV records"* ]]
	rm -r "$root/srv" "$root/var/lib/dpkg" "$root/etc/os-release"
	recapctl image rm vulnscan-db:1
}

start_nginx() {
	"$ROOT/tools/mkcapsule" -c "$SHELF/capsules/cache" -o "$RT_IMAGES/oci/nginx" -r "$RT_IMAGES/rootfs/nginx" \
		"$BATS_TEST_DIRNAME/nginx" >/dev/null
	start runc shop nginx
	wait_until 10 eval "recapctl attach shop toolbox -- wget -qO- 127.0.0.1:8080 | grep -q hello" >&2
}

# bats test_tags=needs:packages
@test "nginx-stats: connections and requests, as text, JSON and for Prometheus" {
	local url=http://127.0.0.1:8080/nginx_status before

	start_nginx
	before=$(recapctl attach shop nginx-stats -- --json "$url" | jq .requests)
	for _ in 1 2 3; do
		recapctl attach shop toolbox -- wget -qO- 127.0.0.1:8080 >/dev/null
	done
	recapctl attach shop nginx-stats -- --json "$url" | jq -e --argjson before "$before" '
		.requests == $before + 4 and .accepted == .handled and .active == 1 and .writing == 1 and
		.reading == 0 and .waiting == 0'
	run -0 recapctl attach shop nginx-stats -- "$url"
	[ "${lines[0]}" = "active    1" ]
	[ "${lines[3]}" = "requests  $((before + 5))" ]
	run -0 recapctl attach shop nginx-stats -- --prometheus "$url"
	grep -qx "nginx_http_requests_total $((before + 6))" <<<"$output"
	grep -qx '# TYPE nginx_connections_active gauge' <<<"$output"
	status_is 1 recapctl attach shop nginx-stats -- http://127.0.0.1:8080/
	[[ $output == *"is no page of stub_status"* ]]
	status_is 1 recapctl attach shop nginx-stats -- http://127.0.0.1:1/
	rt_rm runc shop
}
