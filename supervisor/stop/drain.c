/* See drain.h. Order of the questions: nothing left to lose is done, whatever the clock says; then a hurry, then the
 * hard limit. A limit is passed when the clock equals it, so a timer armed at wake_at never finds it was early. */
#include "supervisor/stop/drain.h"

#include "base/clock.h"

static bool passed(uint64_t now, uint64_t limit)
{
    return limit != USEC_INFINITY && now >= limit;
}

void drain_begin(Drain *d, uint64_t now, uint64_t closed, const DrainLimits *limits)
{
    *d = (Drain){
        .begun = now,
        .soft = usec_add(now, limits->soft),
        .hard = usec_add(now, limits->hard),
        .grace_over = usec_add(closed, DRAIN_GRACE_USEC),
        .next_progress = usec_add(now, DRAIN_PROGRESS_USEC),
        .look_again = DRAIN_LOOK_FIRST_USEC,
    };
}

bool drain_truth_is_clean(const DrainTruth *t)
{
    return !t->busy && !t->unread && !t->unsent && !t->unacked && !t->not_accepted;
}

/* Who is about to be cut off is looked at once more, due or not: it may have finished. */
static bool ends_anyway(const Drain *d, uint64_t now)
{
    return d->hurried || passed(now, d->hard);
}

/* The look has found something: not at once again, and less and less often, but for what settles at a known time. */
static void look_later(Drain *d, uint64_t now, const DrainTruth *found)
{
    d->next_look = usec_add(now, d->look_again);
    if (found->busy && found->settled > now)
        d->next_look = MIN2(found->settled, usec_add(now, DRAIN_LOOK_LAST_USEC));
    d->look_again = MIN2(d->look_again * 2, DRAIN_LOOK_LAST_USEC);
}

/* True: *ret is the end of it, or the wish to look first. */
static bool nothing_left(Drain *d, uint64_t now, const DrainSeen *seen, DrainVerdict *ret)
{
    if (seen->abandoned) {
        *ret = seen->in_flight ? DRAIN_ABANDONED : DRAIN_DONE;
        return true;
    }
    if (seen->in_flight > 0) {
        d->next_look = 0;
        d->look_again = DRAIN_LOOK_FIRST_USEC;
        return false;
    }
    if (now < d->grace_over)
        return false;
    if (seen->can_look && !seen->truth) {
        *ret = DRAIN_LOOK;
        return now >= d->next_look || ends_anyway(d, now);
    }
    *ret = DRAIN_DONE;
    if (!seen->can_look || drain_truth_is_clean(seen->truth))
        return true;
    look_later(d, now, seen->truth);
    return false;
}

static uint64_t wake_at(const Drain *d, uint64_t now, const DrainSeen *seen)
{
    uint64_t at = MIN2(d->next_progress, d->hard);
    if (!d->warned)
        at = MIN2(at, d->soft);
    if (seen->in_flight > 0)
        return at;
    return MIN2(at, now < d->grace_over ? d->grace_over : d->next_look);
}

DrainStep drain_step(Drain *d, uint64_t now, const DrainSeen *seen)
{
    DrainStep step = {.verdict = DRAIN_WAIT};
    if (nothing_left(d, now, seen, &step.verdict))
        return step;
    if (d->hurried)
        return (DrainStep){.verdict = DRAIN_CUT};
    if (passed(now, d->hard))
        return (DrainStep){.verdict = DRAIN_HARD_LIMIT};

    step.verdict = DRAIN_WAIT;
    if (!d->warned && passed(now, d->soft))
        step.warn = d->warned = true;
    if (passed(now, d->next_progress)) {
        step.progress = true;
        /* Stay on the grid, and after a pause tell once, not once a missed beat. */
        uint64_t beats = (now - d->next_progress) / DRAIN_PROGRESS_USEC + 1;
        d->next_progress = usec_add(d->next_progress, beats * DRAIN_PROGRESS_USEC);
    }
    step.wake_at = wake_at(d, now, seen);
    return step;
}
