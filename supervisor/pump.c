/* See pump.h. Invariants:
 *   - status[i] READY, STARTING or STOPPING exactly while module i has a generation (until the pump frees it);
 *   - a job (type = oneshot) is STARTING while it runs, and then DONE, or READY without a process (remain_after_exit);
 *   - a module that waits for its next start by recovery is WAITING with next_start set: who requires it waits too;
 *   - generations are freed by the pump alone, so that no callback pulls the ground from under its caller. */
#include "supervisor/pump.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/failure.h"
#include "supervisor/jobs.h"
#include "supervisor/roster.h"
#include "supervisor/run/condition.h"
#include "supervisor/run/generation.h"
#include "supervisor/run/listeners.h"
#include "supervisor/run/start.h"
#include "supervisor/scale.h"
#include "supervisor/shutdown.h"
#include "supervisor/startup.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/timers.h"
#include "supervisor/waiters.h"
#include "supervisor/watch/exits.h"

/* --- generations --- */

static bool known(const Host *h, const Module *m)
{
    return m->index < h->n_modules && h->modules[m->index] == m;
}

void pump_generation_changed(void *host, Generation *g)
{
    Host *h = host;
    Module *m = g->module;
    if (!known(h, m))
        return;
    const char *state = lifecycle_state_name(g->lifecycle.state);
    m->since = now_realtime();
    run_event(&h->ctx, m, g->number, state, NULL,
              g->failed && m->last_error ? json_pack("{s:s,s:s}", "stage", m->last_error_stage, "error", m->last_error)
                                         : NULL);
    if (g->lifecycle.state == LIFECYCLE_RUNNING) {
        h->status[m->index] = NODE_READY;
        log_info("module=%s generation=%llu event=running pid=%d", module_name(m), (unsigned long long)g->number,
                 (int)g->pid);
        waiters_answer(h, m, WAIT_UP, NULL);
        waiters_answer(h, m, WAIT_RESTART, NULL);
    } else if (g->lifecycle.state == LIFECYCLE_DRAINING || g->lifecycle.state == LIFECYCLE_DELETING) {
        h->status[m->index] = NODE_STOPPING;
    }
    host_wake(h);
}

/* The end of a job's run is what its start has waited for. */
static void job_exited(Generation *g)
{
    if (g->module->last_exit->success) {
        generation_completed(g);
        return;
    }
    g->failed = true;
    generation_stop_watching(g);
    generation_step(g, LIFECYCLE_EVENT_START_FAILED);
}

static void exited_early(Generation *g)
{
    if (g->module->policy->type == TYPE_ONESHOT) {
        job_exited(g);
        return;
    }
    Error e = {0};
    _cleanup_(freep) char *how = exits_text(g->module->last_exit);
    error_stage(&e, "ready");
    error_set(&e, -ECHILD, "it ended before it was ready: %s", how);
    generation_start_failed(g, &e);
}

void pump_main_exited(void *host, Generation *g)
{
    Host *h = host;
    Module *m = g->module;
    if (!known(h, m))
        return;
    if (!g->executed) { /* the launch failed, and that was told: this is its child going */
        teardown_main_exited(g);
        return;
    }
    if (!m->last_exit)
        m->last_exit = new0(LastExit);
    exits_describe(g, m->last_exit);
    m->last_exit->wanted = g->lifecycle.intentional;
    m->last_exit->success |= g->lifecycle.intentional;
    _cleanup_(freep) char *how = exits_text(m->last_exit);
    log_line(m->last_exit->success ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
             "module=%s generation=%llu event=exited how=\"%s\"", module_name(m), (unsigned long long)g->number, how);
    run_event(&h->ctx, m, g->number, "exited", NULL,
              json_pack("{s:i,s:i,s:b,s:b,s:s}", "code", m->last_exit->code, "signal", m->last_exit->signal, "oom",
                        m->last_exit->oom, "success", m->last_exit->success, "how", how));
    if (g->lifecycle.state == LIFECYCLE_CREATING) {
        exited_early(g);
    } else if (g->lifecycle.state == LIFECYCLE_RUNNING) {
        g->failed = !m->last_exit->success;
        generation_step(g, LIFECYCLE_EVENT_EXITED);
    } else {
        teardown_main_exited(g);
    }
}

static void on_torn_down(Generation *g)
{
    Module *m = g->module;
    m->generation_over = true;
    generation_step(g, g->failed ? LIFECYCLE_EVENT_REMOVED_FAILED : LIFECYCLE_EVENT_REMOVED);
    host_wake(m->ctx->host);
}

static void begin_teardown(Host *h, Generation *g)
{
    TeardownRequest request = {.from = PHASE_CONTROLLERS, .finished = on_torn_down};
    /* A start that failed half-way undoes just what it did. */
    if (g->lifecycle.state == LIFECYCLE_DELETING) {
        request.from = g->pid > 0 ? PHASE_PROCESS : PHASE_NETWORK;
        request.skip =
            g->module->policy->type == TYPE_ONESHOT && g->executed ? "it was no service" : "it never was ready";
    } else if (!g->lifecycle.intentional) {
        request.skip = "it had ended by itself";
    } else if (!g->ready) {
        request.skip = "it never was ready";
    }
    teardown_start(g, &request);
    if (h->hurried)
        teardown_hurry(g);
}

static void job_done(Host *h, Module *m)
{
    h->status[m->index] = NODE_DONE;
    m->want_up = false;
    m->history = (RecoveryHistory){0};
    run_event(&h->ctx, m, m->last_generation, "done", NULL, NULL);
    waiters_answer(h, m, WAIT_UP, NULL);
    waiters_answer(h, m, WAIT_RESTART, NULL);
}

/* Does anybody of that name, or an instance of it, run or want to? */
static bool is_used(const void *host, const char *name)
{
    const Host *h = host;
    ssize_t one = graph_index(h->graph, name);
    size_t first = one < 0 ? 0 : (size_t)one, n = one < 0 ? policy_instances(h->policy, name, &first) : 1;
    for (size_t i = first; i < first + n; i++)
        if (h->modules[i]->generation || h->modules[i]->want_restart || h->status[i] == NODE_WAITING)
            return true;
    return false;
}

/* The generation of module i is over and gone: what now? */
static void generation_ended(Host *h, size_t i)
{
    Module *m = h->modules[i];
    Generation *g = m->generation;
    uint64_t ready_usec = g->ready ? now_monotonic() - g->ready : 0;
    bool intentional = g->lifecycle.intentional, failed = g->failed, was_ready = g->ready, completed = g->completed;
    m->generation_over = false;
    m->generation = generation_free(g);
    h->stopping[i] = false;
    if (m->want_restart && !h->shutting_down) {
        h->status[i] = NODE_WAITING;
    } else if (m->leaving) { /* nobody is to fail for want of it until it is dropped */
        h->status[i] = NODE_DONE;
    } else if (completed) {
        job_done(h, m);
    } else if (intentional) {
        h->status[i] = NODE_DOWN;
        waiters_answer(h, m, WAIT_UP, "it was stopped");
        waiters_answer(h, m, WAIT_RESTART, "it was stopped");
    } else {
        failure_recover(h, i, !failed, ready_usec);
        if (!was_ready)
            failure_at_start(h, i);
    }
    m->want_restart = false;
    listeners_sweep(&h->ctx, is_used); /* who hears that it is down finds its sockets closed */
    waiters_answer(h, m, WAIT_DOWN, NULL);
    if (h->status[i] != NODE_WAITING && timers_take_queued(m))
        jobs_run(h, i);
}

/* --- the pump --- */

static int on_delay(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Host *h = userdata;
    h->delay_timer = sd_event_source_disable_unref(h->delay_timer);
    host_wake(h);
    return 0;
}

static bool may_begin_another(Host *h)
{
    const SupervisorPolicy *s = &h->policy->supervisor;
    if (h->delay_timer)
        return false;
    if (s->parallel_start)
        return true;
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->status[i] == NODE_STARTING)
            return false;
    return true;
}

/* It is not to be started here, or not now: no failure, and who requires it need not wait. */
static void condition_failed(Host *h, Module *m)
{
    h->status[m->index] = NODE_DONE;
    m->want_up = false;
    m->since = now_realtime();
    log_info("module=%s event=condition-failed reason=\"%s\"", module_name(m), m->condition);
    run_event(&h->ctx, m, 0, "condition-failed", NULL, json_pack("{s:s}", "condition", m->condition));
    waiters_settle(h, m);
}

static bool try_start(Host *h, size_t i)
{
    Module *m = h->modules[i];
    size_t on = 0;
    if (m->generation || m->next_start || h->shutting_down)
        return false;
    switch (schedule_start(h->graph, h->status, h->stopping, i, &on)) {
    case SCHEDULE_WAIT:
        return false;
    case SCHEDULE_DEPENDENCY_FAILED: {
        _cleanup_(freep) char *why = failure_of_dependency(h, on);
        module_set_error(m, "dependency", why);
        h->status[i] = NODE_FAILED;
        m->want_up = false;
        m->since = now_realtime();
        run_event(&h->ctx, m, 0, "dependency-failed", NULL,
                  json_pack("{s:s,s:s}", "dependency", module_name(h->modules[on]), "error", why));
        failure_at_start(h, i);
        return true;
    }
    case SCHEDULE_GO:
        break;
    }
    if (schedule_parts_go_first(h->graph, h->status, h->stopping, i, &on) || !may_begin_another(h))
        return false;
    timers_run_begins(h, m);
    free(TAKE_PTR(m->condition));
    if ((m->condition = condition_unmet(m->policy))) {
        condition_failed(h, m);
        return true;
    }
    h->status[i] = NODE_STARTING;
    generation_start(m);
    uint64_t delay = h->policy->supervisor.start_delay;
    if (delay)
        (void)sd_event_add_time_relative(h->ctx.event, &h->delay_timer, CLOCK_MONOTONIC, delay, 0, on_delay, h);
    return true;
}

static bool try_stop(Host *h, size_t i)
{
    Module *m = h->modules[i];
    size_t on;
    if (!m->generation || m->generation->lifecycle.intentional ||
        schedule_stop(h->graph, h->status, h->stopping, i, &on) != SCHEDULE_GO)
        return false;
    generation_step(m->generation, LIFECYCLE_EVENT_STOP);
    return true;
}

/* One step for module i, if there is one to take. */
static bool step_module(Host *h, size_t i)
{
    Module *m = h->modules[i];
    Generation *g = m->generation;
    if (m->generation_over) {
        generation_ended(h, i);
        return true;
    }
    if (g && !g->teardown && (g->lifecycle.state == LIFECYCLE_DRAINING || g->lifecycle.state == LIFECYCLE_DELETING)) {
        begin_teardown(h, g);
        return true;
    }
    if (h->stopping[i])
        return try_stop(h, i);
    return h->status[i] == NODE_WAITING && try_start(h, i);
}

static int on_pump(sd_event_source *s, void *userdata)
{
    (void)s;
    Host *h = userdata;
    h->pumping = true;
    for (size_t i = 0; i < h->n_modules; i++)
        if (timers_take_due(h->modules[i]))
            jobs_run(h, i);
    /* Every step changes a status for good or begins something that ends by an event, so this comes to rest. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < h->n_modules; i++)
            again |= step_module(h, i);
    }
    roster_sweep(h);
    listeners_sweep(&h->ctx, is_used);
    h->pumping = false;
    scale_check(h);
    startup_check(h);
    shutdown_check(h);
    return 0;
}

int pump_open(Host *h)
{
    int r = sd_event_add_defer(h->ctx.event, &h->pump, on_pump, h);
    return r < 0 ? r : sd_event_source_set_enabled(h->pump, SD_EVENT_OFF);
}
