/* What kinds of values there are, and how messages, manual and help speak of them. The ground that the parsers of
 * values stand on: it knows none of them. */
#pragma once

#include "base/error.h"
#include "base/util.h"

/* What a value looks like; in brackets the type of the field it is stored in. */
typedef enum ValueKind {
    VALUE_TEXT,         /* [char *] anything */
    VALUE_LABEL,        /* [char *] anything, with %n and %i in it */
    VALUE_YES_NO,       /* [bool] */
    VALUE_TIME,         /* [uint64_t, usec] 10s, 1m 30s, infinity */
    VALUE_SIZE,         /* [uint64_t, bytes] 64M, infinity */
    VALUE_CPU,          /* [uint64_t, percent of one CPU] 150%, infinity */
    VALUE_PERCENT,      /* [unsigned, 0..100] 20% */
    VALUE_COUNT,        /* [uint64_t] a number from min to max; infinity where max is UINT64_MAX */
    VALUE_INTEGER,      /* [int] a signed number from min to max */
    VALUE_FACTOR,       /* [double] 1 or more */
    VALUE_CHOICE,       /* [enum] one of names, from index min on */
    VALUE_CHOICE_TEXT,  /* [char *] one of names */
    VALUE_COMMAND,      /* [char **] program and arguments, expanded */
    VALUE_COMMANDS,     /* [Commands] the same, several parted by a lone ; */
    VALUE_CONDITIONS,   /* [char **] absolute paths, '!' before one: it must not be there */
    VALUE_PATH,         /* [char *] an absolute path, expanded */
    VALUE_ENVIRONMENT,  /* [char **] NAME=value, ... */
    VALUE_ENV_FILE,     /* [char **] paths, absolute or relative to the configuration, '-' before one: may be missing */
    VALUE_INCLUDES,     /* [char **] paths relative to the configuration, '-' before one: may be missing */
    VALUE_DIRECTORIES,  /* [char **] relative names */
    VALUE_MODULES,      /* [char **] names of modules */
    VALUE_NAME,         /* [char *] a name of a module's form */
    VALUE_RULES,        /* [char **] seccomp rules */
    VALUE_PROFILE,      /* [char *] a profile's name */
    VALUE_CALENDAR,     /* [Calendar *] daily; Mon..Fri 8:00 */
    VALUE_UMASK,        /* [mode_t] octal */
    VALUE_SIGNAL,       /* [int] */
    VALUE_EXIT_SET,     /* [ExitSet] 0, 64-70, SIGTERM */
    VALUE_READY,        /* [Ready] */
    VALUE_LISTEN,       /* [Listens] tcp:ADDR:PORT, unix:PATH */
    VALUE_TRACK,        /* [Track] connections, calls:redis-server:call */
    VALUE_PORTS,        /* [Work: ports, n_ports] */
    VALUE_CPUS,         /* [char *] 0-3,5 */
    VALUE_USER,         /* [char *] a user that exists */
    VALUE_GROUP,        /* [char *] a group that exists */
    VALUE_GROUPS,       /* [Sandbox: supplementary_groups, n_…] */
    VALUE_CAPABILITIES, /* [uint64_t] bits */
    VALUE_RLIMIT_COUNT, /* [Rlimit] a number, or soft:hard */
    VALUE_RLIMIT_SIZE,  /* [Rlimit] bytes */
    VALUE_RLIMIT_SEC,   /* [Rlimit] seconds */
    VALUE_RLIMIT_USEC,  /* [Rlimit] microseconds */
    VALUE_KIND_N
} ValueKind;

/* What kind of value a key takes, in words, with an example or two: "time" and "10s, 500ms, 5m, infinity". */
const char *value_kind_name(ValueKind kind);
const char *value_kind_hint(ValueKind kind);

/* Where %n, %i and %% stand for something in values of a kind, and ${NAME} where the key says so too. */
typedef enum Expansion {
    EXPAND_NOTHING,
    EXPAND_LABEL,  /* text for people: what stands for nothing stands for itself */
    EXPAND_TEXT,   /* in the value as it stands */
    EXPAND_BLANKS, /* in each word of a command, after it was split */
    EXPAND_COMMAS, /* in each item of a list, after it was split */
} Expansion;
Expansion value_expansion(ValueKind kind);

typedef struct Nss Nss;

/* What a value may refer to. */
typedef struct ValueContext {
    const char *module;       /* %n; NULL: not known (a value of [defaults] looked at by itself) */
    char *const *environment; /* ${NAME}; when the module is not known any variable is taken as set */
    Nss *nss;
} ValueContext;

/* A copy for messages: escaped, at most 64 bytes. Owned by the caller. */
char *value_shown(const char *value);
/* "'s' is no WHAT (HINT)" in *e; -EINVAL. */
int value_wrong(const char *s, Error *e, const char *what, const char *hint);
