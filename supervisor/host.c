/* See host.h. Opening is in open.c; host_free() undoes whatever of it was done. */
#include "supervisor/host.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/drains.h"
#include "supervisor/ground.h"
#include "supervisor/jobs.h"
#include "supervisor/open.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/pump.h"
#include "supervisor/report.h"
#include "supervisor/roster.h"
#include "supervisor/run/hook.h"
#include "supervisor/run/listeners.h"
#include "supervisor/run/start.h"
#include "supervisor/scale.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/timers.h"
#include "supervisor/watch/work.h"

/* --- problem, events --- */

void host_problem(Host *h, const char *fmt, ...)
{
    if (h->problem.code)
        return;
    h->problem.code = -ECANCELED;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->problem.msg, sizeof h->problem.msg, fmt, ap);
    va_end(ap);
    fprintf(stderr, "bulkheadd: %s\n", h->problem.msg);
}

static void on_event(void *host, const Module *m, uint64_t generation, const char *name, const char *phase,
                     json_t *detail)
{
    Host *h = host;
    const char *line =
        journal_add(h->journal, now_realtime(), m ? module_name(m) : NULL, generation, name, phase, detail);
    if (h->control)
        control_event(h->control, line);
    log_debug("module=%s generation=%llu event=%s phase=%s", m ? module_name(m) : "-", (unsigned long long)generation,
              name, phase ? phase : "-");
}

static void on_changed(void *host, Generation *g, LifecycleState before)
{
    Host *h = host;
    pump_generation_changed(h, g);
    drains_changed(h, g);
    if (h->control)
        control_module_changed(h->control, module_name(g->module), lifecycle_state_name(before),
                               lifecycle_state_name(g->lifecycle.state), g->number);
}

/* Whether the source is still to reap the pid: once it has told of the end it is off. */
static bool waits_for(sd_event_source *s, pid_t pid)
{
    pid_t child;
    return s && sd_event_source_get_child_pid(s, &child) >= 0 && child == pid &&
           sd_event_source_get_enabled(s, NULL) > 0;
}

static bool on_launched(void *host, pid_t pid)
{
    Host *h = host;
    for (size_t i = 0; i < h->n_modules; i++) {
        const Generation *g = h->modules[i]->generation;
        if (g && (hook_pid(g->hook) == pid || waits_for(g->child_source, pid) ||
                  (g->main_source && g->main_alive && g->pid == pid)))
            return true;
    }
    return log_watch_launched(h->logs, pid);
}

static void on_log_failed(void *host, const Module *m, const char *file, int error, const char *message)
{
    log_warning("module=%s event=log-not-rotated file=%s reason=\"%s\"", module_name(m), file, message);
    on_event(host, m, 0, "log-not-rotated", NULL,
             json_pack("{s:s,s:i,s:s}", "file", file, "errno", error, "reason", message));
}

static void on_logging(void *host, const Module *m)
{
    Host *h = host;
    if (!h->logs)
        h->logs = log_watch_new(&h->ctx, on_log_failed);
    log_watch_module(h->logs, m);
}

static const RunHooks run_hooks = {.launched = on_launched,
                                   .changed = on_changed,
                                   .exited = pump_main_exited,
                                   .logging = on_logging,
                                   .event = on_event};

/* --- what the kernel tells --- */

static Module *module_of(Host *h, uint64_t group)
{
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i]->group && group_id(h->modules[i]->group) == group)
            return h->modules[i];
    return NULL;
}

static void on_ring_event(const struct ring_event *e, void *userdata)
{
    Host *h = userdata;
    Module *m = module_of(h, e->module);
    Generation *g = m ? m->generation : NULL;
    if (!g)
        return;
    _cleanup_(freep) char *comm = str_escape(e->comm, strnlen(e->comm, sizeof e->comm), 64);
    switch ((enum exit_ring_kind)e->kind) {
    case RING_LISTEN:
        generation_listening(g, (uint16_t)e->value);
        break;
    case RING_IDLE:
        work_idle(h->ctx.work, m);
        break;
    case RING_OOM:
        log_warning("module=%s generation=%llu event=oom-kill pid=%u comm=%s", module_name(m),
                    (unsigned long long)g->number, e->pid, comm);
        on_event(h, m, g->number, "oom-kill", NULL, json_pack("{s:i,s:s}", "pid", (int)e->pid, "comm", comm));
        break;
    case RING_DENIED:
        log_warning("module=%s generation=%llu event=syscall-denied nr=%d pid=%u comm=%s", module_name(m),
                    (unsigned long long)g->number, e->value, e->pid, comm);
        on_event(h, m, g->number, "syscall-denied", NULL,
                 json_pack("{s:i,s:i,s:s}", "nr", e->value, "pid", (int)e->pid, "comm", comm));
        break;
    case RING_EXIT: /* wait tells it too */
        break;
    }
}

static int on_ring(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)fd, (void)events;
    Host *h = userdata;
    (void)kernel_ring_consume(h->ctx.kernel, on_ring_event, h);
    return 0;
}

/* --- start-up --- */

static int on_startup_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Host *h = userdata;
    h->startup_timer = sd_event_source_disable_unref(h->startup_timer);
    for (size_t i = 0; h->starting && i < h->n_modules; i++) {
        if (!h->modules[i]->policy->required || !h->modules[i]->want_up || h->status[i] == NODE_READY ||
            h->status[i] == NODE_DONE)
            continue;
        _cleanup_(freep) char *limit = format_usec(h->policy->supervisor.startup_timeout);
        host_problem(h, "%s: not ready after startup_timeout %s", module_name(h->modules[i]), limit);
        host_shutdown(h, "startup_timeout");
        return 0;
    }
    if (h->starting)
        host_started(h);
    return 0;
}

void host_started(Host *h)
{
    h->starting = false;
    h->startup_timer = sd_event_source_disable_unref(h->startup_timer);
    size_t ready = 0;
    for (size_t i = 0; i < h->n_modules; i++)
        ready += h->status[i] == NODE_READY;
    uint64_t took = now_monotonic() - h->started;
    _cleanup_(freep) char *text = format_usec(took);
    log_info("event=started modules=%zu running=%zu took=%s", h->n_modules, ready, text);
    on_event(h, NULL, 0, "started", NULL,
             json_pack("{s:I,s:I}", "running", (json_int_t)ready, "duration_usec", (json_int_t)took));
    service_idle(&h->service, "READY=1\nSTATUS=Up: see bulkhead status");
    /* Reading the policy and loading the programs took memory that is not needed any more. */
    (void)malloc_trim(0);
}

static void begin_start_up(Host *h)
{
    uint64_t limit = h->policy->supervisor.startup_timeout;
    if (limit != USEC_INFINITY)
        (void)sd_event_add_time_relative(h->ctx.event, &h->startup_timer, CLOCK_MONOTONIC, limit, 0, on_startup_timeout,
                                         h);
    jobs_start_all(h);
    timers_arm_all(h);
}

/* --- leftovers --- */

CgroupTree *host_remove_tree(CgroupTree *t)
{
    if (!t)
        return NULL;
    Group *modules = NULL;
    Error e = {0};
    if (group_open(t, "modules", &modules, NULL) == 0) {
        leftovers_sweep(t);
        (void)group_remove(modules, &e);
        group_close(modules);
    }
    if (e.code || cgroup_tree_remove(t, &e) < 0)
        log_warning("event=cleanup-failed reason=\"%s\"", error_message(&e));
    return cgroup_tree_close(t);
}

static void on_leftover_over(Generation *g)
{
    Module *m = g->module;
    Host *h = m->ctx->host;
    const TeardownResult *r = m->last_teardown;
    h->leftovers_over++;
    if (!r->failed)
        log_info("module=%s generation=%llu event=leftover-taken-down", module_name(m), (unsigned long long)g->number);
    for (size_t i = 0; i < PHASE_N; i++)
        if (r->failed & (1u << i))
            log_warning("module=%s generation=%llu event=leftover-taken-down phase=%s status=%s error=\"%s\"",
                        module_name(m), (unsigned long long)g->number, phase_names[i],
                        phase_status_names[r->phase[i].status], str_or(r->phase[i].error, "-"));
}

int host_take_down_leftovers(Host *h, CgroupTree *tree, Error *e)
{
    int r = leftovers_find(&h->ctx, tree, h->policy, &h->leftovers, &h->n_leftovers, e);
    if (r < 0)
        return r;
    for (size_t i = h->leftovers_over; i < h->n_leftovers; i++)
        leftover_take_down(h->leftovers[i], on_leftover_over);
    /* Every teardown ends within its own bounds, so this does. */
    while (h->leftovers_over < h->n_leftovers)
        if ((r = sd_event_run(h->ctx.event, UINT64_MAX)) < 0)
            return error_errno(e, r, "the event loop failed");
    leftovers_sweep(tree);
    return 0;
}

/* --- shutdown --- */

void host_shutdown(Host *h, const char *why)
{
    if (h->shutting_down) {
        if (!h->hurried) {
            h->hurried = true;
            log_warning("event=hurried reason=\"%s\"", why);
            on_event(h, NULL, 0, "hurried", NULL, NULL);
        }
    } else {
        h->shutting_down = true;
        h->starting = false;
        json_t *work = drains_in_flight(h);
        log_info("event=stopping reason=\"%s\" busy=%zu", why, json_object_size(work));
        on_event(h, NULL, 0, "stopping", NULL, json_pack("{s:s,s:o}", "reason", why, "in_flight", work));
        instance_mark_stopping(&h->instance);
        service_busy(&h->service, usec_add(bound_shutdown(h->graph), BOUND_LEEWAY_USEC),
                     "STOPPING=1\nSTATUS=Stopping: taking all modules down");
    }
    timers_disarm_all(h);
    jobs_stop_all(h);
}

void host_shutdown_reply(Host *h, ControlReply *reply)
{
    if (reply)
        ARRAY_PUSH(h->shutdown_replies, h->n_shutdown_replies) = reply;
    if (!h->shutting_down)
        host_shutdown(h, "asked for");
}

void host_check_over(Host *h)
{
    if (!h->shutting_down || h->leftovers_over < h->n_leftovers)
        return;
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i]->generation)
            return;
    (void)sd_event_exit(h->ctx.event, 0);
}

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    (void)s;
    host_shutdown(userdata, si->ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    return 0;
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    (void)s, (void)si, (void)userdata;
    log_warning("event=ignored signal=SIGHUP: this version reads its configuration at start only");
    return 0;
}

/* --- opening, running --- */

int host_open_loop(Host *h, Error *e)
{
    sigset_t mask;
    sigemptyset(&mask);
    static const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ELEMENTS(signals); i++)
        sigaddset(&mask, signals[i]);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&h->ctx.event);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sigterm, SIGTERM, on_stop_signal, h);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sigint, SIGINT, on_stop_signal, h);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sighup, SIGHUP, on_hangup, h);
    if (r < 0)
        return error_errno(e, r, "cannot make the event loop");
    return service_open(&h->service, h->ctx.event, e);
}

int host_watch_kernel(Host *h, Error *e)
{
    if (!h->ctx.kernel)
        return 0;
    int r = sd_event_add_io(h->ctx.event, &h->ring, kernel_ring_fd(h->ctx.kernel), EPOLLIN, on_ring, h);
    return r < 0 ? error_errno(e, r, "cannot watch the kernel's ring") : 0;
}

Host *host_alloc(const HostOptions *options)
{
    Host *h = new0(Host);
    h->options = *options;
    h->features = *options->features;
    h->instance = INSTANCE_NULL;
    h->journal = journal_new();
    h->started = now_monotonic();
    h->ctx = (RunContext){
        .instance = options->instance,
        .view = -EBADF,
        .root = -EBADF,
        .runtime_dir = -EBADF,
        .notify_dir = -EBADF,
        .logs_dir = -EBADF,
        .work_dir = -EBADF,
        .null_fd = -EBADF,
        .mounts = {.fd = -EBADF},
        .can =
            {
                .clone3 = !feature_absent(options->features, FEATURE_CLONE3),
                .close_range = !feature_absent(options->features, FEATURE_CLOSE_RANGE),
                .proc_children = !feature_absent(options->features, FEATURE_PROC_CHILDREN),
                .ptrace = !feature_absent(options->features, FEATURE_PTRACE),
            },
        .work = work_registry_new(),
        .hooks = &run_hooks,
        .host = h,
    };
    return h;
}

Host *host_new(const HostOptions *options, int *ret_exit)
{
    Host *h = host_alloc(options);
    *ret_exit = open_host(h);
    return *ret_exit ? host_free(h) : h;
}

int host_run(Host *h)
{
    if (h->shutting_down) { /* told to, while leftovers were taken down */
        pump_wake(h);
    } else {
        log_info("event=starting instance=%s modules=%zu cgroup=%s bpf=%s", h->options.instance, h->n_modules,
                 h->ctx.tree ? cgroup_tree_root_path(h->ctx.tree) : "none", h->ctx.kernel ? "yes" : "no");
        begin_start_up(h);
    }
    int r = sd_event_loop(h->ctx.event);
    if (r < 0) {
        fprintf(stderr, "bulkheadd: the event loop failed: %s\n", strerror(-r));
        return EXIT_FAILED;
    }
    return h->problem.code ? EXIT_FAILED : EXIT_DONE;
}

/* --- closing --- */

Host *host_free(Host *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->n_shutdown_replies; i++)
        control_reply_done(h->shutdown_replies[i]);
    scale_check(h);
    h->control = control_close(h->control);
    roster_close(h);
    listeners_close(&h->ctx);
    for (size_t i = 0; i < h->n_leftovers; i++)
        leftover_free(h->leftovers[i]);
    free(h->leftovers);
    sd_event_source *sources[] = {h->pump,   h->ring,          h->sigterm,     h->sigint,
                                  h->sighup, h->startup_timer, h->delay_timer, h->orphans};
    for (size_t i = 0; i < ELEMENTS(sources); i++)
        sd_event_source_disable_unref(sources[i]);
    timers_close(h);
    h->logs = log_watch_free(h->logs);
    h->ctx.work = work_registry_free(h->ctx.work);
    h->ctx.kernel = kernel_close(h->ctx.kernel);
    if (h->orphans)
        box_end_orphans(&h->ctx);
    /* A start that failed leaves what a dead daemon left as it was: the next one will find it. */
    bool clean = h->leftovers_over == h->n_leftovers;
    ground_close(h, clean);
    fd_close(h->ctx.work_dir);
    fd_close(h->ctx.view);
    fd_close(h->ctx.root);
    fd_close(h->ctx.null_fd);
    fd_close(h->ctx.mounts.fd);
    service_close(&h->service);
    sd_event_unref(h->ctx.event);
    instance_close(&h->instance, h->instance.lock >= 0 && clean);
    free(h->waiters);
    free(h->scales);
    free(h->shutdown_replies);
    graph_free(h->graph);
    policy_free(h->policy);
    journal_free(h->journal);
    free(h);
    return NULL;
}
