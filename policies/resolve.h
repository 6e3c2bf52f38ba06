/* A value with what it refers to written out, for people who want to see what a module is given: `bulkhead config
 * --expanded`. Pure. */
#pragma once

#include "policies/keys.h"

/* The value of key k with %n, %i and ${NAME} replaced by what they stand for in x, quoted and escaped so that it means
 * the same when it is read again. What cannot be replaced so stays as it is written: a variable that is not set,
 * ${MAINPID}, a reference with a quote in its middle. Owned by the caller. */
char *value_resolved(const Key *k, const char *value, const ValueContext *x);
