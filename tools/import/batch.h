/* What one call of `bulkhead import` makes: the sketches of its modules, what is told of their lines, and what both
 * borrow from. The readers of each format add to it; it knows none of them. */
#pragma once

#include "tools/import/sketch.h"

typedef struct Batch {
    Sketch **sketches;
    size_t n_sketches;
    Notes notes;
    Nss *nss;
    char **files; /* names that sources borrow; each stays where it is */
} Batch;

void batch_init(Batch *b);
void batch_done(Batch *b);
/* A new sketch among the others; -EEXIST with *e when the name is taken. */
int batch_add(Batch *b, const char *name, const char *origin, Sketch **ret, Error *e);
/* A copy of a file's name that lives as long as the batch. */
const char *batch_file(Batch *b, const char *path);
