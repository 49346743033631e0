#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The gate: attach runs what was scanned, signed and listed, as the configuration asks, and nothing else. Each refusal has its
# allowed twin.

load common

WEB=runc:gate-web
# Where scanners see nothing of the tests' own: below the runtimes' folder, which is not /tmp.
FILES=$RT/gate

setup_file() {
	require_root
	require_command runc jq openssl clamscan sigtool python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up runc
	mkdir -p "$FILES"
	gate '{}'
	start runc gate-web app
	make_base
	add_image clean
}

teardown_file() {
	recapd_down
	rm -rf "$FILES"
	rt_down
}

teardown() {
	assert_clean
}

# A recapd with this gate, on the same state folder as the one before.
gate() { # GATE
	jq -nc "{gate: $1}" >"$FILES/recapd.json"
	recapd_up --config "$FILES/recapd.json"
}

make_base() {
	mkdir -p "$FILES"/base/{bin,etc}
	cp "$RT_IMAGES/rootfs/toolbox/bin/busybox" "$FILES/base/bin"
	ln -s busybox "$FILES/base/bin/sh"
	printf 'ID=debian\nVERSION_ID="12"\n' >"$FILES/base/etc/os-release"
	chmod -R u=rwX,go=rX "$FILES/base"
}

# An image of the base and, on top, a folder that the test made at $BATS_TEST_TMPDIR/top.
add_image() { # NAME MKOCI-OPTION...
	local folders=("$FILES/base")

	[ ! -d "${BATS_TEST_TMPDIR:-/nonexistent}/top" ] || folders+=("$BATS_TEST_TMPDIR/top")
	"$ROOT/tools/mkoci" -o "$FILES/$1" -e PATH=/bin -C sh -u 1000 "${@:2}" "${folders[@]}" >/dev/null
	recapctl image load --ref "$1" "$FILES/$1" >/dev/null
	rm -rf "${FILES:?}/$1"
}

top() { # PATH TEXT
	mkdir -p "$(dirname "$BATS_TEST_TMPDIR/top/$1")"
	printf '%s' "$2" >"$BATS_TEST_TMPDIR/top/$1"
	chmod 644 "$BATS_TEST_TMPDIR/top/$1"
}

runs() { # IMAGE
	[ "$(recapctl attach "$WEB" "$1" -- sh -c 'echo yes')" = yes ]
}

is_refused() { # IMAGE TEXT
	refused 125 "$2" recapctl attach "$WEB" "$1" -- sh -c 'echo yes'
}

scan_column() { # IMAGE
	recapctl image list | awk -v ref="$1:latest" '$1 == ref {print $NF}'
}

scan_fails() { # IMAGE TEXT
	run -1 --separate-stderr recapctl image scan "$1"
	# shellcheck disable=SC2154 # run sets stderr
	[[ $stderr == *"$2"* ]] || {
		echo "no \"$2\" in: $stderr" >&2
		return 1
	}
}

# The findings of an image, CHECK PATH each, in order.
found() { # IMAGE
	recapctl image scan --json "$1" 2>/dev/null |
		jq -r '.verdict.findings[] | "\(.check) \(.path // "-")"' | sort
}

digest_of() { # IMAGE
	recapctl image list --json | jq -er "map(select(.ref == \"$1:latest\"))[0].digest"
}

# ---- scans ---------------------------------------------------------------------------------------

@test "without a gate everything runs, scanned or not" {
	gate '{}'
	runs clean
	[ "$(scan_column clean)" = - ]
}

@test "a gate that asks for a scan: refused before it, allowed after it" {
	gate '{scan: "required"}'
	is_refused clean "never scanned: run \`recapctl image scan\`"
	status_is 0 recapctl image scan clean
	runs clean
	[ "$(scan_column clean)" = ok ]
	# An image that never was is not found, rather than refused.
	refused 125 "no image" recapctl attach "$WEB" nosuch
}

@test "a verdict survives a restart, and goes with its image" {
	gate '{scan: "required"}'
	add_image brief -l "x=y"
	recapctl image scan brief
	gate '{scan: "required"}'
	runs brief
	[ "$(find "$RECAP_STATE/verdicts" -name "$(digest_of brief | cut -d : -f 2).json" | wc -l)" -eq 1 ]
	hex=$(digest_of brief | cut -d : -f 2)
	recapctl image rm brief
	not test -e "$RECAP_STATE/verdicts/$hex.json"
	add_image brief -l "x=y"
	is_refused brief "never scanned"
	recapctl image rm brief
}

@test "a secret is found, and refused; its threshold and its check can be set" {
	local key

	gate '{scan: "required"}'
	key=$(openssl genpkey -algorithm ed25519 && openssl genrsa 2048 2>/dev/null)
	top root/.ssh/id "$key"
	add_image leaky
	scan_fails leaky "leaky:latest would be refused: its scan found: secret (high) in /root/.ssh/id"
	is_refused leaky "its scan found: secret (high) in /root/.ssh/id"
	[ "$(scan_column leaky)" = refused ]
	# What it is, never what it says.
	not grep -r "$(sed -n 2p <<<"$key")" "$RECAP_STATE/verdicts"
	gate '{scan: "required", fail_severity: "critical"}'
	runs leaky
	gate '{scan: "required", checks: {secret: "ignore"}}'
	runs leaky
	gate '{scan: "required", checks: {secret: "critical"}, fail_severity: "critical"}'
	is_refused leaky "secret (critical)"
	recapctl image rm leaky
}

# An image of one layer, this archive, which must hold what no folder could give.
layout_of_tar() { # TAR NAME
	/usr/bin/python3 - "$1" "$BATS_TEST_TMPDIR/layout" <<-'PYTHON'
		import hashlib, json, os, sys
		layout, oci = sys.argv[2], "application/vnd.oci.image."
		os.makedirs(f"{layout}/blobs/sha256")
		def put(data, kind):
		    name = hashlib.sha256(data).hexdigest()
		    with open(f"{layout}/blobs/sha256/{name}", "wb") as file:
		        file.write(data)
		    return {"mediaType": oci + kind, "digest": f"sha256:{name}", "size": len(data)}
		with open(sys.argv[1], "rb") as file:
		    layer = put(file.read(), "layer.v1.tar")
		config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
		          "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
		manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "layers": [layer],
		            "config": put(json.dumps(config).encode(), "config.v1+json")}
		index = {"schemaVersion": 2,
		         "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
		with open(f"{layout}/index.json", "w") as file:
		    json.dump(index, file)
		with open(f"{layout}/oci-layout", "w") as file:
		    file.write('{"imageLayoutVersion": "1.0.0"}')
	PYTHON
	recapctl image load --ref "$2" "$BATS_TEST_TMPDIR/layout" >/dev/null
}

@test "what the image declared and did not get is found in its record" {
	gate '{scan: "required", fail_severity: "medium"}'
	python3 - "$BATS_TEST_TMPDIR/layer.tar" <<-'PYTHON'
		import io, sys, tarfile
		with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:
		    def add(name, mode, kind=tarfile.REGTYPE, pax=None):
		        info = tarfile.TarInfo(name)
		        info.mode, info.type, info.devmajor, info.devminor = mode, kind, 8, 0
		        info.pax_headers = pax or {}
		        tar.addfile(info, io.BytesIO(b""))
		    add("bin/su", 0o4755)
		    add("bin/wall", 0o2755)
		    add("bin/ping", 0o755, pax={"SCHILY.xattr.security.capability": "x" * 20})
		    add("dev/sda", 0o600, tarfile.BLKTYPE)
		    add("etc/open", 0o666)
		    add("bin/covered", 0o4755)
	PYTHON
	layout_of_tar "$BATS_TEST_TMPDIR/layer.tar" declared
	run -0 found declared
	for want in "capability bin/ping" "device dev/sda" "setgid bin/wall" "setuid bin/su" \
		"setuid bin/covered" "world-writable /etc/open" "root-user -"; do
		grep -qx "$want" <<<"$output"
	done
	[ "$(wc -l <<<"$output")" -eq 7 ]
	is_refused declared "its scan found"
	gate '{scan: "required"}'
	recapctl image list --json | jq -e 'map(select(.ref == "declared:latest"))[0].scan == "ok"'
	recapctl image rm declared
}

@test "an upper layer that replaces a setuid file takes the finding away" {
	mkdir -p "$BATS_TEST_TMPDIR"/{low,high}/bin
	touch "$BATS_TEST_TMPDIR"/{low,high}/bin/su
	chmod 4755 "$BATS_TEST_TMPDIR/low/bin/su"
	chmod 755 "$BATS_TEST_TMPDIR/high/bin/su"
	for layers in low "low high"; do
		# shellcheck disable=SC2086 # words are wanted
		(cd "$BATS_TEST_TMPDIR" && "$ROOT/tools/mkoci" -o image -u 7 -C /bin/su $layers >/dev/null)
		recapctl image load --ref "su" "$BATS_TEST_TMPDIR/image" >/dev/null
		rm -r "$BATS_TEST_TMPDIR/image"
		run -0 found su
		[ "$output" = "$([ "$layers" != low ] || echo "setuid bin/su")" ]
	done
	recapctl image rm su
}

@test "root is a finding, unless the image is asked for as another user" {
	add_image root -u 0
	run -0 found root
	[ "$output" = "root-user -" ]
	[ -z "$(found clean)" ]
	gate '{scan: "required", fail_severity: "low"}'
	is_refused root "root-user (low)"
	recapctl image scan clean
	runs clean
	recapctl image rm root
}

@test "a verdict that is too old, or of another configuration, is stale" {
	gate '{scan: "required", max_age_s: 3600}'
	recapctl image scan clean
	runs clean
	file=$RECAP_STATE/verdicts/$(digest_of clean | cut -d : -f 2).json
	jq -c '.scanned_unix -= 4000' "$file" >"$file.tmp"
	mv "$file.tmp" "$file"
	is_refused clean "is older than 3600 s: scan it again"
	[ "$(scan_column clean)" = stale ]
	recapctl image scan clean
	runs clean
	gate '{scan: "required", scanners: [{name: "other", argv: ["true"], output: "status"}]}'
	is_refused clean "another configuration"
	recapctl image scan clean
	runs clean
}

@test "a damaged verdict does not pass" {
	gate '{scan: "required"}'
	recapctl image scan clean
	file=$RECAP_STATE/verdicts/$(digest_of clean | cut -d : -f 2).json
	echo '{' >"$file"
	is_refused clean "its verdict cannot be read"
	recapctl image scan clean
	runs clean
}

# ---- scanners ------------------------------------------------------------------------------------

scanner() { # OUTPUT SCRIPT: a gate with a scanner that is this shell script
	jq -nc --arg script "$2" --arg output "$1" '{scan: "required", scanners: [{name: "mine",
		argv: ["/bin/sh", "-c", $script, "sh", "{root}", "{output}", "{image}", "{digest}"],
		output: $output, timeout_s: 5}]}'
}

@test "a scanner's exit status: nothing found, something found, failed" {
	gate "$(scanner status 'exit 0')"
	recapctl image scan clean
	runs clean
	gate "$(scanner status 'echo "$1/bin/busybox: it is odd"; exit 1')"
	scan_fails clean "mine:status (high) in /bin/busybox: it is odd"
	is_refused clean "it is odd"
	gate "$(scanner status 'echo broken >&2; exit 2')"
	scan_fails clean "its scan failed: scanner mine: it ended with status 2: broken"
	is_refused clean "its scan failed: scanner mine"
	gate "$(scanner status 'kill -SEGV $$')"
	scan_fails clean "scanner mine: it ended with status 139"
	gate '{scan: "required", scanners: [{name: "mine", argv: ["nosuchprogram"], output: "status"}]}'
	scan_fails clean "cannot run nosuchprogram"
	is_refused clean "its scan failed"
}

@test "a scanner that does not end, and one that writes without end, have failed" {
	gate "$(scanner status 'sleep 1045 & sleep 1045' | jq -c '.scanners[0].timeout_s = 1')"
	scan_fails clean "scanner mine: it took longer than 1 s"
	gate "$(scanner status 'cat /dev/zero' | jq -c '.scanners[0].timeout_s = 100')"
	scan_fails clean "scanner mine: its output is longer than 32 MiB"
	is_refused clean "its scan failed"
	not pgrep -f "^sleep 1045$"
}

@test "SARIF, on standard output and in a file" {
	local sarif='{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"m","rules":[{"id":"CVE-1",
		"properties":{"security-severity":"9.1"}}]}},"results":[RESULTS]}]}'
	local result='{"ruleId":"CVE-1","message":{"text":"bad"},"locations":[{"physicalLocation":
		{"artifactLocation":{"uri":"file:///image/bin/sh"}}}]}'

	gate "$(scanner sarif "echo '${sarif/RESULTS/$result}'" |
		jq -c '.scanners[0].argv |= map(select(. != "{output}"))')"
	scan_fails clean "mine:CVE-1 (critical) in /bin/sh: bad"
	is_refused clean "mine:CVE-1"
	gate "$(scanner sarif "echo '${sarif/RESULTS/$result}' >\"\$2\"" |
		jq -c '.checks = {"mine:CVE-1": "low"}')"
	recapctl image scan clean
	runs clean
	gate "$(scanner sarif "echo '${sarif/RESULTS/}' >\"\$2\"")"
	recapctl image scan clean
	runs clean
	gate "$(scanner sarif "echo '{' >\"\$2\"")"
	scan_fails clean "scanner mine: its SARIF is not valid JSON"
	gate "$(scanner sarif ':')"
	scan_fails clean "cannot read its {output}"
}

@test "a scanner reads the whole image, and nothing else of the host" {
	mkdir -p "$BATS_TEST_TMPDIR/top/etc"
	(umask 077 && echo hidden >"$BATS_TEST_TMPDIR/top/etc/private")
	add_image private
	gate "$(scanner status '
		[ "$(cat "$1/etc/private")" = hidden ] || exit 10
		[ "$3" = private:latest ] && expr "$4" : sha256: >/dev/null || exit 11
		[ "$(id -u)" = 65534 ] || exit 12
		! touch "$1/etc/x" 2>/dev/null && ! touch /usr/x 2>/dev/null || exit 13
		touch "$2" || exit 14
		[ ! -e /etc/shadow ] && [ ! -e /root ] && [ ! -e /var ] && [ ! -e /run ] || exit 15
		[ -e /proc/1 ] && ! cat /proc/1/environ 2>/dev/null || exit 16
		[ "$(wc -l </proc/net/dev)" -eq 3 ] || exit 17
		grep -q "^CapEff:.*0000000000000004$" /proc/self/status || exit 18
		grep -q "^NoNewPrivs:.*1$" /proc/self/status || exit 19
		exit 0')"
	recapctl image scan private
	runs private
	gate "$(scanner status '[ "$(wc -l </proc/net/dev)" -gt 3 ]' | jq -c '.scanners[0].network = true')"
	# But for machines that have nothing beside the loopback device.
	[ "$(wc -l </proc/net/dev)" -eq 3 ] || recapctl image scan private
	recapctl image rm private
}

# The shipped scanner with a database of one signature, which the test makes: no download.
clamav_gate() {
	mkdir -p "$FILES/db"
	printf '%s' "$(eicar)" >"$BATS_TEST_TMPDIR/eicar"
	sigtool --sha256 "$BATS_TEST_TMPDIR/eicar" | sed 's/:[^:]*$/:Recap-Test-Eicar/' >"$FILES/db/test.hsb"
	rm "$BATS_TEST_TMPDIR/eicar"
	jq -c --arg db "$FILES/db" '{scan: "required", scanners: [.argv |= .[:1] + ["--database=" + $db] + .[1:] |
		.paths = [$db]]}' "$ROOT/tools/scanners/clamav.json"
}

# In two pieces, so that no scanner takes this file for it.
eicar() {
	printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}' '$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'
}

@test "ClamAV finds an EICAR file, and nothing in a clean image" {
	gate "$(clamav_gate)"
	recapctl image scan clean
	runs clean
	recapctl image scan --json clean | jq -e '.verdict.scanners | any(.name == "clamav" and
		(.version | startswith("ClamAV ")))'
	top "opt/a file.com" "$(eicar)"
	add_image infected
	scan_fails infected "clamav:status (critical) in /opt/a file.com: Recap-Test-Eicar"
	is_refused infected "Recap-Test-Eicar"
	[ "$(scan_column infected)" = refused ]
	# Without its database it cannot look, which is no pass.
	mv "$FILES/db/test.hsb" "$FILES/db/none"
	scan_fails clean "its scan failed: scanner clamav"
	is_refused clean "its scan failed"
	recapctl image rm infected
}

# ---- packages ------------------------------------------------------------------------------------

dpkg_image() { # NAME VERSION
	top var/lib/dpkg/status "Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: $2
"
	add_image "$1"
}

@test "the SBOM lists the packages" {
	gate '{}'
	dpkg_image packages 3.0.11-1
	recapctl image scan --sbom "$BATS_TEST_TMPDIR/sbom.json" packages
	jq -e '.bomFormat == "CycloneDX" and .specVersion == "1.5" and (.components | map(.purl // .type)) ==
		["operating-system", "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12"]' \
		"$BATS_TEST_TMPDIR/sbom.json"
	[ "$(recapctl image scan --sbom - packages | jq -r '.components | length')" = 2 ]
	recapctl image rm packages
}

@test "an OSV record refuses the version it is about, and not the fixed one" {
	mkdir -p "$FILES/osv"
	jq -nc '{id: "DSA-5532-1", summary: "a hole", database_specific: {severity: "HIGH"}, affected: [{
		package: {ecosystem: "Debian:12", name: "openssl"},
		ranges: [{type: "ECOSYSTEM", events: [{introduced: "0"}, {fixed: "3.0.11-1~deb12u2"}]}]}]}' \
		>"$FILES/osv/DSA-5532-1.json"
	gate "{scan: \"required\", osv_dir: \"$FILES/osv\"}"
	dpkg_image old 3.0.11-1~deb12u1
	dpkg_image new 3.0.11-1~deb12u2
	scan_fails old "osv:DSA-5532-1 (high): libssl3 3.0.11-1~deb12u1: a hole; fixed in 3.0.11-1~deb12u2"
	is_refused old "osv:DSA-5532-1"
	recapctl image scan new
	runs new
	gate "{scan: \"required\", osv_dir: \"$FILES/osv\", checks: {\"osv:DSA-5532-1\": \"medium\"}}"
	runs old
	echo '{' >"$FILES/osv/broken.json"
	scan_fails new "its scan failed: the built-in checks: OSV record broken.json"
	is_refused new "its scan failed"
	recapctl image rm old new
}

@test "a package database that nobody can read is refused, not passed over" {
	gate '{scan: "required"}'
	top var/lib/rpm/Packages bdb
	add_image bdb
	scan_fails bdb "inventory (high) in var/lib/rpm/Packages: unsupported rpm database format"
	is_refused bdb "unsupported rpm database format"
	recapctl image rm bdb
}

# ---- signatures and lists ------------------------------------------------------------------------

# As docs/scanning.md has it, with openssl alone.
sign() { # KEY IMAGE OUT
	printf '%s' "$(digest_of "$2")" >"$BATS_TEST_TMPDIR/digest.txt"
	openssl pkeyutl -sign -rawin -inkey "$1" -in "$BATS_TEST_TMPDIR/digest.txt" -out "$3"
}

make_keys() {
	local name

	for name in ours theirs; do
		openssl genpkey -algorithm ed25519 -out "$BATS_TEST_TMPDIR/$name.pem"
		openssl pkey -in "$BATS_TEST_TMPDIR/$name.pem" -pubout -out "$FILES/$name.pub"
	done
}

@test "a gate that asks for a signature runs what openssl has signed" {
	make_keys
	gate "{signatures: \"required\", keys: [\"$FILES/ours.pub\"]}"
	is_refused clean "it has no signature: bring one with \`recapctl image trust\`"
	sign "$BATS_TEST_TMPDIR/theirs.pem" clean "$BATS_TEST_TMPDIR/theirs.sig"
	refused 1 "by a key of gate.keys" recapctl image trust clean "$BATS_TEST_TMPDIR/theirs.sig"
	is_refused clean "it has no signature"
	sign "$BATS_TEST_TMPDIR/ours.pem" clean "$BATS_TEST_TMPDIR/ours.sig"
	run -0 recapctl image trust clean "$BATS_TEST_TMPDIR/ours.sig"
	[ "$output" = "clean:latest is signed by $(sed -n 2p "$FILES/ours.pub")" ]
	runs clean
	# Of this image, not of another.
	add_image second -l a=b
	refused 1 "by a key of gate.keys" recapctl image trust second "$BATS_TEST_TMPDIR/ours.sig"
	is_refused second "it has no signature"
	head -c 63 "$BATS_TEST_TMPDIR/ours.sig" >"$BATS_TEST_TMPDIR/short"
	refused 1 "not the 64 bytes" recapctl image trust clean "$BATS_TEST_TMPDIR/short"
	# A key that is replaced is trusted no more, without a restart.
	cp "$FILES/ours.pub" "$FILES/kept.pub"
	cp "$FILES/theirs.pub" "$FILES/ours.pub"
	is_refused clean "none of its signatures is by a key"
	recapctl image trust clean "$BATS_TEST_TMPDIR/theirs.sig"
	runs clean
	cp "$FILES/kept.pub" "$FILES/ours.pub"
	runs clean
	recapctl image rm second
}

@test "a list of digests runs what is on it" {
	gate "{allow: [\"$(digest_of clean)\"]}"
	runs clean
	add_image other -l a=c
	is_refused other "gate.allow does not list it"
	gate '{allow: []}'
	is_refused clean "gate.allow does not list it"
	recapctl image rm other
}

@test "all that the gate asks for must hold" {
	make_keys
	gate "{allow: [\"$(digest_of clean)\"], scan: \"required\", signatures: \"required\", keys: [\"$FILES/ours.pub\"]}"
	is_refused clean "signature"
	sign "$BATS_TEST_TMPDIR/ours.pem" clean "$BATS_TEST_TMPDIR/sig"
	recapctl image trust clean "$BATS_TEST_TMPDIR/sig"
	recapctl image scan clean
	runs clean
}

# ---- configuration -------------------------------------------------------------------------------

@test "a gate that makes no sense keeps recapd from starting" {
	for bad in '{scan: "yes"}' '{keys: "x"}' '{fail_severity: "awful"}' '{unknown: 1}' \
		'{signatures: "required"}' '{scanners: ["nosuch"]}'; do
		jq -nc "{gate: $bad}" >"$BATS_TEST_TMPDIR/bad.json"
		refused 1 gate "$B/recapd" --config "$BATS_TEST_TMPDIR/bad.json" --socket "$RECAP_RUN/bad"
	done
}

@test "the shipped scanners' files are what recapd takes" {
	for file in "$ROOT"/tools/scanners/*.json; do
		gate "{scanners: [\"$file\"]}"
	done
	gate '{}'
}
