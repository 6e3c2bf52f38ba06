/* The next elapse of a calendar: which moment comes first. See calendar.h.
 *
 * The search goes through what a clock on the wall can show, from the largest part to the smallest: a part that has no
 * value left carries over to the next larger one and begins anew. Nothing is tried second by second, and what can
 * never be (30 February) ends at the year 2199, after at most 230 * 12 * 31 days looked at. Only then is the clock's
 * time turned into a moment, where it may turn out that clocks jump over it: the search goes on behind the jump, so
 * each turn is later than the one before.
 *
 * On the days when clocks change it does what systemd 252 was seen to do (tests/data/calendar has the cases):
 *   - a time that is jumped over does not elapse that day, nor earlier or later instead;
 *   - a time that comes twice elapses at the first of the two. Whoever asks between the two gets the second: "after"
 * has no memory of the first. So *:0/30 pauses from 02:30 CEST to 03:00 CET, an hour and a half. A departure: systemd
 * looks on from where mktime() puts a time that does not exist, 02:00:06 at 03:00:06, and so misses what matches
 * between 03:00:00 and there. Here nothing behind the jump is missed. */
#include <errno.h>

#include "base/clock.h"
#include "policies/calendar.h"
#include "policies/calendar_spec.h"

static bool range_next(const CalendarRange *r, unsigned from, unsigned *ret)
{
    unsigned v = r->start;
    if (from > r->start) {
        if (r->repeat == 0)
            return false;
        unsigned steps = (from - r->start + r->repeat - 1) / r->repeat;
        if (steps > (r->stop - r->start) / r->repeat)
            return false;
        v += steps * r->repeat;
    }
    *ret = v;
    return true;
}

/* The smallest value of the part from `from` on, at most `max`. */
static bool part_next(const CalendarPart *p, unsigned from, unsigned max, unsigned *ret)
{
    unsigned best = p->n == 0 ? from : UINT32_MAX, v;
    for (size_t i = 0; i < p->n; i++)
        if (range_next(&p->ranges[i], from, &v) && v < best)
            best = v;
    if (best > max)
        return false;
    *ret = best;
    return true;
}

static unsigned month_length(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* 0 = Monday. Days since 1 January 1970, a Thursday. */
static unsigned weekday_of(unsigned year, unsigned month, unsigned day)
{
    unsigned days = (year - 1970) * 365 + (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400;
    for (unsigned m = 1; m < month; m++)
        days += month_length(year, m);
    return (days + day - 1 + 3) % 7;
}

static bool day_next(const CalendarSpec *s, const CalendarTime *t, unsigned *ret)
{
    unsigned length = month_length(t->year, t->month);
    if (!s->days_from_end)
        return part_next(&s->days, t->day, length, ret);
    unsigned best = UINT32_MAX, v;
    for (size_t i = 0; i < s->days.n; i++) {
        const CalendarRange *r = &s->days.ranges[i];
        CalendarRange forward = {.start = length + 1 - (r->open ? r->start : r->stop),
                                 .stop = r->open ? length : length + 1 - r->start,
                                 .repeat = r->repeat};
        if (range_next(&forward, t->day, &v) && v < best)
            best = v;
    }
    *ret = best;
    return best <= length;
}

/* The first matching date from *t's own on; *t's time of day is left alone. */
static bool date_next(const CalendarSpec *s, CalendarTime *t)
{
    unsigned v;
    for (; part_next(&s->years, t->year, YEAR_MAX, &v); t->year++, t->month = t->day = 1) {
        if (v != t->year)
            t->month = t->day = 1;
        t->year = v;
        for (; part_next(&s->months, t->month, 12, &v); t->month++, t->day = 1) {
            if (v != t->month)
                t->day = 1;
            t->month = v;
            for (; day_next(s, t, &v); t->day++) {
                t->day = v;
                if (s->weekdays & (1u << weekday_of(t->year, t->month, v)))
                    return true;
            }
        }
    }
    return false;
}

/* The first matching time of day from *t's own on. */
static bool time_next(const CalendarSpec *s, CalendarTime *t)
{
    unsigned v;
    for (; part_next(&s->hours, t->hour, 23, &v); t->hour++, t->minute = t->usec = 0) {
        if (v != t->hour)
            t->minute = t->usec = 0;
        t->hour = v;
        for (; part_next(&s->minutes, t->minute, 59, &v); t->minute++, t->usec = 0) {
            if (v != t->minute)
                t->usec = 0;
            t->minute = v;
            if (part_next(&s->usecs, t->usec, MINUTE_USEC - 1, &t->usec))
                return true;
        }
    }
    return false;
}

static void set_midnight(CalendarTime *t)
{
    t->hour = t->minute = t->usec = 0;
}

/* The first matching time from *t itself on. */
static bool clock_next(const CalendarSpec *s, CalendarTime *t)
{
    const CalendarTime from = *t;
    if (!date_next(s, t))
        return false;
    if (t->year != from.year || t->month != from.month || t->day != from.day)
        set_midnight(t);
    if (time_next(s, t))
        return true;
    t->day++; /* past the month's end: date_next() carries it */
    set_midnight(t);
    return date_next(s, t) && time_next(s, t); /* each day has a time that matches */
}

static int spec_next(const CalendarSpec *s, uint64_t after, uint64_t *ret)
{
    CalendarZone zone = calendar_zone_enter(s->zone);
    CalendarTime t = calendar_zone_show(&zone, after + 1);
    int r = -ENOENT;
    while (r < 0 && clock_next(s, &t))
        r = calendar_zone_find(&zone, &t, after, ret);
    calendar_zone_leave(&zone);
    return r;
}

int calendar_next(const Calendar *c, uint64_t after_usec, uint64_t *ret_usec)
{
    enum { YEARS = YEAR_MAX + 1 - 1970, YEAR_SEC = 31622400 };
    uint64_t first = UINT64_MAX;
    /* A clock that far ahead is broken, and its year need not fit where years are kept. */
    if (after_usec > YEARS * (uint64_t)YEAR_SEC * USEC_PER_SEC)
        return -ENOENT;
    for (size_t i = 0; i < c->n; i++) {
        uint64_t at;
        if (spec_next(&c->specs[i], after_usec, &at) == 0)
            first = MIN2(first, at);
    }
    if (first == UINT64_MAX)
        return -ENOENT;
    *ret_usec = first;
    return 0;
}
