/* What a calendar expression is once parsed, for calendar*.c alone; see calendar.h. */
#pragma once

#include "base/util.h"

enum { YEAR_MIN = 1970, YEAR_MAX = 2199, SECOND_USEC = 1000000, MINUTE_USEC = 60 * SECOND_USEC, WEEK_MASK = 127 };

/* start, start + repeat, ... up to stop. repeat 0: start alone. */
typedef struct CalendarRange {
    unsigned start, stop, repeat;
    bool open; /* written without an end: to the largest value; of days from the end, to the last day of the month */
} CalendarRange;

/* The values that a component may have; none listed: all. */
typedef struct CalendarPart {
    CalendarRange *ranges; /* sorted */
    size_t n;
} CalendarPart;

typedef struct CalendarSpec {
    unsigned weekdays; /* bit 0 = Monday */
    CalendarPart years, months, days, hours, minutes;
    CalendarPart usecs; /* within the minute; always listed */
    bool days_from_end; /* days are counted from the month's end, its last is 1 */
    char *zone;         /* "UTC", an IANA name; NULL = local */
} CalendarSpec;

struct Calendar {
    CalendarSpec *specs;
    size_t n;
};

/* A time as a clock on the wall shows it. month and day from 1; usec within the minute. */
typedef struct CalendarTime {
    unsigned year, month, day, hour, minute, usec;
} CalendarTime;

/* Is it the name of a zone of this host? */
bool calendar_zone_exists(const char *name);

/* Makes `zone` (NULL = local) the one of the two functions below, until calendar_zone_leave(); they do not nest. */
typedef struct CalendarZone {
    bool utc, changed;
    char *saved_tz; /* NULL: TZ was not set */
} CalendarZone;
CalendarZone calendar_zone_enter(const char *zone);
void calendar_zone_leave(CalendarZone *z);

CalendarTime calendar_zone_show(const CalendarZone *z, uint64_t usec);
/* The first moment after `after` at which the clock shows *t. -ENOENT: it never does, because it was put forward over
 * it; *t is then the first time behind the jump. */
int calendar_zone_find(const CalendarZone *z, CalendarTime *t, uint64_t after, uint64_t *ret);
