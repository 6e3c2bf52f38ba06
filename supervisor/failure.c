/* See failure.h. */
#include "supervisor/failure.h"

#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/jobs.h"
#include "supervisor/shutdown.h"
#include "supervisor/waiters.h"
#include "supervisor/watch/exits.h"

/* --- in words --- */

char *failure_text(const Module *m)
{
    if (m->last_error)
        return xasprintf("%s: start failed at %s: %s", module_name(m), m->last_error_stage, m->last_error);
    if (m->last_exit) {
        _cleanup_(freep) char *how = exits_text(m->last_exit);
        return xasprintf("%s: %s", module_name(m), how);
    }
    return xasprintf("%s: failed", module_name(m));
}

char *failure_of_dependency(const Host *h, size_t on)
{
    const Module *m = h->modules[on];
    if (h->status[on] != NODE_FAILED)
        return xasprintf("it requires %s, which is not running", module_name(m));
    _cleanup_(freep) char *how = m->last_exit && !m->last_error ? exits_text(m->last_exit) : NULL;
    bool own = m->last_error && !str_equal(m->last_error_stage, "dependency");
    return xasprintf("it requires %s, which failed: %s%s%s", module_name(m), own ? m->last_error_stage : "",
                     own ? ": " : "", m->last_error ? m->last_error : str_or(how, "its start did"));
}

void failure_at_start(Host *h, size_t i)
{
    Module *m = h->modules[i];
    _cleanup_(freep) char *text = failure_text(m);
    _cleanup_(freep) char *said = NULL;
    if (m->next_start) {
        uint64_t now = now_realtime();
        uint64_t left = m->next_start > now ? m->next_start - now : 0;
        _cleanup_(freep) char *delay = left > 10 * USEC_PER_MSEC ? format_usec(left) : NULL;
        said = xasprintf("%s (next try %s%s)", text, delay ? "in " : "at once", delay ? delay : "");
    }
    waiters_answer(h, h->modules[i], WAIT_UP, said ? said : text);
    waiters_answer(h, h->modules[i], WAIT_RESTART, said ? said : text);
    if (h->starting && m->policy->required && !h->shutting_down) {
        host_problem(h, "%s", text);
        shutdown_begin(h, "a required module did not start");
    } else {
        log_warning("module=%s event=start-failed reason=\"%s\"", module_name(m), said ? said : text);
    }
}

/* --- recovery --- */

static double random_unit(void)
{
    uint32_t v = 0;
    (void)!getrandom(&v, sizeof v, GRND_NONBLOCK);
    return v / 4294967296.0;
}

static int on_restart_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Module *m = userdata;
    m->restart_timer = sd_event_source_disable_unref(m->restart_timer);
    m->next_start = 0;
    m->restarts++;
    jobs_restart_parts(m->ctx->host, m->index);
    host_wake(m->ctx->host);
    return 0;
}

static void plan_restart(Host *h, size_t i, uint64_t delay)
{
    Module *m = h->modules[i];
    h->status[i] = NODE_WAITING;
    if (delay == 0 || sd_event_add_time_relative(h->ctx.event, &m->restart_timer, CLOCK_MONOTONIC, delay, 1000,
                                                 on_restart_timer, m) < 0) {
        m->restarts++;
        jobs_restart_parts(h, i);
        return;
    }
    m->next_start = usec_add(now_realtime(), delay);
    run_event(&h->ctx, m, 0, "backoff", NULL,
              json_pack("{s:I,s:i}", "delay_usec", (json_int_t)delay, "attempt", (int)m->history.attempts));
}

void failure_recover(Host *h, size_t i, bool success, uint64_t ready_usec)
{
    Module *m = h->modules[i];
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
