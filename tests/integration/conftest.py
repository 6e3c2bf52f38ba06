"""Fixtures: `daemon` makes daemons of a test's own and proves at its end that they left nothing; see lib.py."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import box  # noqa: E402
import leaks  # noqa: E402
import lib  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and os.environ.get("MUST_WORK") == "1":
        report.outcome = "failed"
        report.longrepr = f"MUST_WORK=1 and skipped: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def machine():
    before = leaks.Machine()
    yield
    shutil.rmtree(lib.REACHABLE, ignore_errors=True)
    before.check(f"t{os.getpid()}")
    box.leave()


@pytest.fixture
def daemon():
    """daemon(modules, …) → a running lib.Daemon; daemon.make(…) → one not yet started."""
    made = []

    def make(*args, **kwargs):
        d = lib.Daemon(*args, **kwargs)
        made.append(d)
        return d

    def start(modules=None, ready=True, args=(), env=None, before_exec=None, program=None, **kwargs):
        return make(modules, **kwargs).start(ready, args, env, before_exec, program)

    start.make = make
    yield start
    problems = []
    owners = {}
    for d in made:
        owners[d.dir] = d  # of those that took over from each other the last one answers
    for d in owners.values():
        try:
            d.done()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)
