/* Names of modules: "web", and "web@3", the third instance of the template "web"; and of instances of the daemon. Pure.
 */
#pragma once

#include "base/util.h"

/* Of a whole name, "web@1000" included. */
#define MODULE_NAME_MAX      63
#define MODULE_INSTANCES_MAX 1000

/* What may be written in a file's name: [a-z0-9][a-z0-9_-]{0,62}. */
bool module_name_valid(const char *name);
/* A name or one of an instance, NAME@N: what may be written where a module is meant. */
bool module_reference_valid(const char *name);

/* Length of the name of the template: up to the '@', all of it when there is none. */
size_t module_stem(const char *name);
/* N of "NAME@N", 0 when it is no instance. */
unsigned module_instance(const char *name);
/* Is `name` an instance of the template? */
bool module_is_instance_of(const char *name, const char *template);

/* Of an instance of the daemon (--instance): it is part of names that have bounds of their own, cgroups and units. */
#define INSTANCE_NAME_MAX 48
/* [a-z0-9][a-z0-9_-]*, at most INSTANCE_NAME_MAX. */
bool instance_name_valid(const char *name);

/* The order of modules everywhere: by the template's name, instances by number (web@2 before web@10). 0 only for equal
 * names. */
int module_name_compare(const char *a, const char *b);
