/* Small things of view.h: exits, phases, events. */
#include "tools/view.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

char *view_last_exit(const json_t *last_exit)
{
    if (!json_is_object(last_exit))
        return NULL;
    const char *syscall = member_string(last_exit, "syscall");
    uint64_t code = member_number(last_exit, "code"), sig = member_number(last_exit, "signal");
    if (json_is_true(json_object_get(last_exit, "oom")))
        return xstrdup("out of memory");
    if (syscall)
        return xasprintf("denied syscall %s", syscall);
    if (sig != UINT64_MAX && sig != 0) {
        const char *name = sigabbrev_np((int)sig);
        return name ? xasprintf("killed by SIG%s", name) : xasprintf("killed by signal %" PRIu64, sig);
    }
    return code == UINT64_MAX ? NULL : xasprintf("exit status %" PRIu64, code);
}

static TableColour phase_colour(const char *status)
{
    return str_equal(status, "ok") ? COLOUR_GREEN : str_equal(status, "skipped") ? COLOUR_DIM : COLOUR_RED;
}

char *view_teardown(const json_t *teardown, const View *v)
{
    static const TableColumn columns[] = {{.title = "  PHASE"},
                                          {.title = "STATUS"},
                                          {.title = "TIME", .right = true},
                                          {.title = "NOTE", .shrinks = true}};
    StrBuf b = STRBUF_NULL;
    if (json_array_size(teardown) == 0)
        return strbuf_take(&b);
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    for (size_t i = 0; i < json_array_size(teardown); i++) {
        const json_t *phase = json_array_get(teardown, i);
        const char *status = member_string(phase, "status"), *error = str_or(member_string(phase, "error"), "");
        uint64_t duration = member_number(phase, "duration_usec");
        table_add(&t, xasprintf("%4zu %s", i + 1, str_or(member_string(phase, "phase"), "?")), COLOUR_NONE);
        table_add(&t, xstrdup(str_or(status, "?")), phase_colour(status));
        table_add(&t, duration == UINT64_MAX || str_equal(status, "skipped") ? NULL : format_usec(duration),
                  COLOUR_NONE);
        table_add(&t, str_escape(error, strlen(error), 400), COLOUR_NONE);
    }
    table_hide_empty(&t, 3, "");
    table_print(&t, v->width, v->colours, &b);
    return strbuf_take(&b);
}

static void add_detail(StrBuf *b, const json_t *detail)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)detail, key, value)
    {
        size_t n = strlen(key);
        bool usec = n > 5 && strcmp(key + n - 5, "_usec") == 0 && json_is_integer(value);
        if (json_is_null(value) || json_is_false(value))
            continue;
        strbuf_addf(b, "%s%.*s", b->len ? "  " : "", (int)(usec ? n - 5 : n), key);
        if (json_is_true(value))
            continue;
        _cleanup_(freep) char *text = usec                    ? format_usec((uint64_t)json_integer_value(value))
                                      : json_is_string(value) ? xstrdup(json_string_value(value))
                                                              : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        _cleanup_(freep) char *shown = str_escape(text ? text : "", text ? strlen(text) : 0, 1000);
        strbuf_addf(b, strchr(shown, ' ') ? "=\"%s\"" : "=%s", shown);
    }
}

char *view_event(const json_t *event)
{
    char when[32] = "?";
    uint64_t usec = member_number(event, "time_usec"), generation = member_number(event, "generation");
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;
    if (usec != UINT64_MAX && localtime_r(&seconds, &tm)) {
        size_t n = strftime(when, sizeof when, "%b %d %H:%M:%S", &tm);
        snprintf(when + n, sizeof when - n, ".%03u", (unsigned)(usec / 1000 % 1000));
    }
    StrBuf who = STRBUF_NULL, detail = STRBUF_NULL;
    strbuf_adds(&who, str_or(member_string(event, "module"), "-"));
    if (generation != UINT64_MAX && generation > 0)
        strbuf_addf(&who, "#%" PRIu64, generation);
    const char *phase = member_string(event, "phase"), *name = str_or(member_string(event, "event"), "?");
    if (phase)
        strbuf_adds(&detail, phase);
    add_detail(&detail, json_object_get(event, "detail"));
    char *line = detail.len ? xasprintf("%s  %-16s %-16s %s", when, who.s, name, detail.s)
                            : xasprintf("%s  %-16s %s", when, who.s, name);
    strbuf_done(&who);
    strbuf_done(&detail);
    return line; /* the detail was escaped; names are the policy's and the daemon's */
}

char *view_progress(const json_t *event)
{
    const char *module = member_string(event, "module"), *name = member_string(event, "event");
    const json_t *detail = json_object_get(event, "detail");
    if (!module || !name)
        return NULL;
    if (str_equal(name, "drain-progress") || str_equal(name, "drain-soft-limit"))
        return view_drain(module, detail);
    if (strcmp(name, "phase") == 0)
        return xasprintf("%s: %s %s", module, str_or(member_string(event, "phase"), "phase"),
                         str_or(member_string(detail, "status"), "done"));
    return xasprintf("%s: %s", module, name);
}
