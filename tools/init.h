/* `bulkhead init`: a module file from a command line. Pure: what must be looked up is asked of an InitWorld. */
#pragma once

#include "base/error.h"
#include "tools/known.h"

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

struct Init {
    const KnownProgram *known;
    const InitWorld *world;
    char **given; /* the command line as typed */
    char **argv;  /* as it will be: the program by its absolute path, made to stay in the foreground */
    char *name, *user, *user_why, *ready, *ready_why, *working_dir, *working_dir_why; /* the last two may be NULL */
    unsigned port; /* that it is taken to listen on; 0 = not known */
    char *unit;    /* of Debian's own service, "nginx.service"; NULL = it has none here */
    char **notes;  /* what was changed or supposed, a sentence each */
};

/* Guesses everything. `path` is where the program is; `given` the command line as typed; name and user NULL: not given.
 * -EINVAL with *e: a word that no ini file can hold, or no name can be made of it. */
int init_guess(const InitWorld *world, const char *path, char *const *given, const char *name, const char *user,
               Init *ret, Error *e);
void init_done(Init *i);
/* The file. Owned by the caller. */
char *init_text(const Init *i);

/* A word as `exec` takes it: quoted where it must be, % and $ doubled. Owned by the caller. */
char *init_quote(const char *word);
/* A module's name made of any text: "php-fpm8.2" → "php-fpm8-2"; NULL when nothing of it can be in one. Owned. */
char *init_name(const char *text);

/* For the rows' adapt(): look at and change the command line; a change adds `why` to the notes. */
/* The index of the word, or of the first that begins with it and '=' ; 0 = not there. */
size_t init_find(const Init *i, const char *word);
/* The value of "OPTION VALUE", "OPTION=VALUE" or, for one letter, "-oVALUE"; NULL = not there. */
const char *init_value(const Init *i, const char *option);
void init_drop(Init *i, const char *word, const char *why);
void init_add(Init *i, const char *const *words, const char *why);
/* `option value` must be there: replaces another value, adds both when missing. */
void init_set(Init *i, const char *option, const char *value, const char *why);
/* The port that the command line names, 0 = none. */
unsigned init_port(const Init *i);
