/* Budget: sums and words, and the host's capacity read from made-up roots: cgroup v1, v2, hybrid, containers. */
#include "tests/unit/plan_world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "supervisor/plan/budget.h"

#define GIB (1ull << 30)

static ModulePolicy *limited(World *w, const char *name, bool required, uint64_t memory, uint64_t pids)
{
    ModulePolicy *m = world_add(w, name, NULL, NULL, NULL);
    m->required = required;
    m->limits.memory_max = memory;
    m->limits.pids_max = pids;
    return m;
}

static void refused(const World *w, HostCapacity host, const char *message)
{
    Error e = {0};
    assert_int_equal(budget_check(&w->policy, &host, &e), -E2BIG);
    assert_int_equal(e.code, -E2BIG);
    assert_string_equal(e.msg, message);
    assert_int_equal(budget_check(&w->policy, &host, NULL), -E2BIG);
}

static void fits(const World *w, HostCapacity host)
{
    Error e = {0};
    assert_int_equal(budget_check(&w->policy, &host, &e), 0);
    assert_int_equal(e.code, 0);
}

static void nothing_fits_anywhere(void **state)
{
    (void)state;
    const World w = {0};
    fits(&w, (HostCapacity){0});
}

static void memory(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    limited(&w, "cache", true, 32 * GIB, UINT64_MAX);
    limited(&w, "db", true, 64 * GIB, UINT64_MAX);
    fits(&w, (HostCapacity){.memory = 96 * GIB});
    refused(
        &w, (HostCapacity){.memory = 24 * GIB - 600 * (GIB >> 10)},
        "required modules may use 96G of memory (largest: db 64G), the host has 23.4G: lower memory_max or required");
    refused(&w, (HostCapacity){.memory = 96 * GIB - 1},
            "required modules may use 103079215104 bytes of memory (largest: db 64G), the host has 103079215103 bytes: "
            "lower memory_max or required");
}

static void pids(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    limited(&w, "a", true, UINT64_MAX, 20000);
    limited(&w, "b", true, UINT64_MAX, 20000); /* of equals the first is named */
    fits(&w, (HostCapacity){.pids = 40000});
    refused(
        &w, (HostCapacity){.pids = 39999},
        "required modules may have 40000 threads (largest: a 20000), the host has 39999: lower pids_max or required");
}

static void what_does_not_count(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    limited(&w, "optional", false, 500 * GIB, 1 << 30);
    limited(&w, "unlimited", true, UINT64_MAX, UINT64_MAX);
    ModulePolicy *busy = limited(&w, "busy", true, GIB, 10);
    busy->limits.cpu_max = 100000;
    fits(&w, (HostCapacity){.memory = GIB, .pids = 10});
}

static void sums_do_not_wrap(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    limited(&w, "a", true, UINT64_MAX - 1, 1);
    limited(&w, "b", true, UINT64_MAX - 1, 1);
    limited(&w, "c", true, 2 * GIB, 1);
    Error e = {0};
    assert_int_equal(budget_check(&w.policy, &(HostCapacity){.memory = 64 * GIB, .pids = 9}, &e), -E2BIG);
    assert_non_null(strstr(e.msg, "largest: a "));
}

/* --- roots ---------------------------------------------------------------------------------------------------------
 */

typedef struct Root {
    char path[64];
} Root;

static void root_make(Root *r)
{
    snprintf(r->path, sizeof r->path, "/tmp/bulkhead-budget-XXXXXX");
    assert_non_null(mkdtemp(r->path));
}

static void root_done(Root *r)
{
    assert_int_equal(tree_remove(AT_FDCWD, r->path), 0);
}

#define _cleanup_root_ _cleanup_(root_done)

static void root_write(const Root *r, const char *path, const char *text)
{
    _cleanup_(freep) char *full = xasprintf("%s%s", r->path, path);
    for (char *slash = full + strlen(r->path) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    _cleanup_fd_ int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

/* 8 GiB and 32768 pids; a cgroup table and mounts as given. */
static void root_host(const Root *r, const char *cgroup, const char *mountinfo)
{
    root_write(r, "/proc/meminfo", "MemFree:  12 kB\nMemTotal:        8388608 kB\nMemAvailable: 3 kB\n");
    root_write(r, "/proc/sys/kernel/pid_max", "32768\n");
    if (cgroup)
        root_write(r, "/proc/self/cgroup", cgroup);
    if (mountinfo)
        root_write(r, "/proc/self/mountinfo", mountinfo);
}

static void assert_memory(const Root *r, uint64_t expected)
{
    HostCapacity host = {0};
    assert_int_equal(budget_host_at(r->path, &host), 0);
    assert_int_equal(host.memory, expected);
    assert_int_equal(host.pids, 32768);
}

#define V2_MOUNT "30 1 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define HYBRID_MOUNTS                                                        \
    "20 1 0:20 / /proc rw - proc proc rw\n"                                  \
    "31 1 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"             \
    "32 1 0:29 / /sys/fs/cgroup/memory rw - cgroup none rw,hugetlb,memory\n" \
    "33 1 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static void without_cgroups(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    root_host(&r, NULL, NULL);
    assert_memory(&r, 8 * GIB);
    root_host(&r, "0::/a\n", NULL);
    assert_memory(&r, 8 * GIB);
    root_host(&r, "0::/a\n", "20 1 0:20 / /proc rw - proc proc rw\nbroken\n1 2 - x\n - \n");
    assert_memory(&r, 8 * GIB);
    root_host(&r, "", V2_MOUNT);
    assert_memory(&r, 8 * GIB);
    root_host(&r, "nonsense\n\n:\n", V2_MOUNT);
    assert_memory(&r, 8 * GIB);
}

static void v2_own_and_ancestors(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    root_host(&r, "0::/user/a/b\n", V2_MOUNT);
    assert_memory(&r, 8 * GIB); /* no controller anywhere: no files */
    root_write(&r, "/sys/fs/cgroup/user/a/b/memory.max", "max\n");
    assert_memory(&r, 8 * GIB);
    root_write(&r, "/sys/fs/cgroup/user/a/b/memory.max", "2147483648\n");
    assert_memory(&r, 2 * GIB);
    root_write(&r, "/sys/fs/cgroup/user/a/memory.max", "4294967296\n");
    assert_memory(&r, 2 * GIB);
    root_write(&r, "/sys/fs/cgroup/user/memory.max", "1073741824\n");
    assert_memory(&r, GIB);
    root_write(&r, "/sys/fs/cgroup/memory.max", "536870912\n"); /* the top of a cgroup namespace has one */
    assert_memory(&r, GIB / 2);
    root_write(&r, "/sys/fs/cgroup/user/other/memory.max", "1\n"); /* a neighbour's is not ours */
    assert_memory(&r, GIB / 2);
    root_host(&r, "0::/\n", V2_MOUNT);
    root_write(&r, "/sys/fs/cgroup/memory.max", "99999999999999\n"); /* more than there is */
    assert_memory(&r, 8 * GIB);
    root_write(&r, "/sys/fs/cgroup/memory.max", "3221225472\n");
    assert_memory(&r, 3 * GIB);
}

static void under_systemd_the_slice_counts(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    root_host(&r, "0::/system.slice/bulkhead.service\n", V2_MOUNT);
    root_write(&r, "/sys/fs/cgroup/system.slice/bulkhead.service/memory.max", "1073741824\n");
    assert_memory(&r, GIB);
    root_write(&r, "/run/systemd/system/x", "");
    assert_memory(&r, 8 * GIB); /* the unit's own limit is not the modules' */
    root_write(&r, "/sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
    assert_memory(&r, 2 * GIB);
    root_host(&r, "0::/user.slice/user-0.slice/session-1.scope\n", V2_MOUNT); /* started by hand */
    root_write(&r, "/sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
    assert_memory(&r, 2 * GIB);
}

static void v1_and_hybrid(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    root_host(&r, "5:cpu:/x\n4:hugetlb,memory:/p/q\n0::/u\n", HYBRID_MOUNTS);
    root_write(&r, "/sys/fs/cgroup/memory/p/q/memory.limit_in_bytes", "9223372036854771712\n"); /* v1's "none" */
    assert_memory(&r, 8 * GIB);
    root_write(&r, "/sys/fs/cgroup/memory/p/q/memory.limit_in_bytes", "3221225472\n");
    root_write(&r, "/sys/fs/cgroup/cpu/x/memory.limit_in_bytes", "1\n"); /* the wrong hierarchy */
    assert_memory(&r, 3 * GIB);
    root_write(&r, "/sys/fs/cgroup/memory/p/memory.limit_in_bytes", "1073741824\n");
    assert_memory(&r, GIB);
    root_write(&r, "/sys/fs/cgroup/unified/u/memory.max", "536870912\n");
    assert_memory(&r, GIB / 2);
}

static void in_containers(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    const char *part = "30 1 0:27 /docker/id /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    root_host(&r, "0::/docker/id/app\n", part);
    root_write(&r, "/sys/fs/cgroup/memory.max", "4294967296\n");
    assert_memory(&r, 4 * GIB);
    root_write(&r, "/sys/fs/cgroup/app/memory.max", "1073741824\n");
    assert_memory(&r, GIB);
    root_host(&r, "0::/docker/id\n", part);
    assert_memory(&r, 4 * GIB);
    root_host(&r, "0::/docker/idem\n", part); /* a sibling whose name only begins alike: seen at the top alone */
    root_write(&r, "/sys/fs/cgroup/em/memory.max", "1\n");
    assert_memory(&r, 4 * GIB);
    root_host(&r, "0::/app\n", "30 1 0:27 / /mnt/a\\040b\\134c rw - cgroup2 cgroup rw\n"); /* blank and backslash */
    root_write(&r, "/mnt/a b\\c/app/memory.max", "2147483648\n");
    assert_memory(&r, 2 * GIB);
}

static void proc_cannot_tell(void **state)
{
    (void)state;
    _cleanup_root_ Root r;
    root_make(&r);
    HostCapacity host = {.memory = 7, .pids = 7};
    assert_int_equal(budget_host_at(r.path, &host), -ENOENT);
    const char *const bad[] = {"", "MemFree: 5 kB\n", "MemTotal: many kB\n", "MemTotal: 0 kB\n"};
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        root_write(&r, "/proc/meminfo", bad[i]);
        assert_int_equal(budget_host_at(r.path, &host), -EBADMSG);
    }
    root_write(&r, "/proc/meminfo", "MemTotal: 5 kB\n");
    assert_int_equal(budget_host_at(r.path, &host), -ENOENT); /* no pid_max */
    root_write(&r, "/proc/sys/kernel/pid_max", "x\n");
    assert_int_equal(budget_host_at(r.path, &host), -EINVAL);
    assert_int_equal(host.memory, 7); /* outputs untouched on failure */
    assert_int_equal(host.pids, 7);
}

static void this_machine(void **state)
{
    (void)state;
    HostCapacity host = {0};
    assert_int_equal(budget_host(&host), 0);
    struct sysinfo info;
    assert_int_equal(sysinfo(&info), 0);
    assert_in_range(host.memory, 1 << 20, (uint64_t)info.totalram * info.mem_unit);
    char text[32];
    assert_true(file_read(AT_FDCWD, "/proc/sys/kernel/pid_max", text, sizeof text) > 0);
    assert_int_equal(host.pids, strtoull(text, NULL, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_fits_anywhere),
        cmocka_unit_test(memory),
        cmocka_unit_test(pids),
        cmocka_unit_test(what_does_not_count),
        cmocka_unit_test(sums_do_not_wrap),
        cmocka_unit_test(without_cgroups),
        cmocka_unit_test(v2_own_and_ancestors),
        cmocka_unit_test(v1_and_hybrid),
        cmocka_unit_test(in_containers),
        cmocka_unit_test(proc_cannot_tell),
        cmocka_unit_test(under_systemd_the_slice_counts),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
