/* A helper process of a module: exec_start_pre, exec_stop_post, or a readiness probe. Runs in the sibling leaf
 * NAME/check with small limits of its own, as the module's user, in the same box; one at a time a module. When it is
 * over, in time or not, everything in the leaf is killed and the leaf removed before the result is told. */
#pragma once

#include "supervisor/run/module.h"

typedef struct HookResult {
    bool timed_out;
    int code; /* exit status, -1 when a signal ended it */
    int signal;
} HookResult;

/* `result` NULL: it could not be run, *e says why. The hook is freed by the time fn runs. */
typedef void (*HookFn)(Generation *g, const HookResult *result, const Error *e);

typedef struct HookRequest {
    const char *name;  /* "exec_start_pre": for errors and events */
    char *const *argv; /* NULL for a probe */
    char *const *extra_environment;
    int (*probe)(const void *argument);
    const void *probe_argument; /* must live as long as the hook */
    uint64_t timeout_usec;
} HookRequest;

/* Starts it and stores it in g->hook. On failure fn is not called. */
int hook_start(Generation *g, const HookRequest *request, HookFn fn, Error *e);
/* Gives up: kills it and forgets; fn is not called. NULL is fine. */
Hook *hook_free(Hook *h);
/* Its process, 0 = none. NULL is fine. */
pid_t hook_pid(const Hook *h);
/* "exit status 3", "killed by signal 9", "timed out": for people. Owned by the caller. */
char *hook_describe(const HookResult *result);
