"""Finds circles for tools/lint: files that need each other, directly or by way of others.

A unit is X.c with X.h. It needs another one when its object names a symbol that the other's defines: so types in a header
make no circle, and who puts a function into a table needs its unit as much as who calls it. What no unit defines is a
library's. For each circle it prints who is in it and what they need of each other, which is where to part it; no circle
is exit status 0.
"""

import argparse
import subprocess
import sys
from collections import defaultdict

DEFINED = "TDBRVW"  # nm's letters for what other objects may name
UNDEFINED = "U"


def symbols(objects):
    """(object, name, letter) of all of them, by one run of nm."""
    out = subprocess.run(["nm", "-A", "-P", *objects], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        path, rest = line.split(": ", 1)
        name, letter = rest.split()[:2]
        yield path, name, letter


def needs(units):
    """{unit: {needed unit: {symbol}}} of {object: unit}."""
    owner, named = {}, []
    for path, name, letter in symbols(units):
        if letter in DEFINED:
            owner[name] = units[path]
        elif letter == UNDEFINED:
            named.append((units[path], name))
    graph = defaultdict(lambda: defaultdict(set))
    for unit, name in named:
        if owner.get(name, unit) != unit:
            graph[unit][owner[name]].add(name)
    return graph


def reached(graph, start):
    """Whom `start` needs, directly or by way of others: itself, too, when it is in a circle."""
    seen, left = set(), [start]
    while left:
        for unit in graph.get(left.pop(), ()):
            if unit not in seen:
                seen.add(unit)
                left.append(unit)
    return seen


def circles(graph):
    """The circles, each a sorted list of units; every unit is in one at most."""
    reach = {unit: reached(graph, unit) for unit in graph}
    return sorted({tuple(sorted(v for v in reach[u] if u in reach.get(v, ()))) for u in reach if u in reach[u]})


def main():
    parser = argparse.ArgumentParser(description="Prints the circles between the objects of the sources.")
    parser.add_argument("objects", help="the directory of the objects, build/obj")
    parser.add_argument("sources", nargs="+", metavar="SOURCE.c")
    args = parser.parse_args()
    names = [source.removesuffix(".c") for source in args.sources]
    graph = needs({f"{args.objects}/{name}.o": name for name in names})
    found = circles(graph)
    for circle in found:
        print(f"a circle of {len(circle)}: {', '.join(circle)}")
        for unit in circle:
            for other in circle:
                if other in graph[unit]:
                    print(f"{unit}.c: needs {other} for {', '.join(sorted(graph[unit][other]))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
