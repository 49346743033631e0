/* SPDX-License-Identifier: MIT */
/*
 * The life of one capsule, for spin(1): its tree, recapd, the keeper of recapd's descriptors, and what may happen to each at any
 * moment. tests/model/run checks that
 *
 *   no drop before escape   recapd drops a layer only when no tagged task lives and nothing holds the layer (assertions in drop());
 *   every capsule ends      once it is asked to, or its tool ended: dropped or failed, or quarantined for as long as a task
 *                           outlives SIGKILL or a process of the target holds the layer (ends: OVER or STAYS);
 *   no layer leaks          in the end a layer is mounted only while something holds it (ends: KEPT);
 *
 * however often recapd is killed, whether or not the keeper is killed, too, and whatever the tree does. What is fair: a process that
 * can go on does so some time; recapd is killed twice at most, the keeper once. A tracer or a holder may let go, or never.
 *
 * The names of states are those of the code: enum capsule_state (user/core/capsule_internal.h) and enum recap_capsule_state
 * (include/recap/abi.h); the run compares them. Each guard can be taken away (-DNO_...), and that must be found.
 */
mtype:state = { created, running, draining, escaped, dropped, quarantined, failed };
mtype:task = { unborn, live, exiting, gone };

/* ---- facts: the kernel's, which outlive recapd ---- */
mtype:task init_task = unborn, tool = unborn, child = unborn; /* tagged */
mtype:task untagged = unborn; /* a child that could not be tagged */
bool tool_left, child_left;   /* live, in another mount namespace, with nothing of the layer open */
bool stuck;    /* the child outlives SIGKILL: traced, or asleep in the kernel */
bool passed;   /* a process of the target has a descriptor of the layer */
bool executed; /* the tracepoint saw the tool's exec */
bool released; /* the tool may be executed */
bool tracked;  /* there is an entry in the map `capsules` */
bool mounted;  /* the layer, in recapd's workshop, which recapd or the keeper holds */
bool asked;    /* time limit, stop, client or target gone */

/* ---- recapd's memory ---- */
bool up = true, keeper = true;
byte stage; /* of the attach: 0 none, 1 layer, 2 entry, 3 forked, 4 stepped by facts, 5 over */
mtype:state state = created;
bool by_tags; /* adopted without a keeper: there is no layer to ask */
bool late;    /* a round of SIGKILL, or of asking the second witness, was in vain */
bool begun;

byte crashes = 2, keeper_deaths = 1;

#define LIVE ((init_task == live) + (tool == live) + (child == live))
/* sched_process_exit comes before a task lets go of its files. */
#define HOLDS(t, left) ((t == live && !left) || t == exiting)
#define HELD (HOLDS(init_task, false) || HOLDS(tool, tool_left) || HOLDS(child, child_left) || \
	      HOLDS(untagged, false) || passed)
#define ENDED(t) (t == unborn || t == gone)

/* ---- the tree, and the kernel ---- */

#define GOES(t) t == exiting -> t = gone
#define KILL(t) t = (t == live -> exiting : t)

active proctype kernel()
{
end:	do
	:: atomic { GOES(init_task); KILL(tool) } /* PR_SET_PDEATHSIG */
	:: atomic { GOES(tool) }
	:: atomic { GOES(child) }
	:: atomic { GOES(untagged) }
	/* Init waits for all that it has become the parent of. */
	:: atomic { init_task == live && ENDED(tool) && tool != unborn && ENDED(child) && ENDED(untagged) ->
		    init_task = exiting }
	od
}

active proctype tree()
{
end:	do
	:: atomic { init_task == live && tool == unborn -> tool = live }
	:: atomic { init_task == live && tool == unborn -> init_task = exiting } /* a step failed */
	:: atomic { tool == live && !executed && released -> executed = true }
	:: atomic { tool == live && !executed -> tool = exiting } /* not found */
	:: atomic { tool == live && executed && child == unborn -> child = live; if :: stuck = true :: skip fi }
	:: atomic { tool == live && executed && untagged == unborn && !tool_left -> untagged = live }
	:: atomic { tool == live && executed && !tool_left && !passed -> if :: passed = true :: tool_left = true fi }
	:: atomic { child == live && !child_left && !passed -> if :: passed = true :: child_left = true fi }
	:: atomic { tool == live && executed -> tool = exiting }
	:: atomic { child == live && !stuck -> child = exiting }
	:: atomic { untagged == live -> untagged = exiting }
	:: stage <= 5 /* always: nothing of this has to happen, ever, and no run ends */
	/* Tracer and holder: once, since the tree cannot pass on what it does not have. */
	:: atomic { stuck -> stuck = false }
	:: atomic { passed && ENDED(tool) && ENDED(child) -> passed = false }
	od
}

active proctype operator()
{
	asked = true
}

/* ---- faults ---- */

active proctype faults()
{
end:	do
	:: atomic { up && crashes > 0 -> crashes--; up = false; stage = 0; state = created; late = false; by_tags = false;
		    mounted = mounted && keeper }
	:: atomic { keeper && keeper_deaths > 0 -> keeper_deaths--; keeper = false; mounted = mounted && up }
	od
}

/* ---- recapd: capsule_step.c ---- */

/* cow_busy() is one system call. What holds nothing can get hold of nothing: so it stays true until the drop. */
#ifdef NO_SECOND_WITNESS
#define FREE true
#else
#define FREE (!HELD)
#endif
#ifdef NO_FIRST_WITNESS
#define EMPTY true
#else
#define EMPTY (LIVE == 0)
#endif

inline drop()
{
	assert(LIVE == 0);
	assert(!HELD);
	mounted = false
}

inline finish()
{
	assert(LIVE == 0);
	tracked = false;
	stage = 5;
	if
	:: executed -> state = dropped
	:: else -> state = failed
	fi
}

/* Again and again, until what may die has died. */
inline kill_round()
{
#ifndef NO_KILL
	KILL(tool);
	child = (child == live && !stuck -> exiting : child);
	/* The last rounds take init along, and all that is in the cgroup. */
	if
	:: late -> KILL(init_task); KILL(untagged)
	:: else
	fi;
#endif
	late = true
}

/* As for one that was started, but for who kept what meanwhile. */
inline adopt()
{
	if
#ifndef NO_ADOPTION
	:: tracked ->
		stage = 4;
		by_tags = !mounted;
		if
		:: by_tags -> state = draining
		:: !by_tags && executed -> state = running
		:: else -> state = created
		fi
#endif
#ifndef NO_SWEEP
	:: !tracked && mounted -> drop() /* of a start that had not come to its entry */
#endif
	:: else
	fi
}

active proctype recapd()
{
end:	do
	:: atomic { !up -> up = true; adopt() }
	:: atomic { up && !keeper -> keeper = true }
	:: atomic { up && stage == 0 && !begun -> begun = true; mounted = true; stage = 1 }
	:: atomic { up && stage == 1 -> tracked = true; stage = 2 }
	:: atomic { up && stage == 2 -> init_task = live; stage = 3 }
	:: atomic { up && stage == 2 -> drop(); finish() } /* no process */
	:: atomic { up && stage == 3 -> released = true; stage = 4 }

	/* step_running() */
	:: atomic { up && stage == 4 && state == created && executed -> state = running }
	:: atomic { up && stage == 4 && (state == created || state == running) &&
		    (asked || ENDED(init_task) || (executed && ENDED(tool))) -> state = draining }
	/* No exec within the time limit. */
	:: atomic { up && stage == 4 && state == created && !executed -> state = draining }

	/* step_draining() */
	:: atomic { up && stage == 4 && state == draining && LIVE > 0 && !late -> kill_round() }
	:: atomic { up && stage == 4 && state == draining && LIVE > 0 && late -> kill_round();
		    if :: LIVE > 0 -> state = quarantined :: else -> late = false fi }

	/* try_escape() */
	:: atomic { up && stage == 4 && state == draining && !by_tags && EMPTY && FREE -> state = escaped }
	:: atomic { up && stage == 4 && state == draining && !by_tags && LIVE == 0 && HELD -> KILL(untagged);
		    if :: late -> state = quarantined :: else -> late = true fi }
	:: atomic { up && stage == 4 && state == draining && by_tags && LIVE == 0 -> finish() }
	:: atomic { up && stage == 4 && state == escaped && mounted -> drop() }
	:: atomic { up && stage == 4 && state == escaped && !mounted -> finish() }

#ifndef NO_RETRY
	:: atomic { up && stage == 4 && state == quarantined && LIVE > 0 -> kill_round() }
	:: atomic { up && stage == 4 && state == quarantined && LIVE == 0 && HELD -> KILL(untagged) }
	:: atomic { up && stage == 4 && state == quarantined && by_tags && LIVE == 0 -> finish() }
	:: atomic { up && stage == 4 && state == quarantined && !by_tags && EMPTY && FREE -> state = escaped }
#endif
	od
}

/* ---- what holds ---- */

#define OVER  (up && begun && !tracked && LIVE == 0)
#define STAYS (up && state == quarantined && ((child == live && stuck) || passed))
#define KEPT  (!mounted || HELD || LIVE > 0)

ltl ends { <>[] ((OVER || STAYS) && KEPT) }
/* Never true of the model: each names what must be able to happen. */
ltl never_dropped { [] !(stage == 5 && state == dropped) }
ltl never_failed { [] !(stage == 5 && state == failed) }
ltl never_quarantined { [] !(state == quarantined && passed && LIVE == 0) }
ltl never_resolved { ! <> (state == quarantined && <> (state == dropped)) }
ltl never_by_tags { [] !(stage == 5 && by_tags && passed) }
