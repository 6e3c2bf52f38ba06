"""Stops under load, over and over, of each kind of server that says itself what it has worked on: nothing that it did goes
unanswered, no answer is cut in the middle, and the kernel has counted as many. The kinds run side by side in one daemon, each at a
pace of its own. BULKHEAD_TEST_STOPS says how often each is stopped: 50, and 5 under sanitizers and in guests (`make soak`: 50)."""

import contextlib
import os
import select
import signal
import threading
import time

import pytest

from lib import PATIENCE, SANITIZED, SLOW, wait_for
from load import kinds, threaded

STOPS = int(os.environ.get("BULKHEAD_TEST_STOPS", "5" if SANITIZED else "50"))


@contextlib.contextmanager
def under_load(all_of):
    for k in all_of:
        k.load.begin()
    try:
        yield
    finally:
        for k in all_of:
            k.load.kill()


def nothing_lost(k):
    """An answer that has left may not be noted by its client yet."""
    wait_for(lambda: not k.lost(), lambda: f"processed and not answered: {sorted(k.lost())[:10]}; cut: {k.load.cut[-10:]}")
    assert k.load.broken == []


def check(k):
    """What holds whenever a server of that kind has been drained."""
    nothing_lost(k)
    wait_for(lambda: all(a == b for a, b in k.started().values()), lambda: f"started, and processed: {k.started()}")


def stop_often(k, problems):
    try:
        for n in range(STOPS):
            k.load.flows(24 + 7 * n % 24)
            k.stop(n)
            for m in k.modules:
                phases = {p["phase"]: p for p in k.d.module(m)["teardown"] or []}
                assert all(phases[p]["status"] == "ok" for p in ("gate", "drain") if phases), phases
            check(k)
            k.start()
        k.load.flows(24)
        k.load.end()
        check(k)
    except Exception as problem:  # in a thread nobody else would tell of it
        problems.append(f"{k.name}, stop {n + 1} of {STOPS}: {problem!r}")


def test_a_stop_under_load_loses_nothing(daemon):
    d = daemon.make()
    all_of = kinds(d)
    d.start()
    problems = []
    with under_load(all_of):
        threads = [threading.Thread(target=stop_often, args=(k, problems)) for k in all_of]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not problems, "\n".join(problems)
    for k in all_of:
        print(f"{k.name}: {STOPS} stops, {k.processed()} processed, {len(k.load.cut)} asked again, {len(k.load.paused)} in a pause")
    d.stop()


def test_a_kill_under_load_loses_something(daemon):
    """What the test above would find where nothing was drained."""
    d = daemon.make()
    all_of = [k for k in kinds(d, 10) if k.name not in ("redis", "front")]  # these are done at once, as good as always
    d.start()
    with under_load(all_of):
        for k in all_of:
            before = d.module(k.name)
            wait_for(k.lost, "it to be at work on something")
            os.kill(before["pid"], signal.SIGKILL)
            d.wait(k.name, lambda m, g=before["generation"]: m["generation"] > g and m["state"] == "running")
        for k in all_of:
            k.load.end()
            assert k.lost(), f"{k.name}: {k.load.cut[:10]}"
    d.stop()


def test_a_closed_gate_loses_nothing(daemon):
    """Three seconds of a closed gate, and then it opens: nobody's connection has ended, and each request was done once."""
    d = daemon.make()
    all_of = kinds(d)
    d.start()
    names = [k.name for k in all_of]
    with under_load(all_of):
        for k in all_of:
            k.load.flows(24)
        d.cli("drain", *names, rc=0)
        before = {k.name: k.processed() for k in all_of}
        select.select([], [], [], 3)  # the measured time itself
        assert {k.name: k.processed() for k in all_of} == before, "it is drained"
        d.cli("drain", "--undo", *names, rc=0)
        for k in all_of:
            k.load.flows(24)
        for k in all_of:
            k.load.end()
    for k in all_of:
        check(k)
        assert k.load.cut == []
        assert d.module(k.name)["generation"] == 1
    d.stop()


# --- max_in_flight


def best_rate(load, clients, windows=4, seconds=0.5 * min(SLOW, 4)):
    """Answers a second, once all are there; the machine's other business makes a window slower, never faster."""
    load.flows(2 * clients)
    rates = []
    for _ in range(windows):
        before, begun = len(load.read().answered), time.monotonic()
        select.select([], [], [], seconds)  # the measured time itself
        rates.append((len(load.read().answered) - before) / (time.monotonic() - begun))
    return max(rates)


def were_answered(load):
    """The clients."""
    return {word.partition("-")[0] for word in load.read().answered}


@pytest.mark.parametrize("kind, track", [("line", "requests"), ("close", "requests"), ("close", "connections")])
def test_no_more_in_flight_than_allowed(daemon, kind, track):
    """500 clients of a server that may have 50 requests at once, against 50 clients of one like it. The figures: docs/work.md."""
    d = daemon.make()
    few, many = (threaded(d, name, kind, 50, clients, PATIENCE, track=track, max_in_flight=50) for name, clients in (("few", 50), ("many", 500)))
    d.start()
    rates = []
    for k, clients in ((few, 50), (many, 500)):
        with under_load([k]):
            rates.append(best_rate(k.load, clients))
            before = were_answered(k.load)
            k.load.process.terminate()
            wait_for(lambda: k.load.process.poll() == 0 or were_answered(k.load) > before, "those who wait get in when others have left")
            d.cli("stop", k.name, rc=0)
            nothing_lost(k)
        assert int(k.peak.read_text()) <= 50, "as the server itself counts them"
    print(f"{kind}, {track}: {rates[0]:.0f} a second with 50 clients, {rates[1] / rates[0]:.2f} times that with 500")
    assert rates[1] >= 0.8 * rates[0] or kind == "close", rates
    assert d.module("many")["work"]["rejected"] > 0
    d.stop()
