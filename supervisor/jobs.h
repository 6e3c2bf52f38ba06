/* Wishes: who is wanted up or down. They come from start-up, from clients and from a shutdown, and only mark what is
 * wanted (want_up, want_restart, stopping); what is done about it, and when, is the pump's (pump.h). */
#pragma once

#include "supervisor/host.h"

/* All modules with start = auto and what they need. */
void jobs_start_all(Host *h);
/* Wants `i` and what it needs up; *reply (may be NULL) is answered when it is ready or has failed. */
void jobs_start(Host *h, size_t i, ControlReply *reply);
/* The same for a timer that has elapsed, and nobody waits. */
void jobs_run(Host *h, size_t i);
/* Wants `i` down; running dependents make it a refusal unless `cascade`. */
void jobs_stop(Host *h, size_t i, bool cascade, ControlReply *reply);
void jobs_restart(Host *h, size_t i, bool cascade, ControlReply *reply);
/* Wants `i` down for good, whoever requires it: what stays does without. */
void jobs_leave(Host *h, size_t i);
/* Module i is to start anew by recovery: what is part of it and runs is restarted too. */
void jobs_restart_parts(Host *h, size_t i);
/* Everything down, in reverse order. */
void jobs_stop_all(Host *h);
