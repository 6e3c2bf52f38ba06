/* See measures.h. */
#include "supervisor/measures.h"

#include "base/clock.h"
#include "base/histogram.h"
#include "supervisor/run/listeners.h"
#include "supervisor/run/page.h"

/* UINT64_MAX is null. */
static json_t *number(uint64_t v)
{
    return v == UINT64_MAX ? json_null() : json_integer((json_int_t)v);
}

/* --- work --------------------------------------------------------------------------------------------------------- */
/* The sources, named as `track` names them. */
static const struct {
    uint32_t bit;
    KernelPrograms part; /* without which nobody counts it */
    bool by_listener;    /* one that is shared hides whose it is */
    const char *name;
    size_t counters; /* of struct work_entry */
} sources[] = {
    {WORK_TRACK_CONNECTIONS, KERNEL_CONNECTIONS, true, "connections", offsetof(struct work_entry, connections)},
    {WORK_TRACK_REQUESTS, KERNEL_CONNECTIONS, true, "requests", offsetof(struct work_entry, requests)},
    {WORK_TRACK_UNIX, KERNEL_UNIX, false, "unix", offsetof(struct work_entry, unix_streams)},
    {WORK_TRACK_CALLS, KERNEL_CALLS, false, "calls", offsetof(struct work_entry, calls)},
    {WORK_TRACK_WRITES, KERNEL_WRITES, false, "writes", offsetof(struct work_entry, writes)},
    {WORK_TRACK_API, KERNEL_CONTROL, false, "api", offsetof(struct work_entry, api)},
};
_Static_assert(ELEMENTS(sources) == WORK_SOURCES_N, "a row each");

static json_t *counters_json(const struct work_counters *c)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "started", (json_int_t)c->started, "completed",
                     (json_int_t)c->completed, "errors", (json_int_t)c->errors, "in_flight", (json_int_t)c->in_flight,
                     "in_flight_peak", (json_int_t)c->in_flight_peak, "long_running", (json_int_t)c->long_running,
                     "rejected", (json_int_t)c->rejected, "latency_p50_usec",
                     (json_int_t)histogram_percentile(c->latency, BULKHEAD_HIST_SLOTS, 50), "latency_p99_usec",
                     (json_int_t)histogram_percentile(c->latency, BULKHEAD_HIST_SLOTS, 99));
}

static json_t *sources_json(const struct work_entry *w)
{
    json_t *o = json_object();
    for (size_t i = 0; i < ELEMENTS(sources); i++)
        if (w->track & sources[i].bit)
            json_object_set_new(
                o, sources[i].name,
                counters_json((const struct work_counters *)(const void *)((const char *)w + sources[i].counters)));
    return o;
}

static json_t *entry_json(const struct work_entry *w)
{
    uint64_t now = clock_usec(CLOCK_MONOTONIC), begun = w->epoch / 1000;
    json_t *o = counters_json(&w->total), *latency = json_array();
    for (size_t i = 0; i < BULKHEAD_HIST_SLOTS; i++)
        json_array_append_new(latency, json_integer((json_int_t)w->total.latency[i]));
    json_object_set_new(o, "latency", latency);
    json_object_set_new(o, "counted_usec", json_integer((json_int_t)(now > begun ? now - begun : 0)));
    json_object_set_new(o, "gate", json_string(w->gate ? "closed" : "open"));
    json_object_set_new(o, "max_in_flight", w->max_in_flight ? json_integer(w->max_in_flight) : json_null());
    json_object_set_new(o, "held", json_integer((json_int_t)w->held));
    json_object_set_new(o, "sources", sources_json(w));
    return o;
}

/* Of what counts itself where nothing else can: there is no kernel's part. */
static json_t *api_json(const Module *m, const struct work_counters *api)
{
    struct work_entry w = {.track = WORK_TRACK_API, .total = *api, .api = *api};
    w.epoch = (m->generation ? m->generation->started : clock_usec(CLOCK_MONOTONIC)) * 1000;
    return entry_json(&w);
}

/* What somebody counts of all that its policy asks for. */
static uint32_t counted(const Module *m, uint32_t track)
{
    for (size_t i = 0; i < ELEMENTS(sources); i++)
        if (!kernel_has(m->ctx->kernel, sources[i].part) || (sources[i].by_listener && listeners_shared(m)))
            track &= ~sources[i].bit;
    return track;
}

json_t *measures_work(const Module *m)
{
    struct work_entry w;
    struct work_counters api;
    bool by_itself = page_of_module(m, &api); /* the kernel's entry has it from here on */
    if (!m->ctx->kernel || !m->group || kernel_work(m->ctx->kernel, group_id(m->group), &w) < 0 ||
        !(w.track = counted(m, w.track)))
        return by_itself ? api_json(m, &api) : json_null();
    return entry_json(&w);
}

json_t *measures_shared_work(const Module *m)
{
    struct work_entry w;
    return listeners_work(m, &w) ? entry_json(&w) : json_null();
}

/* --- what it uses ------------------------------------------------------------------------------------------------- */
#define STATS_NONE                                                             \
    (GroupStats)                                                               \
    {                                                                          \
        UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX \
    }

bool measures_usage(const Module *m, GroupStats *ret)
{
    *ret = STATS_NONE;
    return m->generation && box_usage(m->generation->leaf, ret) == 0;
}

bool measures_stats(const Module *m, GroupStats *ret)
{
    *ret = STATS_NONE;
    return m->generation && box_stats(m->generation->leaf, ret) == 0;
}

uint64_t measures_oom_kills(const Module *m, const GroupStats *s)
{
    return m->oom_kills + (s->memory_oom_kills != UINT64_MAX ? s->memory_oom_kills : 0);
}

json_t *measures_cpu(const Module *m, const GroupStats *s)
{
    return json_pack("{s:o,s:o,s:o}", "usage_usec", number(s->cpu_usage_usec), "max", number(m->policy->limits.cpu_max),
                     "throttled_usec", number(s->cpu_throttled_usec));
}

json_t *measures_memory(const Module *m, const GroupStats *s)
{
    return json_pack("{s:o,s:o,s:o,s:I}", "current", number(s->memory_current), "peak", number(s->memory_peak), "max",
                     number(m->policy->limits.memory_max), "oom_kills", (json_int_t)measures_oom_kills(m, s));
}

static json_t *percent(double v)
{
    return v < 0 ? json_null() : json_real(v);
}

json_t *measures_pressure(const Module *m)
{
    GroupPressure p;
    const Generation *g = m->generation;
    if (!g || !box_group(g->leaf) || group_read_pressure(box_group(g->leaf), &p) < 0)
        return json_null();
    return json_pack("{s:o,s:o,s:o}", "cpu", percent(p.cpu), "memory", percent(p.memory), "io", percent(p.io));
}
