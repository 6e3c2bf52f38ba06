/* What every step of a module's life needs and the host owns: the event loop, the instance's directories, the kernel's
 * parts, and the hooks by which lower rooms tell the host what happened (they may not include it).
 *
 * One RunContext lives as long as the daemon; nobody below the host frees anything in it. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "bpf/kernel.h"
#include "cgroups/cgroup.h"
#include "supervisor/run/lifecycle.h"
#include "supervisor/run/mounts.h"

typedef struct Module Module;
typedef struct Generation Generation;

typedef struct RunHooks {
    /* Whether the pid is a child that some source of ours will reap. */
    bool (*launched)(void *host, pid_t pid);
    /* The generation's lifecycle has moved on. */
    void (*changed)(void *host, Generation *g, LifecycleState before);
    /* The main process has ended; the cause is in g->exit. */
    void (*exited)(void *host, Generation *g);
    /* The module's output goes where its policy says, from now on. */
    void (*logging)(void *host, const Module *m);
    /* Something worth telling: `detail` is stolen, may be NULL. `phase` may be NULL. */
    void (*event)(void *host, const Module *m, uint64_t generation, const char *event, const char *phase,
                  json_t *detail);
} RunHooks;

/* What starting and finding processes may use of the kernel; the host tells. */
typedef struct RunFeatures {
    bool clone3, close_range;   /* else clone(2), and children that begin as a plain copy */
    bool proc_children, ptrace; /* see box.h; they matter where there are no cgroups */
} RunFeatures;

typedef struct RunContext {
    sd_event *event;
    RunFeatures can;
    const char *instance;
    CgroupTree *tree;                      /* NULL where cgroups = optional and the host has none: see box.h */
    Kernel *kernel;                        /* NULL where bpf = optional and the kernel has none */
    int view, root;                        /* the modules' mount namespace and its root */
    int runtime_dir, notify_dir, logs_dir; /* /run/bulkhead/I, /run/bulkhead/I/notify, /var/log/bulkhead/I */
    int work_dir;                          /* /run/bulkhead/I/work as modules see it: run/page.h */
    int null_fd;                           /* /dev/null, read and write */
    uint64_t nofile_soft, nofile_hard;     /* as the daemon was started with */
    bool reset_oom_score_adj;              /* the daemon's own is below 0, which is not for modules */
    Mounts mounts;
    struct Listener **listeners; /* run/listeners.c */
    size_t n_listeners;
    struct WorkRegistry *work; /* watch/work.h */
    const RunHooks *hooks;
    void *host;
} RunContext;

/* Shorthand for the event hook; detail may be NULL and is stolen. */
static inline void run_event(const RunContext *ctx, const Module *m, uint64_t generation, const char *event,
                             const char *phase, json_t *detail)
{
    ctx->hooks->event(ctx->host, m, generation, event, phase, detail);
}
