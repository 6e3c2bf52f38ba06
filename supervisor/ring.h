/* What the kernel's programs tell at once (bpf/shared.h, the ring): a socket listens, work is over, somebody was killed
 * or denied a call. */
#pragma once

#include "supervisor/host.h"

/* Watches the ring from now on; without programs there is none, and no error. */
int ring_watch(Host *h, Error *e);
