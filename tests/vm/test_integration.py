"""The suite of tests/integration and the unit tests, as they are, inside a guest: against the installed package, on the
guest's kernel, from an ssh session as a person would start them. Results are brought back to build/vm/RELEASE."""

import os

import results
from conftest import INSIDE, SOURCE

# A guest under TCG is about five times as slow, twice that with another one beside it. Only patience: no test waits longer
# than for what it waits for.
SLOW = f"BULKHEAD_TEST_SLOW=10 BULKHEAD_TEST_STOPS={os.environ.get('BULKHEAD_TEST_STOPS', '5')}"


def test_the_whole_suite(guest, out, release, expected):
    done = guest.watch(f"cd {INSIDE} && {SLOW} BULKHEAD_TEST_SKIPS=tests/vm/skips-{release} tests/run-integration build -vv -o faulthandler_timeout=400",
                       out / "integration.log", deadline=2700, silence=500)
    guest.get(f"{INSIDE}/build/junit.xml", out / "junit.xml")
    found = results.read(out / "junit.xml")
    wrong = results.wrong(found, results.read_skips(SOURCE / f"tests/vm/skips-{release}"), expected)
    assert not wrong, "\n".join([*wrong, f"see {out}/integration.log"])
    assert done == 0, f"all results are good, but the exit status is {done}: see {out}/integration.log"
    print(f"{len(expected)} tests are expected: {results.counts(found)}")


def test_the_units(guest, out):
    names = sorted(p.stem for p in (SOURCE / "tests/unit").glob("test_*.c"))
    binaries = " ".join(f"build/unit/{name}" for name in names)
    done = guest.watch(f"cd {INSIDE} && MUST_WORK=1 {SLOW} tests/run-units {binaries}", out / "units.log", deadline=900, silence=300)
    log = (out / "units.log").read_text()
    missing = [name for name in names if f"ok   {name} (" not in log]
    assert done == 0 and not missing, f"exit status {done}, not in order: {missing}\n{log[-4000:]}"
    print(log.splitlines()[-1])
