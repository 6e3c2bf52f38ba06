/* See kernel.h. The skeleton (the object, its BTF, libbpf's bookkeeping: megabytes) lives only inside kernel_open():
 * what remains is a handful of descriptors and the ring's two mappings. */
#include "bpf/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "bpf/pins.h"
#include "bpf/private.h"
#include "bulkhead.skel.h"

#define BTF_DEFAULT   "/sys/kernel/btf/vmlinux"
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

static int words_error(Error *e, int code, const char *what)
{
    const char *hint =
        code == -EPERM ? " (loading programs takes root with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)" : "";
    return libbpf_words[0] ? error_set(e, code, "bpf: %s: %s%s", what, libbpf_words, hint)
                           : error_set(e, code, "bpf: %s: %s%s", what, strerror(-code), hint);
}

/* --- open ------------------------------------------------------------------------------------------------------------
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

/* Of the programs only those of the parts that are wanted. */
static int choose(struct bulkhead_bpf *s, unsigned without)
{
    struct bpf_program *each = NULL;
    int r = 0;
    while (r == 0 && (each = bpf_object__next_program(s->obj, each)))
        if (sources_own(bpf_program__name(each)))
            r = bpf_program__set_autoload(each, false);
#define X(program, pin, part) \
    if (r == 0)               \
        r = bpf_program__set_autoload(s->progs.program, !(without & (1u << (part))));
    KERNEL_LINKS(X)
#undef X
#define X(program, part) \
    if (r == 0)          \
        r = bpf_program__set_autoload(s->progs.program, !(without & (1u << (part))));
    KERNEL_KEPT(X)
#undef X
    return r;
}

/* Opened, sized and told what it must know. */
static int skeleton_open(const KernelConfig *c, struct bulkhead_bpf **ret, Error *e)
{
    struct stat ns;
    if (stat("/proc/self/ns/pid", &ns) < 0)
        return error_errno(e, -errno, "/proc/self/ns/pid");
    _cleanup_(skeleton_freep) struct bulkhead_bpf *s = bulkhead_bpf__open();
    if (!s)
        return words_error(e, -errno, "cannot read the programs");
    s->rodata->modules_level = c->modules_level;
    s->rodata->daemon_pid = (uint32_t)getpid();
    s->rodata->daemon_pidns = (uint32_t)ns.st_ino;
    /* Twice what the policy has: a generation that goes and one that comes, modules that leave while others join. */
    uint32_t entries = (uint32_t)MIN2(c->max_modules * 2 + 16, (size_t)1 << 20);
    int r = bpf_map__set_max_entries(s->maps.work, entries);
    r = r < 0 ? r : bpf_map__set_max_entries(s->maps.exits, entries);
    r = r < 0 ? r : bpf_map__set_max_entries(s->maps.exit_ring, ring_size(c->max_modules));
    if (r < 0)
        return words_error(e, r, "cannot size the maps");
    *ret = TAKE_PTR(s);
    return 0;
}

/* Maps that only programs of sources.c use. */
#define DEMAND_MAPS(X) X(threads) X(call_sites) X(streams)

static int skeleton_load(const KernelConfig *c, struct bulkhead_bpf **ret, Error *e)
{
    _cleanup_(skeleton_freep) struct bulkhead_bpf *s = NULL;
    int r = skeleton_open(c, &s, e);
    if (r < 0 || !s)
        return r;
    r = choose(s, c->without);
#define X(name) r = r < 0 ? r : bpf_map__set_autocreate(s->maps.name, false);
    DEMAND_MAPS(X)
#undef X
    r = r < 0 ? words_error(e, r, "cannot choose the programs") : bulkhead_bpf__load(s);
    if (r < 0)
        return words_error(e, r, "the kernel refused the programs");
    *ret = TAKE_PTR(s);
    return 0;
}

static int keep_map(Kernel *k, int which, const char *name, const struct bpf_map *map, Error *e)
{
    k->maps[which] = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);
    if (k->maps[which] < 0)
        return error_errno(e, -errno, "cannot keep the map %s", name);
    return pin_add(k->pins, name, k->maps[which], e);
}

static int keep_link(Kernel *k, int which, const char *pin, const struct bpf_program *program, Error *e)
{
    struct bpf_link *link = bpf_program__type(program) == BPF_PROG_TYPE_SOCK_OPS
                                ? bpf_program__attach_cgroup(program, k->modules)
                                : bpf_program__attach(program);
    if (!link)
        return words_error(e, -errno, bpf_program__section_name(program));
    k->links[which] = fcntl(bpf_link__fd(link), F_DUPFD_CLOEXEC, 3);
    int r = k->links[which] < 0 ? error_errno(e, -errno, "cannot keep %s", pin) : 0;
    bpf_link__destroy(link); /* our descriptor holds it */
    return r < 0 ? r : pin_add(k->pins, pin, k->links[which], e);
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

static int ring_event_arrived(void *userdata, void *data, size_t size)
{
    Kernel *k = userdata;
    struct ring_event event = {0};
    memcpy(&event, data, MIN2(size, sizeof event));
    if (k->fn)
        k->fn(&event, k->userdata);
    return 0;
}

/* --- programs on demand ----------------------------------------------------------------------------------------------
 */

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The map's descriptor in use, -EBADF: it is to be made, -ENOENT: it is not wanted. */
static int map_in_use(const Kernel *k, const struct bpf_map *map, const OwnMap *own, size_t n_own)
{
    static const char *const names[MAP_N] = {
#define X(name) [MAP_##name] = #name,
        KERNEL_MAPS(X)
#undef X
    };
    const char *name = bpf_map__name(map);
    for (size_t i = 0; i < n_own; i++)
        if (strcmp(own[i].name, name) == 0)
            return own[i].fd >= 0 ? own[i].fd : -EBADF;
    for (size_t i = 0; i < MAP_N; i++)
        if (strcmp(names[i], name) == 0)
            return k ? k->maps[i] : -EBADF;
    return bpf_map__is_internal(map) ? -EBADF : -ENOENT;
}

int object_load(const Kernel *k, const char *const *programs, size_t n_programs, const OwnMap *own, size_t n_own,
                ObjectFn fn, void *userdata, Error *e)
{
    const KernelConfig nobody = {.max_modules = 1};
    libbpf_words[0] = '\0';
    libbpf_set_print(words_keep);
    struct bulkhead_bpf *s = NULL;
    struct bpf_program *program = NULL;
    struct bpf_map *map = NULL;
    int r = skeleton_open(k ? &k->config : &nobody, &s, e);
    if (r < 0 || !s)
        return r;
    while (r == 0 && (program = bpf_object__next_program(s->obj, program)))
        r = bpf_program__set_autoload(program, is_listed(programs, n_programs, bpf_program__name(program)));
    while (r == 0 && (map = bpf_object__next_map(s->obj, map))) {
        int fd = map_in_use(k, map, own, n_own);
        if (fd >= 0)
            r = bpf_map__reuse_fd(map, fd);
        else if (fd == -ENOENT)
            r = bpf_map__set_autocreate(map, false);
    }
    r = r < 0 ? r : bulkhead_bpf__load(s);
    r = r < 0 ? words_error(e, r, "the kernel refused the programs") : fn(s->obj, userdata, e);
    bulkhead_bpf__destroy(s);
    forget_object();
    malloc_trim(0);
    return r;
}

int object_pin(const Kernel *k, const char *name, int fd, Error *e)
{
    return k ? pin_add(k->pins, name, fd, e) : 0;
}

void object_unpin(const Kernel *k, const char *name)
{
    if (k && name)
        unlinkat(k->pins, name, 0);
}

/* --- what is kept ----------------------------------------------------------------------------------------------------
 */

/* Takes from the loaded skeleton what is kept; maps are pinned before the first program runs. */
static int kernel_keep(Kernel *k, const struct bulkhead_bpf *s, Error *e)
{
    struct kernel_stats stats = {.version = BULKHEAD_LAYOUT_VERSION};
    int r;
#define X(name)                                          \
    r = keep_map(k, MAP_##name, #name, s->maps.name, e); \
    if (r < 0)                                           \
        return r;
    KERNEL_MAPS(X)
#undef X
    if (bpf_map_update_elem(k->maps[MAP_stats], &(uint32_t){0}, &stats, BPF_ANY) < 0)
        return error_errno(e, -errno, "bpf: cannot write the map stats");
#define X(program, part)                                                                              \
    if (kernel_has(k, part) &&                                                                        \
        (k->kept[KEPT_##program] = fcntl(bpf_program__fd(s->progs.program), F_DUPFD_CLOEXEC, 3)) < 0) \
        return error_errno(e, -errno, "cannot keep " #program);
    KERNEL_KEPT(X)
#undef X
    k->aim = fcntl(bpf_map__fd(s->maps.aim), F_DUPFD_CLOEXEC, 3);
    if (k->aim < 0)
        return error_errno(e, -errno, "cannot keep the map aim");
    k->ring = ring_buffer__new(k->maps[MAP_exit_ring], ring_event_arrived, k, NULL);
    if (!k->ring)
        return words_error(e, -errno, "cannot map the ring");
#define X(program, pin, part)                                                             \
    r = kernel_has(k, part) ? keep_link(k, LINK_##program, pin, s->progs.program, e) : 0; \
    if (r < 0)                                                                            \
        return r;
    KERNEL_LINKS(X)
#undef X
    return 0;
}

static void kernel_closep(Kernel **k)
{
    kernel_close(*k);
}

bool kernel_has(const Kernel *k, KernelPrograms part)
{
    return !(k->without & (1u << part));
}

/* --- what it needs, one by one ---------------------------------------------------------------------------------------
 */

int kernel_probe_btf(const char *path, Error *e)
{
    const char *btf = path ? path : BTF_DEFAULT;
    if (access(btf, R_OK) == 0)
        return 0;
    int r = -errno;
    return error_set(e, r,
                     "no BTF: %s is %s (a kernel with CONFIG_DEBUG_INFO_BTF=y is needed, or bpf = optional in "
                     "[supervisor])",
                     btf, r == -ENOENT ? "missing" : "not readable");
}

int kernel_probe_bpffs(const char *path, const char *instance, Error *e)
{
    const char *bpffs = path ? path : BPFFS_DEFAULT;
    _cleanup_fd_ int pins = -EBADF;
    int r = pins_open(bpffs, instance, &pins, e);
    if (r < 0)
        return r;
    pins = fd_close(pins);
    return pins_remove(bpffs, instance, NULL, e);
}

/* What hangs on a cgroup is loaded and no more: there is no cgroup yet to try it on. */
static int attach_and_detach(const struct bpf_program *program, Error *e)
{
    if (bpf_program__type(program) == BPF_PROG_TYPE_SOCK_OPS)
        return 0;
    struct bpf_link *link = bpf_program__attach(program);
    if (!link)
        return words_error(e, -errno, bpf_program__section_name(program));
    bpf_link__destroy(link);
    return 0;
}

int kernel_probe_part(KernelPrograms part, Error *e)
{
    if (KERNEL_ON_DEMAND & (1u << part))
        return sources_probe(part, e);
    /* Its maps stay empty, so what it sees is nobody's. */
    const KernelConfig config = {.max_modules = 1, .without = ~(1u << part)};
    libbpf_words[0] = '\0';
    libbpf_set_print(words_keep);
    _cleanup_(skeleton_freep) struct bulkhead_bpf *s = NULL;
    int r = skeleton_load(&config, &s, e);
    if (r < 0 || !s)
        return r;
#define X(program, pin, its_part)     \
    if (r == 0 && (its_part) == part) \
        r = attach_and_detach(s->progs.program, e);
    KERNEL_LINKS(X)
#undef X
    return r;
}

int kernel_open(const KernelConfig *c, Kernel **ret, Error *e)
{
    if (geteuid() != 0)
        return error_set(e, -EPERM, "bpf: root is needed to count work in the kernel");
    int r = kernel_probe_btf(c->btf_path, e);
    if (r < 0)
        return r;
    libbpf_words[0] = '\0';
    libbpf_set_print(words_keep);

    _cleanup_fd_ int pins = -EBADF;
    const char *bpffs = c->bpffs_path ? c->bpffs_path : BPFFS_DEFAULT;
    r = pins_open(bpffs, c->instance, &pins, e);
    if (r < 0)
        return r;
    _cleanup_(kernel_closep) Kernel *k = new0(Kernel);
    k->bpffs = xstrdup(bpffs);
    k->instance = xstrdup(c->instance);
    k->pins = TAKE_FD(pins);
    k->aim = k->ingress = k->egress = -EBADF;
    k->without = c->without;
    k->modules = fcntl(c->modules_fd, F_DUPFD_CLOEXEC, 3);
    int modules_errno = errno;
    for (int i = 0; i < KEPT_N; i++)
        k->kept[i] = -EBADF;
    k->config = *c;
    k->config.instance = k->config.btf_path = k->config.bpffs_path = NULL;
    for (int i = 0; i < MAP_N; i++)
        k->maps[i] = -EBADF;
    for (int i = 0; i < LINK_N; i++)
        k->links[i] = -EBADF;

    if (k->modules < 0)
        return error_errno(e, -modules_errno, "bpf: the modules' cgroup");

    struct bulkhead_bpf *s = NULL;
    r = skeleton_load(c, &s, e);
    if (r == 0)
        r = kernel_keep(k, s, e);
    bulkhead_bpf__destroy(s);
    forget_object();
    malloc_trim(0);
    if (r == 0) {
        k->sources = sources_new(k, c->without);
        *ret = TAKE_PTR(k);
    }
    return r;
}

Kernel *kernel_close(Kernel *k)
{
    if (!k)
        return NULL;
    sources_free(k->sources);
    ring_buffer__free(k->ring);
    for (int i = 0; i < LINK_N; i++)
        fd_close(k->links[i]);
    for (int i = 0; i < KEPT_N; i++)
        fd_close(k->kept[i]);
    gate_done(k);
    fd_close(k->aim);
    fd_close(k->modules);
    for (int i = 0; i < MAP_N; i++)
        fd_close(k->maps[i]);
    fd_close(k->pins);
    pins_remove(k->bpffs, k->instance, NULL, NULL);
    free(k->bpffs);
    free(k->instance);
    free(k);
    return NULL;
}

int kernel_purge_at(const char *bpffs_path, const char *instance, unsigned *ret_n, Error *e)
{
    return pins_remove(bpffs_path, instance, ret_n, e);
}

int kernel_purge(const char *instance, unsigned *ret_n, Error *e)
{
    return kernel_purge_at(BPFFS_DEFAULT, instance, ret_n, e);
}

/* --- entries ---------------------------------------------------------------------------------------------------------
 */

int kernel_control(Kernel *k, struct control_request *request)
{
    /* cppcheck-suppress unknownMacro */
    LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = request, .ctx_size_in = sizeof *request);
    if (bpf_prog_test_run_opts(k->kept[KEPT_bh_control], &opts) < 0)
        return -errno;
    return (int)opts.retval;
}

int kernel_module_add(Kernel *k, uint64_t module_id, const KernelModule *m, Error *e)
{
    if (m->n_ports > BULKHEAD_PORTS_MAX)
        return error_set(e, -E2BIG, "%s: work.ports: at most %d ports can be told apart", m->name, BULKHEAD_PORTS_MAX);
    struct control_request r = {.op = CONTROL_MODULE,
                                .module = module_id,
                                .track = m->track,
                                .n_ports = (uint32_t)m->n_ports,
                                .max_in_flight = m->max_in_flight,
                                .settle_nsec = m->settle_nsec,
                                .long_running_nsec = m->long_running_nsec};
    if (m->n_ports)
        memcpy(r.ports, m->ports, m->n_ports * sizeof *m->ports);
    snprintf((char *)r.name, sizeof r.name, "%s", m->name);
    /* Who sees the ends is there before the entry says that there are begins. */
    bool known = gate_knows(k, module_id);
    uint32_t fresh = m->track & ~gate_tracked(k, module_id) & (WORK_TRACK_CONNECTIONS | WORK_TRACK_REQUESTS);
    int err = gate_need_track(k, module_id, m, e);
    err = err < 0 ? err : sources_track(k->sources, module_id, m->track, e);
    if (err < 0)
        return err;
    err = kernel_control(k, &r);
    if (err < 0)
        return error_errno(e, err, "bpf: cannot add %s to the map work", m->name);
    /* A new module has no connections. */
    return known && fresh && kernel_has(k, KERNEL_CONNECTIONS) ? truth_seed(k, module_id, e) : 0;
}

int kernel_calls(Kernel *k, uint64_t module_id, const KernelCall *calls, size_t n, Error *e)
{
    return sources_calls(k->sources, module_id, calls, n, e);
}

int kernel_module_remove(Kernel *k, uint64_t module_id)
{
    int r = bpf_map_delete_elem(k->maps[MAP_work], &module_id) < 0 ? -errno : 0;
    gate_forget(k, module_id);
    (void)sources_track(k->sources, module_id, 0, NULL);
    return r;
}

int kernel_generation_add(Kernel *k, uint64_t leaf_id, uint64_t module_id, uint64_t generation, Error *e)
{
    struct control_request r = {
        .op = CONTROL_GENERATION, .leaf = leaf_id, .module = module_id, .generation = generation};
    int err = kernel_control(k, &r);
    return err < 0
               ? error_errno(e, err, "bpf: cannot add generation %llu to the map exits", (unsigned long long)generation)
               : 0;
}

int kernel_generation_main(Kernel *k, uint64_t leaf_id, pid_t main_pid)
{
    struct control_request r = {.op = CONTROL_MAIN, .leaf = leaf_id, .main_pid = (uint32_t)main_pid};
    return kernel_control(k, &r);
}

int kernel_generation_remove(Kernel *k, uint64_t leaf_id)
{
    return bpf_map_delete_elem(k->maps[MAP_exits], &leaf_id) < 0 ? -errno : 0;
}

int kernel_set_draining(Kernel *k, uint64_t module_id, bool draining)
{
    struct control_request r = {.op = CONTROL_DRAINING, .module = module_id, .on = draining};
    return kernel_control(k, &r);
}

int kernel_api(Kernel *k, uint64_t module_id, const struct work_counters *api)
{
    struct control_request r = {.op = CONTROL_API, .module = module_id, .api = *api};
    return kernel_control(k, &r);
}

/* in_flight_peak is the kernel's own where several sources share it, else that of the only one. */
static void sum_up(struct work_entry *w)
{
    const struct work_counters *sources = &w->connections;
    struct work_counters *total = &w->total;
    s64 peak = total->in_flight_peak;
    unsigned n = 0;
    *total = (struct work_counters){0};
    for (unsigned i = 0; i < WORK_SOURCES_N; i++) {
        if (!(w->track & (1u << i)))
            continue;
        const struct work_counters *c = &sources[i];
        total->started += c->started;
        total->completed += c->completed;
        total->errors += c->errors;
        total->in_flight += c->in_flight;
        total->long_running += c->long_running;
        total->rejected += c->rejected;
        total->total_usec += c->total_usec;
        for (unsigned slot = 0; slot < BULKHEAD_HIST_SLOTS; slot++)
            total->latency[slot] += c->latency[slot];
        total->in_flight_peak = MAX2(total->in_flight_peak, c->in_flight_peak);
        n++;
    }
    if (n > 1)
        total->in_flight_peak = MAX2(total->in_flight_peak, peak);
}

int kernel_work(Kernel *k, uint64_t module_id, struct work_entry *ret)
{
    if (bpf_map_lookup_elem(k->maps[MAP_work], &module_id, ret) < 0)
        return -errno;
    sum_up(ret);
    return 0;
}

int kernel_exit(Kernel *k, uint64_t leaf_id, struct exit_entry *ret)
{
    return bpf_map_lookup_elem(k->maps[MAP_exits], &leaf_id, ret) < 0 ? -errno : 0;
}

int kernel_stats(Kernel *k, struct kernel_stats *ret)
{
    return bpf_map_lookup_elem(k->maps[MAP_stats], &(uint32_t){0}, ret) < 0 ? -errno : 0;
}

/* --- the ring --------------------------------------------------------------------------------------------------------
 */

int kernel_ring_fd(const Kernel *k)
{
    return ring_buffer__epoll_fd(k->ring);
}

int kernel_ring_consume(Kernel *k, KernelEventFn fn, void *userdata)
{
    k->fn = fn;
    k->userdata = userdata;
    int n = ring_buffer__consume(k->ring);
    k->fn = NULL;
    k->userdata = NULL;
    return n;
}
