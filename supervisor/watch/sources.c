/* See sources.h. */
#include "supervisor/watch/sources.h"

#include <errno.h>

#include "supervisor/run/listeners.h"
#include "supervisor/run/page.h"

/* What a source of the kernel's counts, its bit in work_entry.track, and whether a shared listener hides whose it is.
 */
typedef struct Row {
    WorkKind kind;
    uint32_t track;
    KernelPrograms part;
    bool by_listener;
    size_t offset;
} Row;

static const Row rows[] = {
    {WORK_CONNECTIONS, WORK_TRACK_CONNECTIONS, KERNEL_CONNECTIONS, true, offsetof(struct work_entry, connections)},
    {WORK_REQUESTS, WORK_TRACK_REQUESTS, KERNEL_CONNECTIONS, true, offsetof(struct work_entry, requests)},
    {WORK_UNIX, WORK_TRACK_UNIX, KERNEL_UNIX, false, offsetof(struct work_entry, unix_streams)},
    {WORK_CALLS, WORK_TRACK_CALLS, KERNEL_CALLS, false, offsetof(struct work_entry, calls)},
    {WORK_WRITES, WORK_TRACK_WRITES, KERNEL_WRITES, false, offsetof(struct work_entry, writes)},
};

static const struct work_counters *counters_of(const struct work_entry *w, const Row *row)
{
    return (const struct work_counters *)(const void *)((const char *)w + row->offset);
}

static bool is_hidden(const Module *m, const Row *row)
{
    return row->by_listener && listeners_shared(m);
}

/* Its group is made with its first start, the kernel's parts are opened after modules are known. */
static bool has_counters(const Module *m)
{
    return m->group && m->ctx->kernel;
}

static void read_kernel(void *userdata, WorkNow *now)
{
    const Module *m = userdata;
    struct work_entry w;
    if (!has_counters(m) || kernel_work(m->ctx->kernel, group_id(m->group), &w) < 0)
        return;
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        const Row *row = &rows[i];
        if (!(w.track & row->track) || !kernel_has(m->ctx->kernel, row->part) || is_hidden(m, row))
            continue;
        int64_t n = counters_of(&w, row)->in_flight;
        now->kinds |= 1u << row->kind;
        now->in_flight[row->kind] += n > 0 ? (uint64_t)n : 0;
    }
}

static bool counts_itself(const Module *m)
{
    return m->policy->work.track.sources & TRACK_API;
}

/* Without the kernel's part there is nothing to tell it; what counts itself has a gate all the same. */
static int without_kernel(const Module *m)
{
    return counts_itself(m) ? 0 : -ENOENT;
}

/* Instances that share a listener have no gate of their own: one of them must not turn away what is for all. */
static int gate_kernel(void *userdata, bool closed)
{
    const Module *m = userdata;
    if (!has_counters(m))
        return without_kernel(m);
    return listeners_shared(m) ? 0 : kernel_gate(m->ctx->kernel, group_id(m->group), closed);
}

static int tell_kernel(void *userdata, bool on)
{
    const Module *m = userdata;
    return has_counters(m) ? kernel_set_draining(m->ctx->kernel, group_id(m->group), on) : without_kernel(m);
}

static const WorkSource kernel_source = {
    .name = "kernel", .read = read_kernel, .gate = gate_kernel, .tell = tell_kernel};

static void read_page(void *userdata, WorkNow *now)
{
    struct work_counters api;
    if (!page_of_module(userdata, &api))
        return;
    now->kinds |= 1u << WORK_API;
    now->in_flight[WORK_API] += (uint64_t)api.in_flight;
}

/* A generation that starts while the gate is closed finds it so in its page. */
static int gate_page(void *userdata, bool closed)
{
    const Module *m = userdata;
    return m->generation && m->generation->page ? page_set_draining(m->generation->page, closed) : 0;
}

/* It does not tell of its end. */
static const WorkSource page_source = {.name = "page", .read = read_page, .gate = gate_page};

void sources_register(Module *m)
{
    if (counts_itself(m))
        work_register(m->ctx->work, m, module_name(m), &page_source, m);
    if (m->policy->work.track.sources & ~(unsigned)TRACK_API)
        work_register(m->ctx->work, m, module_name(m), &kernel_source, m);
}

bool sources_tracked(const Module *m)
{
    return m->policy->work.track.sources;
}

bool sources_have_sockets(const WorkNow *now)
{
    return now->kinds & (1u << WORK_CONNECTIONS | 1u << WORK_REQUESTS | 1u << WORK_UNIX);
}
