/* See recovery.h. Powers by squaring: no loop over attempts, and no libm for one function. */
#include "supervisor/plan/recovery.h"

#include <limits.h>

#include "base/clock.h"

static double power(double base, unsigned exponent)
{
    double result = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result *= base;
        base *= base; /* may become infinite, which the caller's cap takes */
    }
    return result;
}

/* To the nearest microsecond; `cap` where the value is over it (or infinite, or no number). */
static uint64_t to_usec(double value, uint64_t cap)
{
    if (!(value < (double)cap))
        return cap;
    return MIN2((uint64_t)(value + 0.5), cap);
}

uint64_t recovery_delay(const Recovery *policy, unsigned attempt)
{
    if (attempt < 2 || policy->backoff == 0)
        return 0;
    if (policy->backoff == USEC_INFINITY)
        return policy->max_backoff;
    return to_usec((double)policy->backoff * power(policy->factor, attempt - 2), policy->max_backoff);
}

/* Even over delay ± jitter, cut at max_backoff: drawn from what is left of the range rather than clamped, or half of a
 * thousand modules at their cap would start at the same instant. */
static uint64_t with_jitter(const Recovery *policy, uint64_t delay, double random)
{
    if (delay == 0 || delay == USEC_INFINITY || policy->jitter == 0)
        return delay;
    double part = MIN2(policy->jitter, 100u) / 100.0;
    uint64_t low = to_usec((double)delay * (1 - part), delay);
    uint64_t high = to_usec((double)delay * (1 + part), policy->max_backoff);
    return low + to_usec((double)(high - low) * random, high - low);
}

static bool was_healthy(const Recovery *policy, const RecoveryInput *in)
{
    return in->ready_usec > 0 && policy->reset_after != USEC_INFINITY && in->ready_usec >= policy->reset_after;
}

static bool wants_restart(const Recovery *policy, const RecoveryInput *in)
{
    if (in->intentional)
        return false;
    return policy->restart == RESTART_ALWAYS || (policy->restart == RESTART_ON_FAILURE && !in->success);
}

RecoveryDecision recovery_decide(const Recovery *policy, RecoveryHistory *h, const RecoveryInput *in)
{
    if (!wants_restart(policy, in)) {
        h->attempts = 0;
        return (RecoveryDecision){.action = RECOVERY_NONE};
    }
    if (was_healthy(policy, in))
        h->attempts = 0;
    if (policy->max_attempts > 0 && h->attempts >= policy->max_attempts)
        return (RecoveryDecision){.action = RECOVERY_GIVE_UP};

    unsigned attempt = h->attempts < UINT_MAX ? h->attempts + 1 : UINT_MAX;
    uint64_t delay = recovery_delay(policy, attempt);
    if (delay == USEC_INFINITY)
        return (RecoveryDecision){.action = RECOVERY_GIVE_UP};
    h->attempts = attempt;
    return (RecoveryDecision){.action = RECOVERY_RESTART, .delay_usec = with_jitter(policy, delay, in->random)};
}
