/* Where the module tree stands: below the cgroup that the daemon was started in, or, with cgroups = optional, nowhere.
 * The place is recorded in the runtime directory, so that a later daemon finds what a dead one left there. */
#pragma once

#include "supervisor/host.h"

/* Takes down what a dead daemon left in another place, then opens the tree as h->ctx.tree and records where it is. NULL
 * stays there when the host has none and the configuration does without. The instance must be open. */
int ground_open(Host *h, Error *e);
