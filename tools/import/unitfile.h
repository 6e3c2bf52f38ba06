/* The syntax of systemd's unit files: sections, assignments, continued lines; words with quotes and escapes;
 * specifiers; spans of time, sizes and booleans as systemd writes them. Pure.
 *
 * Kept apart from what the directives mean (unit.c), as systemd.syntax(7) is from the pages of the unit types. There is
 * no library for it: libsystemd has none of systemd's own parsers. */
#pragma once

#include "base/error.h"
#include "base/str.h"

typedef struct UnitEntry {
    char *section; /* "" before the first section line */
    char *key;     /* NULL: the line is no assignment, and `value` is it */
    char *value;
    const char *file; /* borrowed from whoever read it */
    unsigned line;    /* where it begins */
} UnitEntry;

typedef struct UnitEntries {
    UnitEntry *items;
    size_t n;
} UnitEntries;

/* Appends the entries of a file in memory. Comments, also between continued lines, are left out; a backslash at the end
 * of a line and the line break become one blank. `file` must outlive the entries. */
void unitfile_parse(const char *data, size_t size, const char *file, UnitEntries *entries);
void unitfile_done(UnitEntries *entries);

/* Splits into words by systemd's rules: blanks; '…' and "…", both with the escapes of C, as outside of quotes.
 * *ret ends in NULL and is owned by the caller. With `ret_semicolon` an unquoted lone ; ends the command, and the rest
 * of the text is returned there (NULL when there is none); "\;" is the character. 0, or -EINVAL with *e. */
int unit_words(const char *s, char ***ret, const char **ret_semicolon, Error *e);

/* What the specifiers stand for that are known before the unit runs. */
typedef struct UnitNames {
    char *full;     /* nginx.service, postgresql@15-main.service */
    char *prefix;   /* nginx, postgresql */
    char *instance; /* 15-main, or "" */
} UnitNames;

/* -EINVAL: no name of a unit. */
int unit_names(const char *full, UnitNames *ret);
void unit_names_done(UnitNames *n);
/* "15-main" as the path systemd reads it as: "15/main", \x2d a dash. Owned by the caller. */
char *unit_unescape(const char *escaped);

/* Expands the specifiers; "%%" stays as it is, since it means a percent sign to us, too, as long as `keep_percent`.
 * 0, or -EINVAL with *e: one stands for something that only the running system knows. */
int unit_specifiers(const char *s, const UnitNames *names, bool keep_percent, char **ret, Error *e);

/* 1, 0, or -EINVAL. */
int unit_boolean(const char *s);
/* "5min 20s", "2.5s", "infinity"; a bare number counts `unit` (µs each): *ret in µs. 0 or -EINVAL. */
int unit_time(const char *s, uint64_t unit, uint64_t *ret);
/* "1.5G", "64M", "infinity", in bytes; a bare number is bytes. 0 or -EINVAL. */
int unit_size(const char *s, uint64_t *ret);

/* As our files have them: "1h 30m", "64M"; "infinity". Owned by the caller. */
char *import_time(uint64_t usec);
char *import_size(uint64_t bytes);
