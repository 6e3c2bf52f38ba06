"""Instances: one lock each, side by side; what is wrong at the start is one clear line and an exit status."""

import os
import re
import signal
import subprocess

import pytest

from lib import PHASES, alive, drop_to, helper, in_private_mounts, reachable, wait_for


def one_line(d, *words):
    lines = [line for line in d.log.splitlines() if line.strip()]
    assert len(lines) == 1, d.log
    for word in words:
        assert re.search(word, lines[0]), f"{word!r} is not in {lines[0]!r}"
    return lines[0]


def test_a_taken_name_is_refused(daemon):
    first = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    second = daemon({"m": {"module.exec": f"{helper('probe')} other"}}, instance=first.instance, ready=False)
    assert second.wait_exit() == 1
    one_line(second, first.instance, str(first.pid) + r"|running|taken|another")
    second.clean = True
    assert first.module("m")["state"] == "running" and not second.marks.of("up")
    first.stop()


def test_several_instances_side_by_side(daemon):
    daemons = [daemon({"m": {"module.exec": f"{helper('probe')} m"}}) for _ in range(3)]
    assert len({d.module("m")["cgroup"] for d in daemons}) == 3
    daemons[1].stop()
    assert [d.module("m")["state"] for d in (daemons[0], daemons[2])] == ["running"] * 2
    daemons[0].stop()
    daemons[2].stop()


def test_not_root(daemon):
    d = daemon({"m": {"module.exec": helper("probe"), "sandbox.user": "nobody"}}, ready=False, before_exec=drop_to(65534), program=reachable("bulkheadd"))
    assert d.wait_exit() == 1
    one_line(d, "root")
    d.check_clean()


@pytest.mark.parametrize("what", ["missing", "world-writable file", "world-writable directory", "foreign owner", "syntax", "unreadable"])
def test_bad_configuration_is_78(daemon, what):
    d = daemon.make({"m": {"module.exec": f"{helper('probe')} m"}})
    module = d.config / "modules.d" / "m.ini"
    if what == "missing":
        subprocess.run(["rm", "-r", str(d.config)], check=True)
    elif what == "world-writable file":
        os.chmod(module, 0o666)
    elif what == "world-writable directory":
        os.chmod(d.config / "modules.d", 0o777)
    elif what == "foreign owner":
        os.chown(module, 65534, 65534)
    elif what == "syntax":
        module.write_text("[module]\nexec\n")
    else:  # root reads everything: what it can't read is no file
        module.unlink()
        module.mkdir()
    d.start(ready=False)
    assert d.wait_exit() == 78, d.log
    assert str(d.config) in d.log and ("m.ini" in d.log or what in ("missing", "world-writable directory")), d.log
    assert not d.marks.of("up")
    d.check_clean()


def test_all_errors_at_once(daemon):
    d = daemon.make({"a": {"module.exec": helper("probe"), "module.umask": "9"}, "b": {"module.exec": helper("probe"), "limits.memory_max": "64"},
                     "c": {"module.exec": helper("probe"), "sandbox.user": "no-such-user"}})
    d.start(ready=False)
    assert d.wait_exit() == 78
    for words in r"a\.ini:\d+: module\.umask: ", r"b\.ini:\d+: limits\.memory_max: ", r"c\.ini:\d+: sandbox\.user: ":
        assert re.search(words, d.log), d.log
    d.check_clean()


def test_what_the_graph_lacks(daemon):
    d = daemon.make({"a": {"module.exec": helper("probe"), "module.requires": "nowhere"}, "b": {"module.exec": helper("probe"), "module.after": "c"},
                     "c": {"module.exec": helper("probe"), "module.requires": "b"}})
    d.start(ready=False)
    assert d.wait_exit() == 78
    assert re.search(r"a\.ini:\d+: module\.requires: .*nowhere", d.log) and re.search(r"module\.(requires|after): .*b → c → b|c → b → c", d.log), d.log
    d.check_clean()


def test_limits_over_what_the_host_has(daemon):
    d = daemon({"m": {"module.exec": helper("probe"), "limits.memory_max": "4000G", "module.required": True}}, ready=False)
    assert d.wait_exit() == 78
    assert re.search(r"3\.9T|4000\.?0?G", d.log) and "memory" in d.log, d.log
    d.check_clean()


def test_no_btf(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}}, ready=False, before_exec=in_private_mounts(["/sys/kernel/btf"]))
    assert d.wait_exit() == 1
    one_line(d, "BTF|btf")
    assert not d.marks.of("up")
    d.check_clean()


def test_no_btf_where_bpf_is_optional(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}}, before_exec=in_private_mounts(["/sys/kernel/btf"]), supervisor={"bpf": "optional"})
    assert d.module("m")["state"] == "running"
    assert re.search(r"(?i)btf", d.log)
    d.stop()


@pytest.mark.parametrize("arguments", [("--btf", "/nonexistent/btf"), ("--bpffs", "/nonexistent/bpf")])
def test_no_btf_and_no_bpffs(daemon, arguments):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}}, ready=False, args=arguments)
    assert d.wait_exit() == 1
    lines = [line for line in d.log.splitlines() if line.strip()]
    assert len([line for line in lines if arguments[1] in line]) == 1 and not d.marks.of("up"), d.log
    d.check_clean()


def test_no_cgroups_to_be_had(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}}, ready=False, before_exec=in_private_mounts(["/sys/fs"]))
    assert d.wait_exit() == 1
    one_line(d, "cgroup")
    d.check_clean()


def test_what_a_killed_daemon_left_is_taken_down_by_the_next(daemon):
    d = daemon({"a": {"module.exec": helper("daemonize"), "module.stop_timeout": "300ms"}, "b": {"module.exec": f"{helper('probe')} b", "module.ready": "exec"},
                "c": {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"}})
    left = [d.marks.wait("daemon").pid, d.marks.wait("up").pid, d.marks.wait("stubborn").pid]
    d.kill()
    assert all(alive(p) for p in left), "the modules outlive the daemon"
    again = daemon(share=d)
    assert not any(alive(p) for p in left)
    for name in "a", "b", "c":
        assert len([x for x in again.log.splitlines() if re.search(rf"\b{name}\b.*left|left.*\b{name}\b", x)]) == 1, again.log
    assert {m["name"]: m["state"] for m in again.status()["modules"]} == dict.fromkeys("abc", "running")
    again.stop()


def test_a_killed_daemon_whose_modules_are_gone_too(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.runtime_directory": "bulkhead-test-left"}})
    pid = d.module("a")["pid"]
    d.kill()
    os.kill(pid, signal.SIGKILL)
    again = daemon(share=d)
    assert again.module("a")["state"] == "running"
    again.stop()


def test_kill_9_at_many_moments_leaves_what_the_next_can_clear(daemon):
    """During start, running and stop alike."""
    d = daemon.make()
    go = d.fifo("go")
    for i in range(5):
        d.add(f"m{i}", {"module.exec": f"{helper('fdready')} 3 {go}", "module.ready": "fd:3"} | ({"module.requires": f"m{i - 1}"} if i else {}))
    d.start(ready=False)
    begun = told = 0

    def pass_through(current, n):
        """Until n modules have become ready, and the next has begun."""
        nonlocal begun, told
        begun += 1
        current.marks.wait("fdready", begun)
        for i in range(n):
            current.go(go)
            told += 1
            current.marks.wait("told", told)
            if i < 4:
                begun += 1
                current.marks.wait("fdready", begun)

    current = d
    for n in 0, 1, 3, 5:
        pass_through(current, n)
        current.kill()
        current = daemon(share=current, ready=False)
    pass_through(current, 5)
    current.wait_ready()
    current.stop()


def test_kill_9_in_the_middle_of_a_stop(daemon):
    d = daemon({"a": {"module.exec": helper("stubborn"), "module.stop_timeout": "20s"}})
    pid = d.marks.wait("stubborn").pid
    d.cli("stop", "--no-block", "a", rc=0)
    d.wait("a", "deleting")
    d.kill()
    assert alive(pid)
    d.add("a", {"module.exec": f"{helper('probe')} a", "module.stop_timeout": "300ms"})
    again = daemon(share=d)
    assert not alive(pid) and again.module("a")["state"] == "running"
    again.stop()


def test_a_leftover_gets_its_exec_stop_post(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.exec_stop_post": f"{helper('touch')} post"}})
    d.kill()
    again = daemon(share=d)
    process = next(e for e in again.events.read() or again.wait_event(event="started") and again.events.all
                   if e["event"] == "phase" and e["phase"] == "process")
    assert process["detail"]["status"] == "ok" and len(d.marks.of("post")) == 1, process
    again.stop()


def test_sigterm_while_leftovers_are_taken_down(daemon):
    """Their teardown comes to its end, nothing is started, and nothing is left."""
    d = daemon.make()
    go = d.fifo("go")
    d.add("a", {"module.exec": f"{helper('probe')} a", "module.exec_stop_post": f"{helper('exitwith')} 0 {go}"})
    d.start()
    d.kill()
    again = daemon(share=d, ready=False)
    d.marks.wait("exitwith")
    again.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "event=stopping" in again.log, "the signal to be seen")
    d.go(go)
    assert again.wait_exit() == 0
    again.check_clean()
    assert len(d.marks.of("up")) == 1 and again.log.count("event=starting") == 1, "that of the first daemon"


def test_teardown_of_leftovers_has_phases(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.ready": "notify"}})
    d.kill()
    again = daemon(share=d)
    assert d.marks.of("down"), "it got its stop signal before anything harder"
    first = [(e["phase"], e["detail"]["status"]) for e in again.events.read() or again.wait_event(event="started") and again.events.all
             if e["event"] == "phase"]
    assert [p for p, _ in first] == PHASES and dict(first)["process"] == "ok" and dict(first)["drain"] == "skipped"
    assert again.module("a")["state"] == "running"
    again.stop()
