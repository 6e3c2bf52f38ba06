/* What the rooms below tell the host (RunHooks): the pump takes what changes a module, clients hear of it, and from a
 * log's first line its size is watched. */
#pragma once

#include "supervisor/host.h"

extern const RunHooks run_hooks; /* their `host` is the Host */
