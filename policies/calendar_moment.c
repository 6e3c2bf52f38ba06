/* One moment, written as a calendar expression writes it. See calendar.h. */
#include <errno.h>

#include "policies/calendar.h"
#include "policies/calendar_spec.h"

static bool is_single(const CalendarPart *p)
{
    return p->n == 1 && p->ranges[0].repeat == 0 && !p->ranges[0].open && p->ranges[0].start == p->ranges[0].stop;
}

static void set(CalendarPart *p, unsigned value)
{
    ARRAY_PUSH(p->ranges, p->n) = (CalendarRange){.start = value, .stop = value};
}

static void set_today(CalendarSpec *s, uint64_t now)
{
    CalendarZone zone = calendar_zone_enter(s->zone);
    CalendarTime t = calendar_zone_show(&zone, now);
    calendar_zone_leave(&zone);
    set(&s->years, t.year);
    set(&s->months, t.month);
    set(&s->days, t.day);
}

/* What never comes either is no date, or clocks jump over it: in UTC they jump over nothing. */
static int behind_jump(Calendar *c, uint64_t *ret)
{
    CalendarSpec *s = &c->specs[0];
    char *own = s->zone, utc[] = "UTC";
    uint64_t at;
    s->zone = utc;
    int r = calendar_next(c, 0, &at);
    CalendarZone zone = calendar_zone_enter(utc);
    CalendarTime t = r == 0 ? calendar_zone_show(&zone, at) : (CalendarTime){0};
    calendar_zone_leave(&zone);
    s->zone = own;
    if (r < 0)
        return r;
    zone = calendar_zone_enter(own);
    r = calendar_zone_find(&zone, &t, 0, ret);
    if (r < 0)
        r = calendar_zone_find(&zone, &t, 0, ret);
    calendar_zone_leave(&zone);
    return r;
}

int calendar_moment(const char *text, uint64_t now, uint64_t *ret)
{
    _cleanup_(calendar_freep) Calendar *c = NULL;
    if (calendar_parse(text, &c, NULL) < 0 || c->n != 1)
        return -EINVAL;
    CalendarSpec *s = &c->specs[0];
    bool dateless = s->years.n + s->months.n + s->days.n == 0 && s->weekdays == WEEK_MASK;
    if (dateless && strchr(text, ':') && !strchr(text, '*')) /* not "daily" */
        set_today(s, now);
    if (!is_single(&s->years) || !is_single(&s->months) || !is_single(&s->days) || !is_single(&s->hours) ||
        !is_single(&s->minutes) || !is_single(&s->usecs))
        return -EINVAL;
    return calendar_next(c, 0, ret) == 0 || behind_jump(c, ret) == 0 ? 0 : -EINVAL;
}
