/* See when.h. */
#include "tools/when.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "policies/calendar.h"

static int refuse(const char *text, Error *e)
{
    _cleanup_(freep) char *shown = str_escape(text, strlen(text), 64);
    return error_set(e, -EINVAL, "'%s' is no time (15m, '10 min ago', 12:00, '2026-11-20 12:00', yesterday, @EPOCH)",
                     shown);
}

/* "10 min", "2h 30m", "1 hour": units as in a policy, and their words. */
static int take_span(const char *text, uint64_t *ret)
{
    static const struct {
        const char *words;
        uint64_t usec;
    } units[] = {
        {" us usec ", 1},
        {" ms msec ", USEC_PER_MSEC},
        {" s sec second seconds ", USEC_PER_SEC},
        {" m min mins minute minutes ", 60 * USEC_PER_SEC},
        {" h hr hour hours ", 3600 * USEC_PER_SEC},
        {" d day days ", 86400 * USEC_PER_SEC},
        {" w week weeks ", 7 * 86400 * USEC_PER_SEC},
    };
    uint64_t sum = 0;
    for (const char *p = text; *p; p += strspn(p, " ")) {
        size_t digits = strspn(p, "0123456789");
        uint64_t n, unit = 0;
        _cleanup_(freep) char *number = xstrndup(p, digits);
        if (digits == 0 || digits > 9 || parse_u64(number, &n) < 0)
            return -EINVAL;
        p += digits;
        p += strspn(p, " ");
        size_t letters = strspn(p, "abcdefghijklmnopqrstuvwxyz");
        _cleanup_(freep) char *word = xasprintf(" %.*s ", (int)letters, p);
        for (size_t i = 0; letters && i < ELEMENTS(units); i++)
            if (strstr(units[i].words, word))
                unit = units[i].usec;
        if (!unit)
            return -EINVAL;
        sum = usec_add(sum, n * unit);
        p += letters;
    }
    *ret = sum;
    return *text ? 0 : -EINVAL;
}

/* Midnight of today, or of so many days before. */
static int day_before(unsigned days, uint64_t now, uint64_t *ret)
{
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm t;
    if (!localtime_r(&seconds, &t))
        return -EINVAL;
    t.tm_hour = t.tm_min = t.tm_sec = 0;
    t.tm_mday -= (int)days;
    t.tm_isdst = -1;
    *ret = (uint64_t)mktime(&t) * USEC_PER_SEC;
    return 0;
}

static int take_ago(const char *text, uint64_t now, uint64_t *ret)
{
    bool ago = str_ends(text, " ago");
    _cleanup_(freep) char *words = xstrndup(text, strlen(text) - (ago ? strlen(" ago") : 0));
    uint64_t span;
    if (take_span(words[0] == '-' ? words + 1 : words, &span) < 0)
        return -EINVAL;
    *ret = span < now ? now - span : 0;
    return 0;
}

static int take_epoch(const char *digits, uint64_t *ret)
{
    uint64_t seconds;
    if (parse_u64(digits, &seconds) < 0 || seconds > UINT64_MAX / USEC_PER_SEC)
        return -EINVAL;
    *ret = seconds * USEC_PER_SEC;
    return 0;
}

/* A date, a time, or both; also with a T between them. */
static int take_moment(const char *text, uint64_t now, uint64_t *ret)
{
    _cleanup_(freep) char *moment = xstrdup(text);
    char *t = strchr(moment, 'T');
    if (t && t > moment && t[-1] >= '0' && t[-1] <= '9' && t[1] >= '0' && t[1] <= '9')
        *t = ' ';
    return calendar_moment(moment, now, ret);
}

int when_parse(const char *text, uint64_t now, uint64_t *ret, Error *e)
{
    uint64_t at = now;
    int r = strcmp(text, "now") == 0         ? 0
            : strcmp(text, "today") == 0     ? day_before(0, now, &at)
            : strcmp(text, "yesterday") == 0 ? day_before(1, now, &at)
            : text[0] == '@'                 ? take_epoch(text + 1, &at)
                                             : take_ago(text, now, &at);
    if (r < 0 && text[0] != '@')
        r = take_moment(text, now, &at);
    if (r < 0)
        return refuse(text, e);
    *ret = at;
    return 0;
}
