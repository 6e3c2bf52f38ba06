/* The sockets that the daemon listens on for modules (module.listen): made before the first start that needs them,
 * handed to each generation as LISTEN_FDS, kept while a module that uses them is wanted up, so that clients wait in the
 * backlog while it restarts, and closed with the last one that goes down. Instances of a template with the same address
 * share one socket: what one does not accept any more, another does, and none is lost when one goes.
 *
 * Whose a connection is, the kernel tells by the cgroup of who made the listener, not by who accepts it. So each is
 * made by a child that lives for that alone, in the cgroup of its module, or, where instances share it, in one of the
 * template: modules/NAME beside modules/NAME@N, counted under that name. What is in flight in one of the instances
 * nobody can tell then. */
#pragma once

#include "supervisor/run/module.h"

typedef struct Listener Listener;

/* Opens what is missing of the module's listeners; *ret are its descriptors, borrowed, in the order of the policy. */
int listeners_open(const Module *m, int ret[static LISTEN_MAX], Error *e);
/* Whether the module has a listener that it shares with other instances. */
bool listeners_shared(const Module *m);
/* What its template's instances have accepted from shared listeners; false where that is not counted. */
bool listeners_work(const Module *m, struct work_entry *ret);

/* Closes those that no module uses: is_used is asked with the module's or, of shared ones, the template's name. */
void listeners_sweep(RunContext *ctx, bool (*is_used)(const void *host, const char *name));
void listeners_close(RunContext *ctx);
