/* The last events, kept in memory for who asks later. Each is one JSON object (docs/face.md), stored as text because
 * that is a quarter of the memory of a tree. */
#pragma once

#include <jansson.h>

#include "base/util.h"

#define JOURNAL_SIZE 1024 /* events */

typedef struct Journal Journal;

Journal *journal_new(void);
Journal *journal_free(Journal *j);

/* Builds the object {"time_usec","module","generation","event","phase","detail"}; `detail` is stolen, may be NULL;
 * module NULL is the daemon itself. New reference. */
json_t *journal_event(uint64_t time_usec, const char *module, uint64_t generation, const char *event, const char *phase,
                      json_t *detail);
/* Keeps a copy of it. */
void journal_add(Journal *j, const json_t *event);
/* The last `limit` events, oldest first; module NULL = all. New reference to an array. */
json_t *journal_last(const Journal *j, const char *module, uint64_t limit);
