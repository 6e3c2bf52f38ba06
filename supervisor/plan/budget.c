/* See budget.h.
 *
 * Which cgroup's limit counts: the kernel holds us to the least of our own cgroup's and its ancestors', in v1 (memory
 * has been hierarchical only since 5.11) as in v2; so all of them are read, up to what is mounted. A hybrid host may
 * show both; the one without a memory controller has no such file, which is no limit. */
#include "supervisor/plan/budget.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

/* Where a hierarchy with a memory limit may be seen, and where in it we are. */
typedef struct Hierarchy {
    char *mount; /* mount point */
    char *top;   /* the cgroup that is mounted there ("/" but in some containers) */
    char *place; /* our cgroup */
    const char *file;
} Hierarchy;

static void hierarchy_done(Hierarchy *h)
{
    free(h->mount);
    free(h->top);
    free(h->place);
}

static int read_text(const char *root, const char *path, char **ret)
{
    _cleanup_(freep) char *full = xasprintf("%s%s", root, path);
    StrBuf text = STRBUF_NULL;
    _cleanup_fd_ int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        strbuf_add(&text, chunk, (size_t)n);
    if (n < 0) {
        int r = -errno;
        strbuf_done(&text);
        return r;
    }
    *ret = strbuf_take(&text);
    return 0;
}

static int read_total(const char *root, uint64_t *ret)
{
    _cleanup_(freep) char *text = NULL;
    int r = read_text(root, "/proc/meminfo", &text);
    if (r < 0)
        return r;
    static const char key[] = "MemTotal:";
    const char *line = text ? strstr(text, key) : NULL;
    uint64_t kib = line ? strtoull(line + strlen(key), NULL, 10) : 0;
    if (kib == 0)
        return -EBADMSG;
    *ret = kib * 1024;
    return 0;
}

/* Our place in the hierarchy of `controller` ("" = cgroup2) by lines like "4:memory:/a/b", "0::/a". */
static char *find_place(char *cgroups, const char *controller)
{
    char *line, *rest = cgroups;
    while ((line = strsep(&rest, "\n"))) {
        char *at = line;
        strsep(&at, ":");
        char *controllers = strsep(&at, ":"), *one;
        if (!at)
            continue;
        if (!*controller && !*controllers)
            return xstrdup(at);
        while (*controller && (one = strsep(&controllers, ",")))
            if (strcmp(one, controller) == 0)
                return xstrdup(at);
    }
    return NULL;
}

/* Undoes mountinfo's \ooo for blanks and backslashes. */
static char *unescape(const char *s)
{
    StrBuf b = STRBUF_NULL;
    for (; *s; s++) {
        bool octal = *s == '\\' && strspn(s + 1, "01234567") >= 3;
        strbuf_addc(&b, octal ? (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0')) : *s);
        s += octal ? 3 : 0;
    }
    return strbuf_take(&b);
}

static bool has_option(char *options, const char *wanted)
{
    char *one;
    while ((one = strsep(&options, ",")))
        if (strcmp(one, wanted) == 0)
            return true;
    return false;
}

/* Lines are "ID PARENT MAJ:MIN ROOT MOUNT OPTIONS [TAGS…] - TYPE SOURCE SUPEROPTIONS". */
static bool find_mount(char *mountinfo, const char *type, const char *option, Hierarchy *h)
{
    char *line, *rest = mountinfo;
    while ((line = strsep(&rest, "\n"))) {
        char *tail = strstr(line, " - ");
        if (!tail)
            continue;
        *tail = '\0';
        tail += 3;
        const char *its_type = strsep(&tail, " ");
        strsep(&tail, " ");
        if (!tail || strcmp(its_type, type) != 0 || (*option && !has_option(tail, option)))
            continue;
        char *field[5] = {0};
        for (size_t i = 0; i < ELEMENTS(field); i++)
            field[i] = strsep(&line, " ");
        if (!field[4])
            continue;
        h->top = unescape(field[3]);
        h->mount = unescape(field[4]);
        return true;
    }
    return false;
}

/* Our cgroup relative to what is mounted: "" at its top, "/a/b" below it. A place outside of it (a container whose
 * cgroup namespace was not unshared may show that) can only be read at the top. */
static const char *relative_place(const Hierarchy *h)
{
    if (strcmp(h->top, "/") == 0)
        return strcmp(h->place, "/") == 0 ? "" : h->place;
    size_t n = strlen(h->top);
    bool below = str_starts(h->place, h->top) && (h->place[n] == '/' || h->place[n] == '\0');
    return below ? h->place + n : "";
}

static uint64_t least_limit(const char *root, const Hierarchy *h)
{
    uint64_t least = UINT64_MAX;
    _cleanup_(freep) char *place = xstrdup(relative_place(h));
    for (;;) {
        _cleanup_(freep) char *path = xasprintf("%s%s%s/%s", root, h->mount, place, h->file);
        uint64_t limit;
        if (file_read_u64(AT_FDCWD, path, &limit) == 0)
            least = MIN2(least, limit);
        char *slash = strrchr(place, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Where systemd runs (sd_booted(3)), modules are in a scope of system.slice; what limits the daemon's own unit, or the
 * session it was started in by hand, does not hold them. */
static bool has_systemd(const char *root)
{
    _cleanup_(freep) char *path = xasprintf("%s/run/systemd/system", root);
    return access(path, F_OK) == 0;
}

static uint64_t cgroup_limit(const char *root, bool v2)
{
    _cleanup_(freep) char *cgroups = NULL, *mountinfo = NULL;
    if (read_text(root, "/proc/self/cgroup", &cgroups) < 0 || read_text(root, "/proc/self/mountinfo", &mountinfo) < 0)
        return UINT64_MAX; /* a kernel without cgroups limits nobody */
    _cleanup_(hierarchy_done) Hierarchy h = {.file = v2 ? "memory.max" : "memory.limit_in_bytes"};
    h.place = has_systemd(root) ? xstrdup("/system.slice") : find_place(cgroups, v2 ? "" : "memory");
    if (!h.place || !find_mount(mountinfo, v2 ? "cgroup2" : "cgroup", v2 ? "" : "memory", &h))
        return UINT64_MAX;
    return least_limit(root, &h);
}

int budget_host_at(const char *root, HostCapacity *ret)
{
    HostCapacity host = {0};
    int r = read_total(root, &host.memory);
    if (r < 0)
        return r;
    for (int v2 = 0; v2 < 2; v2++)
        host.memory = MIN2(host.memory, cgroup_limit(root, v2));
    _cleanup_(freep) char *pid_max = xasprintf("%s/proc/sys/kernel/pid_max", root);
    r = file_read_u64(AT_FDCWD, pid_max, &host.pids);
    if (r < 0)
        return r;
    *ret = host;
    return 0;
}

int budget_host(HostCapacity *ret)
{
    return budget_host_at("", ret);
}

typedef struct Sum {
    uint64_t total, largest;
    const char *name; /* of the largest; of equals the first by name */
} Sum;

static void sum_add(Sum *s, const ModulePolicy *m, uint64_t value)
{
    if (value == UINT64_MAX)
        return;
    s->total = s->total > UINT64_MAX - 1 - value ? UINT64_MAX - 1 : s->total + value;
    if (!s->name || value > s->largest) {
        s->largest = value;
        s->name = m->name;
    }
}

/* Do both read as the same size? "96G" and "96.0G" do. */
static bool shown_alike(const char *a, const char *b)
{
    char *unit_a, *unit_b;
    return strtod(a, &unit_a) == strtod(b, &unit_b) && strcmp(unit_a, unit_b) == 0;
}

static int memory_error(const Sum *s, uint64_t host, Error *e)
{
    _cleanup_(freep) char *total = format_bytes(s->total), *largest = format_bytes(s->largest),
                          *has = format_bytes(host);
    if (shown_alike(total, has)) { /* apart by less than rounding shows */
        free(total);
        free(has);
        total = xasprintf("%" PRIu64 " bytes", s->total);
        has = xasprintf("%" PRIu64 " bytes", host);
    }
    return error_set(e, -E2BIG,
                     "required modules may use %s of memory (largest: %s %s), the host has %s: lower memory_max or "
                     "required",
                     total, s->name, largest, has);
}

int budget_check(const Policy *policy, const HostCapacity *host, Error *e)
{
    Sum memory = {0}, pids = {0};
    for (size_t i = 0; i < policy->n_modules; i++) {
        const ModulePolicy *m = policy->modules[i];
        if (!m->required)
            continue;
        sum_add(&memory, m, m->limits.memory_max);
        sum_add(&pids, m, m->limits.pids_max);
    }
    if (memory.total > host->memory)
        return memory_error(&memory, host->memory, e);
    if (pids.total > host->pids)
        return error_set(e, -E2BIG,
                         "required modules may have %" PRIu64 " threads (largest: %s %" PRIu64
                         "), the host has %" PRIu64 ": lower pids_max or required",
                         pids.total, pids.name, pids.largest, host->pids);
    return 0;
}
