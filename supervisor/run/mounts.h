/* Is anything mounted here whose server may be dead? A program or directory on such a mount can hold up who opens it
 * for ever, so a child must not be allowed to hold up the daemon with it (spawn.c). Known without touching the mounts
 * themselves. */
#pragma once

#include "base/util.h"

typedef struct Mounts {
    int fd; /* /proc/self/mountinfo, which tells of changes by POLLPRI; -EBADF = not opened yet */
    bool may_hang;
} Mounts;

/* Reads the table if it has changed since the last call; when it cannot be read the answer is yes. */
bool mounts_may_hang(Mounts *m);
/* Pure: the same for a text of mountinfo. */
bool mountinfo_may_hang(const char *text);
