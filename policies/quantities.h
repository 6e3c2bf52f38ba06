/* Values that are a number, mostly with a unit or a name. Each: 0, or -EINVAL with *e; output untouched on error. */
#pragma once

#include "policies/keys.h"

int value_time(const char *s, uint64_t *ret, Error *e);
int value_size(const char *s, uint64_t *ret, Error *e);

/* "150%": no upper bound but the type's. `kind` lends its words to the message. */
int value_percent(const char *s, ValueKind kind, uint64_t *ret, Error *e);
/* Digits; "infinity" (UINT64_MAX) where the key's max is UINT64_MAX. Bounds are not checked. */
int value_number(const Key *k, const char *s, uint64_t *ret, Error *e);
/* "1.5": 1 to 9999, at most six places. */
int value_factor(const char *s, double *ret, Error *e);
/* Is v, which was written as s, within the key's min and max (max 0: none)? */
int value_bounds(const Key *k, const char *s, uint64_t v, Error *e);
/* The bounds of the key's values in its own unit, for the manual: "4K or more", "-20 to 19"; NULL = none but the
 * kind's. Owned by the caller. */
char *value_range_text(const Key *k);

/* 1..65535, or -EINVAL with *e. */
int value_port(const char *s, Error *e);
/* "TERM", "SIGTERM", "15", "RTMIN+3": 1 to 64, or -EINVAL. */
int value_signal(const char *s, Error *e);
