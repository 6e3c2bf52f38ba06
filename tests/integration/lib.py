"""A daemon under test: its configuration, its life, what can be asked of it, and proof that it left nothing behind.

Every daemon is an instance of its own, named after the test process, below the cgroup the tests were started in. Modules
are the programs of tests/helpers; they tell where they are in a file (Marks) and wait on FIFOs. Nothing here sleeps for
a guess: every wait ends with what it waits for, or fails at its deadline with the daemon's log.
"""

import ctypes
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import leaks
from box import Box

BUILD = Path(os.environ.get("BULKHEAD_BUILD", Path(__file__).resolve().parents[2] / "build"))
SOURCE = Path(__file__).resolve().parents[2]
SANITIZED = b"__asan_init" in (BUILD / "bulkheadd").read_bytes() if (BUILD / "bulkheadd").exists() else False
SLOW = float(os.environ.get("BULKHEAD_TEST_SLOW", "1"))  # how much slower than usual this machine is: a guest without KVM, 10
PATIENCE = (60 if SANITIZED else 20) * SLOW  # seconds until a wait is given up
PHASES = ["controllers", "gate", "drain", "io", "connection", "process", "network", "mounts", "cgroup", "events"]

CLONE_NEWNS, MS_PRIVATE = 0x00020000, 1 << 18

_numbers = itertools.count(1)


REACHABLE = Path(f"/tmp/bulkhead-programs-{os.getpid()}")  # conftest removes it


def reachable(program):
    """A copy of a built program where every user can run it: a clone below /root can't be entered by others."""
    copy = REACHABLE / Path(program).name
    if not copy.exists():
        REACHABLE.mkdir(mode=0o755, exist_ok=True)
        shutil.copy(BUILD / program, copy)
        os.chmod(copy, 0o755)
    return str(copy)


def helper(name):
    return reachable(f"helpers/{name}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(predicate, why, timeout=None, on=None):
    """Calls predicate until it gives something true and returns that. Between calls it waits for `on` (something with a
    fileno that becomes readable, or ends) and at most 20 ms, so that what nobody announces is seen as well."""
    end = time.monotonic() + (timeout or PATIENCE)
    while True:
        found = predicate()
        if found:
            return found
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError(f"waited in vain: {why() if callable(why) else why}")
        select.select([on] if on else [], [], [], min(left, 0.02))


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Mark:
    def __init__(self, text):
        self.what, pid, nsec, *more = text.split(" ")
        self.pid, self.nsec, self.more = int(pid), int(nsec), [m for m in more if m]

    def __repr__(self):
        return f"<{self.what} {self.pid} {self.more}>"


class Marks:
    """The file that helpers report to, a line each."""

    def __init__(self, path):
        self.path = str(path)
        self.file = open(self.path, "a+")
        os.chmod(self.path, 0o666)
        self.rest, self.all = "", []

    def read(self):
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        self.all += [Mark(line) for line in lines]
        return self.all

    def of(self, what, more=None):
        return [m for m in self.read() if m.what == what and (more is None or m.more[:1] == [more])]

    def wait(self, what, n=1, more=None, timeout=None):
        """The n-th mark of that kind."""
        wait_for(lambda: len(self.of(what, more)) >= n, lambda: f"{n} marks {what!r}, there are {self.all}", timeout)
        return self.of(what, more)[n - 1]

    def close(self):
        self.file.close()


class Result:
    def __init__(self, argv, done):
        self.argv, self.rc, self.out, self.err = argv, done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"{' '.join(self.argv)} → {self.rc}\n{self.out}{self.err}"


class Events:
    """bulkhead events --follow --json, read as it comes."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.all, self.rest = [], b""

    def fileno(self):
        return self.process.stdout.fileno()

    def read(self):
        data = None if self.process.stdout.closed else self.process.stdout.read()
        if data:
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.all += [json.loads(line) for line in lines]
        return self.all

    def close(self):
        """The daemon's end ends it by itself, after the last event; else it is ended."""
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self.read()
        self.process.stdout.close()


def ini_value(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)


def ini_text(keys, prefixed=False):
    """{"section.key": value} as an ini file; with `prefixed` all of it in one section, for [defaults]."""
    if prefixed:
        return "".join(f"{k} = {ini_value(v)}\n" for k, v in keys.items())
    sections = {}
    for key, value in keys.items():
        section, name = key.split(".", 1)
        sections.setdefault(section, []).append(f"{name} = {ini_value(value)}")
    return "\n".join(f"[{s}]\n" + "\n".join(lines) + "\n" for s, lines in sections.items())


class Daemon:
    def __init__(self, modules=None, supervisor=None, defaults=None, instance=None, share=None):
        """modules: {name: {"section.key": value} or ini text}. `share`: another Daemon whose instance and directory this
        one takes over, to start anew where that one was."""
        self.instance = instance or (share.instance if share else f"t{os.getpid()}-{next(_numbers)}")
        self.dir = share.dir if share else Path(tempfile.mkdtemp(prefix=f"bulkhead-{self.instance}-"))
        self.config = self.dir / "config"
        self.scratch = self.dir / "scratch"
        self.ports = share.ports if share else []
        self.boxes = share.boxes if share else []
        if not share:
            os.chmod(self.dir, 0o755)
            (self.config / "modules.d").mkdir(parents=True, mode=0o755)
            self.scratch.mkdir()
            os.chmod(self.scratch, 0o1777)
            self.write("bulkhead.ini", "[supervisor]\n" + ini_text(supervisor or {}, True) + "[defaults]\n" + ini_text(
                {"sandbox.user": "root", "module.stop_timeout": "5s", "module.log": "file"} | (defaults or {}), True))
            self.marks = Marks(self.dir / "marks")
            self.before = leaks.Snapshot()
        else:
            self.marks, self.before = share.marks, share.before
        for name, keys in (modules or {}).items():
            self.add(name, keys)
        self.process = self.notify = self.log_file = None
        self._events = None
        self.clean = False

    # --- configuration

    def write(self, name, text):
        path = self.config / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        os.chmod(path, 0o644)
        return path

    def add(self, name, keys):
        if not isinstance(keys, str):
            environment = [f"BH_MARK={self.marks.path}"] + list(keys.get("module.environment", []))
            keys = ini_text(keys | {"module.environment": environment})
        return self.write(f"modules.d/{name}.ini", keys)

    def port(self):
        self.ports.append(free_port())
        return self.ports[-1]

    def fifo(self, name):
        path = self.scratch / name
        os.mkfifo(path)
        os.chmod(path, 0o666)
        return str(path)

    @staticmethod
    def go(path):
        """Lets one program pass that waits on the FIFO, now or later."""
        fd = os.open(path, os.O_RDWR)
        os.write(fd, b"g")
        # Kept open: a FIFO with no reader yet forgets what was written when the last end closes.
        Daemon._open_fifos.append(fd)

    _open_fifos = []

    # --- life

    def start(self, ready=True, args=(), env=None, before_exec=None, program=None):
        notify = self.dir / "notify"
        notify.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(notify))
        self.log_file = open(self.dir / "daemon.log", "ab")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("BULKHEAD", "PYTEST"))}
        environment |= {"NOTIFY_SOCKET": str(notify), "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
                        "UBSAN_OPTIONS": "print_stacktrace=1",
                        "LSAN_OPTIONS": f"suppressions={Path(__file__).with_name('lsan.supp')}:print_suppressions=0"} | (env or {})
        box = Box(f"{self.instance}-{next(_numbers)}")
        self.boxes.append(box)

        def in_box():
            box.enter()
            if before_exec:
                before_exec()

        self.process = subprocess.Popen(
            [program or str(BUILD / "bulkheadd"), "--instance", self.instance, "--config", str(self.config), *args],
            stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, env=environment, cwd="/",
            preexec_fn=in_box)
        self.pid = self.process.pid
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        self.notify.setblocking(False)
        words = []

        def said_ready():
            try:
                words.append(self.notify.recv(4096))
            except BlockingIOError:
                assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}:\n{self.log}"
            return any(b"READY=1" in w.split(b"\n") for w in words)

        wait_for(said_ready, lambda: f"READY=1 of the daemon\n{self.log}", on=self.notify)
        return self

    def wait_bus(self):
        """For a daemon whose start-up is still going on: until it can be talked to."""
        wait_for(lambda: self.cli("status").rc == 0, lambda: f"the daemon to answer\n{self.log}")
        return self

    def wait_exit(self, timeout=None):
        try:
            rc = self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon has not ended:\n{self.log}") from None
        self.sanitizers()
        return rc

    def stop(self, expected=0, sig=signal.SIGTERM):
        """Ends the daemon in order and proves that nothing is left."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
        rc = self.wait_exit() if self.process else expected
        assert rc == expected, f"exit status {rc}, not {expected}:\n{self.log}"
        self.check_clean()
        return rc

    def kill(self):
        """kill -9; what it supervised lives on."""
        self.close_events()
        self.process.kill()
        self.process.wait(PATIENCE)

    def check_clean(self):
        self.close_events()
        self.before.check(self)
        left = [c for b in self.boxes for c in b.handed_down()]
        assert not left, f"left behind: controllers {left}"
        self.clean = True

    def close_events(self):
        if self._events:
            self._events.close()

    def done(self):
        """At the end of a test, whatever happened to it: nothing may stay. Raises when that had to be enforced."""
        try:
            if self.process and not self.clean:
                self.stop(expected=self.process.returncode if self.process.poll() is not None else 0)
        finally:
            self.remove()

    def remove(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.close_events()
        leaks.sweep(self.instance)
        while self.boxes:
            self.boxes.pop().remove()
        for d in ("/var/lib/bulkhead", "/var/log/bulkhead"):
            shutil.rmtree(f"{d}/{self.instance}", ignore_errors=True)
            if os.path.isdir(d) and not os.listdir(d):
                os.rmdir(d)
        if self.notify:
            self.notify.close()
            self.log_file.close()
        self.marks.close()
        while Daemon._open_fifos:
            os.close(Daemon._open_fifos.pop())
        print(f"--- log of {self.instance}:\n{self.log}")
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def log(self):
        try:
            return (self.dir / "daemon.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def sanitizers(self):
        found = re.search(r"(AddressSanitizer|LeakSanitizer|runtime error:).*", self.log)
        assert not found, f"{found.group(0)}\n{self.log}"

    # --- talking

    def argv(self, verb, *args):
        return [str(BUILD / "bulkhead"), verb, "--instance", self.instance, *args]

    def cli(self, verb, *args, rc=None, user=None, groups=(), timeout=None):
        argv = self.argv(verb, *args)
        if user is not None:
            argv[0] = reachable("bulkhead")
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups" if not groups else
                    "--groups=" + ",".join(str(g) for g in groups), *argv]
        try:
            done = Result(argv, subprocess.run(argv, capture_output=True, text=True, timeout=timeout or PATIENCE,
                                               stdin=subprocess.DEVNULL))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(argv)} has not ended\n{self.log}") from None
        assert "Sanitizer" not in done.err and "runtime error:" not in done.err, done
        if rc is not None:
            assert done.rc == rc, f"{done}\n{self.log}"
        return done

    def json(self, verb, *args, rc=0):
        done = self.cli(verb, *args, "--json", rc=rc)
        try:
            return json.loads(done.out)
        except ValueError:
            raise AssertionError(f"not JSON: {done}") from None

    def status(self):
        return self.json("status")

    def module(self, name):
        found = [m for m in self.json("status", name)["modules"] if m["name"] == name]
        assert len(found) == 1, found
        return found[0]

    def explain(self, name):
        return self.cli("explain", name, rc=0).out

    @property
    def events(self):
        """The stream of events; opened at the first use, from the first event that the daemon remembers."""
        if not self._events:
            self._events = Events(self.argv("events", "--follow", "--lines", "100000", "--json"))
        return self._events

    def wait(self, name, what, timeout=None):
        """Until the module's status fits: a state's name, or a function of the status. Returns the status."""
        fits = what if callable(what) else lambda m: m["state"] == what
        last = []

        def asked():
            self.events.read()
            last[:] = [self.module(name)]
            return last[0] if fits(last[0]) else None

        return wait_for(asked, lambda: f"{name} to fit, it is {last}\n{self.log}", timeout, self.events)

    def wait_event(self, timeout=None, **fields):
        """Until an event has these fields; returns the first that does."""
        def seen():
            return next((e for e in self.events.read() if all(e.get(k) == v for k, v in fields.items())), None)

        return wait_for(seen, lambda: f"event {fields}, there are {self.events.all}\n{self.log}", timeout, self.events)

    def phases(self, name, generation=None):
        """The phases of the module that events tell of, in order: [(phase, status)]."""
        return [(e["phase"], e["detail"]["status"]) for e in self.events.read()
                if e["event"] == "phase" and e["module"] == name and generation in (None, e["generation"])]

    # --- looking

    def log_of(self, name):
        return Path(f"/var/log/bulkhead/{self.instance}/{name}.log").read_text(errors="replace")

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def pids(self, name):
        """All processes of the module."""
        return leaks.processes_below(f"bulkhead-{self.instance}/modules/{name}")


def drop_to(uid):
    """For before_exec: become somebody else."""
    def change():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    return change


def in_private_mounts(over=()):
    """For before_exec: a mount namespace of its own, from which nothing comes back, with an empty directory mounted over
    each of the paths. Every mount is made private by its own name: in a chroot / is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]

    def change():
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            libc.mount(b"none", line.split()[4].encode(), None, MS_PRIVATE, None)
        shared = [x.split()[4] for x in Path("/proc/self/mountinfo").read_text().splitlines() if " shared:" in x]
        if any(p == m or p.startswith(m.rstrip("/") + "/") for p in over for m in shared):
            raise OSError(f"still shared: {shared}")
        for path in over:
            if libc.mount(b"none", path.encode(), b"tmpfs", 0, b"mode=0755") != 0:
                raise OSError(ctypes.get_errno(), path)
    return change
