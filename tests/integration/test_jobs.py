"""Jobs (type = oneshot): who waits for their end, what their failure holds back, how they are run again."""

import sqlite3
import subprocess

import pytest

from lib import PATIENCE, helper, wait_for

ONESHOT = {"module.type": "oneshot", "module.start": "manual", "recovery.restart": "no"}
# A schema that is migrated once: the second time it fails.
MIGRATION = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("create table users (name text)")
db.execute("insert into users values ('root')")
db.commit()
"""


def job(how="0", go="", **keys):
    return {"module.exec": f"{helper('exitwith')} {how} {go}"} | ONESHOT | {k.replace("__", "."): v for k, v in keys.items()}


def spawn(d, *words):
    return subprocess.Popen(d.argv(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def states(d, name, generation=1):
    return [e["event"] for e in d.events.read() if e["module"] == name and e["generation"] == generation and
            e["event"] in ("creating", "running", "exited", "draining", "deleting", "gone", "failed", "done")]


def test_dependents_wait_for_a_real_migration(daemon):
    d = daemon.make()
    database, script = d.scratch / "app.db", d.dir / "migrate.py"
    script.write_text(MIGRATION)
    d.add("migrate", {"module.exec": f"/usr/bin/python3 {script} {database}", "module.type": "oneshot"})
    d.add("web", {"module.exec": f"{helper('probe')} web", "module.requires": "migrate",
                  "module.exec_start_pre": f"/usr/bin/test -s {database}"})
    d.start()
    web, migrate = d.wait("web", "running"), d.module("migrate")
    assert migrate["state"] == "idle" and migrate["type"] == "oneshot" and migrate["last_exit"]["code"] == 0 and migrate["pid"] is None
    assert web["type"] == "simple" and d.status()["status"] == "healthy"
    with sqlite3.connect(database) as db:
        assert db.execute("select name from users").fetchall() == [("root",)]
    assert states(d, "migrate") == ["creating", "exited", "draining", "deleting", "gone", "done"]
    assert "It has done its work" in d.explain("migrate")
    order = [(e["module"], e["event"]) for e in d.events.read()]
    assert order.index(("migrate", "done")) < order.index(("web", "creating"))
    # a restart of who requires it leaves it alone: it would fail
    d.cli("restart", "web", rc=0)
    assert d.module("migrate")["generation"] == 1 and d.module("web")["generation"] == 2
    d.stop()


def test_a_failure_holds_back_what_requires_it_and_says_so(daemon):
    d = daemon({"migrate": job("3", module__start="auto"),
                "web": {"module.exec": f"{helper('probe')} web", "module.requires": "migrate"},
                "front": {"module.exec": f"{helper('probe')} front", "module.requires": "web"},
                "soft": {"module.exec": f"{helper('probe')} soft", "module.wants": "migrate"}})
    d.wait("front", "failed")
    assert d.module("migrate")["state"] == d.module("web")["state"] == "failed" and d.wait("soft", "running")
    assert d.status()["status"] == "degraded"
    reason = "it requires migrate, which failed: exit status 3"
    assert reason in d.explain("web") and f"it requires web, which failed: {reason}" in d.explain("front")
    assert "exit status 3" in d.cli("status", rc=0).out
    event = d.wait_event(module="web", event="dependency-failed")
    assert event["detail"] == {"dependency": "migrate", "error": reason}
    done = d.cli("start", "web", rc=1)
    assert reason in done.err
    assert d.module("migrate")["generation"] == 2, "a start by hand runs it again"
    assert d.cli("start", "migrate", rc=1).err.strip().endswith("exit status 3")
    assert d.marks.of("up", "web") == []
    d.stop()


def test_recovery_tries_again_while_dependents_wait(daemon):
    d = daemon.make()
    flag = d.scratch / "flag"
    script = f"/bin/sh -c 'test -e {flag} || {{ touch {flag}; exit 1; }}'"
    d.add("migrate", {"module.exec": script, "module.type": "oneshot", "recovery.backoff": "100ms"})
    d.add("web", {"module.exec": f"{helper('probe')} web", "module.requires": "migrate"})
    d.start()
    d.wait("web", "running")
    m = d.module("migrate")
    assert m["restarts"] == 1 and m["generation"] == 2 and m["last_exit"]["code"] == 0
    d.stop()


def test_a_required_job_that_fails_ends_start_up(daemon):
    d = daemon.make({"migrate": job("3", module__start="auto", module__required=True),
                     "web": {"module.exec": f"{helper('probe')} web", "module.requires": "migrate"}})
    d.start(ready=False)
    assert d.wait_exit() == 1
    assert "migrate: exit status 3" in d.log and d.marks.of("up") == []
    d.check_clean()


def test_a_required_job_that_is_done_is_all_that_start_up_waits_for(daemon):
    d = daemon.make(supervisor={"startup_timeout": "60s"})
    go = d.fifo("go")
    d.add("migrate", job("0", go, module__start="auto", module__required=True))
    d.start(ready=False).wait_bus()
    d.marks.wait("exitwith")
    assert d.module("migrate")["state"] == "creating" and "is done when it has ended" in d.explain("migrate")
    assert "its end" in d.explain("migrate")
    d.go(go)
    d.wait_ready()
    assert d.module("migrate")["state"] == "idle"
    d.stop()


def test_remain_after_exit(daemon):
    d = daemon({"net": job(module__remain_after_exit=True, module__start="auto", module__exec_stop_post=f"{helper('touch')} post"),
                "web": {"module.exec": f"{helper('probe')} web", "module.requires": "net"}})
    m = d.wait("net", "running")
    d.wait("web", "running")
    assert m["pid"] is None and m["generation"] == 1 and m["last_exit"]["code"] == 0
    assert "counts as running" in d.explain("net")
    d.cli("start", "net", rc=0)
    assert d.module("net")["generation"] == 1 and len(d.marks.of("exitwith")) == 1
    assert "no process" in d.cli("kill", "net", rc=1).err
    assert "required by web" in d.cli("stop", "net", rc=1).err
    assert d.marks.of("post") == []
    d.cli("stop", "--cascade", "net", rc=0)
    assert len(d.marks.of("post")) == 1 and d.module("net")["state"] == "idle" == d.module("web")["state"]
    assert states(d, "net") == ["creating", "exited", "running", "draining", "deleting", "gone"]
    d.cli("start", "web", rc=0)
    assert d.module("net")["generation"] == 2 and d.module("net")["state"] == "running"
    d.cli("restart", "--cascade", "net", rc=0)
    d.wait("web", lambda m: m["state"] == "running" and m["generation"] == 3)
    assert len(d.marks.of("exitwith")) == 3
    d.stop()
    assert len(d.marks.of("post")) == 3


def test_each_start_runs_it_again_and_waits_for_its_end(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("job", job("0", go))
    d.start()
    assert d.module("job")["generation"] is None
    starts = [spawn(d, "start", "job") for _ in range(2)]  # two who ask at once share a run
    d.marks.wait("exitwith")
    wait_for(lambda: d.log.count("event=asked verb=start") == 2, "both to have asked")
    assert all(s.poll() is None for s in starts)
    d.go(go)
    assert [s.wait(PATIENCE) for s in starts] == [0, 0]
    assert d.module("job")["generation"] == 1
    d.go(go)
    d.cli("start", "job", rc=0)
    assert d.module("job")["generation"] == 2 and d.module("job")["state"] == "idle"
    d.go(go)
    d.cli("restart", "job", rc=0)
    assert d.module("job")["generation"] == 3
    d.stop()


def test_a_dependent_that_starts_runs_it_again_unless_it_remains(daemon):
    d = daemon({"again": job(), "once": job(module__remain_after_exit=True),
                "web": {"module.exec": f"{helper('probe')} web", "module.requires": "again, once", "module.start": "manual"}})
    for n in 1, 2:
        d.cli("start", "web", rc=0)
        assert d.module("again")["generation"] == n and d.module("once")["generation"] == 1
        d.cli("start", "web", rc=0)
        assert d.module("again")["generation"] == n, "it runs already"
        d.cli("stop", "web", rc=0)
    d.stop()


def test_a_job_is_stopped_in_its_run(daemon):
    d = daemon.make()
    d.add("job", {"module.exec": f"{helper('probe')} job"} | ONESHOT)
    d.add("web", {"module.exec": f"{helper('probe')} web", "module.requires": "job", "module.start": "manual"})
    d.start()
    start = spawn(d, "start", "web")
    d.marks.wait("up", more="job")
    d.cli("stop", "job", rc=0)
    assert start.wait(PATIENCE) == 1
    assert d.module("job")["state"] == "idle" == d.module("web")["state"], "whose start waited for it was stopped with it"
    assert d.marks.of("up", "web") == []
    d.stop()


def test_start_timeout_bounds_the_run(daemon):
    d = daemon({"job": {"module.exec": f"{helper('probe')} job", "module.start_timeout": "200ms"} | ONESHOT,
                "free": {"module.exec": f"{helper('probe')} free"} | ONESHOT})
    assert "not over after start_timeout 200ms" in d.cli("start", "job", rc=1).err
    assert d.module("job")["state"] == "failed"
    plan = {m["name"]: m["start_timeout_usec"] for m in d.json("plan")["modules"]}
    assert plan == {"job": 200000, "free": None}
    d.stop()


@pytest.mark.parametrize("status,ok", [("0", True), ("3", True), ("4", False), ("TERM", False)])
def test_success_exit_status_of_a_job(daemon, status, ok):
    d = daemon({"job": job(status, module__success_exit_status="3")})
    d.cli("start", "job", rc=0 if ok else 1)
    assert d.module("job")["state"] == ("idle" if ok else "failed")
    d.stop()


def test_what_a_job_leaves_running_ends_with_it(daemon):
    d = daemon({"job": {"module.exec": f"/bin/sh -c '{helper('probe')} left & while ! grep -q \"^up\" ${{BH_MARK}}; do :; done'"} | ONESHOT})
    d.cli("start", "job", rc=0)
    left = d.marks.wait("up", more="left")
    assert d.module("job")["state"] == "idle" and not d.pids("job")
    assert left
    d.stop()
