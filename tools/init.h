/* `bulkhead init`: a module file from a command line. Pure: what must be looked up is asked of an InitWorld. */
#pragma once

#include "base/error.h"
#include "tools/known.h"

typedef struct Init {
    const KnownProgram *known;
    char **given;                                                                     /* the command line as typed */
    Cmdline line;                                                                     /* as it will be */
    char *name, *user, *user_why, *ready, *ready_why, *working_dir, *working_dir_why; /* the last two may be NULL */
    char *unit; /* of Debian's own service, "nginx.service"; NULL = it has none here */
} Init;

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
