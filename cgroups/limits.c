/* Limits: what the policy says, in the words of cgroup2 or of v1, written and read back.
 *
 * Each limit is one write and one read on one descriptor. What comes back is compared with what was asked for, since
 * the kernel rounds and, for cpusets on cgroup2, silently takes what it cannot give. On v1 (per controller, not per
 * host) memory_high and oom_group have no file, so cgroup_tree_refuses names them before anything is made;
 * memory_swap_max is held as a bound on memory and swap together (memory.memsw), which needs memory_max. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define NONE UINT64_MAX
/* v1 writes "no limit" as the largest page count in bytes; anything near it is no limit. */
#define V1_NO_LIMIT ((uint64_t)INT64_MAX - (1u << 20))

/* --- pure ----------------------------------------------------------------------------------------------------------
 */

static int cpu_number(const char **p, unsigned *ret)
{
    if (**p < '0' || **p > '9')
        return -EINVAL;
    char *end;
    unsigned long n = strtoul(*p, &end, 10);
    if (n >= CPUS_MAX)
        return -ERANGE;
    *p = end;
    *ret = (unsigned)n;
    return 0;
}

int cpus_parse(const char *list, CpuSet *ret)
{
    CpuSet set = {0};
    const char *p = list;
    while (*p) {
        unsigned from = 0, to = 0;
        int r = cpu_number(&p, &from);
        if (r < 0)
            return r;
        to = from;
        if (*p == '-') {
            p++;
            r = cpu_number(&p, &to);
        }
        if (r < 0)
            return r;
        if (to < from || (*p && *p != ',') || (*p == ',' && !p[1]))
            return -EINVAL;
        for (unsigned i = from; i <= to; i++)
            set.bits[i / 64] |= 1ull << (i % 64);
        p += *p == ',';
    }
    *ret = set;
    return 0;
}

bool cpus_within(const CpuSet *inner, const CpuSet *outer)
{
    for (size_t i = 0; i < ELEMENTS(inner->bits); i++)
        if (inner->bits[i] & ~outer->bits[i])
            return false;
    return true;
}

uint64_t limit_shares(uint64_t weight)
{
    return MAX2(weight * 1024 / 100, (uint64_t)2); /* 2 is the kernel's least */
}

uint64_t limit_weight(uint64_t shares)
{
    /* Rounded up, so that limit_weight(limit_shares(w)) is w again. */
    return MIN2(MAX2((shares * 100 + 1023) / 1024, (uint64_t)1), (uint64_t)10000);
}

uint64_t limit_quota(uint64_t percent)
{
    return percent * CPU_PERIOD_USEC / 100;
}

uint64_t limit_percent(uint64_t quota, uint64_t period)
{
    return period ? quota * 100 / period : 0;
}

bool limit_same_bytes(uint64_t wanted, uint64_t got)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (wanted == NONE || wanted >= V1_NO_LIMIT)
        return got >= V1_NO_LIMIT;
    return got == wanted - wanted % page;
}

/* --- what the host cannot hold -------------------------------------------------------------------------------------
 */

static bool cpus_here(const CgroupTree *t, const char *list)
{
    CpuSet wanted, online;
    char text[4096];
    int h = tree_carrier(t, CG_CPUSET);
    const char *file = h == CG_UNIFIED ? "cpuset.cpus.effective" : "cpuset.effective_cpus";
    _cleanup_(freep) char *path = xasprintf("%s/%s", t->own_dir[h], file);
    /* The real root of cgroup2 shows its cpus too (5.x and later). */
    return cpus_parse(list, &wanted) == 0 && *list && file_read(AT_FDCWD, path, text, sizeof text) >= 0 &&
           cpus_parse(text, &online) == 0 && cpus_within(&wanted, &online);
}

static const char *refuses_memory(const CgroupTree *t, const GroupLimits *l, const char **why)
{
    int h = tree_carrier(t, CG_MEMORY);
    bool any = l->memory_max != NONE || l->memory_high != NONE || l->memory_swap_max != NONE || l->oom_group;
    if (any && h < 0) {
        *why = "no memory controller is given to the daemon's cgroup: boot with cgroup_enable=memory, or delegate it";
        return l->memory_max != NONE        ? "memory_max"
               : l->memory_high != NONE     ? "memory_high"
               : l->memory_swap_max != NONE ? "memory_swap_max"
                                            : "oom_group";
    }
    const CgroupFeatures *f = &t->features;
    if (l->memory_high != NONE && !f->memory_high) {
        *why = h == CG_MEMORY
                   ? "cgroup v1 has no memory.high: use memory_max, or boot with systemd.unified_cgroup_hierarchy=1"
                   : "there is no memory.high here: use memory_max";
        return "memory_high";
    }
    if (l->memory_swap_max != NONE && !f->memory_swap) {
        *why = "swap is not accounted on this host: boot with swapaccount=1";
        return "memory_swap_max";
    }
    if (h == CG_MEMORY && l->memory_swap_max != NONE && l->memory_max == NONE) {
        *why = "cgroup v1 bounds memory and swap together: set memory_max too";
        return "memory_swap_max";
    }
    if (l->oom_group && !f->memory_high) {
        *why = h == CG_MEMORY
                   ? "cgroup v1 has no memory.oom.group: leave it no, or boot with systemd.unified_cgroup_hierarchy=1"
                   : "there is no memory.oom.group here: leave it no";
        return "oom_group";
    }
    return NULL;
}

static const char *refuses_cpu(const CgroupTree *t, const GroupLimits *l, const char **why)
{
    int h = tree_carrier(t, CG_CPU);
    if (h < 0 && (l->cpu_max != NONE || l->cpu_weight)) {
        *why = "no cpu controller is given to the daemon's cgroup: delegate it";
        return l->cpu_max != NONE ? "cpu_max" : "cpu_weight";
    }
    if (l->cpu_max == 0) {
        *why = "the kernel's least quota is 1 % of one CPU: write 1% or more";
        return "cpu_max";
    }
    if (l->cpu_max != NONE && l->cpu_max > 1000000) {
        *why = "write up to 1000000%, or infinity";
        return "cpu_max";
    }
    if (l->cpu_weight > 10000) {
        *why = "weights are 1 to 10000";
        return "cpu_weight";
    }
    return NULL;
}

const char *cgroup_tree_refuses(const CgroupTree *t, const GroupLimits *l, const char **ret_why)
{
    const char *why = NULL;
    const char *key = refuses_memory(t, l, &why);
    if (!key)
        key = refuses_cpu(t, l, &why);
    if (!key && l->pids_max != NONE && tree_carrier(t, CG_PIDS) < 0) {
        why = "no pids controller is given to the daemon's cgroup: delegate it";
        key = "pids_max";
    }
    if (!key && l->cpus && tree_carrier(t, CG_CPUSET) < 0) {
        why = "no cpuset controller is given to the daemon's cgroup: delegate it";
        key = "cpus";
    }
    if (!key && l->cpus && !cpus_here(t, l->cpus)) {
        why = "name CPUs that the daemon's cgroup has, as in 0-3,6";
        key = "cpus";
    }
    if (ret_why)
        *ret_why = why;
    return key;
}

const char *group_limits_first(const GroupLimits *l)
{
    return l->cpu_max != NONE           ? "cpu_max"
           : l->cpu_weight              ? "cpu_weight"
           : l->cpus                    ? "cpus"
           : l->memory_max != NONE      ? "memory_max"
           : l->memory_high != NONE     ? "memory_high"
           : l->memory_swap_max != NONE ? "memory_swap_max"
           : l->oom_group               ? "oom_group"
           : l->pids_max != NONE        ? "pids_max"
                                        : NULL;
}

void group_limits_clear(GroupLimits *l, const char *key)
{
    const GroupLimits none = GROUP_LIMITS_NONE;
    if (str_equal(key, "cpu_max"))
        l->cpu_max = none.cpu_max;
    else if (str_equal(key, "cpu_weight"))
        l->cpu_weight = none.cpu_weight;
    else if (str_equal(key, "cpus"))
        l->cpus = none.cpus;
    else if (str_equal(key, "memory_max"))
        l->memory_max = none.memory_max;
    else if (str_equal(key, "memory_high"))
        l->memory_high = none.memory_high;
    else if (str_equal(key, "memory_swap_max"))
        l->memory_swap_max = none.memory_swap_max;
    else if (str_equal(key, "oom_group"))
        l->oom_group = none.oom_group;
    else
        l->pids_max = none.pids_max;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

/* One write, one read, on one descriptor. The read value has no newline. */
static int write_read(const Group *g, Hierarchy h, const char *file, const char *value, char *got, size_t size,
                      Error *e)
{
    _cleanup_fd_ int fd = group_open_file(g, h, file, O_RDWR);
    const char *dir = g->tree->dir[h];
    got[0] = '\0';
    if (fd < 0)
        return error_errno(e, fd, "cannot open %s/%s/%s", dir, group_path(g), file);
    if (write(fd, value, strlen(value)) < 0) {
        int r = -errno;
        return error_set(e, r, "the kernel refuses \"%.*s\" in %s/%s/%s: %s%s", (int)strcspn(value, "\n"), value, dir,
                         group_path(g), file, strerror(-r), r == -EBUSY ? " (more than that is in use)" : "");
    }
    ssize_t n = pread(fd, got, size - 1, 0);
    if (n < 0)
        return error_errno(e, -errno, "cannot read %s/%s/%s back", dir, group_path(g), file);
    got[n] = '\0';
    got[strcspn(got, "\n")] = '\0';
    return 0;
}

static int differs(const Group *g, Hierarchy h, const char *file, const char *wanted, const char *got, Error *e)
{
    return error_set(e, -ERANGE, "%s/%s/%s holds \"%s\" after \"%s\" was written: give a value that the kernel keeps",
                     g->tree->dir[h], group_path(g), file, got, wanted);
}

/* A value that must come back as it went in. */
static int set_text(const Group *g, Hierarchy h, const char *file, const char *value, Error *e)
{
    char got[128];
    int r = write_read(g, h, file, value, got, sizeof got, e);
    if (r < 0)
        return r;
    return str_equal(value, got) ? 0 : differs(g, h, file, value, got, e);
}

static int set_number(const Group *g, Hierarchy h, const char *file, uint64_t value, Error *e)
{
    char text[24] = "max";
    if (value != NONE)
        snprintf(text, sizeof text, "%" PRIu64, value);
    return set_text(g, h, file, text, e);
}

static int set_bytes(const Group *g, Hierarchy h, const char *file, uint64_t value, Error *e)
{
    char text[24], got[64];
    /* What v1 writes for "none" is -1; both take numbers. */
    if (value == NONE || value >= V1_NO_LIMIT)
        snprintf(text, sizeof text, "%s", h == CG_UNIFIED ? "max" : "-1");
    else
        snprintf(text, sizeof text, "%" PRIu64, value);
    int r = write_read(g, h, file, text, got, sizeof got, e);
    if (r < 0)
        return r;
    uint64_t number = NONE;
    if (!str_equal(got, "max") && parse_u64(got, &number) < 0)
        return differs(g, h, file, text, got, e);
    return limit_same_bytes(value, number) ? 0 : differs(g, h, file, text, got, e);
}

static int set_memory_v1(const Group *g, const GroupLimits *l, Error *e)
{
    bool swap = g->tree->features.memory_swap && (l->memory_swap_max != NONE || !g->fresh);
    if (l->memory_max == NONE && g->fresh)
        return 0;
    /* memsw may never be below limit_in_bytes: out of the way first where an older value could be. */
    int r = swap && !g->fresh ? set_bytes(g, CG_MEMORY, "memory.memsw.limit_in_bytes", NONE, e) : 0;
    if (r >= 0)
        r = set_bytes(g, CG_MEMORY, "memory.limit_in_bytes", l->memory_max, e);
    if (r < 0 || !swap || l->memory_swap_max == NONE || l->memory_max == NONE)
        return r;
    uint64_t sum = l->memory_max + MIN2(l->memory_swap_max, NONE - l->memory_max);
    return set_bytes(g, CG_MEMORY, "memory.memsw.limit_in_bytes", sum, e);
}

static int set_memory_v2(const Group *g, const GroupLimits *l, Error *e)
{
    int r = 0;
    if (l->memory_max != NONE || !g->fresh)
        r = set_bytes(g, CG_UNIFIED, "memory.max", l->memory_max, e);
    /* What is not there was refused if it was asked for. */
    const CgroupFeatures *f = &g->tree->features;
    if (r >= 0 && f->memory_high && (l->memory_high != NONE || !g->fresh))
        r = set_bytes(g, CG_UNIFIED, "memory.high", l->memory_high, e);
    if (r >= 0 && f->memory_swap && (l->memory_swap_max != NONE || !g->fresh))
        r = set_bytes(g, CG_UNIFIED, "memory.swap.max", l->memory_swap_max, e);
    if (r >= 0 && f->memory_high && (l->oom_group || !g->fresh))
        r = set_text(g, CG_UNIFIED, "memory.oom.group", l->oom_group ? "1" : "0", e);
    return r;
}

static int set_quota_v1(const Group *g, uint64_t percent, Error *e)
{
    char period[32], text[24] = "-1";
    ssize_t n = group_read_file(g, CG_CPU, "cpu.cfs_period_us", period, sizeof period);
    if (n < 0)
        return error_errno(e, (int)n, "cannot read %s/%s/cpu.cfs_period_us", g->tree->dir[CG_CPU], group_path(g));
    int r = 0;
    /* The kernel's default today; were it another one, the quota below would mean another share. */
    if (!str_equal(period, "100000"))
        r = set_number(g, CG_CPU, "cpu.cfs_period_us", CPU_PERIOD_USEC, e);
    if (r < 0)
        return r;
    if (percent != NONE)
        snprintf(text, sizeof text, "%" PRIu64, limit_quota(percent));
    return set_text(g, CG_CPU, "cpu.cfs_quota_us", text, e);
}

static int set_cpu(const Group *g, const GroupLimits *l, Error *e)
{
    int h = tree_carrier(g->tree, CG_CPU), r = 0;
    if (h < 0)
        return 0;
    if ((l->cpu_max != NONE || !g->fresh) && h == CG_CPU) {
        r = set_quota_v1(g, l->cpu_max, e);
    } else if (l->cpu_max != NONE || !g->fresh) {
        char text[64] = "max 100000";
        if (l->cpu_max != NONE)
            snprintf(text, sizeof text, "%" PRIu64 " %llu", limit_quota(l->cpu_max), CPU_PERIOD_USEC);
        r = set_text(g, CG_UNIFIED, "cpu.max", text, e);
    }
    if (r < 0 || !l->cpu_weight)
        return r;
    return h == CG_CPU ? set_number(g, CG_CPU, "cpu.shares", limit_shares(l->cpu_weight), e)
                       : set_number(g, CG_UNIFIED, "cpu.weight", l->cpu_weight, e);
}

/* --- cpusets -------------------------------------------------------------------------------------------------------
 */

/* Fills in what a new v1 cpuset starts without, from its parent. */
static int cpuset_inherit(int parent, int fd, const char *where, Error *e)
{
    static const char *const files[] = {"cpuset.mems", "cpuset.cpus"};
    for (size_t i = 0; i < ELEMENTS(files); i++) {
        char text[4096];
        ssize_t n = file_read(fd, files[i], text, sizeof text);
        if (n > 0)
            continue; /* a leftover that is filled in already */
        n = n < 0 ? n : file_read(parent, files[i], text, sizeof text);
        int r = n < 0 ? (int)n : file_write(fd, files[i], text);
        if (r < 0)
            return error_errno(e, r, "cannot fill in %s of the cpuset cgroup %s", files[i], where);
    }
    return 0;
}

static int cpuset_step(int parent, const char *name, const char *where, int *ret, Error *e)
{
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
        int r = -errno;
        return error_set(e, r, "cannot make the cgroup %s: %s (%s)", where, strerror(-r), tree_advice(r));
    }
    _cleanup_fd_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "cannot open the cgroup %s", where);
    int r = cpuset_inherit(parent, fd, where, e);
    if (r < 0)
        return r;
    *ret = TAKE_FD(fd);
    return 0;
}

/* The root and every parent on the way get the own cgroup's CPUs and memory nodes. */
static int cpuset_make_v1(Group *g, Error *e)
{
    CgroupTree *t = g->tree;
    if (t->fd[CG_CPUSET] < 0) {
        _cleanup_fd_ int own = open(t->own_dir[CG_CPUSET], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (own < 0)
            return error_errno(e, -errno, "cannot open the own cgroup %s", t->own_dir[CG_CPUSET]);
        int r = cpuset_step(own, t->name, t->dir[CG_CPUSET], &t->fd[CG_CPUSET], e);
        if (r < 0)
            return r;
    }
    _cleanup_fd_ int at = fcntl(t->fd[CG_CPUSET], F_DUPFD_CLOEXEC, 3);
    _cleanup_(freep) char *path = xstrdup(group_path(g));
    char *save = NULL;
    for (char *name = strtok_r(path, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
        int next = -EBADF;
        int r = cpuset_step(at, name, t->dir[CG_CPUSET], &next, e);
        if (r < 0)
            return error_prefix(e, "%s: ", group_path(g));
        fd_close(at);
        at = next;
    }
    g->cpuset = 1;
    return 0;
}

static int set_cpus_v1(Group *g, const char *cpus, Error *e)
{
    if (!cpus && !group_in(g, CG_CPUSET))
        return 0;
    int r = cpuset_make_v1(g, e);
    if (r < 0)
        return r;
    char got[4096], all[4096];
    _cleanup_(freep) char *file = xasprintf("%s/cpuset.cpus", g->tree->own_dir[CG_CPUSET]);
    if (!cpus) {
        ssize_t n = file_read(AT_FDCWD, file, all, sizeof all);
        if (n < 0)
            return error_errno(e, (int)n, "cannot read %s", file);
        cpus = all;
    }
    r = write_read(g, CG_CPUSET, "cpuset.cpus", cpus, got, sizeof got, e);
    if (r < 0)
        return r;
    CpuSet wanted, held;
    if (cpus_parse(cpus, &wanted) < 0 || cpus_parse(got, &held) < 0 || memcmp(&wanted, &held, sizeof held) != 0)
        return differs(g, CG_CPUSET, "cpuset.cpus", cpus, got, e);
    return 0;
}

static int set_cpus_v2(const Group *g, const char *cpus, Error *e)
{
    char got[4096];
    int r = write_read(g, CG_UNIFIED, "cpuset.cpus", cpus ? cpus : "\n", got, sizeof got, e);
    if (r < 0 || !cpus)
        return r;
    /* cgroup2 takes any list and gives what the parents have of it: the effective one tells. */
    ssize_t n = group_read_file(g, CG_UNIFIED, "cpuset.cpus.effective", got, sizeof got);
    CpuSet wanted, held;
    if (n < 0)
        return error_errno(e, (int)n, "cannot read %s/%s/cpuset.cpus.effective", g->tree->dir[CG_UNIFIED],
                           group_path(g));
    if (cpus_parse(cpus, &wanted) < 0 || cpus_parse(got, &held) < 0 || memcmp(&wanted, &held, sizeof held) != 0)
        return differs(g, CG_UNIFIED, "cpuset.cpus.effective", cpus, got, e);
    return 0;
}

static int set_cpus(Group *g, const char *cpus, Error *e)
{
    int h = tree_carrier(g->tree, CG_CPUSET);
    if (h == CG_CPUSET)
        return set_cpus_v1(g, cpus, e);
    return h == CG_UNIFIED && (cpus || !g->fresh) ? set_cpus_v2(g, cpus, e) : 0;
}

int group_set_limits(Group *g, const GroupLimits *limits, Error *e)
{
    const char *why, *key = cgroup_tree_refuses(g->tree, limits, &why);
    if (key)
        return error_set(e, -EOPNOTSUPP, "%s cannot be held here: %s", key, why);
    int memory = tree_carrier(g->tree, CG_MEMORY), pids = tree_carrier(g->tree, CG_PIDS), r = 0;
    if (memory == CG_MEMORY)
        r = set_memory_v1(g, limits, e);
    else if (memory == CG_UNIFIED)
        r = set_memory_v2(g, limits, e);
    if (r >= 0)
        r = set_cpu(g, limits, e);
    if (r >= 0 && pids >= 0 && (limits->pids_max != NONE || !g->fresh))
        r = set_number(g, (Hierarchy)pids, "pids.max", limits->pids_max, e);
    if (r >= 0)
        r = set_cpus(g, limits->cpus, e);
    g->fresh = false;
    return r;
}
