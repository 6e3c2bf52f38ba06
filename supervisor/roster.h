/* Which modules there are: the arrays of the host that stand parallel to its policy and graph, and how they pass from
 * one policy to another while the daemon runs.
 *
 * A Module never moves: one whose name stays keeps its generation, history and counters, whatever place it has in the
 * arrays then. Who leaves is stopped first (Module.leaving), in phases and in order like any other, and dropped when it
 * is down: its stable group goes, its counters are forgotten. The policy and the graph in charge always hold what is
 * still on its way out. */
#pragma once

#include "supervisor/host.h"

/* Where the modules of `to` come from: ret_from[i] is the place in `from` of the one with the name of to->modules[i],
 * SIZE_MAX for a new one; ret_goes[k]: from->modules[k] is not in `to`. Pure. */
void roster_match(const Policy *from, const Policy *to, size_t *ret_from, bool *ret_goes);

/* The first modules, those of h->policy, without groups. */
void roster_open(Host *h);
/* Puts `policy` and `graph`, which it takes, in the place of the host's. Modules that are new are made, with group and
 * counters; those that are no more must be down. On failure nothing has changed. Not to be called while the pump runs
 * over the arrays. */
int roster_replace(Host *h, Policy *policy, Graph *graph, Error *e);
/* Drops who was to leave and is down. */
void roster_sweep(Host *h);
void roster_close(Host *h);
