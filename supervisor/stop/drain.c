/* See drain.h. Order of the questions: nothing in flight is done, whatever the clock says; then a hurry, then the hard
 * limit. A limit is passed when the clock equals it, so a timer armed at wake_at never finds it was early. */
#include "supervisor/stop/drain.h"

#include "base/clock.h"

static bool passed(uint64_t now, uint64_t limit)
{
    return limit != USEC_INFINITY && now >= limit;
}

void drain_begin(Drain *d, uint64_t now, uint64_t soft_usec, uint64_t hard_usec)
{
    *d = (Drain){
        .begun = now,
        .soft = usec_add(now, soft_usec),
        .hard = usec_add(now, hard_usec),
        .next_progress = usec_add(now, DRAIN_PROGRESS_USEC),
    };
}

DrainStep drain_step(Drain *d, uint64_t now, uint64_t in_flight)
{
    if (in_flight == 0)
        return (DrainStep){.verdict = DRAIN_DONE};
    if (d->hurried)
        return (DrainStep){.verdict = DRAIN_CUT};
    if (passed(now, d->hard))
        return (DrainStep){.verdict = DRAIN_HARD_LIMIT};

    DrainStep step = {.verdict = DRAIN_WAIT};
    if (!d->warned && passed(now, d->soft))
        step.warn = d->warned = true;
    if (passed(now, d->next_progress)) {
        step.progress = true;
        /* Stay on the grid, and after a pause tell once, not once a missed beat. */
        uint64_t beats = (now - d->next_progress) / DRAIN_PROGRESS_USEC + 1;
        d->next_progress = usec_add(d->next_progress, beats * DRAIN_PROGRESS_USEC);
    }
    step.wake_at = MIN2(d->next_progress, d->hard);
    if (!d->warned)
        step.wake_at = MIN2(step.wake_at, d->soft);
    return step;
}
