/* The one table of keys: parser, defaults, `bulkhead check` and bulkhead.ini(5) derive from it.
 *
 * A key is `section.name`. Its default is written as a user would write it; "" means "not given", and only such a key
 * may be set to an empty value (which takes back what [defaults] or an earlier file gave). A key that is not in the
 * table does not exist: what is planned but not built is refused like a typo. */
#pragma once

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

typedef struct Key {
    const char *section, *name;
    ValueKind kind;
    bool variables;           /* ${NAME} is expanded too, not only %n */
    bool main_pid;            /* VALUE_COMMANDS: ${MAINPID} stands for the main process */
    size_t offset;            /* of the field, in SupervisorPolicy for section "supervisor", else in ModulePolicy */
    size_t set_offset;        /* of a bool that tells that a value was given; 0 = none */
    const char *const *names; /* VALUE_CHOICE*: the words */
    size_t n_names;
    int64_t min;
    uint64_t max;
    const char *fallback, *example, *doc;
} Key;

extern const Key keys[];
extern const size_t keys_n;
/* An upper bound for arrays with one element a key. */
enum { KEYS_MAX = 128 };

static inline bool key_is_supervisor(const Key *k)
{
    return strcmp(k->section, "supervisor") == 0;
}

/* The key, or NULL. */
const Key *key_find(const char *section, const char *name);
/* By "section.name" of a module's key. */
const Key *key_find_dotted(const char *dotted);
/* "section.name", owned by the caller. */
char *key_dotted(const Key *k);

/* Is there such a section? "defaults" counts, though no key is listed under it. */
bool key_section_exists(const char *section);
/* The section a stranger's name was meant to be, or NULL. */
const char *key_nearest_section(const char *section);
/* What to tell about an unknown key: "unknown key (did you mean memory_max?)"; owned by the caller. `dotted`: the name
 * is one of [defaults], "section.name". */
char *key_unknown(const char *section, const char *name);
char *key_unknown_dotted(const char *dotted);
