"""A module can do what it was allowed to and no more, also as root; and what was denied is named."""

import json
import os
import re
import subprocess

import pytest

from lib import helper, in_private_mounts

CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_BPF = 10, 19, 21, 39
SYS_MOUNT, SYS_SWAPON = 165, 167


def dump(d, name="m", **keys):
    out = d.scratch / f"{name}.json"
    d.add(name, {"module.exec": f"{helper('envdump')} {out}"} | keys)
    return lambda: (d.marks.wait("dumped"), json.loads(out.read_text()))[1]


def test_root_cannot_undo_its_bulkhead(daemon):
    d = daemon.make()
    out, mount_point = d.scratch / "escape.json", d.scratch / "mnt"
    mount_point.mkdir()
    d.add("m", {"module.exec": f"{helper('escape')} {out} {d.instance} 0 {mount_point}", "limits.memory_max": "64M", "limits.pids_max": 20})
    d.start()
    d.marks.wait("escaped")
    tried = json.loads(out.read_text())
    assert len(tried) > 25 and any(k.startswith("cgroup-") for k in tried)
    done = {k: v["detail"] for k, v in tried.items() if v["ok"]}
    assert not done, f"a module that is root could: {done}"
    assert d.module("m")["memory"]["max"] == 64 << 20 and d.module("m")["state"] == "running"
    d.stop()


def test_the_escape_program_does_find_a_way_out_where_there_is_no_bulkhead(daemon, tmp_path):
    """The other side of the coin: without a bulkhead most of the attempts succeed, so the test above can fail."""
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    (tmp_path / "mnt").mkdir()
    # in a mount namespace of its own, so that what succeeds stays there
    child = subprocess.Popen([helper("escape"), str(tmp_path / "out"), d.instance, str(d.pid), str(tmp_path / "mnt")],
                             env={"BH_MARK": d.marks.path}, preexec_fn=in_private_mounts())
    d.marks.wait("escaped")
    child.kill()
    child.wait()
    done = {k for k, v in json.loads((tmp_path / "out").read_text()).items() if v["ok"]}
    assert {"see-runtime-dir", "see-pins", "connect-bus", "bpf-open-work", "mount-tmpfs", "read-daemon-memory"} <= done, done
    d.stop()


def test_capabilities_and_no_new_privs(daemon):
    d = daemon.make()
    root = dump(d, "root")
    d.start()
    born = root()
    for cap in CAP_SYS_ADMIN, CAP_BPF, CAP_SYS_PTRACE:
        for which in "CapBnd", "CapEff", "CapPrm":
            assert not int(born[which], 16) >> cap & 1, f"{which} has {cap}"
    assert born["NoNewPrivs"] == "1" and born["Seccomp"] == "0"
    d.stop()


def test_a_user_has_no_capability_but_those_written(daemon):
    d = daemon.make()
    plain = dump(d, "plain", **{"sandbox.user": "www-data"})
    d.start()
    born = plain()
    assert int(born["CapEff"], 16) == int(born["CapPrm"], 16) == int(born["CapAmb"], 16) == 0
    d.stop()
    d = daemon.make()
    bind = dump(d, "bind", **{"sandbox.user": "www-data", "sandbox.capabilities": "CAP_NET_BIND_SERVICE"})
    d.start()
    born = bind()
    assert int(born["CapEff"], 16) == int(born["CapBnd"], 16) == int(born["CapAmb"], 16) == 1 << CAP_NET_BIND_SERVICE
    d.stop()


def test_a_denied_syscall_is_named_and_the_named_line_mends_it(daemon):
    arguments = "0x1111 0x2222 0x3333 7 8"
    module = {"module.exec": f"{helper('denied')} - {SYS_MOUNT} {arguments}", "sandbox.profile": "worker", "recovery.restart": "no"}
    d = daemon({"m": module})
    m = d.wait("m", "failed")
    assert m["last_exit"]["signal"] == 31 and m["last_exit"]["syscall"] == "mount"
    words = d.explain("m")
    assert "mount" in words and str(SYS_MOUNT) in words, words
    for argument in 0x1111, 0x2222, 0x3333, 7, 8:
        assert re.search(rf"\b({argument:#x}|{argument})\b", words), f"{argument:#x} is not in:\n{words}"
    line = re.search(r"^\s*(allow = .*mount.*)$", words, re.M)
    assert line, words
    d.stop()
    d = daemon({"m": module | {"sandbox.allow": line.group(1).partition("=")[2].strip()}})
    assert d.marks.wait("returned").more[0] == "-1"
    assert d.module("m")["state"] == "running"
    d.stop()


def test_a_childs_denied_syscall_is_named_too(daemon):
    d = daemon({"m": {"module.exec": f"/bin/sh -c '{helper('denied')} - {SYS_SWAPON}; exec {helper('probe')} survived'",
                      "sandbox.profile": "worker"}})
    d.marks.wait("up", more="survived")
    d.wait_event(module="m", event="syscall-denied")
    words = d.explain("m")
    assert "swapon" in words and "allow = swapon" in words, words
    assert d.module("m")["state"] == "running"
    d.stop()


def test_deny_beats_the_profile(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "sandbox.profile": "worker", "sandbox.deny": "getppid", "recovery.restart": "no"},
                "x": {"module.exec": f"{helper('denied')} - 110", "sandbox.profile": "worker", "sandbox.deny": "getppid", "recovery.restart": "no"}})
    m = d.wait("x", "failed")
    assert m["last_exit"]["syscall"] == "getppid" and d.module("m")["state"] == "running"
    d.stop()


@pytest.mark.parametrize("action,expected", [("errno", ["-1", "1"]), ("log", ["-1", "14"])])
def test_other_answers_to_a_violation(daemon, action, expected):
    d = daemon({"m": {"module.exec": f"{helper('denied')} - {SYS_SWAPON}", "sandbox.profile": "worker", "sandbox.on_violation": action}})
    returned = d.marks.wait("returned").more
    assert returned[0] == expected[0] and (action != "errno" or returned[1] == expected[1]), returned
    assert d.module("m")["state"] == "running"
    d.stop()


def test_the_environment_is_not_shown_to_readers(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.environment": ["PASSWORD=geheim"]}}, supervisor={"read_group": "games"})
    games = 60
    for verb in ("status", "m"), ("explain", "m"), ("plan",), ("events",):
        done = d.cli(*verb, "--json", user=65534, groups=[games])
        assert "geheim" not in done.out + done.err
    d.stop()


def test_runtime_files_are_private(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m"}})
    for path, mode in ((f"/sys/fs/bpf/bulkhead/{d.instance}", 0o700), (f"/run/bulkhead/{d.instance}/bus", 0o660), (f"/var/log/bulkhead/{d.instance}", 0o700)):
        s = os.stat(path)
        assert s.st_uid == 0 and s.st_mode & 0o777 & ~mode == 0, f"{path} {s.st_mode:o}"
    for name in os.listdir(f"/sys/fs/bpf/bulkhead/{d.instance}"):
        assert os.stat(f"/sys/fs/bpf/bulkhead/{d.instance}/{name}").st_mode & 0o077 == 0, name
    d.stop()
