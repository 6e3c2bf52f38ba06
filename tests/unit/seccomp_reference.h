/* What a rule means, written down a second time and as plainly as can be: the generator is checked against this. */
#pragma once

#include "policies/seccomp_rule.h"

static inline bool reference_value(const SeccompCond *c, uint64_t v, uint64_t x)
{
    switch (c->kind) {
    case COND_VALUES:
        return x == v;
    case COND_MASKED:
        return (x & c->mask) == v;
    case COND_AT_MOST:
        return x <= v;
    case COND_AT_LEAST:
        return x >= v;
    }
    return false;
}

/* The kernel may read the argument as 64 bits or as its low 32: allowed is what holds both ways, denied what holds
 * either way. A comparison with more than 32 bits can only be meant for 64. */
static inline bool reference_cond(const SeccompCond *c, uint64_t x, bool denies)
{
    for (size_t i = 0; i < c->n_values; i++) {
        uint64_t v = c->values[i];
        bool whole = reference_value(c, v, x), half = reference_value(c, v, (uint32_t)x);
        bool wide = v > UINT32_MAX || (c->kind == COND_MASKED && c->mask > UINT32_MAX);
        if (wide ? whole : denies ? whole || half : whole && half)
            return true;
    }
    return false;
}

static inline bool reference_rule(const SeccompRule *r, int nr, const uint64_t args[SECCOMP_ARGS], bool denies)
{
    if (r->nr != nr)
        return false;
    for (size_t i = 0; i < r->n_conds; i++)
        if (!reference_cond(&r->conds[i], args[r->conds[i].arg], denies))
            return false;
    return true;
}
