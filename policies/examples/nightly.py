#!/usr/bin/python3
"""A job for every night and the migration before it, on one SQLite database; standard library only.

    nightly.py migrate     brings the database to the newest shape; does nothing when it has it
    nightly.py report      sums up each day that is over and not summed up yet

Both may be run at any time and as often as one likes: each change is one transaction, so a run that is cut off by a kill has
either done a step or not begun it. `report` refuses a database that has not been migrated.

environment: STATE_DIRECTORY (where shop.db is), TODAY (YYYY-MM-DD, for tests; default: the day it is)
exit status: 0 done, 1 failed
"""

import datetime
import os
import sqlite3
import sys

# Each step once, in order; only ever add to the end. PRAGMA user_version tells how many a database has seen.
STEPS = [
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, day TEXT NOT NULL, cents INTEGER NOT NULL)",
    "CREATE TABLE reports (day TEXT PRIMARY KEY, orders INTEGER NOT NULL, cents INTEGER NOT NULL)",
    "CREATE INDEX orders_by_day ON orders (day)",
]


def version(db):
    return db.execute("PRAGMA user_version").fetchone()[0]


def migrate(db):
    for n in range(version(db), len(STEPS)):
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(STEPS[n])
            db.execute(f"PRAGMA user_version = {n + 1}")
        print(f"step {n + 1} of {len(STEPS)} is done", flush=True)


def report(db, today):
    if version(db) != len(STEPS):
        raise RuntimeError(f"the database has seen {version(db)} steps of {len(STEPS)}: migrate it first")
    with db:
        db.execute("BEGIN IMMEDIATE")
        days = db.execute("SELECT day, count(*), sum(cents) FROM orders WHERE day < ? AND day NOT IN (SELECT day FROM reports) GROUP BY day", (today,)).fetchall()
        db.executemany("INSERT INTO reports VALUES (?, ?, ?)", days)
    for day, orders, cents in days:
        print(f"{day}: {orders} orders, {cents / 100:.2f}", flush=True)
    print(f"{len(days)} days summed up", flush=True)


def main(argv):
    if len(argv) != 2 or argv[1] not in ("migrate", "report"):
        print(__doc__, file=sys.stderr)
        return 1
    try:
        db = sqlite3.connect(os.path.join(os.environ.get("STATE_DIRECTORY", "."), "shop.db"), timeout=60, isolation_level=None)
        if argv[1] == "migrate":
            migrate(db)
        else:
            report(db, os.environ.get("TODAY") or datetime.date.today().isoformat())
        db.close()
    except (sqlite3.Error, RuntimeError) as problem:
        print(f"nightly: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
