"""bpf(2) as far as the bench needs it: what programs ran how often for how long, and what the statistics cost themselves."""

import ctypes
import json
import os
import platform
import struct
import subprocess

SYSCALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, PROG_GET_FD_BY_ID, LINK_CREATE, ENABLE_STATS = 5, 13, 28, 32
CGROUP_SKB = 8
INGRESS, EGRESS = 0, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attributes):
    """`attributes`: union bpf_attr, as packed bytes. Returns a descriptor."""
    data = ctypes.create_string_buffer(attributes, 128)
    got = _libc.syscall(SYSCALL[platform.machine()], command, data, 128)
    if got < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return got


def _empty_program(attach_type, name):
    """A cgroup_skb program that returns 1 (pass) and does nothing else."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = 1; exit
    keep = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(PROG_LOAD, struct.pack("=IIQQIIQII16sII", CGROUP_SKB, 2, ctypes.addressof(keep), ctypes.addressof(licence),
                                       0, 0, 0, 0, 0, name, 0, attach_type))


def _run(fd):
    """(times, ns) that a program has run while statistics were on."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
        fields = dict(line.split(":\t") for line in f.read().splitlines() if ":\t" in line)
    return int(fields["run_cnt"]), int(fields["run_time_ns"])


class Statistics:
    """On as long as this lives. Beside each of our two programs on segments an empty one runs at the same place, for the same
    events: what it takes is the statistics' own, and is to be taken off."""

    def __init__(self, modules, pins):
        self.fds, self.programs = [], {}
        self._keep(_bpf(ENABLE_STATS, struct.pack("=I", 0)))
        group = self._keep(os.open(modules, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name, attach_type in (("ingress", INGRESS), ("egress", EGRESS)):
            fd = self._keep(_empty_program(attach_type, f"bench_{name}".encode()))
            self.programs[f"empty {name}"] = fd
            self._keep(_bpf(LINK_CREATE, struct.pack("=IIIII", fd, group, attach_type, 0, 0)))
        for pin in pins.glob("link_*"):
            told = subprocess.run(["bpftool", "-j", "link", "show", "pinned", str(pin)], check=True, capture_output=True)
            link = json.loads(told.stdout)
            self.programs[pin.name[len("link_"):]] = self._keep(_bpf(PROG_GET_FD_BY_ID, struct.pack("=III", link["prog_id"], 0, 0)))

    def _keep(self, fd):
        self.fds.append(fd)
        return fd

    def read(self):
        """{pin without link_, or "empty ingress" …: (times, ns)} so far."""
        return {name: _run(fd) for name, fd in self.programs.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in reversed(self.fds):
            os.close(fd)
