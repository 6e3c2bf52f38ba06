/* Where the output goes: a terminal, a pager, a file. */
#pragma once

#include "base/util.h"

typedef struct Term {
    bool output_is_terminal; /* standard output, before any pager */
    bool errors_are_terminal;
    bool colours;
    size_t width; /* 0 = no limit: not a terminal */
} Term;

/* Looked up once. */
const Term *term(void);

/* From here on standard output goes through $BULKHEAD_PAGER, $PAGER or less, if it is a terminal and one can be run.
 * term_close() waits for it. */
void term_pager(void);
/* Flushes standard output; false when not everything could be written. */
bool term_close(void);
/* What others wrote, on standard output: a terminal gets it without control bytes, files and pipes as it is. */
void term_put(const char *data, size_t n);
/* False once nobody reads standard output any more. */
bool term_writable(void);

/* The one line of progress, on standard error if that is a terminal: replaced by the next, wiped by NULL. */
void term_progress(const char *line);
