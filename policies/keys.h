/* The one table of keys: parser, defaults, `bulkhead check` and bulkhead.ini(5) derive from it.
 *
 * A key is `section.name`. Its default is written as a user would write it; "" means "not given", and only such a key
 * may be set to an empty value (which takes back what [defaults] or an earlier file gave). A key that is not in the
 * table does not exist: what is planned but not built is refused like a typo. */
#pragma once

#include "base/util.h"
#include "policies/kinds.h"

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
