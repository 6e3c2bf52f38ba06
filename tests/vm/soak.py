"""What one run in a hundred might show: the tests of stops under load, each kind of server stopped as often as BULKHEAD_TEST_STOPS says,
in a guest. Not part of the suite (`make soak` asks for it): the suite has the same tests with five stops."""

import results
from conftest import INSIDE, SOURCE
from test_integration import SLOW

TESTS = "test_stop_under_load"


def test_soak(guest, out, release, expected):
    done = guest.watch(f"cd {INSIDE} && {SLOW} BULKHEAD_TEST_SKIPS=tests/vm/skips-{release} tests/run-integration build -vv -s -k {TESTS} "
                       "-o faulthandler_timeout=3000", out / "integration.log", deadline=3600, silence=3000)
    guest.get(f"{INSIDE}/build/junit.xml", out / "junit.xml")
    found = results.read(out / "junit.xml")
    wrong = results.wrong(found, {}, [name for name in expected if name.startswith(TESTS)])
    assert not wrong, "\n".join([*wrong, f"see {out}/integration.log"])
    assert done == 0, f"all results are good, but the exit status is {done}: see {out}/integration.log"
