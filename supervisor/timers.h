/* The timers of jobs ([timer]): what plan/timer.h decides, put to work. Each has a source of the event loop for its
 * calendar and one for `every`, set for its next elapse and for nothing else; that the wall clock was set is
 * asked for (wallclock.h) while a calendar is there.
 *
 * The stamp of each, when it last began to run, is in /var/lib/bulkhead/INSTANCE/timers/NAME; it is written before the
 * run begins, so that a daemon that dies in between does not run the job twice.
 *
 * An elapse starts nothing: it marks the module as due and wakes the pump, which makes a wish of it (jobs.h). All calls
 * take modules with and without a timer. */
#pragma once

#include <jansson.h>

#include "supervisor/host.h"

/* Makes the module's timer, if it has one, and reads its stamp; the same for all modules. */
int timers_add(Host *h, Module *m, Error *e);
int timers_open(Host *h, Error *e);
/* Arms those with start = auto: the daemon has started. */
void timers_arm_all(Host *h);
void timers_disarm_all(Host *h);
/* Its timer counts from now on; `starts`: a run begins now, too. */
void timers_arm(Host *h, Module *m, bool starts);
/* Stopped by hand, or all is: no elapse until it is armed again. */
void timers_disarm(Host *h, Module *m);
/* A run is about to begin. */
void timers_run_begins(Host *h, Module *m);
/* Whether it has elapsed and a run is to begin, which the caller sees to. */
bool timers_take_due(Module *m);
/* A run is over, and will not be tried again: whether another was put off until now, which is to begin. */
bool timers_take_queued(Module *m);
void timers_close(Host *h);
void timers_forget(Module *m);

/* Wall clock µs; USEC_INFINITY = none. */
uint64_t timers_next(const Module *m);
/* {"next_usec","last_usec","skipped","armed","on_calendar","every_usec"}, or null without a timer. */
json_t *timers_json(const Module *m);
