/* See phases.h. */
#include "supervisor/stop/phases.h"

#include "base/clock.h"
#include "base/str.h"

const char *const phase_names[PHASE_N] = {
#define X(id, name) [PHASE_##id] = name,
    PHASES(X)
#undef X
};

const char *const phase_status_names[PHASE_STATUS_N] = {
    [PHASE_PENDING] = "pending",     [PHASE_OK] = "ok", [PHASE_SKIPPED] = "skipped", [PHASE_FAILED] = "failed",
    [PHASE_TIMED_OUT] = "timed-out",
};

static void end_current(Phases *p, PhaseStatus status, const Error *e)
{
    Phase phase = p->current;
    PhaseResult *r = &p->result->phase[phase];
    r->status = status;
    r->duration = p->ops->now(p->userdata) - r->begun;
    if (e && e->msg[0])
        r->error = xstrdup(e->msg);
    if (status == PHASE_FAILED || status == PHASE_TIMED_OUT)
        p->result->failed |= 1u << phase;
    if (p->ops->ended)
        p->ops->ended(p->userdata, phase, r);
    p->current++;
}

/* Runs phases until one is pending or all are over. phases_done() from within a begin function is not nested: the walk
 * under way takes it from there. */
static void walk(Phases *p)
{
    if (p->walking)
        return;
    p->walking = true;
    while (p->current < PHASE_N) {
        Phase phase = p->current;
        PhaseResult *r = &p->result->phase[phase];
        Error e = {0};
        r->begun = p->ops->now(p->userdata);
        PhaseStatus status = p->ops->begin[phase](p->userdata, &e);
        if (p->current != phase)
            continue; /* it ended itself by phases_done() */
        if (status == PHASE_PENDING)
            break;
        end_current(p, status, &e);
    }
    p->walking = false;
    if (p->current == PHASE_N && !p->finished) {
        p->finished = true;
        p->ops->finished(p->userdata);
    }
}

void phases_start(Phases *p, const PhasesOps *ops, void *userdata, Phase from, const char *why)
{
    *p = (Phases){.ops = ops, .userdata = userdata, .result = new0(TeardownResult)};
    p->result->time = now_realtime();
    for (; p->current < from; p->current++) {
        PhaseResult *r = &p->result->phase[p->current];
        r->status = PHASE_SKIPPED;
        r->begun = ops->now(userdata);
        r->error = why ? xstrdup(why) : NULL;
        if (ops->ended)
            ops->ended(userdata, p->current, r);
    }
    walk(p);
}

bool phases_done(Phases *p, Phase phase, PhaseStatus status, const Error *e)
{
    if (p->finished || p->current != phase || status == PHASE_PENDING)
        return false;
    end_current(p, status, e);
    walk(p);
    return true;
}

char *teardown_result_failed(const TeardownResult *r)
{
    if (!r->failed)
        return NULL;
    StrBuf b = STRBUF_NULL;
    for (unsigned i = 0; i < PHASE_N; i++)
        if (r->failed & (1u << i))
            strbuf_addf(&b, "%s%s", b.len ? ", " : "", phase_names[i]);
    return strbuf_take(&b);
}

TeardownResult *teardown_result_free(TeardownResult *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < PHASE_N; i++)
        free(r->phase[i].error);
    free(r);
    return NULL;
}
