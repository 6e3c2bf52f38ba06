/* Who is wanted up or down, and what is done about it next. One pump, run after every turn of the loop in which
 * something changed, looks at all modules and takes every step that may be taken now; so order, restarts, cascades and
 * shutdown are all the same few rules (plan/schedule.h), not call chains. */
#pragma once

#include "supervisor/host.h"

/* Something changed: pump before the loop sleeps again. */
void jobs_changed(Host *h);
/* All modules with start = auto and what they need. */
void jobs_start_all(Host *h);
/* Wants `i` and what it needs up; *reply (may be NULL) is answered when it is ready or has failed. */
void jobs_start(Host *h, size_t i, ControlReply *reply);
/* Wants `i` down; running dependents make it a refusal unless `cascade`. */
void jobs_stop(Host *h, size_t i, bool cascade, ControlReply *reply);
/* Answers `reply` now if a wait of it was noted: the work goes on without a listener (--no-block). */
void jobs_answer_now(Host *h, ControlReply *reply);
void jobs_restart(Host *h, size_t i, bool cascade, ControlReply *reply);
/* Everything down, in reverse order. */
void jobs_stop_all(Host *h);

/* RunHooks */
void jobs_generation_changed(void *host, Generation *g);
void jobs_main_exited(void *host, Generation *g);
