/* See module.h. */
#include "supervisor/run/module.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

void module_clear_error(Module *m)
{
    free(TAKE_PTR(m->last_error_stage));
    free(TAKE_PTR(m->last_error));
}

void module_set_error(Module *m, const char *stage, const char *message)
{
    module_clear_error(m);
    m->last_error_stage = xstrdup(stage);
    m->last_error = xstrdup(message);
}

Generation *generation_new(Module *m)
{
    Generation *g = new0(Generation);
    g->module = m;
    g->number = ++m->last_generation;
    g->pidfd = -EBADF;
    m->generation = g;
    return g;
}

int generation_signal_main(const Generation *g, int sig)
{
    int fd = g->main_source ? g->pidfd : g->child_source ? sd_event_source_get_child_pidfd(g->child_source) : -EBADF;
    if (fd < 0 || !g->main_alive)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0 ? -errno : 0;
}

int generation_step(Generation *g, LifecycleEvent event)
{
    RunContext *ctx = g->module->ctx;
    LifecycleState before = g->lifecycle.state;
    int r = lifecycle_step(&g->lifecycle, event);
    if (r < 0) {
        run_event(ctx, g->module, g->number, "lifecycle-error", NULL,
                  json_pack("{s:s,s:s}", "state", lifecycle_state_name(before), "event", lifecycle_event_name(event)));
        return r;
    }
    if (g->lifecycle.state != before)
        ctx->hooks->changed(ctx->host, g, before);
    return 0;
}

/* The policy's room knows nothing of the kernel's. */
_Static_assert((unsigned)TRACK_CONNECTIONS == WORK_TRACK_CONNECTIONS &&
                   (unsigned)TRACK_REQUESTS == WORK_TRACK_REQUESTS && (unsigned)TRACK_UNIX == WORK_TRACK_UNIX &&
                   (unsigned)TRACK_CALLS == WORK_TRACK_CALLS && (unsigned)TRACK_WRITES == WORK_TRACK_WRITES &&
                   (unsigned)TRACK_API == WORK_TRACK_API,
               "the same bits");

KernelModule module_counted(const Module *m)
{
    const Work *w = &m->policy->work;
    return (KernelModule){.name = module_name(m),
                          .track = w->track.sources,
                          .ports = w->ports,
                          .n_ports = w->n_ports,
                          .max_in_flight = w->max_in_flight <= UINT32_MAX ? (uint32_t)w->max_in_flight : 0,
                          .settle_nsec = w->settle * 1000,
                          .long_running_nsec = w->long_running_after * 1000};
}
