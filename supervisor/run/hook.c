/* See hook.h. */
#include "supervisor/run/hook.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/run/child.h"
#include "supervisor/run/output.h"
#include "supervisor/run/spawn.h"

#define HOOK_MEMORY_MAX (256ull << 20)
#define HOOK_PIDS_MAX   64
#define KILLED_MSEC     1000

const char *const hook_names[HOOK_KIND_N] = {"exec_start_pre", "exec_start_post", "exec_stop_post", "exec_reload"};

struct Hook {
    Generation *generation;
    HookKind kind; /* HOOK_KIND_N: a probe */
    HookFn fn;
    const Commands *commands; /* the policy's; a probe has none */
    size_t at;                /* which of them */
    char **extra;
    int (*probe)(const void *argument);
    const void *probe_argument;
    uint64_t begun, timeout;
    sd_event_source *timer;

    /* Of the command that runs. */
    Box *box;
    int report;
    bool reached_exec;
    pid_t pid;
    int code, signal;
    Error error; /* code 0 = it could be run */
    bool timed_out;
    sd_event_source *child, *report_source;
    BoxWatch *watch;
};

static const Commands *commands_of(const ModulePolicy *m, HookKind kind)
{
    const Commands *const hooks[HOOK_KIND_N] = {&m->exec_start_pre, &m->exec_start_post, &m->exec_stop_post,
                                                &m->exec_reload};
    return hooks[kind];
}

/* How long it may take, and the key that says so. */
static uint64_t timeout_of(const ModulePolicy *m, HookKind kind, const char **ret_key)
{
    static const char *const keys[HOOK_KIND_N] = {"exec_start_pre_timeout", "exec_start_post_timeout",
                                                  "exec_stop_post_timeout", "exec_reload_timeout"};
    const uint64_t own[HOOK_KIND_N] = {m->exec_start_pre_timeout, m->exec_start_post_timeout, m->exec_stop_post_timeout,
                                       m->exec_reload_timeout};
    bool stop = kind == HOOK_STOP_POST;
    if (ret_key)
        *ret_key = own[kind] ? keys[kind] : stop ? "stop_timeout" : "start_timeout";
    return policy_hook_timeout(own[kind], stop ? m->stop_timeout : m->start_timeout);
}

bool hook_given(const ModulePolicy *m, HookKind kind)
{
    return commands_of(m, kind)->n > 0;
}

pid_t hook_pid(const Hook *h)
{
    return h ? h->pid : 0;
}

static const char *program(const Hook *h)
{
    return h->commands ? h->commands->items[h->at].argv[0] : NULL;
}

/* The program alone: its words may hold what ${NAME} put there, which readers of the state must not see. */
static char *command_text(const Hook *h)
{
    if (!h->commands)
        return xstrdup("probe");
    return h->commands->n > 1 ? xasprintf("%s (%zu of %zu)", program(h), h->at + 1, h->commands->n)
                              : xstrdup(program(h));
}

bool hook_status(const Hook *h, HookStatus *ret)
{
    if (!h || !h->commands)
        return false;
    uint64_t elapsed = now_monotonic() - h->begun;
    uint64_t left = h->timeout - MIN2(elapsed, h->timeout);
    *ret = (HookStatus){
        .name = hook_names[h->kind],
        .command = command_text(h),
        .elapsed_usec = elapsed,
        .left_usec = h->timeout == USEC_INFINITY ? UINT64_MAX : left,
    };
    return true;
}

/* How the command failed, NULL = it did not. Owned by the caller. */
static char *failure(const Hook *h)
{
    if (h->timed_out) {
        const char *key = NULL;
        _cleanup_(freep) char *limit = format_usec(timeout_of(h->generation->module->policy, h->kind, &key));
        return xasprintf("not over after %s %s: killed", key, limit);
    }
    if (h->error.code && strcmp(h->error.stage, launch_stage_names[STAGE_EXEC]) == 0 && h->commands)
        return xstrdup(strerror(-h->error.code)); /* the program is named anyway */
    if (h->error.code)
        return xasprintf("%s%s%s", h->error.stage, h->error.stage[0] ? ": " : "", error_message(&h->error));
    if (h->signal)
        return xasprintf("killed by signal %d (%s)", h->signal, strsignal(h->signal));
    return h->code ? xasprintf("exit status %d", h->code) : NULL;
}

/* Everything in the leaf is dead or dying; removes it once it is empty. 1 = done, 0 = not empty yet. */
static int clear_box(Hook *h)
{
    if (!h->box)
        return 1;
    if (box_populated(h->box) > 0)
        return 0;
    Error e = {0};
    if (box_remove(h->box, &e) < 0)
        run_event(h->generation->module->ctx, h->generation->module, h->generation->number, "cleanup-failed", NULL,
                  json_pack("{s:s}", "error", error_message(&e)));
    h->box = box_free(h->box);
    return 1;
}

static void forget_command(Hook *h)
{
    h->report_source = sd_event_source_disable_unref(h->report_source);
    h->child = sd_event_source_disable_unref(h->child);
    h->watch = box_unwatch(h->watch);
    h->report = fd_close(h->report);
    h->reached_exec = false;
    h->pid = 0;
    h->code = h->signal = 0;
    h->error = (Error){0};
}

Hook *hook_free(Hook *h)
{
    if (!h)
        return NULL;
    sd_event_source_disable_unref(h->timer);
    h->watch = box_unwatch(h->watch);
    if (h->box) {
        (void)box_kill(h->box);
        /* A kill is quick; this path is taken only when a start is given up. Bounded, since D state exists. */
        if (h->pid > 0) {
            struct pollfd p = {.fd = sd_event_source_get_child_pidfd(h->child), .events = POLLIN};
            (void)poll(&p, 1, KILLED_MSEC);
            (void)waitpid(h->pid, NULL, WNOHANG);
        }
        /* What it had started is dead, too, but may not be gone yet. */
        for (int i = 0; i < KILLED_MSEC && !clear_box(h); i++)
            (void)poll(NULL, 0, 1);
        box_free(h->box);
    }
    forget_command(h);
    strv_free(h->extra);
    free(h);
    return NULL;
}

/* The stage is the hook; what it was at, on the way to its program, is part of the message. */
static void set_stage(HookKind kind, Error *e)
{
    if (e->stage[0] && e->code)
        error_prefix(e, "%s: ", e->stage);
    e->stage[0] = '\0';
    error_stage(e, kind < HOOK_KIND_N ? hook_names[kind] : "ready");
}

static int run_command(Hook *h, Error *e);

static void tell_ignored(const Hook *h, const char *command, const char *how)
{
    const Generation *g = h->generation;
    run_event(
        g->module->ctx, g->module, g->number, "hook-failed", NULL,
        json_pack("{s:s,s:s,s:s,s:b}", "hook", hook_names[h->kind], "command", command, "how", how, "ignored", 1));
}

/* The command is over and its leaf gone: the next one, or the end. */
static void finish(Hook *h)
{
    Error e = {0};
    _cleanup_(freep) char *how = failure(h), *command = command_text(h);
    bool failed = how != NULL;
    if (failed && !h->timed_out && h->commands && h->commands->items[h->at].may_fail) {
        tell_ignored(h, command, how);
        failed = false;
    }
    if (failed)
        error_set(&e, -ECHILD, "%s: %s", command, how);
    if (!failed && h->commands && h->at + 1 < h->commands->n) {
        h->at++;
        forget_command(h);
        if (run_command(h, &e) == 0) {
            if (h->timer)
                sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT); /* the same end of time */
            return;
        }
        failed = true;
    }
    set_stage(h->kind, &e);
    Generation *g = h->generation;
    HookFn fn = h->fn;
    g->hook = hook_free(h);
    fn(g, failed ? &e : NULL);
}

static void on_emptied(void *userdata)
{
    Hook *h = userdata;
    if (clear_box(h))
        finish(h);
}

/* The main process has been reaped: end what it left behind, then go on. */
static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
    (void)s;
    Hook *h = userdata;
    h->pid = 0;
    if (!h->error.code && !h->timed_out && h->report >= 0)
        (void)spawn_report(h->report, h->generation->module, program(h), &h->reached_exec, &h->error);
    h->code = si->si_code == CLD_EXITED ? si->si_status : -1;
    h->signal = si->si_code == CLD_EXITED ? 0 : si->si_status;
    if (h->timer)
        sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
    if (clear_box(h)) {
        finish(h);
        return 0;
    }
    int r = box_watch(h->box, on_emptied, h, &h->watch, NULL);
    (void)box_kill(h->box);
    if (r < 0 || box_populated(h->box) == 0)
        on_emptied(h);
    return 0;
}

static int on_report(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    Hook *h = userdata;
    int r = spawn_report(fd, h->generation->module, program(h), &h->reached_exec, &h->error);
    if (r == 0)
        return 0;
    h->report_source = sd_event_source_disable_unref(h->report_source);
    h->report = fd_close(h->report);
    return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Hook *h = userdata;
    h->timed_out = true;
    (void)box_kill(h->box);
    return 0;
}

static int make_box(Hook *h, Error *e)
{
    Module *m = h->generation->module;
    _cleanup_(freep) char *path = xasprintf("modules/%s/check", module_name(m));
    GroupLimits limits = GROUP_LIMITS_NONE;
    limits.memory_max = MIN2(m->policy->limits.memory_max, HOOK_MEMORY_MAX);
    limits.pids_max = HOOK_PIDS_MAX;
    /* Ours, not the policy's: what this host cannot hold is done without. */
    for (const char *key; m->ctx->tree && (key = cgroup_tree_refuses(m->ctx->tree, &limits, NULL));)
        group_limits_clear(&limits, key);
    return box_new(m->ctx, path, &limits, &h->box, e);
}

/* The words of the command, with the main process's pid where it is named. */
static char **words(const Hook *h)
{
    char **argv = NULL;
    _cleanup_(freep) char *pid = xasprintf("%d", (int)h->generation->pid);
    STRV_FOREACH (w, h->commands->items[h->at].argv) {
        StrBuf b = STRBUF_NULL;
        strbuf_adds(&b, "");
        for (const char *c = *w; *c; c++)
            if (*c == COMMAND_MAIN_PID[0])
                strbuf_adds(&b, pid);
            else
                strbuf_addc(&b, *c);
        strv_push(&argv, strbuf_take(&b));
    }
    return argv;
}

static int watch_command(Hook *h, const Spawned *child, Error *e)
{
    sd_event *event = h->generation->module->ctx->event;
    h->pid = child->pid;
    h->report = child->report;
    int r = sd_event_add_child_pidfd(event, &h->child, child->pidfd, WEXITED, on_child, h);
    if (r >= 0)
        r = sd_event_source_set_child_pidfd_own(h->child, 1);
    /* A probe reaches no exec: only its exit counts. */
    if (r >= 0 && h->commands)
        r = sd_event_add_io(event, &h->report_source, h->report, EPOLLIN, on_report, h);
    else
        h->report = fd_close(h->report);
    return r < 0 ? error_errno(e, r, "cannot watch it") : 0;
}

static int launch(Hook *h, Error *e)
{
    Module *m = h->generation->module;
    _cleanup_fd_ int out = -EBADF, error = -EBADF;
    int r = output_open(m, &out, &error, e);
    if (r < 0)
        return r;
    _cleanup_strv_ char **env = spawn_environment(m, h->box, h->extra), **argv = h->commands ? words(h) : NULL;
    SpawnRequest request = {
        .module = m,
        .box = h->box,
        .argv = argv,
        .envp = env,
        .output = out,
        .error = error >= 0 ? error : out,
        .ready_fd = -EBADF,
        .probe = h->probe,
        .probe_argument = h->probe_argument,
        .filtered = h->commands != NULL,
    };
    Spawned child;
    r = spawn(&request, &child, e);
    return r < 0 ? r : watch_command(h, &child, e);
}

static int run_command(Hook *h, Error *e)
{
    int r = make_box(h, e);
    return r < 0 ? r : launch(h, e);
}

static int begin(Generation *g, const Hook *like, Error *e)
{
    Hook *h = new0(Hook);
    *h = *like;
    h->generation = g;
    h->begun = now_monotonic();
    h->report = -EBADF;
    int r = run_command(h, e);
    if (r == 0 && h->timeout != USEC_INFINITY) {
        r = sd_event_add_time_relative(g->module->ctx->event, &h->timer, CLOCK_MONOTONIC, h->timeout, 0, on_timeout, h);
        if (r < 0)
            error_errno(e, r, "cannot set its timer");
    }
    if (r < 0) {
        hook_free(h);
        return r;
    }
    g->hook = h;
    return 0;
}

int hook_start(Generation *g, HookKind kind, char *const *extra, HookFn fn, Error *e)
{
    const ModulePolicy *m = g->module->policy;
    Hook like = {
        .kind = kind,
        .fn = fn,
        .commands = commands_of(m, kind),
        .extra = strv_copy(extra),
        .timeout = timeout_of(m, kind, NULL),
    };
    if (g->main_alive)
        strv_push(&like.extra, xasprintf("MAINPID=%d", (int)g->pid));
    int r = begin(g, &like, e);
    if (r < 0)
        set_stage(kind, e);
    return r;
}

int hook_probe(Generation *g, int (*probe)(const void *argument), const void *argument, HookFn fn, Error *e)
{
    Hook like = {
        .kind = HOOK_KIND_N,
        .fn = fn,
        .probe = probe,
        .probe_argument = argument,
        .timeout = USEC_INFINITY,
    };
    int r = begin(g, &like, e);
    if (r < 0)
        set_stage(HOOK_KIND_N, e);
    return r;
}
