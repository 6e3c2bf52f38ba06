"""A cgroup for each daemon alone, where cgroup2 carries the controllers and no systemd is there to give it a scope: there a
daemon hands them down from the cgroup it was started in, and nobody else may sit in it. So this process steps into a leaf of
its own cgroup, hands the controllers down itself, and starts each daemon in a box beside that leaf.

On other hosts, and in the real root, which may do both, a box is nothing."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
RUNNER = "runner"


def _own():
    return CGROUPS / next(line[4:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/"))


def _needed(own):
    available = CGROUPS / "cgroup.controllers"
    if Path("/run/systemd/system").exists():
        return False
    return available.exists() and "memory" in available.read_text().split() and (own / "cgroup.type").exists()


def _outside():
    """The cgroup that this process hands controllers down from, once it has stepped aside; None where none are."""
    own = _own()
    if not _needed(own):
        return None
    if own.name == RUNNER:
        return own.parent
    (own / RUNNER).mkdir(exist_ok=True)
    (own / RUNNER / "cgroup.procs").write_text("0")
    others = (own / "cgroup.procs").read_text().split()
    if others:
        (own / "cgroup.procs").write_text("0")
        (own / RUNNER).rmdir()
        raise AssertionError(f"{own} also holds {', '.join(others)}: run this by tests/alone, in a cgroup of its own")
    controllers = (own / "cgroup.controllers").read_text().split()
    (own / "cgroup.subtree_control").write_text(" ".join("+" + c for c in controllers))
    return own


class Box:
    def __init__(self, name):
        outside = _outside()
        self.path = outside / f"box-{name}" if outside else None
        if self.path:
            self.path.mkdir()

    def enter(self):
        """For the child between fork and exec."""
        if self.path:
            (self.path / "cgroup.procs").write_text("0")

    def handed_down(self):
        """The controllers that are on in it: none once a daemon has ended in order."""
        return (self.path / "cgroup.subtree_control").read_text().split() if self.path else []

    def remove(self):
        if self.path and self.path.exists():
            self.path.rmdir()


def leave():
    """Back to where this process was started, so that its cgroup is as it was."""
    own = _own()
    if own.name != RUNNER or not _needed(own):
        return
    (own.parent / "cgroup.subtree_control").write_text(
        " ".join("-" + c for c in (own.parent / "cgroup.subtree_control").read_text().split()))
    (own.parent / "cgroup.procs").write_text("0")
    own.rmdir()
