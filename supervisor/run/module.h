/* A module while the daemon runs: the policy it follows, the generation it has, what recovery knows of it. And a
 * generation: one run, with its leaf, its main process and the sources that watch it.
 *
 * Ownership: the host owns Modules (parallel to Policy.modules); a Module owns at most one Generation; a
 * Generation owns its leaf handle, pidfd, readiness and teardown state and frees them in generation_free()
 * (generation.h). Everything happens on the one event loop. */
#pragma once

#include "policies/policy.h"
#include "supervisor/plan/recovery.h"
#include "supervisor/run/box.h"
#include "supervisor/run/context.h"
#include "supervisor/run/lifecycle.h"

/* How a main process ended, as seen by wait and by the kernel's programs together. Heap-allocated: most modules never
 * die. */
typedef struct LastExit {
    int code;       /* exit status, -1 when it was a signal */
    int signal;     /* 0 when it exited */
    bool success;   /* in success_exit_status, or wanted */
    bool wanted;    /* somebody had asked it to end */
    bool oom;       /* the OOM killer chose it */
    int syscall_nr; /* seccomp killed it for this one; -1 = no */
    uint64_t syscall_args[6];
    char syscall_comm[BULKHEAD_COMM_SIZE]; /* the process that made the call: a child, maybe */
    int killer_pid;                        /* who sent the signal; 0 = the kernel or unknown */
    char killer_comm[BULKHEAD_COMM_SIZE];
    uint64_t time; /* wall clock, µs */
    uint64_t generation;
} LastExit;

typedef struct JobTimer JobTimer; /* when it runs by itself: supervisor/timers.c */
typedef struct Launch Launch;     /* a start under way: run/start.c */
typedef struct Hook Hook;         /* a helper command under way: run/hook.c */
typedef struct Reload Reload;     /* a reload under way: run/reload.c */
typedef struct Notify Notify;     /* the notify socket: run/notify.c */
typedef struct Page Page;         /* where it counts its work itself: run/page.c */
typedef struct Teardown Teardown; /* phases under way: stop/teardown.c */

/* What turns new work away; only supervisor/stop/gate.c closes and opens it. */
typedef struct Gate {
    bool closed;
    bool by_hand;   /* somebody wants it closed (supervisor/drains.c): it outlives a crash */
    bool drained;   /* nothing was left in flight since it was closed */
    uint64_t since; /* monotonic µs of the closing */
} Gate;

struct Generation {
    Module *module;
    uint64_t number;
    Lifecycle lifecycle;
    Box *leaf;
    pid_t pid; /* main process, 0 = none yet; stays known after its end */
    int pidfd;
    bool main_alive;
    int wait_code,
        wait_status; /* once it ended: CLD_EXITED, CLD_KILLED or CLD_DUMPED and its number; code 0 = unknown */
    bool registered; /* known to bpf/ */
    sd_event_source *child_source; /* reaps what we launched */
    sd_event_source *main_source;  /* watches another main process (MAINPID=) */
    sd_event_source *start_timer;
    Launch *launch;
    Notify *notify;
    Page *page; /* NULL: not with track = api */
    Teardown *teardown;
    Hook *hook;
    Reload *reload;
    bool says_reloading;     /* RELOADING=1 came last, whoever asked for it; READY=1 ends it */
    uint64_t started, ready; /* monotonic µs; 0 = not yet */
    char *status_text;       /* STATUS= of the module, escaped */
    bool executed;           /* the new program runs: from here on its end is its own */
    bool failed;             /* how it is to end: failed, or gone */
    bool completed;          /* a job that has done its work: its end is no failure and nobody's wish */
};

struct Module {
    RunContext *ctx;
    size_t index;    /* its place in the host's arrays, which may change */
    uint64_t serial; /* its own as long as the daemon lives; 0 = a leftover */
    const ModulePolicy *policy;
    Group *group; /* modules/NAME, NULL until the first start */
    Generation *generation;
    uint64_t last_generation;

    /* What is wanted and where it stands: only supervisor/jobs.c, failure.c and pump.c write these. */
    bool leaving;         /* to be dropped when it is down: see roster.h */
    bool want_up;         /* somebody wants it to run: recovery may start it again */
    bool want_restart;    /* start again once it is down */
    bool generation_over; /* all phases are over: the generation is to be freed */
    sd_event_source *restart_timer;
    uint64_t next_start; /* wall clock µs of the next start, 0 = none */
    RecoveryHistory history;
    JobTimer *timer; /* NULL: it has none */
    bool gave_up;
    uint64_t reloaded;  /* wall clock µs of the end of the last reload, 0 = none yet */
    char *reload_error; /* why that one failed, NULL = it did not */
    char *condition;    /* which condition did not hold when it was last to start, in words; NULL = all did */
    uint64_t restarts;
    uint64_t since; /* wall clock µs of the last change of state */

    LastExit *last_exit;
    char *last_error_stage, *last_error; /* why the last start or teardown failed, NULL = it did not */
    struct TeardownResult *last_teardown;
    Gate gate;
    struct Drainer *drainer;  /* of a drain by hand, under way: supervisor/drains.c */
    json_t *held;             /* what the last drain that did not finish had in flight: stop/holding.h */
    uint64_t oom_kills;       /* of processes in ended generations */
    struct work_counters api; /* what ended generations have counted themselves */
};

static inline const char *module_name(const Module *m)
{
    return m->policy->name;
}

/* What the kernel is to count of it; borrows from the policy. */
KernelModule module_counted(const Module *m);

/* Is new work turned away? A probe that fails meanwhile says nothing about its health. */
static inline bool module_is_gated(const Module *m)
{
    return m->gate.closed;
}

void module_set_error(Module *m, const char *stage, const char *message);
void module_clear_error(Module *m);

Generation *generation_new(Module *m);
/* Signals the main process, never another one that has its pid by now. */
int generation_signal_main(const Generation *g, int sig);
/* Takes a lifecycle step and tells the host; a wrong one is an error event and changes nothing. */
int generation_step(Generation *g, LifecycleEvent event);
