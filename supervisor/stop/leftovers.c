/* See leftovers.h. */
#include "supervisor/stop/leftovers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/run/generation.h"
#include "supervisor/stop/teardown.h"

#define ORPHAN_STOP_USEC (10 * USEC_PER_SEC)
#define SWEEP_USEC       USEC_PER_SEC /* for all that was killed to be gone */
#define LOOK_USEC        (50 * USEC_PER_MSEC)

/* A policy for a module that the configuration does not know any more: only what a teardown reads. Of an instance over
 * those that the file asks for, which was scaled to, it is known how the others end. */
static ModulePolicy *orphan_policy(const Policy *policy, const char *name)
{
    ModulePolicy *p = new0(ModulePolicy);
    _cleanup_(freep) char *stem = xstrndup(name, module_stem(name));
    size_t first, n = name[strlen(stem)] ? policy_instances(policy, stem, &first) : 0;
    p->name = xstrdup(name);
    p->stop_signal = n ? policy->modules[first]->stop_signal : SIGTERM;
    p->stop_timeout = n ? policy->modules[first]->stop_timeout : ORPHAN_STOP_USEC;
    return p;
}

static Module *wrap(RunContext *ctx, const Policy *policy, const char *name, uint64_t number, Group *leaf)
{
    Module *m = new0(Module);
    const ModulePolicy *own = policy_find(policy, name);
    m->ctx = ctx;
    m->index = SIZE_MAX; /* not in the host's array: what says that it is a leftover */
    m->policy = own ? own : orphan_policy(policy, name);
    m->last_generation = number - 1;
    Generation *g = generation_new(m);
    g->leaf = box_wrap(ctx, leaf);
    g->lifecycle = (Lifecycle){.state = LIFECYCLE_DRAINING, .intentional = true};
    return m;
}

Module *leftover_free(Module *m)
{
    generation_free(m->generation);
    teardown_result_free(m->last_teardown);
    module_clear_error(m);
    if (!m->policy->policy) { /* ours: a policy that was read knows what it belongs to */
        free(m->policy->name);
        free((void *)(uintptr_t)m->policy);
    }
    free(m);
    return NULL;
}

static void kill_group(CgroupTree *tree, const char *path)
{
    Group *g = NULL;
    if (group_open(tree, path, &g, NULL) < 0)
        return;
    (void)group_kill(g);
    group_close(g);
}

static int find_in_module(RunContext *ctx, CgroupTree *tree, const Policy *policy, const char *name, Module ***list,
                          size_t *n, Error *e)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_(freep) char *parent = xasprintf("modules/%s", name);
    int r = cgroup_tree_children(tree, parent, &names);
    if (r < 0)
        return error_errno(e, r, "cannot look into the tree of module %s", name);
    STRV_FOREACH (child, names) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", parent, *child);
        uint64_t number;
        if (parse_u64(*child, &number) < 0 || number == 0) {
            kill_group(tree, path); /* a check of health: the sweep removes it */
            continue;
        }
        Group *leaf = NULL;
        r = group_open(tree, path, &leaf, e);
        if (r < 0)
            return r;
        ARRAY_PUSH(*list, *n) = wrap(ctx, policy, name, number, leaf);
    }
    return 0;
}

int leftovers_find(RunContext *ctx, CgroupTree *tree, const Policy *policy, Module ***ret, size_t *ret_n, Error *e)
{
    _cleanup_strv_ char **names = NULL;
    Module **list = *ret;
    size_t n = *ret_n, before = n;
    int r = cgroup_tree_children(tree, "modules", &names);
    if (r == -ENOENT)
        r = 0;
    STRV_FOREACH (name, names)
        if (r >= 0)
            r = find_in_module(ctx, tree, policy, *name, &list, &n, e);
    if (r < 0) {
        for (size_t i = before; i < n; i++)
            leftover_free(list[i]);
        n = before;
    }
    *ret = list;
    *ret_n = n;
    return r < 0 ? r : 0;
}

void leftover_take_down(Module *m, void (*finished)(Generation *g))
{
    TeardownRequest request = {
        .from = PHASE_CONTROLLERS,
        .skip = "left by a daemon that died",
        .finished = finished,
    };
    teardown_start(m->generation, &request);
}

/* --- what is swept up at the end -------------------------------------------------------------------------------- */

/* Until everybody has left it, or the deadline. */
static void wait_empty(const Group *g, uint64_t deadline)
{
    _cleanup_fd_ int events = group_events_fd(g);
    for (uint64_t now = now_monotonic(); group_populated(g) > 0 && now < deadline; now = now_monotonic()) {
        struct pollfd p = {.fd = events, .events = POLLPRI}; /* a descriptor below 0 is a plain pause */
        (void)poll(&p, 1, (int)(MIN2(deadline - now, LOOK_USEC) / USEC_PER_MSEC) + 1);
    }
}

static int remove_group(CgroupTree *tree, const char *path, uint64_t deadline, Error *e)
{
    Group *g = NULL;
    if (group_open(tree, path, &g, NULL) < 0)
        return 0;
    if (deadline)
        wait_empty(g, deadline);
    int r = group_remove(g, e);
    group_close(g);
    return r;
}

static void kill_children(CgroupTree *tree, const char *module)
{
    _cleanup_strv_ char **names = NULL;
    if (cgroup_tree_children(tree, module, &names) < 0)
        return;
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", module, *name);
        kill_group(tree, path);
    }
}

/* The children, and then itself. */
static int remove_module(CgroupTree *tree, const char *module, uint64_t deadline, Error *e)
{
    _cleanup_strv_ char **names = NULL;
    int first = 0;
    if (cgroup_tree_children(tree, module, &names) < 0)
        return 0;
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", module, *name);
        int r = remove_group(tree, path, deadline, first < 0 ? NULL : e);
        first = first < 0 ? first : r;
    }
    return first < 0 ? first : remove_group(tree, module, 0, e);
}

int leftovers_clear(CgroupTree *tree, const char *name, Error *e)
{
    _cleanup_(freep) char *path = xasprintf("modules/%s", name);
    if (remove_group(tree, path, 0, NULL) == 0) /* what most of them are: empty */
        return 0;
    kill_children(tree, path);
    return remove_module(tree, path, 0, e);
}

/* All are killed before any of them is waited for: the one that cannot be killed takes no time from the others. */
int leftovers_sweep(CgroupTree *tree, Error *e)
{
    _cleanup_strv_ char **names = NULL, **busy = NULL;
    size_t n = 0;
    int first = 0;
    if (cgroup_tree_children(tree, "modules", &names) < 0)
        return 0;
    STRV_FOREACH (name, names) {
        if (leftovers_clear(tree, *name, NULL) < 0)
            ARRAY_PUSH(busy, n) = xasprintf("modules/%s", *name);
    }
    if (n == 0)
        return 0;
    ARRAY_PUSH(busy, n) = NULL;
    const uint64_t deadline = now_monotonic() + SWEEP_USEC;
    STRV_FOREACH (path, busy) {
        int r = remove_module(tree, *path, deadline, first < 0 ? NULL : e);
        first = first < 0 ? first : r;
    }
    return first;
}
