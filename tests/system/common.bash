# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the bats files share: `load common`. The runtimes' functions (rt_up, rt_run, ...) come along.
#
#   RECAP_MUST_RUN=1  a test that would skip fails instead

bats_require_minimum_version 1.5.0

ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
B=$(realpath -m "${B:-$ROOT/build}")
export ROOT B

# shellcheck source=tests/system/runtimes.sh
source "$BATS_TEST_DIRNAME/runtimes.sh"

# For what this machine cannot do; never for what is broken.
skip_or_fail() { # REASON
	if [ -n "${RECAP_MUST_RUN:-}" ]; then
		echo "must not be skipped (RECAP_MUST_RUN is set): $1" >&2
		return 1
	fi
	skip "$1"
}

require_root() {
	[ "$(id -u)" -eq 0 ] || skip_or_fail "not root"
}

require_command() { # COMMAND...
	local command

	for command; do
		command -v "$command" >/dev/null || skip_or_fail "no $command: run \`sudo make setup\`"
	done
}

# Poll a command until it succeeds; run it a last time to show why when it does not.
wait_until() { # SECONDS CMD...
	rt_await "$@" || {
		echo "after $1 s still failing: ${*:2}" >&2
		"${@:2}"
		return 1
	}
}

# What the application answers, asked from inside its network namespace.
ask_app() { # PID
	nsenter "--net=/proc/$1/ns/net" timeout 5 bash -c '
		exec 9<>/dev/tcp/127.0.0.1/8080
		printf "GET / HTTP/1.0\r\n\r\n" >&9
		tail -n 1 <&9'
}

# Tell the application what to do with the descriptors that it holds (tests/system/app.c).
tell_app() { # PID ORDER
	nsenter "--net=/proc/$1/ns/net" "$B/tests/probe" tell recap-app "$2"
}

# Zombies among the direct children of a process, one PID a line.
zombies_of() { # PID
	ps -o pid=,stat= --ppid "$1" | awk '$2 ~ /^Z/ {print $1}'
}

# Everything that a run could leave on the machine, for comparing before and after. Kernel threads
# and zombies come and go on their own.
machine_state() {
	echo "# mounts"
	cut -d ' ' -f 2,3 /proc/mounts | sort
	echo "# cgroups"
	find /sys/fs/cgroup -type d | sort
	echo "# links"
	ip -o link | cut -d ' ' -f 2
	echo "# files"
	find /run /var/lib/cni /var/lib/containers /etc/docker /dev/shm -xdev ! -path '/run/log/*' \
		2>/dev/null | sort
	echo "# processes"
	ps -eo stat=,comm=,args= | awk '$1 !~ /^Z/ && /containerd|dockerd|conmon|recap-test|\/app/' |
		grep -v awk | sort
}
