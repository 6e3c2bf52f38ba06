/* The child between clone and exec: a computed plan in, a new program or {stage, errno} out.
 *
 * The parent computes everything; the child only makes async-signal-safe calls, allocates nothing, logs nothing and
 * ends in execve or _exit. Every stage it goes through is in one table, so that "web: start failed at seccomp: …" names
 * what was tried. */
#pragma once

#include <linux/filter.h>
#include <sched.h>

#include "cgroups/cgroup.h"
#include "policies/policy.h"

#define LAUNCH_STAGES(X)                                                              \
    X(CGROUP, "cgroup")             /* join the leaf in every hierarchy */            \
    X(SESSION, "session")           /* a session of its own */                        \
    X(NAMESPACE, "namespace")       /* enter the modules' view of the mounts */       \
    X(OUTPUT, "output")             /* stdin, stdout, stderr, readiness descriptor */ \
    X(LIMITS, "limits")             /* umask, rlimits, nice, oom_score_adj */         \
    X(GROUPS, "groups")             /* supplementary groups and gid */                \
    X(CAPABILITIES, "capabilities") /* bounding, permitted, ambient */                \
    X(USER, "user")                                                                   \
    X(DIRECTORY, "directory") /* working_dir */                                       \
    X(SECCOMP, "seccomp")     /* no_new_privs and the filter */                       \
    X(EXEC, "exec")

typedef enum LaunchStage {
#define X(id, name) STAGE_##id,
    LAUNCH_STAGES(X)
#undef X
        STAGE_N
} LaunchStage;

extern const char *const launch_stage_names[STAGE_N];

typedef struct ChildPlan {
    /* The table of descriptors is the parent's own until the child takes the first `own_fds` of it and leaves the rest
     * be; 0 = it is a copy already. */
    unsigned own_fds;
    int procs[CG_N]; /* files to write "0" to, -EBADF = none */
    int view, root;  /* mount namespace and its root directory; -EBADF = stay in the daemon's */
    int stdio[3];
    int ready_fd;           /* passed on as descriptor ready_number; -EBADF = none */
    int ready_number;       /* >= 3 */
    int listen[LISTEN_MAX]; /* passed on as descriptors 3 and up */
    size_t n_listen;
    char *listen_pid;      /* in envp: filled with the pid; NULL = none */
    const cpu_set_t *cpus; /* where it may run; NULL = as it is */
    mode_t umask;
    const Limits *limits;
    struct {
        uint64_t soft, hard;
    } inherited_nofile;       /* the daemon raised its own: what a module gets that does not ask */
    bool reset_oom_score_adj; /* 0 for one that does not ask */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;
    uint64_t bounding; /* capabilities that stay in the bounding set */
    uint64_t ambient;  /* capabilities a user that is not root gets */
    bool no_new_privs;
    struct sock_fprog filter; /* len 0 = none */
    const char *directory;    /* NULL = / */
    const char *path;
    char *const *argv;
    char *const *envp;
    int (*probe)(const void *argument); /* instead of exec: async-signal-safe, its result is the exit status */
    const void *probe_argument;
    int report; /* CLOEXEC pipe to the parent */
} ChildPlan;

/* What comes over the report pipe. The last word before exec is {STAGE_EXEC, 0}: then end of file means that the new
 * program runs; end of file without it means that the child died on its way. */
typedef struct ChildReport {
    int stage;
    int error; /* positive errno */
    int limit; /* STAGE_LIMITS: the RLIMIT_* it was, or CHILD_LIMIT_* */
} ChildReport;

#define CHILD_LIMIT_NICE          (-1)
#define CHILD_LIMIT_OOM_SCORE_ADJ (-2)

_Noreturn void child_main(const ChildPlan *plan);
