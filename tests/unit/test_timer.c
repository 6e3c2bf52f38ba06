/* When a timed job runs next: daemon starts, elapses, clocks that are set, chance, and what an elapse comes to. Every
 * moment is written as a time of day of one day, so that a case reads like what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/clock.h"
#include "policies/calendar.h"
#include "supervisor/plan/timer.h"

#define S        USEC_PER_SEC
#define M        (60 * S)
#define H        (60 * M)
#define D        (24 * H)
#define DAY      (1700006400ull * S) /* Wed 2023-11-15 00:00:00 UTC */
#define AT(h, m) (DAY + (h)*H + (m)*M)
#define NEVER    USEC_INFINITY
#define BOOTED   (5 * H) /* the monotonic clock, whenever it does not matter */

static Calendar *calendar;

static TimerPolicy timer(const char *on_calendar, uint64_t every)
{
    Error e = {0};
    calendar = calendar_free(calendar);
    if (on_calendar && calendar_parse(on_calendar, &calendar, &e) < 0)
        fail_msg("%s: %s", on_calendar, e.msg);
    return (TimerPolicy){.on_calendar = calendar, .every = every};
}

static int set_up(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    calendar = calendar_free(calendar);
    return 0;
}

static void has_one(void **state)
{
    (void)state;
    TimerPolicy none = timer(NULL, NEVER), a = timer(NULL, H);
    assert_false(timer_is_set(&none));
    assert_true(timer_is_set(&a));
    TimerPolicy b = timer("daily", NEVER);
    assert_true(timer_is_set(&b));
    ModulePolicy m = {.start = START_AUTO, .timer = none};
    assert_true(module_starts(&m));
    m.start = START_MANUAL;
    assert_false(module_starts(&m));
    m = (ModulePolicy){.start = START_AUTO, .timer = b};
    assert_false(module_starts(&m));
}

/* --- the daemon's start --- */

static void armed_by_the_calendar(void **state)
{
    (void)state;
    const struct {
        const char *what;
        uint64_t since, last, now, next, next_persistent;
    } cases[] = {
        {"never seen before", 0, 0, AT(1, 0), AT(3, 0), AT(3, 0)},
        {"never run, first armed today", AT(0, 30), 0, AT(1, 0), AT(3, 0), AT(3, 0)},
        {"never run, its first elapse was missed", AT(0, 30), 0, AT(4, 0), AT(3, 0) + D, AT(4, 0)},
        {"ran yesterday", AT(0, 0) - D, AT(3, 0) - D, AT(1, 0), AT(3, 0), AT(3, 0)},
        {"missed today's", AT(0, 0) - D, AT(3, 0) - D, AT(4, 0), AT(3, 0) + D, AT(4, 0)},
        {"missed a hundred", AT(0, 0) - 101 * D, AT(3, 0) - 100 * D, AT(4, 0), AT(3, 0) + D, AT(4, 0)},
        {"ran today, if late", AT(0, 0), AT(3, 5), AT(4, 0), AT(3, 0) + D, AT(3, 0) + D},
        {"ran in this very microsecond", AT(0, 0), AT(3, 0), AT(3, 0), AT(3, 0) + D, AT(3, 0) + D},
        {"the last run is in the future: the clock was set back", AT(0, 0), AT(3, 0), AT(2, 0), AT(3, 0), AT(3, 0)},
        {"all of it is", AT(5, 0), AT(6, 0), AT(2, 0), AT(3, 0), AT(3, 0)},
        {"by less than a correction", AT(0, 0), AT(3, 0), AT(3, 0) - 10 * S, AT(3, 0) + D, AT(3, 0) + D},
        {"by just more", AT(0, 0), AT(3, 0), AT(3, 0) - TIMER_STEP_USEC - 1, AT(3, 0), AT(3, 0)},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        for (int persistent = 0; persistent < 2; persistent++) {
            TimerPolicy p = timer("*-*-* 03:00:00", NEVER);
            p.persistent = persistent;
            TimerStamp stamp = {cases[i].since, cases[i].last};
            TimerNow now = {.wall = cases[i].now, .monotonic = BOOTED};
            TimerState s;
            timer_arm(&p, &stamp, &now, &s);
            if (s.calendar != (persistent ? cases[i].next_persistent : cases[i].next))
                fail_msg("%s, persistent %d: %lld s off", cases[i].what, persistent,
                         (long long)(s.calendar - cases[i].next) / (long long)S);
            assert_int_equal(s.every, NEVER);
            assert_true(s.base <= now.wall + TIMER_STEP_USEC);
            assert_int_equal(timer_due(&s, &now), s.calendar <= now.wall);
            assert_int_equal(timer_next(&s, &now), s.calendar);
        }
}

static void armed_by_the_interval(void **state)
{
    (void)state;
    const struct {
        const char *what;
        uint64_t since, last, left, left_persistent; /* with every = 1h, at 10:00 */
    } cases[] = {
        {"never seen before", 0, 0, H, H},
        {"first armed 20 minutes ago, by a daemon that is gone", AT(9, 40), 0, 40 * M, 40 * M},
        {"ran 15 minutes ago", AT(0, 0), AT(9, 45), 45 * M, 45 * M},
        {"ran an hour ago to the microsecond: due, or on to the next", AT(0, 0), AT(9, 0), H, 0},
        {"overdue for a while: the old beat is kept", AT(0, 0), AT(6, 50), 50 * M, 0},
        {"in the future: the clock was set back", AT(0, 0), AT(11, 0), H, H},
        {"all of it is in the future", AT(11, 0), AT(12, 0), H, H},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        for (int persistent = 0; persistent < 2; persistent++) {
            TimerPolicy p = timer(NULL, H);
            p.persistent = persistent;
            TimerStamp stamp = {cases[i].since, cases[i].last};
            TimerNow now = {.wall = AT(10, 0), .monotonic = 7 * S};
            TimerState s;
            timer_arm(&p, &stamp, &now, &s);
            uint64_t left = persistent ? cases[i].left_persistent : cases[i].left;
            if (s.every != 7 * S + left)
                fail_msg("%s, persistent %d: in %lld s", cases[i].what, persistent,
                         (long long)(s.every - 7 * S) / (long long)S);
            assert_int_equal(s.calendar, NEVER);
            assert_int_equal(timer_next(&s, &now), AT(10, 0) + left);
            assert_int_equal(timer_due(&s, &now), left == 0);
        }
}

static void nothing_is_left_of_the_calendar(void **state)
{
    (void)state;
    TimerPolicy p = timer("2023-11-15 03:00:00", NEVER);
    TimerStamp stamp = {AT(0, 0), AT(3, 0)};
    TimerNow now = {.wall = AT(4, 0), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &stamp, &now, &s);
    assert_int_equal(s.calendar, NEVER);
    assert_false(timer_due(&s, &now));
    assert_int_equal(timer_next(&s, &now), NEVER);
}

/* --- on and on --- */

static void elapses_one_by_one(void **state)
{
    (void)state;
    TimerPolicy p = timer("*-*-* *:00:00", NEVER);
    TimerNow now = {.wall = AT(0, 20), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    for (unsigned h = 1; h < 50; h++) {
        assert_int_equal(s.calendar, AT(h, 0));
        now.wall = AT(h, 0) - 1;
        assert_false(timer_due(&s, &now));
        now.wall = AT(h, 0) + h * 1000; /* the loop is a little late */
        assert_true(timer_due(&s, &now));
        timer_elapsed(&p, &now, &s);
        assert_false(timer_due(&s, &now));
        assert_int_equal(s.base, now.wall);
    }
    /* later than a whole hour, as after a suspend: once, not twice */
    now.wall = AT(60, 30);
    assert_true(timer_due(&s, &now));
    timer_elapsed(&p, &now, &s);
    assert_int_equal(s.calendar, AT(61, 0));
}

static void the_interval_counts_from_the_last_run(void **state)
{
    (void)state;
    TimerPolicy p = timer(NULL, 10 * M);
    TimerNow now = {.wall = AT(1, 0), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    assert_int_equal(s.every, BOOTED + 10 * M);
    now.monotonic += 4 * M; /* run by hand */
    timer_elapsed(&p, &now, &s);
    assert_int_equal(s.every, BOOTED + 14 * M);
    now.monotonic = BOOTED + 14 * M - 1;
    assert_false(timer_due(&s, &now));
    now.monotonic++;
    assert_true(timer_due(&s, &now));
    /* shown by the wall clock; what is overdue is now, not in the past */
    now.monotonic += M;
    assert_int_equal(timer_next(&s, &now), now.wall);
}

static void both_at_once(void **state)
{
    (void)state;
    TimerPolicy p = timer("*-*-* 03:00:00", 2 * H);
    TimerNow now = {.wall = AT(0, 30), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    assert_int_equal(timer_next(&s, &now), AT(2, 30));
    now = (TimerNow){.wall = AT(2, 30), .monotonic = BOOTED + 2 * H};
    assert_true(timer_due(&s, &now));
    timer_elapsed(&p, &now, &s);
    assert_int_equal(timer_next(&s, &now), AT(3, 0));
    now = (TimerNow){.wall = AT(3, 0), .monotonic = BOOTED + 2 * H + 30 * M};
    timer_elapsed(&p, &now, &s);
    assert_int_equal(s.calendar, AT(3, 0) + D);
    assert_int_equal(timer_next(&s, &now), AT(5, 0));
}

/* --- the clock is set --- */

static void the_clock_is_set(void **state)
{
    (void)state;
    const struct {
        const char *what;
        uint64_t last, now, next; /* hourly; the last elapse and run were at `last` */
    } cases[] = {
        {"forward, over nothing", AT(3, 0), AT(3, 50), AT(4, 0)},
        {"forward, over one: it runs now", AT(3, 0), AT(4, 10), AT(4, 10)},
        {"forward, to the instant", AT(3, 0), AT(4, 0), AT(4, 0)},
        {"forward, over two years of them: once", AT(3, 0), AT(3, 0) + 730 * D, AT(3, 0) + 730 * D},
        {"back, not beyond the last run", AT(3, 0), AT(3, 5), AT(4, 0)},
        {"back by an hour: that hour is worked again", AT(3, 0), AT(2, 10), AT(3, 0)},
        {"back by a day", AT(3, 0), AT(3, 10) - D, AT(4, 0) - D},
        {"back by seconds, beyond the last run: not again", AT(3, 0), AT(3, 0) - 2 * S, AT(4, 0)},
        {"back by a minute", AT(3, 0), AT(3, 0) - TIMER_STEP_USEC, AT(4, 0)},
        {"back by just more", AT(3, 0), AT(3, 0) - TIMER_STEP_USEC - 1, AT(3, 0)},
        {"set to what it was", AT(3, 0), AT(3, 20), AT(4, 0)},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        for (int persistent = 0; persistent < 2; persistent++) {
            TimerPolicy p = timer("*-*-* *:00:00", 100 * D);
            p.persistent = persistent;
            TimerNow now = {.wall = cases[i].last, .monotonic = BOOTED};
            TimerStamp stamp = {AT(0, 0) - 9 * D, cases[i].last};
            TimerState s;
            timer_arm(&p, &stamp, &now, &s);
            timer_elapsed(&p, &now, &s);
            uint64_t every = s.every;
            now.wall = cases[i].now;
            timer_clock_set(&p, &stamp, &now, &s);
            if (s.calendar != cases[i].next)
                fail_msg("%s: %lld s off", cases[i].what, (long long)(s.calendar - cases[i].next) / (long long)S);
            assert_int_equal(s.every, every); /* takes no notice */
            assert_int_equal(timer_due(&s, &now), cases[i].next <= cases[i].now);
            /* and from there it goes on as ever */
            now.wall = MAX2(now.wall, s.calendar);
            timer_elapsed(&p, &now, &s);
            assert_true(s.calendar > now.wall && s.calendar <= now.wall + H);
        }
}

/* Set back, and after a while to what is right: what had run before is not run again. */
static void the_clock_was_wrong_for_a_while(void **state)
{
    (void)state;
    TimerPolicy p = timer("*-*-* *:00:00", NEVER);
    TimerStamp stamp = {AT(0, 0), AT(3, 0)};
    TimerNow now = {.wall = AT(3, 0), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &stamp, &now, &s);
    now.wall = AT(1, 10);
    timer_clock_set(&p, &stamp, &now, &s);
    assert_int_equal(s.calendar, AT(2, 0));
    now.wall = AT(3, 40);
    timer_clock_set(&p, &stamp, &now, &s);
    assert_int_equal(s.calendar, AT(4, 0));
    /* a machine that keeps no time comes up in 1970, and learns of the day later */
    now.wall = 100 * S;
    timer_arm(&p, &stamp, &now, &s);
    assert_int_equal(s.calendar, H);
    now.wall = AT(3, 50);
    timer_clock_set(&p, &stamp, &now, &s);
    assert_int_equal(s.calendar, AT(4, 0));
}

/* A clock that is a little behind the last elapse, and another elapse then: it goes on from the later of the two. */
static void elapses_never_go_back(void **state)
{
    (void)state;
    TimerPolicy p = timer("*-*-* *:00:00", M);
    TimerNow now = {.wall = AT(3, 0), .monotonic = BOOTED};
    TimerState s;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    timer_elapsed(&p, &now, &s);
    now.wall -= 30 * S;
    timer_elapsed(&p, &now, &s);
    assert_int_equal(s.base, AT(3, 0));
    assert_int_equal(s.calendar, AT(4, 0));
}

static void summer_time(void **state)
{
    (void)state;
    setenv("TZ", ":Europe/Berlin", 1);
    tzset();
    /* 2023-10-29: 02:30 comes twice, at 00:30 and 01:30 UTC; 2024-03-31: not at all */
    uint64_t autumn = 1698537600ull * S, spring = 1711843200ull * S; /* 00:00 UTC of these days */
    TimerPolicy p = timer("*-*-* 02:30:00", NEVER);
    TimerNow now = {.wall = autumn - H, .monotonic = BOOTED};
    TimerState s;
    unsigned runs = 0;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    for (; s.calendar < autumn + 4 * H; runs++) {
        now.wall = s.calendar;
        timer_elapsed(&p, &now, &s);
    }
    assert_int_equal(runs, 1);
    now.wall = spring - H;
    timer_arm(&p, &(TimerStamp){0}, &now, &s);
    assert_true(s.calendar > spring - H && s.calendar < spring + 26 * H);
    set_up(state);
}

/* --- chance --- */

static void the_delay_is_within_its_bounds(void **state)
{
    (void)state;
    const double chances[] = {0, 0.25, 0.5, 0.999999};
    for (size_t i = 0; i < ELEMENTS(chances); i++) {
        TimerPolicy p = timer("*-*-* *:00:00", 30 * M);
        p.randomized_delay = 20 * M;
        TimerNow now = {.wall = AT(1, 40), .monotonic = BOOTED, .random = chances[i]};
        TimerState s;
        timer_arm(&p, &(TimerStamp){0}, &now, &s);
        uint64_t delay = (uint64_t)(chances[i] * (double)(20 * M));
        assert_int_equal(s.calendar, AT(2, 0) + delay);
        assert_int_equal(s.every, BOOTED + 30 * M + delay);
        now.wall = s.calendar;
        timer_elapsed(&p, &now, &s);
        assert_int_equal(s.calendar, AT(3, 0) + delay);
        assert_int_equal(s.every, BOOTED + 30 * M + delay);
    }
}

/* The daemon is restarted while an elapse is held back: it is not lost, nor put off beyond its bound; persistent or
 * not. */
static void what_is_held_back_is_not_lost(void **state)
{
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++)
        for (unsigned late = 0; late <= 25; late += 5) {
            TimerPolicy p = timer("*-*-* 03:00:00", NEVER);
            p.randomized_delay = 20 * M;
            p.persistent = persistent;
            TimerStamp stamp = {AT(0, 0) - 9 * D, AT(3, 0) - D};
            TimerNow now = {.wall = AT(3, late), .monotonic = BOOTED, .random = 0.5};
            TimerState s;
            timer_arm(&p, &stamp, &now, &s);
            uint64_t expected = late < 20    ? now.wall + (20 - late) * M / 2
                                : persistent ? now.wall + 10 * M /* missed: the whole delay, or all come at boot */
                                             : AT(3, 10) + D;
            assert_int_equal(s.calendar, expected);
            /* it has run already: there is nothing to make up for */
            stamp.last = AT(3, 0);
            timer_arm(&p, &stamp, &now, &s);
            assert_int_equal(s.calendar, AT(3, 10) + D);
        }
    for (int persistent = 0; persistent < 2; persistent++) {
        TimerPolicy p = timer(NULL, H);
        p.randomized_delay = 20 * M;
        p.persistent = persistent;
        TimerNow now = {.wall = AT(10, 0), .monotonic = BOOTED, .random = 0.5};
        TimerState s;
        timer_arm(&p, &(TimerStamp){AT(0, 0), AT(8, 50)}, &now, &s); /* ten minutes over */
        assert_int_equal(s.every, BOOTED + 5 * M);
        timer_arm(&p, &(TimerStamp){AT(0, 0), AT(8, 30)}, &now, &s); /* thirty */
        assert_int_equal(s.every, BOOTED + (persistent ? 10 * M : 30 * M + 10 * M));
    }
}

static void large_numbers(void **state)
{
    (void)state;
    TimerPolicy p = timer("*-*-* *:00:00", NEVER - 1);
    p.randomized_delay = NEVER - 1;
    TimerNow now = {.wall = AT(1, 0), .monotonic = BOOTED, .random = 0.999999999};
    TimerState s;
    timer_arm(&p, &(TimerStamp){NEVER, NEVER}, &now, &s);
    assert_true(s.calendar > now.wall && s.every > now.monotonic);
    timer_elapsed(&p, &now, &s);
    timer_clock_set(&p, &(TimerStamp){0}, &now, &s);
    assert_true(timer_next(&s, &now) > now.wall);
}

/* --- what an elapse comes to --- */

static void decisions(void **state)
{
    (void)state;
    static const TimerAnswer expected[WHEN_RUNNING_N][2][2] = {
        /* idle: nobody follows, somebody does; running: the same */
        [WHEN_RUNNING_SKIP] = {{TIMER_RUN, TIMER_RUN}, {TIMER_SKIP, TIMER_SKIP}},
        [WHEN_RUNNING_QUEUE] = {{TIMER_RUN, TIMER_RUN}, {TIMER_QUEUE, TIMER_SKIP}},
    };
    for (WhenRunning w = 0; w < WHEN_RUNNING_N; w++)
        for (int running = 0; running < 2; running++)
            for (int next = 0; next < 2; next++)
                assert_int_equal(timer_decide(w, running, next), expected[w][running][next]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_one),
        cmocka_unit_test(armed_by_the_calendar),
        cmocka_unit_test(armed_by_the_interval),
        cmocka_unit_test(nothing_is_left_of_the_calendar),
        cmocka_unit_test(elapses_one_by_one),
        cmocka_unit_test(the_interval_counts_from_the_last_run),
        cmocka_unit_test(both_at_once),
        cmocka_unit_test(the_clock_is_set),
        cmocka_unit_test(the_clock_was_wrong_for_a_while),
        cmocka_unit_test(elapses_never_go_back),
        cmocka_unit_test(summer_time),
        cmocka_unit_test(the_delay_is_within_its_bounds),
        cmocka_unit_test(what_is_held_back_is_not_lost),
        cmocka_unit_test(large_numbers),
        cmocka_unit_test(decisions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
