/* See when.h. */
#include "tools/when.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"

static int refuse(const char *text, Error *e)
{
    _cleanup_(freep) char *shown = str_escape(text, strlen(text), 64);
    return error_set(e, -EINVAL, "'%s' is no time (15m, '10 min ago', 12:00, '2026-11-20 12:00', yesterday, @EPOCH)",
                     shown);
}

/* A local time; a day that does not exist is refused, an hour that a clock change skips is what mktime makes of it. */
static int from_fields(const struct tm *given, uint64_t *ret)
{
    struct tm t = *given;
    t.tm_isdst = -1;
    time_t seconds = mktime(&t);
    if (seconds < 0 || t.tm_mday != given->tm_mday || t.tm_mon != given->tm_mon || t.tm_year != given->tm_year)
        return -EINVAL;
    *ret = (uint64_t)seconds * USEC_PER_SEC;
    return 0;
}

static struct tm day_of(uint64_t now)
{
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm t;
    localtime_r(&seconds, &t);
    t.tm_hour = t.tm_min = t.tm_sec = 0;
    return t;
}

static int take_number(const char **p, unsigned digits, int low, int high, int *ret)
{
    int value = 0;
    for (unsigned i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -EINVAL;
        value = value * 10 + (**p - '0');
    }
    *ret = value;
    return value < low || value > high ? -EINVAL : 0;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* HH:MM[:SS], to the end of the text. */
static int take_clock(const char *p, struct tm *t)
{
    if (take_number(&p, 2, 0, 23, &t->tm_hour) < 0 || !take_char(&p, ':') || take_number(&p, 2, 0, 59, &t->tm_min) < 0)
        return -EINVAL;
    if (take_char(&p, ':') && take_number(&p, 2, 0, 59, &t->tm_sec) < 0)
        return -EINVAL;
    return *p ? -EINVAL : 0;
}

static int take_date(const char *p, struct tm *t)
{
    int year, month;
    if (take_number(&p, 4, 1970, 9999, &year) < 0 || !take_char(&p, '-') || take_number(&p, 2, 1, 12, &month) < 0 ||
        !take_char(&p, '-') || take_number(&p, 2, 1, 31, &t->tm_mday) < 0)
        return -EINVAL;
    t->tm_year = year - 1900;
    t->tm_mon = month - 1;
    if (*p == '\0')
        return 0;
    return *p == ' ' || *p == 'T' ? take_clock(p + 1, t) : -EINVAL;
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

static int word_of_day(const char *text, uint64_t now, uint64_t *ret)
{
    struct tm t = day_of(now);
    if (strcmp(text, "yesterday") == 0) {
        t.tm_mday--;
        t.tm_isdst = -1;
        time_t seconds = mktime(&t);
        *ret = (uint64_t)seconds * USEC_PER_SEC;
        return 0;
    }
    return strcmp(text, "today") == 0 ? from_fields(&t, ret) : -EINVAL;
}

int when_parse(const char *text, uint64_t now, uint64_t *ret, Error *e)
{
    struct tm t = day_of(now), day = {0};
    uint64_t span, seconds;
    size_t n = strlen(text);
    if (strcmp(text, "now") == 0) {
        *ret = now;
        return 0;
    }
    if (text[0] == '@')
        return parse_u64(text + 1, &seconds) < 0 || seconds > UINT64_MAX / USEC_PER_SEC
                   ? refuse(text, e)
                   : (*ret = seconds * USEC_PER_SEC, 0);
    if (word_of_day(text, now, ret) == 0 || (take_clock(text, &t) == 0 && from_fields(&t, ret) == 0) ||
        (take_date(text, &day) == 0 && from_fields(&day, ret) == 0))
        return 0;
    bool ago = n > 4 && strcmp(text + n - 4, " ago") == 0;
    _cleanup_(freep) char *words = xstrndup(text, ago ? n - 4 : n);
    if (take_span(text[0] == '-' ? words + 1 : words, &span) < 0)
        return refuse(text, e);
    *ret = span < now ? now - span : 0;
    return 0;
}
