/* Whether a module may be started at all: condition_path_exists, looked at each time it is to start. */
#pragma once

#include "policies/policy.h"

/* The first condition that does not hold, in words ("condition_path_exists = /x does not exist"), owned by the caller;
 * NULL: all hold. Looks as the daemon sees the host, as root, following links: what cannot be reached is not there. */
char *condition_unmet(const ModulePolicy *m);
