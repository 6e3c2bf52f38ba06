/* From options to a host that is ready to run: the policy, the instance, the cgroup tree, the kernel's programs, the
 * modules' view, the face. */
#pragma once

#include "supervisor/host.h"

/* 0, or the exit status of the first step that failed; its reason is on stderr then, one line (all complaints of a bad
 * configuration). The host holds what was opened, for daemon_free(). */
int open_host(Host *h);

/* The loop with its signals and the pump, before anything is forked. */
int open_loop(Host *h, Error *e);
/* What a process of a module is born into: h->ctx's limits, directories, /dev/null and the view of the mounts.
 * *no_view: why there is no view, which keeps modules from undoing their limits; no error until there is a cgroup tree.
 */
int open_world(Host *h, Error *no_view, Error *e);
