/* See batch.h. */
#include "tools/import/batch.h"

#include <errno.h>

void batch_init(Batch *b)
{
    *b = (Batch){.nss = nss_new()};
}

void batch_done(Batch *b)
{
    for (size_t n = 0; n < b->n_sketches; n++)
        sketch_free(b->sketches[n]);
    free(b->sketches);
    notes_done(&b->notes);
    nss_free(b->nss);
    strv_free(b->files);
}

const char *batch_file(Batch *b, const char *path)
{
    strv_add(&b->files, path);
    return b->files[strv_length(b->files) - 1];
}

int batch_add(Batch *b, const char *name, const char *origin, Sketch **ret, Error *e)
{
    for (size_t n = 0; n < b->n_sketches; n++)
        if (strcmp(b->sketches[n]->name, name) == 0)
            return error_set(e, -EEXIST, "%s and %s would both be the module %s (import them one by one)",
                             b->sketches[n]->origin, origin, name);
    *ret = ARRAY_PUSH(b->sketches, b->n_sketches) = sketch_new(name, origin, &b->notes, b->nss);
    return 0;
}
