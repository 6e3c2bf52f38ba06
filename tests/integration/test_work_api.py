"""track = api: programs that say themselves what they have in flight, in C and in Python, as modules and against a page
without a daemon."""

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from lib import BUILD, SOURCE, alive, helper, reachable, wait_for
from test_stop import in_background

PYTHON = SOURCE / "include" / "bulkhead_work.py"


def work_of(d, name="w"):
    return d.module(name)["work"]


def module(d, mode, n=1, fifo="-", **keys):
    d.add("w", {"module.exec": f"{helper('work')} {mode} {fifo} {n}", "work.track": "api",
                "module.ready": "exec"} | {k.replace("__", "."): v for k, v in keys.items()})


def in_map(d, name="w"):
    """What bpftool shows of the module."""
    dump = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", f"/sys/fs/bpf/bulkhead/{d.instance}/work"],
                          stdout=subprocess.PIPE, check=True).stdout
    for entry in json.loads(dump):
        value = entry["formatted"]["value"]
        text = value["name"] if isinstance(value["name"], str) else "".join(map(chr, value["name"])).rstrip("\0")
        if text == name:
            return value
    raise AssertionError(f"no {name} in {dump}")


def test_stop_waits_for_what_a_program_has_in_flight(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    module(d, "hold", 3, fifo)
    d.start()
    d.marks.wait("begun")
    work = work_of(d)
    assert (work["started"], work["in_flight"], work["in_flight_peak"], work["completed"]) == (3, 3, 3, 0)
    assert d.module("w")["heartbeat_usec"]
    assert in_map(d)["api"]["in_flight"] == 3
    stop = in_background(d, "stop", "w")
    d.wait_event(module="w", event="drain-progress")
    assert d.module("w")["state"] == "draining" and alive(d.marks.of("work")[0].pid)
    d.go(fifo)
    assert d.marks.wait("ended").more == ["1"], "it saw that it drains"
    assert stop.wait(60) == 0
    phases = {p["phase"]: p["status"] for p in d.module("w")["teardown"]}
    assert phases["gate"] == phases["drain"] == "ok"
    work = work_of(d)
    assert (work["started"], work["completed"], work["errors"], work["in_flight"]) == (3, 3, 0, 0)
    assert d.module("w")["heartbeat_usec"] is None
    d.stop()


def test_counts_stay_over_generations(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    module(d, "hold", 2, fifo)
    d.start()
    for n in (1, 2, 3):
        d.marks.wait("begun", n)
        assert work_of(d)["in_flight"] == 2
        d.go(fifo)
        d.marks.wait("ended", n)
        d.cli("restart" if n < 3 else "stop", "w", rc=0)
    work = work_of(d)
    assert (work["started"], work["completed"], work["in_flight"], work["in_flight_peak"]) == (6, 6, 0, 2)
    d.stop()


def test_threads_work_until_they_are_told_to_drain(daemon):
    d = daemon.make()
    module(d, "drain", 16, work__max_in_flight=10)
    d.start()
    d.marks.wait("working")
    wait_for(lambda: work_of(d)["completed"] > 50 and work_of(d)["rejected"] > 0, lambda: work_of(d))
    d.cli("stop", "w", rc=0)
    phases = {p["phase"]: p["status"] for p in d.module("w")["teardown"]}
    assert phases["drain"] == "ok"
    work = work_of(d)
    assert work["started"] == work["completed"] and work["errors"] == 0 and work["in_flight"] == 0
    assert 0 < work["in_flight_peak"] <= 10
    assert work["latency_p50_usec"] >= 1024
    done = d.marks.of("done")
    if done:  # it may have been ended before it could tell
        assert [work["completed"], work["rejected"]] == [int(n) for n in done[0].more]
    d.stop()


def test_a_drain_by_hand_is_told_and_undone(daemon):
    d = daemon.make()
    module(d, "watch", work__drain_soft="1s", work__drain_hard="1s", recovery__restart="always", recovery__backoff="10ms")
    d.start()
    told = d.marks.wait("draining", more="0")
    assert told.more == ["0", "1"], "and it may begin, which it never ends"
    assert d.cli("drain", "w").rc != 0, "its work does not end"
    assert d.marks.wait("draining", more="1").more == ["1", "0"]
    os.kill(told.pid, signal.SIGKILL)
    again = d.marks.wait("draining", 2, more="1")
    assert again.pid != told.pid, "a gate closed by hand stays closed over a crash"
    d.cli("drain", "--undo", "w", rc=0)
    assert d.marks.wait("draining", 2, more="0").pid == again.pid
    work = work_of(d)
    assert (work["errors"], work["rejected"], work["in_flight"]) == (1, 2, 1)
    d.cli("stop", "w")
    d.stop()


def test_who_is_killed_leaves_nothing_in_flight(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    module(d, "crash", 5, fifo)
    d.start()
    d.marks.wait("crashed")
    work = work_of(d)
    assert (work["started"], work["errors"], work["in_flight"], work["completed"]) == (6, 5, 1, 0)
    d.go(fifo)
    d.marks.wait("ended")
    d.cli("stop", "w", rc=0)
    work = work_of(d)
    assert (work["started"], work["errors"], work["in_flight"], work["completed"]) == (6, 5, 0, 1)
    d.stop()


def test_the_end_of_all_processes_is_the_end_of_their_work(daemon):
    d = daemon.make()
    module(d, "fork", 4, work__drain_hard="1s", work__drain_soft="1s")
    d.start()
    d.marks.wait("begun", 4)
    assert work_of(d)["in_flight"] == 16
    victim = next(m.pid for m in d.marks.of("begun") if m.pid != d.module("w")["pid"])
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: work_of(d)["in_flight"] == 12, lambda: work_of(d))
    result = d.cli("stop", "w")
    phases = {p["phase"]: p for p in d.module("w")["teardown"]}
    assert phases["drain"]["status"] == "timed-out" and "12 still in flight" in phases["drain"]["error"], result
    work = work_of(d)
    assert (work["started"], work["errors"], work["in_flight"]) == (16, 16, 0)
    d.stop()


def test_a_hostile_page_harms_nobody_else(daemon):
    d = daemon.make()
    fifo = d.fifo("go")
    module(d, "grow", module__environment=[f"BH_GO={fifo}"], module__stop_timeout="2s", work__drain_hard="1s",
           work__drain_soft="1s")
    other = d.fifo("other")
    d.add("good", {"module.exec": f"{helper('work')} hold {other} 2", "work.track": "api", "module.after": "w"})
    d.start()
    grown = d.marks.wait("grown")
    assert int(grown.more[0]) < 512 << 20 and int(grown.more[1]) == 28, "ENOSPC, of a file system of its own"
    assert (os.statvfs("/run").f_bavail * os.statvfs("/run").f_frsize) > 0
    work = work_of(d)  # and cuts it
    assert work["in_flight"] >= 0 and work["started"] >= 0
    d.go(fifo)
    d.marks.wait("cut")
    assert work_of(d)["in_flight"] == 0
    assert d.module("good")["state"] == "running"
    d.cli("stop", "w", rc=0)
    d.go(other)
    d.marks.wait("ended")
    d.stop()


def test_a_module_cannot_write_the_control_page(daemon):
    d = daemon.make()
    script = d.dir / "pages.sh"
    script.write_text("#!/bin/sh\nls -ln $BULKHEAD_WORK $BULKHEAD_WORK.control\necho x > $BULKHEAD_WORK.control\n"
                      "rm -f $BULKHEAD_WORK\nls ${BULKHEAD_WORK%/*}\nexec sleep 1000\n")
    script.chmod(0o755)
    d.add("w", {"module.exec": script, "work.track": "api", "sandbox.user": "nobody", "module.log": "file"})
    d.start()
    log = wait_for(lambda: (text := d.cli("logs", "w").out).count("ermission denied") >= 3 and text, "the log")
    assert "-rw-------" in log and "-rw-r-----" in log
    d.stop()


# --- Python ---

WORKER = """
import os, sys, threading, time
import bulkhead_work as w

def mark(what, *more):
    with open(os.environ["BH_MARK"], "a") as f:
        f.write(f"{what} {os.getpid()} {time.monotonic_ns()} {' '.join(map(str, more))}\\n")

w.heartbeat()
told = threading.Event()
def job():
    with w.work():
        told.wait()

try:
    with w.work():
        raise ValueError
except ValueError:
    pass
threads = [threading.Thread(target=job) for _ in range(3)]
for t in threads:
    t.start()
while w._page[w._slot + w.STARTED] < 4:
    time.sleep(0.001)
mark("begun", w.supervised(), w.draining())
with open(sys.argv[1]) as f:
    f.read(1)
told.set()
for t in threads:
    t.join()
while not w.draining():
    time.sleep(0.001)
mark("ended", w.draining(), w.try_begin())
time.sleep(1000)
"""


def python_module():
    """Where every user can read it."""
    return str(Path(reachable(str(PYTHON))).parent)


def test_a_python_program_as_a_module(daemon, tmp_path):
    d = daemon.make()
    fifo = d.fifo("go")
    script = Path(python_module()) / "worker.py"
    script.write_text(WORKER)
    d.add("w", {"module.exec": f"/usr/bin/python3 {script} {fifo}", "work.track": "api",
                "module.environment": [f"PYTHONPATH={python_module()}"]})
    d.start()
    assert d.marks.wait("begun").more == ["True", "False"]
    work = work_of(d)
    assert (work["started"], work["errors"], work["in_flight"], work["in_flight_peak"]) == (4, 1, 3, 3)
    assert d.module("w")["heartbeat_usec"]
    stop = in_background(d, "stop", "w")
    d.wait_event(module="w", event="drain-progress")
    d.go(fifo)
    assert stop.wait(60) == 0
    work = work_of(d)
    assert (work["completed"], work["errors"], work["in_flight"]) == (3, 1, 0)
    d.stop()


@pytest.fixture
def page(tmp_path):
    """Both files, as the daemon makes them, and the page's words."""
    path = tmp_path / "page"
    path.write_bytes(struct.pack("=QIIII", 0x6B726F77646B6C62, 1, 256, 320, 128).ljust(128 + 256 * 320, b"\0"))
    control = Path(f"{path}.control")
    control.write_bytes(struct.pack("=QIII", 0x6B726F77646B6C62, 1, 0, 0).ljust(64, b"\0"))
    with open(path, "r+b") as f:
        mapped = mmap.mmap(f.fileno(), 0)
        view = memoryview(mapped)
        words = view.cast("Q")
        yield path, control, words
        words.release()
        view.release()
        mapped.close()


def run(path, script, **keys):
    env = os.environ | {"PYTHONPATH": str(PYTHON.parent)}
    env.pop("BULKHEAD_WORK", None)
    if path:
        env["BULKHEAD_WORK"] = str(path)
    return subprocess.Popen([sys.executable, "-c", "import os, bulkhead_work as w\n" + script], env=env, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, **keys)


def finish(process, rc=0):
    out = process.communicate(timeout=120)[0]
    assert process.returncode == rc, out
    return out


def total(words, k):
    return sum(words[16 + k::40])


STARTED, COMPLETED, ERRORS, REJECTED, PEAK = 2, 3, 4, 5, 6


def test_python_without_a_supervisor():
    script = "with w.work(): pass\nw.heartbeat(); assert w.try_begin() and not w.draining() and not w.supervised(); w.end()"
    for path in (None, "/nowhere", "/dev/null"):
        finish(run(path, script))


def test_python_processes_and_threads_lose_nothing(page):
    path, _, words = page
    script = """
import threading
def job():
    for i in range(200):
        with w.work(): pass
ts = [threading.Thread(target=job) for _ in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
pid = os.fork()
if pid == 0:
    job(); os._exit(0)
os.waitpid(pid, 0)
job()
"""
    for p in [run(path, script) for _ in range(3)]:
        finish(p)
    assert total(words, STARTED) == total(words, COMPLETED) == 3 * 10 * 200
    assert total(words, ERRORS) == 0 and 1 <= max(words[16 + PEAK::40]) <= 3 * 8


def test_python_who_is_killed_is_cleaned_up_after(page):
    path, _, words = page
    finish(run(path, "w.begin(); w.begin(); os.kill(os.getpid(), 9)"), -9)
    assert total(words, STARTED) - total(words, ERRORS) == 2
    finish(run(path, "w.begin(); w.end()"))
    assert (total(words, STARTED), total(words, COMPLETED), total(words, ERRORS)) == (3, 1, 2)
    finish(run(path, "w.begin()\nif not os.environ.get('AGAIN'): os.environ['AGAIN'] = '1'; "
                     "os.execv('/proc/self/exe', ['python3', '-c', 'import bulkhead_work as w; w.begin(); w.end()'])"))
    assert (total(words, STARTED), total(words, COMPLETED), total(words, ERRORS)) == (5, 2, 3)


def test_python_limit_and_drain(page):
    path, control, words = page

    def set_control(draining, limit):
        with open(control, "r+b") as f:
            f.seek(12)
            f.write(struct.pack("=II", draining, limit))

    set_control(0, 2)
    finish(run(path, "assert w.try_begin() and w.try_begin() and not w.try_begin(); w.end(); assert w.try_begin(); w.end(); w.end(False)"))
    assert (total(words, STARTED), total(words, REJECTED), max(words[16 + PEAK::40])) == (3, 1, 2)
    set_control(1, 0)
    finish(run(path, "assert w.draining() and not w.try_begin()\nwith w.work(): pass"))
    assert (total(words, STARTED), total(words, COMPLETED), total(words, ERRORS)) == (4, 3, 1)


def test_python_and_c_use_one_page(page, tmp_path):
    path, _, words = page
    os.mkfifo(tmp_path / "never")
    p = run(path, "w.begin(); print('x', flush=True); input(); w.end()")
    assert p.stdout.readline() == "x\n"
    c = subprocess.Popen([BUILD / "helpers/work", "hold", tmp_path / "never", "4"], env={"BULKHEAD_WORK": str(path)})
    try:
        wait_for(lambda: words[8] == 4, lambda: words[8])
        assert total(words, STARTED) == 5
        assert words[16 + 128 * 40 + STARTED] == 1, "Python's slots are the upper half"
        assert words[16 + 1 * 40 + STARTED] == 4
    finally:
        c.kill()
        c.wait()
    p.stdin.write("\n")
    finish(p)
