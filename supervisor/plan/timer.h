/* When a timed job ([timer]) runs next: pure, with the clocks and chance given.
 *
 * Two things make it elapse: `on_calendar`, by the wall clock, and `every`, by the monotonic clock, counted from the
 * last elapse or run, whichever came later. Both go on from one moment, `base`: when it last ran, elapsed, or was first
 * armed. What was passed between base and now is run once, never once for each, and only where that is asked for: after
 * the daemon was away with `persistent`, after the clock was set forward always.
 *
 * A base in the future means that the clock was set back: it is forgotten and all is counted from now, so that an hour
 * that comes twice is worked twice; the stamp stays, so that a clock that had only been wrong for a while, as at boot
 * on a machine that keeps no time, makes nothing run again once it is right. But for TIMER_STEP_USEC: a clock that is
 * corrected by seconds must not run a job again that has just run.
 *
 * randomized_delay is drawn anew for each elapse. What the delay holds back is not passed yet: a daemon that starts
 * within it draws again from what is left of it, so that no elapse is lost to a restart. */
#pragma once

#include "base/clock.h"
#include "policies/policy.h"

#define TIMER_STEP_USEC 60000000ull

/* What outlives the daemon; wall clock, µs. */
typedef struct TimerStamp {
    uint64_t since; /* first armed; 0 = never */
    uint64_t last;  /* began to run; 0 = never */
} TimerStamp;

typedef struct TimerNow {
    uint64_t wall, monotonic; /* µs */
    double random;            /* [0, 1) */
} TimerNow;

typedef struct TimerState {
    uint64_t base;     /* wall µs */
    uint64_t calendar; /* wall µs of the next elapse by on_calendar; USEC_INFINITY = none */
    uint64_t every;    /* monotonic µs of the next by `every`; USEC_INFINITY = none */
} TimerState;

typedef enum TimerAnswer { TIMER_RUN, TIMER_SKIP, TIMER_QUEUE } TimerAnswer;

static inline bool timer_has_interval(const TimerPolicy *p)
{
    return p->every > 0 && p->every != USEC_INFINITY;
}
/* Whether a module has a timer at all. */
static inline bool timer_is_set(const TimerPolicy *p)
{
    return p->on_calendar || timer_has_interval(p);
}
/* Whether it starts with the daemon, asked for by nobody: a timed module does not, its timer does. */
static inline bool module_starts(const ModulePolicy *m)
{
    return m->start == START_AUTO && !timer_is_set(&m->timer);
}

/* At the daemon's start, or when the job is started by hand: goes on from the stamp. */
void timer_arm(const TimerPolicy *p, const TimerStamp *stamp, const TimerNow *now, TimerState *ret);
/* It elapses or runs now: goes on from now. */
void timer_elapsed(const TimerPolicy *p, const TimerNow *now, TimerState *s);
/* The wall clock was set; `every` takes no notice. The stamp counts again where it is in the future no more. */
void timer_clock_set(const TimerPolicy *p, const TimerStamp *stamp, const TimerNow *now, TimerState *s);

bool timer_due(const TimerState *s, const TimerNow *now);
/* Wall clock µs of the next elapse, as far as is known now; USEC_INFINITY = none. */
uint64_t timer_next(const TimerState *s, const TimerNow *now);
/* What an elapse comes to. running: a run of the job is under way; next: another is to follow it already. */
TimerAnswer timer_decide(WhenRunning when, bool running, bool next);
