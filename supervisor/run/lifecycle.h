/* The life of a generation: one table, state × event. Pure: values in, values out.
 *
 *   idle → creating (until ready) → running → draining → deleting → gone | failed
 *
 * A wrong transition is an error and changes nothing, never a silent no-op. `intentional` says that the end is wanted,
 * so that no recovery fights it; it is set by STOP and never cleared. One thread owns a Lifecycle. */
#pragma once

#include "base/util.h"

#define LIFECYCLE_STATES(X) \
    X(IDLE, "idle")         \
    X(CREATING, "creating") \
    X(RUNNING, "running")   \
    X(DRAINING, "draining") \
    X(DELETING, "deleting") \
    X(GONE, "gone")         \
    X(FAILED, "failed")

#define LIFECYCLE_EVENTS(X)                                                                                        \
    X(START, "start")                   /* the leaf is about to be made */                                         \
    X(READY, "ready")                   /* readiness was seen */                                                   \
    X(START_FAILED, "start-failed")     /* launch, readiness or time ran out; also the main process ended first */ \
    X(EXITED, "exited")                 /* the main process ended, not asked to; of a job: well */                 \
    X(STOP, "stop")                     /* somebody wants it down */                                               \
    X(DRAINED, "drained")               /* phases 1 to 3 are over */                                               \
    X(REMOVED, "removed")               /* all phases are over, its end was fine */                                \
    X(REMOVED_FAILED, "removed-failed") /* all phases are over, its end was a failure */

typedef enum LifecycleState {
#define X(id, name) LIFECYCLE_##id,
    LIFECYCLE_STATES(X)
#undef X
        LIFECYCLE_STATE_N
} LifecycleState;

typedef enum LifecycleEvent {
#define X(id, name) LIFECYCLE_EVENT_##id,
    LIFECYCLE_EVENTS(X)
#undef X
        LIFECYCLE_EVENT_N
} LifecycleEvent;

typedef struct Lifecycle {
    LifecycleState state;
    bool intentional;
} Lifecycle;

/* The state after `event`, or -EPROTO where the table has no such transition. */
int lifecycle_next(LifecycleState state, LifecycleEvent event);
/* Takes the step; -EPROTO leaves *l untouched. */
int lifecycle_step(Lifecycle *l, LifecycleEvent event);

const char *lifecycle_state_name(LifecycleState state);
const char *lifecycle_event_name(LifecycleEvent event);
