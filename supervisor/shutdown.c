/* See shutdown.h. */
#include "supervisor/shutdown.h"

#include "base/log.h"
#include "supervisor/drains.h"
#include "supervisor/jobs.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/timers.h"

void shutdown_begin(Host *h, const char *why)
{
    if (h->shutting_down) {
        if (!h->hurried) {
            h->hurried = true;
            log_warning("event=hurried reason=\"%s\"", why);
            host_event(h, NULL, 0, "hurried", NULL, NULL);
        }
    } else {
        h->shutting_down = true;
        h->starting = false;
        json_t *work = drains_in_flight(h);
        log_info("event=stopping reason=\"%s\" busy=%zu", why, json_object_size(work));
        host_event(h, NULL, 0, "stopping", NULL, json_pack("{s:s,s:o}", "reason", why, "in_flight", work));
        instance_mark_stopping(&h->instance);
        service_busy(&h->service, usec_add(bound_shutdown(h->graph), BOUND_LEEWAY_USEC),
                     "STOPPING=1\nSTATUS=Stopping: taking all modules down");
    }
    timers_disarm_all(h);
    jobs_stop_all(h);
    for (size_t i = 0; h->hurried && i < h->n_modules; i++)
        if (h->modules[i]->generation)
            teardown_hurry(h->modules[i]->generation);
}

void shutdown_ask(Host *h, ControlReply *reply)
{
    if (reply)
        ARRAY_PUSH(h->shutdown_replies, h->n_shutdown_replies) = reply;
    if (!h->shutting_down)
        shutdown_begin(h, "asked for");
}

void shutdown_check(Host *h)
{
    if (!h->shutting_down || h->leftovers_over < h->n_leftovers)
        return;
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i]->generation)
            return;
    (void)sd_event_exit(h->ctx.event, 0);
}
