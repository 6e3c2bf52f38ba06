/* Between the syntax and options of supervisord.conf (supervisord.c) and its sections (supervisord_files.c). */
#pragma once

#include "tools/import/batch.h"
#include "tools/import/unitfile.h"

/* A [program:x] on its way. Strings are borrowed but for variables. */
typedef struct Program {
    Sketch *s;
    const char *name, *group, *here; /* here: the directory of the file */
    const char *count;               /* numprocs */
    bool many;                       /* over 1, and this version has instances */
    char **variables;                /* of [supervisord] and its own */
    const char *user;                /* of [supervisord], or NULL */
} Program;

typedef struct ProgramRow ProgramRow;
struct ProgramRow {
    const char *name;
    void (*take)(Program *p, const ProgramRow *row, const FromLine *from); /* NULL: dropped */
    const char *to, *why;                                                  /* as of UnitRow */
};

extern const ProgramRow program_rows[];
extern const size_t program_rows_n;
const ProgramRow *program_row(const char *name);

/* Appends the lines of a text: sections too, with key NULL and "[name]" as value. `file` must outlive them. */
void supervisord_parse(const char *text, const char *file, UnitEntries *entries);
/* Expands %(NAME)s. 0, or -EINVAL with *e. */
int supervisord_expand(const Program *p, const char *value, char **ret, Error *e);
/* Makes the module of the lines of its section. */
void program_import(Program *p, const UnitEntry *entries, size_t n);

/* Does the text hold a section of supervisord's? */
bool supervisord_looks_so(const char *text);
/* The programs of the file and of what it includes. 0, or negative with *e. */
int supervisord_take(Batch *b, const char *path, Error *e);
