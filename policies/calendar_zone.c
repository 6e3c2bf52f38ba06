/* Clocks on the wall: from a moment to what they show, and back. See calendar_spec.h.
 *
 * glibc knows one zone at a time, the one of TZ, and has no call that takes another. So TZ is set around a computation
 * and put back after it. The daemon has one thread and none of this waits for anything, so nobody sees the other TZ:
 * children get environments made anew (run/spawn), and log lines are written after. It does not leak: glibc keeps each
 * different "TZ=..." string once and uses it again (measured: 60000 questions in three zones each, 0 bytes more, 16 µs
 * a zone).
 *
 * mktime() is not used: of a time that exists twice it takes now the one, now the other, by what it was asked before.
 * The offsets a day before and a day after leave two candidates, and each is tried: does the clock show t then? */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "policies/calendar_spec.h"

enum { DAY_SEC = 86400 };

bool calendar_zone_exists(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/");
    if (n == 0 || name[n] || name[0] == '/' || strlen(name) > 64)
        return false;
    _cleanup_(freep) char *path = xasprintf("%s/%s", str_or(getenv("TZDIR"), "/usr/share/zoneinfo"), name);
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char magic[4];
    return fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "TZif", sizeof magic) == 0;
}

CalendarZone calendar_zone_enter(const char *zone)
{
    CalendarZone z = {.utc = str_equal(zone, "UTC"), .changed = zone && !str_equal(zone, "UTC")};
    if (z.changed) {
        const char *tz = getenv("TZ");
        z.saved_tz = tz ? xstrdup(tz) : NULL;
        _cleanup_(freep) char *value = xasprintf(":%s", zone);
        if (setenv("TZ", value, 1) < 0)
            abort(); /* no memory */
    }
    tzset(); /* looks at /etc/localtime again too, which may have changed */
    return z;
}

void calendar_zone_leave(CalendarZone *z)
{
    if (!z->changed)
        return;
    if (z->saved_tz ? setenv("TZ", z->saved_tz, 1) < 0 : unsetenv("TZ") < 0)
        abort();
    free(z->saved_tz);
    tzset();
    *z = (CalendarZone){0};
}

static struct tm show(const CalendarZone *z, int64_t seconds)
{
    time_t s = (time_t)seconds;
    struct tm tm = {0};
    if (!(z->utc ? gmtime_r(&s, &tm) : localtime_r(&s, &tm)))
        abort(); /* a year beyond int: seconds are below the year 2200's */
    return tm;
}

static CalendarTime time_of(const struct tm *tm, unsigned fraction)
{
    return (CalendarTime){.year = (unsigned)tm->tm_year + 1900,
                          .month = (unsigned)tm->tm_mon + 1,
                          .day = (unsigned)tm->tm_mday,
                          .hour = (unsigned)tm->tm_hour,
                          .minute = (unsigned)tm->tm_min,
                          .usec = (unsigned)tm->tm_sec * SECOND_USEC + fraction};
}

CalendarTime calendar_zone_show(const CalendarZone *z, uint64_t usec)
{
    struct tm tm = show(z, (int64_t)(usec / USEC_PER_SEC));
    return time_of(&tm, (unsigned)(usec % USEC_PER_SEC));
}

static int64_t offset_at(const CalendarZone *z, int64_t seconds)
{
    return show(z, seconds).tm_gmtoff;
}

/* The second between `low` and `high`, which have different offsets, from which on the offset is not that of `low`. */
static int64_t change_between(const CalendarZone *z, int64_t low, int64_t high)
{
    int64_t before = offset_at(z, low);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(offset_at(z, middle) == before ? &low : &high) = middle;
    }
    return high;
}

int calendar_zone_find(const CalendarZone *z, CalendarTime *t, uint64_t after, uint64_t *ret)
{
    struct tm tm = {.tm_year = (int)t->year - 1900,
                    .tm_mon = (int)t->month - 1,
                    .tm_mday = (int)t->day,
                    .tm_hour = (int)t->hour,
                    .tm_min = (int)t->minute,
                    .tm_sec = (int)(t->usec / SECOND_USEC)};
    unsigned fraction = t->usec % SECOND_USEC;
    int64_t as_utc = timegm(&tm);
    /* Offsets are less than a day, so the moment lies between these two. */
    const int64_t offsets[] = {offset_at(z, as_utc - DAY_SEC), offset_at(z, as_utc + DAY_SEC)};
    uint64_t found = UINT64_MAX;
    for (size_t i = 0; i < ELEMENTS(offsets); i++) {
        int64_t seconds = as_utc - offsets[i];
        if (seconds < 0 || offset_at(z, seconds) != offsets[i])
            continue;
        uint64_t usec = (uint64_t)seconds * USEC_PER_SEC + fraction;
        if (usec > after)
            found = MIN2(found, usec);
    }
    if (found != UINT64_MAX) {
        *ret = found;
        return 0;
    }
    /* Since 1970 no two changes of a zone were less than six days apart; should two be, the rest of the day is left
     * out. */
    int64_t next = as_utc - as_utc % DAY_SEC + DAY_SEC;
    if (offsets[0] != offsets[1]) {
        int64_t behind = change_between(z, as_utc - DAY_SEC, as_utc + DAY_SEC) + offsets[1];
        if (behind > as_utc)
            next = MIN2(next, behind);
    }
    time_t s = (time_t)next;
    gmtime_r(&s, &tm);
    *t = time_of(&tm, 0);
    return -ENOENT;
}
