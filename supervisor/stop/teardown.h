/* The teardown of one generation: the ten phases of phases.h put to work on its processes, counters, directories and
 * leaf. */
#pragma once

#include "supervisor/run/module.h"
#include "supervisor/stop/phases.h"

typedef struct TeardownRequest {
    Phase from;       /* PHASE_CONTROLLERS, or later for a start that failed half-way */
    const char *skip; /* not NULL: gate and drain are skipped, for this reason ("it had ended by itself") */
    void (*finished)(Generation *g); /* all phases are over; the result is in module->last_teardown */
} TeardownRequest;

/* Begins; the generation must be draining or deleting. Steps to deleting (DRAINED) after phase 3. */
void teardown_start(Generation *g, const TeardownRequest *request);
/* The main process has ended meanwhile. */
void teardown_main_exited(Generation *g);
/* Second signal: the drain is cut, all else goes on in order. */
void teardown_hurry(Generation *g);
/* The phase it is in, or PHASE_N. */
Phase teardown_phase(const Generation *g);
/* How far its drain is, as drainer_json(); null when it is in none. */
json_t *teardown_drain_json(const Generation *g);
