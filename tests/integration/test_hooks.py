"""Commands around a module's life: before the start, when it is ready, after the end; and what is told of them."""

import re

import pytest

from lib import PHASES, helper

ONCE = {"recovery.restart": "no"}


def test_commands_run_one_after_the_other_and_a_dash_forgives(daemon):
    t = helper("touch")
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.exec_start_pre": f"{t} a ; -{t} b 3 ; -/nonexistent/c ; {t} d 0 \\; x"}})
    order = [d.marks.wait(x).nsec for x in ("a", "b", "d")] + [d.marks.wait("up").nsec]
    assert order == sorted(order)
    d.wait_event(event="running", module="m")
    told = [e["detail"] for e in d.events.read() if e["event"] == "hook-failed"]
    assert [(x["hook"], x["how"], x["ignored"]) for x in told] == [("exec_start_pre", "exit status 3", True),
                                                                  ("exec_start_pre", "No such file or directory", True)]
    assert told[0]["command"].endswith("touch (2 of 4)") and told[1]["command"] == "/nonexistent/c (3 of 4)"
    d.stop()


@pytest.mark.parametrize("command,said", [
    ("/bin/true ; /bin/sh -c 'exit 7' ; /bin/false", "/bin/sh (2 of 3): exit status 7"),
    ("/bin/sh -c 'kill -9 $$$$'", "/bin/sh: killed by signal 9"),
    ("/nonexistent/program", "/nonexistent/program: No such file or directory"),
])
def test_a_failure_names_the_command_and_how_it_ended(daemon, command, said):
    d = daemon({"m": ONCE | {"module.exec": f"{helper('probe')} m", "module.exec_start_pre": command}})
    d.wait("m", "failed")
    assert not d.marks.of("up")
    assert f"start failed at exec_start_pre: {said}" in d.log
    assert said in d.explain("m")
    d.stop()


@pytest.mark.parametrize("keys,said", [
    ({"module.exec_start_pre_timeout": "2s"}, "exec_start_pre_timeout 2s"),
    ({"module.start_timeout": "2s"}, "start_timeout 2s"),
])
def test_the_timeout_is_of_all_commands_together(daemon, keys, said):
    """Neither of them takes that long alone; and '-' gives no more time."""
    d = daemon.make()
    never = d.fifo("never")
    d.add("m", ONCE | keys | {"module.exec": f"{helper('probe')} m",
                              "module.exec_start_pre": f"/bin/true ; -/bin/sh -c 'head -c1 {never}' ; {helper('touch')} late"})
    d.start()
    d.wait("m", "failed")
    assert re.search(rf"exec_start_pre: /bin/sh \(2 of 3\): not over after {said}: killed", d.log), d.log
    assert not d.marks.of("late") and not d.marks.of("up")
    d.stop()


def test_who_waits_sees_what_for(daemon):
    """A database outside: the hook waits for it, status and explain tell so, and what requires the module waits too."""
    d = daemon.make()
    there = d.fifo("there")
    script = d.scratch / "wait-for-db"
    script.write_text(f"#!/bin/sh\nhead -c1 {there}\n")
    script.chmod(0o755)
    d.add("db", {"module.exec": f"{helper('probe')} db", "module.exec_start_pre": str(script), "module.exec_start_pre_timeout": "10m"})
    d.add("web", {"module.exec": f"{helper('probe')} web", "module.requires": "db"})
    d.start(ready=False).wait_bus()
    m = d.wait("db", lambda m: m["hook"])
    assert m["state"] == "creating" and m["hook"]["name"] == "exec_start_pre" and m["hook"]["command"] == str(script)
    assert 0 < m["hook"]["left_usec"] <= 600_000_000 and m["hook"]["elapsed_usec"] >= 0
    assert re.search(rf"exec_start_pre: {script}, for \S+, time-out in (9m|10m)", d.cli("status", "db").out)
    assert re.search(rf"waits for exec_start_pre: {script}, for \S+, time-out in (9m|10m)", d.explain("db")), d.explain("db")
    assert d.json("explain", "db")["waits_for"] == ["exec_start_pre"]
    assert re.search(rf"waits for db \(creating: exec_start_pre {script}, for \S+\)", d.explain("web")), d.explain("web")
    assert d.json("explain", "web")["waits_for"] == ["db"] and d.module("web")["hook"] is None
    assert not d.marks.of("up")
    d.go(there)
    d.wait_ready()
    d.wait("web", "running")
    assert d.module("db")["hook"] is None
    d.stop()


def test_what_a_variable_holds_is_not_told(daemon):
    d = daemon({"m": ONCE | {"module.exec": f"{helper('probe')} m", "module.environment": ["SECRET=hush"],
                             "module.exec_start_pre": "/bin/false ${SECRET}"}})
    d.wait("m", "failed")
    assert "hush" not in d.log + d.explain("m") + d.cli("status", "m", "--json").out + d.cli("events", "--json").out
    d.stop()


def test_start_post_comes_between_ready_and_running(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("m", {"module.exec": f"{helper('probe')} m", "module.ready": "notify",
                "module.exec_start_post": f"/bin/sh -c 'echo $$1 $$MAINPID > {d.scratch}/pids; head -c1 {go}' sh ${{MAINPID}} ; {helper('touch')} post"})
    d.add("after", {"module.exec": f"{helper('probe')} after", "module.requires": "m"})
    d.start(ready=False).wait_bus()
    m = d.wait("m", lambda m: m["hook"])
    assert m["state"] == "creating" and m["hook"]["name"] == "exec_start_post" and m["pid"]
    assert not d.marks.of("up", "after")
    d.go(go)
    d.wait_ready()
    d.wait("after", "running")
    assert d.marks.wait("post").nsec < d.marks.wait("up", more="after").nsec
    assert (d.scratch / "pids").read_text().split() == [str(m["pid"])] * 2
    d.stop()


@pytest.mark.parametrize("post,said", [
    ("/bin/true ; /bin/false", "start failed at exec_start_post: /bin/false (2 of 2): exit status 1"),
    ("/bin/sh -c 'kill $$MAINPID; sleep 600'", "it ended before it was ready"),
    ("/bin/sleep 600", "not over after exec_start_post_timeout 4s: killed"),
])
def test_a_failed_start_post_takes_the_start_back(daemon, post, said):
    d = daemon({"m": ONCE | {"module.exec": f"{helper('probe')} m", "module.ready": "notify", "module.exec_start_post": post,
                             "module.exec_start_post_timeout": "4s"}})
    d.wait("m", "failed")
    assert said in d.log
    assert d.marks.of("down", "m") and d.pids("m") == []
    d.stop()


def test_a_job_is_done_after_its_start_post(daemon):
    t = helper("touch")
    d = daemon({"good": {"module.exec": f"{helper('exitwith')} 0", "module.type": "oneshot", "module.exec_start_post": f"{t} post"},
                "stays": {"module.exec": f"{helper('exitwith')} 0", "module.type": "oneshot", "module.remain_after_exit": True,
                          "module.exec_start_post": f"{t} stayed"},
                "bad": ONCE | {"module.exec": f"{helper('exitwith')} 0", "module.type": "oneshot", "module.exec_start_post": f"{t} x 3"},
                "next": {"module.exec": f"{helper('probe')} next", "module.requires": ["good", "stays"]},
                "held": ONCE | {"module.exec": f"{helper('probe')} held", "module.requires": "bad"}})
    d.wait("next", "running")
    up = d.marks.wait("up", more="next").nsec
    assert d.marks.wait("exitwith").nsec < d.marks.wait("post").nsec < up and d.marks.wait("stayed").nsec < up
    d.wait("held", "failed")
    assert "which failed: exec_start_post" in d.explain("held") and not d.marks.of("up", "held")
    d.stop()


def test_a_stop_during_start_post_is_a_stop(daemon):
    d = daemon.make()
    never = d.fifo("never")
    d.add("m", {"module.exec": f"{helper('probe')} m", "module.exec_start_post": f"/bin/sh -c 'head -c1 {never}'", "module.start": "manual"})
    d.start()
    d.cli("start", "--no-block", "m", rc=0)
    d.wait("m", lambda m: m["hook"])
    d.cli("stop", "m", rc=0)
    assert d.module("m")["state"] == "idle" and d.marks.of("down", "m") and d.pids("m") == []
    d.stop()


def test_stop_post_has_a_timeout_of_its_own_and_a_failure_of_its_own(daemon):
    d = daemon.make()
    never = d.fifo("never")
    t = helper("touch")
    d.add("slow", {"module.exec": f"{helper('probe')} slow", "module.exec_stop_post_timeout": "2s",
                   "module.exec_stop_post": f"{t} one ; /bin/sh -c 'head -c1 {never}' ; {t} three"})
    d.add("bad", {"module.exec": f"{helper('probe')} bad", "module.exec_stop_post": f"-{t} a 1 ; {t} b 4 ; {t} c"})
    d.start()
    d.cli("stop", "slow")
    process = d.module("slow")["teardown"][PHASES.index("process")]
    assert process["status"] == "failed" and "exec_stop_post: /bin/sh (2 of 3): not over after exec_stop_post_timeout 2s" in process["error"], process
    assert d.marks.of("one") and not d.marks.of("three")
    d.cli("stop", "bad")
    process = d.module("bad")["teardown"][PHASES.index("process")]
    assert "(2 of 3): exit status 4" in process["error"], process
    assert d.marks.of("a") and d.marks.of("b") and not d.marks.of("c")
    d.stop()
