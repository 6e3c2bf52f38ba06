"""The kernel's own word of a clock that is set (TFD_TIMER_CANCEL_ON_SET), in a guest whose clock may be: `date -s`, an hour on
and an hour back. What the daemon makes of a clock that is set is in tests/integration/test_timers.py."""

import json
import time

import pytest

HOUR = 3600
MARK = "/run/bulkhead-clock"
JOB = f"""[module]
type = oneshot
exec = /bin/sh -c 'echo run >>{MARK}'
[timer]
on_calendar = *-*-* *:MINUTE:SECOND UTC
[sandbox]
user = root
"""


class Host:
    def __init__(self, guest):
        self.guest, self.run = guest, guest.run

    def now(self):
        return float(self.run("date +%s.%N").stdout)

    def timer(self):
        return json.loads(self.run("bulkhead timers --json").stdout)[0]

    def next(self):
        return self.timer()["next_usec"] // 1000000

    def set(self, by):
        """Sets the clock, and waits until the daemon has told of it."""
        n = self.told()
        self.run(f"date -s @$(($(date +%s) + {by})) >/dev/null")
        self.guest.wait(f"[ $(bulkhead events --json | grep -c '\"clock-set\"') -gt {n} ]", "the daemon to see the clock that was set")
        return self.told(last=True)

    def told(self, last=False):
        lines = [json.loads(x) for x in self.run("bulkhead events --json").stdout.splitlines()]
        seen = [e["detail"]["offset_usec"] / 1e6 for e in lines if e["event"] == "clock-set"]
        return seen[-1] if last else len(seen)

    def runs(self):
        return self.run(f"cat {MARK} 2>/dev/null | wc -l").stdout.strip()


@pytest.fixture
def host(guest):
    h = Host(guest)
    # Nobody else may set it meanwhile, and nothing else of the host is to run because of it.
    guest.run("systemctl stop '*.timer' systemd-timesyncd chrony ntpsec 2>/dev/null; systemctl stop bulkhead; "
              f"rm -rf {MARK} /etc/bulkhead/modules.d/* /var/lib/bulkhead/default", rc=None)
    began, before = time.monotonic(), h.now()
    at = time.gmtime(before + HOUR // 2)
    text = JOB.replace("MINUTE", f"{at.tm_min:02}").replace("SECOND", f"{at.tm_sec:02}")
    guest.run("mkdir -p /etc/bulkhead/modules.d && cat >/etc/bulkhead/modules.d/hourly.ini", input=text)
    guest.run("systemctl start bulkhead")
    yield h
    guest.run(f"date -s @{int(before + time.monotonic() - began)} >/dev/null")
    guest.run(f"systemctl stop bulkhead; rm -rf {MARK} /etc/bulkhead/modules.d/* /var/lib/bulkhead/default; "
              "systemctl start timers.target systemd-timesyncd 2>/dev/null", rc=None)


def test_set_forward_and_back(host):
    first = host.next()
    assert 0 < first - host.now() <= HOUR // 2 and host.runs() == "0"
    assert abs(host.set(3 * HOUR) - 3 * HOUR) < 2
    host.guest.wait(f"[ \"$(cat {MARK} 2>/dev/null | wc -l)\" = 1 ]", "what was passed to be run, once")
    host.guest.wait("bulkhead timers --json | grep -q '\"state\":\"idle\"'", "the run to be over")
    assert host.next() == first + 3 * HOUR
    assert abs(host.set(-HOUR) + HOUR) < 2
    assert host.next() == first + 2 * HOUR, "the hour that comes twice is worked twice"
    assert host.runs() == "1"
    assert abs(host.set(HOUR) - HOUR) < 2
    assert host.next() == first + 3 * HOUR and host.runs() == "1", "and what has run before is not run again"


def test_set_back_by_seconds(host):
    host.set(HOUR)
    host.guest.wait(f"[ \"$(cat {MARK} 2>/dev/null | wc -l)\" = 1 ]", "the run")
    following = host.next()
    host.set(-20)
    assert host.next() == following and host.runs() == "1"


def test_a_restart_keeps_the_schedule(host):
    host.set(HOUR)
    host.guest.wait(f"[ \"$(cat {MARK} 2>/dev/null | wc -l)\" = 1 ]", "the run")
    before = host.timer()
    host.run("systemctl restart bulkhead")
    after = host.timer()
    assert (after["next_usec"], after["last_usec"]) == (before["next_usec"], before["last_usec"]) and host.runs() == "1"
