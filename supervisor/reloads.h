/* Reloads that clients ask for. No wish of jobs.h: a reload changes nothing that is wanted, and what cannot be reloaded
 * now is refused at once. */
#pragma once

#include "supervisor/host.h"

/* Reloads `i`; *reply is answered when that is over, or with !block when it has begun. */
void reloads_start(Host *h, size_t i, bool block, ControlReply *reply);
