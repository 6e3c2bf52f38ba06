/* From files and directories of other supervisors to modules: which format a word of the command line is in, what
 * belongs to it, and the sketches that come of it.
 *
 *   unit_files.c    NAME.service with its drop-ins, NAME.timer and NAME.socket
 *   supervisord.c   [program:x] of supervisord.conf and what it includes
 *   svdir.c         service directories of runit, s6 and s6-rc
 *
 * Each reads only what it is pointed to; nothing is written. */
#pragma once

#include "tools/import/batch.h"
#include "tools/import/unit.h"

typedef struct Import {
    Batch batch;
    Units units;
} Import;

Import *import_new(void);
Import *import_free(Import *i);
static inline void import_freep(Import **i)
{
    *i = import_free(*i);
}

/* Takes in a word: a file, a directory, or the name of a unit that systemd would find. 0, or negative with *e. */
int import_take(Import *i, const char *word, Error *e);
/* After the last word: reads the units, binds the modules to each other and to those that exist (`known`). 0, or
 * negative with *e. */
int import_finish(Import *i, char *const *known, Error *e);
