/* What is counted and measured of a module, as JSON: its work in flight, what it uses, what it waits for. Read when
 * somebody asks and never else; docs/face.md has the shapes. */
#pragma once

#include <jansson.h>

#include "supervisor/host.h"

/* A new reference; null where nothing is counted of the module itself. */
json_t *measures_work(const Module *m);
/* The same of the listeners that it shares with other instances, counted under their template's name. */
json_t *measures_shared_work(const Module *m);

/* The statistics of the generation in charge, UINT64_MAX where there is none; false: there is none. */
bool measures_stats(const Module *m, GroupStats *ret);
/* The same of what changes from one look to the next: cpu_usage_usec and memory_current alone. */
bool measures_usage(const Module *m, GroupStats *ret);
/* Processes that the OOM killer has chosen, of all generations. */
uint64_t measures_oom_kills(const Module *m, const GroupStats *s);
json_t *measures_cpu(const Module *m, const GroupStats *s);
json_t *measures_memory(const Module *m, const GroupStats *s);
/* null without a generation, and where the kernel does not tell. */
json_t *measures_pressure(const Module *m);
