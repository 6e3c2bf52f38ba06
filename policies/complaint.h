/* Everything wrong with a configuration, all at once: `file:line: section.key: what is wrong (what would be right)`. */
#pragma once

#include "base/util.h"

typedef struct Complaint {
    char *file;    /* as it is shown: the directory given by the user, then the name in it */
    unsigned line; /* 0 = the file as a whole */
    char *key;     /* "section.key", "section", or NULL */
    char *message;
} Complaint;

typedef struct Complaints {
    Complaint *items;
    size_t n;
} Complaints;

#define _cleanup_complaints_ _cleanup_(complaints_done)

void complaints_add(Complaints *c, const char *file, unsigned line, const char *key, const char *fmt, ...)
    _printf_(5, 6);
void complaints_sort(Complaints *c);
void complaints_done(Complaints *c);
/* One line without newline, owned by the caller. */
char *complaint_format(const Complaint *c);
