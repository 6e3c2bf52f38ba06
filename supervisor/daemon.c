/* See daemon.h. */
#include "supervisor/daemon.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervisor/ground.h"
#include "supervisor/open.h"
#include "supervisor/roster.h"
#include "supervisor/run/listeners.h"
#include "supervisor/run_hooks.h"
#include "supervisor/scale.h"
#include "supervisor/startup.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/timers.h"
#include "supervisor/watch/work.h"

Host *daemon_bare(const HostOptions *options)
{
    Host *h = new0(Host);
    h->options = *options;
    h->features = *options->features;
    h->instance = INSTANCE_NULL;
    h->journal = journal_new();
    h->started = now_monotonic();
    h->ctx = (RunContext){
        .instance = options->instance,
        .view = -EBADF,
        .root = -EBADF,
        .runtime_dir = -EBADF,
        .notify_dir = -EBADF,
        .logs_dir = -EBADF,
        .work_dir = -EBADF,
        .null_fd = -EBADF,
        .mounts = {.fd = -EBADF},
        .can =
            {
                .clone3 = !feature_absent(options->features, FEATURE_CLONE3),
                .close_range = !feature_absent(options->features, FEATURE_CLOSE_RANGE),
                .proc_children = !feature_absent(options->features, FEATURE_PROC_CHILDREN),
                .ptrace = !feature_absent(options->features, FEATURE_PTRACE),
            },
        .work = work_registry_new(),
        .hooks = &run_hooks,
        .host = h,
    };
    return h;
}

Host *daemon_new(const HostOptions *options, int *ret_exit)
{
    Host *h = daemon_bare(options);
    *ret_exit = open_host(h);
    return *ret_exit ? daemon_free(h) : h;
}

int daemon_run(Host *h)
{
    if (h->shutting_down) { /* told to, while leftovers were taken down */
        host_wake(h);
    } else {
        log_info("event=starting instance=%s modules=%zu cgroup=%s bpf=%s", h->options.instance, h->n_modules,
                 h->ctx.tree ? cgroup_tree_root_path(h->ctx.tree) : "none", h->ctx.kernel ? "yes" : "no");
        startup_begin(h);
    }
    int r = sd_event_loop(h->ctx.event);
    if (r < 0) {
        fprintf(stderr, "bulkheadd: the event loop failed: %s\n", strerror(-r));
        return EXIT_FAILED;
    }
    return h->problem.code ? EXIT_FAILED : EXIT_DONE;
}

Host *daemon_free(Host *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->n_shutdown_replies; i++)
        control_reply_done(h->shutdown_replies[i]);
    scale_check(h);
    h->control = control_close(h->control);
    roster_close(h);
    listeners_close(&h->ctx);
    for (size_t i = 0; i < h->n_leftovers; i++)
        leftover_free(h->leftovers[i]);
    free(h->leftovers);
    sd_event_source *sources[] = {h->pump,   h->ring,          h->sigterm,     h->sigint,
                                  h->sighup, h->startup_timer, h->delay_timer, h->orphans};
    for (size_t i = 0; i < ELEMENTS(sources); i++)
        sd_event_source_disable_unref(sources[i]);
    timers_close(h);
    h->logs = log_watch_free(h->logs);
    h->ctx.work = work_registry_free(h->ctx.work);
    h->ctx.kernel = kernel_close(h->ctx.kernel);
    if (h->orphans)
        box_end_orphans(&h->ctx);
    /* A start that failed leaves what a dead daemon left as it was: the next one will find it. */
    bool clean = h->leftovers_over == h->n_leftovers;
    ground_close(h, clean);
    fd_close(h->ctx.work_dir);
    fd_close(h->ctx.view);
    fd_close(h->ctx.root);
    fd_close(h->ctx.null_fd);
    fd_close(h->ctx.mounts.fd);
    service_close(&h->service);
    sd_event_unref(h->ctx.event);
    instance_close(&h->instance, h->instance.lock >= 0 && clean);
    free(h->waiters);
    free(h->scales);
    free(h->shutdown_replies);
    graph_free(h->graph);
    policy_free(h->policy);
    journal_free(h->journal);
    free(h);
    return NULL;
}
