/* The drain decision at, before and after each of its instants, and drains played by their own wake-ups. */
#include "tests/unit/plan_world.h"

#include "base/clock.h"
#include "supervisor/stop/drain.h"

#define S    USEC_PER_SEC
#define BEAT DRAIN_PROGRESS_USEC

enum { T0 = 1000003 };

static Drain begun(uint64_t soft, uint64_t hard)
{
    Drain d;
    memset(&d, 0xff, sizeof d); /* drain_begin must set all of it */
    drain_begin(&d, T0, soft, hard);
    return d;
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
    assert_int_equal(d.next_progress, T0 + BEAT);
    assert_false(d.warned);
    assert_false(d.hurried);
}

static void done_wins_over_everything(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_over(drain_step(&d, T0, 0), DRAIN_DONE);
    assert_over(drain_step(&d, T0 + 10 * S, 0), DRAIN_DONE);
    assert_over(drain_step(&d, T0 + 99 * S, 0), DRAIN_DONE);
    d.hurried = true;
    assert_over(drain_step(&d, T0 + 99 * S, 0), DRAIN_DONE);
}

static void soft_warns_once(void **state)
{
    (void)state;
    Drain d = begun(200, 30 * S); /* before the first beat */
    assert_wait(drain_step(&d, T0, 1), false, false, T0 + 200);
    assert_wait(drain_step(&d, T0 + 199, 1), false, false, T0 + 200);
    assert_wait(drain_step(&d, T0 + 200, 1), true, false, T0 + BEAT);
    assert_wait(drain_step(&d, T0 + 200, 1), false, false, T0 + BEAT);
    assert_wait(drain_step(&d, T0 + 201, 1), false, false, T0 + BEAT);
}

static void hard_ends(void **state)
{
    (void)state;
    Drain d = begun(USEC_INFINITY, 300);
    assert_wait(drain_step(&d, T0 + 299, UINT64_MAX), false, false, T0 + 300);
    assert_over(drain_step(&d, T0 + 300, UINT64_MAX), DRAIN_HARD_LIMIT);
    assert_over(drain_step(&d, T0 + 301, 1), DRAIN_HARD_LIMIT);
}

static void soft_equal_to_hard_and_over_it(void **state)
{
    (void)state;
    Drain equal = begun(300, 300), over = begun(400, 300);
    assert_wait(drain_step(&equal, T0 + 299, 1), false, false, T0 + 300);
    assert_over(drain_step(&equal, T0 + 300, 1), DRAIN_HARD_LIMIT); /* the end says more than a warning */
    assert_wait(drain_step(&over, T0 + 299, 1), false, false, T0 + 300);
    assert_over(drain_step(&over, T0 + 300, 1), DRAIN_HARD_LIMIT);
}

static void zero_limits(void **state)
{
    (void)state;
    Drain none = begun(0, 0), soft = begun(0, 30 * S);
    assert_over(drain_step(&none, T0, 1), DRAIN_HARD_LIMIT);
    none = begun(0, 0);
    assert_over(drain_step(&none, T0, 0), DRAIN_DONE);
    assert_wait(drain_step(&soft, T0, 1), true, false, T0 + BEAT);
    assert_wait(drain_step(&soft, T0, 1), false, false, T0 + BEAT);
}

static void no_limits(void **state)
{
    (void)state;
    Drain d = begun(USEC_INFINITY, USEC_INFINITY);
    assert_int_equal(d.soft, USEC_INFINITY);
    assert_int_equal(d.hard, USEC_INFINITY);
    assert_wait(drain_step(&d, T0, 1), false, false, T0 + BEAT);
    assert_wait(drain_step(&d, T0 + BEAT + 1000000 * S, 1), false, true, T0 + BEAT + 1000000 * S + BEAT);
    d = begun(USEC_INFINITY - T0 - 1, USEC_INFINITY - T0); /* sums that just reach infinity stay there */
    assert_int_equal(d.soft, USEC_INFINITY - 1);
    assert_int_equal(d.hard, USEC_INFINITY);
    d = begun(USEC_INFINITY - 1, USEC_INFINITY - 1);
    assert_int_equal(d.hard, USEC_INFINITY);
    assert_int_equal(drain_step(&d, USEC_INFINITY, 1).verdict, DRAIN_WAIT);
}

static void hurry_cuts(void **state)
{
    (void)state;
    Drain d = begun(10 * S, 30 * S);
    assert_wait(drain_step(&d, T0, 1), false, false, T0 + BEAT);
    d.hurried = true;
    assert_over(drain_step(&d, T0, 1), DRAIN_CUT);
    assert_over(drain_step(&d, T0 + 60 * S, 1), DRAIN_CUT); /* the cut came first */
}

static void progress_keeps_its_beat(void **state)
{
    (void)state;
    Drain d = begun(60 * S, 60 * S);
    assert_wait(drain_step(&d, T0 + BEAT - 1, 1), false, false, T0 + BEAT);
    assert_wait(drain_step(&d, T0 + BEAT, 1), false, true, T0 + 2 * BEAT);
    assert_wait(drain_step(&d, T0 + BEAT, 1), false, false, T0 + 2 * BEAT);         /* the same instant again */
    assert_wait(drain_step(&d, T0 + 2 * BEAT + 7, 1), false, true, T0 + 3 * BEAT);  /* late, but no drift */
    assert_wait(drain_step(&d, T0 + 9 * BEAT + 1, 1), false, true, T0 + 10 * BEAT); /* a pause is told of once */
    assert_wait(drain_step(&d, T0 + 9 * BEAT + 2, 1), false, false, T0 + 10 * BEAT);
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
            DrainStep step = drain_step(&d, now, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_sets_all),
        cmocka_unit_test(done_wins_over_everything),
        cmocka_unit_test(soft_warns_once),
        cmocka_unit_test(hard_ends),
        cmocka_unit_test(soft_equal_to_hard_and_over_it),
        cmocka_unit_test(zero_limits),
        cmocka_unit_test(no_limits),
        cmocka_unit_test(hurry_cuts),
        cmocka_unit_test(progress_keeps_its_beat),
        cmocka_unit_test(random_drains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
