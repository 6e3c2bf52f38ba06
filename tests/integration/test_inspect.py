"""docs/inspect.md as an administrator would follow it: every block of its walk through is typed, in order, and what the page says
is seen must be seen. The page speaks of the instance `default` and of port 8000; here they are the test's own."""

import os
import subprocess
import sys

from lib import BUILD, PATIENCE, SOURCE, helper

sys.path.insert(0, str(SOURCE / "tests/vm"))

import guide  # noqa: E402


def test_the_walk_through(daemon):
    d = daemon.make()
    port = d.port()
    d.add("web", {"module.exec": f"{helper('server')} tcp:{port}", "module.ready": f"tcp:{port}", "work.track": "connections"})
    d.start()
    environment = os.environ | {"BULKHEAD_INSTANCE": d.instance, "PATH": f"{BUILD}:/usr/sbin:{os.environ['PATH']}", "NO_COLOR": "1"}

    def ours(text):
        return text.replace("bulkhead/default", f"bulkhead/{d.instance}").replace("127.0.0.1/8000", f"127.0.0.1/{port}")

    steps = guide.blocks((SOURCE / "docs/inspect.md").read_text())
    assert len(steps) > 5, "the walk through has gone"
    for heading, script, expected in steps:
        d.wait("web", lambda m: m["work"]["in_flight"] == 0)
        done = subprocess.run(["bash", "-ec", ours(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE, cwd="/", stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{heading}: exit status {done.returncode}\n{script}---\n{done.stdout}"
        lost = guide.missing([ours(line) for line in expected], done.stdout)
        assert lost is None, f"{heading}: is not seen: {lost}\n{script}---\n{done.stdout}"
    d.stop()
