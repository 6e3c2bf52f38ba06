/* Points in time as people write them: for --since and --until of logs, and --base-time of calendar. */
#pragma once

#include "base/error.h"

/* "15m", "2h 30m", "10 min ago" (before now), "2026-11-20", "2026-11-20 12:00[:30[.5]]" (also with T between), "12:00"
 * (today), both also with a time zone behind it ("UTC", "Europe/Berlin"), else local; "now", "today", "yesterday",
 * "@EPOCH". *ret is wall clock µs, untouched on error. Pure but for the time zone. -EINVAL with what would be right. */
int when_parse(const char *text, uint64_t now, uint64_t *ret, Error *e);
