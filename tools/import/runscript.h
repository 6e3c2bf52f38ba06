/* Run scripts of runit and s6, read as far as they are plain: a line of set-up each, then exec of a chain of small
 * programs (chpst, s6-setuidgid, nice ...) that ends in the program itself. Pure. */
#pragma once

#include "base/str.h"

typedef struct RunScript {
    bool plain;      /* all of it was understood; else only `why` holds */
    const char *why; /* what was not */
    char **argv;     /* the program */
    char *user;      /* "name" or "name:group" */
    char *dir;       /* as written */
    char *envdir;    /* as written */
    char **environment;
    char *nice;
    char **limits; /* "limits.nofile", "1024", ... */
} RunScript;

void runscript_read(const char *text, RunScript *ret);
/* The same of a chain alone, as `up` of s6-rc has it. */
void runscript_read_execline(const char *text, RunScript *ret);
void runscript_done(RunScript *r);
