/* The holder: the one process that keeps a scope in being while nothing else is in it, and beyond a daemon's death.
 *
 * systemd ends a scope when its last process has gone, so one has to sit there from before the first module until after
 * the last, in a leaf of its own (cgroup2: a cgroup with processes hands no limits down). It is this program again, run
 * with HOLDER_OPTION: nothing of the daemon's memory or descriptors stays with it. It waits for one thing, which is
 * told by the scope's KillSignal: that systemd wants the scope stopped. Then it becomes `bulkheadd --purge`. Where a
 * daemon lives that ends at once, for the instance is taken, and the daemon sees the end and takes its modules down.
 * Where none does, it takes them down in the daemon's stead. */
#pragma once

#include "base/error.h"

#define HOLDER_OPTION "--holder"
/* systemd sends it to every process of a scope that it stops. Modules must not be told so, they are to be taken down in
 * order: this one does nothing to a program that runs, and systemd sends it after any other stop signal anyway. */
#define HOLDER_SIGNAL SIGCONT

typedef struct Holder {
    pid_t pid;
    int pidfd;   /* becomes readable at its end */
    int release; /* it stays only once it has been told to; before, it ends with us */
} Holder;

#define HOLDER_NULL                                  \
    (Holder)                                         \
    {                                                \
        .pid = 0, .pidfd = -EBADF, .release = -EBADF \
    }

/* Starts one that says in the process list what it keeps ("bulkhead-default.scope"); instance and configuration are for
 * the purge. It ends with the caller until holder_release(). */
int holder_start(const char *keeps, const char *instance, const char *config_dir, Holder *ret, Error *e);
/* One that is there already. */
int holder_find(pid_t pid, Holder *ret, Error *e);
/* From now on it outlives us. */
int holder_release(Holder *h, Error *e);
/* Kills one that was not released, forgets one that was. */
void holder_done(Holder *h);

/* What main() runs when the words are TITLE HOLDER_OPTION INSTANCE CONFIG_DIR. */
bool holder_wanted(int argc, char *const *argv);
_Noreturn void holder_main(char **argv);
