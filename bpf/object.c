/* See object.h. */
#include "bpf/object.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "bulkhead.skel.h"

#define RING_SIZE_MIN 65536u

/* --- libbpf's words --------------------------------------------------------------------------------------------------
 * libbpf tells what is wrong through a global callback, often in many lines of which the first is the cause. */

static char libbpf_words[256];

static int words_keep(enum libbpf_print_level level, const char *fmt, va_list ap)
{
    if (level != LIBBPF_WARN || libbpf_words[0])
        return 0;
    vsnprintf(libbpf_words, sizeof libbpf_words, fmt, ap);
    char *start = str_starts(libbpf_words, "libbpf: ") ? libbpf_words + 8 : libbpf_words;
    memmove(libbpf_words, start, strlen(start) + 1);
    libbpf_words[strcspn(libbpf_words, "\n")] = '\0';
    return 0;
}

int object_error(Error *e, int code, const char *what)
{
    const char *hint =
        code == -EPERM ? " (loading programs takes root with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)" : "";
    return libbpf_words[0] ? error_set(e, code, "bpf: %s: %s%s", what, libbpf_words, hint)
                           : error_set(e, code, "bpf: %s: %s%s", what, strerror(-code), hint);
}

/* --- loading ---------------------------------------------------------------------------------------------------------
 */

static void skeleton_freep(struct bulkhead_bpf **s)
{
    bulkhead_bpf__destroy(*s);
}

static uint32_t ring_size(size_t max_modules)
{
    /* Room for one event of each module, as when all of them stop at once. */
    uint32_t size = RING_SIZE_MIN;
    while (size < max_modules * (sizeof(struct ring_event) + 8) && size < (16u << 20))
        size *= 2;
    return size;
}

/* Opened, sized and told what it must know. */
static int skeleton_open(const KernelConfig *c, struct bulkhead_bpf **ret, Error *e)
{
    struct stat ns;
    if (stat("/proc/self/ns/pid", &ns) < 0)
        return error_errno(e, -errno, "/proc/self/ns/pid");
    _cleanup_(skeleton_freep) struct bulkhead_bpf *s = bulkhead_bpf__open();
    if (!s)
        return object_error(e, -errno, "cannot read the programs");
    s->rodata->modules_level = c->modules_level;
    s->rodata->daemon_pid = (uint32_t)getpid();
    s->rodata->daemon_pidns = (uint32_t)ns.st_ino;
    /* Twice what the policy has: a generation that goes and one that comes, modules that leave while others join. */
    uint32_t entries = (uint32_t)MIN2(c->max_modules * 2 + 16, (size_t)1 << 20);
    int r = bpf_map__set_max_entries(s->maps.work, entries);
    r = r < 0 ? r : bpf_map__set_max_entries(s->maps.exits, entries);
    r = r < 0 ? r : bpf_map__set_max_entries(s->maps.exit_ring, ring_size(c->max_modules));
    if (r < 0)
        return object_error(e, r, "cannot size the maps");
    *ret = TAKE_PTR(s);
    return 0;
}

/* The embedded object is read once: its pages need not stay in our resident set. */
static void forget_object(void)
{
    size_t size = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)bulkhead_bpf__elf_bytes(&size), end = (start + size) & ~(page - 1);
    start = (start + page - 1) & ~(page - 1);
    if (end > start)
        madvise((void *)start, end - start, MADV_DONTNEED);
}

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Of the programs only those of the plan, of the maps those and what the compiler makes of our constants. */
static int choose(const struct bulkhead_bpf *s, const ObjectPlan *plan)
{
    struct bpf_program *program = NULL;
    struct bpf_map *map = NULL;
    int r = 0;
    while (r == 0 && (program = bpf_object__next_program(s->obj, program)))
        r = bpf_program__set_autoload(program, is_listed(plan->programs, plan->n_programs, bpf_program__name(program)));
    while (r == 0 && (map = bpf_object__next_map(s->obj, map))) {
        const ObjectMap *wanted = NULL;
        for (size_t i = 0; i < plan->n_maps; i++)
            if (strcmp(plan->maps[i].name, bpf_map__name(map)) == 0)
                wanted = &plan->maps[i];
        if (wanted && wanted->fd >= 0)
            r = bpf_map__reuse_fd(map, wanted->fd);
        else if (!wanted && !bpf_map__is_internal(map))
            r = bpf_map__set_autocreate(map, false);
    }
    return r;
}

static int load(const ObjectPlan *plan, ObjectFn fn, void *userdata, Error *e)
{
    _cleanup_(skeleton_freep) struct bulkhead_bpf *s = NULL;
    int r = skeleton_open(plan->config, &s, e);
    if (r < 0 || !s)
        return r;
    r = choose(s, plan);
    if (r < 0)
        return object_error(e, r, "cannot choose the programs");
    r = bulkhead_bpf__load(s);
    return r < 0 ? object_error(e, r, "the kernel refused the programs") : fn(s->obj, userdata, e);
}

int object_load(const ObjectPlan *plan, ObjectFn fn, void *userdata, Error *e)
{
    libbpf_words[0] = '\0';
    libbpf_set_print(words_keep);
    int r = load(plan, fn, userdata, e);
    forget_object();
    malloc_trim(0);
    return r;
}

int object_keep(int fd, const char *what, int *ret, Error *e)
{
    *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *ret < 0 ? error_errno(e, -errno, "cannot keep %s", what) : 0;
}
