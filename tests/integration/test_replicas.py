"""Instances of one file: how they are named, and how many there are while the daemon runs."""

import os
import subprocess

from leaks import cgroups_named
from lib import SLOW, alive, helper, wait_for


def states(d):
    return {m["name"]: m["state"] for m in d.status()["modules"]}


def workers(n):
    return [f"worker@{i}" for i in range(1, n + 1)]


def worker(instances=2, **keys):
    return {"module.exec": f"{helper('probe')} worker-%i", "module.instances": instances} | {
        k.replace("__", "."): v for k, v in keys.items()}


def stubborn(instances=2, **keys):
    """Ends only when it is killed, stop_timeout after it was asked to."""
    return worker(instances, module__exec=helper("stubborn"), **keys)


def stable_groups(d):
    """The modules that have a cgroup in some hierarchy."""
    return {os.path.basename(m) for c in cgroups_named(f"bulkhead-{d.instance}") if os.path.isdir(f"{c}/modules")
            for m in os.listdir(f"{c}/modules") if os.path.isdir(f"{c}/modules/{m}")}


def in_background(d, verb, *args):
    return subprocess.Popen(d.argv(verb, *args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(p, rc):
    out = p.communicate(timeout=60 * SLOW)[0]
    assert p.returncode == rc, out
    return out


def test_each_instance_is_a_module(daemon):
    d = daemon({"worker": worker(3), "web": {"module.exec": f"{helper('probe')} web", "module.requires": "worker"}})
    assert states(d) == {m: "running" for m in ["web"] + workers(3)}
    assert sorted(m.more[0] for m in d.marks.of("up")) == ["web", "worker-1", "worker-2", "worker-3"]
    d.wait_event(event="running", module="web")
    order = [e["module"] for e in d.events.read() if e["event"] == "running"]
    assert order[-1] == "web", order
    assert len({d.module(w)["cgroup"] for w in workers(3)}) == 3
    assert d.module("worker@2")["instances"] == {"template": "worker", "now": 3, "configured": 3, "work": None}
    assert d.module("web")["instances"] is None
    d.cli("stop", "worker@2", "web", rc=0)
    assert states(d) == {"web": "idle", "worker@1": "running", "worker@2": "idle", "worker@3": "running"}
    assert "no module 'worker@4'" in d.cli("status", "worker@4", rc=3).err
    d.stop()


def test_words_mean_several_modules(daemon):
    probe = {"module.exec": f"{helper('probe')} x"}
    d = daemon({"worker": worker(10, module__group="shop"), "web": probe | {"module.group": "shop"}, "web-2": probe,
                "other": probe})

    def meant(*words):
        return [m["name"] for m in d.json("status", *words)["modules"]]

    assert meant() == ["other", "web", "web-2"] + workers(10), "worker@2 before worker@10"
    assert meant("worker") == meant("worker@*") == workers(10)
    assert meant("worker@3", "web", "worker@3") == ["worker@3", "web"]
    assert meant("w*-2") == ["web-2"]
    assert meant("shop:") == meant("shop:*") == ["web"] + workers(10)
    assert meant("shop:web*") == ["web"]
    for verb in ("status", "start", "stop", "restart", "kill", "explain"):
        for word in ("x*", "nobody:", "shop:x*", "wor:"):
            failed = d.cli(verb, word, rc=3)
            assert f"no module matches '{word}' (bulkhead status lists them)" in failed.err, failed
    assert "did you mean 'web'" in d.cli("stop", "webb", rc=3).err
    d.cli("stop", "worker", rc=0)
    assert {m for m, s in states(d).items() if s == "running"} == {"web", "web-2", "other"}
    d.cli("start", "shop:", rc=0)
    assert set(states(d).values()) == {"running"}
    before = {w: d.module(w)["pid"] for w in workers(10)}
    d.cli("restart", "worker@[12]", rc=0)
    assert {w for w in workers(10) if d.module(w)["pid"] != before[w]} == {"worker@1", "worker@2"}
    assert d.explain("worker").count("worker@") >= 10
    offered = subprocess.run([d.argv("x")[0], "--complete", "--instance", d.instance, "stop", ""], capture_output=True, text=True)
    offered = [line.split("\t")[0] for line in offered.stdout.splitlines()]
    assert offered == ["other", "web", "web-2"] + workers(10) + ["worker", "shop:"]
    offered = subprocess.run([d.argv("x")[0], "--complete", "--instance", d.instance, "scale", ""], capture_output=True, text=True)
    assert offered.stdout == "worker\t10 now\n"
    d.stop()


def test_scale_up_and_down(daemon):
    d = daemon({"worker": worker(1), "db": {"module.exec": f"{helper('probe')} db", "module.start": "manual"}})
    first = d.module("worker@1")["pid"]
    d.wait_event(event="started")
    fds = d.fd_count()  # the client of the events in it: a newer sd-bus holds two descriptors for each
    done = d.cli("scale", "-v", "worker", "12", rc=0)
    assert done.out.startswith("worker: scaled in "), done
    assert [m for m in states(d) if m.startswith("worker")] == workers(12)
    assert all(s == "running" for m, s in states(d).items() if m != "db")
    assert d.module("worker@12")["instances"] == {"template": "worker", "now": 12, "configured": 1, "work": None}
    assert "worker: 12 of instances = 1, until the daemon's next start" in d.cli("status").out
    assert "12 of instances = 1" in d.cli("status", "worker@7").out
    pids = {w: d.module(w)["pid"] for w in workers(12)}
    d.cli("scale", "worker", "3", rc=0)
    assert [m for m in states(d) if m.startswith("worker")] == workers(3)
    assert {w: d.module(w)["pid"] for w in workers(3)} == {w: pids[w] for w in workers(3)}, "who stays is left alone"
    assert not any(alive(pids[w]) for w in set(workers(12)) - set(workers(3)))
    assert stable_groups(d) == {"db", *workers(3)}
    for w in set(workers(12)) - set(workers(3)):
        d.wait_event(event="module-removed", module=w)
    taken = [e["module"] for e in d.events.read() if e["event"] == "torn-down"]
    assert set(taken) == set(workers(12)) - set(workers(3))
    assert len(d.phases("worker@9")) == 10, "in phases"
    d.cli("scale", "worker", "3", rc=0)
    d.cli("scale", "worker", "1", rc=0)
    assert d.module("worker@1")["pid"] == first
    wait_for(lambda: d.fd_count() <= fds, lambda: f"descriptors to be closed: {fds}, now {d.fd_count()}")
    told = {e["event"] for e in d.events.read()}
    assert {"module-added", "module-removed", "scaled"} <= told
    d.stop()


def test_the_files_stay_the_truth(daemon):
    d = daemon({"worker": worker(2)})
    d.cli("scale", "worker", "5", rc=0)
    d.stop()
    again = daemon(share=d)
    assert list(states(again)) == workers(2)
    again.stop()


def test_scale_to_none_and_back(daemon):
    d = daemon({"worker": worker(2)})
    d.cli("scale", "worker", "0", rc=0)
    assert states(d) == {} and stable_groups(d) == set()
    assert "worker has no instances now (bulkhead scale worker 1 makes one)" in d.cli("start", "worker", rc=3).err
    d.cli("scale", "worker", "2", rc=0)
    assert states(d) == {w: "running" for w in workers(2)}
    assert d.module("worker@1")["generation"] == 1, "a new module, with a history of its own"
    d.stop()


def test_what_cannot_be_scaled(daemon):
    probe = f"{helper('probe')} x"
    d = daemon({"worker": worker(2), "web": {"module.exec": probe},
                "user": {"module.exec": probe, "module.requires": "worker"},
                "third": {"module.exec": probe, "module.after": "worker@2"}})
    assert "web is one module (instances = 1 in its file, then it can be scaled)" in d.cli("scale", "web", "2", rc=3).err
    assert "worker@1 is one instance (scale worker)" in d.cli("scale", "worker@1", "2", rc=3).err
    assert "no module 'worke' (did you mean 'worker'?)" in d.cli("scale", "worke", "2", rc=3).err
    for n in ("-1", "x", "1001", ""):
        assert "no number of instances (0 to 1000" in d.cli("scale", "--", "worker", n, rc=2).err
    refused = d.cli("scale", "worker", "0", rc=1)
    assert "'worker' has no instances (one at least)" in refused.err and "user.ini" in refused.err
    refused = d.cli("scale", "worker", "1", rc=1)
    assert "no module 'worker@2'" in refused.err and "third.ini" in refused.err
    d.cli("scale", "--no-block", "worker", "0", rc=1)
    assert all(s == "running" for s in states(d).values()) and len(states(d)) == 5
    # One that is required by name may be restarted, and those over it go.
    d.cli("scale", "worker", "4", rc=0)
    d.cli("scale", "worker", "2", rc=0)
    assert all(s == "running" for s in states(d).values()) and len(states(d)) == 5
    d.stop()


def test_the_budget_counts_instances(daemon):
    pid_max = int(open("/proc/sys/kernel/pid_max").read())
    d = daemon({"worker": worker(1, module__required=True, limits__pids_max=pid_max // 4)})
    refused = d.cli("scale", "worker", "5", rc=1)
    assert "required modules may have" in refused.err and "cannot be scaled to 5" in refused.err
    d.cli("scale", "worker", "3", rc=0)
    d.stop()


def test_scaled_instances_follow_the_order(daemon):
    """db is started first because the new instances require it; a stopped instance is started again by a scale."""
    d = daemon({"worker": worker(1, module__requires="db", module__start="manual"),
                "db": {"module.exec": f"{helper('probe')} db", "module.ready": "notify", "module.start": "manual"}})
    assert set(states(d).values()) == {"idle"}
    d.cli("scale", "worker", "3", rc=0)
    assert set(states(d).values()) == {"running"}
    for w in workers(3):
        d.wait_event(event="running", module=w)
    order = [e["module"] for e in d.events.read() if e["event"] == "running"]
    assert order[0] == "db" and sorted(order[1:]) == workers(3)
    d.cli("stop", "worker@2", rc=0)
    d.cli("scale", "worker", "3", rc=0)
    assert d.module("worker@2")["state"] == "running"
    d.stop()


def test_an_instance_that_does_not_start_fails_the_scale(daemon):
    d = daemon({"worker": worker(1, module__exec_start_pre='/bin/sh -c "test %i -ne 3"', recovery__restart="no")})
    failed = d.cli("scale", "worker", "4", rc=1)
    assert "worker@3: start failed at exec_start_pre" in failed.err
    d.wait("worker@4", "running")
    assert states(d) == {"worker@1": "running", "worker@2": "running", "worker@3": "failed", "worker@4": "running"}
    d.cli("scale", "worker", "2", rc=0)
    assert states(d) == {w: "running" for w in workers(2)}
    d.stop()


def test_scales_at_once(daemon):
    """Down while it goes down, up again before it is down, and another number: the last one counts."""
    d = daemon({"worker": stubborn(6, module__stop_timeout=f"{int(2 * SLOW)}s")})
    d.marks.wait("stubborn", 6)
    kept = d.module("worker@1")["pid"]
    down = in_background(d, "scale", "worker", "1")
    d.wait("worker@6", lambda m: m["leaving"] and m["state"] != "running")
    assert "leaving" in d.cli("status").out
    refused = d.cli("start", "worker@6", rc=1)
    assert "worker@6 is leaving since a scale (bulkhead scale worker 6 keeps it)" in refused.err
    same = in_background(d, "scale", "worker", "1")
    wait_for(lambda: len([e for e in d.events.read() if e["event"] == "scaled"]) == 2, "both to be heard", on=d.events)
    other = d.cli("scale", "worker", "3", rc=0)
    assert other.err == ""
    assert "another scale, to 3, came after this one, to 1" in ended(down, 1)
    ended(same, 1)
    assert states(d) == {w: "running" for w in workers(3)}
    assert d.module("worker@1")["pid"] == kept
    assert d.module("worker@2")["generation"] == 2, "it was on its way down, and came back"
    d.stop()


def test_a_scale_that_is_not_waited_for(daemon):
    d = daemon({"worker": stubborn(3, module__stop_timeout="1s")})
    d.marks.wait("stubborn", 3)
    d.cli("scale", "--no-block", "worker", "1", rc=0)
    late = d.cli("scale", "--timeout", "100ms", "worker", "1")
    assert late.rc == 4 and "it goes on" in late.err, late
    wait_for(lambda: list(states(d)) == ["worker@1"], lambda: f"two to go: {states(d)}")
    d.stop()


def test_a_shutdown_during_a_scale(daemon):
    d = daemon({"worker": stubborn(3, module__stop_timeout=f"{int(2 * SLOW)}s")})  # longer than a client takes to start
    d.marks.wait("stubborn", 3)
    down = in_background(d, "scale", "worker", "1")
    d.wait("worker@3", lambda m: m["leaving"])
    end = in_background(d, "shutdown")
    assert "shutting down" in ended(down, 1)
    ended(end, 0)
    assert d.wait_exit() == 0
    d.check_clean()


def test_who_may_scale(daemon):
    d = daemon({"worker": worker(1)}, supervisor={"read_group": 54321, "operate_group": 54322})
    d.cli("scale", "worker", "2", rc=0, user=54323, groups=[54321, 54322])
    denied = d.cli("scale", "worker", "3", user=54323, groups=[54321])
    assert denied.rc == 1 and "operate_group" in denied.err, denied
    assert list(states(d)) == workers(2)
    d.stop()
