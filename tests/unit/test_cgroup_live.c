/* The tree, its groups and their limits on the live kernel: hybrid or pure, whatever this host is. Needs root and a
 * writable cgroup of its own; else every test is skipped with the reason, and MUST_WORK=1 makes that a failure.
 *
 * Everything happens below `bulkhead-t<pid>` in the cgroup this program was started in. */
#include "tests/unit/cgroup_world.h"

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
    assert_true(cgroup_tree_features(tree)->clone_into);
    assert_true(str_starts(strrchr(cgroup_tree_root_path(tree), '/') + 1, root_name));
    assert_true(sizeof(struct Group) <= 200);
    const char *all[] = {"memory", "cpu", "pids"};
    for (size_t i = 0; i < ELEMENTS(all); i++)
        assert_true(tree_carrier(tree, (Hierarchy)(CG_MEMORY + i)) >= 0);
    char **names = NULL;
    assert_int_equal(cgroup_tree_children(tree, "", &names), 0);
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
    assert_int_equal(cgroup_tree_children(tree, "", &names), 0);
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
        if (tree->features.memory_swap) {
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
    double share = 0;
    bool throttled = false;
    /* Never more than it may; as much as it may as soon as the machine lets it, which may be busy. */
    for (int i = 0; i < 20 && !(share > 15 && throttled); i++) {
        assert_int_equal(group_read_stats(g, &a), 0);
        uint64_t t0 = now_monotonic();
        /* The window to measure over; it must not end early. */
        struct pollfd p = {.fd = c.pidfd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 2000), 0);
        assert_int_equal(group_read_stats(g, &b), 0);
        share = (double)(b.cpu_usage_usec - a.cpu_usage_usec) * 100 / (double)(now_monotonic() - t0);
        print_message("a spinner under cpu_max 20%% got %.1f%%, throttled for %.1f s\n", share,
                      (double)b.cpu_throttled_usec / 1e6);
        assert_true(share < 25);
        throttled = b.cpu_throttled_usec != UINT64_MAX && b.cpu_throttled_usec > a.cpu_throttled_usec;
    }
    assert_true(share > 15 && throttled);
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
    GroupStats last;
    assert_int_equal(group_read_last(g, &last), 0);
    assert_int_equal(last.memory_oom_kills, s.memory_oom_kills);
    assert_int_equal(last.memory_peak, s.memory_peak);
    assert_int_equal(last.cpu_usage_usec, s.cpu_usage_usec);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),    cmocka_unit_test(test_create),         cmocka_unit_test(test_half_a_leaf),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_limits_by_host), cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_cpu_max), cmocka_unit_test(test_memory_max),     cmocka_unit_test(test_pids_max),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
