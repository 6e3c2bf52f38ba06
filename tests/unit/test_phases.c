/* The teardown engine: strict order whatever the phases answer, at once or later; failures kept and named; partial
 * runs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "supervisor/stop/phases.h"

typedef struct Script {
    Phases phases;
    PhaseStatus answer[PHASE_N]; /* PENDING: the test ends it */
    bool from_within[PHASE_N];   /* ends itself by phases_done() inside begin */
    Phase begun[PHASE_N * 2], ended[PHASE_N * 2];
    size_t n_begun, n_ended, finished;
    uint64_t clock;
} Script;

static PhaseStatus begin(Script *s, Phase phase, Error *e)
{
    s->begun[s->n_begun++] = phase;
    s->clock += 10;
    if (s->answer[phase] == PHASE_FAILED)
        error_set(e, -EIO, "phase %d broke", (int)phase);
    if (!s->from_within[phase])
        return s->answer[phase];
    assert_true(phases_done(&s->phases, phase, PHASE_OK, NULL));
    return PHASE_PENDING;
}

#define X(id, name)                                         \
    static PhaseStatus begin_##id(void *userdata, Error *e) \
    {                                                       \
        return begin(userdata, PHASE_##id, e);              \
    }
PHASES(X)
#undef X

static void on_ended(void *userdata, Phase phase, const PhaseResult *r)
{
    Script *s = userdata;
    assert_int_not_equal(r->status, PHASE_PENDING);
    s->ended[s->n_ended++] = phase;
}

static void on_finished(void *userdata)
{
    ((Script *)userdata)->finished++;
}

static uint64_t on_now(void *userdata)
{
    return ((Script *)userdata)->clock;
}

static const PhasesOps ops = {
    .begin =
        {
#define X(id, name) [PHASE_##id] = begin_##id,
            PHASES(X)
#undef X
        },
    .ended = on_ended,
    .finished = on_finished,
    .now = on_now,
};

static void assert_in_order(const Script *s, Phase from)
{
    assert_int_equal(s->n_begun, PHASE_N - from);
    for (size_t i = 0; i < s->n_begun; i++)
        assert_int_equal(s->begun[i], from + i);
    assert_int_equal(s->n_ended, PHASE_N);
    for (size_t i = 0; i < PHASE_N; i++)
        assert_int_equal(s->ended[i], i);
    assert_int_equal(s->finished, 1);
}

static void test_all_at_once(void **state)
{
    (void)state;
    Script s = {0};
    for (size_t i = 0; i < PHASE_N; i++)
        s.answer[i] = i % 2 ? PHASE_SKIPPED : PHASE_OK;
    phases_start(&s.phases, &ops, &s, PHASE_CONTROLLERS, NULL);
    assert_in_order(&s, PHASE_CONTROLLERS);
    assert_int_equal(s.phases.result->failed, 0);
    assert_null(teardown_result_failed(s.phases.result));
    for (size_t i = 0; i < PHASE_N; i++)
        assert_int_equal(s.phases.result->phase[i].duration, 10);
    teardown_result_free(s.phases.result);
}

/* Each phase in turn fails, times out, is pending, ends from within: the order holds and only it is blamed. */
static void test_every_phase_every_answer(void **state)
{
    (void)state;
    for (Phase odd = PHASE_CONTROLLERS; odd < PHASE_N; odd++) {
        for (PhaseStatus status = PHASE_PENDING; status < PHASE_STATUS_N; status++) {
            Script s = {0};
            for (size_t i = 0; i < PHASE_N; i++)
                s.answer[i] = PHASE_OK;
            s.answer[odd] = status;
            phases_start(&s.phases, &ops, &s, PHASE_CONTROLLERS, NULL);
            if (status == PHASE_PENDING) {
                assert_int_equal(s.n_begun, odd + 1);
                assert_int_equal(s.finished, 0);
                /* Stale and wrong calls change nothing. */
                assert_false(phases_done(&s.phases, odd == PHASE_EVENTS ? PHASE_GATE : PHASE_EVENTS, PHASE_OK, NULL));
                assert_false(phases_done(&s.phases, odd, PHASE_PENDING, NULL));
                assert_true(phases_done(&s.phases, odd, PHASE_TIMED_OUT, NULL));
                assert_false(phases_done(&s.phases, odd, PHASE_OK, NULL));
            }
            assert_in_order(&s, PHASE_CONTROLLERS);
            bool bad = status == PHASE_PENDING || status == PHASE_FAILED || status == PHASE_TIMED_OUT;
            assert_int_equal(s.phases.result->failed, bad ? 1u << odd : 0);
            char *failed = teardown_result_failed(s.phases.result);
            if (bad)
                assert_string_equal(failed, phase_names[odd]);
            else
                assert_null(failed);
            free(failed);
            if (status == PHASE_FAILED) {
                char expected[32];
                snprintf(expected, sizeof expected, "phase %d broke", (int)odd);
                assert_string_equal(s.phases.result->phase[odd].error, expected);
            }
            teardown_result_free(s.phases.result);
        }
    }
}

static void test_all_pending(void **state)
{
    (void)state;
    Script s = {0};
    phases_start(&s.phases, &ops, &s, PHASE_CONTROLLERS, NULL);
    for (Phase i = PHASE_CONTROLLERS; i < PHASE_N; i++) {
        assert_int_equal(s.phases.current, i);
        s.clock += 5;
        assert_true(phases_done(&s.phases, i, PHASE_OK, NULL));
        assert_int_equal(s.phases.result->phase[i].duration, 15);
    }
    assert_in_order(&s, PHASE_CONTROLLERS);
    teardown_result_free(s.phases.result);
}

static void test_ending_from_within(void **state)
{
    (void)state;
    Script s = {0};
    for (size_t i = 0; i < PHASE_N; i++)
        s.from_within[i] = true;
    phases_start(&s.phases, &ops, &s, PHASE_CONTROLLERS, NULL);
    assert_in_order(&s, PHASE_CONTROLLERS);
    teardown_result_free(s.phases.result);
}

static void test_all_fail_and_are_named(void **state)
{
    (void)state;
    Script s = {0};
    for (size_t i = 0; i < PHASE_N; i++)
        s.answer[i] = PHASE_FAILED;
    phases_start(&s.phases, &ops, &s, PHASE_CONTROLLERS, NULL);
    assert_in_order(&s, PHASE_CONTROLLERS);
    char *failed = teardown_result_failed(s.phases.result);
    assert_string_equal(failed, "controllers, gate, drain, io, connection, process, network, mounts, cgroup, events");
    free(failed);
    teardown_result_free(s.phases.result);
}

static void test_partial_from_each_phase(void **state)
{
    (void)state;
    for (Phase from = PHASE_CONTROLLERS; from < PHASE_N; from++) {
        Script s = {0};
        for (size_t i = 0; i < PHASE_N; i++)
            s.answer[i] = PHASE_OK;
        phases_start(&s.phases, &ops, &s, from, "half-way");
        assert_in_order(&s, from);
        for (Phase i = PHASE_CONTROLLERS; i < PHASE_N; i++) {
            const PhaseResult *r = &s.phases.result->phase[i];
            assert_int_equal(r->status, i < from ? PHASE_SKIPPED : PHASE_OK);
            if (i < from)
                assert_string_equal(r->error, "half-way");
        }
        teardown_result_free(s.phases.result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_every_phase_every_answer),
        cmocka_unit_test(test_all_pending),
        cmocka_unit_test(test_ending_from_within),
        cmocka_unit_test(test_all_fail_and_are_named),
        cmocka_unit_test(test_partial_from_each_phase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
