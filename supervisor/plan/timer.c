/* See timer.h. */
#include "supervisor/plan/timer.h"

#include "base/clock.h"
#include "policies/calendar.h"

static uint64_t part_of(uint64_t usec, double random)
{
    return usec == USEC_INFINITY ? 0 : (uint64_t)((double)usec * random);
}

/* The calendar's first elapse after that moment. */
static uint64_t first_after(const TimerPolicy *p, uint64_t after)
{
    uint64_t usec;
    return p->on_calendar && calendar_next(p->on_calendar, after, &usec) == 0 ? usec : USEC_INFINITY;
}

/* The latest of the moments that is not in the future; now, where none is. */
static uint64_t latest(const uint64_t *moments, size_t n, const TimerNow *now)
{
    uint64_t base = 0, end = usec_add(now->wall, TIMER_STEP_USEC);
    for (size_t i = 0; i < n; i++)
        if (moments[i] <= end)
            base = MAX2(base, moments[i]);
    return base ? base : now->wall;
}

static uint64_t known(const TimerStamp *stamp)
{
    return stamp->last ? stamp->last : stamp->since;
}

/* The calendar's next elapse, wall clock. */
static uint64_t calendar_at(const TimerPolicy *p, uint64_t base, bool catch_up, const TimerNow *now)
{
    uint64_t delay = p->randomized_delay;
    if (!catch_up && now->wall > delay)
        base = MAX2(base, now->wall - delay);
    uint64_t first = first_after(p, base);
    if (first == USEC_INFINITY)
        return USEC_INFINITY;
    if (first > now->wall)
        return usec_add(first, part_of(delay, now->random));
    uint64_t end = usec_add(first, delay);
    return usec_add(now->wall, part_of(end > now->wall ? end - now->wall : delay, now->random));
}

/* The next by `every`, monotonic, `age` after what it counts from. */
static uint64_t every_at(const TimerPolicy *p, uint64_t age, const TimerNow *now)
{
    uint64_t delay = p->randomized_delay;
    if (!timer_has_interval(p))
        return USEC_INFINITY;
    uint64_t whole = p->every - age % p->every;
    if (age >= p->every) {
        uint64_t over = age - p->every;
        if (over < delay || p->persistent)
            return usec_add(now->monotonic, part_of(over < delay ? delay - over : delay, now->random));
    }
    return usec_add(now->monotonic, usec_add(whole, part_of(delay, now->random)));
}

void timer_arm(const TimerPolicy *p, const TimerStamp *stamp, const TimerNow *now, TimerState *ret)
{
    uint64_t base = latest((const uint64_t[]){known(stamp)}, 1, now);
    *ret = (TimerState){
        .base = base,
        .calendar = calendar_at(p, base, p->persistent, now),
        .every = every_at(p, now->wall > base ? now->wall - base : 0, now),
    };
}

void timer_elapsed(const TimerPolicy *p, const TimerNow *now, TimerState *s)
{
    uint64_t base = latest((const uint64_t[]){s->base, now->wall}, 2, now);
    *s = (TimerState){
        .base = base,
        .calendar = calendar_at(p, base, true, now),
        .every = every_at(p, 0, now),
    };
}

void timer_clock_set(const TimerPolicy *p, const TimerStamp *stamp, const TimerNow *now, TimerState *s)
{
    s->base = latest((const uint64_t[]){s->base, known(stamp)}, 2, now);
    s->calendar = calendar_at(p, s->base, true, now);
}

bool timer_due(const TimerState *s, const TimerNow *now)
{
    return s->calendar <= now->wall || s->every <= now->monotonic;
}

uint64_t timer_next(const TimerState *s, const TimerNow *now)
{
    if (s->every == USEC_INFINITY)
        return s->calendar;
    uint64_t left = s->every > now->monotonic ? s->every - now->monotonic : 0;
    return MIN2(s->calendar, usec_add(now->wall, left));
}

TimerAnswer timer_decide(WhenRunning when, bool running, bool next)
{
    if (!running)
        return TIMER_RUN;
    return when == WHEN_RUNNING_QUEUE && !next ? TIMER_QUEUE : TIMER_SKIP;
}
