"""What every daemon must do, whatever its host lacks: an ordinary day of supervising."""

from lib import alive, helper


def ordinary(d):
    """Modules for a day in the life: order, readiness, a hook, a crash, a stubborn one, a daemon, one that cannot start."""
    d.add("base", {"module.exec": f"{helper('probe')} base", "module.ready": "notify", "module.exec_start_pre": f"{helper('touch')} pre"})
    d.add("top", {"module.exec": f"{helper('probe')} top", "module.ready": "notify", "module.requires": "base"})
    d.add("crash", {"module.exec": f"{helper('exitwith')} 3 {d.fifo('crash')}"})
    d.add("stubborn", {"module.exec": helper("stubborn"), "module.stop_timeout": "200ms"})
    d.add("old", {"module.exec": helper("daemonize"), "module.stop_timeout": "200ms", "sandbox.user": "nobody"})
    d.add("broken", {"module.exec": "/nonexistent/program", "recovery.restart": "no"})
    return d


def ordinary_day(d, alive=alive):
    assert [m.more[0] for m in d.marks.of("up")] == ["base", "top"] and d.marks.of("pre")
    assert d.module("broken")["state"] == "failed" and "exec: /nonexistent/program" in d.explain("broken")
    d.go(str(d.scratch / "crash"))
    assert d.wait("crash", lambda m: m["generation"] == 2 and m["state"] == "running")["last_exit"]["code"] == 3
    left = [d.marks.wait("stubborn").pid, d.marks.wait("daemon").pid]
    d.cli("stop", "stubborn", "old", rc=0)
    assert not any(alive(p) for p in left)
    d.cli("restart", "--cascade", "base", rc=0)
    d.marks.wait("up", 4)
    d.wait("top", "running")
    assert [m.more[0] for m in d.marks.of("up")] == ["base", "top"] * 2 and [m.more[0] for m in d.marks.of("down")] == ["top", "base"]
    d.stop()
    assert [m.more[0] for m in d.marks.of("down")] == ["top", "base"] * 2
