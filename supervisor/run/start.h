/* The start of a generation, from nothing to ready: leaf, limits, directories, exec_start_pre, clone, exec, readiness.
 * Driven by events; each step either leads to the next or ends in generation_start_failed(). */
#pragma once

#include "supervisor/run/module.h"

/* Makes the module's stable group modules/NAME, whose id keys its counters across generations, and its entry in the
 * kernel's map. Once a module, before its first start. */
int module_make_group(Module *m, Error *e);
/* Makes the module's next generation and begins its start. A failure, at once or later, is told by the lifecycle
 * (START_FAILED) and kept as the module's last error; this function itself cannot fail. */
Generation *generation_start(Module *m);
/* The start has failed: keeps stage and message as the module's last error and steps to START_FAILED. */
void generation_start_failed(Generation *g, const Error *e);
/* The main process of a job has ended well: its start is over, and so is its run unless it remains (remain_after_exit).
 */
void generation_completed(Generation *g);
/* A socket of the module began to listen on a TCP port (RING_LISTEN). */
void generation_listening(Generation *g, uint16_t port);
/* Stops everything that watches for readiness (phase controllers). */
void generation_stop_watching(Generation *g);
/* The policy's limits in the words of cgroups/. */
GroupLimits generation_limits(const Limits *l);
/* The short-lived part of a start; NULL is fine. */
Launch *launch_free(Launch *l);
