/* One seccomp rule: a syscall and what its arguments must be.
 *
 *     read                                   any arguments
 *     socket(AF_UNIX|AF_INET|AF_INET6)       the first argument is one of these
 *     ioctl(*, FIONREAD|FIONBIO)             any first, one of these as second
 *     clone(!CLONE_NEWUSER|CLONE_NEWNS)      none of these bits is set
 *     mmap(*, *, &PROT_WRITE|PROT_EXEC==PROT_EXEC)   the bits under the mask are just these
 *     close_range(>=3, <=100)                unsigned comparison
 *     #462                                   by number, for a syscall without a name here
 *
 * The kernel reads some arguments as 32 bits and some as 64, and a filter sees 64 either way. A caller may put what it
 * likes above a 32-bit argument, so a rule that allows must hold in both readings, and a rule that denies holds in
 * either: nobody passes a filter by adding 1 << 32. seccomp_cond_width() is the one place that decides it. */
#pragma once

#include "base/error.h"
#include "base/util.h"

#define SECCOMP_ARGS       6
#define SECCOMP_VALUES_MAX 32   /* alternatives in one argument */
#define SECCOMP_NR_MAX     4095 /* highest number that may be written as #N */

typedef enum SeccompCondKind {
    COND_VALUES,   /* equal to one of the values */
    COND_MASKED,   /* (argument & mask) == values[0]; "!M" is mask M and value 0 */
    COND_AT_MOST,  /* <= values[0] */
    COND_AT_LEAST, /* >= values[0] */
} SeccompCondKind;

typedef struct SeccompCond {
    unsigned arg; /* 0..5 */
    SeccompCondKind kind;
    uint64_t mask;
    uint64_t *values;
    size_t n_values;
} SeccompCond;

typedef struct SeccompRule {
    int nr; /* -1: a syscall of other architectures, never matched here */
    size_t n_conds;
    SeccompCond conds[SECCOMP_ARGS];
} SeccompRule;

/* Which halves of the argument a comparison with `value` looks at. */
typedef enum SeccompWidth { WIDTH_LOW, WIDTH_FULL } SeccompWidth;

SeccompWidth seccomp_cond_width(const SeccompCond *c, uint64_t value, bool denies);

/* -EINVAL fills *e. The rule is owned by the caller. */
int seccomp_rule_parse(const char *text, SeccompRule **ret, Error *e);
SeccompRule *seccomp_rule_free(SeccompRule *r);
static inline void seccomp_rule_freep(SeccompRule **r)
{
    *r = seccomp_rule_free(*r);
}

/* The number of a named syscall: >= 0; SECCOMP_NR_ELSEWHERE when only other architectures have it; -ENOENT. */
#define SECCOMP_NR_ELSEWHERE (-1)
int seccomp_nr(const char *name);
/* The known name nearest to a misspelt one, or NULL. Static storage. */
const char *seccomp_nr_nearest(const char *name);
/* The last number that this compiler has a name for. */
int seccomp_nr_last(void);

/* Well-known argument values. -ENOENT when the name is not in the table. */
int seccomp_constant(const char *name, uint64_t *ret);
const char *seccomp_constant_nearest(const char *name);
