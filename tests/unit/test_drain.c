/* The drain decision at, before and after each of its instants, and drains played by their own wake-ups. */
#include "tests/unit/plan_world.h"

#include "base/clock.h"
#include "supervisor/stop/drain.h"

#define S     USEC_PER_SEC
#define BEAT  DRAIN_PROGRESS_USEC
#define GRACE DRAIN_GRACE_USEC
#define FIRST DRAIN_LOOK_FIRST_USEC
#define LAST  DRAIN_LOOK_LAST_USEC

enum { T0 = 1000003, SETTLE = 200000 };

static Drain begun(uint64_t soft, uint64_t hard)
{
    Drain d;
    memset(&d, 0xff, sizeof d); /* drain_begin must set all of it */
    drain_begin(&d, T0, T0, &(DrainLimits){.soft = soft, .hard = hard});
    return d;
}

/* A drain whose gate has been closed for long, by hand. */
static Drain begun_late(uint64_t soft, uint64_t hard)
{
    Drain d;
    memset(&d, 0xff, sizeof d);
    drain_begin(&d, T0, T0 - GRACE, &(DrainLimits){.soft = soft, .hard = hard});
    return d;
}

/* A source without sockets: nothing to look at. */
static DrainStep with(Drain *d, uint64_t now, uint64_t in_flight)
{
    return drain_step(d, now, &(DrainSeen){.in_flight = in_flight});
}

static const DrainTruth clean;

static DrainStep at_rest(Drain *d, uint64_t now, const DrainTruth *truth)
{
    return drain_step(d, now, &(DrainSeen){.can_look = true, .truth = truth});
}

static void assert_wait(DrainStep step, bool warn, bool progress, uint64_t wake_at)
{
    assert_int_equal(step.verdict, DRAIN_WAIT);
    assert_int_equal(step.warn, warn);
    assert_int_equal(step.progress, progress);
    assert_int_equal(step.wake_at, wake_at);
}

static void assert_over(DrainStep step, DrainVerdict verdict)
{
    assert_int_equal(step.verdict, verdict);
    assert_false(step.warn);
    assert_false(step.progress);
}

static void begin_sets_all(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_int_equal(d.begun, T0);
    assert_int_equal(d.soft, T0 + 10 * S);
    assert_int_equal(d.hard, T0 + 30 * S);
    assert_int_equal(d.grace_over, T0 + GRACE);
    assert_int_equal(d.next_progress, T0 + BEAT);
    assert_int_equal(d.next_look, 0);
    assert_int_equal(d.look_again, FIRST);
    assert_false(d.warned);
    assert_false(d.hurried);
}

static void done_wins_over_everything(void **state)
{
    (void)state;
    Drain d = begun_late(10 * S, 30 * S);
    assert_over(with(&d, T0, 0), DRAIN_DONE);
    assert_over(with(&d, T0 + 10 * S, 0), DRAIN_DONE);
    assert_over(with(&d, T0 + 99 * S, 0), DRAIN_DONE);
    d.hurried = true;
    assert_over(with(&d, T0 + 99 * S, 0), DRAIN_DONE);
    assert_over(at_rest(&d, T0 + 99 * S, &clean), DRAIN_DONE);
}

/* What passed the gate while it was being closed is counted by the end of the grace. */
static void nothing_in_flight_is_not_believed_at_once(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_wait(with(&d, T0, 0), false, false, T0 + GRACE);
    assert_wait(with(&d, T0 + GRACE - 1, 0), false, false, T0 + GRACE);
    assert_over(with(&d, T0 + GRACE, 0), DRAIN_DONE);
    d = begun(10 * S, 30 * S);
    assert_wait(with(&d, T0, 0), false, false, T0 + GRACE);
    assert_wait(with(&d, T0 + 5, 1), false, false, T0 + BEAT); /* it came */
    assert_over(with(&d, T0 + GRACE + 5, 0), DRAIN_DONE);
}

/* An answer may come in several pieces: there is no use in looking before the last one can have settled. */
static void an_answer_settles(void **state)
{
    (void)state;
    DrainTruth found = {.busy = 1, .settled = T0 + SETTLE};
    Drain d = begun_late(10 * S, 30 * S);
    d.next_progress = USEC_INFINITY;
    assert_over(at_rest(&d, T0, NULL), DRAIN_LOOK);
    assert_wait(at_rest(&d, T0, &found), false, false, T0 + SETTLE);
    assert_wait(at_rest(&d, T0 + SETTLE - 1, NULL), false, false, T0 + SETTLE);
    assert_over(at_rest(&d, T0 + SETTLE, NULL), DRAIN_LOOK);
    /* It has gone on; but too far ahead nobody plans. */
    found.settled = T0 + SETTLE + 10 * S;
    assert_wait(at_rest(&d, T0 + SETTLE, &found), false, false, T0 + SETTLE + LAST);
    /* A time that is over, or of what does not settle, says nothing. */
    found.settled = T0;
    assert_wait(at_rest(&d, T0 + SETTLE + LAST, &found), false, false, T0 + SETTLE + LAST + 4 * FIRST);
    d = begun_late(10 * S, 30 * S);
    found = (DrainTruth){.unread = 1, .settled = T0 + SETTLE};
    assert_wait(at_rest(&d, T0, &found), false, false, T0 + FIRST);
}

static void every_finding_holds(void **state)
{
    (void)state;
    const DrainTruth found[] = {{.busy = 1}, {.unread = 1}, {.unsent = 1}, {.unacked = 1}, {.not_accepted = 1}};
    assert_true(drain_truth_is_clean(&clean));
    for (size_t i = 0; i < ELEMENTS(found); i++) {
        assert_false(drain_truth_is_clean(&found[i]));
        Drain d = begun_late(10 * S, 30 * S);
        assert_over(at_rest(&d, T0, NULL), DRAIN_LOOK);
        assert_wait(at_rest(&d, T0, &found[i]), false, false, T0 + FIRST);
        /* Not before it is due; then it may be clean. */
        assert_wait(at_rest(&d, T0 + FIRST - 1, NULL), false, false, T0 + FIRST);
        assert_over(at_rest(&d, T0 + FIRST, NULL), DRAIN_LOOK);
        assert_over(at_rest(&d, T0 + FIRST, &clean), DRAIN_DONE);
    }
}

static void looks_come_less_and_less_often(void **state)
{
    (void)state;
    const DrainTruth found = {.unacked = 1};
    Drain d = begun_late(USEC_INFINITY, USEC_INFINITY);
    d.next_progress = USEC_INFINITY;
    uint64_t now = T0, pause = FIRST;
    for (size_t i = 0; i < 12; i++) {
        assert_over(at_rest(&d, now, NULL), DRAIN_LOOK);
        assert_wait(at_rest(&d, now, &found), false, false, now + pause);
        now += pause;
        pause = MIN2(pause * 2, LAST);
    }
    assert_int_equal(pause, LAST);
    /* Something came in after all: its end is looked at without delay. */
    assert_int_equal(with(&d, now, 1).verdict, DRAIN_WAIT);
    assert_over(at_rest(&d, now + 1, NULL), DRAIN_LOOK);
    assert_wait(at_rest(&d, now + 1, &found), false, false, now + 1 + FIRST);
}

/* Who is about to be cut is looked at once more, though no look is due. */
static void the_last_look(void **state)
{
    (void)state;
    const DrainTruth found = {.unsent = 1};
    Drain d = begun_late(USEC_INFINITY, FIRST / 2);
    assert_over(at_rest(&d, T0, NULL), DRAIN_LOOK);
    assert_wait(at_rest(&d, T0, &found), false, false, T0 + FIRST / 2);
    assert_over(at_rest(&d, T0 + FIRST / 2, NULL), DRAIN_LOOK);
    assert_over(at_rest(&d, T0 + FIRST / 2, &found), DRAIN_HARD_LIMIT);
    assert_over(at_rest(&d, T0 + FIRST / 2, &clean), DRAIN_DONE);
    d = begun_late(10 * S, 30 * S);
    assert_over(at_rest(&d, T0, NULL), DRAIN_LOOK);
    assert_wait(at_rest(&d, T0, &found), false, false, T0 + FIRST);
    d.hurried = true;
    assert_over(at_rest(&d, T0 + 1, NULL), DRAIN_LOOK);
    assert_over(at_rest(&d, T0 + 1, &found), DRAIN_CUT);
    /* Within the grace there is nothing that a look could prove. */
    d = begun(10 * S, 30 * S);
    d.hurried = true;
    assert_over(at_rest(&d, T0, NULL), DRAIN_CUT);
    d = begun(0, 0);
    assert_over(at_rest(&d, T0, NULL), DRAIN_HARD_LIMIT);
}

static void nobody_is_left(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_over(drain_step(&d, T0, &(DrainSeen){.in_flight = 3, .can_look = true, .abandoned = true}), DRAIN_ABANDONED);
    assert_over(drain_step(&d, T0, &(DrainSeen){.can_look = true, .abandoned = true}), DRAIN_DONE);
    d.hurried = true;
    assert_over(drain_step(&d, T0 + 30 * S, &(DrainSeen){.abandoned = true}), DRAIN_DONE);
}

static void soft_warns_once(void **state)
{
    (void)state;
    Drain d = begun(200, 30 * S); /* before the first beat */
    assert_wait(with(&d, T0, 1), false, false, T0 + 200);
    assert_wait(with(&d, T0 + 199, 1), false, false, T0 + 200);
    assert_wait(with(&d, T0 + 200, 1), true, false, T0 + BEAT);
    assert_wait(with(&d, T0 + 200, 1), false, false, T0 + BEAT);
    assert_wait(with(&d, T0 + 201, 1), false, false, T0 + BEAT);
}

static void hard_ends(void **state)
{
    (void)state;
    Drain d = begun(USEC_INFINITY, 300);
    assert_wait(with(&d, T0 + 299, UINT64_MAX), false, false, T0 + 300);
    assert_over(with(&d, T0 + 300, UINT64_MAX), DRAIN_HARD_LIMIT);
    assert_over(with(&d, T0 + 301, 1), DRAIN_HARD_LIMIT);
}

static void soft_equal_to_hard_and_over_it(void **state)
{
    (void)state;
    Drain equal = begun(300, 300), over = begun(400, 300);
    assert_wait(with(&equal, T0 + 299, 1), false, false, T0 + 300);
    assert_over(with(&equal, T0 + 300, 1), DRAIN_HARD_LIMIT); /* the end says more than a warning */
    assert_wait(with(&over, T0 + 299, 1), false, false, T0 + 300);
    assert_over(with(&over, T0 + 300, 1), DRAIN_HARD_LIMIT);
}

static void zero_limits(void **state)
{
    (void)state;
    Drain none = begun(0, 0), soft = begun(0, 30 * S);
    assert_over(with(&none, T0, 1), DRAIN_HARD_LIMIT);
    none = begun_late(0, 0);
    assert_over(with(&none, T0, 0), DRAIN_DONE);
    assert_wait(with(&soft, T0, 1), true, false, T0 + BEAT);
    assert_wait(with(&soft, T0, 1), false, false, T0 + BEAT);
}

static void no_limits(void **state)
{
    (void)state;
    Drain d = begun(USEC_INFINITY, USEC_INFINITY);
    assert_int_equal(d.soft, USEC_INFINITY);
    assert_int_equal(d.hard, USEC_INFINITY);
    assert_wait(with(&d, T0, 1), false, false, T0 + BEAT);
    assert_wait(with(&d, T0 + BEAT + 1000000 * S, 1), false, true, T0 + BEAT + 1000000 * S + BEAT);
    d = begun(USEC_INFINITY - T0 - 1, USEC_INFINITY - T0); /* sums that just reach infinity stay there */
    assert_int_equal(d.soft, USEC_INFINITY - 1);
    assert_int_equal(d.hard, USEC_INFINITY);
    d = begun(USEC_INFINITY - 1, USEC_INFINITY - 1);
    assert_int_equal(d.hard, USEC_INFINITY);
    assert_int_equal(with(&d, USEC_INFINITY, 1).verdict, DRAIN_WAIT);
}

static void hurry_cuts(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_wait(with(&d, T0, 1), false, false, T0 + BEAT);
    d.hurried = true;
    assert_over(with(&d, T0, 1), DRAIN_CUT);
    assert_over(with(&d, T0 + 60 * S, 1), DRAIN_CUT); /* the cut came first */
}

static void progress_keeps_its_beat(void **state)
{
    (void)state;
    Drain d = begun(60 * S, 60 * S);
    assert_wait(with(&d, T0 + BEAT - 1, 1), false, false, T0 + BEAT);
    assert_wait(with(&d, T0 + BEAT, 1), false, true, T0 + 2 * BEAT);
    assert_wait(with(&d, T0 + BEAT, 1), false, false, T0 + 2 * BEAT);         /* the same instant again */
    assert_wait(with(&d, T0 + 2 * BEAT + 7, 1), false, true, T0 + 3 * BEAT);  /* late, but no drift */
    assert_wait(with(&d, T0 + 9 * BEAT + 1, 1), false, true, T0 + 10 * BEAT); /* a pause is told of once */
    assert_wait(with(&d, T0 + 9 * BEAT + 2, 1), false, false, T0 + 10 * BEAT);
    /* Also while only the sockets hold it. */
    const DrainTruth found = {.unread = 1};
    assert_wait(at_rest(&d, T0 + 11 * BEAT, &found), false, true, T0 + 11 * BEAT + FIRST);
}

/* Followed by its own wake-ups a drain ends at its hard limit exactly, has warned once, at its soft limit exactly, and
 * has shown progress at each beat before the end. */
static void random_drains(void **state)
{
    (void)state;
    uint64_t seed = 0xd4a1;
    for (size_t round = 0; round < 3000; round++) {
        uint64_t soft = random_below(&seed, 5000000), hard = random_below(&seed, 5000000);
        Drain d = begun(soft, hard);
        uint64_t now = T0, warnings = 0, beats = 0;
        for (;;) {
            DrainStep step = with(&d, now, 1);
            if (step.verdict != DRAIN_WAIT) {
                assert_int_equal(step.verdict, DRAIN_HARD_LIMIT);
                break;
            }
            if (step.warn)
                assert_int_equal(now, T0 + soft);
            if (step.progress)
                assert_int_equal((now - T0) % BEAT, 0);
            warnings += step.warn;
            beats += step.progress;
            assert_true(step.wake_at > now); /* never a busy loop */
            now = step.wake_at;
        }
        assert_int_equal(now, T0 + hard);
        assert_int_equal(warnings, soft < hard);
        assert_int_equal(beats, hard == 0 ? 0 : (hard - 1) / BEAT);
    }
}

/* Whatever it sees: it never looks twice in a row, never says done against what it saw, never waits past a limit or for
 * a moment that has passed, and ends. */
static void random_sights(void **state)
{
    (void)state;
    uint64_t seed = 0x5167;
    for (size_t round = 0; round < 20000; round++) {
        uint64_t hard = random_below(&seed, 3000000);
        Drain d = begun(random_below(&seed, 3000000), hard);
        d.grace_over = T0 + random_below(&seed, 2 * GRACE);
        uint64_t now = T0;
        for (size_t steps = 0;; steps++) {
            assert_true(steps < 100000);
            if (random_below(&seed, 50) == 0)
                d.hurried = true;
            DrainSeen seen = {.in_flight = random_below(&seed, 3),
                              .can_look = random_below(&seed, 3) != 0,
                              .abandoned = random_below(&seed, 100) == 0};
            DrainTruth truth = {.busy = random_below(&seed, 2),
                                .unacked = random_below(&seed, 2),
                                .settled = now + random_below(&seed, 1000000) - 500000};
            DrainStep step = drain_step(&d, now, &seen);
            if (step.verdict == DRAIN_LOOK) {
                assert_true(seen.can_look && seen.in_flight == 0 && !seen.abandoned);
                seen.truth = &truth;
                step = drain_step(&d, now, &seen);
                assert_int_not_equal(step.verdict, DRAIN_LOOK);
            }
            bool rest = seen.in_flight == 0 && now >= d.grace_over &&
                        (!seen.can_look || (seen.truth && drain_truth_is_clean(seen.truth)));
            if (step.verdict == DRAIN_DONE)
                assert_true(rest || (seen.abandoned && seen.in_flight == 0));
            else
                assert_false(rest);
            if (step.verdict == DRAIN_CUT)
                assert_true(d.hurried);
            if (step.verdict == DRAIN_HARD_LIMIT)
                assert_true(now >= T0 + hard);
            if (step.verdict != DRAIN_WAIT)
                break;
            assert_true(step.wake_at > now && step.wake_at <= T0 + hard);
            now = random_below(&seed, 3) ? step.wake_at : now + 1 + random_below(&seed, step.wake_at - now);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_sets_all),
        cmocka_unit_test(done_wins_over_everything),
        cmocka_unit_test(nothing_in_flight_is_not_believed_at_once),
        cmocka_unit_test(an_answer_settles),
        cmocka_unit_test(every_finding_holds),
        cmocka_unit_test(looks_come_less_and_less_often),
        cmocka_unit_test(the_last_look),
        cmocka_unit_test(nobody_is_left),
        cmocka_unit_test(soft_warns_once),
        cmocka_unit_test(hard_ends),
        cmocka_unit_test(soft_equal_to_hard_and_over_it),
        cmocka_unit_test(zero_limits),
        cmocka_unit_test(no_limits),
        cmocka_unit_test(hurry_cuts),
        cmocka_unit_test(progress_keeps_its_beat),
        cmocka_unit_test(random_drains),
        cmocka_unit_test(random_sights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
