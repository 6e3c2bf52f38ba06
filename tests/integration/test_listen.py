"""Sockets that the daemon listens on: handed over, kept over a restart, shared by instances that come and go under load."""

import errno
import os
import socket
import stat
import threading

from lib import SLOW, SOURCE, wait_for

SERVER = SOURCE / "tests" / "helpers" / "accept.py"


def server(d, **keys):
    """A copy where every user can read it."""
    copy = d.scratch / "accept.py"
    copy.write_text(SERVER.read_text())
    os.chmod(copy, 0o755)
    return {"module.exec": f"/usr/bin/python3 {copy} %n", "module.ready": "notify", "work.track": "connections"} | {
        k.replace("__", "."): v for k, v in keys.items()}


def ask(address):
    """One short connection: what was answered."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(30 * SLOW)
        s.connect(address)
        s.sendall(b"hello\n")
        text = b""
        while True:
            more = s.recv(256)
            if not more:
                return text.decode()
            text += more


class Load:
    """Clients that ask over and over, each a connection a time; what went wrong is kept."""

    def __init__(self, address, clients=8):
        self.address, self.answers, self.failures, self.over = address, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        while not self.over.is_set():
            try:
                answer = ask(self.address)
                if not answer.endswith("\n"):
                    self.failures.append(f"cut off after {answer!r}")
                self.answers.append(answer.split(" ")[0])
            except OSError as e:
                self.failures.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()

    def flows(self, more=50):
        """Until so many more have been answered, from now on."""
        wanted = len(self.answers) + more
        wait_for(lambda: len(self.answers) >= wanted, lambda: f"answers, {self.failures[:5]}")


def test_scale_under_load_loses_nothing(daemon):
    """1 → 20 → 1 instances on one listener, twice, while clients come and go: every connection is answered."""
    d = daemon.make()
    port = d.port()
    d.add("worker", server(d, module__instances=1, module__listen=f"tcp:127.0.0.1:{port}"))
    d.start()
    with Load(("127.0.0.1", port)) as load:
        load.flows()
        for _ in range(2):
            d.cli("scale", "worker", "20", rc=0, timeout=120 * SLOW)
            load.flows(200)
            d.cli("scale", "worker", "1", rc=0, timeout=120 * SLOW)
            load.flows()
            d.cli("restart", "worker@1", rc=0)
            load.flows()
    print(f"{len(load.answers)} connections, {len(load.failures)} failed")
    assert load.failures == [], f"{len(load.failures)} of {len(load.answers)}: {load.failures[:5]}"
    assert len(set(load.answers)) > 5, "others than the first have answered"
    # Counted for the template: the kernel tells who made the listener, not who accepts.
    work = d.module("worker@1")["instances"]["work"]
    assert work["started"] == len(load.answers) and work["errors"] == 0, work
    assert d.module("worker@1")["work"] is None
    d.cli("stop", "worker@1", rc=0)
    phases = {p["phase"]: p for p in d.module("worker@1")["teardown"]}
    assert phases["drain"]["status"] == "skipped" and "shares" in phases["drain"]["error"]
    d.stop()


def test_a_restart_keeps_the_listener(daemon):
    d = daemon.make()
    port = d.port()
    d.add("web", server(d, module__listen=f"tcp:127.0.0.1:{port}"))
    d.start()
    with Load(("127.0.0.1", port), clients=4) as load:
        load.flows()
        for _ in range(3):
            d.cli("restart", "web", rc=0)
            load.flows()
    assert load.failures == [], load.failures[:5]
    # A listener of one module is counted as its own, although bulkheadd made it.
    work = d.module("web")["work"]
    assert work["started"] == len(load.answers) and work["errors"] == 0, work
    d.stop()


def test_a_crash_keeps_the_listener(daemon):
    """Who comes between the crash and the next start waits, and is answered."""
    d = daemon.make()
    port = d.port()
    d.add("web", server(d, module__listen=f"tcp:127.0.0.1:{port}"))
    d.start()
    d.cli("kill", "-s", "KILL", "web", rc=0)
    assert ask(("127.0.0.1", port)).startswith("web 3")
    assert d.wait("web", "running")["restarts"] == 1
    d.stop()


def test_a_stop_closes_it(daemon):
    d = daemon.make()
    port, path = d.port(), f"{d.scratch}/web.sock"
    d.add("web", server(d, module__listen=f"tcp:127.0.0.1:{port}, unix:{path}, tcp:[::1]:{port}"))
    d.start()
    assert ask(("127.0.0.1", port)) == "web 3 web:web:web\n"
    assert ask(path) == "web 4 web:web:web\n"
    assert ask(("::1", port)) == "web 5 web:web:web\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    fds = d.fd_count()
    d.cli("stop", "web", rc=0)
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    assert not os.path.exists(path)
    wait_for(lambda: d.fd_count() < fds, "descriptors to be closed")
    d.cli("start", "web", rc=0)
    assert ask(path) == "web 4 web:web:web\n"
    d.stop()
    assert not os.path.exists(path)


def test_each_its_own_where_the_address_says_so(daemon):
    d = daemon.make()
    d.add("worker", server(d, module__instances=2, module__listen=f"unix:{d.scratch}/%i.sock"))
    d.start()
    assert ask(f"{d.scratch}/1.sock").startswith("worker@1 3 worker")
    assert ask(f"{d.scratch}/2.sock").startswith("worker@2 3 worker")
    d.cli("scale", "worker", "1", rc=0)
    assert not os.path.exists(f"{d.scratch}/2.sock")
    assert ask(f"{d.scratch}/1.sock").startswith("worker@1 3 worker")
    d.stop()


def test_who_listens_there_already(daemon):
    d = daemon.make()
    port, path, taken = d.port(), d.scratch / "stale.sock", d.scratch / "file"
    taken.write_text("mine")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    d.add("web", server(d, module__listen=f"unix:{path}"))
    d.add("other", server(d, module__listen=f"tcp:127.0.0.1:{port}", module__start="manual", recovery__restart="no"))
    d.add("file", server(d, module__listen=f"unix:{taken}", module__start="manual", recovery__restart="no"))
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        d.start()
        assert ask(str(path)).startswith("web 3"), "what a crash left is put away"
        failed = d.cli("start", "other", rc=1)
        assert f"start failed at listen: cannot listen on tcp:127.0.0.1:{port}: Address already in use" in failed.err
    d.cli("start", "other", rc=0)
    assert "File exists" in d.cli("start", "file", rc=1).err and taken.read_text() == "mine"
    d.stop()
