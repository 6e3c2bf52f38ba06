/* See kernel.h. The order of things: what sees the end of work is there before what sees its begin. */
#include "bpf/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "bpf/gate.h"
#include "bpf/object.h"
#include "bpf/pins.h"
#include "bpf/private.h"
#include "bpf/sources.h"
#include "bpf/truth.h"

#define BTF_DEFAULT "/sys/kernel/btf/vmlinux"

/* --- what is loaded at once, and kept --------------------------------------------------------------------------------
 */

/* What the parts that are not left out consist of. */
static const struct {
    const char *program;
    const char *pin; /* of its link; NULL: nothing attaches it at once */
    KernelPrograms part;
} programs[] = {
#define X(name, pin, part) {#name, pin, part},
    KERNEL_LINKS(X)
#undef X
#define X(name, part) {#name, NULL, part},
        KERNEL_KEPT(X)
#undef X
};

static int load(const KernelConfig *c, ObjectFn fn, void *userdata, Error *e)
{
    const char *names[ELEMENTS(programs)];
    size_t n = 0;
    for (size_t i = 0; i < ELEMENTS(programs); i++)
        if (!(c->without & (1u << programs[i].part)))
            names[n++] = programs[i].program;
    static const ObjectMap maps[] = {
#define X(name) {#name, -EBADF},
        KERNEL_MAPS(X) KERNEL_OWN_MAPS(X)
#undef X
    };
    const ObjectPlan plan = {.config = c, .programs = names, .n_programs = n, .maps = maps, .n_maps = ELEMENTS(maps)};
    return object_load(&plan, fn, userdata, e);
}

static int keep_map(const struct bpf_object *object, const char *name, int *ret, Error *e)
{
    return object_keep(bpf_object__find_map_fd_by_name(object, name), name, ret, e);
}

static int keep_link(Kernel *k, const struct bpf_object *object, const char *name, const char *pin, int *ret, Error *e)
{
    const struct bpf_program *program = bpf_object__find_program_by_name(object, name);
    struct bpf_link *link = bpf_program__type(program) == BPF_PROG_TYPE_SOCK_OPS
                                ? bpf_program__attach_cgroup(program, k->modules)
                                : bpf_program__attach(program);
    if (!link)
        return object_error(e, -errno, bpf_program__section_name(program));
    int r = object_keep(bpf_link__fd(link), pin, ret, e);
    bpf_link__destroy(link); /* our descriptor holds it */
    return r < 0 ? r : pin_add(k->pins, pin, *ret, e);
}

/* Takes from the loaded object what is kept; maps are pinned before the first program runs. */
static int keep(struct bpf_object *object, void *userdata, Error *e)
{
    Kernel *k = userdata;
    struct kernel_stats stats = {.version = BULKHEAD_LAYOUT_VERSION};
    int r = 0;
#define X(name)                                                       \
    r = r < 0 ? r : keep_map(object, #name, &k->maps[MAP_##name], e); \
    r = r < 0 ? r : pin_add(k->pins, #name, k->maps[MAP_##name], e);
    KERNEL_MAPS(X)
#undef X
    r = r < 0 ? r : keep_map(object, "aim", &k->aim, e);
    if (r == 0 && bpf_map_update_elem(k->maps[MAP_stats], &(uint32_t){0}, &stats, BPF_ANY) < 0)
        r = error_errno(e, -errno, "bpf: cannot write the map stats");
#define X(program, part)                                                                               \
    if (r == 0 && kernel_has(k, part))                                                                 \
        r = object_keep(bpf_program__fd(bpf_object__find_program_by_name(object, #program)), #program, \
                        &k->kept[KEPT_##program], e);
    KERNEL_KEPT(X)
#undef X
    int err = r < 0 ? 0 : ring_open(k);
    if (err < 0)
        r = object_error(e, err, "cannot map the ring");
#define X(program, pin, part)          \
    if (r == 0 && kernel_has(k, part)) \
        r = keep_link(k, object, #program, pin, &k->links[LINK_##program], e);
    KERNEL_LINKS(X)
#undef X
    return r;
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

typedef struct Probe {
    KernelPrograms part;
    int cgroup;
} Probe;

/* How it is attached when its turn comes; NULL with errno 0: it never is, or there is nothing to attach it to. */
static struct bpf_link *attach(const struct bpf_program *program, bool at_once, int cgroup)
{
    enum bpf_prog_type type = bpf_program__type(program);
    bool to_cgroup = type == BPF_PROG_TYPE_SOCK_OPS || type == BPF_PROG_TYPE_CGROUP_SKB;
    errno = 0;
    if (to_cgroup)
        return cgroup < 0 ? NULL : bpf_program__attach_cgroup(program, cgroup);
    return at_once ? bpf_program__attach(program) : NULL;
}

static int attach_and_detach(struct bpf_object *object, void *userdata, Error *e)
{
    const Probe *p = userdata;
    for (size_t i = 0; i < ELEMENTS(programs); i++) {
        if (programs[i].part != p->part)
            continue;
        const struct bpf_program *program = bpf_object__find_program_by_name(object, programs[i].program);
        struct bpf_link *link = attach(program, programs[i].pin, p->cgroup);
        if (!link && errno != 0)
            return object_error(e, -errno, bpf_program__section_name(program));
        bpf_link__destroy(link);
    }
    return 0;
}

int kernel_probe_part(KernelPrograms part, int cgroup, Error *e)
{
    if (KERNEL_ON_DEMAND & (1u << part))
        return sources_probe(part, e);
    /* Its maps stay empty, so what it sees is nobody's. */
    const KernelConfig config = {.max_modules = 1, .without = ~(1u << part)};
    Probe probe = {.part = part, .cgroup = cgroup};
    return load(&config, attach_and_detach, &probe, e);
}

/* --- open and close --------------------------------------------------------------------------------------------------
 */

static void kernel_closep(Kernel **k)
{
    kernel_close(*k);
}

static Kernel *kernel_new(const KernelConfig *c, const char *bpffs)
{
    Kernel *k = new0(Kernel);
    k->bpffs = xstrdup(bpffs);
    k->instance = xstrdup(c->instance);
    k->pins = k->modules = k->aim = k->ingress = k->egress = -EBADF;
    k->without = c->without;
    k->config = *c;
    k->config.instance = k->config.btf_path = k->config.bpffs_path = NULL;
    k->config.modules_fd = -EBADF;
    for (int i = 0; i < MAP_N; i++)
        k->maps[i] = -EBADF;
    for (int i = 0; i < LINK_N; i++)
        k->links[i] = -EBADF;
    for (int i = 0; i < KEPT_N; i++)
        k->kept[i] = -EBADF;
    return k;
}

int kernel_open(const KernelConfig *c, Kernel **ret, Error *e)
{
    if (geteuid() != 0)
        return error_set(e, -EPERM, "bpf: root is needed to count work in the kernel");
    int r = kernel_probe_btf(c->btf_path, e);
    if (r < 0)
        return r;
    _cleanup_fd_ int pins = -EBADF;
    const char *bpffs = c->bpffs_path ? c->bpffs_path : BPFFS_DEFAULT;
    r = pins_open(bpffs, c->instance, &pins, e);
    if (r < 0)
        return r;
    _cleanup_(kernel_closep) Kernel *k = kernel_new(c, bpffs);
    k->pins = TAKE_FD(pins);
    k->modules = fcntl(c->modules_fd, F_DUPFD_CLOEXEC, 3);
    if (k->modules < 0)
        return error_errno(e, -errno, "bpf: the modules' cgroup");
    r = load(c, keep, k, e);
    if (r < 0)
        return r;
    k->sources = sources_new(k, c->without);
    *ret = TAKE_PTR(k);
    return 0;
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

/* --- modules ---------------------------------------------------------------------------------------------------------
 */

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
