/* Recovery: every branch of the decision, the schedule and its edges, and random histories. */
#include "tests/unit/plan_world.h"

#include <limits.h>

#include "base/clock.h"
#include "supervisor/plan/recovery.h"

#define S USEC_PER_SEC

static const Recovery usual = {
    .restart = RESTART_ON_FAILURE,
    .max_attempts = 3,
    .backoff = 10 * S,
    .max_backoff = 300 * S,
    .reset_after = 60 * S,
    .factor = 2,
    .jitter = 0,
};

static void assert_decision(RecoveryDecision d, RecoveryAction action, uint64_t delay)
{
    assert_int_equal(d.action, action);
    assert_int_equal(d.delay_usec, delay);
}

static void schedule(void **state)
{
    (void)state;
    const uint64_t expected[] = {0, 0, 10, 20, 40, 80, 160, 300, 300, 300};
    for (unsigned i = 0; i < ELEMENTS(expected); i++)
        assert_int_equal(recovery_delay(&usual, i), expected[i] * S);
}

static void schedule_edges(void **state)
{
    (void)state;
    Recovery r = usual;
    r.factor = 1;
    const unsigned attempts[] = {2, 3, 1000, UINT_MAX};
    for (size_t i = 0; i < ELEMENTS(attempts); i++)
        assert_int_equal(recovery_delay(&r, attempts[i]), 10 * S);
    r = usual; /* growth far beyond what 64 bits or a double hold ends at the cap */
    const unsigned big[] = {8, 64, 66, 1026, 5000, UINT_MAX};
    for (size_t i = 0; i < ELEMENTS(big); i++)
        assert_int_equal(recovery_delay(&r, big[i]), 300 * S);
    r.max_backoff = USEC_INFINITY;
    assert_int_equal(recovery_delay(&r, 5), 80 * S);
    assert_int_equal(recovery_delay(&r, UINT_MAX), USEC_INFINITY);
    r.backoff = USEC_INFINITY;
    assert_int_equal(recovery_delay(&r, 1), 0);
    assert_int_equal(recovery_delay(&r, 2), USEC_INFINITY);
    r.max_backoff = 7 * S;
    assert_int_equal(recovery_delay(&r, 2), 7 * S);
    r.backoff = 0; /* and 0 times infinity is 0 */
    assert_int_equal(recovery_delay(&r, 2), 0);
    assert_int_equal(recovery_delay(&r, UINT_MAX), 0);
    r = usual;
    r.max_backoff = 3 * S; /* the cap may be below the first step */
    assert_int_equal(recovery_delay(&r, 2), 3 * S);
    r.max_backoff = 0;
    assert_int_equal(recovery_delay(&r, 9), 0);
    r = usual;
    r.factor = 1.1;
    assert_int_equal(recovery_delay(&r, 3), 11 * S); /* 10 · 1.1 is a hair over 11 as a double */
    r.factor = 1.4;
    assert_int_equal(recovery_delay(&r, 4), 19600000); /* and 10 · 1.4² a hair under 19.6 */
}

static void who_is_restarted(void **state)
{
    (void)state;
    static const bool wants[RESTART_WHEN_N][2] = {
        [RESTART_NO] = {false, false},
        [RESTART_ON_FAILURE] = {true, false},
        [RESTART_ALWAYS] = {true, true},
    };
    for (int when = 0; when < RESTART_WHEN_N; when++)
        for (int success = 0; success < 2; success++)
            for (int intentional = 0; intentional < 2; intentional++) {
                Recovery r = usual;
                r.restart = (RestartWhen)when;
                RecoveryHistory h = {.attempts = 1};
                bool yes = wants[when][success] && !intentional;
                RecoveryDecision d =
                    recovery_decide(&r, &h, &(RecoveryInput){.intentional = intentional, .success = success});
                assert_decision(d, yes ? RECOVERY_RESTART : RECOVERY_NONE, yes ? 10 * S : 0);
                assert_int_equal(h.attempts, yes ? 2 : 0);
            }
}

static void a_row_of_failures(void **state)
{
    (void)state;
    RecoveryHistory h = {0};
    const RecoveryInput crash = {0};
    assert_decision(recovery_decide(&usual, &h, &crash), RECOVERY_RESTART, 0);
    assert_decision(recovery_decide(&usual, &h, &crash), RECOVERY_RESTART, 10 * S);
    assert_decision(recovery_decide(&usual, &h, &crash), RECOVERY_RESTART, 20 * S);
    assert_decision(recovery_decide(&usual, &h, &crash), RECOVERY_GIVE_UP, 0);
    assert_decision(recovery_decide(&usual, &h, &crash), RECOVERY_GIVE_UP, 0);
    assert_int_equal(h.attempts, 3); /* for show */
}

static void a_healthy_run_resets(void **state)
{
    (void)state;
    RecoveryHistory h = {.attempts = 3};
    RecoveryInput in = {.ready_usec = 60 * S - 1};
    assert_int_equal(recovery_decide(&usual, &h, &in).action, RECOVERY_GIVE_UP);
    in.ready_usec = 60 * S;
    assert_decision(recovery_decide(&usual, &h, &in), RECOVERY_RESTART, 0);
    assert_int_equal(h.attempts, 1);

    Recovery r = usual;
    r.reset_after = 0; /* any run that was ready is healthy; one that never was is not */
    h.attempts = 2;
    in.ready_usec = 0;
    assert_decision(recovery_decide(&r, &h, &in), RECOVERY_RESTART, 20 * S);
    in.ready_usec = 1;
    assert_decision(recovery_decide(&r, &h, &in), RECOVERY_RESTART, 0);
    r.reset_after = USEC_INFINITY; /* none is */
    h.attempts = 3;
    in.ready_usec = USEC_INFINITY;
    assert_decision(recovery_decide(&r, &h, &in), RECOVERY_GIVE_UP, 0);
}

static void no_limit_of_attempts(void **state)
{
    (void)state;
    Recovery r = usual;
    r.max_attempts = 0;
    RecoveryHistory h = {0};
    for (unsigned i = 1; i <= 10000; i++) {
        assert_int_equal(recovery_decide(&r, &h, &(RecoveryInput){0}).action, RECOVERY_RESTART);
        assert_int_equal(h.attempts, i);
    }
    h.attempts = UINT_MAX; /* counts no further, and does not begin again at once */
    assert_decision(recovery_decide(&r, &h, &(RecoveryInput){0}), RECOVERY_RESTART, 300 * S);
    assert_int_equal(h.attempts, UINT_MAX);
}

static void an_infinite_delay_is_giving_up(void **state)
{
    (void)state;
    Recovery r = usual;
    r.max_attempts = 0;
    r.backoff = r.max_backoff = USEC_INFINITY;
    RecoveryHistory h = {0};
    assert_decision(recovery_decide(&r, &h, &(RecoveryInput){0}), RECOVERY_RESTART, 0);
    assert_decision(recovery_decide(&r, &h, &(RecoveryInput){0}), RECOVERY_GIVE_UP, 0);
    assert_int_equal(h.attempts, 1);
}

static uint64_t jittered(const Recovery *r, unsigned attempts, double random)
{
    RecoveryHistory h = {.attempts = attempts};
    RecoveryDecision d = recovery_decide(r, &h, &(RecoveryInput){.random = random});
    assert_int_equal(d.action, RECOVERY_RESTART);
    return d.delay_usec;
}

static void jitter(void **state)
{
    (void)state;
    Recovery r = usual;
    r.max_attempts = 0;
    r.jitter = 20;
    const double most = 1 - 0x1p-53;
    assert_int_equal(jittered(&r, 0, most), 0); /* at once is at once */
    assert_int_equal(jittered(&r, 1, 0), 8 * S);
    assert_int_equal(jittered(&r, 1, 0.5), 10 * S);
    assert_in_range(jittered(&r, 1, most), 12 * S - 1, 12 * S);
    assert_int_equal(jittered(&r, 50, 0), 240 * S); /* at the cap: spread below it, never over */
    assert_int_equal(jittered(&r, 50, 0.5), 270 * S);
    assert_in_range(jittered(&r, 50, most), 300 * S - 1, 300 * S);
    r.max_backoff = 11 * S; /* the cap cuts only a part of the range */
    assert_int_equal(jittered(&r, 1, 0), 8 * S);
    assert_in_range(jittered(&r, 1, most), 11 * S - 1, 11 * S);
    r.max_backoff = USEC_INFINITY;
    assert_in_range(jittered(&r, 1, most), 12 * S - 1, 12 * S);
    r = usual;
    r.max_attempts = 0;
    r.jitter = 100;
    assert_int_equal(jittered(&r, 1, 0), 0);
    assert_in_range(jittered(&r, 1, most), 20 * S - 1, 20 * S);
    r.jitter = 500; /* a reader's mistake must not turn into a negative time */
    assert_int_equal(jittered(&r, 1, 0), 0);
    r.backoff = r.max_backoff = USEC_INFINITY - 1; /* as near to the end of 64 bits as can be */
    assert_true(jittered(&r, 1, most) <= USEC_INFINITY - 1);
}

static Recovery random_policy(uint64_t *seed)
{
    return (Recovery){
        .restart = random_below(seed, 2) ? RESTART_ALWAYS : RESTART_ON_FAILURE,
        .max_attempts = random_below(seed, 6),
        .backoff = random_below(seed, 20) * S,
        .max_backoff = random_below(seed, 8) ? random_below(seed, 400) * S : USEC_INFINITY,
        .reset_after = random_below(seed, 60) * S,
        .factor = 1 + random_unit(seed) * 3,
        .jitter = (unsigned)random_below(seed, 101),
    };
}

static void random_histories(void **state)
{
    (void)state;
    uint64_t seed = 0x4ec0;
    size_t gave_up = 0, restarted = 0;
    for (size_t round = 0; round < 2000; round++) {
        Recovery r = random_policy(&seed);
        RecoveryHistory h = {0};
        uint64_t since_healthy = 0;
        for (size_t run = 0; run < 30; run++) {
            RecoveryInput in = {
                .success = random_below(&seed, 10) == 0,
                .ready_usec = random_below(&seed, 2) ? random_below(&seed, 70) * S : 0,
                .random = random_unit(&seed),
            };
            if (in.ready_usec > 0 && in.ready_usec >= r.reset_after)
                since_healthy = 0;
            RecoveryDecision d = recovery_decide(&r, &h, &in);
            if (d.action == RECOVERY_NONE) {
                assert_true(in.success && r.restart == RESTART_ON_FAILURE);
                break;
            }
            if (d.action == RECOVERY_GIVE_UP) {
                assert_true(r.max_attempts > 0);
                assert_int_equal(since_healthy, r.max_attempts); /* neither early nor late */
                gave_up++;
                break;
            }
            restarted++;
            since_healthy++;
            assert_true(r.max_attempts == 0 || since_healthy <= r.max_attempts);
            assert_int_equal(h.attempts, since_healthy);
            assert_true(d.delay_usec <= r.max_backoff);
            uint64_t plain = recovery_delay(&r, (unsigned)since_healthy);
            assert_true(since_healthy > 1 || d.delay_usec == 0);
            assert_true((double)d.delay_usec >= (double)plain * (1 - r.jitter / 100.0) - 1);
            assert_true((double)d.delay_usec <= (double)plain * (1 + r.jitter / 100.0) + 1);
            assert_true(plain >= recovery_delay(&r, (unsigned)since_healthy - 1)); /* grows, or stays */
        }
    }
    assert_true(gave_up > 500 && restarted > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule),
        cmocka_unit_test(schedule_edges),
        cmocka_unit_test(who_is_restarted),
        cmocka_unit_test(a_row_of_failures),
        cmocka_unit_test(a_healthy_run_resets),
        cmocka_unit_test(no_limit_of_attempts),
        cmocka_unit_test(an_infinite_delay_is_giving_up),
        cmocka_unit_test(jitter),
        cmocka_unit_test(random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
