/* supervisor/plan/logpace: when a log is looked at, rotated, tidied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "supervisor/plan/logpace.h"

#define MIB (1ull << 20)
#define SEC 1000000ull

static void test_pace(void **state)
{
    (void)state;
    static const struct {
        LogPaceInput in;
        LogPace out;
    } cases[] = {
        /* nobody writes */
        {{0, 10 * MIB, 0, SEC, false}, {false, false, true, SEC}},
        {{MIB, 10 * MIB, 0, 0, false}, {false, false, true, SEC}},
        {{MIB, 10 * MIB, 0, SEC, true}, {false, true, true, SEC}},
        {{0, 0, 0, SEC, false}, {false, false, true, SEC}},
        /* over the limit, quiet or not */
        {{10 * MIB, 10 * MIB, 0, SEC, false}, {true, false, true, SEC}},
        {{10 * MIB - 1, 10 * MIB, 0, SEC, false}, {false, false, true, SEC}},
        {{11 * MIB, 10 * MIB, MIB, SEC, false}, {true, false, false, LOG_LOOK_MIN_USEC}},
        /* the sooner the faster */
        {{MIB, 10 * MIB, 1000, SEC, false}, {false, false, false, SEC}},
        {{0, 10 * MIB, 100 * MIB, SEC, false}, {false, false, false, 100000}},
        {{5 * MIB, 10 * MIB, 100 * MIB, SEC, false}, {false, false, false, LOG_LOOK_MIN_USEC}},
        {{9 * MIB, 10 * MIB, 100 * MIB, SEC, false}, {false, false, false, LOG_LOOK_MIN_USEC}},
        {{8 * MIB, 10 * MIB, 4 * MIB, SEC, false}, {false, false, false, 500000}},
        {{8 * MIB, 10 * MIB, 4 * MIB, 0, false}, {false, false, false, LOG_LOOK_MIN_USEC}},
        /* no limit */
        {{900 * MIB, UINT64_MAX, 100 * MIB, SEC, false}, {false, false, false, SEC}},
        {{UINT64_MAX, UINT64_MAX, 0, SEC, false}, {true, false, true, SEC}}, /* there is no such file */
        /* a hole goes when the writers are slow */
        {{MIB, 10 * MIB, LOG_TIDY_RATE - 1, SEC, true}, {false, true, false, SEC}},
        {{MIB, 10 * MIB, LOG_TIDY_RATE, SEC, true}, {false, false, false, SEC}},
        {{MIB, 10 * MIB, 1000, 1000, true}, {false, false, false, SEC}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LogPace p = log_pace(&cases[i].in), want = cases[i].out;
        if (p.rotate != want.rotate || p.tidy != want.tidy || p.quiet != want.quiet || p.delay_usec != want.delay_usec)
            fail_msg("case %zu: rotate %d tidy %d quiet %d delay %llu", i, p.rotate, p.tidy, p.quiet,
                     (unsigned long long)p.delay_usec);
    }
}

static void test_retry(void **state)
{
    (void)state;
    assert_int_equal(log_retry(0), SEC);
    assert_int_equal(log_retry(SEC), 2 * SEC);
    assert_int_equal(log_retry(32 * SEC), 60 * SEC);
    assert_int_equal(log_retry(60 * SEC), 60 * SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pace), cmocka_unit_test(test_retry)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
