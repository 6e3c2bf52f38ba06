"""The life of the package on a stock Debian: installed, used as the README says, upgraded under way, removed, purged.

One guest for all, in which nothing of ours was before. The tests are one story: each begins where the one before it ended.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "policies/examples"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# What changes on any host that installs and removes packages, or merely runs; rc2.d: the service in the way was disabled.
PASSING = re.compile(r"/(var/(cache|log/(journal|apt|dpkg\.log|nginx|redis|wtmp|lastlog|btmp)|lib/(apt|dpkg|systemd|redis|nginx|logrotate)|tmp)|tmp|root"
                     r"|etc/\.pwd\.lock|etc/rc[2-5]\.d/[KS]01nginx|etc/systemd/system$|run)\b")
QUIET = "DEBIAN_FRONTEND=noninteractive apt-get -y -q"


def paths(guest):
    found = guest.run("find / -xdev -not -path '/proc/*'").stdout.splitlines()
    return {p for p in found if not PASSING.match(p)}


def ours(guest):
    """Everything on the host that carries our name, but for the package file itself and what journald keeps."""
    return guest.run("find / -xdev -name '*bulkhead*' -not -path '/root/*' -not -path '/var/log/journal/*'").stdout.splitlines()


def status(guest):
    return json.loads(guest.run("bulkhead status --json").stdout)


def module(guest, name):
    return next(m for m in status(guest)["modules"] if m["name"] == name)


def wait_running(guest, *names):
    for name in names:
        guest.wait(f"bulkhead status --json | grep -q '\"name\":\"{name}\",\"state\":\"running\"'", f"{name} to run")


def unit(guest, *properties):
    said = guest.run(["systemctl", "show", "bulkhead.service", *(f"--property={p}" for p in properties)]).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def expect_nothing_runs(guest):
    """No process, cgroup, unit, mount, pin and run file."""
    left = guest.run("pgrep -a 'bulkhead|nginx|redis'; find /sys/fs/cgroup -name '*bulkhead*'; find /sys/fs/bpf -mindepth 1;"
                     "grep bulkhead /proc/mounts; find /run -name '*bulkhead*' -not -path '/run/systemd/*';"
                     "systemctl --no-legend --plain list-units 'bulkhead*'", rc=None).stdout
    assert left == ""


def key_of(example, key):
    return re.search(rf"^{key} = (.*)$", (EXAMPLES / example).read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def before(fresh_guest):
    """The host's files before the package came. nginx runs, as on any Debian where it was installed."""
    fresh_guest.run("systemctl enable --now nginx 2>&1")
    found = paths(fresh_guest)
    assert not ours(fresh_guest)
    return found


@pytest.fixture(scope="module")
def newer(fresh_guest, package, tmp_path_factory):
    """The same package under a higher version, with a bulkhead.ini that says one thing more, in the guest."""
    folder = tmp_path_factory.mktemp("newer")
    tree, deb = folder / "tree", folder / "bulkhead-newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: (.*)$", r"Version: \1+newer", control.read_text(), flags=re.MULTILINE))
    with open(tree / "etc/bulkhead/bulkhead.ini", "a") as f:
        f.write("; one line more\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, stdout=subprocess.DEVNULL)
    fresh_guest.put(deb, "/root/bulkhead-newer.deb")
    return "/root/bulkhead-newer.deb"


def test_installing_starts_nothing(fresh_guest, before, package):
    g = fresh_guest
    g.run("rm -f /root/bulkhead.deb")
    g.put(package, f"/root/{package.name}")
    g.run(f"cd /root && {QUIET} install ./bulkhead_*.deb 2>&1", timeout=300)
    assert unit(g, "LoadState", "ActiveState", "UnitFileState") == {
        "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
    expected = ["/usr/sbin/bulkheadd", "/usr/bin/bulkhead", "/etc/bulkhead/bulkhead.ini", "/etc/bulkhead/modules.d",
                "/etc/bulkhead/profiles", "/usr/share/bulkhead/profiles/base.ini",
                "/usr/share/man/man8/bulkheadd.8.gz", "/usr/share/man/man1/bulkhead.1.gz", "/usr/share/man/man5/bulkhead.ini.5.gz",
                "/usr/share/man/man5/bulkhead-profiles.5.gz", "/usr/share/man/man3/bulkhead-work.3.gz",
                "/usr/include/bulkhead/work.h", "/usr/lib/python3/dist-packages/bulkhead_work.py", "/usr/share/bash-completion/completions/bulkhead",
                "/usr/share/zsh/vendor-completions/_bulkhead", "/usr/share/doc/bulkhead/copyright",
                "/usr/share/doc/bulkhead/examples/nginx.ini"]
    assert not g.run(f"ls -d {' '.join(expected)} >/dev/null", rc=None).stderr
    assert "0.1" in g.run("bulkheadd --version").stdout
    g.run("bulkhead check")
    assert "no daemon" in g.run("bulkhead status", rc=3).stderr


def test_a_service_in_the_way_is_told_of(fresh_guest, before):
    """Who forgets that Debian's own nginx runs finds out what is the matter."""
    g = fresh_guest
    g.run("cp /usr/share/bulkhead/examples/nginx.ini /etc/bulkhead/modules.d/ && systemctl start bulkhead", timeout=300)
    g.wait("bulkhead logs nginx | grep -q 'Address already in use'", "nginx's own words in the log")
    assert "exit status 1" in g.run("bulkhead explain nginx").stdout
    g.run("rm /etc/bulkhead/modules.d/nginx.ini && systemctl stop bulkhead && systemctl disable --now nginx 2>&1", timeout=300)
    expect_nothing_runs(g)


def test_first_steps(fresh_guest):
    """As the README has it: enable, drop in the example, look at what holds."""
    g = fresh_guest
    g.run("systemctl enable --now bulkhead 2>&1", timeout=300)
    assert unit(g, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert status(g)["modules"] == []
    g.run("cp /usr/share/bulkhead/examples/nginx.ini /etc/bulkhead/modules.d/ && bulkhead check && systemctl restart bulkhead", timeout=300)
    wait_running(g, "nginx")
    shown = g.run("bulkhead status").stdout
    assert re.search(r"^nginx +running ", shown, re.MULTILINE), shown
    nginx = module(g, "nginx")
    leaf = f"/sys/fs/cgroup{nginx['cgroup']}"
    assert "bulkhead-default" in leaf and leaf.endswith("/nginx/1")
    size, unit_of_it = re.fullmatch(r"(\d+)([KMG])", key_of("nginx.ini", "memory_max")).groups()
    percent = int(key_of("nginx.ini", "cpu_max").rstrip("%"))
    quota, period = g.run(f"cat {leaf}/cpu.max").stdout.split()
    assert int(g.run(f"cat {leaf}/memory.max").stdout) == int(size) * UNITS[unit_of_it]
    assert int(quota) * 100 == int(period) * percent
    assert str(nginx["pid"]) in g.run(f"cat {leaf}/cgroup.procs").stdout.split()
    assert "Welcome to nginx" in g.run("curl -sf http://127.0.0.1/").stdout
    assert module(g, "nginx")["work"]["started"] == 1


def test_stop_leaves_nothing(fresh_guest):
    g = fresh_guest
    g.run("systemctl stop bulkhead", timeout=300)
    assert unit(g, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    expect_nothing_runs(g)


def test_logs_are_rotated_under_way(fresh_guest):
    """log = file: rotated by the daemon while the module has it open; each line is there once, in order."""
    g = fresh_guest
    g.run("""cat >/etc/bulkhead/modules.d/writer.ini <<'END'
[module]
exec = /bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do seq 1000000 1040000; sleep 0.3; done; exec sleep infinity'
log = file
log_max_size = 64K
log_keep = 100
[sandbox]
user = root
END""")
    log = "/var/log/bulkhead/default/writer.log"
    g.run("systemctl start bulkhead", timeout=300)
    wait_running(g, "writer")
    g.wait(f"[ -e {log}.2 ]", "two rotations", 300)
    g.wait(f"cat {log}* | grep -ac ^1040000 | grep -qx 9", "all lines", 300)
    lines = g.run(f"cat $(ls -vr {log}.*) {log} | tr -d '\\000' | grep -ax '[0-9]*[0-9]' | md5sum").stdout
    assert lines == g.run("for i in 1 2 3 4 5 6 7 8 9; do seq 1000000 1040000; done | md5sum").stdout
    assert set(g.run(f"stat -c %a {log}*").stdout.split()) == {"600"}
    g.run("rm /etc/bulkhead/modules.d/writer.ini; systemctl restart bulkhead", timeout=300)


def test_upgrade_leaves_all_running(fresh_guest, newer):
    g = fresh_guest
    daemon, nginx = unit(g, "MainPID")["MainPID"], module(g, "nginx")
    g.run("sed -i 's/^;read_group =$/read_group = adm/' /etc/bulkhead/bulkhead.ini")
    said = g.run(f"{QUIET} -o Dpkg::Options::=--force-confold install {newer} 2>&1", timeout=300).stdout
    assert "systemctl restart bulkhead" in said
    assert g.run("dpkg-query -W -f '${Version}' bulkhead").stdout.endswith("+newer")
    assert unit(g, "MainPID", "ActiveState", "NeedDaemonReload") == {"MainPID": daemon, "ActiveState": "active", "NeedDaemonReload": "no"}
    now = module(g, "nginx")
    assert (now["pid"], now["generation"], now["state"]) == (nginx["pid"], nginx["generation"], "running")
    g.run("curl -sf http://127.0.0.1/")
    # What was changed by hand stays; what the package would have is beside it.
    assert "\nread_group = adm\n" in g.run("cat /etc/bulkhead/bulkhead.ini").stdout
    assert g.run("cat /etc/bulkhead/bulkhead.ini.dpkg-dist").stdout.endswith("; one line more\n")
    g.run("systemctl restart bulkhead", timeout=300)
    wait_running(g, "nginx")
    assert unit(g, "MainPID")["MainPID"] != daemon


def test_remove_stops_all_and_keeps_the_configuration(fresh_guest):
    g = fresh_guest
    g.run(f"{QUIET} remove bulkhead 2>&1", timeout=300)
    expect_nothing_runs(g)
    g.run("test ! -e /usr/sbin/bulkheadd && grep -q '^read_group = adm' /etc/bulkhead/bulkhead.ini && test -f /etc/bulkhead/modules.d/nginx.ini")


def test_installed_again_it_is_as_it_was(fresh_guest, newer):
    g = fresh_guest
    g.run(f"{QUIET} install {newer} 2>&1", timeout=300)
    assert unit(g, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "enabled"}
    g.run("systemctl start bulkhead", timeout=300)
    wait_running(g, "nginx")


def test_removing_sweeps_up_after_a_dead_daemon(fresh_guest):
    """Modules outlive a crash of the daemon, but not its package."""
    g = fresh_guest
    pid = module(g, "nginx")["pid"]
    g.run("mkdir -p /run/systemd/system/bulkhead.service.d"
          " && printf '[Service]\\nRestart=no\\n' >/run/systemd/system/bulkhead.service.d/no.conf && systemctl daemon-reload"
          " && systemctl kill --kill-whom=main -s KILL bulkhead")
    g.wait("test $(systemctl show -P ActiveState bulkhead) = failed", "the unit to have failed")
    g.run("rm -r /run/systemd/system/bulkhead.service.d && systemctl daemon-reload")
    g.run(f"test -d /proc/{pid}")
    g.run(f"{QUIET} remove bulkhead 2>&1", timeout=300)
    g.run("systemctl reset-failed bulkhead", rc=None)  # systemd remembers how the unit ended
    expect_nothing_runs(g)


def test_purge_leaves_no_file(fresh_guest, before):
    g = fresh_guest
    g.run(f"{QUIET} purge bulkhead 2>&1", timeout=300)
    assert ours(g) == []
    assert paths(g) - before == set()


def test_after_a_purge_it_is_new_again(fresh_guest, package):
    g = fresh_guest
    g.run(f"cd /root && {QUIET} install ./{package.name} 2>&1 && systemctl start bulkhead", timeout=300)
    assert status(g)["modules"] == []
    g.run(f"{QUIET} purge bulkhead 2>&1", timeout=300)
    expect_nothing_runs(g)
    assert ours(g) == []
