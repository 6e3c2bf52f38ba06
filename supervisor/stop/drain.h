/* The drain decision: given the clock and what is in flight, go on waiting or not. Pure.
 *
 * Drained is more than a count that was 0 once: nothing is in flight some grace after the gate was closed (what had
 * passed it just then is counted by now), and a truth pass, a look at every socket itself, finds no answer that was
 * still being written less than `settle` ago, no byte unread, unsent or unacknowledged, and no connection that nobody
 * has accepted.
 *
 * soft limit: warn once and go on; hard limit: end; a hurry (second signal) cuts at once. Progress is due every 500 ms.
 */
#pragma once

#include "base/util.h"

#define DRAIN_PROGRESS_USEC   500000ull
#define DRAIN_GRACE_USEC      20000ull  /* from the gate's closing; a program in the kernel runs for microseconds */
#define DRAIN_LOOK_FIRST_USEC 10000ull  /* from a look that found something to the next one, doubled each time */
#define DRAIN_LOOK_LAST_USEC  320000ull /* up to here */

typedef struct DrainLimits {
    uint64_t soft, hard; /* from the begin, µs; USEC_INFINITY = no such limit */
} DrainLimits;

/* What a truth pass found: how many connections are at work or settle, have such bytes, or are so. */
typedef struct DrainTruth {
    uint64_t busy, unread, unsent, unacked, not_accepted;
    uint64_t settled; /* monotonic µs: when what settles has, unless it goes on; 0 = nobody knows */
} DrainTruth;

typedef struct DrainSeen {
    uint64_t in_flight;      /* of all that holds the drain */
    bool can_look;           /* a truth pass can be made */
    bool abandoned;          /* no process is left that could finish anything */
    const DrainTruth *truth; /* of a pass made just now; NULL = none was */
} DrainSeen;

typedef struct Drain {
    uint64_t begun, soft, hard; /* absolute, monotonic µs; UINT64_MAX = no such limit */
    uint64_t grace_over;
    uint64_t next_progress;
    uint64_t next_look, look_again; /* when, and how long after that one */
    bool warned;
    bool hurried;
} Drain;

typedef enum DrainVerdict {
    DRAIN_WAIT,
    DRAIN_LOOK, /* make a truth pass and ask again at once, with what it found */
    DRAIN_DONE,
    DRAIN_ABANDONED, /* over, but what was in flight was never finished */
    DRAIN_HARD_LIMIT,
    DRAIN_CUT
} DrainVerdict;

typedef struct DrainStep {
    DrainVerdict verdict;
    bool warn;        /* the soft limit has just passed */
    bool progress;    /* a progress event is due */
    uint64_t wake_at; /* on WAIT: when to ask again at the latest */
} DrainStep;

/* `closed`: when the gate was closed, monotonic µs. */
void drain_begin(Drain *d, uint64_t now, uint64_t closed, const DrainLimits *limits);
DrainStep drain_step(Drain *d, uint64_t now, const DrainSeen *seen);
bool drain_truth_is_clean(const DrainTruth *t);
