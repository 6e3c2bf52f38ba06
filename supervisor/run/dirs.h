/* The directories a module asks for: runtime_directory below /run (removed at its end), state_directory below /var/lib
 * and logs_directory below /var/log (they stay). Made and owned by the module's user. */
#pragma once

#include "supervisor/run/module.h"

int dirs_make(const Module *m, Error *e);
/* Removes the runtime directories with all in them. */
int dirs_remove(const Module *m, Error *e);
