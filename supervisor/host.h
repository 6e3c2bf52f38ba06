/* The one context, and what every file of this room may do with it: write down a problem, tell of an event, wake the
 * pump.
 *
 * The host owns everything: policy, graph, the kernel's parts, modules, the face. It is made, run and freed by
 * daemon.h, opened by open.h. Lower rooms tell it what happens through RunHooks and ControlOps; it alone logs. A
 * *problem* is written once, the first wins: it is what the daemon exits with. */
#pragma once

#include "supervisor/control/control.h"
#include "supervisor/features.h"
#include "supervisor/instance.h"
#include "supervisor/plan/graph.h"
#include "supervisor/plan/schedule.h"
#include "supervisor/run/module.h"
#include "supervisor/scope.h"
#include "supervisor/service.h"
#include "supervisor/watch/journal.h"
#include "supervisor/watch/logs.h"

#define EXIT_DONE       0
#define EXIT_FAILED     1
#define EXIT_USAGE      2
#define EXIT_BAD_CONFIG 78

typedef struct HostOptions {
    const char *instance;
    const char *config_dir;
    const Features *features;          /* what is known already: system calls, and what is forced to be absent */
    const char *btf_path, *bpffs_path; /* where to look for BTF and bpffs; NULL = the kernel's own places */
    const char *clock_offset_file;     /* see wallclock.h; NULL = the kernel's clock as it is */
} HostOptions;

typedef struct Timers Timers; /* timers.c */

typedef enum WaitFor { WAIT_UP, WAIT_DOWN, WAIT_RESTART, WAIT_RELOAD, WAIT_DRAIN } WaitFor;

/* A client that waits for a module's outcome. */
typedef struct Waiter {
    const Module *module;
    WaitFor what;
    uint64_t after; /* WAIT_RESTART: done when a generation above this one is ready */
    ControlReply *reply;
} Waiter;

typedef struct Host {
    HostOptions options;
    Features features;
    Instance instance;
    Policy *policy;
    Graph *graph;
    RunContext ctx;
    Scope *scope;     /* where ctx.tree stands, NULL where that is not systemd's to give */
    Module **modules; /* parallel to policy->modules and graph->nodes, see roster.h; a Module never moves */
    size_t n_modules;
    NodeStatus *status; /* parallel */
    bool *stopping;     /* parallel: to be taken down as soon as its dependents are */
    Module **leftovers; /* of a dead daemon, being taken down */
    size_t n_leftovers, leftovers_over;

    Service service; /* what supervises us */
    Control *control;
    Journal *journal;
    Timers *timers; /* NULL: no module has one */
    LogWatch *logs; /* NULL until a module's output went into a file */
    Waiter *waiters;
    size_t n_waiters;
    struct ScaleWait *scales; /* scale.c: clients that wait for a number of instances */
    size_t n_scales;
    ControlReply **shutdown_replies; /* who waits for the end of all */
    size_t n_shutdown_replies;

    sd_event_source *pump; /* deferred, off until somebody wakes it */
    sd_event_source *ring, *sigterm, *sigint, *sighup, *startup_timer, *delay_timer, *orphans;
    bool pumping;
    bool starting;      /* start-up is not over */
    bool shutting_down; /* all goes down, in order */
    bool hurried;
    uint64_t started; /* monotonic µs */
    Error problem;    /* the first; code 0 = none */
} Host;

/* Writes the problem down if it is the first. */
void host_problem(Host *h, const char *fmt, ...) _printf_(2, 3);
/* Something worth telling, for the journal of events and for clients; as RunHooks.event, `host` is the Host. */
void host_event(void *host, const Module *m, uint64_t generation, const char *name, const char *phase, json_t *detail);
/* Something changed: the pump (pump.h) is to run before the loop sleeps again. */
void host_wake(Host *h);
