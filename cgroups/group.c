/* Groups: one relative path, a directory of that path in each hierarchy.
 *
 * All work is relative to the root's descriptors of the tree. A group owns at most one descriptor (its cgroup2
 * directory, opened when clone3 needs it). Invariant: a group that group_create returned exists in every hierarchy and
 * was made by this very call, in each; a failed call leaves none of its directories behind. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

static Group *group_new(CgroupTree *t, const char *path)
{
    Group *g = new0(Group);
    g->tree = t;
    g->dirfd = -EBADF;
    g->cpuset = t->fd[CG_CPUSET] < 0 ? 0 : -1;
    g->cgroup_path = xasprintf("%s%s%s", t->root_path, *path ? "/" : "", path);
    g->path_offset = (uint16_t)(strlen(t->root_path) + (*path ? 1 : 0));
    return g;
}

Group *group_close(Group *g)
{
    if (!g)
        return NULL;
    fd_close(g->dirfd);
    free(g->cgroup_path);
    free(g);
    return NULL;
}

static bool in_by_default(const CgroupTree *t, int h)
{
    return t->mount[h] && h != CG_CPUSET;
}

static void unmake(CgroupTree *t, const char *path, const bool made[static CG_N])
{
    for (int h = 0; h < CG_N; h++)
        if (made[h])
            unlinkat(t->fd[h], path, AT_REMOVEDIR);
}

static int make_error(const CgroupTree *t, int h, const char *path, int r, Error *e)
{
    if (r == -EEXIST)
        return error_set(e, r, "the cgroup %s/%s is there already, a fresh one was wanted: remove it first", t->dir[h],
                         path);
    return error_set(e, r, "cannot make the cgroup %s/%s: %s (%s)", t->dir[h], path, strerror(-r), tree_advice(r));
}

static int parent_prepare(CgroupTree *t, const char *path, Error *e)
{
    if (!t->unified)
        return 0;
    const char *slash = strrchr(path, '/');
    _cleanup_(freep) char *parent = xstrndup(path, slash ? (size_t)(slash - path) : 0);
    return delegate_down(t, parent, e);
}

static int group_make(CgroupTree *t, const char *path, bool fresh, Group **ret, Error *e)
{
    int r = tree_path_check(path, e);
    if (r < 0)
        return r;
    if (!*path)
        return error_set(e, -EINVAL, "the root of the tree is made by opening it");
    r = parent_prepare(t, path, e);
    if (r < 0)
        return r;
    bool made[CG_N] = {0};
    /* A cpuset directory that an earlier generation left would not be fresh either. */
    if (fresh && t->fd[CG_CPUSET] >= 0 && faccessat(t->fd[CG_CPUSET], path, F_OK, 0) == 0)
        return make_error(t, CG_CPUSET, path, -EEXIST, e);
    for (int h = 0; h < CG_N; h++) {
        if (!in_by_default(t, h))
            continue;
        made[h] = mkdirat(t->fd[h], path, 0755) == 0;
        if (made[h] || (errno == EEXIST && !fresh))
            continue;
        r = -errno;
        unmake(t, path, made);
        return make_error(t, h, path, r, e);
    }
    Group *g = group_new(t, path);
    g->fresh = fresh;
    if (fresh)
        g->cpuset = 0;
    *ret = g;
    return 0;
}

int group_create(CgroupTree *t, const char *path, Group **ret, Error *e)
{
    return group_make(t, path, true, ret, e);
}

int group_ensure(CgroupTree *t, const char *path, Group **ret, Error *e)
{
    return group_make(t, path, false, ret, e);
}

int group_open(CgroupTree *t, const char *path, Group **ret, Error *e)
{
    int r = tree_path_check(path, e);
    if (r < 0)
        return r;
    /* A leftover may exist in some hierarchies only: it must be possible to open it to remove it. */
    for (int h = 0; h < CG_N; h++) {
        if (t->fd[h] < 0 || faccessat(t->fd[h], *path ? path : ".", F_OK, 0) < 0)
            continue;
        *ret = group_new(t, path);
        return 0;
    }
    return error_set(e, -ENOENT, "there is no cgroup %s/%s", t->dir[CG_UNIFIED], path);
}

/* Children first is the caller's business: rmdir tells a populated group and one with sub-groups alike by EBUSY.
 *
 * No retry: in 1000 runs each of exit, SIGKILL and cgroup.kill, rmdir failed in no hierarchy once cgroup2's populated
 * was 0, and in 539 of 1000 when only the main process had been awaited (docs/cgroups.md). */
int group_remove(Group *g, Error *e)
{
    CgroupTree *t = g->tree;
    const char *path = group_path(g);
    if (!*path)
        return error_set(e, -EINVAL, "the root of the tree is removed with the tree");
    for (int h = CG_N - 1; h >= 0; h--) {
        if (t->fd[h] < 0 || unlinkat(t->fd[h], path, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        int r = -errno;
        return error_set(e, r, "cannot remove the %s cgroup %s/%s: %s", hierarchy_names[h], t->dir[h], path,
                         r == -EBUSY ? "it still has processes or sub-groups" : strerror(-r));
    }
    g->dirfd = fd_close(g->dirfd);
    return 0;
}

const char *group_path(const Group *g)
{
    return g->cgroup_path + g->path_offset;
}

const char *group_cgroup_path(const Group *g)
{
    return g->cgroup_path;
}

bool group_in(const Group *g, Hierarchy h)
{
    const CgroupTree *t = g->tree;
    if (h != CG_CPUSET || !t->mount[h])
        return t->mount[h];
    if (t->fd[h] < 0)
        return false;
    if (g->cpuset < 0)
        ((Group *)g)->cpuset = faccessat(t->fd[h], *group_path(g) ? group_path(g) : ".", F_OK, 0) == 0;
    return g->cpuset > 0;
}

int group_open_file(const Group *g, Hierarchy h, const char *file, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s%s", group_path(g), *group_path(g) ? "/" : "", file);
    int fd = openat(g->tree->fd[h], path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

ssize_t group_read_file(const Group *g, Hierarchy h, const char *file, char *buf, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s%s", group_path(g), *group_path(g) ? "/" : "", file);
    return g->tree->fd[h] < 0 ? -ENOENT : file_read(g->tree->fd[h], path, buf, size);
}

uint64_t group_id(const Group *g)
{
    struct stat st;
    if (g->id == 0 && fstatat(g->tree->fd[CG_UNIFIED], *group_path(g) ? group_path(g) : ".", &st, 0) == 0)
        ((Group *)g)->id = st.st_ino; /* kernfs numbers its inodes by node id */
    return g->id;
}

int group_dirfd(const Group *g)
{
    if (g->dirfd < 0)
        ((Group *)g)->dirfd = group_open_file(g, CG_UNIFIED, ".", O_RDONLY | O_DIRECTORY);
    return g->dirfd;
}

void group_release_fd(Group *g)
{
    g->dirfd = fd_close(g->dirfd);
}

int group_events_fd(const Group *g)
{
    char text[128];
    int fd = group_open_file(g, CG_UNIFIED, "cgroup.events", O_RDONLY);
    if (fd >= 0)
        (void)!read(fd, text, sizeof text);
    return fd;
}

int group_procs_fds(const Group *g, bool cloned_into, int fds[static CG_N], Error *e)
{
    for (int h = 0; h < CG_N; h++)
        fds[h] = -EBADF;
    for (int h = 0; h < CG_N; h++) {
        if (!group_in(g, (Hierarchy)h) || (h == CG_UNIFIED && cloned_into))
            continue;
        /* A thread that moves itself alone waits for no grace period of RCU, a process does (docs/cgroups.md); a child
         * that was just cloned has one thread. */
        const char *file = h == CG_UNIFIED ? "cgroup.procs" : "tasks";
        fds[h] = group_open_file(g, (Hierarchy)h, file, O_WRONLY);
        if (fds[h] >= 0)
            continue;
        int r = fds[h];
        for (int i = 0; i <= h; i++)
            fds[i] = fd_close(fds[i]);
        return error_errno(e, r, "cannot open %s/%s/%s", g->tree->dir[h], group_path(g), file);
    }
    return 0;
}

int group_attach(Group *g, pid_t pid, Error *e)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", (int)pid);
    for (int h = 0; h < CG_N; h++) {
        if (!group_in(g, (Hierarchy)h))
            continue;
        _cleanup_fd_ int fd = group_open_file(g, (Hierarchy)h, "cgroup.procs", O_WRONLY);
        int r = fd < 0 ? fd : write(fd, text, (size_t)n) < 0 ? -errno : 0;
        if (r < 0)
            return error_errno(e, r, "cannot move process %s into the %s cgroup %s/%s", text, hierarchy_names[h],
                               g->tree->dir[h], group_path(g));
    }
    return 0;
}
