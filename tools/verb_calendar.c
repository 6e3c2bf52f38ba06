/* `bulkhead calendar`: what calendar expressions mean and when they come next, by the functions that run timers. Needs
 * no daemon; the local time zone is that of whoever asks. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "policies/calendar.h"
#include "policies/kinds.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/view.h"

enum { LINES_DEFAULT = 5 };

/* {"expression", "normalised", "next_usec": [], "ends", "error"}; a new reference. */
static json_t *look_at(const char *text, uint64_t after, uint64_t n, const char **ret_error, Error *e)
{
    _cleanup_(calendar_freep) Calendar *c = NULL;
    _cleanup_(freep) char *expression = str_escape(text, strlen(text), SIZE_MAX), *normal = NULL;
    json_t *next = json_array();
    bool ends = false;
    *ret_error = NULL;
    if (calendar_parse(text, &c, e) < 0)
        *ret_error = error_message(e);
    else
        normal = calendar_format(c);
    for (uint64_t i = 0; c && i < n && !ends; i++) {
        ends = calendar_next(c, after, &after) < 0;
        if (!ends)
            json_array_append_new(next, json_integer((json_int_t)after));
    }
    return json_pack("{s:s, s:s?, s:o, s:b, s:s?}", "expression", expression, "normalised", normal, "next_usec", next,
                     "ends", ends, "error", *ret_error);
}

ToolStatus verb_calendar(const Args *a)
{
    _cleanup_json_ json_t *all = json_array();
    View v = {.colours = term()->colours, .now = now_realtime()};
    uint64_t after = a->base_time != UINT64_MAX ? a->base_time : v.now;
    ToolStatus status = TOOL_DONE;
    for (size_t i = 0; i < a->n_words; i++) {
        const char *error;
        Error e = {0};
        json_array_append_new(
            all, look_at(a->words[i], after, a->lines == UINT64_MAX ? LINES_DEFAULT : a->lines, &error, &e));
        if (!error)
            continue;
        _cleanup_(freep) char *shown = value_shown(a->words[i]);
        say_error("'%s': %s", shown, error);
        status = TOOL_FAILED;
    }
    if (a->json) {
        json_dumpf(all, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        _cleanup_(freep) char *text = view_calendar(all, &v);
        fputs(text, stdout);
    }
    return status;
}
