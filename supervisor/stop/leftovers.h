/* What a dead daemon left: generations found in the instance's tree, taken down in phases by the same engine, one line
 * each. The instance's lock must be held. */
#pragma once

#include "supervisor/run/module.h"

/* Adds to the array every generation below modules/ of `tree` (the instance's own, or the recorded one of a daemon that
 * was started elsewhere) and wraps it in a Module of its own: the policy's, where it still has one of that name, else a
 * plain one (SIGTERM, 10 s). Stray `check` groups are killed at once. *ret (an array of pointers) is the caller's, each
 * to be freed by leftover_free(). */
int leftovers_find(RunContext *ctx, CgroupTree *tree, const Policy *policy, Module ***ret, size_t *ret_n, Error *e);
/* Begins its teardown; `finished` is called when it is over. */
void leftover_take_down(Module *m, void (*finished)(Generation *g));
Module *leftover_free(Module *m);
/* Removes the group of a module that has no generation, and what is in it: leaves that could not be removed because a
 * kill did not end a process (held by a v1 freezer, asleep in the kernel), which may have died since. Whoever is still
 * there is killed again, and not waited for. */
int leftovers_clear(CgroupTree *tree, const char *name, Error *e);
/* The same for all modules, waiting for the killed, one second for all. 0, or what stays, the first of it in *e. */
int leftovers_sweep(CgroupTree *tree, Error *e);
