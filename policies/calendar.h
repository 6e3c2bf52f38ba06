/* Calendar expressions as in systemd.time(7): "Mon..Fri *-*-* 02:30:00 Europe/Berlin", "hourly", several parted by ';'.
 *
 * No library of Debian 12 reads that syntax (libsystemd has it, but exports none of it; libical and the cron libraries
 * read others), so this is our own. It agrees with `systemd-analyze calendar` but for what bulkhead.ini(5) names.
 *
 * Pure but for two things: a named time zone must exist among the host's zone files when it is parsed, and the local
 * zone is whatever TZ or /etc/localtime say at the moment of the question. Wall clock throughout, in microseconds
 * since 1970. */
#pragma once

#include "base/error.h"
#include "base/util.h"

typedef struct Calendar Calendar;

/* -EINVAL with *e (where it went wrong, what would be right), *ret untouched. */
int calendar_parse(const char *text, Calendar **ret, Error *e);
/* The first time strictly after `after_usec` at which any of the expressions elapses; -ENOENT: never again (nothing is
 * looked for beyond the year 2199). */
int calendar_next(const Calendar *c, uint64_t after_usec, uint64_t *ret_usec);
/* The one moment that an expression of single values stands for: "2026-12-24 18:00 Europe/Berlin", "12:00" of the day
 * that `now` is in the zone. What comes twice is the first, what clocks jump over the first behind the jump. -EINVAL:
 * it is none. */
int calendar_moment(const char *text, uint64_t now, uint64_t *ret_usec);
/* The normalised text, which parses to the same; owned by the caller. */
char *calendar_format(const Calendar *c);
Calendar *calendar_free(Calendar *c);
static inline void calendar_freep(Calendar **c)
{
    *c = calendar_free(*c);
}
