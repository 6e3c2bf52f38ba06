/* The table of the files of a service directory; see svdir.c. */
#pragma once

#include "tools/import/import.h"
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
