"""Timers: what runs a job by itself, that it never runs twice at once, and what a clock that is set and a daemon that is away
do to it.

The wall clock of these daemons is the kernel's and what a file adds to it (--clock-offset-file, for tests): nobody sets the
clock of the machine. That the kernel's own word of a clock that is set arrives is tried in a guest (tests/vm/test_wall_clock.py);
here, that it is asked for."""

import os
import select
import time

import pytest

from lib import PATIENCE, helper, wait_for

HOUR = 3600
ONESHOT = {"module.type": "oneshot", "recovery.restart": "no"}


def job(how="0", go="", **keys):
    return {"module.exec": f"{helper('exitwith')} {how} {go}"} | ONESHOT | {k.replace("__", "."): v for k, v in keys.items()}


def hourly(after=1800):
    """A calendar that elapses each hour, and first in about half an hour: nothing but a clock that is set brings it on while a test
    runs."""
    t = time.gmtime(time.time() + after)
    return f"*-*-* *:{t.tm_min:02}:{t.tm_sec:02} UTC"


class Clock:
    def __init__(self, d, seconds=0):
        self.d, self.path = d, d.dir / "clock"
        self.file(seconds)

    def file(self, seconds):
        self.path.write_text(f"{seconds}\n")
        self.seconds = seconds

    @property
    def args(self):
        return ["--clock-offset-file", str(self.path)]

    def now(self):
        return time.time() + self.seconds

    def set(self, seconds):
        """Sets the clock of the daemon, and waits until it has seen that."""
        n = len(self.seen())
        self.file(seconds)
        wait_for(lambda: len(self.seen()) > n, lambda: f"the clock to be set\n{self.d.log}", on=self.d.events)
        return self.seen()[-1]["detail"]["offset_usec"] / 1e6

    def seen(self):
        return [e for e in self.d.events.read() if e["event"] == "clock-set"]


def events(d, name, what):
    return [e for e in d.events.read() if e["module"] == name and e["event"] == what]


def wait_events(d, name, what, n):
    wait_for(lambda: len(events(d, name, what)) >= n, lambda: f"{n} events {what} of {name}: {d.events.all}\n{d.log}", on=d.events)
    return events(d, name, what)


def next_in(d, name, clock=None):
    """Seconds until its next run, by the daemon's clock."""
    return d.module(name)["timer"]["next_usec"] / 1e6 - (clock.now() if clock else time.time())


def stamp(d, name):
    text = open(f"/var/lib/bulkhead/{d.instance}/timers/{name}").read()
    return {k: int(v) for k, v in (line.split() for line in text.splitlines())}


def test_every(daemon):
    d = daemon({"tick": job(timer__every="1s"), "web": {"module.exec": f"{helper('probe')} web"}})
    m = d.module("tick")
    assert m["state"] == "idle" and m["generation"] is None and m["timer"]["every_usec"] == 1000000, "it does not run at once"
    assert d.module("web")["timer"] is None
    runs = wait_events(d, "tick", "done", 3)
    assert [e["generation"] for e in runs[:3]] == [1, 2, 3] and d.module("tick")["restarts"] == 0
    # Measured from what each elapse promised of the next one: how soon a run begins after it is the machine's.
    elapsed = [(e["time_usec"], e["detail"]["next_usec"]) for e in events(d, "tick", "timer-elapsed")]
    assert all(0 < promised - at <= 1000000 for at, promised in elapsed), elapsed
    promises = [m["timer"]["next_usec"], *(promised for _, promised in elapsed)]
    assert all(at >= promised - 10000 for promised, (at, _) in zip(promises, elapsed)), (promises, elapsed)
    d.stop()


def test_calendar(daemon):
    d = daemon({"tick": job(timer__on_calendar="*:*:*")})
    wait_events(d, "tick", "done", 3)
    elapsed = [e["time_usec"] for e in events(d, "tick", "timer-elapsed")][:3]
    seconds = [t // 1000000 for t in elapsed]
    assert len(set(seconds)) == len(elapsed), "once a second"
    d.stop()


def test_what_people_see(daemon):
    d = daemon({"nightly": job("3", timer__on_calendar=hourly(3 * HOUR + 1800)), "other": job(timer__every="2h", module__start="manual"),
                "web": {"module.exec": f"{helper('probe')} web"}})
    m = d.module("nightly")
    assert m["next_start_usec"] == m["timer"]["next_usec"] and 0 < next_in(d, "nightly") <= HOUR
    assert m["timer"]["last_usec"] is None and m["timer"]["skipped"] == 0 and m["timer"]["armed"] is True
    assert "next in " in d.cli("status", rc=0).out
    text = d.explain("nightly")
    assert f"on_calendar = {m['timer']['on_calendar']}" in text and "it has not run yet" in text
    d.cli("start", "nightly", rc=1)
    text = d.explain("nightly")
    assert "it last ran" in text and "exit status 3" in text and "runs it next in" in text
    assert abs(d.module("nightly")["timer"]["last_usec"] / 1e6 - time.time()) < 60
    rows = d.json("timers")
    assert [(r["module"], r["state"], r["armed"]) for r in rows] == [("nightly", "failed", True), ("other", "idle", False)]
    assert rows[0]["last_exit"]["code"] == 3 and rows[1]["next_usec"] is None and rows[1]["every_usec"] == 2 * HOUR * 1000000
    table = d.cli("timers", rc=0).out.splitlines()
    assert table[0].split()[:3] == ["MODULE", "STATE", "NEXT"] and len(table) == 3 and "stopped" in table[2]
    assert [r["module"] for r in d.json("timers", "o*")] == ["other"]
    assert d.cli("timers", "nobody").rc == 3
    d.stop()
    assert d.cli("timers").rc == 3


def test_never_two_runs_of_one_job(daemon):
    d = daemon.make()
    skips, queues = d.fifo("skips"), d.fifo("queues")
    d.add("skips", job("0", skips, timer__every="1s"))
    d.add("queues", job("0", queues, timer__every="1s", timer__when_running="queue"))
    d.start()
    wait_events(d, "skips", "timer-skipped", 2)
    wait_events(d, "queues", "timer-skipped", 2)
    assert len(events(d, "queues", "timer-queued")) == 1 and events(d, "skips", "timer-queued") == []
    assert d.module("skips")["generation"] == d.module("queues")["generation"] == 1
    assert d.module("skips")["timer"]["skipped"] >= 2 and "passed over" in d.explain("skips")
    assert len(d.marks.of("exitwith")) == 2 and len(d.pids("skips")) == 1
    # the one that was put off begins when the first is over, with no elapse
    d.go(queues)
    d.wait_event(module="queues", event="creating", generation=2)
    story = [e["event"] for e in d.events.read() if e["module"] == "queues"]
    assert "timer-elapsed" not in story[story.index("done"):story.index("creating", story.index("done"))]
    # the others are gone: its next run is an elapse's
    d.go(skips)
    d.wait_event(module="skips", event="creating", generation=2)
    story = [e["event"] for e in d.events.read() if e["module"] == "skips"]
    assert "timer-elapsed" in story[story.index("done"):story.index("creating", story.index("done"))]
    d.stop()


def test_a_clock_set_forward_runs_what_was_passed_once(daemon):
    d = daemon.make({"hourly": job(timer__on_calendar=hourly()), "every": job(timer__every="2h")})
    clock = Clock(d)
    d.start(args=clock.args)
    first = d.module("hourly")["timer"]["next_usec"]
    assert 0 < next_in(d, "hourly", clock) <= 1800
    assert abs(clock.set(600) - 600) < 1
    assert d.module("hourly")["timer"]["next_usec"] == first and d.module("hourly")["generation"] is None
    assert abs(clock.set(5 * HOUR + 600) - 5 * HOUR) < 1
    wait_events(d, "hourly", "done", 1)
    m = d.module("hourly")
    assert m["generation"] == 1 and m["timer"]["next_usec"] == first + 5 * HOUR * 1000000, "once for five"
    assert abs(m["timer"]["last_usec"] / 1e6 - clock.now()) < 60
    assert d.module("every")["generation"] is None and 0 < next_in(d, "every", clock) <= 2 * HOUR, "an interval is no matter of the wall clock"
    d.stop()


def test_a_clock_set_back_by_an_hour(daemon):
    d = daemon.make({"hourly": job(timer__on_calendar=hourly())})
    clock = Clock(d)
    d.start(args=clock.args)
    first = d.module("hourly")["timer"]["next_usec"]
    clock.set(HOUR)
    wait_events(d, "hourly", "done", 1)
    assert d.module("hourly")["timer"]["next_usec"] == first + HOUR * 1000000
    clock.set(0)
    assert d.module("hourly")["timer"]["next_usec"] == first, "that hour is worked again: it does not wait for two"
    assert d.module("hourly")["generation"] == 1
    # what was a mistake and is put right makes nothing run twice
    clock.set(HOUR)
    assert d.module("hourly")["timer"]["next_usec"] == first + HOUR * 1000000
    # and by a correction of seconds nothing is run again either
    clock.set(HOUR - 20)
    assert d.module("hourly")["timer"]["next_usec"] == first + HOUR * 1000000
    assert d.module("hourly")["generation"] == 1
    clock.set(0)
    clock.set(HOUR // 2 + 60)  # the repeated hour comes to its elapse
    wait_events(d, "hourly", "done", 2)
    d.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_daemon_keeps_the_schedule(daemon, end):
    d = daemon.make({"every": job(timer__every="1h"), "calendar": job(timer__on_calendar=hourly())})
    clock = Clock(d)
    d.start(args=clock.args)
    d.cli("start", "every", rc=0)
    before = {n: d.module(n)["timer"] for n in ("every", "calendar")}
    assert stamp(d, "every")["last"] == before["every"]["last_usec"] and stamp(d, "calendar")["last"] == 0
    if end == "stop":
        d.stop()
    else:
        d.kill()
    clock.file(600)  # ten minutes later
    again = daemon.make(share=d).start(args=clock.args)
    for name in before:
        after = again.module(name)["timer"]
        assert abs(after["next_usec"] - before[name]["next_usec"]) < 10e6 and after["last_usec"] == before[name]["last_usec"]
        assert again.module(name)["generation"] is None
    again.stop()


@pytest.mark.parametrize("persistent", [True, False])
def test_what_was_missed_is_caught_up_once(daemon, persistent):
    timed = {"hourly": {"timer.on_calendar": hourly()}, "every": {"timer.every": "1h"}}
    d = daemon.make({n: job() | t | {"timer.persistent": persistent} for n, t in timed.items()})
    clock = Clock(d)
    d.start(args=clock.args)
    due = d.module("hourly")["timer"]["next_usec"], d.module("every")["timer"]["next_usec"]
    d.stop()
    assert stamp(d, "hourly")["since"] > 0 == stamp(d, "hourly")["last"]
    clock.file(5 * HOUR)
    second = daemon.make(share=d).start(args=clock.args)
    if persistent:
        for name in timed:
            wait_events(second, name, "done", 1)
            assert second.module(name)["generation"] == 1
            assert abs(stamp(second, name)["last"] / 1e6 - clock.now()) < 60
    else:
        assert [second.module(n)["generation"] for n in timed] == [None, None]
        assert abs(second.module("every")["timer"]["next_usec"] - due[1] - 5 * HOUR * 1e6) < 10e6, "the old beat"
    assert second.module("hourly")["timer"]["next_usec"] == due[0] + 5 * HOUR * 1000000
    second.stop()
    third = daemon.make(share=d).start(args=clock.args)
    assert [third.module(n)["generation"] for n in timed] == [None, None], "once"
    third.stop()


def test_started_and_stopped_by_hand(daemon):
    d = daemon({"manual": job(timer__every="1h", module__start="manual"), "auto": job(timer__every="1h")})
    assert d.module("manual")["timer"]["armed"] is False and d.module("auto")["timer"]["armed"] is True
    d.cli("start", "manual", rc=0)
    m = d.module("manual")
    assert m["generation"] == 1 and m["timer"]["armed"] is True and HOUR - 60 < next_in(d, "manual") <= HOUR
    d.cli("stop", "manual", "auto", rc=0)
    for name in "manual", "auto":
        m = d.module(name)
        assert m["timer"]["armed"] is False and m["next_start_usec"] is None and m["state"] == "idle"
    assert "bulkhead start auto" in d.explain("auto")
    d.stop()
    again = daemon.make(share=d).start()
    assert again.module("auto")["timer"]["armed"] is True and again.module("manual")["timer"]["armed"] is False
    again.stop()


def test_a_stop_ends_the_run_and_what_was_put_off(daemon):
    d = daemon({"job": {"module.exec": f"{helper('probe')} job", "timer.every": "1s", "timer.when_running": "queue"} | ONESHOT})
    wait_events(d, "job", "timer-queued", 1)
    d.cli("stop", "job", rc=0)
    m = d.module("job")
    assert m["state"] == "idle" and m["generation"] == 1 and not m["timer"]["armed"]
    d.wait_event(module="job", event="timer-disarmed")
    assert len(d.marks.of("up")) == 1
    d.stop()


def test_a_run_that_fails_is_tried_again_and_the_timer_goes_on(daemon):
    d = daemon({"fails": job("3", timer__every="1s"),
                "retried": job("3", timer__every="1h", module__start="manual") |
                {"recovery.restart": "on-failure", "recovery.max_attempts": 2, "recovery.backoff": "100ms"}})
    wait_events(d, "fails", "failed", 3)
    assert d.module("fails")["restarts"] == 0 and d.status()["status"] == "degraded"
    d.cli("stop", "fails", rc=0)
    d.cli("start", "retried", rc=1)
    m = d.wait("retried", lambda m: m["state"] == "failed" and m["generation"] == 3)
    assert m["restarts"] == 2 and m["timer"]["armed"] and HOUR - 60 < next_in(d, "retried") <= HOUR
    begun = [e["time_usec"] for e in events(d, "retried", "creating")]
    assert abs(stamp(d, "retried")["last"] - begun[0]) < 1e6, "a retry is the same run"
    d.stop()


def test_a_nightly_job_brings_its_migration_along(daemon):
    d = daemon({"migrate": job("0", module__start="manual"), "nightly": job(timer__every="1s", module__requires="migrate"),
                "needed": job(timer__every="1h"), "web": {"module.exec": f"{helper('probe')} web", "module.requires": "needed"}})
    wait_events(d, "nightly", "done", 2)
    order = [(e["module"], e["event"]) for e in d.events.read() if e["module"] in ("migrate", "nightly") and
             e["event"] in ("creating", "done")]
    assert order[:8] == [("migrate", "creating"), ("migrate", "done"), ("nightly", "creating"), ("nightly", "done")] * 2
    d.wait("web", "running")
    assert d.module("needed")["generation"] == 1, "what is required runs with who requires it"
    plan = {m["name"]: m["starts"] for m in d.json("plan")["modules"]}
    assert plan == {"migrate": False, "nightly": False, "needed": True, "web": True}
    # without --cascade the timer would bring it up again
    d.cli("stop", "--cascade", "migrate", rc=0)
    assert not d.module("nightly")["timer"]["armed"] and d.module("needed")["timer"]["armed"]
    d.stop()


def test_instances_have_timers_of_their_own(daemon):
    d = daemon({"tick": job(timer__every="1s", module__instances=2, module__start="manual")})
    d.cli("start", "tick@2", rc=0)
    wait_events(d, "tick@2", "done", 2)
    assert d.module("tick@1")["generation"] is None and not d.module("tick@1")["timer"]["armed"]
    assert stamp(d, "tick@2")["last"] > 0 and [r["module"] for r in d.json("timers")] == ["tick@2", "tick@1"]
    d.stop()


def test_scaled_up_and_down(daemon):
    d = daemon({"tick": job(timer__every="1h", timer__on_calendar="yearly", module__instances=1), "once": job(module__instances=1)})
    d.wait("once@1", lambda m: m["last_exit"])
    d.cli("scale", "tick", "3", rc=0)
    assert [d.module(f"tick@{i}")["timer"]["armed"] for i in (1, 2, 3)] == [True] * 3
    assert [d.module(f"tick@{i}")["generation"] for i in (1, 2, 3)] == [None] * 3, "the clock runs it, no scale"
    assert len(d.json("timers")) == 3
    d.cli("scale", "tick", "1", rc=0)
    assert [r["module"] for r in d.json("timers")] == ["tick@1"] and HOUR - 60 < next_in(d, "tick@1") <= HOUR
    d.cli("scale", "once", "2", rc=0)
    assert [d.module(f"once@{i}")["generation"] for i in (1, 2)] == [1, 1], "only the new one has work to do"
    d.stop()


def test_a_restart_by_hand_is_a_run(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("job", job("0", go, timer__every="1h", module__start="manual"))
    d.start()
    d.go(go)
    d.cli("restart", "job", rc=0)
    m = d.module("job")
    assert m["generation"] == 1 and m["timer"]["armed"] and m["timer"]["last_usec"]
    d.cli("start", "--no-block", "job", rc=0)
    d.marks.wait("exitwith", 2)
    d.cli("restart", "--no-block", "job", rc=0)  # ends the run that goes on, and begins another
    d.marks.wait("exitwith", 3)
    assert d.module("job")["generation"] == 3 and d.module("job")["restarts"] == 0
    d.go(go)
    d.wait_event(module="job", event="done", generation=3)
    assert abs(stamp(d, "job")["last"] - [e["time_usec"] for e in events(d, "job", "creating")][2]) < 1e6
    d.stop()


def test_randomized_delay(daemon):
    d = daemon({f"m{i}": job(timer__every="1h", timer__randomized_delay="1h") for i in range(8)})
    left = [next_in(d, f"m{i}") for i in range(8)]
    assert all(HOUR - 60 < x <= 2 * HOUR for x in left) and max(left) - min(left) > 60, left
    d.stop()


def cancellable(d):
    """The daemon's timerfds that are cancelled when the clock is set (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)."""
    def infos():
        for fd in os.listdir(f"/proc/{d.pid}/fdinfo"):
            try:
                yield open(f"/proc/{d.pid}/fdinfo/{fd}").read()
            except FileNotFoundError:
                pass
    return [i for i in infos() if "clockid: 0" in i and "settime flags: 03" in i]


def test_the_kernel_is_asked_for_a_clock_that_is_set_only_while_there_is_a_calendar(daemon):
    d = daemon({"every": job(timer__every="1h"), "calendar": job(timer__on_calendar="daily"), "other": job(timer__on_calendar="weekly")})
    assert len(cancellable(d)) == 1
    d.cli("stop", "calendar", rc=0)
    assert len(cancellable(d)) == 1
    d.cli("stop", "other", rc=0)
    assert cancellable(d) == []
    d.cli("start", "calendar", rc=0)
    assert len(cancellable(d)) == 1
    d.stop()


def test_a_daemon_that_waits_for_a_timer_never_wakes(daemon):
    d = daemon({f"m{i}": job(timer__on_calendar="daily", timer__every="5h", timer__randomized_delay="1h") for i in range(20)})

    def switches():
        return sum(int(x.split()[1]) for x in open(f"/proc/{d.pid}/status") if "ctxt_switches" in x)

    before = []
    wait_for(lambda: before[-2:-1] == [switches()] or before.append(switches()), "the start to come to rest")
    quiet = switches()
    select.select([], [], [], 3)  # the measured time itself
    assert switches() - quiet == 0
    d.stop()


def test_stamps_are_private_and_never_through_a_link(daemon):
    d = daemon({"job": job(timer__every="1h")})
    folder = f"/var/lib/bulkhead/{d.instance}/timers"
    assert [oct(os.stat(p).st_mode & 0o7777) for p in (folder, f"{folder}/job")] == ["0o700", "0o600"]
    victim = d.scratch / "victim"
    victim.write_text("mine")
    os.unlink(f"{folder}/job")
    os.symlink(victim, f"{folder}/job")
    os.symlink(victim, f"{folder}/.job.new")
    d.cli("start", "job", rc=0)
    assert victim.read_text() == "mine" and "event=stamp-failed" in d.log
    os.unlink(f"{folder}/.job.new")
    d.cli("start", "job", rc=0)
    assert victim.read_text() == "mine" and not os.path.islink(f"{folder}/job") and stamp(d, "job")["last"] > 0
    d.stop()
    with open(f"{folder}/job", "w") as f:
        f.write("since -5\nlast 99999999999999999999999999 \n\0garbage")
    again = daemon.make(share=d).start()
    assert HOUR - 60 < next_in(again, "job") <= HOUR, "what nobody can read was never written"
    again.stop()
    os.rename(folder, f"{folder}.real")
    os.symlink(f"{folder}.real", folder)
    third = daemon.make(share=d).start(ready=False)
    assert third.wait_exit() == 1 and "/timers" in third.log
    third.check_clean()


def test_a_shutdown_waits_for_no_timer(daemon):
    d = daemon.make()
    d.add("tick", job(timer__every="1s", timer__when_running="queue"))
    d.add("slow", {"module.exec": f"{helper('stubborn')}", "module.stop_timeout": "3s"})
    d.start()
    d.marks.wait("stubborn")
    wait_events(d, "tick", "done", 1)
    begun = time.monotonic()
    d.process.terminate()
    assert d.wait_exit(PATIENCE) == 0 and time.monotonic() - begun >= 2.5
    d.events.close()
    story = [e["event"] for e in d.events.all]
    assert "timer-elapsed" not in story[story.index("stopping"):], "none in the three seconds that it took"
    d.check_clean()
