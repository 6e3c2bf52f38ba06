/* See drains.h. */
#include "supervisor/drains.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/stop/drainer.h"
#include "supervisor/stop/gate.h"
#include "supervisor/stop/holding.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/waiters.h"
#include "supervisor/watch/sources.h"

static uint64_t generation_number(const Module *m)
{
    return m->generation ? m->generation->number : m->last_generation;
}

static void refuse(const Module *m, const char *why, ControlReply *reply)
{
    _cleanup_(freep) char *text = xasprintf("%s cannot be drained: it %s", module_name(m), why);
    control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
}

/* --- one that is under way --- */

static void on_event(void *userdata, const char *name, json_t *detail)
{
    const Module *m = userdata;
    run_event(m->ctx, m, generation_number(m), name, NULL, detail);
}

/* Nobody waits for it any more: it was undone, or its module goes another way. */
static void call_off(Module *m, const char *why)
{
    m->drainer = drainer_free(m->drainer);
    _cleanup_(freep) char *text = xasprintf("%s is not drained: %s", module_name(m), why);
    waiters_answer(m->ctx->host, m, WAIT_DRAIN, text);
}

/* Nobody is left: the end of what was in flight was no answer. */
static bool is_abandoned(void *userdata)
{
    const Module *m = userdata;
    return !m->generation || box_populated(m->generation->leaf) == 0;
}

static void on_over(void *userdata, DrainVerdict verdict, const Error *e)
{
    Module *m = userdata;
    Host *h = m->ctx->host;
    m->drainer = NULL;
    m->gate.drained = verdict == DRAIN_DONE;
    if (is_abandoned(m)) {
        call_off(m, "it ended");
        return;
    }
    if (verdict == DRAIN_DONE) {
        log_info("module=%s event=drained", module_name(m));
        run_event(&h->ctx, m, generation_number(m), "drained", NULL, NULL);
        waiters_answer(h, m, WAIT_DRAIN, NULL);
        return;
    }
    log_warning("module=%s event=drain-timed-out reason=\"%s\"", module_name(m), error_message(e));
    run_event(&h->ctx, m, generation_number(m), "drain-timed-out", NULL, json_pack("{s:s}", "error", error_message(e)));
    _cleanup_(freep) char *text = xasprintf("%s is not drained: %s; its gate stays closed (bulkhead drain --undo %s)",
                                            module_name(m), error_message(e), module_name(m));
    waiters_answer(h, m, WAIT_DRAIN, text);
}

static const DrainerHooks hooks = {.abandoned = is_abandoned, .event = on_event, .over = on_over};

static void open_again(Module *m, const char *why)
{
    Error e = {0};
    if (gate_open(m, &e) < 0) {
        log_warning("module=%s event=gate-stuck reason=\"%s\"", module_name(m), error_message(&e));
        return;
    }
    log_info("module=%s event=gate-opened reason=\"%s\"", module_name(m), why);
    run_event(m->ctx, m, generation_number(m), "gate-opened", NULL, json_pack("{s:s}", "reason", why));
}

/* --- what is asked for --- */

static const char *obstacle(const Host *h, size_t i)
{
    const Module *m = h->modules[i];
    if (!m->generation)
        return "does not run";
    if (m->generation->lifecycle.state == LIFECYCLE_CREATING)
        return "is not ready yet";
    if (m->generation->lifecycle.state != LIFECYCLE_RUNNING || h->stopping[i])
        return "is being stopped, which drains it";
    return NULL;
}

void drains_start(Host *h, size_t i, bool block, ControlReply *reply)
{
    Module *m = h->modules[i];
    const char *why = obstacle(h, i);
    if (why) {
        refuse(m, why, reply);
        return;
    }
    if ((why = gate_refusal(m))) {
        _cleanup_(freep) char *text = xasprintf("%s cannot be drained: %s", module_name(m), why);
        control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
        return;
    }
    Error e = {0};
    bool was_closed = m->gate.closed;
    if (gate_close(m, &e) < 0) {
        _cleanup_(freep) char *text = xasprintf("%s: %s", module_name(m), error_message(&e));
        control_reply_fail(reply, CONTROL_ERROR_FAILED, text);
        return;
    }
    m->gate.by_hand = true;
    if (!was_closed) {
        log_info("module=%s event=gate-closed", module_name(m));
        run_event(&h->ctx, m, m->generation->number, "gate-closed", NULL, NULL);
    }
    if (m->gate.drained || !block)
        control_reply_done(reply);
    else
        waiters_add(h, m, WAIT_DRAIN, reply);
    if (!m->gate.drained && !m->drainer && !(m->drainer = drainer_new(m, &hooks, m)))
        call_off(m, "no timer could be made");
}

void drains_undo(Host *h, size_t i, ControlReply *reply)
{
    Module *m = h->modules[i];
    if (!m->gate.by_hand) {
        _cleanup_(freep) char *text =
            xasprintf("%s has nothing to undo: %s", module_name(m),
                      m->gate.closed ? "its gate is closed because it is being stopped" : "its gate is open");
        control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
        return;
    }
    call_off(m, "the drain was undone");
    open_again(m, "undone");
    control_reply_done(reply);
}

void drains_wanted_up(Host *h, size_t i)
{
    Module *m = h->modules[i];
    if (!m->gate.by_hand)
        return;
    call_off(m, "it was started");
    open_again(m, "started");
}

/* Whether somebody who needs module i has yet to finish. */
static bool has_dependents(const Host *h, size_t i)
{
    _cleanup_(freep) bool *set = new0_array(bool, h->n_modules);
    graph_closure_down(h->graph, i, set);
    for (size_t k = 0; k < h->n_modules; k++)
        if (set[k] && k != i && h->modules[k]->generation)
            return true;
    return false;
}

void drains_wanted_down(Host *h, size_t i)
{
    Module *m = h->modules[i];
    if (!m->gate.by_hand)
        return;
    call_off(m, "it is to be stopped");
    m->gate.by_hand = false;
    /* Who goes first must be able to finish; else it stays closed until the teardown, which closes it anyway. */
    if (!m->generation || has_dependents(h, i))
        open_again(m, "stopped");
}

/* --- what happens to the module --- */

void drains_changed(Host *h, Generation *g)
{
    Module *m = g->module;
    (void)h;
    if (g->lifecycle.state == LIFECYCLE_DRAINING || g->lifecycle.state == LIFECYCLE_DELETING) {
        if (m->drainer)
            call_off(m, "it ended");
    } else if (g->lifecycle.state == LIFECYCLE_CREATING && m->gate.by_hand) {
        /* Sources of the new run are to know as well, and what comes to be in flight before is none of ours. */
        (void)work_gate(m->ctx->work, m, true);
        m->gate.drained = true;
    }
}

void drains_forget(Module *m)
{
    m->drainer = drainer_free(m->drainer);
    json_decref(m->held);
    m->held = NULL;
}

/* --- what is told --- */

static void add_count(void *userdata, const char *module, uint64_t in_flight)
{
    json_object_set_new(userdata, module, json_integer((json_int_t)in_flight));
}

json_t *drains_in_flight(const Host *h)
{
    json_t *out = json_object();
    work_counts(h->ctx.work, add_count, out);
    return out;
}

json_t *drains_gate_json(const Module *m)
{
    if (!m->gate.closed)
        return json_null();
    uint64_t ago = now_monotonic() - m->gate.since;
    json_t *drain = m->drainer ? drainer_json(m->drainer) : teardown_drain_json(m->generation);
    const char *state = json_is_object(drain) ? "draining" : m->gate.drained ? "drained" : "closed";
    return json_pack("{s:s,s:s,s:I,s:o}", "state", state, "by", m->gate.by_hand ? "hand" : "stop", "since_usec",
                     (json_int_t)(now_realtime() - ago), "drain", drain);
}

json_t *drains_holding_json(const Module *m)
{
    if (!m->gate.closed)
        return m->held ? json_incref(m->held) : json_null();
    WorkNow now;
    work_read(m->ctx->work, m, &now);
    return holding_json(m, &now);
}
