/* What follows when a start comes to nothing or a run ends that nobody wanted to: why, in words; who is told; and
 * whether it is started again (plan/recovery.h). */
#pragma once

#include "supervisor/host.h"

/* "web: start failed at exec: …", why the last start or run came to nothing. Owned by the caller. */
char *failure_text(const Module *m);
/* "it requires migrate, which failed: exit status 3": why nothing that requires module `on` can be started. Owned by
 * the caller. */
char *failure_of_dependency(const Host *h, size_t on);
/* The start of module i has come to nothing (for now): tells who waits, and at start-up a required one ends it all. */
void failure_at_start(Host *h, size_t i);
/* An end of module i that nobody wanted: restart now, later, or never. `ready_usec`: how long the run had been ready.
 */
void failure_recover(Host *h, size_t i, bool success, uint64_t ready_usec);
