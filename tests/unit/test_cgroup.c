/* The pure half of cgroups/: what the texts of odd hosts mean, how limits convert, what is refused. No test here needs
 * a cgroup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "cgroups/private.h"

#define MOUNT(n, root, point, type) n " 31 0:" n " " root " " point " rw,nosuid - " type " cgroup rw\n"

static const char *const hybrid_cgroup = "9:name=systemd:/\n8:pids:/\n7:blkio:/\n4:memory:/outer/abc\n3:cpuset:/\n"
                                         "2:cpuacct:/\n1:cpu:/\n0::/\n";
static const char *const hybrid_mounts =
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" MOUNT("32", "/", "/sys/fs/cgroup/cpu", "cgroup")
        MOUNT("34", "/", "/sys/fs/cgroup/cpuset", "cgroup") MOUNT("35", "/", "/sys/fs/cgroup/memory", "cgroup")
            MOUNT("39", "/", "/sys/fs/cgroup/pids", "cgroup") MOUNT("41", "/", "/sys/fs/cgroup/unified", "cgroup2");
static const HostController hybrid_controllers[] = {
    {"cpu", "/sys/fs/cgroup/cpu"},   {"cpuacct", "/sys/fs/cgroup/cpuacct"}, {"cpuset", "/sys/fs/cgroup/cpuset"},
    {"pids", "/sys/fs/cgroup/pids"}, {"memory", "/sys/fs/cgroup/memory"},   {"hugetlb", "/sys/fs/cgroup/unified"},
};
static const HostController pure_controllers[] = {
    {"cpuset", "/sys/fs/cgroup"}, {"cpu", "/sys/fs/cgroup"},  {"io", "/sys/fs/cgroup"},
    {"memory", "/sys/fs/cgroup"}, {"pids", "/sys/fs/cgroup"},
};

static CgroupHost *built(const char *own, const char *mounts, const HostController *c, size_t n)
{
    CgroupHost *h = NULL;
    Error e = {0};
    if (cgroup_host_build(own, mounts, c, n, &h, &e) < 0)
        fail_msg("%s", error_message(&e));
    return h;
}

/* The error must say what is wrong and what would be right. */
static void refused(const char *own, const char *mounts, const HostController *c, size_t n, int code, const char *words)
{
    CgroupHost *h = NULL;
    Error e = {0};
    assert_int_equal(cgroup_host_build(own, mounts, c, n, &h, &e), code);
    assert_null(h);
    if (!strstr(e.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
}

static void test_host_hybrid(void **state)
{
    (void)state;
    _cleanup_(cgroup_host_freep) CgroupHost *h =
        built(hybrid_cgroup, hybrid_mounts, hybrid_controllers, ELEMENTS(hybrid_controllers));
    assert_string_equal(h->h[CG_UNIFIED].mount, "/sys/fs/cgroup/unified");
    assert_string_equal(h->h[CG_UNIFIED].own, "");
    assert_string_equal(h->own_path, "");
    assert_string_equal(h->h[CG_MEMORY].mount, "/sys/fs/cgroup/memory");
    assert_string_equal(h->h[CG_MEMORY].own, "/outer/abc");
    assert_string_equal(h->h[CG_CPU].mount, "/sys/fs/cgroup/cpu");
    assert_string_equal(h->h[CG_PIDS].mount, "/sys/fs/cgroup/pids");
    assert_string_equal(h->h[CG_CPUSET].own, "");
    assert_int_equal(h->unified, 0);
}

static void test_host_pure(void **state)
{
    (void)state;
    _cleanup_(cgroup_host_freep) CgroupHost *h =
        built("0::/system.slice/bulkheadd.service\n", MOUNT("30", "/", "/sys/fs/cgroup", "cgroup2"), pure_controllers,
              ELEMENTS(pure_controllers));
    assert_string_equal(h->h[CG_UNIFIED].mount, "/sys/fs/cgroup");
    assert_string_equal(h->h[CG_UNIFIED].own, "/system.slice/bulkheadd.service");
    assert_string_equal(h->own_path, "/system.slice/bulkheadd.service");
    assert_int_equal(h->unified, 1u << CG_MEMORY | 1u << CG_CPU | 1u << CG_PIDS | 1u << CG_CPUSET);
    for (int i = CG_MEMORY; i < CG_N; i++)
        assert_null(h->h[i].mount);
}

/* systemd's hybrid: names joined by commas, cgroup2 without any controller. */
/* Where a cgroup by its path is to be found. */
static void test_host_directory(void **state)
{
    (void)state;
    static const struct {
        const char *own, *root, *path, *directory;
    } cases[] = {
        {"/", "/", "/system.slice/x.scope", "/sys/fs/cgroup/system.slice/x.scope"},
        {"/system.slice/a.service", "/", "/system.slice/x.scope", "/sys/fs/cgroup/system.slice/x.scope"},
        {"/pod/a", "/pod", "/pod/x.scope", "/sys/fs/cgroup/x.scope"}, /* a mount that shows a part */
        {"/pod", "/pod", "/pod/x.scope", "/sys/fs/cgroup/x.scope"},
        {"/pod/a", "/pod", "/x.scope", NULL},
        {"/pod/a", "/pod", "/podium/x.scope", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *own = xasprintf("0::%s\n", cases[i].own);
        _cleanup_(freep) char *mounts =
            xasprintf("30 31 0:30 %s /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n", cases[i].root);
        _cleanup_(cgroup_host_freep) CgroupHost *h = built(own, mounts, pure_controllers, ELEMENTS(pure_controllers));
        _cleanup_(freep) char *directory = cgroup_host_directory(h, cases[i].path);
        if (!str_equal(directory, cases[i].directory))
            fail_msg("case %zu: %s, not %s", i, directory ? directory : "none", cases[i].directory);
    }
}

static void test_host_comounted(void **state)
{
    (void)state;
    const HostController c[] = {{"cpu", "/sys/fs/cgroup/cpu,cpuacct"},
                                {"cpuacct", "/sys/fs/cgroup/cpu,cpuacct"},
                                {"memory", "/sys/fs/cgroup/memory"}};
    const char *mounts = MOUNT("1", "/", "/sys/fs/cgroup/unified", "cgroup2")
        MOUNT("2", "/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup") MOUNT("3", "/", "/sys/fs/cgroup/memory", "cgroup");
    const char *own = "5:cpu,cpuacct:/user.slice\n4:memory:/user.slice\n1:name=systemd:/user.slice/s\n0::/user.slice/s";
    _cleanup_(cgroup_host_freep) CgroupHost *h = built(own, mounts, c, ELEMENTS(c));
    assert_string_equal(h->h[CG_CPU].own, "/user.slice");
    assert_string_equal(h->h[CG_UNIFIED].own, "/user.slice/s");
    assert_null(h->h[CG_PIDS].mount);

    const HostController both[] = {{"cpu", "/cg/both"}, {"memory", "/cg/both"}};
    refused("5:cpu,memory:/\n0::/\n", MOUNT("1", "/", "/cg/u", "cgroup2") MOUNT("2", "/", "/cg/both", "cgroup"), both,
            2, -EOPNOTSUPP, "memory and cpu share the hierarchy /cg/both: mount each controller on its own");
}

/* A container without a cgroup namespace: the mount shows its own sub-tree as its root. */
static void test_host_bind_mount(void **state)
{
    (void)state;
    const HostController c[] = {{"memory", "/sys/fs/cgroup/memory"}};
    const char *mounts = MOUNT("1", "/docker/f00", "/sys/fs/cgroup/unified", "cgroup2")
        MOUNT("2", "/docker/f00", "/sys/fs/cgroup/memory", "cgroup");
    _cleanup_(cgroup_host_freep) CgroupHost *h = built("2:memory:/docker/f00/in\n0::/docker/f00\n", mounts, c, 1);
    assert_string_equal(h->h[CG_UNIFIED].own, "");
    assert_string_equal(h->own_path, "/docker/f00");
    assert_string_equal(h->h[CG_MEMORY].own, "/in");
    /* "/docker/f00" is not above "/docker/f00d". */
    refused("2:memory:/docker/f00d\n0::/docker/f00\n", mounts, c, 1, -ENOENT,
            "own memory cgroup /docker/f00d is not visible below /sys/fs/cgroup/memory, which shows /docker/f00");
}

static void test_host_odd(void **state)
{
    (void)state;
    const char *pure = MOUNT("30", "/", "/sys/fs/cgroup", "cgroup2");
    const char *legacy = MOUNT("2", "/", "/sys/fs/cgroup/memory", "cgroup");
    const HostController memory[] = {{"memory", "/sys/fs/cgroup/memory"}};
    refused("2:memory:/\n", legacy, memory, 1, -ENOENT, "no cgroup2 mount shows the own cgroup: mount one (mount -t");
    refused("0::/x\n", "", NULL, 0, -ENOENT, "no cgroup2 mount shows the own cgroup /x");
    refused("", "", NULL, 0, -ENOENT, "no cgroup2 mount");
    refused("garbage\n0:x\n:::\n", pure, NULL, 0, -ENOENT, "no cgroup2 mount");
    refused("0::/../other\n", pure, NULL, 0, -ENOENT, "outside this cgroup namespace");
    refused("0::/\n", pure, memory, 1, -ENOENT, "but /proc/self/mountinfo does not show it");
    _cleanup_(freep) char *both = xasprintf("%s%s", pure, legacy);
    refused("0::/\n", both, memory, 1, -ENOENT, "but /proc/self/cgroup does not show it");

    /* A blank in a path, and a path with a colon in it. */
    _cleanup_(cgroup_host_freep) CgroupHost *h =
        built("0::/a:b/c d\n", MOUNT("30", "/", "/my\\040cgroup\\134", "cgroup2"), NULL, 0);
    assert_string_equal(h->h[CG_UNIFIED].mount, "/my cgroup\\");
    assert_string_equal(h->h[CG_UNIFIED].own, "/a:b/c d");

    /* Mounted over: what lies below is not to be seen; optional fields are skipped. */
    cgroup_host_free(h);
    h = built("0::/x\n",
              MOUNT("1", "/", "/cg", "cgroup2") "2 1 0:2 / /cg rw shared:3 master:4 - cgroup none rw\n"
                                                "3 1 0:3 / /other rw shared:9 propagate_from:2 - cgroup2 none rw\n",
              NULL, 0);
    assert_string_equal(h->h[CG_UNIFIED].mount, "/other");
}

static void test_cpus(void **state)
{
    (void)state;
    CpuSet a, b;
    assert_int_equal(cpus_parse("0-2,65", &a), 0);
    assert_int_equal(a.bits[0], 7);
    assert_int_equal(a.bits[1], 2);
    assert_int_equal(cpus_parse("0,1,2,65,1-2", &b), 0);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(cpus_parse("", &b), 0);
    assert_true(cpus_within(&b, &a));
    assert_false(cpus_within(&a, &b));
    assert_int_equal(cpus_parse("8191", &b), 0);
    assert_int_equal(cpus_parse("8192", &b), -ERANGE);
    assert_int_equal(cpus_parse("99999999999999999999999", &b), -ERANGE);
    static const char *const bad[] = {"a", "-1", "1-", "2-1", "1,", ",1", "1 2", " 1", "1-2-3", "0x1", "1;"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (cpus_parse(bad[i], &b) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_conversions(void **state)
{
    (void)state;
    assert_int_equal(limit_quota(20), 20000);
    assert_int_equal(limit_quota(1), 1000); /* the kernel's least */
    assert_int_equal(limit_quota(1000000), 1000000000);
    for (uint64_t p = 1; p <= 10000; p++)
        assert_int_equal(limit_percent(limit_quota(p), CPU_PERIOD_USEC), p);
    assert_int_equal(limit_percent(1, 0), 0);

    assert_int_equal(limit_shares(100), 1024);
    assert_int_equal(limit_shares(1), 10);
    assert_int_equal(limit_shares(10000), 102400);
    assert_int_equal(limit_shares(0), 2);
    for (uint64_t w = 1; w <= 10000; w++)
        assert_int_equal(limit_weight(limit_shares(w)), w);
    assert_int_equal(limit_weight(262144), 10000);
    assert_int_equal(limit_weight(0), 1);

    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), none = UINT64_MAX;
    assert_true(limit_same_bytes(64 * page, 64 * page));
    assert_true(limit_same_bytes(64 * page + page - 1, 64 * page));
    assert_false(limit_same_bytes(64 * page, 65 * page));
    assert_false(limit_same_bytes(64 * page, 63 * page));
    assert_false(limit_same_bytes(64 * page, none));
    assert_true(limit_same_bytes(0, 0));
    assert_true(limit_same_bytes(none, none));
    assert_true(limit_same_bytes(none, (uint64_t)INT64_MAX - 4095)); /* as v1 writes it */
    assert_false(limit_same_bytes(none, 64 * page));
}

/* Which key is refused, and that the sentence says what would be right. */
static void expect(const CgroupTree *t, const GroupLimits *l, const char *key, const char *words)
{
    const char *why = "unset";
    const char *got = cgroup_tree_refuses(t, l, &why);
    if (!key) {
        if (got)
            fail_msg("%s was refused: %s", got, why);
        assert_null(why);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, key);
    if (!strstr(why, words))
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    assert_string_equal(cgroup_tree_refuses(t, l, NULL), key);
}

static GroupLimits scratch;
/* LIMITS(scratch.memory_max = 1, scratch.oom_group = true): these, and none else. */
#define LIMITS(...) (scratch = GROUP_LIMITS_NONE, __VA_ARGS__, &scratch)

static void test_refuses_v1(void **state)
{
    (void)state;
    CgroupTree t = {.mount = {"/u", "/m", "/c", "/p", NULL}};
    expect(&t, &GROUP_LIMITS_NONE, NULL, NULL);
    expect(&t,
           LIMITS(scratch.cpu_max = 20, scratch.cpu_weight = 100, scratch.memory_max = 1 << 20, scratch.pids_max = 5),
           NULL, NULL);
    expect(&t, LIMITS(scratch.memory_high = 1), "memory_high", "use memory_max");
    expect(&t, LIMITS(scratch.oom_group = true), "oom_group", "leave it no");
    expect(&t, LIMITS(scratch.memory_swap_max = 0, scratch.memory_max = 1 << 20), "memory_swap_max", "swapaccount=1");
    t.features.memory_swap = true;
    expect(&t, LIMITS(scratch.memory_swap_max = 0, scratch.memory_max = 1 << 20), NULL, NULL);
    expect(&t, LIMITS(scratch.memory_swap_max = 0), "memory_swap_max", "set memory_max too");
    expect(&t, LIMITS(scratch.cpus = "0"), "cpus", "no cpuset controller");
    expect(&t, LIMITS(scratch.cpu_max = 0), "cpu_max", "1%");
    expect(&t, LIMITS(scratch.cpu_max = 1000001), "cpu_max", "infinity");
    expect(&t, LIMITS(scratch.cpu_weight = 10001), "cpu_weight", "1 to 10000");

    /* One after the other, as a caller lists them. */
    GroupLimits l = *LIMITS(scratch.memory_high = 1, scratch.oom_group = true, scratch.cpus = "0");
    expect(&t, &l, "memory_high", "v1");
    l.memory_high = UINT64_MAX;
    expect(&t, &l, "oom_group", "v1");
    l.oom_group = false;
    expect(&t, &l, "cpus", "delegate");
}

static void test_refuses_v2(void **state)
{
    (void)state;
    CgroupTree t = {.mount = {"/u"}, .unified = 1u << CG_MEMORY | 1u << CG_CPU | 1u << CG_PIDS};
    /* What the kernel was built without. */
    expect(&t, LIMITS(scratch.memory_high = 1), "memory_high", "no memory.high here");
    expect(&t, LIMITS(scratch.oom_group = true), "oom_group", "no memory.oom.group here");
    expect(&t, LIMITS(scratch.memory_swap_max = 1), "memory_swap_max", "swapaccount=1");
    t.features.memory_high = t.features.memory_swap = true;
    expect(&t,
           LIMITS(scratch.memory_high = 1, scratch.memory_max = 2, scratch.memory_swap_max = 0,
                  scratch.oom_group = true, scratch.cpu_max = 1, scratch.cpu_weight = 1, scratch.pids_max = 1),
           NULL, NULL);
    expect(&t, LIMITS(scratch.cpus = "0"), "cpus", "delegate");
    t.unified = 0; /* nothing was delegated */
    expect(&t, &GROUP_LIMITS_NONE, NULL, NULL);
    expect(&t, LIMITS(scratch.memory_max = 1), "memory_max", "cgroup_enable=memory");
    expect(&t, LIMITS(scratch.memory_high = 1), "memory_high", "delegate");
    expect(&t, LIMITS(scratch.memory_swap_max = 1), "memory_swap_max", "delegate");
    expect(&t, LIMITS(scratch.oom_group = true), "oom_group", "delegate");
    expect(&t, LIMITS(scratch.cpu_max = 5), "cpu_max", "delegate");
    expect(&t, LIMITS(scratch.cpu_weight = 5), "cpu_weight", "delegate");
    expect(&t, LIMITS(scratch.pids_max = 5), "pids_max", "delegate");
}

/* Named one by one and taken out, as for a host without a tree: each once, then none. */
static void test_limits_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {"cpu_max",     "cpu_weight",      "cpus",      "memory_max",
                                       "memory_high", "memory_swap_max", "oom_group", "pids_max"};
    GroupLimits l =
        *LIMITS(scratch.cpu_max = 1, scratch.cpu_weight = 1, scratch.cpus = "0", scratch.memory_max = 1,
                scratch.memory_high = 1, scratch.memory_swap_max = 1, scratch.oom_group = true, scratch.pids_max = 1);
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        assert_string_equal(group_limits_first(&l), keys[i]);
        group_limits_clear(&l, keys[i]);
    }
    assert_null(group_limits_first(&l));
}

static void test_refuses_cpus(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-cgroup-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_(freep) char *file = xasprintf("%s/cpuset.cpus.effective", dir);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    fputs("0-3,8\n", f);
    fclose(f);
    CgroupTree t = {.mount = {"/u"}, .own_dir = {dir}, .unified = 1u << CG_CPUSET};
    expect(&t, LIMITS(scratch.cpus = "0,2-3,8"), NULL, NULL);
    expect(&t, LIMITS(scratch.cpus = "4"), "cpus", "CPUs that the daemon's cgroup has");
    expect(&t, LIMITS(scratch.cpus = "0-4"), "cpus", "as in 0-3,6");
    expect(&t, LIMITS(scratch.cpus = "many"), "cpus", "as in 0-3,6");
    expect(&t, LIMITS(scratch.cpus = ""), "cpus", "as in 0-3,6");
    unlink(file);
    rmdir(dir);
}

/* tree_open_host on plain directories: names are checked, and what was made for a tree that fails is unmade. */
static void test_open_unmakes(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-cgroup-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CgroupHost host = {.h = {{dir, (char *)""}, {(char *)"/nowhere", (char *)"/x"}}, .own_path = (char *)""};
    CgroupTree *t = NULL;
    Error e = {0};
    static const char *const bad[] = {"", ".", "..", ".x", "a/b"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(root_open_host(&host, bad[i], &t, &e), -EINVAL);
    assert_int_equal(root_open_host(&host, "root", &t, &e), -ENOENT);
    assert_null(t);
    assert_non_null(strstr(e.msg, "cannot make the cgroup /nowhere/x/root"));
    _cleanup_(freep) char *made = xasprintf("%s/root", dir);
    assert_int_equal(access(made, F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_hybrid),    cmocka_unit_test(test_host_pure),
        cmocka_unit_test(test_host_comounted), cmocka_unit_test(test_host_bind_mount),
        cmocka_unit_test(test_host_odd),       cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_conversions),    cmocka_unit_test(test_refuses_v1),
        cmocka_unit_test(test_refuses_v2),     cmocka_unit_test(test_limits_by_name),
        cmocka_unit_test(test_refuses_cpus),   cmocka_unit_test(test_open_unmakes),
        cmocka_unit_test(test_host_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
