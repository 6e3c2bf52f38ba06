/* Who is in a group and how they go, on the live kernel: attach, signal, kill, remove, and what a restart finds. Runs
 * and skips as test_cgroup_live does. */
#include "tests/unit/cgroup_world.h"

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
    bool into = tree->features.clone_into;
    tree->features.clone_into = false;
    Child d = child_start(other, do_pause, NULL);
    tree->features.clone_into = into;
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

/* Runs from pid to pid for ever: who is signalled by a plain list of pids is mostly gone already. By the bare system
 * call: the C library's fork() blocks all signals meanwhile (glibc 2.41), and a process that is signalled there has its
 * child first, which nobody has told. */
static void do_run_away(void *arg)
{
    (void)arg;
    for (;;) {
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
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
    assert_int_equal(cgroup_tree_children(tree, "m", &names), 0);
    assert_int_equal(strv_length(names), 2);
    assert_string_equal(names[0], "api");
    assert_string_equal(names[1], "web");
    strv_free(names);
    assert_int_equal(cgroup_tree_children(tree, "m/none", &names), -ENOENT);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_signal_reaches_daemons),
        cmocka_unit_test(test_signal_frozen),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_remove_names_hierarchy),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_reopen),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
