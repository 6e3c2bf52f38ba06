/* See gate.h. */
#include "supervisor/stop/gate.h"

#include "base/clock.h"
#include "supervisor/run/listeners.h"
#include "supervisor/watch/sources.h"

const char *gate_refusal(const Module *m)
{
    if (work_in_flight(m->ctx->work, m) != UINT64_MAX)
        return NULL;
    if (!sources_tracked(m))
        return "nothing is tracked ([work] track)";
    if (listeners_shared(m))
        return "its connections come from a listener that it shares: nobody can tell which are its own";
    return "no counters: bpf is not there";
}

int gate_close(Module *m, Error *e)
{
    if (m->gate.closed)
        return 0;
    int r = work_gate(m->ctx->work, m, true);
    if (r < 0) { /* half a gate is none */
        (void)work_gate(m->ctx->work, m, false);
        return error_errno(e, r, "cannot close its gate");
    }
    m->gate.closed = true;
    m->gate.since = now_monotonic();
    return 0;
}

int gate_open(Module *m, Error *e)
{
    if (!m->gate.closed)
        return 0;
    int r = work_gate(m->ctx->work, m, false);
    m->gate = (Gate){0};
    return r < 0 ? error_errno(e, r, "cannot open its gate") : 0;
}
