/* Who waits for what: clients whose call is answered when a module is up, down or up again. A waiter is answered once,
 * by the pump or by a wish that makes its wait pointless, and never outlives its module's place in the host. */
#pragma once

#include "supervisor/host.h"

/* Notes that `reply` waits; a NULL reply waits for nothing. */
void waiters_add(Host *h, const Module *m, WaitFor what, ControlReply *reply);
/* Answers who waits for `what` of m; error NULL = it came true. */
void waiters_answer(Host *h, const Module *m, WaitFor what, const char *error);
/* Who waits for m to be up, for the first time or again, need wait no longer, though nothing was started. */
void waiters_settle(Host *h, const Module *m);
/* Takes back the note about `reply`, which somebody else answers. */
void waiters_forget(Host *h, const ControlReply *reply);
/* Answers `reply` now if a wait of it was noted: the work goes on without a listener (--no-block). */
void waiters_answer_now(Host *h, ControlReply *reply);
