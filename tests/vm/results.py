#!/usr/bin/python3
"""usage: tests/vm/results.py JUNIT SKIPS [EXPECTED]

Judges the results of a run of the integration tests: JUNIT is pytest's file, SKIPS the list of the tests that may be
skipped on that kernel, each with the reason, EXPECTED a list of the tests that must be there, a line each. Says what is
wrong, a line for each test:

  missing     expected, and not among the results
  failed      as it says
  skipped     and not on the list
  not skipped on the list, yet it ran: the list is wrong by now

A test's name is FILE::FUNCTION[PARAMETERS]. A line of SKIPS is a name and the reason, # begins a comment.
Exit status: 0 nothing is wrong, 1 something is, 2 usage.
"""

import sys
import xml.etree.ElementTree
from pathlib import Path


def read(junit):
    """{name: (outcome, reason)}; outcome is passed, failed or skipped. A test that failed in its body or around it failed."""
    found = {}
    for case in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        name = f"{(case.get('classname') or '').rpartition('.')[2]}.py::{case.get('name')}"
        outcome = ("passed", "")
        for child in case:
            if child.tag in ("failure", "error"):
                outcome = ("failed", child.get("message") or "")
            elif child.tag == "skipped" and outcome[0] == "passed":
                outcome = ("skipped", child.get("message") or "")
        if found.get(name, ("passed",))[0] != "failed":
            found[name] = outcome
    return found


def read_skips(path):
    """{name: reason}"""
    skips = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        words = line.partition("#")[0].split(None, 1)
        if not words:
            continue
        if len(words) != 2:
            raise SystemExit(f"{path}:{number}: {words[0]} has no reason: say why it cannot run on that kernel")
        skips[words[0]] = words[1].strip()
    return skips


def names(collected):
    """The tests that `pytest --collect-only -q` tells of."""
    lines = [line.strip().partition("::") for line in collected.splitlines() if "::" in line]
    return [f"{path.rpartition('/')[2]}::{name}" for path, _, name in lines]


def wrong(results, skips, expected=None):
    """What is wrong, a line each."""
    def first(text):
        return text.strip().splitlines()[0][:200] if text.strip() else "no reason given"

    found = [f"missing: {name}" for name in expected or [] if name not in results]
    if expected is not None:
        found += [f"unknown: {name} is listed as skipped, but there is no such test" for name in skips if name not in expected]
    for name, (outcome, reason) in results.items():
        if outcome == "failed":
            found.append(f"failed: {name}: {first(reason)}")
        elif outcome == "skipped" and name not in skips:
            found.append(f"skipped: {name}, which is not on the list: {first(reason)}")
        elif outcome == "passed" and name in skips:
            found.append(f"not skipped: {name} is listed ({skips[name]}), yet it ran and passed: take it off the list")
    if not results:
        found.append("missing: there are no results at all")
    return found


def counts(results):
    outcomes = [outcome for outcome, _ in results.values()]
    return ", ".join(f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped"))


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        results = read(sys.argv[1])
    except (OSError, xml.etree.ElementTree.ParseError) as e:
        print(f"missing: there are no results: {sys.argv[1]}: {e}")
        return 1
    found = wrong(results, read_skips(sys.argv[2]), names(Path(sys.argv[3]).read_text()) if len(sys.argv) == 4 else None)
    print("\n".join(found + [f"{Path(sys.argv[2]).name}: {counts(results)}, {len(found)} wrong"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
