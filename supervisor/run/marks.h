/* Which processes are a box's where there is no cgroup to say so.
 *
 * What counts is below the daemon, always: it is the reaper of orphans, so nothing it started leaves its tree, and no
 * stranger is ever taken for a module's. Below it belongs to a box whoever has the box's mark in the environment it was
 * born with; who has none to be seen (wiped, or not ours to read) by its session or by its parent. */
#pragma once

#include "base/util.h"

typedef enum Mark {
    MARK_NONE, /* none, or the environment cannot be read */
    MARK_OURS,
    MARK_OTHER /* of another box */
} Mark;

typedef struct Process {
    pid_t pid, parent, session;
    bool zombie; /* never a member: it has nothing any more but its status */
    bool gone;   /* before it could be looked at: nothing but the pid is known */
    bool fresh;  /* not there at the look before */
    Mark mark;
    bool below, member; /* of the daemon; of the box */
} Process;

/* Pure: sets `below` and `member`. Sorted by pid. `session` is what the box's first process leads, `daemon` whose tree
 * it is. Returns whether a fresh one may be below the daemon: then others may have been born meanwhile, unseen. */
bool marks_find(Process *p, size_t n, pid_t session, pid_t daemon);

/* Adds to the list, sorted by pid, what is there and not in it; with marks only where `mark`
 * ("BULKHEAD_BOX=I/modules/web/1") is not NULL. Without `ptrace` (CAP_SYS_PTRACE) an environment is read as its
 * process's user, which that user's own processes allow. 0 or a negative errno. */
int marks_look(const char *mark, bool ptrace, Process **list, size_t *n);

/* The pids of the box. Looks until nothing new is found: who is not in the list then was not born, and has nobody who
 * could bear him. 0; 1 when it gave up; or a negative errno. *ret is owned by the caller, also where it is empty. */
int marks_pids(const char *mark, bool ptrace, pid_t session, pid_t **ret, size_t *ret_n);
