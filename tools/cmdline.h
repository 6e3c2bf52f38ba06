/* The command line that `bulkhead init` was given, on its way to what `exec` will be: what is in it is looked up, and
 * changed so that the program stays in the foreground, each change with its reason. */
#pragma once

#include "base/util.h"

/* What init asks about the host. */
typedef struct InitWorld {
    bool (*user_exists)(const char *name);
    /* The name of the file's owner; NULL when it is root, has no name, or there is no such file. Owned by the caller.
     */
    char *(*owner)(const char *path);
    /* The file's text, NULL when it cannot be read. Owned by the caller. */
    char *(*text)(const char *path);
    /* The last of the paths that the pattern matches, sorted; NULL = none. Owned by the caller. */
    char *(*match)(const char *pattern);
    bool (*exists)(const char *path);
    const char *cwd; /* where the command was typed */
} InitWorld;

typedef struct Cmdline {
    const InitWorld *world;
    char **argv;   /* the program by its absolute path, then its words */
    unsigned port; /* that it is taken to listen on; 0 = not known */
    char **notes;  /* what was changed or supposed, a sentence each */
} Cmdline;

/* The index of the word, or of the first that begins with it and '=' ; 0 = not there. */
size_t cmdline_find(const Cmdline *l, const char *word);
/* The value of "OPTION VALUE" or "OPTION=VALUE"; NULL = not there. */
const char *cmdline_value(const Cmdline *l, const char *option);
/* These change it; `why` becomes a note. */
void cmdline_drop(Cmdline *l, const char *word, const char *why);
void cmdline_add(Cmdline *l, const char *const *words, const char *why);
/* `option value` must be there: replaces another value, adds both when missing. */
void cmdline_set(Cmdline *l, const char *option, const char *value, const char *why);
/* The port that the command line names, 0 = none. */
unsigned cmdline_port(const Cmdline *l);
void cmdline_done(Cmdline *l);
