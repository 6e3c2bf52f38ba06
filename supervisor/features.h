/* What of the kernel and the host bulkhead uses: one table, one row a feature.
 *
 * A row says what the feature is, what its absence costs, what is used instead and what would bring it. Features holds
 * what was found here: probed by trying (supervisor/probe.c), while the daemon opens, or for `--features` on its own.
 * Whoever decides between a way and its fallback is told from here: the rooms below never ask the kernel for a second
 * opinion. `--without NAME,…` makes a feature count as absent, so that each fallback can be tested anywhere.
 *
 * From this one table come the lines that the daemon logs, `bulkheadd --features`, `bulkhead check --host`, the table
 * in docs/features.md and the parameters of tests/integration/test_features.py. */
#pragma once

#include <jansson.h>

#include "base/error.h"

typedef enum FeatureId {
    FEATURE_CGROUP_TREE,
    FEATURE_CGROUP_MEMORY,
    FEATURE_CGROUP_CPU,
    FEATURE_CGROUP_PIDS,
    FEATURE_CGROUP_CPUSET,
    FEATURE_MEMORY_HIGH,
    FEATURE_MEMORY_SWAP,
    FEATURE_MEMORY_PEAK,
    FEATURE_PSI,
    FEATURE_CLONE_INTO_CGROUP,
    FEATURE_CGROUP_KILL,
    FEATURE_CGROUP_FREEZE,
    FEATURE_CGROUP_EVENTS,
    FEATURE_BTF,
    FEATURE_BPFFS,
    FEATURE_BPF_CONTROL,
    FEATURE_BPF_EXITS,
    FEATURE_BPF_OOM,
    FEATURE_BPF_SIGNALS,
    FEATURE_BPF_CONNECTIONS,
    FEATURE_BPF_UNIX,
    FEATURE_BPF_CALLS,
    FEATURE_BPF_WRITES,
    FEATURE_PIDFD,
    FEATURE_CLONE3,
    FEATURE_CLOSE_RANGE,
    FEATURE_OPENAT2,
    FEATURE_MOUNT_VIEW,
    FEATURE_SECCOMP,
    FEATURE_SECCOMP_LOG,
    FEATURE_PROC_CHILDREN,
    FEATURE_PTRACE,
    FEATURE_N
} FeatureId;

/* Whether the daemon goes on without it. */
typedef enum FeatureNeed {
    NEED_ALWAYS,  /* never */
    NEED_CGROUPS, /* with cgroups = optional */
    NEED_BPF,     /* with bpf = optional */
    NEED_NOT      /* always */
} FeatureNeed;

typedef struct FeatureRow {
    const char *name;
    FeatureNeed need;
    FeatureId above;     /* without that one it is absent too; itself: there is none */
    const char *what;    /* what is looked for */
    const char *cost;    /* of its absence */
    const char *instead; /* what is used then; NULL = nothing */
    const char *mend;    /* what would bring it */
} FeatureRow;

extern const FeatureRow feature_rows[FEATURE_N];

typedef enum FeatureState { FEATURE_UNKNOWN, FEATURE_HERE, FEATURE_ABSENT } FeatureState;

typedef struct Features {
    struct {
        FeatureState state;
        bool forced;   /* absent because --without says so */
        char why[200]; /* why it is absent or unknown; of what kind it is */
    } of[FEATURE_N];
} Features;

/* "clone3,btf": adds them to what counts as absent. -EINVAL names the one that no row has. */
int features_without(Features *f, const char *list, Error *e);
/* Notes what was found; `why` may be NULL. A forced one stays absent. */
void feature_note(Features *f, FeatureId id, bool here, const char *why);
/* What is absent because the one above it is. */
void features_infer(Features *f);
/* Says `why` of all that nobody has looked at. */
void features_mark_unknown(Features *f, const char *why);
/* Not to be used: found absent, or forced to be. What was not looked at yet may be. */
static inline bool feature_absent(const Features *f, FeatureId id)
{
    return f->of[id].state == FEATURE_ABSENT;
}
/* "pidfd: Function not implemented: … (…)": why the daemon does not go on. Returns -ENOTSUP. */
int feature_refuse(const Features *f, FeatureId id, Error *e);

/* Whether all is there that a daemon with an empty [supervisor] needs. */
bool features_suffice(const Features *f);
/* A line for each that is absent, but for those that go with another one. */
void features_log(const Features *f);
/* [{"feature","above","here":true|false|null,"why","forced","required":"always"|"unless cgroups =
 * optional"|…|"no","what", "cost","instead","mend"}], in the table's order. */
json_t *features_json(const Features *f);
