/* From files and directories of other supervisors to modules: which format a word of the command line is in, what
 * belongs to it, and the sketches that come of it.
 *
 *   unit_files.c    NAME.service with its drop-ins, NAME.timer and NAME.socket
 *   supervisord.c   [program:x] of supervisord.conf and what it includes
 *   svdir.c         service directories of runit, s6 and s6-rc
 *
 * Each reads only what it is pointed to; nothing is written. */
#pragma once

#include "tools/import/sketch.h"

typedef struct UnitJob UnitJob;

typedef struct Import {
    Sketch **sketches;
    size_t n_sketches;
    Notes notes;
    Nss *nss;
    char **files; /* names that sources borrow; each stays where it is */
    UnitJob *jobs;
    size_t n_jobs;
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

/* A new sketch among the others; -EEXIST with *e when the name is taken. */
int import_add(Import *i, const char *name, const char *origin, Sketch **ret, Error *e);
/* A copy of a file's name that lives as long as the import. */
const char *import_file(Import *i, const char *path);

int units_take(Import *i, const char *path_or_name, Error *e);
int units_finish(Import *i, Error *e);
void units_done(Import *i);
/* Would this be a unit's name: *.service, *.timer, *.socket? */
bool units_named(const char *word);

int supervisord_take(Import *i, const char *path, Error *e);
/* Does the text hold a section of supervisord's? */
bool supervisord_looks_so(const char *text);

int svdir_take(Import *i, const char *dir, Error *e);
/* Is there a run or a type in it? */
bool svdir_looks_so(const char *dir);
