/* See listeners.h.
 *
 * The child that makes a socket shares the daemon's table of descriptors (CLONE_FILES), so the socket is the daemon's
 * when the child has ended, and its cgroup the child's: nothing is sent back but the number. It waits for nothing, and
 * the daemon waits for it. */
#include "supervisor/run/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { BACKLOG = 4096 };

struct Listener {
    char *owner; /* the module, or the template whose instances share it */
    char *text;
    char *path; /* of a unix socket, removed with it */
    int fd;
    Group *group; /* the template's, where they share it */
};

/* What the child says; a pipe holds it whole. */
typedef struct Made {
    int fd, error;
} Made;

/* A socket that nobody listens on any more, as a crash leaves it, is put away; any other file is in the way. */
static int clear_path(const Listen *l)
{
    const char *path = l->address.un.sun_path;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(st.st_mode))
        return EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool lives = fd < 0 || connect(fd, &l->address.any, l->size) == 0 || errno != ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return lives ? EADDRINUSE : unlink(path) < 0 ? errno : 0;
}

/* Async-signal-safe calls alone: it may run in a child. */
static Made make_socket(const Listen *l)
{
    const int on = 1;
    int r = l->port ? 0 : clear_path(l);
    int fd = r ? -1 : socket(l->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (Made){.fd = -EBADF, .error = r ? r : errno};
    if (l->port)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    mode_t mask = umask(0111); /* a socket in the file system is for everyone who reaches its directory */
    r = bind(fd, &l->address.any, l->size) < 0 || listen(fd, BACKLOG) < 0 ? errno : 0;
    umask(mask);
    if (!r)
        return (Made){.fd = fd};
    close(fd);
    return (Made){.fd = -EBADF, .error = r};
}

static _Noreturn void child(const Listen *l, const int procs[static CG_N], int report)
{
    Made made = {.fd = -EBADF};
    for (size_t i = 0; i < CG_N && !made.error; i++)
        if (procs[i] >= 0 && write(procs[i], "0", 1) < 0)
            made.error = errno;
    if (!made.error)
        made = make_socket(l);
    (void)!write(report, &made, sizeof made);
    _exit(0);
}

static void close_all(int fds[static CG_N])
{
    for (size_t i = 0; i < CG_N; i++)
        fds[i] = fd_close(fds[i]);
}

static int run_child(const RunContext *ctx, Group *group, const Listen *l, Made *ret, Error *e)
{
    int procs[CG_N], pipe_fds[2], pidfd = -EBADF;
    bool into = cgroup_tree_features(ctx->tree)->clone_into;
    int r = group_procs_fds(group, into, procs, e);
    if (r < 0)
        return r;
    struct clone_args args = {
        .flags = CLONE_FILES | CLONE_PIDFD | (into ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = into ? (uint64_t)group_dirfd(group) : 0,
    };
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        r = -errno;
        close_all(procs);
        return error_errno(e, r, "cannot make a pipe");
    }
    long pid = ctx->can.clone3 ? syscall(SYS_clone3, &args, sizeof args)
                               : syscall(SYS_clone, args.flags | args.exit_signal, NULL, &pidfd, NULL, NULL);
    if (pid == 0)
        child(l, procs, pipe_fds[1]);
    r = pid < 0 ? -errno : 0;
    if (into)
        group_release_fd(group);
    if (r == 0) {
        siginfo_t si = {0};
        while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0 && errno == EINTR)
            ;
        fd_close(pidfd);
        (void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
        if (read(pipe_fds[0], ret, sizeof *ret) != (ssize_t)sizeof *ret)
            r = -ECHILD;
    }
    close_all(procs); /* not before: the table is the child's, too */
    fd_close(pipe_fds[0]);
    fd_close(pipe_fds[1]);
    return r < 0 ? error_errno(e, r, "cannot make a process that listens") : 0;
}

/* In a cgroup of its own below the owner's, which is gone after: a group whose children have limits holds no process.
 */
static int make_in_group(const Module *m, const char *owner, const Listen *l, Made *ret, Error *e)
{
    _cleanup_(freep) char *path = xasprintf("modules/%s/listen", owner);
    Group *group = NULL;
    int r = group_ensure(m->ctx->tree, path, &group, e);
    if (r < 0)
        return r;
    r = run_child(m->ctx, group, l, ret, e);
    (void)group_remove(group, NULL);
    group_close(group);
    return r;
}

/* The template's stable group, counted under its name. */
static int make_template_group(const Module *m, const char *owner, Group **ret, Error *e)
{
    _cleanup_(freep) char *path = xasprintf("modules/%s", owner);
    int r = group_ensure(m->ctx->tree, path, ret, e);
    if (r < 0 || !m->ctx->kernel)
        return r;
    KernelModule counted = module_counted(m);
    counted.name = owner;
    r = kernel_module_add(m->ctx->kernel, group_id(*ret), &counted, e);
    if (r < 0)
        *ret = group_close(*ret);
    return r;
}

static char *owner_of(const Module *m, const Listen *l)
{
    return xstrndup(module_name(m), l->shared ? module_stem(module_name(m)) : strlen(module_name(m)));
}

static Listener *find(const RunContext *ctx, const char *owner, const char *text)
{
    for (size_t i = 0; i < ctx->n_listeners; i++)
        if (strcmp(ctx->listeners[i]->owner, owner) == 0 && (!text || strcmp(ctx->listeners[i]->text, text) == 0))
            return ctx->listeners[i];
    return NULL;
}

/* Closes it; the template's group goes with its last listener. */
static void listener_close(RunContext *ctx, size_t at)
{
    Listener *l = ctx->listeners[at];
    ctx->listeners[at] = ctx->listeners[--ctx->n_listeners];
    fd_close(l->fd);
    if (l->path)
        (void)unlink(l->path);
    if (l->group && !find(ctx, l->owner, NULL)) {
        if (ctx->kernel)
            (void)kernel_module_remove(ctx->kernel, group_id(l->group));
        (void)group_remove(l->group, NULL);
    }
    group_close(l->group);
    free(l->owner);
    free(l->text);
    free(l->path);
    free(l);
}

static int listener_open(const Module *m, const Listen *l, const char *owner, Listener **ret, Error *e)
{
    RunContext *ctx = m->ctx;
    Listener *n = new0(Listener);
    Made made = {.fd = -EBADF};
    *n = (Listener){.owner = xstrdup(owner), .text = xstrdup(l->text), .fd = -EBADF};
    size_t at = ctx->n_listeners;
    ARRAY_PUSH(ctx->listeners, ctx->n_listeners) = n;
    int r = l->shared && ctx->tree ? make_template_group(m, owner, &n->group, e) : 0;
    if (r == 0 && ctx->tree)
        r = make_in_group(m, owner, l, &made, e);
    else if (r == 0)
        made = make_socket(l);
    if (r == 0 && made.error)
        r = error_errno(e, -made.error, "cannot listen on %s", l->text);
    if (r < 0) {
        listener_close(ctx, at);
        return r;
    }
    n->fd = made.fd;
    n->path = l->port ? NULL : xstrdup(l->address.un.sun_path);
    *ret = n;
    return 0;
}

int listeners_open(const Module *m, int ret[static LISTEN_MAX], Error *e)
{
    const Listens *all = &m->policy->listen;
    for (size_t i = 0; i < all->n; i++) {
        _cleanup_(freep) char *owner = owner_of(m, &all->items[i]);
        Listener *l = find(m->ctx, owner, all->items[i].text);
        int r = l ? 0 : listener_open(m, &all->items[i], owner, &l, e);
        if (r < 0)
            return r;
        ret[i] = l->fd;
    }
    return 0;
}

bool listeners_shared(const Module *m)
{
    for (size_t i = 0; i < m->policy->listen.n; i++)
        if (m->policy->listen.items[i].shared)
            return true;
    return false;
}

bool listeners_work(const Module *m, struct work_entry *ret)
{
    const RunContext *ctx = m->ctx;
    if (!listeners_shared(m) || !m->policy->work.track.sources || !ctx->kernel)
        return false;
    _cleanup_(freep) char *owner = xstrndup(module_name(m), module_stem(module_name(m)));
    const Listener *l = find(ctx, owner, NULL);
    return l && l->group && kernel_work(ctx->kernel, group_id(l->group), ret) == 0;
}

void listeners_sweep(RunContext *ctx, bool (*is_used)(const void *host, const char *name))
{
    for (size_t i = ctx->n_listeners; i-- > 0;)
        if (!is_used(ctx->host, ctx->listeners[i]->owner))
            listener_close(ctx, i);
}

void listeners_close(RunContext *ctx)
{
    while (ctx->n_listeners > 0)
        listener_close(ctx, ctx->n_listeners - 1);
    free(ctx->listeners);
    ctx->listeners = NULL;
}
