/* Errors that a person will read.
 *
 * A function returns 0, or a negative errno. Where more must be said, it fills a caller-owned Error, which never
 * allocates: what was tried (`stage`, may be empty) and the message. The innermost function that knows fills it; outer
 * ones may put words before it (error_prefix) but never overwrite it. NULL is allowed: nobody wants the words. */
#pragma once

#include "base/util.h"

typedef struct Error {
    int code;       /* negative errno, 0 when unset */
    char stage[24]; /* step of a longer work, "" when there is none */
    char msg[488];  /* no newline, no full stop */
} Error;

/* Fills *e and returns `code` (a negative errno). The message is complete in itself: errno's text is not added. */
int error_set(Error *e, int code, const char *fmt, ...) _printf_(3, 4);
/* The same with ": strerror(-code)" appended. */
int error_errno(Error *e, int code, const char *fmt, ...) _printf_(3, 4);
/* Puts words before what *e says already. Returns e's code. */
int error_prefix(Error *e, const char *fmt, ...) _printf_(2, 3);
/* Puts words behind what *e says already: what would help. Returns e's code. */
int error_suffix(Error *e, const char *fmt, ...) _printf_(2, 3);
/* Names the stage, if none is named yet. */
void error_stage(Error *e, const char *stage);
/* What to print: never empty. */
const char *error_message(const Error *e);
