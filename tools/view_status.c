/* `bulkhead status` for people: the table of all modules, and one module at length. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "tools/top.h"
#include "tools/view.h"

static TableColour state_colour(const char *state)
{
    if (str_equal(state, "running"))
        return COLOUR_GREEN;
    if (str_equal(state, "failed"))
        return COLOUR_RED;
    return str_equal(state, "idle") ? COLOUR_DIM : COLOUR_YELLOW;
}

static TableColour health_colour(const char *health)
{
    if (str_equal(health, "healthy"))
        return COLOUR_GREEN;
    if (str_equal(health, "degraded"))
        return COLOUR_YELLOW;
    return str_equal(health, "unknown") ? COLOUR_DIM : COLOUR_RED;
}

static char *number_text(uint64_t n)
{
    return n == UINT64_MAX ? NULL : xasprintf("%" PRIu64, n);
}

/* "12M/64M", "12M", or nothing. */
static char *of_max(uint64_t current, uint64_t max)
{
    if (current == UINT64_MAX)
        return NULL;
    _cleanup_(freep) char *a = format_bytes(current), *b = format_bytes(max);
    return max == UINT64_MAX ? TAKE_PTR(a) : xasprintf("%s/%s", a, b);
}

/* Whether its next start is its timer's, not recovery's. */
static bool by_timer(const json_t *m)
{
    return member_number(json_object_get(m, "timer"), "next_usec") == member_number(m, "next_start_usec");
}

/* "exec_start_pre: /usr/bin/wait-for-db, for 12s, time-out in 48s"; NULL where no hook runs. */
static char *hook_text(const json_t *hook)
{
    const char *name = member_string(hook, "name"), *command = member_string(hook, "command");
    uint64_t elapsed = member_number(hook, "elapsed_usec"), left = member_number(hook, "left_usec");
    if (!name || !command || elapsed == UINT64_MAX)
        return NULL;
    _cleanup_(freep) char *shown = str_escape(command, strlen(command), 200);
    _cleanup_(freep) char *so_far = format_usec(elapsed / USEC_PER_SEC * USEC_PER_SEC);
    _cleanup_(freep) char *to_go = left == UINT64_MAX ? NULL : format_usec(left / USEC_PER_SEC * USEC_PER_SEC);
    return xasprintf("%s: %s, for %s%s%s", name, shown, elapsed < USEC_PER_SEC ? "0s" : so_far,
                     to_go ? ", time-out in " : "", to_go ? to_go : "");
}

/* "20 (instances = 1 in its file)", where a scale has changed it; owned by the caller, NULL = nothing to tell. */
static char *instances_text(const json_t *m)
{
    const json_t *x = json_object_get(m, "instances");
    uint64_t now = member_number(x, "now"), configured = member_number(x, "configured");
    if (now == UINT64_MAX || now == configured)
        return NULL;
    return xasprintf("%" PRIu64 " of instances = %" PRIu64, now, configured);
}

/* What a person should know that the columns do not say. */
static char *note(const json_t *m, uint64_t now)
{
    StrBuf b = STRBUF_NULL;
    uint64_t next = member_number(m, "next_start_usec"),
             kills = member_number(json_object_get(m, "memory"), "oom_kills");
    const char *state = member_string(m, "state");
    const json_t *x = json_object_get(m, "last_exit");
    if (json_is_true(json_object_get(m, "leaving")))
        strbuf_adds(&b, "leaving");
    if (str_equal(member_string(json_object_get(m, "work"), "gate"), "closed") && str_equal(state, "running"))
        strbuf_addf(&b, "%sgets no new work", b.len ? ", " : "");
    if (next != UINT64_MAX) {
        _cleanup_(freep) char *in = format_usec(next > now ? (next - now) / 100000 * 100000 : 0);
        strbuf_addf(&b, by_timer(m) ? "next in %s" : "next start in %s", in);
    }
    char *hook = hook_text(json_object_get(m, "hook"));
    if (hook)
        strbuf_addf(&b, "%s%s", b.len ? ", " : "", hook);
    const json_t *reload = json_object_get(m, "reload");
    if (json_is_true(json_object_get(reload, "running")) && !hook)
        strbuf_addf(&b, "%sreloading", b.len ? ", " : "");
    else if (member_string(reload, "last_error") && str_equal(state, "running"))
        strbuf_addf(&b, "%slast reload failed", b.len ? ", " : "");
    free(hook);
    const char *condition = member_string(m, "condition");
    if (condition && str_equal(state, "idle")) {
        _cleanup_(freep) char *shown = str_escape(condition, strlen(condition), 400);
        strbuf_addf(&b, "%s%s", b.len ? ", " : "", shown);
    }
    bool bad = json_is_object(x) && (member_number(x, "code") != 0 || json_is_true(json_object_get(x, "oom")));
    bool wanted = str_equal(state, "idle") && next == UINT64_MAX; /* stopped by somebody: its end is no news */
    bool news = !str_equal(state, "running") || member_number(m, "restarts") > 0;
    if (bad && !wanted && news) {
        _cleanup_(freep) char *how = view_last_exit(x);
        if (how)
            strbuf_addf(&b, "%s%s%s", b.len ? ", " : "", str_equal(state, "running") ? "last: " : "", how);
    }
    if (kills != UINT64_MAX && kills > 0 && !json_is_true(json_object_get(x, "oom")))
        strbuf_addf(&b, "%s%" PRIu64 " killed for memory", b.len ? ", " : "", kills);
    return strbuf_take(&b);
}

/* Completed a second since counting began: what a single look can honestly say. */
static char *rate_text(const json_t *work)
{
    uint64_t done = member_number(work, "completed"), span = member_number(work, "counted_usec");
    if (done == UINT64_MAX || span == UINT64_MAX || span == 0)
        return NULL;
    return top_number((double)done / ((double)span / USEC_PER_SEC));
}

/* 0 is what a histogram without anything in it says. */
static char *latency_text(const json_t *work, const char *key)
{
    uint64_t usec = member_number(work, key);
    return usec == 0 ? NULL : top_usec(usec);
}

enum {
    COL_NAME,
    COL_STATE,
    COL_HEALTH,
    COL_PID,
    COL_CPU,
    COL_MEMORY,
    COL_WORK,
    COL_RATE,
    COL_P50,
    COL_P99,
    COL_RESTARTS,
    COL_NOTE
};

static void add_row(Table *t, const json_t *m, uint64_t now)
{
    const json_t *memory = json_object_get(m, "memory"), *work = json_object_get(m, "work");
    const char *name = str_or(member_string(m, "name"), "?"), *health = str_or(member_string(m, "health"), "?");
    uint64_t cpu = member_number(json_object_get(m, "cpu"), "usage_usec");
    table_add(t, str_escape(name, strlen(name), 80), COLOUR_BOLD);
    table_add(t, xstrdup(view_state(m)), state_colour(view_state(m)));
    table_add(t, xstrdup(health), health_colour(health));
    table_add(t, number_text(member_number(m, "pid")), COLOUR_NONE);
    table_add(t, cpu == UINT64_MAX ? NULL : format_usec(cpu), COLOUR_NONE);
    table_add(t, of_max(member_number(memory, "current"), member_number(memory, "max")), COLOUR_NONE);
    table_add(t, number_text(member_number(work, "in_flight")), COLOUR_NONE);
    table_add(t, rate_text(work), COLOUR_NONE);
    table_add(t, latency_text(work, "latency_p50_usec"), COLOUR_NONE);
    table_add(t, latency_text(work, "latency_p99_usec"), COLOUR_NONE);
    table_add(t, number_text(member_number(m, "restarts")), COLOUR_NONE);
    table_add(t, note(m, now), COLOUR_YELLOW);
}

/* Templates that a scale has changed, each once: its instances stand together. */
static void add_scaled(StrBuf *b, const json_t *modules)
{
    const char *last = "";
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const json_t *m = json_array_get(modules, i);
        const char *template = member_string(json_object_get(m, "instances"), "template");
        _cleanup_(freep) char *text = template && strcmp(template, last) != 0 ? instances_text(m) : NULL;
        last = str_or(template, "");
        if (!text)
            continue;
        _cleanup_(freep) char *shown = str_escape(template, strlen(template), 80);
        strbuf_addf(b, "\n%s: %s, until the daemon's next start\n", shown, text);
    }
}

char *view_status(const json_t *status, const View *v)
{
    static const TableColumn columns[] = {
        [COL_NAME] = {.title = "NAME", .shrinks = true},
        [COL_STATE] = {.title = "STATE"},
        [COL_HEALTH] = {.title = "HEALTH"},
        [COL_PID] = {.title = "PID", .right = true},
        [COL_CPU] = {.title = "CPU", .right = true},
        [COL_MEMORY] = {.title = "MEMORY", .right = true},
        [COL_WORK] = {.title = "IN FLIGHT", .right = true},
        [COL_RATE] = {.title = "RATE/s", .right = true, .spare = 2},
        [COL_P50] = {.title = "P50", .right = true, .spare = 3},
        [COL_P99] = {.title = "P99", .right = true, .spare = 1},
        [COL_RESTARTS] = {.title = "RESTARTS", .right = true},
        [COL_NOTE] = {.title = "NOTE", .shrinks = true},
    };
    const json_t *modules = json_object_get(status, "modules");
    const char *health = str_or(member_string(status, "status"), "?"), *reason = member_string(status, "reason");
    uint64_t uptime = member_number(status, "uptime_usec");
    size_t n = json_array_size(modules), running = 0;
    StrBuf b = STRBUF_NULL;
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    for (size_t i = 0; i < n; i++) {
        add_row(&t, json_array_get(modules, i), v->now);
        running += str_equal(member_string(json_array_get(modules, i), "state"), "running");
    }
    text_coloured(&b, str_or(member_string(status, "instance"), "?"), COLOUR_BOLD, v->colours);
    strbuf_adds(&b, ": ");
    text_coloured(&b, health, health_colour(health), v->colours);
    if (reason) {
        _cleanup_(freep) char *shown = str_escape(reason, strlen(reason), 400);
        strbuf_addf(&b, " (%s)", shown);
    }
    if (uptime != UINT64_MAX) {
        _cleanup_(freep) char *up = format_usec(uptime / USEC_PER_SEC * USEC_PER_SEC);
        strbuf_addf(&b, ", up %s", uptime < USEC_PER_SEC ? "0s" : up);
    }
    strbuf_addf(&b, ", %zu of %zu module%s running\n", running, n, n == 1 ? "" : "s");
    if (n == 0) {
        strbuf_adds(&b, "No module yet: `bulkhead init -- PROGRAM` writes one into modules.d.\n");
        return strbuf_take(&b);
    }
    strbuf_addc(&b, '\n');
    table_hide_empty(&t, COL_HEALTH, "unknown");
    table_hide_empty(&t, COL_WORK, NULL);
    table_hide_empty(&t, COL_RATE, NULL);
    table_hide_empty(&t, COL_P50, NULL);
    table_hide_empty(&t, COL_P99, NULL);
    table_hide_empty(&t, COL_NOTE, NULL);
    table_print(&t, v->width, v->colours, &b);
    add_scaled(&b, modules);
    return strbuf_take(&b);
}

/* --- one module --------------------------------------------------------------------------------------------------- */

static void add_line(StrBuf *b, const char *title, char *owned)
{
    _cleanup_(freep) char *value = owned;
    if (value && *value)
        strbuf_addf(b, "%12s: %s\n", title, value);
}

static char *joined(StrBuf *b)
{
    return b->len ? strbuf_take(b) : NULL;
}

static void add_part(StrBuf *b, char *owned, const char *after)
{
    _cleanup_(freep) char *value = owned;
    if (value)
        strbuf_addf(b, "%s%s%s", b->len ? ", " : "", value, after);
}

static char *bytes_text(uint64_t n)
{
    return n == UINT64_MAX ? NULL : format_bytes(n);
}

static char *usec_text(uint64_t n)
{
    return n == UINT64_MAX ? NULL : format_usec(n);
}

static char *cpu_text(const json_t *cpu)
{
    StrBuf b = STRBUF_NULL;
    uint64_t max = member_number(cpu, "max"), throttled = member_number(cpu, "throttled_usec");
    add_part(&b, usec_text(member_number(cpu, "usage_usec")), "");
    if (max != UINT64_MAX)
        add_part(&b, xasprintf("max %" PRIu64 "%%", max), "");
    if (throttled != UINT64_MAX && throttled > 0)
        add_part(&b, usec_text(throttled), " held back");
    return joined(&b);
}

static char *memory_text(const json_t *memory)
{
    StrBuf b = STRBUF_NULL;
    uint64_t kills = member_number(memory, "oom_kills");
    add_part(&b, bytes_text(member_number(memory, "current")), "");
    add_part(&b, bytes_text(member_number(memory, "peak")), " at peak");
    if (member_number(memory, "max") != UINT64_MAX) {
        _cleanup_(freep) char *max = format_bytes(member_number(memory, "max"));
        add_part(&b, xasprintf("max %s", max), "");
    }
    if (kills != UINT64_MAX && kills > 0)
        add_part(&b, number_text(kills), " killed for memory");
    return joined(&b);
}

static char *pids_text(const json_t *pids)
{
    StrBuf b = STRBUF_NULL;
    add_part(&b, number_text(member_number(pids, "current")), "");
    if (member_number(pids, "max") != UINT64_MAX)
        add_part(&b, xasprintf("max %" PRIu64, member_number(pids, "max")), "");
    return joined(&b);
}

/* Of one source, or of their sum. */
static char *work_text(const json_t *work)
{
    StrBuf b = STRBUF_NULL;
    uint64_t p99 = member_number(work, "latency_p99_usec"), longer = member_number(work, "long_running"),
             rejected = member_number(work, "rejected");
    add_part(&b, number_text(member_number(work, "in_flight")), " in flight");
    add_part(&b, number_text(member_number(work, "in_flight_peak")), " at peak");
    add_part(&b, number_text(member_number(work, "started")), " started");
    add_part(&b, number_text(member_number(work, "completed")), " completed");
    add_part(&b, number_text(member_number(work, "errors")), " errors");
    if (longer != UINT64_MAX && longer > 0)
        add_part(&b, number_text(longer), " long-running");
    if (rejected != UINT64_MAX && rejected > 0)
        add_part(&b, number_text(rejected), " rejected");
    if (p99 != UINT64_MAX && p99 > 0) {
        _cleanup_(freep) char *half = top_usec(member_number(work, "latency_p50_usec")), *most = top_usec(p99);
        add_part(&b, xasprintf("half within %s, 99%% within %s", half, most), "");
    }
    return joined(&b);
}

/* "open, at most 1000 in flight", "closed, 12 segments held back"; NULL where it is open and sets no limit. */
static char *gate_text(const json_t *work)
{
    StrBuf b = STRBUF_NULL;
    uint64_t most = member_number(work, "max_in_flight"), held = member_number(work, "held");
    bool closed = str_equal(member_string(work, "gate"), "closed");
    if (!closed && most == UINT64_MAX && (held == UINT64_MAX || held == 0))
        return NULL;
    strbuf_adds(&b, closed ? "closed: no new work comes in" : "open");
    if (most != UINT64_MAX)
        add_part(&b, xasprintf("at most %" PRIu64 " in flight", most), "");
    if (held != UINT64_MAX && held > 0)
        add_part(&b, number_text(held), " segments held back, which TCP sends again");
    return joined(&b);
}

/* All work together, then a line for each source of it. */
static void add_work(StrBuf *b, const json_t *work)
{
    const json_t *sources = json_object_get(work, "sources");
    const char *name;
    json_t *source;
    _cleanup_(freep) char *rate = rate_text(work);
    add_line(b, "work", work_text(work));
    add_line(b, "rate", rate ? xasprintf("%s completed a second since counting began", rate) : NULL);
    add_line(b, "gate", gate_text(work));
    json_object_foreach((json_t *)(uintptr_t)sources, name, source)
    {
        _cleanup_(freep) char *title = str_escape(name, strlen(name), 12);
        add_line(b, title, work_text(source));
    }
}

static char *pressure_text(const json_t *pressure)
{
    static const struct {
        const char *key, *text;
    } kinds[] = {{"cpu", "CPU"}, {"memory", "memory"}, {"io", "disk"}};
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        const json_t *v = json_object_get(pressure, kinds[i].key);
        if (json_is_number(v) && json_number_value(v) >= 0.05)
            add_part(&b, xasprintf("%.1f%% for %s", json_number_value(v), kinds[i].text), "");
    }
    if (b.len > 0)
        strbuf_adds(&b, ", of the last ten seconds");
    return joined(&b);
}

static char *ago(uint64_t usec, uint64_t now, const char *after)
{
    if (usec == UINT64_MAX || usec > now)
        return NULL;
    uint64_t span = now - usec;
    _cleanup_(freep) char *text = format_usec(span < USEC_PER_SEC ? span : span / USEC_PER_SEC * USEC_PER_SEC);
    return xasprintf("%s%s", text, after);
}

/* "under way, for 3s", "done 5m ago", "failed 5m ago: …"; NULL = there was none. */
static char *reload_text(const json_t *reload, uint64_t now)
{
    uint64_t elapsed = member_number(reload, "elapsed_usec"), last = member_number(reload, "last_usec");
    if (json_is_true(json_object_get(reload, "running"))) {
        _cleanup_(freep) char *span = elapsed == UINT64_MAX ? NULL : format_usec(elapsed / USEC_PER_SEC * USEC_PER_SEC);
        if (!span)
            return xstrdup("under way, by itself");
        return xasprintf("under way, for %s", elapsed < USEC_PER_SEC ? "0s" : span);
    }
    _cleanup_(freep) char *when = ago(last, now, " ago");
    if (!when)
        return NULL;
    const char *error = member_string(reload, "last_error");
    _cleanup_(freep) char *shown = error ? str_escape(error, strlen(error), 1000) : NULL;
    return xasprintf("%s %s%s%s", error ? "failed" : "done", when, error ? ": " : "", error ? shown : "");
}

char *view_module(const json_t *m, const View *v)
{
    StrBuf b = STRBUF_NULL;
    const char *name = str_or(member_string(m, "name"), "?"), *state = str_or(member_string(m, "state"), "?"),
               *health = member_string(m, "health"), *cgroup = str_or(member_string(m, "cgroup"), "");
    const json_t *x = json_object_get(m, "last_exit"), *teardown = json_object_get(m, "teardown"),
                 *timer = json_object_get(m, "timer");
    uint64_t next = member_number(m, "next_start_usec"), generation = member_number(m, "generation");
    text_coloured(&b, name, COLOUR_BOLD, v->colours);
    strbuf_adds(&b, ": ");
    text_coloured(&b, view_state(m), state_colour(view_state(m)), v->colours);
    if (health && strcmp(health, "unknown") != 0) {
        strbuf_adds(&b, ", ");
        text_coloured(&b, health, health_colour(health), v->colours);
    }
    strbuf_addc(&b, '\n');
    if (str_equal(member_string(m, "type"), "oneshot"))
        add_line(&b, "type", xstrdup("oneshot"));
    if (json_is_object(timer)) {
        char *in = view_timer_next(timer, v);
        add_line(&b, "timer", view_schedule(timer));
        add_line(&b, "next run", in ? in : xstrdup("never: its timer is stopped"));
        add_line(&b, "last run", ago(member_number(timer, "last_usec"), v->now, " ago"));
    }
    if (next != UINT64_MAX && !by_timer(m)) {
        _cleanup_(freep) char *in = format_usec(next > v->now ? next - v->now : 0);
        add_line(&b, "next start", xasprintf("in %s", in));
    }
    const char *condition = member_string(m, "condition");
    if (condition && str_equal(state, "idle"))
        add_line(&b, "not started", str_escape(condition, strlen(condition), 4096));
    add_line(&b, "runs", hook_text(json_object_get(m, "hook")));
    add_line(&b, "reload", reload_text(json_object_get(m, "reload"), v->now));
    add_line(&b, "pid", number_text(member_number(m, "pid")));
    const char *group = str_or(member_string(m, "group"), "");
    add_line(&b, "group", str_escape(group, strlen(group), 80));
    add_line(&b, "instances", instances_text(m));
    add_line(&b, "generation", generation == 0 ? NULL : number_text(generation));
    add_line(&b, "restarts", number_text(member_number(m, "restarts")));
    add_line(&b, "cgroup", str_escape(cgroup, strlen(cgroup), 4096));
    add_line(&b, "cpu", cpu_text(json_object_get(m, "cpu")));
    add_line(&b, "memory", memory_text(json_object_get(m, "memory")));
    add_line(&b, "processes", pids_text(json_object_get(m, "pids")));
    add_line(&b, "waits", pressure_text(json_object_get(m, "pressure")));
    add_work(&b, json_object_get(m, "work"));
    add_line(&b, "heartbeat", ago(member_number(m, "heartbeat_usec"), v->now, " ago"));
    _cleanup_(freep) char *how = view_last_exit(x), *when = ago(member_number(x, "time_usec"), v->now, " ago");
    if (how)
        add_line(&b, "last exit", when ? xasprintf("%s, %s", how, when) : xstrdup(how));
    if (json_array_size(teardown) > 0) {
        _cleanup_(freep) char *phases = view_teardown(teardown, v);
        strbuf_addf(&b, "%12s:\n%s", "last stop", phases);
    }
    return strbuf_take(&b);
}
