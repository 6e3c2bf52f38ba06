"""What a daemon may leave behind: nothing but state and logs. Looks for processes, cgroups in every hierarchy, pins, mounts,
listening sockets, files and kernel settings, and tells them apart from what others on the machine have at the same time."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

BPFFS = "/sys/fs/bpf"
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")


def cgroup_mounts():
    return [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] in ("cgroup", "cgroup2")]


def cgroups_named(name):
    """Every cgroup directory of that name, in all hierarchies; an instance's own tree may be a scope of systemd's."""
    found = []
    for mount in dict.fromkeys(cgroup_mounts()):
        for top, dirs, _ in os.walk(mount):
            found += [os.path.join(top, d) for d in dirs if d in (name, name + ".scope")]
    return found


def processes():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def processes_below(cgroup):
    """Live processes whose cgroup, in any hierarchy, has this path in it; its first part may be a scope."""
    top, slash, below = cgroup.partition("/")
    wanted = [f"/{name}{slash}{below}/".encode() for name in (top, top + ".scope")]
    found = []
    for pid in processes():
        if any(w in line + b"/" for line in read(f"/proc/{pid}/cgroup").splitlines() for w in wanted):
            if read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"], []):
                found.append(pid)
    return found


def processes_with(variable):
    """Live processes that were born with this in their environment."""
    return [pid for pid in processes() if variable.encode() in read(f"/proc/{pid}/environ").split(b"\0")]


def command_line(pid):
    return read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")


def mounts():
    """Mount points and types; the order and ids of mounts say nothing."""
    return sorted((line.split()[4], line.split(" - ")[1].split()[0]) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def listening(ports):
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == "0A" and port in ports:
                found.add(port)
    return sorted(found)


def unix_sockets(prefixes):
    return [path for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7
            for path in [line.split()[7]] if path.startswith(prefixes)]


def sysctls():
    """Settings that nobody but an administrator changes."""
    found = {}
    for top, _, files in os.walk("/proc/sys"):
        if not any(top.startswith("/proc/sys/" + part) for part in ("net/core", "net/ipv4", "kernel", "vm", "user", "fs")):
            continue
        for name in files:
            path = os.path.join(top, name)
            if any(word in path for word in ("random/", "ns_last_pid", "pty/nr", "-nr", "-state", "stat_refresh", "drop_caches",
                                             "flush", "compact_memory", "sched_domain", "binfmt_misc", "aio-nr", "keys/", "perf_event_")):
                continue
            if os.stat(path).st_mode & 0o200:
                found[path] = read(path)
    return found


def bpf_objects():
    """{(kind, id): description} of all bpf objects on the host."""
    found = {}
    for kind in ("prog", "map", "link"):
        done = subprocess.run(["bpftool", "-j", "-f", kind, "show"], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip():
            for o in json.loads(done.stdout):
                if isinstance(o, dict) and "id" in o:
                    found[kind, o["id"]] = o
    return found


def bpf_held():
    """The objects that a process has open: (kind, id) from the descriptors' own words."""
    held = set()
    for pid in processes():
        try:
            names = os.listdir(f"/proc/{pid}/fdinfo")
        except OSError:
            continue
        for name in names:
            for line in read(f"/proc/{pid}/fdinfo/{name}").decode(errors="replace").splitlines():
                key, _, value = line.partition(":")
                if key in ("prog_id", "map_id", "link_id"):
                    held.add((key[:4].rstrip("_"), int(value)))
    return held


def bpf_leaked(before):
    """New objects that no process holds and no pin keeps, not even through a link or a program: the kernel keeps them
    for something that is gone."""
    objects = bpf_objects()
    held = bpf_held() | {k for k, o in objects.items() if o.get("pinned")}
    held |= {("prog", objects[k]["prog_id"]) for k in list(held) if k in objects and k[0] == "link"}
    held |= {("map", m) for k in list(held) if k in objects and k[0] == "prog" for m in objects[k].get("map_ids", [])}
    return {k: o.get("name") for k, o in objects.items() if k not in before and k not in held}


def others_run(instance):
    """Whether another instance lives on this machine: then a bpffs mount may be its own."""
    for pid in processes():
        words = read(f"/proc/{pid}/cmdline").split(b"\0")
        if words[0].endswith(b"/bulkheadd") and instance.encode() not in words:
            return True
    return False


def wait_gone(look, what, seconds=2):
    """The kernel lets go of a few things a moment after their last user is gone; a leak stays."""
    end = time.monotonic() + seconds
    while found := look():
        if time.monotonic() > end:
            raise AssertionError(f"left behind: {what}: {found}")
        time.sleep(0.01)


def ours(mount_point, d):
    """Whether a mount may be the daemon's: others on the machine mount in their own folders (a release's tree that is
    being built in the cache, say), and a bpffs of theirs."""
    if mount_point.startswith(("/tmp/", "/var/tmp/", CACHE)):
        return mount_point.startswith(str(d.dir))
    return not (mount_point.startswith(BPFFS) and others_run(d.instance))


class Snapshot:
    def __init__(self):
        self.mounts = mounts()

    def check(self, d):
        name = f"bulkhead-{d.instance}"
        wait_gone(lambda: {p: command_line(p) for p in processes_below(name)}, "processes in the tree")
        wait_gone(lambda: {p: command_line(p) for p in processes_with(f"BH_MARK={d.marks.path}")}, "processes of modules")
        left = cgroups_named(name)
        assert not left, f"left behind: cgroups: {left}"
        for path in (f"{BPFFS}/bulkhead/{d.instance}", f"/run/bulkhead/{d.instance}"):
            assert not os.path.lexists(path), f"left behind: {path}: {os.listdir(path) if os.path.isdir(path) else ''}"
        left = listening(d.ports)
        assert not left, f"left behind: listeners on ports {left}"
        left = unix_sockets((f"/run/bulkhead/{d.instance}/", str(d.scratch)))
        assert not left, f"left behind: unix sockets {left}"
        wait_gone(lambda: [m for m in mounts() if m not in self.mounts and ours(m[0], d)], "mounts", 5)


class Machine:
    """The session's own look at what no single test can see."""

    def __init__(self):
        self.sysctls = sysctls()
        self.bpf = set(bpf_objects())

    def check(self, prefix):
        now = sysctls()
        changed = {k: (v, now[k]) for k, v in self.sysctls.items() if k in now and now[k] != v}
        assert not changed, f"kernel settings changed: {changed}"

        # Another instance's objects have a process or a pin. Freeing takes a grace period of the kernel.
        wait_gone(lambda: bpf_leaked(self.bpf), "bpf objects without a holder", 5)
        for mount in dict.fromkeys(cgroup_mounts()):
            left = [os.path.join(top, x) for top, dirs, _ in os.walk(mount) for x in dirs if x.startswith(f"bulkhead-{prefix}-")]
            assert not left, f"left behind: cgroups {left}"
        for where in ("/run/bulkhead", f"{BPFFS}/bulkhead", "/var/lib/bulkhead", "/var/log/bulkhead"):
            left = [x for x in (os.listdir(where) if os.path.isdir(where) else []) if x.startswith(prefix + "-")]
            assert not left, f"left behind in {where}: {left}"


def sweep(instance):
    """After a failed test: take away what is there, so that the next one is judged alone."""
    name = f"bulkhead-{instance}"
    for pid in processes_below(name):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    end = time.monotonic() + 5
    while processes_below(name) and time.monotonic() < end:
        time.sleep(0.01)
    for top in cgroups_named(name):
        for where, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(where)
            except OSError:
                pass
    for path in (f"{BPFFS}/bulkhead/{instance}", f"/run/bulkhead/{instance}"):
        shutil.rmtree(path, ignore_errors=True)
