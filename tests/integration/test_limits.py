"""Limits hold, and only for the module that has them."""

import select
import time

from lib import SANITIZED, SLOW, helper


def test_a_memory_hog_dies_alone_is_named_and_restarted(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("neighbour", {"module.exec": f"{helper('probe')} neighbour"})
    d.add("hog", {"module.exec": f"{helper('hog')} 256 {go}", "limits.memory_max": "64M"})
    d.start()
    neighbour = d.module("neighbour")
    first = d.module("hog")
    assert first["memory"]["max"] == 64 << 20
    d.marks.wait("hog")
    d.go(go)
    second = d.wait("hog", lambda m: m["generation"] == 2 and m["state"] == "running")
    assert second["restarts"] == 1 and second["pid"] != first["pid"]
    assert second["last_exit"]["oom"] is True and second["last_exit"]["signal"] == 9
    assert second["memory"]["oom_kills"] >= 1
    words = d.explain("hog")
    assert "out of memory" in words and "memory_max" in words, words
    after = d.module("neighbour")
    assert (after["pid"], after["restarts"], after["state"]) == (neighbour["pid"], 0, "running")
    assert after["memory"]["oom_kills"] == 0 and d.status()["modules"][0]["name"] == "hog"
    d.stop()


def test_oom_group_takes_the_whole_module(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("hog", {"module.exec": f"/bin/sh -c '{helper('probe')} child & exec {helper('hog')} 256 {go}'", "limits.memory_max": "64M",
                  "limits.oom_group": True, "recovery.restart": "no"})
    d.start(ready=False)
    # On a hybrid host the kernel has no such switch: then the key must be refused by name, not dropped.
    try:
        d.wait_ready()
    except AssertionError:
        assert d.wait_exit() == 78 and "limits.oom_group" in d.log, d.log
        d.check_clean()
        return
    child = d.marks.wait("up")
    d.go(go)
    m = d.wait("hog", lambda m: m["last_exit"] is not None and m["state"] in ("failed", "idle"))
    assert m["last_exit"]["oom"] is True
    assert child.pid not in d.pids("hog")
    d.stop()


def cpu_share(d, name, seconds):
    """Percent of one CPU by the leaf's own statistics."""
    before, begun = d.module(name)["cpu"]["usage_usec"], time.monotonic()
    select.select([], [], [], seconds)  # the measured time itself
    return (d.module(name)["cpu"]["usage_usec"] - before) / (time.monotonic() - begun) / 1e4


def shares(d, name, seconds, least):
    """Up to four windows, until one reaches `least`: what else runs on the machine can take from a share, never add to it."""
    measured = []
    while len(measured) < 4 and not any(s >= least for s in measured):
        measured.append(cpu_share(d, name, seconds))
    return measured


def test_cpu_max_gives_its_share_and_no_more(daemon):
    d = daemon({"spin": {"module.exec": helper("spin"), "limits.cpu_max": "20%"}})
    d.marks.wait("spin")
    measured = shares(d, "spin", 5, 18)
    assert max(measured) >= 18 and all(s <= 22 for s in measured), measured
    m = d.module("spin")
    assert m["cpu"]["max"] == 20 and m["cpu"]["throttled_usec"] > 0
    d.stop()


def test_cpu_max_counts_all_threads_together(daemon):
    d = daemon({"spin": {"module.exec": f"{helper('spin')} 4", "limits.cpu_max": "30%"}})
    d.marks.wait("spin")
    measured = shares(d, "spin", 2, 24)
    assert max(measured) >= 24 and all(s <= 36 for s in measured), measured
    d.stop()


def test_pids_max_holds_a_fork_bomb_and_stop_clears_it(daemon):
    d = daemon({"bomb": {"module.exec": helper("forkbomb"), "limits.pids_max": 32, "limits.cpu_max": "50%"}})
    d.marks.wait("forkbomb-refused")
    m = d.wait("bomb", lambda m: m["pids"]["current"] >= 31)
    assert m["pids"] == {"current": m["pids"]["current"], "max": 32} and m["pids"]["current"] <= 32
    assert len(d.pids("bomb")) <= 32
    begun = time.monotonic()
    d.cli("stop", "bomb", rc=0)
    took = time.monotonic() - begun
    assert d.pids("bomb") == []
    assert took < (3 if SANITIZED else 1) * SLOW, f"{took:.2f} s"
    d.stop()


def test_limits_are_in_the_kernel_as_written(daemon):
    d = daemon({"all": {"module.exec": f"{helper('probe')} all", "limits.memory_max": "32M", "limits.cpu_max": "150%",
                        "limits.cpu_weight": 50, "limits.cpus": "0", "limits.pids_max": 7}})
    m = d.wait("all", "running")
    assert m["memory"]["max"] == 32 << 20 and m["cpu"]["max"] == 150 and m["pids"]["max"] == 7
    cgroups = dict(line.split(":", 2)[1:] for line in open(f"/proc/{m['pid']}/cgroup").read().splitlines())
    if "memory" in cgroups:
        def value(controller, name):
            return open(f"/sys/fs/cgroup/{controller}{cgroups[controller]}/{name}").read().strip()
        assert value("memory", "memory.limit_in_bytes") == str(32 << 20)
        assert value("cpu", "cpu.cfs_quota_us") == "150000" and value("cpu", "cpu.cfs_period_us") == "100000"
        assert value("cpu", "cpu.shares") == "512"
        assert value("pids", "pids.max") == "7" and value("cpuset", "cpuset.cpus") == "0"
    else:
        def value(name):
            return open(f"/sys/fs/cgroup{m['cgroup']}/{name}").read().strip()
        assert value("memory.max") == str(32 << 20) and value("cpu.max") == "150000 100000"
        assert value("cpu.weight") == "50" and value("pids.max") == "7" and value("cpuset.cpus") == "0"
    d.stop()


def test_a_limit_that_this_host_cannot_hold_is_refused_by_name(daemon):
    d = daemon({"high": {"module.exec": helper("probe"), "limits.memory_high": "16M", "module.required": True}}, ready=False)
    if "memory" in open("/proc/self/cgroup").read().replace(":memory:", " memory "):
        rc = d.wait_exit()
        assert rc in (1, 78) and "memory_high" in d.log, d.log
        d.check_clean()
    else:
        d.wait_ready()
        d.stop()
