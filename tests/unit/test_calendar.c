/* Calendar expressions: against what systemd says of them (tests/data/calendar/cases), where we differ and why, each
 * way to be wrong, and that nobody's time zone changes. Run from the top of the source tree. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "policies/calendar.h"

static void set_zone(const char *tz)
{
    if (tz)
        setenv("TZ", tz, 1);
    else
        unsetenv("TZ");
    tzset();
}

/* "2024-03-31T01:00:00", UTC, with a fraction or without. */
static uint64_t moment(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(rest);
    uint64_t usec = (uint64_t)timegm(&tm) * USEC_PER_SEC;
    if (*rest) {
        assert_true(rest[0] == '.' && strlen(rest) == 7);
        usec += strtoul(rest + 1, NULL, 10);
    }
    return usec;
}

static char *moment_text(uint64_t usec, bool fraction)
{
    time_t s = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    return fraction ? xasprintf("%s.%06u", text, (unsigned)(usec % USEC_PER_SEC)) : xstrdup(text);
}

static Calendar *parse(const char *text)
{
    Calendar *c = NULL;
    Error e = {0};
    if (calendar_parse(text, &c, &e) < 0)
        fail_msg("'%s': %s", text, error_message(&e));
    return c;
}

/* The next `n` elapses, or those up to "never", joined by blanks. */
static char *elapses(const Calendar *c, uint64_t after, size_t n, bool fraction)
{
    _cleanup_strv_ char **all = NULL;
    for (size_t i = 0; i < n; i++) {
        uint64_t at = 7;
        int r = calendar_next(c, after, &at);
        if (r < 0) {
            assert_int_equal(r, -ENOENT);
            assert_int_equal(at, 7);
            strv_add(&all, "never");
            break;
        }
        assert_true(at > after);
        strv_push(&all, moment_text(at, fraction));
        after = at;
    }
    return strv_join(all, " ");
}

static void check_case(char *line, unsigned number)
{
    enum { FIELDS_MAX = 16, FIXED = 4 };
    char *fields[FIELDS_MAX] = {NULL};
    size_t n = 0;
    for (char *at = line; at && n + 1 < FIELDS_MAX; n++)
        fields[n] = strsep(&at, "\t");
    assert_true(n > FIXED);
    set_zone(fields[0]);
    _cleanup_(calendar_freep) Calendar *c = parse(fields[2]);
    _cleanup_(freep) char *normal = calendar_format(c);
    _cleanup_(freep) char *seen = elapses(c, moment(fields[1]), n - FIXED, false);
    _cleanup_(freep) char *expected = strv_join(fields + FIXED, " ");
    if (strcmp(normal, fields[3]) != 0 || strcmp(seen, expected) != 0)
        fail_msg("cases:%u: %s after %s in %s is %s: %s", number, fields[2], fields[1], fields[0], normal, seen);
    /* What it is normalised to is the same and normal. */
    _cleanup_(calendar_freep) Calendar *again = parse(normal);
    _cleanup_(freep) char *twice = calendar_format(again);
    _cleanup_(freep) char *seen_again = elapses(again, moment(fields[1]), n - FIXED, false);
    assert_string_equal(twice, normal);
    assert_string_equal(seen_again, seen);
}

static void test_cases(void **state)
{
    (void)state;
    enum { CASES_MINIMUM = 280 };
    _cleanup_(freep) char *text = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "tests/data/calendar/cases", 1 << 20, &text, NULL), 0);
    unsigned number = 0, cases = 0;
    for (char *at = text; at && *at;) {
        char *line = strsep(&at, "\n");
        number++;
        if (*line == '#')
            continue;
        check_case(line, number);
        cases++;
    }
    assert_true(cases >= CASES_MINIMUM);
}

/* zone, after, expression, what elapses. */
typedef struct Case {
    const char *zone, *after, *expression, *elapses;
} Case;

static void check_all(const Case *cases, size_t n, bool fraction)
{
    for (size_t i = 0; i < n; i++) {
        size_t count = 1;
        for (const char *s = cases[i].elapses; *s; s++)
            count += *s == ' ';
        set_zone(cases[i].zone);
        _cleanup_(calendar_freep) Calendar *c = parse(cases[i].expression);
        _cleanup_(freep) char *seen = elapses(c, moment(cases[i].after), count, fraction);
        if (strcmp(seen, cases[i].elapses) != 0)
            fail_msg("%s after %s in %s: %s", cases[i].expression, cases[i].after, cases[i].zone, seen);
    }
}

/* systemd 252 gives other answers here: it passes over times that match, and of a time that comes twice it takes the
 * one or the other, by what mktime() was asked before. */
static void test_departures(void **state)
{
    (void)state;
    static const Case cases[] = {
        /* systemd: 03:00:07 is the first behind the jump. */
        {"Europe/Berlin", "2024-03-31T00:59:50", "*:*:0/7",
         "2024-03-31T00:59:56 2024-03-31T01:00:00 2024-03-31T01:00:07"},
        /* systemd: nothing on the day of the jump. */
        {"Europe/Dublin", "2024-03-30T20:00:00", "1..4:22", "2024-03-31T01:22:00 2024-03-31T02:22:00"},
        /* systemd: not on 8 January. */
        {"America/Sao_Paulo", "2024-12-27T03:00:00", "*-*-8/19", "2025-01-08T03:00:00 2025-01-27T03:00:00"},
        /* systemd: not at 21:00:17. */
        {"UTC", "1999-12-25T20:59:40", "20..22:*:17/32", "1999-12-25T20:59:49 1999-12-25T21:00:17 1999-12-25T21:00:49"},
        /* systemd: 02:10:01 CET, and the hour before is missed. */
        {"Europe/Berlin", "2024-10-27T00:10:00", "*-*~5/3 *:*:1", "2024-10-27T00:10:01 2024-10-27T00:11:01"},
        /* systemd refuses these. */
        {"UTC", "2024-01-01T00:00:00", "*:*:59..59", "2024-01-01T00:00:59 2024-01-01T00:01:59"},
        {"UTC", "2024-01-01T00:00:00", "*-*~4..12/4,25/3 12:00", "2024-01-07T12:00:00 2024-01-10T12:00:00"},
        /* systemd gives up after a thousand steps. */
        {"UTC", "2024-01-01T00:00:00", "Tue..Sat *-2/7-17..29,16,5..22 *:20,37..51:14,37..44/7,43..45",
         "2024-02-06T00:20:14 2024-02-06T00:20:37"},
        /* Always in the hour that is jumped over. */
        {"UTC", "2024-01-01T00:00:00", "Sun *-03~07/1 02:30 Europe/Berlin", "never"},
    };
    check_all(cases, ELEMENTS(cases), false);
}

static void test_fractions_and_after(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"UTC", "2024-01-01T00:00:00", "*:*:0/2.5", "2024-01-01T00:00:02.500000 2024-01-01T00:00:05.000000"},
        {"UTC", "2024-01-01T00:00:02.499999", "*:*:0/2.5", "2024-01-01T00:00:02.500000"},
        {"UTC", "2024-01-01T00:00:02.500000", "*:*:0/2.5", "2024-01-01T00:00:05.000000"},
        {"UTC", "2024-01-01T00:00:57.500000", "*:*:0/2.5", "2024-01-01T00:01:00.000000"},
        {"UTC", "2023-12-31T23:59:59.999998", "*:*:59.999999", "2023-12-31T23:59:59.999999 2024-01-01T00:00:59.999999"},
        {"UTC", "2023-12-31T23:59:59.999999", "daily", "2024-01-01T00:00:00.000000"},
        {"UTC", "2024-01-01T00:00:00.000000", "daily", "2024-01-02T00:00:00.000000"},
        {"UTC", "2024-01-01T00:00:00", "5:40:23.4200004/3.1700005",
         "2024-01-01T05:40:23.420000 2024-01-01T05:40:26.590001"},
        {"Europe/Berlin", "2024-10-27T00:30:00.000000", "02:30", "2024-10-28T01:30:00.000000"},
        {"Europe/Berlin", "2024-10-27T00:29:59.999999", "02:30", "2024-10-27T00:30:00.000000"},
    };
    check_all(cases, ELEMENTS(cases), true);
}

static void test_several(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"UTC", "2024-01-01T00:00:00", "12:00;6:00 ; 18:00",
         "2024-01-01T06:00:00 2024-01-01T12:00:00 2024-01-01T18:00:00"},
        {"UTC", "2024-01-01T00:00:00", "2024-01-01 1:00;2023-1-1", "2024-01-01T01:00:00 never"},
        {"UTC", "2024-01-01T00:00:00", "12:00 UTC;13:00 Europe/Berlin", "2024-01-01T12:00:00 2024-01-02T12:00:00"},
        {"UTC", "2024-01-01T00:00:00", "12:00 America/New_York;12:00 Europe/Berlin;12:00",
         "2024-01-01T11:00:00 2024-01-01T12:00:00 2024-01-01T17:00:00"},
    };
    check_all(cases, ELEMENTS(cases), false);
    _cleanup_(calendar_freep) Calendar *c = parse("\t daily;sun 6:0 utc ;hourly Europe/Berlin");
    _cleanup_(freep) char *normal = calendar_format(c);
    assert_string_equal(normal, "*-*-* 00:00:00; Sun *-*-* 06:00:00 UTC; *-*-* *:00:00 Europe/Berlin");
}

static void test_ends_of_time(void **state)
{
    (void)state;
    set_zone("UTC");
    _cleanup_(calendar_freep) Calendar *c = parse("*:*:*");
    uint64_t at = 0;
    assert_int_equal(calendar_next(c, 0, &at), 0);
    assert_int_equal(at, USEC_PER_SEC);
    assert_int_equal(calendar_next(c, moment("2199-12-31T23:59:58"), &at), 0);
    assert_true(at == moment("2199-12-31T23:59:59"));
    assert_int_equal(calendar_next(c, at, &at), -ENOENT);
    assert_int_equal(calendar_next(c, UINT64_MAX, &at), -ENOENT);
    assert_int_equal(calendar_next(c, UINT64_MAX / 2, &at), -ENOENT);
    set_zone("America/New_York"); /* begins in 1969 */
    assert_int_equal(calendar_next(c, 0, &at), 0);
    assert_int_equal(at, USEC_PER_SEC);
}

static void test_refused(void **state)
{
    (void)state;
    static const char order[] = "weekdays date time zone, as in Mon *-*-1..7 2:30 UTC";
    static const char days[] = "Mon..Fri, Sat,Sun; daily, hourly; a time zone comes last";
    static const char date[] = "2026-12-24, *-12-24: every year, *-*-1: every month, *~1: the last of every month";
    static const char zone[] = "UTC, Europe/Berlin or another name below /usr/share/zoneinfo";
    static const char every[] = "0/5: from 0 on every 5", over[] = "over the end write two: 22..23,0..2";
    static const struct {
        const char *text, *what, *where, *hint; /* where: NULL = the end */
    } cases[] = {
        {"", "no calendar expression", NULL, "daily, Mon..Fri 8:00"},
        {" ", "no calendar expression", NULL, "daily, Mon..Fri 8:00"},
        {"daily;", "no calendar expression", NULL, "daily, Mon..Fri 8:00"},
        {";daily", "no calendar expression", NULL, "daily, Mon..Fri 8:00"},
        {"dayly", "no weekday and no shorthand", "dayly", days},
        {"hourly;Funday 8:00; x", "no weekday and no shorthand", "Funday 8:00", days},
        {"UTC", "no weekday and no shorthand", "UTC", days},
        {"Tues", "no weekday and no shorthand", "Tues", days},
        {"Mon,,Tue", "no weekday and no shorthand", ",Tue", days},
        {"Mon.. 8:00", "no weekday after '..'", " 8:00", days},
        {"Mon..", "no weekday after '..'", NULL, days},
        {"Sat-Sun", "no end of the weekdays", "-Sun", days},
        {"Mon..Wed..Fri", "no end of the weekdays", "..Fri", days},
        {"Fri..Mon", "a range that goes backwards", "Fri..Mon", "the week begins with Mon: Sat,Sun,Mon"},
        {"daily-UTC", "no end of the shorthand", "-UTC", "daily, daily UTC"},
        {"12", "neither a date nor a time in its place", "12", order},
        {"*", "neither a date nor a time in its place", "*", order},
        {"Mon 12", "neither a date nor a time in its place", "12", order},
        {"12:00 2024-01-01", "neither a date nor a time in its place", "2024-01-01", order},
        {"daily 12:00", "neither a date nor a time in its place", "12:00", order},
        {"@1700000000", "neither a date nor a time in its place", "@1700000000", order},
        {"2024-01-01T12:00", "no blank between date and time", "2024-01-01T12:00", "2026-12-24 18:00"},
        {"1-2-3-4", "more than three parts of a date", "1-2-3-4", date},
        {"2024~1-1", "no '-' after the year", "~1-1", date},
        {"2024.-1", "no month from 1 to 12", "2024.-1", "*, 1, 1..6, 1/3"},
        {"1x-1", "no '-' or '~' after the month", "x-1", date},
        {"*-*-1x", "no end of the date", "x", date},
        {"1969-*-*", "no year from 1970 to 2199", "1969-*-*", "*, 2026, 2026..2030"},
        {"2200-*-*", "no year from 1970 to 2199", "2200-*-*", "*, 2026, 2026..2030"},
        {"100-*-*", "no year from 1970 to 2199", "100-*-*", "*, 2026, 2026..2030"},
        {"*-13-1", "no month from 1 to 12", "13-1", "*, 1, 1..6, 1/3"},
        {"*-Feb-1", "no month from 1 to 12", "Feb-1", "*, 1, 1..6, 1/3"},
        {"*-0-1", "no month from 1 to 12", "0-1", "*, 1, 1..6, 1/3"},
        {"*--1", "no month from 1 to 12", "-1", "*, 1, 1..6, 1/3"},
        {"*-*-0", "no day from 1 to 31", "0", "*, 1, 1,15, 1..7; ~1: the last of the month"},
        {"*-*-32", "no day from 1 to 31", "32", "*, 1, 1,15, 1..7; ~1: the last of the month"},
        {"*-1,", "no day from 1 to 31", NULL, "*, 1, 1,15, 1..7; ~1: the last of the month"},
        {"*~0", "no day from the month's end from 1 to 28", "0", "~1: the last; ~7/1: the last seven"},
        {"*~29", "no day from the month's end from 1 to 28", "29", "~1: the last; ~7/1: the last seven"},
        {"*~5/5", "a repetition beyond the last day from the month's end", "5", "a smaller one, or none"},
        {"24:00", "no hour from 0 to 23", "24:00", "*, 2, 8..18, 0/4"},
        {":30", "no hour from 0 to 23", ":30", "*, 2, 8..18, 0/4"},
        {"99999999999:00", "no hour from 0 to 23", "99999999999:00", "*, 2, 8..18, 0/4"},
        {"1.5:00", "no ':' after the hour", ".5:00", "2:30, 02:30:00, *:0/15"},
        {"23:60", "no minute from 0 to 59", "60", "*, 30, 0/15"},
        {"*:", "no minute from 0 to 59", NULL, "*, 30, 0/15"},
        {"1:00:60", "no second from 0 to 59.999999", "60", "*, 0, 0/10, 2.5"},
        {"1:00:59.9999995", "no second from 0 to 59.999999", "59.9999995", "*, 0, 0/10, 2.5"},
        {"1:00:1.", "no digits of a fraction", NULL, "*, 0, 0/10, 2.5"},
        {"1:2:3:4", "no end of the time", ":4", "2:30, 02:30:00, *:0/15"},
        {"12:00UTC", "no end of the time", "UTC", "2:30, 02:30:00, *:0/15"},
        {"1:2/", "no number to repeat by", NULL, every},
        {"*:0/*", "no number to repeat by", "*", every},
        {"*:*/5", "a repeated *", "*/5", every},
        {"*:*,5", "a list with *", "*,5", "* alone, it is every value already"},
        {"*:0/0", "a repetition by 0", "0", "1 or more"},
        {"*:*:0/0.0000001", "a repetition by 0", "0.0000001", "1 or more"},
        {"*:30/30", "a repetition beyond the last minute", "30", "a smaller one, or none"},
        {"2198/2-*-*", "a repetition beyond the last year", "2-*-*", "a smaller one, or none"},
        {"*:*:59/1", "a repetition beyond the last second", "1", "a smaller one, or none"},
        {"22..2:00", "a range that goes backwards", "22..2:00", over},
        {"*-*~3..1", "a range that goes backwards", "3..1", over},
        {"daily Nope/Zone", "no time zone of this host", "Nope/Zone", zone},
        {"daily europe/berlin", "no time zone of this host", "europe/berlin", zone},
        {"daily Europe", "no time zone of this host", "Europe", zone},
        {"daily Europe/../UTC", "no time zone of this host", "Europe/../UTC", zone},
        {"daily tzdata.zi", "no time zone of this host", "tzdata.zi", zone},
        {"daily UTC 12:00", "more than a time zone", "UTC 12:00", order},
        {"12:00 Europe/Berlin Mon", "more than a time zone", "Europe/Berlin Mon", order},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        Calendar *c = NULL;
        Error e = {0};
        int r = calendar_parse(cases[i].text, &c, &e);
        bool backwards = cases[i].hint == over;
        _cleanup_(freep) char *where = cases[i].where ? xasprintf("'%s'", cases[i].where) : xstrdup("the end");
        _cleanup_(freep) char *expected = xasprintf("%s at %s (%s%s)", cases[i].what, where,
                                                    backwards ? "the smaller comes first; " : "", cases[i].hint);
        if (r != -EINVAL || c || strcmp(error_message(&e), expected) != 0)
            fail_msg("'%s' gives %d: %s\nnot: %s", cases[i].text, r, error_message(&e), expected);
    }
}

/* What a stranger wrote does not reach a terminal as it is, nor fill the line. */
static void test_shown_is_harmless(void **state)
{
    (void)state;
    Calendar *c = NULL;
    Error e = {0};
    _cleanup_(freep) char *nasty = xasprintf("Mon \x1b]0;%0500d", 0);
    assert_int_equal(calendar_parse(nasty, &c, &e), -EINVAL);
    assert_null(strchr(e.msg, '\x1b'));
    assert_true(strlen(e.msg) < 200);
    assert_int_equal(calendar_parse(nasty, &c, NULL), -EINVAL);
}

static char *local_hour(void)
{
    time_t summer = (time_t)(moment("2024-07-01T12:00:00") / USEC_PER_SEC);
    struct tm tm;
    char text[32];
    strftime(text, sizeof text, "%H %Z", localtime_r(&summer, &tm));
    return xstrdup(text);
}

static void test_zone_of_others_stays(void **state)
{
    (void)state;
    static const struct {
        const char *tz, *hour;
    } zones[] = {{"Europe/Berlin", "14 CEST"}, {"America/New_York", "08 EDT"}, {"", NULL}, {NULL, NULL}};
    _cleanup_(calendar_freep) Calendar *c = parse("12:00 Asia/Tokyo;12:00 Australia/Lord_Howe;13:00 UTC;14:00");
    for (size_t i = 0; i < ELEMENTS(zones); i++) {
        uint64_t at;
        set_zone(zones[i].tz);
        _cleanup_(freep) char *before = local_hour();
        assert_int_equal(calendar_next(c, moment("2024-07-01T00:00:00"), &at), 0);
        assert_true(at == moment("2024-07-01T01:30:00"));
        assert_true(str_equal(getenv("TZ"), zones[i].tz));
        _cleanup_(freep) char *hour = local_hour();
        assert_string_equal(hour, before);
        assert_true(!zones[i].hour || str_equal(hour, zones[i].hour));
    }
}

/* TZ of three zones set and put back, over and over, costs no memory. */
static void test_zones_do_not_leak(void **state)
{
    (void)state;
    enum { WARM = 100, ROUNDS = 3000 };
    set_zone("America/New_York");
    _cleanup_(calendar_freep) Calendar *c = parse("12:00 Asia/Tokyo;12:00 Australia/Lord_Howe;12:00 Europe/Berlin");
    size_t before = 0;
    uint64_t at = moment("2024-07-01T00:00:00");
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i == WARM)
            before = mallinfo2().uordblks;
        assert_int_equal(calendar_next(c, at, &at), 0);
    }
    assert_int_equal(mallinfo2().uordblks, before);
}

/* The local zone is looked up at each question: nobody need call tzset() after a change. */
static void test_local_zone_may_change(void **state)
{
    (void)state;
    static const char *const zones[][2] = {{"Europe/Berlin", "2024-07-01T10:00:00"},
                                           {"America/New_York", "2024-07-01T16:00:00"},
                                           {"UTC", "2024-07-01T12:00:00"}};
    _cleanup_(calendar_freep) Calendar *c = parse("12:00");
    for (size_t i = 0; i < ELEMENTS(zones); i++) {
        uint64_t at;
        setenv("TZ", zones[i][0], 1);
        assert_int_equal(calendar_next(c, moment("2024-07-01T00:00:00"), &at), 0);
        assert_true(at == moment(zones[i][1]));
    }
}

static int tear_down(void **state)
{
    (void)state;
    set_zone(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cases, tear_down),
        cmocka_unit_test_teardown(test_departures, tear_down),
        cmocka_unit_test_teardown(test_fractions_and_after, tear_down),
        cmocka_unit_test_teardown(test_several, tear_down),
        cmocka_unit_test_teardown(test_ends_of_time, tear_down),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shown_is_harmless),
        cmocka_unit_test_teardown(test_zone_of_others_stays, tear_down),
        cmocka_unit_test_teardown(test_zones_do_not_leak, tear_down),
        cmocka_unit_test_teardown(test_local_zone_may_change, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
