/* Restart or not, and when: pure, with the random number and the clock given ([recovery] in the policy).
 *
 * The first restart after a healthy run (ready for at least reset_after) is at once, and so is the first ever; the
 * second waits backoff, each further one factor times longer, ± jitter, and never over max_backoff, jitter and all.
 * After max_attempts restarts without a healthy run recovery gives up; so it does when the delay would be infinite.
 * It lives in plan/ because `bulkhead plan` shows the same schedule that the daemon follows. */
#pragma once

#include "policies/policy.h"

typedef struct RecoveryHistory {
    unsigned attempts; /* restarts since the last healthy run */
} RecoveryHistory;

typedef struct RecoveryInput {
    bool intentional;    /* somebody wanted the end */
    bool success;        /* the exit is in success_exit_status */
    uint64_t ready_usec; /* how long the run had been ready; 0 = it never was */
    double random;       /* [0, 1) */
} RecoveryInput;

typedef enum RecoveryAction { RECOVERY_NONE, RECOVERY_RESTART, RECOVERY_GIVE_UP } RecoveryAction;

typedef struct RecoveryDecision {
    RecoveryAction action;
    uint64_t delay_usec;
} RecoveryDecision;

/* Decides and counts: h->attempts is what it must be after the decision. NONE ends the row (attempts 0); GIVE_UP leaves
 * the count to be shown, so whoever starts the module by hand after it begins with a RecoveryHistory of zero. */
RecoveryDecision recovery_decide(const Recovery *policy, RecoveryHistory *h, const RecoveryInput *in);
/* Delay before restart number `attempt` (from 1), without jitter; USEC_INFINITY = never. */
uint64_t recovery_delay(const Recovery *policy, unsigned attempt);
