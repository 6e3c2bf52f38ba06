/* What of the kernel's cgroups is there, each found by trying it, and what of that may be used.
 *
 * Callers ask t->features alone: whether something is missing or was forbidden (a test that forces a fallback) is the
 * same to them. What may be used is told once, before the first tree; what is there is found when a tree is opened. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

/* The kernel tells at once, or after 10 ms when it told of the same group just before. */
#define EVENTS_PATIENCE_MSEC 200

static CgroupFeatures allowed = {
#define X(name) .name = true,
    CGROUP_FEATURES(X)
#undef X
};

void cgroup_features_allow(const CgroupFeatures *features)
{
    allowed = *features;
}

const CgroupFeatures *cgroup_tree_features(const CgroupTree *t)
{
    return &t->features;
}

const CgroupFeatures *group_features(const Group *g)
{
    return &g->tree->features;
}

bool feature_allows(Hierarchy h)
{
    switch (h) {
    case CG_MEMORY:
        return allowed.memory;
    case CG_CPU:
        return allowed.cpu;
    case CG_PIDS:
        return allowed.pids;
    case CG_CPUSET:
        return allowed.cpuset;
    case CG_UNIFIED:
    case CG_N:
        break;
    }
    return true;
}

int features_check(Error *e)
{
    return allowed.tree ? 0 : error_set(e, -EOPNOTSUPP, "cgroups are not to be used (--without)");
}

const char *cgroup_tree_carrier(const CgroupTree *t, const char *controller)
{
    for (int h = CG_UNIFIED + 1; h < CG_N; h++) {
        if (!str_equal(hierarchy_names[h], controller))
            continue;
        int carrier = tree_carrier(t, (Hierarchy)h);
        return carrier < 0 ? NULL : carrier == CG_UNIFIED ? "cgroup2" : "v1";
    }
    return NULL;
}

static bool root_has(const CgroupTree *t, int h, const char *file)
{
    return h >= 0 && t->fd[h] >= 0 && faccessat(t->fd[h], file, F_OK, 0) == 0;
}

/* The file may be there and not be read from: psi=0 at boot, or cgroup.pressure = 0 above. */
static bool root_has_pressure(const CgroupTree *t)
{
    char text[256];
    return file_read(t->fd[CG_UNIFIED], "memory.pressure", text, sizeof text) > 0;
}

/* A child that CLONE_INTO_CGROUP put into `dirfd`, or that puts itself there, and that had nothing to do but to live:
 * 1 it did, 0 it was killed at birth, or the negative errno of clone3. No exit signal: nobody else's SIGCHLD handling
 * shall see it. */
static int clone_probe(int dirfd, bool into)
{
    struct clone_args args = {.flags = into ? CLONE_INTO_CGROUP : 0, .cgroup = into ? (uint64_t)dirfd : 0};
    /* Sandboxes refuse clone3 as a whole: the other way needs only clone. */
    pid_t pid = (pid_t)(into ? syscall(SYS_clone3, &args, sizeof args) : syscall(SYS_clone, 0, NULL, NULL, NULL, NULL));
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        if (!into)
            (void)file_write(dirfd, "cgroup.procs", "0");
        _exit(42);
    }
    int status;
    while (waitpid(pid, &status, __WALL) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

/* After a cgroup.kill of the cgroup a parent sits in, each CLONE_INTO_CGROUP of it gives a dead child (6.1 to 6.18
 * alike), and sandboxes refuse the flag: only trying tells. */
static bool clone_into_works(int dirfd, char why[static 64])
{
    int r = clone_probe(dirfd, true);
    if (r < 0)
        snprintf(why, 64, "clone3: %s", strerror(-r));
    else if (r == 0)
        snprintf(why, 64, "a child is killed at birth (cgroup.kill was written here once)");
    return r == 1;
}

/* Whether the kernel told of the child that came and went. */
static bool told(int fd, char why[static 64])
{
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    int r = poll(&p, 1, EVENTS_PATIENCE_MSEC);
    if (r <= 0)
        snprintf(why, 64, "a child came and went and nothing was told");
    return r > 0;
}

/* In a group of its own, which has to be a fresh one. */
static void probe_children(CgroupTree *t, CgroupFeatures *f)
{
    char name[48];
    snprintf(name, sizeof name, "probe-%d", getpid());
    int root = t->fd[CG_UNIFIED];
    if (mkdirat(root, name, 0755) < 0)
        return;
    _cleanup_fd_ int dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_fd_ int events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
    char text[128];
    bool watched = events >= 0 && read(events, text, sizeof text) > 0;
    if (!watched)
        snprintf(f->events_why, sizeof f->events_why, "cgroup.events: %s", strerror(errno));
    f->clone_into = allowed.clone_into && dir >= 0 && clone_into_works(dir, f->clone_into_why);
    bool visited = f->clone_into || (dir >= 0 && clone_probe(dir, false) == 1);
    f->events = allowed.events && watched && visited && told(events, f->events_why);
    unlinkat(root, name, AT_REMOVEDIR);
}

void features_probe(CgroupTree *t)
{
    int memory = tree_carrier(t, CG_MEMORY);
    bool v1 = memory == CG_MEMORY;
    CgroupFeatures f = {
        .tree = true,
        .memory = memory >= 0,
        .cpu = tree_carrier(t, CG_CPU) >= 0,
        .pids = tree_carrier(t, CG_PIDS) >= 0,
        .cpuset = tree_carrier(t, CG_CPUSET) >= 0,
        .memory_high = allowed.memory_high && !v1 && root_has(t, memory, "memory.high"),
        .memory_swap =
            allowed.memory_swap && root_has(t, memory, v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max"),
        .memory_peak = allowed.memory_peak && root_has(t, memory, v1 ? "memory.max_usage_in_bytes" : "memory.peak"),
        .pressure = allowed.pressure && root_has_pressure(t),
        .kill = allowed.kill && root_has(t, CG_UNIFIED, "cgroup.kill"),
        .freeze = allowed.freeze && root_has(t, CG_UNIFIED, "cgroup.freeze"),
    };
    /* A recorded tree gets no child; how its groups empty is asked after the same way. */
    if (t->recorded)
        f.events = allowed.events;
    else
        probe_children(t, &f);
    t->features = f;
}
