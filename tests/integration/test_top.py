"""`bulkhead top` on a terminal (a pty, read as pyte shows it), as text and as JSON, against daemons that run, end and come back."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

import lib
from lib import helper, wait_for
from screen import Screen


@pytest.fixture
def top():
    """top(daemon, …) → a Screen with `bulkhead top` on it."""
    made = []

    def make(d, *args, **kwargs):
        made.append(Screen(d.argv("top", *args), **kwargs))
        return made[-1]

    yield make
    for screen in made:
        screen.close()


def modules(d, *names):
    for name in names:
        d.add(name, {"module.exec": f"{helper('probe')} {name}"})
    return d


def names(text):
    """Of the rows, in their order."""
    lines = text.split("\n")
    head = next((i for i, line in enumerate(lines) if line.startswith("NAME")), len(lines))
    return [line.split()[0] for line in lines[head + 1:-1] if line.strip()]


def shows(*rows, part=""):
    """For Screen.see: a picture comes in pieces, so all of it is waited for."""
    return lambda text: part in text and names(text) == list(rows)


def test_a_screen_of_eighty_columns(daemon, top):
    d = daemon.make()
    port = d.port()
    d.add("web", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections",
                  "limits.memory_max": "64M"})
    d.add("busy", {"module.exec": f"{helper('spin')}", "limits.cpu_max": "20%"})
    modules(d, "quiet", "worker").start()
    screen = top(d, "--interval", "200ms")
    text = screen.see(lambda t: names(t)[:1] == ["busy"] and len(names(t)) == 4 and re.search(r"(?m)^busy +running +[1-9]", t))
    assert f"{d.instance}: healthy, up" in text and "4 of 4 running" in text
    assert all(len(line) <= 80 for line in text.split("\n"))
    with socket.create_connection(("127.0.0.1", port)):
        screen.see(lambda t: re.search(r"(?m)^web +running .*/64M [#.]{5} +1 ", t))
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", screen.raw.decode(errors="replace")), "colours on a terminal"

    screen.type("n")
    screen.see(shows("busy", "quiet", "web", "worker", part="by name"))
    screen.type("r")
    screen.see(shows("worker", "web", "quiet", "busy", part="by name reversed"))
    screen.type("/w")
    screen.see("filter: w_")
    screen.type("\r")
    screen.see(shows("worker", "web", part="only 'w'"))
    screen.type("?")
    screen.see(lambda t: "columns, and the keys that sort by them" in t and "any key goes back" in t)
    screen.type("x")
    screen.see(lambda t: "NAME" in t)
    screen.type("q")
    assert screen.wait() == 0
    assert screen.restored()
    d.stop()


def test_it_follows_the_size_of_the_terminal(daemon, top):
    d = daemon.make()
    all_of_them = [f"m{i}" for i in range(12)]
    modules(d, *all_of_them).start()
    screen = top(d, "--interval", "1h", "--sort", "name")
    screen.see(shows(*all_of_them))
    screen.resize(40, 12)
    text = screen.see(lambda t: shows(*all_of_them[:7], part="q quit")(t) and "RST" not in t)
    assert "CPU%" in text
    screen.type(b"\x1b[B\x1b[B")  # down, twice
    screen.see(shows(*all_of_them[2:9]))
    screen.resize(120, 40)
    screen.see(shows(*all_of_them, part="RST"))
    screen.type("q")
    assert screen.wait() == 0
    d.stop()


@pytest.mark.parametrize("sig", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_gives_the_terminal_back(daemon, top, sig):
    d = modules(daemon.make(), "m").start()
    screen = top(d)
    screen.see("NAME")
    assert not screen.restored()
    os.kill(screen.process.pid, getattr(signal, sig))
    assert screen.wait() == -getattr(signal, sig)
    assert screen.restored()
    d.stop()


def test_it_waits_for_a_daemon_that_is_gone(daemon, top):
    d = modules(daemon.make(), "m").start()
    screen = top(d, "--interval", "100ms")
    screen.see(lambda t: "m  " in t)
    d.stop()
    screen.see(shows(part="the daemon is gone; waiting for it"))
    again = daemon.make(share=d)
    again.start()
    screen.see(shows("m", part="1 of 1 running"))
    screen.type("q")
    assert screen.wait() == 0 and screen.restored()
    again.stop()


def test_no_colour(daemon, top):
    d = modules(daemon.make(), "m").start()
    screen = top(d, "-n", "1", env={"NO_COLOR": "1"})
    assert screen.wait() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.raw.decode(errors="replace"))
    d.stop()


def test_text_where_there_is_no_screen(daemon, top):
    d = modules(daemon.make(), "web", "db").start()
    out = d.cli("top", "-n", "2", "-d", "100ms", "--sort", "name", rc=0).out
    tables = out.split("\n\n")
    assert len(tables) == 2 and "\x1b" not in out
    for table in tables:
        assert re.search(r"(?m)^db +running +[0-9.]+ ", table), out
    assert "web" not in d.cli("top", "-n", "1", "-d", "100ms", "d*", rc=0).out
    dumb = top(d, "-n", "1", "-d", "100ms", env={"TERM": "dumb"})
    assert dumb.wait() == 0 and "web" in dumb.text and b"\x1b" not in dumb.raw
    d.stop()


def test_words_that_mean_nothing(daemon):
    d = modules(daemon.make(), "web").start()
    assert "nobody" in d.cli("top", "-n", "1", "nobody", rc=3).err
    assert "no module matches" in d.cli("top", "-n", "1", "x*", rc=3).err
    assert "is no column (name, state, cpu" in d.cli("top", "--sort", "size", rc=2).err
    assert "from 100ms" in d.cli("top", "--interval", "1ms", rc=2).err
    d.stop()
    d.cli("top", "-n", "1", rc=3)


def test_json_is_an_object_an_interval(daemon):
    d = daemon.make()
    port = d.port()
    d.add("web", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    modules(d, "plain").start()
    held = socket.create_connection(("127.0.0.1", port))
    d.wait("web", lambda m: m["work"]["in_flight"] == 1)
    process = subprocess.Popen(d.argv("top", "--json", "-d", "200ms", "--sort", "name"), stdout=subprocess.PIPE, text=True)
    first = json.loads(process.stdout.readline())
    assert first["instance"] == d.instance and first["status"] == "healthy" and first["interval_usec"] >= 200_000
    assert first["host"]["cpus"] >= 1 and first["host"]["memory_total"] > first["host"]["memory_available"] > 0
    plain, web = first["modules"]
    assert plain["name"] == "plain" and plain["in_flight"] is None and plain["rate"] is None
    assert web["in_flight"] == 1 and web["memory"] > 0 and web["cpu_percent"] is not None
    held.close()
    done = wait_for(lambda: next((m for m in json.loads(process.stdout.readline())["modules"] if m["name"] == "web" and m["rate"]), None),
                    "an interval in which a connection ended")
    assert done["latency_p99_usec"] >= done["latency_p50_usec"] > 0
    process.terminate()
    assert process.wait(lib.PATIENCE) == -signal.SIGTERM
    process.stdout.close()
    d.stop()
