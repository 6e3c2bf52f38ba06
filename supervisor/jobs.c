/* See jobs.h. Nothing is started or stopped here: wishes are noted, and the pump is woken. */
#include "supervisor/jobs.h"

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/drains.h"
#include "supervisor/plan/timer.h"
#include "supervisor/timers.h"
#include "supervisor/waiters.h"

static void cancel_restart(Module *m)
{
    m->restart_timer = sd_event_source_disable_unref(m->restart_timer);
    m->next_start = 0;
}

/* Wants one module up, which begins a new life for its recovery. `needed`: because another is to start, for which a job
 * that has just done its work need not do it again. */
static void want_up(Host *h, size_t i, bool needed)
{
    Module *m = h->modules[i];
    if (needed && m->generation && m->generation->completed)
        return;
    m->want_up = true;
    if (h->status[i] == NODE_READY || h->status[i] == NODE_STARTING)
        return;
    m->gave_up = false;
    m->history = (RecoveryHistory){0};
    cancel_restart(m);
    if (m->generation) /* on its way down, wanted or not */
        m->want_restart = true;
    else
        h->status[i] = NODE_WAITING;
}

void jobs_run(Host *h, size_t i)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    graph_closure_up(h->graph, i, set);
    for (size_t k = 0; k < h->n_modules; k++)
        if (set[k])
            want_up(h, k, k != i);
    if (h->stopping[i])
        h->modules[i]->want_restart = true;
    host_wake(h);
}

void jobs_start(Host *h, size_t i, ControlReply *reply)
{
    Module *m = h->modules[i];
    bool up = h->status[i] == NODE_READY && !h->stopping[i];
    timers_arm(h, m, !up);
    if (up) {
        if (reply)
            control_reply_done(reply);
        return;
    }
    jobs_run(h, i);
    waiters_add(h, m, WAIT_UP, reply);
}

void jobs_start_all(Host *h)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    for (size_t i = 0; i < h->n_modules; i++)
        if (module_starts(h->policy->modules[i]))
            graph_closure_up(h->graph, i, set);
    for (size_t i = 0; i < h->n_modules; i++)
        if (set[i])
            want_up(h, i, false);
    host_wake(h);
}

static bool is_up(const Host *h, size_t i)
{
    return h->status[i] == NODE_STARTING || h->status[i] == NODE_READY;
}

static void want_down(Host *h, size_t i)
{
    Module *m = h->modules[i];
    m->want_up = m->want_restart = false;
    cancel_restart(m);
    drains_wanted_down(h, i);
    if (m->generation) {
        h->stopping[i] = true;
        return;
    }
    if (h->status[i] == NODE_WAITING)
        m->since = now_realtime();
    if (h->status[i] != NODE_DONE) /* what it has done stays done */
        h->status[i] = NODE_DOWN;
    waiters_answer(h, h->modules[i], WAIT_UP, "it was stopped");
    waiters_answer(h, h->modules[i], WAIT_RESTART, "it was stopped");
}

void jobs_leave(Host *h, size_t i)
{
    timers_disarm(h, h->modules[i]);
    want_down(h, i);
    h->stopping[i] = h->modules[i]->generation != NULL;
}

/* n bools, owned by the caller: who has something to be stopped, which is to be up or down again. */
static bool *to_stop(const Host *h)
{
    bool *set = new0_array(bool, h->n_modules);
    for (size_t k = 0; k < h->n_modules; k++)
        set[k] = is_up(h, k) || h->status[k] == NODE_WAITING || h->modules[k]->want_restart;
    return set;
}

/* Who can be restarted: not those that somebody wants down. */
static bool *to_restart(const Host *h)
{
    bool *set = new0_array(bool, h->n_modules);
    for (size_t k = 0; k < h->n_modules; k++)
        set[k] = is_up(h, k) && (!h->stopping[k] || h->modules[k]->want_restart);
    return set;
}

/* The dependents that run of those that are to go down and are not among them: "web, api (requires queue)", or NULL.
 * Owned by the caller. */
static char *running_dependents(const Host *h, size_t i, const bool *going)
{
    StrBuf b = STRBUF_NULL;
    _cleanup_(freep) bool *told = new0_array(bool, h->n_modules);
    for (size_t p = 0; p < h->n_modules; p++) {
        if (!going[p])
            continue;
        _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
        graph_closure_down(h->graph, p, set);
        for (size_t k = 0; k < h->n_modules; k++) {
            if (!set[k] || going[k] || told[k] || !is_up(h, k) || h->stopping[k])
                continue;
            told[k] = true;
            strbuf_addf(&b, "%s%s", b.len ? ", " : "", module_name(h->modules[k]));
            if (p != i)
                strbuf_addf(&b, " (by way of %s)", module_name(h->modules[p]));
        }
    }
    return b.s;
}

void jobs_stop(Host *h, size_t i, bool cascade, ControlReply *reply)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules), *up = to_stop(h);
    graph_taken_along(h->graph, i, false, up, set);
    _cleanup_(freep) char *dependents = cascade ? NULL : running_dependents(h, i, set);
    if (dependents) {
        _cleanup_(freep) char *text = xasprintf("%s is required by %s, running (--cascade stops them first)",
                                                module_name(h->modules[i]), dependents);
        if (reply)
            control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
        return;
    }
    /* Without cascade none of them runs, but some may wait to be started, in vain now. */
    graph_taken_along(h->graph, i, true, up, set);
    _cleanup_(freep) bool *down = new0_array(bool, h->n_modules);
    graph_closure_down(h->graph, i, down);
    for (size_t k = 0; k < h->n_modules; k++) {
        if (set[k] || down[k])
            timers_disarm(h, h->modules[k]); /* or it would have all of them started again */
        if (set[k])
            want_down(h, k);
    }
    if (!h->modules[i]->generation) {
        if (reply)
            control_reply_done(reply);
    } else {
        waiters_add(h, h->modules[i], WAIT_DOWN, reply);
    }
    host_wake(h);
}

static void want_again(Host *h, size_t k)
{
    want_down(h, k);
    h->modules[k]->want_up = h->modules[k]->want_restart = true;
}

/* What k needs and is down: it cannot come up again without, and a start would start it too. */
static void want_dependencies(Host *h, size_t k)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    graph_closure_up(h->graph, k, set);
    for (size_t i = 0; i < h->n_modules; i++)
        if (set[i] && i != k && (h->status[i] == NODE_DOWN || h->status[i] == NODE_FAILED))
            want_up(h, i, true);
}

void jobs_restart(Host *h, size_t i, bool cascade, ControlReply *reply)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules), *up = to_restart(h);
    graph_taken_along(h->graph, i, cascade, up, set);
    for (size_t k = 0; k < h->n_modules; k++) {
        if (!set[k])
            continue;
        if (!h->modules[k]->generation) {
            jobs_start(h, k, NULL);
            continue;
        }
        want_dependencies(h, k);
        want_again(h, k);
        h->modules[k]->history = (RecoveryHistory){0};
    }
    timers_arm(h, h->modules[i], true);
    waiters_add(h, h->modules[i], WAIT_RESTART, reply);
    host_wake(h);
}

void jobs_restart_parts(Host *h, size_t i)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules), *up = to_restart(h);
    graph_taken_along(h->graph, i, false, up, set);
    for (size_t k = 0; k < h->n_modules; k++) {
        if (!set[k] || k == i || !h->modules[k]->generation || h->stopping[k])
            continue;
        run_event(&h->ctx, h->modules[k], h->modules[k]->generation->number, "restarted-with", NULL,
                  json_pack("{s:s}", "part_of", module_name(h->modules[i])));
        want_again(h, k);
    }
}

void jobs_stop_all(Host *h)
{
    for (size_t i = 0; i < h->n_modules; i++)
        want_down(h, i);
    host_wake(h);
}
