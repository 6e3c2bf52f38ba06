/* Which modules the words of a command mean. Pure.
 *
 * web        the module, or of a file with instances all of them
 * worker@3   one instance; worker@* all that there are; w* and other globs, against the names of modules
 * shop:      the modules with group = shop, also shop:*; shop:w* those of them whose names match */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/util.h"

/* `names` is GetNames' answer (docs/dbus.md). *ret: each module once, in the order of the words; a word that is no name
 * of anything stands in it as it is, for the daemon to say so. -ENOENT: a glob, a group or a template without any
 * module, *e says which. */
int names_expand(const json_t *names, char *const *words, size_t n, char ***ret, Error *e);
/* Does one word mean the module of that name and group (NULL = none)? */
bool names_means(const char *word, const char *name, const char *group);
/* All that may be written for a module besides the names: templates, and "GROUP:" for each group once. */
char **names_shorthands(const json_t *names);
