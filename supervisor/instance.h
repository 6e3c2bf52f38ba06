/* An instance's name, lock and directories: who owns /run/bulkhead/I while a daemon lives.
 *
 *   /run/bulkhead/I           0711  bus, notify/
 *   /run/bulkhead/I/lock      0600  flock()ed by the daemon, holds its pid
 *   /run/bulkhead/I/root      0600  where its cgroup tree is: what a later daemon must clean up after a crash
 *   /run/bulkhead/I/stopping  0600  an orderly shutdown has begun
 *   /var/log/bulkhead/I       0700  log files */
#pragma once

#include "base/error.h"

typedef struct Instance {
    char *name;
    char *runtime_path, *notify_path;
    int lock, runtime_dir, notify_dir, logs_dir;
} Instance;

#define INSTANCE_NULL                                                                   \
    (Instance)                                                                          \
    {                                                                                   \
        .lock = -EBADF, .runtime_dir = -EBADF, .notify_dir = -EBADF, .logs_dir = -EBADF \
    }

/* Takes the lock and makes the directories. -EBUSY: a daemon of that name runs (its pid is in *e). */
int instance_open(const char *name, Instance *ret, Error *e);
/* What instance_record_root() of an earlier daemon wrote, NULL when there is nothing. Owned by the caller. */
char *instance_recorded_root(const Instance *i);
/* Writes down where the cgroup tree is. */
int instance_record_root(const Instance *i, const char *root, Error *e);
/* An orderly shutdown begins. */
void instance_mark_stopping(const Instance *i);
/* Whether one had begun, and has not come to its end, when the last daemon of that name died. Takes no lock. */
bool instance_was_stopping(const char *name);
/* Removes the runtime directory (if `remove`) and lets go of the lock. */
void instance_close(Instance *i, bool remove);
