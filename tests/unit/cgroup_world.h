/* What the live cgroup tests stand on: one tree for the program, children in groups, waiting with deadlines. Waiting is
 * on pidfds, cgroup.events and pipes. Children never return into cmocka. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "cgroups/private.h"

#define DEADLINE_MSEC 10000

static CgroupTree *tree;
static char root_name[64];
static char skip_reason[600];

#define NEEDS_TREE()                            \
    do {                                        \
        if (!tree) {                            \
            print_message("%s\n", skip_reason); \
            skip();                             \
        }                                       \
    } while (0)

static inline void assert_ok(int r, const Error *e)
{
    if (r < 0)
        fail_msg("%d: %s", r, error_message(e));
}

static inline unsigned count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Where `file` of the group is in the hierarchy of a controller: found by path, not by the code under test. */
static inline void read_at(const char *group, Hierarchy controller, const char *v1, const char *v2, char *buf,
                           size_t size)
{
    int h = tree_carrier(tree, controller);
    assert_true(h >= 0);
    _cleanup_(freep) char *path = xasprintf("%s/%s/%s", tree->dir[h], group, h == CG_UNIFIED ? v2 : v1);
    assert_true(file_read(AT_FDCWD, path, buf, size) >= 0);
}

typedef struct Child {
    pid_t pid;
    int pidfd;
} Child;

/* Starts fn in the group as a launch does: cloned into cgroup2's leaf, "0" written to the others. */
static inline Child child_start(Group *g, void (*fn)(void *), void *arg)
{
    Error e = {0};
    int fds[CG_N];
    bool into = cgroup_tree_features(tree)->clone_into;
    assert_ok(group_procs_fds(g, into, fds, &e), &e);
    Child c = {.pidfd = -EBADF};
    struct clone_args args = {
        .flags = CLONE_PIDFD | (into ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)&c.pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = into ? (uint64_t)group_dirfd(g) : 0,
    };
    int gate[2];
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    c.pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        for (int h = 0; h < CG_N; h++)
            if (fds[h] >= 0 && write(fds[h], "0", 1) != 1)
                _exit(99);
        close(gate[1]);
        close(gate[0]);
        fn(arg);
        _exit(0);
    }
    fd_close(gate[1]);
    /* End of file: the child is in its groups. */
    struct pollfd p = {.fd = gate[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, DEADLINE_MSEC), 1);
    fd_close(gate[0]);
    for (int h = 0; h < CG_N; h++)
        fd_close(fds[h]);
    return c;
}

/* Waits for the end; the wait status. */
static inline int child_wait(Child *c)
{
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    int status = -1;
    if (poll(&p, 1, DEADLINE_MSEC) != 1)
        fail_msg("process %d has not ended within %d ms", c->pid, DEADLINE_MSEC);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    c->pidfd = fd_close(c->pidfd);
    return status;
}

/* Waits by POLLPRI until the group is populated or not. */
static inline void wait_populated(Group *g, int wanted)
{
    _cleanup_fd_ int in = group_events_fd(g);
    assert_true(in >= 0);
    uint64_t deadline = now_monotonic() + DEADLINE_MSEC * USEC_PER_MSEC;
    while (group_populated(g) != wanted) {
        struct pollfd p = {.fd = in, .events = POLLPRI};
        char events[128];
        uint64_t now = now_monotonic();
        if (now >= deadline || poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1) != 1)
            fail_msg("%s: populated is not %d after %d ms", group_path(g), wanted, DEADLINE_MSEC);
        (void)!pread(in, events, sizeof events, 0);
    }
}

static inline Group *make(const char *path)
{
    Group *g = NULL;
    Error e = {0};
    assert_ok(group_create(tree, path, &g, &e), &e);
    return g;
}

static inline void drop(Group *g)
{
    Error e = {0};
    assert_ok(group_remove(g, &e), &e);
    group_close(g);
}

static inline void kill_and_drop(Group *g, Child *c)
{
    assert_int_equal(group_kill(g), 0);
    if (c)
        child_wait(c);
    wait_populated(g, 0);
    drop(g);
}

static inline void do_pause(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static inline void do_spin(void *arg)
{
    (void)arg;
    for (volatile uint64_t i = 0;; i++)
        ;
}

static inline GroupLimits limits_small(void)
{
    GroupLimits l = GROUP_LIMITS_NONE;
    l.cpu_max = 150;
    l.cpu_weight = 50;
    l.memory_max = (64u << 20) + 100; /* not whole pages: rounded down */
    l.pids_max = 33;
    return l;
}

static inline int world_setup(void **state)
{
    (void)state;
    Error e = {0};
    snprintf(root_name, sizeof root_name, "bulkhead-t%d", getpid());
    int r = geteuid() == 0 ? cgroup_tree_open(root_name, &tree, &e) : error_set(&e, -EPERM, "not root");
    if (r >= 0)
        return 0;
    snprintf(skip_reason, sizeof skip_reason, "no cgroup tree here: %s", error_message(&e));
    const char *must = getenv("MUST_WORK");
    if (must && *must == '1') {
        print_error("%s\n", skip_reason);
        return -1;
    }
    return 0;
}

/* What a failed test left: killed and removed, so that one failure stays one. Returns whether there was anything. */
static inline bool sweep(const char *path)
{
    char **names = NULL;
    bool found = false;
    if (cgroup_tree_children(tree, path, &names) < 0)
        return false;
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *sub = xasprintf("%s%s%s", path, *path ? "/" : "", *name);
        _cleanup_(group_closep) Group *g = NULL;
        Error e = {0};
        if (str_equal(sub, "daemon") || group_open(tree, sub, &g, &e) < 0)
            continue;
        found = true;
        group_kill(g);
        if (group_populated(g) >= 0)
            wait_populated(g, 0);
        sweep(sub);
        if (group_remove(g, &e) < 0)
            print_error("%s\n", error_message(&e));
    }
    strv_free(names);
    return found;
}

/* Nothing of ours is left, in any hierarchy. */
static inline int world_teardown(void **state)
{
    (void)state;
    if (!tree)
        return 0;
    Error e = {0};
    bool left = sweep("");
    int r = cgroup_tree_remove(tree, &e);
    if (r < 0 || left)
        print_error("%s\n", left ? "a test left groups behind" : error_message(&e));
    r = left ? -1 : r;
    for (int h = 0; h < CG_N; h++)
        if (tree->mount[h] && access(tree->dir[h], F_OK) == 0) {
            print_error("left behind: %s\n", tree->dir[h]);
            r = -1;
        }
    tree = cgroup_tree_close(tree);
    return r;
}
