/* See teardown.h. Every wait has a bound: the drain its hard limit, the stop signal stop_timeout, the kill KILL_USEC,
 * hooks their own time-out. Waiting for the leaf to empty is the kernel's word (POLLPRI on cgroup.events), never a
 * poll. */
#include "supervisor/stop/teardown.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/run/dirs.h"
#include "supervisor/run/hook.h"
#include "supervisor/run/notify.h"
#include "supervisor/run/start.h"
#include "supervisor/stop/drainer.h"
#include "supervisor/stop/gate.h"

#define KILL_USEC BOUND_KILL_USEC

struct Teardown {
    Generation *generation;
    Phases phases;
    char *skip;
    void (*finished)(Generation *g);
    Drainer *drainer;
    bool hurried;
    sd_event_source *stop_timer, *kill_timer;
    BoxWatch *watch;
    sd_event_source *rest; /* the phases after the processes' end, behind the exits of others */
    PhaseStatus process_status;
    Error *process_error;
    bool signalled_rest, killed, timed_out, stuck, gone;
};

static Module *module(const Teardown *t)
{
    return t->generation->module;
}

static void event(const Teardown *t, const char *name, json_t *detail)
{
    run_event(module(t)->ctx, module(t), t->generation->number, name, phase_names[t->phases.current], detail);
}

static void done(Teardown *t, Phase phase, PhaseStatus status, const Error *e)
{
    (void)phases_done(&t->phases, phase, status, e);
}

/* --- 1 to 3: stop watching, gate, drain --- */

static PhaseStatus begin_controllers(void *userdata, Error *e)
{
    Teardown *t = userdata;
    (void)e;
    generation_stop_watching(t->generation);
    return PHASE_OK;
}

static PhaseStatus begin_gate(void *userdata, Error *e)
{
    Teardown *t = userdata;
    const char *why = t->skip ? t->skip : gate_refusal(module(t));
    if (why) {
        error_set(e, 0, "%s", why);
        return PHASE_SKIPPED;
    }
    return gate_close(module(t), e) < 0 ? PHASE_FAILED : PHASE_OK;
}

/* Nobody is left who could finish anything. */
static bool is_abandoned(void *userdata)
{
    const Teardown *t = userdata;
    return !t->generation->main_alive && box_populated(t->generation->leaf) == 0;
}

static void on_drain_event(void *userdata, const char *name, json_t *detail)
{
    event(userdata, name, detail);
}

static void on_drain_over(void *userdata, DrainVerdict verdict, const Error *e)
{
    Teardown *t = userdata;
    t->drainer = NULL;
    done(t, PHASE_DRAIN,
         verdict == DRAIN_DONE        ? PHASE_OK
         : verdict == DRAIN_ABANDONED ? PHASE_FAILED
                                      : PHASE_TIMED_OUT,
         e);
}

static const DrainerHooks drain_hooks = {.abandoned = is_abandoned, .event = on_drain_event, .over = on_drain_over};

static PhaseStatus begin_drain(void *userdata, Error *e)
{
    Teardown *t = userdata;
    const char *why = t->skip ? t->skip : t->hurried ? "hurried by a second signal" : gate_refusal(module(t));
    if (why) {
        error_set(e, 0, "%s", why);
        return PHASE_SKIPPED;
    }
    t->drainer = drainer_new(module(t), &drain_hooks, t);
    if (t->drainer)
        return PHASE_PENDING;
    error_set(e, -ENOMEM, "cannot set the drain's timer");
    return PHASE_FAILED;
}

/* --- 4, 5: input, connections --- */

static PhaseStatus begin_io(void *userdata, Error *e)
{
    Teardown *t = userdata;
    /* The drain is over: from here on it is being deleted. */
    if (t->generation->lifecycle.state == LIFECYCLE_DRAINING)
        generation_step(t->generation, LIFECYCLE_EVENT_DRAINED);
    notify_flush(t->generation->notify);
    error_set(e, 0, "its input is /dev/null and its output its own descriptor");
    return PHASE_SKIPPED;
}

static PhaseStatus begin_connection(void *userdata, Error *e)
{
    const Teardown *t = userdata;
    error_set(e, 0, "%s",
              module(t)->policy->listen.n ? "its listener is open as long as one that uses it is wanted up"
                                          : "the daemon holds no listener for it");
    return PHASE_SKIPPED;
}

/* --- 6: the processes --- */

static void processes_gone(Teardown *t);

static void on_emptied(void *userdata)
{
    Teardown *t = userdata;
    if (!t->generation->main_alive && box_populated(t->generation->leaf) == 0)
        processes_gone(t);
}

/* The pids that a kill did not end, for the error. */
static void name_survivors(const Teardown *t, Error *e)
{
    _cleanup_(freep) pid_t *pids = NULL;
    size_t n = 0;
    if (box_pids(t->generation->leaf, &pids, &n) < 0)
        n = 0;
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < n && i < 8; i++)
        strbuf_addf(&b, " %d", (int)pids[i]);
    error_set(e, -EBUSY, "%zu processes cannot be killed (uninterruptible sleep?):%s%s", n, b.s ? b.s : "",
              n > 8 ? " …" : "");
    strbuf_done(&b);
}

static int on_kill_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Teardown *t = userdata;
    t->stuck = true;
    processes_gone(t);
    return 0;
}

static void kill_all(Teardown *t)
{
    if (t->killed)
        return;
    t->killed = true;
    t->stop_timer = sd_event_source_disable_unref(t->stop_timer);
    int r = box_kill(t->generation->leaf);
    event(t, "killed", r < 0 ? json_pack("{s:s}", "error", strerror(-r)) : NULL);
    (void)sd_event_add_time_relative(module(t)->ctx->event, &t->kill_timer, CLOCK_MONOTONIC, KILL_USEC, 0,
                                     on_kill_timeout, t);
    on_emptied(t);
}

static int on_stop_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Teardown *t = userdata;
    t->timed_out = true;
    kill_all(t);
    return 0;
}

/* The main process is gone, others of the module are not: the same signal, what is left of the same time. */
static void signal_rest(Teardown *t)
{
    if (t->signalled_rest || t->killed)
        return;
    t->signalled_rest = true;
    int n = box_signal(t->generation->leaf, module(t)->policy->stop_signal);
    event(t, "signalled-rest", json_pack("{s:i}", "processes", n));
}

/* The main process's end is told by its own source; only what outlives it needs the kernel's word on the leaf, and few
 * modules leave anything. Without the word there is the bound on the kill. */
static void end_rest(Teardown *t)
{
    Error e = {0};
    if (!t->watch && box_watch(t->generation->leaf, on_emptied, t, &t->watch, &e) < 0) {
        event(t, "cleanup-failed", json_pack("{s:s}", "error", error_message(&e)));
        kill_all(t);
        return;
    }
    signal_rest(t);
    on_emptied(t); /* it may have emptied before the watch was there */
}

static PhaseStatus begin_process(void *userdata, Error *e)
{
    Teardown *t = userdata;
    Generation *g = t->generation;
    RunContext *ctx = module(t)->ctx;
    if (!g->leaf || (!g->main_alive && box_populated(g->leaf) == 0)) {
        if (g->leaf && g->pid > 0)
            processes_gone(t);
        else
            error_set(e, 0, "no process was started");
        return g->leaf && g->pid > 0 ? PHASE_PENDING : PHASE_SKIPPED;
    }
    uint64_t limit = module(t)->policy->stop_timeout;
    if (limit != USEC_INFINITY)
        (void)sd_event_add_time_relative(ctx->event, &t->stop_timer, CLOCK_MONOTONIC, limit, 0, on_stop_timeout, t);
    /* What never became the module's program is our own child on its way to _exit: nothing to be gentle with. */
    if (g->main_alive && (!g->executed || generation_signal_main(g, module(t)->policy->stop_signal) < 0))
        kill_all(t);
    else if (!g->main_alive)
        end_rest(t);
    return PHASE_PENDING;
}

static int on_rest(sd_event_source *s, void *userdata)
{
    (void)s;
    Teardown *t = userdata;
    t->rest = sd_event_source_disable_unref(t->rest);
    _cleanup_(freep) Error *e = TAKE_PTR(t->process_error);
    done(t, PHASE_PROCESS, t->process_status, e);
    return 0;
}

/* Removing cgroups is slow and holds locks that every exit needs. When many modules end at once, all of them should be
 * down before the first is swept up: so the rest takes its turn behind every exit that waits to be seen (those have
 * priority: run/start.c). */
static void end_process_with(Teardown *t, PhaseStatus status, const Error *e)
{
    t->process_status = status;
    if (e && e->msg[0]) {
        t->process_error = new0(Error);
        *t->process_error = *e;
    }
    int r = sd_event_add_defer(module(t)->ctx->event, &t->rest, on_rest, t);
    if (r < 0)
        on_rest(NULL, t);
}

static void end_process(Teardown *t)
{
    Error e = {0};
    PhaseStatus status = PHASE_OK;
    if (t->stuck) {
        status = PHASE_FAILED;
        name_survivors(t, &e);
    } else if (t->timed_out) {
        _cleanup_(freep) char *limit = format_usec(module(t)->policy->stop_timeout);
        status = PHASE_TIMED_OUT;
        error_set(&e, -ETIMEDOUT, "still running %s after the stop signal (stop_timeout): killed", limit);
    }
    end_process_with(t, status, &e);
}

static void on_stop_post(Generation *g, const Error *e)
{
    Teardown *t = g->teardown;
    if (!e) {
        end_process(t);
        return;
    }
    Error failed = *e;
    error_prefix(&failed, "exec_stop_post: ");
    end_process_with(t, PHASE_FAILED, &failed);
}

/* What exec_stop_post wants to know, under the names systemd gives it. */
static void start_stop_post(Teardown *t)
{
    const LastExit *x = module(t)->last_exit;
    bool known = x && x->generation == t->generation->number;
    char result[48], code[32], status[32];
    snprintf(result, sizeof result, "SERVICE_RESULT=%s",
             !known || x->success ? "success"
             : x->oom             ? "oom-kill"
             : x->signal          ? "signal"
                                  : "exit-code");
    snprintf(code, sizeof code, "EXIT_CODE=%s", known && x->signal ? "killed" : "exited");
    snprintf(status, sizeof status, "EXIT_STATUS=%d", !known ? 0 : x->signal ? x->signal : x->code);
    char *extra[] = {result, code, status, NULL};
    Error e = {0};
    if (hook_start(t->generation, HOOK_STOP_POST, extra, on_stop_post, &e) < 0) {
        error_prefix(&e, "exec_stop_post: ");
        end_process_with(t, PHASE_FAILED, &e);
    }
}

static void processes_gone(Teardown *t)
{
    if (t->gone)
        return;
    t->gone = true;
    t->stop_timer = sd_event_source_disable_unref(t->stop_timer);
    t->kill_timer = sd_event_source_disable_unref(t->kill_timer);
    t->watch = box_unwatch(t->watch);
    notify_flush(t->generation->notify);
    if (hook_given(module(t)->policy, HOOK_STOP_POST) && !t->generation->hook)
        start_stop_post(t);
    else
        end_process(t);
}

/* --- 7 to 10: what it left in the kernel and on disk --- */

static PhaseStatus begin_network(void *userdata, Error *e)
{
    Teardown *t = userdata;
    Generation *g = t->generation;
    bool was_closed = module(t)->gate.closed && !module(t)->gate.by_hand;
    /* What comes from now on waits for the next generation. */
    if (was_closed && gate_open(module(t), e) < 0)
        return PHASE_FAILED;
    if (!g->registered) {
        if (was_closed)
            return PHASE_OK;
        error_set(e, 0, "it was not registered in the kernel");
        return PHASE_SKIPPED;
    }
    g->registered = false;
    int r = kernel_generation_remove(module(t)->ctx->kernel, box_id(g->leaf));
    if (r < 0) {
        error_errno(e, r, "cannot remove it from the map of exits");
        return PHASE_FAILED;
    }
    return PHASE_OK;
}

static PhaseStatus begin_mounts(void *userdata, Error *e)
{
    Teardown *t = userdata;
    Generation *g = t->generation;
    bool had_notify = g->notify;
    g->notify = notify_free(g->notify);
    if (!module(t)->policy->runtime_directory) {
        if (had_notify)
            return PHASE_OK;
        error_set(e, 0, "it has no directory or socket of its own");
        return PHASE_SKIPPED;
    }
    return dirs_remove(module(t), e) < 0 ? PHASE_FAILED : PHASE_OK;
}

static PhaseStatus begin_cgroup(void *userdata, Error *e)
{
    Teardown *t = userdata;
    Generation *g = t->generation;
    if (!g->leaf) {
        error_set(e, 0, "no leaf was made");
        return PHASE_SKIPPED;
    }
    GroupStats s;
    if (box_last_stats(g->leaf, &s) == 0) {
        if (s.memory_oom_kills != UINT64_MAX)
            module(t)->oom_kills += s.memory_oom_kills;
        event(t, "statistics",
              json_pack("{s:I,s:I}", "cpu_usage_usec", (json_int_t)s.cpu_usage_usec, "memory_peak",
                        (json_int_t)(s.memory_peak == UINT64_MAX ? 0 : s.memory_peak)));
    }
    int r = box_remove(g->leaf, e);
    g->leaf = box_free(g->leaf);
    return r < 0 ? PHASE_FAILED : PHASE_OK;
}

static PhaseStatus begin_events(void *userdata, Error *e)
{
    Teardown *t = userdata;
    (void)e;
    _cleanup_(freep) char *failed = teardown_result_failed(t->phases.result);
    event(t, "torn-down", failed ? json_pack("{s:s}", "failed", failed) : NULL);
    return PHASE_OK;
}

/* --- the whole --- */

static void on_ended(void *userdata, Phase phase, const PhaseResult *r)
{
    Teardown *t = userdata;
    run_event(module(t)->ctx, module(t), t->generation->number, "phase", phase_names[phase],
              json_pack("{s:s,s:I,s:s*}", "status", phase_status_names[r->status], "duration_usec",
                        (json_int_t)r->duration, "error", r->error));
}

static uint64_t on_now(void *userdata)
{
    (void)userdata;
    return now_monotonic();
}

static void on_finished(void *userdata)
{
    Teardown *t = userdata;
    Generation *g = t->generation;
    Module *m = g->module;
    teardown_result_free(m->last_teardown);
    m->last_teardown = TAKE_PTR(t->phases.result);
    _cleanup_(freep) char *failed = teardown_result_failed(m->last_teardown);
    if (failed && !m->last_error) {
        _cleanup_(freep) char *message = xasprintf("failed phases: %s", failed);
        module_set_error(m, "teardown", message);
    }
    void (*finished)(Generation *) = t->finished;
    free(t->skip);
    free(t);
    g->teardown = NULL;
    finished(g);
}

static const PhasesOps teardown_ops = {
    .begin =
        {
            [PHASE_CONTROLLERS] = begin_controllers,
            [PHASE_GATE] = begin_gate,
            [PHASE_DRAIN] = begin_drain,
            [PHASE_IO] = begin_io,
            [PHASE_CONNECTION] = begin_connection,
            [PHASE_PROCESS] = begin_process,
            [PHASE_NETWORK] = begin_network,
            [PHASE_MOUNTS] = begin_mounts,
            [PHASE_CGROUP] = begin_cgroup,
            [PHASE_EVENTS] = begin_events,
        },
    .ended = on_ended,
    .finished = on_finished,
    .now = on_now,
};

void teardown_start(Generation *g, const TeardownRequest *request)
{
    Teardown *t = new0(Teardown);
    *t = (Teardown){
        .generation = g,
        .skip = request->skip ? xstrdup(request->skip) : NULL,
        .finished = request->finished,
    };
    g->teardown = t;
    phases_start(&t->phases, &teardown_ops, t, request->from, request->skip);
}

void teardown_main_exited(Generation *g)
{
    Teardown *t = g->teardown;
    if (!t)
        return;
    if (t->drainer) {
        drainer_ask(t->drainer);
    } else if (t->phases.current == PHASE_PROCESS && !t->generation->hook) {
        if (box_populated(g->leaf) > 0)
            end_rest(t);
        else
            processes_gone(t);
    }
}

void teardown_hurry(Generation *g)
{
    Teardown *t = g->teardown;
    if (!t || t->hurried)
        return;
    t->hurried = true;
    if (t->drainer)
        drainer_hurry(t->drainer);
}

json_t *teardown_drain_json(const Generation *g)
{
    return g && g->teardown && g->teardown->drainer ? drainer_json(g->teardown->drainer) : json_null();
}

Phase teardown_phase(const Generation *g)
{
    return g->teardown ? g->teardown->phases.current : PHASE_N;
}
