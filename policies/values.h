/* Values: the text after `key =` in, a field of a policy struct out. Pure but for users and groups, which are looked up
 * through NSS.
 *
 * Each parser, here and in the files that values.c calls (quantities, lists, commands, listen), says in *e what is
 * wrong and, in brackets, what would be right; on error the field is untouched. */
#pragma once

#include "base/error.h"
#include "policies/keys.h"

/* Parses `value` (not empty) into `base` + key->offset and sets the flag at key->set_offset. The field must be
 * empty. 0, or -EINVAL with *e. */
int value_parse(const Key *k, const char *value, const ValueContext *x, void *base, Error *e);
/* Frees what the field owns. */
void value_done(const Key *k, void *base);
