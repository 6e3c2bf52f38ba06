/* What `bulkhead plan` and `bulkhead graph` show of a checked graph. Pure: no daemon is asked, no host is looked at.
 *
 * A module "starts" when it is start = auto and has no timer, or something that starts requires or wants it. */
#pragma once

#include <jansson.h>

#include "supervisor/plan/graph.h"

/* A new reference: {"waves": [[name…]…] (those that start; wave w of Graph.wave at index w, so one may be empty),
 *   "modules": [{"name", "wave", "starts": bool, "requires": [], "wants": [], "after": [], "part_of": [],
 *     "required": bool, "start": "auto|manual", "start_timeout_usec", "stop_timeout_usec",
 *     "type": "simple|oneshot", "timer": {"on_calendar", "every_usec", "persistent", "randomized_delay_usec"} or null,
 *     "restart": {"when": "no|on-failure|always", "schedule_usec": [delay before each attempt, without jitter],
 *                 "max_attempts" (0 = no limit)},
 *     "drain": {"soft_usec", "hard_usec"} or null where nothing is tracked,
 *     "limits": {"cpu_max" (percent of one CPU), "cpu_weight", "cpus", "memory_max", "memory_high", "memory_swap_max"
 *                (bytes), "pids_max"}}…]}
 * "schedule_usec" ends where the delay no longer grows, or after PLAN_SCHEDULE_MAX: the last one repeats up to
 * max_attempts. Infinite and absent values are null. */
json_t *plan_describe(const Graph *g);

#define PLAN_SCHEDULE_MAX 16

/* DOT, dependent → dependency: requires solid, wants dashed, after dotted (an edge of several kinds is drawn once, as
 * the strongest), part_of grey with a diamond; required modules bold. Owned by the caller. */
char *plan_dot(const Graph *g);

/* For people: start order, stop order, then each module. Ends in a newline unless there is no module. Owned by the
 * caller. */
char *plan_text(const Graph *g);
