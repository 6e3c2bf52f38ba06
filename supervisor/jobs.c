/* See jobs.h. Invariants:
 *   - status[i] READY, STARTING or STOPPING exactly while module i has a generation (until the pump frees it);
 *   - a module that waits for its next start by recovery is WAITING with next_start set: who requires it waits too;
 *   - generations are freed by the pump alone, so that no callback pulls the ground from under its caller. */
#include "supervisor/jobs.h"

#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/run/start.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/watch/exits.h"

static int on_pump(sd_event_source *s, void *userdata);

void jobs_changed(Host *h)
{
    if (h->pumping)
        return;
    if (!h->pump && sd_event_add_defer(h->ctx.event, &h->pump, on_pump, h) < 0)
        return;
    sd_event_source_set_enabled(h->pump, SD_EVENT_ONESHOT);
}

/* --- waiters --- */

static void wait_for(Host *h, size_t i, WaitFor what, ControlReply *reply)
{
    if (reply)
        ARRAY_PUSH(h->waiters, h->n_waiters) =
            (Waiter){.module = i, .what = what, .after = h->modules[i].last_generation, .reply = reply};
}

/* Answers the waiters of module i that wait for `what`; error NULL = it came true. */
static void answer(Host *h, size_t i, WaitFor what, const char *error)
{
    size_t kept = 0;
    for (size_t k = 0; k < h->n_waiters; k++) {
        Waiter w = h->waiters[k];
        bool meant = w.module == i && w.what == what &&
                     (error || what != WAIT_RESTART || h->modules[i].last_generation > w.after);
        if (!meant)
            h->waiters[kept++] = w;
        else if (error)
            control_reply_fail(w.reply, CONTROL_ERROR_FAILED, error);
        else
            control_reply_done(w.reply);
    }
    h->n_waiters = kept;
}

void jobs_answer_now(Host *h, ControlReply *reply)
{
    for (size_t k = 0; k < h->n_waiters; k++) {
        if (h->waiters[k].reply != reply)
            continue;
        control_reply_done(reply);
        h->waiters[k] = h->waiters[--h->n_waiters];
        return;
    }
}

/* --- failure, recovery --- */

static double random_unit(void)
{
    uint32_t v = 0;
    (void)!getrandom(&v, sizeof v, GRND_NONBLOCK);
    return v / 4294967296.0;
}

static char *failure_text(const Module *m)
{
    if (m->last_error)
        return xasprintf("%s: start failed at %s: %s", module_name(m), m->last_error_stage, m->last_error);
    if (m->last_exit) {
        _cleanup_(freep) char *how = exits_text(m->last_exit);
        return xasprintf("%s: %s", module_name(m), how);
    }
    return xasprintf("%s: failed", module_name(m));
}

/* The start of module i has come to nothing (for now): tells who waits, and at start-up a required one ends it all. */
static void start_came_to_nothing(Host *h, size_t i)
{
    Module *m = &h->modules[i];
    _cleanup_(freep) char *text = failure_text(m);
    _cleanup_(freep) char *said = NULL;
    if (m->next_start) {
        uint64_t now = now_realtime();
        uint64_t left = m->next_start > now ? m->next_start - now : 0;
        _cleanup_(freep) char *delay = left > 10 * USEC_PER_MSEC ? format_usec(left) : NULL;
        said = xasprintf("%s (next try %s%s)", text, delay ? "in " : "at once", delay ? delay : "");
    }
    answer(h, i, WAIT_UP, said ? said : text);
    answer(h, i, WAIT_RESTART, said ? said : text);
    if (h->starting && m->policy->required && !h->shutting_down) {
        host_problem(h, "%s", text);
        host_shutdown(h, "a required module did not start");
    } else {
        log_warning("module=%s event=start-failed reason=\"%s\"", module_name(m), said ? said : text);
    }
}

static int on_restart_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Module *m = userdata;
    m->restart_timer = sd_event_source_disable_unref(m->restart_timer);
    m->next_start = 0;
    m->restarts++;
    jobs_changed(m->ctx->host);
    return 0;
}

static void cancel_restart(Module *m)
{
    m->restart_timer = sd_event_source_disable_unref(m->restart_timer);
    m->next_start = 0;
}

static void plan_restart(Host *h, size_t i, uint64_t delay)
{
    Module *m = &h->modules[i];
    h->status[i] = NODE_WAITING;
    if (delay == 0 || sd_event_add_time_relative(h->ctx.event, &m->restart_timer, CLOCK_MONOTONIC, delay, 1000,
                                                 on_restart_timer, m) < 0) {
        m->restarts++;
        return;
    }
    m->next_start = usec_add(now_realtime(), delay);
    run_event(&h->ctx, m, 0, "backoff", NULL,
              json_pack("{s:I,s:i}", "delay_usec", (json_int_t)delay, "attempt", (int)m->history.attempts));
}

/* An end that nobody wanted: restart now, later, or never. `ready_usec`: how long the run had been ready. */
static void recover(Host *h, size_t i, bool success, uint64_t ready_usec)
{
    Module *m = &h->modules[i];
    RecoveryInput in = {.success = success, .ready_usec = ready_usec, .random = random_unit()};
    RecoveryDecision d = recovery_decide(&m->policy->recovery, &m->history, &in);
    bool up = m->want_up && !h->shutting_down;
    m->gave_up = d.action == RECOVERY_GIVE_UP;
    if (d.action == RECOVERY_RESTART && up) {
        /* A start that fails at once must go through the loop, or a backoff of 0 would never let it turn. */
        plan_restart(h, i, ready_usec ? d.delay_usec : MAX2(d.delay_usec, USEC_PER_MSEC));
        return;
    }
    m->want_up = false;
    h->status[i] = success ? NODE_DOWN : NODE_FAILED;
    if (m->gave_up) {
        log_error("module=%s event=gave-up attempts=%u", module_name(m), m->history.attempts);
        run_event(&h->ctx, m, 0, "gave-up", NULL, json_pack("{s:i}", "attempts", (int)m->history.attempts));
    }
}

/* --- generations --- */

static bool known(const Host *h, const Module *m)
{
    return m >= h->modules && m < h->modules + h->n_modules;
}

void jobs_generation_changed(void *host, Generation *g)
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
        answer(h, m->index, WAIT_UP, NULL);
        answer(h, m->index, WAIT_RESTART, NULL);
    } else if (g->lifecycle.state == LIFECYCLE_DRAINING || g->lifecycle.state == LIFECYCLE_DELETING) {
        h->status[m->index] = NODE_STOPPING;
    }
    jobs_changed(h);
}

static void exited_early(Generation *g)
{
    Error e = {0};
    _cleanup_(freep) char *how = exits_text(g->module->last_exit);
    error_stage(&e, "ready");
    error_set(&e, -ECHILD, "it ended before it was ready: %s", how);
    generation_start_failed(g, &e);
}

void jobs_main_exited(void *host, Generation *g)
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
    jobs_changed(m->ctx->host);
}

static void begin_teardown(Host *h, Generation *g)
{
    TeardownRequest request = {.from = PHASE_CONTROLLERS, .finished = on_torn_down};
    /* A start that failed half-way undoes just what it did. */
    if (g->lifecycle.state == LIFECYCLE_DELETING) {
        request.from = g->pid > 0 ? PHASE_PROCESS : PHASE_NETWORK;
        request.skip = "it never was ready";
    } else if (!g->lifecycle.intentional) {
        request.skip = "it had ended by itself";
    } else if (!g->ready) {
        request.skip = "it never was ready";
    }
    teardown_start(g, &request);
    if (h->hurried)
        teardown_hurry(g);
}

/* The generation of module i is over and gone: what now? */
static void generation_ended(Host *h, size_t i)
{
    Module *m = &h->modules[i];
    Generation *g = m->generation;
    uint64_t ready_usec = g->ready ? now_monotonic() - g->ready : 0;
    bool intentional = g->lifecycle.intentional, failed = g->failed, was_ready = g->ready;
    m->generation_over = false;
    m->generation = generation_free(g);
    h->stopping[i] = false;
    if (intentional) {
        h->status[i] = m->want_restart && !h->shutting_down ? NODE_WAITING : NODE_DOWN;
        answer(h, i, WAIT_DOWN, NULL);
        if (!m->want_restart) {
            answer(h, i, WAIT_UP, "it was stopped");
            answer(h, i, WAIT_RESTART, "it was stopped");
        }
        m->want_restart = false;
    } else {
        recover(h, i, !failed, ready_usec);
        answer(h, i, WAIT_DOWN, NULL);
        if (!was_ready)
            start_came_to_nothing(h, i);
    }
}

/* --- the pump --- */

static int on_delay(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Host *h = userdata;
    h->delay_timer = sd_event_source_disable_unref(h->delay_timer);
    jobs_changed(h);
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

static bool try_start(Host *h, size_t i)
{
    Module *m = &h->modules[i];
    size_t on = 0;
    if (m->generation || m->next_start || h->shutting_down)
        return false;
    switch (schedule_start(h->graph, h->status, i, &on)) {
    case SCHEDULE_WAIT:
        return false;
    case SCHEDULE_DEPENDENCY_FAILED: {
        _cleanup_(freep) char *why = xasprintf("it requires %s, which is not running", module_name(&h->modules[on]));
        module_set_error(m, "dependency", why);
        h->status[i] = NODE_FAILED;
        m->want_up = false;
        m->since = now_realtime();
        run_event(&h->ctx, m, 0, "dependency-failed", NULL,
                  json_pack("{s:s}", "dependency", module_name(&h->modules[on])));
        start_came_to_nothing(h, i);
        return true;
    }
    case SCHEDULE_GO:
        break;
    }
    if (!may_begin_another(h))
        return false;
    h->status[i] = NODE_STARTING;
    generation_start(m);
    uint64_t delay = h->policy->supervisor.start_delay;
    if (delay)
        (void)sd_event_add_time_relative(h->ctx.event, &h->delay_timer, CLOCK_MONOTONIC, delay, 0, on_delay, h);
    return true;
}

static bool try_stop(Host *h, size_t i)
{
    Module *m = &h->modules[i];
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
    Module *m = &h->modules[i];
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

static void check_start_up(Host *h)
{
    if (!h->starting || h->shutting_down || h->delay_timer)
        return;
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->status[i] == NODE_STARTING || h->status[i] == NODE_STOPPING)
            return;
    host_started(h);
}

static int on_pump(sd_event_source *s, void *userdata)
{
    (void)s;
    Host *h = userdata;
    h->pumping = true;
    /* Every step changes a status for good or begins something that ends by an event, so this comes to rest. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < h->n_modules; i++)
            again |= step_module(h, i);
    }
    h->pumping = false;
    check_start_up(h);
    host_check_over(h);
    return 0;
}

/* --- wishes --- */

/* Wants one module up, which begins a new life for its recovery. */
static void want_up(Host *h, size_t i)
{
    Module *m = &h->modules[i];
    m->want_up = true;
    if (h->status[i] == NODE_READY || h->status[i] == NODE_STARTING)
        return;
    m->gave_up = false;
    m->history = (RecoveryHistory){0};
    cancel_restart(m);
    if (m->generation)
        m->want_restart |= m->generation->lifecycle.intentional;
    else
        h->status[i] = NODE_WAITING;
}

void jobs_start(Host *h, size_t i, ControlReply *reply)
{
    if (h->status[i] == NODE_READY && !h->stopping[i]) {
        if (reply)
            control_reply_done(reply);
        return;
    }
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    graph_closure_up(h->graph, i, set);
    for (size_t k = 0; k < h->n_modules; k++)
        if (set[k])
            want_up(h, k);
    if (h->stopping[i])
        h->modules[i].want_restart = true;
    wait_for(h, i, WAIT_UP, reply);
    jobs_changed(h);
}

void jobs_start_all(Host *h)
{
    h->starting = true;
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->policy->modules[i]->start == START_AUTO)
            graph_closure_up(h->graph, i, set);
    for (size_t i = 0; i < h->n_modules; i++)
        if (set[i])
            want_up(h, i);
    jobs_changed(h);
}

static bool is_up(const Host *h, size_t i)
{
    return h->status[i] == NODE_STARTING || h->status[i] == NODE_READY;
}

static void want_down(Host *h, size_t i)
{
    Module *m = &h->modules[i];
    m->want_up = m->want_restart = false;
    cancel_restart(m);
    if (m->generation) {
        h->stopping[i] = true;
        return;
    }
    if (h->status[i] == NODE_WAITING)
        m->since = now_realtime();
    h->status[i] = NODE_DOWN;
    answer(h, i, WAIT_UP, "it was stopped");
    answer(h, i, WAIT_RESTART, "it was stopped");
}

/* The dependents of i that run, "web, api", or NULL. Owned by the caller. */
static char *running_dependents(const Host *h, size_t i, const bool *set)
{
    StrBuf b = STRBUF_NULL;
    for (size_t k = 0; k < h->n_modules; k++)
        if (set[k] && k != i && is_up(h, k) && !h->stopping[k])
            strbuf_addf(&b, "%s%s", b.len ? ", " : "", module_name(&h->modules[k]));
    return b.s;
}

void jobs_stop(Host *h, size_t i, bool cascade, ControlReply *reply)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    graph_closure_down(h->graph, i, set);
    _cleanup_(freep) char *dependents = running_dependents(h, i, set);
    if (dependents && !cascade) {
        _cleanup_(freep) char *text = xasprintf("%s is required by %s, running (--cascade stops them first)",
                                                module_name(&h->modules[i]), dependents);
        if (reply)
            control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
        return;
    }
    for (size_t k = 0; k < h->n_modules; k++)
        if (set[k] && (k == i || is_up(h, k) || h->status[k] == NODE_WAITING))
            want_down(h, k);
    if (!h->modules[i].generation) {
        if (reply)
            control_reply_done(reply);
    } else {
        wait_for(h, i, WAIT_DOWN, reply);
    }
    jobs_changed(h);
}

void jobs_restart(Host *h, size_t i, bool cascade, ControlReply *reply)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    if (cascade)
        graph_closure_down(h->graph, i, set);
    set[i] = true;
    for (size_t k = 0; k < h->n_modules; k++) {
        if (!set[k] || (k != i && !is_up(h, k)))
            continue;
        if (!h->modules[k].generation) {
            jobs_start(h, k, NULL);
            continue;
        }
        want_down(h, k);
        h->modules[k].want_up = h->modules[k].want_restart = true;
        h->modules[k].history = (RecoveryHistory){0};
    }
    wait_for(h, i, WAIT_RESTART, reply);
    jobs_changed(h);
}

void jobs_stop_all(Host *h)
{
    for (size_t i = 0; i < h->n_modules; i++)
        want_down(h, i);
    for (size_t i = 0; h->hurried && i < h->n_modules; i++)
        if (h->modules[i].generation)
            teardown_hurry(h->modules[i].generation);
    jobs_changed(h);
}
