/* What systemd's directives are here: a table with a row for each one that [Unit], [Service], [Install], [Timer] and
 * [Socket] know (systemd 252, and what came up to 257), and what puts a service, its drop-ins, timer and socket
 * together into a module.
 *
 * A row is carried to a key by a conversion, or dropped with its own reason and what to do instead. What is in no row
 * is a typo, and told as such. tests/integration/test_import.py compares the table with what systemd itself lists. */
#pragma once

#include "tools/import/batch.h"
#include "tools/import/command.h"

typedef struct UnitImport UnitImport;
typedef struct UnitRow UnitRow;

struct UnitRow {
    const char *section, *name;
    void (*take)(UnitImport *u, const UnitRow *row, const FromLine *from); /* NULL: dropped */
    const char *to;  /* the key; when dropped the section that the comment goes to */
    const char *why; /* when dropped: the reason; else what differs, or NULL */
    bool early;      /* what others depend on: looked at before them */
    bool many;       /* lines add up, an empty one takes back those before it */
};

extern const UnitRow unit_rows[];
extern const size_t unit_rows_n;

/* The row, or NULL. In [Socket], which may hold what commands are run with, those of [Service] count too. */
const UnitRow *unit_row(const char *section, const char *name);
/* The row in whose name `name` is a typo, or NULL. */
const char *unit_row_nearest(const char *section, const char *name);

typedef enum UnitCommands {
    UNIT_PRE,
    UNIT_START,
    UNIT_POST,
    UNIT_RELOAD,
    UNIT_STOP,
    UNIT_STOP_POST,
    UNIT_COMMANDS_N
} UnitCommands;

typedef struct UnitTime {
    bool set;
    FromLine from;
    uint64_t usec;
} UnitTime;

struct UnitImport {
    Sketch *s;
    UnitNames names;
    UnitEntries service, timer, socket; /* with their drop-ins */

    /* Found early. */
    ForeignCommands commands[UNIT_COMMANDS_N];
    FromLine type;
    const char *type_name;
    FromLine *environment, *environment_files;
    size_t n_environment, n_environment_files;
    char **variables; /* NAME=value that the module's environment will hold */
    const char *user; /* as written; NULL: root */
    bool dynamic, installed, restarts, oneshot, remains, nnp_given;
    FromLine bounding, ambient;
    char **bounding_caps, **ambient_caps; /* names */
    bool bounding_given, ambient_given, bounding_inverted;
    FromLine limit_interval;
    StrBuf calendar;
};

/* Makes the module's sketch of what was read. The entries are the caller's to fill and unit_import_done()'s to free. */
void unit_import(UnitImport *u);
void unit_import_done(UnitImport *u);

/* The conversions; see unit_takes.c. */
#define UNIT_TAKE(name) void name(UnitImport *u, const UnitRow *row, const FromLine *from)
UNIT_TAKE(take_text);
UNIT_TAKE(take_yes_no);
UNIT_TAKE(take_remain);
UNIT_TAKE(take_timer_how);
UNIT_TAKE(take_time);
UNIT_TAKE(take_time_0_infinite);
UNIT_TAKE(take_size);
UNIT_TAKE(take_percent_or_word);
UNIT_TAKE(take_count);
UNIT_TAKE(take_word);
UNIT_TAKE(take_umask);
UNIT_TAKE(take_signal);
UNIT_TAKE(take_names);
UNIT_TAKE(take_cpus);
UNIT_TAKE(take_rlimit);
UNIT_TAKE(take_working_dir);
UNIT_TAKE(take_shares);
UNIT_TAKE(take_oom_policy);
UNIT_TAKE(take_output);
UNIT_TAKE(take_fits_if);
UNIT_TAKE(take_fits);
UNIT_TAKE(take_timeout);
UNIT_TAKE(take_restart);
UNIT_TAKE(take_restart_sec);
UNIT_TAKE(take_limit_burst);
UNIT_TAKE(take_limit_interval);
UNIT_TAKE(take_success);
UNIT_TAKE(take_kill_mode);
UNIT_TAKE(take_paths);
UNIT_TAKE(take_directory_mode);
/* Found early; see unit.c. */
UNIT_TAKE(take_commands);
UNIT_TAKE(take_type);
UNIT_TAKE(take_environment);
UNIT_TAKE(take_environment_file);
UNIT_TAKE(take_user);
UNIT_TAKE(take_dynamic_user);
UNIT_TAKE(take_no_new_privs);
UNIT_TAKE(take_capabilities);
UNIT_TAKE(take_bond);
UNIT_TAKE(take_wanted_by);
UNIT_TAKE(take_condition_path);
UNIT_TAKE(take_calendar);
UNIT_TAKE(take_listen);

/* --- which files make up a unit; see unit_files.c ----------------------------------------------------------------- */
typedef struct UnitJob UnitJob;

/* The services that were asked for, each with the timer and the socket that were. */
typedef struct Units {
    UnitJob *jobs;
    size_t n_jobs;
} Units;

/* Would this be a unit's name: *.service, *.timer, *.socket? */
bool units_named(const char *word);
/* Notes what the word stands for: a file, or a unit that systemd would find. 0, or negative with *e. */
int units_take(Units *u, Batch *b, const char *path_or_name, Error *e);
/* After the last word: reads them all and makes their sketches. 0, or negative with *e. */
int units_finish(Units *u, Batch *b, Error *e);
void units_done(Units *u);
