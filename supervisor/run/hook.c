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
#include "supervisor/run/output.h"
#include "supervisor/run/spawn.h"

#define HOOK_MEMORY_MAX (256ull << 20)
#define HOOK_PIDS_MAX   64

struct Hook {
    Generation *generation;
    Box *box;
    HookFn fn;
    char *path;
    int report;
    bool reached_exec;
    pid_t pid;
    HookResult result;
    Error error;
    bool failed; /* could not be run: `error` says why */
    sd_event_source *child, *report_source, *timer;
    BoxWatch *watch;
};

pid_t hook_pid(const Hook *h)
{
    return h ? h->pid : 0;
}

char *hook_describe(const HookResult *r)
{
    if (r->timed_out)
        return xstrdup("timed out");
    if (r->signal)
        return xasprintf("killed by signal %d (%s)", r->signal, strsignal(r->signal));
    return xasprintf("exit status %d", r->code);
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

Hook *hook_free(Hook *h)
{
    if (!h)
        return NULL;
    sd_event_source_disable_unref(h->report_source);
    sd_event_source_disable_unref(h->timer);
    h->watch = box_unwatch(h->watch);
    if (h->box) {
        (void)box_kill(h->box);
        /* A kill is quick; this path is taken only when a start is given up. Bounded, since D state exists. */
        if (h->pid > 0) {
            struct pollfd p = {.fd = sd_event_source_get_child_pidfd(h->child), .events = POLLIN};
            (void)poll(&p, 1, 1000);
            (void)waitpid(h->pid, NULL, WNOHANG);
        }
        clear_box(h);
        box_free(h->box);
    }
    sd_event_source_disable_unref(h->child);
    fd_close(h->report);
    free(h->path);
    free(h);
    return NULL;
}

static void finish(Hook *h)
{
    Generation *g = h->generation;
    HookFn fn = h->fn;
    HookResult result = h->result;
    Error error = h->error;
    bool failed = h->failed;
    g->hook = hook_free(h);
    fn(g, failed ? NULL : &result, &error);
}

static void on_emptied(void *userdata)
{
    Hook *h = userdata;
    if (clear_box(h))
        finish(h);
}

/* The main process has been reaped: end what it left behind, then tell. */
static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
    (void)s;
    Hook *h = userdata;
    h->pid = 0;
    if (!h->failed && !h->result.timed_out && h->report >= 0) {
        int r = spawn_report(h->report, h->generation->module, h->path, &h->reached_exec, &h->error);
        h->failed = r < 0;
    }
    if (!h->result.timed_out) {
        h->result.code = si->si_code == CLD_EXITED ? si->si_status : -1;
        h->result.signal = si->si_code == CLD_EXITED ? 0 : si->si_status;
    }
    h->timer = sd_event_source_disable_unref(h->timer);
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
    int r = spawn_report(fd, h->generation->module, h->path, &h->reached_exec, &h->error);
    if (r == 0)
        return 0;
    h->failed = r < 0;
    h->report_source = sd_event_source_disable_unref(h->report_source);
    h->report = fd_close(h->report);
    return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Hook *h = userdata;
    h->result = (HookResult){.timed_out = true, .code = -1};
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

static int launch(Hook *h, const HookRequest *q, Error *e)
{
    Module *m = h->generation->module;
    _cleanup_fd_ int out = -EBADF;
    int r = output_open(m, &out, e);
    if (r < 0)
        return r;
    _cleanup_strv_ char **env = spawn_environment(m, h->box, q->extra_environment);
    SpawnRequest request = {
        .module = m,
        .box = h->box,
        .argv = q->argv,
        .envp = env,
        .output = out,
        .error = out,
        .ready_fd = -EBADF,
        .probe = q->probe,
        .probe_argument = q->probe_argument,
        .filtered = q->probe == NULL,
    };
    Spawned child;
    r = spawn(&request, &child, e);
    if (r < 0)
        return r;
    h->pid = child.pid;
    h->report = child.report;
    sd_event *event = m->ctx->event;
    r = sd_event_add_child_pidfd(event, &h->child, child.pidfd, WEXITED, on_child, h);
    if (r >= 0)
        r = sd_event_source_set_child_pidfd_own(h->child, 1);
    if (r >= 0 && q->timeout_usec != USEC_INFINITY)
        r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, q->timeout_usec, 0, on_timeout, h);
    /* A probe reaches no exec: only its exit counts. */
    if (r >= 0 && !q->probe)
        r = sd_event_add_io(event, &h->report_source, h->report, EPOLLIN, on_report, h);
    else
        h->report = fd_close(h->report);
    return r < 0 ? error_errno(e, r, "cannot watch %s", q->name) : 0;
}

int hook_start(Generation *g, const HookRequest *q, HookFn fn, Error *e)
{
    Hook *h = new0(Hook);
    *h = (Hook){.generation = g, .fn = fn, .report = -EBADF, .path = q->argv ? xstrdup(q->argv[0]) : NULL};
    int r = make_box(h, e);
    if (r == 0)
        r = launch(h, q, e);
    if (r < 0) {
        hook_free(h);
        return r;
    }
    g->hook = h;
    return 0;
}
