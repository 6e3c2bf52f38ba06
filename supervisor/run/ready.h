/* Readiness probes that run in a child: is somebody listening at tcp:PORT or unix:PATH? Used for unix sockets, and for
 * tcp ports where the kernel's own word (RING_LISTEN) is not to be had. The daemon itself never polls. */
#pragma once

#include "policies/policy.h"

/* Runs in the probe child; async-signal-safe. Tries until it succeeds (0): the hook's time-out ends it otherwise. */
int ready_probe(const void *ready);
