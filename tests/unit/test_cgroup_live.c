/* Cgroups on the live kernel: hybrid or pure, whatever this host is. Needs root and a writable cgroup of its own; else
 * every test is skipped with the reason, and MUST_WORK=1 makes that a failure.
 *
 * Everything happens below `bulkhead-t<pid>` in the cgroup this program was started in. Waiting is on pidfds, inotify
 * and pipes, each with a deadline. Children never return into cmocka. */
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
#include <sys/inotify.h>
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

/* --- helpers -------------------------------------------------------------------------------------------------------
 */

static void assert_ok(int r, const Error *e)
{
    if (r < 0)
        fail_msg("%d: %s", r, error_message(e));
}

static unsigned count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Where `file` of the group is in the hierarchy of a controller: found by path, not by the code under test. */
static void read_at(const char *group, Hierarchy controller, const char *v1, const char *v2, char *buf, size_t size)
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
static Child child_start(Group *g, void (*fn)(void *), void *arg)
{
    Error e = {0};
    int fds[CG_N];
    bool into = cgroup_tree_clone_into(tree);
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
static int child_wait(Child *c)
{
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    int status = -1;
    if (poll(&p, 1, DEADLINE_MSEC) != 1)
        fail_msg("process %d has not ended within %d ms", c->pid, DEADLINE_MSEC);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    c->pidfd = fd_close(c->pidfd);
    return status;
}

/* Waits by inotify until the group is populated or not. */
static void wait_populated(Group *g, int wanted)
{
    _cleanup_fd_ int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    _cleanup_(freep) char *path = group_events_path(g);
    assert_true(inotify_add_watch(in, path, IN_MODIFY) >= 0);
    uint64_t deadline = now_monotonic() + DEADLINE_MSEC * USEC_PER_MSEC;
    while (group_populated(g) != wanted) {
        struct pollfd p = {.fd = in, .events = POLLIN};
        char events[4096];
        uint64_t now = now_monotonic();
        if (now >= deadline || poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1) != 1)
            fail_msg("%s: populated is not %d after %d ms", path, wanted, DEADLINE_MSEC);
        (void)!read(in, events, sizeof events);
    }
}

static Group *make(const char *path)
{
    Group *g = NULL;
    Error e = {0};
    assert_ok(group_create(tree, path, &g, &e), &e);
    return g;
}

static void drop(Group *g)
{
    Error e = {0};
    assert_ok(group_remove(g, &e), &e);
    group_close(g);
}

static void kill_and_drop(Group *g, Child *c)
{
    assert_int_equal(group_kill(g), 0);
    if (c)
        child_wait(c);
    wait_populated(g, 0);
    drop(g);
}

static void do_pause(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static void do_spin(void *arg)
{
    (void)arg;
    for (volatile uint64_t i = 0;; i++)
        ;
}

static GroupLimits limits_small(void)
{
    GroupLimits l = GROUP_LIMITS_NONE;
    l.cpu_max = 150;
    l.cpu_weight = 50;
    l.memory_max = (64u << 20) + 100; /* not whole pages: rounded down */
    l.pids_max = 33;
    return l;
}

/* --- tests ---------------------------------------------------------------------------------------------------------
 */

static void test_tree(void **state)
{
    (void)state;
    NEEDS_TREE();
    struct statfs fs;
    assert_int_equal(statfs("/sys/fs/cgroup", &fs), 0);
    assert_int_equal(cgroup_tree_mode(tree), fs.f_type == CGROUP2_SUPER_MAGIC ? CGROUP_PURE : CGROUP_HYBRID);
    assert_int_equal(statfs(cgroup_tree_root(tree), &fs), 0);
    assert_true(fs.f_type == CGROUP2_SUPER_MAGIC);
    struct stat st;
    for (int h = 0; h < CG_N; h++)
        if (tree->mount[h] && h != CG_CPUSET)
            assert_int_equal(stat(tree->dir[h], &st), 0);
    assert_true(cgroup_tree_level(tree) >= 1);
    assert_true(cgroup_tree_clone_into(tree));
    assert_true(str_starts(strrchr(cgroup_tree_root_path(tree), '/') + 1, root_name));
    assert_true(sizeof(struct Group) <= 200);
    const char *all[] = {"memory", "cpu", "pids"};
    for (size_t i = 0; i < ELEMENTS(all); i++)
        assert_true(tree_carrier(tree, (Hierarchy)(CG_MEMORY + i)) >= 0);
    char **names = NULL;
    assert_int_equal(group_children(tree, "", &names), 0);
    assert_int_equal(strv_length(names), tree->moved ? 1 : 0); /* the probe's group is gone */
    strv_free(names);
}

static void test_create(void **state)
{
    (void)state;
    NEEDS_TREE();
    unsigned fds = count_fds();
    Error e = {0};
    Group *mods = NULL, *again = NULL, *g;
    assert_ok(group_ensure(tree, "modules", &mods, &e), &e);
    assert_ok(group_ensure(tree, "modules", &again, &e), &e);
    group_close(again);
    g = make("modules/1");
    assert_string_equal(group_path(g), "modules/1");
    _cleanup_(freep) char *path = xasprintf("%s/modules/1", cgroup_tree_root_path(tree));
    assert_string_equal(group_cgroup_path(g), path);
    struct stat st;
    assert_int_equal(fstat(group_dirfd(g), &st), 0);
    assert_int_equal(group_id(g), st.st_ino);
    group_release_fd(g);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(group_populated(g), 0);

    assert_int_equal(group_create(tree, "modules/1", &again, &e), -EEXIST);
    assert_non_null(strstr(e.msg, "modules/1 is there already"));
    assert_int_equal(group_create(tree, "modules/none/1", &again, &e), -ENOENT);
    assert_int_equal(group_create(tree, "../x", &again, &e), -EINVAL);
    assert_int_equal(group_create(tree, "modules//x", &again, &e), -EINVAL);
    assert_int_equal(group_open(tree, "modules/2", &again, &e), -ENOENT);
    assert_int_equal(group_remove(mods, &e), -EBUSY);
    assert_non_null(strstr(e.msg, "/modules"));

    assert_ok(group_open(tree, "modules/1", &again, &e), &e);
    assert_int_equal(group_id(again), group_id(g));
    drop(again);
    drop(g); /* gone in every hierarchy already: no error */
    drop(mods);
    assert_int_equal(count_fds(), fds);
}

/* Half a leaf, left in one hierarchy, is neither fresh nor lost. */
static void test_half_a_leaf(void **state)
{
    (void)state;
    NEEDS_TREE();
    int last = tree->mount[CG_PIDS] ? CG_PIDS : CG_UNIFIED;
    assert_int_equal(mkdirat(tree->fd[last], "half", 0755), 0);
    Error e = {0};
    Group *g = NULL;
    assert_int_equal(group_create(tree, "half", &g, &e), -EEXIST);
    assert_non_null(strstr(e.msg, tree->dir[last]));
    if (last != CG_UNIFIED) /* what was made before the failure was unmade */
        assert_int_equal(faccessat(tree->fd[CG_UNIFIED], "half", F_OK, 0), -1);
    char **names = NULL;
    assert_int_equal(group_children(tree, "", &names), 0);
    assert_true(strv_contains(names, "half"));
    strv_free(names);
    assert_ok(group_open(tree, "half", &g, &e), &e);
    drop(g);
    assert_int_equal(faccessat(tree->fd[last], "half", F_OK, 0), -1);
}

static void check_small(const char *name)
{
    char text[128];
    read_at(name, CG_MEMORY, "memory.limit_in_bytes", "memory.max", text, sizeof text);
    assert_string_equal(text, "67108864");
    read_at(name, CG_PIDS, "pids.max", "pids.max", text, sizeof text);
    assert_string_equal(text, "33");
    bool v2 = tree_carrier(tree, CG_CPU) == CG_UNIFIED;
    read_at(name, CG_CPU, "cpu.cfs_quota_us", "cpu.max", text, sizeof text);
    assert_string_equal(text, v2 ? "150000 100000" : "150000");
    read_at(name, CG_CPU, "cpu.shares", "cpu.weight", text, sizeof text);
    assert_string_equal(text, v2 ? "50" : "512");
}

static void test_limits(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("lim");
    GroupLimits l = limits_small(), none = GROUP_LIMITS_NONE;
    assert_ok(group_set_limits(g, &none, &e), &e);
    g->fresh = true;
    assert_ok(group_set_limits(g, &l, &e), &e);
    check_small("lim");
    /* Lowered, raised and lifted on a group that has limits. */
    l.memory_max = 16u << 20;
    assert_ok(group_set_limits(g, &l, &e), &e);
    l = limits_small();
    assert_ok(group_set_limits(g, &l, &e), &e);
    check_small("lim");
    assert_ok(group_set_limits(g, &none, &e), &e);
    char text[128];
    read_at("lim", CG_PIDS, "pids.max", "pids.max", text, sizeof text);
    assert_string_equal(text, "max");
    read_at("lim", CG_MEMORY, "memory.limit_in_bytes", "memory.max", text, sizeof text);
    uint64_t bytes = UINT64_MAX;
    assert_true(str_equal(text, "max") || parse_u64(text, &bytes) == 0);
    assert_true(bytes > (uint64_t)1 << 62);
    drop(g);
}

static void test_limits_by_host(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    const char *why = NULL;
    bool v2 = tree_carrier(tree, CG_MEMORY) == CG_UNIFIED;
    GroupLimits l = GROUP_LIMITS_NONE;
    l.memory_high = 32u << 20;
    l.oom_group = true;
    l.cpus = "0,9000";
    Group *g = make("host");
    if (v2) {
        assert_string_equal(cgroup_tree_refuses(tree, &l, &why), "cpus");
        l.cpus = NULL;
        assert_ok(group_set_limits(g, &l, &e), &e);
        char text[64];
        read_at("host", CG_MEMORY, "", "memory.high", text, sizeof text);
        assert_string_equal(text, "33554432");
        read_at("host", CG_MEMORY, "", "memory.oom.group", text, sizeof text);
        assert_string_equal(text, "1");
    } else {
        assert_string_equal(cgroup_tree_refuses(tree, &l, &why), "memory_high");
        assert_int_equal(group_set_limits(g, &l, &e), -EOPNOTSUPP);
        assert_non_null(strstr(e.msg, "memory_high cannot be held here"));
        l.memory_high = UINT64_MAX;
        assert_string_equal(cgroup_tree_refuses(tree, &l, &why), "oom_group");
        l.oom_group = false;
        assert_string_equal(cgroup_tree_refuses(tree, &l, &why), "cpus");
        l.cpus = NULL;
        l.memory_swap_max = 0;
        assert_string_equal(cgroup_tree_refuses(tree, &l, &why), "memory_swap_max");
        l.memory_max = 32u << 20;
        if (tree->memsw) {
            assert_ok(group_set_limits(g, &l, &e), &e);
            char text[64];
            read_at("host", CG_MEMORY, "memory.memsw.limit_in_bytes", "", text, sizeof text);
            assert_string_equal(text, "33554432");
            l.memory_max = 64u << 20; /* above the memsw limit of before */
            assert_ok(group_set_limits(g, &l, &e), &e);
        }
    }
    drop(g);
}

static void do_check_cpu0(void *arg)
{
    (void)arg;
    cpu_set_t set;
    _exit(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set) ? 7 : 8);
}

static void test_cpus(void **state)
{
    (void)state;
    NEEDS_TREE();
    if (tree_carrier(tree, CG_CPUSET) < 0) {
        print_message("no cpuset controller here\n");
        skip();
    }
    Error e = {0};
    Group *mods = NULL;
    assert_ok(group_ensure(tree, "pinned", &mods, &e), &e);
    Group *g = make("pinned/1");
    GroupLimits l = GROUP_LIMITS_NONE;
    l.cpus = "0";
    assert_ok(group_set_limits(g, &l, &e), &e);
    Child c = child_start(g, do_check_cpu0, NULL);
    int status = child_wait(&c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    l.cpus = NULL;
    assert_ok(group_set_limits(g, &l, &e), &e);
    wait_populated(g, 0);
    drop(g);
    group_close(mods);
    assert_ok(group_open(tree, "pinned", &mods, &e), &e); /* as a restarted daemon would */
    drop(mods);
    for (int h = 0; h < CG_N; h++)
        if (tree->fd[h] >= 0)
            assert_int_equal(faccessat(tree->fd[h], "pinned", F_OK, 0), -1);
}

static void test_cpu_max(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("cpu");
    GroupLimits l = GROUP_LIMITS_NONE;
    l.cpu_max = 20;
    assert_ok(group_set_limits(g, &l, &e), &e);
    Child c = child_start(g, do_spin, NULL);
    GroupStats a, b;
    assert_int_equal(group_read_stats(g, &a), 0);
    uint64_t t0 = now_monotonic();
    /* The window to measure over; it must not end early. */
    struct pollfd p = {.fd = c.pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 2000), 0);
    assert_int_equal(group_read_stats(g, &b), 0);
    uint64_t elapsed = now_monotonic() - t0;
    double share = (double)(b.cpu_usage_usec - a.cpu_usage_usec) * 100 / (double)elapsed;
    print_message("a spinner under cpu_max 20%% got %.1f%%, throttled for %.1f s\n", share,
                  (double)b.cpu_throttled_usec / 1e6);
    assert_true(share > 15 && share < 25);
    assert_true(b.cpu_throttled_usec != UINT64_MAX && b.cpu_throttled_usec > a.cpu_throttled_usec);
    kill_and_drop(g, &c);
}

static void do_hog(void *arg)
{
    (void)arg;
    for (;;) {
        char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED)
            _exit(3);
        for (size_t i = 0; i < 1 << 20; i += 4096)
            ((volatile char *)m)[i] = 1;
    }
}

static void test_memory_max(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("mem");
    GroupLimits l = GROUP_LIMITS_NONE;
    l.memory_max = 32u << 20;
    const char *why;
    l.memory_swap_max = 0; /* else a host with swap lets the hog live long */
    if (cgroup_tree_refuses(tree, &l, &why))
        l.memory_swap_max = UINT64_MAX;
    assert_ok(group_set_limits(g, &l, &e), &e);
    Child c = child_start(g, do_hog, NULL);
    int status = child_wait(&c);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    wait_populated(g, 0);
    GroupStats s;
    assert_int_equal(group_read_stats(g, &s), 0);
    assert_int_equal(s.memory_oom_kills, 1);
    assert_true(s.memory_peak > 30u << 20 && s.memory_peak <= 32u << 20);
    assert_true(s.memory_current < s.memory_peak);
    assert_int_equal(s.pids_current, 0);
    drop(g);
}

static void do_fork_until_refused(void *arg)
{
    int *out = arg;
    for (;;) {
        pid_t pid = fork();
        if (pid == 0)
            do_pause(NULL);
        if (pid < 0) {
            __atomic_store_n(&out[1], errno, __ATOMIC_SEQ_CST);
            _exit(0);
        }
        if (++out[0] > 100)
            _exit(1);
    }
}

static void test_pids_max(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    int *out = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Group *g = make("pids");
    GroupLimits l = GROUP_LIMITS_NONE;
    l.pids_max = 8;
    assert_ok(group_set_limits(g, &l, &e), &e);
    Child c = child_start(g, do_fork_until_refused, out);
    assert_int_equal(child_wait(&c), 0);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[1], EAGAIN);
    pid_t *pids;
    size_t n;
    assert_int_equal(group_pids(g, &pids, &n), 0);
    free(pids);
    assert_int_equal(n, 7);
    munmap(out, 4096);
    kill_and_drop(g, NULL);
}

/* Each hierarchy that has the group must name it in /proc/PID/cgroup. */
static void assert_member_everywhere(pid_t pid, const char *group)
{
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    assert_true(file_read(AT_FDCWD, path, text, sizeof text) >= 0);
    _cleanup_(freep) char *end = xasprintf("%s/%s", root_name, group);
    int found = 0, wanted = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        size_t n = strlen(line), m = strlen(end);
        found += n > m && str_equal(line + n - m, end);
    }
    for (int h = 0; h < CG_N; h++)
        wanted += tree->mount[h] && h != CG_CPUSET;
    assert_int_equal(found, wanted);
}

static void test_attach(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("att");
    Child c = child_start(g, do_pause, NULL);
    assert_member_everywhere(c.pid, "att");
    GroupStats s;
    assert_int_equal(group_read_stats(g, &s), 0);
    assert_int_equal(s.pids_current, 1);
    assert_true(s.cpu_usage_usec != UINT64_MAX && s.memory_current != UINT64_MAX);

    Group *other = make("att2");
    assert_ok(group_attach(other, c.pid, &e), &e);
    assert_member_everywhere(c.pid, "att2");
    assert_int_equal(group_populated(g), 0);
    drop(g);

    /* The way where CLONE_INTO_CGROUP does not work: "0" into every one, cgroup2's too. */
    bool into = tree->clone_into;
    tree->clone_into = false;
    Child d = child_start(other, do_pause, NULL);
    tree->clone_into = into;
    assert_member_everywhere(d.pid, "att2");
    assert_int_equal(group_kill(other), 0);
    assert_int_equal(WTERMSIG(child_wait(&d)), SIGKILL);
    kill_and_drop(other, &c);
}

static void do_daemonize(void *arg)
{
    int *ready = arg;
    for (int i = 0; i < 3; i++) {
        if (fork() != 0)
            continue;
        setsid();
        if (fork() != 0)
            _exit(0);
        char one = 1;
        if (write(ready[1], &one, 1) != 1)
            _exit(1);
        do_pause(NULL);
    }
    close(ready[1]);
    while (wait(NULL) > 0)
        ;
    do_pause(NULL);
}

static void test_signal_reaches_daemons(void **state)
{
    (void)state;
    NEEDS_TREE();
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    Group *g = make("sig");
    Child c = child_start(g, do_daemonize, ready);
    for (int i = 0; i < 3; i++) {
        struct pollfd p = {.fd = ready[0], .events = POLLIN};
        char one;
        assert_int_equal(poll(&p, 1, DEADLINE_MSEC), 1);
        assert_int_equal(read(ready[0], &one, 1), 1);
    }
    int n = group_signal(g, SIGTERM);
    assert_true(n >= 4); /* the first and three orphans; the middle ones may still be zombies */
    assert_int_equal(WTERMSIG(child_wait(&c)), SIGTERM);
    wait_populated(g, 0);
    assert_int_equal(group_signal(g, SIGTERM), 0);
    fd_close(ready[0]);
    fd_close(ready[1]);
    drop(g);
}

/* Runs from pid to pid for ever: who is signalled by a plain list of pids is mostly gone already. */
static void do_run_away(void *arg)
{
    (void)arg;
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
    }
}

static void test_signal_frozen(void **state)
{
    (void)state;
    NEEDS_TREE();
    for (int round = 0; round < 20; round++) {
        Error e = {0};
        Group *g = make("run");
        GroupLimits l = GROUP_LIMITS_NONE;
        l.pids_max = 64;
        assert_ok(group_set_limits(g, &l, &e), &e);
        Child c[4];
        for (int i = 0; i < 4; i++)
            c[i] = child_start(g, do_run_away, NULL);
        int n = group_signal(g, SIGTERM);
        assert_true(n >= 0);
        for (int i = 0; i < 4; i++)
            child_wait(&c[i]);
        wait_populated(g, 0); /* one call was enough: nobody got away */
        drop(g);
    }
}

static void do_fork_bomb(void *arg)
{
    (void)arg;
    for (;;)
        fork();
}

static void test_kill(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("bomb");
    GroupLimits l = GROUP_LIMITS_NONE;
    l.pids_max = 50;
    l.cpu_max = 50;
    assert_ok(group_set_limits(g, &l, &e), &e);
    signal(SIGTERM, SIG_IGN); /* inherited, so that it holds from the child's first instruction */
    Child c = child_start(g, do_fork_bomb, NULL);
    signal(SIGTERM, SIG_DFL);
    assert_true(group_signal(g, SIGTERM) >= 1);
    assert_int_equal(group_populated(g), 1);
    assert_int_equal(group_remove(g, &e), -EBUSY);
    uint64_t t0 = now_monotonic();
    assert_int_equal(group_kill(g), 0);
    assert_int_equal(WTERMSIG(child_wait(&c)), SIGKILL);
    wait_populated(g, 0);
    print_message("a fork bomb was gone %llu ms after group_kill\n",
                  (unsigned long long)((now_monotonic() - t0) / USEC_PER_MSEC));
    drop(g); /* at once: populated 0 is enough */
}

static void test_remove_names_hierarchy(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    int h = tree_carrier(tree, CG_MEMORY);
    Group *g = make("stray"), *home = make("home");
    Child c = child_start(home, do_pause, NULL);
    /* A stray: in one hierarchy only. */
    char pid[16];
    snprintf(pid, sizeof pid, "%d", c.pid);
    assert_int_equal(file_write(tree->fd[h], "stray/cgroup.procs", pid), 0);
    assert_int_equal(group_remove(g, &e), -EBUSY);
    assert_non_null(strstr(e.msg, hierarchy_names[h]));
    assert_non_null(strstr(e.msg, tree->dir[h]));
    assert_int_equal(group_kill(h == CG_UNIFIED ? g : home), 0);
    child_wait(&c);
    wait_populated(home, 0);
    drop(g);
    drop(home);
}

static void test_children(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g[4];
    assert_ok(group_ensure(tree, "m", &g[0], &e), &e);
    g[1] = make("m/web");
    g[2] = make("m/api");
    g[3] = make("m/web/1");
    char **names = NULL;
    assert_int_equal(group_children(tree, "m", &names), 0);
    assert_int_equal(strv_length(names), 2);
    assert_string_equal(names[0], "api");
    assert_string_equal(names[1], "web");
    strv_free(names);
    assert_int_equal(group_children(tree, "m/none", &names), -ENOENT);
    /* Processes of sub-groups count for the parents. */
    Child c = child_start(g[3], do_pause, NULL);
    assert_int_equal(group_populated(g[0]), 1);
    pid_t *pids;
    size_t n;
    assert_int_equal(group_pids(g[0], &pids, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(pids[0], c.pid);
    free(pids);
    assert_int_equal(group_signal(g[0], SIGTERM), 1);
    assert_int_equal(WTERMSIG(child_wait(&c)), SIGTERM);
    wait_populated(g[0], 0);
    for (int i = 3; i >= 0; i--)
        drop(g[i]);
}

/* A second open finds the root and the groups of the first, as after a crash. */
static void test_reopen(void **state)
{
    (void)state;
    NEEDS_TREE();
    Error e = {0};
    Group *g = make("left"), *found = NULL;
    assert_int_equal(cgroup_tree_remove(tree, &e), -EBUSY);
    assert_non_null(strstr(e.msg, root_name));
    CgroupTree *second = NULL;
    assert_ok(cgroup_tree_open(root_name, &second, &e), &e);
    assert_string_equal(cgroup_tree_root(second), cgroup_tree_root(tree));
    assert_ok(group_open(second, "left", &found, &e), &e);
    assert_int_equal(group_id(found), group_id(g));
    drop(found);
    group_close(g);
    cgroup_tree_close(second);
}

/* --- frame ---------------------------------------------------------------------------------------------------------
 */

static int setup(void **state)
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
static bool sweep(const char *path)
{
    char **names = NULL;
    bool found = false;
    if (group_children(tree, path, &names) < 0)
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
static int teardown(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_half_a_leaf),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_by_host),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_cpu_max),
        cmocka_unit_test(test_memory_max),
        cmocka_unit_test(test_pids_max),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_signal_reaches_daemons),
        cmocka_unit_test(test_signal_frozen),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_remove_names_hierarchy),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_reopen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
