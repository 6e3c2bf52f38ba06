/* Values: the text after `key =` in, a field of a policy struct out. Pure but for users and groups, which are looked up
 * through NSS.
 *
 * Each parser says in *e what is wrong and, in brackets, what would be right; on error the field is untouched. */
#pragma once

#include "base/error.h"
#include "policies/keys.h"
#include "policies/names.h"
#include "policies/policy.h"

/* Users and groups found so far in one load: a thousand modules mostly run as the same few. */
typedef struct Nss Nss;
Nss *nss_new(void);
Nss *nss_free(Nss *n);
static inline void nss_freep(Nss **n)
{
    *n = nss_free(*n);
}
/* 0, or -ESRCH with *e. A number is a uid whether or not anybody has it; *ret_gid is then (gid_t)-1 if nobody has. */
int nss_user(Nss *n, const char *name, uid_t *ret_uid, gid_t *ret_gid, Error *e);
int nss_group(Nss *n, const char *name, gid_t *ret, Error *e);

/* What a value may refer to. */
typedef struct ValueContext {
    const char *module;       /* %n; NULL: not known (a value of [defaults] looked at by itself) */
    char *const *environment; /* ${NAME}; when the module is not known any variable is taken as set */
    Nss *nss;
} ValueContext;

/* Parses `value` (not empty) into `base` + key->offset and sets the flag at key->set_offset. The field must be
 * empty. 0, or -EINVAL with *e. */
int value_parse(const Key *k, const char *value, const ValueContext *x, void *base, Error *e);
/* Frees what the field owns. */
void value_done(const Key *k, void *base);
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

/* The bounds of the key's values in its own unit, for the manual: "4K or more", "-20 to 19"; NULL = none but the
 * kind's. Owned by the caller. */
char *value_range_text(const Key *k);

int value_time(const char *s, uint64_t *ret, Error *e);
int value_size(const char *s, uint64_t *ret, Error *e);
/* "TERM", "SIGTERM", "15", "RTMIN+3": 1 to 64, or -EINVAL. */
int value_signal(const char *s, Error *e);

/* A copy for messages: escaped, at most 64 bytes. Owned by the caller. */
char *value_shown(const char *value);
