/* The one table of a generation's life: see lifecycle.h for the words.
 *
 * A cell holds the next state plus one, so that a cell nobody wrote is "no such transition" and a forgotten state is a
 * terminal one, never a way back to idle. The outer dimension is counted from the initialisers: a state added to the
 * X-macro without a row here does not compile. */
#include "supervisor/run/lifecycle.h"

#include <assert.h>
#include <errno.h>

#define TO(state)    (LIFECYCLE_##state + 1)
#define EVENT(event) [LIFECYCLE_EVENT_##event]

static const uint8_t table[][LIFECYCLE_EVENT_N] = {
    [LIFECYCLE_IDLE] = {EVENT(START) = TO(CREATING), EVENT(STOP) = TO(GONE)},
    [LIFECYCLE_CREATING] = {EVENT(READY) = TO(RUNNING),
                            EVENT(START_FAILED) = TO(DELETING), /* nothing was in service: nothing to drain */
                            EVENT(EXITED) = TO(DRAINING),       /* a job has done its work, and is over with that */
                            EVENT(STOP) = TO(DRAINING)},
    [LIFECYCLE_RUNNING] = {EVENT(EXITED) = TO(DRAINING), /* gate and drain are skipped, the rest is the same way */
                           EVENT(STOP) = TO(DRAINING)},
    [LIFECYCLE_DRAINING] = {EVENT(DRAINED) = TO(DELETING),
                            EVENT(EXITED) = TO(DRAINING), /* noted: the drain ends by its own rules */
                            EVENT(STOP) = TO(DRAINING)},  /* ending already: from now on it is wanted */
    [LIFECYCLE_DELETING] = {EVENT(EXITED) = TO(DELETING), EVENT(STOP) = TO(DELETING), EVENT(REMOVED) = TO(GONE),
                            EVENT(REMOVED_FAILED) = TO(FAILED)},
    [LIFECYCLE_GONE] = {0},
    [LIFECYCLE_FAILED] = {0},
};

static_assert(ELEMENTS(table) == LIFECYCLE_STATE_N, "every state has a row");
static_assert(ELEMENTS(table[0]) == LIFECYCLE_EVENT_N, "every event has a column");
static_assert(LIFECYCLE_STATE_N < UINT8_MAX, "a cell holds state + 1");

int lifecycle_next(LifecycleState state, LifecycleEvent event)
{
    if ((unsigned)state >= LIFECYCLE_STATE_N || (unsigned)event >= LIFECYCLE_EVENT_N || table[state][event] == 0)
        return -EPROTO;
    return table[state][event] - 1;
}

int lifecycle_step(Lifecycle *l, LifecycleEvent event)
{
    int next = lifecycle_next(l->state, event);
    if (next < 0)
        return next;
    l->state = (LifecycleState)next;
    if (event == LIFECYCLE_EVENT_STOP)
        l->intentional = true;
    return 0;
}

const char *lifecycle_state_name(LifecycleState state)
{
    static const char *const names[] = {
#define X(id, name) name,
        LIFECYCLE_STATES(X)
#undef X
    };
    static_assert(ELEMENTS(names) == LIFECYCLE_STATE_N, "every state has a name");
    return (unsigned)state < LIFECYCLE_STATE_N ? names[state] : "?";
}

const char *lifecycle_event_name(LifecycleEvent event)
{
    static const char *const names[] = {
#define X(id, name) name,
        LIFECYCLE_EVENTS(X)
#undef X
    };
    static_assert(ELEMENTS(names) == LIFECYCLE_EVENT_N, "every event has a name");
    return (unsigned)event < LIFECYCLE_EVENT_N ? names[event] : "?";
}
