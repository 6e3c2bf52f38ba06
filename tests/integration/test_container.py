"""A daemon in a container: process 1 of a pid namespace, the cgroup tree read-only, no bpffs. Once as root with all
capabilities, once confined as Docker's defaults do it (tests/helpers/confine.c)."""

import os
import re
import signal
import subprocess

import pytest

import leaks
from day import ordinary, ordinary_day
from lib import BUILD, PATIENCE, Daemon, alive, helper, wait_for

OPTIONAL = {"cgroups": "optional", "bpf": "optional"}
# What a runtime mounts: its own /run, no bpffs, the host's cgroups, which it binds again (read-only unless told otherwise).
INSIDE = """
set -e
mount --make-rprivate / 2>/dev/null || awk '{ print $5 }' /proc/self/mountinfo | while read -r m; do mount --make-private "$m" || :; done
mount -t tmpfs none /run
mount -t tmpfs none /sys/fs/bpf
# In a cgroup namespace the mounts of before show what lies outside: a runtime mounts cgroup2 anew and leaves v1 out.
[ -z "$AFRESH" ] || awk '$3 == "cgroup" || $3 == "cgroup2" { print $2, $3 }' /proc/mounts | sort -ru | while read -r m type; do
    umount -l "$m"
    [ "$type" = cgroup ] || mount -t cgroup2 none "$m"
done
[ -z "$READ_ONLY" ] || awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u | while read -r m; do
    mount --bind "$m" "$m"
    mount -o remount,bind,ro "$m"
done
# Where cgroup2 has the controllers, who hands them down must be alone: not beside the one that waits for this namespace.
[ -n "$READ_ONLY" ] || ! grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null || {
    own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/$CGROUP
    mkdir "$own"
    echo 0 >"$own/cgroup.procs"
}
exec "$@"
"""


def status_field(pid, name):
    for line in leaks.read(f"/proc/{pid}/status").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1:]
    return []


class Container(Daemon):
    """Its pid is the one that the host sees; those in marks and in the status are the container's own."""

    def run(self, confined=False, read_only=True, namespaces=(), ready=True):
        words = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child=KILL", *namespaces, "sh", "-c", INSIDE, "sh",
                 *([helper("confine")] if confined else []), str(BUILD / "bulkheadd")]
        wrapper = self.dir / "container"
        wrapper.write_text("#!/bin/sh\nexport READ_ONLY=%s AFRESH=%s CGROUP=%s\nexec %s \"$@\"\n" % (
            "1" if read_only else "", "1" if namespaces else "", self.cgroup, " ".join(map(self.quoted, words))))
        wrapper.chmod(0o755)
        self.start(ready=False, program=str(wrapper))
        self.outside = self.pid
        self.pid = wait_for(lambda: self.process.poll() is None and next(iter(self.children(self.outside)), None) or self.process.poll(),
                            "the container's process 1")
        if ready:
            self.wait_ready()
            assert status_field(self.pid, "NSpid")[1:] == ["1"]
        return self

    @staticmethod
    def quoted(word):
        return "'" + word.replace("'", "'\\''") + "'"

    @staticmethod
    def children(pid):
        return [int(c) for c in leaks.read(f"/proc/{pid}/task/{pid}/children").split()]

    def argv(self, verb, *args):
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--", *super().argv(verb, *args)]

    def outer(self, inner):
        """The host's pid of a process of this container."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        for pid in leaks.processes():
            try:
                if status_field(pid, "NSpid")[-1:] == [str(inner)] and os.readlink(f"/proc/{pid}/ns/pid") == space:
                    return pid
            except OSError:
                pass
        return 0

    def alive(self, inner):
        return bool(self.outer(inner)) and alive(self.outer(inner))

    def all(self):
        """Every process in there but process 1, the dead ones that nobody has reaped too."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid_for_children")
        found = []
        for pid in leaks.processes():
            try:
                if pid != self.pid and os.readlink(f"/proc/{pid}/ns/pid") == space:
                    found.append((pid, leaks.command_line(pid)))
            except OSError:
                pass
        return found

    def zombies(self):
        return [c for c in self.children(self.pid) if not alive(c)]

    def stop(self, expected=0, sig=signal.SIGTERM):
        if self.process.poll() is None:
            os.kill(self.pid, sig)
        return super().stop(expected, 0)

    def check_clean(self):
        for path in leaks.cgroups_named(self.cgroup):
            os.rmdir(path)
        super().check_clean()

    @property
    def cgroup(self):
        return f"container-{self.instance}"


@pytest.fixture
def container(daemon, monkeypatch):
    """container(modules, confined=…, …) → one that runs; .make(…) → not yet."""
    import lib
    monkeypatch.setattr(lib, "Daemon", Container)

    def run(modules=None, supervisor=None, **kwargs):
        return daemon.make(modules, supervisor=OPTIONAL if supervisor is None else supervisor).run(**kwargs)

    run.make = lambda modules=None, supervisor=None: daemon.make(modules, supervisor=OPTIONAL if supervisor is None else supervisor)
    return run


KINDS = {"plain": {}, "cgroup namespace": {"namespaces": ["--cgroup"]}, "confined": {"confined": True},
         "confined cgroup namespace": {"confined": True, "namespaces": ["--cgroup"]}}
kinds = pytest.mark.parametrize("how", KINDS.values(), ids=[k.replace(" ", "-") for k in KINDS])


@kinds
def test_a_day(container, how):
    d = ordinary(container.make()).run(**how)
    assert "feature=cgroup-tree reason=" in d.log and re.search(r"(?i)read-only", d.log), d.log
    assert ("feature=clone3" in d.log) == ("feature=mount-view" in d.log) == ("feature=ptrace" in d.log) == bool(how.get("confined"))
    ordinary_day(d, d.alive)


@kinds
def test_needed_is_refused(container, how):
    d = container.make({"m": {"module.exec": f"{helper('probe')} m"}}, supervisor={"bpf": "optional"}).run(ready=False, **how)
    assert d.wait_exit() == 1
    assert len(d.log.strip().splitlines()) == 1 and "Read-only" in d.log and not d.marks.of("up"), d.log
    d.check_clean()


@kinds
def test_limits_are_refused_by_name_and_others_hold(container, how):
    limits = {"cpu_max": "50%", "cpu_weight": 50, "memory_max": "64M", "memory_high": "32M", "memory_swap_max": "1M", "oom_group": True,
              "pids_max": 9, "cpus": 0}
    d = container.make({"m": {"module.exec": helper("probe")} | {f"limits.{k}": v for k, v in limits.items()}}).run(ready=False, **how)
    assert d.wait_exit() == 78
    assert re.findall(r"m\.ini:\d+: limits\.(\w+): cannot hold: this host has no writable cgroup tree", d.log) == sorted(limits, key=d.log.index)
    assert len(d.log.strip().splitlines()) == len(limits), d.log
    d.check_clean()
    d = container({"m": {"module.exec": f"{helper('probe')} m", "limits.nofile": "99:100", "limits.nice": 5, "limits.oom_score_adj": 900}}, **how)
    pid = d.outer(d.module("m")["pid"])
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5 and leaks.read(f"/proc/{pid}/oom_score_adj").strip() == b"900"
    assert re.search(r"Max open files\s+99 +100 ", leaks.read(f"/proc/{pid}/limits").decode())
    d.stop()


@kinds
def test_what_a_container_may_not_give(container, how):
    """A nice below the daemon's own takes CAP_SYS_NICE, which Docker keeps to itself."""
    d = container({"m": {"module.exec": f"{helper('probe')} m", "limits.nice": -5, "recovery.restart": "no"}}, **how)
    if how.get("confined"):
        assert d.module("m")["state"] == "failed" and "limits: nice" in d.explain("m") and "CAP_SYS_NICE" in d.explain("m")
    else:
        assert os.getpriority(os.PRIO_PROCESS, d.outer(d.module("m")["pid"])) == -5
    d.stop()


@kinds
def test_orphans_are_reaped(container, how):
    """Those of modules and those that are nobody's: what ends without a parent leaves no zombie."""
    d = container({"old": {"module.exec": helper("daemonize"), "module.stop_timeout": "300ms", "sandbox.user": "nobody"},
                   "left": {"module.exec": f"{helper('daemonize')} leave", "module.stop_timeout": "300ms", "module.start": "manual",
                            "recovery.restart": "no"}}, **how)
    found = d.marks.wait("daemon").pid
    assert d.alive(found)
    d.cli("start", "left", rc=0)
    d.wait("left", lambda m: m["state"] == "idle" and m["generation"] == 1)
    # As by `docker exec`: a process from elsewhere whose child outlives it.
    enter = ["nsenter", "--target", str(d.pid), "--mount", "--pid", "--", "sh", "-c"]
    for _ in range(5):
        subprocess.run([*enter, "setsid sh -c 'exit 3' & setsid sleep 0.05 & exit 0"], check=True, timeout=PATIENCE)
    subprocess.run([*enter, "setsid sleep 1000 & exit 0"], check=True, timeout=PATIENCE)
    stranger = wait_for(lambda: [p for p, c in d.all() if c.startswith("sleep 1000")], "the stranger")[0]
    wait_for(lambda: not d.zombies() and len(d.children(d.pid)) <= 3, lambda: f"orphans to be reaped: {d.all()}")
    d.cli("stop", "old", rc=0)
    assert not d.alive(found) and alive(stranger), "a stranger is nobody's to stop"
    wait_for(lambda: not d.zombies(), "the rest to be reaped")
    d.stop()
    assert not alive(stranger), "it goes with the container"


@kinds
def test_exit_statuses(container, how):
    go = {}
    d = container.make()
    for name, what in {"three": "3", "killed": "KILL", "fine": "0"}.items():
        go[name] = d.fifo(name)
        d.add(name, {"module.exec": f"{helper('exitwith')} {what} {go[name]}", "recovery.restart": "no"})
    end = d.fifo("end")
    d.add("forks", {"module.exec": f"{helper('notify')} mainpid - {end}", "module.ready": "notify", "recovery.restart": "no"})
    d.run(**how)
    for fifo in go.values():
        d.go(fifo)
    ended = {name: d.wait(name, lambda m: m["last_exit"] is not None and m["state"] in ("idle", "failed"))["last_exit"] for name in go}
    assert (ended["three"]["code"], ended["killed"]["signal"], ended["fine"]["code"]) == (3, signal.SIGKILL, 0)
    # The process that MAINPID= named is an orphan of the module's, so the daemon's own child: its status is known.
    d.go(end)
    main = d.module("forks")["pid"]
    wait_for(lambda: d.outer(main) in d.children(d.pid), "its parent to end")
    os.kill(d.outer(main), signal.SIGKILL)
    assert d.wait("forks", "failed")["last_exit"]["signal"] == signal.SIGKILL
    d.stop()


@kinds
def test_sigterm_is_an_orderly_shutdown(container, how):
    d = container({"base": {"module.exec": f"{helper('probe')} base", "module.ready": "notify"},
                   "top": {"module.exec": f"{helper('probe')} top", "module.ready": "notify", "module.requires": "base"},
                   "stubborn": {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"}}, **how)
    d.marks.wait("stubborn")
    d.stop()
    assert [m.more[0] for m in d.marks.of("down")] == ["top", "base"] and "event=stopping reason=\"SIGTERM\"" in d.log


@kinds
def test_what_hides_its_mark_is_found_by_session_or_parent(container, how):
    """Programs that were given an empty environment, in the module's session and out of it."""
    script = f"env -i BH_MARK=%s {helper('stubborn')} & setsid -f true; exec env -i BH_MARK=%s {helper('stubborn')}"
    d = container.make()
    d.add("m", {"module.exec": ["/bin/sh -c \"" + (script % (d.marks.path, d.marks.path)) + "\""], "module.stop_timeout": "300ms"})
    d.run(**how)
    hidden = [d.marks.wait("stubborn", n).pid for n in (1, 2)]
    assert all(d.alive(p) for p in hidden)
    d.cli("stop", "m", rc=0)
    assert not any(d.alive(p) for p in hidden)
    d.stop()


def test_a_writable_tree_as_process_1(container):
    """Where the runtime gives the cgroups away all holds, and orphans are reaped all the same."""
    d = container({"old": {"module.exec": helper("daemonize"), "module.stop_timeout": "300ms"},
                   "left": {"module.exec": f"{helper('daemonize')} leave", "recovery.restart": "no", "module.start": "manual"}},
                  supervisor={}, read_only=False)
    assert "feature=cgroup-tree" not in d.log and d.module("old")["cgroup"]
    found = d.marks.wait("daemon").pid
    d.cli("start", "left", rc=0)
    d.wait("left", lambda m: m["state"] == "idle" and m["generation"] == 1)
    assert d.alive(found)
    d.cli("stop", "old", rc=0)
    assert not d.alive(found)
    wait_for(lambda: not d.zombies(), lambda: f"orphans to be reaped: {d.all()}")
    d.stop()


@pytest.mark.parametrize("confined", [False, True], ids=["plain", "confined"])
def test_check_host(container, confined):
    d = container({"m": {"module.exec": f"{helper('probe')} m"}}, confined=confined)
    # Confined as the daemon is: a process that joins from outside keeps its own rights.
    argv = d.argv("check", "--host")
    argv = argv[:-5] + ([helper("confine")] if confined else []) + [str(BUILD / "bulkhead"), "check", "--host"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and not done.stderr, done
    absent = re.findall(r"^([\w-]+) is not here: ", done.stdout, re.M)
    assert "cgroup-tree" in absent and ("clone3" in absent) == ("mount-view" in absent) == confined, done.stdout
    assert "unless cgroups = optional" in done.stdout.splitlines()[-1]
    assert d.module("m")["state"] == "running"
    d.stop()
