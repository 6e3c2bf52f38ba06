"""The guide's blocks: what is typed (```sh) and what is seen after it (```text), in order.

A line of ```text is met by a line of the output that is the same where the guide is not "…"; what stands between two such
lines of the output does not matter, their order does. "…" alone is met by anything, also by nothing. Blanks at the ends of
lines and runs of them count as one.
"""

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide.md"


def blocks(text=None):
    """[(heading, script, [expected lines])]"""
    found, heading = [], ""
    for piece in re.finditer(r"^## (?P<heading>[^\n]*)$|^```(?P<kind>\w*)\n(?P<body>.*?)^```$", text or GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        if piece["heading"]:
            heading = piece["heading"]
        elif piece["kind"] == "sh":
            found.append((heading, piece["body"], []))
        elif piece["kind"] == "text":
            assert found and not found[-1][2], f"{heading}: what is this seen after?"
            found[-1][2].extend(piece["body"].splitlines())
        else:
            raise AssertionError(f"{heading}: a block that is neither sh nor text: {piece[0]}")
    return found


def pattern(line):
    return re.compile(".*".join(re.escape(" ".join(part.split())) for part in line.split("…")))


def missing(expected, output):
    """The first expected line that the output does not have where it should; None: all are there."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in expected:
        if line.strip(" …") and not any(pattern(line).fullmatch(said) for said in lines):
            return line
    return None
