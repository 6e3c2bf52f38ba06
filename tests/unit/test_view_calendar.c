/* What people read of calendar expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tools/view.h"

static const uint64_t NOW = 1700000000ull * USEC_PER_SEC; /* Tue 2023-11-14 22:13:20 UTC */

static void expect(const char *zone, const char *text, bool colours, const char *expected)
{
    View v = {.now = NOW, .colours = colours};
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    assert_non_null(j);
    setenv("TZ", zone, 1);
    tzset();
    _cleanup_(freep) char *got = view_calendar(j, &v);
    json_decref(j);
    assert_string_equal(got, expected);
}

static void test_texts(void **state)
{
    (void)state;
    expect("UTC", "[]", false, "");
    expect("UTC",
           "[{\"expression\":\"hourly\",\"normalised\":\"*-*-* "
           "*:00:00\",\"next_usec\":[1700002800000000,1700006400000000],"
           "\"ends\":false,\"error\":null}]",
           false,
           "   written: hourly\n"
           "normalised: *-*-* *:00:00\n"
           "      next: Tue 2023-11-14 23:00:00 UTC, in 46m 40s\n"
           "            Wed 2023-11-15 00:00:00 UTC, in 1h 46m\n");
    /* One that is wrong is passed over: its error stands elsewhere. */
    expect("Europe/Berlin",
           "[{\"expression\":\"x\",\"normalised\":null,\"next_usec\":[],\"ends\":false,\"error\":\"wrong\"},"
           "{\"expression\":\"a\",\"normalised\":\"A\",\"next_usec\":[1700000002500000],\"ends\":true,\"error\":null},"
           "{\"expression\":\"b\",\"normalised\":\"B\",\"next_usec\":[],\"ends\":true,\"error\":null},"
           "{\"expression\":\"c\",\"normalised\":\"C\",\"next_usec\":[],\"ends\":false,\"error\":null}]",
           false,
           "   written: a\n"
           "normalised: A\n"
           "      next: Tue 2023-11-14 23:13:22.500000 CET, in 2.5s\n"
           "            then never again\n"
           "\n"
           "   written: b\n"
           "normalised: B\n"
           "      next: never\n"
           "\n"
           "   written: c\n"
           "normalised: C\n");
    expect(
        "UTC",
        "[{\"expression\":\"b\",\"normalised\":\"B\",\"next_usec\":[1699999940000000],\"ends\":false,\"error\":null}]",
        true,
        "   written: b\n"
        "normalised: \x1b[1mB\x1b[0m\n"
        "      next: Tue 2023-11-14 22:12:20 UTC, 1m 0s ago\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
