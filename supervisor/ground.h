/* Where the module tree stands:
 *
 *   1. where systemd is process 1 and cgroup2 carries the controllers: in a scope of the instance's own (scope.h), so
 * that the modules outlive the daemon and nobody else is in the way;
 *   2. else below the cgroup that the daemon was started in, in every hierarchy;
 *   3. with cgroups = optional, where that cannot be: nowhere.
 *
 * The place is recorded in the runtime directory, so that a later daemon finds what a dead one left there. */
#pragma once

#include "supervisor/host.h"

/* Takes down what a dead daemon left in another place, then opens the tree as h->ctx.tree and records where it is. NULL
 * stays there when the host has none and the configuration does without. The instance must be open. */
int ground_open(Host *h, Error *e);
/* Finds what a dead daemon left in the tree and runs the loop until all of it is taken down. */
int ground_take_down_leftovers(Host *h, CgroupTree *tree, Error *e);
/* Takes down what a dead daemon left wherever its tree stood, removes that and makes none. */
int ground_clear(Host *h, Error *e);
/* Gives it back: removed if `clean`, and a scope is waited for until systemd has put it away; else left as it is. */
void ground_close(Host *h, bool clean);
/* Notes what a tree has here, in the place where a daemon's would stand; made for that and taken away again. `inside`
 * is called while it is there, with the descriptor of its directory, negative where there is none. */
void ground_survey(const char *instance, Features *f, void (*inside)(void *userdata, int cgroup), void *userdata);
