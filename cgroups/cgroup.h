/* Cgroups: the host's hierarchies, the instance's tree, groups in it. Knows no module.
 *
 * A Group is one directory path that exists in every hierarchy we use: on a pure cgroup2 host there is one hierarchy;
 * on a hybrid host there are the cgroup2 one (identity, populated, kill, freeze, cpu.stat) and v1 ones for memory, cpu,
 * pids and, only where asked for, cpuset. All groups of an instance lie below CgroupTree's root. That lies below the
 * cgroup the daemon was started in, in every hierarchy, or is a cgroup that was made for us and delegated. Nothing here
 * touches a cgroup that is not ours.
 *
 * libcgroup discovers hierarchies and reads statistics; own path, mkdir, attach, kill, freeze, events and rmdir go to
 * the kernel directly (docs/cgroups.md says why, with measurements). */
#pragma once

#include "base/error.h"
#include "base/util.h"

typedef enum CgroupMode { CGROUP_PURE, CGROUP_HYBRID } CgroupMode;

/* Index of a hierarchy. On a pure host only CG_UNIFIED is there and carries all controllers. */
typedef enum Hierarchy { CG_UNIFIED, CG_MEMORY, CG_CPU, CG_PIDS, CG_CPUSET, CG_N } Hierarchy;

typedef struct CgroupTree CgroupTree;
typedef struct Group Group;

typedef struct GroupLimits {
    uint64_t cpu_max;    /* percent of one CPU, UINT64_MAX = none */
    uint64_t cpu_weight; /* 1..10000 as in cgroup2, 0 = leave; v1: cpu.shares = weight * 1024 / 100 */
    const char *cpus;    /* cpuset list, NULL = none */
    uint64_t memory_max, memory_high, memory_swap_max; /* bytes, UINT64_MAX = none */
    bool oom_group;
    uint64_t pids_max; /* UINT64_MAX = none */
} GroupLimits;

#define GROUP_LIMITS_NONE                                                                                          \
    (GroupLimits)                                                                                                  \
    {                                                                                                              \
        .cpu_max = UINT64_MAX, .memory_max = UINT64_MAX, .memory_high = UINT64_MAX, .memory_swap_max = UINT64_MAX, \
        .pids_max = UINT64_MAX                                                                                     \
    }

/* What of the kernel's cgroups is used where it is there, and done without where it is not. */
#define CGROUP_FEATURES(X)                                              \
    X(tree)   /* a tree at all */                                       \
    X(memory) /* the controllers, of v1 or of cgroup2 */                \
    X(cpu)                                                              \
    X(pids)                                                             \
    X(cpuset)                                                           \
    X(memory_high) /* memory.high and memory.oom.group */               \
    X(memory_swap) /* memory.swap.max, or v1's memory.memsw */          \
    X(memory_peak) /* memory.peak, or v1's memory.max_usage_in_bytes */ \
    X(pressure)    /* cpu.pressure and the like: PSI */                 \
    X(clone_into)  /* CLONE_INTO_CGROUP, by the self-test */            \
    X(kill)        /* cgroup.kill */                                    \
    X(freeze)      /* cgroup.freeze */                                  \
    X(events)      /* POLLPRI tells when a group empties */

typedef struct CgroupFeatures {
#define X(name) bool name;
    CGROUP_FEATURES(X)
#undef X
    char clone_into_why[64], events_why[64]; /* why not, "" where it is or was not tried */
} CgroupFeatures;

/* UINT64_MAX where the host does not tell. */
typedef struct GroupStats {
    uint64_t cpu_usage_usec, cpu_throttled_usec;
    uint64_t memory_current, memory_peak, memory_oom_kills;
    uint64_t pids_current;
} GroupStats;

/* What trees opened after this may use (all, unless told): what is not allowed counts as absent. */
void cgroup_features_allow(const CgroupFeatures *allowed);
/* What the tree has and may use: probed when it was opened, each by trying it. */
const CgroupFeatures *cgroup_tree_features(const CgroupTree *t);
const CgroupFeatures *group_features(const Group *g); /* its tree's */
/* Which kind of hierarchy carries the controller: "cgroup2", "v1", or NULL when none does. */
const char *cgroup_tree_carrier(const CgroupTree *t, const char *controller);

/* Finds the host's hierarchies and opens (makes, if missing) the directory `root_name` below the own cgroup in each.
 * On a pure host moves this process into the leaf `root_name`/daemon when controllers must be enabled and it is the
 * only process; else fails saying what to do. Must be called once, before any thread or child exists. */
int cgroup_tree_open(const char *root_name, CgroupTree **ret, Error *e);
/* Whether cgroup2 carries memory, cpu and pids: only there can a tree stand in a cgroup that somebody delegates. */
bool cgroup_all_unified(void);
/* Opens the tree whose root is the cgroup `path` ("/system.slice/x.scope") of another maker: a delegated one, kept in
 * being by the process `holder`, the only one in it. Puts the holder into the leaf `holder` of the root, so that the
 * root can hand controllers down; once it is there already it is as well. Where cgroup_all_unified() alone. */
int cgroup_tree_open_at(const char *path, pid_t holder, CgroupTree **ret, Error *e);
/* Puts another holder there, when that one has ended. */
int cgroup_tree_hold(CgroupTree *t, pid_t holder, Error *e);
/* Whether the root is of another maker. */
bool cgroup_tree_held(const CgroupTree *t);
/* The process that holds the cgroup `path` so; 0 = none. */
pid_t cgroup_holder(const char *path);
/* Where the tree is, in every hierarchy, as text for a file: what another daemon needs to find it after a crash, also
 * when it was itself started in other cgroups. Owned by the caller. */
char *cgroup_tree_record(const CgroupTree *t);
/* A tree from such a record; makes nothing. -ENOENT when no directory of it is there any more. */
int cgroup_tree_recorded(const char *record, CgroupTree **ret, Error *e);
/* Forgets the tree; removes nothing. */
CgroupTree *cgroup_tree_close(CgroupTree *t);
/* Removes the root in every hierarchy; it must be empty of groups. Moves the daemon back out of the leaf it was put in.
 * A root of another maker (also a recorded one) is left to it, but its holder is killed: without processes, it goes.
 * When the holder is this very process, it is for it to end. A recorded tree stays (and that is no error) when this
 * process was itself started in that leaf. */
int cgroup_tree_remove(CgroupTree *t, Error *e);

CgroupMode cgroup_tree_mode(const CgroupTree *t);
/* The root's absolute directory in the cgroup2 mount, and the same as a cgroup path ("/…/bulkhead-x"). */
const char *cgroup_tree_root(const CgroupTree *t);
const char *cgroup_tree_root_path(const CgroupTree *t);
/* Level of the root below the cgroup2 mount's root (0 = the mount's root): what bpf needs to find ancestors. */
unsigned cgroup_tree_level(const CgroupTree *t);
/* The names of the groups directly below `path` ("" = the root), sorted, a strv owned by the caller. */
int cgroup_tree_children(CgroupTree *t, const char *path, char ***ret_names);
/* Which limits this host cannot hold: returns NULL when `limits` is fine, else the key's name ("memory_high") and, in
 * *ret_why, a constant sentence with what would be right. Called again with the key cleared it names the next. */
const char *cgroup_tree_refuses(const CgroupTree *t, const GroupLimits *limits, const char **ret_why);
/* The same for a host without a tree: the first limit that is asked for. */
const char *group_limits_first(const GroupLimits *limits);
/* Takes the limit of that name out again. */
void group_limits_clear(GroupLimits *limits, const char *key);

/* Makes the group `path` ("modules/web/3", parents must exist) in every hierarchy. -EEXIST when any part is there: a
 * leaf must be fresh (docs/cgroups.md: CLONE_INTO_CGROUP after cgroup.kill). Half-made parts are removed on failure. */
int group_create(CgroupTree *t, const char *path, Group **ret, Error *e);
/* The same for a stable parent that may exist already (and may exist in some hierarchies only). */
int group_ensure(CgroupTree *t, const char *path, Group **ret, Error *e);
/* An existing group, or -ENOENT. */
int group_open(CgroupTree *t, const char *path, Group **ret, Error *e);
/* Closes; the cgroup stays. */
Group *group_close(Group *g);
/* Removes the directories in every hierarchy. -EBUSY names the hierarchy that is still populated; missing ones are
 * fine. */
int group_remove(Group *g, Error *e);

/* Relative to the tree's root, as given. */
const char *group_path(const Group *g);
/* "/own/bulkhead-x/modules/web/3": the cgroup2 path, as in /proc/PID/cgroup. */
const char *group_cgroup_path(const Group *g);
/* kernfs id of the cgroup2 directory (bpf_get_current_cgroup_id, kn->id). */
uint64_t group_id(const Group *g);
/* O_DIRECTORY fd of the cgroup2 directory, for clone3; stays owned by the group, opened at the first call. */
int group_dirfd(const Group *g);
/* Closes that descriptor until it is asked for again: a running module needs none. */
void group_release_fd(Group *g);
/* cgroup.events, opened and read once: POLLPRI tells when it has changed since it was last read. Caller closes. Not
 * inotify: the end of its last watch is a grace period of the kernel's, 12 ms. */
int group_events_fd(const Group *g);

/* Fills fds (size CG_N) with O_WRONLY|O_CLOEXEC descriptors of the files a new child must write "0" to, in
 * order, to be in the group everywhere; those not needed are -EBADF. `cloned_into` leaves the cgroup2 one out. Caller
 * closes. */
int group_procs_fds(const Group *g, bool cloned_into, int fds[static CG_N], Error *e);
/* Moves a process, from outside. */
int group_attach(Group *g, pid_t pid, Error *e);

/* Writes, reads back and compares; a value the kernel changed (rounding to pages apart) is an error that names both.
 * On a group just made, limits of "none" cost nothing; else they are lifted. Before group_procs_fds: on hybrid hosts
 * `cpus` makes the group's cpuset directory. */
int group_set_limits(Group *g, const GroupLimits *limits, Error *e);
int group_read_stats(const Group *g, GroupStats *ret);
/* Percent of the last ten seconds in which some process of the group waited; negative where the kernel does not tell.
 */
typedef struct GroupPressure {
    double cpu, memory, io;
} GroupPressure;
/* -ENODATA without PSI. */
int group_read_pressure(const Group *g, GroupPressure *ret);
/* What is worth keeping when it ends, at a third of the price: cpu_usage_usec, memory_peak, memory_oom_kills. */
int group_read_last(const Group *g, GroupStats *ret);
/* What changes from one look to the next, for who looks often: cpu_usage_usec, memory_current. */
int group_read_usage(const Group *g, GroupStats *ret);
/* 1 populated, 0 not, or a negative errno. Counts processes of sub-groups. */
int group_populated(const Group *g);
/* All pids in the group and below (cgroup2 view); *ret owned by the caller. */
int group_pids(const Group *g, pid_t **ret, size_t *ret_n);
/* Sends `sig` to every process in the group and below, frozen meanwhile so that forks cannot escape it. Returns the
 * number signalled or a negative errno. */
int group_signal(Group *g, int sig);
/* cgroup.kill, or where that is not there SIGKILL to each: everything in and below dies. The group must not be used for
 * launches after this. */
int group_kill(Group *g);
