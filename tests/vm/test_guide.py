"""docs/guide.md as somebody new would follow it: every block is typed in a guest in which nothing of ours was before, in order,
and what the guide says is seen must be seen."""

import time

import guide

GUIDE = guide.blocks()


def test_the_guide(fresh_guest, package, out):
    """How long each block took goes to guide.log: the ten minutes are for a guest of one slow processor, too."""
    fresh_guest.put(package, f"/root/{package.name}")
    fresh_guest.run("rm -f /root/bulkhead.deb")
    begun, report, problems = time.monotonic(), [], []
    for heading, script, expected in GUIDE:
        at = time.monotonic()
        done = fresh_guest.run(f"cd /root\nexec 2>&1\n{script}", timeout=400, rc=None)
        lost = guide.missing(expected, done.stdout)
        verdict = f"is not seen: {lost}" if lost else f"exit status {done.returncode}" if done.returncode else "ok"
        report.append(f"=== {heading}: {time.monotonic() - at:.0f} s, {verdict}\n{script}---\n{done.stdout}")
        if verdict != "ok":
            problems.append(report[-1])
    minutes = (time.monotonic() - begun) / 60
    (out / "guide.log").write_text("\n".join([*report, f"{minutes:.1f} minutes\n"]))
    assert not problems, "\n".join(problems)
    assert minutes < 10, f"it took {minutes:.1f} minutes"
