/* See reloads.h. */
#include "supervisor/reloads.h"

#include "base/log.h"
#include "base/str.h"
#include "supervisor/run/reload.h"
#include "supervisor/waiters.h"

static void on_reloaded(Generation *g, const Error *e)
{
    Module *m = g->module;
    Host *h = m->ctx->host;
    _cleanup_(freep) char *why = e ? xasprintf("%s: reload failed: %s", module_name(m), error_message(e)) : NULL;
    if (why)
        log_warning("module=%s event=reload-failed reason=\"%s\"", module_name(m), error_message(e));
    else
        log_info("module=%s event=reloaded", module_name(m));
    waiters_answer(h, m, WAIT_RELOAD, why);
}

static void refuse(const Module *m, const char *why, ControlReply *reply)
{
    _cleanup_(freep) char *text = xasprintf("%s %s", module_name(m), why);
    control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
}

void reloads_start(Host *h, size_t i, bool block, ControlReply *reply)
{
    Module *m = h->modules[i];
    Generation *g = m->generation;
    Error e = {0};
    if (h->stopping[i] && g && g->lifecycle.state == LIFECYCLE_RUNNING) {
        refuse(m, "cannot be reloaded: it is to be stopped", reply);
        return;
    }
    if (!g) {
        _cleanup_(freep) char *why =
            xasprintf("cannot be reloaded: it does not run (bulkhead start %s)", module_name(m));
        refuse(m, why, reply);
        return;
    }
    waiters_add(h, m, WAIT_RELOAD, block ? reply : NULL);
    int r = reload_start(g, on_reloaded, &e);
    if (r < 0) {
        /* Who waits for the one that is under way goes on waiting. */
        waiters_forget(h, block ? reply : NULL);
        refuse(m, error_message(&e), reply);
    } else if (!block) {
        control_reply_done(reply);
    }
}
