"""Fixtures of the tests that drive a guest from outside; tests/vm/run says which release in BULKHEAD_VM_RELEASE.

`guest` is booted, has the package of its release installed and the sources with the tests' own programs in /opt/bulkhead;
it is the session's, so who takes the package away or breaks it takes a `fresh_guest` instead: booted for that module of
tests, with the package beside it as /root/bulkhead.deb, not installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import results  # noqa: E402
from guest import Guest, GuestError  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("BULKHEAD_BUILD", SOURCE / "build")) / "vm"
INSIDE = "/opt/bulkhead"  # not below /root, where only root gets to
# What the kernel says only when it is ill. A slow guest is no illness: stalls and watchdogs are not in here.
ILL = re.compile(r"BUG:|Oops|WARNING: |general protection|Kernel panic|refcount_t|KASAN|UBSAN|possible recursive|circular locking")


@pytest.fixture(scope="session")
def release():
    found = os.environ.get("BULKHEAD_VM_RELEASE")
    assert found, "which guest? These tests are run by tests/vm/run, or with BULKHEAD_VM_RELEASE=12 in the environment"
    return found


@pytest.fixture(scope="session")
def out(release):
    """The folder that results are brought to."""
    folder = OUT / release
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def package(release):
    """The .deb of the release, on this machine."""
    found = [p for p in (OUT.parent / "deb" / release).glob("bulkhead_*.deb")]
    assert len(found) == 1, f"there is not one package in {OUT.parent / 'deb' / release}: make deb-{release}"
    return found[0]


def started(release, console):
    """A booted guest. A boot that hangs before anything of ours has run is tried once more, and told of."""
    for last in (False, True):
        guest = Guest(release, console=console)
        try:
            return guest.boot()
        except BaseException as e:
            guest.stop()
            if last or not isinstance(e, GuestError):
                raise
            print(f"\n!!! The guest did not boot, once more: {e}\n", file=sys.stderr, flush=True)
            console.rename(console.with_name(console.name + ".hung"))


def ended(guest, out, name):
    """Brings the journal back and ends the guest; the kernel must have been content."""
    try:
        journal = guest.journal()
        (out / f"{name}journal.log").write_text(journal)
        kernel = guest.journal("-k", "-b", "all") if guest.boots > 1 else guest.journal("-k")
    finally:
        guest.stop()
    ill = [line for line in kernel.splitlines() if ILL.search(line)]
    assert not ill, "the guest's kernel complained:\n" + "\n".join(ill)


@pytest.fixture(scope="session")
def guest(release, out, package):
    g = started(release, out / "console.log")
    try:
        g.put(package, "/root/bulkhead.deb")
        g.run("apt-get install -y /root/bulkhead.deb 2>&1", timeout=300)
        g.put_tree(SOURCE, [p.name for p in SOURCE.iterdir() if not p.name.startswith(("build", ".git", ".pytest_cache"))], INSIDE)
        g.put_tree(OUT.parent / f"release-{release}", ["helpers", "unit", "man"], f"{INSIDE}/build")
        g.run(f"ln -s /usr/sbin/bulkheadd /usr/bin/bulkhead {INSIDE}/build")
    except BaseException:
        g.stop()
        raise
    yield g
    ended(g, out, "")


@pytest.fixture(scope="module")
def fresh_guest(release, out, package, request):
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    g = started(release, out / f"{name}-console.log")
    try:
        g.put(package, "/root/bulkhead.deb")
    except BaseException:
        g.stop()
        raise
    yield g
    ended(g, out, f"{name}-")


@pytest.fixture(scope="session")
def expected():
    """The names of the integration tests that pytest finds here."""
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "tests/integration"],
                          cwd=SOURCE, capture_output=True, text=True, check=False)
    found = results.names(done.stdout)
    assert done.returncode == 0 and found, done.stdout + done.stderr
    return found
