/* `bulkheadd --purge`: takes down what a dead daemon of the instance left, by the same phases as a stop, and ends.
 * State and logs stay. An instance that is alive is refused. */
#pragma once

#include "supervisor/host.h"

/* `after_stop`: only when the daemon died in the middle of a stop, by its mark in the runtime directory or by systemd's
 * word (SERVICE_RESULT=timeout); after a crash the modules are to live on. `journal`: log there. Returns the exit
 * status; 0 also when there was nothing. */
int purge(const HostOptions *options, bool after_stop, bool journal);
