/* Uprobes: programs of ours on places in program files, for whoever runs the file. Within bpf/ only. */
#pragma once

#include "base/error.h"
#include "base/util.h"

typedef struct Probe {
    int file;           /* the program file, borrowed */
    uint64_t offset;    /* in it */
    uint64_t semaphore; /* in it, 0 = none */
    bool at_return;     /* of the function that begins there, else at the place itself */
    uint64_t cookie;    /* what the program is told */
} Probe;

/* A link, which holds the probe until its last descriptor and pin are gone. -ENOTSUP where there are no uprobes. */
int probe_attach(const Probe *p, int program, int *ret_link, Error *e);
/* Whether it works: tried on a function of our own program. */
int probe_try(int program, Error *e);
