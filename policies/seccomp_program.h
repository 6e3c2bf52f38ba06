/* From rules to classic BPF. Pure: rules in, instructions out; who may name what is seccomp.c's business. */
#pragma once

#include <linux/filter.h>

#include "policies/seccomp.h"
#include "policies/seccomp_rule.h"

/* One way for a call to be allowed: it matches `rule` and none of the guards. All are of the same syscall. */
typedef struct SeccompClause {
    const SeccompRule *rule;
    const SeccompRule **guards; /* owned */
    size_t n_guards;
} SeccompClause;

typedef struct SeccompClauses {
    SeccompClause *items;
    size_t n;
} SeccompClauses;

void seccomp_clauses_done(SeccompClauses *c);

/* Sorts `clauses` by number and builds the program. *ret is owned by the caller and at most BPF_MAXINSNS long; -E2BIG
 * (in *e) when the rules need more. */
int seccomp_program_build(SeccompClauses *clauses, SeccompViolation action, struct sock_filter **ret, unsigned *ret_n,
                          Error *e);
