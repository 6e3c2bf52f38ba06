/* `bulkhead calendar` for people. See view.h. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "tools/view.h"

/* "Mon 2026-11-23 08:00:00 CET, in 1d 15h". */
static char *moment(uint64_t usec, uint64_t now)
{
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;
    char date[64] = "?", zone[32] = "", fraction[16] = "";
    if (localtime_r(&seconds, &tm)) {
        strftime(date, sizeof date, "%a %Y-%m-%d %H:%M:%S", &tm);
        strftime(zone, sizeof zone, " %Z", &tm);
    }
    if (usec % USEC_PER_SEC != 0)
        snprintf(fraction, sizeof fraction, ".%06u", (unsigned)(usec % USEC_PER_SEC));
    _cleanup_(freep) char *distance = format_usec(usec > now ? usec - now : now - usec);
    return xasprintf("%s%s%s, %s%s%s", date, fraction, zone, usec > now ? "in " : "", distance,
                     usec > now ? "" : " ago");
}

char *view_calendar(const json_t *all, const View *v)
{
    StrBuf b = STRBUF_NULL;
    size_t i, k;
    json_t *one, *usec;
    json_array_foreach(all, i, one)
    {
        const json_t *next = json_object_get(one, "next_usec");
        const char *normal = member_string(one, "normalised");
        if (!normal)
            continue; /* its error has been told */
        if (b.len > 0)
            strbuf_addc(&b, '\n');
        strbuf_addf(&b, "   written: %s\n", str_or(member_string(one, "expression"), "?"));
        strbuf_adds(&b, "normalised: ");
        text_coloured(&b, normal, COLOUR_BOLD, v->colours);
        strbuf_addc(&b, '\n');
        json_array_foreach(next, k, usec)
        {
            _cleanup_(freep) char *text = moment((uint64_t)json_integer_value(usec), v->now);
            strbuf_addf(&b, "%s%s\n", k == 0 ? "      next: " : "            ", text);
        }
        if (json_is_true(json_object_get(one, "ends")))
            strbuf_adds(&b, json_array_size(next) == 0 ? "      next: never\n" : "            then never again\n");
    }
    return strbuf_take(&b);
}
