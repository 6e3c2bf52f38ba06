/* What a module waits for, in names for programs and in words for people. New references. */
#pragma once

#include <jansson.h>

#include "supervisor/host.h"

/* Names of modules, or "exec_start_pre" and the like, or "readiness (tcp)". */
json_t *waits_for(const Host *h, const Module *m);
/* {"db": "db (creating: exec_start_pre /usr/bin/wait, for 12s)", …}: a text for those of waits_for() about which there
 * is more to tell than the name. */
json_t *waits_for_detail(const Host *h, const Module *m);
/* The hook that runs: {"name", "command", "elapsed_usec", "left_usec" (null = no limit)}, or null. */
json_t *waits_hook(const Module *m);
