"""What becomes of the others when something happens to a module: every cell of the table in bulkhead.ini(5); and conditions."""

import os
import signal

import pytest

from lib import helper, wait_for

KINDS = ("requires", "wants", "after", "part")


def site(daemon, x=None, **supervisor):
    """x, and one module for each way of depending on it; `part` is ordered after it as well, `loose` is not."""
    d = daemon.make(supervisor=supervisor)
    probe = helper("probe")
    d.add("x", {"module.exec": f"{probe} x", "module.ready": "notify", "recovery.backoff": "1s", "recovery.jitter": "0%"} | (x or {}))
    for kind in ("requires", "wants", "after"):
        d.add(kind, {"module.exec": f"{probe} {kind}", f"module.{kind}": "x"})
    d.add("part", {"module.exec": f"{probe} part", "module.part_of": "x", "module.after": "x"})
    d.add("loose", {"module.exec": f"{probe} loose", "module.part_of": "x"})
    d.start()
    for name in KINDS + ("x", "loose"):
        d.wait(name, "running")
    return d


def generations(d):
    return {m["name"]: m["generation"] for m in d.status()["modules"] if m["state"] == "running"}


def all_of(n, **other):
    return {name: n for name in KINDS + ("x", "loose")} | other


def without(d, *names):
    return {k: v for k, v in d.items() if k not in names}


def test_a_stop_is_refused_or_takes_dependents_and_always_takes_parts(daemon):
    d = site(daemon)
    refused = d.cli("stop", "x")
    assert refused.rc == 1 and "x is required by requires, running (--cascade" in refused.err
    assert generations(d) == all_of(1), "a refused stop stops nothing, parts included"
    d.cli("stop", "requires", rc=0)
    d.cli("stop", "x", rc=0)
    wait_for(lambda: generations(d) == {"wants": 1, "after": 1}, lambda: generations(d))
    assert d.marks.wait("down", more="part").nsec < d.marks.wait("down", more="x").nsec
    d.cli("start", "x", rc=0)
    assert generations(d) == {"x": 2, "wants": 1, "after": 1}, "a start starts no part and no dependent"
    d.stop()


def test_a_cascade_stops_dependents_first(daemon):
    d = site(daemon)
    d.cli("stop", "--cascade", "x", rc=0)
    wait_for(lambda: generations(d) == {"wants": 1, "after": 1}, lambda: generations(d))
    assert d.marks.wait("down", more="requires").nsec < d.marks.wait("down", more="x").nsec
    d.stop()


@pytest.mark.parametrize("cascade", [False, True])
def test_a_restart_restarts_parts_and_with_cascade_dependents(daemon, cascade):
    d = site(daemon)
    d.cli("restart", *(["--cascade"] if cascade else []), "x", rc=0)
    expected = all_of(1, x=2, part=2, loose=2) | ({"requires": 2} if cascade else {})
    wait_for(lambda: generations(d) == expected, lambda: generations(d))
    # down in reverse, up in order
    for name in ["part"] + (["requires"] if cascade else []):
        assert d.marks.wait("down", more=name).nsec < d.marks.wait("down", more="x").nsec
        assert d.marks.wait("up", 2, more="x").nsec < d.marks.wait("up", 2, more=name).nsec
    d.stop()


@pytest.mark.parametrize("attempt", [1, 2])
def test_recovery_restarts_parts_when_it_restarts(daemon, attempt):
    """The first time at once; the second time after the backoff, while which they run on."""
    d = site(daemon)
    for n in range(1, attempt + 1):
        os.kill(d.module("x")["pid"], signal.SIGKILL)
        if n == 2:
            d.wait("x", lambda m: m["next_start_usec"])
            assert generations(d) == without(all_of(1, part=2, loose=2), "x"), "they run while it waits"
        wait_for(lambda: generations(d) == all_of(1, x=n + 1, part=n + 1, loose=n + 1), lambda: generations(d))
        assert d.marks.wait("down", n, more="part").nsec < d.marks.wait("up", n + 1, more="x").nsec < d.marks.wait("up", n + 1, more="part").nsec
    assert d.wait_event(event="restarted-with", module="part")["detail"] == {"part_of": "x"}
    assert d.module("part")["restarts"] == 0, "it is no failure of its own"
    d.stop()


@pytest.mark.parametrize("x,how", [({"recovery.restart": "no"}, signal.SIGKILL), ({"recovery.restart": "no"}, signal.SIGTERM)])
def test_all_run_on_when_it_stays_down(daemon, x, how):
    d = site(daemon, x)
    os.kill(d.module("x")["pid"], how)
    d.wait("x", "failed" if how == signal.SIGKILL else "idle")
    assert generations(d) == without(all_of(1), "x")
    # who requires it brings it up again, by a restart as by a start
    d.cli("restart", "requires", rc=0)
    assert generations(d) == all_of(1, x=2, requires=2)
    d.stop()


def test_all_run_on_when_it_is_given_up(daemon):
    d = site(daemon, {"recovery.max_attempts": 1, "recovery.backoff": "0s"})
    os.kill(d.module("x")["pid"], signal.SIGKILL)
    wait_for(lambda: generations(d) == all_of(1, x=2, part=2, loose=2), lambda: generations(d))
    os.kill(d.module("x")["pid"], signal.SIGKILL)
    d.wait("x", "failed")
    assert generations(d) == without(all_of(1, part=2, loose=2), "x")
    d.stop()


def test_kill_alone_touches_nobody_else(daemon):
    d = site(daemon)
    d.cli("kill", "--signal", "CONT", "x", rc=0)
    assert generations(d) == all_of(1)
    d.stop()


def test_a_part_that_others_require_holds_back_the_stop(daemon):
    probe = helper("probe")
    d = daemon({"x": {"module.exec": f"{probe} x"}, "part": {"module.exec": f"{probe} part", "module.part_of": "x"},
                "part2": {"module.exec": f"{probe} part2", "module.part_of": "part"},
                "user": {"module.exec": f"{probe} user", "module.requires": "part2"}})
    refused = d.cli("stop", "x")
    assert refused.rc == 1 and "user (by way of part2), running (--cascade" in refused.err
    d.cli("stop", "--cascade", "x", rc=0)
    wait_for(lambda: not generations(d), lambda: generations(d))
    d.stop()


def test_a_stop_wins_over_a_restart_that_is_under_way(daemon):
    d = daemon.make()
    d.add("x", {"module.exec": f"{helper('probe')} x"})
    d.add("part", {"module.exec": f"{helper('stubborn')}", "module.part_of": "x", "module.after": "x", "module.stop_timeout": "2s"})
    d.start()
    d.marks.wait("stubborn")  # before that it can be asked to end
    d.cli("restart", "--no-block", "x", rc=0)
    d.wait("part", lambda m: m["state"] in ("draining", "deleting"))
    d.cli("stop", "x", rc=0)
    assert generations(d) == {}
    d.cli("start", "x", rc=0)
    assert generations(d) == {"x": 2}
    d.stop()


def test_stop_order_is_the_reverse_of_start_order_over_three_levels(daemon):
    probe = helper("probe")
    # ready when they have said so, so that the marks tell the order
    d = daemon(defaults={"module.ready": "notify"}, modules={
                "db": {"module.exec": f"{probe} db"}, "cache": {"module.exec": f"{probe} cache", "module.requires": "db"},
                "app": {"module.exec": f"{probe} app", "module.requires": "db", "module.wants": "cache"},
                "web": {"module.exec": f"{probe} web", "module.after": "app"}})
    d.wait("web", "running")
    d.stop()
    order = lambda what: [m.more[0] for m in sorted(d.marks.of(what), key=lambda m: m.nsec)]  # noqa: E731
    assert order("up") == ["db", "cache", "app", "web"]
    assert order("down") == ["web", "app", "cache", "db"]


def test_plan_graph_and_explain_tell_of_parts(daemon):
    d = site(daemon)
    plan = {m["name"]: m for m in d.json("plan")["modules"]}
    assert plan["part"]["part_of"] == ["x"] and plan["x"]["part_of"] == []
    assert '"part" -> "x" [style=dashed, color=grey' in d.cli("graph", rc=0).out
    assert "part of  x" in d.cli("plan", rc=0).out
    assert "It is stopped and restarted with x (part_of)." in d.explain("part")
    d.stop()


def test_a_condition_that_does_not_hold_is_no_failure(daemon):
    d = daemon.make()
    flag = d.scratch / "flag"
    d.add("x", {"module.exec": f"{helper('probe')} x", "module.condition_path_exists": f"/, {flag}", "module.required": True})
    d.add("web", {"module.exec": f"{helper('probe')} web", "module.requires": "x"})
    d.start()
    d.wait("web", "running")
    m = d.module("x")
    reason = f"condition_path_exists = {flag} does not exist"
    assert m["state"] == "idle" and m["condition"] == reason and m["generation"] is None
    assert d.status()["status"] == "healthy" and not d.marks.of("up", "x")
    assert d.wait_event(event="condition-failed", module="x")["detail"] == {"condition": reason}
    assert reason in d.cli("status").out and reason in d.cli("status", "x").out
    assert f"{reason}; start it once that has changed: `bulkhead start x`" in d.explain("x")
    for verb in ("start", "restart"):
        done = d.cli(verb, "x", rc=0)
        assert f"x was not started, which is no failure: {reason}" in done.err, done
    flag.touch()
    done = d.cli("start", "x", rc=0)
    assert done.err == "" and d.module("x")["state"] == "running" and d.module("x")["condition"] is None
    d.cli("stop", "web", rc=0)
    flag.unlink()
    done = d.cli("restart", "x", rc=0)
    assert reason in done.err and d.module("x")["state"] == "idle"
    d.stop()


def test_a_negated_condition(daemon):
    d = daemon.make()
    flag = d.scratch / "off"
    flag.symlink_to("/nonexistent")  # leads nowhere, so it is not there
    d.add("x", {"module.exec": f"{helper('probe')} x", "module.condition_path_exists": f"!{flag}"})
    d.start()
    d.wait("x", "running")
    flag.unlink()
    flag.touch()
    os.kill(d.module("x")["pid"], signal.SIGKILL)
    m = d.wait("x", lambda m: m["condition"])  # recovery asks too
    assert m["condition"] == f"condition_path_exists = !{flag} exists" and m["state"] == "idle"
    d.stop()
