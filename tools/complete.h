/* Completion of the command line of `bulkhead`, for all shells alike.
 *
 *     bulkhead --complete WORD...
 *
 * prints what the last WORD, cut at the cursor, may become; the words before it are those between the command's name
 * and it. A line is a candidate, a tab and what it means; or one of two that ask the shell: ":directories", ":files".
 * Shells that take '=' for a word of its own (bash) get values alone, others "--instance=NAME" whole.
 *
 * All of it comes from the tables of verbs and options: what a word of a verb or the value of an option is called
 * ("MODULE", "DIR") says what is offered there. A row in a table is all that a new verb or option needs. */
#pragma once

#include "tools/tool.h"

#define COMPLETE_WORD "--complete"

typedef enum CompleteWhat {
    COMPLETE_NOTHING,
    COMPLETE_VERBS,
    COMPLETE_OPTIONS,
    COMPLETE_MODULES,
    COMPLETE_TEMPLATES,
    COMPLETE_INSTANCES,
    COMPLETE_SIGNALS,
    COMPLETE_COLUMNS,
    COMPLETE_DIRECTORIES,
    COMPLETE_FILES
} CompleteWhat;

typedef struct Completion {
    CompleteWhat what;
    const Verb *verb;     /* NULL = none yet */
    const char *instance; /* as written, perhaps no valid one */
    uint64_t given;       /* OPTION_BITs of the words before */
    const char *word;     /* the last one ... */
    size_t keep;          /* ... of which this much stays as it is: "--instance=" */
    char **names;         /* the verb's words before this one; owned */
} Completion;

/* What is asked for; pure. Strings but for `names` are borrowed. */
void completion_find(char *const *words, size_t n, const char *environment_instance, Completion *ret);
void completion_done(Completion *c);
/* What a word or value of that name is: "MODULE". False: nobody has said yet, so that a test notices. */
bool complete_what(const char *name, CompleteWhat *ret);
/* Whether a candidate may reach a shell: nothing but letters, digits and "@%+-._:" without a ":" at its begin (a
 * stranger's daemon may say what it likes). */
bool complete_is_harmless(const char *candidate);

/* Prints the candidates; silent, and over within two seconds, whatever the daemon does. Returns the exit status, 0. */
int complete(char *const *words, size_t n);
