/* The drain decision: given the clock and what is in flight, go on waiting or not. Pure.
 *
 * soft limit: warn once and go on; hard limit: end; a hurry (second signal) cuts at once. Progress is due every 500 ms.
 */
#pragma once

#include "base/util.h"

#define DRAIN_PROGRESS_USEC 500000ull

typedef struct Drain {
    uint64_t begun, soft, hard; /* absolute, monotonic µs; UINT64_MAX = no such limit */
    uint64_t next_progress;
    bool warned;
    bool hurried;
} Drain;

typedef enum DrainVerdict { DRAIN_WAIT, DRAIN_DONE, DRAIN_HARD_LIMIT, DRAIN_CUT } DrainVerdict;

typedef struct DrainStep {
    DrainVerdict verdict;
    bool warn;        /* the soft limit has just passed */
    bool progress;    /* a progress event is due */
    uint64_t wake_at; /* on WAIT: when to ask again at the latest */
} DrainStep;

void drain_begin(Drain *d, uint64_t now, uint64_t soft_usec, uint64_t hard_usec);
DrainStep drain_step(Drain *d, uint64_t now, uint64_t in_flight);
