/* Samples into rows: see top.h. */
#include "tools/top.h"

#include <stdio.h>

#include "base/histogram.h"
#include "tools/names.h"
#include "tools/view.h"

enum { SLOTS_MAX = 63 };

/* --- the host ----------------------------------------------------------------------------------------------------- */
/* "cpu  user nice system idle iowait irq softirq steal …": all but idle and iowait is busy. Guests are in user already.
 */
static void read_stat(const char *text, TopHost *h)
{
    uint64_t v[8];
    const char *at = text + strlen("cpu");
    if (!str_starts(text, "cpu "))
        return;
    for (size_t i = 0; i < ELEMENTS(v); i++) {
        char *end;
        v[i] = strtoull(at, &end, 10);
        if (end == at)
            return;
        at = end;
    }
    h->cpu_all = 0;
    for (size_t i = 0; i < ELEMENTS(v); i++)
        h->cpu_all += v[i];
    h->cpu_busy = h->cpu_all - v[3] - v[4];
    for (const char *line = text; (line = strchr(line, '\n')); h->cpus++)
        if (!str_starts(++line, "cpu"))
            break;
}

static uint64_t meminfo_bytes(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    char *end = NULL;
    uint64_t kib = at ? strtoull(at += strlen(key), &end, 10) : 0;
    return at && end != at && str_starts(end, " kB") ? kib * 1024 : UINT64_MAX;
}

TopHost top_host(const char *stat, const char *meminfo)
{
    TopHost h = {.cpu_busy = UINT64_MAX,
                 .cpu_all = UINT64_MAX,
                 .memory_available = meminfo_bytes(meminfo, "MemAvailable:"),
                 .memory_total = meminfo_bytes(meminfo, "MemTotal:")};
    read_stat(stat, &h);
    return h;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */
/* b - a of a counter; UINT64_MAX where one is unknown or it has begun anew. */
static uint64_t grown(uint64_t a, uint64_t b)
{
    return a == UINT64_MAX || b == UINT64_MAX || b < a ? UINT64_MAX : b - a;
}

static uint64_t slot(const json_t *slots, size_t i)
{
    const json_t *v = json_array_get(slots, i);
    return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : UINT64_MAX;
}

/* What completed between the two: their histograms' difference. */
static void add_latency(TopRow *row, const json_t *before, const json_t *now)
{
    const json_t *a = json_object_get(before, "latency"), *b = json_object_get(now, "latency");
    uint64_t slots[SLOTS_MAX], any = 0;
    size_t n = json_array_size(b);
    if (n == 0 || n > SLOTS_MAX || json_array_size(a) != n)
        return;
    for (size_t i = 0; i < n; i++) {
        slots[i] = grown(slot(a, i), slot(b, i));
        if (slots[i] == UINT64_MAX)
            return;
        any |= slots[i];
    }
    if (!any)
        return;
    row->p50 = histogram_percentile(slots, n, 50);
    row->p99 = histogram_percentile(slots, n, 99);
}

static void add_pressure(TopRow *row, const json_t *pressure)
{
    static const char *const kinds[] = {"cpu", "memory", "io"};
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        const json_t *v = json_object_get(pressure, kinds[i]);
        if (!json_is_number(v) || json_number_value(v) <= row->pressure)
            continue;
        row->pressure = json_number_value(v);
        row->pressure_of = kinds[i][0];
    }
}

static void make_row(const json_t *before, const json_t *m, double seconds, TopRow *row)
{
    const json_t *memory = json_object_get(m, "memory"), *work = json_object_get(m, "work"),
                 *work_before = json_object_get(before, "work");
    bool same = member_number(before, "generation") == member_number(m, "generation");
    const char *state = str_or(member_string(m, "state"), "?");
    bool gated = str_equal(member_string(work, "gate"), "closed") && str_equal(state, "running");
    *row = (TopRow){.name = str_or(member_string(m, "name"), "?"),
                    .state = gated ? "gated" : state,
                    .group = member_string(m, "group"),
                    .cpu = -1,
                    .memory = member_number(memory, "current"),
                    .memory_max = member_number(memory, "max"),
                    .in_flight = member_number(work, "in_flight"),
                    .rate = -1,
                    .p50 = UINT64_MAX,
                    .p99 = UINT64_MAX,
                    .pressure = -1,
                    .restarts = member_number(m, "restarts")};
    add_pressure(row, json_object_get(m, "pressure"));
    if (!before || seconds <= 0)
        return;
    /* A generation's usage begins at 0 with it: if it is new, all of it is of this interval. */
    const json_t *cpu_before = json_object_get(before, "cpu");
    uint64_t used = grown(same ? member_number(cpu_before, "usage_usec") : 0,
                          member_number(json_object_get(m, "cpu"), "usage_usec"));
    uint64_t done = grown(member_number(work_before, "completed"), member_number(work, "completed"));
    if (used != UINT64_MAX)
        row->cpu = (double)used / USEC_PER_SEC / seconds * 100;
    if (done == UINT64_MAX)
        return;
    row->rate = (double)done / seconds;
    add_latency(row, work_before, work);
}

/* Both are sorted by name, so the second begins where the first was found. */
static const json_t *find(const json_t *modules, const char *name, size_t *at)
{
    size_t n = json_array_size(modules);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(modules, (*at + i) % n);
        if (!str_equal(member_string(m, "name"), name))
            continue;
        *at = (*at + i + 1) % n;
        return m;
    }
    return NULL;
}

void top_frame(const json_t *before, const TopHost *host_before, const json_t *now, const TopHost *host_now,
               TopFrame *ret)
{
    const json_t *modules = json_object_get(now, "modules"), *old = json_object_get(before, "modules");
    uint64_t interval = grown(member_number(before, "uptime_usec"), member_number(now, "uptime_usec"));
    if (interval == UINT64_MAX)
        interval = 0;
    *ret = (TopFrame){.status = now, .interval_usec = interval, .host_cpu = -1, .host = *host_now};
    ret->n_rows = ret->of = json_array_size(modules);
    ret->rows = new0_array(TopRow, MAX2(ret->n_rows, (size_t)1));
    ret->rate = -1;
    for (size_t i = 0, at = 0; i < ret->n_rows; i++) {
        TopRow *row = &ret->rows[i];
        const json_t *m = json_array_get(modules, i);
        const json_t *m_before = interval ? find(old, str_or(member_string(m, "name"), ""), &at) : NULL;
        make_row(m_before, m, (double)interval / USEC_PER_SEC, row);
        ret->running += str_equal(member_string(m, "state"), "running");
        if (row->in_flight != UINT64_MAX)
            ret->in_flight += row->in_flight;
        if (row->rate >= 0)
            ret->rate = MAX2(ret->rate, 0.0) + row->rate;
    }
    if (!host_before)
        return;
    uint64_t all = grown(host_before->cpu_all, host_now->cpu_all),
             busy = grown(host_before->cpu_busy, host_now->cpu_busy);
    if (all != UINT64_MAX && busy != UINT64_MAX && all > 0)
        ret->host_cpu = 100.0 * (double)busy / (double)all;
}

void top_frame_done(TopFrame *f)
{
    free(f->rows);
    *f = (TopFrame){0};
}

/* --- which, in which order ---------------------------------------------------------------------------------------- */
static bool wanted(const TopRow *row, const TopState *s)
{
    bool meant = !s->words || !*s->words;
    STRV_FOREACH (word, s->words)
        meant |= names_means(*word, row->name, row->group);
    if (!meant || !s->filter)
        return meant;
    return strstr(row->name, s->filter) || names_means(s->filter, row->name, row->group);
}

static int compare_numbers(double a, double b)
{
    return (a > b) - (a < b);
}

/* What is unknown is less than all else. */
static int compare_counts(uint64_t a, uint64_t b)
{
    return compare_numbers(a == UINT64_MAX ? -1 : (double)a, b == UINT64_MAX ? -1 : (double)b);
}

/* > 0: a belongs below b. */
static int compare(const TopRow *a, const TopRow *b, TopColumn by)
{
    switch (by) {
    case TOP_STATE:
        return strcmp(a->state, b->state);
    case TOP_CPU:
        return -compare_numbers(a->cpu, b->cpu);
    case TOP_MEMORY:
        return -compare_counts(a->memory, b->memory);
    case TOP_IN_FLIGHT:
        return -compare_counts(a->in_flight, b->in_flight);
    case TOP_RATE:
        return -compare_numbers(a->rate, b->rate);
    case TOP_P50:
        return -compare_counts(a->p50, b->p50);
    case TOP_P99:
        return -compare_counts(a->p99, b->p99);
    case TOP_PRESSURE:
        return -compare_numbers(a->pressure, b->pressure);
    case TOP_RESTARTS:
        return -compare_counts(a->restarts, b->restarts);
    case TOP_NAME:
    case TOP_BAR:
    case TOP_COLUMN_N:
        break;
    }
    return 0;
}

/* worker@2 before worker@10. */
static int compare_rows(const void *x, const void *y, void *state)
{
    const TopRow *a = x, *b = y;
    const TopState *s = state;
    int order = compare(a, b, s->sort);
    if (order == 0)
        order = strverscmp(a->name, b->name);
    return s->reverse ? -order : order;
}

void top_select(TopFrame *f, const TopState *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        if (wanted(&f->rows[i], s))
            f->rows[kept++] = f->rows[i];
    f->n_rows = kept;
    qsort_r(f->rows, kept, sizeof *f->rows, compare_rows, (void *)(uintptr_t)s);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */
static json_t *count(uint64_t v)
{
    return v == UINT64_MAX ? json_null() : json_integer((json_int_t)v);
}

/* In thousandths, so that it is printed short. */
static json_t *real(double v)
{
    return v < 0 ? json_null() : json_real((double)(long long)(v * 1000 + 0.5) / 1000);
}

static json_t *row_json(const TopRow *r, const json_t *pressure)
{
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:O?,s:o}", "name", r->name, "state", r->state,
                     "cpu_percent", real(r->cpu), "memory", count(r->memory), "memory_max", count(r->memory_max),
                     "in_flight", count(r->in_flight), "rate", real(r->rate), "latency_p50_usec", count(r->p50),
                     "latency_p99_usec", count(r->p99), "pressure", pressure, "restarts", count(r->restarts));
}

json_t *top_json(const TopFrame *f, uint64_t time_usec)
{
    json_t *modules = json_array();
    const json_t *all = json_object_get(f->status, "modules");
    size_t at = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        json_array_append_new(modules,
                              row_json(&f->rows[i], json_object_get(find(all, f->rows[i].name, &at), "pressure")));
    json_t *host =
        json_pack("{s:o,s:i,s:o,s:o}", "cpu_percent", real(f->host_cpu), "cpus", (int)f->host.cpus, "memory_available",
                  count(f->host.memory_available), "memory_total", count(f->host.memory_total));
    return json_pack("{s:I,s:I,s:O?,s:O?,s:O?,s:O?,s:o,s:o}", "time_usec", (json_int_t)time_usec, "interval_usec",
                     (json_int_t)f->interval_usec, "instance", json_object_get(f->status, "instance"), "status",
                     json_object_get(f->status, "status"), "reason", json_object_get(f->status, "reason"),
                     "uptime_usec", json_object_get(f->status, "uptime_usec"), "host", host, "modules", modules);
}
