"""A host that goes down under load and comes back: in order, and by a power cut. All modules are there again."""

import json
import shlex

import pytest

NAMES = ["nginx", "redis", "worker"]
QUIET = "DEBIAN_FRONTEND=noninteractive apt-get -y -q"
# Endless, and gone with the host.
LOADS = {
    "load-http": "while :; do wrk -t1 -c4 -d60s http://127.0.0.1:80/; done",
    "load-redis": "while :; do redis-benchmark -q -c 4 -n 10000 -t set,get; done",
    "load-jobs": "n=0; while :; do n=$((n + 1)); redis-cli rpush jobs job-$n; done",
}
BUSY = """
import json, sys
flying = {m["name"]: m["work"]["in_flight"] for m in json.load(sys.stdin)["modules"] if m["work"]}
print(flying)
sys.exit(not (flying["nginx"] and flying["redis"]))
"""


def modules(guest):
    return {m["name"]: m for m in json.loads(guest.run("bulkhead status --json").stdout)["modules"]}


def under_load(guest):
    """Starts the load and waits until each module has work because of it."""
    for name, line in LOADS.items():
        guest.run(["systemd-run", "--quiet", "--collect", f"--unit={name}", "sh", "-c", line])
    guest.wait("test $(redis-cli hlen jobs:done) -ge 5", "jobs to be done")
    guest.wait(f"bulkhead status --json | python3 -c {shlex.quote(BUSY)}", "connections in flight to nginx and redis")


def expect_all_back(guest):
    """Right after boot: systemd has said that all jobs are done, and the unit is ready when its modules are."""
    assert guest.run("systemctl is-active bulkhead").stdout.strip() == "active"
    now = modules(guest)
    assert {n: m["state"] for n, m in now.items()} == {n: "running" for n in NAMES}
    assert all(m["generation"] == 1 and m["restarts"] == 0 for m in now.values()), now
    guest.run("curl -sf http://127.0.0.1/ >/dev/null")


@pytest.fixture(scope="module")
def host(fresh_guest):
    g = fresh_guest
    g.run(f"cd /root && {QUIET} install ./bulkhead*.deb 2>&1", timeout=300)
    g.run(f"cd /usr/share/bulkhead/examples && cp {' '.join(f'{n}.ini' for n in NAMES)} /etc/bulkhead/modules.d/ && bulkhead check")
    g.run("redis-cli shutdown 2>/dev/null; systemctl enable --now bulkhead 2>&1", timeout=300)
    expect_all_back(g)
    return g


def test_reboot_under_load(host):
    under_load(host)
    host.run("redis-cli set before reboot")
    host.reboot()
    expect_all_back(host)
    # It went down in order: each module ended by itself, redis had saved what it was told.
    assert host.run("redis-cli get before").stdout.strip() == "reboot"
    down = host.journal("-b", "-1", "-u", "bulkhead")
    assert "Stopped bulkhead.service" in down and "timed out" not in down.lower(), down[-3000:]
    for name in NAMES:
        assert f'module={name} generation=1 event=exited how="exit status 0"' in down, down[-3000:]


def test_power_cut_under_load(host):
    under_load(host)
    host.run("redis-cli config set appendonly no && redis-cli save && sync")
    host.power_cut()
    expect_all_back(host)
    under_load(host)
