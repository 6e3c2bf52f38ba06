/* A reload of a running generation: its program is asked to read its configuration again, by exec_reload or by
 * reload_signal, and the outcome is waited for. One at a time; it never outlives the generation.
 *
 * It is done when exec_reload has succeeded, or the signal was sent. With ready = notify the program tells more, as
 * under systemd's Type=notify-reload: RELOADING=1 (with MONOTONIC_USEC=, so that an older one does not count), later
 * READY=1. After a signal that is waited for; after exec_reload, whose success tells enough, only where RELOADING=1 has
 * come meanwhile. */
#pragma once

#include "supervisor/run/notify.h"

/* e NULL: it is done; else why it failed. The reload is freed by then. */
typedef void (*ReloadFn)(Generation *g, const Error *e);

/* Asks. 0: fn will be called, once; 1: it was done already, and fn was called; negative: it cannot be done, *e says why
 * and what would help. */
int reload_start(Generation *g, ReloadFn fn, Error *e);
/* What the program has said. */
void reload_notified(Generation *g, const NotifyMessage *message);
/* The generation goes down, so a reload under way has failed. */
void reload_ended(Generation *g);
/* Forgets it, telling nobody; NULL is fine. */
Reload *reload_free(Reload *r);
/* How long one has been under way; false: none is. */
bool reload_elapsed(const Generation *g, uint64_t *ret_usec);
