/* A helper process of a module: one of its hooks (exec_start_pre, exec_start_post, exec_stop_post, exec_reload), or a
 * readiness probe. Runs in the sibling leaf NAME/check with small limits of its own, as the module's user, in the same
 * box; one at a time a module. The commands of a hook run one after the other, each in a leaf of its own; the time-out
 * is that of all of them together. When a command is over, in time or not, everything in its leaf is killed and the
 * leaf removed before anything else happens.
 *
 * A command that fails ends the hook, unless it may ('-' before it): then an event tells it. A time-out is a failure in
 * any case: there is no time left for the rest. */
#pragma once

#include "supervisor/run/module.h"

typedef enum HookKind { HOOK_START_PRE, HOOK_START_POST, HOOK_STOP_POST, HOOK_RELOAD, HOOK_KIND_N } HookKind;

/* What it is called in the policy. */
extern const char *const hook_names[HOOK_KIND_N];

/* e NULL: all went well; else which command failed and how, with the hook's name as stage. The hook is freed by then.
 */
typedef void (*HookFn)(Generation *g, const Error *e);

/* Does the policy have such a hook? */
bool hook_given(const ModulePolicy *m, HookKind kind);
/* Starts it and stores it in g->hook, which must be free; `extra` are variables ("NAME=value"). On failure fn is not
 * called. */
int hook_start(Generation *g, HookKind kind, char *const *extra, HookFn fn, Error *e);
/* Runs the function in a process instead of a program, without a time-out; `argument` must live as long. */
int hook_probe(Generation *g, int (*probe)(const void *argument), const void *argument, HookFn fn, Error *e);
/* Gives up: kills it and forgets; fn is not called. NULL is fine. */
Hook *hook_free(Hook *h);
/* Its process, 0 = none. NULL is fine. */
pid_t hook_pid(const Hook *h);

typedef struct HookStatus {
    const char *name;                 /* "exec_start_pre" */
    char *command;                    /* "/usr/bin/wait-for-db", "/bin/b (2 of 3)": owned by the caller */
    uint64_t elapsed_usec, left_usec; /* of all commands together; left UINT64_MAX = no limit */
} HookStatus;

/* What is under way; false for none, and for a probe. */
bool hook_status(const Hook *h, HookStatus *ret);
