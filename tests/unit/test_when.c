/* tools/when, and calendar_moment() below it: points in time, good and bad. --since, --until and --base-time take them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "tools/when.h"

#define NOW (1795177200ull * USEC_PER_SEC) /* 2026-11-20 13:20:00 in Berlin */

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* from NOW */
    } cases[] = {
        {"now", 0},
        {"15m", -900},
        {"-15m", -900},
        {"15 min", -900},
        {"10 min ago", -600},
        {"1 hour ago", -3600},
        {"2h 30m", -9000},
        {"2h30m", -9000},
        {"1d", -86400},
        {"1 week ago", -604800},
        {"12:00", -4800},
        {"12:00:30", -4770},
        {"13:20", 0},
        {"2026-11-20", -48000},
        {"2026-11-20 12:00", -4800},
        {"2026-11-20T12:00:05", -4795},
        {"today", -48000},
        {"yesterday", -134400},
        {"@1795176200", -1000},
        {"2026-07-01 12:00", -12277200}, /* summer time */
        {"2026-11-20 12:00:00.9", -4800},
        {"2026-11-20 9:00", -15600},
        {"9:00", -15600},
        {"26-11-20 12:00", -4800},
        {"Fri 2026-11-20 12:00", -4800},
        {"2026-11-20 UTC", -44400},
        {"2026-11-20T12:00 UTC", -1200},
        {"2026-11-20 12:00 Asia/Tokyo", -33600},
        {"12:00 UTC", -1200},
        {"23:00 Asia/Tokyo", 6000},
        {"1:00 Pacific/Kiritimati", -4800}, /* it is the 21st there */
        {"2026-03-29 02:30", -20431200},    /* clocks jump over it: 03:00 */
        {"2026-10-25 02:30", -2289000},     /* the first of two */
        {"2199-12-31", 5462851200},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t t = 0;
        Error e = {0};
        if (when_parse(cases[i].text, NOW, &t, &e) < 0)
            fail_msg("%s: %s", cases[i].text, e.msg);
        if ((int64_t)(t / USEC_PER_SEC) - (int64_t)(NOW / USEC_PER_SEC) != cases[i].seconds)
            fail_msg("%s: %lld", cases[i].text, (long long)(t / USEC_PER_SEC) - (long long)(NOW / USEC_PER_SEC));
    }
    uint64_t t = 1;
    assert_int_equal(when_parse("999999999w", NOW, &t, NULL), 0);
    assert_int_equal(t, 0);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        " ",
                                        "15",
                                        "ago",
                                        "10 fortnights",
                                        "m",
                                        "24:00",
                                        "12:60",
                                        "12:00:61",
                                        "2026-13-01",
                                        "2026-02-30",
                                        "2026-11-20 25:00",
                                        "daily",
                                        "*:30",
                                        "*-*-* 12:00",
                                        "12..13:00",
                                        "12,13:00",
                                        "12:00/15",
                                        "2026-11-*",
                                        "11-20",
                                        "2026-11-20; 2026-11-21",
                                        "Mon 2026-11-20",
                                        "Mon 12:00",
                                        "12:00 Nowhere/City",
                                        "Nonsday",
                                        "2026-11-20TT12:00",
                                        "2200-01-01",
                                        "@",
                                        "@x",
                                        "@-1",
                                        "tomorrow",
                                        "1h ago ago",
                                        "20.11.2026"};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t t = 7;
        Error e = {0};
        if (when_parse(cases[i], NOW, &t, &e) != -22)
            fail_msg("'%s' is taken: %llu", cases[i], (unsigned long long)t);
        assert_int_equal(t, 7);
        assert_non_null(strstr(e.msg, "12:00"));
    }
}

int main(void)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
