/* Splitting values into words or items, and expanding %n, %i and ${NAME} in them. Pure. */
#pragma once

#include "base/error.h"
#include "base/util.h"

typedef enum WordsMode {
    WORDS_BLANKS, /* a command line: parted by blanks */
    WORDS_COMMAS, /* a list: parted by commas, blanks around an item dropped */
    WORDS_RULES,  /* a list whose items may hold commas between round brackets */
} WordsMode;

/* Splits `s`. In all modes '…' is literal, "…" knows \" and \\, and a backslash outside quotes takes the next byte as
 * it is. An empty item of a list is an error unless quoted. *ret ends in NULL (NULL itself for no word at all) and is
 * owned by the caller. 0, or -EINVAL with *e. */
int words_split(const char *s, WordsMode mode, char ***ret, Error *e);
/* The words of several command lines, parted by a lone `;` (quoted or after a backslash it is a word like any other):
 * ret_ends[k] is how many words stood before the k-th of the *ret_n separators. Both are owned by the caller. */
int words_split_commands(const char *s, char ***ret, size_t **ret_ends, size_t *ret_n, Error *e);

/* Expands %n (the module's name; NULL: "%n" of nobody in particular, and every variable is taken as set to "/"), %i (N
 * of "NAME@N", an error for other names) and %%, and with `variables` also ${NAME} from `environment` ("NAME=value")
 * and $$. 0, or -EINVAL with *e. */
int words_expand(const char *s, const char *module, bool variables, char *const *environment, char **ret, Error *e);

/* The same for a text that people read: what stands for nothing, as in "100% of it", stands for itself. Owned by the
 * caller. */
char *words_label(const char *s, const char *module);

/* NAME of "NAME=value" is [A-Za-z_][A-Za-z0-9_]*; its length, or 0. */
size_t words_variable_name(const char *s);
/* The value of NAME (n bytes) in an environment, or NULL. */
const char *words_variable(char *const *environment, const char *name, size_t n);
