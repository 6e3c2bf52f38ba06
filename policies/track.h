/* What counts as work in flight: the items of [work] track. Used by values.c alone; the result is policy.h's Track. */
#pragma once

#include "policies/kinds.h"
#include "policies/policy.h"

/* `value` not empty, *ret untouched on error, 0 or -EINVAL with *e. */
int track_parse(const char *value, const ValueContext *x, Track *ret, Error *e);
void track_done(Track *t);
