/* The last events, kept in memory for who asks later. Each is one JSON object (docs/face.md), stored as text because
 * that is a quarter of the memory of a tree. */
#pragma once

#include <jansson.h>

#include "base/util.h"

#define JOURNAL_SIZE 1024 /* events */

typedef struct Journal Journal;

Journal *journal_new(void);
Journal *journal_free(Journal *j);

/* Keeps the event {"time_usec","module","generation","event","phase","detail"} and returns its text, valid until the
 * next call. module NULL is the daemon itself, generation 0 and phase NULL are null; `detail` is stolen, may be NULL.
 */
const char *journal_add(Journal *j, uint64_t time_usec, const char *module, uint64_t generation, const char *event,
                        const char *phase, json_t *detail);
/* The last `limit` events, oldest first; module NULL = all. New reference to an array. */
json_t *journal_last(const Journal *j, const char *module, uint64_t limit);
