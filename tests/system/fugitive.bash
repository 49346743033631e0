# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# One escape attempt from end to end, for tests/system/32_fugitive.bats and for tests/vm/fugitives. What must become of each is in
# the table of fugitive.c; it is checked with the record, and by /proc without it (look.c).
#
#   FU_BIN      folder of the programs fugitive, accomplice and look
#   FU_TARGET   name of the container whose PID 1 is the accomplice; FU_PID is that PID
#   FU_WORK     folder for what is written down

fu_tell() { # ORDER
	[ "$(nsenter "--net=/proc/$FU_PID/ns/net" timeout 20 "$FU_BIN/accomplice" tell "$1")" = ok ]
}

fu_look() {
	"$FU_BIN/look" "$fu_mark" "$FU_PID" "${fu_devs[@]}"
}

fu_record() { # FILTER
	jq -ce "$1" "$FU_WORK/report" >/dev/null || {
		echo "not so: $1"
		cat "$FU_WORK/report"
		return 1
	}
}

# Whatever may be left of it: tasks, what they hold of the layer, mounts of the layer anywhere, its cgroup.
fu_left() {
	fu_look
	grep -lE "upperdir=/c/$fu_id/" /proc/[0-9]*/mountinfo 2>/dev/null || true
	find /sys/fs/cgroup -type d -name "$fu_id"
}

fu_nothing_left() {
	local left

	left=$(fu_left)
	[ -z "$left" ] || {
		echo "left of $fu_id: $left"
		return 1
	}
}

# A few moments for what has to be reaped; what lives is not given any.
fu_await() { # CMD...
	local end=$((SECONDS + ${FU_PATIENCE:-5}))

	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || {
			"$@"
			return
		}
		sleep 0.05
	done
}

# Alone: this is where a task left behind would show.
fu_no_task() {
	local tasks

	tasks=$(fu_look | grep ^task) || return 0
	echo "tasks left: $tasks"
	return 1
}

fu_gone() {
	fu_no_task
	fu_record '.state == "dropped" and .cow.dropped and .holders == [] and .proof.live_tasks == 0 and
		.proof.overlay_busy == false and .proof.untracked_forks == 0'
	# The dead are the target's then, and the record says how many.
	[ "$1" != kill-init ] || fu_record '.tasks.unreaped >= 1'
	[ "$1" != kill-init ] || fu_tell reap
	fu_await fu_nothing_left
	# Who helped is unharmed, and so is what it was given.
	fu_tell release
}

# The PIDs, as the host has them, of who must be named.
fu_culprits() { # KIND
	case $1 in
	unnamed) ;;
	task) fu_look | awk '$1 == "task" || $1 == "dead" {print $2}' | sort -u ;;
	# Not by awk's own reading, which ends at the first process that has gone meanwhile.
	*) cat /proc/[0-9]*/status 2>/dev/null | awk -v parent="$FU_PID" '/^Name:/ {name = $2} /^Pid:/ {pid = $2}
		/^PPid:/ && name == "holder" && $2 == parent {print pid}' ;;
	esac
}

fu_holder_named() { # KIND
	local culprits

	culprits=$(fu_culprits "$1") || true
	echo "to be named, as $1: $culprits"
	[ "$1" = unnamed ] || [ -n "$culprits" ]
	fu_record ".holders | length > 0 and all(.[]; .kind == \"$1\") and
		([.[].pid // empty] | unique) == ([$(paste -sd, <<<"$culprits")] | unique)"
}

fu_quarantined() {
	recapctl ps --json | jq -e --arg id "$fu_id" 'any(.[]; .id == $id and .state == "quarantined")' >/dev/null
}

fu_dropped() {
	recapctl inspect "$fu_id" | jq -e '.state == "dropped" and .cow.dropped' >/dev/null
}

fu_held() { # KIND
	fu_record '.state == "quarantined" and .cow.dropped == false and .proof.untracked_forks == 0'
	fu_holder_named "$1"
	# It stays so however often recapd looks, until the holder lets go, which finds all as it was.
	sleep 0.3
	fu_quarantined
	fu_tell release
	fu_await fu_dropped
	fu_await fu_nothing_left
}

# As few PIDs as the kernel allows, so that they are used again: the container's since 6.14, the whole machine's before, which is
# for machines that are nobody else's (FU_MACHINE=1).
fu_few_pids() {
	local all=/proc/sys/kernel/pid_max before

	before=$(cat $all)
	nsenter "--pid=/proc/$FU_PID/ns/pid" sh -c "echo 400 >$all"
	[ "$(cat $all)" = "$before" ] || [ -n "${FU_MACHINE:-}" ] || echo "$before" >$all
}

fugitive() { # NAME
	local fate status options got=0 fu_id fu_devs fu_mark=fugitive-$1-$BASHPID-$RANDOM

	read -r _ fate status options < <("$FU_BIN/fugitive" list | grep "^$1 ")
	case $1 in
	fuse) fu_tell fuse ;;
	pid-reuse) fu_few_pids ;;
	esac
	[ "$fate" = gone ] || status=123
	# shellcheck disable=SC2086 # options are words
	recapctl attach --report "$FU_WORK/report" -e FUGITIVE="$fu_mark" $options "$FU_TARGET" \
		fugitive:1 -- "$1" >"$FU_WORK/out" 2>"$FU_WORK/err" || got=$?
	cat "$FU_WORK/out" "$FU_WORK/err"
	((got == status)) || {
		echo "status $got, not $status"
		return 1
	}
	read -ra fu_devs < <(sed -n 's/^layer //p' "$FU_WORK/out")
	[ ${#fu_devs[@]} -eq 2 ]
	fu_id=$(jq -r .id "$FU_WORK/report")
	if [ "$fate" = gone ]; then
		fu_gone "$1"
	else
		fu_held "$fate"
	fi
}
