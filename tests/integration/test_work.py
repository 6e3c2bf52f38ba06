"""Sources of work beyond TCP: calls of functions, pairs of static probes, unix streams, writes. Counted in programs as Debian
ships them, waited for when a module is stopped, refused by the line of the ini file where they cannot be had."""

import os
import re
import shutil
import signal
import socket

import pytest

import programs
from lib import PATIENCE, helper, wait_for


def here(d, feature):
    """Whether the kernel has it; where it has not, that the daemon says so by the line is a test of its own."""
    return {r["feature"]: r["here"] for r in d.json("check", "--host")}[feature]


def work(d, name):
    return d.module(name)["work"]


def settled(d, name, **expected):
    """The counters, once they are as expected; they come to rest a moment after the answer is here."""
    return wait_for(lambda: (w := work(d, name)) and all(w[k] == v for k, v in expected.items()) and w,
                    lambda: f"{expected}, there is {work(d, name)}")


def redis_module(d, **work_keys):
    data = d.scratch / "redis"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    port = d.port()
    d.add("redis", {"module.exec": f"{programs.REDIS} --bind 127.0.0.1 --port {port} --dir {data} --unixsocket {data}/sock "
                                   f"--daemonize no --save '' --logfile ''",
                    "module.ready": f"unix:{data}/sock", "sandbox.user": "redis", **{f"work.{k}": v for k, v in work_keys.items()}})
    return port, f"{data}/sock"


def test_stop_waits_for_a_call(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    d.add("m", {"module.exec": f"{helper('call')} {fifo}", "work.track": "calls:call:tracked_work"})
    d.start()
    d.marks.wait("in-call")
    settled(d, "m", started=1, in_flight=1)
    d.cli("stop", "--no-block", "m", rc=0)
    d.wait("m", "draining")
    d.wait_event(module="m", event="phase", phase="gate")
    assert "drain" not in dict(d.phases("m")) and d.marks.of("out-of-call") == []
    d.go(fifo)
    d.wait("m", "idle")
    assert dict(d.phases("m"))["drain"] == "ok" and len(d.marks.of("out-of-call")) == 1
    d.stop()


def test_what_the_kernel_can_count_is_told_without_the_rest(daemon):
    """Calls and the program's own count, where the kernel has no part that could count connections."""
    d = daemon.make(supervisor={"bpf": "optional"})
    fifo = d.fifo("go")
    d.add("m", {"module.exec": f"{helper('call')} {fifo}", "work.track": "connections, calls:call:tracked_work"})
    d.add("own", {"module.exec": f"{helper('work')} hold {fifo} 2", "work.track": "api, requests"})
    d.start(args=("--without", "bpf-connections"))
    d.marks.wait("in-call")
    d.marks.wait("begun")
    w = settled(d, "m", started=1, in_flight=1)
    assert list(w["sources"]) == ["calls"] and w["sources"]["calls"]["in_flight"] == 1, w
    own = settled(d, "own", started=2, in_flight=2)
    assert list(own["sources"]) == ["api"], own
    assert re.search(r"^ *heartbeat: .* ago$", d.cli("status", "own", rc=0).out, re.M)
    assert "heartbeat" not in d.cli("status", "m", rc=0).out
    d.go(fifo)
    d.go(fifo)
    d.marks.wait("out-of-call")
    d.marks.wait("ended")
    settled(d, "m", completed=1, in_flight=0)
    settled(d, "own", completed=2, in_flight=0)
    d.stop()


def test_killed_in_calls(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    d.add("m", {"module.exec": f"{helper('call')} {fifo} 5", "work.track": "calls:call:tracked_work", "recovery.restart": "no"})
    d.start()
    settled(d, "m", started=5, in_flight=5, in_flight_peak=5)
    os.kill(d.module("m")["pid"], signal.SIGKILL)
    d.wait("m", "failed")
    settled(d, "m", in_flight=0, errors=5)
    d.stop()


def test_a_binary_that_is_replaced(daemon):
    """What was put in its place between two runs is found; what ran before is counted until its end."""
    d = daemon.make()
    program = d.scratch / "program"
    shutil.copy(helper("call"), program)
    fifo = d.fifo("go")
    d.add("m", {"module.exec": f"{program} {fifo}", "work.track": "calls:program:tracked_work"})
    d.start()
    settled(d, "m", in_flight=1)
    new = d.scratch / "new"
    shutil.copy(helper("call"), new)
    os.rename(new, program)
    d.go(fifo)
    settled(d, "m", in_flight=0, completed=1)
    d.cli("restart", "m", rc=0)
    d.marks.wait("in-call", 2)
    settled(d, "m", started=2, in_flight=1)
    d.go(fifo)
    settled(d, "m", completed=2)
    d.stop()


@pytest.mark.parametrize("track, words", [
    ("calls:call:tracked_wrok", r"has no function 'tracked_wrok' \(did you mean tracked_work\?\)"),
    ("calls:/nowhere/at/all:f", r"/nowhere/at/all: No such file"),
    ("calls:/etc/passwd:f", r"neither a program nor a shared library"),
    ("usdt:postgresql:query", r"has no static probes"),
])
def test_a_site_that_is_not_there(daemon, track, words):
    d = daemon.make({"m": {"module.exec": f"{helper('call')} -", "work.track": track, "recovery.restart": "no"}})
    d.start(ready=False)
    d.wait_bus()
    d.wait("m", "failed")
    assert re.search(rf"m\.ini:\d+: work\.track: .*{words}", d.explain("m")), d.explain("m")
    d.stop()


def test_redis_calls(daemon):
    d = daemon.make()
    port, _ = redis_module(d, track="calls:redis-server:call")
    d.start()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        for n in range(1, 51):
            s.sendall(b"PING\r\n")
            assert s.recv(64) == b"+PONG\r\n"
        settled(d, "redis", started=50, completed=50, in_flight=0, in_flight_peak=1)
        s.sendall(b"PING\r\n" * 1000)
        got = b""
        while len(got) < 7000:
            got += s.recv(65536)
        settled(d, "redis", started=1050, completed=1050)
    d.stop()


def test_nginx_calls(daemon):
    d = daemon.make()
    conf = programs.nginx_conf(d, f"root {programs.www(d)};")
    port = d.ports[-1]
    d.add("nginx", {"module.exec": f"{programs.NGINX} -e stderr -c {conf} -g 'daemon off;'", "module.ready": f"tcp:{port}",
                    "sandbox.user": "root", "work.track": "calls:nginx:ngx_http_process_request"})
    d.start()
    for _ in range(20):
        assert programs.get(port) == b"hello\n"
    settled(d, "nginx", started=20, completed=20, in_flight=0)
    d.stop()


def test_postgres_transactions(daemon):
    d = daemon.make()
    data = programs.postgres_data(d)
    port = d.ports[-1]
    d.add("postgres", {"module.exec": f"{programs.POSTGRES} -D {data}", "module.ready": f"tcp:{port}", "sandbox.user": "postgres",
                       "module.stop_signal": "INT", "work.track": "usdt:postgresql:transaction"})
    d.start()
    programs.query(port, "select 1")
    settled(d, "postgres", in_flight=0)
    before = work(d, "postgres")
    for _ in range(10):
        programs.query(port, "select 1")
    # It works by itself as well, in the background.
    after = wait_for(lambda: (w := work(d, "postgres"))["completed"] >= before["completed"] + 10 and w, "ten more transactions")
    assert after["errors"] == before["errors"]
    with pytest.raises(Exception):
        programs.query(port, "select 1/0")
    wait_for(lambda: work(d, "postgres")["errors"] > before["errors"], "an aborted one")
    settled(d, "postgres", in_flight=0)
    d.stop()
    programs.forget_templates()


def test_redis_on_a_unix_socket(daemon):
    d = daemon.make()
    if not here(d, "bpf-unix"):
        return refused_where_it_is_not(d)
    _, path = redis_module(d, track="unix")
    d.start()
    before = work(d, "redis")["started"]  # readiness is tried by connecting
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(path)
        for _ in range(30):
            s.sendall(b"PING\r\n")
            assert s.recv(64) == b"+PONG\r\n"
        settled(d, "redis", started=before + 30, completed=before + 30, in_flight=0)
        # In the middle of an exchange: nobody answers a command that blocks.
        s.sendall(b"BLPOP nothing 0\r\n")
        settled(d, "redis", in_flight=1)
        os.kill(d.module("redis")["pid"], signal.SIGKILL)
        settled(d, "redis", in_flight=0, errors=1)
    d.wait("redis", lambda m: m["generation"] == 2 and m["state"] == "running")
    d.stop()


def refused_where_it_is_not(d):
    d.add("m", {"module.exec": helper("probe"), "work.track": "unix"})
    d.start(ready=False)
    assert d.wait_exit() == 1
    assert re.search(r"m\.ini:\d+: work\.track: exchanges on unix streams cannot be counted here.*Linux 6\.2", d.log), d.log


def test_writes(daemon):
    d = daemon.make()
    out = d.scratch / "out"
    d.add("m", {"module.exec": f"/bin/dd if=/dev/zero of={out} bs=512 count=100 conv=fsync status=none", "module.type": "oneshot",
                "module.remain_after_exit": True, "module.log": "null", "work.track": "writes"})
    checked = d.cli("check", str(d.config), rc=0)
    assert checked.out == "" and re.search(r"m\.ini:\d+: work\.track: writes costs each system call of the whole host", checked.err)
    d.start()
    assert "event=writes-tracked" in d.log
    w = settled(d, "m", in_flight=0)
    # dd's own 100 and the fsync, and what truncating and the loader may have added
    assert 101 <= w["completed"] <= 105 and w["in_flight_peak"] == 1, w
    d.stop()
