"""log = journal under a real journald: the identifier, the priorities, and `bulkhead logs` as for files."""

import json
import re

import pytest

from test_systemd import PLACE, Unit

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


def lines(done):
    """Without the time, which must be there."""
    return [re.fullmatch(r"[A-Z][a-z]{2} [0-3][0-9] [0-9:]{8} (.*)", line).group(1) for line in done.stdout.splitlines()]


def test_logs_reads_the_journal(unit):
    unit.module("talker", TALKER.replace("LOG_STDERR", "log_stderr = journal"))
    unit.module("other", TALKER.replace("LOG_STDERR\n", "").replace("from", "of the other, from"))
    unit.run("systemctl start bulkhead")
    for name in ("talker", "other"):
        unit.guest.wait(f"journalctl --sync; journalctl -t {name} --since=@{unit.begun} -o cat | grep -q 'a warning'", "the lines in the journal")
    unit.run("systemd-run --quiet --wait --collect -p SyslogIdentifier=talker echo somebody else; journalctl --sync")
    assert "somebody else" in unit.run(f"journalctl -t talker --since=@{unit.begun} -o cat").stdout
    said = "from stdout", "from stderr", "a warning"
    since = f"--since @{unit.begun.split('.')[0]}"
    assert sorted(lines(unit.run(f"bulkhead logs {since} talker"))) == sorted(said), "no other program of that name"
    assert lines(unit.run(f"bulkhead logs {since} --stderr talker")) == ["from stderr"]
    assert len(lines(unit.run("bulkhead logs -n 2 talker"))) == 2 and lines(unit.run("bulkhead logs -n 0 talker")) == []
    assert lines(unit.run("bulkhead logs --until '1 hour ago' talker")) == []
    both = unit.run(f"bulkhead logs {since} other talker").stdout.splitlines()
    assert len(both) == 6 and {line.split(" | ")[0] for line in both} == {"talker", "other"}
    entries = [json.loads(line) for line in unit.run(f"bulkhead logs {since} --json talker").stdout.splitlines()]
    assert {e["text"]: e["priority"] for e in entries} == {"from stdout": 6, "from stderr": 3, "a warning": 4}
    assert all(e["module"] == "talker" and e["stream"] is None and e["time_usec"] > 10**15 for e in entries)
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


def test_following_the_journal(unit):
    unit.module("talker", TALKER.replace("LOG_STDERR\n", ""))
    unit.run("systemctl start bulkhead")
    unit.guest.wait(f"journalctl --sync; journalctl -t talker --since=@{unit.begun} -o cat | grep -q 'a warning'", "the lines in the journal")
    unit.run(f"systemd-run --quiet --collect --unit=bulkhead-test-client sh -c 'exec bulkhead logs -f -n 1 talker >{PLACE}/followed'")
    unit.guest.wait(f"[ $(wc -l <{PLACE}/followed) = 1 ]", "the last line")
    unit.run("bulkhead restart talker")
    unit.guest.wait(f"[ $(wc -l <{PLACE}/followed) = 4 ]", "three lines more")
    unit.run("systemctl stop bulkhead-test-client bulkhead")
    unit.nothing_left()
