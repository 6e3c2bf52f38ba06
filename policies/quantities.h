/* Values that are a number, mostly with a unit. Used by values.c alone; see there and values.h. */
#pragma once

#include "policies/values.h"

/* "'s' is no WHAT (HINT)" in *e; -EINVAL. */
int value_wrong(const char *s, Error *e, const char *what, const char *hint);

/* "150%": no upper bound but the type's. `kind` lends its words to the message. */
int value_percent(const char *s, ValueKind kind, uint64_t *ret, Error *e);
/* Digits; "infinity" (UINT64_MAX) where the key's max is UINT64_MAX. Bounds are not checked. */
int value_number(const Key *k, const char *s, uint64_t *ret, Error *e);
/* "1.5": 1 to 9999, at most six places. */
int value_factor(const char *s, double *ret, Error *e);
/* Is v, which was written as s, within the key's min and max (max 0: none)? */
int value_bounds(const Key *k, const char *s, uint64_t v, Error *e);
