/* The daemon's command line: one table of options that feeds the parser, --help, the manual and the completion.
 *
 * A row is all that a new option needs, besides the field it is stored in. */
#pragma once

#include "supervisor/host.h"

typedef struct DaemonOptions {
    HostOptions host;
    const char *without;
    bool features, purge, after_stop, journal, version, help;
} DaemonOptions;

typedef struct DaemonOption {
    const char *name;     /* without the dashes */
    const char *argument; /* what its value is called; NULL = it takes none */
    const char *doc;      /* one line; NULL: for tests, neither shown by --help nor in the manual */
    size_t offset;        /* in DaemonOptions, of a const char * where it takes a value, else of a bool */
} DaemonOption;

extern const DaemonOption daemon_options[];
extern const size_t daemon_options_n;

/* Fills *ret, whose strings are borrowed from argv. -EINVAL: what is wrong is on standard error. */
int daemon_options_parse(int argc, char **argv, DaemonOptions *ret);
/* What --help prints; owned by the caller. */
char *daemon_help_text(void);
