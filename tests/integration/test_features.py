"""Every row of the table of features, forced absent: the daemon supervises all the same, as the row says, or refuses with
the row's words. A row without a test here fails."""

import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

import leaks
from day import ordinary, ordinary_day
from lib import BUILD, PATIENCE, alive, drop_to, helper, reachable, wait_for

PROGRAM = str(BUILD / "bulkheadd")
SYS_SWAPON = 167
OPTIONAL = {"cgroups": "optional", "bpf": "optional"}


def table(*args, program=PROGRAM, preexec_fn=None):
    done = subprocess.run([program, "--features", *args], capture_output=True, text=True, timeout=PATIENCE, preexec_fn=preexec_fn)
    assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr, done
    return json.loads(done.stdout), done.returncode


# As a user who may try little: only the names matter here, and they are to be had at once.
NAMES = [row["feature"] for row in table(program=reachable("bulkheadd"), preexec_fn=drop_to(65534))[0]]
CHECKS = {}


def row(*names):
    def keep(check):
        CHECKS.update(dict.fromkeys(names, check))
        return check
    return keep


@pytest.fixture(scope="module")
def rows():
    return {r["feature"]: r for r in table()[0]}


@pytest.mark.parametrize("name", NAMES)
def test_without(daemon, rows, name):
    assert name in CHECKS, f"no test knows what a daemon without {name} does: write one here"
    CHECKS[name](Without(daemon, rows, name))


class Without:
    """What a check needs: daemons without the feature."""

    def __init__(self, daemon, rows, name):
        self.daemon, self.rows, self.name = daemon, rows, name

    def has(self, feature):
        return self.rows[feature]["here"]

    def make(self, modules=None, also=(), **kwargs):
        d = self.daemon.make(modules, **kwargs)
        d.without = ",".join([self.name, *also])
        return d

    def run(self, modules=None, also=(), program=None, **kwargs):
        d = self.make(modules, also, **kwargs)
        d.start(args=("--without", d.without))
        line = [x for x in d.log.splitlines() if f"feature={self.name} " in x]
        assert len(line) == 1 and self.rows[self.name]["cost"] in line[0] and "switched off by --without" in line[0], d.log
        return d

    def refused(self, rc, *words, modules=None, also=(), **kwargs):
        d = self.make(modules or {"m": {"module.exec": f"{helper('probe')} m"}}, also, **kwargs)
        d.start(ready=False, args=("--without", d.without))
        assert d.wait_exit() == rc, d.log
        for word in words:
            assert re.search(word, d.log), f"{word!r} is not in {d.log}"
        assert not d.marks.of("up"), "nothing was started"
        d.check_clean()

    def refused_unless(self, key):
        """Exit 1 with one line that names the feature and the way out."""
        d = self.make({"m": {"module.exec": f"{helper('probe')} m"}})
        d.start(ready=False, args=("--without", d.without))
        assert d.wait_exit() == 1, d.log
        assert len(d.log.strip().splitlines()) == 1 and "--without" in d.log, d.log
        assert key != "bpf" or f"{self.name} is needed" in d.log and "bpf = optional" in d.log, d.log
        d.check_clean()


def supervises(w, **kwargs):
    d = ordinary(w.make(**kwargs))
    d.start(args=("--without", d.without))
    assert f"feature={w.name} " in d.log
    ordinary_day(d)
    return d


# --- cgroups

@row("cgroup-tree")
def _(w):
    w.refused_unless("cgroups")
    supervises(w, supervisor=OPTIONAL)
    limits = {"cpu_max": "50%", "cpu_weight": 50, "memory_max": "64M", "memory_high": "32M", "memory_swap_max": "1M", "oom_group": True,
              "pids_max": 9, "cpus": 0}
    w.refused(78, *(rf"m\.ini:\d+: limits\.{k}: cannot hold" for k in limits), supervisor=OPTIONAL, modules={
        "m": {"module.exec": helper("probe")} | {f"limits.{k}": v for k, v in limits.items()}})
    d = w.run({"m": {"module.exec": f"{helper('probe')} m", "limits.nofile": 99, "limits.nice": 5}}, supervisor=OPTIONAL)
    pid = d.module("m")["pid"]
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5 and re.search(r"Max open files\s+99 ", leaks.read(f"/proc/{pid}/limits").decode())
    d.stop()


@row("cgroup-memory", "cgroup-cpu", "cgroup-pids", "cgroup-cpuset")
def _(w):
    what = w.name.removeprefix("cgroup-")
    keys = {"memory": {"memory_max": "64M"}, "cpu": {"cpu_max": "50%", "cpu_weight": 50}, "pids": {"pids_max": 50}, "cpuset": {"cpus": 0}}
    w.refused(78, *(rf"m\.ini:\d+: limits\.{k}: no {what} controller" for k in keys[what]), modules={
        "m": {"module.exec": helper("probe")} | {f"limits.{k}": v for k, v in keys[what].items()}})
    others = {f"limits.{k}": v for name, some in keys.items() if name not in (what, "cpuset") and w.has(f"cgroup-{name}") for k, v in some.items()}
    d = w.run({"m": {"module.exec": f"{helper('probe')} m"} | others})
    m = d.module("m")
    assert what == "cpuset" or m[what]["throttled_usec" if what == "cpu" else "current"] is None
    d.stop()
    supervises(w)


@row("memory-high")
def _(w):
    w.refused(78, r"limits\.memory_high: ", r"limits\.oom_group: ", modules={
        "m": {"module.exec": helper("probe"), "limits.memory_high": "32M", "limits.oom_group": True}})
    supervises(w)


@row("memory-swap")
def _(w):
    w.refused(78, r"limits\.memory_swap_max: ", modules={
        "m": {"module.exec": helper("probe"), "limits.memory_max": "64M", "limits.memory_swap_max": "1M"}})
    supervises(w)


@row("memory-peak")
def _(w):
    d = w.run({"m": {"module.exec": f"{helper('probe')} m"}})
    m = d.module("m")["memory"]
    assert m["peak"] is None and (m["current"] is not None) == w.has("cgroup-memory")
    d.stop()
    supervises(w)


@row("psi")
def _(w):
    d = w.run({"m": {"module.exec": f"{helper('probe')} m"}})
    assert d.json("explain", "m")["pressure"] is None and d.module("m")["state"] == "running"
    d.stop()


@row("clone-into-cgroup", "clone3", "close-range")
def _(w):
    d = w.run({"p": {"module.exec": f"{helper('probe')} p"}})
    m = d.module("p")
    assert any(line.endswith("::" + m["cgroup"]) for line in leaks.read(f"/proc/{m['pid']}/cgroup").decode().splitlines())
    assert d.pids("p") == [m["pid"]]
    d.stop()
    # What a careless parent left open reaches no module.
    d = w.make({"p": {"module.exec": f"{helper('probe')} p"}})
    careless = d.scratch / "careless"
    careless.write_text(f'#!/bin/sh\nexec 7</dev/null 9</dev/null\nexec {PROGRAM} "$@"\n')
    careless.chmod(0o755)
    d.start(args=("--without", d.without), program=str(careless))
    assert sorted(os.listdir(f"/proc/{d.module('p')['pid']}/fd")) == ["0", "1", "2"]
    d.stop()
    supervises(w)


@row("cgroup-kill")
def _(w):
    d = supervises(w)
    assert d
    if w.has("cgroup-pids"):
        d = w.run({"bomb": {"module.exec": helper("forkbomb"), "limits.pids_max": 40, "module.stop_signal": "SIGUSR2", "module.stop_timeout": "100ms"}})
        d.marks.wait("forkbomb-refused")
        d.cli("kill", "--signal", "KILL", "bomb", rc=0)
        d.cli("stop", "bomb", rc=0)
        assert not d.pids("bomb")
        d.stop()
    supervises(w, also=["cgroup-freeze"])


@row("cgroup-freeze")
def _(w):
    shell = "'for i in 1 2 3 4 5 6 7 8; do " + helper("probe") + " $$i & done; wait'"
    d = w.run({"many": {"module.exec": f"/bin/sh -c {shell}", "module.stop_timeout": "2s", "recovery.restart": "no"}})
    d.marks.wait("up", 8)
    d.cli("kill", "--signal", "TERM", "many", rc=0)
    d.marks.wait("down", 8)
    d.stop()
    supervises(w)


@row("cgroup-events")
def _(w):
    supervises(w)


# --- programs

def connected(d, port):
    s = socket.create_connection(("127.0.0.1", port), PATIENCE)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    return s


@row("btf", "bpffs", "bpf-control")
def _(w):
    w.refused_unless("bpf")
    nothing_counted(w)
    supervises(w, supervisor={"bpf": "optional"})


@row("bpf-connections")
def _(w):
    w.refused_unless("bpf")
    d = nothing_counted(w)
    assert "feature=bpf-exits" not in d.log and "bpf=yes" in d.log


def nothing_counted(w):
    """Readiness is tried, nothing is in flight, no drain waits."""
    d = w.make(supervisor={"bpf": "optional"})
    port = d.port()
    d.add("web", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    d.start(args=("--without", d.without))
    with connected(d, port):
        assert d.module("web")["work"] is None
        d.cli("stop", "--no-block", "web", rc=0)
        d.wait_event(module="web", event="phase", phase="drain")
        assert dict(d.phases("web"))["drain"] == "skipped"
    d.wait("web", "idle")
    d.stop()
    return d


def counted(w, d):
    """The other parts go on counting."""
    port = d.port()
    d.add("web", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    d.start(args=("--without", d.without))
    assert "bpf=yes" in d.log and f"feature={w.name} " in d.log
    with connected(d, port):
        assert d.module("web")["work"]["in_flight"] == 1


@row("bpf-exits")
def _(w):
    w.refused_unless("bpf")
    d = w.make(supervisor={"bpf": "optional"})
    d.add("bad", {"module.exec": f"{helper('exitwith')} 7", "recovery.restart": "no"})
    d.add("victim", {"module.exec": f"{helper('probe')} victim", "recovery.restart": "no"})
    counted(w, d)
    assert d.wait("bad", "failed")["last_exit"]["code"] == 7
    os.kill(d.module("victim")["pid"], signal.SIGKILL)
    assert d.wait("victim", "failed")["last_exit"]["signal"] == signal.SIGKILL
    d.stop()


@row("bpf-oom")
def _(w):
    w.refused_unless("bpf")
    d = w.make(supervisor={"bpf": "optional"})
    if w.has("cgroup-memory"):
        d.add("hog", {"module.exec": f"{helper('hog')} 256", "limits.memory_max": "64M", "recovery.restart": "no"})
    counted(w, d)
    if w.has("cgroup-memory"):
        assert d.wait("hog", "failed")["last_exit"]["oom"], "the cgroup's own count tells"
    d.stop()


@row("bpf-signals")
def _(w):
    w.refused_unless("bpf")
    d = w.make(supervisor={"bpf": "optional"})
    d.add("denied", {"module.exec": f"{helper('denied')} - {SYS_SWAPON}", "sandbox.profile": "worker", "recovery.restart": "no"})
    d.add("victim", {"module.exec": f"{helper('probe')} victim", "recovery.restart": "no"})
    counted(w, d)
    last = d.wait("denied", "failed")["last_exit"]
    assert last["signal"] == signal.SIGSYS and last["syscall"] is None
    os.kill(d.module("victim")["pid"], signal.SIGKILL)
    assert d.wait("victim", "failed")["last_exit"]["signal"] == signal.SIGKILL and "sent by" not in d.explain("victim")
    d.stop()


@row("bpf-unix", "bpf-calls", "bpf-writes")
def _(w):
    """Only who asks for it is refused, by the line that asks."""
    track = {"bpf-unix": "unix", "bpf-calls": "calls:probe:main", "bpf-writes": "writes"}[w.name]
    w.refused(1, r"m\.ini:\d+: work\.track: .* cannot be counted here: switched off",
              modules={"m": {"module.exec": f"{helper('probe')} m", "work.track": track}})
    d = w.make()
    counted(w, d)
    d.stop()


# --- system calls, the rest

@row("pidfd")
def _(w):
    w.refused(1, "pidfd is needed and not here", "switched off by --without", "Linux 5.4")
    w.refused(1, "pidfd is needed", supervisor=OPTIONAL)


@row("openat2")
def _(w):
    d = supervises(w)
    assert not os.path.exists(f"/run/bulkhead/{d.instance}")
    log = w.run({"say": {"module.exec": "/bin/sh -c 'echo written; exec sleep 1000'"}})
    wait_for(lambda: "written" in log.log_of("say"), "the module's words in its log")
    log.stop()


@row("mount-view")
def _(w):
    w.refused(1, "mount-view is needed and not here", "CAP_SYS_ADMIN")
    # Where there is a tree that modules could undo their limits in, nothing makes up for it.
    w.refused(1, "mount-view is needed", supervisor=OPTIONAL)
    d = w.run({"m": {"module.exec": f"{helper('probe')} m"}}, also=["cgroup-tree"], supervisor=OPTIONAL)
    assert os.readlink(f"/proc/{d.module('m')['pid']}/ns/mnt") == os.readlink(f"/proc/{d.pid}/ns/mnt")
    d.stop()
    supervises(w, also=["cgroup-tree"], supervisor=OPTIONAL)


@row("seccomp", "seccomp-log")
def _(w):
    module = {"module.exec": f"{helper('denied')} - {SYS_SWAPON}", "sandbox.profile": "worker", "recovery.restart": "no"}
    logs = module | {"sandbox.on_violation": "log"}
    key = "profile" if w.name == "seccomp" else "on_violation"
    w.refused(78, rf"m\.ini:\d+: sandbox\.{key}: cannot hold", modules={"m": logs})
    if w.name == "seccomp":
        w.refused(78, r"m\.ini:\d+: sandbox\.profile: cannot hold", modules={"m": module})
    else:
        d = w.run({"m": module})
        assert d.wait("m", "failed")["last_exit"]["signal"] == signal.SIGSYS
        d.stop()
    supervises(w)


def zombies(pid):
    """Its children that nobody has reaped."""
    found = []
    for p in leaks.processes():
        fields = leaks.read(f"/proc/{p}/stat").rpartition(b")")[2].split()
        if fields[:2] == [b"Z", str(pid).encode()]:
            found.append(p)
    return found


@row("proc-children", "ptrace")
def _(w):
    """They matter where there are no cgroups."""
    d = w.run({"old": {"module.exec": helper("daemonize"), "module.stop_timeout": "200ms", "sandbox.user": "nobody"},
               "left": {"module.exec": f"{helper('daemonize')} leave", "module.stop_timeout": "200ms", "recovery.restart": "no", "module.start": "manual"}},
              also=["cgroup-tree"], supervisor=OPTIONAL)
    found = d.marks.wait("daemon")
    d.cli("start", "left", rc=0)
    d.wait("left", lambda m: m["state"] == "idle" and m["generation"] == 1)
    assert leaks.processes_with(f"BULKHEAD_BOX={d.instance}/modules/left/1") == []
    d.cli("stop", "old", rc=0)
    assert not alive(found.pid)
    wait_for(lambda: not zombies(d.pid), lambda: f"orphans to be reaped: {zombies(d.pid)}")
    d.stop()
    supervises(w, also=["cgroup-tree"], supervisor=OPTIONAL)


# --- the table itself

def test_the_table(rows):
    assert list(rows) == NAMES and len(set(NAMES)) == len(NAMES)
    for r in rows.values():
        assert isinstance(r["here"], bool) and r["forced"] is False, r
        assert r["here"] or r["why"], f"an absence is explained: {r}"
        assert r["what"] and r["cost"] and r["mend"] and r["required"] in ("always", "no", "unless cgroups = optional", "unless bpf = optional")
    assert set(CHECKS) == set(NAMES), "a test of a row that is gone"


def test_the_table_forced():
    all_absent, rc = table("--without", ",".join(NAMES))
    assert rc == 1 and all(r["here"] is False and r["forced"] for r in all_absent)
    wrong = subprocess.run([PROGRAM, "--features", "--without", "clone4"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "did you mean clone3" in wrong.stderr


def test_the_table_leaves_nothing():
    before = leaks.mounts(), set(leaks.bpf_objects())
    process = subprocess.Popen([PROGRAM, "--features"], stdout=subprocess.PIPE)
    json.loads(process.communicate(timeout=PATIENCE)[0])
    name = f"features-{process.pid}"
    assert not leaks.cgroups_named(f"bulkhead-{name}")
    for path in f"{leaks.BPFFS}/bulkhead/{name}", f"/run/bulkhead/{name}", f"/var/log/bulkhead/{name}":
        assert not os.path.lexists(path)
    assert [m for m in leaks.mounts() if m not in before[0] and not m[0].startswith(("/tmp/", "/root/"))] == [] or leaks.others_run(name)
    leaks.wait_gone(lambda: leaks.bpf_leaked(before[1]), "bpf objects", 5)


def test_the_table_for_somebody_else():
    rows, rc = table(program=reachable("bulkheadd"), preexec_fn=drop_to(65534))
    unknown = {r["feature"] for r in rows if r["here"] is None}
    assert rc == 1 and {"cgroup-tree", "btf", "bpf-oom", "mount-view"} <= unknown and not {"pidfd", "openat2"} & unknown
    assert all("root" in r["why"] for r in rows if r["here"] is None)


def check_host(*args, **kwargs):
    return subprocess.run([kwargs.pop("program", str(BUILD / "bulkhead")), "check", "--host", *args], capture_output=True, text=True, timeout=PATIENCE,
                          **kwargs)


def test_check_host(rows):
    done = check_host()
    lines = done.stdout.splitlines()
    assert re.match(r"FEATURE +HERE +WITHOUT IT$", lines[0])
    for name, line in zip(NAMES, lines[1:]):
        assert re.match(rf"{name} +{'yes' if rows[name]['here'] else 'no'}\b", line), line
        assert line.endswith(rows[name]["cost"])
        if not rows[name]["here"]:
            assert f"{name} is not here: {rows[name]['why']}" in lines
    needed = [n for n in NAMES if rows[n]["required"] != "no" and not rows[n]["here"]]
    assert done.returncode == (1 if needed else 0) and (not needed) == ("all that bulkheadd needs is here" in lines[-1]), done
    again = check_host("--json")
    assert [r["feature"] for r in json.loads(again.stdout)] == NAMES and again.returncode == done.returncode


def test_check_host_for_somebody_else():
    reachable("bulkheadd")
    done = check_host(program=reachable("bulkhead"), preexec_fn=drop_to(65534))
    assert done.returncode == 1 and "not known" in done.stdout and "run this as root" in done.stdout.splitlines()[-1], done


def test_check_host_says_when_there_is_no_daemon_beside_it(tmp_path):
    lonely = tmp_path / "bulkhead"
    lonely.write_bytes((BUILD / "bulkhead").read_bytes())
    lonely.chmod(0o755)
    done = check_host(program=str(lonely))
    assert done.returncode == 1 and not done.stdout and re.search(r"bulkheadd is neither in .*/sbin nor in ", done.stderr), done


def test_pressure_is_told(daemon, rows):
    """Two spinners in a tenth of a CPU wait for it nearly all the time."""
    if not rows["psi"]["here"] or not rows["cgroup-cpu"]["here"]:
        assert rows["psi"]["why"] or rows["cgroup-cpu"]["why"]
        return
    d = daemon({"spin": {"module.exec": f"{helper('spin')} 2", "limits.cpu_max": "10%"}, "rests": {"module.exec": f"{helper('probe')} rests"}})
    wait_for(lambda: d.json("explain", "spin")["pressure"]["cpu"] > 5, lambda: d.explain("spin"))
    assert re.search(r"In the last 10 seconds it waited for CPU \d+ %", d.explain("spin"))
    assert d.json("explain", "rests")["pressure"]["memory"] == 0 and "In the last 10 seconds" not in d.explain("rests")
    d.stop()


def test_a_cgroup_that_was_killed_once(daemon):
    """Most kernels kill every child that is cloned from it into another cgroup: the self-test must see it there. Where a
    daemon hands controllers down it leaves that cgroup for one of its own. 6.1.192 and 6.12.117 are mended."""
    unified = next(line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2")
    own = open("/proc/self/cgroup").read().split("0::")[1].splitlines()[0]
    place = f"{unified}{own}/killed-{os.getpid()}"
    os.mkdir(place)

    def enter():
        with open(f"{place}/cgroup.kill", "w") as f:
            f.write("1")
        with open(f"{place}/cgroup.procs", "w") as f:
            f.write("0")

    try:
        d = ordinary(daemon.make())
        d.start(before_exec=enter)
        stays = leaks.read(f"/proc/{d.pid}/cgroup").decode().splitlines()[-1].endswith(f"/killed-{os.getpid()}")
        seen = bool(re.search("feature=clone-into-cgroup reason=\"a child is killed at birth", d.log))
        assert seen == (stays and children_die_from(place, f"{unified}{own}/fresh-{os.getpid()}")), d.log
        ordinary_day(d)
    finally:
        leaks.wait_gone(lambda: not rmdir(place), "the cgroup", 5)


def children_die_from(killed, fresh):
    """Whether a child that a process in `killed` clones into `fresh` is killed at birth: tried by our own clone3."""
    os.mkdir(fresh)
    directory = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    into_cgroup, clone3 = 0x200000000, 435
    arguments = struct.pack("11Q", into_cgroup, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, directory)
    pid = os.fork()
    if pid == 0:
        Path(f"{killed}/cgroup.procs").write_text("0")
        child = ctypes.CDLL(None).syscall(clone3, arguments, len(arguments))
        if child == 0:
            os._exit(0)
        os._exit(os.waitpid(child, 0)[1] if child > 0 else 255)
    died = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(directory)
    leaks.wait_gone(lambda: not rmdir(fresh), "the fresh cgroup", 5)
    assert died in (0, signal.SIGKILL), died
    return died == signal.SIGKILL


def rmdir(path):
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True
