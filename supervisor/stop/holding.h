/* What holds a drain, one by one: connections with their peer, their age and their state. */
#pragma once

#include "supervisor/run/module.h"
#include "supervisor/watch/work.h"

#define HOLDING_MAX 16 /* as many are told of, the oldest */

/* [{"what":"connection","peer","local","state","age_usec","busy_usec","unread","unsent"},
 *  {"what":"calls","in_flight"}]; the oldest work first. A new reference. */
json_t *holding_json(const Module *m, const WorkNow *now);
/* "127.0.0.1:4242 busy for 12s, … and 3 more"; empty when there is none. Owned by the caller. */
char *holding_text(const json_t *holding);
