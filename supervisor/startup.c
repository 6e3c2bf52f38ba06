/* See startup.h. */
#include "supervisor/startup.h"

#include <malloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/jobs.h"
#include "supervisor/shutdown.h"
#include "supervisor/timers.h"

static void started(Host *h)
{
    h->starting = false;
    h->startup_timer = sd_event_source_disable_unref(h->startup_timer);
    size_t ready = 0;
    for (size_t i = 0; i < h->n_modules; i++)
        ready += h->status[i] == NODE_READY;
    uint64_t took = now_monotonic() - h->started;
    _cleanup_(freep) char *text = format_usec(took);
    log_info("event=started modules=%zu running=%zu took=%s", h->n_modules, ready, text);
    host_event(h, NULL, 0, "started", NULL,
               json_pack("{s:I,s:I}", "running", (json_int_t)ready, "duration_usec", (json_int_t)took));
    service_idle(&h->service, "READY=1\nSTATUS=Up: see bulkhead status");
    /* Reading the policy and loading the programs took memory that is not needed any more. */
    (void)malloc_trim(0);
}

static int on_startup_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Host *h = userdata;
    h->startup_timer = sd_event_source_disable_unref(h->startup_timer);
    for (size_t i = 0; h->starting && i < h->n_modules; i++) {
        if (!h->modules[i]->policy->required || !h->modules[i]->want_up || h->status[i] == NODE_READY ||
            h->status[i] == NODE_DONE)
            continue;
        _cleanup_(freep) char *limit = format_usec(h->policy->supervisor.startup_timeout);
        host_problem(h, "%s: not ready after startup_timeout %s", module_name(h->modules[i]), limit);
        shutdown_begin(h, "startup_timeout");
        return 0;
    }
    if (h->starting)
        started(h);
    return 0;
}

void startup_begin(Host *h)
{
    uint64_t limit = h->policy->supervisor.startup_timeout;
    if (limit != USEC_INFINITY)
        (void)sd_event_add_time_relative(h->ctx.event, &h->startup_timer, CLOCK_MONOTONIC, limit, 0, on_startup_timeout,
                                         h);
    h->starting = true;
    jobs_start_all(h);
    timers_arm_all(h);
}

void startup_check(Host *h)
{
    if (!h->starting || h->shutting_down || h->delay_timer)
        return;
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->status[i] == NODE_STARTING || h->status[i] == NODE_STOPPING)
            return;
    started(h);
}
