/* Points in time as people write them: for --since and --until. */
#pragma once

#include "base/error.h"

/* "15m", "2h 30m", "10 min ago" (before now), "2026-11-20", "2026-11-20 12:00[:30]" (also with T between), "12:00"
 * (today), "now", "today", "yesterday", "@EPOCH". Local time. *ret is wall clock µs. Pure but for the time zone.
 * -EINVAL with what would be right. */
int when_parse(const char *text, uint64_t now, uint64_t *ret, Error *e);
