"""The face: every verb, its exit status and its JSON; any D-Bus client; who may do what."""

import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest

from lib import BUILD, helper, wait_for

GAMES, VIDEO, NOBODY = 60, 44, 65534
STATUS_KEYS = {"instance", "status", "reason", "uptime_usec", "modules"}
MODULE_KEYS = {"name", "state", "health", "generation", "pid", "cgroup", "restarts", "next_start_usec", "work", "cpu", "memory", "pids",
               "last_exit", "teardown"}
WORK_KEYS = {"started", "completed", "errors", "in_flight", "in_flight_peak", "long_running", "rejected", "latency_p50_usec", "latency_p99_usec"}


def test_status_json_has_the_documented_shape(daemon):
    port = None
    d = daemon.make()
    port = d.port()
    d.add("plain", {"module.exec": f"{helper('probe')} plain"})
    d.add("tracked", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    d.start()
    s = d.status()
    assert set(s) >= STATUS_KEYS and s["instance"] == d.instance and s["status"] == "healthy" and s["uptime_usec"] > 0
    plain, tracked = s["modules"]
    for m in plain, tracked:
        assert set(m) >= MODULE_KEYS, MODULE_KEYS - set(m)
        assert m["health"] in ("healthy", "degraded", "unhealthy", "unknown")
        assert re.search(rf"/bulkhead-{d.instance}(\.scope)?/modules/{m['name']}/1$", m["cgroup"])
        assert set(m["cpu"]) == {"usage_usec", "max", "throttled_usec"} and m["cpu"]["max"] is None
        assert set(m["memory"]) == {"current", "peak", "max", "oom_kills"} and m["memory"]["current"] > 0
        assert m["pids"] == {"current": 1, "max": None} and m["last_exit"] is None
        assert open(f"/proc/{m['pid']}/cgroup").read().find(m["cgroup"]) > 0
    work = tracked["work"]
    assert set(list(work)[:len(WORK_KEYS)]) == WORK_KEYS and all(work[k] == 0 for k in WORK_KEYS), work
    assert list(work)[len(WORK_KEYS):] == ["latency", "counted_usec", "gate", "max_in_flight", "held", "sources"]
    assert set(work["latency"]) == {0} and work["counted_usec"] > 0 and work["gate"] == "open"
    assert set(work["sources"]) == {"connections"} and set(work["sources"]["connections"]) == WORK_KEYS
    assert plain["work"] is None and plain["pressure"] is None, "pressure is read for who asks for a module"
    pressure = d.module("tracked")["pressure"]
    assert pressure is None or set(pressure) == {"cpu", "memory", "io"}
    d.stop()


def test_status_is_a_table(daemon):
    d = daemon({"web": {"module.exec": f"{helper('probe')} web", "limits.memory_max": "64M"}})
    out = d.cli("status", rc=0).out
    assert re.search(r"(?m)^\W*web\b.*running", out) and "64" in out, out
    assert "\x1b" not in out, "no colour where there is no terminal"
    d.stop()


def test_exit_statuses(daemon, tmp_path):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.start": "manual"},
                "bad": {"module.exec": "/nonexistent", "module.start": "manual", "recovery.restart": "no"},
                "slow": {"module.exec": f"{helper('notify')} spoof - /nonexistent", "module.ready": "notify", "module.start": "manual"}})
    d.cli("status", rc=0)
    d.cli("start", "m", rc=0)
    assert "start failed at exec" in d.cli("start", "bad", rc=1).err
    d.cli("nonsense", rc=2)
    d.cli("start", rc=2)
    d.cli("status", "--nonsense", rc=2)
    for verb in "start", "stop", "restart", "status", "explain", "kill", "logs":
        assert "nobody-knows" in d.cli(verb, "nobody-knows", rc=3).err, verb
    d.cli("start", "--timeout", "300ms", "slow", rc=4)
    d.cli("stop", "slow", rc=0)
    d.cli("check", str(tmp_path / "none"), rc=78)
    d.stop()
    assert d.cli("status", rc=3).err.strip()
    assert d.cli("stop", "m", rc=3).err.strip()


def test_globs_and_several_names(daemon):
    d = daemon({n: {"module.exec": f"{helper('probe')} {n}"} for n in ("web-a", "web-b", "db")})
    d.cli("stop", "web-*", rc=0)
    assert {m["name"]: m["state"] for m in d.status()["modules"]} == {"db": "running", "web-a": "idle", "web-b": "idle"}
    d.cli("start", "web-a", "web-b", rc=0)
    assert [m["name"] for m in d.json("status", "web-*")["modules"]] == ["web-a", "web-b"]
    d.stop()


def test_no_block_and_idempotence(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("m", {"module.exec": f"{helper('fdready')} 3 {go}", "module.ready": "fd:3", "module.start": "manual"})
    d.start()
    d.cli("start", "--no-block", "m", rc=0)
    d.marks.wait("fdready")
    assert d.module("m")["state"] == "creating"
    d.go(go)
    d.cli("start", "m", rc=0)
    assert d.module("m")["state"] == "running" and len(d.marks.of("fdready")) == 1
    d.cli("start", "m", rc=0)
    d.cli("stop", "m", rc=0)
    d.cli("stop", "m", rc=0)
    assert d.module("m")["generation"] == 1
    d.stop()


def test_events_as_json_lines(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    d.cli("stop", "m", rc=0)
    events = [json.loads(line) for line in d.cli("events", "--json", rc=0).out.splitlines()]
    assert events and all(set(e) == {"time_usec", "module", "generation", "event", "phase", "detail"} for e in events)
    times = [e["time_usec"] for e in events]
    assert times == sorted(times)
    assert d.cli("events", rc=0).out.strip()
    d.stop()


def test_check_plan_and_graph_need_no_daemon(daemon, tmp_path):
    d = daemon.make()
    d.add("a", {"module.exec": f"{helper('probe')} a", "module.requires": "b"})
    d.add("b", {"module.exec": f"{helper('probe')} b"})

    def run(*argv):
        return subprocess.run([str(BUILD / "bulkhead"), *argv], capture_output=True, text=True, timeout=30)

    good = run("check", str(d.config))
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert json.loads(run("check", "--json", str(d.config)).stdout) == []
    plan = run("plan", str(d.config))
    assert plan.returncode == 0 and plan.stdout.index("b") < len(plan.stdout)
    waves = json.loads(run("plan", "--json", str(d.config)).stdout)["waves"]
    assert waves == [["b"], ["a"]]
    dot = run("graph", str(d.config))
    assert dot.returncode == 0 and dot.stdout.startswith("digraph") and '"a" -> "b"' in dot.stdout
    if shutil.which("dot"):
        assert subprocess.run(["dot", "-Tsvg"], input=dot.stdout, text=True, capture_output=True, check=True).stdout.find("<svg") > 0
    d.add("a", "[module]\nexec = /bin/true\nrequries = b\n[sandbox]\nuser = root\n")
    bad = run("check", str(d.config))
    assert bad.returncode == 78 and re.search(r"a\.ini:3: module\.requries: .*requires", bad.stdout + bad.stderr), bad
    listed = json.loads(run("check", "--json", str(d.config)).stdout)
    assert [(e["line"], e["key"]) for e in listed] == [(3, "module.requries")] and listed[0]["file"].endswith("a.ini")
    d.clean = True


def test_any_dbus_client(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    bus = f"unix:path=/run/bulkhead/{d.instance}/bus"
    # often, because the trap is a race (FACTS: BEGIN and the first call in one read)
    for _ in range(10):
        out = subprocess.run(["dbus-send", f"--peer={bus}", "--print-reply", "--type=method_call", "/org/bulkhead1",
                              "org.bulkhead1.Manager.ListModules"], capture_output=True, text=True, timeout=10)
        assert out.returncode == 0 and '"m"' in out.stdout, out
    out = subprocess.run(["busctl", f"--address={bus}", "--no-pager", "introspect", "org.bulkhead1", "/org/bulkhead1"],
                         capture_output=True, text=True, timeout=10)
    assert out.returncode == 0 and "StartModule" in out.stdout and "org.bulkhead1.Manager" in out.stdout, out
    out = subprocess.run(["busctl", f"--address={bus}", "call", "org.bulkhead1", "/org/bulkhead1", "org.bulkhead1.Manager", "StopModule",
                          "st", "m", "0"], capture_output=True, text=True, timeout=10)
    assert out.returncode == 0, out
    assert d.module("m")["state"] == "idle"
    d.stop()


def test_who_may_do_what(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}}, supervisor={"read_group": "games", "operate_group": "video"})
    stranger = d.cli("status", user=NOBODY)
    assert stranger.rc != 0 and not stranger.out.strip()
    assert d.cli("status", user=NOBODY, groups=[GAMES]).rc == 0
    refused = d.cli("stop", "m", user=NOBODY, groups=[GAMES])
    assert refused.rc == 1 and d.module("m")["state"] == "running"
    assert re.search(r"(?i)not allowed|denied|may", refused.err), refused
    operator = [GAMES, VIDEO]
    assert d.cli("restart", "m", user=NOBODY, groups=operator).rc == 0 and d.module("m")["generation"] == 2
    assert d.cli("shutdown", user=NOBODY, groups=operator).rc == 1 and d.process.poll() is None
    d.stop()


def test_nobody_may_where_no_group_is_named(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    assert d.cli("status", user=NOBODY, groups=[GAMES, VIDEO]).rc != 0
    d.stop()


def test_a_client_that_says_nothing_or_nonsense_harms_nobody(daemon):
    import socket
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    before = d.fd_count()
    silent = []
    for i in range(30):
        s = socket.socket(socket.AF_UNIX)
        s.connect(f"/run/bulkhead/{d.instance}/bus")
        if i % 3:
            with contextlib.suppress(BrokenPipeError):  # 16 a user is the limit: the others are closed at once
                s.send(b"\0" + os.urandom(200) if i % 3 == 1 else b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + b"l\1\0\1" + b"\xff" * 60)
        silent.append(s)
    for s in silent:
        s.close()
    # it may still be at the clients of before, and 16 a user is its limit
    wait_for(lambda: d.cli("status").rc == 0, "the daemon to answer again")
    assert d.status()["status"] == "healthy"
    wait_for(lambda: d.fd_count() <= before + 1, lambda: f"{d.fd_count()} descriptors, there were {before}")
    d.stop()


def test_logs_follow(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("m", {"module.exec": f"/bin/sh -c 'echo first; read x < {go}; echo second; exec {helper('probe')} m'"})
    d.start()
    follower = subprocess.Popen(d.argv("logs", "-f", "m"), stdout=subprocess.PIPE, text=True)
    assert follower.stdout.readline() == "first\n"
    fd = os.open(go, os.O_RDWR)
    os.write(fd, b"go\n")
    assert follower.stdout.readline() == "second\n"
    os.close(fd)
    follower.terminate()
    follower.wait()
    follower.stdout.close()
    d.stop()


@pytest.mark.parametrize("program", ["bulkhead", "bulkheadd"])
def test_help_and_version(program):
    for word in "--help", "--version":
        done = subprocess.run([str(BUILD / program), word], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0 and done.stdout.strip() and not done.stderr
