#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Everything at once, for long, with checks throughout. usage: soak.py RUNTIME:NAME:PID...

Started by tests/soak/run, which says what the environment may hold. Workers do one thing after the other, at random, and
know how each must end. Ten times in a run, and at its end, they pause, and nothing may be left of all that they did."""
import collections
import glob
import json
import os
import pathlib
import pty
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM = HERE.parent / "system"
B = pathlib.Path(os.environ["B"])
RT = pathlib.Path(os.environ["RT"])
NAME = RT.name
RUN = pathlib.Path("/run") / NAME  # not below RT: a socket's path has 107 bytes at most
SOCKET = str(RUN / "io.recap")
BPFFS = f"/sys/fs/bpf/{NAME}"
STATE = RT / "recapd"
CGROUP = f"{NAME}-caps"
DURATION = float(os.environ.get("DURATION") or 600)
KILLS = int(os.environ.get("KILLS") or 0)
ADOPTION = os.environ.get("EXPECT_ADOPTION") == "1"
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
WORKERS = int(os.environ.get("WORKERS") or 8)
PAUSES = 5 if KILLS else 10
WARM = 1000  # records: recapd remembers the last 256
PATIENCE = 60
LOST = ("lost the connection to recapd", "recapd is not running")
HELPERS = ["recap-injector", "recap-keeper", "recap-reader"]
KEEPS_SLOTS = 3  # the descriptor, user/core/keeper.c
QUARANTINED = 5  # include/recap/abi.h

RECAPD = [str(B / "recapd"), "--socket", SOCKET, "--bpffs", BPFFS, "--state-dir", str(STATE), "--cgroup", CGROUP,
          "--audit", str(STATE / "audit.jsonl"), "--docker-root", f"{RT}/docker/root", "--containerd-root", f"{RT}/containerd/root",
          "--containerd-state", f"{RT}/containerd/state", "--podman-root", f"{RT}/podman/root",
          "--podman-run", f"{RT}/podman/run", "--runc-root", f"{RT}/runc", "--crun-root", f"{RT}/crun"]


if KILLS:
    # recapctl gives up after 15 s without a recapd that lasts 5 s (user/recapctl/session.c), and none lasts half a second here.
    os.environ["RECAP_REJOIN_S"] = "45"


class Failure(Exception):
    pass


class Lost(Exception):
    """The client lost its recapd, which was killed: nothing is known of the rest."""


def await_that(what, condition, seconds=10.0):
    end = time.monotonic() + seconds
    while True:
        said = condition()
        if not said:
            return
        if time.monotonic() > end:
            raise Failure(f"after {seconds:.0f} s, {what}: {said}")
        time.sleep(0.05)


# ---- recapd --------------------------------------------------------------------------------------


class Daemon:
    """recapd, which may be killed and started again at any time."""

    def __init__(self):
        RUN.mkdir(parents=True, exist_ok=True)
        STATE.mkdir(parents=True, exist_ok=True)
        self.log = open(RUN / "log", "ab")
        self.process = None
        self.restarts_s = []
        self.up = threading.Event()
        self.phases = collections.Counter()
        self.orphans = {}  # what recapds had forked that were killed: PID and start time to name

    def start(self):
        begun = time.monotonic()
        self.process = subprocess.Popen(RECAPD, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not self.answers():
            if self.process.poll() is not None:
                raise Failure(f"recapd ended with {self.process.returncode}: {self.last_line()}")
            if time.monotonic() > begun + PATIENCE:
                raise Failure("recapd does not answer")
            time.sleep(0.002)
        self.up.set()
        return time.monotonic() - begun

    @staticmethod
    def answers():
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE)
                sock.connect(SOCKET)
                sock.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
                return bool(sock.recv(1))
        except OSError:
            return False

    def last_line(self):
        lines = (RUN / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "its log is empty"

    def kill(self):
        self.up.clear()
        self.orphans.update(self.children())
        self.process.kill()
        self.process.wait()
        self.phases.update([phase(entry) for entry in capsule_map()] or ["none"])
        self.restarts_s.append(self.start())

    def stop(self):
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise Failure(f"recapd ended with {self.process.returncode}: {self.last_line()}")

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        pids = pathlib.Path(path).read_text().split()
        return {key: comm for key, comm in (identity(int(pid)) for pid in pids) if key}

    def stray(self):
        """Of what those had forked that were killed: what is there still."""
        self.orphans = {key: comm for key, comm in self.orphans.items() if identity(key[0])[0] == key}
        return [f"{comm} {key[0]}" for key, comm in self.orphans.items()]

    def sizes(self):
        """Memory and descriptors, of recapd and its helpers. The slots are the keeper's memory, which is shared."""
        sizes = {"recapd": size(self.process.pid)}
        for (pid, _), comm in self.children().items():
            if comm in HELPERS:
                sizes[comm] = size(pid)
            if comm == "recap-keeper":
                sizes[comm]["slots_kib"] = os.stat(f"/proc/{pid}/fd/{KEEPS_SLOTS}").st_blocks // 2
        return sizes


def identity(pid):
    """Its PID and start time, and its name. The dead have them, too, until they have been waited for."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None, ""
    fields = stat[stat.rindex(")") + 2:].split()
    return (pid, fields[19]), stat[stat.index("(") + 1:stat.rindex(")")]


def size(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {"rss_kib": int(re.search(r"VmRSS:\s*(\d+)", status)[1]), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def capsule_map():
    out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", f"{BPFFS}/capsules"], check=True,
                         stdout=subprocess.PIPE).stdout
    return [entry["formatted"]["value"] for entry in json.loads(out)]


def phase(entry):
    if entry["state"] == QUARANTINED:
        return "quarantined"
    if not entry["exec_ns"]:
        return "injecting"
    return "running" if not entry["exit_ns"] else "draining" if entry["live"] else "escaping"


# ---- what is left --------------------------------------------------------------------------------


def host_mounts():
    """Those that have to do with this run: others may use the machine, too, also tests with folders of their own (RT)."""
    lines = [line.split(" ", 3)[3] for line in open("/proc/self/mountinfo", encoding="utf-8")]
    return sorted(line for line in lines if re.search(rf"/{NAME}\b", line) or
                  "recap" in line.split(" ")[0] and not re.search("/recap-", line))


def in_our_cgroup(daemon):
    starters = {pid for pid, _ in daemon.children()}
    for path in glob.glob("/proc/[0-9]*/cgroup"):
        try:
            text = pathlib.Path(path).read_text()
            comm = pathlib.Path(path).with_name("comm").read_text().strip()
        except OSError:
            continue
        pid = int(path.split("/")[2])
        if re.search(rf":/{CGROUP}(/|$)", text, re.M) and not (pid in starters and comm == "recap-starter"):
            yield f"process {pid} ({comm})"


def traces(daemon):
    """Of capsules, by ID: cgroups and layers. One of each may be made ahead, for the next."""
    cgroups = {os.path.basename(p) for p in glob.glob(f"/sys/fs/cgroup/{CGROUP}/*/") +
               glob.glob(f"/sys/fs/cgroup/*/{CGROUP}/*/") for p in [p.rstrip("/")]}
    out = subprocess.run([sys.executable, SYSTEM / "layers.py", str(daemon.process.pid)], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return cgroups | {line.rsplit("/", 1)[-1] for line in out.splitlines()}


def leftovers(daemon, mounts):
    left = [f"{len(capsule_map())} entries in the map"] if capsule_map() else []
    left += in_our_cgroup(daemon)
    found = traces(daemon)
    left += [f"traces of {sorted(found)}"] if len(found) > 1 else []
    comms = sorted(daemon.children().values())
    left += [f"children {comms}"] if [c for c in comms if c != "recap-starter"] != HELPERS else []
    keepers = os.listdir(STATE / "keepers")
    left += [f"keepers {keepers}"] if len(keepers) > 1 else []
    left += [f"orphans {stray}"] if (stray := daemon.stray()) else []
    left += [f"files {files}"] if (files := os.listdir(STATE / "tmp")) else []
    left += [f"logs {logs}"] if (logs := stray_logs()) else []
    left += [f"loop devices {loops}"] if (loops := loop_devices()) else []
    left += [f"mounts {more}"] if (more := sorted(set(host_mounts()) - set(mounts))) else []
    return ", ".join(left)


def stray_logs():
    """The log of a detached capsule goes with its record."""
    known = {c["id"] + ".log" for c in recapctl_json("ps", "--all", "--json")}
    return sorted(set(os.listdir(STATE / "logs")) - known)


def loop_devices():
    found = []
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            found += [path] if pathlib.Path(path).read_text().startswith(f"{STATE}/") else []
        except OSError:
            pass  # gone
    return found


def check_inventory(containers):
    listed = {(c["runtime"], c["name"], c["pid"]) for c in recapctl_json("list", "--json")}
    missing = [c for c in containers if c not in listed]
    more = [c for c in listed if c[1].startswith("soak-") and c not in containers]
    return f"not listed: {missing}, listed: {more}" if missing or more else ""


def check_counters():
    """Every capsule that was begun has had one end. They are pinned: kills make no difference."""
    n = recapctl_json("stats", "--json")["counters"]
    ends = n["escapes_proven"] + n["attach_failed"]
    if n["quarantined"] != n["quarantine_resolved"]:
        raise Failure(f"quarantined and not resolved: {n}")
    if ends > n["attach_started"] + n["attach_refused"]:
        raise Failure(f"more ends than beginnings: {n}")
    if ends < n["attach_started"]:
        raise Failure(f"beginnings without an end: {n}")
    for name in ("containers_full", "capsules_full", "untracked_forks", "tag_without_capsule"):
        if n[name]:
            raise Failure(f"{name} is {n[name]}")
    return n


def check_records():
    """Each line of the history is a whole record of a capsule that is gone, and there is one line for each."""
    seen, ran = set(), set()
    for path in glob.glob(f"{STATE}/history.jsonl*"):
        for line in open(path, encoding="utf-8"):
            try:
                record = json.loads(line)
            except ValueError as err:
                raise Failure(f"{path} has a line that is no record: {line[:80]!r}") from err
            if record["state"] not in ("dropped", "failed") or "total" not in record["timings_us"] or \
                    record["id"] in seen:
                raise Failure(f"not a complete record, or a second one: {record}")
            seen.add(record["id"])
            if record["state"] == "failed" or not record.get("token"):
                continue
            if record["token"] in ran:
                raise Failure(f"an attach that ran more than once: {record}")
            ran.add(record["token"])
    return seen


def check_audit(records, counters, kills):
    """What was allowed has one end in the audit, a capsule's has the result that was counted, and none has two."""
    capsules, allowed, ended = collections.defaultdict(collections.Counter), set(), set()
    for line in open(STATE / "audit.jsonl", encoding="utf-8"):
        entry = json.loads(line)
        if entry.get("verb") != "Attach":
            continue
        state = entry.get("capsule", {}).get("state")
        if entry["event"] == "request" and entry["allowed"]:
            allowed.add(entry["request"])
        if entry["event"] == "result" and state:
            capsules[state][entry["capsule"]["id"]] += 1
        if entry["event"] == "result" and state != "quarantined":
            ended.add(entry["request"])
    ends = capsules["dropped"] + capsules["failed"]
    if missing := records - ends.keys():
        raise Failure(f"not in the audit: {sorted(missing)}")
    if twice := [c for c, n in (*ends.items(), *capsules["quarantined"].items()) if n > 1]:
        raise Failure(f"more than once in the audit: {twice}")
    if ended - allowed:
        raise Failure(f"results of no request: {sorted(ended - allowed)}")
    # Where recapd died between the request's line and the capsule's note, nothing was begun: once a kill at most.
    if len(without := allowed - ended) > kills:
        raise Failure(f"attaches without a result: {sorted(without)}")
    if len(capsules["dropped"]) != counters["escapes_proven"]:
        raise Failure(f"{len(capsules['dropped'])} were dropped, says the audit: {counters}")
    # Counted, and then told: a layer may have become free where recapd died in between.
    if not 0 <= counters["quarantined"] - len(capsules["quarantined"]) <= kills:
        raise Failure(f"{len(capsules['quarantined'])} were quarantined, says the audit: {counters}")
    return len(without)


# ---- recapctl ------------------------------------------------------------------------------------


def command(*args):
    return [str(B / "recapctl"), "--socket", SOCKET, *map(str, args)]


def recapctl(*args, expect=(0,), data=b""):
    done = subprocess.run(command(*args), input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE, check=False)
    judge(args, done.returncode, done.stderr.decode(errors="replace"), expect)
    return done.stdout


def recapctl_json(*args):
    return json.loads(recapctl(*args))


statuses = collections.Counter()  # of attaches, as the clients had them
statuses_lock = threading.Lock()


def judge(args, status, said, expect):
    if args[0] == "attach":
        with statuses_lock:
            statuses[status] += 1
    if status and KILLS and any(text in said for text in LOST):
        # With adoption an attach is lost only to who found nobody to begin with. Other calls are to be made once more.
        if not ADOPTION or LOST[1] in said or args[0] != "attach":
            raise Lost
    if status in expect:
        return
    raise Failure(f"recapctl {' '.join(map(str, args))} ended with {status}, not {expect}: {said.strip()}")


def persist(*args, expect=(0,), again=()):
    """A call that may be made as often as recapd dies; `again`: what it may end with, too, when it is made once more."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return recapctl(*args, expect=expect)
        except Lost:
            if time.monotonic() > end:
                raise
            expect = (*expect, *again)
            time.sleep(0.02)


def attach(target, *tool, options=(), expect=(0,), data=b""):
    return recapctl("attach", *options, target, "toolbox", "--", *tool, expect=expect, data=data)


def popen(*args, **more):
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(command(*args), **more)


def finish(process, args, expect):
    said = process.communicate(timeout=PATIENCE)[1] or b""
    judge(args, process.returncode, said.decode(errors="replace"), expect)


# ---- what workers do -----------------------------------------------------------------------------


class Worker(threading.Thread):
    def __init__(self, soak, index):
        super().__init__(name=f"worker-{index}", daemon=True)
        self.soak, self.index, self.serial = soak, index, 0
        self.random = random.Random(SEED * 1000 + index)
        self.target = None

    def unique(self):
        """A number that no other process of the run has as an argument."""
        self.serial += 1
        return 100000000 + self.index * 1000000 + self.serial

    def run(self):
        actions = [a for a in dir(self) if a.startswith("do_")]
        while self.soak.may_go_on():
            name = self.random.choice(actions)
            self.target = self.random.choice(self.soak.targets)
            self.soak.daemon.up.wait(PATIENCE)
            try:
                getattr(self, name)()
                self.soak.count(name)
            except Lost:
                self.soak.count("lost")
                time.sleep(0.02)
            except Failure as err:
                self.soak.fail(f"{name}: {err}")
            except Exception as err:  # a fault of ours must not look like success
                self.soak.fail(f"{name}: {type(err).__name__}: {err}")

    def do_status(self):
        status, word = self.random.randrange(120), str(self.unique())
        said = attach(self.target, "sh", "-c", f"echo {word}; exit {status}", expect=(status,)).decode()
        if said.split() != [word]:
            raise Failure(f"it did not run once: {said!r}")

    def do_streams(self):
        data = self.random.randbytes(self.random.randrange(1 << 18))
        if attach(self.target, "cat", data=data) != data:
            raise Failure("what came out is not what went in")

    def do_signal(self):
        number = self.random.choice((1, 9, 10, 15))
        attach(self.target, "sh", "-c", f"kill -{number} $$", expect=(128 + number,))

    def do_timeout(self):
        attach(self.target, "sleep", self.unique(), options=("--timeout", 1), expect=(124,))

    def do_not_there(self):
        attach(self.target, "no-such-tool", expect=(127,))
        attach(self.target, "/etc", expect=(126,))

    def do_refused(self):
        attach("soak-nobody", "true", expect=(125,))
        recapctl("attach", self.target, "no-such-image", expect=(125,))

    def do_stragglers(self):
        attach(self.target, "sh", "-c", f"(setsid sleep {self.unique()} </dev/null >/dev/null 2>&1 &)")

    def do_tree(self):
        attach(self.target, "sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do sleep {self.unique()} & done; exit 7", expect=(7,))

    def do_limits(self):
        attach(self.target, "true", options=("--memory", "32M", "--pids", 8, "--cpus", 0.5, "--cow-size", "1M"))

    def do_disk(self):
        attach(self.target, "sh", "-c", "head -c 1000000 /dev/zero >/mark; exit 4", options=("--cow", "disk", "--cow-size", "16M"),
               expect=(4,))

    def do_layer(self):
        attach(self.target, "sh", "-c", "echo x >/mark && rm /bin/ls && exit 3", expect=(3,))
        attach(self.target, "sh", "-c", "test ! -e /mark && test -e /bin/ls")

    def do_terminal(self):
        ours, theirs = pty.openpty()
        args = ("attach", "-t", self.target, "toolbox", "--", "sh", "-c", "test -t 0 && exit 5")
        try:
            process = popen(*args, stdin=theirs, stdout=theirs, start_new_session=True)
            finish(process, args, (5,))
        finally:
            os.close(ours)
            os.close(theirs)

    def do_interrupt(self):
        report = RUN / f"report-{self.index}"
        report.unlink(missing_ok=True)
        args = ("attach", "--report", report, self.target, "toolbox", "--", "sleep", self.unique())
        process = popen(*args)
        time.sleep(self.random.random() * 0.3)
        process.send_signal(signal.SIGINT)
        # -2: before it had begun to listen; 125: before the tool had begun.
        expect = (130, 125, -signal.SIGINT)
        process.wait(PATIENCE)
        # 137, too: recapd ends what has not begun with SIGKILL, and the tool's exec was faster.
        if process.returncode == 137 and json.loads(report.read_text())["reason"] == "signalled":
            expect = (137,)
        finish(process, args, expect)

    def do_client_gone(self):
        process = popen("attach", self.target, "toolbox", "--", "sleep", self.unique())
        time.sleep(self.random.random() * 0.1)
        process.kill()
        process.communicate()

    def detached(self, *tool):
        return recapctl("attach", "-d", self.target, "toolbox", "--", *tool).decode().strip()

    def do_detached(self):
        word = str(self.unique())
        capsule = self.detached("echo", word)
        await_that("it still runs", lambda: capsule in [c["id"] for c in json.loads(persist("ps", "--json"))], PATIENCE)
        if (ADOPTION or not KILLS) and (log := persist("logs", capsule).decode().split()) != [word]:
            raise Failure(f"the log is not what was said: {log}")

    def do_stop(self):
        capsule = self.detached("sleep", self.unique())
        # 1: stopped by a call whose reply was lost.
        persist("stop", "--timeout", self.random.choice((0, 1)), capsule, again=(1,))

    def find(self, number):
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                if pathlib.Path(path).read_bytes().split(b"\0")[:2] == [b"sleep", str(number).encode()]:
                    return int(path.split("/")[2])
            except OSError:
                pass
        return None

    def do_quarantine(self):
        number = self.unique()
        args = ("attach", self.target, "toolbox", "--", "sh", "-c", f"echo x >/held; exec sleep {number}")
        process = popen(*args)
        while not (pid := self.find(number)):
            if process.poll() is not None:
                finish(process, args, (137,))
            time.sleep(0.01)
        try:
            held = os.open(f"/proc/{pid}/root/held", os.O_RDONLY)
        except OSError:  # recapd was killed, and its successor was faster
            finish(process, args, (123,))
            return
        try:
            os.kill(pid, signal.SIGKILL)
            finish(process, args, (123,))
        finally:
            os.close(held)

    def do_image(self):
        ref = f"soak-{self.unique()}:1"
        recapctl("image", "load", "--ref", ref, B / "images/true.tar")
        recapctl("attach", self.target, ref)
        await_that("the image stays", lambda: self.remove(ref), PATIENCE)

    @staticmethod
    def remove(ref):
        """Nothing is removed while another worker loads: that is to be tried again."""
        args = ("image", "rm", ref)
        done = subprocess.run(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE, check=False)
        if done.returncode == 1 and "try again later" in done.stderr:
            return done.stderr.strip()
        judge(args, done.returncode, done.stderr, (0,))
        return ""

    def do_look(self):
        names = [c["name"] for c in recapctl_json("list", "--json")]
        if self.target.split(":")[1] not in names:
            raise Failure(f"{self.target} is not listed")
        for args in (("ps", "--all", "--json"), ("inspect", self.target), ("stats", "--json"), ("image", "list", "--json")):
            json.loads(recapctl(*args))

    def do_watch(self):
        process = popen("list", "--watch", "--json")
        time.sleep(self.random.random())
        process.kill()
        process.communicate()

    def do_container(self):
        name = f"soak-{self.unique()}"
        runtimes("rt_run", "runc", name, "app")
        try:
            # runc does not wait for the exec, which is what makes it a container.
            await_that("it is not listed", lambda: name not in [c["name"] for c in json.loads(persist("list", "--json"))])
            attach(f"runc:{name}", "true")
            args = ("attach", f"runc:{name}", "toolbox", "--", "sleep", self.unique())
            process = popen(*args)
            time.sleep(self.random.random() * 0.2)
        finally:
            runtimes("rt_rm", "runc", name)
        # 143: recapd saw its end before the kernel had ended all in it.
        finish(process, args, (137, 143, 125))

    def do_nonsense(self):
        kinds = (b"\0", b"nonsense\0", b"{}\0", b"[" * 1000 + b"\0", b'{"method":"io.recap.Attach"}\0',
                 b'{"method":"io.recap.Stats","oneway":true}\0', self.random.randbytes(1000), b"x" * (1 << 17))
        for kind in kinds:
            self.say(kind)

    def do_stall(self):
        self.say(b'{"method":"io.recap.Att', self.random.random() / 2)

    @staticmethod
    def say(text, seconds=0.0):
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(SOCKET)
                sock.sendall(text)
            except OSError:
                pass  # hung up on, or nobody there
            time.sleep(seconds)


def runtimes(*args):
    done = subprocess.run([SYSTEM / "runtimes.sh", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(args)}: {done.stdout}")


# ---- the run -------------------------------------------------------------------------------------


class Soak:
    def __init__(self, containers):
        self.containers = containers
        self.targets = [f"{runtime}:{name}" for runtime, name, _ in containers]
        self.lock = threading.Condition()
        self.done, self.failures, self.samples = collections.Counter(), [], []
        self.running = True
        self.paused = self.waiting = 0
        self.daemon = Daemon()
        self.mounts = host_mounts()
        self.random = random.Random(SEED)

    def count(self, name):
        with self.lock:
            self.done[name.removeprefix("do_")] += 1

    def fail(self, text):
        with self.lock:
            print(f"FAIL {text}", flush=True)
            self.failures.append(text)
            self.running = self.running and len(self.failures) < 10

    def may_go_on(self):
        with self.lock:
            self.waiting += 1
            self.lock.notify_all()
            self.lock.wait_for(lambda: not self.paused)
            if self.running:  # or else nobody is to wait for it any more
                self.waiting -= 1
            return self.running

    def check_quiet(self):
        """With nobody at work: nothing is left, and all adds up."""
        with self.lock:
            self.paused = True
            if not self.lock.wait_for(lambda: self.waiting == WORKERS, 2 * PATIENCE):
                raise Failure("a worker does not come to its end")
        # An adopted capsule's client has 15 s to come back.
        await_that("left", lambda: leftovers(self.daemon, self.mounts), 30 if KILLS else 15)
        await_that("the inventory is wrong", lambda: check_inventory(self.containers), 15)
        records, counters, kills = check_records(), check_counters(), len(self.daemon.restarts_s)
        sample = {"s": round(time.monotonic() - self.begun), "kills": kills, "capsules": counters["attach_started"],
                  "records": len(records), "never_begun": check_audit(records, counters, kills), "counters": counters,
                  "sizes": self.daemon.sizes()}
        sizes = ", ".join(f"{name} {s['rss_kib']} KiB, {s['descriptors']} descriptors" for name, s in sample["sizes"].items())
        print(f"ok   after {sample['s']} s, {sum(self.done.values())} done: nothing is left; {sizes}", flush=True)
        self.samples.append(sample)
        with self.lock:
            self.paused = False
            self.lock.notify_all()

    def stop(self, *_):
        self.running = False

    def kill_for(self, until, kills):
        while self.running and kills > len(self.daemon.restarts_s) and time.monotonic() < until:
            time.sleep(self.random.random() * self.random.choice((0.01, 0.05, 0.3)))
            self.daemon.kill()

    def go(self):
        self.begun = time.monotonic()
        workers = [Worker(self, i) for i in range(WORKERS)]
        for worker in workers:
            worker.start()
        for i in range(PAUSES):
            until = self.begun + DURATION * (i + 1) / PAUSES
            if KILLS:
                self.kill_for(float("inf"), KILLS * (i + 1) // PAUSES)
            while self.running and not KILLS and time.monotonic() < until:
                time.sleep(0.2)
            self.check_quiet()
            if not self.running:
                break
        self.running = False
        for worker in workers:
            worker.join(PATIENCE)

    def check_flat(self):
        """Once all that is remembered is full nothing grows: a descriptor more or less is what is kept ready at the moment.
        With kills each sample is of another recapd, which is to need no more than the one before."""
        full = [s["sizes"] for s in self.samples if s["records"] >= WARM]
        if len(full) < 3:
            print(f"not told in so short a run: whether memory is flat ({len(full)} samples)", flush=True)
            return
        for name, first in full[0].items():
            for key, more in (("descriptors", 4), ("rss_kib", first["rss_kib"] * 0.2 + 1024), ("slots_kib", 1024)):
                if full[-1][name].get(key, 0) > first.get(key, 0) + more:
                    self.fail(f"{name}: {key}: {[s[name].get(key) for s in full]}")

    def report(self):
        s = self.samples
        out = {"seed": SEED, "seconds": round(time.monotonic() - self.begun), "workers": WORKERS, "targets": self.targets,
               "done": dict(sorted(self.done.items())), "failures": self.failures, "samples": s}
        if s:
            out["capsules"], out["never_begun"] = s[-1]["capsules"], s[-1]["never_begun"]
            out["sizes"] = {k: x["sizes"] for k, x in (("start", s[0]), ("middle", s[len(s) // 2]), ("end", s[-1]))}
            out["statuses"] = dict(sorted(statuses.items()))
        if restarts := sorted(self.daemon.restarts_s):
            out["kills"] = {"n": len(restarts), "adoption": ADOPTION, "capsules_at_kill": dict(self.daemon.phases),
                            "restart_ms": {"p50": round(1000 * statistics.median(restarts), 1),
                                           "p99": round(1000 * restarts[len(restarts) * 99 // 100], 1),
                                           "max": round(1000 * restarts[-1], 1)}}
        (B / "soak.json").write_text(json.dumps(out, indent=1) + "\n")
        print(json.dumps({k: v for k, v in out.items() if k != "samples"}), flush=True)


def gone():
    left = [p for p in (SOCKET, SOCKET + ".lock", BPFFS) if os.path.exists(p)]
    return left + glob.glob(f"/sys/fs/cgroup/{CGROUP}") + glob.glob(f"/sys/fs/cgroup/*/{CGROUP}")


def main(words):
    containers = [(runtime, name, int(pid)) for runtime, name, pid in (word.split(":") for word in words)]
    soak = Soak(containers)
    signal.signal(signal.SIGINT, soak.stop)
    signal.signal(signal.SIGTERM, soak.stop)
    print(f"soak: SEED={SEED}, {WORKERS} workers, {len(containers)} containers, "
          f"{f'{KILLS} kills' if KILLS else f'{DURATION:.0f} s'}", flush=True)
    try:
        soak.daemon.start()
        for image in ("toolbox", "true"):
            recapctl("image", "load", "--ref", image, B / f"images/{image}.tar")
        soak.go()
        soak.check_flat()
    except Failure as err:
        soak.fail(str(err))
    soak.report()
    try:
        soak.daemon.stop()
        await_that("left of recapd", gone)
    except Failure as err:
        soak.fail(str(err))
    if soak.failures:
        sys.stdout.write((RUN / "log").read_text(errors="replace")[-2000:])
        print(f"soak: the whole log, and reports, are in {RUN}")
    else:
        shutil.rmtree(RUN)
    print(f"soak: {'FAILED' if soak.failures else 'ok'}: {sum(soak.done.values())} done, {len(soak.failures)} failures")
    return 1 if soak.failures else 0


sys.exit(main(sys.argv[1:]))
