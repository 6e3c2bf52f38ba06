/* The instance's root in every hierarchy: made, found again, removed.
 *
 * A root of ours is `NAME` below the own cgroup, so that nothing beside or above us is ever written to but the own
 * cgroup's subtree_control (delegate.c), which a cgroup2 tree cannot do without. The v1 cpuset root comes only when a
 * group asks for it (limits.c): an empty cpuset takes no process, so it costs two more files each. A root that is there
 * already is a dead daemon's, or ours: it is used as it is. A root of another maker (systemd's scope) is in cgroup2
 * alone; it is neither made nor removed here. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

static void tree_closep(CgroupTree **t)
{
    *t = cgroup_tree_close(*t);
}

/* Started again from inside the leaf that a predecessor (or an earlier open) moved us to: the own cgroup is then the
 * root's parent, as it was for the first one. */
static char *outside_of_leaf(const char *own, const char *root_name, bool *ret_inside)
{
    _cleanup_(freep) char *leaf = xasprintf("/%s/daemon", root_name);
    size_t n = strlen(own), m = strlen(leaf);
    bool inside = n >= m && str_equal(own + n - m, leaf);
    if (ret_inside)
        *ret_inside = inside;
    return xstrndup(own, inside ? n - m : n);
}

/* The controllers that cgroup2 carries and that we may use. */
static unsigned unified_allowed(const CgroupHost *host)
{
    unsigned mask = 0;
    for (int h = 0; h < CG_N; h++)
        if (feature_allows((Hierarchy)h))
            mask |= host->unified & (1u << h);
    return mask;
}

static CgroupTree *tree_new(const CgroupHost *host, const char *name)
{
    CgroupTree *t = new0(CgroupTree);
    t->name = xstrdup(name);
    t->unified = unified_allowed(host);
    for (int h = 0; h < CG_N; h++) {
        t->fd[h] = -EBADF;
        if (!host->h[h].mount || !feature_allows((Hierarchy)h))
            continue;
        _cleanup_(freep) char *own =
            h == CG_UNIFIED ? outside_of_leaf(host->h[h].own, name, &t->moved) : xstrdup(host->h[h].own);
        t->mount[h] = xstrdup(host->h[h].mount);
        t->own_dir[h] = xasprintf("%s%s", t->mount[h], own);
        t->dir[h] = xasprintf("%s/%s", t->own_dir[h], name);
    }
    _cleanup_(freep) char *path = outside_of_leaf(host->own_path, name, NULL);
    t->root_path = xasprintf("%s/%s", path, name);
    return t;
}

static int root_open(CgroupTree *t, Hierarchy h, bool *ret_made, Error *e)
{
    *ret_made = false;
    /* A v1 cpuset takes no process until it is filled in: left to who needs it, but a leftover is ours to remove. */
    int r = h == CG_CPUSET || mkdir(t->dir[h], 0755) == 0 ? 0 : -errno;
    if (r < 0 && r != -EEXIST)
        return error_set(e, r, "cannot make the cgroup %s: %s (%s)", t->dir[h], strerror(-r), tree_advice(r));
    *ret_made = h != CG_CPUSET && r == 0;
    int fd = open(t->dir[h], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && h == CG_CPUSET && errno == ENOENT)
        return 0;
    if (fd < 0)
        return error_errno(e, -errno, "cannot open the cgroup %s", t->dir[h]);
    t->fd[h] = fd;
    return 0;
}

static int name_check(const char *name, Error *e)
{
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 200)
        return error_set(e, -EINVAL, "\"%s\" cannot name a cgroup: one component, not hidden, up to 200 bytes", name);
    return 0;
}

int root_open_host(const CgroupHost *host, const char *root_name, CgroupTree **ret, Error *e)
{
    int r = name_check(root_name, e);
    if (r < 0)
        return r;
    _cleanup_(tree_closep) CgroupTree *t = tree_new(host, root_name);
    bool made[CG_N] = {0};
    for (int h = 0; r >= 0 && h < CG_N; h++)
        if (t->mount[h])
            r = root_open(t, (Hierarchy)h, &made[h], e);
    if (r >= 0 && t->unified)
        r = delegate_take(t, e);
    if (r < 0) {
        for (int h = 0; h < CG_N; h++)
            if (made[h])
                rmdir(t->dir[h]);
        return r;
    }
    features_probe(t);
    *ret = TAKE_PTR(t);
    return 0;
}

int root_open_host_at(const CgroupHost *host, const char *path, pid_t holder, CgroupTree **ret, Error *e)
{
    _cleanup_(tree_closep) CgroupTree *t = new0(CgroupTree);
    for (int h = 0; h < CG_N; h++)
        t->fd[h] = -EBADF;
    const char *slash = strrchr(path, '/');
    t->dir[CG_UNIFIED] = slash && slash[1] ? cgroup_host_directory(host, path) : NULL;
    if (!t->dir[CG_UNIFIED])
        return error_set(e, -ENOENT, "the cgroup %s is not visible below %s: mount the whole hierarchy", path,
                         host->h[CG_UNIFIED].mount);
    t->name = xstrdup(slash + 1);
    t->root_path = xstrdup(path);
    t->mount[CG_UNIFIED] = xstrdup(host->h[CG_UNIFIED].mount);
    t->own_dir[CG_UNIFIED] = xstrdup(t->dir[CG_UNIFIED]);
    t->unified = unified_allowed(host);
    t->held = true;
    t->fd[CG_UNIFIED] = open(t->dir[CG_UNIFIED], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (t->fd[CG_UNIFIED] < 0)
        return error_errno(e, -errno, "cannot open the cgroup %s", t->dir[CG_UNIFIED]);
    int r = delegate_take_held(t, holder, e);
    if (r < 0)
        return r;
    features_probe(t);
    *ret = TAKE_PTR(t);
    return 0;
}

int cgroup_tree_open_at(const char *path, pid_t holder, CgroupTree **ret, Error *e)
{
    _cleanup_(cgroup_host_freep) CgroupHost *host = NULL;
    int r = features_check(e);
    if (r != 0)
        return r;
    r = cgroup_host_discover(&host, e);
    return r < 0 ? r : root_open_host_at(host, path, holder, ret, e);
}

int cgroup_tree_hold(CgroupTree *t, pid_t holder, Error *e)
{
    return delegate_take_held(t, holder, e);
}

pid_t cgroup_holder(const char *path)
{
    _cleanup_(cgroup_host_freep) CgroupHost *host = NULL;
    char first[32];
    _cleanup_(freep) char *dir = cgroup_host_discover(&host, NULL) == 0 ? cgroup_host_directory(host, path) : NULL;
    _cleanup_(freep) char *file = dir ? xasprintf("%s/holder/cgroup.procs", dir) : NULL;
    return file && file_read(AT_FDCWD, file, first, sizeof first) > 0 ? (pid_t)strtol(first, NULL, 10) : 0;
}

int cgroup_tree_open(const char *root_name, CgroupTree **ret, Error *e)
{
    _cleanup_(cgroup_host_freep) CgroupHost *host = NULL;
    int r = features_check(e);
    if (r != 0)
        return r;
    r = cgroup_host_discover(&host, e);
    return r < 0 ? r : root_open_host(host, root_name, ret, e);
}

char *cgroup_tree_record(const CgroupTree *t)
{
    StrBuf b = STRBUF_NULL;
    strbuf_addf(&b, "path %s\n%s", t->root_path, t->held ? "held\n" : "");
    for (int h = 0; h < CG_N; h++)
        if (t->mount[h])
            strbuf_addf(&b, "dir%d %s\n", h, t->dir[h]);
    return strbuf_take(&b);
}

static int recorded_line(CgroupTree *t, const char *line)
{
    if (str_starts(line, "path /") && !t->root_path) {
        t->root_path = xstrdup(line + 5);
        return 0;
    }
    if (str_equal(line, "held")) {
        t->held = true;
        return 0;
    }
    int h = line[0] && line[1] && line[2] ? line[3] - '0' : -1;
    if (!str_starts(line, "dir") || h < 0 || h >= CG_N || !str_starts(line + 4, " /") || t->dir[h])
        return -EINVAL;
    t->dir[h] = xstrdup(line + 5);
    t->mount[h] = xstrdup(line + 5); /* only that it is there matters for a tree that gets no new groups */
    t->own_dir[h] = xstrdup(line + 5);
    t->fd[h] = open(t->dir[h], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return 0;
}

int cgroup_tree_recorded(const char *record, CgroupTree **ret, Error *e)
{
    _cleanup_(tree_closep) CgroupTree *t = new0(CgroupTree);
    _cleanup_(freep) char *text = xstrdup(record);
    char *save = NULL;
    for (int h = 0; h < CG_N; h++)
        t->fd[h] = -EBADF;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (recorded_line(t, line) < 0)
            return error_set(e, -EINVAL, "the record of an earlier cgroup tree is damaged");
    if (!t->root_path || t->fd[CG_UNIFIED] < 0)
        return error_set(e, -ENOENT, "the cgroup tree of an earlier daemon is gone");
    const char *slash = strrchr(t->root_path, '/');
    t->name = xstrdup(slash + 1);
    t->recorded = true;
    features_probe(t);
    *ret = TAKE_PTR(t);
    return 0;
}

int cgroup_tree_remove(CgroupTree *t, Error *e)
{
    if (t->held)
        return delegate_return_held(t, e);
    int r = t->recorded ? delegate_clear(t, e) : t->unified ? delegate_return(t, e) : 0;
    if (r != 0)
        return r < 0 ? r : 0;
    for (int h = CG_N - 1; h >= 0; h--) {
        if (!t->mount[h] || rmdir(t->dir[h]) == 0 || errno == ENOENT)
            continue;
        r = -errno;
        return error_set(e, r, "cannot remove the cgroup %s: %s (remove the groups in it first)", t->dir[h],
                         r == -EBUSY ? "it has groups or processes" : strerror(-r));
    }
    return 0;
}
