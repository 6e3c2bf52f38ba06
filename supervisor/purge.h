/* `bulkheadd --purge`: takes down what a dead daemon of the instance left, by the same phases as a stop, and ends.
 * State and logs stay. An instance that is alive is refused. */
#pragma once

#include "supervisor/host.h"

/* `after_stop`: only when a stop is what is wanted: the daemon died in the middle of one (by its mark in the runtime
 * directory or by SERVICE_RESULT=timeout), or systemd has been asked for one since; after a crash the modules are to
 * live on. `journal`: log there. Returns the exit
 * status; 0 also when there was nothing. */
int purge(const HostOptions *options, bool after_stop, bool journal);
