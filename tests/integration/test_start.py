"""Start: order, readiness, what a module is born with, and what a failed start says."""

import grp
import json
import os
import re
import socket

import pytest

from lib import helper, wait_for


def order(d, what):
    return [m.more[0] for m in sorted(d.marks.of(what), key=lambda m: m.nsec)]


def test_a_chain_of_ten_starts_in_order_and_stops_in_reverse(daemon):
    modules = {f"m{i}": {"module.exec": f"{helper('probe')} m{i}", "module.ready": "notify"} | ({"module.requires": f"m{i - 1}"} if i else {}) for i in range(10)}
    d = daemon(modules)
    chain = [f"m{i}" for i in range(10)]
    assert order(d, "up") == chain
    d.wait_event(event="running", module="m9")
    assert [e["module"] for e in d.events.all if e["event"] == "running"] == chain
    d.stop()
    assert order(d, "down") == chain[::-1]
    ended = [e["module"] for e in d.events.all if e["event"] == "phase" and e["phase"] == "events"]
    assert ended == chain[::-1]


def test_a_hundred_independent_modules_start_at_once(daemon):
    d = daemon.make()
    go = d.fifo("go")
    for i in range(100):
        d.add(f"m{i:03}", {"module.exec": f"{helper('fdready')} 3 {go}", "module.ready": "fd:3"})
    d.start(ready=False)
    # none may be ready before all were begun: so they were started at once and not one after the other
    d.marks.wait("fdready", 100, timeout=60)
    fd = os.open(go, os.O_RDWR)
    os.write(fd, b"g" * 100)
    d.wait_ready()
    os.close(fd)
    status = d.status()
    assert status["status"] == "healthy" and [m["state"] for m in status["modules"]] == ["running"] * 100
    d.stop()


def test_parallel_start_no_is_one_after_the_other(daemon):
    d = daemon.make(supervisor={"parallel_start": False})
    gates = [d.fifo(f"go{i}") for i in range(3)]
    for i in range(3):
        d.add(f"m{i}", {"module.exec": f"{helper('fdready')} 3 {gates[i]}", "module.ready": "fd:3"})
    d.start(ready=False)
    for i in range(3):
        d.marks.wait("fdready", i + 1)
        d.wait_bus()
        assert [m["state"] for m in d.status()["modules"]] == ["running"] * i + ["creating"] + ["idle"] * (2 - i)
        d.go(gates[i])
    d.wait_ready()
    d.stop()


def test_a_required_module_that_fails_takes_all_down_in_reverse(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.ready": "notify"},
                "b": {"module.exec": f"{helper('probe')} b", "module.ready": "notify", "module.requires": "a"},
                "c": {"module.exec": "/nonexistent/c", "module.requires": "b", "module.required": True, "recovery.restart": "no"}}, ready=False)
    assert d.wait_exit() == 1
    assert order(d, "up") == ["a", "b"] and order(d, "down") == ["b", "a"]
    problems = [line for line in d.log.splitlines() if "c: start failed at exec" in line]
    assert len(problems) == 1 and "/nonexistent/c" in problems[0], d.log
    d.check_clean()


def test_a_required_module_that_is_not_ready_in_time(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.ready": "notify"},
                "b": {"module.exec": f"{helper('probe')} b", "module.ready": "unix:/nonexistent/socket", "module.required": True}},
               supervisor={"startup_timeout": "600ms"}, ready=False)
    assert d.wait_exit() == 1
    assert len([line for line in d.log.splitlines() if "startup_timeout" in line and "b: " in line]) == 1, d.log
    assert order(d, "down") and not d.marks.of("up", "c")
    d.check_clean()


def test_start_delay_spaces_the_starts(daemon):
    d = daemon({f"m{i}": {"module.exec": f"{helper('probe')} m{i}", "module.ready": "notify"} for i in range(4)}, supervisor={"start_delay": "200ms"})
    d.wait_event(event="started")
    starts = [e["time_usec"] for e in d.events.read() if e["event"] == "creating"]
    assert len(starts) == 4 and all(b - a > 195000 for a, b in zip(starts, starts[1:])), starts
    d.stop()


def test_an_optional_failure_leaves_the_others(daemon):
    d = daemon({"good": {"module.exec": f"{helper('probe')} good"},
                "web": {"module.exec": "/nonexistent/web", "recovery.restart": "no"},
                "needs": {"module.exec": f"{helper('probe')} needs", "module.requires": "web"},
                "wants": {"module.exec": f"{helper('probe')} wants", "module.wants": "web"}})
    status = {m["name"]: m["state"] for m in d.status()["modules"]}
    assert status["good"] == status["wants"] == "running" and status["web"] == "failed" and status["needs"] in ("idle", "failed")
    assert d.status()["status"] == "degraded" and "web" in d.status()["reason"]
    assert re.search(r"web: start failed at exec: /nonexistent/web: No such file or directory", d.log), d.log
    assert "web" in d.explain("needs") and "/nonexistent/web" in d.explain("web")
    d.stop()


def test_manual_modules_start_only_when_asked_or_required(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.start": "manual"},
                "dep": {"module.exec": f"{helper('probe')} dep", "module.start": "manual"},
                "auto": {"module.exec": f"{helper('probe')} auto", "module.requires": "dep"}})
    assert [m["state"] for m in d.status()["modules"]] == ["running", "running", "idle"]
    d.cli("start", "m", rc=0)
    assert d.module("m")["state"] == "running"
    d.stop()


# --- readiness


def kinds(d):
    port, path = d.port(), d.scratch / "s"
    return {
        "notify": (f"{helper('notify')} ready", "notify"),
        "fd": (f"{helper('fdready')} 5", "fd:5"),
        "tcp": (f"{helper('server')} tcp:{port}", f"tcp:{port}"),
        "unix": (f"{helper('server')} unix:{path}", f"unix:{path}"),
    }


@pytest.mark.parametrize("kind", ["none", "exec"])
def test_readiness_at_once(daemon, kind):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.ready": kind}})
    assert d.module("m")["state"] == "running"
    d.stop()


@pytest.mark.parametrize("kind", ["notify", "fd", "tcp", "unix"])
def test_readiness_when_it_says_so(daemon, kind):
    d = daemon.make()
    go = d.fifo("go")
    command, ready = kinds(d)[kind]
    d.add("m", {"module.exec": f"{command} {go}", "module.ready": ready})
    d.add("then", {"module.exec": f"{helper('probe')} then", "module.requires": "m"})
    d.start(ready=False)
    pid = d.marks.wait({"tcp": "server", "unix": "server", "fd": "fdready"}.get(kind, kind)).pid
    d.wait_bus()
    m = d.module("m")
    assert (m["state"], m["pid"]) == ("creating", pid) and d.module("then")["state"] == "idle"
    assert "ready" in d.explain("m")
    d.go(go)
    d.wait_ready()
    assert d.module("m")["state"] == d.module("then")["state"] == "running"
    d.stop()


@pytest.mark.parametrize("kind", ["notify", "fd", "tcp", "unix"])
def test_readiness_that_does_not_come(daemon, kind):
    d = daemon.make()
    go = d.fifo("go")
    command, ready = kinds(d)[kind]
    d.add("m", {"module.exec": f"{command} {go}", "module.ready": ready, "module.start_timeout": "400ms", "module.stop_timeout": "500ms",
                "recovery.restart": "no"})
    d.start()
    m = d.wait("m", "failed")
    assert "start failed at ready" in d.log and "start_timeout" in d.log, d.log
    assert d.pids("m") == [] and m["pid"] is None
    d.stop()


def test_a_module_that_ends_before_it_is_ready_has_failed(daemon):
    d = daemon({"m": {"module.exec": f"{helper('exitwith')} 4", "module.ready": "notify", "recovery.restart": "no"}})
    m = d.wait("m", "failed")
    assert m["last_exit"]["code"] == 4 and "4" in d.explain("m")
    d.stop()


def test_another_module_cannot_speak_for_it(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("victim", {"module.exec": f"{helper('notify')} ready {go}", "module.ready": "notify"})
    d.start(ready=False)
    where = d.marks.wait("notify").more[0]
    d.wait_bus()
    assert where.startswith("/")
    assert d.module("victim")["state"] == "creating"
    # a process outside of the leaf, the test itself, and root at that
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1", where)
    d.wait_event(module="victim", event="notify-refused")
    assert d.module("victim")["state"] == "creating"
    d.go(go)
    d.wait_ready()
    assert d.module("victim")["state"] == "running"
    d.stop()


def test_a_module_as_root_cannot_speak_for_another(daemon):
    """Neither one of the same instance, which is refused, nor one of another, which does not even see the socket."""
    d = daemon.make()
    go, tell = d.fifo("go"), d.fifo("tell")
    where = d.scratch / "where"
    d.add("victim", {"module.exec": f"{helper('notify')} ready {go}", "module.ready": "notify", "module.start": "manual"})
    d.add("evil", {"module.exec": f"{helper('notify')} spoof {tell} {where}"})
    d.start()
    d.cli("start", "--no-block", "victim", rc=0)
    victim = wait_for(lambda: [m for m in d.marks.of("notify") if m.more[0] != "-"], "the victim")[0]
    os.symlink(victim.more[0], where)
    d.go(tell)
    assert d.marks.wait("spoofed").more == ["0"], "it reaches the socket"
    d.wait_event(module="victim", event="notify-refused")
    assert d.module("victim")["state"] == "creating"
    other = daemon({"evil": {"module.exec": f"{helper('notify')} spoof - {victim.more[0]}"}})
    assert other.marks.wait("spoofed").more != ["0"]
    other.stop()
    assert d.module("victim")["state"] == "creating"
    d.go(go)
    d.wait("victim", "running")
    d.stop()


def test_notify_barrier_status_mainpid_and_junk(daemon):
    d = daemon.make()
    end = d.fifo("end")
    base = {"module.ready": "notify", "recovery.restart": "no"}
    d.add("barrier", base | {"module.exec": f"{helper('notify')} barrier"})
    d.add("status", base | {"module.exec": f"{helper('notify')} status - warming\x1b[31mup".replace("\x1b", "~")})
    d.add("mainpid", base | {"module.exec": f"{helper('notify')} mainpid - {end}"})
    d.add("foreign", base | {"module.exec": f"{helper('notify')} foreign - {os.getpid()}"})
    d.add("descriptors", base | {"module.exec": f"{helper('notify')} descriptors"})
    d.add("zero", base | {"module.exec": f"{helper('notify')} zero", "module.start": "manual", "module.start_timeout": "700ms"})
    d.start()
    d.marks.wait("barrier")
    assert "warming" in d.explain("status")
    child = d.marks.wait("child")
    assert d.module("mainpid")["pid"] == child.pid
    d.go(end)
    wait_for(lambda: len(d.pids("mainpid")) == 1, "the parent to end")
    assert d.module("mainpid")["state"] == "running" and d.module("mainpid")["pid"] == child.pid
    os.kill(child.pid, 9)
    assert d.wait("mainpid", "failed")["last_exit"]["signal"] == 9
    foreign = next(m for m in d.marks.of("notify") if m.pid == d.module("foreign")["pid"])
    assert foreign, "a main pid outside of the leaf is not taken"
    before = d.fd_count()
    d.cli("start", "zero", rc=1)
    assert d.module("zero")["state"] == "failed", "neither an empty nor an oversized datagram is READY"
    # The command's connection is closed when the daemon sees its end, not when the command has ended.
    wait_for(lambda: d.fd_count() <= before, lambda: f"{d.fd_count()} descriptors, there were {before}")
    d.stop()


# --- what it is born with


def dump(d, name="m", **keys):
    out = d.scratch / f"{name}.json"
    d.add(name, {"module.exec": f"{helper('envdump')} {out} one \"two words\""} | keys)
    return lambda: (d.marks.wait("dumped"), json.loads(out.read_text()))[1]


def test_born_with_what_was_written(daemon):
    d = daemon.make()
    (d.scratch / "work").mkdir(mode=0o755)
    (d.scratch / "env").write_text("# a comment\nFROM_FILE=file\nBOTH=file\nQUOTED=\"a b\"\n")
    read = dump(d, **{"module.working_dir": d.scratch / "work", "module.umask": "0027", "module.environment_file": d.scratch / "env",
                      "module.environment": ["DIRECT=direct", "BOTH=direct"], "limits.nofile": "333:444", "limits.nice": 5,
                      "limits.oom_score_adj": 321, "sandbox.user": "www-data",
                      "module.runtime_directory": f"{d.instance}-r", "module.state_directory": f"{d.instance}-s",
                      "module.logs_directory": f"{d.instance}-l"})
    d.start()
    try:
        born = read()
        env = dict(e.split("=", 1) for e in born["env"])
        assert born["argv"][2:] == ["one", "two words"]
        assert born["cwd"] == str(d.scratch / "work") and born["umask"] == 0o027 and born["nice"] == 5
        assert born["oom_score_adj"].strip() == "321" and born["rlimits"][7] == [333, 444]
        assert env["DIRECT"] == "direct" and env["FROM_FILE"] == "file" and env["QUOTED"] == "a b"
        assert env["USER"] == env["LOGNAME"] == "www-data" and "NOTIFY_SOCKET" not in env
        assert born["uids"] == [33] * 3 and born["gids"] == [33] * 3 and born["groups"] in ([], [33])
        assert born["sid"] == born["pid"], "a session of its own"
        assert int(born["SigBlk"], 16) == 0 and int(born["SigIgn"], 16) == 0
        assert set(born["fds"]) == {"0", "1", "2"} and born["fds"]["0"].endswith("/dev/null")
        for variable, path in ("RUNTIME_DIRECTORY", f"/run/{d.instance}-r"), ("STATE_DIRECTORY", f"/var/lib/{d.instance}-s"), (
                "LOGS_DIRECTORY", f"/var/log/{d.instance}-l"):
            assert env[variable] == path and os.stat(path).st_uid == 33
        d.stop()
        assert not os.path.exists(f"/run/{d.instance}-r"), "the runtime directory goes with the module"
        assert os.path.isdir(f"/var/lib/{d.instance}-s") and os.path.isdir(f"/var/log/{d.instance}-l")
    finally:
        for path in f"/var/lib/{d.instance}-s", f"/var/log/{d.instance}-l":
            if os.path.isdir(path):
                os.rmdir(path)


def test_environment_beats_environment_file_and_nothing_of_the_daemon_leaks_in(daemon):
    d = daemon.make()
    (d.scratch / "env").write_text("BOTH=file\n")
    read = dump(d, **{"module.environment_file": d.scratch / "env", "module.environment": ["BOTH=direct"]})
    d.start(env={"SECRET_OF_THE_DAEMON": "1"})
    env = dict(e.split("=", 1) for e in read()["env"])
    assert env["BOTH"] == "direct" and "SECRET_OF_THE_DAEMON" not in env and env["PATH"]
    d.stop()


def test_groups_are_exactly_those_written(daemon):
    d = daemon.make()
    groups = [grp.getgrnam(g).gr_gid for g in ("games", "video")]
    read = dump(d, **{"sandbox.user": "nobody", "sandbox.group": "www-data", "sandbox.supplementary_groups": ["games", "video"]})
    d.start()
    born = read()
    assert born["gids"] == [33] * 3 and sorted(born["groups"]) == sorted(groups)
    d.stop()


def test_exec_start_pre_runs_first_and_its_failure_is_the_starts(daemon):
    d = daemon({"good": {"module.exec": f"{helper('probe')} good", "module.exec_start_pre": f"{helper('touch')} pre"},
                "bad": {"module.exec": f"{helper('probe')} bad", "module.exec_start_pre": f"{helper('touch')} no 5", "recovery.restart": "no"}})
    assert d.marks.wait("pre").nsec < d.marks.wait("up", more="good").nsec
    assert d.wait("bad", "failed") and not d.marks.of("up", "bad")
    assert re.search(r"bad: start failed at exec_start_pre: .*5", d.log), d.log
    d.stop()


def test_each_failed_stage_is_named(daemon):
    d = daemon.make()
    plain = d.scratch / "plain"
    plain.write_text("not a program")
    base = {"recovery.restart": "no"}
    d.add("noexec", base | {"module.exec": str(plain)})
    d.add("nodir", base | {"module.exec": f"{helper('probe')} x", "module.working_dir": "/nonexistent/dir"})
    d.add("limits", base | {"module.exec": f"{helper('probe')} x", "limits.nofile": "2000000000"})
    d.start()
    for name in "noexec", "nodir", "limits":
        d.wait(name, "failed")
    assert re.search(r"noexec: start failed at exec: .*Permission denied", d.log)
    assert re.search(r"nodir: start failed at directory: .*No such file or directory", d.log)
    assert re.search(r"limits: start failed at limits: .*nofile.*(hard limit|not permitted)", d.log)
    d.stop()


# --- logs


def test_logs_go_where_they_are_told(daemon):
    say = "/bin/sh -c 'echo out-%n; echo err-%n >&2; exec " + helper("probe") + " %n'"
    d = daemon({name: {"module.exec": say, "module.log": name} for name in ("file", "null", "inherit")})
    for name in "file", "null", "inherit":
        d.marks.wait("up", more=name)
    assert d.log_of("file") == "out-file\nerr-file\n"
    assert os.stat(f"/var/log/bulkhead/{d.instance}/file.log").st_mode & 0o077 == 0
    assert "out-inherit" in d.log and "err-inherit" in d.log and "out-null" not in d.log
    assert d.cli("logs", "file", rc=0).out == "out-file\nerr-file\n"
    d.stop()
