/* Service directories of runit, s6 and s6-rc, and the table of the files in them; see svdir.c. */
#pragma once

#include "tools/import/batch.h"
#include "tools/import/unitfile.h"

typedef struct ServiceDir {
    Sketch *s;
    const char *dir; /* absolute */
    bool oneshot;
} ServiceDir;

typedef struct ServiceFile ServiceFile;
struct ServiceFile {
    const char *name;
    void (*take)(ServiceDir *d, const ServiceFile *row, const FromLine *from); /* NULL: dropped */
    const char *to, *why;                                                      /* as of UnitRow */
};

extern const ServiceFile service_files[];
extern const size_t service_files_n;
const ServiceFile *service_file(const char *name);

/* Is there a run or a type in it? */
bool svdir_looks_so(const char *dir);
/* The module of the directory; a bundle makes none. 0, or negative with *e. */
int svdir_take(Batch *b, const char *dir, Error *e);
