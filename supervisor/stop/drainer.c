/* See drainer.h. */
#include "supervisor/stop/drainer.h"

#include <errno.h>

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/stop/holding.h"
#include "supervisor/watch/sources.h"

struct Drainer {
    Module *module;
    const DrainerHooks *hooks;
    void *userdata;
    Drain drain;
    WorkNow now;         /* as last read */
    uint64_t in_flight;  /* of it, what holds */
    uint64_t begun_with; /* what it began with, or more that came after */
    uint64_t oldest;     /* how long the oldest is at it, µs; UINT64_MAX = nobody knows */
    bool look_failed;
    WorkWait *wait; /* for the end of what is in flight, or ... */
    sd_event_source *timer;
};

static void step(Drainer *d);

/* --- being woken --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    step(userdata);
    return 0;
}

static void on_wait_over(void *userdata, int result)
{
    (void)result;
    Drainer *d = userdata;
    d->wait = NULL;
    step(d);
}

static int wake_at(Drainer *d, uint64_t at)
{
    if (!d->timer)
        return sd_event_add_time(d->module->ctx->event, &d->timer, CLOCK_MONOTONIC, at, 1000, on_timer, d);
    int r = sd_event_source_set_time(d->timer, at);
    return r < 0 ? r : sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

Drainer *drainer_new(Module *m, const DrainerHooks *hooks, void *userdata)
{
    const Work *w = &m->policy->work;
    DrainLimits limits = {.soft = w->drain_soft, .hard = w->drain_hard};
    Drainer *d = new0(Drainer);
    *d = (Drainer){.module = m, .hooks = hooks, .userdata = userdata, .oldest = UINT64_MAX};
    uint64_t now = now_monotonic();
    drain_begin(&d->drain, now, m->gate.since, &limits);
    return wake_at(d, now) < 0 ? drainer_free(d) : d;
}

Drainer *drainer_free(Drainer *d)
{
    if (!d)
        return NULL;
    work_wait_cancel(d->wait);
    sd_event_source_disable_unref(d->timer);
    free(d);
    return NULL;
}

void drainer_ask(Drainer *d)
{
    d->wait = work_wait_cancel(d->wait);
    (void)wake_at(d, now_monotonic());
}

void drainer_hurry(Drainer *d)
{
    d->drain.hurried = true;
    drainer_ask(d);
}

/* --- seeing --- */

static void look_at_counters(Drainer *d)
{
    work_read(d->module->ctx->work, d->module, &d->now);
    d->in_flight = work_holding(&d->now);
    d->begun_with = MAX2(d->begun_with, d->in_flight);
}

/* False, and told once: what the sockets hold nobody can say, and the counters alone decide. */
static bool look_at_sockets(Drainer *d, DrainTruth *ret)
{
    const Module *m = d->module;
    KernelTruth t;
    Error e = {0};
    if (kernel_truth(m->ctx->kernel, group_id(m->group), &t, &e) < 0) {
        if (!d->look_failed)
            d->hooks->event(d->userdata, "drain-look-failed", json_pack("{s:s}", "error", error_message(&e)));
        d->look_failed = true;
        return false;
    }
    *ret = (DrainTruth){
        .busy = t.busy,
        .unread = t.unread,
        .unsent = t.unsent,
        .unacked = t.unacked,
        .not_accepted = t.not_accepted,
        .settled = t.last_tx_nsec ? usec_add(t.last_tx_nsec / 1000, m->policy->work.settle) + 1 : 0,
    };
    uint64_t now = now_monotonic();
    d->oldest = t.oldest_nsec ? now - MIN2(now, t.oldest_nsec / 1000) : UINT64_MAX;
    return true;
}

static bool can_look(const Drainer *d)
{
    return !d->look_failed && d->module->group && sources_have_sockets(&d->now);
}

static DrainSeen seen(const Drainer *d, const DrainTruth *truth)
{
    return (DrainSeen){
        .in_flight = d->in_flight,
        .can_look = can_look(d),
        .abandoned = d->hooks->abandoned && d->hooks->abandoned(d->userdata),
        .truth = truth,
    };
}

static DrainStep decide(Drainer *d)
{
    look_at_counters(d);
    DrainSeen s = seen(d, NULL);
    DrainStep first = drain_step(&d->drain, now_monotonic(), &s);
    if (first.verdict != DRAIN_LOOK)
        return first;
    DrainTruth truth;
    bool looked = look_at_sockets(d, &truth);
    look_at_counters(d); /* what came in while it looked must not be missed */
    s = seen(d, looked ? &truth : NULL);
    return drain_step(&d->drain, now_monotonic(), &s);
}

/* --- telling --- */

json_t *drainer_json(const Drainer *d)
{
    uint64_t now = now_monotonic();
    json_t *sources = json_object();
    for (WorkKind k = 0; k < WORK_KIND_N; k++)
        if (d->now.kinds & (1u << k))
            json_object_set_new(sources, work_kind_names[k], json_integer((json_int_t)d->now.in_flight[k]));
    return json_pack("{s:I,s:I,s:o,s:I,s:o,s:o}", "in_flight", (json_int_t)d->in_flight, "elapsed_usec",
                     (json_int_t)(now - d->drain.begun), "left_usec",
                     d->drain.hard == USEC_INFINITY
                         ? json_null()
                         : json_integer((json_int_t)(d->drain.hard - MIN2(now, d->drain.hard))),
                     "begun_with", (json_int_t)d->begun_with, "oldest_usec",
                     d->oldest == UINT64_MAX ? json_null() : json_integer((json_int_t)d->oldest), "sources", sources);
}

static void say(Drainer *d, const char *name)
{
    DrainTruth unused;
    if (can_look(d))
        (void)look_at_sockets(d, &unused); /* for the oldest's age */
    d->hooks->event(d->userdata, name, drainer_json(d));
}

static const char *why(DrainVerdict v)
{
    return v == DRAIN_CUT         ? "when it was cut by a second signal"
           : v == DRAIN_ABANDONED ? "when its last process ended"
                                  : "at the hard limit (drain_hard)";
}

static void end(Drainer *d, DrainVerdict verdict)
{
    Error e = {0};
    Module *m = d->module;
    json_decref(m->held);
    m->held = NULL;
    if (verdict != DRAIN_DONE) {
        m->held = holding_json(m, &d->now);
        _cleanup_(freep) char *what = holding_text(m->held);
        if (d->in_flight > 0)
            error_set(&e, -ETIMEDOUT, "%llu still in flight %s%s%s", (unsigned long long)d->in_flight, why(verdict),
                      *what ? ": " : "", what);
        else
            error_set(&e, -ETIMEDOUT, "nothing in flight, but not at rest %s%s%s", why(verdict), *what ? ": " : "",
                      what);
    }
    const DrainerHooks *hooks = d->hooks;
    void *userdata = d->userdata;
    drainer_free(d);
    hooks->over(userdata, verdict, &e);
}

static void step(Drainer *d)
{
    d->wait = work_wait_cancel(d->wait);
    DrainStep s = decide(d);
    if (s.verdict != DRAIN_WAIT && s.verdict != DRAIN_LOOK) {
        end(d, s.verdict);
        return;
    }
    if (s.warn)
        say(d, "drain-soft-limit");
    if (s.progress)
        say(d, "drain-progress");
    uint64_t at = s.verdict == DRAIN_LOOK ? now_monotonic() : s.wake_at;
    if (d->in_flight == 0 ||
        work_wait(d->module->ctx->work, d->module->ctx->event, d->module, at, on_wait_over, d, &d->wait) < 0)
        (void)wake_at(d, at);
}
