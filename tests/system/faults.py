#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Fail each fault point of a recapd that was built with FAULTS=1, one after the other (tests/fault/fault.h).

usage: faults.py COMMAND TARGET -- RECAPD FLAG...
  walk SCENARIO   find the points that a scenario reaches, then run it once for each, with that point failing the first
                  time that it is reached; with FAULTS_ALL=1 also the last time, and each time. Afterwards: the answer is
                  right or one clear line, a plain attach works, and nothing is left.
  adopt [FILES]   the same for the start of a recapd that finds a capsule of one that died; of these source files
  end             the same for the end of recapd
  kernel          the same for the helpers of the kernel's programs
  kill SCENARIO   end recapd with SIGKILL at each point that a scenario reaches: the next one sees the capsule out
  states          the same in each state of a capsule
  unreached       print the points that no run before has reached

What is wrong is printed, a line each; the exit status is 1 then. From the environment: B, RECAP_RUN, RECAP_STATE,
RECAP_CGROUP, RECAP_BPFFS, RECAP_SOCKET, RECAP_AUDIT (tests/system/common.bash); FAULTS_REACHED: a file for what was
reached.
"""
import collections
import contextlib
import ctypes
import errno
import functools
import json
import mmap
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import threading
import time

ENV = os.environ
RUN = pathlib.Path(ENV["RECAP_RUN"])
CONTROL = RUN / "faults"
REPORT = RUN / "report"
POLICY = RUN / "policy.json"
HERE = pathlib.Path(__file__).parent
HEADER = struct.Struct("=IIIiIIII")
POINT = struct.Struct("=76sI")
ARMED_AT, SKIP_AT = 8, 12
POINTS_MAX = 1535
CLONE_NEWNS = 0x00020000
SYS_BPF = 321
FAILURE = errno.ENOMEM
ALL = bool(ENV.get("FAULTS_ALL"))
# Where going on would be worse than dying: paths would be looked up in the wrong mount namespace, no capsule would be looked at
# in time. And no memory to write a record with, as json-c has it. The next recapd adopts what runs then.
FATAL = {"cow.c enter:setns", "residue.c go:setns", "json.c json_new_foreign:malloc", "audit.c pending_new:calloc",
         "capsule.c arm:timerfd_settime"}
# What nothing can be done about: a map that never lets go of an entry; a file, or a keeper, that the next recapd will
# remove.
LEAVES = {"track.c track_capsule_remove:bpf_map_delete_elem always", "keeper.c end:unlinkat",
          "keeper.c end:SYS_pidfd_send_signal"}
# The last is how one of the others is called that could not take its name.
HELPERS_OF_RECAPD = {"recap-starter", "recap-injector", "recap-reader", "recap-keeper", "recapd"}
# Its init could not be confined, or recapd cannot watch it: the tool is killed, and it says so.
ENDED = 128 + signal.SIGKILL
CUT_OFF = 128 + signal.SIGTERM
# A tool without a tag, or whose entry in the map is gone, which is to say that nothing has counted its exec and its exit.
UNKNOWN = "how it fared is not known"
GONE = "recapctl: recapd has gone: waiting for it to come back\n"
STICKY_S = 1.5  # beyond the time that a layer has before it is quarantined
WAIT_S = 10  # for what is true once whoever has to has had the CPU: far more than it takes
CLIENT_S = 18  # for a client's answer
STRIKE_S = 0.05  # from the client's end to the last of what is done behind its back
LIMIT_S = 20  # for anything at all: see within()

libc = ctypes.CDLL(None, use_errno=True)
wrong = []


def complain(what):
    wrong.append(what)
    print(f"WRONG {what}", flush=True)


def complain_here(what):
    complain(f"{(RUN / 'now').read_text()}: {what}")


def wait_for(seconds, condition):
    """The first thing that condition() returns and that is true; or what it returned last."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return value


class Hung(Exception):
    """What should have ended long ago has not."""


def on_alarm(_, frame):
    while frame.f_back and frame.f_code.co_filename != __file__:
        frame = frame.f_back
    raise Hung(f"{LIMIT_S} s in {frame.f_code.co_name}(), line {frame.f_lineno}")


@contextlib.contextmanager
def within(what):
    """Whatever of ours waits beyond that is given up, with one line that says where, and with what is waited for."""
    signal.alarm(LIMIT_S)
    try:
        yield
    except (Hung, subprocess.TimeoutExpired) as e:
        signal.alarm(0)
        complain(f"{what}: hung: {e}; {waiters()}")
        sys.exit(1)
    finally:
        signal.alarm(0)


def waiters():
    """Our children, and what is in capsules, with what the kernel has each wait for."""
    found, ours, lines = processes(), {os.getpid()}, []
    for pid, (name, state, parent) in sorted(found.items()):
        if parent in ours or is_in_capsule(pid):
            ours.add(pid)
            try:
                lines.append(f"{pid} {name} {state} {pathlib.Path(f'/proc/{pid}/wchan').read_text()}")
            except OSError:
                pass
    return ", ".join(lines)


# ---- the kernel's maps ---------------------------------------------------------------------------

def bpf(command, attr):
    buf = ctypes.create_string_buffer(attr, 128)
    result = libc.syscall(SYS_BPF, command, buf, 128)
    return result, ctypes.get_errno()


def pinned(name):
    path = ctypes.create_string_buffer(f"{ENV['RECAP_BPFFS']}/{name}".encode())
    fd, error = bpf(7, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    if fd < 0:
        raise OSError(error, f"map {name}")
    return fd


def map_is_empty(fd):
    key = ctypes.create_string_buffer(64)
    return bpf(4, struct.pack("=IxxxxQQ", fd, 0, ctypes.addressof(key)))[0] < 0


def kernel_fault(helper=0, skip=0):
    """Arm it, or none; how often the last one struck."""
    fd = pinned("faults")
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(16)
    attr = struct.pack("=IxxxxQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    bpf(1, attr)
    fired = struct.unpack("=IiII", value.raw)[2]
    value.raw = struct.pack("=IiII", helper, skip, 0, 0)
    bpf(2, attr)
    os.close(fd)
    return fired


# ---- the fault points of recapd ------------------------------------------------------------------

class Control:
    newest = None

    def __init__(self):
        Control.newest = self
        size = HEADER.size + POINTS_MAX * POINT.size
        CONTROL.write_bytes(bytes(size))
        with CONTROL.open("r+b") as f:
            self.map = mmap.mmap(f.fileno(), size)
        self.timer = None

    def header(self):
        return HEADER.unpack_from(self.map, 0)

    def points(self):
        """[(name, hits)] by index; hits start anew."""
        found, seen = [], collections.Counter()
        for i in range(self.header()[1]):
            name, hits = POINT.unpack_from(self.map, HEADER.size + i * POINT.size)
            name = name.rstrip(b"\0").decode()
            seen[name] += 1
            found.append((name if seen[name] == 1 else f"{name}/{seen[name]}", hits))
            struct.pack_into("=I", self.map, HEADER.size + i * POINT.size + 76, 0)
        return found

    def arm(self, index, skip=0, sticky=False, error=FAILURE):
        struct.pack_into("=iIII", self.map, SKIP_AT, skip, sticky, error, 0)
        struct.pack_into("=I", self.map, ARMED_AT, index + 1)

    def arm_for(self, seconds, index):
        """It fails each time until then."""
        self.arm(index, sticky=True)
        self.timer = threading.Timer(seconds, self.disarm)
        self.timer.daemon = True
        self.timer.start()

    def disarm(self):
        """How often it struck."""
        if self.timer:
            self.timer.cancel()
        struct.pack_into("=I", self.map, ARMED_AT, 0)
        return self.fired()

    def fired(self):
        return self.header()[6]


def processes():
    """PID to name, state and parent."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2:].split()
        found[int(pid)] = (stat[stat.index(b"(") + 1:stat.rindex(b")")].decode(errors="replace"), fields[0].decode(),
                           int(fields[1]))
    return found


def is_in_capsule(pid):
    try:
        return f":/{ENV['RECAP_CGROUP']}/" in pathlib.Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
    except OSError:
        return False


# ---- recapd --------------------------------------------------------------------------------------

class Recapd:
    def __init__(self, argv):
        self.argv = argv
        self.proc = None
        self.answers = False
        self.starts = 0
        self.before = None
        self.proc_dir = os.open("/proc", os.O_RDONLY)
        self.host = os.open("/proc/self/ns/mnt", os.O_RDONLY)

    def start(self):
        """Whether it answers."""
        self.answers = False
        with (RUN / "log").open("a") as log:
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env={**ENV, "RECAP_FAULTS": str(CONTROL)},
                                         start_new_session=True)
        (RUN / "pid").write_text(f"{self.proc.pid}\n")
        wait_for(WAIT_S, lambda: self.dead() or recapctl("list")[0] == 0)
        self.answers = not self.dead()
        self.starts += 1
        return self.answers

    def dead(self):
        return self.proc.poll() is not None

    def kill(self):
        # Whoever revives it may have put the next one there before this one is waited for.
        proc = self.proc
        proc.kill()
        proc.wait(LIMIT_S)

    def kill_with(self, before):
        """Kill it; before() is called before it is started again."""
        self.before = before
        self.kill()

    def revive(self, before):
        """As a service manager does it, until what this returns is called, which tells how it died."""
        deaths, over = [], threading.Event()
        self.before = before

        def guard():
            while not over.wait(0.005):
                if not self.dead() or len(deaths) > 3:
                    continue
                deaths.append(self.proc.returncode)
                self.before()
                self.before = before
                self.start()

        def revived():
            over.set()
            thread.join(LIMIT_S)
            return deaths
        thread = threading.Thread(target=guard, daemon=True)
        thread.start()
        return revived

    def end(self, what="", fatal=False):
        """As its service manager does it."""
        self.proc.terminate()
        try:
            status = self.proc.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            status = "a timeout"
        (RUN / "status").write_text("0\n")
        if status and not (fatal and status == -signal.SIGABRT):
            complain(f"{what}recapd ended with {status}")

    def descriptors(self):
        """What they are of, but for numbers."""
        folder, found = f"/proc/{self.proc.pid}/fd", []
        for fd in os.listdir(folder):
            try:
                found.append(re.sub(r"/[0-9a-f]{12}$|[0-9]+", "N", os.readlink(f"{folder}/{fd}")))
            except OSError:
                pass
        # Who finds the programs attached has no link of its own.
        return collections.Counter(name for name in found if name != "anon_inode:bpf_link")

    def layers(self):
        """Names in the workshops: mount namespaces that nobody but recapd and its keepers has."""
        found = set()
        folder = f"/proc/{self.proc.pid}/fd"
        for fd in os.listdir(folder):
            try:
                if not os.readlink(f"{folder}/{fd}").startswith("mnt:"):
                    continue
                namespace = os.open(f"{folder}/{fd}", os.O_RDONLY)
            except OSError:
                continue
            libc.setns(namespace, CLONE_NEWNS)
            os.close(namespace)
            try:
                found.update(os.listdir("/c"))
            except OSError:
                pass
            with open(os.open("self/mountinfo", os.O_RDONLY, dir_fd=self.proc_dir), encoding="ascii") as f:
                found.update(m[1] for m in re.finditer(r" /c/(\S+) ", f.read()))
            libc.setns(self.host, CLONE_NEWNS)
        libc.setns(self.host, CLONE_NEWNS)
        return found

    def children(self):
        """Names of its children."""
        return [name for name, _, parent in processes().values() if parent == self.proc.pid]

    def tree(self):
        """
        What is in capsules' cgroups, but for the starter that waits. Who is dead and somebody else's child is not ours to reap: the
        target's PID 1, or the machine's for children of a recapd that died, does that when it likes.
        """
        found, tree = processes(), {}
        for pid in found:
            if is_in_capsule(pid):
                tree[pid] = found[pid]
        ours = {*tree, self.proc.pid}
        return [f"{pid} {name} {state}, of {parent}" for pid, (name, state, parent) in tree.items()
                if name != "recap-starter" and (state not in "ZX" or parent in ours)]

    def groups(self):
        found = set()
        for top in groups_tops():
            found.update(e.name for e in top.iterdir() if e.is_dir())
        return found


def groups_tops():
    return [top for pattern in (ENV["RECAP_CGROUP"], f"*/{ENV['RECAP_CGROUP']}")
            for top in pathlib.Path("/sys/fs/cgroup").glob(pattern)]


def recapctl(*args):
    try:
        p = subprocess.run([f"{ENV['B']}/recapctl", *args], capture_output=True, text=True, timeout=CLIENT_S,
                           stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return "a time-out", "", ""
    return p.returncode, p.stdout, p.stderr


def read_report():
    try:
        return json.loads(REPORT.read_text())
    except (OSError, ValueError):
        return None


def results():
    """How often the audit has the end of each capsule."""
    n = collections.Counter()
    for line in pathlib.Path(ENV["RECAP_AUDIT"]).read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "result" and entry.get("capsule", {}).get("state") in ("dropped", "failed"):
            n[entry["capsule"]["id"]] += 1
    return n


def is_proven(record):
    return (record is not None and record["state"] == "dropped" and record["cow"]["dropped"] and
            record["holders"] == [] and record["proof"]["live_tasks"] == 0 and
            not record["proof"]["overlay_busy"])


# ---- scenarios: each returns recapctl's status and standard error --------------------------------

def attach(target, *args, image="toolbox"):
    REPORT.unlink(missing_ok=True)
    split = args.index("--")
    status, out, err = recapctl("attach", "--report", str(REPORT), *args[:split], target, image, *args[split:])
    if status == 0 and out != "here\n":
        complain_here(f"the tool ended with 0, and said {out!r}")
    # Where the kernel cannot tell either, the line says so.
    if status in (125, 126) and out and UNKNOWN not in err:
        complain_here(f"{status}, as if the tool had not run, which said {out!r}: {err.strip()}")
    return status, err


def plain(target):
    return attach(target, "--", "echo", "here")


def rich(target):
    """All that an attach can ask for."""
    return attach(target, "--memory", "32m", "--pids", "64", "--cpus", "1", "-u", "12:34", "-w", "/tmp",
                  "-e", "A=b", "--cow-size", "2m", "--cap-add", "NET_ADMIN", "--namespaces", "net,ipc",
                  "--target-root", "rw", "--timeout", "10", "--", "echo", "here")


def tracer(target):
    """Init is sealed before the tool starts, and there is no Landlock."""
    return attach(target, "--cap-add", "SYS_PTRACE", "--target-root", "none", "--", "echo", "here")


def leftover(target):
    """What the tool leaves has to be killed."""
    return attach(target, "--", "sh", "-c", "echo here; trap '' TERM; sleep 1000 >/dev/null 2>&1 &")


def limited(target):
    """Its starter is not in the capsule's cgroup."""
    return attach(target, "--pids", "64", "--", "echo", "here")


def announced(target):
    """There are three lines of it in the audit: it is asked for, has started, and has ended."""
    return attach(target, "--", "sh", "-c", "sleep 0.2; echo here")


def stopped(target):
    p = subprocess.Popen([f"{ENV['B']}/recapctl", "attach", target, "toolbox", "--", "sleep", "1000"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True)
    name = wait_for(2, lambda: p.poll() is not None or
                    [c["id"] for c in json.loads(recapctl("ps", "--json")[1] or "[]")
                     if c["state"] == "running"])
    if isinstance(name, list) and name:
        recapctl("stop", "--timeout", "1", name[0])
    elif p.poll() is None:
        p.terminate()
    err = p.communicate(timeout=CLIENT_S)[1]
    # 143: the tool's own, of SIGTERM.
    return 0 if p.returncode in (143, 137) else p.returncode, err


def detached(target):
    status, out, err = recapctl("attach", "-d", target, "toolbox", "--", "echo", "here")
    if status == 0:
        wait_for(5, lambda: json.loads(recapctl("ps", "--json")[1] or "[0]") == [])
        recapctl("logs", out.strip())
    return status, err


def terminal(target):
    ours, theirs = pty.openpty()
    p = subprocess.Popen([f"{ENV['B']}/recapctl", "attach", "-t", target, "toolbox", "--", "true"],
                         stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    err = p.communicate(timeout=CLIENT_S)[1]
    os.close(ours)
    return p.returncode, err.replace("\r", "")


@functools.cache
def app_pid(target):
    return [c["pid"] for c in json.loads(recapctl("list", "--json")[1])
            if f"{c['runtime']}:{c['name']}" == target][0]


def let_go(pid):
    """Have the application close what it was passed."""
    subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", f"{ENV['B']}/tests/probe", "tell", "recap-app",
                    "close"], check=False, capture_output=True)


def held(target, *options):
    """The application keeps the layer for a moment: quarantined, and then not."""
    pid = app_pid(target)
    status, _, err = recapctl("attach", *options, target, "probe", "--", "passfd", "recap-app", "/probe")
    let_go(pid)
    return (0 if status == 123 else status), err


def held_disk(target):
    return held(target, "--cow", "disk", "--cow-size", "16m")


def disk(target):
    return attach(target, "--cow", "disk", "--cow-size", "16m", "--", "sh", "-c", "echo here; echo x >/file")


def filled(target):
    """No room is left for the probe."""
    return attach(target, "--cow-size", "64k", "--", "sh", "-c", "echo here; yes >/file 2>/dev/null; true")


def many(target):
    """The names of its layers do not fit one string of fsconfig(2)."""
    return attach(target, "--", "echo", "here", image="many")


def apart(target):
    return attach(target, "--namespaces", "pid", "--", "echo", "here")


def hosted(target):
    """All but the target's processes; in a namespace of them that is new."""
    return attach(target, "--namespaces", "net,uts,ipc", "--cap-add", "SYS_ADMIN", "--", "echo", "here")


def profile(target):
    return attach(target, "--seccomp", f"{HERE}/../unit/data/seccomp.json", "--", "echo", "here")


def userns(target):
    return attach(f"{target}-user", "--", "echo", "here")


def residue(target):
    """What is left in the target's IPC namespace."""
    status, _, err = recapctl("attach", "--report", str(REPORT), target, "probe", "--", "leave", "shm")
    subprocess.run(["nsenter", f"--ipc=/proc/{app_pid(target)}/ns/ipc", "ipcrm", "--all"], check=False,
                   capture_output=True)
    return status, err


def too_long(target):
    """Refused when there is a starter, a layer and a log already."""
    status, _, err = recapctl("attach", "-d", target, "toolbox", "--", "echo", *["x" * 100000] * 14)
    return (0 if status == 126 else status), err


def policed(target):
    """By a policy that was just read, as somebody who is not root; and read again."""
    POLICY.write_text(json.dumps({"rules": [
        {"name": "crew", "decision": "allow", "groups": ["daemon"], "verbs": ["attach"],
         "images": {"reference": ["toolbox"]}, "targets": {"runtime": ["runc"]}}]}))
    subprocess.run(["kill", "-HUP", str(recapd_pid())], check=True)
    os.chmod(ENV["RECAP_RUN"], 0o755)
    REPORT.unlink(missing_ok=True)
    p = subprocess.run(["setpriv", "--reuid=4001", "--regid=1", "--clear-groups", f"{ENV['B']}/recapctl", "attach",
                        target, "toolbox", "--", "echo", "here"], capture_output=True, text=True, timeout=CLIENT_S,
                       stdin=subprocess.DEVNULL, check=False)
    POLICY.unlink()
    subprocess.run(["kill", "-HUP", str(recapd_pid())], check=True)
    return p.returncode, p.stderr


def recapd_pid():
    return Control.newest.header()[0]


SCENARIOS = {f.__name__: f for f in (plain, rich, tracer, leftover, stopped, detached, terminal, held, held_disk, disk, filled,
                                     many, apart, hosted, profile, userns, residue, too_long, policed)}


def newcomer(_):
    """A container, or what is like one, comes and goes."""
    subprocess.run(["unshare", "--mount", "true"], check=True)
    return 0, ""


# What the kernel's programs call (tests/fault/fault.bpf.h), and what has them do so.
HELPERS = {"task storage": (1, plain), "map update": (2, newcomer), "ring buffer": (3, detached),
           "iterator": (4, leftover)}

# ---- the walk ------------------------------------------------------------------------------------

class Waiting:
    """An attach whose tool waits to be told to end, with 7."""

    def __init__(self, target):
        REPORT.unlink(missing_ok=True)
        self.proc = subprocess.Popen(
            [f"{ENV['B']}/recapctl", "attach", "--report", str(REPORT), target, "toolbox", "--", "sh", "-c",
             "echo ready; read -r _; exit 7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.proc.stdout.readline()

    def end(self):
        try:
            out, err = self.proc.communicate("end\n", timeout=CLIENT_S)
            if out:
                complain_here(f"the tool ran twice: {out!r}")
        except subprocess.TimeoutExpired:
            self.proc.kill()
            return "a time-out", self.proc.communicate(timeout=CLIENT_S)[1]
        return self.proc.returncode, err


class Walk:
    def __init__(self, recapd, control, target):
        self.recapd, self.control, self.target = recapd, control, target
        self.idle = None
        self.capsules = None
        self.done = set()
        self.seen = []

    def settle(self):
        with within("recapd's start"):
            if not self.recapd.start():
                sys.exit("recapd does not start")
        with within("the first attaches"):
            self.warm_up()

    def warm_up(self):
        """Two attaches of the same image: then the next berth is complete."""
        for _ in range(3):
            status, err = plain(self.target)
            if status:
                sys.exit(f"a plain attach ended with {status}: {err}")
        if self.capsules is not None:
            os.close(self.capsules)
        self.capsules = pinned("capsules")
        # Asked for while nothing fails.
        app_pid(self.target)
        self.idle = None
        wait_for(2, lambda: self.is_clean() and "recap-starter" in self.recapd.children())
        # And the last client's connection, and its capsule's books, are closed.
        time.sleep(0.05)
        self.idle = self.recapd.descriptors()

    def residue(self):
        """Whatever is left of capsules; but for one of each that is made ahead."""
        left = []
        if not map_is_empty(self.capsules):
            left.append("an entry in the map")
        for what, names, ahead in (("layers", self.recapd.layers(), 1), ("cgroups", self.recapd.groups(), 1),
                                   ("keepers", os.listdir(f"{ENV['RECAP_STATE']}/keepers"), 1)):
            if len(names) > ahead:
                left.append(f"{what} {names}")
        names = self.recapd.children()
        if [n for n in names if n not in HELPERS_OF_RECAPD] or len(names) >= len(HELPERS_OF_RECAPD):
            left.append(f"processes {names}")
        if tree := self.recapd.tree():
            left.append(f"in capsules' cgroups {tree}")
        now = self.recapd.descriptors()
        if self.idle is not None and now != self.idle:
            left.append(f"{now.total()} descriptors, not {self.idle.total()}: {now - self.idle}, without {self.idle - now}")
        return left

    def is_clean(self):
        """Also a moment later: books and the next berth may still be due."""
        if self.residue():
            return False
        time.sleep(0.01)
        return not self.residue()

    def works(self, what):
        """A plain attach succeeds, and then nothing is left but what may be."""
        status, err = plain(self.target)
        if status or not is_proven(read_report()):
            complain(f"{what}: the next attach ended with {status}: {err.strip()}")
        # One that failed while nobody waited leaves the next attach to make its own.
        for _ in range(2):
            if "recap-starter" not in self.recapd.children():
                plain(self.target)
        leaves = any(what.endswith(f": {point}") for point in LEAVES)
        left = [] if wait_for(1 if leaves else WAIT_S, self.is_clean) else self.residue()
        if left and not leaves:
            complain(f"{what}: after {WAIT_S} s left behind: {'; '.join(left)}")
        for record in json.loads(recapctl("ps", "--json")[1] or "[]"):
            complain(f"{what}: not finished: {record}")
        if left:
            # Or each one after it would complain, too.
            self.recapd.kill()
            self.idle = None
            self.settle()

    def judge(self, what, status, err, allowed):
        record = read_report()
        # The client says so, and comes back.
        err = err.replace(GONE, "")
        # It was taken for one that had hung up: what it was told has that, too.
        if status in (CUT_OFF, ENDED) and record and record.get("reason") == "client-gone" and is_proven(record):
            return
        if status not in allowed:
            complain(f"{what}: ended with {status}: {err.strip()}")
        elif status not in (0, 7, 123) and len(err.splitlines()) != 1:
            complain(f"{what}: {status}, and not one line: {err!r}")
        elif status in (0, 7) and record and not is_proven(record):
            complain(f"{what}: a record that is not right: {record}")

    def run(self, what, scenario, allowed, fatal=(), expected=()):
        """Run it, with a service manager; then look at all that must hold afterwards. How often it struck."""
        began = time.monotonic()
        (RUN / "now").write_text(what)
        REPORT.unlink(missing_ok=True)
        revived = self.recapd.revive(self.control.disarm)
        try:
            with within(what):
                status, err = scenario(self.target)
            # What is done once nobody waits.
            wait_for(STRIKE_S, self.control.fired)
            fired = self.control.disarm()
            # Whether it is dead is seen a moment later.
            time.sleep(0.015)
        finally:
            deaths = revived()
        if self.recapd.dead():
            complain(f"{what}: recapd does not start any more")
            self.settle()
        died = [death for death in deaths if death not in expected]
        if died and not (fatal and died == [-signal.SIGABRT]):
            complain(f"{what}: recapd died of it: {died}")
        self.judge(what, status, err, allowed)
        with within(f"{what}: afterwards"):
            if deaths:
                self.warm_up()
            self.works(what)
        if time.monotonic() - began > 2:
            print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)
        return fired

    def reached(self, scenario):
        """[(index, point, how often)] of what the scenario reaches, from one idle moment to the next."""
        self.control.points()
        with within(f"{scenario.__name__}: no fault"):
            scenario(self.target)
        time.sleep(0.05)
        return self.note_reached(self.control.points())

    @staticmethod
    def note_reached(points):
        found = [(i, point, n) for i, (point, n) in enumerate(points) if n]
        if "FAULTS_REACHED" in ENV:
            with open(ENV["FAULTS_REACHED"], "a", encoding="ascii") as f:
                f.writelines(f"{point}\n" for _, point, _ in found)
        return found

    def each(self, scenario):
        """
        Those of its points that have not failed yet; what all have in common is the plain one's. That is what it reaches every time:
        whether its init is sealed before its tool ends, say, is luck.
        """
        if scenario != plain:
            self.done.update(set.intersection(*({point for _, point, _ in self.reached(plain)} for _ in range(3))))
        return [found for found in self.reached(scenario) if found[1] not in self.done]

    def walk(self, name):
        scenario = SCENARIOS[name]
        points, struck = self.each(scenario), 0
        for i, point, n in points:
            fatal = point.split("/")[0] in FATAL
            for nth in sorted({0, n - 1} if ALL else {0}):
                self.control.arm(i, nth)
                fired = self.run(f"{name}: {point}" + (f" #{nth + 1}" if nth else ""), scenario, {0, 125, 126, ENDED}, fatal)
                struck += bool(fired)
                if fired:
                    self.done.add(point)
                else:
                    print(f"{name}: {point} did not fail", flush=True)
            if ALL:
                self.control.arm_for(STICKY_S, i)
                self.run(f"{name}: {point} always", scenario, {0, 123, 125, 126, 127, ENDED}, fatal)
        print(f"{name}: {len(points)} points, which failed {struck} times", flush=True)

    # ---- recapd's start and end ----

    def kill_and_wait(self, first):
        """Kill recapd, call first(), and wait for the next one that works."""
        starts = self.recapd.starts
        self.recapd.kill_with(first)
        wait_for(WAIT_S, lambda: self.recapd.starts > starts and self.recapd.answers)

    def restart(self, target, first):
        """recapd dies while a capsule runs; first() is called before the next one starts."""
        client = Waiting(target)
        self.kill_and_wait(first)
        answer = client.end()
        # The old keeper is ended when nobody waits any more.
        wait_for(2, lambda: len(os.listdir(f"{ENV['RECAP_STATE']}/keepers")) <= 1)
        self.seen = self.control.points()
        return answer

    def adopt(self, files=""):
        self.run("adopt: no fault", lambda target: self.restart(target, self.control.points), {7}, expected=(-9,))
        points, struck = self.note_reached(self.seen), 0
        if not ALL and files:
            points = [found for found in points if found[1].split(".")[0] in files.split(",")]
        for i, point, _ in points:
            struck += bool(self.run(f"adopt: {point}", lambda target, i=i: self.restart(target, lambda: self.control.arm(i)),
                                    {7, 125, ENDED}, point.split("/")[0] in FATAL, (-9, 1)))
        print(f"adopt: {len(points)} points, which failed {struck} times", flush=True)

    def end(self):
        self.control.points()
        self.recapd.end()
        points = self.note_reached(self.control.points())
        for i, point, _ in points:
            self.settle()
            (RUN / "now").write_text(point)
            self.control.arm(i)
            self.recapd.end(f"end: {point}: ", point.split("/")[0] in FATAL)
            self.control.disarm()
        self.settle()
        self.works("end: all")
        print(f"end: {len(points)} points", flush=True)

    # ---- the kernel's programs ----

    def kernel(self):
        for name, (helper, scenario) in HELPERS.items():
            struck = 0
            for skip in range(3):
                fired = []

                def failing(target, skip=skip, scenario=scenario, helper=helper, fired=fired):
                    kernel_fault(helper, skip)
                    answer = scenario(target)
                    fired.append(kernel_fault())
                    return answer
                self.run(f"{scenario.__name__}: {name} from #{skip + 1} on", failing,
                         {0, 125} if scenario == plain else {0})
                struck += bool(fired[0])
            print(f"{name}: failed {struck} times", flush=True)
            if not struck:
                complain(f"{name}: never failed")

    # ---- recapd is killed ----

    def kill_at(self, what, index, scenario, allowed, skip=0, late=0):
        """Hold recapd, or what it waits for, at that point, and kill it there; whether it got there. What it waits for stays
        there until `late` seconds after the next recapd's start."""
        def release():
            if late:
                timer = threading.Timer(late, self.control.disarm)
                timer.daemon = True
                timer.start()
            else:
                self.control.disarm()

        def killer():
            if wait_for(10, lambda: self.control.fired() or over.is_set()) and self.control.fired():
                self.recapd.kill_with(release)

        over = threading.Event()
        thread = threading.Thread(target=killer, daemon=True)
        self.control.arm(index, skip, error=0)

        def killed(target):
            thread.start()
            answer = scenario(target)
            over.set()
            thread.join()
            return answer
        return self.run(what, killed, allowed, expected=(-9,))

    def kill(self, name):
        points = self.each(SCENARIOS[name])
        kills = sum(bool(self.kill_at(f"{name}: killed at {point}", i, SCENARIOS[name], {0, 125})) for i, point, _ in points)
        print(f"{name}: recapd was killed {kills} times, at {len(points)} points", flush=True)

    def kill_in(self, state, point, scenario, expected=(0,), skip=0, late=0):
        what = f"killed when {state} (at {point})"
        # A function may have the call more than once.
        found = [i for i, name, _ in self.reached(scenario) if name.split("/")[0] == point]
        if not found or not self.kill_at(what, found[0], scenario, set(expected)):
            complain(f"{what}: it is not reached")

    def kill_quarantined(self, target):
        status, _, err = recapctl("attach", target, "probe", "--", "passfd", "recap-app", "/probe")
        self.kill_and_wait(lambda: None)
        state = [c["state"] for c in json.loads(recapctl("ps", "--json")[1])]
        if state != ["quarantined"]:
            complain(f"killed when quarantined: its state is {state} after that")
        let_go(app_pid(target))
        wait_for(WAIT_S, lambda: json.loads(recapctl("ps", "--json")[1]) == [])
        return status, err

    def states(self):
        # Where there is only the starter, nothing has begun: one line says so.
        self.kill_in("created", "inject.c fork_init:clone", plain, {0, 125})
        self.kill_in("created", "inject.c fork_init:SYS_clone3", limited, late=0.3)
        self.kill_in("created", "inject.c step_reaper:prctl", plain)
        self.kill_in("created", "inject.c tool_exec:execvp", plain)
        self.run("killed when running", lambda target: self.restart(target, lambda: None), {7}, expected=(-9,))
        self.kill_in("draining", "track.c signal_one:SYS_pidfd_send_signal", leftover)
        self.kill_in("escaped", "cow.c drop_in_shop:umount2", plain)
        self.kill_in("escaped", "cow.c drop_in_shop:umount2", disk)
        self.kill_in("escaped", "cgroup.c cgroup_remove:unlinkat", plain)
        self.kill_in("dropped", "track.c track_capsule_remove:bpf_map_delete_elem", plain)
        self.kill_in("dropped", "journal.c journal_send:sendto", announced, skip=2)
        self.kill_in("dropped", "history.c rotate:fstat", plain)
        self.run("killed when quarantined", self.kill_quarantined, {123}, expected=(-9,))
        for capsule, n in results().items():
            if n != 1:
                complain(f"capsule {capsule} has {n} ends in the audit")


def unreached(control):
    """The points that there are, without those in the file."""
    seen = set(pathlib.Path(ENV["FAULTS_REACHED"]).read_text(encoding="ascii").splitlines())
    for name, _ in control.points():
        if name not in seen:
            print(name)


def main():
    command, *names, target = sys.argv[1:sys.argv.index("--")]
    control = Control()
    recapd = Recapd(sys.argv[sys.argv.index("--") + 1:])
    walk = Walk(recapd, control, target)
    walk.settle()
    try:
        if command == "unreached":
            unreached(control)
        elif names:
            for name in names:
                getattr(walk, command)(name)
        else:
            getattr(walk, command)()
    finally:
        control.disarm()
        recapd.end()
    sys.exit(bool(wrong))


signal.signal(signal.SIGALRM, on_alarm)
# So that recapd is ended, too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
