/* See box.h. */
#include "supervisor/run/box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/run/marks.h"

#define LOOK_USEC    (50 * USEC_PER_MSEC)
#define CHILDREN_MAX (4u << 20)

struct Box {
    RunContext *ctx;
    Group *group;
    char *mark; /* without a group */
    pid_t session;
};

struct BoxWatch {
    BoxFn fn;
    void *userdata;
    sd_event_source *source;
};

int box_new(RunContext *ctx, const char *path, const GroupLimits *limits, Box **ret, Error *e)
{
    Box *b = new0(Box);
    b->ctx = ctx;
    int r = 0;
    if (!ctx->tree)
        b->mark = xasprintf("BULKHEAD_BOX=%s/%s", ctx->instance, path);
    else
        r = group_create(ctx->tree, path, &b->group, e);
    if (r == 0 && b->group && (r = group_set_limits(b->group, limits, e)) < 0)
        (void)group_remove(b->group, NULL);
    if (r < 0) {
        box_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

Box *box_wrap(RunContext *ctx, Group *group)
{
    Box *b = new0(Box);
    *b = (Box){.ctx = ctx, .group = group};
    return b;
}

int box_remove(Box *b, Error *e)
{
    if (b->group)
        return group_remove(b->group, e);
    return box_populated(b) ? error_set(e, -EBUSY, "it still has processes") : 0;
}

Box *box_free(Box *b)
{
    if (!b)
        return NULL;
    group_close(b->group);
    free(b->mark);
    free(b);
    return NULL;
}

Group *box_group(const Box *b)
{
    return b ? b->group : NULL;
}

uint64_t box_id(const Box *b)
{
    return b && b->group ? group_id(b->group) : 0;
}

const char *box_cgroup_path(const Box *b)
{
    return b && b->group ? group_cgroup_path(b->group) : NULL;
}

const char *box_mark(const Box *b)
{
    return b->mark;
}

void box_started(Box *b, pid_t pid)
{
    b->session = pid;
}

/* --- membership --- */

static bool in_cgroup(pid_t pid, const char *group)
{
    char path[32], text[8192];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (file_read(AT_FDCWD, path, text, sizeof text) < 0)
        return false;
    const char *line = str_starts(text, "0::") ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    line = strstr(line, "0::") + 3;
    size_t n = strlen(group);
    return strncmp(line, group, n) == 0 && (line[n] == '\0' || line[n] == '\n' || line[n] == '/');
}

/* Without a cgroup. 1: there may be more. */
static int marked_pids(const Box *b, pid_t **ret, size_t *ret_n)
{
    return marks_pids(b->mark, b->ctx->can.ptrace, b->session, ret, ret_n);
}

bool box_contains(const Box *b, pid_t pid)
{
    if (!b || pid <= 0)
        return false;
    if (b->group)
        return in_cgroup(pid, group_cgroup_path(b->group));
    _cleanup_(freep) pid_t *pids = NULL;
    size_t n = 0;
    bool found = false;
    if (marked_pids(b, &pids, &n) >= 0)
        for (size_t i = 0; !found && i < n; i++)
            found = pids[i] == pid;
    return found;
}

int box_pids(const Box *b, pid_t **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    return b->group ? group_pids(b->group, ret, ret_n) : marked_pids(b, ret, ret_n);
}

int box_populated(const Box *b)
{
    if (!b)
        return 0;
    if (b->group)
        return group_populated(b->group);
    _cleanup_(freep) pid_t *pids = NULL;
    size_t n;
    int r = box_pids(b, &pids, &n);
    return r < 0 ? r : n > 0 || r > 0; /* in doubt it is asked again */
}

static int signal_marked(const Box *b, int sig, bool *ret_all)
{
    _cleanup_(freep) pid_t *pids = NULL;
    size_t n = 0;
    int r = marked_pids(b, &pids, &n), count = 0;
    for (size_t i = 0; i < n; i++)
        count += kill(pids[i], sig) == 0;
    *ret_all = r == 0;
    return r < 0 ? r : count;
}

int box_signal(Box *b, int sig)
{
    bool all;
    return b->group ? group_signal(b->group, sig) : signal_marked(b, sig, &all);
}

int box_kill(Box *b)
{
    if (b->group)
        return group_kill(b->group);
    /* Who forks between the look and the kill is found by the next look; bounded, since a fork bomb always wins this.
     */
    for (int round = 0; round < 100; round++) {
        bool all;
        int n = signal_marked(b, SIGKILL, &all);
        if (n < 0 || (n == 0 && all))
            return n;
    }
    return 0;
}

int box_stats(const Box *b, GroupStats *ret)
{
    return b && b->group ? group_read_stats(b->group, ret) : -ENODATA;
}

int box_usage(const Box *b, GroupStats *ret)
{
    return b && b->group ? group_read_usage(b->group, ret) : -ENODATA;
}

int box_last_stats(const Box *b, GroupStats *ret)
{
    return b && b->group ? group_read_last(b->group, ret) : -ENODATA;
}

/* --- waiting --- */

static int on_events(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    BoxWatch *w = userdata;
    char text[128];
    (void)!pread(fd, text, sizeof text, 0); /* what was read is not told of again */
    w->fn(w->userdata);
    return 0;
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)usec;
    BoxWatch *w = userdata;
    if (sd_event_source_set_time_relative(s, LOOK_USEC) >= 0)
        (void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
    w->fn(w->userdata); /* last: it may release the watch */
    return 0;
}

int box_watch(Box *b, BoxFn fn, void *userdata, BoxWatch **ret, Error *e)
{
    BoxWatch *w = new0(BoxWatch);
    *w = (BoxWatch){.fn = fn, .userdata = userdata};
    int r;
    if (b->group && group_features(b->group)->events) {
        int fd = group_events_fd(b->group);
        r = fd < 0 ? fd : sd_event_add_io(b->ctx->event, &w->source, fd, EPOLLPRI, on_events, w);
        if (r >= 0)
            r = sd_event_source_set_io_fd_own(w->source, 1);
        else
            fd_close(fd);
    } else {
        r = sd_event_add_time_relative(b->ctx->event, &w->source, CLOCK_MONOTONIC, LOOK_USEC, 0, on_look, w);
    }
    if (r < 0) {
        free(w);
        return error_errno(e, r, "cannot watch for the end of its processes");
    }
    *ret = w;
    return 0;
}

BoxWatch *box_unwatch(BoxWatch *w)
{
    if (w)
        sd_event_source_disable_unref(w->source);
    free(w);
    return NULL;
}

/* --- orphans --- */

/* Without the kernel's list the parents of all tell. */
static int children_slowly(pid_t **ret, size_t *ret_n)
{
    _cleanup_(freep) Process *all = NULL;
    size_t n = 0;
    int r = marks_look(NULL, true, &all, &n);
    for (size_t i = 0; i < n; i++)
        if (all[i].parent == getpid())
            ARRAY_PUSH(*ret, *ret_n) = all[i].pid;
    return r;
}

static int children(const RunContext *ctx, pid_t **ret, size_t *ret_n)
{
    if (!ctx->can.proc_children)
        return children_slowly(ret, ret_n);
    char path[64], *save = NULL;
    _cleanup_(freep) char *text = NULL;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)gettid());
    int r = file_read_all(AT_FDCWD, path, CHILDREN_MAX, &text, NULL);
    for (char *word = r < 0 ? NULL : strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        ARRAY_PUSH(*ret, *ret_n) = (pid_t)strtol(word, NULL, 10);
    return r;
}

/* What we launched is reaped by its own source; everything else was reparented to us and is nobody's. */
static int on_sigchld(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    (void)s, (void)si;
    RunContext *ctx = userdata;
    _cleanup_(freep) pid_t *pids = NULL;
    size_t n = 0;
    if (children(ctx, &pids, &n) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!ctx->hooks->launched(ctx->host, pids[i]))
            (void)waitpid(pids[i], NULL, WNOHANG);
    return 0;
}

int box_adopt_orphans(RunContext *ctx, sd_event_source **ret, Error *e)
{
    int r = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
    if (r == 0)
        r = sd_event_add_signal(ctx->event, ret, SIGCHLD, on_sigchld, ctx);
    return r < 0 ? error_errno(e, r, "cannot become the reaper of orphans") : 0;
}

void box_end_orphans(const RunContext *ctx)
{
    for (int round = 0; round < 50; round++) {
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0;
        if (children(ctx, &pids, &n) < 0 || n == 0)
            return;
        for (size_t i = 0; i < n; i++) {
            (void)kill(pids[i], SIGKILL);
            (void)waitpid(pids[i], NULL, WNOHANG);
        }
        (void)poll(NULL, 0, 20);
    }
}
