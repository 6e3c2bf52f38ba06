/* Statistics of a group, one snapshot at a time.
 *
 * cpu.stat of cgroup2 counts usage on every host, controller or not; throttling belongs to whoever carries the cpu
 * controller. The v1 cpu.stat goes through libcgroup's statistics call; single values and cgroup2 files are read
 * directly: libcgroup takes twice the time a file, and cannot see cgroup2's cpu.stat where cpu is v1
 * (docs/cgroups.md). */
#include "cgroups/private.h"

#include <errno.h>
#include <libcgroup.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/str.h"

static uint64_t value(const Group *g, int h, const char *file)
{
    char text[64];
    uint64_t number;
    if (h < 0 || group_read_file(g, (Hierarchy)h, file, text, sizeof text) < 0)
        return UINT64_MAX;
    return str_equal(text, "max") || parse_u64(text, &number) < 0 ? UINT64_MAX : number;
}

static uint64_t keyed(const Group *g, int h, const char *file, const char *key)
{
    char text[4096];
    uint64_t number;
    if (h < 0 || group_read_file(g, (Hierarchy)h, file, text, sizeof text) < 0)
        return UINT64_MAX;
    return keyed_u64(text, key, &number) < 0 ? UINT64_MAX : number;
}

/* `throttled_time` (ns) of the v1 cpu.stat, as microseconds. */
static uint64_t throttled_v1(const Group *g)
{
    const CgroupTree *t = g->tree;
    /* libcgroup wants the path below the mount point. */
    _cleanup_(freep) char *path =
        xasprintf("%s%s%s", t->dir[CG_CPU] + strlen(t->mount[CG_CPU]), *group_path(g) ? "/" : "", group_path(g));
    void *handle = NULL;
    struct cgroup_stat stat;
    uint64_t number, ret = UINT64_MAX;
    for (int r = cgroup_read_stats_begin("cpu", path, &handle, &stat); r == 0;
         r = cgroup_read_stats_next(&handle, &stat)) {
        stat.value[strcspn(stat.value, "\n")] = '\0'; /* libcgroup leaves it in */
        if (str_equal(stat.name, "throttled_time") && parse_u64(stat.value, &number) == 0)
            ret = number / 1000;
    }
    if (handle)
        cgroup_read_stats_end(&handle);
    return ret;
}

static void read_cpu(const Group *g, GroupStats *s)
{
    char text[4096];
    int h = tree_carrier(g->tree, CG_CPU);
    if (group_read_file(g, CG_UNIFIED, "cpu.stat", text, sizeof text) >= 0) {
        keyed_u64(text, "usage_usec", &s->cpu_usage_usec);
        if (h == CG_UNIFIED)
            keyed_u64(text, "throttled_usec", &s->cpu_throttled_usec);
    }
    if (h == CG_CPU)
        s->cpu_throttled_usec = throttled_v1(g);
}

#define STATS_NONE                                                              \
    (GroupStats)                                                                \
    {                                                                           \
        UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, \
    }

static void read_marks(const Group *g, GroupStats *s)
{
    int m = tree_carrier(g->tree, CG_MEMORY);
    bool v1 = m == CG_MEMORY;
    if (g->tree->features.memory_peak)
        s->memory_peak = value(g, m, v1 ? "memory.max_usage_in_bytes" : "memory.peak");
    s->memory_oom_kills = keyed(g, m, v1 ? "memory.oom_control" : "memory.events", "oom_kill");
}

int group_read_last(const Group *g, GroupStats *ret)
{
    GroupStats s = STATS_NONE;
    s.cpu_usage_usec = keyed(g, CG_UNIFIED, "cpu.stat", "usage_usec");
    if (s.cpu_usage_usec == UINT64_MAX && group_populated(g) == -ENOENT)
        return -ENOENT;
    read_marks(g, &s);
    *ret = s;
    return 0;
}

static uint64_t memory_current(const Group *g)
{
    int m = tree_carrier(g->tree, CG_MEMORY);
    return value(g, m, m == CG_MEMORY ? "memory.usage_in_bytes" : "memory.current");
}

int group_read_usage(const Group *g, GroupStats *ret)
{
    GroupStats s = STATS_NONE;
    s.cpu_usage_usec = keyed(g, CG_UNIFIED, "cpu.stat", "usage_usec");
    if (s.cpu_usage_usec == UINT64_MAX && group_populated(g) == -ENOENT)
        return -ENOENT;
    s.memory_current = memory_current(g);
    *ret = s;
    return 0;
}

int group_read_stats(const Group *g, GroupStats *ret)
{
    GroupStats s = STATS_NONE;
    read_cpu(g, &s);
    s.memory_current = memory_current(g);
    read_marks(g, &s);
    s.pids_current = value(g, tree_carrier(g->tree, CG_PIDS), "pids.current");
    if (s.cpu_usage_usec == UINT64_MAX && group_populated(g) == -ENOENT)
        return -ENOENT;
    *ret = s;
    return 0;
}

/* The first line of a pressure file: "some avg10=1.53 avg60=…". */
static double some_avg10(const Group *g, const char *file)
{
    static const char begin[] = "some avg10=";
    char text[512], *end;
    if (group_read_file(g, CG_UNIFIED, file, text, sizeof text) < 0 || !str_starts(text, begin))
        return -1;
    double percent = strtod(text + strlen(begin), &end);
    return *end == ' ' ? percent : -1;
}

int group_read_pressure(const Group *g, GroupPressure *ret)
{
    if (!g->tree->features.pressure)
        return -ENODATA;
    *ret =
        (GroupPressure){some_avg10(g, "cpu.pressure"), some_avg10(g, "memory.pressure"), some_avg10(g, "io.pressure")};
    return 0;
}
