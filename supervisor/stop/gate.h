/* A module's gate: closed, new work is turned away in the kernel, and what is in flight goes on undisturbed.
 *
 * Closing loses nothing: what is turned away is sent again by whoever sent it, and comes in when the gate is opened. A
 * teardown closes it in phase 2 and opens it once the processes are gone, so that what comes then waits for the next
 * generation. One that was closed by hand (supervisor/drains.h) stays closed over a crash. */
#pragma once

#include "supervisor/run/module.h"

/* Why the module has no gate and cannot be drained, in words to follow "it": NULL = it can. */
const char *gate_refusal(const Module *m);
/* Closes it; 0 also when it was closed. */
int gate_close(Module *m, Error *e);
/* Opens it; 0 also when it was open. */
int gate_open(Module *m, Error *e);
