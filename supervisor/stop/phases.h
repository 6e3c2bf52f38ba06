/* The phases of a teardown: one table in strict order, and the engine that walks it.
 *
 * Each phase has a begin function that answers at once (ok, skipped, failed, timed-out) or says PENDING and calls
 * phases_done() later. A failure is kept and the next phase runs: nothing stops a teardown. The engine knows nothing of
 * modules, processes or the event loop; the clock is handed in, so tests walk every path. */
#pragma once

#include "base/error.h"

#define PHASES(X)                                                                              \
    X(CONTROLLERS, "controllers") /* health checks, timers, readiness watchers */              \
    X(GATE, "gate")               /* the kernel turns new work away */                         \
    X(DRAIN, "drain")             /* what is in flight completes */                            \
    X(IO, "io")                   /* stdin, log followers */                                   \
    X(CONNECTION, "connection")   /* what could bring it new work */                           \
    X(PROCESS, "process")         /* stop_signal, stop_timeout, cgroup.kill, exec_stop_post */ \
    X(NETWORK, "network")         /* what is per module in the kernel */                       \
    X(MOUNTS, "mounts")           /* private directories, sockets */                           \
    X(CGROUP, "cgroup")           /* last statistics, the leaf */                              \
    X(EVENTS, "events")           /* the last event */

typedef enum Phase {
#define X(id, name) PHASE_##id,
    PHASES(X)
#undef X
        PHASE_N
} Phase;

typedef enum PhaseStatus {
    PHASE_PENDING,
    PHASE_OK,
    PHASE_SKIPPED,
    PHASE_FAILED,
    PHASE_TIMED_OUT,
    PHASE_STATUS_N
} PhaseStatus;

extern const char *const phase_names[PHASE_N];
extern const char *const phase_status_names[PHASE_STATUS_N];

typedef struct PhaseResult {
    PhaseStatus status;       /* PENDING = not begun or under way */
    uint64_t begun, duration; /* monotonic µs, µs */
    char *error;              /* NULL = none; for skipped: why */
} PhaseResult;

typedef struct TeardownResult {
    PhaseResult phase[PHASE_N];
    unsigned failed; /* bit n = phase n failed or timed out */
    uint64_t time;   /* wall clock µs of the begin */
} TeardownResult;

typedef struct Phases Phases;

/* Answers PENDING or the status; with an error or a reason in *e where there is one. */
typedef PhaseStatus (*PhaseBegin)(void *userdata, Error *e);

typedef struct PhasesOps {
    PhaseBegin begin[PHASE_N];                                             /* all must be there */
    void (*ended)(void *userdata, Phase phase, const PhaseResult *result); /* may be NULL */
    void (*finished)(void *userdata); /* all phases are over; the Phases may be freed in it */
    uint64_t (*now)(void *userdata);
} PhasesOps;

struct Phases {
    const PhasesOps *ops;
    void *userdata;
    TeardownResult *result; /* owned; taken by phases_take_result() */
    Phase current;
    bool walking, finished;
};

/* Begins at `from`; the phases before it are marked skipped with `why`. */
void phases_start(Phases *p, const PhasesOps *ops, void *userdata, Phase from, const char *why);
/* The pending phase `phase` has ended. A stale call (it is not the current one) is ignored and answers false. */
bool phases_done(Phases *p, Phase phase, PhaseStatus status, const Error *e);
/* "process, cgroup", or NULL when nothing failed. Owned by the caller. */
char *teardown_result_failed(const TeardownResult *r);
TeardownResult *teardown_result_free(TeardownResult *r);
