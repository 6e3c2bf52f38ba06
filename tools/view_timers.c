/* `bulkhead timers`: the next run of each timed module, the soonest first. What is known comes from the status. */
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "tools/view.h"

/* "Mon 2026-11-23 03:00:00", local time. */
static char *moment(uint64_t usec)
{
    char text[40];
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;
    if (usec == UINT64_MAX || !localtime_r(&seconds, &tm) || !strftime(text, sizeof text, "%a %Y-%m-%d %H:%M:%S", &tm))
        return NULL;
    return xstrdup(text);
}

/* "3h 2m": the two first units are enough. */
static char *span(uint64_t usec)
{
    return format_usec(usec < USEC_PER_SEC ? usec / 1000 * 1000 : usec / USEC_PER_SEC * USEC_PER_SEC);
}

char *view_schedule(const json_t *timer)
{
    StrBuf b = STRBUF_NULL;
    const char *calendars = member_string(timer, "on_calendar");
    uint64_t every = member_number(timer, "every_usec");
    if (calendars) {
        _cleanup_(freep) char *shown = str_escape(calendars, strlen(calendars), 200);
        strbuf_addf(&b, "on_calendar = %s", shown);
    }
    if (every != UINT64_MAX) {
        _cleanup_(freep) char *interval = format_usec(every);
        strbuf_addf(&b, "%severy = %s", b.len ? ", " : "", interval);
    }
    return strbuf_take(&b);
}

char *view_timer_next(const json_t *timer, const View *v)
{
    uint64_t next = member_number(timer, "next_usec");
    _cleanup_(freep) char *when = moment(next), *left = span(next != UINT64_MAX && next > v->now ? next - v->now : 0);
    return when ? xasprintf("in %s (%s)", left, when) : NULL;
}

static void add_row(Table *t, const json_t *row, const View *v)
{
    uint64_t next = member_number(row, "next_usec"), last = member_number(row, "last_usec"),
             skipped = member_number(row, "skipped");
    const char *name = str_or(member_string(row, "module"), "?"), *state = str_or(member_string(row, "state"), "?");
    const json_t *ended = json_object_get(row, "last_exit");
    table_add(t, str_escape(name, strlen(name), 80), COLOUR_BOLD);
    table_add(t, str_escape(state, strlen(state), 20), COLOUR_NONE);
    table_add(t, next == UINT64_MAX ? xstrdup("stopped") : moment(next), next == UINT64_MAX ? COLOUR_DIM : COLOUR_NONE);
    table_add(t, next == UINT64_MAX ? NULL : span(next > v->now ? next - v->now : 0), COLOUR_GREEN);
    table_add(t, last == UINT64_MAX ? xstrdup("never") : moment(last), last == UINT64_MAX ? COLOUR_DIM : COLOUR_NONE);
    table_add(t, last == UINT64_MAX || last > v->now ? NULL : span(v->now - last), COLOUR_NONE);
    table_add(t, view_last_exit(ended), member_number(ended, "code") == 0 ? COLOUR_DIM : COLOUR_RED);
    table_add(t, skipped == UINT64_MAX || skipped == 0 ? NULL : xasprintf("%" PRIu64, skipped), COLOUR_YELLOW);
    table_add(t, view_schedule(row), COLOUR_NONE);
}

char *view_timers(const json_t *timers, const View *v)
{
    enum { ENDED = 6, SKIPPED = 7 };
    static const TableColumn columns[] = {
        {.title = "MODULE"},
        {.title = "STATE"},
        {.title = "NEXT"},
        {.title = "LEFT", .right = true},
        {.title = "LAST"},
        {.title = "PASSED", .right = true},
        [ENDED] = {.title = "ENDED"},
        [SKIPPED] = {.title = "SKIPPED", .right = true},
        {.title = "SCHEDULE", .shrinks = true},
    };
    StrBuf b = STRBUF_NULL;
    if (json_array_size(timers) == 0) {
        strbuf_adds(&b, "No module has a timer: [timer] on_calendar or every in its file gives it one.\n");
        return strbuf_take(&b);
    }
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    for (size_t i = 0; i < json_array_size(timers); i++)
        add_row(&t, json_array_get(timers, i), v);
    table_hide_empty(&t, ENDED, NULL);
    table_hide_empty(&t, SKIPPED, NULL);
    table_print(&t, v->width, v->colours, &b);
    return strbuf_take(&b);
}

/* The soonest first, the stopped ones last; of equals the order of names, as it was. */
static json_t *take_soonest(json_t *rows)
{
    size_t best = 0;
    for (size_t i = 1; i < json_array_size(rows); i++)
        if (member_number(json_array_get(rows, i), "next_usec") <
            member_number(json_array_get(rows, best), "next_usec"))
            best = i;
    json_t *row = json_incref(json_array_get(rows, best));
    json_array_remove(rows, best);
    return row;
}

json_t *timers_of_status(const json_t *status)
{
    static const char *const kept[] = {"name", "state", "last_exit"};
    const json_t *modules = json_object_get(status, "modules");
    json_t *rows = json_array(), *sorted = json_array();
    for (size_t i = 0; i < json_array_size(modules); i++) {
        json_t *m = json_array_get(modules, i), *timer = json_object_get(m, "timer");
        if (!json_is_object(timer))
            continue;
        json_t *row = json_copy(timer);
        for (size_t k = 0; k < ELEMENTS(kept); k++)
            if (json_object_get(m, kept[k]))
                json_object_set(row, k == 0 ? "module" : kept[k], json_object_get(m, kept[k]));
        json_array_append_new(rows, row);
    }
    while (json_array_size(rows) > 0)
        json_array_append_new(sorted, take_soonest(rows));
    json_decref(rows);
    return sorted;
}
