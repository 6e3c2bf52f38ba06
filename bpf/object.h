/* Our programs' object file: embedded in the daemon, opened for each load of some of its programs and gone again, since
 * libbpf's bookkeeping of it is megabytes. Within bpf/ only; what is loaded with it is kernel.c's and sources.c's
 * affair. */
#pragma once

#include <bpf/libbpf.h>

#include "bpf/kernel.h"

/* A map the programs need: in use already, or (fd < 0) to be made. All maps that are not named are left out. */
typedef struct ObjectMap {
    const char *name;
    int fd;
} ObjectMap;

typedef struct ObjectPlan {
    const KernelConfig *config;
    const char *const *programs;
    size_t n_programs;
    const ObjectMap *maps;
    size_t n_maps;
} ObjectPlan;

/* Loads it. fn gets the loaded object, which is gone when this returns: what is to stay it duplicates. */
typedef int (*ObjectFn)(struct bpf_object *object, void *userdata, Error *e);
int object_load(const ObjectPlan *plan, ObjectFn fn, void *userdata, Error *e);

/* For fn: an error of libbpf's, with the first thing it said. Returns code. */
int object_error(Error *e, int code, const char *what);
/* For fn: a descriptor of our own of what the object holds, or a negative errno with words. */
int object_keep(int fd, const char *what, int *ret, Error *e);
