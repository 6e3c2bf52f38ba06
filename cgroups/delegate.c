/* Handing cgroup2 controllers down, on hosts where cgroup2 carries any.
 *
 * Two rules of the kernel shape this. A cgroup other than the real root either holds processes or hands controllers
 * down, never both: so before the own cgroup can, this process steps into the leaf `ROOT/daemon`, and any other process
 * in the own cgroup is an error that a person must mend. And enabling cpu or pids (but not memory) on a cgroup with
 * processes does not fail, it turns the cgroup "domain threaded", which nothing undoes: so the own cgroup is seen empty
 * before a word is written to it. What we handed down, delegate_return takes back.
 *
 * In a root of another maker it is the holder that steps into a leaf, and the own cgroup is left alone. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define PROCS_LIMIT (4u << 20)

static unsigned mask_parse(const char *list)
{
    unsigned mask = 0;
    for (const char *p = list; *(p += strspn(p, " \n"));) {
        size_t n = strcspn(p, " \n");
        for (int h = CG_UNIFIED + 1; h < CG_N; h++)
            if (strlen(hierarchy_names[h]) == n && strncmp(p, hierarchy_names[h], n) == 0)
                mask |= 1u << h;
        p += n;
    }
    return mask;
}

static int mask_read(int dirfd, const char *file, unsigned *ret)
{
    char text[512];
    ssize_t n = file_read(dirfd, file, text, sizeof text);
    if (n < 0)
        return (int)n;
    *ret = mask_parse(text);
    return 0;
}

static int mask_write(int dirfd, const char *file, char sign, unsigned mask)
{
    char text[64];
    size_t n = 0;
    for (int h = CG_UNIFIED + 1; h < CG_N; h++)
        if (mask & (1u << h))
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%c%s", n ? " " : "", sign, hierarchy_names[h]);
    return n ? file_write(dirfd, file, text) : 0;
}

static int enable(int dirfd, const char *file, unsigned mask)
{
    unsigned have;
    int r = mask_read(dirfd, file, &have);
    return r < 0 ? r : mask_write(dirfd, file, '+', mask & ~have);
}

static int disable(int dirfd, const char *file, unsigned mask)
{
    unsigned have;
    int r = mask_read(dirfd, file, &have);
    return r < 0 ? r : mask_write(dirfd, file, '-', mask & have);
}

/* "123 (bash), 124 (sshd) and 3 more": everybody in the cgroup but this process. Returns their number. */
static int others_list(int dirfd, StrBuf *list)
{
    _cleanup_(freep) char *procs = NULL;
    int r = file_read_all(dirfd, "cgroup.procs", PROCS_LIMIT, &procs, NULL);
    if (r < 0)
        return r;
    int n = 0;
    char *save = NULL;
    for (char *line = strtok_r(procs, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char path[64], comm[32] = "of another pid namespace";
        long pid = strtol(line, NULL, 10);
        if (pid == getpid() || ++n > 3)
            continue;
        snprintf(path, sizeof path, "/proc/%ld/comm", pid);
        if (pid > 0)
            file_read(AT_FDCWD, path, comm, sizeof comm);
        _cleanup_(freep) char *safe = str_escape(comm, strlen(comm), 32);
        strbuf_addf(list, "%s%s (%s)", n > 1 ? ", " : "", line, safe);
    }
    if (n > 3)
        strbuf_addf(list, " and %d more", n - 3);
    return n;
}

static int alone_or_error(const CgroupTree *t, int own, Error *e)
{
    _cleanup_strbuf_ StrBuf others = STRBUF_NULL;
    int n = others_list(own, &others);
    if (n < 0)
        return error_errno(e, n, "cannot read %s/cgroup.procs", t->own_dir[CG_UNIFIED]);
    if (n > 0)
        return error_set(e, -EBUSY,
                         "the cgroup %s also holds %s: cgroup2 hands limits down only from a cgroup of the daemon's "
                         "own; start it as a service with Delegate=yes, or by systemd-run --scope -p Delegate=yes",
                         t->own_dir[CG_UNIFIED], others.s);
    return 0;
}

static int step_into_leaf(CgroupTree *t, int own, Error *e)
{
    int root = t->fd[CG_UNIFIED];
    if (mkdirat(root, "daemon", 0755) < 0 && errno != EEXIST) {
        int r = -errno;
        return error_set(e, r, "cannot make the cgroup %s/daemon: %s (%s)", t->dir[CG_UNIFIED], strerror(-r),
                         tree_advice(r));
    }
    int r = file_write(root, "daemon/cgroup.procs", "0");
    if (r < 0) {
        unlinkat(root, "daemon", AT_REMOVEDIR);
        return error_set(e, r, "cannot move the daemon into %s/daemon: %s (%s)", t->dir[CG_UNIFIED], strerror(-r),
                         tree_advice(r));
    }
    t->moved = true;
    /* Somebody may have come between the first look and the move. */
    return alone_or_error(t, own, e);
}

static int leave_leaf(CgroupTree *t, int own, Error *e)
{
    int r = file_write(own, "cgroup.procs", "0");
    if (r < 0)
        return error_set(e, r, "cannot move the daemon back to %s: %s (does somebody else use controllers below it?)",
                         t->own_dir[CG_UNIFIED], strerror(-r));
    t->moved = false;
    if (unlinkat(t->fd[CG_UNIFIED], "daemon", AT_REMOVEDIR) < 0 && errno != ENOENT) {
        r = -errno;
        return error_errno(e, r, "cannot remove the cgroup %s/daemon", t->dir[CG_UNIFIED]);
    }
    return 0;
}

static int hand_down(CgroupTree *t, int own, Error *e)
{
    int r = enable(own, "cgroup.subtree_control", t->unified);
    if (r < 0)
        return error_set(e, r, "cannot enable controllers in %s/cgroup.subtree_control: %s (%s)",
                         t->own_dir[CG_UNIFIED], strerror(-r), tree_advice(r));
    return delegate_down(t, "", e);
}

static int own_open(const CgroupTree *t, Error *e)
{
    int fd = open(t->own_dir[CG_UNIFIED], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int r = -errno;
        return error_errno(e, r, "cannot open the own cgroup %s", t->own_dir[CG_UNIFIED]);
    }
    return fd;
}

int delegate_take(CgroupTree *t, Error *e)
{
    _cleanup_fd_ int own = own_open(t, e);
    if (own < 0)
        return own;
    unsigned available;
    int r = mask_read(own, "cgroup.controllers", &available);
    if (r < 0)
        return error_errno(e, r, "cannot read %s/cgroup.controllers", t->own_dir[CG_UNIFIED]);
    t->unified &= available; /* the rest was not delegated to us: cgroup_tree_refuses names it */
    if (!t->unified)
        return 0;
    /* The real root has no cgroup.type and may hold processes and hand controllers down. */
    bool real_root = faccessat(own, "cgroup.type", F_OK, 0) < 0;
    if (!real_root) {
        r = alone_or_error(t, own, e);
        if (r >= 0 && !t->moved)
            r = step_into_leaf(t, own, e);
        if (r < 0 && t->moved)
            leave_leaf(t, own, NULL);
        if (r < 0)
            return r;
    }
    r = hand_down(t, own, e);
    if (r < 0)
        delegate_return(t, NULL);
    return r;
}

static int no_groups_but(CgroupTree *t, const char *leaf, Error *e)
{
    char **names = NULL;
    cgroup_tree_children(t, "", &names);
    _cleanup_strv_ char **owned = names;
    STRV_FOREACH (name, owned)
        if (!str_equal(*name, leaf))
            return error_set(e, -EBUSY, "the cgroup %s still has the group %s: remove it first", t->dir[CG_UNIFIED],
                             *name);
    return 0;
}

int delegate_return(CgroupTree *t, Error *e)
{
    int r = no_groups_but(t, "daemon", e);
    if (r < 0)
        return r;
    _cleanup_fd_ int own = own_open(t, e);
    if (own < 0)
        return own;
    r = disable(t->fd[CG_UNIFIED], "cgroup.subtree_control", t->unified);
    if (r < 0 && r != -ENOENT)
        return error_errno(e, r, "cannot disable controllers in %s/cgroup.subtree_control", t->dir[CG_UNIFIED]);
    if (!t->moved)
        return 0; /* in the real root we leave what others may have come to use */
    r = disable(own, "cgroup.subtree_control", t->unified);
    if (r < 0)
        return error_set(e, r, "cannot disable controllers in %s/cgroup.subtree_control: %s (%s)",
                         t->own_dir[CG_UNIFIED], strerror(-r), tree_advice(r));
    return leave_leaf(t, own, e);
}

int delegate_take_held(CgroupTree *t, pid_t holder, Error *e)
{
    int root = t->fd[CG_UNIFIED];
    unsigned available;
    int r = mask_read(root, "cgroup.controllers", &available);
    if (r < 0)
        return error_errno(e, r, "cannot read %s/cgroup.controllers", t->dir[CG_UNIFIED]);
    t->unified &= available;
    if (mkdirat(root, "holder", 0755) < 0 && errno != EEXIST) {
        r = -errno;
        return error_set(e, r, "cannot make the cgroup %s/holder: %s (%s)", t->dir[CG_UNIFIED], strerror(-r),
                         tree_advice(r));
    }
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)holder);
    r = file_write(root, "holder/cgroup.procs", pid);
    if (r < 0)
        return error_errno(e, r, "cannot put process %s into %s/holder", pid, t->dir[CG_UNIFIED]);
    _cleanup_strbuf_ StrBuf others = STRBUF_NULL;
    int n = others_list(root, &others);
    if (n != 0)
        return n < 0
                   ? error_errno(e, n, "cannot read %s/cgroup.procs", t->dir[CG_UNIFIED])
                   : error_set(e, -EBUSY, "the cgroup %s also holds %s: end them, nobody but bulkheadd puts any there",
                               t->dir[CG_UNIFIED], others.s);
    return delegate_down(t, "", e);
}

int delegate_return_held(CgroupTree *t, Error *e)
{
    int r = no_groups_but(t, "holder", e);
    if (r < 0)
        return r;
    char first[32];
    if (file_read(t->fd[CG_UNIFIED], "holder/cgroup.procs", first, sizeof first) > 0 &&
        strtol(first, NULL, 10) == getpid())
        return 0;
    r = file_write(t->fd[CG_UNIFIED], "holder/cgroup.kill", "1");
    return r < 0 && r != -ENOENT && r != -ENODEV
               ? error_errno(e, r, "cannot end the holder of the cgroup %s", t->dir[CG_UNIFIED])
               : 0;
}

int delegate_clear(const CgroupTree *t, Error *e)
{
    int root = t->fd[CG_UNIFIED];
    int r = unlinkat(root, "daemon", AT_REMOVEDIR) < 0 ? -errno : 0;
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        _cleanup_strbuf_ StrBuf others = STRBUF_NULL;
        _cleanup_fd_ int leaf = openat(root, "daemon", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int n = leaf < 0 ? leaf : others_list(leaf, &others);
        if (r == -EBUSY && n == 0)
            return 1;
        return error_set(e, r, "cannot remove the cgroup %s/daemon: %s", t->dir[CG_UNIFIED],
                         n > 0 ? others.s : strerror(-r));
    }
    _cleanup_fd_ int own = openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = own < 0 ? -errno : disable(root, "cgroup.subtree_control", UINT_MAX);
    if (r >= 0)
        r = disable(own, "cgroup.subtree_control", UINT_MAX);
    return r < 0 && r != -ENOENT
               ? error_errno(e, r, "cannot disable controllers in the cgroup around %s", t->dir[CG_UNIFIED])
               : 0;
}

int delegate_down(const CgroupTree *t, const char *path, Error *e)
{
    if (!t->unified)
        return 0;
    char file[4096];
    snprintf(file, sizeof file, "%s%scgroup.subtree_control", path, *path ? "/" : "");
    int r = enable(t->fd[CG_UNIFIED], file, t->unified);
    if (r < 0)
        return error_set(e, r, "cannot enable controllers in %s/%s: %s (%s)", t->dir[CG_UNIFIED], file, strerror(-r),
                         tree_advice(r));
    return 0;
}
