/* From options to a host that is ready to run: the policy, the instance, the cgroup tree, the kernel's programs, the
 * modules' view, the face. */
#pragma once

#include "supervisor/host.h"

/* 0, or the exit status of the first step that failed; its reason is on stderr then, one line (all complaints of a bad
 * configuration). The host holds what was opened, for host_free(). */
int open_host(Host *h);

/* What a process of a module is born into: h->ctx's limits, directories, /dev/null and the view of the mounts.
 * *no_view: why there is no view, which keeps modules from undoing their limits; no error until there is a cgroup tree.
 */
int open_world(Host *h, Error *no_view, Error *e);
/* host.c: a host with nothing open yet, for host_free(). */
Host *host_alloc(const HostOptions *options);
/* host.c: the loop with its signals, before anything is forked; the kernel's ring. */
int host_open_loop(Host *h, Error *e);
int host_watch_kernel(Host *h, Error *e);
/* Finds what a dead daemon left in the tree and runs the loop until all of it is taken down. */
int host_take_down_leftovers(Host *h, CgroupTree *tree, Error *e);
/* Removes and closes a tree all of whose generations are gone. NULL is fine. */
CgroupTree *host_remove_tree(CgroupTree *t);
