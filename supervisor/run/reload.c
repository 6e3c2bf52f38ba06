/* See reload.h. */
#include "supervisor/run/reload.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/run/hook.h"

struct Reload {
    ReloadFn fn;
    uint64_t begun; /* monotonic µs */
    bool by_hook, hook_over;
    bool announced, ready; /* RELOADING=1 has come; READY=1 after it */
    sd_event_source *timer;
};

Reload *reload_free(Reload *r)
{
    if (!r)
        return NULL;
    sd_event_source_disable_unref(r->timer);
    free(r);
    return NULL;
}

bool reload_elapsed(const Generation *g, uint64_t *ret_usec)
{
    if (!g || !g->reload)
        return false;
    *ret_usec = now_monotonic() - g->reload->begun;
    return true;
}

static void finish(Generation *g, const Error *e)
{
    Module *m = g->module;
    ReloadFn fn = g->reload->fn;
    uint64_t took = now_monotonic() - g->reload->begun;
    g->reload = reload_free(g->reload);
    free(m->reload_error);
    m->reload_error = e ? xstrdup(error_message(e)) : NULL;
    m->reloaded = now_realtime();
    run_event(m->ctx, m, g->number, e ? "reload-failed" : "reloaded", NULL,
              json_pack("{s:I,s:s*}", "duration_usec", (json_int_t)took, "error", e ? error_message(e) : NULL));
    fn(g, e);
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Generation *g = userdata;
    const ModulePolicy *m = g->module->policy;
    _cleanup_(freep) char *limit = format_usec(policy_hook_timeout(m->exec_reload_timeout, m->start_timeout));
    const char *key = m->exec_reload_timeout ? "exec_reload_timeout" : "start_timeout";
    Error e = {0};
    error_stage(&e, "reload");
    if (g->reload->announced)
        error_set(&e, -ETIMEDOUT, "it said RELOADING=1, and not READY=1 within %s %s", key, limit);
    else
        error_set(&e, -ETIMEDOUT,
                  "it did not say RELOADING=1 within %s %s, as ready = notify has it (where a program says nothing: "
                  "exec_reload = /bin/kill -%s ${MAINPID} instead of reload_signal)",
                  key, limit, str_or(sigabbrev_np(m->reload_signal), "HUP"));
    finish(g, &e);
    return 0;
}

/* From here on the program has the word, until the time is over that the reload had from its beginning. */
static int await_program(Generation *g, Error *e)
{
    const ModulePolicy *m = g->module->policy;
    uint64_t limit = policy_hook_timeout(m->exec_reload_timeout, m->start_timeout);
    if (limit == USEC_INFINITY)
        return 0;
    int r = sd_event_add_time(g->module->ctx->event, &g->reload->timer, CLOCK_MONOTONIC,
                              usec_add(g->reload->begun, limit), 0, on_timeout, g);
    return r < 0 ? error_errno(e, r, "cannot set its timer") : 0;
}

static void on_hook(Generation *g, const Error *e)
{
    if (!g->reload)
        return;
    if (e) {
        finish(g, e);
        return;
    }
    notify_flush(g->notify); /* what it said while the command ran may not have been read yet */
    g->reload->hook_over = true;
    Error failed = {0};
    if (!g->reload->announced || g->reload->ready)
        finish(g, NULL);
    else if (await_program(g, &failed) < 0)
        finish(g, &failed);
}

void reload_notified(Generation *g, const NotifyMessage *message)
{
    Reload *r = g->reload;
    if (!r)
        return;
    if (message->reloading && (!message->monotonic_usec || message->monotonic_usec >= r->begun)) {
        r->announced = true;
        r->ready = false;
    }
    if (!message->ready || !r->announced)
        return;
    r->ready = true;
    if (!r->by_hook || r->hook_over)
        finish(g, NULL);
}

void reload_ended(Generation *g)
{
    if (!g->reload)
        return;
    Error e = {0};
    error_stage(&e, "reload");
    error_set(&e, -ECHILD, "%s", g->lifecycle.intentional ? "it was stopped meanwhile" : "it ended meanwhile");
    finish(g, &e);
}

static int refuse(const Generation *g, Error *e)
{
    const ModulePolicy *m = g->module->policy;
    uint64_t elapsed;
    if (!m->reload_signal && m->exec_reload.n == 0)
        return error_set(e, -ENOTSUP, "has neither exec_reload nor reload_signal (add reload_signal = HUP to %s)",
                         m->file);
    if (g->lifecycle.state != LIFECYCLE_RUNNING)
        return error_set(e, -EBUSY, "cannot be reloaded: it is %s", lifecycle_state_name(g->lifecycle.state));
    if (!g->main_alive)
        return error_set(e, -ESRCH, "cannot be reloaded: it has no process");
    if (reload_elapsed(g, &elapsed)) {
        _cleanup_(freep) char *span = format_usec(elapsed < USEC_PER_SEC ? 0 : elapsed / USEC_PER_SEC * USEC_PER_SEC);
        return error_set(e, -EALREADY, "is being reloaded, for %s (one at a time)",
                         elapsed < USEC_PER_SEC ? "0s" : span);
    }
    return 0;
}

int reload_start(Generation *g, ReloadFn fn, Error *e)
{
    const ModulePolicy *m = g->module->policy;
    int r = refuse(g, e);
    if (r < 0)
        return r;
    notify_flush(g->notify); /* what it said before belongs to another reload */
    bool by_hook = m->exec_reload.n > 0;
    g->reload = new0(Reload);
    *g->reload = (Reload){.fn = fn, .begun = now_monotonic(), .by_hook = by_hook};
    run_event(g->module->ctx, g->module, g->number, "reloading", NULL,
              json_pack("{s:s}", "by", by_hook ? "exec_reload" : "reload_signal"));
    bool waits = by_hook || m->ready.kind == READY_NOTIFY;
    if (by_hook)
        r = hook_start(g, HOOK_RELOAD, NULL, on_hook, e);
    else if ((r = generation_signal_main(g, m->reload_signal)) < 0)
        error_errno(e, r, "cannot signal its main process");
    else if (waits)
        r = await_program(g, e);
    if (r < 0) {
        g->reload = reload_free(g->reload);
        return r;
    }
    if (waits)
        return 0;
    finish(g, NULL);
    return 1;
}
