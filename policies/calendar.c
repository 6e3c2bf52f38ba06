/* Calendar expressions: from text to CalendarSpec and back. See calendar.h; what they mean is in calendar_next.c.
 *
 * An expression is up to four words, each told by what is in it: weekdays are letters, a date has '-' or '~', a time
 * has
 * ':', a last word of letters is the time zone. Each part of a date or a time has the same syntax, so one table of
 * parts and one parser do. Every refusal shows where it stopped reading. */
#include "policies/calendar.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/str.h"
#include "policies/calendar_spec.h"
#include "policies/kinds.h"

static const char *const weekday_names[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                            "Friday", "Saturday", "Sunday"};
enum { WEEK = ELEMENTS(weekday_names), SHORT_NAME = 3 };

static const struct {
    const char *name, *text;
} shorthands[] = {
    {"minutely", "*-*-* *:*:00"},
    {"hourly", "*-*-* *:00:00"},
    {"daily", "*-*-* 00:00:00"},
    {"weekly", "Mon *-*-* 00:00:00"},
    {"monthly", "*-*-01 00:00:00"},
    {"quarterly", "*-01,04,07,10-01 00:00:00"},
    {"semiannually", "*-01,07-01 00:00:00"},
    {"yearly", "*-01-01 00:00:00"},
    {"annually", "*-01-01 00:00:00"},
};

/* A part of a date or a time. */
typedef struct Part {
    const char *name;
    unsigned min, max; /* seconds: in µs */
    const char *hint;
} Part;

static const Part part_year = {"year", YEAR_MIN, YEAR_MAX, "*, 2026, 2026..2030"};
static const Part part_month = {"month", 1, 12, "*, 1, 1..6, 1/3"};
static const Part part_day = {"day", 1, 31, "*, 1, 1,15, 1..7; ~1: the last of the month"};
static const Part part_day_from_end = {"day from the month's end", 1, 28, "~1: the last; ~7/1: the last seven"};
static const Part part_hour = {"hour", 0, 23, "*, 2, 8..18, 0/4"};
static const Part part_minute = {"minute", 0, 59, "*, 30, 0/15"};
static const Part part_second = {"second", 0, MINUTE_USEC - 1, "*, 0, 0/10, 2.5"};

typedef struct Parser {
    const char *at; /* where it reads; up to `end` is one expression, trimmed */
    const char *end;
    Error *e;
} Parser;

/* "WHAT at 'REST' (HINT)"; -EINVAL. */
static int wrong(const Parser *p, const char *at, const char *hint, const char *what)
{
    _cleanup_(freep) char *rest = xstrndup(at, (size_t)(p->end - at));
    _cleanup_(freep) char *shown = value_shown(rest);
    if (!*rest)
        return error_set(p->e, -EINVAL, "%s at the end (%s)", what, hint);
    return error_set(p->e, -EINVAL, "%s at '%s' (%s)", what, shown, hint);
}

static bool looking_at(const Parser *p, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(p->end - p->at) >= n && strncmp(p->at, s, n) == 0;
}

static bool skip(Parser *p, const char *s)
{
    if (!looking_at(p, s))
        return false;
    p->at += strlen(s);
    return true;
}

static bool at_digit(const Parser *p)
{
    return p->at < p->end && isdigit((unsigned char)*p->at);
}

static bool at_blank_or_end(const Parser *p)
{
    return p->at == p->end || *p->at == ' ' || *p->at == '\t';
}

static void skip_blanks(Parser *p)
{
    while (p->at < p->end && at_blank_or_end(p))
        p->at++;
}

/* --- a part: lists, ranges, repetitions --------------------------------------------------------------------------- */

/* Digits, of which more than six are no value of any part. */
static unsigned number(Parser *p, size_t *ret_digits)
{
    unsigned v = 0;
    const char *from = p->at;
    for (; at_digit(p); p->at++)
        v = v > 99999 ? 999999 : v * 10 + (unsigned)(*p->at - '0');
    *ret_digits = (size_t)(p->at - from);
    return v;
}

/* ".5" as µs, rounded to the nearest; nothing is 0. */
static int fraction(Parser *p, unsigned *ret)
{
    *ret = 0;
    if (!looking_at(p, ".") || looking_at(p, ".."))
        return 0;
    p->at++;
    if (!at_digit(p))
        return wrong(p, p->at, part_second.hint, "no digits of a fraction");
    unsigned scale = SECOND_USEC / 10;
    bool up = false;
    for (size_t i = 0; at_digit(p); p->at++, i++, scale /= 10) {
        *ret += scale * (unsigned)(*p->at - '0');
        up |= i == 6 && *p->at >= '5';
    }
    *ret += up;
    return 0;
}

/* A number in the part's unit, two digits of a year completed; whether it is within bounds is not looked at. */
static int value(Parser *p, const Part *part, unsigned *ret)
{
    size_t digits;
    unsigned part_of_second = 0, v = number(p, &digits);
    int r = part == &part_second ? fraction(p, &part_of_second) : 0;
    if (part == &part_year && digits <= 2)
        v += v < 70 ? 2000 : 1900;
    if (part == &part_second)
        v = v > 60 ? UINT32_MAX : v * SECOND_USEC + part_of_second;
    *ret = v;
    return r;
}

static int bounded_value(Parser *p, const Part *part, unsigned *ret)
{
    const char *from = p->at;
    int r = at_digit(p) ? value(p, part, ret) : 1;
    if (r < 0 || (r == 0 && *ret >= part->min && *ret <= part->max))
        return r;
    _cleanup_(freep) char *what = part == &part_second
                                      ? xstrdup("no second from 0 to 59.999999")
                                      : xasprintf("no %s from %u to %u", part->name, part->min, part->max);
    return wrong(p, from, part->hint, what);
}

/* "/n". */
static int repetition(Parser *p, const Part *part, CalendarRange *r)
{
    const char *from = p->at;
    if (!at_digit(p))
        return wrong(p, from, "0/5: from 0 on every 5", "no number to repeat by");
    /* A year of two digits is completed, which is not meant here. */
    int code = value(p, part == &part_year ? &part_day : part, &r->repeat);
    if (code < 0)
        return code;
    if (r->repeat == 0)
        return wrong(p, from, "1 or more", "a repetition by 0");
    unsigned room = part == &part_day_from_end ? r->start - part->min : part->max - r->start;
    if (!r->open || r->repeat <= room)
        return 0;
    _cleanup_(freep) char *what = xasprintf("a repetition beyond the last %s", part->name);
    return wrong(p, from, "a smaller one, or none", what);
}

/* Cuts the range where its last value is, and makes one value of what has only one. */
static void range_trim(CalendarRange *r)
{
    if (r->open || r->repeat == 0)
        return;
    r->stop -= (r->stop - r->start) % r->repeat;
    if (r->stop == r->start)
        r->repeat = 0;
}

/* A value, a range, either with a repetition. */
static int range(Parser *p, const Part *part, CalendarRange *ret)
{
    const char *from = p->at;
    int code = bounded_value(p, part, &ret->start);
    if (code < 0)
        return code;
    ret->stop = ret->start;
    if (skip(p, "..")) {
        if ((code = bounded_value(p, part, &ret->stop)) < 0)
            return code;
        if (ret->stop < ret->start)
            return wrong(p, from, "the smaller comes first; over the end write two: 22..23,0..2",
                         "a range that goes backwards");
        ret->repeat = part == &part_second ? SECOND_USEC : 1;
        if (skip(p, "/"))
            code = repetition(p, part, ret);
    } else if (skip(p, "/")) {
        ret->open = true;
        ret->stop = part->max;
        code = repetition(p, part, ret);
    }
    range_trim(ret);
    return code;
}

static int range_compare(const void *a, const void *b)
{
    const CalendarRange *x = a, *y = b;
    /* What has no written end comes first, as systemd has it. */
    unsigned x_end = x->open || x->repeat == 0 ? 0 : x->stop, y_end = y->open || y->repeat == 0 ? 0 : y->stop;
    const unsigned xs[] = {x->start, x_end, x->repeat}, ys[] = {y->start, y_end, y->repeat};
    for (size_t i = 0; i < ELEMENTS(xs); i++)
        if (xs[i] != ys[i])
            return xs[i] < ys[i] ? -1 : 1;
    return 0;
}

static void part_sort(CalendarPart *c)
{
    size_t kept = 0;
    qsort(c->ranges, c->n, sizeof *c->ranges, range_compare);
    for (size_t i = 0; i < c->n; i++)
        if (i == 0 || range_compare(&c->ranges[i], &c->ranges[kept - 1]) != 0)
            c->ranges[kept++] = c->ranges[i];
    c->n = kept;
}

/* A part up to what comes after it. `*` lists nothing, but for seconds. */
static int part_parse(Parser *p, const Part *part, CalendarPart *ret)
{
    if (skip(p, "*")) {
        if (looking_at(p, "/"))
            return wrong(p, p->at - 1, "0/5: from 0 on every 5", "a repeated *");
        if (looking_at(p, ",") || looking_at(p, ".."))
            return wrong(p, p->at - 1, "* alone, it is every value already", "a list with *");
        if (part == &part_second)
            ARRAY_PUSH(ret->ranges, ret->n) = (CalendarRange){.stop = part->max, .repeat = SECOND_USEC, .open = true};
        return 0;
    }
    do {
        CalendarRange r = {0};
        int code = range(p, part, &r);
        if (code < 0)
            return code;
        ARRAY_PUSH(ret->ranges, ret->n) = r;
    } while (skip(p, ","));
    part_sort(ret);
    return 0;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

/* Has the word that is read next one of the characters? */
static bool word_has(const Parser *p, const char *characters)
{
    for (const char *c = p->at; c < p->end && *c != ' ' && *c != '\t'; c++)
        if (strchr(characters, *c))
            return true;
    return false;
}

/* "2026-12-24", "12-24", "*~1". Of two parts the first is the month. */
static int date(Parser *p, CalendarSpec *s)
{
    static const char hint[] = "2026-12-24, *-12-24: every year, *-*-1: every month, *~1: the last of every month";
    const char *from = p->at;
    size_t separators = 0;
    for (const char *c = from; c < p->end && *c != ' ' && *c != '\t'; c++)
        separators += *c == '-' || *c == '~';
    int code = 0;
    if (separators > 2)
        return wrong(p, from, hint, "more than three parts of a date");
    if (separators == 2) {
        if ((code = part_parse(p, &part_year, &s->years)) < 0)
            return code;
        if (!skip(p, "-"))
            return wrong(p, p->at, hint, "no '-' after the year");
    }
    if ((code = part_parse(p, &part_month, &s->months)) < 0)
        return code;
    s->days_from_end = skip(p, "~");
    if (!s->days_from_end && !skip(p, "-"))
        return wrong(p, p->at, hint, "no '-' or '~' after the month");
    if ((code = part_parse(p, s->days_from_end ? &part_day_from_end : &part_day, &s->days)) < 0)
        return code;
    s->days_from_end = s->days_from_end && s->days.n > 0;
    return at_blank_or_end(p) ? 0 : wrong(p, p->at, hint, "no end of the date");
}

/* "2:30", "2:30:00". */
static int time_of_day(Parser *p, CalendarSpec *s)
{
    static const char hint[] = "2:30, 02:30:00, *:0/15";
    if (word_has(p, "-~"))
        return wrong(p, p->at, "2026-12-24 18:00", "no blank between date and time");
    int code = part_parse(p, &part_hour, &s->hours);
    if (code < 0)
        return code;
    if (!skip(p, ":"))
        return wrong(p, p->at, hint, "no ':' after the hour");
    if ((code = part_parse(p, &part_minute, &s->minutes)) < 0)
        return code;
    if (!skip(p, ":"))
        ARRAY_PUSH(s->usecs.ranges, s->usecs.n) = (CalendarRange){0};
    else if ((code = part_parse(p, &part_second, &s->usecs)) < 0)
        return code;
    return at_blank_or_end(p) ? 0 : wrong(p, p->at, hint, "no end of the time");
}

static void set_midnight(CalendarSpec *s)
{
    ARRAY_PUSH(s->hours.ranges, s->hours.n) = (CalendarRange){0};
    ARRAY_PUSH(s->minutes.ranges, s->minutes.n) = (CalendarRange){0};
    ARRAY_PUSH(s->usecs.ranges, s->usecs.n) = (CalendarRange){0};
}

static bool at_letter(const Parser *p)
{
    return p->at < p->end && isalpha((unsigned char)*p->at);
}

static size_t letters(const Parser *p)
{
    size_t n = 0;
    while (p->at + n < p->end && isalpha((unsigned char)p->at[n]))
        n++;
    return n;
}

/* The weekday that stands there, by its whole name or its first three letters; -1: none. */
static int weekday(Parser *p)
{
    size_t n = letters(p);
    for (int i = 0; i < WEEK; i++)
        if ((n == SHORT_NAME || n == strlen(weekday_names[i])) && strncasecmp(p->at, weekday_names[i], n) == 0) {
            p->at += n;
            return i;
        }
    return -1;
}

static int weekdays(Parser *p, CalendarSpec *s)
{
    static const char hint[] = "Mon..Fri, Sat,Sun; daily, hourly; a time zone comes last";
    s->weekdays = 0;
    do {
        const char *from = p->at;
        int first = weekday(p), last = first;
        if (first < 0)
            return wrong(p, from, hint, "no weekday and no shorthand");
        if (skip(p, "..") && (last = weekday(p)) < 0)
            return wrong(p, p->at, hint, "no weekday after '..'");
        if (last < first)
            return wrong(p, from, "the week begins with Mon: Sat,Sun,Mon", "a range that goes backwards");
        for (int i = first; i <= last; i++)
            s->weekdays |= 1u << i;
    } while (skip(p, ",") && !at_blank_or_end(p)); /* "Wed, 17:48" is systemd's own example */
    return at_blank_or_end(p) ? 0 : wrong(p, p->at, hint, "no end of the weekdays");
}

/* Weekdays, date and time, of which two may be missing; that means: each day, at midnight. */
static int times(Parser *p, CalendarSpec *s)
{
    const char *from = p->at;
    int code = 0;
    s->weekdays = WEEK_MASK;
    if (at_letter(p) && (code = weekdays(p, s)) < 0)
        return code;
    skip_blanks(p);
    if (!at_letter(p) && !word_has(p, ":") && word_has(p, "-~") && (code = date(p, s)) < 0)
        return code;
    skip_blanks(p);
    if (at_letter(p) || !word_has(p, ":"))
        set_midnight(s);
    else if ((code = time_of_day(p, s)) < 0)
        return code;
    if (p->at == from && p->at == p->end)
        return wrong(p, from, "daily, Mon..Fri 8:00", "no calendar expression");
    return 0;
}

static int zone(Parser *p, CalendarSpec *s)
{
    _cleanup_(freep) char *name = xstrndup(p->at, (size_t)(p->end - p->at));
    if (name[strcspn(name, " \t")])
        return wrong(p, p->at, "weekdays date time zone, as in Mon *-*-1..7 2:30 UTC", "more than a time zone");
    if (strcasecmp(name, "UTC") == 0)
        s->zone = xstrdup("UTC");
    else if (calendar_zone_exists(name))
        s->zone = TAKE_PTR(name);
    else
        return wrong(p, p->at, "UTC, Europe/Berlin or another name below /usr/share/zoneinfo",
                     "no time zone of this host");
    p->at = p->end;
    return 0;
}

/* What the shorthand at p->at stands for, which is skipped; NULL: there is none. */
static const char *shorthand(Parser *p)
{
    size_t n = letters(p);
    for (size_t i = 0; i < ELEMENTS(shorthands); i++)
        if (n == strlen(shorthands[i].name) && strncasecmp(p->at, shorthands[i].name, n) == 0) {
            p->at += n;
            return shorthands[i].text;
        }
    return NULL;
}

static int spec_parse(Parser *p, CalendarSpec *s)
{
    static const char order[] = "weekdays date time zone, as in Mon *-*-1..7 2:30 UTC";
    int code = 0;
    const char *text = shorthand(p);
    if (text) {
        Parser inner = {.at = text, .end = text + strlen(text), .e = p->e};
        if (times(&inner, s) < 0)
            abort(); /* our own text */
        if (!at_blank_or_end(p))
            return wrong(p, p->at, "daily, daily UTC", "no end of the shorthand");
    } else if ((code = times(p, s)) < 0) {
        return code;
    }
    skip_blanks(p);
    if (p->at == p->end)
        return 0;
    return at_letter(p) ? zone(p, s) : wrong(p, p->at, order, "neither a date nor a time in its place");
}

static void spec_done(CalendarSpec *s)
{
    CalendarPart *const parts[] = {&s->years, &s->months, &s->days, &s->hours, &s->minutes, &s->usecs};
    for (size_t i = 0; i < ELEMENTS(parts); i++)
        free(parts[i]->ranges);
    free(s->zone);
}

int calendar_parse(const char *text, Calendar **ret, Error *e)
{
    _cleanup_(calendar_freep) Calendar *c = new0(Calendar);
    for (const char *from = text;; from++) {
        Parser p = {.at = from, .end = from + strcspn(from, ";"), .e = e};
        from = p.end;
        skip_blanks(&p);
        while (p.end > p.at && (p.end[-1] == ' ' || p.end[-1] == '\t'))
            p.end--;
        CalendarSpec *s = &ARRAY_PUSH(c->specs, c->n);
        int r = spec_parse(&p, s);
        if (r < 0)
            return r;
        if (!*from)
            break;
    }
    *ret = TAKE_PTR(c);
    return 0;
}

Calendar *calendar_free(Calendar *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->n; i++)
        spec_done(&c->specs[i]);
    free(c->specs);
    free(c);
    return NULL;
}

/* --- back to text ------------------------------------------------------------------------------------------------- */

static void add_weekdays(StrBuf *b, unsigned days)
{
    for (int i = 0, last; i < WEEK; i = last + 1) {
        for (last = i; last < WEEK && (days & (1u << last)); last++)
            ;
        if (last == i)
            continue;
        last--;
        strbuf_addf(b, "%s%.3s", b->len && b->s[b->len - 1] != ' ' ? "," : "", weekday_names[i]);
        if (last > i)
            strbuf_addf(b, "%s%.3s", last > i + 1 ? ".." : ",", weekday_names[last]);
    }
    strbuf_addc(b, ' ');
}

static void add_value(StrBuf *b, const Part *part, unsigned v)
{
    if (part != &part_second)
        strbuf_addf(b, "%02u", v);
    else if (v % SECOND_USEC == 0)
        strbuf_addf(b, "%02u", v / SECOND_USEC);
    else
        strbuf_addf(b, "%02u.%06u", v / SECOND_USEC, v % SECOND_USEC);
}

static void add_repeat(StrBuf *b, const Part *part, unsigned v)
{
    if (part != &part_second)
        strbuf_addf(b, "/%u", v);
    else if (v % SECOND_USEC == 0)
        strbuf_addf(b, "/%u", v / SECOND_USEC);
    else
        strbuf_addf(b, "/%u.%06u", v / SECOND_USEC, v % SECOND_USEC);
}

static bool is_every_second(const CalendarPart *c)
{
    return c->n == 1 && c->ranges[0].open && c->ranges[0].start == 0 && c->ranges[0].repeat == SECOND_USEC;
}

static void add_part(StrBuf *b, const Part *part, const CalendarPart *c, char after)
{
    bool all = c->n == 0 || (part == &part_second && is_every_second(c));
    if (all)
        strbuf_addc(b, '*');
    for (size_t i = 0; !all && i < c->n; i++) {
        const CalendarRange *r = &c->ranges[i];
        bool is_range = !r->open && r->repeat > 0;
        if (i > 0)
            strbuf_addc(b, ',');
        add_value(b, part, r->start);
        if (is_range) {
            strbuf_adds(b, "..");
            add_value(b, part, r->stop);
        }
        if (r->repeat > 0 && (r->open || r->repeat != (part == &part_second ? SECOND_USEC : 1)))
            add_repeat(b, part, r->repeat);
    }
    if (after)
        strbuf_addc(b, after);
}

char *calendar_format(const Calendar *c)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < c->n; i++) {
        const CalendarSpec *s = &c->specs[i];
        strbuf_adds(&b, i > 0 ? "; " : "");
        if (s->weekdays != WEEK_MASK)
            add_weekdays(&b, s->weekdays);
        add_part(&b, &part_year, &s->years, '-');
        add_part(&b, &part_month, &s->months, s->days_from_end ? '~' : '-');
        add_part(&b, s->days_from_end ? &part_day_from_end : &part_day, &s->days, ' ');
        add_part(&b, &part_hour, &s->hours, ':');
        add_part(&b, &part_minute, &s->minutes, ':');
        add_part(&b, &part_second, &s->usecs, '\0');
        if (s->zone)
            strbuf_addf(&b, " %s", s->zone);
    }
    return strbuf_take(&b);
}
