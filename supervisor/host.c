/* See host.h. Opening is a list of steps, each of which leaves the host in a state that host_free() can undo. */
#include "supervisor/host.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/jobs.h"
#include "supervisor/plan/budget.h"
#include "supervisor/report.h"
#include "supervisor/run/start.h"
#include "supervisor/run/view.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/stop/teardown.h"

/* --- problem, events
 * ---------------------------------------------------------------------------------------------------- */

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
    json_t *e = journal_event(now_realtime(), m ? module_name(m) : NULL, generation, name, phase, detail);
    journal_add(h->journal, e);
    if (h->control)
        control_event(h->control, e);
    log_debug("module=%s generation=%llu event=%s phase=%s", m ? module_name(m) : "-", (unsigned long long)generation,
              name, phase ? phase : "-");
    json_decref(e);
}

static void on_changed(void *host, Generation *g)
{
    Host *h = host;
    jobs_generation_changed(h, g);
    if (h->control)
        control_module_changed(h->control, module_name(g->module), "", lifecycle_state_name(g->lifecycle.state),
                               g->number);
}

static const RunHooks run_hooks = {.changed = on_changed, .exited = jobs_main_exited, .event = on_event};

/* --- what the kernel tells
 * ------------------------------------------------------------------------------------------------ */

static Module *module_of(Host *h, uint64_t group)
{
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i].group && group_id(h->modules[i].group) == group)
            return &h->modules[i];
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
        teardown_idle(g);
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

/* --- start-up
 * ------------------------------------------------------------------------------------------------------------ */

static int on_startup_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Host *h = userdata;
    h->startup_timer = sd_event_source_disable_unref(h->startup_timer);
    for (size_t i = 0; h->starting && i < h->n_modules; i++) {
        if (!h->modules[i].policy->required || !h->modules[i].want_up || h->status[i] == NODE_READY)
            continue;
        _cleanup_(freep) char *limit = format_usec(h->policy->supervisor.startup_timeout);
        host_problem(h, "%s: not ready after startup_timeout %s", module_name(&h->modules[i]), limit);
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
    (void)sd_notifyf(0, "READY=1\nSTATUS=%zu of %zu modules running", ready, h->n_modules);
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
}

/* --- leftovers
 * ------------------------------------------------------------------------------------------------------------ */

static void on_leftover_over(Generation *g)
{
    Module *m = g->module;
    Host *h = m->ctx->host;
    _cleanup_(freep) char *failed = teardown_result_failed(m->last_teardown);
    if (failed)
        log_warning("module=%s generation=%llu event=leftover-taken-down failed=\"%s\"", module_name(m),
                    (unsigned long long)g->number, failed);
    else
        log_info("module=%s generation=%llu event=leftover-taken-down", module_name(m), (unsigned long long)g->number);
    if (++h->leftovers_over < h->n_leftovers)
        return;
    leftovers_sweep(&h->ctx);
    if (h->shutting_down)
        jobs_changed(h);
    else
        begin_start_up(h);
}

/* --- shutdown
 * ------------------------------------------------------------------------------------------------------------- */

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
        log_info("event=stopping reason=\"%s\"", why);
        on_event(h, NULL, 0, "stopping", NULL, json_pack("{s:s}", "reason", why));
        (void)sd_notify(0, "STOPPING=1");
    }
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
        if (h->modules[i].generation)
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

/* --- opening
 * ---------------------------------------------------------------------------------------------------------------- */

static int complain(const Complaints *c)
{
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c->items[i]);
        fprintf(stderr, "%s\n", line);
    }
    return EXIT_BAD_CONFIG;
}

static int open_policy(Host *h)
{
    _cleanup_complaints_ Complaints complaints = {0};
    _cleanup_(freep) char *shared = NULL;
    (void)policy_shared_dir(&shared);
    if (policy_load(h->options.config_dir, shared, &h->policy, &complaints) < 0 ||
        graph_build(h->policy, &h->graph, &complaints) < 0) {
        complaints_sort(&complaints);
        return complain(&complaints);
    }
    for (size_t i = 0; i < LOG_LEVEL_N; i++)
        if (str_equal(h->policy->supervisor.log_level, log_level_names[i]))
            log_set_level((LogLevel)i);
    HostCapacity capacity;
    Error e = {0};
    if (budget_host(&capacity) == 0 && budget_check(h->policy, &capacity, &e) < 0) {
        fprintf(stderr, "%s: %s\n", h->options.config_dir, e.msg);
        return EXIT_BAD_CONFIG;
    }
    return 0;
}

/* Limits that this host cannot hold are refused by name, all at once, before anything is started. */
static int check_limits(const Host *h)
{
    _cleanup_complaints_ Complaints complaints = {0};
    for (size_t i = 0; i < h->n_modules; i++) {
        const ModulePolicy *p = h->policy->modules[i];
        const char *why = NULL, *file;
        unsigned line;
        GroupLimits limits = generation_limits(&p->limits);
        const char *key = cgroup_tree_refuses(h->ctx.tree, &limits, &why);
        if (!key)
            continue;
        char full[64];
        snprintf(full, sizeof full, "limits.%s", key);
        policy_origin(p, full, &file, &line);
        complaints_add(&complaints, file, line, full, "%s", why);
    }
    return complaints.n ? complain(&complaints) : 0;
}

static int fail(const Error *e)
{
    fprintf(stderr, "bulkheadd: %s\n", error_message(e));
    return EXIT_FAILED;
}

static void raise_nofile(Host *h)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return;
    h->ctx.nofile_soft = l.rlim_cur;
    h->ctx.nofile_hard = l.rlim_max;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

static void make_modules(Host *h)
{
    h->n_modules = h->policy->n_modules;
    h->modules = new0_array(Module, h->n_modules);
    h->status = new0_array(NodeStatus, h->n_modules);
    h->stopping = new0_array(bool, h->n_modules);
    for (size_t i = 0; i < h->n_modules; i++) {
        h->modules[i].ctx = &h->ctx;
        h->modules[i].index = i;
        h->modules[i].policy = h->policy->modules[i];
    }
}

static int open_tree(Host *h, Error *e)
{
    _cleanup_(freep) char *name = xasprintf("bulkhead-%s", h->options.instance);
    int r = cgroup_tree_open(name, &h->ctx.tree, e);
    if (r == 0)
        r = instance_record_root(&h->instance, cgroup_tree_root(h->ctx.tree), e);
    return r;
}

static int open_kernel(Host *h, const Group *modules, Error *e)
{
    unsigned purged = 0;
    const char *bpffs = h->options.bpffs_path;
    int r =
        bpffs ? kernel_purge_at(bpffs, h->options.instance, &purged, e) : kernel_purge(h->options.instance, &purged, e);
    if (purged)
        log_info("event=leftover-pins-removed pins=%u", purged);
    KernelConfig config = {
        .instance = h->options.instance,
        .modules_id = group_id(modules),
        .modules_level = cgroup_tree_level(h->ctx.tree) + 1,
        .max_modules = h->n_modules,
        .btf_path = h->options.btf_path,
        .bpffs_path = h->options.bpffs_path,
    };
    if (r == 0)
        r = kernel_open(&config, &h->ctx.kernel, e);
    if (r < 0 && h->policy->supervisor.bpf == PART_OPTIONAL) {
        log_warning(
            "event=no-bpf reason=\"%s\": work is not counted, no drain, out-of-memory and denied calls are not named",
            error_message(e));
        *e = (Error){0};
        return 0;
    }
    return r;
}

static int open_kernel_parts(Host *h, Error *e)
{
    Group *modules = NULL;
    int r = group_ensure(h->ctx.tree, "modules", &modules, e);
    if (r == 0)
        r = leftovers_find(&h->ctx, h->policy, &h->leftovers, &h->n_leftovers, e);
    if (r == 0)
        r = open_kernel(h, modules, e);
    group_close(modules);
    if (r == 0)
        r = view_open(h->instance.notify_path, &h->ctx.view, &h->ctx.root, e);
    if (r == 0 && (h->ctx.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY)) < 0)
        r = error_errno(e, -errno, "cannot open /dev/null");
    return r;
}

static int open_loop(Host *h, Error *e)
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
    return r < 0 ? error_errno(e, r, "cannot make the event loop") : 0;
}

static int open_face(Host *h, Error *e)
{
    int r = 0;
    if (h->ctx.kernel) {
        r = sd_event_add_io(h->ctx.event, &h->ring, kernel_ring_fd(h->ctx.kernel), EPOLLIN, on_ring, h);
        if (r < 0)
            return error_errno(e, r, "cannot watch the kernel's ring");
    }
    ControlConfig config = {
        .event = h->ctx.event,
        .dirfd = h->instance.runtime_dir,
        .instance = h->options.instance,
        .version = BULKHEAD_VERSION,
        .read_gid = h->policy->supervisor.read_gid,
        .operate_gid = h->policy->supervisor.operate_gid,
        .ops = &report_control_ops,
        .host = h,
    };
    return control_open(&config, &h->control, e);
}

/* All the steps, in order; the exit status of the first that fails. */
static int open_all(Host *h)
{
    Error e = {0};
    if (geteuid() != 0) {
        fprintf(stderr, "bulkheadd: must be run as root\n");
        return EXIT_FAILED;
    }
    int code = open_policy(h);
    if (code)
        return code;
    make_modules(h);
    raise_nofile(h);
    if (open_loop(h, &e) < 0 || instance_open(h->options.instance, &h->instance, &e) < 0)
        return fail(&e);
    h->ctx.runtime_dir = h->instance.runtime_dir;
    h->ctx.notify_dir = h->instance.notify_dir;
    h->ctx.logs_dir = h->instance.logs_dir;
    if (open_tree(h, &e) < 0)
        return fail(&e);
    code = check_limits(h);
    if (code)
        return code;
    return open_kernel_parts(h, &e) < 0 || open_face(h, &e) < 0 ? fail(&e) : 0;
}

Host *host_new(const HostOptions *options, int *ret_exit)
{
    Host *h = new0(Host);
    h->options = *options;
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
        .null_fd = -EBADF,
        .hooks = &run_hooks,
        .host = h,
    };
    *ret_exit = open_all(h);
    if (*ret_exit) {
        host_free(h);
        return NULL;
    }
    return h;
}

int host_run(Host *h)
{
    log_info("event=starting instance=%s modules=%zu cgroup=%s bpf=%s", h->options.instance, h->n_modules,
             cgroup_tree_root_path(h->ctx.tree), h->ctx.kernel ? "yes" : "no");
    if (h->n_leftovers == 0)
        begin_start_up(h);
    for (size_t i = 0; i < h->n_leftovers; i++)
        leftover_take_down(h->leftovers[i], on_leftover_over);
    int r = sd_event_loop(h->ctx.event);
    if (r < 0) {
        fprintf(stderr, "bulkheadd: the event loop failed: %s\n", strerror(-r));
        return EXIT_FAILED;
    }
    return h->problem.code ? EXIT_FAILED : EXIT_DONE;
}

/* --- closing
 * ---------------------------------------------------------------------------------------------------------------- */

static void close_module(Host *h, Module *m)
{
    generation_free(m->generation);
    sd_event_source_disable_unref(m->restart_timer);
    if (m->group) {
        Error e = {0};
        if (h->ctx.kernel)
            (void)kernel_module_remove(h->ctx.kernel, group_id(m->group));
        if (group_remove(m->group, &e) < 0)
            log_warning("module=%s event=cleanup-failed reason=\"%s\"", module_name(m), error_message(&e));
        group_close(m->group);
    }
    free(m->last_exit);
    teardown_result_free(m->last_teardown);
    module_clear_error(m);
}

static void close_tree(Host *h)
{
    if (!h->ctx.tree)
        return;
    /* A start that failed leaves what a dead daemon left as it was: the next one will find it. */
    if (h->leftovers_over < h->n_leftovers) {
        h->ctx.tree = cgroup_tree_close(h->ctx.tree);
        return;
    }
    Group *modules = NULL;
    Error e = {0};
    if (group_open(h->ctx.tree, "modules", &modules, NULL) == 0) {
        leftovers_sweep(&h->ctx);
        (void)group_remove(modules, &e);
        group_close(modules);
    }
    if (e.code || cgroup_tree_remove(h->ctx.tree, &e) < 0)
        log_warning("event=cleanup-failed reason=\"%s\"", error_message(&e));
    h->ctx.tree = cgroup_tree_close(h->ctx.tree);
}

Host *host_free(Host *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->n_shutdown_replies; i++)
        control_reply_done(h->shutdown_replies[i]);
    h->control = control_close(h->control);
    for (size_t i = 0; i < h->n_modules; i++)
        close_module(h, &h->modules[i]);
    for (size_t i = 0; i < h->n_leftovers; i++)
        leftover_free(h->leftovers[i]);
    free(h->leftovers);
    sd_event_source *sources[] = {h->pump, h->ring, h->sigterm, h->sigint, h->sighup, h->startup_timer, h->delay_timer};
    for (size_t i = 0; i < ELEMENTS(sources); i++)
        sd_event_source_disable_unref(sources[i]);
    h->ctx.kernel = kernel_close(h->ctx.kernel);
    close_tree(h);
    fd_close(h->ctx.view);
    fd_close(h->ctx.root);
    fd_close(h->ctx.null_fd);
    sd_event_unref(h->ctx.event);
    instance_close(&h->instance, h->instance.lock >= 0 && h->leftovers_over == h->n_leftovers);
    free(h->modules);
    free(h->status);
    free(h->stopping);
    free(h->waiters);
    free(h->shutdown_replies);
    graph_free(h->graph);
    policy_free(h->policy);
    journal_free(h->journal);
    free(h);
    return NULL;
}
