/* The pump: run after every turn of the loop in which something changed, it looks at all modules and takes every step
 * that may be taken now; so order, restarts, cascades and shutdown are all the same few rules (plan/schedule.h), not
 * call chains. Wishes (jobs.h) say what is wanted; what ends by itself goes to recovery here. */
#pragma once

#include "supervisor/host.h"

/* Something changed: pump before the loop sleeps again. */
void pump_wake(Host *h);
/* "web: start failed at exec: …", why the last start or run came to nothing. Owned by the caller. */
char *pump_failure_text(const Module *m);

/* RunHooks */
void pump_generation_changed(void *host, Generation *g);
void pump_main_exited(void *host, Generation *g);
