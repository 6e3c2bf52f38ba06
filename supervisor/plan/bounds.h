/* How long stopping may take at most, by the policies alone: what the service manager must be asked to wait. Pure. */
#pragma once

#include "base/clock.h"
#include "supervisor/plan/graph.h"

/* After cgroup.kill; who is alive then is in uninterruptible sleep and is given up. */
#define BOUND_KILL_USEC (10 * USEC_PER_SEC)
/* For what the daemon does besides: loading programs, sweeping up. */
#define BOUND_LEEWAY_USEC (15 * USEC_PER_SEC)

/* One module's teardown, µs: its drain's hard limit (where something is tracked), stop_timeout, the kill, and
 * exec_stop_post, which has its own time-out, else stop_timeout again. USEC_INFINITY where the policy sets no limit. */
uint64_t bound_teardown(const ModulePolicy *p);
/* The shutdown of all: the longest chain of modules of which each waits for the one before. */
uint64_t bound_shutdown(const Graph *g);
