"""Teardown: ten phases in order, work in flight first, and nobody survives it."""

import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import leaks
from lib import BUILD, PHASES, SLOW, alive, helper, wait_for


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.settimeout(10)
    s.sendall(b"hello")
    assert s.recv(16) == b"hello"
    return s


def in_background(d, verb, *args):
    return subprocess.Popen(d.argv(verb, *args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def server(d, **keys):
    port = d.port()
    d.add("server", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections",
                     "work.ports": port} | {k.replace("__", "."): v for k, v in keys.items()})
    return port


def test_a_daemonized_child_is_gone_after_stop(daemon):
    d = daemon({"old": {"module.exec": helper("daemonize"), "module.stop_timeout": "500ms"}})
    child = d.marks.wait("daemon")
    main = d.marks.wait("main")
    assert int(child.more[0]) != main.pid and alive(child.pid), "it has left the session"
    d.cli("stop", "old", rc=0)
    assert not alive(child.pid) and not alive(main.pid) and d.pids("old") == []
    d.stop()


def test_an_ignored_sigterm_ends_after_stop_timeout(daemon):
    d = daemon({"deaf": {"module.exec": helper("stubborn"), "module.stop_timeout": "700ms"}})
    pid = d.marks.wait("stubborn").pid
    begun = time.monotonic()
    d.cli("stop", "deaf")
    took = time.monotonic() - begun
    assert not alive(pid) and 0.7 <= took < 3 * SLOW, f"{took:.2f} s"
    phases = {p["phase"]: p for p in d.module("deaf")["teardown"]}
    assert phases["process"]["status"] == "timed-out" and "stop_timeout" in phases["process"]["error"]
    assert phases["process"]["duration_usec"] >= 700000 and phases["cgroup"]["status"] == "ok"
    d.stop()


def test_stop_signal_is_sent(daemon):
    d = daemon({"usr": {"module.exec": helper("forkbomb"), "limits.pids_max": 1, "module.stop_signal": "SIGUSR1"}})
    d.marks.wait("forkbomb")
    d.cli("stop", "usr", rc=0)
    assert d.module("usr")["last_exit"]["signal"] == signal.SIGUSR1
    d.stop()


def test_the_ten_phases_in_order_in_events_and_status(daemon):
    d = daemon({"one": {"module.exec": f"{helper('probe')} one"}})
    d.events.read()
    d.cli("stop", "one", rc=0)
    d.wait_event(module="one", event="phase", phase="events")
    assert [p for p, _ in d.phases("one")] == PHASES
    teardown = d.module("one")["teardown"]
    assert [p["phase"] for p in teardown] == PHASES
    for p in teardown:
        assert set(p) == {"phase", "status", "duration_usec", "error"}
        assert p["status"] in ("ok", "skipped"), p
        assert p["error"] if p["status"] == "skipped" else p["error"] is None
    assert {p["phase"] for p in teardown if p["status"] == "ok"} >= {"controllers", "process", "cgroup", "events"}
    d.stop()


def test_exec_stop_post_is_told_how_it_ended(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("post", {"module.exec": f"{helper('exitwith')} 7 {go}", "module.exec_stop_post": f"{helper('touch')} post", "recovery.restart": "no"})
    d.add("stopped", {"module.exec": f"{helper('probe')} x", "module.exec_stop_post": f"{helper('touch')} stopped"})
    d.add("bad", {"module.exec": f"{helper('probe')} y", "module.exec_stop_post": f"{helper('touch')} bad 3"})
    d.start()
    d.go(go)
    assert d.marks.wait("post").more == ["exited", "7"]
    d.cli("stop", "stopped", rc=0)
    assert d.marks.wait("stopped").nsec > d.marks.wait("down", more="x").nsec
    d.cli("stop", "bad")
    process = d.module("bad")["teardown"][PHASES.index("process")]
    assert process["status"] == "failed" and "exec_stop_post" in process["error"] and "3" in process["error"], process
    assert d.module("bad")["teardown"][PHASES.index("cgroup")]["status"] == "ok", "a failure is named and the next phase runs"
    d.stop()


def test_a_start_that_failed_undoes_just_what_it_did(daemon):
    d = daemon({"none": {"module.exec": "/nonexistent/program", "recovery.restart": "no"}})
    m = d.wait("none", "failed")
    statuses = {p["phase"]: p["status"] for p in m["teardown"]}
    assert [p["phase"] for p in m["teardown"]] == PHASES
    assert statuses["gate"] == statuses["drain"] == "skipped" and statuses["cgroup"] == "ok", statuses
    assert d.pids("none") == []
    d.stop()


def test_a_drain_waits_for_the_connection_and_then_ends_it_all(daemon):
    d = daemon.make()
    port = server(d)
    d.start()
    client = connect(port)
    d.wait("server", lambda m: m["work"]["in_flight"] == 1)
    stop = in_background(d, "stop", "server")
    d.wait("server", "draining")
    client.sendall(b"again")
    assert client.recv(16) == b"again", "it serves while it is drained"
    assert stop.poll() is None and not d.marks.of("term"), "no signal before the drain is over"
    client.close()
    assert stop.wait(20) == 0, stop.communicate()
    stop.communicate()
    assert d.marks.wait("term").more == ["0"]
    m = d.module("server")
    assert {p["phase"]: p["status"] for p in m["teardown"]}["drain"] == "ok"
    d.stop()


def test_the_hard_limit_ends_a_drain(daemon):
    d = daemon.make()
    port = server(d, work__drain_soft="200ms", work__drain_hard="900ms", module__stop_timeout="300ms")
    d.start()
    client = connect(port)
    d.wait("server", lambda m: m["work"]["in_flight"] == 1)
    begun = time.monotonic()
    d.cli("stop", "server")
    took = time.monotonic() - begun
    drain = d.module("server")["teardown"][PHASES.index("drain")]
    assert drain["status"] == "timed-out" and drain["duration_usec"] >= 900000, drain
    assert 0.9 <= took < 5 * SLOW
    assert client.recv(16) == b"", "the connection was ended"
    events = [e for e in d.events.read() if e["phase"] == "drain"]
    assert any("soft" in e["event"] for e in events), events
    assert any(e["event"] == "drain-progress" or "progress" in e["event"] for e in events), events
    client.close()
    d.stop()


def test_a_second_sigterm_cuts_the_drain_and_keeps_the_order(daemon):
    d = daemon.make()
    port = server(d, work__drain_hard="30s", module__stop_timeout="300ms")
    d.start()
    client = connect(port)
    d.wait("server", lambda m: m["work"]["in_flight"] == 1)
    d.process.send_signal(signal.SIGTERM)
    d.wait_event(module="server", event="phase", phase="gate")
    begun = time.monotonic()
    d.process.send_signal(signal.SIGTERM)
    d.wait_exit()
    assert time.monotonic() - begun < 5 * SLOW
    d.close_events()
    assert [p for p, _ in d.phases("server")] == PHASES
    assert dict(d.phases("server"))["drain"] != "ok"
    client.close()
    d.stop()


def test_sigint_and_shutdown_are_orderly_too(daemon):
    module = {"module.exec": f"{helper('probe')} a", "module.ready": "notify"}
    d = daemon({"a": module})
    d.stop(sig=signal.SIGINT)
    assert d.marks.of("down")
    d = daemon({"a": module})
    d.cli("shutdown", rc=0)
    d.wait_exit()
    d.stop()
    assert d.marks.of("down")


def test_stop_with_running_dependents_lists_them_and_refuses(daemon):
    d = daemon({"base": {"module.exec": f"{helper('probe')} base"},
                "on": {"module.exec": f"{helper('probe')} on", "module.requires": "base"}})
    refused = d.cli("stop", "base", rc=1)
    assert "on" in refused.err and "--cascade" in refused.err
    assert d.module("base")["state"] == "running"
    d.cli("stop", "--cascade", "base", rc=0)
    down = [m.more[0] for m in sorted(d.marks.of("down"), key=lambda m: m.nsec)]
    assert down == ["on", "base"]
    d.stop()


def test_kill_sends_a_signal_and_recovery_answers(daemon):
    d = daemon({"k": {"module.exec": f"{helper('probe')} k"}})
    pid = d.module("k")["pid"]
    d.cli("kill", "--signal", "SIGKILL", "k", rc=0)
    m = d.wait("k", lambda m: m["generation"] == 2 and m["state"] == "running")
    assert m["pid"] != pid and m["last_exit"]["signal"] == 9 and m["last_exit"]["oom"] is False
    d.stop()


def test_fifty_cycles_leak_nothing(daemon):
    d = daemon({"c": {"module.exec": f"{helper('notify')} ready", "module.runtime_directory": "bulkhead-test-cycles", "module.ready": "notify",
                      "module.exec_stop_post": "/bin/true"}})
    d.cli("restart", "c", rc=0)
    before = d.fd_count()
    rss = lambda: int(next(x for x in open(f"/proc/{d.pid}/status") if x.startswith("VmRSS")).split()[1])  # noqa: E731
    grown = rss()
    for _ in range(25):
        d.cli("stop", "c", rc=0)
        d.cli("start", "c", rc=0)
    wait_for(lambda: d.fd_count() <= before, lambda: f"{d.fd_count()} descriptors, there were {before}")
    m = d.module("c")
    assert m["generation"] == 27
    left = [g for g in leaks.cgroups_named("c") if f"/bulkhead-{d.instance}/" in g or f"/bulkhead-{d.instance}.scope/" in g]
    assert left and all(x == "27" or not os.path.isdir(os.path.join(g, x)) for g in left for x in os.listdir(g)), left
    assert rss() - grown < 4096 or (BUILD.name.endswith("san")), "memory stays"
    d.stop()


class Frozen:
    """Processes in a cgroup of the v1 freezer, where no signal reaches them, SIGKILL neither: like one that sleeps in the
    kernel for good. They act on what was sent as soon as they are let go."""

    def __init__(self, name, *pids):
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        mount = next((m[1] for m in mounts if m[2] == "cgroup" and "freezer" in m[3].split(",")), None)
        if not mount:
            pytest.skip("there is no v1 freezer: nothing else here makes a process that cannot be killed")
        self.path, self.pids = Path(mount) / f"frozen-{name}", pids

    def __enter__(self):
        self.path.mkdir()
        for pid in self.pids:
            (self.path / "cgroup.procs").write_text(str(pid))
        (self.path / "freezer.state").write_text("FROZEN")
        wait_for(lambda: (self.path / "freezer.state").read_text() == "FROZEN\n", "the freezer")
        return self

    def let_go(self):
        (self.path / "freezer.state").write_text("THAWED")
        wait_for(lambda: not any(alive(p) for p in self.pids), "what was killed while it was frozen to end")

    def __exit__(self, *_):
        (self.path / "freezer.state").write_text("THAWED")
        wait_for(lambda: not (self.path / "cgroup.procs").read_text(), "the freezer to empty")
        self.path.rmdir()


UNKILLABLE = {"module.ready": "notify", "module.stop_timeout": "200ms", "recovery.restart": "no"}


def leaves(d, module):
    """Of all hierarchies together."""
    found = {os.path.join(g, "modules", module) for g in leaks.cgroups_named(f"bulkhead-{d.instance}")}
    return sorted({x for g in found if os.path.isdir(g) for x in os.listdir(g) if os.path.isdir(os.path.join(g, x))})


def test_what_could_not_be_killed_leaves_nothing_once_it_has_died(daemon):
    d = daemon({"stuck": {"module.exec": f"{helper('probe')} stuck"} | UNKILLABLE, "idle": {"module.exec": f"{helper('probe')} idle"}})
    pid = d.module("stuck")["pid"]
    with Frozen(d.instance, pid) as frozen:
        d.cli("stop", "stuck")
        m = d.module("stuck")
        phases = {p["phase"]: p for p in m["teardown"]}
        assert phases["process"]["status"] == "failed" and str(pid) in phases["process"]["error"], phases
        assert phases["cgroup"]["status"] == "failed" and phases["events"]["status"] == "ok", phases
        d.cli("start", "stuck", rc=0)
        again = d.module("stuck")
        assert again["generation"] == 2 and again["pid"] != pid, "the next one has a leaf of its own"
        assert leaves(d, "stuck") == ["1", "2"] and alive(pid)
        frozen.let_go()
    d.stop()
    assert "cleanup-failed" not in d.log and not alive(pid)


def test_what_still_cannot_be_killed_is_named_and_found_by_the_next_daemon(daemon):
    d = daemon({"stuck": {"module.exec": f"{helper('probe')} stuck"} | UNKILLABLE})
    pid = d.module("stuck")["pid"]
    with Frozen(d.instance, pid) as frozen:
        d.process.send_signal(signal.SIGTERM)
        assert d.wait_exit() == 0
        said = next(line for line in d.log.splitlines() if "event=cleanup-failed" in line)
        assert "modules/stuck/1" in said and "processes" in said, said
        again = daemon(share=d)
        assert "event=leftover-taken-down phase=process status=failed" in again.log and f" {pid}" in again.log
        m = again.module("stuck")
        assert m["state"] == "running" and m["generation"] == 2, "a leaf that stays has taken its number"
        frozen.let_go()
        again.cli("restart", "stuck", rc=0)
        assert leaves(again, "stuck") == ["1", "3"], "nobody looks before the end"
        again.kill()
        last = daemon(share=again)
        assert leaves(last, "stuck") == ["1"] and last.module("stuck")["generation"] == 1, "what was left is gone, its number free"
    last.stop()
    assert last.log.count("cleanup-failed") == 1, "the first one's"


def test_an_idle_daemon_never_wakes(daemon):
    d = daemon({f"m{i}": {"module.exec": f"{helper('probe')} m{i}", "module.ready": "notify", "limits.memory_max": "32M"} for i in range(20)})

    def switches():
        return sum(int(x.split()[1]) for x in open(f"/proc/{d.pid}/status") if "ctxt_switches" in x)

    before = []
    wait_for(lambda: before[-2:-1] == [switches()] or before.append(switches()), "the start to come to rest")
    quiet = switches()
    select.select([], [], [], 3)  # the measured time itself
    assert switches() - quiet == 0
    d.stop()
