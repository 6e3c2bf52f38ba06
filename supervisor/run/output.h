/* Where a module's output goes: an open descriptor handed straight to it, so that no pipe of ours can ever block it. */
#pragma once

#include "supervisor/run/module.h"

/* A descriptor for stdout and stderr, owned by the caller. */
int output_open(const Module *m, int *ret, Error *e);
/* What `log = ` comes to on this host: LOG_DEFAULT resolved to journal or file. */
LogTarget output_target(const Module *m);
/* The log file opened for reading; -ENOENT while nothing was logged. */
int output_open_log(const Module *m, int *ret, Error *e);
