/* See start.h. */
#include "supervisor/run/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/run/calls.h"
#include "supervisor/run/dirs.h"
#include "supervisor/run/hook.h"
#include "supervisor/run/listeners.h"
#include "supervisor/run/notify.h"
#include "supervisor/run/output.h"
#include "supervisor/run/page.h"
#include "supervisor/run/ready.h"
#include "supervisor/run/reload.h"
#include "supervisor/run/spawn.h"

/* What lives only until the generation is ready. */
struct Launch {
    int report;
    bool reached_exec, running; /* the new program runs */
    bool ready_seen;            /* readiness came before the report's end did */
    sd_event_source *report_source;
    int ready_read, ready_write; /* ready = fd:N: our end, the module's end */
    sd_event_source *ready_source;
};

Launch *launch_free(Launch *l)
{
    if (!l)
        return NULL;
    sd_event_source_disable_unref(l->report_source);
    sd_event_source_disable_unref(l->ready_source);
    fd_close(l->report);
    fd_close(l->ready_read);
    fd_close(l->ready_write);
    free(l);
    return NULL;
}

void generation_stop_watching(Generation *g)
{
    g->start_timer = sd_event_source_disable_unref(g->start_timer);
    g->hook = hook_free(g->hook);
    g->launch = launch_free(g->launch);
    reload_ended(g);
}

void generation_start_failed(Generation *g, const Error *e)
{
    if (g->lifecycle.state != LIFECYCLE_CREATING)
        return;
    g->failed = true;
    module_set_error(g->module, e->stage[0] ? e->stage : "start", error_message(e));
    generation_stop_watching(g);
    generation_step(g, LIFECYCLE_EVENT_START_FAILED);
}

/* Nothing is left that the start waits for. */
static void start_is_over(Generation *g)
{
    const ModulePolicy *m = g->module->policy;
    if (m->type == TYPE_ONESHOT && !m->remain_after_exit) {
        g->completed = true;
        generation_step(g, LIFECYCLE_EVENT_EXITED);
    } else {
        g->ready = now_monotonic();
        generation_step(g, LIFECYCLE_EVENT_READY);
    }
}

static void on_start_post(Generation *g, const Error *e)
{
    if (e)
        generation_start_failed(g, e);
    else
        start_is_over(g);
}

/* It is ready, or a job has done its work: exec_start_post comes before anybody is told. */
static void run_start_post(Generation *g)
{
    Error e = {0};
    generation_stop_watching(g);
    if (!hook_given(g->module->policy, HOOK_START_POST))
        start_is_over(g);
    else if (hook_start(g, HOOK_START_POST, NULL, on_start_post, &e) < 0)
        generation_start_failed(g, &e);
}

void generation_completed(Generation *g)
{
    if (g->lifecycle.state == LIFECYCLE_CREATING)
        run_start_post(g);
}

/* --- readiness --- */

static void become_ready(Generation *g)
{
    if (g->lifecycle.state != LIFECYCLE_CREATING || !g->launch)
        return;
    g->launch->ready_seen = true;
    if (g->launch->running) /* else exec itself is not confirmed yet */
        run_start_post(g);
}

static int fail(Generation *g, const char *stage, const char *message)
{
    Error e = {0};
    error_stage(&e, stage);
    error_set(&e, -EPROTO, "%s", message);
    generation_start_failed(g, &e);
    return 0;
}

static int on_ready_fd(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    Generation *g = userdata;
    char text[64];
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        g->launch->ready_source = sd_event_source_disable_unref(g->launch->ready_source);
        return fail(g, "ready", "the readiness descriptor was closed without a newline");
    }
    if (memchr(text, '\n', (size_t)n))
        become_ready(g);
    return 0;
}

static void on_probe(Generation *g, const Error *e)
{
    if (e)
        generation_start_failed(g, e);
    else
        become_ready(g);
}

void generation_listening(Generation *g, uint16_t port)
{
    const Ready *r = &g->module->policy->ready;
    if (g->lifecycle.state == LIFECYCLE_CREATING && r->kind == READY_TCP && r->number == port)
        become_ready(g);
}

static int on_other_main(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)fd, (void)events;
    Generation *g = userdata;
    sd_event_source_set_enabled(s, SD_EVENT_OFF);
    siginfo_t si = {0};
    g->main_alive = false;
    g->wait_code = 0;
    /* Our child it is where orphans become ours; else the kernel's record knows how it ended. */
    if (waitid(P_PIDFD, (id_t)g->pidfd, &si, WEXITED | WNOHANG) == 0 && si.si_pid == g->pid) {
        g->wait_code = si.si_code;
        g->wait_status = si.si_status;
    }
    g->module->ctx->hooks->exited(g->module->ctx->host, g);
    return 0;
}

/* MAINPID=: another process of the leaf is the main one from now on. */
static void replace_main(Generation *g, pid_t pid)
{
    if (pid == g->pid || !box_contains(g->leaf, pid))
        return;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    sd_event_source *source = NULL;
    if (!box_contains(g->leaf, pid) ||
        sd_event_add_io(g->module->ctx->event, &source, fd, EPOLLIN, on_other_main, g) < 0) {
        fd_close(fd);
        return;
    }
    sd_event_source_set_io_fd_own(source, 1);
    sd_event_source_disable_unref(g->main_source);
    g->main_source = source;
    g->pid = pid;
    g->pidfd = fd_close(g->pidfd);
    g->pidfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    g->main_alive = true;
    if (g->module->ctx->kernel)
        (void)kernel_generation_main(g->module->ctx->kernel, box_id(g->leaf), pid);
}

static void on_notify(Generation *g, const NotifyMessage *m)
{
    if (m->status) {
        free(g->status_text);
        g->status_text = xstrdup(m->status);
    }
    if (m->main_pid)
        replace_main(g, m->main_pid);
    if (m->reloading || m->ready)
        g->says_reloading = m->reloading && !m->ready;
    if (m->ready && g->module->policy->ready.kind == READY_NOTIFY)
        become_ready(g);
    reload_notified(g, m);
}

/* Before the launch: what must exist when the first instruction runs. */
static int prepare_ready(Generation *g, Error *e)
{
    error_stage(e, "ready");
    const Ready *r = &g->module->policy->ready;
    if (r->kind == READY_NOTIFY)
        return notify_open(g, on_notify, &g->notify, e);
    if (r->kind != READY_FD)
        return 0;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_errno(e, -errno, "cannot make the readiness pipe");
    g->launch->ready_read = fds[0];
    g->launch->ready_write = fds[1];
    (void)fcntl(fds[1], F_SETFL, 0); /* the module's end blocks, as s6 gives it */
    int s = sd_event_add_io(g->module->ctx->event, &g->launch->ready_source, fds[0], EPOLLIN, on_ready_fd, g);
    return s < 0 ? error_errno(e, s, "cannot watch the readiness pipe") : 0;
}

/* Exec is confirmed; true when that is all there is to wait for. A job is ready when it is over: its end is told by
 * generation_completed(). */
static bool now_running(Generation *g)
{
    const Ready *r = &g->module->policy->ready;
    g->launch->running = g->executed = true;
    if (g->module->policy->type == TYPE_ONESHOT)
        return true;
    if (r->kind != READY_NONE && r->kind != READY_EXEC && !g->launch->ready_seen)
        return false;
    become_ready(g);
    return true;
}

/* After exec: what tells that it is ready. */
static void await_ready(Generation *g)
{
    const Ready *r = &g->module->policy->ready;
    bool by_kernel =
        r->kind == READY_TCP && g->module->ctx->kernel && kernel_has(g->module->ctx->kernel, KERNEL_CONNECTIONS);
    if (by_kernel || r->kind == READY_NOTIFY || r->kind == READY_FD)
        return;
    Error e = {0};
    if (hook_probe(g, ready_probe, r, on_probe, &e) < 0)
        generation_start_failed(g, &e);
}

/* --- the main process --- */

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
    (void)s;
    Generation *g = userdata;
    if (g->main_source)
        return 0; /* it named another main process before it ended, as daemons do */
    g->main_alive = false;
    g->wait_code = si->si_code;
    g->wait_status = si->si_status;
    notify_flush(g->notify);
    if (g->main_source)
        return 0;
    if (g->launch && g->launch->report >= 0 && !g->launch->running) {
        Error e = {0};
        int r = spawn_report(g->launch->report, g->module, g->module->policy->exec[0], &g->launch->reached_exec, &e);
        if (r < 0) {
            generation_start_failed(g, &e);
            return 0;
        }
        if (r > 0) /* it ran, and was over before the loop came to its report */
            (void)now_running(g);
    }
    g->module->ctx->hooks->exited(g->module->ctx->host, g);
    return 0;
}

static int on_report(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    Generation *g = userdata;
    Error e = {0};
    int r = spawn_report(fd, g->module, g->module->policy->exec[0], &g->launch->reached_exec, &e);
    if (r == 0)
        return 0;
    g->launch->report_source = sd_event_source_disable_unref(g->launch->report_source);
    g->launch->report = fd_close(g->launch->report);
    if (r < 0) {
        generation_start_failed(g, &e);
        return 0;
    }
    if (!now_running(g))
        await_ready(g);
    return 0;
}

static int watch_child(Generation *g, const Spawned *child, Error *e)
{
    sd_event *event = g->module->ctx->event;
    g->pid = child->pid;
    g->main_alive = true;
    g->launch->report = child->report;
    int r = sd_event_add_child_pidfd(event, &g->child_source, child->pidfd, WEXITED, on_child, g);
    if (r < 0) {
        fd_close(child->pidfd);
        return error_errno(e, r, "cannot watch the process");
    }
    sd_event_source_set_child_pidfd_own(g->child_source, 1);
    /* Ends come first, whatever else is going on: each is bounded by a start, so they starve nobody. */
    (void)sd_event_source_set_priority(g->child_source, SD_EVENT_PRIORITY_NORMAL - 10);
    /* By edge: told once, however many others are ready before it is its turn. */
    r = sd_event_add_io(event, &g->launch->report_source, child->report, EPOLLIN | EPOLLET, on_report, g);
    return r < 0 ? error_errno(e, r, "cannot watch the launch") : 0;
}

/* What sd_listen_fds(3) reads. The pid is the child's to write, in the room that is left for it. */
static const char listen_pid_variable[] = "LISTEN_PID=";

static void add_listen_variables(const Module *m, char ***env)
{
    size_t n = m->policy->listen.n;
    if (n == 0)
        return;
    StrBuf names = STRBUF_NULL;
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&names, "%s%.*s", i ? ":" : "LISTEN_FDNAMES=", (int)module_stem(module_name(m)), module_name(m));
    strv_push(env, strbuf_take(&names));
    strv_push(env, xasprintf("LISTEN_FDS=%zu", n));
    strv_push(env, xasprintf("%s%*s", listen_pid_variable, LISTEN_PID_SIZE - 1, ""));
}

static char *listen_pid(char *const *env)
{
    STRV_FOREACH (v, env)
        if (str_starts(*v, listen_pid_variable) && (*v)[sizeof listen_pid_variable - 1] == ' ')
            return *v + sizeof listen_pid_variable - 1;
    return NULL;
}

static int launch_main(Generation *g, Error *e)
{
    Module *m = g->module;
    int r = prepare_ready(g, e);
    if (r < 0)
        return r;
    e->stage[0] = '\0';
    _cleanup_fd_ int out = -EBADF, error = -EBADF;
    r = output_open(m, &out, &error, e);
    if (r < 0) {
        error_stage(e, "output");
        return r;
    }
    m->ctx->hooks->logging(m->ctx->host, m);
    if (m->policy->work.track.sources & TRACK_API) {
        r = page_open(g, &g->page, e);
        if (r < 0) {
            error_stage(e, "work");
            return r;
        }
    }
    int listen[LISTEN_MAX];
    r = listeners_open(m, listen, e);
    if (r < 0) {
        error_stage(e, "listen");
        return r;
    }
    _cleanup_strv_ char **extra = NULL;
    if (g->notify)
        strv_add(&extra, notify_variable(g->notify));
    if (g->page)
        strv_add(&extra, page_variable(g->page));
    add_listen_variables(m, &extra);
    _cleanup_strv_ char **env = spawn_environment(m, g->leaf, extra);
    SpawnRequest request = {
        .module = m,
        .box = g->leaf,
        .argv = m->policy->exec,
        .envp = env,
        .output = out,
        .error = error >= 0 ? error : out,
        .ready_fd = g->launch->ready_write,
        .ready_number = (int)m->policy->ready.number,
        .listen = listen,
        .n_listen = m->policy->listen.n,
        .listen_pid = listen_pid(env),
        .filtered = true,
    };
    Spawned child;
    r = spawn(&request, &child, e);
    if (r < 0)
        return r;
    g->launch->ready_write = fd_close(g->launch->ready_write);
    if (m->ctx->kernel)
        (void)kernel_generation_main(m->ctx->kernel, box_id(g->leaf), child.pid);
    return watch_child(g, &child, e);
}

/* What it should have done, for who set the wrong kind or the wrong port. */
static void not_ready(const Ready *ready, const char *limit, Error *e)
{
    switch (ready->kind) {
    case READY_TCP:
        error_set(e, -ETIMEDOUT,
                  "not ready after start_timeout %s: nothing of it listens on port %u (ready = tcp:%u; ss -tlnp shows "
                  "who listens where)",
                  limit, ready->number, ready->number);
        return;
    case READY_UNIX:
        error_set(e, -ETIMEDOUT, "not ready after start_timeout %s: nothing of it listens at %s (ready = unix)", limit,
                  ready->path);
        return;
    case READY_NOTIFY:
        error_set(e, -ETIMEDOUT,
                  "not ready after start_timeout %s: it never said READY=1 (ready = notify; if it does not speak "
                  "sd_notify: exec, or tcp:PORT)",
                  limit);
        return;
    case READY_FD:
        error_set(e, -ETIMEDOUT,
                  "not ready after start_timeout %s: it wrote no newline to descriptor %d (ready = fd:%d)", limit,
                  (int)ready->number, (int)ready->number);
        return;
    case READY_NONE:
    case READY_EXEC:
    case READY_KIND_N:
        break;
    }
    error_set(e, -ETIMEDOUT, "not ready after start_timeout %s (ready = %s)", limit, ready_kind_names[ready->kind]);
}

static int on_start_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Generation *g = userdata;
    _cleanup_(freep) char *limit = format_usec(g->module->policy->start_timeout);
    Error e = {0};
    if (g->module->policy->type == TYPE_ONESHOT) {
        error_stage(&e, "run");
        error_set(&e, -ETIMEDOUT, "not over after start_timeout %s", limit);
    } else {
        error_stage(&e, "ready");
        not_ready(&g->module->policy->ready, limit, &e);
    }
    generation_start_failed(g, &e);
    return 0;
}

static void begin_launch(Generation *g)
{
    Error e = {0};
    g->launch = new0(Launch);
    g->launch->report = g->launch->ready_read = g->launch->ready_write = -EBADF;
    uint64_t limit = g->module->policy->start_timeout;
    if (limit != USEC_INFINITY)
        (void)sd_event_add_time_relative(g->module->ctx->event, &g->start_timer, CLOCK_MONOTONIC, limit, 0,
                                         on_start_timeout, g);
    if (launch_main(g, &e) < 0)
        generation_start_failed(g, &e);
}

/* --- before the launch --- */

static void on_start_pre(Generation *g, const Error *e)
{
    if (e)
        generation_start_failed(g, e);
    else
        begin_launch(g);
}

GroupLimits generation_limits(const Limits *l)
{
    return (GroupLimits){
        .cpu_max = l->cpu_max,
        .cpu_weight = l->cpu_weight,
        .cpus = l->cpus,
        .memory_max = l->memory_max,
        .memory_high = l->memory_high,
        .memory_swap_max = l->memory_swap_max,
        .oom_group = l->oom_group,
        .pids_max = l->pids_max,
    };
}

/* The stable parent, once a module: its id keys the counters across generations. */
int module_make_group(Module *m, Error *e)
{
    if (m->group || !m->ctx->tree)
        return 0;
    _cleanup_(freep) char *path = xasprintf("modules/%s", module_name(m));
    int r = group_ensure(m->ctx->tree, path, &m->group, e);
    if (r < 0 || !m->ctx->kernel)
        return r;
    const KernelModule counted = module_counted(m);
    r = kernel_module_add(m->ctx->kernel, group_id(m->group), &counted, e);
    if (r == -ENOTSUP)
        calls_name_line(m, e);
    if (r < 0)
        m->group = group_close(m->group);
    else if (counted.track & WORK_TRACK_WRITES)
        log_info("event=writes-tracked module=%s cost=\"each system call of the host takes some 100 ns more\"",
                 module_name(m));
    return r;
}

static int make_leaf(Generation *g, Error *e)
{
    Module *m = g->module;
    _cleanup_(freep) char *path = xasprintf("modules/%s/%llu", module_name(m), (unsigned long long)g->number);
    GroupLimits limits = generation_limits(&m->policy->limits);
    int r = box_new(m->ctx, path, &limits, &g->leaf, e);
    if (r < 0 || !m->ctx->kernel)
        return r;
    r = kernel_generation_add(m->ctx->kernel, box_id(g->leaf), group_id(m->group), g->number, e);
    g->registered = r == 0;
    return r;
}

Generation *generation_start(Module *m)
{
    Generation *g = generation_new(m);
    Error e = {0};
    g->started = now_monotonic();
    module_clear_error(m);
    generation_step(g, LIFECYCLE_EVENT_START);
    int r = make_leaf(g, &e);
    if (r < 0)
        error_stage(&e, "cgroup");
    if (r == 0 && (r = calls_attach(m, &e)) < 0)
        error_stage(&e, "work");
    if (r == 0 && (r = dirs_make(m, &e)) < 0)
        error_stage(&e, "directories");
    if (r == 0 && hook_given(m->policy, HOOK_START_PRE))
        r = hook_start(g, HOOK_START_PRE, NULL, on_start_pre, &e);
    else if (r == 0)
        begin_launch(g);
    if (r < 0)
        generation_start_failed(g, &e);
    return g;
}
