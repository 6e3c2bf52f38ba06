"""Servers under load: modules that note each request that they worked on, and clients (tests/helpers/load.c) that note each answer.
What is in the first list and not in the second was lost. What a kind of server is asked, and what the kernel's `started` is
compared with, is told in docs/work.md."""

import shutil
import subprocess
from pathlib import Path

import programs
from lib import PATIENCE, SLOW, helper, wait_for

SERVER = Path(__file__).resolve().parents[1] / "helpers" / "threaded.py"


class Lines:
    """A file of lines that grows, read once."""

    def __init__(self, path):
        self.path, self.at, self.rest, self.all = path, 0, b"", []

    def read(self):
        if self.path.exists():
            with open(self.path, "rb") as f:
                f.seek(self.at)
                more = f.read()
            self.at += len(more)
            *lines, self.rest = (self.rest + more).split(b"\n")
            self.all += [line.decode() for line in lines]
        return self.all


class Load:
    """Clients that come back whatever happens. `answered` holds the words of the requests that were answered as they should be;
    `broken` what went wrong in the middle: an answer that was cut, or another one than was due; `paused` those that were cut when
    their server had said nothing for `settle` milliseconds, as a starved machine can make it: it was taken to be done."""

    def __init__(self, d, name, kind, port, clients, size=1, patience=0.1):
        """patience: seconds after which a client tries anew to connect."""
        self.argv = [str(x) for x in (helper("load"), kind, port, clients, d.scratch / f"{name}.answered", size, round(1000 * patience))]
        self.lines, self.taken, self.answered, self.cut, self.broken = Lines(d.scratch / f"{name}.answered"), 0, set(), [], []
        self.process, self.settle, self.paused = None, None, set()

    def begin(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL)

    def end(self):
        """Each client takes the answer that it waits for."""
        self.process.terminate()
        rc = self.process.wait(2 * PATIENCE)
        assert rc == 0, f"{' '.join(self.argv)} has ended with {rc}"
        self.read()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def read(self):
        for line in self.lines.read()[self.taken:]:
            what, word, *got = line.split()
            if what == "did":
                self.answered.add(word)
            else:
                self.cut.append(line)
                if self.settle and len(got) == 2 and got[0] != "0" and int(got[1]) >= self.settle:
                    self.paused.add(word)
                elif what == "wrong" or got[0] != "0":
                    self.broken.append(line)
        self.taken = len(self.lines.all)
        return self

    def flows(self, more):
        wanted = len(self.read().answered) + more
        wait_for(lambda: len(self.read().answered) >= wanted, lambda: f"{more} more answers: {len(self.answered)} of {wanted}, {self.cut[-5:]}",
                 3 * PATIENCE)


class Kind:
    """A server as modules, of which `name` is the one that clients talk to."""

    def __init__(self, d, name, kind, port, clients=12, **how):
        self.d, self.name, self.modules, self.load = d, name, [name], Load(d, name, kind, port, clients, **how)
        self.peak = d.scratch / f"{name}.peak"

    def add(self, name, exec_line, port, **work):
        self.d.add(name, {"module.exec": exec_line, "module.ready": f"tcp:{port}", "work.drain_hard": "60s", "work.drain_soft": "50s",
                          "work.track": "requests"} | {f"work.{k}": v for k, v in work.items()})

    def add_threaded(self, name, port, msec, **work):
        copy = self.d.scratch / "threaded.py"
        shutil.copy(SERVER, copy)
        self.noted = Lines(self.d.scratch / f"{name}.noted")
        self.add(name, f"{programs.PYTHON} -IS {copy} {port} {self.noted.path} {msec} {self.peak}", port, **work)
        return self

    def stop(self, n):
        """n: which time it is."""
        self.d.cli("stop", self.name, rc=0)

    def start(self):
        self.d.cli("start", self.name, rc=0)

    def processed(self):
        return len(self.noted.read())

    def lost(self):
        """Words of what was processed and not answered, or how many where there are none."""
        noted = self.noted.read()
        assert len(set(noted)) == len(noted), f"done twice: {sorted(w for w in set(noted) if noted.count(w) > 1)}"
        return set(noted) - self.load.read().answered - self.load.paused

    def started(self):
        """By module, and what it must be."""
        return {m: (self.d.module(m)["work"]["sources"]["requests"]["started"], self.processed()) for m in self.modules}


class Proxied(Kind):
    """nginx before the threaded server, both ended as they stand: by turns nginx alone and both."""

    def __init__(self, d, back, front):
        super().__init__(d, "front", "http", front)
        self.modules = ["front", "back"]
        conf = programs.nginx_conf(d, f"listen 127.0.0.1:{front}; location / {{ proxy_pass http://127.0.0.1:{back}; }}", "front")
        self.add_threaded("back", back, 30)
        self.d.add("front", {"module.exec": f"{programs.NGINX} -e stderr -c {conf} -g 'daemon off;'", "module.ready": f"tcp:{front}",
                             "module.requires": "back", "sandbox.user": "root", "work.track": "requests", "work.ports": front})

    def stop(self, n):
        self.d.cli("stop", *(["--cascade", "back"] if n % 2 else ["front"]), rc=0)


class Redis(Kind):
    """Each INCR is in its log of commands before it is answered. Clients write 16 of them in one go; a call of redis's `call` is one
    of them, an exchange all 16."""

    SIZE = 16

    def __init__(self, d, port):
        super().__init__(d, "redis", "redis", port, 8, size=self.SIZE)
        self.data, self.before = d.scratch / "redis", 0
        self.data.mkdir()
        shutil.chown(self.data, "redis", "redis")
        self.add("redis", f"{programs.REDIS} --bind 127.0.0.1 --port {port} --dir {self.data} --daemonize no --save '' --logfile '' "
                          f"--appendonly yes --appendfsync no", port, track="requests, calls:redis-server:call")

    def in_log(self):
        return sum(p.read_bytes().count(b"INCR\r\n") for p in self.data.rglob("*.aof"))

    def processed(self):
        return self.before + self.in_log()

    def start(self):
        """From nothing, or it has more to read each time."""
        self.before = self.processed()
        for p in self.data.iterdir():
            shutil.rmtree(p) if p.is_dir() else p.unlink()
        super().start()

    def lost(self):
        left = self.processed() - self.SIZE * len(self.load.read().answered)
        assert left >= 0, f"{-left} more were answered than processed"
        return {f"{left} commands"} if left else set()

    def started(self):
        sources = self.d.module("redis")["work"]["sources"]
        return {"redis: calls": (sources["calls"]["started"], self.processed()),
                "redis: requests": (sources["requests"]["started"], len(self.load.answered))}


def threaded(d, name, kind, msec, clients=12, patience=0.1, settle=200, **work):
    port = d.port()
    k = Kind(d, name, kind, port, clients, patience=patience).add_threaded(name, port, msec, settle=f"{settle}ms", **work)
    k.load.settle = settle
    return k


def kinds(d, times=1):
    """All of them, as modules of a daemon that has not been started. `times`: how much longer they work on each request."""
    return [
        threaded(d, "lines", "line", 50 * times, 24),
        Proxied(d, d.port(), d.port()),
        Redis(d, d.port()),
        # whoever pauses for longer than `settle` between two writes is taken to be done
        threaded(d, "stream", "stream", 5 * times, settle=round(1000 * max(1, SLOW / 3))),
        threaded(d, "upload", "upload", 20 * times),
        threaded(d, "websocket", "websocket", 50 * times),
        threaded(d, "close", "close", 30 * times),
    ]
