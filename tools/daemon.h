/* The daemon's program, for what it can do without being the daemon. */
#pragma once

#include "base/error.h"

/* The `bulkheadd` that belongs to this `bulkhead`: installed beside it (../sbin), or built beside it. Owned by the
 * caller; -ENOENT says where it was looked for. */
int daemon_program(char **ret, Error *e);
