"""Gate and drain: new work waits outside, what is in flight completes, and only then does anything end. The server is a threaded
one in Python that ends on SIGTERM as it stands: what it had begun and not answered would be lost."""

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lib import PATIENCE, SLOW, helper, wait_for

SERVER = Path(__file__).resolve().parents[1] / "helpers" / "threaded.py"


class Server:
    """The module `web` of a daemon, and what it says it has done."""

    def __init__(self, d, msec=50, **keys):
        self.d, self.port, self.log = d, d.port(), d.scratch / "done"
        copy = d.scratch / "threaded.py"
        shutil.copy(SERVER, copy)
        d.add("web", {"module.exec": f"/usr/bin/python3 {copy} {self.port} {self.log} {msec}", "module.ready": f"tcp:{self.port}",
                      "work.track": "requests", "work.drain_hard": "60s", "work.drain_soft": "50s"} |
              {k.replace("__", "."): v for k, v in keys.items()})

    def done(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        s.settimeout(PATIENCE)
        return s

    def in_flight(self, n):
        wait_for(lambda: explain(self.d)["in_flight"] == n, lambda: f"{n} in flight, there is {explain(self.d)}")


def ask(s, line):
    s.sendall(line.encode() + b"\n")
    return answer(s)


def answer(s):
    got = b""
    while not got.endswith(b"\n"):
        more = s.recv(4096)
        if not more:
            raise EOFError(got)
        got += more
    return got.decode().strip()


class Load:
    """Clients on connections that they keep, each asking as soon as it was answered. What the server had done for an asker that
    never got the answer is in lost()."""

    def __init__(self, server, clients=24):
        self.server, self.answered, self.errors, self.over = server, set(), [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(clients)]

    def run(self, i):
        n, s = 0, None
        while not self.over.is_set():
            try:
                s = s or self.server.connect()
                n += 1
                line = f"{i}-{n}"
                if ask(s, line) != f"did {line}":
                    raise EOFError("another one's answer")
                self.answered.add(line)
            except (OSError, EOFError) as problem:
                self.errors.append((line if n else None, repr(problem)))
                s = s.close() if s else None
                self.over.wait(0.02)  # between a stop and the next start nobody listens
        if s:
            s.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join(2 * PATIENCE)

    def flows(self, more=60):
        wanted = len(self.answered) + more
        wait_for(lambda: len(self.answered) >= wanted, lambda: f"{more} more answers, there are {len(self.answered)}: {self.errors[-5:]}")

    def lost(self):
        return set(self.server.done()) - self.answered


def drain_of(d, name="web"):
    return next(p for p in d.module(name)["teardown"] if p["phase"] == "drain")


def explain(d, name="web"):
    return d.json("explain", name)


# --- phases 2 and 3 of a stop


def test_an_answer_in_halves_is_not_cut(daemon):
    d = daemon.make()
    server = Server(d, msec=300, work__settle="600ms")
    d.start()
    with server.connect() as s:
        assert ask(s, "half 1") == "did half 1"
        s.sendall(b"half 2\n")
        server.in_flight(1)
        d.cli("stop", "web", rc=0)
        assert answer(s) == "did half 2"
    assert drain_of(d)["status"] == "ok"
    d.stop()


def test_idle_connections_hold_only_where_nothing_tells_more(daemon):
    d = daemon.make()
    server = Server(d)
    d.start()
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
        begun = time.monotonic()
        d.cli("stop", "web", rc=0)
        assert time.monotonic() - begun < 20 * SLOW and drain_of(d)["status"] == "ok"
        assert s.recv(1) == b""
    d.stop()
    d = daemon.make()
    server = Server(d, work__track="connections", work__drain_soft="100ms", work__drain_hard="700ms")
    d.start()
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
        d.cli("stop", "web")
        assert drain_of(d)["status"] == "timed-out", "the connection is all that is known of its work"
        assert f"127.0.0.1:{s.getsockname()[1]} open for" in drain_of(d)["error"]
    d.stop()


def test_what_a_cut_drain_had_in_flight(daemon):
    d = daemon.make()
    hard = int(1200000 * SLOW)  # time for the two who ask meanwhile
    server = Server(d, work__drain_soft="200ms", work__drain_hard=f"{hard}us", module__stop_timeout="300ms")
    d.start()
    d.events.read()
    with server.connect() as s, server.connect() as idle:
        assert ask(idle, "1") == "did 1"
        s.sendall(b"hang\n")
        server.in_flight(1)
        stop = subprocess.Popen(d.argv("stop", "web"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        d.wait_event(module="web", event="drain-soft-limit")
        peer = f"127.0.0.1:{s.getsockname()[1]}"
        now = explain(d)
        assert now["gate"]["state"] == "draining" and now["gate"]["by"] == "stop" and now["gate"]["drain"]["in_flight"] == 1, now
        assert [x["peer"] for x in now["holding"]] == [peer], now["holding"]
        held = now["holding"][0]
        assert held["state"] == "busy" and held["local"] == f"127.0.0.1:{server.port}" and held["age_usec"] >= held["busy_usec"] > 0
        told = d.explain("web")
        assert "What holds the drain:" in told and f"{peer} to 127.0.0.1:{server.port}: busy for" in told, told
        stop.communicate(timeout=PATIENCE)
    drain = drain_of(d)
    assert drain["status"] == "timed-out" and drain["duration_usec"] >= hard, drain
    assert re.search(rf"1 still in flight at the hard limit \(drain_hard\): {peer} busy for [1-9][\d.]*s", drain["error"]), drain
    told = d.explain("web")
    assert "ran out of time" in told and peer in told and "Its last drain did not finish" in told, told
    assert explain(d)["gate"] is None and [x["peer"] for x in explain(d)["holding"]] == [peer]
    # What comes next has nothing to do with it.
    d.cli("start", "web", rc=0)
    d.cli("stop", "web", rc=0)
    assert explain(d)["holding"] is None and drain_of(d)["status"] == "ok"
    d.stop()


def test_progress_is_told_every_half_second(daemon):
    d = daemon.make()
    server = Server(d, work__drain_soft="800ms", work__drain_hard="2300ms", module__stop_timeout="300ms")
    d.start()
    d.events.read()
    with server.connect() as s:
        s.sendall(b"hang\n")
        server.in_flight(1)
        d.cli("stop", "web")
    told = [e for e in d.events.read() if e["event"] == "drain-progress"]
    assert all(e["phase"] == "drain" and e["module"] == "web" for e in told)
    elapsed = [e["detail"]["elapsed_usec"] for e in told]
    assert elapsed == sorted(elapsed) and 1 <= len(told) <= 4 and elapsed[0] >= 500000, elapsed
    last = told[-1]["detail"]
    assert last["in_flight"] == last["begun_with"] == 1 and last["sources"]["requests"] == 1, last
    assert last["oldest_usec"] >= last["elapsed_usec"] and last["left_usec"] <= 1800000, last
    assert [e["event"] for e in d.events.all if e["event"] == "drain-soft-limit"] == ["drain-soft-limit"]
    d.stop()


def test_a_second_sigterm_cuts_it(daemon):
    d = daemon.make()
    server = Server(d, module__stop_timeout="300ms")
    d.start()
    d.events.read()
    with server.connect() as s:
        s.sendall(b"hang\n")
        server.in_flight(1)
        d.process.send_signal(signal.SIGTERM)
        assert d.wait_event(event="stopping")["detail"]["in_flight"] == {"web": 1}
        d.wait_event(module="web", event="drain-progress")
        begun = time.monotonic()
        d.process.send_signal(signal.SIGTERM)
        d.wait_exit()
        assert time.monotonic() - begun < 10 * SLOW
        d.close_events()
        drain = next(e for e in d.events.all if e["event"] == "phase" and e["phase"] == "drain")
        assert drain["detail"]["status"] == "timed-out" and "cut by a second signal" in drain["detail"]["error"], drain
        assert f"127.0.0.1:{s.getsockname()[1]}" in drain["detail"]["error"]
    d.stop()


def test_who_was_not_accepted_holds_it_too(daemon):
    """A server that listens and does not accept: no request is in flight, and yet somebody waits."""
    d = daemon.make()
    port = d.port()
    d.add("deaf", {"module.exec": f"/usr/bin/python3 -c \"import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); "
                                  "s.listen(); time.sleep(1000000)\"", "module.ready": f"tcp:{port}", "work.track": "requests",
                   "work.drain_soft": "100ms", "work.drain_hard": "700ms"})
    d.start()
    with contextlib.ExitStack() as all_of:
        clients = [all_of.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(5)]
        d.cli("stop", "deaf")
        peers = {f"127.0.0.1:{s.getsockname()[1]}" for s in clients}
    drain = drain_of(d, "deaf")
    assert drain["status"] == "timed-out" and "nothing in flight, but not at rest at the hard limit" in drain["error"], drain
    assert "not accepted for" in drain["error"] and drain["error"].endswith("and 2 more"), drain
    assert {x["peer"] for x in explain(d, "deaf")["holding"]} == peers
    d.stop()


def test_an_end_in_the_middle_of_a_drain(daemon):
    d = daemon.make()
    server = Server(d, recovery__restart="no", work__drain_hard="infinity", work__drain_soft="infinity")
    d.start()
    d.events.read()
    with server.connect() as s:
        s.sendall(b"hang\n")
        server.in_flight(1)
        waits = subprocess.Popen(d.argv("drain", "web"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert d.wait_event(module="web", event="drain-progress")["detail"]["left_usec"] is None
        d.cli("kill", "--signal", "SIGKILL", "web", rc=0)
        # By a hair it may be seen at rest before it is seen dead.
        said = waits.communicate(timeout=PATIENCE)[1]
        assert waits.returncode == 0 or "it ended" in said, said
    d.wait("web", "failed")
    d.cli("start", "web", rc=0)
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
        s.sendall(b"hang\n")
        server.in_flight(1)
        stop = subprocess.Popen(d.argv("stop", "web"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        d.wait("web", "draining")
        refused = d.cli("drain", "web", rc=1)
        assert "is being stopped, which drains it" in refused.err, refused
        refused = d.cli("drain", "--undo", "web", rc=1)
        assert "closed because it is being stopped" in refused.err, refused
        d.cli("kill", "--signal", "SIGKILL", "web", rc=0)
        said = stop.communicate(timeout=PATIENCE)[0]
        assert stop.returncode == 0, said
    assert drain_of(d)["status"] in ("ok", "failed"), "over, as nobody is left"
    d.stop()


def test_instances_that_share_a_listener_have_no_gate_of_their_own(daemon):
    d = daemon.make()
    port = d.port()
    copy = d.scratch / "accept.py"
    shutil.copy(SERVER.with_name("accept.py"), copy)
    d.add("worker", {"module.exec": f"/usr/bin/python3 {copy} %n", "module.ready": "notify", "module.instances": 2,
                     "module.listen": f"tcp:127.0.0.1:{port}", "work.track": "requests"})
    d.start()
    refused = d.cli("drain", "worker@1", rc=1)
    assert "a listener that it shares" in refused.err, refused
    d.cli("stop", "worker@1", rc=0)
    assert drain_of(d, "worker@1")["status"] == "skipped"
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        s.settimeout(PATIENCE)
        assert ask(s, "1").startswith("worker@2"), "the other one's gate is open"
    d.stop()


def test_a_bar_on_a_terminal(daemon):
    d = daemon.make()
    server = Server(d, work__drain_hard="1600ms", work__drain_soft="1500ms", module__stop_timeout="300ms")
    d.start()
    with server.connect() as s:
        s.sendall(b"hang\n")
        server.in_flight(1)
        parent, child = pty.openpty()
        stop = subprocess.Popen(d.argv("stop", "web"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=child)
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(parent, 4096):
                shown += more
        os.close(parent)
        stop.communicate(timeout=PATIENCE)
    assert re.search(rb"web: drain \[\.{10}\] 1 of 1 in flight, oldest \S+, at most [12]s more", shown), shown
    d.stop()


# --- a drain by hand


def test_undo_loses_nothing(daemon):
    d = daemon.make()
    server = Server(d)
    d.start()
    with Load(server) as load:
        load.flows()
        d.cli("drain", "web", rc=0)
        m = d.module("web")
        assert m["state"] == "running" and m["gate"]["state"] == "drained" and m["gate"]["by"] == "hand" and explain(d)["in_flight"] == 0, m
        done = len(server.done())
        select.select([], [], [], 3)  # the measured time itself
        assert len(server.done()) == done, "the gate is closed"
        d.cli("drain", "--undo", "web", rc=0)
        assert d.module("web")["gate"] is None
        load.flows()
    assert load.errors == [] and load.lost() == set()
    assert len(server.done()) == len(set(server.done())), "nothing was done twice"
    d.stop()


def test_a_drained_module_runs_on(daemon):
    d = daemon.make()
    server = Server(d, module__reload_signal="SIGURG")
    d.start()
    d.events.read()
    pid = d.module("web")["pid"]
    out = d.json("drain", "web")
    assert [(x["module"], x["gate"]["state"], x["in_flight"], x["holding"]) for x in out] == [("web", "drained", 0, [])], out
    d.wait_event(module="web", event="gate-closed")
    d.wait_event(module="web", event="drained")
    assert "drained" in d.cli("status", rc=0).out and "web: drained" in d.cli("status", "web", rc=0).out
    told = d.explain("web")
    assert "Its gate is closed" in told and "bulkhead drain --undo web" in told and "nothing is in flight" in told
    d.cli("drain", "web", rc=0)  # again: it is
    d.cli("reload", "web", rc=0)
    assert d.module("web")["gate"]["state"] == "drained" and d.module("web")["pid"] == pid
    with socket.socket() as s:
        s.settimeout(1)
        with pytest.raises(TimeoutError):
            s.connect(("127.0.0.1", server.port))
    d.cli("start", "web", rc=0)
    assert d.module("web")["gate"] is None and d.module("web")["pid"] == pid
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
    refused = d.cli("drain", "--undo", "web", rc=1)
    assert "nothing to undo" in refused.err
    d.stop()


def test_what_follows_a_drain(daemon):
    d = daemon.make()
    server = Server(d)
    d.start()
    d.cli("drain", "web", rc=0)
    d.cli("restart", "web", rc=0)
    m = d.module("web")
    assert m["gate"] is None and m["generation"] == 2 and {p["phase"]: p["status"] for p in m["teardown"]}["drain"] == "ok", m
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
    d.cli("drain", "web", rc=0)
    d.cli("stop", "web", rc=0)
    assert d.module("web")["gate"] is None
    d.cli("start", "web", rc=0)
    with server.connect() as s:
        assert ask(s, "2") == "did 2"
    # A crash is nobody's wish: what recovery starts is as the one that crashed.
    d.cli("drain", "web", rc=0)
    generation = d.module("web")["generation"]
    d.cli("kill", "--signal", "SIGKILL", "web", rc=0)
    m = d.wait("web", lambda m: m["state"] == "running" and m["generation"] > generation)
    assert m["gate"]["state"] == "drained" and m["gate"]["by"] == "hand", m
    with socket.socket() as s:
        s.settimeout(1)
        with pytest.raises(TimeoutError):
            s.connect(("127.0.0.1", server.port))
    d.cli("drain", "--undo", "web", rc=0)
    with server.connect() as s:
        assert ask(s, "3") == "did 3"
    d.stop()


def test_a_drain_that_waits(daemon):
    d = daemon.make()
    server = Server(d, work__drain_soft="100ms", recovery__restart="no")
    d.start()
    d.events.read()
    with server.connect() as s:
        s.sendall(b"hang\n")
        server.in_flight(1)
        peer = f"127.0.0.1:{s.getsockname()[1]}"
        d.cli("drain", "--timeout", "700ms", "web", rc=4)
        assert "draining" in d.cli("status", "web", rc=0).out
        assert explain(d)["gate"]["drain"]["in_flight"] == 1 and [x["peer"] for x in explain(d)["holding"]] == [peer]
        d.cli("drain", "--no-block", "web", rc=0)
        d.wait_event(module="web", event="drain-progress")
        waits = subprocess.Popen(d.argv("drain", "web"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: sum("verb=drain" in x for x in d.log.splitlines()) >= 3, "the drain to be asked for")
        d.cli("drain", "--undo", "web", rc=0)
        said = waits.communicate(timeout=PATIENCE)[1]
        assert waits.returncode == 1 and "undone" in said, said
    d.wait_event(module="web", event="gate-opened")
    with server.connect() as s:
        assert ask(s, "1") == "did 1"
    d.cli("kill", "--signal", "SIGKILL", "web", rc=0)  # what hangs would hold the stop, too
    d.wait("web", "failed")
    d.stop()


def test_a_drain_by_hand_has_a_limit_and_cuts_nothing(daemon):
    d = daemon.make()
    server = Server(d, msec=1500, work__drain_soft="100ms", work__drain_hard="700ms")
    d.start()
    with server.connect() as s:
        s.sendall(b"1\n")
        server.in_flight(1)
        failed = d.cli("drain", "web", rc=1)
        peer = f"127.0.0.1:{s.getsockname()[1]}"
        assert "1 still in flight at the hard limit (drain_hard)" in failed.err and peer in failed.err and "--undo" in failed.err
        m = d.module("web")
        assert m["state"] == "running" and m["gate"]["state"] == "closed" and "gated" in d.cli("status", "web").out, m
        assert answer(s) == "did 1"
        d.cli("drain", "web", rc=0)
        assert d.module("web")["gate"]["state"] == "drained"
    d.stop()


def test_refusals(daemon):
    d = daemon.make()
    Server(d, module__start="manual")
    d.add("plain", {"module.exec": f"{helper('probe')} plain"})
    d.start()
    assert "does not run" in d.cli("drain", "web", rc=1).err
    assert "nothing is tracked ([work] track)" in d.cli("drain", "plain", rc=1).err
    assert "no module" in d.cli("drain", "nobody", rc=3).err
    d.stop()
    d = daemon.make(supervisor={"bpf": "optional"})
    server = Server(d)
    d.start(args=("--without", "bpf-connections"))
    assert "bpf is not there" in d.cli("drain", "web", rc=1).err
    with server.connect() as s:
        assert ask(s, "1") == "did 1", "it was not gated"
    d.cli("stop", "web", rc=0)
    phases = {p["phase"]: p for p in d.module("web")["teardown"]}
    assert all(phases[x]["status"] == "skipped" and "bpf" in phases[x]["error"] for x in ("gate", "drain")), phases
    d.stop()


def test_several_at_once(daemon):
    d = daemon.make()
    first = Server(d)
    port = d.port()
    d.add("web-2", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    d.start()
    out = d.json("drain", "web*")
    assert [(x["module"], x["gate"]["state"]) for x in out] == [("web", "drained"), ("web-2", "drained")], out
    d.cli("drain", "--undo", "web", "web-2", rc=0)
    assert [d.module(x)["gate"] for x in ("web", "web-2")] == [None, None]
    with first.connect() as s:
        assert ask(s, "1") == "did 1"
    d.stop()


def test_dependents_finish_through_a_drained_module(daemon):
    """Who goes down first may need what was drained by hand: its gate is opened for that."""
    d = daemon.make()
    server = Server(d)
    d.add("front", {"module.exec": f"{helper('probe')} front", "module.requires": "web",
                    "module.exec_stop_post": f"/usr/bin/python3 -c \"import socket; s = socket.create_connection(('127.0.0.1', {server.port}), 5); "
                                             f"s.sendall(b'last\\\\n'); assert s.recv(64)\""})
    d.start()
    d.cli("drain", "web", rc=0)
    d.cli("stop", "--cascade", "web", rc=0)
    assert server.done() == ["last"], d.module("front")["teardown"]
    d.stop()
