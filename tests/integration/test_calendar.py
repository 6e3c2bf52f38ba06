"""`bulkhead calendar`: what it prints, in whose time zone, and its exit statuses. What an expression means is tested by
tests/unit/test_calendar.c."""

import json
import os
import subprocess

from lib import BUILD, PATIENCE


def calendar(*words, zone="UTC"):
    return subprocess.run([BUILD / "bulkhead", "calendar", *words], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "TZ": zone})


def test_text_in_the_local_zone():
    r = calendar("--base-time", "2024-03-30 12:00", "-n", "2", "02:30", "12:00 Asia/Tokyo", zone="Europe/Berlin")
    assert (r.returncode, r.stderr) == (0, "")
    lines = [line.rsplit(",", 1)[0] for line in r.stdout.splitlines()]
    assert lines == ["   written: 02:30", "normalised: *-*-* 02:30:00",
                     "      next: Mon 2024-04-01 02:30:00 CEST", "            Tue 2024-04-02 02:30:00 CEST", "",
                     "   written: 12:00 Asia/Tokyo", "normalised: *-*-* 12:00:00 Asia/Tokyo",
                     "      next: Sun 2024-03-31 05:00:00 CEST", "            Mon 2024-04-01 05:00:00 CEST"]
    assert r.stdout.count(" ago\n") == 4


def test_json_and_errors():
    r = calendar("--json", "--base-time", "2024-01-01 UTC", "-n2", "daily;*:30", "*:*/5", "2024-01-01 6:00")
    assert r.returncode == 1
    assert r.stderr == "bulkhead: '*:*/5': a repeated * at '*/5' (0/5: from 0 on every 5)\n"
    day = 1704067200
    assert json.loads(r.stdout) == [
        {"expression": "daily;*:30", "normalised": "*-*-* 00:00:00; *-*-* *:30:00", "ends": False, "error": None,
         "next_usec": [(day + 1800) * 10**6, (day + 5400) * 10**6]},
        {"expression": "*:*/5", "normalised": None, "next_usec": [], "ends": False,
         "error": "a repeated * at '*/5' (0/5: from 0 on every 5)"},
        {"expression": "2024-01-01 6:00", "normalised": "2024-01-01 06:00:00", "ends": True, "error": None,
         "next_usec": [(day + 21600) * 10**6]}]


def test_five_from_now_on_and_usage():
    r = calendar("hourly")
    assert r.returncode == 0 and r.stdout.count("UTC, in ") == 5, r.stdout
    assert calendar().returncode == 2
    r = calendar("--base-time", "daily", "hourly")
    assert (r.returncode, r.stdout) == (2, "")
    assert r.stderr == ("bulkhead: --base-time: 'daily' is no time (15m, '10 min ago', 12:00, '2026-11-20 12:00', yesterday, @EPOCH); "
                        "see: bulkhead calendar --help\n")
    assert calendar("--base-time", "Nonsday", "hourly").returncode == 2


def test_base_time_takes_what_since_takes():
    r = calendar("--json", "--base-time", "@1704067200", "-n1", "hourly")
    assert json.loads(r.stdout)[0]["next_usec"] == [1704070800 * 10**6]
    for when in ("2024-01-01T01:00", "2024-01-01 9:00 Asia/Tokyo", "2024-01-01"):
        r = calendar("--json", "--base-time", when, "-n1", "2024-01-01 0..1:30")
        assert json.loads(r.stdout)[0]["next_usec"] == [(1704070800 if "T01" in when else 1704067200) * 10**6 + 1800 * 10**6], when
    r = calendar("--base-time", "90 min ago", "-n1", "hourly")
    assert r.returncode == 0 and r.stdout.endswith(" ago\n"), r.stdout
