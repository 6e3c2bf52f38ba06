/* What the files of cgroups/ share, and what their unit tests look into. Nobody outside this room includes it.
 *
 * host.c finds out where hierarchies are and which cgroup is ours (CgroupHost); root.c makes the instance's root there
 * (CgroupTree, tree.c); everything else works relative to the root's directory descriptors, so that a start walks short
 * paths and no rename above us can lead us elsewhere. From bottom to top: host, tree, delegate and features, then root
 * beside group and what groups have. */
#pragma once

#include "cgroups/cgroup.h"

/* --- host.c ------------------------------------------------------------------------------------------------------- */

/* A controller as libcgroup lists it: of v1 or cgroup2, which the type of the mount tells. */
typedef struct HostController {
    const char *name, *mount;
} HostController;

/* One hierarchy: mount == NULL where it is not there. `own` is the own cgroup's directory below the mount point: ""
 * for the mount's root, else "/a/b". */
typedef struct HostHierarchy {
    char *mount, *own;
} HostHierarchy;

typedef struct CgroupHost {
    HostHierarchy h[CG_N];
    char *own_path;   /* own cgroup2 path as in /proc/self/cgroup, "" for "/" */
    unsigned unified; /* 1 << CG_MEMORY and so on: controllers that the cgroup2 hierarchy carries */
} CgroupHost;

/* Controller names by Hierarchy; CG_UNIFIED has none ("cgroup2"). */
extern const char *const hierarchy_names[CG_N];

CgroupHost *cgroup_host_free(CgroupHost *h);
static inline void cgroup_host_freep(CgroupHost **h)
{
    *h = cgroup_host_free(*h);
}
/* Pure: from the texts of /proc/self/cgroup and /proc/self/mountinfo and the controllers that libcgroup lists. */
int cgroup_host_build(const char *proc_cgroup, const char *mountinfo, const HostController *controllers, size_t n,
                      CgroupHost **ret, Error *e);
int cgroup_host_discover(CgroupHost **ret, Error *e);
/* The directory of the cgroup2 path `path`, NULL when the mount does not show it. Owned by the caller. */
char *cgroup_host_directory(const CgroupHost *h, const char *path);

/* --- tree.c ------------------------------------------------------------------------------------------------------- */

struct CgroupTree {
    char *name;          /* the root's directory name */
    char *root_path;     /* cgroup2 path of the root */
    char *mount[CG_N];   /* mount points, NULL where the hierarchy is not used */
    char *own_dir[CG_N]; /* absolute directories of the own cgroup */
    char *dir[CG_N];     /* absolute directories of the root */
    int fd[CG_N];        /* O_DIRECTORY descriptors of the root; cpuset's only once a group wants it */
    unsigned unified;    /* controllers that cgroup2 carries and that we may hand down */
    bool moved;          /* this process sits in the leaf "daemon" of the root */
    bool recorded;       /* a dead daemon's: to be cleared and removed, gets no new groups */
    bool held;           /* the root is of another maker and has the leaf "holder" */
    CgroupFeatures features;
};

/* Which hierarchy carries a controller: its own on v1, CG_UNIFIED, or -1 when the host has none. */
int tree_carrier(const CgroupTree *t, Hierarchy controller);
static inline bool tree_has_v1(const CgroupTree *t, Hierarchy h)
{
    return h != CG_UNIFIED && t->mount[h];
}
/* What to do about a failed mkdir or write in cgroupfs, as a clause; never NULL. */
const char *tree_advice(int code);
/* Whether `path` can be a group's: relative, of plain components, nothing that leads out of the tree. "" is the root.
 */
int tree_path_check(const char *path, Error *e);

/* --- features.c --------------------------------------------------------------------------------------------------- */

/* Whether hierarchy h may be used: its controller is not forbidden. */
bool feature_allows(Hierarchy h);
/* -EOPNOTSUPP when no tree may be used. */
int features_check(Error *e);
/* Fills in t->features: what the opened root has. The files only where `t` is recorded. */
void features_probe(CgroupTree *t);

/* --- delegate.c --------------------------------------------------------------------------------------------------- */

/* Hands the cgroup2 controllers down to the root, moving this process into "daemon" where the kernel wants that. */
int delegate_take(CgroupTree *t, Error *e);
/* The reverse: nothing of ours holds a controller, the process is back. The root's other children must be gone. */
int delegate_return(CgroupTree *t, Error *e);
/* The same two for a root of another maker: the holder goes into its leaf; everything in that leaf is killed. */
int delegate_take_held(CgroupTree *t, pid_t holder, Error *e);
int delegate_return_held(CgroupTree *t, Error *e);
/* The same for a dead daemon's tree: removes its leaf "daemon", which only a daemon makes that had the cgroup around
 * the tree to itself, and takes the controllers back there. 1: this process sits in that leaf, so the tree is still
 * used. */
int delegate_clear(const CgroupTree *t, Error *e);
/* Makes sure that children of `path` ("" = the root) have our controllers. */
int delegate_down(const CgroupTree *t, const char *path, Error *e);

/* --- root.c ------------------------------------------------------------------------------------------------------- */

/* The inner constructors: the host is a parameter. */
int root_open_host(const CgroupHost *host, const char *root_name, CgroupTree **ret, Error *e);
int root_open_host_at(const CgroupHost *host, const char *path, pid_t holder, CgroupTree **ret, Error *e);

/* --- group.c ------------------------------------------------------------------------------------------------------ */

/* One a generation and one a module: kept small. */
struct Group {
    CgroupTree *tree;
    char *cgroup_path; /* cgroup2 path; the path relative to the root begins at path_offset */
    uint64_t id;       /* 0 = not asked for yet */
    int dirfd;         /* opened on demand */
    uint16_t path_offset;
    bool fresh;    /* just made: every limit is still at the kernel's default */
    int8_t cpuset; /* in the v1 cpuset hierarchy: 1 yes, 0 no, -1 unknown */
};

static inline void group_closep(Group **g)
{
    *g = group_close(*g);
}
/* Whether the group has a directory in hierarchy h. */
bool group_in(const Group *g, Hierarchy h);
/* Opens `file` of the group in hierarchy h. */
int group_open_file(const Group *g, Hierarchy h, const char *file, int flags);
/* Reads it whole; as file_read. */
ssize_t group_read_file(const Group *g, Hierarchy h, const char *file, char *buf, size_t size);

/* --- limits.c ----------------------------------------------------------------------------------------------------- */

#define CPU_PERIOD_USEC 100000ull

/* CPU numbers below this are understood. */
#define CPUS_MAX 8192
typedef struct CpuSet {
    uint64_t bits[CPUS_MAX / 64];
} CpuSet;

/* "0-3,8"; an empty list is an empty set. -EINVAL, or -ERANGE for a number over CPUS_MAX. */
int cpus_parse(const char *list, CpuSet *ret);
/* Whether every CPU of `inner` is in `outer`. */
bool cpus_within(const CpuSet *inner, const CpuSet *outer);
/* cgroup2 weight to v1 shares. */
uint64_t limit_shares(uint64_t weight);
uint64_t limit_weight(uint64_t shares);
/* Percent of one CPU to microseconds a period, and back (rounded down). */
uint64_t limit_quota(uint64_t percent);
uint64_t limit_percent(uint64_t quota, uint64_t period);
/* Whether `got` is what the kernel makes of `wanted` bytes: rounded down to pages, or no limit for no limit. */
bool limit_same_bytes(uint64_t wanted, uint64_t got);
