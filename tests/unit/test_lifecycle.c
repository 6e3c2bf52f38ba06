/* Every cell of the lifecycle table against an expectation written down as sentences, not as the same table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "supervisor/run/lifecycle.h"

static const char *const expected[] = {
    "idle start creating",
    "idle stop gone",
    "creating ready running",
    "creating start-failed deleting",
    "creating exited draining",
    "creating stop draining",
    "running exited draining",
    "running stop draining",
    "draining drained deleting",
    "draining exited draining",
    "draining stop draining",
    "deleting exited deleting",
    "deleting stop deleting",
    "deleting removed gone",
    "deleting removed-failed failed",
};

static const char *expect(LifecycleState s, LifecycleEvent e)
{
    _cleanup_(freep) char *start = xasprintf("%s %s ", lifecycle_state_name(s), lifecycle_event_name(e));
    for (size_t i = 0; i < ELEMENTS(expected); i++)
        if (str_starts(expected[i], start))
            return expected[i] + strlen(start);
    return NULL;
}

static void every_cell(void **state)
{
    (void)state;
    size_t found = 0;
    for (LifecycleState s = 0; s < LIFECYCLE_STATE_N; s++)
        for (LifecycleEvent e = 0; e < LIFECYCLE_EVENT_N; e++) {
            const char *to = expect(s, e);
            int next = lifecycle_next(s, e);
            if (!to) {
                assert_int_equal(next, -EPROTO);
                continue;
            }
            assert_true(next >= 0);
            assert_string_equal(lifecycle_state_name((LifecycleState)next), to);
            found++;
        }
    assert_int_equal(found, ELEMENTS(expected)); /* no sentence with a typo went unused */
}

static void step_takes_it_or_leaves_all(void **state)
{
    (void)state;
    for (LifecycleState s = 0; s < LIFECYCLE_STATE_N; s++)
        for (LifecycleEvent e = 0; e < LIFECYCLE_EVENT_N; e++)
            for (int before = 0; before < 2; before++) {
                Lifecycle l = {.state = s, .intentional = before};
                const char *to = expect(s, e);
                int r = lifecycle_step(&l, e);
                if (!to) {
                    assert_int_equal(r, -EPROTO);
                    assert_int_equal(l.state, s);
                    assert_int_equal(l.intentional, before);
                    continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(lifecycle_state_name(l.state), to);
                assert_int_equal(l.intentional, before || e == LIFECYCLE_EVENT_STOP);
            }
}

static void all_reachable_and_all_end(void **state)
{
    (void)state;
    bool from[LIFECYCLE_STATE_N][LIFECYCLE_STATE_N] = {0};
    for (LifecycleState s = 0; s < LIFECYCLE_STATE_N; s++) {
        from[s][s] = true;
        for (LifecycleEvent e = 0; e < LIFECYCLE_EVENT_N; e++)
            if (lifecycle_next(s, e) >= 0)
                from[s][lifecycle_next(s, e)] = true;
    }
    for (size_t k = 0; k < LIFECYCLE_STATE_N; k++)
        for (size_t i = 0; i < LIFECYCLE_STATE_N; i++)
            for (size_t j = 0; j < LIFECYCLE_STATE_N; j++)
                from[i][j] = from[i][j] || (from[i][k] && from[k][j]);
    for (size_t s = 0; s < LIFECYCLE_STATE_N; s++) {
        assert_true(from[LIFECYCLE_IDLE][s]);
        assert_true(from[s][LIFECYCLE_GONE] || s == LIFECYCLE_FAILED); /* no state is a trap */
        assert_true(s == LIFECYCLE_IDLE || !from[s][LIFECYCLE_IDLE]);  /* a generation lives once */
    }
}

static void terminal_states_have_no_way_out(void **state)
{
    (void)state;
    const LifecycleState terminal[] = {LIFECYCLE_GONE, LIFECYCLE_FAILED};
    for (size_t t = 0; t < ELEMENTS(terminal); t++)
        for (LifecycleEvent e = 0; e < LIFECYCLE_EVENT_N; e++)
            assert_int_equal(lifecycle_next(terminal[t], e), -EPROTO);
}

static void out_of_range(void **state)
{
    (void)state;
    assert_int_equal(lifecycle_next(LIFECYCLE_STATE_N, LIFECYCLE_EVENT_STOP), -EPROTO);
    assert_int_equal(lifecycle_next(LIFECYCLE_IDLE, LIFECYCLE_EVENT_N), -EPROTO);
    assert_int_equal(lifecycle_next((LifecycleState)-1, LIFECYCLE_EVENT_STOP), -EPROTO);
    assert_string_equal(lifecycle_state_name(LIFECYCLE_STATE_N), "?");
    assert_string_equal(lifecycle_event_name(LIFECYCLE_EVENT_N), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(step_takes_it_or_leaves_all),
        cmocka_unit_test(all_reachable_and_all_end),
        cmocka_unit_test(terminal_states_have_no_way_out),
        cmocka_unit_test(out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
