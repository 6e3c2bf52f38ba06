/* See sources.h. A program is loaded with the first source that needs it and attached before the module's entry says
 * that it is tracked; what sees ends is attached before what sees begins, and goes after it. */
#include "bpf/sources.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "bpf/object.h"
#include "bpf/pins.h"
#include "bpf/private.h"
#include "bpf/probes.h"
#include "bpf/symbols.h"

/* In the order of attaching. Without a pin: attached to each site, or when it is asked. */
static const struct {
    const char *program, *pin;
    uint32_t sources;
} programs[] = {
    {"bh_emptied", "link_emptied", SOURCES_TRACKED},
    {"bh_thread_exit", "link_thread_exit", WORK_TRACK_CALLS | WORK_TRACK_WRITES},
    {"bh_thread_exec", "link_thread_exec", WORK_TRACK_CALLS | WORK_TRACK_WRITES},
    {"bh_write_end", "link_write_end", WORK_TRACK_WRITES},
    {"bh_write_begin", "link_write_begin", WORK_TRACK_WRITES},
    {"bh_unix_send", "link_unix_send", WORK_TRACK_UNIX},
    {"bh_unix_recv", "link_unix_recv", WORK_TRACK_UNIX},
    {"bh_streams", NULL, WORK_TRACK_UNIX},
    {"bh_call_end", NULL, WORK_TRACK_CALLS},
    {"bh_usdt_end", NULL, WORK_TRACK_CALLS},
    {"bh_call_begin", NULL, WORK_TRACK_CALLS},
};

#define PROGRAMS_N ELEMENTS(programs)
enum { PROGRAM_STREAMS = PROGRAMS_N - 4, PROGRAM_CALL_END, PROGRAM_USDT_END, PROGRAM_CALL_BEGIN };

static const struct {
    const char *name;
    uint32_t source;
    KernelPrograms part;
    const char *what, *mend;
} rows[] = {
    {"unix", WORK_TRACK_UNIX, KERNEL_UNIX, "exchanges on unix streams", "Linux 6.2"},
    {"calls", WORK_TRACK_CALLS, KERNEL_CALLS, "calls", "a kernel with CONFIG_UPROBE_EVENTS=y"},
    {"writes", WORK_TRACK_WRITES, KERNEL_WRITES, "writes", "a kernel with CONFIG_FTRACE_SYSCALLS=y"},
};

/* Where the work of one or more modules begins and ends: a function of a file, or a pair of its static probes. */
typedef struct Site {
    uint64_t id; /* with SITE_USDT */
    dev_t dev;
    ino_t ino;
    struct timespec changed; /* a file that was written anew is another one */
    char *name;              /* "call", "postgresql:query" */
    int *links;
    size_t n_links;
    unsigned users;
} Site;

typedef struct Tracked {
    uint64_t module;
    uint32_t track;
    Site **sites;
    size_t n_sites;
} Tracked;

enum { OWN_THREADS, OWN_CALL_SITES, OWN_STREAMS, OWN_N };

struct Sources {
    const Kernel *kernel;
    unsigned without;
    ObjectMap maps[OWN_N];
    int programs[PROGRAMS_N], links[PROGRAMS_N];
    Tracked *modules;
    size_t n_modules;
    Site **sites;
    size_t n_sites;
    uint64_t last_site;
};

/* --- programs --------------------------------------------------------------------------------------------------------
 */

typedef struct Loading {
    Sources *s;
    uint32_t source;
} Loading;

static int keep_pinned(const Sources *s, const char *pin, int fd, Error *e)
{
    return s->kernel ? pin_add(s->kernel->pins, pin, fd, e) : 0;
}

static void unpin(const Sources *s, const char *pin)
{
    if (s->kernel && pin)
        (void)unlinkat(s->kernel->pins, pin, 0);
}

static int keep_loaded(struct bpf_object *object, void *userdata, Error *e)
{
    const Loading *l = userdata;
    Sources *s = l->s;
    int r = 0;
    for (size_t i = 0; r == 0 && i < OWN_N; i++) {
        const struct bpf_map *map = bpf_object__find_map_by_name(object, s->maps[i].name);
        if (s->maps[i].fd >= 0 || !map || bpf_map__fd(map) < 0)
            continue;
        r = object_keep(bpf_map__fd(map), s->maps[i].name, &s->maps[i].fd, e);
        r = r < 0 ? r : keep_pinned(s, s->maps[i].name, s->maps[i].fd, e);
    }
    for (size_t i = 0; r == 0 && i < PROGRAMS_N; i++) {
        if (s->programs[i] >= 0 || !(programs[i].sources & l->source))
            continue;
        const struct bpf_program *p = bpf_object__find_program_by_name(object, programs[i].program);
        r = object_keep(bpf_program__fd(p), programs[i].program, &s->programs[i], e);
    }
    return r;
}

static int load(Sources *s, uint32_t source, Error *e)
{
    const char *names[PROGRAMS_N];
    size_t n = 0;
    for (size_t i = 0; i < PROGRAMS_N; i++)
        if (s->programs[i] < 0 && programs[i].sources & source)
            names[n++] = programs[i].program;
    if (n == 0)
        return 0;
    const Kernel *k = s->kernel;
    const KernelConfig nobody = {.max_modules = 1};
    const ObjectMap shared[] = {
#define X(name) {#name, k ? k->maps[MAP_##name] : -EBADF},
        KERNEL_MAPS(X)
#undef X
    };
    ObjectMap maps[ELEMENTS(shared) + OWN_N];
    memcpy(maps, shared, sizeof shared);
    memcpy(&maps[ELEMENTS(shared)], s->maps, sizeof s->maps);
    const ObjectPlan plan = {
        .config = k ? &k->config : &nobody, .programs = names, .n_programs = n, .maps = maps, .n_maps = ELEMENTS(maps)};
    Loading l = {.s = s, .source = source};
    return object_load(&plan, keep_loaded, &l, e);
}

static void detach(Sources *s, size_t i)
{
    if (s->links[i] < 0)
        return;
    unpin(s, programs[i].pin);
    s->links[i] = fd_close(s->links[i]);
}

static int attach(Sources *s, uint32_t source, Error *e)
{
    int r = load(s, source, e);
    for (size_t i = 0; r == 0 && i < PROGRAMS_N; i++) {
        if (!programs[i].pin || s->links[i] >= 0 || !(programs[i].sources & source))
            continue;
        s->links[i] = bpf_raw_tracepoint_open(NULL, s->programs[i]);
        r = s->links[i] < 0 ? error_errno(e, -errno, "bpf: %s", programs[i].program)
                            : keep_pinned(s, programs[i].pin, s->links[i], e);
    }
    return r;
}

/* What no module asks for any more. */
static void sweep(Sources *s)
{
    uint32_t asked = 0;
    for (size_t i = 0; i < s->n_modules; i++)
        asked |= s->modules[i].track;
    for (size_t i = PROGRAMS_N; i-- > 0;) {
        if (programs[i].sources & asked)
            continue;
        detach(s, i);
        s->programs[i] = fd_close(s->programs[i]);
    }
}

/* --- sites -----------------------------------------------------------------------------------------------------------
 */

static void site_pin(const Site *site, size_t i, char *ret, size_t size)
{
    snprintf(ret, size, "link_site_%llu_%zu", (unsigned long long)(site->id & ~SITE_USDT), i);
}

static void site_free(const Sources *s, Site *site)
{
    char pin[64];
    for (size_t i = site->n_links; i-- > 0;) {
        site_pin(site, i, pin, sizeof pin);
        unpin(s, pin);
        fd_close(site->links[i]);
    }
    free(site->links);
    free(site->name);
    free(site);
}

static int site_attach(const Sources *s, Site *site, const Probe *probe, int program, Error *e)
{
    char pin[64];
    int link = -EBADF, r = probe_attach(probe, program, &link, e);
    if (r < 0)
        return r;
    site_pin(site, site->n_links, pin, sizeof pin);
    ARRAY_PUSH(site->links, site->n_links) = link;
    return keep_pinned(s, pin, link, e);
}

static int attach_function(const Sources *s, Site *site, const KernelCall *c, int file, Error *e)
{
    Probe p = {.file = file, .cookie = site->id, .at_return = true};
    int r = symbol_resolve(file, c->path, c->name, &p.offset, e);
    r = r < 0 ? r : site_attach(s, site, &p, s->programs[PROGRAM_CALL_END], e);
    p.at_return = false;
    return r < 0 ? r : site_attach(s, site, &p, s->programs[PROGRAM_CALL_BEGIN], e);
}

static int attach_pair(const Sources *s, Site *site, const KernelCall *c, int file, Error *e)
{
    _cleanup_(freep) ProbePoint *points = NULL;
    size_t n = 0;
    int r = usdt_resolve(file, c->path, c->provider, c->name, &points, &n, e);
    for (int begins = 0; begins < 2; begins++)
        for (size_t i = 0; r == 0 && i < n; i++) {
            bool begin = points[i].role == PROBE_BEGIN;
            const Probe p = {.file = file,
                             .offset = points[i].offset,
                             .semaphore = points[i].semaphore,
                             .cookie = site->id | (points[i].role == PROBE_FAIL ? SITE_FAIL : 0)};
            if (begin == (begins == 1))
                r = site_attach(s, site, &p, s->programs[begin ? PROGRAM_CALL_BEGIN : PROGRAM_USDT_END], e);
        }
    return r;
}

/* The site, attached; what others use already is shared. */
static int site_find(Sources *s, const KernelCall *c, Site **ret, Error *e)
{
    _cleanup_fd_ int file = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (file < 0 || fstat(file, &st) < 0)
        return error_errno(e, -errno, "%s", c->path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, -ENOEXEC, "%s is no regular file", c->path);
    _cleanup_(freep) char *name = c->provider ? xasprintf("%s:%s", c->provider, c->name) : xstrdup(c->name);
    for (size_t i = 0; i < s->n_sites; i++) {
        Site *site = s->sites[i];
        if (site->ino == st.st_ino && site->dev == st.st_dev && site->changed.tv_sec == st.st_ctim.tv_sec &&
            site->changed.tv_nsec == st.st_ctim.tv_nsec && !(site->id & SITE_USDT) == !c->provider &&
            strcmp(site->name, name) == 0) {
            *ret = site;
            return 0;
        }
    }
    Site *site = new0(Site);
    site->id = ++s->last_site | (c->provider ? SITE_USDT : 0);
    site->dev = st.st_dev;
    site->ino = st.st_ino;
    site->changed = st.st_ctim;
    site->name = TAKE_PTR(name);
    int r = c->provider ? attach_pair(s, site, c, file, e) : attach_function(s, site, c, file, e);
    if (r < 0) {
        site_free(s, site);
        return r;
    }
    ARRAY_PUSH(s->sites, s->n_sites) = site;
    *ret = site;
    return 0;
}

static void site_leave(Sources *s, Site *site)
{
    if (site->users > 0 && --site->users > 0)
        return;
    for (size_t i = 0; i < s->n_sites; i++)
        if (s->sites[i] == site)
            s->sites[i] = s->sites[--s->n_sites];
    site_free(s, site);
}

static bool is_among(Site *const *sites, size_t n, const Site *site)
{
    for (size_t i = 0; i < n; i++)
        if (sites[i] == site)
            return true;
    return false;
}

static struct call_site_key key_of(uint64_t module, const Site *site)
{
    return (struct call_site_key){.module = module, .site = site->id};
}

/* --- modules ---------------------------------------------------------------------------------------------------------
 */

static Tracked *tracked(Sources *s, uint64_t module)
{
    for (size_t i = 0; i < s->n_modules; i++)
        if (s->modules[i].module == module)
            return &s->modules[i];
    return NULL;
}

/* Takes the sites of `old` that are not among the n that stay; frees the array. */
static void leave_sites(Sources *s, uint64_t module, Site **old, size_t n_old, Site *const *stay, size_t n)
{
    for (size_t i = 0; i < n_old; i++) {
        if (!is_among(stay, n, old[i])) {
            struct call_site_key key = key_of(module, old[i]);
            bpf_map_delete_elem(s->maps[OWN_CALL_SITES].fd, &key);
        }
        site_leave(s, old[i]);
    }
    free(old);
}

int sources_calls(Sources *s, uint64_t module, const KernelCall *calls, size_t n, Error *e)
{
    Tracked *t = tracked(s, module);
    if (!t || !(t->track & WORK_TRACK_CALLS))
        return n ? error_set(e, -EINVAL, "bpf: calls of a module that tracks none") : 0;
    Site **sites = NULL;
    size_t n_sites = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        Site *site = NULL;
        const uint64_t one = 1;
        if ((r = site_find(s, &calls[i], &site, e)) < 0 || !site)
            break;
        site->users++;
        ARRAY_PUSH(sites, n_sites) = site;
        struct call_site_key key = key_of(module, site);
        if (bpf_map_update_elem(s->maps[OWN_CALL_SITES].fd, &key, &one, BPF_ANY) < 0)
            r = error_errno(e, -errno, "bpf: cannot write the map call_sites");
    }
    if (r < 0) { /* as it was */
        leave_sites(s, module, sites, n_sites, t->sites, t->n_sites);
        return r;
    }
    Site **old = t->sites;
    size_t n_old = t->n_sites;
    t->sites = sites;
    t->n_sites = n_sites;
    leave_sites(s, module, old, n_old, sites, n_sites);
    return 0;
}

static void module_drop(Sources *s, Tracked *t)
{
    leave_sites(s, t->module, t->sites, t->n_sites, NULL, 0);
    *t = s->modules[--s->n_modules];
}

int sources_track(Sources *s, uint64_t module, uint32_t track, Error *e)
{
    Tracked *t = tracked(s, module);
    track &= SOURCES_TRACKED;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(rows); i++) {
        Error why = {0};
        if (!(track & rows[i].source))
            continue;
        r = s->without & (1u << rows[i].part) ? error_set(&why, -ENOTSUP, "switched off by --without")
                                              : attach(s, rows[i].source, &why);
        if (r < 0) {
            r = -ENOTSUP;
            error_set(e, r, "%s cannot be counted here: %s (take %s out; what would help: %s)", rows[i].what,
                      error_message(&why), rows[i].name, rows[i].mend);
        }
    }
    if (r == 0 && track) {
        if (!t) {
            ARRAY_PUSH(s->modules, s->n_modules) = (Tracked){.module = module};
            t = &s->modules[s->n_modules - 1];
        }
        if (!(track & WORK_TRACK_CALLS)) {
            leave_sites(s, module, TAKE_PTR(t->sites), t->n_sites, NULL, 0);
            t->n_sites = 0;
        }
        t->track = track;
    } else if (r == 0 && t) {
        module_drop(s, t);
    }
    sweep(s);
    return r;
}

bool sources_streams(const Sources *s, int *ret_program, int *ret_map)
{
    *ret_program = s->programs[PROGRAM_STREAMS];
    *ret_map = s->maps[OWN_STREAMS].fd;
    return *ret_program >= 0;
}

int sources_probe(KernelPrograms part, Error *e)
{
    Sources *s = sources_new(NULL, 0);
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(rows); i++)
        if (rows[i].part == part)
            r = attach(s, rows[i].source, e);
    if (r == 0 && part == KERNEL_CALLS)
        r = probe_try(s->programs[PROGRAM_CALL_BEGIN], e);
    sources_free(s);
    return r;
}

Sources *sources_new(const Kernel *k, unsigned without)
{
    static const char *const names[OWN_N] = {
        [OWN_THREADS] = "threads", [OWN_CALL_SITES] = "call_sites", [OWN_STREAMS] = "streams"};
    Sources *s = new0(Sources);
    s->kernel = k;
    s->without = without;
    for (size_t i = 0; i < OWN_N; i++)
        s->maps[i] = (ObjectMap){.name = names[i], .fd = -EBADF};
    for (size_t i = 0; i < PROGRAMS_N; i++)
        s->programs[i] = s->links[i] = -EBADF;
    return s;
}

Sources *sources_free(Sources *s)
{
    if (!s)
        return NULL;
    while (s->n_modules > 0)
        module_drop(s, &s->modules[s->n_modules - 1]);
    sweep(s);
    for (size_t i = 0; i < OWN_N; i++)
        fd_close(s->maps[i].fd);
    free(s->modules);
    free(s->sites);
    free(s);
    return NULL;
}
