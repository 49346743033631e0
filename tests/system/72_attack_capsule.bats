#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Attacks from inside a capsule (attack.c). All of them run once in each of four places, in setup_file(), and the tests read what came
# of them:
#
#   inside   the default sandbox, as root
#   user     the same as another user
#   granted  what the operator may allow: capabilities, no seccomp filter, a writable /target
#   host     as root of the machine, in namespaces of its own
#
# A line of a table is an attack: its name, what it gets inside, and its twin, which shows that the test can see the difference: where
# the same (or what the last column names) gets what. "A|B": one of these, by what the kernel was built with.

load common

WEB=docker:ak-web
GRANTS=DAC_READ_SEARCH,SYS_CHROOT,SYS_PTRACE,SYS_ADMIN,SYS_BOOT,SYS_NICE,SYS_TIME,SYS_TTY_CONFIG,SYS_PACCT
GRANTS+=,SYS_MODULE,SYS_RAWIO,MKNOD,SETFCAP,SYSLOG,PERFMON,BPF

setup_file() {
	require_root
	require_command runc containerd dockerd docker jq python3
	"$BATS_TEST_DIRNAME/images.sh" >/dev/null
	rt_down
	rt_up docker
	rt_run docker ak-web app
	recapd_with_images attack probe toolbox
	listen_abstract
	recapctl attach -d "$WEB" toolbox -- sleep 1000 >"$BATS_FILE_TMPDIR/sleeper"
	host_state >"$BATS_FILE_TMPDIR/host-before"
	recapctl attach "$WEB" attack >"$BATS_FILE_TMPDIR/inside"
	recapctl attach -u 1000 "$WEB" attack >"$BATS_FILE_TMPDIR/user"
	recapctl attach --cap-add "$GRANTS" --seccomp unconfined --target-root rw "$WEB" attack -- -i \
		>"$BATS_FILE_TMPDIR/granted"
	# But for those that would use up the host's.
	# shellcheck disable=SC2046 # names
	unshare -muin --propagation private "$B/tests/attack" -i \
		$(cut -d ' ' -f 1 "$BATS_FILE_TMPDIR/inside" | grep -vE '^(inodes|files)-') >"$BATS_FILE_TMPDIR/host"
	host_state >"$BATS_FILE_TMPDIR/host-after"
	recapctl stop --timeout 0 "$(cat "$BATS_FILE_TMPDIR/sleeper")" >/dev/null
}

teardown_file() {
	kill "$(cat "$BATS_FILE_TMPDIR/listener")"
	recapd_down
	rt_down
}

teardown() {
	assert_clean
}

# What the host has to be found by: an abstract socket. The twin is in another network namespace, but as root it can go back.
listen_abstract() {
	python3 -c 'import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("\0recap-attack")
s.listen(64)
time.sleep(1000)' 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/listener"
	disown
	wait_until 5 grep -q '@recap-attack$' /proc/net/unix
}

# What an attack that succeeds would change.
host_state() {
	uname -n
	cat /proc/sys/kernel/{core_pattern,hostname,pid_max} /proc/sys/vm/panic_on_oom
	stat -c '%a %u %g' /dev/null
	ls -d /sys/fs/cgroup/{,*/}recap-attack 2>/dev/null || true
	cut -d ' ' -f 2,3 /proc/mounts | grep -v ^/var/lib/ | sort
}

got() { # PLACE NAME
	awk -v name="$2" '$1 == name {print $2}' "$BATS_FILE_TMPDIR/$1"
}

# Each line of standard input; reports all that are wrong before it fails.
attacks() {
	local name inside place twin other bad=0 n=0

	while read -r name inside place twin other; do
		n=$((n + 1))
		echo "$name: inside $(got inside "$name"), ${other:-$name} in $place $(got "$place" "${other:-$name}")"
		[[ $(got inside "$name") =~ ^($inside)$ ]] || bad=$((bad + 1))
		[[ $(got user "$name") != ok ]] || bad=$((bad + 1))
		[[ $(got "$place" "${other:-$name}") =~ ^($twin)$ ]] || bad=$((bad + 1))
		echo "$name" >>"$BATS_FILE_TMPDIR/met"
	done
	[ $n -gt 0 ] && [ $bad -eq 0 ]
}

@test "mounts: none is made, moved, changed or taken off, by the old calls or the new" {
	attacks <<-END
		mount-tmpfs EPERM granted ok
		mount-proc EPERM granted ok
		mount-cgroup EPERM granted ok
		mount-bind EPERM granted ok
		mount-shared EPERM granted ok
		remount-proc EPERM granted ok
		umount-proc EPERM granted ok
		fsopen EPERM granted ok
		fspick EPERM granted ok
		open-tree EPERM granted ok
		move-mount EPERM granted ok
		mount-setattr EPERM granted ok
		pivot-root EPERM granted EBUSY
	END
}

# Granted, it comes to the top of what there is, and that is the capsule's.
@test "the root: no other, and no way out of the one" {
	attacks <<-END
		chroot EPERM granted ok
		chroot-escape EPERM granted ok
		open-handle EPERM granted ok
		open-handle EPERM host ok
	END
}

@test "devices: none is made or opened, and those that are there stay as they are" {
	attacks <<-END
		mknod-disk EPERM granted ok
		open-node EPERM host ok
		open-kmsg ENOENT host ok
		open-fuse ENOENT host ok
		chmod-null EROFS host ok
	END
	# Made where that is granted, and still not opened.
	[ "$(got granted open-node)" = EACCES ]
}

@test "privileges: no set-user-ID, no capabilities of files" {
	attacks <<-END
		setuid-program EPERM host ok
		file-caps EPERM granted ok
	END
}

@test "the target's files: not written to, linked, renamed or opened again for writing" {
	attacks <<-END
		write-target EROFS granted ok
		reopen-target EROFS granted ok
		link-target EROFS granted ok
		rename-target EROFS granted ok
		link-out EXDEV granted ok link-target
	END
}

@test "/proc: no settings of the kernel's or of processes" {
	attacks <<-END
		sysrq-trigger EROFS|ENOENT|EACCES host ok|ENOENT
		core-pattern EROFS host ok
		modprobe-path EROFS|ENOENT host ok|ENOENT
		panic-on-oom EROFS host ok
		hostname-file EROFS host ok
		pid-max EROFS host ok
		irq-affinity EROFS host ok
		oom-adjust EROFS host ok
		uid-map EROFS host ok
		timer-slack EROFS host ok
	END
}

@test "/sys and cgroups: nothing is set, made or moved" {
	attacks <<-END
		sys-kernel EROFS host ok
		sys-module EROFS host ok
		sys-uevent EROFS host ok
		cgroup-make EROFS|EACCES host ok
		cgroup-move ENOENT|EROFS host ok
		release-agent ENOENT|EROFS host ok|ENOENT
	END
}

@test "the target's PID 1: its files, memory and descriptors stay its own" {
	attacks <<-END
		pid1-root EACCES granted ok
		pid1-cwd EACCES granted ok
		pid1-exe EACCES granted ok
		pid1-mem EACCES granted ok
		pid1-fd EACCES granted ok
		pid1-environ EACCES granted ok
		pid1-maps EACCES granted ok
		ptrace-pid1 EPERM granted ok
		vm-readv EPERM granted ok
		vm-writev EPERM granted EFAULT
		pidfd-getfd EPERM granted ok
		kcmp EPERM granted ok
		prlimit-pid1 EPERM granted ok
	END
}

@test "our init and other capsules in the same container: the same" {
	attacks <<-END
		init-mem EACCES granted ok
		ptrace-init EPERM granted ok
		other-root EACCES granted ok
		other-mem EACCES granted ok
		other-stdout EACCES granted ok
		other-seize EPERM granted ok
	END
}

@test "namespaces: none is joined, none is made" {
	attacks <<-END
		setns-file EPERM granted ok
		setns-pidfd EPERM granted ok
		unshare-mnt EPERM granted ok
		unshare-user EPERM granted ok
		unshare-net EPERM granted ok
		unshare-pid EPERM granted ok
		unshare-ipc EPERM granted ok
		unshare-uts EPERM granted ok
		unshare-cgroup EPERM granted ok
		unshare-time EPERM granted ok
		clone-user ENOSYS|EPERM granted ok
		clone-mnt ENOSYS|EPERM granted ok
		clone3-user ENOSYS granted ok
	END
}

@test "keyrings, io_uring, bpf, perf, userfaultfd, fanotify: parts of the kernel that a tool does not need" {
	attacks <<-END
		keyctl EPERM granted ok
		add-key EPERM granted ok
		request-key EPERM granted ENOKEY
		io-uring EPERM granted ok|EPERM
		bpf EPERM granted ok
		perf EPERM granted ok
		userfaultfd EPERM granted ok
		fanotify EPERM granted ok
		syslog EPERM granted ok
	END
}

@test "the machine: no modules, kernels, ports, clocks, names, swap, accounts" {
	attacks <<-END
		init-module EPERM granted EFAULT|ENOEXEC|ENOSYS
		finit-module EPERM granted EBADF|ENOSYS
		delete-module EPERM granted ENOENT|ENOSYS
		kexec EPERM granted EINVAL|ENOSYS
		iopl EPERM granted ok|ENOSYS
		ioperm EPERM granted ok|ENOSYS
		reboot EPERM granted EINVAL
		settimeofday EPERM granted ok
		clock-settime EPERM granted EINVAL
		sethostname EPERM host ok
		setdomainname EPERM host ok
		swapon EPERM granted ENOENT
		acct EPERM granted ENOENT
		quotactl EPERM granted ok
		vhangup EPERM granted ok
	END
}

@test "the filter: not loosened, answered for, or gone round by another architecture's calls" {
	attacks <<-END
		filter-over EPERM granted ok
		filter-notify EPERM granted ok
		call-ia32 SIGSYS granted ok|SIGSEGV
		call-x32 SIGSYS granted ok|ENOSYS
		personality ENOSYS|EPERM granted ok
	END
}

@test "the operator's terminal, the host's sockets, the hypervisor: not reached" {
	attacks <<-END
		type-in EPERM granted ENOTTY
		paste-in EPERM granted ENOTTY
		abstract ECONNREFUSED host ECONNREFUSED
		vsock EPERM granted ok
		vsock-wide EPERM granted ok
	END
	[ "$("$B/tests/attack" abstract)" = "abstract ok" ]
}

@test "what is everybody's: no priority, no limits raised, and an end to descriptors and files" {
	attacks <<-END
		nice EACCES|EPERM granted ok
		realtime EPERM granted ok|EPERM
		io-realtime EPERM granted ok
		files-raise EPERM inside ok files-lower
		core-raise EPERM inside ok files-lower
		files-many EMFILE inside ok files-few
		inodes-many ENOSPC inside ok inodes-few
	END
}

# ---- bombs: they end with the capsule, and the application does not notice ----------------------

app_works() {
	[ "$(ask_app "$(rt_pid docker ak-web)")" = "recap app" ]
}

@test "a fork bomb meets the limit of its own cgroup" {
	status_is 1 recapctl attach --pids 30 "$WEB" probe forkbomb 1000
	app_works
	status_is 0 recapctl attach --pids 30 "$WEB" probe forkbomb 10
}

# By the cgroup, where v2 counts tasks; else by the programs that count them, which end whoever forks on.
@test "a fork bomb that nobody set a limit for meets one all the same" {
	local ended=137 id

	not grep -qw pids /sys/fs/cgroup/cgroup.controllers || ended=1
	run attach_report "$WEB" probe forkbomb 6000
	# An emulated machine takes longer to end so many than a capsule is given: it is quarantined, until they have ended.
	if [ "${RT_TIMEOUT:-1}" -gt 1 ] && [ "$status" -eq 123 ]; then
		id=$(report .id | tr -d '"')
		wait_until 10 eval "recapctl inspect $id | jq -e '.state == \"dropped\"'"
		recapctl inspect "$id" >"$BATS_TEST_TMPDIR/report"
	else
		[ "$status" -eq "$ended" ]
	fi
	report '.limits.pids == 4096 and .tasks.peak >= 4096 and .tasks.peak <= 4098'
	proven
	app_works
	status_is 0 recapctl attach "$WEB" probe forkbomb 4000
}

# They have a PID each, of which the machine has no more than pid_max.
@test "the dead that a tool does not wait for count as well" {
	local ended=137

	not grep -qw pids /sys/fs/cgroup/cgroup.controllers || ended=1
	status_is "$ended" attach_report "$WEB" probe deadbomb 1000000
	report '.state == "dropped" and .tasks.total < 20000 and (.tasks.unreaped // 0) == 0'
	[ "$ended" = 1 ] || report '.reason | contains("too many dead")'
	app_works
	status_is 0 recapctl attach "$WEB" probe deadbomb 3000
	status_is 0 recapctl attach "$WEB" toolbox -- sh -c 'i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i + 1)); done'
}

@test "a memory bomb meets the limit of its own cgroup" {
	status_is 137 recapctl attach --memory 32m "$WEB" probe hog 134217728
	app_works
	status_is 0 recapctl attach --memory 32m "$WEB" probe hog 8388608
}

@test "a disk bomb meets the size of its own layer" {
	status_is 1 recapctl attach --cow-size 2m "$WEB" probe fill 100000000
	app_works
	status_is 0 recapctl attach --cow-size 2m "$WEB" probe fill 1000000
}

# ---- all in all ----------------------------------------------------------------------------------

@test "as another user nothing succeeds that is refused to root" {
	join <(sort "$BATS_FILE_TMPDIR/inside") <(sort "$BATS_FILE_TMPDIR/user") >"$BATS_TEST_TMPDIR/both"
	not grep -E ' [A-Z].* ok$' "$BATS_TEST_TMPDIR/both"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/both")" -ge 100 ]
}

@test "no attack is left out, and the machine is as it was" {
	diff <(sort -u "$BATS_FILE_TMPDIR/met") <(cut -d ' ' -f 1 "$BATS_FILE_TMPDIR/inside" |
		grep -vE '^files-(few|lower)$|^inodes-few$' | sort)
	[ "$(sort -u "$BATS_FILE_TMPDIR/met" | wc -l)" -ge 100 ]
	diff "$BATS_FILE_TMPDIR"/host-{before,after}
}
