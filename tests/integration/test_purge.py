"""bulkheadd --purge and `bulkhead purge`: what a dead daemon left goes, at once and in order; a living one is left alone."""

import os
import re
import subprocess

import pytest

from lib import BUILD, alive, helper, wait_for


def purge(d, *words, env=None):
    argv = [str(BUILD / "bulkheadd"), "--purge", "--instance", d.instance, "--config", str(d.config), *words]
    return subprocess.run(argv, capture_output=True, text=True, env=os.environ | (env or {}), check=False)


def by_verb(d):
    return subprocess.run([str(BUILD / "bulkhead"), "purge", "--instance", d.instance, "--config", str(d.config)],
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize("way", [purge, by_verb])
def test_what_a_dead_daemon_left_goes(daemon, way):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a", "module.exec_stop_post": f"{helper('touch')} post",
                      "module.runtime_directory": "bulkhead-test-purge"},
                "b": {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"}})
    d.marks.wait("stubborn")
    pids = [m["pid"] for m in d.status()["modules"]]
    d.kill()
    assert all(alive(p) for p in pids)
    done = way(d)
    assert done.returncode == 0, done
    assert re.search(r"event=purged .*generations=2", done.stderr), done.stderr
    assert not any(alive(p) for p in pids) and len(d.marks.of("down")) == 1, "a had its stop signal"
    assert len(d.marks.of("post")) == 1 and not os.path.exists("/run/bulkhead-test-purge")
    assert os.path.isdir(f"/var/log/bulkhead/{d.instance}"), "logs stay"
    d.process = None
    d.check_clean()


def test_a_living_one_is_refused(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a"}})
    done = purge(d)
    assert done.returncode == 1 and f"pid {d.pid}" in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert d.module("a")["state"] == "running" and not d.marks.of("down")
    d.stop()


def test_nothing_is_there(daemon):
    d = daemon.make({"a": {"module.exec": f"{helper('probe')} a"}})
    done = purge(d)
    assert done.returncode == 0 and not done.stderr, done
    d.check_clean()


def test_a_broken_configuration_is_not_in_the_way(daemon):
    d = daemon({"a": {"module.exec": f"{helper('probe')} a"}})
    pid = d.module("a")["pid"]
    d.kill()
    (d.config / "modules.d" / "a.ini").write_text("[module\n")
    done = purge(d)
    assert done.returncode == 0 and "event=no-policy" in done.stderr and not alive(pid), done
    d.process = None
    d.check_clean()


def test_after_a_crash_nothing_is_swept_and_after_a_stop_it_is(daemon):
    d = daemon({"a": {"module.exec": helper("stubborn"), "module.stop_timeout": "20s"}})
    pid = d.marks.wait("stubborn").pid
    d.kill()
    for env in {}, {"SERVICE_RESULT": "signal"}, {"SERVICE_RESULT": "watchdog"}:
        done = purge(d, "--after-stop", env=env)
        assert done.returncode == 0 and not done.stderr and alive(pid), done
    d.add("a", {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"})
    done = purge(d, "--after-stop", env={"SERVICE_RESULT": "timeout"})
    assert done.returncode == 0 and not alive(pid), done
    d.process = None
    d.check_clean()


def test_killed_in_the_middle_of_a_stop(daemon):
    d = daemon({"a": {"module.exec": helper("stubborn"), "module.stop_timeout": "20s"}})
    pid = d.marks.wait("stubborn").pid
    d.process.terminate()
    wait_for(lambda: "event=stopping" in d.log, "the stop to begin")
    d.kill()
    d.add("a", {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"})
    done = purge(d, "--after-stop", env={"SERVICE_RESULT": "signal"})
    assert done.returncode == 0 and not alive(pid), done
    d.process = None
    d.check_clean()


def test_a_stop_that_was_cut_is_forgotten_by_the_next_daemon(daemon):
    d = daemon({"a": {"module.exec": helper("stubborn"), "module.stop_timeout": "300ms"}})
    d.marks.wait("stubborn")
    d.process.terminate()
    wait_for(lambda: "event=stopping" in d.log, "the stop to begin")
    d.kill()
    again = daemon(share=d)
    pid = d.marks.wait("stubborn", 2).pid
    again.kill()
    assert purge(d, "--after-stop").returncode == 0 and alive(pid)
    last = daemon(share=d)
    last.stop()
