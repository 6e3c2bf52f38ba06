/* A drain under way: the decision of drain.h fed with what the work registry and the kernel say, woken when it is to be
 * asked again. Phase 3 of a teardown is one, `bulkhead drain` another; a module has one at a time.
 *
 * The gate must be closed before. Events told meanwhile: drain-progress, drain-soft-limit (docs/face.md). */
#pragma once

#include "supervisor/run/module.h"
#include "supervisor/stop/drain.h"

typedef struct Drainer Drainer;

typedef struct DrainerHooks {
    bool (*abandoned)(void *userdata);                               /* is no process left? NULL: never */
    void (*event)(void *userdata, const char *name, json_t *detail); /* the detail is taken */
    /* It is over, and freed by now. On all but DRAIN_DONE *e says what was left, and m->held has it one by one. */
    void (*over)(void *userdata, DrainVerdict verdict, const Error *e);
} DrainerHooks;

/* The first decision is taken by the loop, never in here. NULL: no timer could be made. */
Drainer *drainer_new(Module *m, const DrainerHooks *hooks, void *userdata);
/* Ends it unanswered; NULL is allowed. Returns NULL. */
Drainer *drainer_free(Drainer *d);
/* Cuts it. */
void drainer_hurry(Drainer *d);
/* Something may have changed that no counter tells: ask again. */
void drainer_ask(Drainer *d);
/* Where it stands: {"in_flight","begun_with","elapsed_usec","left_usec","oldest_usec","sources":{}}. */
json_t *drainer_json(const Drainer *d);
