/* `bulkhead scale`: how many instances of a template there are, until the daemon ends; the files stay the truth. */
#pragma once

#include "supervisor/host.h"

/* A client that waits for all instances up to n to be ready and all others to be gone. */
typedef struct ScaleWait {
    char *template;
    unsigned n;
    ControlReply *reply;
} ScaleWait;

/* Makes what is missing of the instances 1 to n and wants all of them up, with what they need; wants the others down,
 * the highest numbers being those that go. Refused as a whole when what stays could not be: another module needs one of
 * them, the budget does not hold it. Who still waited for another number of the same template is told. */
void scale(Host *h, const char *template, uint64_t n, bool block, ControlReply *reply);
/* Answers who waits, where the outcome is known. Called by the pump when it has come to rest. */
void scale_check(Host *h);

/* Instances of the template that are to stay. */
unsigned scale_now(const Host *h, const char *template);
