/* Which module may start or stop now: pure decisions over the graph and the modules' present state. */
#pragma once

#include "supervisor/plan/graph.h"

typedef enum NodeStatus {
    NODE_DOWN,     /* not running, nobody wants it up now */
    NODE_WAITING,  /* wanted up, not begun */
    NODE_STARTING, /* begun, not ready */
    NODE_READY,
    NODE_STOPPING,
    NODE_FAILED, /* its start failed, or it ended and will not be restarted in this attempt */
    NODE_DONE,   /* over, as it was meant to be: counts for who requires it, and there is nothing to stop */
    NODE_STATUS_N
} NodeStatus;

typedef enum ScheduleAnswer { SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_DEPENDENCY_FAILED } ScheduleAnswer;

/* May the WAITING module i start? *ret_on: the dependency it waits for, or that failed (untouched on GO). A required
 * dependency that is DOWN or STOPPING counts as failed when nobody will start it (DOWN), as to be waited for when
 * STOPPING; one that is READY but stopping[] counts as STOPPING. */
ScheduleAnswer schedule_start(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on);
/* Must module i, which is to start anew, wait for one that is part of it, ordered after it and on its way down with it?
 * Where it had been stopped in the same transaction schedule_stop() has seen to that; where it ended by itself only
 * this does. *ret_on: that one. */
bool schedule_parts_go_first(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on);
/* May module i be taken down? Waits while anything in its `before` list is STARTING, READY or STOPPING and
 * *stopping[j]* is set for it (it is being stopped in the same transaction); others do not hold it. */
ScheduleAnswer schedule_stop(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on);
