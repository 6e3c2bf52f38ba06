/* The pump: run after every turn of the loop in which something changed, it looks at all modules and takes every step
 * that may be taken now; so order, restarts, cascades and shutdown are all the same few rules (plan/schedule.h), not
 * call chains. Wishes (jobs.h) say what is wanted; what ends by itself goes to recovery (failure.h). */
#pragma once

#include "supervisor/host.h"

/* Makes it, for host_wake(), in a host that has its loop. */
int pump_open(Host *h);

/* RunHooks */
void pump_generation_changed(void *host, Generation *g);
void pump_main_exited(void *host, Generation *g);
