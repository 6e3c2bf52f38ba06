#!/usr/bin/python3
"""Takes jobs from a list in redis, one at a time, and keeps the SHA-256 of each in the hash QUEUE:done.

An example of a well-behaved worker, standard library only. Three things make it one:
  it says READY=1 when it can work, not when it was started;
  on SIGTERM it finishes the job it is at and takes no other;
  a job is in QUEUE:taken while it is worked on, so that one cut off by a kill is found and done by the next run. Where
  several work side by side each has a list of its own, QUEUE:taken:WORKER: none takes another's job for one cut off.

environment: REDIS (host:port, default 127.0.0.1:6379), QUEUE (default jobs), WORKER (not given: there is but one),
             NOTIFY_SOCKET (the supervisor's)
exit status: 0 stopped by SIGTERM, 1 redis is not there (any more)
"""

import hashlib
import os
import signal
import socket
import sys


class Stop(Exception):
    pass


class Redis:
    """As much of the protocol as a worker needs."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, int(port)))
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]


class Worker:
    def __init__(self):
        self.queue = os.environ.get("QUEUE", "jobs")
        self.taken = ":".join([self.queue, "taken", *filter(None, [os.environ.get("WORKER")])])
        self.idle = self.stopping = False
        signal.signal(signal.SIGTERM, self.stop)
        self.redis = Redis(*os.environ.get("REDIS", "127.0.0.1:6379").rsplit(":", 1))

    def stop(self, *_):
        self.stopping = True
        if self.idle:  # waiting for redis; the job it may have sent just now stays in QUEUE:taken
            raise Stop

    def take(self):
        self.idle = True
        if self.stopping:
            raise Stop
        job = self.redis("BLMOVE", self.queue, self.taken, "LEFT", "RIGHT", 0)
        self.idle = False
        return job

    def run(self):
        while self.redis("LMOVE", self.taken, self.queue, "RIGHT", "LEFT") is not None:
            print("found a job that was cut off: again", flush=True)
        tell("READY=1")
        while True:
            job = self.take()
            self.redis("HSET", self.queue + ":done", job, hashlib.sha256(job).hexdigest())
            self.redis("LREM", self.taken, 1, job)
            print(f"done: {job[:60]!r}", flush=True)


def tell(state):
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)


def main():
    try:
        Worker().run()
    except Stop:
        tell("STOPPING=1")
        return 0
    except OSError as problem:
        print(f"worker: redis: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
