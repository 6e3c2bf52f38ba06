/* Start-up: from the first wish until every module that should run does, or has failed once. A required one that fails
 * in it, or is not ready in startup_timeout, ends the daemon. */
#pragma once

#include "supervisor/host.h"

/* Wants all with start = auto up, and arms their timers. */
void startup_begin(Host *h);
/* Notes and tells that it is over, when it is. Called by the pump. */
void startup_check(Host *h);
