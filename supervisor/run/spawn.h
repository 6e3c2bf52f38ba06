/* One process of a module put behind its bulkhead: the plan computed from the policy, clone3 into the group, the report
 * pipe back. Used for the main process, for hooks and for readiness probes alike, so that all of them run in the same
 * box. */
#pragma once

#include "supervisor/run/child.h"
#include "supervisor/run/module.h"

typedef struct SpawnRequest {
    const Module *module;
    Box *box;
    char *const *argv; /* NULL for a probe */
    char *const *envp;
    int output, error;          /* stdout and stderr, borrowed */
    int ready_fd, ready_number; /* -EBADF = none */
    const int *listen;          /* handed on as descriptors 3 and up, named by LISTEN_FDS in envp; borrowed */
    size_t n_listen;
    char *listen_pid; /* where in envp its pid is to be written, LISTEN_PID_SIZE bytes with the NUL; NULL = nowhere */
    int (*probe)(const void *argument);
    const void *probe_argument;
    bool filtered; /* under the module's seccomp filter */
} SpawnRequest;

#define LISTEN_PID_SIZE 11

typedef struct Spawned {
    pid_t pid;
    int pidfd;
    int report; /* nonblocking read end: ChildReport records, then end of file */
} Spawned;

/* Takes the lowest descriptors, which spawn() lends to each child in turn. To be called before anything else is opened;
 * without it every child begins as a copy of the daemon (see spawn.c). */
void spawn_reserve(void);

/* Returns 0 and *ret, or a negative errno with *e (stage "clone" or "cgroup"). What the child could not do comes over
 * the report pipe. */
int spawn(const SpawnRequest *request, Spawned *ret, Error *e);

/* The environment of a process of the module: the policy's, then PATH, HOME, USER, LOGNAME, SHELL and the directories'
 * variables where the policy does not set them, then `extra`, which wins, and the box's mark. Owned by the caller. */
char **spawn_environment(const Module *m, const Box *box, char *const *extra);

/* Reads reports until end of file. 1 = the new program runs, 0 = call again when readable, negative = it failed, with
 * *e naming stage and reason ("exec: /usr/sbin/nginx: No such file or directory"). */
int spawn_report(int fd, const Module *m, const char *path, bool *reached_exec, Error *e);
