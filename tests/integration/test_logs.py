"""Log files while a program writes as fast as it can: every line once, in order, over all files; nothing waits; a daemon
that dies in the middle of it leaves nothing that the next one does not mend."""

import ctypes
import json
import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

import leaks
from lib import PATIENCE, SLOW, helper, wait_for

MARKER = re.compile(rb" *\n|\(rotated: [^\n]*\n")


class Logs:
    """The files of one log, by name."""

    def __init__(self, d, name):
        self.dir, self.name = Path(f"/var/log/bulkhead/{d.instance}"), name

    def rotated(self):
        """Paths, the oldest first."""
        found = [p for p in self.dir.glob(f"{self.name}.*") if p.suffix[1:].isdigit()]
        return sorted(found, key=lambda p: -int(p.suffix[1:]))

    def live(self):
        return self.dir / self.name

    def part(self):
        return self.dir / f".{self.name}.part"

    def lines(self):
        """Every line of the stream. Each file must hold whole lines; a hole and the marker are no text."""
        for path in [*self.rotated(), self.live()]:
            text = path.read_bytes().lstrip(b"\0")
            marker = MARKER.match(text)
            text = text[marker.end():] if marker else text
            assert not text or text.endswith(b"\n"), f"{path} ends within a line"
            yield from text.splitlines()

    def runs(self):
        return runs_of(self.lines())


def runs_of(lines):
    """How many lines each run of the scribe has left; fails where one is missing, doubled or torn."""
    runs = []
    for line in lines:
        number, text = line.split(b" ")
        n = int(number)
        assert len(number) == 12 and text == bytes([97 + n % 26]) * (50 + n * 37 % 128), f"torn: {line[:40]}"
        if n == 0:
            runs.append(0)
        assert runs and n == runs[-1], f"line {n} where {runs[-1] if runs else 0} was to be, after {len(runs) - 1} runs"
        runs[-1] += 1
    return runs


class Place:
    """Where the logs are: /var/log as it is, or a file system of its own over the instance's directory."""

    def __init__(self, d, size=None):
        self.path = f"/var/log/bulkhead/{d.instance}"
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.mounted = False
        if size:
            os.makedirs(self.path, 0o700, exist_ok=True)
            self.mount(size)
            self.mounted = True
            d.before = leaks.Snapshot()  # it is ours, not the daemon's

    def mount(self, size, flags=0):
        if self.libc.mount(b"none", self.path.encode(), b"tmpfs", flags, f"size={size}".encode()) != 0:
            raise OSError(ctypes.get_errno(), self.path)

    def grow(self, size):
        self.mount(size, 32)  # MS_REMOUNT

    def done(self):
        if self.mounted:
            self.libc.umount2(self.path.encode(), 2)


@pytest.fixture(params=["disk", "tmpfs"])
def place(request, daemon):
    d = daemon.make()
    # A disk that is slower than the writer makes files large, not the test better: the full rate is for memory, and for a
    # machine that can look through as much in a reasonable time.
    p = Place(d, "800m" if request.param == "tmpfs" else None)
    d.rate = 120 if p.mounted and SLOW == 1 else 4
    yield d, p
    if d.process and d.process.poll() is None:
        d.stop()
    p.done()


def scribe(d, name, rate=4, **keys):
    d.add(name, {"module.exec": f"{helper('scribe')} {rate}", "module.log_max_size": "1M", "module.log_keep": 100,
                 "recovery.restart": "no", "module.start": "manual"} | {f"module.{k}": v for k, v in keys.items()})
    return Logs(d, f"{name}.log")


def wrote(d, n=1):
    """(lines, bytes, seconds, the longest write in ms) of the n-th run that has ended."""
    lines, size, usec, longest, _ = d.marks.wait("wrote", n).more
    return int(lines), int(size), int(usec) / 1e6, int(longest) / 1e3


def test_each_line_once_at_full_rate(place):
    """Twenty rotations; the longest write beside that of a run without rotation."""
    d, _ = place
    plain, logs = scribe(d, "plain", d.rate, log_max_size="infinity"), scribe(d, "w", d.rate)
    d.start()
    d.cli("start", "plain", rc=0)
    wait_for(lambda: plain.live().stat().st_size > d.rate << 20, "a second's worth")
    d.cli("stop", "plain", rc=0)
    _, size, seconds, before = wrote(d)
    print(f"without rotation: {size / seconds / 1e6:.0f} MB/s, the longest write {before:.1f} ms")
    plain.live().unlink()
    d.cli("start", "w", rc=0)
    wait_for(lambda: len(logs.rotated()) >= 20, lambda: f"20 rotations, there are {len(logs.rotated())}")
    d.cli("stop", "w", rc=0)
    lines, size, seconds, longest = wrote(d, 2)
    files = logs.rotated()
    print(f"{len(files)} rotations: {size / seconds / 1e6:.0f} MB/s, the longest write {longest:.1f} ms, "
          f"the largest file {max(p.stat().st_size for p in files) / 1e6:.1f} MB")
    assert longest <= max(10 * before, 250 * SLOW), "a writer was held up"
    wait_for(lambda: not logs.part().exists(), "the last rotation to end")
    assert len(files) >= 20
    d.stop()
    assert logs.runs() == [lines]


def test_keep_and_error_file(daemon):
    """What is over log_keep goes; standard error is a log of its own."""
    d = daemon.make()
    scribe(d, "w", log_keep=2, log_stderr="file", environment=["BH_SCRIBE=err"])
    err, out = Logs(d, "w.err.log"), Logs(d, "w.log")
    d.start()
    d.cli("start", "w", rc=0)
    wait_for(lambda: len(err.rotated()) == 2, "two rotated files")
    first = err.rotated()[1].stat().st_ino
    wait_for(lambda: err.rotated() and all(p.stat().st_ino != first for p in err.rotated()), "the first one to go")
    d.cli("stop", "w", rc=0)
    lines, *_ = wrote(d)
    d.stop()
    assert len(err.rotated()) == 2 and out.live().read_bytes() == b"" and not out.rotated()
    assert int(list(err.lines())[-1].split(b" ")[0]) == lines - 1


def test_quiet_files_lose_their_hole(place):
    """Once the writer is slow the file is as short as it looks, where the file system can do that."""
    d, p = place
    go = d.fifo("go")
    d.add("m", {"module.exec": f"/bin/sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" \"x\" | fold -w 99; echo; read x <{go}; echo last; exec {helper('probe')} m'",
                "module.log_max_size": "1M"})
    logs = Logs(d, "m.log")
    d.start()
    wait_for(lambda: logs.rotated(), "a rotation")
    fd = os.open(go, os.O_RDWR)
    os.write(fd, b"go\n")
    wait_for(lambda: logs.live().read_bytes().endswith(b"last\n"), "the last line")
    probe = d.dir / "probe"
    probe.write_bytes(b"x" * 65536)
    collapse = ["fallocate", "--collapse-range", "-o", "0", "-l", "4096", probe]
    if not p.mounted and subprocess.run(collapse, capture_output=True).returncode == 0:
        wait_for(lambda: logs.live().stat().st_size < 1 << 20, lambda: f"the hole to go, {logs.live().stat()}")
        assert not logs.live().read_bytes().startswith(b"\0")
    os.close(fd)
    d.stop()
    text = b"".join(line + b"\n" for line in logs.lines())
    assert len(text) == 3000000 + 30303 + len(b"\nlast\n")


def test_a_full_disk(daemon):
    """Nothing fails but the rotation, which says so once, and is made up for when there is room."""
    d = daemon.make()
    p = Place(d, "12m")
    try:
        logs = scribe(d, "w", rate=20, log_max_size="8M")
        d.start()
        d.cli("start", "w", rc=0)
        event = d.wait_event(module="w", event="log-not-rotated", timeout=PATIENCE * 2)
        assert event["detail"]["file"] == "w.log" and "No space left" in event["detail"]["reason"], event
        assert d.log.count("event=log-not-rotated") == 1, d.log
        assert d.module("w")["state"] == "running" and not logs.rotated()
        p.grow("800m")
        wait_for(lambda: len(logs.rotated()) >= 2, "rotations once there is room")
        d.cli("stop", "w", rc=0)
        lines, *_ = wrote(d)
        assert d.log.count("event=log-not-rotated") == 1, d.log
        d.stop()
        assert not logs.part().exists() and logs.runs() == [lines]
    finally:
        p.done()


def test_restarts_while_rotating(place):
    d, _ = place
    logs = scribe(d, "w", d.rate)
    d.start()
    d.cli("start", "w", rc=0)
    for n in range(1, 6):
        wait_for(lambda: len(logs.rotated()) >= 2 * n, "more rotations")
        d.cli("restart", "w", rc=0)
    d.cli("stop", "w", rc=0)
    runs = [wrote(d, n)[0] for n in range(1, 7)]
    d.stop()
    assert logs.runs() == runs


def rotating(pid):
    """Whether a child of the daemon is at it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text() == "bulkhead-rotate\n":
                    return True
            except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
                pass
    return False


def test_the_daemon_is_killed_while_rotating(place):
    """Each time in the middle of one; the next daemon takes it up."""
    d, _ = place
    logs = scribe(d, "w", d.rate, start="auto")
    d.start()
    for n in range(1, 5):
        wait_for(lambda: len(logs.rotated()) >= 2 * n, "more rotations")
        wait_for(lambda: rotating(d.pid), "a rotation under way")
        d.kill()
        d.start()  # takes the module down, and starts it anew
    d.cli("stop", "w", rc=0)
    wait_for(lambda: not rotating(d.pid), "the last rotation")
    runs = [wrote(d, n)[0] for n in range(1, 6)]
    d.stop()
    assert not logs.part().exists() and logs.runs() == runs


def test_an_idle_log_wakes_nobody(daemon):
    """The daemon does not run at all while its modules are quiet."""
    d = daemon.make()
    for i in range(20):
        d.add(f"m{i}", {"module.exec": f"/bin/sh -c 'echo up; exec {helper('probe')} m{i}'"})
    d.start()
    d.marks.wait("up", 20)

    def switches():
        text = Path(f"/proc/{d.pid}/status").read_text()
        return int(re.search(r"voluntary_ctxt_switches:\s+(\d+)", text).group(1))

    def still():
        before = switches()
        subprocess.run(["sleep", "2"], check=True)  # what must not happen has no event
        return switches() == before

    wait_for(still, "two seconds without a wake-up")
    d.stop()


def test_logrotate_beside_it(daemon):
    """Copied and cut by another, it goes on; renamed, the next start makes a new file."""
    d = daemon.make()
    go = d.fifo("go")
    d.add("m", {"module.exec": f"/bin/sh -c 'echo one; read x <{go}; echo two; exec {helper('probe')} m'"})
    logs = Logs(d, "m.log")
    d.start()
    wait_for(lambda: logs.live().read_bytes() == b"one\n", "the first line")
    os.truncate(logs.live(), 0)
    fd = os.open(go, os.O_RDWR)
    os.write(fd, b"go\n")
    wait_for(lambda: logs.live().read_bytes() == b"two\n", "the second line alone")
    d.marks.wait("up")
    logs.live().rename(logs.dir / "m.log.old")
    os.write(fd, b"go\n")
    d.cli("restart", "m", rc=0)
    wait_for(lambda: logs.live().exists() and logs.live().read_bytes() == b"one\ntwo\n", "the new file")
    assert (logs.dir / "m.log.old").read_bytes() == b"two\n"
    os.close(fd)
    d.stop()


def test_followed_at_full_rate(place):
    """A reader that goes on over rotations, and one that comes after, see each line once."""
    d, _ = place
    logs = scribe(d, "w", d.rate)
    d.start()
    d.cli("start", "w", rc=0)
    wait_for(lambda: logs.live().exists() and logs.live().stat().st_size, "the first line")
    out = d.dir / "followed"
    with open(out, "wb") as f:
        follower = subprocess.Popen(d.argv("logs", "-f", "-n", "1000000000", "w"), stdout=f, stderr=subprocess.PIPE)
    wait_for(lambda: len(logs.rotated()) >= 8, lambda: f"8 rotations, there are {len(logs.rotated())}")
    d.cli("stop", "w", rc=0)
    lines, size, *_ = wrote(d)
    wait_for(lambda: out.stat().st_size >= size, lambda: f"the follower to have all {size} bytes, it has {out.stat().st_size}")
    follower.terminate()
    assert follower.stderr.read() == b""
    follower.wait()
    follower.stderr.close()
    assert runs_of(out.read_bytes().splitlines()) == [lines]
    whole = subprocess.run(d.argv("logs", "w"), capture_output=True, check=True).stdout
    assert whole == out.read_bytes(), "what is read later is what was followed"
    tail = subprocess.run(d.argv("logs", "-n", "30000", "w"), capture_output=True, check=True).stdout
    assert tail == b"".join(whole.splitlines(True)[-30000:]), "over the edge of files"
    d.stop()


def test_since_and_until(daemon):
    d = daemon.make()
    go = d.fifo("go")
    d.add("m", {"module.exec": f"/bin/sh -c 'echo one; read x <{go}; echo two; read x <{go}; echo three; exec {helper('probe')} m'"})
    logs = Logs(d, "m.log")
    d.start()
    fd = os.open(go, os.O_RDWR)
    times = []

    def samples():
        index = logs.dir / ".m.log.index"
        return (index.stat().st_size - 4096) // 16 if index.exists() else 0

    for n, last in enumerate([b"one\n", b"two\n", b"three\n"]):
        wait_for(lambda: logs.live().read_bytes().endswith(last), f"{last}")
        # The burst is over when the daemon has noted its end.
        wait_for(lambda: int.from_bytes((logs.dir / ".m.log.index").read_bytes()[-8:], "little") == logs.live().stat().st_size
                 if samples() > 0 else False, "the sample behind it")
        times.append(time.time())
        while time.time() < times[-1] + 1.1:  # --since takes whole seconds
            select.select([], [], [], 0.1)
        if n < 2:
            os.write(fd, b"go\n")

    def logged(*args):
        return d.cli("logs", "m", *args, rc=0).out

    at = [f"@{int(t) + 1}" for t in times]
    assert logged() == "one\ntwo\nthree\n"
    assert logged("--since", at[0]) == "two\nthree\n" and logged("--since", at[1]) == "three\n" and logged("--since", at[2]) == ""
    assert logged("--until", at[0]) == "one\n" and logged("--until", at[1]) == "one\ntwo\n"
    assert logged("--since", at[0], "--until", at[1]) == "two\n"
    assert logged("--since", "1 hour ago") == logged("--since", "yesterday") == logged("--since", "2024-01-01 8:00 Europe/Berlin") == "one\ntwo\nthree\n"
    assert logged("--since", "1h", "-n", "1") == "three\n"
    d.cli("logs", "m", "--since", "soon", rc=2)
    os.close(fd)
    d.stop()


def test_several_modules_streams_and_json(daemon):
    d = daemon.make()
    for name in "a", "b":
        d.add(name, {"module.exec": f"/bin/sh -c 'echo out {name}; echo err {name} >&2; exec {helper('probe')} {name}'",
                     "module.log_stderr": "file"})
    d.add("c", {"module.exec": f"/bin/sh -c 'echo out c; echo err c >&2; printf \"\\\\377\\\\n\"; exec {helper('probe')} c'"})
    d.start()
    d.marks.wait("up", 3)
    assert d.cli("logs", "a", rc=0).out == "out a\n" and d.cli("logs", "--stderr", "a", rc=0).out == "err a\n"
    assert d.cli("logs", "a", "b", rc=0).out == "a | out a\nb | out b\n"
    assert d.cli("logs", "--stderr", "[ab]", rc=0).out == "a | err a\nb | err b\n"
    lines = [json.loads(line) for line in d.cli("logs", "--json", "c", rc=0).out.splitlines()]
    assert [x["text"] for x in lines] == ["out c", "err c", "\\xff"], lines
    assert all(x["module"] == "c" and x["stream"] == "stdout" and x["time_usec"] is None for x in lines)
    refused = d.cli("logs", "--stderr", "c", rc=1)
    assert "log_stderr = file" in refused.err, refused
    d.stop()
