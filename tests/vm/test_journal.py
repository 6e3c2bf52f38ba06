"""log = journal under a real journald: the identifier, the priorities, and `bulkhead logs` as for files."""

import json

import pytest

from test_systemd import Unit

TALKER = """[module]
exec = /bin/sh -c 'echo from stdout; echo from stderr >&2; echo "<4>a warning"; exec sleep infinity'
log = journal
LOG_STDERR
[sandbox]
user = root
"""


@pytest.fixture
def unit(guest):
    u = Unit(guest)
    u.reset()
    yield u
    print(u.since())
    u.reset()


def entries(u, name):
    out = u.run(f"journalctl --sync; journalctl -t {name} --since=@{u.begun} -o json").stdout
    return {e["MESSAGE"]: e["PRIORITY"] for e in map(json.loads, out.splitlines())}


@pytest.mark.parametrize("log_stderr,priority", [("", "6"), ("log_stderr = journal", "3")])
def test_priorities(unit, log_stderr, priority):
    unit.module("talker", TALKER.replace("LOG_STDERR", log_stderr))
    unit.run("systemctl start bulkhead")
    unit.guest.wait(f"journalctl --sync; journalctl -t talker --since=@{unit.begun} -o cat | grep -q 'a warning'", "the lines in the journal")
    assert entries(unit, "talker") == {"from stdout": "6", "from stderr": priority, "a warning": "4"}
    assert not unit.run("ls /var/log/bulkhead/default/talker.log", rc=None).stdout
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


def test_logs_reads_the_journal(unit):
    unit.module("talker", TALKER.replace("LOG_STDERR\n", ""))
    unit.run("systemctl start bulkhead")
    unit.guest.wait(f"journalctl --sync; journalctl -t talker --since=@{unit.begun} -o cat | grep -q 'a warning'", "the lines in the journal")
    said = unit.run(f"bulkhead logs --no-pager --since @{unit.begun.split('.')[0]} talker").stdout
    assert [line.split(": ", 1)[1] for line in said.splitlines() if "talker[" in line] == ["from stdout", "from stderr", "a warning"]
    assert unit.run("bulkhead logs --no-pager -n 1 talker").stdout.splitlines()[-1].endswith("a warning")
    assert "a warning" not in unit.run("bulkhead logs --no-pager --until '1 hour ago' talker").stdout
    refused = unit.run("bulkhead logs --json talker", rc=1)
    assert "journalctl -t talker -o json" in refused.stderr
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()
